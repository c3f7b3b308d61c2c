"""scikit-learn's 1,797 scans of handwritten digits: embedded, so that nothing is downloaded."""

from pathlib import Path
from typing import Literal

import numpy as np

from reprovision.core.params import Section
from reprovision.sources.arrays import part_of_arrays
from reprovision.sources.source import Shape, Source


class DigitsDescriptor(Section):
    """Holds nothing but the format: the images come with scikit-learn."""

    format: Literal["digits"]

    def open(self, name: str, downloads: Path) -> Source:
        """Opens the source; it has no test set of its own."""
        # takes a second to import, and no other source needs it
        from sklearn.datasets import load_digits

        bunch = load_digits()
        # the scans count ink in 17 steps, 0 to 16
        images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
        classes = tuple(str(name) for name in bunch.target_names)
        train = part_of_arrays(images, bunch.target.astype(np.int64), "digits")
        return Source(name, classes, Shape(*images.shape[1:]), train)
