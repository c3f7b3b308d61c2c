"""Finished runs of a clone: each experiment is read once."""

import json
from pathlib import Path

import pytest
from project import Project

from reprovision.results.finished import finished_runs

KEPT = Path(".reprovision/experiments.json")


def accuracies() -> dict[str, float]:
    return {run.name: run.metrics["accuracy"] for run in finished_runs()}


def test_an_experiment_is_read_once_and_forgotten_when_it_is_removed(
    swept: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(swept.root)
    first, again = finished_runs(), finished_runs()
    assert [run.name for run in first] == ["bad", "seed-1", "HEAD"]
    for one, other in zip(first, again, strict=True):
        for name in ("name", "title", "params", "metrics", "test_set", "code"):
            assert getattr(one, name) == getattr(other, name)
        assert one.predictions.origins == other.predictions.origins

    kept = json.loads(KEPT.read_text())
    for run in kept["runs"].values():
        run["metrics"]["accuracy"] = 0.125
    KEPT.write_text(json.dumps(kept))
    assert [name for name, accuracy in accuracies().items() if accuracy == 0.125] == [
        "bad",
        "seed-1",
    ]
    swept.exp("remove", "bad")
    # what the workspace still holds of it has no other name now
    assert [*accuracies()] == ["workspace", "seed-1", "HEAD"]
    assert len(json.loads(KEPT.read_text())["runs"]) == 1


@pytest.mark.parametrize("content", ["", "{", '{"version": 0, "runs": {}}', '{"runs": {"a": 1}}'])
def test_kept_results_that_are_damaged_or_of_another_version_are_read_anew(
    swept: Project, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.chdir(swept.root)
    expected = accuracies()
    KEPT.write_text(content)
    assert accuracies() == expected
    assert json.loads(KEPT.read_text())["version"] > 0
