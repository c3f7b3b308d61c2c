"""Groups of images that a source's own splits tear apart."""

from collections.abc import Iterator

from reprovision.checks.findings import Example, Finding
from reprovision.core.wording import count
from reprovision.sources.source import Source
from reprovision.sources.splits import groups_in_several_splits


def check_groups(source: Source, group: str | None) -> Iterator[Finding]:
    """What is found where images of one group are in two splits: they are alike.

    Args:
        group: `data.group`; by default the column `group`, where there is one.

    Raises:
        UserError: a group is empty, or the pattern is wrong.
    """
    shared = groups_in_several_splits(source, group)
    if shared:
        has = "has" if len(shared) == 1 else "have"
        examples = [
            Example(detail=f"{name}: {', '.join(f'{n:,} {split}' for split, n in counts.items())}")
            for name, counts in shared.items()
        ]
        sentence = f"{count(len(shared), 'group')} {has} images in two splits: move them into one"
        yield Finding("leakage", sentence, examples, serious=True)
