"""scikit-learn's 1,797 scans of handwritten digits: they ship with it, nothing is downloaded."""

from pathlib import Path
from typing import Literal

import numpy as np

from reprovision.core.yaml_files import Section
from reprovision.sources.source import Source, part_from_arrays


class DigitsDescriptor(Section):
    format: Literal["digits"]

    def open(self, name: str, downloads: Path) -> Source:
        """Opens the source; it has no test set of its own."""
        # takes a second to import
        from sklearn.datasets import load_digits

        bunch = load_digits()
        # the scans count ink in 17 steps, 0 to 16
        images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
        train = part_from_arrays(images, bunch.target.astype(np.int64), "digits")
        return Source(name, tuple("0123456789"), 1, lambda: (8, 8), train)
