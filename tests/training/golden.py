"""The first losses of every recipe, to detect changes of the code that alter training.

After a change that is meant to alter training, write them again with

    uv run python tests/training/golden.py
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(__file__).with_name("golden.json")

sys.path.insert(0, str(ROOT / "src"))

from reprovision.core.numerics import set_numerics  # noqa: E402

# as the tests do, and before torch is loaded
set_numerics("portable")

import torch  # noqa: E402
import yaml  # noqa: E402

from reprovision.core.params import Params  # noqa: E402
from reprovision.data.dataset import load_split  # noqa: E402
from reprovision.recipes import load_recipes  # noqa: E402
from reprovision.sources import open_source  # noqa: E402
from reprovision.sources.prepare import prepare  # noqa: E402
from reprovision.training import loop  # noqa: E402

TOLERANCE = 5e-6
"""Largest relative difference of a loss.

Other instruction sets (AVX2 and SSE4.1 against AVX-512, MKL's compatible mode) and four threads
changed the losses by 4e-7 at most, a learning rate that is one percent higher by 2e-5 at least,
another seed by 2e-3 at least.
"""

COARSE_TOLERANCE = 0.1
"""The same with batch normalization over so few images, where rounding errors grow a hundredfold
in each step: the changes above made up to 4e-2 there."""

SAME: dict[str, Any] = {
    "data.source": "data/digits.yaml",
    "data.image_size": 28,
    "data.channels": 1,
    "data.limit": 100,
    "data.val_fraction": 0.2,
    "numerics": "portable",
    "train.epochs": 2,
    "train.device": "cpu",
    "train.precision": "fp32",
    "train.threads": 1,
    "train.compile": False,
}
"""Params that all recipes share here: digits at MNIST's size, eight steps in fp32."""


def losses(recipe: dict[str, Any]) -> list[float]:
    """Training and validation loss of each epoch, in turn, for dotted params."""
    tree = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
    for key, value in {**recipe, **SAME}.items():
        *sections, last = key.split(".")
        section = tree
        for name in sections:
            section = section[name]
        section[last] = value
    # 64 images train: eight steps of any recipe, before rounding errors can grow
    tree["train"]["batch_size"] = 16
    params = Params.model_validate(tree)
    with tempfile.TemporaryDirectory() as folder:
        source = open_source(ROOT / params.data.source, Path(folder))
        info = prepare(source, params.data, Path(folder))
        state = loop.start(params, info)
        loop.train(state, load_split(folder, "train"), load_split(folder, "val"), params)
    return [loss for e in state.history for loss in (e.train_loss, e.val_loss) if loss is not None]


def cases() -> dict[str, dict[str, Any]]:
    """Params of all recipes by name; those with batch normalization also without it.

    Networks of other libraries are theirs to test.
    """
    own = ("mlp", "cnn")
    recipes = {n: r.params for n, r in load_recipes().items() if r.params["model.name"] in own}
    plain = {
        f"{name}, no batch normalization": {**params, "model.conv.batch_norm": False}
        for name, params in recipes.items()
        if params["model.conv.batch_norm"]
    }
    return recipes | plain


def tolerance(params: dict[str, Any]) -> float:
    """Largest relative difference to expect of the losses."""
    return COARSE_TOLERANCE if params["model.conv.batch_norm"] else TOLERANCE


def all_losses() -> dict[str, list[float]]:
    """The losses of every case by its name."""
    threads = torch.get_num_threads()
    try:
        return {name: losses(params) for name, params in cases().items()}
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    rows = (f"  {json.dumps(name)}: {json.dumps(values)}" for name, values in all_losses().items())
    FILE.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
