"""Removes channels that say nothing: constant ones, whose constant goes into the next bias, and unread ones.

A channel goes with all that it becomes: depthwise filters, pools and sums carry it on. Sums of whole numbers
are the same without what is constant; those of floats, which depend on their order, are left as they are.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from scipy import sparse
from scipy.sparse import csgraph

from .channelwise import BINARY, RESHAPING, Link, channels, links, told_shape
from .flatbuffer import replaced
from .graph import KERNEL_OPERATORS, Graph, Operator, Tensor, added
from .ranges import Ranges, integer, multipliers, summed, weights, zero

#: What does to a float what it does wherever it stands; others compute ends of rows in ways of their own.
FLOAT_OPERATORS = (
    *BINARY, *RESHAPING, "CONCATENATION", "MAX_POOL_2D", "RELU", "RELU6", "PAD", "QUANTIZE", "DEQUANTIZE",
)  # fmt: skip
#: Graphs with more are left as they are: no net has them, damaged files do.
MOST_CHANNELS = 2**22
#: XNNPACK takes no multiplier from here on, and leaves the operator to kernels that round otherwise.
MOST_MULTIPLIER = 256.0


def without_constant_channels(graph: Graph) -> Graph:
    """Remove channels until none is left that can go; each tensor keeps one."""
    while graph.channels <= MOST_CHANNELS:
        ranges = Ranges(graph)
        kept = _kept(graph, ranges)
        if all(len(keep) == channels(graph.tensors[index]) for index, keep in kept.items()):
            break
        graph = _cut(ranges, kept)
    return graph


def _kept(graph: Graph, ranges: Ranges) -> dict[int, np.ndarray]:
    """For each computed tensor the channels that stay: those that something needs, and all tied to them."""
    computed = [graph.tensors[index] for operator in graph.operators for index in operator.outputs]
    starts = np.cumsum([0, *(channels(tensor) for tensor in computed)])
    first = {tensor.index: int(start) for tensor, start in zip(computed, starts, strict=False)}
    plain = (each.plain and each.data is None for each in computed)
    known = [integer(each) or each.dtype == "float32" for each in computed]
    every = np.repeat(~np.logical_and(list(plain), known), np.diff(starts))
    stays = {tensor.index: every[first[tensor.index] :][: channels(tensor)] for tensor in computed}
    ties: list[tuple[np.ndarray, np.ndarray]] = []

    def keep(indices: Iterable[int]) -> None:
        for index in indices:
            if index in stays:
                stays[index][:] = True

    keep(graph.outputs)
    for operator in graph.operators:
        source = operator.inputs[0] if operator.inputs else -1
        if operator.name in ("CONV_2D", "FULLY_CONNECTED"):
            needed = _needed(ranges, operator)
            if needed is None:
                keep((*operator.inputs, *operator.outputs))
            elif source in stays:
                stays[source] |= needed
            continue
        through = _carried(graph, operator)
        if through is None or any(index not in stays for index, _, _ in through):
            keep((*operator.inputs, *operator.outputs))
        else:
            target = first[operator.outputs[0]]
            ties += [(first[index] + own, target + output) for index, own, output in through]
    # what is tied together stays together
    ends = np.concatenate([np.empty((2, 0), int), *ties], axis=1)
    tied = sparse.coo_array((np.ones(ends.shape[1]), ends), shape=(every.size, every.size))
    bundle = csgraph.connected_components(tied, directed=False)[1]
    while True:
        every |= np.isin(bundle, bundle[every])
        if not _completed(graph, stays):
            return {index: np.flatnonzero(own) for index, own in stays.items()}


def _completed(graph: Graph, stays: dict[int, np.ndarray]) -> bool:
    """Let one more channel stay where a tensor cannot be without; whether there was such a tensor."""
    for own in stays.values():
        if own.size and not own.any():
            own[0] = True
            return True
    for operator in graph.operators:
        if operator.name not in KERNEL_OPERATORS:
            continue
        read, written = stays.get(operator.inputs[0], np.ones(1, bool)), stays[operator.outputs[0]]
        kernel = graph.tensors[operator.inputs[1]]
        # one with a scale for each output would be one with a scale in all, which some kernels take otherwise
        each = operator.name == "FULLY_CONNECTED" or not integer(graph.tensors[operator.inputs[0]])
        if each and kernel.scale.size > 1 and written.sum() == 1 < written.size:
            written[np.argmin(written)] = True
            return True
        if kernel.bits < 8 and read.size:
            wide = kernel.shape[-1]
            before, after = (
                _kinds(operator, *sizes)
                for sizes in ((written.size, wide), (written.sum(), wide * read.sum() // read.size))
            )
            if before != after:
                own = written if before[:2] == after[:2] else read
                own[np.argmin(own)] = True
                return True
    return False


def _kinds(operator: Operator, outputs: int, inputs: int) -> tuple[bool, bool, bool]:
    """What decides by which kernels one of 4 bits is run, and has to stay.

    XNNPACK's take an even number of inputs; LiteRT's own for Dense layers 32 inputs and 4 outputs or more.
    """
    dense = operator.name == "FULLY_CONNECTED"
    return inputs % 2 == 0, dense and inputs >= 32, dense and outputs >= 4


def _carried(graph: Graph, operator: Operator) -> list[Link] | None:
    """What goes through an operator one by one; None where it has to keep all that it has."""
    through = links(graph, operator)
    if through is None:
        return None
    ends = [graph.tensors[index] for index in (operator.inputs[0], operator.outputs[0])]
    if operator.name not in FLOAT_OPERATORS and not all(map(integer, ends)):
        return None
    if operator.name == "DEPTHWISE_CONV_2D" and not _exact(graph, operator):
        return None
    if operator.name in BINARY:
        operands = [graph.tensors[index] for index in operator.inputs]
        if any(each.data is not None and (each.values is None or each.scale.size > 1) for each in operands):
            return None
        if any(channels(each) not in (1, channels(ends[1])) for each in operands):
            return None
    if operator.name in RESHAPING and (graph.has_open_axes or _reshaped_to(graph, operator, 1) is None):
        return None
    return through


def _exact(graph: Graph, operator: Operator) -> bool:
    """Whether a kernel sums whole numbers, and whether XNNPACK takes it hangs on no channel of it."""
    if weights(graph, operator) is None:
        return False
    source, output = (graph.tensors[index] for index in (operator.inputs[0], operator.outputs[0]))
    kernel, own = graph.tensors[operator.inputs[1]], graph.bias(operator)
    scales = kernel.scale if own is None else np.append(kernel.scale, own.scale)
    normal = np.isfinite(scales) & (scales >= np.finfo(np.float32).tiny)
    if kernel.dtype not in ("int8", "int4", "uint8") or not kernel.scale.size or not normal.all():
        return False
    if not integer(source):
        return source.dtype == output.dtype == "float32" and operator.name != "DEPTHWISE_CONV_2D"
    return integer(output) and bool((multipliers(graph, operator) < MOST_MULTIPLIER).all())


def _needed(ranges: Ranges, operator: Operator) -> np.ndarray | None:
    """The input channels that a convolution or Dense layer reads and cannot put into its bias.

    None where it has to keep all.
    """
    graph, source = ranges.graph, ranges.graph.tensors[operator.inputs[0]]
    kernel, wide = weights(graph, operator), channels(source)
    if kernel is None or not _exact(graph, operator) or kernel.shape[2] % wide:
        return None
    grouped = operator.name == "CONV_2D" and kernel.shape[2] != wide
    if grouped or operator.option("weightsFormat"):
        return None
    read = (kernel != 0).any(axis=(0, 1)).reshape(-1, wide).any(axis=0)
    own, (low, high) = graph.bias(operator), ranges.read(operator)
    constant = low == high
    if not integer(source):
        # what is not read is still among the numbers that the scale of a row is made of
        return ~(constant & (low == 0))
    if own is None or own.dtype not in ("int32", "int64"):
        return read & ~(constant & (low == zero(source)))
    # not even all of them together may leave what a bias can hold
    offset = np.tile(np.where(constant, np.abs(low - zero(source)), 0.0), kernel.shape[2] // wide)
    reach = summed(np.abs(kernel.astype(np.int16)), offset) + np.abs(own.numbers.astype(float))
    fits = (reach < min(np.iinfo(own.dtype).max, 2.0**52)).all()
    return read & ~constant if fits else read


def _cut(ranges: Ranges, kept: dict[int, np.ndarray]) -> Graph:
    graph, operators = ranges.graph, []
    tensors = list(graph.tensors)
    fewer = {index for index, keep in kept.items() if len(keep) < channels(tensors[index])}
    for index in fewer:
        tensors[index] = tensors[index].taken(kept[index], len(tensors[index].shape) - 1)
    for operator in graph.operators:
        if fewer & {*operator.inputs, *operator.outputs}:
            constants, table = _constants_cut(ranges, operator, kept)
            inputs = dict(enumerate(operator.inputs))
            inputs |= {place: added(tensors, tensor) for place, tensor in constants.items()}
            operator = replace(operator, inputs=tuple(inputs.values()), table=table)
        operators.append(operator)
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators))


def _constants_cut(
    ranges: Ranges, operator: Operator, kept: dict[int, np.ndarray]
) -> tuple[dict[int, Tensor], schema.OperatorT]:
    """An operator's new constants by their places among its inputs, and its table."""
    keep, graph = kept[operator.outputs[0]], ranges.graph
    if operator.name in KERNEL_OPERATORS:
        return _kernel_cut(ranges, operator, keep, kept.get(operator.inputs[0])), operator.table
    if operator.name in RESHAPING:
        told = _reshaped_to(graph, operator, len(keep))
        assert told is not None
        return told
    tensors = {place: graph.tensors[index] for place, index in enumerate(operator.inputs)}
    found = {
        place: tensor.taken(keep, len(tensor.shape) - 1)
        for place, tensor in tensors.items()
        if operator.name in BINARY and tensor.data is not None and channels(tensor) > 1
    }
    return found, operator.table


def _kernel_cut(
    ranges: Ranges, operator: Operator, rows: np.ndarray, columns: np.ndarray | None
) -> dict[int, Tensor]:
    """The new kernel and bias by their places among the inputs."""
    graph, source = ranges.graph, ranges.graph.tensors[operator.inputs[0]]
    kernel, own = graph.tensors[operator.inputs[1]], graph.bias(operator)
    depthwise = operator.name == "DEPTHWISE_CONV_2D"
    cut = kernel.taken(rows, 3 if depthwise else 0)
    if columns is not None and not depthwise:
        values, wide = weights(graph, operator), channels(source)
        assert values is not None
        tiles = values.shape[2] // wide
        places = (np.arange(tiles)[:, None] * wide + columns).ravel()
        cut = cut.taken(places, len(kernel.shape) - 1)
        if own is not None and integer(source):
            # what stays is not put into the bias, and what is not constant is not read
            offset = np.where(ranges.constant(source.index), ranges[source.index][0] - zero(source), 0.0)
            offset[columns] = 0.0
            folded = np.rint(summed(values, np.tile(offset, tiles))).astype(np.int64)
            own = own.holding((own.numbers + folded).astype(own.numbers.dtype))
    return {1: cut} if own is None else {1: cut, 2: own.taken(rows, 0)}


def _reshaped_to(
    graph: Graph, operator: Operator, wide: int
) -> tuple[dict[int, Tensor], schema.OperatorT] | None:
    """A reshaping operator's constant and table for another number of channels; None where it has none."""
    table = operator.table
    if operator.name == "SQUEEZE":
        # without a list, an axis that has become 1 would go too
        return ({}, table) if operator.option("squeezeDims") else None
    if operator.name == "EXPAND_DIMS":
        return {}, table
    told, given = told_shape(graph, operator), [graph.tensors[index] for index in operator.inputs[1:2]]
    last = channels(graph.tensors[operator.outputs[0]])
    if told is None or not told.size or told[-1] not in (-1, last):
        return None
    told = np.append(told[:-1], wide if told[-1] > 0 else -1).astype(np.int32)
    constants = dict(enumerate((tensor.holding(told.reshape(tensor.shape)) for tensor in given), 1))
    if operator.option("newShape"):
        options = replaced(table.builtinOptions, newShape=None if constants else told)
        table = replaced(table, builtinOptions=options)
    return constants, table
