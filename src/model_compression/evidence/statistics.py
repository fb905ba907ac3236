"""The tests between two sets of answers, and what an interval may be."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests


def mcnemar_p(labels: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """Exact two-sided p of McNemar's test: do two classifiers err equally often?

    Only the images that just one of them gets right count.
    Args:
        labels, one, other: the truth and the two predictions, (n,).
    Source: Dietterich 1998, Neural Computation 10(7).
    """
    right_one, right_other = one == labels, other == labels
    table = [
        [int(np.sum(right_one & right_other)), int(np.sum(right_one & ~right_other))],
        [int(np.sum(~right_one & right_other)), int(np.sum(~right_one & ~right_other))],
    ]
    return float(mcnemar(table, exact=True).pvalue)


def combine_p(p_values: Sequence[float]) -> float:
    """One p value for tests that share their images, and so depend on each other.

    n / k times the k-th smallest, with k the upper median: valid under any dependence.
    Source: Rueger 1978; Vovk & Wang 2020, Biometrika 107(4).
    Raises:
        ValueError: no p value.
    """
    if not p_values:
        raise ValueError("no p value to combine; allowed: at least one")
    ordered = sorted(p_values)
    k = len(ordered) // 2 + 1
    return min(1.0, len(ordered) / k * ordered[k - 1])


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p values corrected for their number (Holm 1979), in the order given."""
    if not len(p_values):
        return np.array([])
    return multipletests(p_values, method="holm")[1]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A difference of accuracies, form minus control, as fractions, with its 95 % interval."""

    mean: float
    low: float
    high: float


def accuracy_change(labels: np.ndarray, form: np.ndarray, control: np.ndarray) -> Change:
    """How much a form gains on its control, paired by seed and image.

    Several seeds: Student's t over the seeds' differences, which covers the spread of training.
    One seed: the paired normal interval over the test images, the only spread there is.
    Args:
        labels: (images,). form, control: predictions, (seeds, images).
    Source: Dietterich 1998; Newcombe 1998 (paired differences).
    """
    gains = (form == labels).astype(float) - (control == labels).astype(float)
    by_seed = gains.mean(axis=1)
    mean = float(by_seed.mean())
    if len(by_seed) == 1:
        half = 1.959964 * float(gains[0].std(ddof=1)) / np.sqrt(gains.shape[1])
    else:
        half = float(stats.t.ppf(0.975, len(by_seed) - 1) * stats.sem(by_seed))
    return Change(mean=mean, low=mean - half, high=mean + half)
