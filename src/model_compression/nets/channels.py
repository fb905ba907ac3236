"""The order of a net's hidden channels: it changes nothing but how short the net's file codes."""

import itertools
from collections.abc import Callable

import numpy as np

from .keras2 import keras
from .layers import clone, kernel_layers

#: Layers that keep channels apart and in their order.
_CHANNELWISE = (
    keras.layers.MaxPool2D,
    keras.layers.AveragePooling2D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.Flatten,
    keras.layers.Dropout,
)


def _is_chain(model: keras.Model) -> bool:
    """Whether each kernel's channels are read by the next kernel alone, through ReLU, pools or nothing."""
    layers = kernel_layers(model)
    if not isinstance(model, keras.Sequential) or not layers:
        return False
    between = model.layers[model.layers.index(layers[0]) :]
    pointwise = (keras.activations.relu, keras.activations.linear)

    def passes(layer: keras.layers.Layer) -> bool:
        if not isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            return isinstance(layer, _CHANNELWISE)
        plain = type(layer) in (keras.layers.Conv2D, keras.layers.Dense)
        return plain and (layer is layers[-1] or (layer.use_bias and layer.activation in pointwise))

    return all(passes(layer) for layer in between)


def _permute(layer: keras.layers.Layer, reader: keras.layers.Layer, order: np.ndarray) -> None:
    """Put the output channels of `layer` into another order, and what reads them likewise."""
    kernel, bias = layer.get_weights()
    weights, *reader_bias = reader.get_weights()
    # rows of a Dense layer after Flatten count the channels fastest
    read = weights.reshape(-1, len(order), weights.shape[-1])
    layer.set_weights([kernel[..., order], bias[order]])
    reader.set_weights([read[:, order].reshape(weights.shape), *reader_bias])


def canonical(model: keras.Model) -> keras.Model:
    """The same function with its hidden channels in an order that codes well, dead ones silenced.

    A channel is dead when nothing reads it, or when it is always 0: its kernel and bias, and what
    reads it, become 0. The others are sorted by bias, so that like stands beside like. Labels stay
    the same; outputs up to the rounding of sums in another order.

    Args:
        model: any net; one that is no plain chain of convolutions, Dense layers and pools stays as it is.
    """
    copy = clone(model)
    if not _is_chain(copy):
        return copy
    for layer, reader in reversed(list(itertools.pairwise(kernel_layers(copy)))):
        kernel, bias = layer.get_weights()
        weights, *reader_bias = reader.get_weights()
        channels = len(bias)
        read = weights.reshape(-1, channels, weights.shape[-1])
        silent = (kernel.reshape(-1, channels) == 0).all(axis=0) & (bias <= 0)
        silent &= layer.activation is keras.activations.relu
        dead = silent | (read == 0).all(axis=(0, 2))
        kernel[..., dead], bias[dead], read[:, dead] = 0, 0, 0
        layer.set_weights([kernel, bias])
        reader.set_weights([read.reshape(weights.shape), *reader_bias])
        _permute(layer, reader, np.argsort(bias, kind="stable"))
    return copy


def shortest(model: keras.Model, size: Callable[[keras.Model], int], *, tries: int) -> keras.Model:
    """The same function with its hidden channels in the order of the least `size` among those tried.

    A climb of so many tries: two channels of a layer change places, or one moves elsewhere, and the change
    stays unless the net has become larger. What is no plain chain, see `canonical`, stays as it is.
    """
    copy = clone(model)
    pairs = list(itertools.pairwise(kernel_layers(copy))) if _is_chain(copy) else []
    if not pairs:
        return copy
    generator = np.random.default_rng(0)
    least = size(copy)
    for _ in range(tries):
        layer, reader = pairs[generator.integers(len(pairs))]
        order = np.arange(layer.get_weights()[0].shape[-1])
        one, other = generator.integers(len(order), size=2)
        if generator.random() < 0.5:
            order[[one, other]] = order[[other, one]]
        else:
            order = np.insert(np.delete(order, one), other, one)
        _permute(layer, reader, order)
        found = size(copy)
        if found > least:
            _permute(layer, reader, np.argsort(order))
        else:
            least = found
    return copy
