"""The champion in MLflow's registry: only a better model replaces it, and it can be restored."""

import csv
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from project import Project

from reprovision.cli import main
from reprovision.core.errors import UserError
from reprovision.core.params import load_params
from reprovision.tracking import champion as champions
from reprovision.tracking.champion import Promotion, _exclusive, judge

NAME = "digits"


@pytest.fixture
def here(swept: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project after a sweep, with this process in it: versions 1 and 2 are good, 3 is bad."""
    monkeypatch.chdir(swept.root)
    monkeypatch.setenv("DVC_ROOT", str(swept.root))
    # MLflow sets it for child processes: without this, the next test would find it
    monkeypatch.setenv("MLFLOW_TRACKING_URI", swept.store)
    return swept


def champion(project: Project) -> str:
    return str(project.mlflow().get_model_version_by_alias(NAME, "champion").version)


def promote(version: str | None = None, force: str | None = None) -> Promotion:
    return champions.promote(load_params(), version, force)


def rollback(version: str | None = None) -> str:
    return champions.rollback(load_params(), version)


# ---- what a version holds


def test_versions_have_metrics_origin_and_a_description(swept_template: Project) -> None:
    client = swept_template.mlflow()
    version = client.get_model_version(NAME, "3")
    test = swept_template.json("results/test.json")

    assert version.tags["test_accuracy"] == f"{test['accuracy']:.4f}"
    assert version.tags["dvc.experiment"] == "bad"
    assert version.tags["git.commit"]
    digest = swept_template.json("results/dataset.json")["sha256"]["test"]
    assert version.tags["test_set"] == f"300 images, {digest[:8]}"
    assert f"{test['accuracy']:.2%} of 300 test images classified correctly" in version.description
    assert "`train.lr` 0.0001 (committed: 0.02)" in version.description
    assert "`dvc exp apply bad`" in version.description
    assert client.get_registered_model(NAME).description


def test_the_page_of_a_model_shows_test_metrics_dataset_and_version(
    swept_template: Project,
) -> None:
    client = swept_template.mlflow()
    run = client.get_run(client.get_model_version(NAME, "3").run_id)
    (model,) = client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
    )
    linked = {m.key: (m.value, m.dataset_name) for m in model.metrics}
    assert linked["test_accuracy"] == (run.data.metrics["test_accuracy"], "digits")
    assert "train_loss" not in linked
    assert json.loads(model.tags["mlflow.modelVersions"])[0]["name"] == NAME


# ---- promotion


def test_the_first_champion_needs_no_test_and_predicts_what_its_results_hold(here: Project) -> None:
    here.run("reprovision", "promote", "1")
    assert champion(here) == "1"

    mlflow.set_tracking_uri(here.store)
    model = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    images = np.load(here.root / "data/prepared/test/images.npy")
    predicted = model.predict(images).predicted
    # committed with the results of version 1
    rows = csv.DictReader(here.git("show", "HEAD:results/predictions.csv").splitlines())
    assert list(predicted) == [row["predicted"] for row in rows]


def test_a_better_version_becomes_champion_and_keeps_the_reason(here: Project) -> None:
    promote("3")
    promotion = promote("1")
    assert promotion.is_champion
    assert champion(here) == "1"
    tags = here.mlflow().get_model_version(NAME, "1").tags
    assert tags["reprovision.promoted"].startswith("against version 3 +")
    assert promotion.message == (
        f"models:/{NAME}@champion is version 1: {tags['reprovision.promoted']}"
    )


def test_a_worse_version_does_not_become_champion(here: Project) -> None:
    promote("1")
    done = here.run("reprovision", "promote", "3", check=False)
    assert done.returncode == 3
    assert "version 3 of digits is worse than the champion, which stays" in done.stdout
    assert "--force" not in done.stdout
    assert champion(here) == "1"


def test_only_a_significant_gain_wins() -> None:
    judgment, reason = judge(fixed=20, regressed=2, images=300)
    assert judgment == "better"
    assert reason.startswith("+6.00 points of accuracy, 20 images fixed, 2 regressed")
    # p = 0.73, p = 1, and significantly worse
    assert judge(fixed=5, regressed=3, images=300)[0] == "unclear"
    assert judge(fixed=0, regressed=0, images=300)[0] == "unclear"
    assert judge(fixed=2, regressed=20, images=300)[0] == "worse"


def test_a_reason_without_force_is_a_wrong_command_line() -> None:
    done = CliRunner().invoke(main, ["promote", "3", "--reason", "licensed data"])
    assert (done.exit_code, "--reason needs --force" in done.stderr) == (2, True)


def test_force_overrides_the_test_and_its_reason_is_kept(here: Project) -> None:
    promote("1")
    here.run("reprovision", "promote", "3", "--force", "--reason", "licensed data")
    assert champion(here) == "3"
    tags = here.mlflow().get_model_version(NAME, "3").tags
    assert tags["reprovision.promoted"] == "forced: licensed data"


@pytest.mark.slow
def test_the_champion_is_evaluated_anew_on_another_test_set(here: Project) -> None:
    promote("3")
    here.exp("run", "-S", "data.limit=250", "-S", "data.image_size=12", "-S", "train.lr=0.02")
    promotion = promote()
    assert promotion.is_champion
    assert champion(here) == "4"
    assert "against version 3, evaluated anew on the images of this test set, +" in (
        promotion.message
    )


def test_a_test_set_that_is_not_here_can_t_be_used(here: Project) -> None:
    promote("3")
    client = here.mlflow()
    run_id = client.get_model_version(NAME, "1").run_id
    client.set_tag(run_id, "reprovision.test_set", "of other images")
    with pytest.raises(UserError, match=r"whose test images are not in the workspace: apply its"):
        promote("1")
    assert champion(here) == "3"


def test_the_version_of_the_current_results_is_promoted_by_default(here: Project) -> None:
    here.exp("apply", "seed-1")
    promote()
    assert champion(here) == "2"


def test_current_results_that_mlflow_does_not_have_are_not_promoted(here: Project) -> None:
    here.set_params(**{"evaluate.bins": 7})
    with pytest.raises(UserError, match="reprovision sync"):
        promote()


def test_without_results_the_newest_version_is_promoted_by_default(
    here: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here.clone(tmp_path / "colleague").root)
    promote()
    assert champion(here) == "3"


def test_unknown_versions_are_refused_with_the_known_ones(here: Project) -> None:
    for unknown in ("9", "x"):
        with pytest.raises(UserError, match=f"no version {unknown}: choose one of 3, 2, 1"):
            promote(unknown)


@pytest.mark.slow
def test_without_any_model_the_error_says_how_to_register_one(project: Project) -> None:
    assert "dvc repro" in project.refused("reprovision", "promote")


# ---- rollback


def test_rollbacks_restore_champion_by_champion(here: Project) -> None:
    promote("3")
    promote("1")
    promote("2", force="newer")

    here.run("reprovision", "rollback")
    assert champion(here) == "1"
    assert rollback() == "models:/digits@champion is version 3 again, not 1"
    with pytest.raises(UserError, match="no predecessor"):
        rollback()
    assert champion(here) == "3"


def test_a_rollback_skips_deleted_versions(here: Project) -> None:
    promote("2")
    promote("3", force="to be deleted")
    promote("1")
    here.mlflow().delete_model_version(NAME, "3")
    rollback()
    assert champion(here) == "2"


def test_a_rollback_whose_answer_was_lost_can_be_repeated(
    here: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote("3")
    promote("1")
    promote("2", force="newer")
    set_alias = MlflowClient.set_registered_model_alias

    def lose_the_answer(*arguments: str) -> None:
        set_alias(*arguments)
        raise MlflowException("Connection reset by peer")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", lose_the_answer)
        with pytest.raises(UserError, match="`uv run reprovision rollback 2`"):
            rollback()
    assert rollback("2") == "the champion of digits is version 1, not 2: nothing to do"
    assert champion(here) == "1"


# ---- several machines at once


def test_two_never_change_the_champion_at_once(here: Project) -> None:
    client = here.mlflow()

    def count() -> None:
        for _ in range(2):
            with _exclusive(client, NAME):
                counted = int(client.get_registered_model(NAME).tags.get("counted", "0"))
                time.sleep(0.1)
                client.set_registered_model_tag(NAME, "counted", str(counted + 1))

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(count) for _ in range(3)]:
            done.result()
    tags = client.get_registered_model(NAME).tags
    assert tags.pop("counted") == "6"
    assert not tags


def test_a_promotion_waits_for_another_one_and_compares_with_its_champion(here: Project) -> None:
    client = here.mlflow()
    client.set_registered_model_tag(NAME, f"{champions.LOCK_TAG}elsewhere", "")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(promote, "1")
        time.sleep(3)
        assert not waiting.done()
        client.set_registered_model_alias(NAME, "champion", "3")
        client.delete_registered_model_tag(NAME, f"{champions.LOCK_TAG}elsewhere")
        assert "against version 3" in waiting.result().message


def test_what_a_killed_promotion_has_left_is_removed(
    here: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(champions, "ABANDONED", 0.5)
    here.mlflow().set_registered_model_tag(NAME, f"{champions.LOCK_TAG}killed", "")
    assert promote("1").is_champion
    assert not here.mlflow().get_registered_model(NAME).tags


def test_a_promotion_that_was_taken_for_killed_changes_nothing(
    here: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote("3")
    client = here.mlflow()

    find = champions._find_champion

    def take_long(*arguments: Any) -> Any:
        for tag in client.get_registered_model(NAME).tags:
            if tag.startswith(champions.LOCK_TAG):
                client.delete_registered_model_tag(NAME, tag)
        return find(*arguments)

    monkeypatch.setattr(champions, "_find_champion", take_long)
    with pytest.raises(UserError, match="try again"):
        promote("1")
    assert champion(here) == "3"
