"""A graph as a .tflite file: what interpreters read, and nothing else."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from . import flatbuffer
from .flatbuffer import replaced
from .graph import Graph, Model, Operator, Tensor
from .tensors import TYPE_NAMES

_TYPE_CODES = {name: code for code, name in TYPE_NAMES.items()}
#: Metadata that an interpreter reads: XNNPACK's leave to compute with 16-bit floats.
READ_METADATA = (b"reduced_precision_support",)


def write_model(
    model: Model, *, keep_signatures: bool = False, shared: bool = True, coded: bool = False
) -> bytes:
    """The file's bytes, without names, descriptions, ranges, and whatever nothing refers to.

    Tensors are numbered in the order of their first use.

    Args:
        keep_signatures: also write the signatures, and with them their names of the two ends.
        shared: whether equal parts are stored once. coded: whether the file is going to be coded.
    """
    # loops go by sizes that stay open
    writer = _Writer(shared, loops=len(model.graphs) > 1)
    signatures = (model.root.signatureDefs or ()) if keep_signatures else ()
    named: list[list[int]] = [[] for _ in model.graphs]
    for signature in signatures:
        entries = (*(signature.inputs or ()), *(signature.outputs or ()))
        named[signature.subgraphIndex] += [entry.tensorIndex for entry in entries]
    written = [writer.subgraph(*each) for each in zip(model.graphs, named, strict=True)]
    metadata = [
        replaced(entry, buffer=writer.buffer(model.root.buffers[entry.buffer].data))
        for entry in model.root.metadata or ()
        if entry.name in READ_METADATA
    ]
    root = schema.ModelT(
        version=model.root.version,
        operatorCodes=writer.codes,
        subgraphs=[table for table, _ in written],
        buffers=writer.buffers,
        metadata=metadata or None,
        signatureDefs=[_renumbered(each, written[each.subgraphIndex][1]) for each in signatures] or None,
    )
    return flatbuffer.write(root, shared=shared, coded=coded)


def _renumbered(signature: schema.SignatureDefT, order: dict[int, int]) -> schema.SignatureDefT:
    ends = {
        end: [replaced(entry, tensorIndex=order[entry.tensorIndex]) for entry in entries]
        for end, entries in (("inputs", signature.inputs), ("outputs", signature.outputs))
        if entries is not None
    }
    return replaced(signature, **ends)


def _vector(values: Sequence[int]) -> np.ndarray:
    return np.array(values, np.int32)


class _Writer:
    """Collects what the subgraphs have in common."""

    def __init__(self, shared: bool, *, loops: bool) -> None:
        self.shared, self.loops = shared, loops
        self.buffers = [schema.BufferT()]
        self.codes: list[schema.OperatorCodeT] = []
        self.known: dict[Any, int] = {}

    def buffer(self, data: bytes | np.ndarray | None) -> int:
        if data is None:
            return 0
        key = bytes(data) if self.shared else id(data)
        if key not in self.known:
            self.known[key] = len(self.buffers)
            self.buffers.append(schema.BufferT(data=np.frombuffer(data, np.uint8)))
        return self.known[key]

    def code(self, operator: Operator) -> int:
        number = max(operator.code.deprecatedBuiltinCode, operator.code.builtinCode)
        key = (number, operator.code.version, operator.code.customCode or b"")
        if key not in self.known:
            self.known[key] = len(self.codes)
            # the short field holds what it can; readers take the larger of both
            short, long = (127, number) if number > 127 else (number, 0)
            self.codes.append(replaced(operator.code, deprecatedBuiltinCode=short, builtinCode=long))
        return self.known[key]

    def subgraph(self, graph: Graph, named: Sequence[int]) -> tuple[schema.SubGraphT, dict[int, int]]:
        """A graph's table, and the numbers that its tensors get; equal constants get one number.

        Args:
            named: tensors that signatures refer to.
        """
        ends = {*graph.inputs, *graph.outputs}
        fixed = {*ends, *named, *(index for operator in graph.operators for index in operator.outputs)}
        used = list(graph.inputs)
        for operator in graph.operators:
            used += [*operator.inputs, *operator.intermediates, *operator.outputs]
        used += [*graph.outputs, *named]
        order = {-1: -1}
        known: dict[Any, int] = {}
        tensors: list[schema.TensorT] = []
        for index in dict.fromkeys(index for index in used if index >= 0):
            tensor = graph.tensors[index]
            key: Any = index
            if self.shared and tensor.data is not None and tensor.plain and index not in fixed:
                contents = (tensor.data, tensor.scale, tensor.zero_point)
                key = (tensor.dtype, tensor.shape, tensor.axis, *map(bytes, contents))
            if key not in known:
                known[key] = len(tensors)
                tensors.append(self.tensor(tensor, index in ends))
            order[index] = known[key]
        table = schema.SubGraphT(
            tensors=tensors,
            inputs=_vector([order[index] for index in graph.inputs]),
            outputs=_vector([order[index] for index in graph.outputs]),
            operators=[self.operator(operator, order) for operator in graph.operators],
        )
        return table, order

    def tensor(self, tensor: Tensor, end: bool) -> schema.TensorT:
        quantization = replaced(
            tensor.table.quantization or schema.QuantizationParametersT(),
            min=None,
            max=None,
            scale=tensor.scale if tensor.scale.size else None,
            zeroPoint=tensor.zero_point if tensor.zero_point.size else None,
            quantizedDimension=tensor.axis,
        )
        used = tensor.scale.size or tensor.zero_point.size or quantization.details
        return replaced(
            tensor.table,
            type=_TYPE_CODES.get(tensor.dtype, tensor.table.type),
            shape=_vector(tensor.shape) if tensor.shape else None,
            buffer=self.buffer(tensor.data),
            name=None,
            quantization=quantization if used else None,
            hasRank=False,
            shapeSignature=tensor.table.shapeSignature if end or self.loops or tensor.has_open_axes else None,
        )

    def operator(self, operator: Operator, order: dict[int, int]) -> schema.OperatorT:
        table = operator.table
        ends = {
            name: _vector([order[index] for index in found])
            for name in ("inputs", "outputs", "intermediates")
            if (found := getattr(operator, name)) or getattr(table, name) is not None
        }
        return replaced(table, opcodeIndex=self.code(operator), debugMetadataIndex=-1, **ends)
