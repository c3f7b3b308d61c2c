"""Networks of torchvision and timm: by name, with pretrained parameters, or refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import timm
import torch
import torchvision
from project import tiny_params
from safetensors.torch import save_file
from torch import nn

from reprovision.core.errors import UserError
from reprovision.core.files import digest_of_file
from reprovision.core.params import ModelParams
from reprovision.data.dataset import SPLITS, DatasetInfo, SplitInfo
from reprovision.images.preprocessing import Preprocessing
from reprovision.models.checkpoint import load_checkpoint, save_checkpoint
from reprovision.models.classifier import build_model
from reprovision.models.zoo import build_zoo, load_weights
from reprovision.recipes import load_recipes

SMALL = (3, 64, 64)


def whole(name: str, classes: int = 1000) -> nn.Module:
    """The network as its library has it."""
    torch.manual_seed(1)
    if name.startswith("timm/"):
        return timm.create_model(name.removeprefix("timm/"), num_classes=classes)
    return torchvision.models.get_model(name, num_classes=classes)


def params(name: str, path: Path, **changes: Any) -> ModelParams:
    given = {"name": name, "weights": str(path), "weights_sha256": digest_of_file(path)}
    return cast(ModelParams, SimpleNamespace(**(given | changes)))


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "mobilenet_v3_small",
        "efficientnet_b0",
        "timm/resnet18",
        "timm/vit_tiny_patch16_224",
        "timm/swin_tiny_patch4_window7_224",
    ],
)
def test_backbone_and_head_are_the_network_of_the_library(name: str) -> None:
    shape = (3, 224, 224) if "224" in name else SMALL
    original = whole(name, 5).eval()
    built = build_zoo(name, shape, 5)
    state = original.state_dict()
    head = nn.Linear(built.head.in_features, 5)
    head.load_state_dict({key: state[f"{built.head_name}.{key}"] for key in ("weight", "bias")})
    built.backbone.load_state_dict({key: state[key] for key in built.backbone.state_dict()})
    image = torch.rand(2, *shape)
    with torch.inference_mode():
        torch.testing.assert_close(head(built.backbone.eval()(image)), original(image))


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("name", ["resnet18", "timm/tf_efficientnet_lite0"])
def test_parameters_of_a_file_are_loaded_whatever_its_number_of_classes(
    tmp_path: Path, name: str, suffix: str
) -> None:
    state = whole(name).state_dict()
    path = tmp_path / f"weights.{suffix}"
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    built = build_zoo(name, SMALL, 2)
    load_weights(built, params(name, path))
    for key, value in built.backbone.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert built.head.out_features == 2


@pytest.mark.parametrize("wrap", [{"state_dict": None}, {"model": None}])
def test_a_wrapped_file_is_unwrapped(tmp_path: Path, wrap: dict[str, Any]) -> None:
    state = {f"module.{key}": value for key, value in whole("resnet18").state_dict().items()}
    torch.save(dict.fromkeys(wrap, state), tmp_path / "weights.pth")
    built = build_zoo("resnet18", SMALL, 2)
    load_weights(built, params("resnet18", tmp_path / "weights.pth"))
    assert torch.equal(built.backbone.state_dict()["conv1.weight"], state["module.conv1.weight"])


def test_the_same_tensors_may_have_other_names() -> None:
    recipe = load_recipes()["photos"].params
    built = build_zoo(recipe["model.name"], (3, 224, 224), 2)
    given = {key.removeprefix("model."): value for key, value in recipe.items()}
    load_weights(built, cast(ModelParams, SimpleNamespace(**given)))
    # after its training on ImageNet no layer is as it was drawn
    assert built.backbone.state_dict()["bn1.running_mean"].abs().sum() > 0
    assert built.mean == (0.5, 0.5, 0.5)


def refusal(name: str, path: Path, **changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        load_weights(build_zoo(name, SMALL, 2), params(name, path, **changes))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_parameters_of_another_network_are_refused_with_what_is_missing(tmp_path: Path) -> None:
    torch.save(whole("resnet34").state_dict(), tmp_path / "weights.pth")
    sentence = refusal("mobilenet_v3_small", tmp_path / "weights.pth")
    assert "are not those of mobilenet_v3_small: they have no features.0.0.weight," in sentence


def test_a_file_is_known_by_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(whole("resnet18").state_dict(), path)
    for given in (None, "0" * 64):
        sentence = refusal("resnet18", path, weights_sha256=given)
        assert sentence.endswith(f"set model.weights_sha256={digest_of_file(path)}")


def test_files_that_hold_no_parameters_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"hello")
    sentence = refusal("resnet18", path)
    assert "can't be read as parameters: it is damaged, or something else" in sentence
    assert "weights_only" not in sentence, "torch's advice would switch a protection off"
    torch.save(whole("resnet18"), path)
    assert "can't be read as parameters" in refusal("resnet18", path), "a pickle could run code"
    torch.save([1, 2], path)
    assert "does not hold named tensors" in refusal("resnet18", path)
    path.unlink()
    with pytest.raises(UserError, match="which does not exist"):
        load_weights(
            build_zoo("resnet18", SMALL, 2), params("resnet18", Path(__file__), weights=str(path))
        )


def test_an_unknown_network_is_refused_with_similar_names() -> None:
    with pytest.raises(UserError, match=r"resnet, which is no network: use e\.g\. resnet"):
        build_zoo("resnet", SMALL, 2)
    with pytest.raises(UserError, match=r"use e\.g\. timm/\w*resnet\w*, timm/"):
        build_zoo("timm/resnet_18", SMALL, 2)


def test_images_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"set data\.channels=3"):
        build_zoo("resnet18", (1, 64, 64), 2)
    with pytest.raises(UserError, match=r"does not fit images of 64x64 pixels"):
        build_zoo("vit_b_16", SMALL, 2)


def test_a_network_without_a_fully_connected_last_layer_is_refused() -> None:
    with pytest.raises(UserError, match="no fully connected last layer"):
        build_zoo("squeezenet1_1", SMALL, 2)


def test_a_network_with_several_outputs_is_refused() -> None:
    with pytest.raises(UserError, match="several outputs"):
        build_zoo("googlenet", SMALL, 2)


@pytest.mark.parametrize("weights", [":x.pth", ".x:y.pth", "json.decoder:x", "nopackage:x.pth"])
def test_packages_that_bring_no_such_file_are_refused(weights: str) -> None:
    with pytest.raises(UserError, match=r"needs the package|does not exist"):
        load_weights(
            build_zoo("resnet18", SMALL, 2), params("resnet18", Path(__file__), weights=weights)
        )


def test_a_name_may_end_in_that_of_its_parameters() -> None:
    assert build_zoo("timm/resnet18.a1_in1k", SMALL, 2).head.out_features == 2


def test_a_checkpoint_has_what_no_file_holds(tmp_path: Path) -> None:
    """Swin's table of relative positions is no part of its state dict."""
    shape = (3, 224, 224)
    given = tiny_params(**{"model.name": "timm/swin_tiny_patch4_window7_224"}).model
    torch.manual_seed(0)
    classifier = build_model(given, shape, 2, [0.5] * 3, [0.5] * 3).eval()
    info = DatasetInfo(
        name="made",
        classes=("a", "b"),
        preprocessing=Preprocessing(224, 224, 3),
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        splits={
            name: SplitInfo(counts=(1, 1), digest="", origins="", in_train=0) for name in SPLITS
        },
    )
    save_checkpoint(tmp_path / "checkpoint", classifier, given, info)
    loaded = load_checkpoint(tmp_path / "checkpoint").classifier
    pixels = torch.zeros(1, *shape, dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(pixels), classifier(pixels))
