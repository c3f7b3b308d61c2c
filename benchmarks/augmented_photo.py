"""Draws docs/images/augmentation.jpg: one photo under each change of `train.augment`.

    uv run python -m benchmarks.augmented_photo

The photo is china.jpg of scikit-learn, by danielbuechele on Flickr, licensed under CC BY 2.0.
"""

import io
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from reprovision.core.files import write_bytes
from reprovision.core.params import load_params
from reprovision.data.augmentation import Augmentation
from reprovision.data.mixing import Mixing
from reprovision.images.image_grid import draw_image_grid

SHOWN = {
    "rotate": (15.0,),
    "crop": (0.3, 0.6),
    "brightness": (0.3, 0.6),
    "contrast": (0.3, 0.6),
    "saturation": (0.3, 0.6),
    "hue": (0.05, 0.2),
    "erase": (1.0,),
    "mixup": (0.2, 1.0),
    "cutmix": (0.2, 1.0),
}
"""Values of each param; each is shown for two draws."""

TITLE = "train.augment: two draws each. Photo: danielbuechele, CC BY 2.0, changed"
SIDE = 192
QUALITY = 80


def draw(path: Path) -> None:
    """Draws the sheet as JPEG, which is a fifth of a PNG for photos."""
    images, captions = [], []
    for name, values in SHOWN.items():
        for value in values:
            images += [*_augmented(name, value)]
            captions += [f"{name} {value}"] * 2
    with tempfile.TemporaryDirectory() as folder:
        grid = Path(folder, "grid.png")
        draw_image_grid(np.stack(images), captions, TITLE, grid)
        content = io.BytesIO()
        Image.open(grid).save(content, "JPEG", quality=QUALITY, optimize=True)
    write_bytes(path, content.getvalue())


def _augmented(name: str, value: float) -> np.ndarray:
    """Two draws, uint8 (2, 3, SIDE, SIDE)."""
    augment = load_params().train.augment
    off = dict.fromkeys(augment.model_dump(), 0)
    params = augment.model_copy(update=off | {name: value})
    # of two images, the first is shown: the second is what MixUp and CutMix mix in
    pairs = torch.from_numpy(np.tile(_photos(), (20, 1, 1, 1)))
    changed, targets = Mixing(params, 3)(Augmentation(params, 3)(pairs), torch.arange(40) % 2)
    shown = torch.arange(40) % 2 == 0
    if targets.others is not None:
        shown &= targets.others == 1
    found: np.ndarray = changed[shown][:2].round().to(torch.uint8).numpy()
    return found


def _photos() -> np.ndarray:
    """The right and the left of the photo, uint8 (2, 3, SIDE, SIDE)."""
    photo = Image.fromarray(load_sample_image("china.jpg"))
    width, height = photo.size
    boxes = ((width - height, 0, width, height), (0, 0, height, height))
    parts = [photo.resize((SIDE, SIDE), Image.Resampling.BOX, box) for box in boxes]
    return np.stack([np.asarray(part).transpose(2, 0, 1) for part in parts])


if __name__ == "__main__":
    draw(Path(sys.argv[1] if sys.argv[1:] else "docs/images/augmentation.jpg"))
