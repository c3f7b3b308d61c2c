"""Images that are in memory as one array."""

from collections.abc import Iterator

import numpy as np

from reprovision.sources.imaging import fit_chunk
from reprovision.sources.source import Part, Shape


def part_of_arrays(images: np.ndarray, labels: np.ndarray, prefix: str) -> Part:
    """A part whose images (N, C, H, W) are in memory already."""

    def read(shape: Shape) -> Iterator[np.ndarray]:
        for start in range(0, len(images), shape.chunk):
            yield fit_chunk(images[start : start + shape.chunk], shape)

    return Part(labels, f"{prefix}/{{}}".format, read)
