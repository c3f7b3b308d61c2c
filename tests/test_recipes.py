"""Recipes: the networks they build, and that their flags reach the params."""

import math
import shutil
import subprocess
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner
from conftest import MakeProject
from project import ROOT, Project, changed, tiny_tree
from torch import nn

from reprovision.cli import main
from reprovision.core.errors import UserError
from reprovision.core.params import Params, load_params
from reprovision.core.yaml_files import flatten, parse_section
from reprovision.models.classifier import Classifier, build_model, count_parameters
from reprovision.recipes import find_recipe, load_recipes

RECIPES = load_recipes()
MNIST = (1, 28, 28)


def params_of(name: str) -> Params:
    return parse_section(Params, changed(tiny_tree(), RECIPES[name].params), name)


def network_of(name: str) -> Classifier:
    torch.manual_seed(0)
    params = params_of(name)
    normalisation = ([0.5], [0.5]) if params.data.normalize == "half" else ([0.0], [1.0])
    return build_model(params.model, MNIST, 10, *normalisation)


def layers(name: str) -> list[nn.Linear | nn.Conv2d]:
    return [m for m in network_of(name).modules() if isinstance(m, nn.Linear | nn.Conv2d)]


def test_the_tutorials_and_our_own_have_names() -> None:
    wanted = {"mlp-512-256", "mlp-500-256", "mlp-128", "cnn-1", "cnn-2", "fast", "accurate"}
    assert wanted <= set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_sets_all_params_that_its_result_depends_on(name: str) -> None:
    keys = flatten(load_params(ROOT / "params.yaml"))
    sections = {k for k in keys if k.startswith(("numerics", "data.", "model.", "train."))}
    assert set(RECIPES[name].params) == (sections - {"train.device"}) | {"evaluate.flip"}
    params_of(name)


@pytest.mark.parametrize("name", [name for name in RECIPES if params_of(name).model.is_own])
def test_each_network_fits_mnist(name: str) -> None:
    pixels = torch.zeros(2, *MNIST, dtype=torch.uint8)
    assert network_of(name).eval()(pixels).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("mlp-512-256", [(784, 512), (512, 256), (256, 10)]),
        ("mlp-500-256", [(784, 500), (500, 256), (256, 10)]),
        ("mlp-128", [(784, 128), (128, 10)]),
        ("cnn-1", [(1, 32, 3), (5408, 10)]),
        ("cnn-2", [(1, 32, 3), (32, 32, 3), (800, 100), (100, 10)]),
        ("cnn-2-softmax", [(1, 32, 3), (32, 32, 3), (800, 100), (100, 10)]),
    ],
)
def test_the_tutorials_layers_have_their_sizes(name: str, sizes: list[tuple[int, ...]]) -> None:
    found = [
        (m.in_channels, m.out_channels, m.kernel_size[0])
        if isinstance(m, nn.Conv2d)
        else (m.in_features, m.out_features)
        for m in layers(name)
    ]
    assert found == sizes


def fans(layer: nn.Linear | nn.Conv2d) -> tuple[int, int]:
    area = layer.weight[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1
    return layer.weight.shape[1] * area, layer.weight.shape[0] * area


@pytest.mark.parametrize("name", ["cnn-1", "cnn-2", "cnn-2-softmax"])
def test_the_convolutional_tutorials_use_kaiming_and_last_xavier_initialization(name: str) -> None:
    *earlier, last = layers(name)
    for layer in earlier:
        check_uniform(layer.weight, math.sqrt(6 / fans(layer)[0]))
    check_uniform(last.weight, math.sqrt(6 / sum(fans(last))))


@pytest.mark.parametrize("name", ["mlp-512-256", "mlp-500-256", "mlp-128"])
def test_the_perceptrons_use_pytorchs_own_initialization(name: str) -> None:
    for layer in layers(name):
        check_uniform(layer.weight, 1 / math.sqrt(fans(layer)[0]))


def check_uniform(weight: torch.Tensor, bound: float) -> None:
    """Checks that parameters are uniform between -bound and bound, within chance."""
    assert weight.abs().max() <= bound
    # the standard error of a uniform distribution's deviation, five of them
    allowed = 5 * 0.45 / math.sqrt(weight.numel())
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=allowed)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("mlp-512-256", {"batch_size": 64, "lr": 0.001, "momentum": 0.9}),
        ("mlp-500-256", {"batch_size": 100, "lr": 0.01, "momentum": 0.0}),
        ("mlp-128", {"batch_size": 64, "lr": 0.001, "momentum": 0.9}),
        ("cnn-1", {"batch_size": 64, "lr": 0.01, "momentum": 0.9}),
        ("cnn-2", {"batch_size": 64, "lr": 0.01, "momentum": 0.9}),
        ("cnn-2-softmax", {"loss": "softmax_cross_entropy"}),
    ],
)
def test_each_tutorial_trains_with_its_own_params(name: str, values: dict[str, Any]) -> None:
    params = params_of(name)
    for key, value in values.items():
        assert getattr(params.train, key) == value
    assert (params.train.optimizer, params.train.epochs, params.train.keep) == ("sgd", 10, "last")
    assert (params.train.schedule, params.train.weight_decay) == ("constant", 0)
    assert params.data.val_fraction == 0, "they train on every training image"
    assert params.data.normalize == ("half" if name == "mlp-128" else "none")


def test_the_list_shows_the_time_and_accuracy_to_expect() -> None:
    output = CliRunner().invoke(main, ["recipe", "--list"]).output
    for name, recipe in RECIPES.items():
        line = next(line for line in output.splitlines() if line.startswith(f"{name} "))
        assert recipe.about in line
        assert f"{recipe.accuracy:g} %" in line
        assert " s " in line


def test_without_a_name_all_recipes_are_listed() -> None:
    assert CliRunner().invoke(main, ["recipe"]).output.count("\n") == len(RECIPES) + 1


def test_an_unknown_recipe_is_reported_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"there is no recipe cnn-3: choose one of fast, "):
        find_recipe("cnn-3")


def test_the_flags_survive_a_shell_and_dvc(make_project: MakeProject) -> None:
    project = make_project()
    line = "dvc exp run --queue $(reprovision recipe cnn-2) -S data.source=data/digits.yaml"
    before = project.params()
    project.run("bash", "-c", line)
    text = project.git("show", "refs/exps/celery/stash:params.yaml")
    expected = RECIPES["cnn-2"].params | {"data.source": "data/digits.yaml"}
    assert yaml.safe_load(text) == changed(before, expected)


@pytest.mark.parametrize("name", RECIPES)
def test_no_flag_holds_a_blank_at_which_a_shell_would_split(name: str) -> None:
    assert not any(set(" \t\n") & set(flag) for flag in RECIPES[name].flags())


@pytest.fixture
def preparing(make_project: MakeProject) -> Project:
    """A project whose pipeline ends with prepare."""
    project = make_project()
    stages = yaml.safe_load((project.root / "dvc.yaml").read_text())["stages"]
    pipeline = {"stages": {"prepare": stages["prepare"]}}
    (project.root / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
    project.commit()
    return project


def run_recipe(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    return project.run("reprovision", "recipe", *arguments, check=False)


def test_run_runs_an_experiment_with_the_recipe_and_the_users_changes(preparing: Project) -> None:
    changes = {"data.source": "data/digits.yaml", "data.normalize": "none", "train.epochs": 1}
    flags = [part for key, value in changes.items() for part in ("-S", f"{key}={value}")]
    expected = changed(preparing.params(), RECIPES["mlp-128"].params | changes)
    done = run_recipe(preparing, "mlp-128", "--run", *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    assert preparing.params() == expected
    assert preparing.json("data/prepared/dataset.json")["mean"] == [0]
    assert preparing.git("for-each-ref", "refs/exps", "--format=x") != "", "it is an experiment"


def test_run_exits_with_the_status_of_dvc(preparing: Project) -> None:
    failed = run_recipe(preparing, "mlp-128", "--run", "-S", "data.source=data/missing.yaml")
    assert failed.returncode not in (0, 1)
    assert "data/missing.yaml" in failed.stderr


def test_a_change_without_run_is_a_wrong_command_line(make_project: MakeProject) -> None:
    assert run_recipe(make_project(), "mlp-128", "-S", "train.lr=0.1").returncode == 2


@pytest.mark.parametrize("options", [[], ["--run"]])
def test_an_unknown_recipe_prints_no_flags_and_trains_nothing(
    make_project: MakeProject, options: list[str]
) -> None:
    done = run_recipe(make_project(), "cnn1", *options)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: there is no recipe cnn1: choose one of fast, ")


@pytest.mark.slow
@pytest.mark.ci
def test_recipes_can_run_one_after_another_in_one_workspace(make_project: MakeProject) -> None:
    # DVC writes params.yaml anew each time, and can't empty a list that it has written
    project = make_project()
    shutil.copyfile(ROOT / "params.yaml", project.root / "params.yaml")
    project.commit()
    for name in ("mlp-128", "cnn-1", "fast", "cnn-1"):
        line = f"dvc exp run prepare $(reprovision recipe {name}) -S data.source=data/digits.yaml"
        project.run("bash", "-c", line)
        assert load_params(project.root / "params.yaml").model == params_of(name).model


def test_the_size_of_a_network_is_the_number_of_its_parameters() -> None:
    assert count_parameters(network_of("mlp-128")) == 784 * 128 + 128 + 128 * 10 + 10
