"""A source is a path: a YAML descriptor (data/mnist.yaml, ...) or a folder of images.

The images of a folder lie in one folder per class, or a table in it lists them.
"""

from pathlib import Path

from reprovision.core.errors import UserError
from reprovision.core.validation_errors import short
from reprovision.core.yaml_files import load_yaml, parse_section
from reprovision.images.files import SUFFIXES
from reprovision.sources.cifar import CifarDescriptor
from reprovision.sources.digits import DigitsDescriptor
from reprovision.sources.folder import open_folder
from reprovision.sources.idx import IdxDescriptor
from reprovision.sources.source import Part, Source
from reprovision.sources.table import TABLES, find_table, open_table

__all__ = ["Part", "Source", "open_source"]

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst")

DESCRIPTOR_FOLDER = Path("data")
"""Where the descriptors of a project lie."""

DESCRIPTORS: dict[str, type[DigitsDescriptor | IdxDescriptor | CifarDescriptor]] = {
    "digits": DigitsDescriptor,
    "idx": IdxDescriptor,
    "cifar": CifarDescriptor,
}


def open_source(
    path: str | Path,
    downloads: Path,
    least_classes: int = 2,
    unreadable: list[tuple[str, str]] | None = None,
) -> Source:
    """Opens a source of labelled images; archives that are missing are downloaded.

    Args:
        path: a YAML descriptor, or a folder with one folder of images per class.
        downloads: where archives are kept, in torchvision's layout below it.
        least_classes: of a folder; one is enough to test a model that knows more.
        unreadable: gets the files in a folder that can't be images, with the reason; without it
            they are an error.

    Raises:
        UserError: there is no such source, or it can't be read; the sentence says what to do.
    """
    path = Path(path)
    if path.is_dir():
        table = find_table(path)
        if table:
            return open_table(path, table, least_classes, unreadable)
        return open_folder(path, least_classes, unreadable)
    if not path.exists():
        descriptors = sorted(DESCRIPTOR_FOLDER.glob("*.yaml"))
        known = ", ".join(map(str, descriptors)) or "e.g. data/digits.yaml"
        raise UserError(
            f"data.source is {path}, which does not exist: use a descriptor ({known}) "
            "or a folder of images that Git or DVC tracks"
        )
    suffix = path.suffix.lower()
    if suffix in TABLES:
        raise UserError(
            f"data.source is the table {path}: use its folder, {path.parent}, so that DVC sees "
            "when an image changes"
        )
    if suffix in ARCHIVES:
        raise UserError(f"data.source is the archive {path}: unpack it, and use the folder")
    if suffix in SUFFIXES:
        raise UserError(f"data.source is the image {path}: use a folder of images")
    tree = load_yaml(path)
    chosen = tree.get("format") if isinstance(tree, dict) else None
    if not isinstance(chosen, str) or chosen not in DESCRIPTORS:
        raise UserError(f"{path}: format is {short(chosen)}: use {' or '.join(DESCRIPTORS)}")
    return parse_section(DESCRIPTORS[chosen], tree, str(path)).open(path.stem, downloads)
