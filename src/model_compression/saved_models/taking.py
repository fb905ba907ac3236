"""A trained net takes what the user's model took and gives what it gave: so it becomes a file.

Exact: a factor moves from the images into the first kernels, and the function at the end comes back.
"""

import numpy as np

from ..nets.keras2 import keras
from ..nets.layers import clone, kernel
from .fitting import Fitted


def as_taken(model: keras.Model, fitted: Fitted) -> keras.Model:
    """The net for images of `fitted.fed`, with the model's own kind of outputs.

    Args:
        model: takes images of `fitted.seen` and gives unbounded scores. A float net stays as it was; one
            after quantization-aware training, which cannot be copied, is changed in place.
    """
    aware = any(hasattr(layer, "quantize_config") for layer in model.layers)
    net = model if aware else clone(model)
    if fitted.factor != 1:
        for layer in net.layers:
            _multiply(layer, fitted)
    if fitted.ending == "linear":
        return net
    end = keras.layers.Softmax() if fitted.ending == "softmax" else keras.layers.Activation(fitted.ending)
    return keras.Model(net.input, end(net.output))


def _multiply(layer: keras.layers.Layer, fitted: Fitted) -> None:
    """Change a layer from images times the factor to images."""
    inner = getattr(layer, "layer", layer)
    if inner.name in fitted.scaled:
        # a wrapper of quantization-aware training keeps the trained kernel to itself
        weights = layer._weight_vars[0][0] if inner is not layer else kernel(inner)
        weights.assign(weights * np.float32(fitted.factor))
    limits = [weight for weight in layer.weights if weight.name.split(":")[0].endswith(("_min", "_max"))]
    for weight in limits:
        if inner.name in fitted.scaled and "kernel" in weight.name:
            weight.assign(weight * np.float32(fitted.factor))
        elif inner.name in fitted.carried or type(layer).__name__ == "QuantizeLayer":
            weight.assign(weight / np.float32(fitted.factor))
