"""A graph as a .tflite file: what interpreters read, and nothing else."""

from typing import Any

import numpy as np

from . import flatbuffer
from .flatbuffer import Table
from .graph import Graph, Model, Operator, Tensor, indices
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
    writer = _Writer(shared)
    signatures = (model.root["signature_defs"] or ()) if keep_signatures else ()
    named: list[list[int]] = [[] for _ in model.graphs]
    for signature in signatures:
        entries = (*(signature["inputs"] or ()), *(signature["outputs"] or ()))
        named[signature["subgraph_index"]] += [entry["tensor_index"] for entry in entries]
    written = [writer.subgraph(*each) for each in zip(model.graphs, named, strict=True)]
    metadata = []
    for entry in model.root["metadata"] or ():
        if bytes(entry["name"] or b"") in READ_METADATA:
            data = model.root["buffers"][entry["buffer"]]["data"]
            metadata.append(entry.replaced(buffer=writer.buffer(data)))
    root = Table(
        kind="Model",
        values={
            "version": model.root["version"],
            "operator_codes": tuple(writer.codes),
            "subgraphs": tuple(table for table, _ in written),
            "buffers": tuple(writer.buffers),
            "metadata": tuple(metadata) or None,
            "signature_defs": tuple(
                _renumbered(signature, written[signature["subgraph_index"]][1]) for signature in signatures
            )
            or None,
        },
    )
    return flatbuffer.write(root, shared=shared, coded=coded)


def _renumbered(signature: Table, numbers: dict[int, int]) -> Table:
    ends = {
        name: tuple(entry.replaced(tensor_index=numbers[entry["tensor_index"]]) for entry in signature[name])
        for name in ("inputs", "outputs")
        if signature[name] is not None
    }
    return signature.replaced(**ends)


def _vector(values: Any, dtype: str) -> bytes:
    return np.asarray(values, dtype).tobytes()


class _Writer:
    """Collects what the subgraphs have in common."""

    def __init__(self, shared: bool) -> None:
        self.shared = shared
        self.buffers = [Table(kind="Buffer")]
        self.codes: list[Table] = []
        self.known: dict[Any, int] = {}

    def buffer(self, data: bytes | memoryview | None) -> int:
        if data is None:
            return 0
        key = bytes(data) if self.shared else id(data)
        if key not in self.known:
            self.known[key] = len(self.buffers)
            self.buffers.append(Table(kind="Buffer", values={"data": data}))
        return self.known[key]

    def code(self, operator: Operator) -> int:
        number = max(operator.code["deprecated_builtin_code"], operator.code["builtin_code"])
        key = (number, operator.code["version"], bytes(operator.code["custom_code"] or b""))
        if key not in self.known:
            self.known[key] = len(self.codes)
            # the short field holds what it can; readers take the larger of both
            wide = number > 127
            code = operator.code.replaced(
                deprecated_builtin_code=127 if wide else number, builtin_code=number if wide else None
            )
            self.codes.append(code)
        return self.known[key]

    def subgraph(self, graph: Graph, named: list[int]) -> tuple[Table, dict[int, int]]:
        """The table of a subgraph, and the new number of each tensor that something refers to.

        Equal constants get one number.

        Args:
            named: tensors that signatures refer to.
        """
        ends = {*graph.inputs, *graph.outputs}
        fixed = {*ends, *named, *(index for operator in graph.operators for index in operator.outputs)}
        used = list(graph.inputs)
        for operator in graph.operators:
            used += [*operator.inputs, *indices(operator.table, "intermediates"), *operator.outputs]
        used += [*graph.outputs, *named]
        numbers: dict[int, int] = {}
        known: dict[Any, int] = {}
        tensors: list[Table] = []
        for index in dict.fromkeys(index for index in used if index >= 0):
            tensor = graph.tensors[index]
            key: Any = index
            if self.shared and tensor.data is not None and tensor.plain and index not in fixed:
                contents = (tensor.data, tensor.scale.tobytes(), tensor.zero_point.tobytes())
                key = (tensor.dtype, tensor.shape, tensor.axis, *map(bytes, contents))
            if key not in known:
                known[key] = len(tensors)
                tensors.append(self.tensor(tensor, index in ends))
            numbers[index] = known[key]
        values = {
            "tensors": tuple(tensors),
            "inputs": _vector([numbers[index] for index in graph.inputs], "<i4"),
            "outputs": _vector([numbers[index] for index in graph.outputs], "<i4"),
            "operators": tuple(self.operator(operator, numbers) for operator in graph.operators),
        }
        return Table(kind="SubGraph", values=values), numbers

    def tensor(self, tensor: Tensor, end: bool) -> Table:
        quantization = (tensor.table["quantization"] or Table(kind="QuantizationParameters")).replaced(
            min=None,
            max=None,
            scale=_vector(tensor.scale, "<f4") or None,
            zero_point=_vector(tensor.zero_point, "<i8") or None,
            quantized_dimension=tensor.axis,
        )
        used = tensor.scale.size or tensor.zero_point.size or quantization["details"]
        return tensor.table.replaced(
            type=_TYPE_CODES.get(tensor.dtype, tensor.table["type"]),
            shape=_vector(tensor.shape, "<i4") or None,
            buffer=self.buffer(tensor.data),
            name=None,
            quantization=quantization if used else None,
            has_rank=None,
            shape_signature=tensor.table["shape_signature"] if end else None,
        )

    def operator(self, operator: Operator, order: dict[int, int]) -> Table:
        ends = {
            "inputs": operator.inputs,
            "outputs": operator.outputs,
            "intermediates": indices(operator.table, "intermediates"),
        }
        changed: dict[str, bytes] = {
            name: _vector([order.get(index, -1) for index in found], "<i4")
            for name, found in ends.items()
            if found or operator.table[name] is not None
        }
        return operator.table.replaced(opcode_index=self.code(operator), debug_metadata_index=None, **changed)
