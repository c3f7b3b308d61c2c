"""A source is a path: a YAML descriptor (data/mnist.yaml, ...) or a folder of images."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, RootModel

from reprovision.core.errors import UserError
from reprovision.core.params import load_yaml, parse_section
from reprovision.sources.cifar import CifarDescriptor
from reprovision.sources.digits import DigitsDescriptor
from reprovision.sources.folder import open_folder
from reprovision.sources.idx import IdxDescriptor
from reprovision.sources.source import Part, Source

__all__ = ["Part", "Source", "open_source"]


class _Descriptor(
    RootModel[
        Annotated[DigitsDescriptor | IdxDescriptor | CifarDescriptor, Field(discriminator="format")]
    ]
):
    pass


def open_source(path: str | Path, downloads: Path) -> Source:
    """Opens a source of labelled images; archives that are missing are downloaded.

    Args:
        path: a YAML descriptor, or a folder that holds a folder of images for each class.
        downloads: where archives are kept, in torchvision's layout below it.

    Raises:
        UserError: there is no such source, or it can't be read; the sentence says what to do.
    """
    path = Path(path)
    if path.is_dir():
        return open_folder(path)
    if not path.exists():
        known = ", ".join(str(p) for p in sorted(path.parent.glob("*.yaml"))) or "none there"
        raise UserError(
            f"data.source is {path}, which does not exist: name a descriptor ({known}) "
            "or a folder of images that Git or DVC tracks"
        )
    return parse_section(_Descriptor, load_yaml(path), str(path)).root.open(path.stem, downloads)
