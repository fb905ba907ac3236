"""Which stored kernel belongs to which layer, where the order does not tell.

A converter writes the operators of a branched net in an order of its own, and stripped files have no names.
So kernels are told apart by shape, and those of one shape by their values.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..nets.keras2 import keras
from ..nets.layers import KERNEL_LAYERS, clone, kernel_layers
from .graph import Graph, Operator, Tensor

#: Weights a kernel that are compared: enough to tell any two kernels apart.
COMPARED = 4096
#: Cost of a pair that cannot be, of a pair whose values are unknown, and of each place out of order.
IMPOSSIBLE, UNKNOWN, OUT_OF_ORDER = 1e6, 1.0, 1e-4


class CorruptFileError(RuntimeError):
    """A file that does not compute what its net computes, or is not what its recipe promised."""


def distance(stored: np.ndarray, expected: np.ndarray) -> float:
    """How unlike two kernels of one shape are, whatever their scales: 1 - cosine, from 0 to 2.

    One that is not finite is as unlike as can be: the guard names it, and must first get it.
    """
    step = max(1, stored.size // COMPARED)
    ours, theirs = (values.ravel()[::step].astype(np.float64) for values in (stored, expected))
    norms = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
    if not np.isfinite(norms):
        return 2.0
    if norms == 0:
        return 0.0 if np.array_equal(ours, theirs) else 1.0
    return 1.0 - float(ours @ theirs) / norms


def without_ones(shape: Sequence[int]) -> tuple[int, ...]:
    """The sizes above 1: a converter may drop the axes of 1, or add some."""
    return tuple(size for size in shape if size > 1)


def assign(
    stored: Sequence[np.ndarray], shapes: Sequence[tuple[int, ...]], expected: Sequence[np.ndarray | None]
) -> list[int] | None:
    """For each layer the index of its stored kernel; None where the shapes allow no assignment.

    The pairs together lie as close as possible; in order where the values do not tell.

    Args:
        stored: kernels in the order of the file; there may be more of them than layers.
        shapes: what each layer's kernel has to be, in the axes of the file.
        expected: each layer's trained kernel in the axes of the file; None where it is not known.
    """
    if len(stored) < len(shapes):
        return None
    costs = np.full((len(shapes), len(stored)), IMPOSSIBLE)
    for row, (shape, kernel) in enumerate(zip(shapes, expected, strict=True)):
        for column, values in enumerate(stored):
            if without_ones(values.shape) == without_ones(shape):
                apart = UNKNOWN if kernel is None else distance(values, kernel)
                costs[row, column] = apart + OUT_OF_ORDER * abs(row - column)
    rows, columns = linear_sum_assignment(costs)
    if len(rows) and costs[rows, columns].max() >= IMPOSSIBLE:
        return None
    return [int(column) for column in columns]


def to_file_layout(kernel: np.ndarray, layer: keras.layers.Layer) -> np.ndarray:
    """A Keras kernel in the axes of a .tflite file."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return kernel.reshape(1, *kernel.shape[:2], -1)
    return np.moveaxis(kernel, -1, 0)


def to_keras_layout(values: np.ndarray, layer: keras.layers.Layer, shape: Sequence[int]) -> np.ndarray:
    """A file's kernel in the axes, and the shape, of the Keras layer."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return values.reshape(shape)
    return np.moveaxis(values, 0, -1).reshape(shape)


def match_kernels(
    graph: Graph, net: keras.Model, trained: keras.Model | None = None
) -> dict[str, tuple[Tensor, Operator]]:
    """The stored kernel, and the operator that uses it, of each layer that has one.

    Told apart by shape, then by the values of `trained`, then by order.

    Raises:
        CorruptFileError: the file has other kernels than the net.
    """
    layers, stored = kernel_layers(net), graph.kernels()
    if any(len(layer.inbound_nodes) > 1 for layer in layers):
        # those of a layer that is called more than once may stand in the file as often
        once: dict[tuple[tuple[int, ...], bytes], tuple[Tensor, Operator]] = {}
        for tensor, operator in stored:
            once.setdefault((tensor.shape, tensor.dequantized().tobytes()), (tensor, operator))
        stored = list(once.values())
    # layers that no method takes are left as they are, and may have kernels of their own
    others = sum(bool(layer.weights) for layer in net.layers) - len(layers)
    if not len(layers) <= len(stored) <= len(layers) + others:
        raise CorruptFileError(f"the file has {len(stored)} kernels, the net {len(layers)}")
    shapes = [to_file_layout(layer.get_weights()[0], layer).shape for layer in layers]
    known = {} if trained is None else _trained_kernels(trained)
    expected = [to_file_layout(known[layer.name], layer) if layer.name in known else None for layer in layers]
    places = assign([tensor.dequantized() for tensor, _ in stored], shapes, expected)
    if places is None:
        for layer, shape, (tensor, _) in zip(layers, shapes, stored, strict=False):
            if without_ones(tensor.shape) != without_ones(shape):
                raise CorruptFileError(
                    f"tensor {tensor.name!r} has shape {tensor.shape}; {layer.name} needs {shape}"
                )
        raise CorruptFileError("the file's kernels have other shapes than the net's")
    return {layer.name: stored[place] for layer, place in zip(layers, places, strict=True)}


def rebuild(graph: Graph, net: keras.Model, pairs: Mapping[str, tuple[Tensor, Operator]]) -> keras.Model:
    """The Keras net with the file's constants, de-quantized, as its weights.

    Args:
        pairs: as `match_kernels` gives them.
    """
    copy = clone(net)
    users = {tensor.index: operators for tensor, operators in graph.users()}
    for layer in copy.layers:
        if layer.name not in pairs:
            continue
        tensor, _ = pairs[layer.name]
        kernel, *biases = layer.get_weights()
        weights = [to_keras_layout(tensor.dequantized(), layer, kernel.shape)]
        for bias in biases:
            stored = [graph.bias(user) for user in users[tensor.index]]
            rows = [np.zeros(bias.shape[-1]) if row is None else row.dequantized() for row in stored]
            # a layer of Keras that is called twice has one bias, a kernel of ours may have more
            rows = rows[: bias.size // bias.shape[-1]]
            weights.append(np.reshape(rows, bias.shape))
        layer.set_weights(weights)
    return copy


def _trained_kernels(trained: keras.Model) -> dict[str, np.ndarray]:
    """The kernels by the float layer's name, also those that quantization-aware training has wrapped."""
    found = {layer.name: layer.get_weights()[0] for layer in kernel_layers(trained)}
    for layer in trained.layers:
        if isinstance(getattr(layer, "layer", None), KERNEL_LAYERS) and getattr(layer, "_weight_vars", None):
            found[layer.layer.name] = layer._weight_vars[0][0].numpy()
    return found
