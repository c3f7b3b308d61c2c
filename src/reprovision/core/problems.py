"""What pydantic finds wrong, in words: the key, its value and what is allowed there.

What is allowed is read from the model's JSON schema, so that it is told whole whatever was wrong.
"""

import difflib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

Schema = dict[str, Any]

SHOWN = 3
"""Problems told at once; the rest are told when these are mended."""


def sentence(kind: type[BaseModel], error: ValidationError) -> str:
    """All problems as one sentence: `train.lr is 'abc', but must be a number above 0; ...`."""
    schema = kind.model_json_schema()
    told = [_Problem(schema, dict(found)).text() for found in error.errors(include_url=False)]
    # each branch of a union complains, of the same thing
    told = list(dict.fromkeys(told))
    more = [f"and {len(told) - SHOWN} more"] if len(told) > SHOWN else []
    return "; ".join([*told[:SHOWN], *more])


class _Problem:
    """One problem, located in the schema.

    Attributes:
        root: the whole schema.
        key: where the problem is, dotted, as the user would write it.
        beside: the dotted names of the keys that are allowed where this one stands.
        schema: of what is allowed there; empty for an unknown key.
    """

    def __init__(self, root: Schema, found: dict[str, Any]) -> None:
        self.root = root
        self.found = found
        self.key = ""
        self.beside: list[str] = []
        self.schema = root
        for part in found["loc"]:
            self._step(part)

    def text(self) -> str:
        found, kind = self.found, self.found["type"]
        context = found.get("ctx", {})
        if kind == "extra_forbidden":
            return f"{self.key} is not a known key{self._hint()}"
        if kind == "missing":
            return f"{self.key} is missing: add it"
        if kind == "union_tag_not_found":
            return f"{context['discriminator'].strip(chr(39))} is missing: add it"
        if kind == "union_tag_invalid":
            key = context["discriminator"].strip("'")
            return f"{key} is {context['tag']!r}, but must be one of {context['expected_tags']}"
        if kind == "value_error" and isinstance(found["input"], dict):
            # what keys are together: the message names them
            return str(found["msg"]).removeprefix("Value error, ")
        return f"{self.key} is {short(found['input'])}, but must be {self._describe(self.schema)}"

    def _step(self, part: str | int) -> None:
        """Follows one part of pydantic's location; those that only name a branch are no keys."""
        for option in self._options(self.schema):
            properties = option.get("properties", {})
            if isinstance(part, int) and option.get("type") == "array":
                prefix = option.get("prefixItems", [])
                self.schema = prefix[part] if part < len(prefix) else option.get("items", {})
                self.key += f"[{part}]"
                return
            if part in properties or (properties and self._is_unknown(part)):
                before = f"{self.key}." if self.key else ""
                self.beside = [before + name for name in properties]
                self.key = f"{before}{part}"
                self.schema = properties.get(part, {})
                return
        mapping = self.schema.get("discriminator", {}).get("mapping", {})
        if part in mapping:
            self.schema = {"$ref": mapping[part]}

    def _is_unknown(self, part: str | int) -> bool:
        return self.found["type"] == "extra_forbidden" and part == self.found["loc"][-1]

    def _options(self, schema: Schema) -> list[Schema]:
        """A schema, or what it is any of, without references."""
        if "$ref" in schema:
            return self._options(self.root["$defs"][schema["$ref"].rpartition("/")[2]])
        if "anyOf" in schema:
            return [option for branch in schema["anyOf"] for option in self._options(branch)]
        return [schema]

    def _hint(self) -> str:
        """The known key that looks most like an unknown one, or those beside it."""
        leaf = _leaf(self.key)
        alike = difflib.get_close_matches(leaf, map(_leaf, self.beside), n=1, cutoff=0.7)
        close = [key for key in self.beside if _leaf(key) in alike]
        # a key that stands in another section
        close += [key for key in self._keys(self.root) if _leaf(key) == leaf]
        if close:
            return f": did you mean {close[0]}?"
        return f": the known ones there are {', '.join(self.beside)}"

    def _keys(self, schema: Schema, prefix: str = "") -> Iterator[str]:
        for option in self._options(schema):
            for name, inner in option.get("properties", {}).items():
                yield prefix + name
                yield from self._keys(inner, f"{prefix}{name}.")

    def _describe(self, schema: Schema) -> str:
        """What a schema allows: "a whole number of at least 1 or 'auto'"."""
        return _either([text for option in self._options(schema) for text in self._allowed(option)])

    def _allowed(self, schema: Schema) -> list[str]:
        if "enum" in schema or "const" in schema:
            return [_plain(value) for value in schema.get("enum", [schema.get("const")])]
        pattern = schema.get("pattern")
        texts = {
            "integer": f"a whole number{_bounds(schema)}",
            "number": f"a number{_bounds(schema)}",
            "boolean": "true or false",
            "string": f"text that matches {pattern}" if pattern else "text, not empty",
            "array": self._list(schema) if schema.get("type") == "array" else "",
            "object": "`key: value` lines",
            "null": "null",
        }
        return [texts[schema["type"]]]

    def _list(self, schema: Schema) -> str:
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        number = f"{least} or more " if most is None else f"{least} to {most} "
        if least == most:
            number = f"{least} "
        items = schema.get("items") or schema["prefixItems"][0]
        return f"a list of {number}values, each {self._describe(items)}"


def _leaf(key: str) -> str:
    return key.rpartition(".")[2]


def _bounds(schema: Schema) -> str:
    if "minimum" in schema and "maximum" in schema:
        return f" from {schema['minimum']} to {schema['maximum']}"
    names = {
        "exclusiveMinimum": "above",
        "minimum": "of at least",
        "exclusiveMaximum": "below",
        "maximum": "of at most",
    }
    limits = [f"{word} {_plain(schema[name])}" for name, word in names.items() if name in schema]
    return f" {' and '.join(limits)}" if limits else ""


def _either(texts: Sequence[str]) -> str:
    *first, last = texts
    return f"{', '.join(first)} or {last}" if first else last


def _plain(value: Any) -> str:
    return repr(value) if isinstance(value, str) else json.dumps(value)


def short(value: Any) -> str:
    """A value as YAML's readers know it, cut where it is long."""
    text = "empty" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
