"""Decoding: orientation, transparency, palettes, bit depth, cropping."""

import shutil
import subprocess
import sys
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reprovision.images import preprocessing
from reprovision.images.preprocessing import (
    ImageError,
    Preprocessing,
    fit_array,
    image_size,
    preprocess,
)

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)

RGB8 = Preprocessing(8, 8, 3)


def test_a_photo_is_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (16, 16), RED)
    image.paste(GREEN, (0, 0, 16, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that this must be turned clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    pixels = preprocess(tmp_path / "turned.png", RGB8)
    assert pixels[:, 4, 7].tolist() == list(GREEN), "what was at the top is at the right"
    assert pixels[:, 4, 0].tolist() == list(RED)


def test_transparency_is_shown_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (12, 10), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (preprocess(tmp_path / "clear.png", RGB8) == 255).all()


@pytest.mark.parametrize(("mode", "colour"), [("L", 40), ("RGB", (10, 20, 30))])
def test_the_colour_that_a_png_declares_transparent_is_white(
    tmp_path: Path, mode: str, colour: int | tuple[int, ...]
) -> None:
    Image.new(mode, (12, 10), colour).save(tmp_path / "clear.png", transparency=colour)
    assert (preprocess(tmp_path / "clear.png", RGB8) == 255).all()


def test_an_image_is_not_called_damaged_if_memory_ran_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise MemoryError

    Image.new("RGB", (12, 10)).save(tmp_path / "good.png")
    monkeypatch.setattr("PIL.ImageOps.exif_transpose", no_memory)
    with pytest.raises(MemoryError):
        preprocess(tmp_path / "good.png", RGB8)


def test_a_palette_gives_its_colours_and_its_transparency_white(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([*RED, *BLUE])
    image.paste(1, (4, 0, 8, 8))
    image.save(tmp_path / "palette.png", transparency=0)
    pixels = preprocess(tmp_path / "palette.png", RGB8)
    assert pixels[:, 0, 0].tolist() == list(WHITE)
    assert pixels[:, 0, 7].tolist() == list(BLUE)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_keep_the_upper_eight(tmp_path: Path, suffix: str) -> None:
    ramp = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1024 + 77
    Image.fromarray(ramp).save(tmp_path / f"deep.{suffix}")
    pixels = preprocess(tmp_path / f"deep.{suffix}", Preprocessing(8, 8, 1))
    assert np.array_equal(pixels[0], ramp >> 8)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pixels_of_unknown_range_are_refused(tmp_path: Path, kind: type[np.generic]) -> None:
    Image.fromarray(np.zeros((8, 8), kind)).save(tmp_path / "wide.tif")
    with pytest.raises(ImageError, match="32-bit numbers of unknown range: save it with 8 or 16"):
        preprocess(tmp_path / "wide.tif", Preprocessing(8, 8, 1))


def test_a_wide_image_is_cropped_at_its_centre_and_not_squeezed(tmp_path: Path) -> None:
    image = Image.new("L", (32, 8), 0)
    image.paste(255, (12, 0, 20, 8))
    image.save(tmp_path / "wide.png")
    assert (preprocess(tmp_path / "wide.png", Preprocessing(8, 8, 1)) == 255).all()


GREY8 = Preprocessing(8, 8, 1)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_twelve_bits_in_files_of_sixteen_keep_the_upper_eight(tmp_path: Path, suffix: str) -> None:
    ramp = np.arange(64, dtype=np.uint16).reshape(8, 8) * 64 + 5
    Image.fromarray(ramp).save(tmp_path / f"deep.{suffix}")
    pixels = preprocess(tmp_path / f"deep.{suffix}", replace(GREY8, bits=12))
    assert np.array_equal(pixels[0], ramp >> 4)


def test_pixels_brighter_than_the_bits_allow_are_white(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 5000, np.uint16)).save(tmp_path / "deep.png")
    assert (preprocess(tmp_path / "deep.png", replace(GREY8, bits=12)) == 255).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_every_colour_mode_is_read(tmp_path: Path, mode: str) -> None:
    suffix = "jpg" if mode in ("CMYK", "YCbCr") else "tif" if mode == "HSV" else "png"
    image = Image.new("RGB", (8, 8), WHITE).convert(mode)
    image.convert("RGB" if mode in ("HSV", "YCbCr") else mode).save(tmp_path / f"white.{suffix}")
    assert (preprocess(tmp_path / f"white.{suffix}", RGB8) >= 254).all()


@pytest.mark.parametrize(
    "suffix", ["avif", "bmp", "gif", "jfif", "jpg", "pgm", "png", "ppm", "tiff", "webp"]
)
def test_every_format_is_read_from_its_path_and_from_its_bytes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"green.{suffix}"
    Image.new("L" if suffix == "pgm" else "RGB", (16, 8), 128).save(path)
    pixels = preprocess(path, RGB8)
    assert np.abs(pixels.astype(int) - preprocess(path.read_bytes(), RGB8)).max() == 0
    assert image_size(path) == (8, 16)


def test_a_heic_photo_is_read_where_its_library_is_installed(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.new("RGB", (64, 64), GREEN)).save(tmp_path / "photo.heic")
    # under any name
    (tmp_path / "photo.heic").rename(tmp_path / "photo.jpg")
    found = preprocess(tmp_path / "photo.jpg", RGB8)[:, 4, 4].astype(int)
    assert np.abs(found - GREEN).max() < 8


def test_without_its_library_a_heic_photo_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "photo.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(500))
    with pytest.raises(ImageError, match=r"HEIC photo: install pillow-heif"):
        preprocess(tmp_path / "photo.jpg", RGB8)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "it is empty"),
        (bytes(1000), "it is empty"),
        (b"%PDF-1.7", "it is a PDF document: save it as JPEG or PNG"),
        (b"<!doctype html><html>", "it is a web page"),
        (b"PK\x03\x04", "it is a zip archive"),
        (b"\0\0\0\x18ftypmp42", "it is a video"),
        (b"hello", "it is not an image, or damaged at its beginning"),
    ],
)
def test_what_is_not_an_image_is_called_by_its_name(content: bytes, what: str) -> None:
    with pytest.raises(ImageError, match=what):
        preprocess(content, RGB8)


def test_a_missing_file_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="there is no such file"):
        preprocess(tmp_path / "nothing.png", RGB8)


def test_a_large_photo_of_a_telephone_is_read(tmp_path: Path) -> None:
    Image.new("L", (12000, 8500), 200).save(tmp_path / "photo.jpg")
    assert (preprocess(tmp_path / "photo.jpg", GREY8) == 200).all()
    Image.new("1", (12000, 8500), 1).save(tmp_path / "photo.png")
    with pytest.raises(ImageError, match="12000x8500 pixels are more than the 64 million"):
        preprocess(tmp_path / "photo.png", GREY8)


# ---- sizes


def half_white(path: Path) -> Path:
    """32 pixels wide, 8 high: black at the sides, white in the middle."""
    image = Image.new("L", (32, 8), 0)
    image.paste(255, (12, 0, 20, 8))
    image.save(path)
    return path


def test_squash_keeps_everything_in_other_proportions(tmp_path: Path) -> None:
    how = replace(GREY8, resize="squash", interpolation="box")
    pixels = preprocess(half_white(tmp_path / "wide.png"), how)
    assert pixels[0].tolist() == [[0, 0, 0, 255, 255, 0, 0, 0]] * 8


def test_pad_keeps_proportions_and_fills_with_the_background(tmp_path: Path) -> None:
    how = replace(GREY8, resize="pad", interpolation="box", background="#404040")
    pixels = preprocess(half_white(tmp_path / "wide.png"), how)[0]
    inside = [0, 0, 0, 255, 255, 0, 0, 0]
    assert pixels.tolist() == [[64] * 8] * 3 + [inside] * 2 + [[64] * 8] * 3


def test_height_and_width_are_not_confused(tmp_path: Path) -> None:
    image = Image.new("L", (30, 20), 0)
    image.paste(255, (0, 0, 30, 10))
    image.save(tmp_path / "half.png")
    pixels = preprocess(tmp_path / "half.png", Preprocessing(4, 6, 1, interpolation="box"))
    assert pixels.shape == (1, 4, 6)
    assert pixels[0].tolist() == [[255] * 6] * 2 + [[0] * 6] * 2


@pytest.mark.parametrize("interpolation", ["nearest", "box", "bilinear", "bicubic", "lanczos"])
def test_each_interpolation_is_that_of_pillow(tmp_path: Path, interpolation: str) -> None:
    random = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    Image.fromarray(random).save(tmp_path / "noise.png")
    expected = Image.fromarray(random).resize((8, 8), Image.Resampling[interpolation.upper()])
    how = replace(RGB8, resize="squash", interpolation=interpolation)
    assert np.array_equal(preprocess(tmp_path / "noise.png", how), to_array(expected))


def to_array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).transpose(2, 0, 1)


def test_pixels_without_a_file_are_fitted_alike(tmp_path: Path) -> None:
    random = np.random.default_rng(0).integers(0, 256, (3, 20, 30), np.uint8)
    Image.fromarray(random.transpose(1, 2, 0)).save(tmp_path / "noise.png")
    for how in (RGB8, replace(RGB8, resize="pad"), Preprocessing(20, 30, 3)):
        assert np.array_equal(fit_array(random, how), preprocess(tmp_path / "noise.png", how))


@pytest.mark.parametrize(
    "wrong",
    [
        {"height": 0},
        {"width": 5000},
        {"channels": 2},
        {"resize": "stretch"},
        {"interpolation": "hamming"},
        {"background": "a colour"},
        {"bits": 17},
    ],
)
def test_an_impossible_description_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|unknown color"):
        replace(RGB8, **wrong)


def test_it_runs_with_numpy_and_pillow_alone(tmp_path: Path) -> None:
    shutil.copy(preprocessing.__file__, tmp_path / "preprocessing.py")
    path = half_white(tmp_path / "wide.png")
    code = (
        "import sys, preprocessing as p\n"
        f"print(p.preprocess({str(path)!r}, p.Preprocessing(8, 8, 1)).sum())\n"
        "print(any(name.startswith(('reprovision', 'torch')) for name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(255 * 64), "False"]


def test_the_size_of_a_png_is_known_without_decoding_it(tmp_path: Path) -> None:
    Image.new("1", (12000, 9000)).save(tmp_path / "large.png")
    tracemalloc.start()
    assert image_size(tmp_path / "large.png") == (9000, 12000)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


def test_a_pgm_says_itself_what_is_white(tmp_path: Path) -> None:
    (tmp_path / "deep.pgm").write_bytes(b"P5 2 1 4095\n" + bytes([0x07, 0xD0, 0x0F, 0xFF]))
    for bits in (12, 16):
        pixels = preprocess(tmp_path / "deep.pgm", Preprocessing(1, 2, 1, bits=bits))
        assert pixels.tolist() == [[[125, 255]]]


def test_an_avif_with_a_brand_of_heic_is_an_avif(tmp_path: Path) -> None:
    path = tmp_path / "green.avif"
    Image.new("RGB", (16, 16), GREEN).save(path)
    content = path.read_bytes()
    assert content[8:12] == b"avif" and b"mif1" in content[12:40]
    swapped = content[:8] + b"mif1" + content[12:]
    assert b"avif" in swapped[12:64]
    assert np.array_equal(preprocess(swapped, RGB8), preprocess(content, RGB8))


def test_reading_leaves_the_warnings_of_the_program_alone(tmp_path: Path) -> None:
    path = half_white(tmp_path / "wide.png")
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: preprocess(path, RGB8), range(200)))
    assert warnings.filters == before
