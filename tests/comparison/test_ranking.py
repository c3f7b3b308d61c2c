"""The leaderboard: what is compared with what, and which differences are significant."""

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from project import Project
from rich.console import Console

from reprovision.comparison.ranking import Board, Standing, rank, runs_with, summarize, welch
from reprovision.comparison.ranking_table import _winner, short_names, show_leaderboard
from reprovision.core.errors import UserError
from reprovision.results.layout import DATASET_SUMMARY, PREDICTIONS
from reprovision.results.run import Run
from reprovision.results.run import TestSet as Images

# pytest takes what is called Test... for a test
DIGITS, LETTERS = Images("digits", "d1", 359), Images("letters", "1e", 500)


def run(
    accuracy: float,
    seed: int = 0,
    test_set: Images = DIGITS,
    code: str = "c0de",
    **params: Any,
) -> Run:
    """A finished run; params are given with _ for the dot."""
    dotted = {key.replace("_", ".", 1): value for key, value in params.items()}
    metrics = {"accuracy": accuracy, "loss": 1 - accuracy}
    name, used = f"run-{seed}", {"seed": seed, **dotted}
    return Run(name, name, used, metrics, test_set, code, read=lambda path: None)


def seeds(*accuracies: float, **params: Any) -> list[Run]:
    return [run(accuracy, seed, **params) for seed, accuracy in enumerate(accuracies)]


def only_board(runs: list[Run], metric: str = "accuracy") -> Board:
    (board,) = rank(runs, metric)
    return board


def standings(board: Board) -> list[Standing]:
    return [place.standing for place in board.places]


# ---- groups


def test_runs_that_differ_in_their_seed_only_are_one_group() -> None:
    board = only_board(seeds(0.9, 0.8, train_lr=0.1) + seeds(0.7, 0.6, 0.5, train_lr=0.2))

    assert board.varying == ("train.lr",)
    assert [len(place.group.runs) for place in board.places] == [2, 3]
    assert [place.group.params for place in board.places] == [{"train.lr": 0.1}, {"train.lr": 0.2}]


@pytest.mark.parametrize("key", ["track_experiment", "export_tolerance", "evaluate_mistakes"])
def test_params_that_cannot_matter_part_no_groups(key: str) -> None:
    board = only_board([run(0.9, 0, **{key: "a"}), run(0.8, 1, **{key: "b"})])
    assert len(board.places) == 1


def test_params_of_convolutions_part_no_groups_of_networks_without_any() -> None:
    runs = [run(0.9, i, model_name="mlp", **{"model_conv.pool": i + 1}) for i in range(2)]
    assert len(only_board(runs).places) == 1


def test_whole_and_decimal_numbers_of_one_value_are_one_value() -> None:
    assert len(only_board([run(0.9, 0, train_lr=1), run(0.8, 1, train_lr=1.0)]).places) == 1


def test_a_seed_counts_once_and_the_newest_run_of_it_counts() -> None:
    board = only_board([run(0.9), run(0.9), run(0.5)])
    assert board.places[0].group.summary.mean == 0.9
    assert len(board.places[0].group.runs) == 1
    # the equal one is no news
    assert board.repeats == 1


def test_runs_of_other_code_are_another_group_and_the_board_shows_it() -> None:
    board = only_board([run(0.9, 0, code="aaaaaaaaaa"), run(0.8, 1, code="bbbbbbbbbb")])
    assert board.varying == ("code",)
    assert [place.group.params["code"] for place in board.places] == ["aaaaaaa", "bbbbbbb"]


def test_runs_on_other_test_images_are_never_ranked_together() -> None:
    boards = rank([run(0.9), *seeds(0.8, 0.7, test_set=LETTERS)], "accuracy")
    assert [(b.test_sets, len(b.runs)) for b in boards] == [((LETTERS,), 2), ((DIGITS,), 1)]


def photos(
    names: str, digest: str, accuracy: float = 0.9, labels: str = "ab", **params: Any
) -> Run:
    """A run on test images of some names, by turns of two classes, whose pixels have a digest."""
    rows = [f"{name},{labels[i % 2]},a,0.9,0.1,1\n" for i, name in enumerate(names)]
    files = {
        PREDICTIONS: "image,actual,predicted,confidence,loss,rank\n" + "".join(rows),
        DATASET_SUMMARY: '{"name": "photos", "classes": ["a", "b"], "images": {}, "sha256": {}}',
    }

    def read(path: Path) -> bytes | None:
        return files[path].encode() if path in files else None

    found = run(accuracy, test_set=Images("photos", digest, len(names)), **params)
    return replace(found, read=read)


def test_the_same_images_at_other_sizes_are_ranked_together() -> None:
    small, large = photos("xyz", "1", data_image_size=64), photos("xyz", "2", 0.95)
    board = only_board([small, replace(large, params={**large.params, "data.image_size": 128})])
    assert [place.group.params for place in board.places] == [
        {"data.image_size": 128},
        {"data.image_size": 64},
    ]


@pytest.mark.parametrize(
    "other",
    [
        photos("xyw", "2", data_image_size=128),
        photos("xyz", "2", labels="ba", data_image_size=128),
        # the files were replaced
        photos("xyz", "2", data_image_size=64),
        # no names are known
        run(0.9, test_set=Images("photos", "2", 3), data_image_size=128),
    ],
)
def test_images_of_one_size_that_differ_are_not_ranked_together(other: Run) -> None:
    assert len(rank([photos("xyz", "1", data_image_size=64), other], "accuracy")) == 2


def test_images_whose_names_are_ambiguous_are_told_apart_by_their_pixels() -> None:
    runs = [photos("xxz", str(size), data_image_size=size) for size in (64, 128)]
    assert len(rank(runs, "accuracy")) == 2


# ---- order and statistics


def test_accuracy_ranks_from_the_highest_and_loss_from_the_lowest() -> None:
    runs = [run(0.7, train_lr=1), run(0.9, train_lr=2)]
    for metric in ("accuracy", "loss"):
        best = only_board(runs, metric).places[0].group
        assert best.params == {"train.lr": 2}
    assert best.runs[0].metrics["accuracy"] == 0.9


def test_interval_is_that_of_student() -> None:
    # by hand: mean 2, sd 1, t(0.975, 2 degrees of freedom) = 4.3027, over the root of 3
    found = summarize([1.0, 2.0, 3.0], 0.95)
    assert (found.mean, found.sd) == (2.0, 1.0)
    assert found.margin == pytest.approx(4.3027 / 3**0.5, abs=1e-4)


def test_a_single_run_has_no_interval() -> None:
    found = summarize([0.9], 0.95)
    assert (found.mean, found.sd, found.margin) == (0.9, None, None)


def test_welchs_test_agrees_with_a_published_example() -> None:
    # Welch's t-test, Wikipedia, "Examples", first pair of samples: p = 0.021
    first = [
        *(27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4),
    ]
    second = [
        *(27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4),
    ]
    (p,) = welch(first, [second])
    assert p is not None
    assert round(p, 3) == 0.021


def test_a_clear_difference_is_worse_and_noise_is_no_evidence() -> None:
    board = only_board(
        seeds(0.95, 0.96, 0.97, train_lr=1)
        + seeds(0.94, 0.97, 0.96, train_lr=2)
        + seeds(0.50, 0.51, 0.52, train_lr=3)
    )
    assert standings(board) == [Standing.BEST, Standing.UNCLEAR, Standing.WORSE]


def test_many_groups_make_it_harder_to_call_one_worse() -> None:
    best, near = seeds(0.950, 0.960, 0.970, train_lr=1), seeds(0.925, 0.935, 0.945, train_lr=2)
    same = [r for i in range(8) for r in seeds(0.949, 0.959, 0.969, train_lr=10 + i)]

    alone, among_many = (only_board(runs) for runs in (best + near, best + near + same))
    p_alone = next(p.p for p in alone.places if p.group.params["train.lr"] == 2)
    p_among = next(p.p for p in among_many.places if p.group.params["train.lr"] == 2)
    assert p_alone is not None
    assert p_among is not None
    assert p_alone < 0.05 < p_among


def test_single_runs_are_not_judged_and_do_not_hide_the_best_of_several_seeds() -> None:
    board = only_board(
        seeds(0.99, train_lr=9)
        + seeds(0.95, 0.96, 0.97, train_lr=1)
        + seeds(0.50, 0.51, 0.52, train_lr=3)
    )
    assert standings(board) == [Standing.TOO_FEW, Standing.BEST, Standing.WORSE]


def test_groups_without_any_spread_are_not_judged() -> None:
    assert welch([0.9, 0.9], [[0.8, 0.8], [0.8]]) == [None, None]
    board = only_board(seeds(0.9, 0.9, train_lr=1) + seeds(0.8, 0.8, train_lr=2))
    assert standings(board) == [Standing.BEST, Standing.NO_SPREAD]


def test_an_unknown_metric_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="no run has the metric f1: choose one of accuracy, loss"):
        runs_with("f1", [run(0.9)])


def test_runs_that_lack_a_metric_are_left_out() -> None:
    old, new = run(0.9), run(0.8, seed=1)
    new.metrics["macro_roc_auc"] = 0.7
    assert runs_with("macro_roc_auc", [old, new]) == [new]
    (place,) = only_board([new], "macro_roc_auc").places
    assert place.group.summary.mean == 0.7


@pytest.mark.parametrize(
    ("runs", "sentence"),
    [
        ([("a", 0.9)], ""),
        ([("a", 0.9), ("b", 0.8)], "No winner yet: each has one seed"),
        ([("a", 0.90, 0.91, 0.92), ("b", 0.5, 0.51, 0.52)], "Winner: #1, better than the other."),
        (
            [("a", 0.90, 0.91, 0.92), ("b", 0.90, 0.905, 0.92), ("c", 0.5, 0.51, 0.52)],
            "No clear winner: #1 is the best of several seeds, but is not shown to be better than "
            "1 of 2 others.",
        ),
        (
            [("a", 0.95), ("b", 0.90, 0.91, 0.92)],
            "No winner yet: only #2 has several seeds, which a comparison needs.",
        ),
        (
            [("a", 0.95), ("b", 0.90, 0.91, 0.92), ("c", 0.90, 0.905, 0.92), ("d", 0.5, 0.5, 0.4)],
            "No clear winner: #2 is the best of several seeds, but is not shown to be better than "
            "1 of 3 others and can't be compared with 1 of 3 others, of one seed each.",
        ),
        (
            [("a", 0.9, 0.9), ("b", 0.8, 0.8)],
            "No clear winner: #1 is the best of several seeds, but can't be compared with the "
            "other, because all seeds give the same.",
        ),
    ],
)
def test_who_has_won_is_a_sentence(runs: list[tuple[Any, ...]], sentence: str) -> None:
    found = [r for name, *values in runs for r in seeds(*values, model_activation=name)]
    board = only_board(found)
    assert _winner(board).startswith(sentence)
    assert bool(_winner(board)) == bool(sentence)


# ---- on a terminal


def shown(runs: list[Run], width: int, top: int = 50) -> str:
    """What a terminal of some width shows."""
    console = Console(file=io.StringIO(), width=width, highlight=False)
    show_leaderboard(runs, "accuracy", console, top)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


MANY = {f"train_augment.{name}": 0.125 for name in ("shift", "scale", "shear", "hue", "erase")}
OTHERS = {f"train_{name}": 20 for name in ("epochs", "lr", "momentum", "patience", "loss")}


def test_params_that_do_not_fit_as_columns_stand_below_each_place_and_are_whole() -> None:
    changed = dict.fromkeys([*MANY, *OTHERS], 7)
    text = shown([run(0.9, **MANY, **OTHERS), run(0.8, **changed)], 80)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    first, second = text.index("90.00%"), text.index("80.00%")
    for name in ("shift", "hue", "erase", "epochs", "lr", "patience"):
        old = "0.125" if f"train_augment.{name}" in MANY else "20"
        assert f" {name}={old}" in text[first:second]
        assert f" {name}=7" in text[second:]


def test_params_are_columns_where_these_fit() -> None:
    header = shown([run(0.9, train_lr=1), run(0.8, train_lr=2)], 80).splitlines()[2]
    assert header.split()[:4] == ["#", "lr", "n", "accuracy"]


@pytest.mark.parametrize("width", [80, 60])
def test_a_long_table_shows_the_top_and_the_place_that_others_are_tested_against(
    width: int,
) -> None:
    single = [r for i in range(9) for r in seeds(0.99 - i / 100, train_lr=i + 1)]
    several = seeds(0.80, 0.82, train_lr=20) + seeds(0.50, 0.52, train_lr=21)
    text = shown(single + several, width, top=3)

    rows = [line.split() for line in text.splitlines() if "%" in line]
    assert [row[0] for row in rows if row[0].isdigit()] == ["1", "2", "3", "10"]
    assert "7 places not shown: --top 11 shows all." in text
    assert "only #10 has several seeds" not in text
    assert "#10 is the best of several seeds" in text
    assert "not shown" not in shown(single + several, width, top=11)


def test_params_are_shortened_to_what_no_other_param_or_column_is_called() -> None:
    keys = ("train.lr", "data.channels", "model.conv.channels", "train.loss", "numerics")
    assert short_names(keys) == {
        "train.lr": "lr",
        "data.channels": "data.channels",
        "model.conv.channels": "conv.channels",
        "train.loss": "train.loss",
        "numerics": "numerics",
    }


def test_a_single_run_shows_how_it_differs_from_runs_on_other_images() -> None:
    alone = run(
        0.8, test_set=Images("digits", "d2", 100), data_limit=500, train_lr=0.5, train_epochs=9
    )
    others = [run(0.9, data_limit=None, train_lr=lr, train_epochs=5) for lr in (0.1, 0.2)]
    text = shown([*others, alone], 80)
    assert "digits, 359 test images (d1), 2 runs\nwith limit=null\n" in text
    assert "digits, 100 test images (d2), 1 run\nwith limit=500  lr=0.5  epochs=9\n" in text


# ---- from real runs


def test_a_sweep_is_ranked_from_dvc_and_from_mlflow_alike(swept_template: Project) -> None:
    output = [
        swept_template.run("reprovision", "leaderboard", *flags).stdout
        for flags in ((), ("--mlflow",))
    ]
    from_dvc, from_mlflow = ([line.split() for line in text.splitlines()] for text in output)

    # number, train.lr, n, accuracy, sd, "±", interval, loss; names of runs may differ
    good, bad = (row for row in from_dvc if row and row[0] in ("1", "2"))
    assert [good[:3], bad[:3]] == [["1", "0.02", "2"], ["2", "0.0001", "1"]]
    assert good[:8] in [row[:8] for row in from_mlflow]
    assert bad[:5] in [row[:5] for row in from_mlflow]


def test_a_workspace_that_was_trained_anew_but_not_evaluated_is_left_out(swept: Project) -> None:
    swept.set_params(**{"train.lr": 0.5})
    swept.repro("train")

    output = swept.run("reprovision", "leaderboard").stdout
    assert "3 runs" in output
    assert not re.search(r"\b0\.5\b", output)


def test_damaged_and_edited_results_are_left_out_with_a_warning(swept: Project) -> None:
    base = swept.git("rev-parse", "HEAD")
    swept.git("checkout", "--quiet", "--force", "main")
    for name, path, content in (
        ("edited", "results/test.json", '{"accuracy": 1.0}'),
        ("broken", "params.yaml", "train: [1"),
        ("hostile", "dvc.lock", "stages: {evaluate: {outs: [{path: x, md5: ../../dev/zero}]}}"),
    ):
        (swept.root / path).write_text(content)
        commit = swept.commit(name)
        swept.git("reset", "--quiet", "--hard", "HEAD~")
        swept.git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/{name}", commit)
    done = swept.run("reprovision", "leaderboard")
    assert "bad" in done.stdout
    for name in ("edited", "broken", "hostile"):
        assert f"warning: {name} is left out: " in done.stderr
        assert name not in done.stdout


def test_without_any_run_it_says_how_to_make_some(project: Project) -> None:
    assert "dvc exp run --queue" in project.refused("reprovision", "leaderboard")
