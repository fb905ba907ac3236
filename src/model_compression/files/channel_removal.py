"""Removes channels that say nothing: constant ones, whose constant goes into the next bias, and unread ones.

A channel goes with all that it becomes: depthwise filters, pools and sums carry it on. Sums of whole numbers
are the same without what is constant; those of floats, which depend on their order, are left as they are.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .channelwise import BINARY, RESHAPING, channels, links
from .constant_channels import bias, constants, integer, steady, weights, zero
from .flatbuffer import Table
from .graph import KERNEL_OPERATORS, Graph, Operator, Tensor

#: What does to a float what it does wherever it stands; others compute ends of rows in ways of their own.
FLOAT_OPERATORS = (
    *BINARY, *RESHAPING, "CONCATENATION", "MAX_POOL_2D", "RELU", "RELU6", "PAD", "QUANTIZE", "DEQUANTIZE",
)  # fmt: skip
#: Graphs with more are left as they are: no net has them, damaged files do.
MOST_CHANNELS = 2**22
#: XNNPACK takes no multiplier from here on, and leaves the operator to kernels that round otherwise.
MOST_MULTIPLIER = 256.0


@dataclass(frozen=True, kw_only=True)
class Removal:
    """A graph without what says nothing, and how many channels of kernels that were."""

    graph: Graph
    channels: int


def without_constant_channels(graph: Graph) -> Removal:
    """Remove channels until none is left that can go; each tensor keeps one."""
    removed = 0
    if (
        sum(channels(graph.tensors[index]) for step in graph.operators for index in step.outputs)
        > MOST_CHANNELS
    ):
        return Removal(graph=graph, channels=0)
    while True:
        step = _step(graph)
        if step.graph is graph:
            return Removal(graph=graph, channels=removed)
        graph, removed = step.graph, removed + step.channels


class _Groups:
    """The channels of all computed tensors; those that can go only together are one group."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        computed = [index for operator in graph.operators for index in operator.outputs]
        self.starts, end = {}, 0
        for index in dict.fromkeys(computed):
            self.starts[index] = end
            end += channels(graph.tensors[index])
        self.stays = np.zeros(end, bool)
        self.pairs: list[np.ndarray] = []

    def span(self, index: int) -> slice:
        start = self.starts[index]
        return slice(start, start + channels(self.graph.tensors[index]))

    def keep(self, indices: Iterable[int]) -> None:
        for index in indices:
            if index in self.starts:
                self.stays[self.span(index)] = True

    def tie(self, one: int, source: np.ndarray, other: int, target: np.ndarray) -> None:
        self.pairs.append(np.stack([self.starts[one] + source, self.starts[other] + target]))

    def kept(self) -> dict[int, np.ndarray]:
        """For each computed tensor the channels that stay."""
        size = len(self.stays)
        edges = np.concatenate(self.pairs, axis=1) if self.pairs else np.zeros((2, 0), int)
        matrix = coo_matrix((np.ones(edges.shape[1], bool), tuple(edges)), shape=(size, size))
        count, labels = connected_components(matrix, directed=False)
        staying = np.zeros(count, bool)
        staying[labels[self.stays]] = True
        for index in self.starts:
            # a tensor without channels would be none
            own = labels[self.span(index)]
            if own.size and not staying[own].any():
                staying[own[0]] = True
        self._keep_pairs(labels, staying)
        return {index: np.flatnonzero(staying[labels[self.span(index)]]) for index in self.starts}

    def _keep_pairs(self, labels: np.ndarray, staying: np.ndarray) -> None:
        """XNNPACK takes 4-bit kernels of an even number of inputs only: let that not change."""
        before = -1
        while before != staying.sum():
            before = staying.sum()
            for operator in self.graph.operators:
                if operator.name not in KERNEL_OPERATORS or operator.inputs[0] not in self.starts:
                    continue
                own = labels[self.span(operator.inputs[0])]
                if self.graph.tensors[operator.inputs[1]].bits >= 8 or own.size % 2:
                    continue
                for label in own:
                    if staying[own].sum() % 2 == 0:
                        break
                    staying[label] = True


def _step(graph: Graph) -> Removal:
    known, groups = constants(graph), _Groups(graph)
    groups.keep(graph.outputs)
    groups.keep(index for index in groups.starts if not _simple(graph.tensors[index]))
    for operator in graph.operators:
        if len(operator.outputs) == 1 and operator.name in ("CONV_2D", "FULLY_CONNECTED"):
            _mix(groups, operator, known)
        elif not _carry(groups, operator):
            groups.keep((*operator.inputs, *operator.outputs))
    kept = groups.kept()
    if all(len(kept[index]) == channels(graph.tensors[index]) for index in kept):
        return Removal(graph=graph, channels=0)
    return _cut(graph, kept, known)


def _simple(tensor: Tensor) -> bool:
    return tensor.plain and tensor.data is None and (integer(tensor) or tensor.dtype == "float32")


def _carry(groups: _Groups, operator: Operator) -> bool:
    """Tie what goes through an operator together; False where it has to keep all that it has."""
    graph = groups.graph
    through = links(graph, operator)
    if through is None or any(link.tensor not in groups.starts for link in through):
        return False
    ends = [graph.tensors[index] for index in (operator.inputs[0], operator.outputs[0])]
    if operator.name not in FLOAT_OPERATORS and not all(map(integer, ends)):
        return False
    if operator.name == "DEPTHWISE_CONV_2D" and not _exact(graph, operator):
        return False
    if operator.name in BINARY:
        wide = channels(graph.tensors[operator.outputs[0]])
        operands = [graph.tensors[index] for index in operator.inputs]
        if any(t.data is not None and (t.values is None or t.scale.size > 1) for t in operands):
            return False
        if any(channels(tensor) not in (1, wide) for tensor in operands):
            return False
    if operator.name in RESHAPING and _reshaped_to(graph, operator, 1) is None:
        return False
    for link in through:
        groups.tie(link.tensor, link.source, operator.outputs[0], link.target)
    return True


def _exact(graph: Graph, operator: Operator) -> bool:
    """Whether a kernel sums whole numbers, and whether XNNPACK takes it hangs on no channel of it."""
    if weights(graph, operator) is None:
        return False
    source, output = (graph.tensors[index] for index in (operator.inputs[0], operator.outputs[0]))
    kernel, own = graph.tensors[operator.inputs[1]], bias(graph, operator)
    if kernel.dtype not in ("int8", "int4", "uint8"):
        return False
    scales = [tensor.scale for tensor in (kernel, own) if tensor is not None]
    if not kernel.scale.size or not all(_normal(scale).all() for scale in scales):
        return False
    if not integer(source):
        return source.dtype == output.dtype == "float32" and operator.name != "DEPTHWISE_CONV_2D"
    multiplier = source.scale[0] * kernel.scale.astype(np.float64) / output.scale[0]
    return integer(output) and bool((multiplier < MOST_MULTIPLIER).all())


def _normal(scale: np.ndarray) -> np.ndarray:
    return np.isfinite(scale) & (scale >= np.finfo(np.float32).tiny)


def _mix(groups: _Groups, operator: Operator, known: dict[int, np.ndarray]) -> None:
    """A convolution or Dense layer does without what it does not read, or what it can put into its bias."""
    graph, source = groups.graph, operator.inputs[0]
    kernel, wide = weights(graph, operator), channels(graph.tensors[source])
    plain = kernel is not None and _exact(graph, operator) and wide > 0 and kernel.shape[2] % wide == 0
    grouped = operator.name == "CONV_2D" and kernel is not None and kernel.shape[2] != wide
    if not plain or grouped or operator.options("FullyConnectedOptions")["weights_format"]:
        groups.keep((*operator.inputs, *operator.outputs))
        return
    if source in groups.starts:
        assert kernel is not None
        read = (kernel != 0).any(axis=(0, 1)).reshape(-1, wide).any(axis=0)
        groups.stays[groups.span(source)] |= read & ~_foldable(graph, operator, kernel, known[source])


def _foldable(graph: Graph, operator: Operator, kernel: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Channels whose constant can go into the bias."""
    own, free = bias(graph, operator), steady(graph, operator, known)
    here = zero(graph.tensors[operator.inputs[0]])
    if own is None or own.dtype not in ("int32", "int64"):
        return free & (known == here)
    limits = np.iinfo(own.dtype)
    # not even all of them together may leave what a bias can hold
    wide = np.where(free, np.abs(known - here), 0.0)
    tiles = kernel.shape[2] // len(known)
    reach = (np.abs(kernel.astype(np.int16)).sum(axis=1) * np.tile(wide, tiles)).sum(axis=1) + np.abs(
        own.numbers.astype(float)
    )
    return free & bool((reach < min(limits.max, 2.0**52)).all())


def _cut(graph: Graph, kept: dict[int, np.ndarray], known: dict[int, np.ndarray]) -> Removal:
    tensors, operators, count = list(graph.tensors), [], 0

    def add(tensor: Tensor) -> int:
        tensors.append(replace(tensor, index=len(tensors)))
        return len(tensors) - 1

    for index, keep in kept.items():
        if _fewer(graph, kept, index):
            tensors[index] = tensors[index].taken(keep, len(tensors[index].shape) - 1)
    for operator in graph.operators:
        output = operator.outputs[0] if operator.outputs else -1
        changed = [index for index in (*operator.inputs, output) if _fewer(graph, kept, index)]
        inputs = list(operator.inputs)
        if changed and operator.name in KERNEL_OPERATORS:
            rows, columns = kept[output], kept.get(inputs[0])
            count += channels(graph.tensors[output]) - len(rows)
            for place, tensor in _kernel_cut(graph, operator, rows, columns, known).items():
                inputs[place] = add(tensor)
        elif changed and operator.name in BINARY:
            for place, index in enumerate(inputs):
                tensor = graph.tensors[index]
                if tensor.data is not None and tensor.shape and channels(tensor) > 1:
                    inputs[place] = add(tensor.taken(kept[output], len(tensor.shape) - 1))
        elif changed and operator.name in RESHAPING:
            told = _reshaped_to(graph, operator, len(kept[output]))
            assert told is not None
            inputs[1:] = [] if told[0] is None else [add(told[0])]
            operator = replace(operator, table=told[1])
        operators.append(replace(operator, inputs=tuple(inputs)))
    done = replace(graph, tensors=tuple(tensors), operators=tuple(operators))
    return Removal(graph=done, channels=count)


def _fewer(graph: Graph, kept: dict[int, np.ndarray], index: int) -> bool:
    return index in kept and len(kept[index]) < channels(graph.tensors[index])


def _kernel_cut(
    graph: Graph,
    operator: Operator,
    rows: np.ndarray,
    columns: np.ndarray | None,
    known: dict[int, np.ndarray],
) -> dict[int, Tensor]:
    """The new kernel and bias by their places among the inputs."""
    kernel, own = graph.tensors[operator.inputs[1]], bias(graph, operator)
    if operator.name == "DEPTHWISE_CONV_2D":
        found = {1: kernel.taken(rows, 3)}
        return found if own is None else found | {2: own.taken(rows, 0)}
    values, source = weights(graph, operator), operator.inputs[0]
    assert values is not None
    found = {1: kernel.taken(rows, 0)}
    if columns is not None:
        wide = channels(graph.tensors[source])
        tiles = values.shape[2] // wide
        places = (np.arange(tiles)[:, None] * wide + columns).ravel()
        found[1] = found[1].taken(places, len(kernel.shape) - 1)
        gone = np.setdiff1d(np.arange(wide), columns)
        if own is not None and integer(graph.tensors[source]):
            offset = np.zeros(wide)
            offset[gone] = known[source][gone] - zero(graph.tensors[source])
            # what is not constant is not read either
            offset = np.tile(np.nan_to_num(offset), tiles)
            folded = own.numbers + np.rint((values.sum(axis=1) * offset).sum(axis=1)).astype(np.int64)
            own = own.holding(folded.astype(own.numbers.dtype))
    return found if own is None else found | {2: own.taken(rows, 0)}


def _reshaped_to(graph: Graph, operator: Operator, wide: int) -> tuple[Tensor | None, Table] | None:
    """A reshaping operator's constant and table for another number of channels; None where it has none."""
    last = channels(graph.tensors[operator.outputs[0]])
    if operator.name == "SQUEEZE":
        # without a list, an axis that has become 1 would go too
        return (None, operator.table) if operator.options("SqueezeOptions")["squeeze_dims"] else None
    if operator.name == "EXPAND_DIMS":
        return graph.tensors[operator.inputs[1]], operator.table
    told, options = None, operator.options("ReshapeOptions")
    if len(operator.inputs) > 1:
        told = graph.tensors[operator.inputs[1]]
        if told.dtype != "int32" or told.values is None:
            return None
    shapes = [] if told is None else [told.numbers.ravel()]
    shapes += [np.frombuffer(options["new_shape"], "<i4")] if options["new_shape"] else []
    if not shapes or any(not shape.size or shape[-1] not in (-1, last) for shape in shapes):
        return None
    changed = [
        np.where((np.arange(shape.size) == shape.size - 1) & (shape > 0), wide, shape) for shape in shapes
    ]
    if told is not None:
        told = told.holding(changed[0].astype(np.int32).reshape(told.shape))
    table = operator.table
    if options["new_shape"]:
        written = changed[-1].astype("<i4").tobytes()
        table = table.replaced(builtin_options=options.replaced(new_shape=written))
    return told, table
