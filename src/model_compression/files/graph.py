"""Reading and editing .tflite files: their schema only, no interpreter."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from . import flatbuffer
from .flatbuffer import DamagedFileError, Table, UnknownPartError

_TYPE_NAMES = {
    code: name.lower() for name, code in vars(schema.TensorType).items() if not name.startswith("_")
}
_OPERATOR_NAMES = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}
#: The operators whose second input is a kernel.
KERNEL_OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
#: Bits that one value takes in the file.
_BITS = {
    "float32": 32,
    "float16": 16,
    "int64": 64,
    "int32": 32,
    "int16": 16,
    "int8": 8,
    "uint8": 8,
    "int4": 4,
    "int2": 2,
}
_DTYPES = {
    "float32": "<f4",
    "float16": "<f2",
    "int64": "<i8",
    "int32": "<i4",
    "int16": "<i2",
    "int8": "i1",
    "uint8": "u1",
}


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One tensor of a file, as its schema states it.

    Attributes:
        shape: as in the file: Dense kernels (outputs, inputs), convolutions (outputs, height,
            width, inputs), depthwise (1, height, width, outputs).
        values: stored numbers in `shape`, 4-bit ones unpacked; None unless constant and understood.
        scale: float32, empty when not quantized, one value, or one a slice along `axis`.
        zero_point: int64, shaped like `scale`.
        data: the stored bytes of any constant, also of one that is not understood; None unless constant.
        table: what the file says besides.
    """

    index: int
    name: str
    dtype: str
    bits: int
    shape: tuple[int, ...]
    values: np.ndarray | None
    scale: np.ndarray
    zero_point: np.ndarray
    axis: int
    data: bytes | memoryview | None = None
    table: Table = field(default_factory=lambda: Table(kind="Tensor"))

    @property
    def plain(self) -> bool:
        """Whether nothing is known of it but shape, type, values, scales and zero points."""
        quantization = self.table["quantization"]
        special = self.table["is_variable"] or self.table["sparsity"] or self.table["variant_tensors"]
        return self.bits > 0 and not special and not (quantization and quantization["details"])

    @property
    def numbers(self) -> np.ndarray:
        """Its values.

        Raises:
            ValueError: the tensor is not a constant.
        """
        if self.values is None:
            raise ValueError(f"tensor {self.name!r} is not a constant")
        return self.values

    def dequantized(self) -> np.ndarray:
        """float32 values in `shape`: (stored - zero_point) * scale.

        Raises:
            ValueError: the tensor is not a constant.
        """
        if not self.scale.size:
            return self.numbers.astype(np.float32)
        along = [1] * len(self.shape)
        if self.scale.size > 1:
            along[self.axis] = self.scale.size
        offset = self.numbers.astype(np.int64) - self.zero_point.reshape(along)
        return (offset * self.scale.reshape(along)).astype(np.float32)

    def holding(self, values: np.ndarray) -> "Tensor":
        """The same tensor with other stored numbers, and their shape."""
        stored = _pack(values, self.bits) if self.bits < 8 else values.astype(_DTYPES[self.dtype]).tobytes()
        return replace(self, values=values, shape=values.shape, data=stored)

    def taken(self, keep: np.ndarray, axis: int) -> "Tensor":
        """The slices of these indices along an axis, with the scales that are theirs."""
        shape = (*self.shape[:axis], len(keep), *self.shape[axis + 1 :])
        cut = replace(self, shape=shape)
        if self.scale.size > 1 and self.axis == axis:
            cut = replace(cut, scale=self.scale[keep], zero_point=self.zero_point[keep])
        return cut if self.values is None else cut.holding(np.take(self.values, keep, axis))


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One step of the graph: its name and the indices of its tensors, -1 for one left out.

    Attributes:
        table: what the file says besides. code: its entry among the file's operator codes.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    table: Table = field(default_factory=lambda: Table(kind="Operator"))
    code: Table = field(default_factory=lambda: Table(kind="OperatorCode"))

    def options(self, kind: str) -> Table:
        """Its options where they are of this kind, as `Conv2DOptions`; the defaults where not."""
        found = self.table["builtin_options"]
        return found if found is not None and found.kind == kind else Table(kind=kind)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A subgraph's tensors and operators, in the order of the file; the indices of its two ends."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()

    def kernels(self) -> list[tuple[Tensor, Operator]]:
        """Each stored kernel with the convolution or Dense layer that uses it first, in that order."""
        return [(kernel, operators[0]) for kernel, operators in self.users()]

    def users(self) -> list[tuple[Tensor, list[Operator]]]:
        """Each stored kernel with all operators that use it, in the order of execution."""
        found: dict[int, tuple[Tensor, list[Operator]]] = {}
        for operator in self.operators:
            if operator.name in KERNEL_OPERATORS and self._is_stored(operator.inputs[1]):
                kernel = self.constant(operator.inputs[1])
                found.setdefault(kernel.index, (kernel, []))[1].append(operator)
        return list(found.values())

    def _is_stored(self, index: int) -> bool:
        """Whether a tensor is constant, and not the product of attention, say."""
        try:
            self.constant(index)
        except ValueError:
            return False
        return True

    def constant(self, index: int) -> Tensor:
        """A constant tensor, or the constant behind the DEQUANTIZE that produces it.

        Raises:
            ValueError: the tensor is computed from the input.
        """
        while self.tensors[index].values is None:
            makers = [operator for operator in self.operators if index in operator.outputs]
            if not makers or makers[0].name not in ("DEQUANTIZE", "DENSIFY"):
                raise ValueError(f"tensor {self.tensors[index].name!r} is computed, not stored")
            index = makers[0].inputs[0]
        return self.tensors[index]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A file: its subgraphs, the first of which is the net, and its root table for what else it holds."""

    graphs: tuple[Graph, ...]
    root: Table


def _unpack(raw: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Signed integers of 4 or 2 bits, lowest bits first, as int8."""
    per_byte = 8 // bits
    shifts = np.arange(per_byte, dtype=np.uint8) * bits
    fields = ((raw[:, None] >> shifts) & (2**bits - 1)).astype(np.int8).ravel()[:count]
    return np.where(fields >= 2 ** (bits - 1), fields - 2**bits, fields).astype(np.int8)


def _pack(values: np.ndarray, bits: int) -> bytes:
    """The reverse of `_unpack`; the last byte is filled up with 0."""
    per_byte = 8 // bits
    fields = values.astype(np.uint8).ravel() & (2**bits - 1)
    fields = np.append(fields, np.zeros(-fields.size % per_byte, np.uint8)).reshape(-1, per_byte)
    shifts = np.arange(per_byte, dtype=np.uint8) * bits
    return np.bitwise_or.reduce(fields << shifts, axis=1).astype(np.uint8).tobytes()


# Files


def read_model(content: bytes) -> Model:
    """The whole file; constants are views of `content`.

    Raises:
        DamagedFileError: no .tflite file, or one whose parts do not fit together.
        UnknownPartError: a part that is not understood, or data that lie outside the file's tables.
    """
    root = flatbuffer.read(content)
    if root["external_buffer_groups"] or root["external_buffers"]:
        raise UnknownPartError("the file keeps constants in other files, which is not understood")
    if any(buffer["offset"] > 1 or buffer["size"] > 1 for buffer in root["buffers"] or ()):
        raise UnknownPartError("the file keeps constants outside of its tables, as those above 2 GB do")
    if not root["subgraphs"]:
        raise DamagedFileError("the file is damaged: it has no subgraph")
    model = Model(graphs=tuple(_graph(root, table) for table in root["subgraphs"]), root=root)
    _check_references(model)
    return model


def _check_references(model: Model) -> None:
    """What signatures and metadata refer to has to be there."""
    for signature in model.root["signature_defs"] or ():
        place = signature["subgraph_index"]
        count = len(model.graphs[place].tensors) if place < len(model.graphs) else 0
        entries = [*(signature["inputs"] or ()), *(signature["outputs"] or ())]
        if not all(entry["tensor_index"] < count for entry in entries) or not count:
            raise DamagedFileError("the file is damaged: a signature names a tensor that is not there")
    buffers = len(model.root["buffers"] or ())
    if not all(entry["buffer"] < buffers for entry in model.root["metadata"] or ()):
        raise DamagedFileError("the file is damaged: its metadata are not there")


def read_graph(content: bytes) -> Graph:
    """Every tensor and operator of the first subgraph.

    Raises:
        ValueError: `content` is no .tflite file, a damaged one, or one that is not understood.
    """
    return read_model(content).graphs[0]


def indices(table: Table, name: str) -> tuple[int, ...]:
    """A vector of int32 as Python's numbers."""
    return tuple(np.frombuffer(table[name] or b"", "<i4").tolist())


def _graph(root: Table, table: Table) -> Graph:
    tensors = tuple(_tensor(root, index, entry) for index, entry in enumerate(table["tensors"] or ()))
    operators = tuple(_operator(root, entry) for entry in table["operators"] or ())
    ends = indices(table, "inputs"), indices(table, "outputs")
    used = [index for operator in operators for index in (*operator.inputs, *operator.outputs)]
    used += [index for operator in operators for index in indices(operator.table, "intermediates")]
    if not all(-1 <= index < len(tensors) for index in used):
        raise DamagedFileError("the file is damaged: an operator names a tensor that is not there")
    if not all(0 <= index < len(tensors) for end in ends for index in end):
        raise DamagedFileError("the file is damaged: an end of a graph is a tensor that is not there")
    return Graph(tensors=tensors, operators=operators, inputs=ends[0], outputs=ends[1])


def _operator(root: Table, table: Table) -> Operator:
    codes, index = root["operator_codes"] or (), table["opcode_index"]
    if index >= len(codes):
        raise DamagedFileError(f"the file is damaged: operator code {index} of {len(codes)}")
    if table["large_custom_options_offset"]:
        raise UnknownPartError("an operator keeps its options outside of the file's tables")
    code = max(codes[index]["deprecated_builtin_code"], codes[index]["builtin_code"])
    name = _OPERATOR_NAMES.get(code, f"OPERATOR {code}")
    if name == "CUSTOM":
        name = f"CUSTOM {_text(codes[index]['custom_code'])}"
    ends = indices(table, "inputs"), indices(table, "outputs")
    return Operator(name=name, inputs=ends[0], outputs=ends[1], table=table, code=codes[index])


def _text(value: memoryview | None) -> str:
    return bytes(value or b"").decode(errors="replace")


def _tensor(root: Table, index: int, table: Table) -> Tensor:
    name, dtype = _text(table["name"]), _TYPE_NAMES.get(table["type"], f"type {table['type']}")
    shape, bits = indices(table, "shape"), _BITS.get(dtype, 0)
    buffers, number = root["buffers"] or (), table["buffer"]
    if number >= max(1, len(buffers)):
        raise DamagedFileError(f"the file is damaged: tensor {name!r} has buffer {number} of {len(buffers)}")
    if table["external_buffer"]:
        raise UnknownPartError(f"tensor {name!r} lies in another file, which is not understood")
    # the first buffer stands for none
    data = buffers[number]["data"] if number else None
    values = None
    if data is not None and bits and not table["sparsity"]:
        count = math.prod(shape)
        if min(shape, default=0) < 0 or len(data) != -(-count * bits // 8):
            raise DamagedFileError(
                f"the file is damaged: tensor {name!r} of {dtype} {shape} has {len(data):,} bytes"
            )
        raw = np.frombuffer(data, np.uint8)
        values = (_unpack(raw, bits, count) if bits < 8 else raw.view(_DTYPES[dtype])).reshape(shape)
    quantization = table["quantization"] or Table(kind="QuantizationParameters")
    return Tensor(
        index=index,
        name=name,
        dtype=dtype,
        bits=bits,
        shape=shape,
        values=values,
        scale=np.frombuffer(quantization["scale"] or b"", "<f4"),
        zero_point=np.frombuffer(quantization["zero_point"] or b"", "<i8"),
        axis=quantization["quantized_dimension"],
        data=data,
        table=table,
    )


def zeroed(content: bytes) -> bytes:
    """The same file with every constant's bytes 0: what is left to code is the graph."""
    copy = bytearray(content)
    model = schema.Model.GetRootAs(copy)
    for index in range(model.BuffersLength()):
        if not model.Buffers(index).DataIsNone():
            model.Buffers(index).DataAsNumpy()[:] = 0
    return bytes(copy)


@dataclass(frozen=True, kw_only=True)
class LayerAccount:
    """What one layer with a kernel costs.

    Attributes:
        layer: its operator and place, as in `CONV_2D 1`.
        shape: of the kernel in the file.
        parameters: weights and biases. nonzero: weights that are not 0.
        kernel_bytes: as stored, packed bits counted.
        macs: multiply-adds an image of the non-zero weights; dense_macs: of all weights. Of a kernel that
            several operators use, all their multiply-adds and biases are counted here.
    """

    layer: str
    shape: tuple[int, ...]
    parameters: int
    weights: int
    nonzero: int
    kernel_bytes: int
    macs: int
    dense_macs: int


def account(graph: Graph) -> list[LayerAccount]:
    """Layer by layer: shape, parameters, multiply-adds, zeros and bytes."""
    rows = []
    for number, (kernel, operators) in enumerate(graph.users(), 1):
        weights, nonzero = int(np.prod(kernel.shape)), int(np.count_nonzero(kernel.dequantized()))
        outputs = [graph.tensors[operator.outputs[0]].shape for operator in operators]
        # a convolution's weight works once at each place of its output
        places = sum(output[1] * output[2] if len(output) == 4 else 1 for output in outputs)
        biased = sum(len(operator.inputs) > 2 and operator.inputs[2] >= 0 for operator in operators)
        rows.append(
            LayerAccount(
                layer=f"{operators[0].name} {number}",
                shape=kernel.shape,
                parameters=weights + biased * outputs[0][-1],
                weights=weights,
                nonzero=nonzero,
                kernel_bytes=-(-weights * kernel.bits // 8),
                macs=nonzero * places,
                dense_macs=weights * places,
            )
        )
    return rows
