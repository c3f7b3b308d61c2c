"""Why a commit's results come out differently here: other packages, or other native numerics."""

from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

from reprovision.core.git import git_or_none
from reprovision.results.layout import NUMERICS, REQUIREMENTS
from reprovision.results.numerics import describe_difference, parse_numerics


def find_causes(commit: str, again: Path) -> Iterator[str]:
    """Sentences on what was not as it was for the commit.

    Args:
        again: the project's folder in which the commit was run again.
    """
    requirements = git_or_none("show", f"{commit}:./{REQUIREMENTS}")
    if requirements and (packages := ", ".join(_other_versions(requirements.decode()))):
        yield (
            f"Packages differ from the commit's {REQUIREMENTS}: {packages}. "
            "Run `uv sync` with its pyproject.toml."
        )
    before = git_or_none("show", f"{commit}:./{NUMERICS}")
    if before is None or not (again / NUMERICS).exists():
        return
    old = parse_numerics(before, "the commit")
    new = parse_numerics((again / NUMERICS).read_bytes(), "the new results")
    for stage in ("training", "evaluation"):
        difference = describe_difference(getattr(old, stage), getattr(new, stage))
        if difference:
            yield f"The {stage} was computed with other native numerics: {difference}."


def _other_versions(requirements: str) -> Iterator[str]:
    """Packages that are installed in another version than a requirements file asks for here."""
    for line in requirements.splitlines():
        if not line[:1].isalnum():
            # a hash or a comment
            continue
        wanted = Requirement(line.removesuffix("\\"))
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        with suppress(PackageNotFoundError):
            installed = version(wanted.name)
            if not wanted.specifier.contains(installed, prereleases=True):
                yield f"{wanted.name} {installed} instead of {str(wanted.specifier).lstrip('=')}"
