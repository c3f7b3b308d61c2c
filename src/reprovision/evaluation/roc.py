"""The ROC curve of each class against all others.

The areas under the curves need all probabilities, which results/predictions.csv does not hold.
"""

import numpy as np
from scipy import special
from sklearn.metrics import roc_auc_score


def roc_auc(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each class, by its probability, from logits (N, classes).

    Args:
        labels: int64 (N,).

    Returns:
        float64 (classes,), NaN for a class that all images belong to, or none.
    """
    classes = logits.shape[1]
    images = np.bincount(labels, minlength=classes)
    defined = np.flatnonzero((images > 0) & (images < len(labels)))
    areas = np.full(classes, np.nan)
    if len(defined):
        # in float32 many would be 1, and their order lost
        probabilities = special.softmax(logits.astype(np.float64), axis=1)
        is_class = labels[:, None] == defined
        areas[defined] = roc_auc_score(is_class, probabilities[:, defined], average=None)
    return areas
