"""Training under fixed zeros: the controls of pruning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import check
from ..nets.keras2 import keras
from ..nets.layers import clone, kernel_size, kernels
from . import allocation
from .base import Kept, Technique, kept_after


@dataclass(frozen=True, kw_only=True)
class MaskConfig(Technique):
    """Train under fixed zeros.

    Args:
        random_sparsity: drop this fraction of every kernel at random, in [0, 1).
        like: or take the zeros of the net that these steps train.
        shuffled: take as many zeros of each kernel as that net has, but at random places.
        fresh: start from new random weights, drawn as the layers draw their first ones.
    Raises:
        ValueError: not exactly one of the two, a sparsity out of range, or nothing to shuffle.
    """

    random_sparsity: float | None = None
    like: tuple[Any, ...] = ()
    shuffled: bool = False
    fresh: bool = False

    def __post_init__(self) -> None:
        if (self.random_sparsity is None) == (not self.like):
            raise ValueError("a mask is either random_sparsity or like: give exactly one of the two")
        share = self.random_sparsity
        check(share is None or 0 <= share < 1, "random_sparsity", share, "0 up to but not including 1")
        counted = "only with like, whose zeros are counted"
        check(bool(self.like) or not self.shuffled, "shuffled", self.shuffled, counted)

    label = "masking"

    @property
    def identity(self) -> object:
        return ("mask", self.shuffled, self.fresh) if self.like else self

    @property
    def source_steps(self) -> tuple[Any, ...]:
        return self.like

    def wrap(
        self, net: keras.Model, *, steps: int, seed: int, source: keras.Model | None = None
    ) -> keras.Model:
        """A copy of `net` whose kernels stay zero wherever their mask is False.

        Where they start afresh, Keras's own generator, which the caller has seeded, draws them.
        """
        if source is None:
            masks = random_masks(net, self.random_sparsity or 0.0, seed=seed)
        else:
            masks = nonzero_masks(source)
        if self.shuffled:
            draw = np.random.default_rng(seed).permuted
            masks = {name: draw(mask.ravel()).reshape(mask.shape) for name, mask in masks.items()}
        return fix_masks(keras.models.clone_model(net) if self.fresh else net, masks)

    def promise(self, layers: Sequence[keras.layers.Layer], before: Kept) -> Kept:
        """As many zeros as the masks have."""
        if not self.like:
            share = self.random_sparsity or 0.0
            return Kept(zeros={layer.name: round(share * kernel_size(layer)) for layer in layers})
        return Kept(zeros=kept_after(self.like, layers).zeros)


def random_masks(model: keras.Model, sparsity: float, *, seed: int) -> dict[str, np.ndarray]:
    """Keep-masks that drop the same share of every kernel, at random: the naive baseline."""
    generator = np.random.default_rng(seed)
    return {
        name: allocation.magnitude_mask(generator.random(kernel.shape), sparsity)
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
