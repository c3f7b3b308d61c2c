"""Which images go into which split: decided by their content, so that splits stay as they are.

Every image draws a number from 0 to 1, a digest of its content (or its group) and of a seed. It
goes into a split where that number is below the split's fraction. So copies share a split, and
neither the order and names of the files nor images that are added later move any other image.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from reprovision.core.errors import UserError
from reprovision.core.params import DataParams
from reprovision.core.wording import count
from reprovision.data.dataset import SPLITS, SplitName
from reprovision.sources.digests import digests_of
from reprovision.sources.source import Part, Source

TRAIN, VAL, TEST, LEFT_OUT = 0, 1, 2, -1
"""Indices into `SPLITS`, and of images that go nowhere."""

FEW = 3
"""Images of a class, from which on one is set apart whatever the draws."""

GROUP = "group"
"""The column of a table that names the groups, where `data.group` does not name another."""


def assign(source: Source, params: DataParams) -> list[tuple[Part, np.ndarray]]:
    """Each part of the source with the split of each of its images: (N,), indices or -1.

    Raises:
        UserError: there are too few images for the splits, or the source's own splits share a
            group.
    """
    _check_groups(source, params)
    train = _Assignment(source.train, TRAIN, params)
    if source.test is None:
        # the test images do not depend on params, so that results stay comparable
        train.move(TEST, params.test_fraction, "test")
        train.limit(TEST, "limit test")
    train.limit(TRAIN, f"limit {params.split_seed}")
    if source.val is None and params.val_fraction > 0:
        train.move(VAL, params.val_fraction, f"val {params.split_seed}")
    assigned = [(source.train, train.splits)]
    for part, split in ((source.val, VAL), (source.test, TEST)):
        if part is not None:
            own = _Assignment(part, split, params)
            own.limit(split, "limit test")
            assigned.append((part, own.splits))
    return assigned


class _Assignment:
    """The splits of a part's images while they are decided.

    Attributes:
        splits: (N,) int64.
    """

    def __init__(self, part: Part, split: int, params: DataParams) -> None:
        self.part = part
        self.params = params
        self.splits = np.where(part.labels < 0, LEFT_OUT, split)

    @cached_property
    def keys(self) -> np.ndarray:
        """(N,) uint64: images with the same key stay together."""
        digests = self.part.digests()
        groups = groups_of(self.part, self.params.group)
        return digests if groups is None else keys_of_groups(digests, groups)

    def move(self, target: int, fraction: float, salt: str) -> None:
        """Moves a fraction of the training images to another split."""
        pool = np.flatnonzero(self.splits == TRAIN)
        labels, keys = self.part.labels[pool], self.keys[pool]
        # a class that is never tested could be anything; few images are better trained on
        chosen = choose(labels, keys, fraction, salt, each_class=target == TEST)
        if not 0 < chosen.sum() < len(pool):
            different = len(np.unique(keys))
            copies = f", of which {different:,} differ," if different < len(pool) else ""
            found = f"{count(len(pool), 'image')}{copies} {'is' if len(pool) == 1 else 'are'}"
            raise UserError(
                f"{found} too few to set {fraction:.0%} apart for {SPLITS[target]}: add images, "
                "or change "
                "data.limit, data.val_fraction or data.test_fraction"
            )
        self.splits[pool[chosen]] = target

    def limit(self, split: int, salt: str) -> None:
        """Leaves out a stratified share of a split, so that `data.limit` of its images remain."""
        pool, limit = np.flatnonzero(self.splits == split), self.params.limit
        if limit is not None and limit < len(pool):
            kept = choose_count(self.part.labels[pool], self.keys[pool], limit, salt)
            self.splits[pool[~kept]] = LEFT_OUT


def choose(
    labels: np.ndarray, keys: np.ndarray, fraction: float, salt: str, each_class: bool
) -> np.ndarray:
    """Chooses images for a split.

    Args:
        labels: (N,) int64.
        keys: (N,) uint64; images with the same key stay together.
        fraction: of the images that are chosen, on average.
        salt: decides which; independent of every other salt.
        each_class: whether every class of three or more images must have one that is chosen.

    Returns:
        (N,) bool: True if chosen. Where none of a class, or of all images, would be, it is the one
        of the lowest draw. No class loses all of its images: the one of the highest draw stays.
    """
    draws = draw(keys, salt)
    chosen = draws < fraction
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    for members in classes if each_class else [np.arange(len(labels))]:
        if len(members) >= FEW and not chosen[members].any():
            chosen |= keys == keys[members[draws[members].argmin()]]
    for members in classes:
        if chosen[members].all():
            chosen &= keys != keys[members[draws[members].argmax()]]
    return chosen


def choose_count(labels: np.ndarray, keys: np.ndarray, count: int, salt: str) -> np.ndarray:
    """Chooses `count` images, (N,) bool, so that each class keeps its share: the lowest draws."""
    chosen, draws = np.zeros(len(labels), bool), draw(keys, salt)
    classes, sizes = np.unique(labels, return_counts=True)
    for label, quota in zip(classes, _quotas(sizes, count), strict=True):
        members = np.flatnonzero(labels == label)
        chosen[members[draws[members].argsort(kind="stable")[:quota]]] = True
    return chosen


def draw(keys: np.ndarray, salt: str) -> np.ndarray:
    """(N,) float64 from 0 to 1: the same for the same key and salt, on every machine."""
    start, content = hashlib.sha256(salt.encode()), memoryview(keys.astype("<u8").tobytes())

    def draw_one(key: memoryview) -> float:
        digest = start.copy()
        digest.update(key)
        return int.from_bytes(digest.digest()[:8], "little") / 2.0**64

    each = (content[at : at + 8] for at in range(0, len(content), 8))
    return np.fromiter(map(draw_one, each), np.float64, len(keys))


def keys_of_groups(digests: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """(N,) uint64 keys by which neither a group nor the copies of an image are torn apart.

    Args:
        digests: (N,) uint64, of the images' content.
        groups: of each image.
    """
    # takes 0.2 s to import
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    names, group = np.unique(np.array(groups, dtype=np.str_), return_inverse=True)
    content = np.unique(digests, return_inverse=True)[1] + len(names)
    count = len(names) + int(content.max()) + 1
    edges = csr_array((np.ones(len(group), bool), (group, content)), shape=(count, count))
    component = connected_components(edges, directed=False)[1][group]
    by_name = digests_of(name.encode() for name in names.tolist())[group]
    # groups that share an image are one, named after the first of them
    lowest = np.full(component.max() + 1, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(lowest, component, by_name)
    return lowest[component]


def groups_of(part: Part, group: str | None) -> Sequence[str] | None:
    """The group of each image: of a column, or by a pattern; None where there are no groups.

    Args:
        group: name of a column, or a regular expression; by default the column `group` if there is
            one.

    Raises:
        UserError: a name is empty, or the pattern is wrong.
    """
    name = group or GROUP
    if name in part.columns:
        column = part.columns[name]
        if "" in column:
            row = column.index("")
            raise UserError(f"{part.origin(row)} has no {name}: fill the column {name}")
        return column
    return groups_by_pattern(group, len(part.labels), part.origin) if group else None


def groups_in_several_splits(source: Source, group: str | None) -> dict[str, dict[SplitName, int]]:
    """Groups with images in two or more of the source's own splits: in each, how many.

    Raises:
        UserError: as `groups_of` does.
    """
    found: dict[str, Counter[SplitName]] = {}
    for split, part in zip(SPLITS, (source.train, source.val, source.test), strict=True):
        for name in (part and groups_of(part, group)) or ():
            found.setdefault(name, Counter())[split] += 1
    return {name: dict(found[name]) for name in sorted(found) if len(found[name]) > 1}


def _check_groups(source: Source, params: DataParams) -> None:
    """Raises a UserError where a group is in two of the source's own splits."""
    if shared := groups_in_several_splits(source, params.group):
        raise UserError(
            f"{source.name} has images of the group {next(iter(shared))} in two of its splits: "
            "move them into one"
        )


def groups_by_pattern(pattern: str, count: int, origin: Callable[[int], str]) -> list[str]:
    """The group of each image: what a regular expression finds in the path of its file.

    Raises:
        UserError: it is no regular expression, or does not match a path.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"data.group={pattern} is neither a column nor a regular expression ({error})"
        ) from error
    groups = []
    for path in map(origin, range(count)):
        found = compiled.search(path)
        if not found:
            raise UserError(
                f"data.group={pattern} does not match {path}: use a regular expression that finds "
                "the group in every path, or the name of a column"
            )
        groups.append(found[1] if compiled.groups else found[0])
    return groups


def _quotas(sizes: np.ndarray, count: int) -> np.ndarray:
    """Divides `count` among the classes by the largest-remainder method; none is left out."""
    exact = sizes * count / sizes.sum()
    quotas = np.floor(exact).astype(np.int64)
    order = np.argsort(quotas - exact, kind="stable")
    quotas[order[: count - quotas.sum()]] += 1
    for empty in np.flatnonzero(quotas == 0):
        donor = np.argmax(quotas)
        if quotas[donor] > 1:
            quotas[donor] -= 1
            quotas[empty] += 1
    return quotas
