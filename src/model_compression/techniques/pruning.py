"""Pruning: which weights become zero, and when.

Unstructured magnitude pruning follows Zhu & Gupta 2017 (arXiv:1710.01878) as TFMOT implements it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..checks import check
from ..nets.keras2 import keras, tfmot
from ..nets.layers import kernel_size
from . import allocation
from .base import TOGETHER, Kept, Technique

#: Most optimizer steps between two updates of the masks.
FREQUENCY = 20
#: The part of a training during which sparsity rises; the rest heals at the final sparsity.
RAMP = 0.7


@dataclass(frozen=True, kw_only=True)
class PruneConfig(Technique):
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
            check(value is None or 0 <= value < 1, name, value, "0 up to but not including 1")
        first, last = self.initial_sparsity, self.final_sparsity
        check(first <= last, "initial_sparsity", first, f"at most final_sparsity, which is {last!r}")
        check(self.pattern in PATTERNS, "pattern", self.pattern, ", ".join(PATTERNS))
        check(self.schedule in SCHEDULES, "schedule", self.schedule, ", ".join(SCHEDULES))
        strategies = allocation.STRATEGIES
        check(self.allocation in strategies, "allocation", self.allocation, ", ".join(strategies))
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

    leaves_zeros = True

    @property
    def label(self) -> str:
        return "pruning" if self.pattern == "unstructured" else f"pruning {self.pattern}"

    def takes(self, layer: keras.layers.Layer) -> bool:
        """Whether `layer` can be pruned in the pattern."""
        if not super().takes(layer) or isinstance(layer, keras.layers.DepthwiseConv2D):
            return False
        # a run or block that sticks out beyond the kernel would hold fewer zeros than promised; TFMOT groups
        # by the input channel, and blocks need a matrix of more than one column
        matrix = isinstance(layer, keras.layers.Dense) and (self.pattern == "2:4" or layer.units > 1)
        fits = (matrix or self.pattern == "2:4") and layer.kernel.shape[-2] % 4 == 0
        return self.pattern == "unstructured" or fits

    def wrap(
        self, net: keras.Model, *, steps: int, seed: int, source: keras.Model | None = None
    ) -> keras.Model:
        """A copy of `net` that prunes itself while it trains.

        Args:
            steps: optimizer steps that the fit will take; `end_step` follows from it.
            seed: of the allocation "random".
        Raises:
            ValueError: no layer takes the pattern, or too few steps.
        """
        targets = self.taken(net)
        finals = {layer.name: self.sparsity_of(layer) for layer in targets}
        if self.allocation != "uniform":
            weights = {layer.name: layer.kernel.numpy() for layer in targets}
            shared = allocation.allocate(weights, self.final_sparsity, self.allocation, seed=seed)
            finals = {name: zeros / weights[name].size for name, zeros in shared.items()}

        def pruned(layer: keras.layers.Layer) -> keras.layers.Layer:
            schedule = SCHEDULES[self.schedule](self, finals[layer.name], steps)
            return tfmot.sparsity.keras.prune_low_magnitude(
                layer, pruning_schedule=schedule, **PATTERNS[self.pattern]
            )

        return self.wrap_layers(net, pruned)

    def callbacks(self) -> list[keras.callbacks.Callback]:
        return [tfmot.sparsity.keras.UpdatePruningStep()]

    def strip(self, net: keras.Model) -> keras.Model:
        return tfmot.sparsity.keras.strip_pruning(net)

    def promise(self, layers: Sequence[keras.layers.Layer], before: Kept) -> Kept:
        """Zeros of each kernel that it takes; for all together where the weights decide who has them."""
        taken = [layer for layer in layers if self.takes(layer)]
        if self.allocation != "uniform":
            total = sum(kernel_size(layer) for layer in taken)
            return Kept(zeros={TOGETHER: round(self.final_sparsity * total)})
        return Kept(zeros={layer.name: self._zeros(layer) for layer in taken})

    def _zeros(self, layer: keras.layers.Layer) -> int:
        size = kernel_size(layer)
        if self.pattern == "2:4":
            return size // 2
        group = 4 if self.pattern == "block" else 1
        # TFMOT rounds what it keeps, in float32, and keeps at least one
        kept = np.rint(np.float32(size // group) * (1 - np.float32(self.sparsity_of(layer))))
        return size - group * max(int(kept), 1)


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


def update_frequency(steps: int) -> int:
    """Optimizer steps between two updates of the masks: `FREQUENCY`, fewer in a short training."""
    return max(1, min(FREQUENCY, steps // 20))


def end_step(steps: int) -> int:
    """Last step of the ramp, one at which TFMOT updates the masks.

    TFMOT prunes only where (step - begin_step) % frequency == 0: any other end would leave the
    final sparsity unreached.
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
