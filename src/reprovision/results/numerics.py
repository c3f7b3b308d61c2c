"""What decided the bytes of a result: results/numerics.json, in Git with the metrics.

Where two runs of the same params, data and code differ, it tells why.
"""

from collections.abc import Mapping

from reprovision.core.yaml_files import LenientSection, parse_section, parse_yaml
from reprovision.results.layout import NUMERICS


class Numerics(LenientSection):
    """What decided the bytes, as `models/hardware.py` describes it, of two stages.

    Attributes:
        training: of the checkpoint.
        evaluation: of the predictions.
    """

    training: dict[str, str]
    evaluation: dict[str, str]


def parse_numerics(content: bytes, name: str) -> Numerics:
    """Reads the numerics of the run of a name; raises a UserError where it is something else."""
    where = f"{NUMERICS} of {name}"
    return parse_section(Numerics, parse_yaml(content, where), where)


def describe_difference(base: Mapping[str, str], head: Mapping[str, str]) -> str:
    """What decided otherwise, e.g. `threads 2 → 1`; empty where nothing did."""
    return ", ".join(
        f"{name} {_named(base.get(name))} → {_named(head.get(name))}"
        for name in {**base, **head}
        if base.get(name) != head.get(name)
    )


def _named(value: str | None) -> str:
    return "not set" if value is None else value
