"""Stratified random splits: each class keeps its share, and the same seed gives the same split.

scikit-learn's `train_test_split(stratify=...)` refuses classes of one image and splits with fewer
images than classes, which small folders of photos have.
"""

import numpy as np


def stratified_choice(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Chooses images at random so that each class keeps its share.

    Args:
        labels: (N,) int64.
        count: how many to choose, at most N.
        seed: decides which.

    Returns:
        (N,) bool: True if chosen. Every class of two or more images keeps at least one image on
        each side, as far as the count allows.
    """
    random = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), bool)
    classes, sizes = np.unique(labels, return_counts=True)
    for label, quota in zip(classes, _quotas(sizes, count), strict=True):
        members = np.flatnonzero(labels == label)
        chosen[random.permutation(members)[:quota]] = True
    return chosen


def _quotas(sizes: np.ndarray, count: int) -> np.ndarray:
    """Divides `count` among the classes by the largest-remainder method."""
    exact = sizes * count / sizes.sum()
    quotas = np.floor(exact).astype(np.int64)
    order = np.argsort(quotas - exact, kind="stable")
    quotas[order[: count - quotas.sum()]] += 1
    # a class without an image on one side could be neither learned nor measured
    for empty in np.flatnonzero((quotas == 0) & (sizes > 1)):
        donor = np.argmax(quotas)
        if quotas[donor] > 1:
            quotas[donor] -= 1
            quotas[empty] += 1
    for full in np.flatnonzero((quotas == sizes) & (sizes > 1)):
        receiver = np.argmax(sizes - quotas)
        if sizes[receiver] - quotas[receiver] > 1:
            quotas[full] -= 1
            quotas[receiver] += 1
    return quotas
