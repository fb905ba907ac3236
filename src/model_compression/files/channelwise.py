"""Which channels of an operator's inputs become which of its output: the last axis of each tensor."""

import math
from dataclasses import dataclass

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


@dataclass(frozen=True, kw_only=True)
class Link:
    """Channel `source[i]` of a tensor goes into channel `target[i]` of the operator's output."""

    tensor: int
    source: np.ndarray
    target: np.ndarray


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
    inputs = [index for index in operator.inputs if index >= 0 and graph.tensors[index].data is None]
    output = graph.tensors[operator.outputs[0]]
    wide = channels(output)
    every = np.arange(wide)
    if operator.name in BINARY and len(operator.inputs) == 2:
        if any(channels(graph.tensors[index]) != wide for index in inputs):
            return None
        return [Link(tensor=index, source=every, target=every) for index in dict.fromkeys(inputs)]
    if operator.name == "CONCATENATION" and len(inputs) == len(operator.inputs):
        return _concatenated(graph, operator, output)
    if not inputs or inputs[0] != operator.inputs[0] or len(inputs) > 1:
        return None
    source = graph.tensors[inputs[0]]
    if operator.name in RESHAPING:
        return _reshaped(source, output)
    if operator.name == "DEPTHWISE_CONV_2D" and channels(source) and wide % channels(source) == 0:
        return [Link(tensor=source.index, source=every // (wide // channels(source)), target=every)]
    if operator.name in _KEEPING and channels(source) == wide and _apart(graph, operator, source):
        return [Link(tensor=source.index, source=every, target=every)]
    return None


def _apart(graph: Graph, operator: Operator, source: Tensor) -> bool:
    """Whether an operator that is told its axes leaves the last one alone."""
    if operator.name not in ("MEAN", "PAD"):
        return True
    told = graph.tensors[operator.inputs[1]].values if len(operator.inputs) == 2 else None
    rank = len(source.shape)
    if told is None:
        return False
    if operator.name == "PAD":
        return told.shape == (rank, 2) and not told[-1].any()
    axes = {int(axis) % rank for axis in told.ravel()}
    return rank - 1 not in axes


def _concatenated(graph: Graph, operator: Operator, output: Tensor) -> list[Link] | None:
    tensors = [graph.tensors[index] for index in operator.inputs]
    rank, axis = len(output.shape), operator.options("ConcatenationOptions")["axis"]
    if any(len(tensor.shape) != rank for tensor in tensors) or not rank:
        return None
    if axis % rank != rank - 1:
        every = np.arange(channels(output))
        return [Link(tensor=tensor.index, source=every, target=every) for tensor in tensors]
    starts = np.cumsum([0, *map(channels, tensors)])
    if starts[-1] != channels(output):
        return None
    return [
        Link(
            tensor=tensor.index,
            source=np.arange(channels(tensor)),
            target=start + np.arange(channels(tensor)),
        )
        for tensor, start in zip(tensors, starts, strict=False)
    ]


def _reshaped(source: Tensor, output: Tensor) -> list[Link] | None:
    """Places may become channels, as by flattening, and channels places, the other way round."""
    few, many = sorted((channels(source), channels(output)))
    narrow, wide = (source, output) if channels(source) == few else (output, source)
    ends = {math.prod(narrow.shape[place:]) for place in range(len(narrow.shape))}
    if not few or many not in ends or min(source.shape + output.shape) < 1:
        return None
    every = np.arange(many)
    sides = (every % few, every) if wide is output else (every, every % few)
    return [Link(tensor=source.index, source=sides[0], target=sides[1])]


def padded(graph: Graph, operator: Operator, kernel: tuple[int, int], options: str) -> bool:
    """Whether a convolution or pool ever reads beyond the border, which has no channel's constant."""
    source, told = graph.tensors[operator.inputs[0]], operator.options(options)
    if told["padding"] == schema.Padding.VALID or max(kernel) == 1:
        return False
    signature = source.table["shape_signature"]
    open_ended = signature is not None and (np.frombuffer(signature, "<i4")[1:] < 0).any()
    if len(source.shape) != 4 or open_ended:
        return True
    for size, taps, letter in zip(source.shape[1:3], kernel, "hw", strict=True):
        stride, dilation = told[f"stride_{letter}"], told[f"dilation_{letter}factor"]
        if stride < 1 or (-(-size // stride) - 1) * stride + (taps - 1) * dilation + 1 > size:
            return True
    return False
