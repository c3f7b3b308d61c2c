"""Sources that come as archives: IDX (MNIST and its relatives) and CIFAR's binary batches."""

import gzip
import hashlib
import io
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from project import ROOT

from reprovision.core.errors import UserError
from reprovision.images.preprocessing import Preprocessing
from reprovision.sources import Source, open_source
from reprovision.sources.source import Part

NOWHERE = "http://127.0.0.1:9/"
"""A mirror that refuses at once."""


def idx(array: np.ndarray) -> bytes:
    """An array of bytes in the IDX format."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def digits(count: int, height: int = 5, width: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Random images, taller than wide so that a mix-up shows, and labels of three classes."""
    random = np.random.default_rng(count)
    images = random.integers(0, 256, (count, height, width), np.uint8)
    return images, (np.arange(count) % 3).astype(np.uint8)


def store(path: Path, content: bytes) -> dict[str, str]:
    """Writes an archive; returns how a descriptor names it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return {"file": path.name, "md5": hashlib.md5(content).hexdigest()}


def unexpected(row: int, reason: str) -> None:
    raise AssertionError(f"{row}: {reason}")


def pixels(part: Part, how: Preprocessing) -> np.ndarray:
    return np.concatenate([p for _, p in part.read(how, np.arange(len(part.labels)), unexpected)])


Describe = Callable[..., Path]


@pytest.fixture
def descriptor(tmp_path: Path) -> Describe:
    """Writes a descriptor of a small IDX data set; arguments change its training archives."""

    def describe(**other: Any) -> Path:
        tree: dict[str, Any] = {
            "format": "idx",
            "folder": "Small/raw",
            "mirrors": [NOWHERE],
            "classes": ["a", "b", "c"],
        }
        for name, count in (("train", 30), ("test", 9)):
            images, labels = digits(count)
            raw = tmp_path / "downloads" / "Small" / "raw"
            contents = {"images": gzip.compress(idx(images)), "labels": gzip.compress(idx(labels))}
            if name == "train":
                contents |= {kind: other[kind] for kind in contents if kind in other}
            tree[name] = {
                kind: store(raw / f"{name}-{kind}.gz", content)
                for kind, content in contents.items()
            }
        tree |= other.get("tree", {})
        path = tmp_path / "small.yaml"
        path.write_text(yaml.safe_dump(tree))
        return path

    return describe


def opened(path: Path) -> Source:
    return open_source(path, path.parent / "downloads")


def refusal(path: Path) -> str:
    """The message about a source that can't be opened or read."""
    with pytest.raises(UserError) as caught:
        source = opened(path)
        for part in (source.train, source.test):
            assert part is not None
            pixels(part, Preprocessing(5, 4, 1))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_idx_files_give_their_images_and_labels_in_order(descriptor: Describe) -> None:
    source = opened(descriptor())
    assert source.name == "small"
    assert source.classes == ("a", "b", "c")
    assert (source.channels, source.size()) == (1, (5, 4))
    assert source.test is not None
    for part, count in ((source.train, 30), (source.test, 9)):
        images, labels = digits(count)
        assert np.array_equal(part.labels, labels)
        assert np.array_equal(pixels(part, Preprocessing(5, 4, 1)), images[:, None])
    assert source.test.origin(8) == "test/8"


def test_images_are_fitted_to_a_size_and_channels(descriptor: Describe) -> None:
    fitted = pixels(opened(descriptor()).train, Preprocessing(8, 8, 3))
    assert fitted.shape == (30, 3, 8, 8)
    assert np.array_equal(fitted[:, 0], fitted[:, 2]), "grey stays grey"


def test_transposed_members_of_a_zip_are_turned_upright(tmp_path: Path) -> None:
    content = io.BytesIO()
    tree: dict[str, Any] = {"format": "idx", "folder": "EMNIST/raw", "mirrors": [NOWHERE]}
    with zipfile.ZipFile(content, "w") as archive:
        for name, count in (("train", 30), ("test", 9)):
            images, labels = digits(count)
            archive.writestr(f"gzip/{name}-i.gz", gzip.compress(idx(images.swapaxes(1, 2))))
            archive.writestr(f"gzip/{name}-l.gz", gzip.compress(idx(labels)))
            tree[name] = {"images": f"gzip/{name}-i.gz", "labels": f"gzip/{name}-l.gz"}
    tree["zip"] = store(tmp_path / "downloads/EMNIST/raw/gzip.zip", content.getvalue())
    tree |= {"transposed": True, "classes": ["a", "b", "c"]}
    path = tmp_path / "emnist.yaml"
    path.write_text(yaml.safe_dump(tree))
    source = opened(path)
    assert (source.channels, source.size()) == (1, (5, 4))
    assert np.array_equal(pixels(source.train, Preprocessing(5, 4, 1)), digits(30)[0][:, None])

    tree["test"]["labels"] = "gzip/nothing.gz"
    path.write_text(yaml.safe_dump(tree))
    assert "gzip.zip:gzip/nothing.gz can't be read (there is no such file in it)" in refusal(path)


def encrypted_zip() -> bytes:
    """A zip whose headers say that its member `labels` is encrypted."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("labels", b"x")
    encrypted = bytearray(content.getvalue())
    for at in (encrypted.index(b"PK\x03\x04") + 6, encrypted.index(b"PK\x01\x02") + 8):
        encrypted[at] |= 1
    return bytes(encrypted)


def damaged_zip(compression: int) -> bytes:
    """A zip with a whole directory whose compressed member `labels` is damaged."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        archive.writestr("labels", bytes(range(256)) * 20)
    damaged = bytearray(content.getvalue())
    begin = damaged.index(b"labels") + len("labels")
    damaged[begin + 2 : begin + 40] = b"\xff" * 38
    return bytes(damaged)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (encrypted_zip(), "File 'labels' is encrypted"),
        (b"<html>", "File is not a zip file"),
        (damaged_zip(zipfile.ZIP_DEFLATED), ""),
        (damaged_zip(zipfile.ZIP_BZIP2), ""),
        (damaged_zip(zipfile.ZIP_LZMA), ""),
    ],
)
def test_a_zip_that_can_t_be_read_is_refused(
    descriptor: Describe, tmp_path: Path, content: bytes, problem: str
) -> None:
    stored = store(tmp_path / "downloads/Small/raw/all.zip", content)
    members = {"images": "labels", "labels": "labels"}
    message = refusal(descriptor(tree={"zip": stored, "train": members, "test": members}))
    assert f"all.zip:labels can't be read ({problem}" in message


WHOLE = gzip.compress(idx(digits(30)[0]))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"images": WHOLE[:-30]}, "train-images.gz can't be read"),
        (
            {"images": WHOLE[:40] + bytes([WHOLE[40] ^ 255]) + WHOLE[41:]},
            "train-images.gz can't be",
        ),
        ({"images": WHOLE[:10] + b"\xff" * 50}, "train-images.gz can't be read (Error -3 while"),
        ({"images": b"<html>not here</html>"}, "train-images.gz can't be read (Not a gzipped file"),
        ({"images": b""}, "train-images.gz can't be read (it is not an IDX file"),
        ({"images": gzip.compress(idx(digits(30)[0])[:-1])}, "can't be read (it ends early)"),
        ({"images": gzip.compress(idx(digits(30)[1]))}, "it is not an IDX file of 3 dimensions"),
        ({"images": gzip.compress(idx(digits(7)[0]))}, "has 7 images, but there are 30 labels"),
        (
            {"labels": gzip.compress(idx(np.full(30, 3, np.uint8)))},
            "has labels that are not below 3",
        ),
        (
            {"labels": gzip.compress(idx(np.empty(0, np.uint8)))},
            "its dimensions (0,) are not plausible",
        ),
        ({"images": gzip.compress(bytes([0, 0, 8, 3]) + b"\xff" * 12)}, "are not plausible"),
        (
            {"tree": {"zip": None, "train": {"images": "a", "labels": "b"}}},
            "a has no MD5 and there is no zip",
        ),
        (
            {"tree": {"format": "tar"}},
            "format is 'tar': use digits or idx or cifar",
        ),
        (
            {"tree": {"folder": "../../outside"}},
            "folder is '../../outside': must match the pattern",
        ),
        ({"tree": {"mirrors": ["ftp://x/"]}}, "mirrors[0] is 'ftp://x/': must match the pattern"),
    ],
)
def test_damaged_archives_and_wrong_descriptors_are_refused_in_one_sentence(
    descriptor: Describe, change: dict[str, Any], problem: str
) -> None:
    assert problem in refusal(descriptor(**change))


def test_an_archive_with_another_md5_is_never_read(descriptor: Describe, tmp_path: Path) -> None:
    path = descriptor()
    damaged = tmp_path / "downloads/Small/raw/train-images.gz"
    damaged.write_bytes(damaged.read_bytes() + b"x")
    message = refusal(path)
    assert message.startswith(f"{damaged.parent} lacks train-images.gz (MD5 ")
    assert "and the download from http://127.0.0.1:9/ failed: put the files there" in message


def test_without_network_the_files_and_their_md5_are_named(tmp_path: Path) -> None:
    tree = yaml.safe_load((ROOT / "data" / "mnist.yaml").read_text())
    tree["mirrors"] = [NOWHERE]
    path = tmp_path / "mnist.yaml"
    path.write_text(yaml.safe_dump(tree))
    message = refusal(path)
    for file in (*tree["train"].values(), *tree["test"].values()):
        assert file["file"] in message, "all that is missing is named at once"
        assert file["md5"] in message
    assert str(tmp_path / "downloads/MNIST/raw") in message


def test_existing_archives_are_used_without_network(
    descriptor: Describe, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = descriptor()

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr("socket.socket.connect", refuse)
    opened(path)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server of a folder: its address, and the folder."""
    import functools
    import http.server
    import threading

    folder = tmp_path / "web"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", folder
        server.shutdown()


def test_a_missing_archive_is_downloaded_from_the_first_mirror_that_has_it(
    descriptor: Describe, tmp_path: Path, web: tuple[str, Path]
) -> None:
    address, folder = web
    path = descriptor(tree={"mirrors": [NOWHERE, address]})
    wanted = tmp_path / "downloads/Small/raw/train-images.gz"
    shutil.move(wanted, folder / wanted.name)
    assert np.array_equal(
        pixels(opened(path).train, Preprocessing(5, 4, 1)), digits(30)[0][:, None]
    )
    assert wanted.exists()


def cifar_rows(count: int) -> tuple[np.ndarray, np.ndarray, bytes]:
    random = np.random.default_rng(count)
    images = random.integers(0, 256, (count, 3, 32, 32), np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    rows = np.concatenate([labels[:, None], images.reshape(count, -1)], 1)
    return images, labels, rows.tobytes()


@pytest.fixture
def cifar(tmp_path: Path) -> Describe:
    """A descriptor like CIFAR-10's with small batches; keyword arguments replace members."""

    def describe(**other: bytes) -> Path:
        tree = yaml.safe_load((ROOT / "data" / "cifar10.yaml").read_text())
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as archive:
            for name in [*tree["train"], *tree["test"], "cifar-10-batches-bin/readme.html"]:
                member = other.get(Path(name).stem, cifar_rows(20)[2])
                info = tarfile.TarInfo(name)
                info.size = len(member)
                archive.addfile(info, io.BytesIO(member))
        stored = other.get("whole", content.getvalue())
        stored = stored[: -other["cut"][0]] if "cut" in other else stored
        tree |= {
            "mirrors": [NOWHERE],
            "archive": store(tmp_path / "downloads" / "cifar.tar.gz", stored),
        }
        path = tmp_path / "cifar.yaml"
        path.write_text(yaml.safe_dump(tree))
        return path

    return describe


def test_cifar_batches_give_colour_images_in_order(cifar: Describe) -> None:
    source = opened(cifar())
    images, labels, _ = cifar_rows(20)
    assert (source.channels, source.size()) == (3, (32, 32))
    assert source.classes[3] == "cat"
    assert np.array_equal(source.train.labels, np.tile(labels, 5))
    assert np.array_equal(
        pixels(source.train, Preprocessing(32, 32, 3)), np.tile(images, (5, 1, 1, 1))
    )
    assert source.test is not None
    assert len(source.test.labels) == 20


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"cut": b"\x40"}, "cifar.tar.gz can't be read"),
        ({"whole": b"<html>"}, "cifar.tar.gz can't be read"),
        ({"data_batch_3": cifar_rows(20)[2][:-1]}, "does not hold whole rows of 3073 bytes"),
        ({"test_batch": b""}, "does not hold whole rows of 3073 bytes"),
        (
            {"data_batch_1": b"\x0a" + bytes(3072)},
            "holds the label 10, but there are fewer classes",
        ),
    ],
)
def test_a_damaged_cifar_archive_is_refused_in_one_sentence(
    cifar: Describe, change: dict[str, bytes], problem: str
) -> None:
    assert problem in refusal(cifar(**change))


def test_a_small_archive_that_claims_gigabytes_is_refused_before_unpacking(
    cifar: Describe, tmp_path: Path
) -> None:
    batch = tmp_path / "cifar-10-batches-bin" / "data_batch_1.bin"
    batch.parent.mkdir()
    with batch.open("wb") as file:
        file.truncate(6 * 2**30)
    command = ["tar", "--create", "--sparse", "--gzip", str(batch.relative_to(tmp_path))]
    packed = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, check=True).stdout
    assert len(packed) < 100_000
    assert "data_batch_1.bin would be 6,442,450,944 bytes long" in refusal(cifar(whole=packed))


@pytest.mark.parametrize("path", sorted((ROOT / "data").glob("*.yaml")), ids=lambda p: p.stem)
def test_each_descriptor_in_the_repository_can_be_read_and_names_its_licence(
    path: Path, tmp_path: Path
) -> None:
    header = path.read_text().split("format:")[0]
    assert "licence" in header or "CC BY" in header or "public domain" in header
    tree = yaml.safe_load(path.read_text())
    if tree["format"] != "digits":
        tree["mirrors"] = [NOWHERE]
        path = tmp_path / path.name
        path.write_text(yaml.safe_dump(tree))
        # valid: it only lacks its archives
        assert " lacks " in refusal(path)


def test_the_embedded_digits_are_the_ones_of_scikit_learn(tmp_path: Path) -> None:
    source = open_source(ROOT / "data" / "digits.yaml", tmp_path)
    assert (source.channels, source.size()) == (1, (8, 8))
    assert np.bincount(source.train.labels).tolist() == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]
    images = pixels(source.train, Preprocessing(8, 8, 1))
    assert (images.min(), images.max()) == (0, 255)


def test_the_real_mnist_is_read(mnist_archives: Path, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    shutil.copytree(mnist_archives, raw)
    source = open_source(ROOT / "data" / "mnist.yaml", tmp_path)
    assert source.test is not None
    assert len(source.train.labels) == 60_000
    # the first digits of LeCun's training set
    assert source.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    images = pixels(source.test, Preprocessing(28, 28, 1))
    assert images.shape == (10_000, 1, 28, 28)
    assert images.mean() == pytest.approx(33.791, abs=0.001)
