"""No room, no access, no memory: one sentence, earlier results intact, and all well afterwards."""

import os
import re
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from project import Project

from reprovision.core import files
from reprovision.core.files import write_bytes

Mount = Callable[..., Path]

OUTPUTS = {
    "prepare": {"data/prepared": "prepared", "results/plots/samples.png": "samples.png"},
    "train": {"models/checkpoint.safetensors": "c.safetensors", "results/history.csv": "h.csv"},
    "export": {"models/exported": "exported", "results/export.json": "export.json"},
}
"""Where stages that write a lot put it, and under which names these tests have it instead."""


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """`mount(kilobytes)` makes a file system of that size, `mount(of=folder)` a read-only view."""
    mounted: list[Path] = []

    def make(kilobytes: int = 0, of: Path | None = None) -> Path:
        point = tmp_path / f"mount-{len(mounted)}"
        point.mkdir()
        if of is None:
            commands = [["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(point)]]
        else:
            commands = [
                ["mount", "--bind", str(of), str(point)],
                ["mount", "-o", "remount,ro,bind", str(point)],
            ]
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"only root can mount file systems, and not everywhere: {done.stderr}")
        mounted.append(point)
        return point

    yield make
    for point in mounted:
        subprocess.run(["umount", "--lazy", str(point)], check=True)


def _command(project: Project, stage: str, folder: Path) -> list[str]:
    """A stage's command with its outputs in another folder."""
    names = OUTPUTS[stage]
    return [str(folder / names[part]) if part in names else part for part in project.stage(stage)]


SLOW_EXPORT = ("prepare", "train", pytest.param("export", marks=pytest.mark.slow))


@pytest.mark.parametrize("stage", SLOW_EXPORT)
def test_a_full_disk_is_told_and_mended(reproduced: Project, mount: Mount, stage: str) -> None:
    full = mount(kilobytes=4096)
    filler = full / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    os.truncate(filler, filler.stat().st_size - 4096)

    said = reproduced.refused(*_command(reproduced, stage, full))
    assert "No space left on device: make room there, then run it again" in said
    assert str(full) in said
    whole = reproduced.outputs()
    assert whole["dvc.lock"], "earlier results are intact"
    filler.unlink()
    reproduced.run(*_command(reproduced, stage, full))
    assert not list(full.rglob("*.partial"))
    for path, name in OUTPUTS[stage].items():
        for file in [full / name] if (full / name).is_file() else (full / name).rglob("*.*"):
            inner = "" if file == full / name else f"/{file.relative_to(full / name)}"
            assert file.read_bytes() == (reproduced.root / f"{path}{inner}").read_bytes()


@pytest.mark.parametrize("stage", SLOW_EXPORT)
def test_a_read_only_folder_is_told(reproduced: Project, mount: Mount, stage: str) -> None:
    (reproduced.root / "elsewhere").mkdir()
    closed = mount(of=reproduced.root / "elsewhere")
    said = reproduced.refused(*_command(reproduced, stage, closed))
    assert "Read-only file system: allow writing there, then run it again" in said
    assert str(closed) in said


def test_training_tells_of_a_disk_too_full_to_resume_from(
    reproduced: Project, mount: Mount
) -> None:
    full = mount(kilobytes=8)
    reproduced.env["DVC_ROOT"] = str(full)
    assert "No space left" in reproduced.refused(*reproduced.stage("train"))


@pytest.mark.slow
def test_a_run_on_a_full_disk_leaves_the_earlier_results(
    make_project: Callable[..., Project], mount: Mount
) -> None:
    project = make_project(reproduced=True)
    disk = mount(kilobytes=400_000)
    subprocess.run(["cp", "-a", f"{project.root}/.", str(disk)], check=True)
    moved = Project(disk, project.env)
    before = moved.outputs()
    moved.set_params(**{"train.lr": 0.01})
    with pytest.raises(OSError, match="No space left"), (disk / "filler").open("wb") as file:
        while True:
            file.write(bytes(65536))
    done = moved.repro(check=False)
    assert done.returncode
    assert "Traceback" not in done.stdout + done.stderr

    (disk / "filler").unlink()
    moved.git("checkout", "--", "params.yaml", "dvc.lock", "results")
    moved.run("dvc", "checkout", "--force")
    after = moved.outputs()
    assert {path: after[path] for path in before if path != "results/track.json"} == {
        path: before[path] for path in before if path != "results/track.json"
    }
    moved.repro()
    assert moved.outputs() == before


@pytest.mark.parametrize(
    ("stage", "params"),
    [
        ("train", {"model.hidden": [100_000, 100_000]}),
        pytest.param(
            "prepare", {"data.image_size": 1024, "data.channels": 3}, marks=pytest.mark.slow
        ),
    ],
)
def test_missing_memory_is_told(reproduced: Project, stage: str, params: dict[str, object]) -> None:
    reproduced.set_params(**params)
    limit = 5 * 2**30
    done = subprocess.run(
        reproduced.stage(stage),
        cwd=reproduced.root,
        env=reproduced.env,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.returncode == 1, done.stderr
    assert re.fullmatch(r"error: memory ran out: use a smaller .*\n", done.stderr), done.stderr


# ---- writing a file


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, mount: Mount) -> None:
    path = mount(kilobytes=64) / "file"
    write_bytes(path, b"old")
    with pytest.raises(OSError, match="No space left"):
        write_bytes(path, bytes(100_000))
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_many_write_at_once_is_whole(tmp_path: Path) -> None:
    path, problems = tmp_path / "file", []

    def write(letter: bytes) -> None:
        try:
            for _ in range(30):
                write_bytes(path, letter * 100_000)
        except OSError as error:
            problems.append(error)

    writers = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            assert len(set(path.read_bytes())) == 1
    assert not problems
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    old, new, other = (tmp_path / f".{name}.partial" for name in ("a.1", "a.2", "b.1"))
    for partial in (old, new, other):
        partial.write_bytes(b"half")
    long_ago = time.time() - files.ABANDONED - 1
    os.utime(old, (long_ago, long_ago))
    os.utime(other, (long_ago, long_ago))
    write_bytes(tmp_path / "a", b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.2.partial", ".b.1.partial", "a"]
