"""The dataset of a result in a few lines, which go into Git with the result.

Whether two results are of the same test images can then be read from Git alone, across versions of
this program: unlike dataset.json of the prepared tensors, it is read leniently.
"""

from pydantic import ConfigDict

from reprovision.core.yaml_files import Section
from reprovision.data.dataset import SPLITS, DatasetInfo, SplitName


class DatasetSummary(Section):
    """What a model was trained and tested on.

    Attributes:
        classes: names, in the order of the labels.
        images: number of images of each split.
        sha256: of each split's pixels and labels: equal digests mean the same images in the same
            order.
    """

    # a later version may hold more
    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    classes: tuple[str, ...]
    images: dict[SplitName, int]
    sha256: dict[SplitName, str]


def summarize(info: DatasetInfo) -> DatasetSummary:
    """The summary of a prepared dataset."""
    return DatasetSummary(
        name=info.name,
        classes=info.classes,
        images={split: sum(info.splits[split].counts) for split in SPLITS},
        sha256={split: info.splits[split].digest for split in SPLITS},
    )
