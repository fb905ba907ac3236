"""Removes operators that compute nothing."""

from dataclasses import replace

from ai_edge_litert import schema_py_generated as schema

from .channelwise import BINARY, RESHAPING, told_shape
from .flatbuffer import replaced
from .graph import KERNEL_OPERATORS, Graph, Operator

#: Operators that do nothing but compute their outputs: they can go where nobody reads these.
_PURE = {
    *BINARY, *RESHAPING, *KERNEL_OPERATORS, "AVERAGE_POOL_2D", "MAX_POOL_2D", "RELU", "RELU6", "QUANTIZE",
    "DEQUANTIZE", "PAD", "MEAN", "CONCATENATION", "TRANSPOSE", "PACK", "SHAPE", "STRIDED_SLICE", "SLICE",
    "SOFTMAX", "LOGISTIC", "TANH", "CAST",
}  # fmt: skip


def without_idle_operators(graph: Graph) -> Graph:
    """The same function without reshapes to the same shape, chains of them, and their like."""
    graph = _renewed(graph)
    while True:
        changed = _read(_bypassed(graph))
        if changed.operators == graph.operators:
            return graph
        graph = changed


def _renewed(graph: Graph) -> Graph:
    """With SELECT of tensors of one shape as SELECT_V2, which does the same and which TFLM knows."""
    table = {"builtinOptionsType": schema.BuiltinOptions.SelectV2Options}
    table["builtinOptions"] = schema.SelectV2OptionsT()
    code = schema.OperatorCodeT(builtinCode=schema.BuiltinOperator.SELECT_V2)
    # the older of the two fields ends at 127
    code.deprecatedBuiltinCode = code.builtinCode
    operators = tuple(
        replace(each, name="SELECT_V2", table=replaced(each.table, **table), code=code)
        if each.name == "SELECT"
        and min(each.inputs, default=-1) >= 0
        and len({graph.tensors[index].shape for index in each.inputs}) == 1
        else each
        for each in graph.operators
    )
    return replace(graph, operators=operators)


def _batchwise(graph: Graph, operator: Operator) -> bool:
    """Whether an operator that reshapes leaves the first axis alone, whatever its size will be."""
    source, output = (graph.tensors[index].shape for index in (operator.inputs[0], operator.outputs[0]))
    if not source or not output or source[0] != output[0] or graph.has_open_axes:
        return False
    if operator.name != "RESHAPE":
        return len(source) == len(output)
    told = told_shape(graph, operator)
    return told is not None and told.size > 0 and told[0] in (-1, output[0]) and not (told[1:] == -1).any()


def _idle(graph: Graph, operator: Operator) -> bool:
    """Whether its output is its first input, and nobody outside asks for it by its number."""
    if len(operator.outputs) != 1 or min(operator.inputs[:1], default=-1) < 0:
        return False
    source, output = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    if not source.alike(output) or source.shape != output.shape or source.data is not None:
        return False
    lays_out = operator.name in RESHAPING and _batchwise(graph, operator)
    return output.index not in graph.outputs and (lays_out or operator.name == "QUANTIZE")


def _bypassed(graph: Graph) -> Graph:
    """Without what is idle; what may read what a reshape before it reads does so."""
    makers: dict[int, Operator] = {}
    instead: dict[int, int] = {}
    operators = []
    for operator in graph.operators:
        operator = replace(operator, inputs=tuple(instead.get(index, index) for index in operator.inputs))
        if _idle(graph, operator):
            instead[operator.outputs[0]] = operator.inputs[0]
            continue
        while (before := makers.get(next(iter(operator.inputs), -1))) and _skips(graph, before, operator):
            operator = replace(operator, inputs=(before.inputs[0], *operator.inputs[1:]))
        makers |= dict.fromkeys(operator.outputs, operator)
        operators.append(operator)
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
    return graph.without(*unread)
