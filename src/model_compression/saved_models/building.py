"""Nodes become a functional model of Keras 2."""

import inspect

from ..nets.keras2 import keras
from ..nets.layers import has_kernel, kernel_layers
from . import canonical, folding, reader
from .child import first_line
from .graphs import AFFINE, Net, Node, NotRebuiltError


def to_keras(net: Net) -> keras.Model:
    """A functional model of Keras 2 with the net's weights.

    Layers with weights that no method takes (a batch normalization that stands alone, a PReLU) are frozen.

    Raises:
        NotRebuiltError: a layer that Keras 2 does not build.
    """
    image = keras.Input(net.input_shape, name=net.input)
    tensors = {net.input: image}
    layers: dict[str, keras.layers.Layer] = {}
    nodes = {node.layer or node.name: node for node in net.nodes}
    for node in net.nodes:
        name = node.layer or node.name
        if name not in layers:
            layers[name] = _layer(node, name)
        sources = [tensors[source] for source in node.inputs]
        try:
            tensors[node.name] = layers[name](sources[0] if len(sources) == 1 else sources)
        except (ValueError, TypeError) as error:
            raise _cannot_build(node, error) from error
    model = keras.Model(image, tensors[net.output])
    for name, layer in layers.items():
        arrays = [] if nodes[name].kind in _OF_NUMBERS else nodes[name].weights
        try:
            layer.set_weights(list(arrays))
        except ValueError as error:
            raise NotRebuiltError(f"{name}: its weights do not fit Keras 2 ({error})") from error
        if arrays and not has_kernel(layer):
            layer.trainable = False
    return model


#: Layers whose weights are arguments.
_OF_NUMBERS = ("Rescaling", "Normalization", AFFINE)


def _layer(node: Node, name: str) -> keras.layers.Layer:
    config = dict(node.config)
    if node.kind in ("Rescaling", AFFINE) and node.weights:
        # single numbers stay numbers, which the converter knows better than arrays of one
        scale, offset = (array.tolist() if array.size > 1 else float(array[0]) for array in node.weights)
        return keras.layers.Rescaling(scale, offset, name=name)
    kind = getattr(keras.layers, node.kind, None)
    if kind is None:
        raise NotRebuiltError(
            f"layer {node.name!r} ({node.kind}) is not in Keras 2; write it with layers that Keras 2 has"
        )
    if node.kind == "LeakyReLU" and "negative_slope" in config:
        config["alpha"] = config.pop("negative_slope")
    if node.kind == "Normalization" and node.weights:
        config |= {"mean": node.weights[0], "variance": node.weights[1]}
    # what the constructor takes, and those of the classes that it builds on
    makers = [vars(each)["__init__"] for each in kind.__mro__ if "__init__" in vars(each)]
    known = {name for maker in makers for name in inspect.signature(maker).parameters} - _NO_ARGUMENTS
    try:
        return kind(name=name, **{key: value for key, value in config.items() if key in known})
    except (ValueError, TypeError, ImportError, AttributeError) as error:
        raise _cannot_build(node, error) from error


#: What a constructor has besides.
_NO_ARGUMENTS = {"self", "args", "kwargs"}


def _cannot_build(node: Node, error: Exception) -> NotRebuiltError:
    return NotRebuiltError(
        f"layer {node.name!r} ({node.kind}) cannot be built in Keras 2 ({first_line(error)})"
    )


def folded(model: keras.Model) -> keras.Model:
    """The same function in inference with batch normalization folded into the kernels, see `folding.fold`.

    Exact up to the rounding of float32; names stay.

    Args:
        model: it stays as it was, and is given back where it has no batch normalization.
    """
    if not any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers):
        return model
    return to_keras(folding.fold(canonical.canonical(reader.read(model))))


def frozen_layers(model: keras.Model) -> list[str]:
    """The layers with weights that no method takes, by name."""
    known = {layer.name for layer in kernel_layers(model)}
    return [layer.name for layer in model.layers if layer.weights and layer.name not in known]
