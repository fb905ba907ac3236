"""Depth without bytes: one kernel that is applied again and again, with a bias of each time's own.

Source: Liang & Hu 2015, "Recurrent convolutional neural network for object recognition"; a convolution
that feeds itself, unrolled.
"""

import re
from collections.abc import Sequence

from .keras2 import keras, tf

#: How often a kernel is applied, and "p" where a max-pool follows: `2p2` is twice, a max-pool, twice more.
RUNS = r"[1-9]\d*(?:p[1-9]\d*)*p?"


@keras.utils.register_keras_serializable("model_compression")
class Recurrent(keras.layers.Conv2D):
    """A 3 x 3 convolution with "same" padding and ReLU that reads its own output.

    Its kernel is (3, 3, filters, filters), its bias (applications, filters).

    Args:
        filters: channels in and out.
        runs: see `RUNS`.
    Raises:
        ValueError: inputs with other channels than `filters`.
    """

    def __init__(self, filters: int, runs: str, **rest: object) -> None:
        # a convolution has one bias, and this has several
        fixed = {"kernel_size": 3, "padding": "same", "activation": "relu", "use_bias": False}
        super().__init__(filters, **{"kernel_initializer": "he_normal", **rest, **fixed})
        self.runs = runs
        #: Times that the kernel is applied, and whether a pool follows, in order.
        self.pooled = tuple((int(times), bool(pool)) for times, pool in re.findall(r"(\d+)(p?)", runs))

    def build(self, input_shape: Sequence[int | None]) -> None:
        if input_shape[-1] != self.filters:
            raise ValueError(
                f"{self.name} has {self.filters} filters and reads {input_shape[-1]} channels; "
                "allowed: as many of both"
            )
        super().build(input_shape)
        self.use_bias = True
        shape = (sum(times for times, _ in self.pooled), self.filters)
        self.bias = self.add_weight(name="bias", shape=shape, initializer="zeros")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Apply the kernel with the biases, one after the other."""
        current, time = inputs, 0
        for times, pool in self.pooled:
            for _ in range(times):
                current = tf.nn.bias_add(self.convolution_op(current, self.kernel), self.bias[time])
                current, time = tf.nn.relu(current), time + 1
            if pool:
                current = tf.nn.max_pool2d(current, 2, 2, "VALID")
        return current

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        batch, *image, channels = input_shape
        for _, pool in self.pooled:
            image = [size // 2 if pool and size is not None else size for size in image]
        return (batch, *image, channels)

    def get_config(self) -> dict[str, object]:
        fixed = ("kernel_size", "padding", "activation", "use_bias")
        kept = {name: value for name, value in super().get_config().items() if name not in fixed}
        return {**kept, "runs": self.runs}
