"""Hostile input: always success or one clear sentence, never a crash, a hang or a wrong result.

Each case is a function of a kind and a number, so that a failure names all it takes to repeat it.
"""

import copy
import gzip
import hashlib
import io
import json
import os
import pickle
import random
import shutil
import signal
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from project import ROOT, TINY
from safetensors.torch import load_file, save

from reprovision.core.errors import UserError
from reprovision.core.params import Params, load_params
from reprovision.data.dataset import SPLITS, DatasetInfo, load_info, load_origins, load_split
from reprovision.images.preprocessing import ImageError, Preprocessing, preprocess
from reprovision.models.checkpoint import (
    CheckpointHeader,
    digest_of_tensors,
    load_checkpoint,
    save_checkpoint,
)
from reprovision.models.classifier import build_model, count_parameters
from reprovision.models.inference import predict
from reprovision.results.history import read_history
from reprovision.results.metrics import measure
from reprovision.results.predictions import read_predictions
from reprovision.results.sums import Settings
from reprovision.sources import archives, open_source
from reprovision.sources.prepare import prepare
from reprovision.training import loop
from reprovision.training.resume import ResumeFolder
from reprovision.training.state import TrainingState

SECONDS = 10
"""That a case may take."""

VALUES: list[Any] = [
    *(None, True, False, 0, 1, 2, -1, 3, 7, 2**31, 2**63, 10**30, 0.5, 1.5, -0.5, 1e-300, 1e300),
    *(float("nan"), float("inf"), "", "abc", "1e-3", "1", "null", "auto", "../..", "\0", "ä\u2028"),
    *([], [[]], [1], [0], [-1], [2**40], ["a"], [1] * 50, {}, {"a": 1}, [None], "x" * 5000),
]
"""What a key might hold by mistake or malice."""


class Hang(BaseException):
    """Is raised in a case that takes too long; nothing but the test catches it."""


class Inputs:
    """Whole inputs to be damaged, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        tree = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
        for key, value in {**TINY, "data.limit": None, "train.device": "cpu"}.items():
            *sections, last = key.split(".")
            section = tree
            for name in sections:
                section = section[name]
            section[last] = value
        self.tree = tree
        self.params = Params.model_validate(tree)
        self._write_archives(folder / "downloads" / "tiny")
        self.prepared = folder / "prepared"
        self.info = prepare(self.open_archives(), self.params.data, self.prepared)
        self.state = self._train()
        self.checkpoint = folder / "checkpoint.safetensors"
        save_checkpoint(self.checkpoint, self.state.saved_model, self.params.model, self.info)

    def _write_archives(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        dice = np.random.default_rng(0)
        self.archives = {}
        for split, count in (("train", 60), ("test", 20)):
            pixels = dice.integers(0, 256, (count, 8, 8), np.uint8).tobytes()
            self.archives[f"{split}-images"] = (
                struct.pack(">4B3I", 0, 0, 8, 3, count, 8, 8) + pixels
            )
            labels = bytes(i % 3 for i in range(count))
            self.archives[f"{split}-labels"] = struct.pack(">4BI", 0, 0, 8, 1, count) + labels
        for name, content in self.archives.items():
            (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))

    def descriptor(self) -> dict[str, Any]:
        """A descriptor that fits the archives as they are now."""
        folder = self.folder / "downloads" / "tiny"

        def archive(name: str) -> dict[str, str]:
            content = (folder / f"{name}.gz").read_bytes()
            return {"file": f"{name}.gz", "md5": hashlib.md5(content).hexdigest()}

        return {
            "format": "idx",
            "folder": "tiny",
            "mirrors": ["http://localhost/"],
            "classes": ["a", "b", "c"],
            **{
                s: {k: archive(f"{s}-{k}") for k in ("images", "labels")} for s in ("train", "test")
            },
        }

    def open_archives(self, descriptor: Any = None) -> Any:
        """Opens the archives by a descriptor, their own if none is given."""
        path = self.folder / "tiny.yaml"
        path.write_text(yaml.safe_dump(descriptor or self.descriptor()), encoding="utf-8")
        return open_source(path, self.folder / "downloads")

    def _train(self) -> TrainingState:
        state = loop.start(self.params, self.info)
        train, val = (load_split(self.prepared, name) for name in ("train", "val"))
        self.resume = ResumeFolder(self.folder / "resume", "key", {})
        loop.train(state, train, val, self.params, [self.resume])
        return state


# ---- ways to damage something


def damage(dice: random.Random, content: bytes) -> bytes:
    """Flips bits, cuts, repeats or overwrites."""
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 1, 2, 8))):
        at = dice.randrange(len(changed) or 1)
        match dice.randrange(6):
            case 0 | 1 if changed:
                changed[at] ^= 1 << dice.randrange(8)
            case 2:
                del changed[at:]
            case 3:
                changed[at:at] = changed[at : at + dice.randrange(64)]
            case 4:
                changed[at : at + dice.randrange(16)] = dice.randbytes(dice.randrange(16))
            case 5:
                changed[at : at + 4] = dice.choice((b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff"))
    return bytes(changed)


def disturb(dice: random.Random, tree: Any) -> Any:
    """A copy of a tree of plain values with something in it changed, missing or added."""
    tree = json.loads(json.dumps(tree))
    for _ in range(dice.choice((1, 1, 1, 2, 5))):
        parent, key = dice.choice(list(_places(tree)))
        match dice.randrange(8):
            case 0:
                del parent[key]
            case 1 if isinstance(parent, dict):
                parent[str(dice.choice(VALUES))] = copy.deepcopy(dice.choice(VALUES))
            case _:
                parent[key] = copy.deepcopy(dice.choice(VALUES))
        if not list(_places(tree)):
            break
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(items):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)


# ---- kinds of cases: each damages something and then uses it


def params(inputs: Inputs, dice: random.Random) -> None:
    path = inputs.scratch / "params.yaml"
    if dice.random() < 0.3:
        path.write_bytes(damage(dice, (ROOT / "params.yaml").read_bytes()))
    else:
        path.write_text(yaml.safe_dump(disturb(dice, inputs.tree)), encoding="utf-8")
    loaded = load_params(path)
    with torch.device("meta"):
        model = build_model(loaded.model, (1, 8, 8), 10, (0.5,), (0.5,))
    assert model(torch.zeros(1, 1, 8, 8, device="meta")).shape == (1, 10)
    small = count_parameters(model) < 100_000 and loaded.train.device == "cpu"
    if small and loaded.train.batch_size < 1000:
        train = loaded.train.model_copy(update={"epochs": 1})
        state = loop.start(loaded.model_copy(update={"train": train}), inputs.info)
        assert state.history == []


def descriptor(inputs: Inputs, dice: random.Random) -> None:
    if dice.random() < 0.3:
        name = dice.choice(sorted((ROOT / "data").glob("*.yaml")))
        path = inputs.scratch / "source.yaml"
        path.write_bytes(damage(dice, name.read_bytes()))
        source = open_source(path, inputs.folder / "downloads")
    else:
        source = inputs.open_archives(disturb(dice, inputs.descriptor()))
    info = prepare(source, inputs.params.data, inputs.scratch / "prepared")
    assert len(info.classes) == len(set(info.classes)), "classes are distinct"
    load_split(inputs.scratch / "prepared", "test")


def archive(inputs: Inputs, dice: random.Random) -> None:
    name = dice.choice(sorted(inputs.archives))
    path = inputs.folder / "downloads" / "tiny" / f"{name}.gz"
    whole = path.read_bytes()
    inside = dice.random() < 0.5
    try:
        content = damage(dice, inputs.archives[name] if inside else whole)
        path.write_bytes(gzip.compress(content, mtime=0) if inside else content)
        info = prepare(inputs.open_archives(), inputs.params.data, inputs.scratch / "prepared")
    finally:
        path.write_bytes(whole)
    if not inside:
        assert info == inputs.info.model_copy(update={"name": info.name})


def picture(inputs: Inputs, dice: random.Random) -> None:
    kind, mode = (
        dice.choice(("png", "jpeg", "gif", "bmp", "tiff", "webp")),
        dice.choice(("L", "RGB")),
    )
    pixels = np.arange(24 * 24 * 3, dtype=np.uint32).reshape(24, 24, 3) % 251
    content = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(content, kind)
    path, whole = inputs.scratch / f"picture.{kind}", inputs.scratch / "whole"
    whole.write_bytes(content.getvalue())
    path.write_bytes(damage(dice, content.getvalue()))
    how = Preprocessing(8, 8, dice.choice((1, 3)))
    try:
        found = preprocess(path, how)
    except ImageError as error:
        # as prepare does, which names the file
        raise UserError(str(error)) from error
    assert (found.shape, found.dtype) == (how.shape, np.uint8)
    if kind == "png":
        np.testing.assert_array_equal(found, preprocess(whole, how))


def prepared(inputs: Inputs, dice: random.Random) -> None:
    folder = inputs.scratch / "damaged"
    if not folder.exists():
        shutil.copytree(inputs.prepared, folder)
    path = dice.choice([file for file in sorted(folder.rglob("*")) if file.is_file()])
    whole = path.read_bytes()
    try:
        path.write_bytes(damage(dice, whole))
        assert load_info(folder) == inputs.info
        for split in SPLITS:
            found, expected = load_split(folder, split), load_split(inputs.prepared, split)
            np.testing.assert_array_equal(found.images, expected.images)
            np.testing.assert_array_equal(found.labels, expected.labels)
            assert load_origins(folder, split) == load_origins(inputs.prepared, split)
    finally:
        # a new file: the old one may still be mapped
        path.unlink()
        path.write_bytes(whole)


def checkpoint(inputs: Inputs, dice: random.Random) -> None:
    path = inputs.scratch / "checkpoint.safetensors"
    path.write_bytes(damage(dice, inputs.checkpoint.read_bytes()))
    found, expected = load_checkpoint(path), load_checkpoint(inputs.checkpoint)
    assert found.header == expected.header
    for name, value in expected.classifier.state_dict().items():
        torch.testing.assert_close(found.classifier.state_dict()[name], value, rtol=0, atol=0)


def forged_checkpoint(inputs: Inputs, dice: random.Random) -> None:
    """Not damaged but made up, with a right digest."""
    weights, header = load_file(inputs.checkpoint), _header_of(inputs)
    if dice.random() < 0.8:
        header = disturb(dice, header)
    if dice.random() < 0.3:
        name = dice.choice(sorted(weights))
        weights[name] = dice.choice((weights[name][:1], weights[name].half(), torch.zeros(0)))
    elif dice.random() < 0.3:
        weights[dice.choice(("", "network", "network.0.weight2"))] = torch.zeros(2)
    try:
        output = CheckpointHeader.model_validate(header).model_copy(update={"digest": ""})
        header["digest"] = digest_of_tensors(weights, output.model_dump_json())
    except (ValueError, TypeError):
        pass
    path = inputs.scratch / "checkpoint.safetensors"
    path.write_bytes(save(weights, {"reprovision": json.dumps(header)}))
    loaded = load_checkpoint(path)
    data = loaded.header.dataset
    logits = predict(loaded.classifier, torch.zeros(2, *data.shape, dtype=torch.uint8), 2)
    assert logits.shape == (2, len(data.classes))


def resume_state(inputs: Inputs, dice: random.Random) -> None:
    folder = ResumeFolder(inputs.scratch / "resume", "key", {})
    folder.path.parent.mkdir(parents=True, exist_ok=True)
    folder.path.write_bytes(damage(dice, inputs.resume.path.read_bytes()))
    state = loop.start(inputs.params, inputs.info)
    if folder.restore(state):
        assert state.history == inputs.state.history


def tables(inputs: Inputs, dice: random.Random) -> None:
    path = inputs.scratch / "table.csv"
    history = "epoch,train_loss,train_accuracy,val_loss,val_accuracy,lr\n1,2.5,0.5,,,0.1\n"
    path.write_bytes(damage(dice, history.encode()))
    try:
        read_history(path)
    finally:
        rows = "".join(f"{i}.png,a,b,0.9,1.5,2\n" for i in range(5))
        header = "image,actual,predicted,confidence,loss,rank\n"
        path.write_bytes(damage(dice, f"{header}{rows}".encode()))
        measure(read_predictions(path, ("a", "b", "c")), 0.95, Settings(10, 2))


KINDS = (
    params,
    descriptor,
    archive,
    picture,
    prepared,
    checkpoint,
    forged_checkpoint,
    resume_state,
    tables,
)


def _header_of(inputs: Inputs) -> Any:
    return json.loads(load_checkpoint(inputs.checkpoint).header.model_dump_json())


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inputs]:
    """Whole inputs; nothing is downloaded, whatever a damaged descriptor says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archives, "_download", lambda *_: False)
        yield Inputs(tmp_path_factory.mktemp("inputs"))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_damaged_input_is_refused_in_one_sentence(
    inputs: Inputs, kind: Callable[[Inputs, random.Random], None]
) -> None:
    _try(inputs, kind, range(100))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_damaged_input_is_refused_in_one_sentence_12_000_times(
    inputs: Inputs, kind: Callable[[Inputs, random.Random], None]
) -> None:
    _try(inputs, kind, range(100, 1_434))


def _try(inputs: Inputs, kind: Callable[[Inputs, random.Random], None], numbers: range) -> None:
    refused = 0
    for number in numbers:
        try:
            with _time_limit():
                kind(inputs, random.Random(f"{kind.__name__} {number}"))
        except UserError as error:
            assert str(error).strip(), f"case {number}: {error!r}"
            refused += 1
        except BaseException as error:
            raise AssertionError(f"case {number} of {kind.__name__}: {error!r}") from error
    assert refused or kind is resume_state, "the damage was never noticed"


@contextmanager
def _time_limit() -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise Hang(f"longer than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- cases that chance would not find


def test_an_image_of_absurd_size_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.new("1", (100, 100)).save(content, "PNG")
    bomb = bytearray(content.getvalue())
    bomb[16:24] = struct.pack(">II", 60_000, 60_000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(ImageError, match="more than 178 million pixels"):
        preprocess(tmp_path / "bomb.png", Preprocessing(8, 8, 1))


def test_a_document_with_the_suffix_of_an_image_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.new("RGB", (10, 10)).save(content, "EPS")
    (tmp_path / "picture.png").write_bytes(content.getvalue())
    with pytest.raises(ImageError, match="PostScript"):
        preprocess(tmp_path / "picture.png", Preprocessing(8, 8, 1))


def test_ambiguous_class_names_are_refused(inputs: Inputs) -> None:
    for names in (["a", "b", "a"], ["a", "b", ""], ["a", "b", "c\nd"]):
        with pytest.raises(UserError, match="rename the class"):
            inputs.open_archives({**inputs.descriptor(), "classes": names})


def test_file_names_of_any_bytes_have_origins_of_one_line(inputs: Inputs, tmp_path: Path) -> None:
    for number, name in enumerate((b"1\n2.png", b"\xff.png", "ä.png".encode(), b"4.png")):
        folder = tmp_path / "source" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / os.fsdecode(name)
        Image.new("L", (8, 8), number).save(path, "PNG")
    train = open_source(tmp_path / "source", tmp_path).train
    assert [train.origin(row) for row in range(4)] == [
        r"a/1\n2.png",
        "a/ä.png",
        "b/4.png",
        r"b/\udcff.png",
    ]


def test_an_idx_file_that_claims_billions_of_labels_is_refused_early(inputs: Inputs) -> None:
    path = inputs.folder / "downloads" / "tiny" / "train-labels.gz"
    whole = path.read_bytes()
    bomb = gzip.compress(struct.pack(">4BI", 0, 0, 8, 1, 2**32 - 1) + bytes(1_000_000), 9)
    try:
        path.write_bytes(bomb)
        with pytest.raises(UserError, match=r"4294967295,.* are not plausible"), _time_limit():
            inputs.open_archives()
    finally:
        path.write_bytes(whole)


def test_a_network_of_absurd_size_is_not_built(inputs: Inputs, tmp_path: Path) -> None:
    header = _header_of(inputs)
    header["model"]["hidden"] = [100_000] * 100
    output = CheckpointHeader.model_validate(header).model_copy(update={"digest": ""})
    weights = load_file(inputs.checkpoint)
    header["digest"] = digest_of_tensors(weights, output.model_dump_json())
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(save(weights, {"reprovision": json.dumps(header)}))
    with pytest.raises(UserError, match="does not hold the parameters"), _time_limit():
        load_checkpoint(path)


def test_a_checkpoint_of_another_version_is_named(inputs: Inputs, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    header = json.dumps({**_header_of(inputs), "version": 7})
    path.write_bytes(save(load_file(inputs.checkpoint), {"reprovision": header}))
    with pytest.raises(UserError, match="version 7"):
        load_checkpoint(path)


def test_nothing_that_is_loaded_can_run_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a pickle was loaded")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    inputs = Inputs(tmp_path)
    inputs.resume.restore(loop.start(inputs.params, inputs.info))
    loaded = load_checkpoint(inputs.checkpoint)
    predict(loaded.classifier, torch.from_numpy(load_split(inputs.prepared, "test").images), 10)


def test_an_array_of_python_objects_is_refused(inputs: Inputs, tmp_path: Path) -> None:
    folder = tmp_path / "prepared"
    shutil.copytree(inputs.prepared, folder)
    np.save(folder / "test/labels.npy", np.array([print] * 20), allow_pickle=True)
    with pytest.raises(UserError, match=r"labels\.npy"):
        load_split(folder, "test")


def test_dataset_json_is_validated(inputs: Inputs) -> None:
    tree = json.loads((inputs.prepared / "dataset.json").read_text("utf-8"))
    assert DatasetInfo.model_validate({k: v for k, v in tree.items() if k != "sha256"})
