"""Removes operators that compute nothing, and computes now what is the same each time."""

from dataclasses import replace

import numpy as np

from .channelwise import BINARY, RESHAPING, told_shape
from .graph import KERNEL_OPERATORS, Graph, Operator

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


def _batchwise(graph: Graph, operator: Operator) -> bool:
    """Whether an operator that reshapes leaves the first axis alone, whatever its size will be."""
    source, output = (graph.tensors[index].shape for index in (operator.inputs[0], operator.outputs[0]))
    if not source or not output or source[0] != output[0]:
        return False
    if operator.name != "RESHAPE":
        return len(source) == len(output)
    told = told_shape(graph, operator)
    return told is not None and told.size > 0 and told[0] in (-1, output[0]) and not (told[1:] == -1).any()


def _idle(graph: Graph, operator: Operator) -> bool:
    """Whether its output is its first input."""
    if len(operator.outputs) != 1 or not operator.inputs or min(operator.inputs[:1]) < 0:
        return False
    source, output = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    if not source.alike(output) or source.shape != output.shape or source.data is not None:
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
            clamped = operator.option("fusedActivationFunction")
            return len(operator.inputs) == 1 and not clamped
    return False


def _bypassed(graph: Graph) -> Graph:
    """Without the first operator that is idle, or whose reader may read what it reads."""
    makers = {index: operator for operator in graph.operators for index in operator.outputs}
    ends = {*graph.inputs, *graph.outputs}
    for place, operator in enumerate(graph.operators):
        if _idle(graph, operator):
            source, output = operator.inputs[0], operator.outputs[0]
            if output not in ends:
                return _renamed(graph.without(operator), output, source)
            if source in makers and source not in ends:
                return _renamed(graph.without(operator), source, output)
        before = makers.get(operator.inputs[0]) if operator.inputs else None
        if before is not None and _skips(graph, before, operator):
            shorter = replace(operator, inputs=(before.inputs[0], *operator.inputs[1:]))
            operators = (*graph.operators[:place], shorter, *graph.operators[place + 1 :])
            return replace(graph, operators=operators)
    return graph


def _renamed(graph: Graph, old: int, new: int) -> Graph:
    """The graph with another tensor in the place of one."""

    def renamed(indices: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(new if index == old else index for index in indices)

    operators = (
        replace(operator, inputs=renamed(operator.inputs), outputs=renamed(operator.outputs))
        for operator in graph.operators
    )
    return replace(graph, operators=tuple(operators))


def _skips(graph: Graph, before: Operator, operator: Operator) -> bool:
    """Whether an operator may read what a reshape before it reads: it lays that out anew itself."""
    if before.name not in RESHAPING or min(before.inputs[:1], default=-1) < 0:
        return False
    source, between = graph.tensors[before.inputs[0]], graph.tensors[operator.inputs[0]]
    if not source.alike(between) or source.data is not None or len(operator.outputs) != 1:
        return False
    if operator.name == "RESHAPE":
        told = told_shape(graph, operator)
        return told is not None and (told.size == 0 or told[0] != 0)
    if operator.name != "FULLY_CONNECTED" or operator.option("keepNumDims"):
        return False
    # floats that are quantized on the way are so a row at a time, and rows would be others
    kernel = graph.tensors[operator.inputs[1]] if operator.inputs[1:2] > (-1,) else None
    whole = source.dtype.startswith("int") or (kernel is not None and kernel.dtype == source.dtype)
    rows = kernel is not None and len(kernel.shape) == 2 and between.shape[1:] == kernel.shape[1:]
    return whole and rows and len(source.shape) > 1 and _batchwise(graph, before)


def _read(graph: Graph) -> Graph:
    """Without operators whose outputs nobody reads."""
    read = {*graph.outputs, *(index for operator in graph.operators for index in operator.inputs)}
    unread = [each for each in graph.operators if each.name in _PURE and not read & {*each.outputs}]
    return graph.without(*unread) if unread else graph


def _now(graph: Graph, operator: Operator) -> np.ndarray | None:
    """What an operator that lays constants out anew gives, without a rounding."""
    tensors = [graph.tensors[index] for index in operator.inputs if index >= 0]
    if len(operator.outputs) != 1 or not tensors or len(tensors) < len(operator.inputs):
        return None
    output = graph.tensors[operator.outputs[0]]
    if output.index in graph.outputs or not tensors[0].alike(output):
        return None
    if any(tensor.values is None for tensor in tensors):
        return None
    given = [tensor.numbers for tensor in tensors]
    try:
        if operator.name == "TRANSPOSE":
            return np.transpose(given[0], given[1].ravel())
        if operator.name == "PACK":
            return np.stack(given, operator.option("axis"))
        return given[0].reshape(output.shape) if operator.name in RESHAPING else None
    except (ValueError, TypeError, IndexError):
        return None  # they do not fit, which an interpreter will say


def _computed(graph: Graph) -> Graph:
    """With a constant in the place of what is laid out anew from constants."""
    for operator in graph.operators:
        values = _now(graph, operator)
        if values is not None and values.shape == graph.tensors[operator.outputs[0]].shape:
            tensors = list(graph.tensors)
            tensors[operator.outputs[0]] = tensors[operator.outputs[0]].holding(values)
            return replace(graph.without(operator), tensors=tuple(tensors))
    return graph
