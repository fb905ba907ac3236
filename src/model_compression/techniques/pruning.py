"""Pruning: which weights become zero, and when.

Unstructured magnitude pruning follows Zhu & Gupta 2017 (arXiv:1710.01878) as TFMOT implements it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..nets.keras2 import keras, tfmot
from ..nets.layers import clone, kernel_size, kernels
from .allocation import STRATEGIES, allocate

UpdatePruningStep = tfmot.sparsity.keras.UpdatePruningStep

#: Most optimizer steps between two updates of the masks.
FREQUENCY = 20
#: Stands for all kernels together where zeros are counted by layer name.
TOGETHER = "all kernels"
#: The part of a training during which sparsity rises; the rest heals at the final sparsity.
RAMP = 0.7


@dataclass(frozen=True, kw_only=True)
class PruneConfig:
    """Gradual magnitude pruning.

    Args:
        final_sparsity: fraction of zeros in each pruned kernel at the end, in [0, 1).
        initial_sparsity: fraction at the first step, at most `final_sparsity`.
        conv_sparsity: final fraction for convolution kernels, where it differs (a first
            convolution holds few weights and many multiply-adds).
        power: exponent of the polynomial ramp; 3 as in the paper.
        pattern: "unstructured", "2:4" (two zeros in each run of four; ignores the sparsities) or
            "block" (blocks of four weights that feed one output of a Dense layer).
        allocation: "uniform" asks `final_sparsity` of each kernel; every other strategy of
            `allocation.STRATEGIES` shares out `final_sparsity` of all kernels together.
        schedule: a name in `SCHEDULES`; "polynomial" rises with `power`, "constant" prunes at once and
            goes on choosing anew, "one_shot" chooses once, at the first step. Iterative pruning with
            learning-rate rewinding (Renda et al. 2020, arXiv:2003.02389) is several steps of "one_shot".
    Raises:
        ValueError: a field out of range.
    """

    final_sparsity: float
    initial_sparsity: float = 0.0
    conv_sparsity: float | None = None
    power: float = 3.0
    pattern: str = "unstructured"
    allocation: str = "uniform"
    schedule: str = "polynomial"

    def __post_init__(self) -> None:
        for name in ("final_sparsity", "initial_sparsity", "conv_sparsity"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name} is {value!r}; allowed: 0 up to but not including 1")
        if self.initial_sparsity > self.final_sparsity:
            raise ValueError(
                f"initial_sparsity is {self.initial_sparsity!r}; allowed: at most "
                f"final_sparsity, which is {self.final_sparsity!r}"
            )
        if self.pattern not in PATTERNS:
            raise ValueError(f"pattern is {self.pattern!r}; allowed: {', '.join(PATTERNS)}")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule is {self.schedule!r}; allowed: {', '.join(SCHEDULES)}")
        if self.allocation not in STRATEGIES:
            raise ValueError(f"allocation is {self.allocation!r}; allowed: {', '.join(STRATEGIES)}")
        if self.allocation != "uniform" and (
            self.pattern != "unstructured" or self.conv_sparsity is not None
        ):
            raise ValueError(
                f"allocation is {self.allocation!r}; allowed with a pattern or conv_sparsity: 'uniform'"
            )

    def sparsity_of(self, layer: keras.layers.Layer) -> float:
        """The final sparsity that this config asks of `layer`."""
        if self.conv_sparsity is not None and isinstance(layer, keras.layers.Conv2D):
            return self.conv_sparsity
        return self.final_sparsity


#: What each pattern passes to TFMOT.
PATTERNS: dict[str, dict[str, tuple[int, int]]] = {
    "unstructured": {},
    "2:4": {"sparsity_m_by_n": (2, 4)},
    "block": {"block_size": (4, 1)},
}


def _polynomial(config: PruneConfig, final: float, steps: int) -> object:
    return tfmot.sparsity.keras.PolynomialDecay(
        initial_sparsity=min(config.initial_sparsity, final),
        final_sparsity=final,
        begin_step=0,
        end_step=end_step(steps),
        power=config.power,
        frequency=update_frequency(steps),
    )


def _constant(config: PruneConfig, final: float, steps: int) -> object:
    return tfmot.sparsity.keras.ConstantSparsity(
        final, begin_step=0, end_step=end_step(steps), frequency=update_frequency(steps)
    )


def _one_shot(config: PruneConfig, final: float, steps: int) -> object:
    # TFMOT counts from 1: this is the first step, before any update of the weights
    return tfmot.sparsity.keras.ConstantSparsity(final, begin_step=0, end_step=1, frequency=1)


#: When a kernel's zeros are chosen: (config, its final sparsity, steps of the fit) -> TFMOT's schedule.
SCHEDULES = {"polynomial": _polynomial, "constant": _constant, "one_shot": _one_shot}


def takes(layer: keras.layers.Layer, pattern: str) -> bool:
    """Whether `layer` can be pruned in `pattern`."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return False
    if isinstance(layer, keras.layers.Dense):
        # a run or block that sticks out beyond the kernel would hold fewer zeros than promised
        return pattern == "unstructured" or layer.kernel.shape[0] % 4 == 0
    if isinstance(layer, keras.layers.Conv2D):
        # TFMOT groups by the input channel, and blocks need a matrix
        return pattern == "unstructured" or (pattern == "2:4" and layer.kernel.shape[2] % 4 == 0)
    return False


def update_frequency(steps: int) -> int:
    """Optimizer steps between two updates of the masks: `FREQUENCY`, fewer in a short training.

    Args:
        steps: optimizer steps of the whole training.
    """
    return max(1, min(FREQUENCY, steps // 20))


def end_step(steps: int) -> int:
    """Last step of the ramp, one at which TFMOT updates the masks.

    TFMOT prunes only where (step - begin_step) % frequency == 0: any other end would leave the
    final sparsity unreached.

    Args:
        steps: optimizer steps of the whole training.
    Raises:
        ValueError: fewer than two steps.
    """
    if steps < 2:
        raise ValueError(
            f"pruning over {steps} optimizer steps; allowed: at least 2 "
            "(more training images, more epochs or a smaller batch)"
        )
    frequency = update_frequency(steps)
    return max(round(RAMP * steps / frequency), 1) * frequency


def wrap(model: keras.Model, config: PruneConfig, *, steps: int, seed: int = 0) -> keras.Model:
    """A copy of `model` that prunes itself while it trains.

    Args:
        steps: optimizer steps that the fit will take; `end_step` follows from it.
        seed: of the allocation "random".
    Raises:
        ValueError: no layer takes the pattern, or too few steps.
    """
    copy = clone(model)
    targets = [layer for layer in copy.layers if takes(layer, config.pattern)]
    if not targets:
        raise ValueError(f"pattern is {config.pattern!r}: no layer of this net takes it")
    finals = {layer.name: config.sparsity_of(layer) for layer in targets}
    if config.allocation != "uniform":
        weights = {layer.name: layer.kernel.numpy() for layer in targets}
        shared = allocate(weights, config.final_sparsity, config.allocation, seed=seed)
        finals = {name: zeros / weights[name].size for name, zeros in shared.items()}

    def wrap_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        if layer not in targets:
            return layer
        schedule = SCHEDULES[config.schedule](config, finals[layer.name], steps)
        return tfmot.sparsity.keras.prune_low_magnitude(
            layer, pruning_schedule=schedule, **PATTERNS[config.pattern]
        )

    return keras.models.clone_model(copy, clone_function=wrap_layer)


def strip(model: keras.Model) -> keras.Model:
    """The pruned net without its wrappers, zeros in place."""
    return tfmot.sparsity.keras.strip_pruning(model)


def callbacks() -> list[keras.callbacks.Callback]:
    """What a fit of a wrapped model needs."""
    return [UpdatePruningStep()]


def promised_zeros(layers: Iterable[keras.layers.Layer], config: PruneConfig) -> dict[str, int]:
    """How many zeros `config` puts into each kernel that it takes, by layer name.

    An allocation that looks at the weights promises only what all kernels hold together, as `TOGETHER`.
    """
    if config.allocation != "uniform":
        total = sum(kernel_size(layer) for layer in layers if takes(layer, config.pattern))
        return {TOGETHER: round(config.final_sparsity * total)}

    def zeros(layer: keras.layers.Layer) -> int:
        size = kernel_size(layer)
        if config.pattern == "2:4":
            return size // 2
        group = 4 if config.pattern == "block" else 1
        # TFMOT rounds what it keeps, in float32, and keeps at least one
        kept = np.rint(np.float32(size // group) * (1 - np.float32(config.sparsity_of(layer))))
        return size - group * max(int(kept), 1)

    return {layer.name: zeros(layer) for layer in layers if takes(layer, config.pattern)}


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
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity is {sparsity!r}; allowed: 0 to 1")
    mask = np.ones(weights.size, dtype=bool)
    order = np.argsort(np.abs(weights), axis=None, kind="stable")
    mask[order[: round(sparsity * weights.size)]] = False
    return mask.reshape(weights.shape)


def random_masks(model: keras.Model, sparsity: float, *, seed: int) -> dict[str, np.ndarray]:
    """Keep-masks that drop the same share of every kernel, at random: the naive baseline."""
    generator = np.random.default_rng(seed)
    return {
        name: magnitude_mask(generator.random(kernel.shape), sparsity)
        for name, kernel in kernels(model).items()
    }


def nonzero_masks(model: keras.Model) -> dict[str, np.ndarray]:
    """The keep-masks of a pruned net: where its kernels are not zero."""
    return {name: kernel.numpy() != 0 for name, kernel in kernels(model).items()}


class _Masked(keras.constraints.Constraint):
    """Multiply by a fixed mask after every optimizer step."""

    def __init__(self, mask: np.ndarray) -> None:
        self.mask = keras.backend.constant(mask.astype(np.float32))

    def __call__(self, weights: keras.backend.variable) -> keras.backend.variable:
        return weights * self.mask


def fix_masks(model: keras.Model, masks: Mapping[str, np.ndarray]) -> keras.Model:
    """A copy of `model` whose kernels stay zero wherever their mask is False."""
    copy = clone(model)
    for name, kernel in kernels(copy).items():
        kernel.assign(kernel * masks[name].astype(np.float32))
        # the optimizer applies a variable's constraint after each update
        kernel._constraint = _Masked(masks[name])
    return copy
