"""The champion among the versions of a registered model: how it is replaced, and restored.

MLflow's alias `champion` names it, so that `models:/NAME@champion` always loads it. The model's tag
`reprovision.former_champions` holds its predecessors, the last one last.
"""

import random
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from reprovision.comparison.formatting import named_p
from reprovision.comparison.pairing import pair
from reprovision.core.errors import UserError
from reprovision.core.files import digest_of_file
from reprovision.core.params import Params
from reprovision.core.wording import count
from reprovision.data.dataset import load_info
from reprovision.evaluation.testing import ask, images_set_apart, open_model
from reprovision.results.fingerprint import run_key, training_key
from reprovision.results.intact import require_intact
from reprovision.results.layout import CHECKPOINT, PREPARED, downloads
from reprovision.results.run import Run
from reprovision.results.statistics import paired_difference
from reprovision.sources import open_source
from reprovision.tracking.models import fetch_model, require_loadable
from reprovision.tracking.runs import to_run
from reprovision.tracking.store import TRY_AGAIN, Store, open_store, translate_errors

CHAMPION = "champion"
FORMER_TAG = "reprovision.former_champions"
PROMOTED_TAG = "reprovision.promoted"
KEPT = 50
"""Former champions in the tag."""

LOCK_TAG = "reprovision.changes_champion."
ABANDONED = 60
"""Seconds after which the holder of a lock is assumed to have been killed."""

Judgment = Literal["better", "worse", "unclear"]
"""Of a model against another: significantly better or worse, or neither."""

ALPHA = 0.05

NOT_BETTER = 3
"""Exit status if the test decides against a promotion."""


@dataclass(frozen=True)
class Promotion:
    """The outcome of a promotion: whether the version is the champion now, and a message."""

    is_champion: bool
    message: str


def promote(params: Params, version: str | None = None, force: str | None = None) -> Promotion:
    """Makes a version the champion if it is better than the current one on the same test images.

    Args:
        version: the challenger; by default that of the current results, without any the newest.
        force: a reason to promote it whatever the test says; a tag of the version keeps it.

    Raises:
        UserError: there is no such version, the champion can't be tested on the same images, or
            MLflow can't be used.
    """
    name = params.registered_model
    with open_store(params.track.experiment, CHAMPION, TRY_AGAIN) as store:
        challenger = _find_challenger(store, params, version)
        require_loadable(challenger)

        @cache
        def compare(champion: str) -> tuple[Judgment, str]:
            return _compare(store.client, params, champion, challenger)

        champion = _find_champion(store.client, name)
        if champion and champion.version != challenger.version and force is None:
            # may evaluate the champion, for longer than a lock can be held
            compare(str(champion.version))
        with _exclusive(store.client, name) as lock:
            return _promote(store.client, challenger, compare, force, lock)


def _promote(
    client: MlflowClient,
    challenger: ModelVersion,
    compare: Callable[[str], tuple[Judgment, str]],
    force: str | None,
    lock: str,
) -> Promotion:
    """Promotes the challenger if `compare` with the version of the champion decides for it."""
    name, new = challenger.name, challenger.version
    champion = _find_champion(client, name)
    if champion and champion.version == new:
        return Promotion(True, f"version {new} of {name} is the champion already")
    judgment: Judgment = "better"
    reason = "the first champion"
    if force is not None:
        reason = f"forced: {force}"
    elif champion:
        judgment, reason = compare(str(champion.version))
    if judgment == "worse":
        return Promotion(
            False, f"version {new} of {name} is worse than the champion, which stays: {reason}"
        )
    if judgment == "unclear":
        message = (
            f"version {new} of {name} is not shown to be better than the champion, which "
            f"stays: {reason}; use more test images, or decide with --force"
        )
        return Promotion(False, message)
    _require_lock(client, name, lock)
    # in this order, an interruption loses no champion
    if champion:
        _set_former(client, name, [*_former(client, name), str(champion.version)])
    client.set_model_version_tag(name, new, PROMOTED_TAG, reason)
    client.set_registered_model_alias(name, CHAMPION, new)
    return Promotion(True, f"models:/{name}@{CHAMPION} is version {new}: {reason}")


def rollback(params: Params, version: str | None = None) -> str:
    """Restores the former champion; returns a message.

    Args:
        version: the champion to replace, by default the current one. Where it is not the champion,
            nothing changes, so that a rollback whose answer was lost can be repeated.

    Raises:
        UserError: no former champion is known, or MLflow can't be used.
    """
    name = params.registered_model
    with open_store(params.track.experiment, CHAMPION, TRY_AGAIN) as store:
        champion = _find_champion(store.client, name)
        if champion is None:
            raise UserError(f"model {name} has no champion: see `uv run reprovision promote`")
        wanted = version or str(champion.version)
        repeat = f"run `uv run reprovision rollback {wanted}`, which changes nothing twice"
        with translate_errors(repeat), _exclusive(store.client, name) as lock:
            return _rollback(store.client, name, wanted, lock)


def _rollback(client: MlflowClient, name: str, version: str, lock: str) -> str:
    champion = _find_champion(client, name)
    current = str(champion.version) if champion else "none"
    if current != version:
        return f"the champion of {name} is version {current}, not {version}: nothing to do"
    existing = {str(v.version) for v in client.search_model_versions(f"name = '{name}'")}
    former = [v for v in _former(client, name) if v in existing and v != version]
    if not former:
        raise UserError(
            f"version {version} of model {name} has no predecessor as champion: choose a "
            "version with `uv run reprovision promote VERSION --force`"
        )
    _require_lock(client, name, lock)
    # in this order, an interruption between the two leaves a valid state
    client.set_registered_model_alias(name, CHAMPION, former[-1])
    _set_former(client, name, former[:-1])
    return f"models:/{name}@{CHAMPION} is version {former[-1]} again, not {version}"


@contextmanager
def _exclusive(client: MlflowClient, name: str) -> Iterator[str]:
    """Waits until no other process, on any machine, changes the champion of a model.

    MLflow has no locks. Each process writes a tag of its own and then reads all of them: of two
    at once, at least one sees the other's, withdraws, and tries again after a random time. What a
    killed process has left is deleted after `ABANDONED` seconds.

    Yields:
        the tag, see `_require_lock`.
    """
    seen: dict[str, float] = {}
    while True:
        mine = f"{LOCK_TAG}{secrets.token_hex(4)}"
        try:
            client.set_registered_model_tag(name, mine, "")
            others = [tag for tag in _locks(client, name) if tag != mine]
            if not others:
                yield mine
                return
        finally:
            client.delete_registered_model_tag(name, mine)
        if not seen:
            print(f"waiting for another promotion of {name} to end", file=sys.stderr)
        now = time.monotonic()
        for tag in others:
            if now - seen.setdefault(tag, now) > ABANDONED:
                client.delete_registered_model_tag(name, tag)
        time.sleep(random.uniform(0.2, 2))


def _locks(client: MlflowClient, name: str) -> list[str]:
    tags = client.get_registered_model(name).tags
    return [tag for tag in tags if tag.startswith(LOCK_TAG)]


def _require_lock(client: MlflowClient, name: str, lock: str) -> None:
    """Raises a UserError where another process took this one, which was slow, for killed."""
    if lock not in _locks(client, name):
        raise UserError(f"another process has changed the champion of {name} meanwhile: try again")


def judge(fixed: int, regressed: int, images: int) -> tuple[Judgment, str]:
    """Whether a model is significantly better or worse than another on the same images, and why.

    Args:
        fixed, regressed: images that only the one, or only the other, classifies correctly.
        images: all of them.
    """
    difference = paired_difference(fixed, regressed, images, 1 - ALPHA)
    reason = (
        f"{100 * difference.value:+.2f} points of accuracy, {count(fixed, 'image')} fixed, "
        f"{regressed:,} regressed, McNemar's exact test {named_p(difference.p)}"
    )
    if difference.p >= ALPHA:
        return "unclear", reason
    return "better" if fixed > regressed else "worse", reason


def _compare(
    client: MlflowClient, params: Params, version: str, challenger: ModelVersion
) -> tuple[Judgment, str]:
    """Whether the challenger is significantly better or worse than a version, and why."""
    champion = client.get_model_version(challenger.name, version)
    before, after = (_run_of(client, compared) for compared in (champion, challenger))
    now, anew = after.predictions.correct, ""
    if before.test_set == after.test_set:
        then = pair(before, after).predictions.correct
    else:
        then = _evaluate_anew(params, champion, after)
        anew = ", evaluated anew on the images of this test set,"
    judgment, reason = judge(int((now & ~then).sum()), int((then & ~now).sum()), len(now))
    return judgment, f"against version {champion.version}{anew} {reason}"


def _evaluate_anew(params: Params, champion: ModelVersion, challenger: Run) -> np.ndarray:
    """Which test images of the challenger the champion classifies correctly, (N,) bool.

    It reads them from their source, because it may need other pixels than the challenger.
    """
    current = load_info(PREPARED) if PREPARED.exists() else None
    if current is None or current.splits["test"].digest != challenger.test_set.digest:
        raise UserError(
            f"version {champion.version} was tested on other images than {challenger.name}, whose "
            "test images are not in the workspace: apply its experiment (`uv run dvc exp apply`), "
            "or decide with --force"
        )
    path = fetch_model(f"models:/{champion.name}/{champion.version}")
    images = images_set_apart(open_source(params.data.source, downloads()), params.data)
    found = ask(open_model(path), images, params.data.on_bad_image).predictions
    correct = dict(zip(found.origins, found.correct.tolist(), strict=True))
    wanted = challenger.predictions.origins
    if set(correct) != set(wanted):
        raise UserError(
            f"the test images of {params.data.source} are not those of the results any more: run "
            "`uv run dvc repro`"
        )
    return np.array([correct[origin] for origin in wanted])


def _run_of(client: MlflowClient, version: ModelVersion) -> Run:
    if not version.run_id:
        raise UserError(
            f"version {version.version} of {version.name} belongs to no run, so that its test "
            "images are unknown: choose another one, or decide with --force"
        )
    return to_run(client, client.get_run(version.run_id))


def _find_challenger(store: Store, params: Params, version: str | None) -> ModelVersion:
    name = params.registered_model
    known = store.client.search_model_versions(f"name = '{name}'", order_by=["version_number DESC"])
    if not known:
        raise UserError(
            f"MLflow has no model {name}: run `uv run dvc repro`, which registers one, or check "
            "track.model_name and MLFLOW_TRACKING_URI"
        )
    if version is None:
        return _version_of_results(store, params, known) if CHECKPOINT.exists() else known[0]
    for candidate in known:
        if str(candidate.version) == version:
            return candidate
    versions = ", ".join(str(candidate.version) for candidate in known[:20])
    raise UserError(f"model {name} has no version {version}: choose one of {versions}")


def _version_of_results(store: Store, params: Params, known: list[ModelVersion]) -> ModelVersion:
    require_intact()
    key = run_key(params, training_key(params, load_info(PREPARED)))
    run = store.find(key, digest_of_file(CHECKPOINT))
    for version in known:
        if run and version.run_id == run.info.run_id:
            return version
    raise UserError(
        "the current results have no version in MLflow: run `uv run reprovision sync`, which "
        "registers one, or name another version"
    )


def _find_champion(client: MlflowClient, name: str) -> ModelVersion | None:
    version = client.get_registered_model(name).aliases.get(CHAMPION)
    return client.get_model_version(name, version) if version else None


def _former(client: MlflowClient, name: str) -> list[str]:
    return client.get_registered_model(name).tags.get(FORMER_TAG, "").split()


def _set_former(client: MlflowClient, name: str, versions: list[str]) -> None:
    client.set_registered_model_tag(name, FORMER_TAG, " ".join(versions[-KEPT:]))
