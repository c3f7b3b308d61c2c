"""The dataset of a result in a few lines, which go into Git with the result.

Whether two results are of the same test images can then be read from Git alone, across versions of
this program: unlike dataset.json of the prepared tensors, it is read leniently.
"""

from typing import Annotated

from pydantic import AfterValidator, Field

from reprovision.core.yaml_files import LenientSection, parse_section, parse_yaml
from reprovision.data.dataset import SPLITS, DatasetInfo, SplitName
from reprovision.results.layout import DATASET_SUMMARY


def _refuse_control_characters(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable")
    return text


Printable = Annotated[str, AfterValidator(_refuse_control_characters)]


class DatasetSummary(LenientSection):
    """What a model was trained and tested on.

    Attributes:
        classes: names, in the order of the labels.
        images: number of images of each split.
        sha256: of each split's pixels and labels: equal digests mean the same images in the same
            order.
        in_train: images of each split whose pixels are those of a training image, too.
    """

    name: Printable
    classes: tuple[Printable, ...]
    images: dict[SplitName, int]
    sha256: dict[SplitName, str]
    in_train: dict[SplitName, int] = Field(default_factory=dict)


def parse_dataset(content: bytes | None, name: str) -> DatasetSummary:
    """Reads the summary of the run of a name; raises a UserError where it is not one."""
    where = f"{DATASET_SUMMARY} of {name}"
    return parse_section(DatasetSummary, parse_yaml(content or b"", where), where)


def summarize(info: DatasetInfo) -> DatasetSummary:
    """The summary of a prepared dataset."""
    return DatasetSummary(
        name=info.name,
        classes=info.classes,
        images={split: sum(info.splits[split].counts) for split in SPLITS},
        sha256={split: info.splits[split].digest for split in SPLITS},
        in_train={split: info.splits[split].in_train for split in SPLITS},
    )
