"""Which stored kernel belongs to which layer, where the order does not tell.

A converter writes the operators of a branched net in an order of its own, and stripped files have no names.
So kernels are told apart by shape, and those of one shape by their values.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

#: Weights a kernel that are compared: enough to tell any two kernels apart.
COMPARED = 4096
#: Cost of a pair that cannot be, of a pair whose values are unknown, and of each place out of order.
IMPOSSIBLE, UNKNOWN, OUT_OF_ORDER = 1e6, 1.0, 1e-4


def distance(stored: np.ndarray, expected: np.ndarray) -> float:
    """How unlike two kernels of one shape are, whatever their scales: 1 - cosine, from 0 to 2.

    One that is not finite is as unlike as can be: the guard names it, and must first get it.
    """
    step = max(1, stored.size // COMPARED)
    ours, theirs = (values.ravel()[::step].astype(np.float64) for values in (stored, expected))
    norms = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
    if not np.isfinite(norms):
        return 2.0
    if norms == 0:
        return 0.0 if np.array_equal(ours, theirs) else 1.0
    return 1.0 - float(ours @ theirs) / norms


def without_ones(shape: Sequence[int]) -> tuple[int, ...]:
    """The sizes above 1: a converter may drop the axes of 1, or add some."""
    return tuple(size for size in shape if size > 1)


def assign(
    stored: Sequence[np.ndarray], shapes: Sequence[tuple[int, ...]], expected: Sequence[np.ndarray | None]
) -> list[int] | None:
    """For each layer the index of its stored kernel; None where the shapes allow no assignment.

    The pairs together lie as close as possible; in order where the values do not tell.

    Args:
        stored: kernels in the order of the file; there may be more of them than layers.
        shapes: what each layer's kernel has to be, in the axes of the file.
        expected: each layer's trained kernel in the axes of the file; None where it is not known.
    """
    if len(stored) < len(shapes):
        return None
    costs = np.full((len(shapes), len(stored)), IMPOSSIBLE)
    for row, (shape, kernel) in enumerate(zip(shapes, expected, strict=True)):
        for column, values in enumerate(stored):
            if without_ones(values.shape) == without_ones(shape):
                apart = UNKNOWN if kernel is None else distance(values, kernel)
                costs[row, column] = apart + OUT_OF_ORDER * abs(row - column)
    rows, columns = linear_sum_assignment(costs)
    if len(rows) and costs[rows, columns].max() >= IMPOSSIBLE:
        return None
    return [int(column) for column in columns]
