"""A flipped bit is found before it is shipped, and the sentence says what to delete."""

import os
from pathlib import Path

import pytest
from project import Project

ONNX = "models/exported/model.onnx"
CHECKPOINT = "models/checkpoint.safetensors"


def flip_a_bit(path: Path) -> None:
    """Flips one bit and keeps mode and times, as a failing disk does."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def cached(project: Project, path: str) -> Path:
    """The file in DVC's cache with the content of an output."""
    content = (project.root / path).read_bytes()
    files = (project.root / ".dvc/cache/files").rglob("*")
    return next(file for file in files if file.is_file() and file.read_bytes() == content)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("path", [ONNX, CHECKPOINT])
def test_a_damaged_copy_in_the_cache_is_named_and_its_deletion_repairs_it(
    reproduced: Project, path: str
) -> None:
    before = reproduced.outputs()
    copy = cached(reproduced, path)
    flip_a_bit(copy)
    (reproduced.root / path).unlink()
    reproduced.run("dvc", "checkout", "--force", check=False)
    for command in (("reprovision", "sync"), ("reprovision", "promote"), reproduced.stage("track")):
        sentence = reproduced.refused(*command)
        assert "is not the file that dvc.lock describes, nor is its copy" in sentence, command
        assert str(copy) in sentence

    copy.unlink()
    (reproduced.root / path).unlink()
    reproduced.repro()
    assert reproduced.outputs() == before


def test_a_damaged_output_is_restored_from_the_cache(reproduced: Project) -> None:
    before = reproduced.outputs()
    flip_a_bit(reproduced.root / CHECKPOINT)
    sentence = reproduced.refused("reprovision", "promote")
    assert f"delete {CHECKPOINT}, then run `uv run dvc repro`" in sentence
    (reproduced.root / CHECKPOINT).unlink()
    reproduced.repro()
    assert reproduced.outputs() == before
