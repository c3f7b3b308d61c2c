"""The benchmarks run, and the recipe `fast` keeps what it promises."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import MNIST_FILES
from project import ROOT

# the benchmarks lie beside the tests and are no part of the package
sys.path.insert(0, str(ROOT))

from benchmarks.__main__ import QUIET
from benchmarks.data import prepare_mnist, scratch
from benchmarks.parts import NAMES, find
from benchmarks.process import fresh
from benchmarks.report import write_report
from benchmarks.results import describe_machine, load_result
from reprovision.recipes import find_recipe

DOWNLOADS = ROOT / "data" / "downloads" / "MNIST" / "raw"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all((DOWNLOADS / name).is_file() for name in MNIST_FILES),
        reason=f"MNIST's four archives are not in {DOWNLOADS}",
    ),
]

SEEDS = range(3)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the results of all parts."""
    return tmp_path_factory.mktemp("results")


@pytest.mark.parametrize("name", NAMES)
def test_each_part_runs_alone_and_keeps_its_samples_with_the_machine(
    name: str, results: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", name, "--toy", "--out", str(results)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = load_result(name, results)
    assert result and result.toy and result.machine["torch"]
    rows = find(name).rows(result.samples)
    assert rows
    # what was printed comes from what was kept
    assert all(row.result in done.stdout for row in rows)


def test_the_page_states_that_toy_results_mean_nothing(results: Path, tmp_path: Path) -> None:
    measured = sorted(path.stem for path in results.glob("*.json"))
    if not measured:
        pytest.skip("no part was measured in this session")
    write_report(results, tmp_path)
    page = (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert page.count("these numbers mean nothing") == len(measured)
    pictures = {path.name for path in tmp_path.glob("images/*")}
    drawn = {"fast", "recipes", "scale"}.intersection(measured)
    assert pictures == {f"performance-{name}.png" for name in drawn}


def test_the_committed_results_are_not_toys() -> None:
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        assert json.loads(path.read_text(encoding="utf-8"))["toy"] is False, path


def test_the_recipe_fast_keeps_its_promise_of_accuracy_and_on_a_quiet_machine_of_time() -> None:
    promised = find_recipe("fast")
    machine = describe_machine()
    with scratch() as folder:
        prepared = prepare_mnist("fast", folder)
        runs = [fresh("ours.train", recipe="fast", prepared=prepared, seed=s) for s in SEEDS]
    # the mean of three seeds varies by 0.05 points
    assert statistics.fmean(run["accuracy"] for run in runs) >= promised.accuracy - 0.15
    # the promise is for two cores with fast bfloat16 that nobody else uses: with others at work the
    # two threads wait for each other, many times as long
    if machine["bf16"] == "yes" and float(machine["busy"]) <= QUIET:
        assert min(run["seconds"] for run in runs) <= 2 * promised.seconds
