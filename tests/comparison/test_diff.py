"""`reprovision diff` tells better from worse from chance, between any two states of a project."""

import json
import re
import shutil
from collections.abc import Mapping
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from conftest import MakeProject
from repository import Repository

from reprovision.core.files import write_json


@pytest.fixture
def repository(tmp_path: Path, environment: Mapping[str, str]) -> Repository:
    return Repository.create(tmp_path / "repository", environment)


def test_a_model_that_fixes_many_images_is_better(repository: Repository) -> None:
    repository.result(range(12))
    repository.result(range(2))
    output = repository.diff("HEAD~1", "HEAD")
    assert "Better: HEAD classifies more images correctly than HEAD~1" in output
    # 2 / 2 ** 10
    assert "10 images fixed and 0 regressed, McNemar's exact test p = 0.002" in output


def test_a_model_with_many_regressions_is_worse(repository: Repository) -> None:
    repository.result(range(2))
    repository.result(range(12))
    assert "Worse: HEAD classifies fewer images correctly" in repository.diff("HEAD~1", "HEAD")


def test_a_few_images_more_are_no_evidence(repository: Repository) -> None:
    repository.result(range(7))
    repository.result(range(2))
    # 2 / 2 ** 5
    output = repository.diff("HEAD~1", "HEAD")
    assert "No evidence of a difference in accuracy" in output
    assert "p = 0.062" in output


def test_the_level_of_the_test_can_be_chosen(repository: Repository) -> None:
    repository.result(range(7))
    repository.result(range(2))
    assert "Better" in repository.diff("HEAD~1", "HEAD", "--alpha", "0.1")
    assert "90% intervals" in repository.diff("HEAD~1", "HEAD", "--alpha", "0.1")


def test_equal_predictions_are_no_difference(repository: Repository) -> None:
    repository.result(range(7))
    repository.result(range(7), lr=0.2)
    assert "No difference: both predict the same class" in repository.diff("HEAD~1", "HEAD")


def test_identical_outputs_are_reported_in_one_line(repository: Repository) -> None:
    repository.result(range(7))
    repository.run("git", "commit", "--allow-empty", "--message", "Only the README")
    lines = repository.diff("HEAD~1", "HEAD").split("\n\n")
    assert lines[1:] == [
        "Identical: all 4 outputs of HEAD are those of HEAD~1, byte for byte, by dvc.lock. "
        "Accuracy: 93.00%.",
        "",
    ]
    markdown = repository.diff("HEAD~1", "HEAD", "--md")
    assert "Identical: all 4 outputs" in markdown and "| ---" not in markdown
    assert repository.gate("--fail-if", "worse", "--min", "accuracy=0.9", status=0)
    assert "accuracy is 0.93" in repository.gate("--min", "accuracy=0.95", status=3)


def test_results_that_dvc_lock_does_not_describe_are_not_identical(repository: Repository) -> None:
    repository.result(range(7))
    path = repository.root / "results/predictions.csv"
    path.write_text(path.read_text().replace("dog,cat", "dog,dog"))
    assert "Identical" not in repository.diff("HEAD", "workspace")


def test_other_native_numerics_is_named(repository: Repository) -> None:
    for commit, threads in enumerate(("2", "1")):
        stage = {"numerics": "native", "threads": threads}
        write_json(
            repository.root / "results/numerics.json", {"training": stage, "evaluation": stage}
        )
        repository.result(range(2 + commit))
    output = repository.diff("HEAD~1", "HEAD")
    assert "computed with other native numerics: threads 2 → 1." in output


def test_a_dvc_lock_with_a_merge_conflict_is_reported(repository: Repository) -> None:
    repository.result(range(7))
    lock = repository.root / "dvc.lock"
    lock.write_text(f"<<<<<<< ours\n{lock.read_text()}\n=======\n>>>>>>> theirs\n")
    assert "dvc.lock of workspace is not readable YAML" in repository.refusal("HEAD", "workspace")
    lock.write_text("")
    assert "dvc.lock of workspace must hold" in repository.refusal("HEAD", "workspace")


@pytest.mark.parametrize(
    "stages",
    [
        "[1]",
        "{evaluate: text}",
        "{evaluate: {outs: [{path: results/history.csv, md5: ../../dev/zero}]}}",
        "{evaluate: {outs: {}}}",
        "{evaluate: {deps: [{md5: x}]}}",
        "{evaluate: {params: 3}}",
    ],
)
def test_a_malformed_or_hostile_dvc_lock_is_refused(repository: Repository, stages: str) -> None:
    repository.result(range(7))
    (repository.root / "dvc.lock").write_text(f"stages: {stages}\n")
    assert "dvc.lock of workspace: " in repository.refusal("HEAD", "workspace")


def test_without_arguments_main_is_compared_with_the_workspace(repository: Repository) -> None:
    repository.result(range(12), message="Twelve mistakes")
    repository.git("switch", "--quiet", "--create", "other")
    repository.result(range(2))
    repository.git("reset", "--quiet", "--soft", "main")
    output = repository.diff().splitlines()[0]
    assert re.fullmatch(r"main \([0-9a-f]{7} Twelve mistakes\) → workspace", output)


def test_params_that_differ_are_listed_and_others_are_not(repository: Repository) -> None:
    repository.result(range(2), lr=0.1, momentum=0.9)
    repository.result(range(2), lr=0.01, momentum=0.9)
    output = repository.diff("HEAD~1", "HEAD")
    assert re.search(r"train\.lr +0\.1 +0\.01", output)
    assert "momentum" not in output


def test_metrics_stand_side_by_side_with_their_change(repository: Repository) -> None:
    repository.result(range(12))
    repository.result(range(2))
    output = repository.diff("HEAD~1", "HEAD")
    assert re.search(r"accuracy +88\.00% +98\.00% +\+10\.00 \(\+\d\.\d+ to \+\d+\.\d+\)", output)
    for name in ("loss", "macro precision", "balanced accuracy", "macro F1", "calibration error"):
        assert re.search(rf"^{name} ", output, re.MULTILINE), name


TEN = tuple("0123456789")


def test_the_top_k_accuracy_counts_near_misses(repository: Repository) -> None:
    repository.result(range(40), classes=TEN, rank=4)
    repository.result(range(40), classes=TEN, rank=3)
    output = repository.diff("HEAD~1", "HEAD")
    line = r"^top-3 accuracy +60\.00% +100\.00% +\+40\.00 \(\+\d+\.\d+ to \+\d+\.\d+\) +better"
    assert re.search(line, output, re.MULTILINE)


def test_both_are_measured_with_the_k_of_the_head(repository: Repository) -> None:
    repository.result(range(40), classes=TEN, rank=4)
    repository.result(range(40), classes=TEN, rank=5)
    params = repository.root / "params.yaml"
    params.write_text(params.read_text().replace('"bins": 15', '"top_k": 4'))
    output = repository.diff("HEAD~1", "workspace")
    assert re.search(r"^top-4 accuracy +100\.00% +60\.00% ", output, re.MULTILINE)


def test_of_two_classes_there_is_no_top_k_accuracy(repository: Repository) -> None:
    repository.result(range(12))
    repository.result(range(2))
    assert "top-" not in repository.diff("HEAD~1", "HEAD")


def test_results_of_an_older_version_without_ranks_stay_comparable(repository: Repository) -> None:
    repository.result(range(40), classes=TEN, rank=None)
    repository.result(range(40), classes=TEN, roc_auc=0.9)
    output = repository.diff("HEAD~1", "HEAD")
    for title, value in (("top-3 accuracy", "100.00%"), ("macro ROC-AUC", "90.00%")):
        assert re.search(rf"^{title} +– +{value} +not compared *$", output, re.MULTILINE)
    assert "A dash: the results of that revision do not have the metric" in output
    assert re.search("^balanced accuracy .* no evidence *$", output, re.MULTILINE)
    repository.result(range(40), classes=TEN, rank=None, lr=0.2)
    repository.result(range(41), classes=TEN, rank=None)
    output = repository.diff("HEAD~1", "HEAD")
    assert "top-3" not in output and "ROC-AUC" not in output


def test_the_macro_roc_auc_is_that_of_the_results_and_not_tested(repository: Repository) -> None:
    repository.result(range(12), roc_auc=0.975)
    repository.result(range(2), roc_auc=0.99)
    output = repository.diff("HEAD~1", "HEAD")
    line = r"^macro ROC-AUC +97\.50% +99\.00% +\+1\.50 +not tested *$"
    assert re.search(line, output, re.MULTILINE)
    assert "The macro ROC-AUC needs the probabilities of all classes" in output
    repository.result(range(2), test_set="second", name="toys", roc_auc=0.9)
    output = repository.diff("HEAD~1", "HEAD")
    assert re.search(r"^macro ROC-AUC .* not compared *$", output, re.MULTILINE)


def test_a_loss_that_falls_is_better(repository: Repository) -> None:
    repository.result(range(40))
    repository.result(range(2))
    assert re.search(r"^loss .* better", repository.diff("HEAD~1", "HEAD"), re.MULTILINE)


def test_a_loss_that_falls_a_little_for_every_image_is_better_too(repository: Repository) -> None:
    # the mean of 100 such losses has a standard error of 0.05: only image by image is it certain
    repository.result(range(10))
    repository.result(range(10), gain=0.01)
    output = repository.diff("HEAD~1", "HEAD")
    assert re.search(r"^loss .* -0\.0100 \(-0\.0100 to -0\.0100\) .* better", output, re.MULTILINE)


def test_the_recall_of_one_class_can_fall_alone(repository: Repository) -> None:
    repository.result(range(0, 4, 2), images=400)
    repository.result(range(0, 60, 2), images=400)
    output = repository.diff("HEAD~1", "HEAD")
    assert re.search(r"^cat +99\.00% +85\.00% .* worse", output, re.MULTILINE)
    assert re.search(r"^dog +100\.00% +100\.00% .* no evidence", output, re.MULTILINE)


def test_p_of_classes_are_adjusted_for_their_number(repository: Repository) -> None:
    # alone, 8 of 8 would have p = 0.008; with 9 quiet classes beside it, 0.08
    many = tuple(f"class {i}" for i in range(10))
    repository.result(range(0), images=1000, classes=many)
    repository.result(range(0, 80, 10), images=1000, classes=many)
    output = repository.diff("HEAD~1", "HEAD")
    assert re.search(r"^class 0 .* 0\.078 +no evidence", output, re.MULTILINE)


def test_disagreements_are_listed_the_most_confident_errors_first(repository: Repository) -> None:
    repository.result(range(10, 20))
    repository.result(range(15, 25))
    output = repository.diff("HEAD~1", "HEAD")
    regressed, fixed = output.split("Regressed")[1].split("Fixed")
    assert re.findall(r"photo (\d+)", regressed) == ["24", "23", "22", "21", "20"]
    assert re.findall(r"photo (\d+)", fixed) == ["14", "13", "12", "11", "10"]
    assert re.search(r"photo 24\.png +cat +cat \(67\.3%\) +dog \(67\.3%\)", regressed)


def test_other_test_images_are_reported_and_not_paired(repository: Repository) -> None:
    repository.result(range(12))
    repository.result(range(2), images=120, test_set="second", file="scan {}.png")
    output = repository.diff("HEAD~1", "HEAD")
    assert "The test sets differ (100 images of pets in HEAD~1 and 120 images of pets" in output
    assert "Fisher's exact test" in output
    assert "McNemar" not in output
    assert "Regressed" not in output


def test_test_sets_that_share_images_are_compared_on_those(repository: Repository) -> None:
    repository.result(range(12), roc_auc=0.9)
    repository.result(range(10, 14), images=120, test_set="second", roc_auc=0.9)
    output = repository.diff("HEAD~1", "HEAD")
    assert (
        "The test sets differ (100 images of pets in HEAD~1 and 120 images of pets in HEAD): the "
        "two are compared on the 100 images that both have, by their names."
    ) in " ".join(output.split())
    assert "10 images fixed and 2 regressed, McNemar's exact test" in " ".join(output.split())
    assert "88.00% in HEAD~1, 96.00% in HEAD" in " ".join(output.split())
    assert "ROC-AUC" not in output, "it is known for the whole test sets only"


def test_the_same_images_prepared_in_another_way_are_compared(repository: Repository) -> None:
    repository.result(range(12))
    repository.result(range(2), test_set="at another size")
    output = " ".join(repository.diff("HEAD~1", "HEAD").split())
    assert "The 100 test images have the same names, but other pixels" in output
    assert "McNemar" in output


def test_few_shared_images_do_not_decide(repository: Repository) -> None:
    repository.result(range(12), file="{}.png")
    repository.result(range(2), test_set="second", file="{:02}.png")
    # those of two digits
    assert "McNemar" in repository.diff("HEAD~1", "HEAD")
    repository.result(range(2), test_set="third", file="{:03}.png")
    assert "Fisher's exact test" in repository.diff("HEAD~1", "HEAD")


def test_other_classes_are_not_compared(repository: Repository) -> None:
    repository.result(range(12))
    repository.result(range(2), classes=("cat", "dog", "owl"))
    output = repository.diff("HEAD~1", "HEAD")
    assert "Not compared: the two were tested on other data" in output
    assert "better" not in output


def test_another_source_of_data_is_not_compared(repository: Repository) -> None:
    repository.result(range(12))
    repository.result(range(2), test_set="second", name="toys")
    output = repository.diff("HEAD~1", "HEAD")
    assert "Not compared: the two were tested on other data" in output
    assert "better" not in output


def test_results_of_other_params_are_reported(repository: Repository) -> None:
    repository.result(range(2))
    lock = json.loads((repository.root / "dvc.lock").read_text())
    lock["stages"]["train"] = {"params": {"params.yaml": {"train": {"lr": 0.5}}}}
    (repository.root / "dvc.lock").write_text(json.dumps(lock))
    output = repository.diff("main")
    assert "results of workspace were made with another train.lr than its params.yaml has" in output


def test_params_of_stages_that_have_not_run_again_do_not_count(repository: Repository) -> None:
    # after `dvc repro evaluate`, the track stage still has the params of an earlier run
    repository.result(range(2))
    lock = json.loads((repository.root / "dvc.lock").read_text())
    lock["stages"]["train"] = {"params": {"params.yaml": {"train": {"lr": 0.1}}}}
    lock["stages"]["track"] = {"params": {"params.yaml": {"train": {"lr": 0.5}}}}
    (repository.root / "dvc.lock").write_text(json.dumps(lock))
    output = repository.diff("main")
    assert "train.lr" not in output
    assert "made with another" not in output


def test_a_number_is_the_same_however_yaml_writes_it(repository: Repository) -> None:
    repository.result(range(2))
    # as DVC writes it, which PyYAML reads as text
    lock = (repository.root / "dvc.lock").read_text().removesuffix("}}")
    lock += ', "train": {"params": {"params.yaml": {"train": {"lr": 1e-05}}}}}}'
    (repository.root / "dvc.lock").write_text(lock)
    params = repository.root / "params.yaml"
    params.write_text(params.read_text().replace("0.1", "0.00001"))
    repository.commit("a small learning rate")
    output = repository.diff("HEAD", "workspace")
    assert "made with another" not in output
    assert "train.lr" not in output


def test_metrics_that_are_no_numbers_are_refused_in_one_sentence(repository: Repository) -> None:
    repository.result(range(2))
    (repository.root / "results/test.json").write_text('{"accuracy": "high"}')
    assert "results/test.json of workspace holds text" in repository.refusal()


def test_a_run_whose_params_do_not_name_the_bins_is_compared(repository: Repository) -> None:
    repository.result(range(2))
    repository.result(range(3))
    (repository.root / "params.yaml").write_text("train: {lr: 0.1}")
    assert "calibration error" in repository.diff("HEAD~1", "workspace")


def test_a_test_set_of_one_image_is_compared(repository: Repository) -> None:
    repository.result(range(1), images=1)
    repository.result(range(0), images=1)
    output = repository.diff("HEAD~1", "HEAD")
    assert re.search(r"^loss .* not compared", output, re.MULTILINE)
    assert "1 image fixed and 0 regressed" in output


def test_predictions_that_dvc_does_not_know_are_reported(repository: Repository) -> None:
    repository.result(range(2))
    path = repository.root / "results/predictions.csv"
    path.write_text(path.read_text().replace("dog,cat", "dog,dog"))
    assert "is not the file that its dvc.lock describes" in repository.diff("main")


def test_an_unknown_revision_is_refused_in_one_sentence(repository: Repository) -> None:
    repository.result(range(2))
    output = repository.refusal("maim")
    assert output.startswith("maim is neither a Git revision nor a DVC experiment here")


def test_a_revision_without_results_is_refused_in_one_sentence(repository: Repository) -> None:
    repository.commit("empty")
    repository.result(range(2))
    output = repository.refusal("HEAD~1", "HEAD")
    assert re.search(r"^HEAD~1 .* has no params.yaml: run `dvc repro` there", output)


def test_damaged_predictions_are_refused_in_one_sentence(repository: Repository) -> None:
    repository.result(range(2))
    (repository.root / "results/predictions.csv").write_text("image,actual\nphoto,cat\n")
    assert "does not hold predictions" in repository.refusal()


@pytest.mark.parametrize(
    "name",
    [
        "&#64;octocat",
        "https://evil.example",
        "www.evil.example",
        "#1",
        "`@a` @b",
        "a|b",
        "*@everyone* $5 to $6",
        "<script>|[x](y)",
    ],
)
def test_names_stay_in_code_that_they_cannot_leave(repository: Repository, name: str) -> None:
    repository.result(range(12), classes=("plain", name))
    repository.result(range(2), classes=("plain", name))
    rows = [line for line in repository.diff("HEAD~1", "HEAD", "--md").splitlines() if "|" in line]
    shown = [line for line in rows if name.replace("|", r"\|") in line]
    assert shown
    for line in shown:
        # without code spans nothing of the name is left
        without = re.sub(r"(`+).+?(?<!`)\1(?!`)", "", line)
        assert name not in without, line
        assert len(re.findall(r"(?<!\\)\|", without)) in (5, 7), "columns of the tables"


def test_control_characters_never_reach_a_terminal(repository: Repository) -> None:
    escape = "\x1b]52;c;cHduZWQ=\x07"
    repository.result(range(2), message=f"subject {escape}", lr=f"value {escape}")
    repository.result(range(3))
    output = repository.diff("HEAD~1", "HEAD")
    assert "subject" in output and "value" in output
    assert output.replace("\n", "").isprintable()
    repository.result(range(2), classes=("cat", f"dog {escape}"))
    assert "must be printable" in repository.refusal("HEAD", "workspace")


def test_absurd_bins_are_ignored(repository: Repository) -> None:
    repository.result(range(2))
    repository.result(range(3))
    params = repository.root / "params.yaml"
    params.write_text(params.read_text().replace('"bins": 15', '"bins": 1000000000'))
    assert "calibration error" in repository.diff("HEAD~1", "workspace")


def test_the_subject_of_a_commit_mentions_nobody(repository: Repository) -> None:
    repository.result(range(2), message="Ask &#64;octocat, @team, #1, GH-2 or https://evil.example")
    output = repository.diff("HEAD", "HEAD", "--md")
    for linking in ("&#64;octocat", "@team", "#1 ", "#1,", "GH-2", "https://evil"):
        assert linking not in output


def test_a_class_that_is_called_like_a_verdict_is_none(repository: Repository) -> None:
    repository.result(range(12), classes=("better", "worse"))
    repository.result(range(2), classes=("better", "worse"))
    rows = repository.diff("HEAD~1", "HEAD", "--md").splitlines()
    assert "| image | actual | `HEAD~1` | HEAD |" in rows
    assert "| photo 11.png | worse | better (63.3%) | worse (63.3%) |" in rows


def test_the_page_keeps_names_from_becoming_markup(repository: Repository) -> None:
    hostile = ("<script>alert(1)</script>", '"><img src=x>')
    repository.result(range(12), classes=hostile)
    repository.result(range(2), classes=hostile)
    repository.diff("HEAD~1", "HEAD", "--html", "page.html")
    tags = tags_of(repository.root / "page.html")
    assert not {"script", "img"} & {tag for tag, _ in tags}


def test_a_comment_stays_short_with_hundreds_of_classes(repository: Repository) -> None:
    many = tuple(f"class {i}" for i in range(300))
    repository.result(range(0), images=600, classes=many)
    repository.result(range(200), images=600, classes=many)
    # what GitHub takes
    assert len(repository.diff("HEAD~1", "HEAD", "--md")) < 65_536


def test_a_git_revision_wins_over_an_experiment_of_its_name(repository: Repository) -> None:
    first = repository.result(range(2), message="branch")
    second = repository.result(range(12), message="experiment")
    repository.git("update-ref", f"refs/exps/{first[:2]}/{first[2:]}/both", second)
    repository.git("branch", "both", first)
    assert "both (" in repository.diff("both", "HEAD")
    assert "branch)" in repository.diff("both", "HEAD").splitlines()[0]


def test_experiments_of_one_name_are_distinguished_by_their_baseline(
    repository: Repository,
) -> None:
    commits = [repository.result(range(n), message=str(n)) for n in (1, 2, 3)]
    for base, commit in pairwise(commits):
        repository.git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/twin", commit)
    output = repository.refusal("twin")
    assert commits[1][:7] in output and commits[2][:7] in output
    repository.git("checkout", "--quiet", commits[0])
    assert f"twin (experiment {commits[1][:7]})" in repository.diff("twin", "HEAD")


@pytest.mark.slow
@pytest.mark.ci
def test_ten_thousand_images_take_at_most_twice_the_time_of_ten(repository: Repository) -> None:
    digits = tuple("0123456789")
    for images in (10, 10_000):
        repository.result(range(0), images=images, classes=digits)
        repository.result(range(images // 10), images=images, classes=digits)
    few, many = (
        min(seconds(repository, f"HEAD~{before}", f"HEAD~{after}") for _ in range(3))
        for before, after in ((3, 2), (1, 0))
    )
    print(few, many)
    assert many < 2 * few


def seconds(repository: Repository, *arguments: str) -> float:
    """Processor time of `reprovision diff` with all it starts: what others do does not count."""
    code = "import os, sys, subprocess as s; s.run(sys.argv[1:]); print(sum(os.times()[2:4]))"
    done = repository.run("python", "-c", code, "reprovision", "diff", *arguments)
    return float(done.stdout.splitlines()[-1])


# ---- in a project in which the pipeline has run


@pytest.mark.slow
def test_a_real_change_is_shown_with_thumbnails_and_curves_in_one_file(
    make_project: MakeProject,
) -> None:
    project = make_project(reproduced=True)
    before = project.params()["train"]["lr"]
    project.set_params(**{"train.lr": 10 * before, "train.epochs": 3})
    project.repro("evaluate")
    done = project.run("reprovision", "diff", "--html", "report/page.html")
    assert re.search(rf"train\.lr +{before} +{10 * before}", done.stdout)
    assert re.search(r"^main .* of 2: val_loss", done.stdout, re.MULTILINE)
    assert re.search(r"^workspace .* of 3: val_loss", done.stdout, re.MULTILINE)
    page = project.root / "report/page.html"
    tags = tags_of(page)
    pictures = [attributes["src"] for tag, attributes in tags if tag == "img"]
    assert pictures and all(src.startswith("data:image/png;base64,") for src in pictures)
    assert "svg" in {tag for tag, _ in tags}
    links = [value for _, attributes in tags for name, value in attributes.items() if name == "src"]
    assert links == pictures
    assert not {"link", "script", "iframe"} & {tag for tag, _ in tags}


@pytest.mark.slow
def test_an_experiment_is_found_by_its_name(make_project: MakeProject) -> None:
    project = make_project(reproduced=True)
    project.exp("run", "--name", "faster", "-S", "train.lr=0.03")
    project.git("checkout", "--quiet", "--force", "main")
    output = project.run("reprovision", "diff", "main", "faster").stdout
    assert re.match(r"main \(.*\) → faster \(experiment [0-9a-f]{7}\)", output)
    assert re.search(r"^faster .* of 2: val_loss", output, re.MULTILINE)


def test_curves_that_the_cache_lacks_are_reported_as_missing(make_project: MakeProject) -> None:
    project = make_project(reproduced=True)
    shutil.rmtree(project.root / ".dvc/cache")
    # as if the model had been exported differently
    lock = yaml.safe_load((project.root / "dvc.lock").read_text())
    lock["stages"]["export"]["outs"][0]["md5"] = "1" * 32 + ".dir"
    (project.root / "dvc.lock").write_text(yaml.safe_dump(lock))
    output = project.run("reprovision", "diff").stdout
    assert "The training curves of main are not shown" in output
    assert re.search(r"^workspace .* of 2: val_loss", output, re.MULTILINE)


def test_curves_are_found_in_a_cache_that_is_kept_elsewhere(make_project: MakeProject) -> None:
    project = make_project(reproduced=True)
    shutil.move(project.root / ".dvc/cache", project.root / "elsewhere")
    project.run("dvc", "cache", "dir", "elsewhere")
    output = project.run("reprovision", "diff", "main", "HEAD").stdout
    assert "not shown" not in output


@pytest.mark.slow
def test_the_test_set_is_known_from_git_alone(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project(reproduced=True)
    project.set_params(**{"data.val_fraction": 0.2, "data.normalize": "half"})
    project.repro("evaluate")
    project.commit("other normalisation")
    clone = project.clone(tmp_path / "clone")
    output = clone.run("reprovision", "diff", "HEAD~1", "HEAD").stdout
    # another prepared folder, but the same test images
    assert "test sets differ" not in output
    assert "The training images, or their pixels, differ" in " ".join(output.split())


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


def tags_of(page: Path) -> list[tuple[str, dict[str, str]]]:
    """All tags of a page with their attributes."""
    parser = _Tags()
    parser.feed(page.read_text())
    return parser.found
