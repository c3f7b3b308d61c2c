"""YAML files: read as DVC reads them, checked against a typed model, flattened to dotted keys.

That is YAML 1.2, by the same library: `010` is ten and `1e-3` a number for a stage, too, where YAML
1.1 has eight and a text.
"""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from reprovision.core.errors import UserError
from reprovision.core.validation_errors import describe, short

Model = TypeVar("Model", bound=BaseModel)

MOST_VALUES = 10**6
"""In a file, those behind an alias counted each time: aliases of aliases would fill the memory."""


class Section(BaseModel):
    """A typed part of a file: immutable, without unknown keys, without nan or infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LenientSection(Section):
    """A typed part of a file that a later version, or another program, may have extended."""

    model_config = ConfigDict(extra="ignore")


def load_yaml(path: str | Path) -> Any:
    """Reads a YAML file; raises a UserError if it is missing or not YAML."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist: check the path, it is relative to {Path.cwd()}"
        ) from None
    return parse_yaml(content, str(path))


def parse_yaml(content: bytes, where: str) -> Any:
    """Parses YAML in UTF-8; raises a UserError that names `where` if it is not YAML."""
    try:
        tree = YAML(typ="safe").load(content.decode())
    # the library lets errors of single values through, e.g. a KeyError for `!!bool abc`
    except (YAMLError, UnicodeDecodeError, RecursionError, ValueError, KeyError) as error:
        problem = " ".join(str(error).split())
        raise UserError(f"{where} is not readable YAML, correct it there: {problem}") from None
    if _count(tree, {}) > MOST_VALUES:
        raise UserError(f"{where} holds more than {MOST_VALUES:,} values: remove its aliases")
    return tree


def _count(value: Any, counted: dict[int, int]) -> int:
    """The number of values in a tree; nothing is counted within itself."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in counted:
        counted[id(value)] = 0
        inner = value.values() if isinstance(value, dict) else value
        counted[id(value)] = 1 + sum(_count(child, counted) for child in inner)
    return counted[id(value)]


def parse_section(kind: type[Model], tree: Any, where: str) -> Model:
    """Validates a tree of plain values; raises a UserError of one sentence that names `where`."""
    if not isinstance(tree, dict):
        raise UserError(f"{where} must hold `key: value` lines, but holds {short(tree)}")
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{where}: {describe(kind, tree, error)}") from None
    except RecursionError:
        raise UserError(f"{where} refers to itself: write the values out") from None


def flatten(section: BaseModel) -> dict[str, Any]:
    """The section as dotted keys and plain values, e.g. ``{"train.lr": 0.01}``, in file order."""
    return dict(leaves("", section.model_dump(mode="json")))


def leaves(prefix: str, value: Any) -> list[tuple[str, Any]]:
    """The leaves of a tree of plain values as pairs of dotted key, after the prefix, and value."""
    if not isinstance(value, dict):
        return [(prefix, value)]
    return [
        leaf
        for key, inner in value.items()
        for leaf in leaves(f"{prefix}.{key}" if prefix else key, inner)
    ]


def as_text(value: Any) -> str:
    """A plain value as params.yaml has it, on one line that a terminal can show."""
    is_plain = isinstance(value, str) and value.isprintable()
    return value if is_plain else json.dumps(value, default=str)
