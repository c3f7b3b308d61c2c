"""scikit-learn's 1,797 scans of handwritten digits: embedded, so that nothing is downloaded."""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np

from reprovision.core.params import Section
from reprovision.sources.arrays import part_of_arrays
from reprovision.sources.source import Shape, Source

DIGITS = "datasets/data/digits.csv.gz"
"""In scikit-learn's package: 64 counts of ink and the digit, a row a scan."""


class DigitsDescriptor(Section):
    """Holds nothing but the format: the images come with scikit-learn."""

    format: Literal["digits"]

    def open(self, name: str, downloads: Path) -> Source:
        """Opens the source; it has no test set of its own."""
        # as sklearn.datasets.load_digits reads it, whose import would take a second
        package = find_spec("sklearn")
        assert package and package.origin, "scikit-learn is a dependency"
        table = np.loadtxt(Path(package.origin).parent / DIGITS, delimiter=",", dtype=np.int64)
        ink, labels = table[:, :-1], table[:, -1]
        # the scans count ink in 17 steps, 0 to 16
        images = np.round(ink * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
        train = part_of_arrays(images, labels, "digits")
        return Source(name, tuple("0123456789"), Shape(1, 8, 8), train)
