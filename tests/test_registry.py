"""The champion in MLflow's registry: only a better model takes its place, and it can come back."""

import csv
import re
from pathlib import Path

import mlflow
import numpy as np
import pytest
from project import Project

from reprovision.tracking.registry import Duel

NAME = "reprovision"


def champion(project: Project) -> str:
    return str(project.mlflow().get_model_version_by_alias(NAME, "champion").version)


def promote(project: Project, *arguments: str) -> str:
    return project.run("reprovision", "promote", *arguments).stdout


def test_versions_carry_metrics_origin_and_a_description(swept_template: Project) -> None:
    client = swept_template.mlflow()
    version = client.get_model_version(NAME, "4")
    test = swept_template.json("results/test.json")

    assert version.tags["test_accuracy"] == f"{test['accuracy']:.4f}"
    assert version.tags["dvc.experiment"] == "bad-1"
    assert version.tags["git.commit"]
    digest = swept_template.json("results/dataset.json")["sha256"]["test"]
    assert version.tags["test_set"] == f"300 images, {digest[:8]}"
    assert f"{test['accuracy']:.2%} of 300 test images" in version.description
    assert "`train.lr` 0.0001 (committed: 0.02)" in version.description
    assert "`dvc exp apply bad-1`" in version.description
    assert client.get_registered_model(NAME).description


def test_the_page_of_a_model_shows_its_test_metrics_with_their_dataset(
    swept_template: Project,
) -> None:
    client = swept_template.mlflow()
    run = client.get_run(client.get_model_version(NAME, "4").run_id)
    (model,) = client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
    )
    linked = {m.key: (m.value, m.dataset_name) for m in model.metrics}
    assert linked["test_accuracy"] == (run.data.metrics["test_accuracy"], "digits")
    assert "train_loss" not in linked


def test_the_first_champion_needs_no_test_and_predicts_what_its_results_say(
    swept: Project,
) -> None:
    promote(swept, "1")
    assert champion(swept) == "1"

    mlflow.set_tracking_uri(swept.store)
    model = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    images = np.load(swept.root / "data/prepared/test/images.npy")
    predicted = model.predict({"pixels": images})["probabilities"].argmax(1)
    # committed with the results of version 1
    rows = csv.DictReader(swept.git("show", "HEAD:results/predictions.csv").splitlines())
    assert [str(label) for label in predicted] == [row["predicted"] for row in rows]


def test_a_better_version_becomes_champion_and_says_why(swept: Project) -> None:
    promote(swept, "3")
    said = promote(swept, "1")
    assert champion(swept) == "1"
    assert re.search(r"\+\d+\.\d\d points of accuracy against version 3: .* McNemar", said)
    assert "McNemar" in swept.mlflow().get_model_version(NAME, "1").tags["reprovision.promoted"]


def test_a_worse_version_does_not_become_champion(swept: Project) -> None:
    promote(swept, "1")
    done = swept.run("reprovision", "promote", "3", check=False)
    assert done.returncode == 3
    assert "version 3 of reprovision is not shown to be better" in done.stdout
    assert champion(swept) == "1"


def test_only_a_significant_gain_wins() -> None:
    assert Duel(gained=20, lost=2, images=300).is_won()
    # p = 0.73, p = 1, and significantly worse
    assert not Duel(gained=5, lost=3, images=300).is_won()
    assert not Duel(gained=0, lost=0, images=300).is_won()
    assert not Duel(gained=2, lost=20, images=300).is_won()


def test_force_overrides_the_test_and_is_recorded(swept: Project) -> None:
    promote(swept, "1")
    promote(swept, "3", "--force", "--reason", "licensed data")
    assert champion(swept) == "3"
    tags = swept.mlflow().get_model_version(NAME, "3").tags
    assert tags["reprovision.promoted"] == "forced: licensed data"


def test_a_rollback_goes_back_champion_by_champion(swept: Project) -> None:
    promote(swept, "3")
    promote(swept, "1")
    promote(swept, "4", "--force")

    swept.run("reprovision", "rollback")
    assert champion(swept) == "1"
    swept.run("reprovision", "rollback")
    assert champion(swept) == "3"
    assert "no predecessor" in swept.refused("reprovision", "rollback")
    assert champion(swept) == "3"


def test_a_rollback_passes_over_deleted_versions(swept: Project) -> None:
    promote(swept, "4")
    promote(swept, "3", "--force")
    promote(swept, "1")
    swept.mlflow().delete_model_version(NAME, "3")
    swept.run("reprovision", "rollback")
    assert champion(swept) == "4"


def test_versions_tested_on_other_images_are_not_compared(swept: Project) -> None:
    promote(swept, "3")
    client = swept.mlflow()
    run_id = client.get_model_version(NAME, "1").run_id
    client.set_tag(run_id, "reprovision.test_set", "of other images")
    assert "tested on different images" in swept.refused("reprovision", "promote", "1")
    assert champion(swept) == "3"


def test_the_version_of_the_present_results_is_promoted_by_default(swept: Project) -> None:
    swept.exp("apply", "good-1")
    promote(swept)
    assert champion(swept) == "2"


def test_without_results_the_newest_version_is_promoted_by_default(
    swept: Project, tmp_path: Path
) -> None:
    colleague = swept.clone(tmp_path / "colleague")
    colleague.env["MLFLOW_TRACKING_URI"] = swept.store
    promote(colleague)
    assert champion(swept) == "4"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(("9",), "no version 9: choose one of 4, 3, 2, 1"), (("x",), "no version x: choose one of")],
)
def test_unknown_versions_are_refused(
    swept_template: Project, arguments: tuple[str, ...], sentence: str
) -> None:
    assert sentence in swept_template.refused("reprovision", "promote", *arguments)


def test_without_any_model_it_says_how_to_register_one(project: Project) -> None:
    assert "dvc repro" in project.refused("reprovision", "promote")
