"""A trained net takes what the user's model took and gives what it gave: so it becomes a file.

Exact: a factor moves from the images into the first kernels, and the function at the end comes back.
"""

from collections.abc import Sequence

import numpy as np

from ..nets.keras2 import keras
from ..nets.layers import clone, kernel
from .fitting import Fitted, first_kernels


def as_taken(model: keras.Model, fitted: Fitted) -> keras.Model:
    """The net for images of `fitted.fed`, with the model's own kind of outputs.

    Args:
        model: takes images of `fitted.seen` and gives unbounded scores. A float net stays as it was; one
            after quantization-aware training, which cannot be copied, is changed in place.
    """
    aware = any(hasattr(layer, "quantize_config") for layer in model.layers)
    net = model if aware else clone(model)
    found = first_kernels(fitted.net)
    if fitted.factor != 1 and found is not None:
        for layer in net.layers:
            _multiply(layer, np.float32(fitted.factor), *found)
    ending = fitted.net.ending
    if ending == "linear":
        return net
    # a default name may be that of a layer within
    name = f"{ending}_of_{net.layers[-1].name}"
    softmax = ending == "softmax"
    end = keras.layers.Softmax(name=name) if softmax else keras.layers.Activation(ending, name=name)
    return keras.Model(net.input, end(net.output))


def _multiply(
    layer: keras.layers.Layer, factor: np.float32, scaled: Sequence[str], carried: Sequence[str]
) -> None:
    """Change a layer from images times the factor to images; see `first_kernels`."""
    inner = getattr(layer, "layer", layer)
    if inner.name in scaled:
        # a wrapper of quantization-aware training keeps the trained kernel to itself
        weights = layer._weight_vars[0][0] if inner is not layer else kernel(inner)
        weights.assign(weights * factor)
    for limit in layer.weights:
        if limit.name.split(":")[0].endswith(("_min", "_max")):
            if inner.name in scaled and "kernel" in limit.name:
                limit.assign(limit * factor)
            elif inner.name in carried or type(layer).__name__ == "QuantizeLayer":
                limit.assign(limit / factor)
