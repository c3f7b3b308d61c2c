"""Turns pydantic's validation errors into one sentence: each key, its value, what is wrong."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from reprovision.core.wording import count

NUMBER, WHOLE, LIST = "must be a number", "must be a whole number", "must be a list, e.g. [16, 32]"
SWITCH, SECTION = "must be true or false", "must hold `key: value` lines"

MUST_BE = {
    "float_type": NUMBER,
    "float_parsing": NUMBER,
    "finite_number": "must be a finite number",
    "int_type": WHOLE,
    "int_parsing": WHOLE,
    "int_parsing_size": WHOLE,
    "int_from_float": WHOLE,
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "bool_type": SWITCH,
    "bool_parsing": SWITCH,
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "literal_error": "must be {expected}",
    "list_type": LIST,
    "tuple_type": LIST,
    "dict_type": SECTION,
    "model_type": SECTION,
}
"""What to write, by the type of pydantic's error; the others keep pydantic's message."""


def describe(kind: Any, tree: Any, error: ValidationError) -> str:
    """Up to three problems: `train.lr is 'abc': must be a number; ...`.

    A field with a description must be what that says, whatever is wrong.
    """
    problems: dict[str, str] = {}
    for found in error.errors(include_url=False):
        key = _dotted_key(tree, found)
        description = _description(kind, key)
        problem = f"must be {description}" if description else _must_be(found)
        if found["type"] == "extra_forbidden":
            problem = f"{key} is not a known key: {_hint(key, list(_known_keys(kind)))}"
        elif found["type"] == "missing":
            problem = f"{key} is missing: add it"
        elif key in problems and description:
            continue
        elif key in problems:  # another branch of the same union
            problem = f"{problems[key]} or {problem.removeprefix('must be ')}"
        elif found["type"] != "value_error" or not isinstance(found["input"], dict):
            problem = f"{key} is {short(found['input'])}: {problem}"
        problems[key] = problem
    # where one branch of a union got further, those that stopped above it were not meant
    deepest = [k for k in problems if not any(o.startswith((f"{k}.", f"{k}[")) for o in problems)]
    more = [f"and {len(deepest) - 3} more"] if len(deepest) > 3 else []
    return "; ".join([problems[key] for key in deepest[:3]] + more)


def _must_be(found: ErrorDetails) -> str:
    """What is wrong with a value, after its key."""
    limits = found.get("ctx", {})
    if found["type"] in ("too_short", "too_long"):
        most = "max_length" in limits
        length = limits["max_length" if most else "min_length"]
        return f"must have at {'most' if most else 'least'} {count(length, 'value')}"
    if found["type"] in MUST_BE:
        return MUST_BE[found["type"]].format_map({k: _plain(k, v) for k, v in limits.items()})
    return found["msg"].removeprefix("Value error, ").replace("Input should be", "must be")


def _plain(name: str, limit: Any) -> str:
    """A number as people write it; of several allowed texts, each without quotes."""
    if isinstance(limit, int | float):
        return f"{limit:,.15g}"
    return str(limit).replace("'", "") if name == "expected" else str(limit)


def _description(kind: Any, key: str) -> str | None:
    """The description of the field of a dotted key, where it has one."""
    field = None
    for name in key.split("."):
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return None
        if (field := kind.model_fields.get(name)) is None:
            return None
        kind = field.annotation
    return field and field.description


def _dotted_key(tree: Any, found: ErrorDetails) -> str:
    """The key as a user writes it, e.g. `a.b[1]`, without the names of union branches."""
    key = ""
    for part in found["loc"]:
        if isinstance(tree, dict) and part in tree:
            key, tree = f"{key}.{part}", tree[part]
        elif isinstance(tree, list) and isinstance(part, int):
            # an element may be missing
            key, tree = f"{key}[{part}]", dict(enumerate(tree)).get(part)
    if found["type"] == "missing" and isinstance(found["loc"][-1], str):
        key += f".{found['loc'][-1]}"
    return key.removeprefix(".")


def _hint(key: str, known: list[str]) -> str:
    """The known key that is most like an unknown one; otherwise the keys of its section."""
    name = key.rpartition(".")[2]
    elsewhere = [k for k in known if k.rpartition(".")[2] == name]
    nearest = get_close_matches(key, elsewhere or known, n=1, cutoff=0 if elsewhere else 0.75)
    if nearest:
        return f"did you mean {nearest[0]}?"
    section = key.removesuffix(name)
    beside = [k for k in known if k.rpartition(".")[0] == section.removesuffix(".")]
    return f"use one of {', '.join(beside)}"


def _known_keys(kind: Any, prefix: str = "") -> Iterator[str]:
    """The dotted keys of a model, or of what a union or list holds."""
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        for inner in get_args(kind):
            yield from _known_keys(inner, prefix)
        return
    for name, field in kind.model_fields.items():
        yield prefix + name
        yield from _known_keys(field.annotation, f"{prefix}{name}.")


def short(value: Any) -> str:
    """A value as Python shows it, truncated to 60 characters."""
    text = "empty" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
