"""Batch normalization taken out of a trained net, so that every method sees plain kernels.

Source: Jacob et al. 2018, arXiv:1712.05877, section 3.2.
"""

from typing import TypeAlias

import numpy as np

from .keras2 import keras, tf
from .layers import KERNEL_LAYERS

Layer: TypeAlias = keras.layers.Layer


def folded(model: keras.Model) -> keras.Model:
    """The same function in inference, each batch normalization folded into the kernel before it.

    A ReLU behind it becomes the kernel's own: behind a kernel TFMOT takes a ReLU layer for a reason not to
    quantize that kernel. The other layers are copied; names stay. Exact up to the rounding of float32.

    Args:
        model: a net of layers that are called once; it stays as it was, and is given back where it has no
            batch normalization.
    Raises:
        ValueError: a batch normalization that no kernel stands before, or whose kernel has other readers.
    """
    normal = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    if not normal:
        return model
    sources = {layer: _sources(layer) for layer in model.layers}
    configs = {layer: layer.get_config() for layer in model.layers}
    weights = {layer: layer.get_weights() for layer in model.layers}
    kernel_of: dict[Layer, Layer] = {}
    for layer in normal:
        (kernel,) = sources[layer]
        alone = sum(kernel in read for read in sources.values()) == 1
        if not isinstance(kernel, KERNEL_LAYERS) or configs[kernel]["activation"] != "linear" or not alone:
            raise ValueError(
                f"{layer.name} cannot be folded: allowed is a convolution or Dense layer before it, without "
                "activation, that nothing else reads"
            )
        weights[kernel] = _scaled(kernel, weights[kernel], layer)
        configs[kernel]["use_bias"] = True
        kernel_of[layer] = kernel
        readers = [other for other, read in sources.items() if layer in read]
        if len(readers) == 1 and _is_relu(readers[0]):
            configs[kernel]["activation"] = "relu"
            kernel_of[readers[0]] = kernel
    kept = {
        layer: type(layer).from_config(configs[layer]) for layer in model.layers if layer not in kernel_of
    }
    built = _rebuilt(model, sources, kernel_of, kept)
    for layer, copy in kept.items():
        copy.set_weights(weights[layer])
    return built


def _sources(layer: Layer) -> list[Layer]:
    """The layers that a layer reads."""
    (node,) = layer.inbound_nodes[:1]
    return [tensor._keras_history.layer for tensor in node.keras_inputs]


def _is_relu(layer: Layer) -> bool:
    config = layer.get_config()
    if isinstance(layer, keras.layers.ReLU):
        return config["max_value"] is None and not config["negative_slope"] and not config["threshold"]
    return isinstance(layer, keras.layers.Activation) and config["activation"] == "relu"


def _scaled(kernel: Layer, weights: list[np.ndarray], normal: Layer) -> list[np.ndarray]:
    """Kernel and bias that give what the batch normalization makes of theirs."""
    mean, variance = (np.asarray(array, np.float64) for array in (normal.moving_mean, normal.moving_variance))
    factor = (
        1 / np.sqrt(variance + normal.epsilon) * (1 if normal.gamma is None else np.asarray(normal.gamma))
    )
    offset = 0 if normal.beta is None else np.asarray(normal.beta)
    values, bias = weights[0].astype(np.float64), weights[1] if len(weights) > 1 else 0
    depthwise = isinstance(kernel, keras.layers.DepthwiseConv2D)
    # the two last axes of a depthwise kernel together count the output channels
    scale = factor.reshape(values.shape[2:]) if depthwise else factor
    return [(values * scale).astype(np.float32), ((bias - mean) * factor + offset).astype(np.float32)]


def _rebuilt(
    model: keras.Model,
    sources: dict[Layer, list[Layer]],
    kernel_of: dict[Layer, Layer],
    kept: dict[Layer, Layer],
) -> keras.Model:
    """A model of the copies, wired as the originals were."""
    if isinstance(model, keras.Sequential):
        shape = model.input_shape[1:]
        first = keras.layers.InputLayer(shape, name=model.input_names[0])
        return keras.Sequential([first, *kept.values()], name=model.name)
    tensors: dict[Layer, tf.Tensor] = {}
    for layer in model.layers:
        if layer in kernel_of:
            tensors[layer] = tensors[kernel_of[layer]]
            continue
        read = [tensors[source] for source in sources[layer]]
        tensors[layer] = kept[layer](read if len(read) > 1 else read[0]) if read else kept[layer].output
    image, scores = (tensors[end._keras_history.layer] for end in (model.input, model.output))
    return keras.Model(image, scores, name=model.name)
