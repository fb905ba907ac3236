"""Reads a Keras model, of Keras 2 or Keras 3, as a `graphs.Net`.

A Keras 3 file is read in a process of its own, see `child`. What is built from the nodes has to answer what
the model answers on a few inputs.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from ..store import plain
from .canonical import function_nodes
from .graphs import Net, Node, NotRebuiltError, UnsupportedModelError

#: What stands for an open height or width in the questions asked of a model.
OPEN_SIZE = 64
#: Entries of a config that neither Keras needs to compute with given weights.
_DROPPED = ("name", "trainable", "dtype", "batch_input_shape", "batch_shape", "activity_regularizer")
_DROPPED_ENDS = ("_initializer", "_regularizer", "_constraint")


def read(model: Any) -> Net:
    """The nodes of a loaded model.

    Args:
        model: a Sequential or functional model of either Keras, built.
    Raises:
        UnsupportedModelError: several inputs or outputs, or something that is no layer of Keras.
    """
    if not getattr(model, "inputs", None):
        raise UnsupportedModelError(
            "the model was saved before it knew the shape of its input; call it once, or give it an Input, "
            "and save it again"
        )
    for what, ends in (("inputs", model.inputs), ("outputs", model.outputs)):
        if len(ends) != 1:
            raise NotRebuiltError(
                f"the model has {len(ends)} {what}; allowed is one: build keras.Model(image, scores) from "
                "its layers and save that"
            )
    walk = _Walk()
    (output,) = walk.through(model, ["image"])
    used = {name for node in walk.nodes for name in node.inputs} | {output}
    shared = {name: calls[0] for calls in walk.calls.values() if len(calls) > 1 for name in calls}
    nodes = [replace(node, layer=shared.get(node.name, "")) for node in walk.nodes if node.name in used]
    return Net(input="image", input_shape=tuple(model.inputs[0].shape[1:]), nodes=tuple(nodes), output=output)


class _Walk:
    """What a walk along the calls of layers has found so far.

    Attributes:
        names: that are taken. calls: by layer with weights the names of its nodes.
    """

    def __init__(self) -> None:
        self.names = {"image"}
        self.nodes: list[Node] = []
        self.calls: dict[int, list[str]] = {}

    def through(self, model: Any, inputs: list[str]) -> list[str]:
        """Append the nodes of a model that reads `inputs`; the names of its outputs."""
        graph = getattr(model, "_functional", None) or model
        if not hasattr(graph, "_nodes_by_depth"):
            raise UnsupportedModelError(
                f"{model.name} ({type(model).__name__}) is a subclassed model, whose layers cannot be "
                "followed; rebuild it with the functional API and save it again"
            )
        places = {_place(tensor): name for tensor, name in zip(graph.inputs, inputs, strict=True)}
        for depth in sorted(graph._nodes_by_depth, reverse=True):
            for call in graph._nodes_by_depth[depth]:
                layer, tensors, outputs = _parts(call)
                if all(_place(tensor) in places for tensor in outputs):
                    continue
                sources = [places[_place(tensor)] for tensor in tensors]
                if hasattr(layer, "layers"):
                    results = self.through(layer, sources)
                elif len(outputs) != 1:
                    raise UnsupportedModelError(f"{layer.name} has {len(outputs)} outputs; allowed is one")
                else:
                    results = [self._append(layer, call, sources, tuple(outputs[0].shape[1:]))]
                places.update(zip(map(_place, outputs), results, strict=True))
        return [places[_place(tensor)] for tensor in graph.outputs]

    def _append(self, layer: Any, call: Any, sources: list[str], shape: tuple[int | None, ...]) -> str:
        kind = type(layer).__name__
        if kind.startswith("Random") and len(sources) == 1:  # it changes images in training only
            return sources[0]
        name = own = layer.name.replace("/", "_").replace(".", "_").strip("_")
        number = 1
        while name in self.names:
            number += 1
            name = f"{own}_{number}"
        self.names.add(name)
        symbol = _symbol(layer)
        if symbol is not None:
            self.nodes.extend(_operation(name, symbol, call, sources, shape))
            return name
        arrays = (layer.mean, layer.variance) if kind == "Normalization" else layer.get_weights()
        weights = tuple(np.asarray(array, np.float32) for array in arrays)
        if weights:
            self.calls.setdefault(id(layer), []).append(name)
        config = _config(layer, keras_3=hasattr(call, "operation"))
        self.nodes.append(
            Node(name=name, kind=kind, config=config, inputs=tuple(sources), weights=weights, shape=shape)
        )
        return name


def _config(layer: Any, *, keras_3: bool) -> dict[str, Any]:
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        raise UnsupportedModelError(
            f"{layer.name} is channels_first; LiteRT takes channels_last: rebuild the model so"
        )
    # Keras wraps lists and dicts, and has numbers of NumPy's
    config = {
        key: value
        for key, value in plain(layer.get_config()).items()
        if key not in _DROPPED and not key.endswith(_DROPPED_ENDS)
    }
    if keras_3 and config.get("activation") == "hard_sigmoid":
        config["activation"] = "relu6_sigmoid"  # Keras 2 has another function of that name
    return config


# What differs between the two Keras


def _parts(call: Any) -> tuple[Any, list[Any], list[Any]]:
    """The layer of a call, and the tensors that it reads and makes."""
    if hasattr(call, "operation"):
        return call.operation, list(call.input_tensors), list(call.output_tensors)
    outputs = call.outputs if isinstance(call.outputs, list | tuple) else [call.outputs]
    return call.layer, list(call.keras_inputs), list(outputs)


def _place(tensor: Any) -> tuple[int, int, int]:
    layer, node, position = tensor._keras_history
    return id(layer), node, position


def _symbol(layer: Any) -> str | None:
    """The operator that a node stands for, such as "add"; None for a layer."""
    if type(layer).__name__ == "TFOpLambda":
        return str(layer.symbol).rpartition(".")[2]
    if type(layer).__module__.startswith("keras.src.ops"):
        return type(layer).__name__.lower()
    if type(layer).__name__ == "SlicingOpLambda":
        return "getitem"
    return None


def _arguments(call: Any) -> list[Any]:
    if not hasattr(call, "operation"):
        return [*call.call_args, *(value for key, value in call.call_kwargs.items() if key != "name")]
    given = [*call.arguments.args, *call.arguments.kwargs.values()]
    # Keras 3 keeps what is no tensor in the operator
    axis = getattr(call.operation, "axis", None)
    return given if axis is None else [*given, axis]


#: Operators written in Python (x + y, x / 255.) and the layer that does the same to two tensors.
_TWO_TENSORS = {"add": "Add", "multiply": "Multiply", "mul": "Multiply", "maximum": "Maximum"}
#: Functions of one tensor that are called like layers.
_FUNCTIONS = (
    "relu", "relu6", "sigmoid", "tanh", "softmax", "silu", "swish", "elu", "selu", "softplus", "leaky_relu",
    "hard_silu", "hard_swish", "hard_sigmoid",
)  # fmt: skip
#: Operators over all places, and the pooling that they are.
_MEANS = {"mean": "Average", "reduce_mean": "Average", "max": "Max", "reduce_max": "Max"}
#: Operators on a tensor and a number, by what both Keras call them.
_LINES = {"add": np.add, "multiply": np.multiply, "mul": np.multiply, "sub": np.subtract}
_LINES |= {"subtract": np.subtract, **dict.fromkeys(("truediv", "divide", "truedivide"), np.divide)}


def _operation(
    name: str, symbol: str, call: Any, sources: list[str], shape: tuple[int | None, ...]
) -> list[Node]:
    """Layers that do what an operator does, where there are some."""
    arguments = _arguments(call)
    end = Node(name=name, kind="", inputs=tuple(sources), shape=shape)
    if len(sources) == 2 and len(arguments) == 2 and symbol in _TWO_TENSORS:
        return [replace(end, kind=_TWO_TENSORS[symbol])]
    if len(sources) == 1:
        others = [value for value in arguments if isinstance(value, int | float | list | tuple)]
        if symbol in _FUNCTIONS and all(value in (0, -1) for value in others):
            function = "relu6_sigmoid" if symbol == "hard_sigmoid" else symbol
            return function_nodes(name, function, sources[0], shape)
        if symbol in _MEANS and others[:1] in ([[1]], [[1, 2]]) and len(shape) == 1:
            return [replace(end, kind=f"Global{_MEANS[symbol]}Pooling{1 if others[0] == [1] else 2}D")]
        config = _line(symbol, arguments)
        if config is not None:
            return [replace(end, kind="Rescaling", config=config)]
    raise NotRebuiltError(
        f"{name} is the bare operator {symbol!r}; use a layer (keras.layers.Add, Rescaling, Reshape, ...) "
        "in its place and save the model again"
    )


def _line(symbol: str, arguments: list[Any]) -> dict[str, float] | None:
    """Scale and offset of an operator on a tensor and a number; None for any other."""
    tensors = [not isinstance(value, int | float) for value in arguments]
    if symbol not in _LINES or sorted(tensors) != [False, True]:
        return None
    at = np.array([0.0, 1.0])
    with np.errstate(all="ignore"):
        low, high = _LINES[symbol](*(at if t else value for t, value in zip(tensors, arguments, strict=True)))
    return {"scale": float(high - low), "offset": float(low)} if np.isfinite([low, high]).all() else None


# Of files


def probes(shape: tuple[int | None, ...]) -> np.ndarray:
    """Inputs to compare two models on: float32 (8, ...), four images from 0 to 1 and four from 0 to 255."""
    generator = np.random.default_rng(0)
    images = generator.random((8, *(size or OPEN_SIZE for size in shape)), np.float32)
    images[4:] *= 255
    return images


def load_model(path: str) -> Any:
    """A saved model, by the Keras of this process."""
    import tensorflow as tf

    safe = {"safe_mode": True} if path.endswith(".keras") else {}
    return tf.keras.models.load_model(path, compile=False, **safe)


def read_file(path: str) -> tuple[Net, np.ndarray]:
    """The net of a saved model, and what the model answers to `probes`."""
    model = load_model(path)
    if not hasattr(model, "layers"):
        raise NotRebuiltError(
            "a SavedModel of model.export, or of TensorFlow alone, holds no layers to train"
        )
    net = read(model)
    answers = model.predict(probes(net.input_shape), verbose=0)
    while isinstance(answers, dict | list):
        (answers,) = answers.values() if isinstance(answers, dict) else answers
    return net, np.asarray(answers)
