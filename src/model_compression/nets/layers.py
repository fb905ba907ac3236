"""The kernels of a net, and a copy of it."""

import numpy as np

from .keras2 import keras, tf

#: Layers whose kernels the methods compress; biases and normalization stay as they are.
KERNEL_LAYERS = (keras.layers.Conv2D, keras.layers.Dense, keras.layers.DepthwiseConv2D)


def clone(model: keras.Model) -> keras.Model:
    """A copy with weights of its own, so that wrapping it leaves `model` as it was."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def has_kernel(layer: keras.layers.Layer) -> bool:
    """Whether the methods compress its kernel; not a transposed convolution, which is a Conv2D to Keras."""
    return isinstance(layer, KERNEL_LAYERS) and not isinstance(layer, keras.layers.Conv2DTranspose)


def kernel_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers whose kernels can be compressed, in order."""
    return [layer for layer in model.layers if has_kernel(layer)]


def kernel(layer: keras.layers.Layer) -> tf.Variable:
    """The kernel of a convolution, depthwise convolution or Dense layer."""
    return layer.depthwise_kernel if isinstance(layer, keras.layers.DepthwiseConv2D) else layer.kernel


def kernel_size(layer: keras.layers.Layer) -> int:
    """How many weights the kernel holds."""
    return int(np.prod(kernel(layer).shape))


def kernels(model: keras.Model) -> dict[str, tf.Variable]:
    """The compressible kernels by layer name, in the order of the layers."""
    return {layer.name: kernel(layer) for layer in kernel_layers(model)}


def multiply_adds(model: keras.Model) -> int:
    """Multiply-adds of the kernels for one image."""
    places = {
        layer: np.prod(layer.get_output_shape_at(0)[1:-1]) * len(layer.inbound_nodes)
        for layer in kernel_layers(model)
    }
    return int(sum(kernel_size(layer) * count for layer, count in places.items()))
