"""The champion among the versions of a registered model: how one becomes it, and the way back.

MLflow's alias `champion` names it, so that `models:/NAME@champion` always loads it. The registered
model's tag `reprovision.former_champions` remembers those before, the last one last.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from reprovision.core.errors import UserError
from reprovision.core.files import digest_of_file, read_csv
from reprovision.core.params import Params, TrackParams
from reprovision.data.dataset import load_info
from reprovision.report.statistics import Difference, paired_difference
from reprovision.tracking.store import TEST_SET_TAG, Store, open_store
from reprovision.training.identity import run_key, training_key

PREPARED, CHECKPOINT = Path("data/prepared"), Path("models/checkpoint.safetensors")
"""Of the present results."""

CHAMPION = "champion"
FORMER_TAG = "reprovision.former_champions"
PROMOTED_TAG = "reprovision.promoted"
KEPT = 50
"""Former champions that are remembered."""

ALPHA = 0.05

NOT_BETTER = 3
"""Exit status where the test decides against a promotion."""


@dataclass(frozen=True)
class Promotion:
    """What became of a wish to promote.

    Attributes:
        version: that was to become champion.
        done: whether it is champion now.
        reason: why, as a sentence.
    """

    version: str
    done: bool
    reason: str

    def in_words(self, model: str) -> str:
        if self.done:
            return f"models:/{model}@{CHAMPION} is version {self.version}: {self.reason}"
        return (
            f"version {self.version} of {model} is not shown to be better, and the champion stays: "
            f"{self.reason}. More test images or --force decide"
        )


@dataclass(frozen=True)
class Duel:
    """Challenger and champion on the same test images.

    Attributes:
        gained, lost: images that only the challenger, or only the champion, has right.
        images: all of them.
    """

    gained: int
    lost: int
    images: int

    def is_won(self) -> bool:
        """Whether the challenger is better, beyond chance."""
        return self.gained > self.lost and self._difference().p <= ALPHA

    def in_words(self, champion: str) -> str:
        difference = self._difference()
        return (
            f"{100 * difference.value:+.2f} points of accuracy against version {champion}: "
            f"{self.gained:,} images newly right, {self.lost:,} newly wrong, McNemar's exact test "
            f"p = {difference.p:.2g}"
        )

    def _difference(self) -> Difference:
        return paired_difference(self.gained, self.lost, self.images, 1 - ALPHA)


def promote(params: Params, version: str | None = None, force: str | None = None) -> Promotion:
    """Makes a version the champion where it is better than the present one on the same images.

    Args:
        version: the challenger; by default that of the present results, without them the newest.
        force: a reason to promote it whatever the test says; the version remembers it.

    Raises:
        UserError: there is no such version, or it was tested on other images than the champion.
    """
    name = params.track.model_name
    with open_store(params.track.experiment) as store:
        client = store.client
        challenger = _challenger(store, params, version)
        champion = _champion(client, name)
        if champion and champion.version == challenger.version:
            return Promotion(str(challenger.version), True, "it is the champion already")
        if force is not None:
            reason = f"forced: {force}"
        elif champion is None:
            reason = "the first champion"
        else:
            duel = _compare(client, champion, challenger)
            reason = duel.in_words(str(champion.version))
            if not duel.is_won():
                return Promotion(str(challenger.version), False, reason)
        _crown(client, challenger, champion, reason)
        return Promotion(str(challenger.version), True, reason)


def rollback(params: TrackParams) -> tuple[str, str]:
    """Gives the alias back to the former champion; returns the versions before and after.

    Raises:
        UserError: no former champion is known.
    """
    name = params.model_name
    with open_store(params.experiment) as store:
        client = store.client
        champion = _champion(client, name)
        if champion is None:
            raise UserError(f"model {name} has no champion: see `uv run reprovision promote`")
        present = str(champion.version)
        existing = {str(v.version) for v in client.search_model_versions(f"name = '{name}'")}
        former = [v for v in _former(client, name) if v in existing and v != present]
        if not former:
            raise UserError(
                f"version {present} of model {name} has no predecessor as champion: choose a "
                "version with `uv run reprovision promote VERSION --force`"
            )
        # in this order, an interruption between the two leaves a state that works
        client.set_registered_model_alias(name, CHAMPION, former[-1])
        _remember(client, name, former[:-1])
        return present, former[-1]


def _challenger(store: Store, params: Params, version: str | None) -> ModelVersion:
    name = params.track.model_name
    known = store.client.search_model_versions(f"name = '{name}'", order_by=["version_number DESC"])
    if not known:
        raise UserError(
            f"MLflow has no model {name}: run `uv run dvc repro`, which registers one, or check "
            "track.model_name and MLFLOW_TRACKING_URI"
        )
    if version is not None:
        wanted = [v for v in known if str(v.version) == version]
        if not wanted:
            versions = ", ".join(str(v.version) for v in known[:20])
            raise UserError(f"model {name} has no version {version}: choose one of {versions}")
    elif CHECKPOINT.exists():
        run = _present_run(store, params)
        wanted = [v for v in known if run and v.run_id == run.info.run_id]
        if not wanted:
            raise UserError(
                "the present results have no version in MLflow: run `uv run reprovision sync`, "
                "which registers one, or name another version"
            )
    else:
        wanted = known
    return wanted[0]


def _present_run(store: Store, params: Params) -> Run | None:
    key = run_key(params, training_key(params, load_info(PREPARED)))
    return store.find(key, digest_of_file(CHECKPOINT))


def _champion(client: MlflowClient, name: str) -> ModelVersion | None:
    version = client.get_registered_model(name).aliases.get(CHAMPION)
    return client.get_model_version(name, version) if version else None


def _compare(client: MlflowClient, champion: ModelVersion, challenger: ModelVersion) -> Duel:
    before, after = (_run_of(client, version) for version in (champion, challenger))
    if before.data.tags.get(TEST_SET_TAG) != after.data.tags.get(TEST_SET_TAG):
        raise UserError(
            f"versions {champion.version} and {challenger.version} were tested on different "
            "images, so that no test can tell which is better: evaluate both on the same test set, "
            "or decide with --force"
        )
    then, now = _correct(client, before), _correct(client, after)
    gained, lost = int((now & ~then).sum()), int((then & ~now).sum())
    return Duel(gained, lost, len(now))


def _run_of(client: MlflowClient, version: ModelVersion) -> Run:
    assert version.run_id, "the track stage registers a version with its run"
    return client.get_run(version.run_id)


def _correct(client: MlflowClient, run: Run) -> np.ndarray:
    """Which test images a run has right, bool (images,); from its artifact predictions.csv."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = client.download_artifacts(run.info.run_id, "predictions.csv", folder)
        except (MlflowException, OSError) as error:
            raise UserError(
                f"the predictions of run {run.info.run_name} are not in MLflow ({error}): "
                "run its experiment again, or decide with --force"
            ) from error
        return np.array([row["actual"] == row["predicted"] for row in read_csv(path)])


def _crown(
    client: MlflowClient, challenger: ModelVersion, champion: ModelVersion | None, reason: str
) -> None:
    """Remembers the present champion, and only then replaces it."""
    name = challenger.name
    if champion:
        _remember(client, name, [*_former(client, name), str(champion.version)])
    client.set_model_version_tag(name, challenger.version, PROMOTED_TAG, reason)
    client.set_registered_model_alias(name, CHAMPION, challenger.version)


def _former(client: MlflowClient, name: str) -> list[str]:
    return client.get_registered_model(name).tags.get(FORMER_TAG, "").split()


def _remember(client: MlflowClient, name: str, versions: list[str]) -> None:
    client.set_registered_model_tag(name, FORMER_TAG, " ".join(versions[-KEPT:]))
