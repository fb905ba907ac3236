"""How a total sparsity is shared out among layers: the strategies of the pruning literature.

A strategy sees the kernels and the number of weights to drop, and says how many to drop in each kernel.
Which ones is pruning's own choice, smallest magnitudes first.
"""

from collections.abc import Callable, Mapping

import numpy as np

from ..checks import check

Kernels = Mapping[str, np.ndarray]
#: Kernels, the zeros that they share, a seed -> zeros of each kernel, not yet bounded by its size.
Strategy = Callable[[Kernels, int, int], Mapping[str, float]]


def _uniform(kernels: Kernels, zeros: int, seed: int) -> Mapping[str, float]:
    total = sum(kernel.size for kernel in kernels.values())
    return {name: zeros * kernel.size / total for name, kernel in kernels.items()}


def _lowest(scores: Kernels, zeros: int) -> Mapping[str, float]:
    """How many of the `zeros` lowest scores each kernel holds; ties: earlier kernels first."""
    owners = np.repeat(np.arange(len(scores)), [score.size for score in scores.values()])
    order = np.argsort(np.concatenate([score.ravel() for score in scores.values()]), kind="stable")
    counts = np.bincount(owners[order[:zeros]], minlength=len(scores))
    return dict(zip(scores, counts.astype(float), strict=True))


def _global(kernels: Kernels, zeros: int, seed: int) -> Mapping[str, float]:
    return _lowest({name: np.abs(kernel) for name, kernel in kernels.items()}, zeros)


def lamp_scores(kernel: np.ndarray) -> np.ndarray:
    """Each weight's square over the sum of the squares of all weights of its kernel that are no smaller.

    Args:
        kernel: floats, any shape.
    Returns:
        Floats in [0, 1], shaped like `kernel`; the largest weight of a kernel scores 1.
    Source: Lee et al. 2021, arXiv:2010.07611, equation 4.
    """
    squares = np.square(kernel.astype(np.float64)).ravel()
    order = np.argsort(squares, kind="stable")
    remaining = np.cumsum(squares[order][::-1])[::-1]
    scores = np.empty_like(squares)
    scores[order] = squares[order] / np.maximum(remaining, np.finfo(float).tiny)
    return scores.reshape(kernel.shape)


def _lamp(kernels: Kernels, zeros: int, seed: int) -> Mapping[str, float]:
    return _lowest({name: lamp_scores(kernel) for name, kernel in kernels.items()}, zeros)


def _erdos_renyi_kernel(kernels: Kernels, zeros: int, seed: int) -> Mapping[str, float]:
    """Weights kept in proportion to the sum of a kernel's axes, and not to their product.

    Source: Evci et al. 2020, arXiv:1911.11134, appendix.
    """
    return _in_proportion({name: float(sum(k.shape)) for name, k in kernels.items()}, kernels, zeros)


def _random(kernels: Kernels, zeros: int, seed: int) -> Mapping[str, float]:
    """Each kernel's density drawn at random, all of them scaled to the total."""
    generator = np.random.default_rng(seed)
    weights = {name: kernel.size * generator.uniform(0.1, 1.0) for name, kernel in kernels.items()}
    return _in_proportion(weights, kernels, zeros)


def _in_proportion(weights: Mapping[str, float], kernels: Kernels, zeros: int) -> Mapping[str, float]:
    """Zeros where what is kept is shared out by `weights`; a kernel that would be over-full stays dense."""
    kept = sum(kernel.size for kernel in kernels.values()) - zeros
    dense: dict[str, float] = {}
    while True:
        left = {name: weight for name, weight in weights.items() if name not in dense}
        rest = kept - sum(dense.values())
        shares = {name: rest * weight / sum(left.values()) for name, weight in left.items()}
        full = [name for name, share in shares.items() if share > kernels[name].size]
        if not full:
            return {name: kernel.size - (shares | dense)[name] for name, kernel in kernels.items()}
        dense.update({name: float(kernels[name].size) for name in full})


STRATEGIES: dict[str, Strategy] = {
    "uniform": _uniform,
    "global": _global,
    "lamp": _lamp,
    "erdos_renyi_kernel": _erdos_renyi_kernel,
    "random": _random,
}


def allocate(kernels: Kernels, sparsity: float, strategy: str, *, seed: int) -> dict[str, int]:
    """The zeros of each kernel for a total sparsity: they add up to exactly round(sparsity * weights).

    Every kernel keeps a weight at least; what it may not drop, the largest others drop.

    Args:
        kernels: floats by layer name. sparsity: of all of them together, in [0, 1).
        strategy: a name in `STRATEGIES`. seed: of the strategy "random".
    Raises:
        ValueError: an unknown strategy, or a sparsity that leaves some kernel without a weight.
    """
    check(strategy in STRATEGIES, "allocation", strategy, ", ".join(STRATEGIES))
    sizes = {name: kernel.size for name, kernel in kernels.items()}
    total = sum(sizes.values())
    zeros = round(sparsity * total)
    fits = 0 <= zeros <= total - len(sizes)
    check(fits, "sparsity", sparsity, "0 or more, and a weight left in each kernel")
    wished = STRATEGIES[strategy](kernels, zeros, seed)
    counts = {name: min(int(wished[name]), sizes[name] - 1) for name in sizes}
    # the rounding's rest goes where most is missing, then where most room is
    while (left := zeros - sum(counts.values())) > 0:
        missing = {name: wished[name] - counts[name] for name in sizes if counts[name] < sizes[name] - 1}
        name = max(missing, key=lambda key: (missing[key], sizes[key] - counts[key]))
        counts[name] += min(max(1, int(missing[name])), sizes[name] - 1 - counts[name], left)
    return counts


def magnitude_mask(weights: np.ndarray, sparsity: float) -> np.ndarray:
    """Keep-mask that drops the smallest-magnitude weights.

    Drops exactly round(sparsity * weights.size); ties: lowest index first.

    Args:
        weights: floats, any shape.
        sparsity: fraction to drop, in [0, 1].
    Returns:
        Bools shaped like `weights`; True = keep.
    Raises:
        ValueError: sparsity outside [0, 1].
    Source: Han et al. 2015, arXiv:1506.02626.
    """
    check(0 <= sparsity <= 1, "sparsity", sparsity, "0 to 1")
    mask = np.ones(weights.size, dtype=bool)
    order = np.argsort(np.abs(weights), axis=None, kind="stable")
    mask[order[: round(sparsity * weights.size)]] = False
    return mask.reshape(weights.shape)
