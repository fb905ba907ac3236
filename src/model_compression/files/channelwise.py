"""Which channels of an operator's inputs become which of its output: the last axis of each tensor."""

import math
from typing import TypeAlias

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from .graph import Graph, Operator, Tensor

#: Operators that keep the channels of their first input apart and in their order.
_KEEPING = {
    "AVERAGE_POOL_2D", "MAX_POOL_2D", "RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "LEAKY_RELU", "ELU",
    "HARD_SWISH", "LOGISTIC", "TANH", "ABS", "NEG", "QUANTIZE", "DEQUANTIZE", "PAD", "MEAN",
    "RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR",
}  # fmt: skip
#: Those that do so with two, one of which may be one channel wide.
BINARY = ("ADD", "SUB", "MUL")
#: Those that lay the same numbers out in another shape.
RESHAPING = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")

#: A tensor, some of its channels, and for each of them the channel of the output that it goes into.
Link: TypeAlias = tuple[int, np.ndarray, np.ndarray]
Sides: TypeAlias = tuple[np.ndarray, np.ndarray]


def channels(tensor: Tensor) -> int:
    return tensor.shape[-1] if tensor.shape else 1


def links(graph: Graph, operator: Operator) -> list[Link] | None:
    """What goes where, for the operator's computed inputs; None where channels are mixed, or not understood.

    Constant operands are not among them: `BINARY` operators read one channel of theirs for each.
    """
    if len(operator.outputs) != 1:
        return None
    if min(operator.inputs, default=-1) < 0 and operator.name != "DEPTHWISE_CONV_2D":
        return None
    given = [graph.tensors[index] for index in dict.fromkeys(operator.inputs) if index >= 0]
    tensors, output = [tensor for tensor in given if tensor.data is None], graph.tensors[operator.outputs[0]]
    sides = _sides(graph, operator, tensors, output)
    if sides is None:
        return None
    # each channel becomes one or several
    ends = [source.max(initial=-1) + 1 for source, _ in sides]
    if ends != [channels(tensor) for tensor in tensors]:
        return None
    return [(tensor.index, *side) for tensor, side in zip(tensors, sides, strict=True)]


def _sides(graph: Graph, operator: Operator, tensors: list[Tensor], output: Tensor) -> list[Sides] | None:
    """For each computed input its channels, and those of the output that they become."""
    name, wide = operator.name, channels(output)
    every = np.arange(wide)
    if name in BINARY and len(operator.inputs) == 2:
        return [(every, every)] * len(tensors)
    if name == "CONCATENATION" and len(tensors) == len(operator.inputs):
        rank, ends = len(output.shape), np.cumsum([channels(tensor) for tensor in tensors])
        last = rank and operator.option("axis") % rank == rank - 1 and ends[-1] == wide
        parts = np.split(every, ends[:-1])
        return [(np.arange(len(part)), part) for part in parts] if last else None
    if [tensor.index for tensor in tensors] != [*operator.inputs[:1]]:
        return None
    (source,) = tensors
    if name in RESHAPING:
        return _laid_out(source, output)
    if name == "DEPTHWISE_CONV_2D":
        return [(every // max(1, wide // max(1, channels(source))), every)]
    return [(every, every)] if name in _KEEPING and _apart(graph, operator, source) else None


def _apart(graph: Graph, operator: Operator, source: Tensor) -> bool:
    """Whether an operator that is told its axes leaves the last one alone."""
    if operator.name not in ("MEAN", "PAD"):
        return True
    told = graph.tensors[operator.inputs[1]].values if len(operator.inputs) == 2 else None
    rank = len(source.shape)
    if told is None or not rank or told.dtype.kind != "i":
        return False
    if operator.name == "PAD":
        return told.shape == (rank, 2) and not told[-1].any()
    return rank - 1 not in {int(axis) % rank for axis in told.ravel()}


def _laid_out(source: Tensor, output: Tensor) -> list[Sides] | None:
    """Places may become channels, as by flattening, and channels places, the other way round."""
    narrow, wide = sorted((source, output), key=channels)
    ends = {math.prod(narrow.shape[place:]) for place in range(len(narrow.shape))}
    if not channels(narrow) or channels(wide) not in ends or min(source.shape + output.shape) < 1:
        return None
    every = np.arange(channels(wide))
    return [(every, every % channels(output)) if wide is source else (every % channels(source), every)]


def told_shape(graph: Graph, operator: Operator) -> np.ndarray | None:
    """What a RESHAPE is told, int32, where that is a constant."""
    if len(operator.inputs) > 1:
        told = graph.tensors[operator.inputs[1]] if operator.inputs[1] >= 0 else None
        return told.values.ravel() if told and told.values is not None and told.dtype == "int32" else None
    written = operator.option("newShape")
    return np.array(written, np.int32) if written else None


def padded(graph: Graph, operator: Operator) -> bool:
    """Whether a convolution may read beyond the border, which has no channel's constant."""
    taps = graph.tensors[operator.inputs[1]].shape[1:3]
    convolves = operator.name != "FULLY_CONNECTED" and max(taps, default=1) > 1
    return convolves and operator.option("padding") != schema.Padding.VALID
