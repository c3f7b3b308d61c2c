"""Decoding: orientation, transparency, palettes, bit depth, cropping."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reprovision.core.errors import UserError
from reprovision.images.decoding import Shape, read_image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)

RGB8 = Shape(3, 8, 8)


def test_a_photo_is_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (16, 16), RED)
    image.paste(GREEN, (0, 0, 16, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that this must be turned clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    pixels = read_image(tmp_path / "turned.png", RGB8)
    assert pixels[:, 4, 7].tolist() == list(GREEN), "what was at the top is at the right"
    assert pixels[:, 4, 0].tolist() == list(RED)


def test_transparency_is_shown_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (12, 10), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_image(tmp_path / "clear.png", RGB8) == 255).all()


@pytest.mark.parametrize(("mode", "colour"), [("L", 40), ("RGB", (10, 20, 30))])
def test_the_colour_that_a_png_declares_transparent_is_white(
    tmp_path: Path, mode: str, colour: int | tuple[int, ...]
) -> None:
    Image.new(mode, (12, 10), colour).save(tmp_path / "clear.png", transparency=colour)
    assert (read_image(tmp_path / "clear.png", RGB8) == 255).all()


def test_an_image_is_not_called_damaged_if_memory_ran_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError

    Image.new("RGB", (12, 10)).save(tmp_path / "good.png")
    monkeypatch.setattr("PIL.ImageOps.exif_transpose", no_memory)
    with pytest.raises(MemoryError):
        read_image(tmp_path / "good.png", RGB8)


def test_a_palette_gives_its_colours_and_its_transparency_white(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([*RED, *BLUE])
    image.paste(1, (4, 0, 8, 8))
    image.save(tmp_path / "palette.png", transparency=0)
    pixels = read_image(tmp_path / "palette.png", RGB8)
    assert pixels[:, 0, 0].tolist() == list(WHITE)
    assert pixels[:, 0, 7].tolist() == list(BLUE)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_keep_the_upper_eight(tmp_path: Path, suffix: str) -> None:
    ramp = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1024 + 77
    Image.fromarray(ramp).save(tmp_path / f"deep.{suffix}")
    pixels = read_image(tmp_path / f"deep.{suffix}", Shape(1, 8, 8))
    assert np.array_equal(pixels[0], ramp >> 8)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pixels_of_unknown_range_are_refused(tmp_path: Path, kind: type[np.generic]) -> None:
    Image.fromarray(np.zeros((8, 8), kind)).save(tmp_path / "wide.tif")
    with pytest.raises(UserError, match="32-bit numbers of unknown range: save it with 8 or 16"):
        read_image(tmp_path / "wide.tif", Shape(1, 8, 8))


def test_a_wide_image_is_cropped_at_its_centre_and_not_squeezed(tmp_path: Path) -> None:
    image = Image.new("L", (32, 8), 0)
    image.paste(255, (12, 0, 20, 8))
    image.save(tmp_path / "wide.png")
    assert (read_image(tmp_path / "wide.png", Shape(1, 8, 8)) == 255).all()
