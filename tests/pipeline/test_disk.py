"""A full disk, a read-only folder, too little memory: one sentence, and earlier results intact."""

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

FOLDERS = {"prepare": "data/prepared", "train": "models", "export": "models/exported"}
"""Where the stages that write a lot put it."""


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mounts a file system of some kilobytes at a folder, or else makes the folder read-only."""
    mounted: list[Path] = []

    def make(folder: Path, kilobytes: int | None = None) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        commands = [["mount", "--bind", folder, folder], ["mount", "-o", "remount,ro,bind", folder]]
        if kilobytes:
            commands = [["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder]]
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"only root can mount file systems, and not everywhere: {done.stderr}")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


SLOW_EXPORT = ("prepare", "train", pytest.param("export", marks=pytest.mark.slow))


@pytest.mark.parametrize("stage", SLOW_EXPORT)
def test_a_stage_on_a_full_disk_fails_in_one_sentence_and_succeeds_when_there_is_space(
    reproduced: Project, mount: Mount, stage: str
) -> None:
    before, folder = reproduced.outputs(), FOLDERS[stage]
    full = mount(reproduced.root / folder, kilobytes=4096)
    filler = full / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    os.truncate(filler, filler.stat().st_size - 4096)

    message = reproduced.refused(*reproduced.stage(stage))
    assert "No space left on device: free some space there, then run it again" in message
    assert folder in message
    filler.unlink()
    reproduced.run(*reproduced.stage(stage))
    after = reproduced.outputs()
    assert any(path.startswith(folder) for path in after)
    assert after.items() <= before.items(), "the same bytes, and the other results are intact"
    assert not list(full.rglob("*.partial"))


@pytest.mark.parametrize("stage", SLOW_EXPORT)
def test_a_read_only_folder_is_reported(reproduced: Project, mount: Mount, stage: str) -> None:
    mount(reproduced.root / FOLDERS[stage])
    message = reproduced.refused(*reproduced.stage(stage))
    assert "Read-only file system: make it writable, then run it again" in message
    assert FOLDERS[stage] in message


def test_a_disk_too_full_for_the_resume_state_is_reported(
    reproduced: Project, mount: Mount
) -> None:
    mount(reproduced.root / ".resume", kilobytes=8)
    assert "No space left" in reproduced.refused(*reproduced.stage("train"))


@pytest.mark.slow
def test_a_run_on_a_full_disk_leaves_the_earlier_results(
    make_project: Callable[..., Project], mount: Mount, tmp_path: Path
) -> None:
    project = make_project(reproduced=True)
    disk = mount(tmp_path / "disk", kilobytes=400_000)
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


def test_running_out_of_memory_is_reported(reproduced: Project) -> None:
    reproduced.set_params(**{"model.hidden": [100_000, 100_000]})
    limit = 5 * 2**30
    done = subprocess.run(
        reproduced.stage("train"),
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
    path = mount(tmp_path / "full", kilobytes=64) / "file"
    write_bytes(path, b"old")
    with pytest.raises(OSError, match="No space left"):
        write_bytes(path, bytes(100_000))
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_many_write_at_once_is_whole(tmp_path: Path) -> None:
    path, errors = tmp_path / "file", []

    def write(letter: bytes) -> None:
        try:
            for _ in range(30):
                write_bytes(path, letter * 100_000)
        except OSError as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            assert len(set(path.read_bytes())) == 1
    assert not errors
    assert list(tmp_path.iterdir()) == [path]


def test_git_and_dvc_overlook_what_a_killed_writer_has_left(project: Project) -> None:
    name = "results/.classes.csv.0123abcd.partial"
    assert project.git("check-ignore", name)
    assert "dvcignore" in project.run("dvc", "check-ignore", "--details", name).stdout


def test_partial_files_of_killed_writers_are_removed(tmp_path: Path) -> None:
    old, new, other = (tmp_path / f".{name}.partial" for name in ("a.1", "a.2", "b.1"))
    for partial in (old, new, other):
        partial.write_bytes(b"half")
    long_ago = time.time() - files.ABANDONED - 1
    os.utime(old, (long_ago, long_ago))
    os.utime(other, (long_ago, long_ago))
    write_bytes(tmp_path / "a", b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.2.partial", ".b.1.partial", "a"]
