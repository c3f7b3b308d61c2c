"""The gate of `reprovision diff` lets a comparison through or fails, and says why in one line."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from project import Project
from repository import Repository

from reprovision.comparison.gate import FAILED


@pytest.fixture
def worse(tmp_path: Path, environment: Mapping[str, str]) -> Repository:
    """HEAD~1 classifies 98 of 100 images correctly, HEAD 88: significantly worse."""
    return repository(tmp_path, environment, 2, 12)


@pytest.fixture
def no_evidence(tmp_path: Path, environment: Mapping[str, str]) -> Repository:
    """98 of 100, then 96."""
    return repository(tmp_path, environment, 2, 4)


def test_a_significantly_worse_model_fails(worse: Repository) -> None:
    line = worse.gate("--fail-if", "worse", status=FAILED)
    assert line == "gate failed: accuracy is worse by 10.00 points (p = 0.002, below 0.05)"


def test_a_model_that_is_worse_by_chance_passes(no_evidence: Repository) -> None:
    line = no_evidence.gate("--fail-if", "worse", status=0)
    assert line == "gate passed: not worse (accuracy: no evidence)"


def test_the_level_decides_what_counts_as_worse(worse: Repository) -> None:
    worse.gate("--fail-if", "worse", "--alpha", "0.001", status=0)


def test_a_drop_beyond_the_limit_fails_even_without_evidence(no_evidence: Repository) -> None:
    line = no_evidence.gate("--max-drop", "accuracy=0.015", status=FAILED)
    expected = "accuracy drops by 0.02, more than --max-drop accuracy=0.015 allows"
    assert line == f"gate failed: {expected}"


def test_a_drop_of_just_the_limit_passes(no_evidence: Repository) -> None:
    # 0.98 - 0.96 is 0.020000000000000018
    no_evidence.gate("--max-drop", "accuracy=0.02", status=0)


def test_a_loss_drops_in_quality_when_it_rises(no_evidence: Repository) -> None:
    line = no_evidence.gate("--max-drop", "loss=0.01", status=FAILED)
    assert line.startswith("gate failed: loss rises by 0.03")


def test_minimum_and_maximum_hold_for_the_head(no_evidence: Repository) -> None:
    no_evidence.gate("--min", "accuracy=0.96", "--max", "loss=0.5", status=0)
    line = no_evidence.gate("--min", "accuracy=0.97", status=FAILED)
    assert line == "gate failed: accuracy is 0.96, below --min accuracy=0.97"
    line = no_evidence.gate("--max", "loss=0.1", status=FAILED)
    assert line.startswith("gate failed: loss is 0.3") and line.endswith("above --max loss=0.1")


def test_the_recall_of_a_class_can_have_its_own_limit(no_evidence: Repository) -> None:
    no_evidence.gate("--min", "recall.cat=0.95", status=0)
    no_evidence.gate("--min", "recall.cat=0.99", status=FAILED)


def test_all_broken_limits_stand_in_the_one_line(worse: Repository) -> None:
    limits = ("--min", "accuracy=0.9", "--min", "recall.dog=0.9", "--fail-if", "worse")
    line = worse.gate(*limits, status=FAILED)
    assert line.count(";") == 2


def test_limits_hold_for_the_macro_roc_auc(worse: Repository) -> None:
    for area in (0.98, 0.95):
        worse.result(range(5), roc_auc=area)
    worse.gate("--min", "macro_roc_auc=0.95", "--max-drop", "macro_roc_auc=0.03", status=0)
    line = worse.gate("--min", "macro_roc_auc=0.96", status=FAILED)
    assert line == "gate failed: macro_roc_auc is 0.95, below --min macro_roc_auc=0.96"
    line = worse.gate("--max-drop", "macro_roc_auc=0.02", status=FAILED)
    assert line.startswith("gate failed: macro_roc_auc drops by 0.03")


def test_the_gate_is_closed_where_a_run_does_not_have_the_metric(worse: Repository) -> None:
    worse.result(range(5), roc_auc=0.98)
    worse.gate("--min", "macro_roc_auc=0.95", status=0)
    line = worse.gate("--max-drop", "macro_roc_auc=0.5", status=FAILED)
    reason = "macro_roc_auc was not compared, because HEAD~1 does not have it"
    assert line == f"gate failed: {reason}"
    worse.result(range(5))
    line = worse.gate("--min", "macro_roc_auc=0", "--max", "macro_roc_auc=1", status=FAILED)
    missing = "HEAD does not have macro_roc_auc"
    assert line == f"gate failed: {missing}; {missing}"


def test_an_unknown_metric_is_an_error_that_lists_the_known(worse: Repository) -> None:
    output = worse.refusal("HEAD~1", "HEAD", "--min", "acuracy=0.9")
    assert output.startswith(
        "a limit names acuracy, which the report does not have: choose one of accuracy, loss"
    )


@pytest.mark.parametrize("limit", ["accuracy", "accuracy=", "accuracy=high", "loss=nan", "0.98"])
def test_a_limit_without_a_number_is_a_wrong_command_line(worse: Repository, limit: str) -> None:
    worse.diff("HEAD~1", "HEAD", "--min", limit, status=2)


def test_the_gate_is_in_the_markdown_and_in_the_page(worse: Repository) -> None:
    output = worse.diff(
        *("HEAD~1", "HEAD", "--md", "--html", "page.html", "--fail-if", "worse"), status=FAILED
    )
    assert "**gate failed: accuracy is worse" in output
    assert "gate failed: accuracy is worse" in (worse.root / "page.html").read_text()


def test_the_gate_is_closed_where_nothing_was_compared(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    made = Repository.create(tmp_path / "repository", environment)
    made.result(range(2))
    made.result(range(90), classes=("cat", "hound"))
    line = made.gate("--fail-if", "worse", status=FAILED)
    assert line == ("gate failed: nothing was compared, because the two were tested on other data")
    made.gate("--max-drop", "accuracy=0.1", status=FAILED)
    # a limit for the head alone needs no base
    made.gate("--min", "accuracy=0.05", status=0)


def test_the_gate_is_closed_where_dvc_lock_describes_other_predictions(worse: Repository) -> None:
    path = worse.root / "results/predictions.csv"
    path.write_text(path.read_text().replace("dog,cat", "dog,dog"))
    worse.commit("no mistakes any more")
    line = worse.gate("--fail-if", "worse", status=FAILED)
    assert "results/predictions.csv of HEAD is not the file that its dvc.lock describes" in line
    assert "is not the file" in worse.gate("--min", "accuracy=0.5", status=FAILED)


def test_images_in_another_order_are_paired_by_name(worse: Repository) -> None:
    before = worse.diff("HEAD~1", "HEAD")
    path = worse.root / "results/predictions.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *reversed(rows)]) + "\n")
    worse.lock()
    after = worse.diff("HEAD~1", "workspace")
    assert "10 regressed, McNemar's exact test p = 0.002" in before
    assert "10 regressed, McNemar's exact test p = 0.002" in after


def test_other_images_under_the_same_digest_are_refused(worse: Repository) -> None:
    path = worse.root / "results/predictions.csv"
    path.write_text(path.read_text().replace("photo 7.png", "photo 6.png"))
    worse.lock()
    assert "list other images: run `dvc repro` for both" in worse.refusal("HEAD", "workspace")


def test_a_base_whose_code_is_newer_than_its_results_gets_no_verdict(reproduced: Project) -> None:
    with (reproduced.root / "src/reprovision/models/mlp.py").open("a") as file:
        file.write("# another line\n")
    reproduced.commit("code without results")
    reproduced.git("switch", "--quiet", "--create", "innocent")
    (reproduced.root / "README.md").write_text("Only words.")
    reproduced.commit("words")
    done = reproduced.run("reprovision", "diff", "main", "HEAD", "--fail-if", "worse", check=False)
    assert done.returncode == FAILED
    stale = "The results of main were made with other code than it has (src/reprovision/models)"
    assert stale in done.stderr.splitlines()[-1]


def test_without_a_gate_a_worse_model_is_no_failure(worse: Repository) -> None:
    assert "Worse" in worse.diff("HEAD~1", "HEAD")


def repository(root: Path, environment: Mapping[str, str], *mistakes: int) -> Repository:
    """A repository with a commit for each number of mistakes among 100 images."""
    made = Repository.create(root / "repository", environment)
    for count in mistakes:
        made.result(range(count))
    return made
