"""Contents in DVC's cache: all files of an output, or none."""

import json
from pathlib import Path

import pytest

from reprovision.core.files import md5_of, write_bytes
from reprovision.results import cache


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cache, "cache_folder", lambda root: root)
    return tmp_path


def add(root: Path, content: bytes, suffix: str = "") -> str:
    """Puts a content into the cache; returns its name there."""
    md5 = md5_of(content) + suffix
    write_bytes(root / "files" / "md5" / md5[:2] / md5[2:], content)
    return md5


def test_a_folder_has_its_files_by_their_paths(root: Path) -> None:
    one, two = add(root, b"one"), add(root, b"two")
    entries = [{"md5": one, "relpath": "a"}, {"md5": two, "relpath": "b/c"}]
    folder = add(root, json.dumps(entries).encode(), ".dir")
    found = cache.cached_files(root, folder)
    assert found is not None
    assert {name: file.read_bytes() for name, file in found.items()} == {"a": b"one", "b/c": b"two"}
    assert cache.cached_files(root, one) == {"": cache.cached_file(root, one)}


def test_a_folder_of_which_a_file_is_missing_is_missing(root: Path) -> None:
    entries = [{"md5": add(root, b"one"), "relpath": "a"}, {"md5": "0" * 32, "relpath": "b"}]
    folder = add(root, json.dumps(entries).encode(), ".dir")
    assert cache.cached_files(root, folder) is None
