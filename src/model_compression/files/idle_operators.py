"""Removes operators that compute nothing, and computes now what is the same each time."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .channelwise import BINARY, RESHAPING
from .graph import KERNEL_OPERATORS, Graph, Operator, Tensor

#: Operators that do nothing but compute their outputs: they can go where nobody reads these.
_PURE = {
    *BINARY, *RESHAPING, *KERNEL_OPERATORS, "AVERAGE_POOL_2D", "MAX_POOL_2D", "RELU", "RELU6", "QUANTIZE",
    "DEQUANTIZE", "PAD", "MEAN", "CONCATENATION", "TRANSPOSE", "PACK", "SHAPE", "STRIDED_SLICE", "SLICE",
    "SOFTMAX", "LOGISTIC", "TANH", "CAST",
}  # fmt: skip


def without_idle_operators(graph: Graph) -> Graph:
    """The same function without reshapes to the same shape, chains of them, and their like."""
    while True:
        changed = graph
        for step in (_computed, _bypassed, _read):
            changed = step(changed)
        if changed is graph:
            return graph
        graph = changed


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether equal stored numbers mean the same in both."""
    same = (
        one.dtype == other.dtype and one.bits > 0 and one.table["is_variable"] == other.table["is_variable"]
    )
    pairs = ((one.scale, other.scale), (one.zero_point, other.zero_point))
    return same and all(np.array_equal(a, b) for a, b in pairs)


def _told_shape(graph: Graph, operator: Operator) -> np.ndarray | None:
    """What a RESHAPE is told, where that is a constant."""
    if len(operator.inputs) > 1:
        values = graph.tensors[operator.inputs[1]].values if operator.inputs[1] >= 0 else None
        return None if values is None else values.ravel()
    written = operator.options("ReshapeOptions")["new_shape"]
    return None if written is None else np.frombuffer(written, "<i4")


def _batchwise(graph: Graph, operator: Operator) -> bool:
    """Whether an operator that reshapes leaves the first axis alone, whatever its size will be."""
    source, output = (graph.tensors[index].shape for index in (operator.inputs[0], operator.outputs[0]))
    if not source or not output or source[0] != output[0]:
        return False
    if operator.name != "RESHAPE":
        return len(source) == len(output)
    told = _told_shape(graph, operator)
    return told is not None and told.size > 0 and told[0] in (-1, output[0]) and not (told[1:] == -1).any()


def _idle(graph: Graph, operator: Operator) -> bool:
    """Whether its output is its first input."""
    if len(operator.outputs) != 1 or not operator.inputs or min(operator.inputs[:1]) < 0:
        return False
    source, output = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    if not _alike(source, output) or source.shape != output.shape or source.data is not None:
        return False
    match operator.name:
        case "RESHAPE" | "SQUEEZE" | "EXPAND_DIMS":
            return _batchwise(graph, operator)
        case "QUANTIZE":
            return len(operator.inputs) == 1
        case "PAD":
            told = graph.tensors[operator.inputs[1]].values if len(operator.inputs) == 2 else None
            return told is not None and not told.any()
        case "CONCATENATION":
            clamped = operator.options("ConcatenationOptions")["fused_activation_function"]
            return len(operator.inputs) == 1 and not clamped
    return False


def _renamed(graph: Graph, names: dict[int, int], without: Operator | None = None) -> Graph:
    """The graph with other tensors in the place of some, and without an operator."""
    operators = tuple(
        replace(
            operator,
            inputs=tuple(names.get(index, index) for index in operator.inputs),
            outputs=tuple(names.get(index, index) for index in operator.outputs),
        )
        for operator in graph.operators
        if operator is not without
    )
    return replace(graph, operators=operators)


def _bypassed(graph: Graph) -> Graph:
    makers = {index: operator for operator in graph.operators for index in operator.outputs}
    ends = {*graph.inputs, *graph.outputs}
    for place, operator in enumerate(graph.operators):
        if _idle(graph, operator):
            source, output = operator.inputs[0], operator.outputs[0]
            if output not in ends:
                return _renamed(graph, {output: source}, operator)
            if source in makers and source not in ends:
                return _renamed(graph, {source: output}, operator)
        before = makers.get(operator.inputs[0]) if operator.inputs else None
        if before is not None and _skips(graph, before, operator):
            shorter = replace(operator, inputs=(before.inputs[0], *operator.inputs[1:]))
            operators = (*graph.operators[:place], shorter, *graph.operators[place + 1 :])
            return replace(graph, operators=operators)
    return graph


def _skips(graph: Graph, before: Operator, operator: Operator) -> bool:
    """Whether an operator may read what a reshape before it reads: it lays that out anew itself."""
    if before.name not in RESHAPING or min(before.inputs[:1], default=-1) < 0:
        return False
    source, between = graph.tensors[before.inputs[0]], graph.tensors[operator.inputs[0]]
    if not _alike(source, between) or source.data is not None or len(operator.outputs) != 1:
        return False
    if operator.name == "RESHAPE":
        told = _told_shape(graph, operator)
        return told is not None and (told.size == 0 or told[0] != 0)
    if operator.name != "FULLY_CONNECTED" or operator.options("FullyConnectedOptions")["keep_num_dims"]:
        return False
    # floats that are quantized on the way are so a row at a time, and rows would be others
    kernel = graph.tensors[operator.inputs[1]] if operator.inputs[1:2] > (-1,) else None
    whole = source.dtype.startswith("int") or (kernel is not None and kernel.dtype == source.dtype)
    rows = kernel is not None and len(kernel.shape) == 2 and between.shape[1:] == kernel.shape[1:]
    return whole and rows and len(source.shape) > 1 and _batchwise(graph, before)


def _read(graph: Graph) -> Graph:
    """Without operators whose outputs nobody reads."""
    read = {*graph.outputs, *(index for operator in graph.operators for index in operator.inputs)}
    kept = tuple(
        operator for operator in graph.operators if operator.name not in _PURE or read & {*operator.outputs}
    )
    return graph if len(kept) == len(graph.operators) else replace(graph, operators=kept)


#: How the output of an operator follows from constant inputs, without a rounding.
_NOW: dict[str, Callable[[list[np.ndarray], Operator, Tensor], np.ndarray]] = {
    **{name: lambda given, operator, output: given[0].reshape(output.shape) for name in RESHAPING},
    "TRANSPOSE": lambda given, operator, output: np.transpose(given[0], given[1].ravel()),
    "PACK": lambda given, operator, output: np.stack(given, operator.options("PackOptions")["axis"]),
}


def _computed(graph: Graph) -> Graph:
    """With constants in the place of what is laid out anew from constants."""
    for operator in graph.operators:
        tensors = [graph.tensors[index] for index in operator.inputs if index >= 0]
        if operator.name not in _NOW or len(operator.outputs) != 1 or len(tensors) != len(operator.inputs):
            continue
        output, given = graph.tensors[operator.outputs[0]], [tensor.values for tensor in tensors]
        if output.index in graph.outputs or any(values is None for values in given):
            continue
        if not _alike(tensors[0], output):
            continue
        try:
            values = _NOW[operator.name]([values for values in given if values is not None], operator, output)
        except (ValueError, TypeError, IndexError):
            continue  # they do not fit, which an interpreter will say
        if values.shape == output.shape:
            constants = list(graph.tensors)
            constants[operator.outputs[0]] = output.holding(values)
            operators = tuple(other for other in graph.operators if other is not operator)
            return replace(graph, tensors=tuple(constants), operators=operators)
    return graph
