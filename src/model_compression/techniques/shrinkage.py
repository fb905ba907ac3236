"""Training with a price on the magnitude of weights (L1), so that what is not needed shrinks towards zero.

Source: Tibshirani 1996 (the lasso); for nets Han et al. 2015, arXiv:1506.02626, section 3.1.
"""

import functools
from dataclasses import dataclass

from ..checks import check
from ..nets.keras2 import keras, tf
from ..nets.layers import clone, kernel, kernel_layers
from .base import Technique


@dataclass(frozen=True, kw_only=True)
class ShrinkConfig(Technique):
    """How strongly weights are drawn to zero.

    Args:
        l1: loss (nats an image) that a sum of magnitudes of 1 counts for; above 0.
    Raises:
        ValueError: l1 out of range.
    """

    l1: float

    def __post_init__(self) -> None:
        check(0 < self.l1 < float("inf"), "l1", self.l1, "finite, above 0")

    label = "training with a price on magnitudes"

    def wrap(
        self, net: keras.Model, *, steps: int, seed: int, source: keras.Model | None = None
    ) -> keras.Model:
        """A copy of `net` whose loss counts the magnitudes of its kernels."""
        copy = clone(net)
        for layer in kernel_layers(copy):
            layer.add_loss(functools.partial(_magnitude, layer, self.l1))
        return copy

    def strip(self, net: keras.Model) -> keras.Model:
        """The net without its additional loss."""
        return clone(net)


def _magnitude(layer: keras.layers.Layer, l1: float) -> tf.Tensor:
    return l1 * tf.reduce_sum(tf.abs(kernel(layer)))
