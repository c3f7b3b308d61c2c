"""A repository that holds nothing but results, for comparisons in a moment."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from click.testing import CliRunner
from project import Project

from reprovision.cli import main
from reprovision.core.files import md5_of_file, write_json
from reprovision.results import layout
from reprovision.results.metrics import measure
from reprovision.results.predictions import Predictions, write_predictions
from reprovision.results.sums import Settings

CLASSES = ("cat", "dog")
PREDICTIONS = "results/predictions.csv"


class Repository(Project):
    """A repository that holds nothing but results, for comparisons in a moment."""

    @classmethod
    def create(cls, root: Path, env: Mapping[str, str]) -> Self:
        """An empty one."""
        made = cls(root, env)
        (root / ".dvc").mkdir(parents=True)
        made.git("init", "--quiet", "--initial-branch=main")
        made.introduce_author()
        return made

    def result(
        self,
        wrong: range,
        images: int = 100,
        message: str = "result",
        test_set: str = "first",
        classes: tuple[str, ...] = CLASSES,
        name: str = "pets",
        gain: float = 0.0,
        rank: int | None = 2,
        roc_auc: float | None = None,
        file: str = "photo {}.png",
        **params: Any,
    ) -> str:
        """Commits the results of a model that errs on some images; returns the commit.

        Its loss is lower by `gain` for every image. Of those on which it errs, the actual class has
        some rank; None writes files of an older version, without ranks.
        """
        actual = np.arange(images) % len(classes)
        errs = np.isin(np.arange(images), wrong)
        # the later the image, the more confident
        confidence = np.linspace(0.6, 0.9, images)
        predictions = Predictions(
            origins=[file.format(i) for i in range(images)],
            classes=classes,
            actual=actual,
            predicted=np.where(errs, (actual + 1) % len(classes), actual),
            confidence=confidence,
            loss=np.where(errs, 2.0, -np.log(confidence)) - gain,
            rank=None if rank is None else np.where(errs, rank, 1),
        )
        write_predictions(self.root / PREDICTIONS, predictions)
        metrics = measure(predictions, 0.95, Settings(15, 3))
        curves = {} if roc_auc is None else {"macro_roc_auc": roc_auc}
        write_json(self.root / "results/test.json", metrics | curves)
        write_json(
            self.root / "results/dataset.json",
            {
                "name": name,
                "classes": classes,
                "images": {"train": 10, "val": 0, "test": images},
                "sha256": {"train": "t", "val": "v", "test": test_set},
            },
        )
        self.root.joinpath("params.yaml").write_text(
            json.dumps({"train": {"lr": 0.1} | params, "evaluate": {"bins": 15}})
        )
        self.lock()
        return self.commit(message)

    def lock(self) -> None:
        """Writes a dvc.lock that describes the files as they are."""
        files = {str(path): path for path in layout.IN_GIT if (self.root / path).exists()}
        # what is trained differs where params do
        files["models/checkpoint.safetensors"] = layout.PARAMS
        outs = [
            {"path": path, "md5": md5_of_file(self.root / file)} for path, file in files.items()
        ]
        lock = {"schema": "2.0", "stages": {"evaluate": {"outs": outs}}}
        self.root.joinpath("dvc.lock").write_text(json.dumps(lock))

    def diff(self, *arguments: str, status: int = 0) -> str:
        """The stdout of `reprovision diff`; run in this process, which saves its start."""
        with contextlib.chdir(self.root):
            done = CliRunner().invoke(main, ["diff", *arguments])
        assert done.exit_code == status, done.output
        return done.stdout

    def gate(self, *arguments: str, status: int) -> str:
        """The last line on stderr of `reprovision diff HEAD~1 HEAD ...`."""
        with contextlib.chdir(self.root):
            done = CliRunner().invoke(main, ["diff", "HEAD~1", "HEAD", *arguments])
        assert done.exit_code == status, done.output
        return done.stderr.splitlines()[-1]

    def refusal(self, *arguments: str) -> str:
        """The one sentence with which `reprovision diff` refuses."""
        with contextlib.chdir(self.root):
            done = CliRunner().invoke(main, ["diff", *arguments])
        assert done.exit_code == 1, done.output
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
        return done.stderr.removeprefix("error: ")
