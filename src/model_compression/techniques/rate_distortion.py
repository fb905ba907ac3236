"""Rate-distortion training: one price for a coded byte prunes, shares values and quantizes at once.

Each kernel w is trained on a grid: v = clip(w / s, -levels, levels), rounded in the forward pass with
a straight-through gradient, its scale s learned along (LSQ, Esser et al. 2020, arXiv:1902.08153). The
loss is D + price * R: cross-entropy, plus what an entropy coder would need for the rounded weights
(entropy-constrained quantization: Chou, Lookabaugh & Gray 1989; for nets Choi et al. 2017,
arXiv:1612.01543, Wiedemann et al. 2018, arXiv:1812.07520, and the rate-distortion quantizer of
DeepCABAC, arXiv:1907.11900). The code length of a weight is -log2 of its grid point's share of the
kernel, interpolated linearly in between, so that weights feel where the next cheaper point lies.
Zeros, the share of each layer in them and the few values that remain all follow from the price.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import check, check_whole
from ..nets import channels
from ..nets.keras2 import keras, tf
from ..nets.layers import kernel
from ..nets.recurrent import Recurrent
from .base import Kept, Technique

#: Added to each grid point's count, so that a point without weights has a finite code length.
PRIOR_COUNT = 0.3
#: The logarithm of a scale learns at this share of the weights' learning rate.
SCALE_RATE = 0.2
#: The first scale puts this quantile of the weights' magnitudes on the largest grid point.
SCALE_QUANTILE = 0.99
BITS_PER_KB = 8000.0


@dataclass(frozen=True, kw_only=True)
class RateConfig(Technique):
    """What a coded byte may cost in accuracy.

    Args:
        price: loss (nats an image) that 1,000 bytes of coded weights count for, at least 0; 0 is plain
            quantization-aware training.
        levels: kernels take whole multiples of their scale from -levels to levels; 1 to 7, so that
            4 bits hold them.
        ramp: part of the training over which the price rises from 0, in (0, 1].
        first_nonzero: how many weights of a kernel of n may start away from zero, in sqrt(n); the others
            are small enough to be rounded away at once. None for all: a net far larger than its task then
            takes longer than the training to get rid of what it does not need.
    Raises:
        ValueError: a field out of range.
    """

    price: float
    levels: int = 7
    ramp: float = 0.3
    first_nonzero: float | None = None

    def __post_init__(self) -> None:
        check(0 <= self.price < float("inf"), "price", self.price, "finite, 0 or more")
        check_whole("levels", self.levels, 1, 7)
        check(0 < self.ramp <= 1, "ramp", self.ramp, "above 0, up to 1")
        first = self.first_nonzero
        finite = first is None or 0 < first < float("inf")
        check(finite, "first_nonzero", first, "None, or finite and above 0")

    leaves_zeros = True
    label = "rate-distortion training"

    def takes(self, layer: keras.layers.Layer) -> bool:
        """Whether `layer` has a kernel that can be put on the grid."""
        return type(layer) in _ON_GRID

    def wrap(
        self, net: keras.Model, *, steps: int, seed: int, source: keras.Model | None = None
    ) -> keras.Model:
        """A copy of `net` that computes with kernels on the grid and adds their price to its loss.

        Args:
            steps: optimizer steps that the fit will take; the price rises over the first of them.
        Raises:
            ValueError: no layer of the net can be put on the grid.
        """

        def on_grid(layer: keras.layers.Layer) -> keras.layers.Layer:
            wrapped = _ON_GRID[type(layer)].from_config(layer.get_config())
            wrapped.config, wrapped.steps = self, steps
            return wrapped

        wrapped = self.wrap_layers(net, on_grid)
        for target, original in zip(wrapped.layers, net.layers, strict=True):
            if self.takes(original):
                kernel(target).assign(kernel(original))
                if original.use_bias:
                    target.bias.assign(original.bias)
                target.start(kernel(original).numpy())
        return wrapped

    def strip(self, net: keras.Model) -> keras.Model:
        """The float net whose kernels lie on their grids, its hidden channels in canonical order."""
        kinds: dict[type, Any] = {wrapped: kind for kind, wrapped in _ON_GRID.items()}

        def plain(layer: keras.layers.Layer) -> keras.layers.Layer:
            return kinds.get(type(layer), type(layer)).from_config(layer.get_config())

        stripped = keras.models.clone_model(net, clone_function=plain)
        for target, trained in zip(stripped.layers, net.layers, strict=True):
            if type(trained) not in kinds:
                target.set_weights(trained.get_weights())
                continue
            # the product of a whole number and a float32: a file's writer finds the whole number again
            rounded = tf.round(trained.grid_values()) * trained.scale
            target.set_weights([rounded.numpy(), *([trained.bias.numpy()] if trained.use_bias else [])])
        return channels.canonical(stripped)

    def promise(self, layers: Sequence[keras.layers.Layer], before: Kept) -> Kept:
        """The points of the grid."""
        return Kept(unique_values={layer.name: 2 * self.levels + 1 for layer in layers})


def code_bits(values: tf.Tensor, levels: int) -> tf.Tensor:
    """Bits that an order-0 entropy coder needs for `values`, differentiable in them.

    Args:
        values: floats in [-levels, levels], any shape; a whole number is a grid point.
    Returns:
        A float: the sum of the code lengths, between grid points interpolated linearly. The code
        lengths themselves count as constants.
    """
    points = tf.cast(tf.round(values), tf.int32) + levels
    size = 2 * levels + 1
    counts = tf.math.bincount(tf.reshape(points, [-1]), minlength=size, maxlength=size, dtype=tf.float32)
    counts += PRIOR_COUNT
    lengths = tf.stop_gradient(tf.math.log(tf.reduce_sum(counts) / counts) / np.float32(np.log(2)))
    below = tf.minimum(tf.floor(values), levels - 1.0)
    share, index = values - below, tf.cast(below, tf.int32) + levels
    return tf.reduce_sum(tf.gather(lengths, index) * (1 - share) + tf.gather(lengths, index + 1) * share)


def first_scale(kernel: np.ndarray, config: RateConfig) -> float:
    """The scale that a kernel's training starts from: above 0, also for a kernel of zeros."""
    magnitudes = np.abs(kernel).ravel()
    kept = magnitudes[magnitudes > 1e-3 * magnitudes.max()]
    if not kept.size:
        return 1.0
    scale = float(np.quantile(kept, SCALE_QUANTILE) / config.levels)
    if config.first_nonzero is not None:
        share = min(1.0, config.first_nonzero / np.sqrt(magnitudes.size))
        # what is below half a step is rounded to zero
        scale = max(scale, 2 * float(np.quantile(magnitudes, 1 - share)))
    return scale


class _OnGrid:
    """Makes a layer compute with its kernel on the grid, and pay for the kernel's code."""

    config: RateConfig
    steps: int
    # of the Keras layer that this is mixed into
    add_weight: Callable[..., tf.Variable]
    add_loss: Callable[[tf.Tensor], None]

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)  # type: ignore[misc]
        self.log_scale = self.add_weight(name="log_scale", shape=(), initializer="zeros")
        self.step = self.add_weight(name="step", shape=(), initializer="zeros", trainable=False)

    def start(self, kernel: np.ndarray) -> None:
        """Set the scale from the trained float kernel."""
        self.log_scale.assign(np.log(first_scale(kernel, self.config)) / SCALE_RATE)

    @property
    def scale(self) -> tf.Tensor:
        return tf.exp(SCALE_RATE * self.log_scale)

    def grid_values(self) -> tf.Tensor:
        """The kernel in steps of the grid, clipped, not yet rounded."""
        levels = self.config.levels
        return tf.clip_by_value(kernel(self) / self.scale, -levels, levels)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        values = self.grid_values()
        rounded = self.scale * (values + tf.stop_gradient(tf.round(values) - values))
        if training and self.config.price:
            risen = tf.minimum(self.step / (self.config.ramp * self.steps), 1.0)
            kilobytes = code_bits(values, self.config.levels) / BITS_PER_KB
            self.add_loss(self.config.price * risen * kilobytes)
            self.step.assign_add(1.0)
        name = "depthwise_kernel" if isinstance(self, keras.layers.DepthwiseConv2D) else "kernel"
        learned = getattr(self, name)
        # past Keras, which would take the variable for gone
        object.__setattr__(self, name, rounded)
        try:
            return super().call(inputs)  # type: ignore[misc]
        finally:
            object.__setattr__(self, name, learned)


#: Layers that can be put on the grid, and what stands for them while they are trained.
_ON_GRID: dict[type, Any] = {
    kind: type(f"{kind.__name__}OnGrid", (_OnGrid, kind), {})
    for kind in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense, Recurrent)
}
