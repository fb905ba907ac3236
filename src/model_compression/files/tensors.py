"""What a .tflite file holds, as records: tensors, operators, graphs."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

TYPE_NAMES = {
    code: name.lower() for name, code in vars(schema.TensorType).items() if not name.startswith("_")
}
#: The operators whose second input is a kernel.
KERNEL_OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
#: Operators that give a constant as it is computed with.
UNPACKING = ("DEQUANTIZE", "DENSIFY")
#: Bits that one value takes in the file; those below 8 are packed, the others NumPy's of the same name.
BITS = {
    "float32": 32, "float16": 16, "int64": 64, "int32": 32, "int16": 16, "int8": 8, "uint8": 8, "int4": 4,
    "int2": 2,
}  # fmt: skip


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
    data: bytes | np.ndarray | None = None
    table: schema.TensorT = field(default_factory=schema.TensorT)

    @property
    def plain(self) -> bool:
        """Whether there is nothing to it but shape, type, values, and scales with as many zero points."""
        table, quantization, scales = self.table, self.table.quantization, self.scale.size
        special = table.isVariable or table.sparsity or table.variantTensors
        if not self.bits or special or (quantization and quantization.details):
            return False
        wide = self.shape[self.axis] if 0 <= self.axis < len(self.shape) else 1
        return self.zero_point.size == scales and scales in (0, 1, wide)

    @property
    def has_open_axes(self) -> bool:
        """Whether an axis behind the first is open."""
        return min(numbers(self.table.shapeSignature)[1:], default=0) < 0

    def alike(self, other: "Tensor") -> bool:
        """Whether equal stored numbers mean the same in both."""
        same = self.dtype == other.dtype and self.bits > 0
        same = same and self.table.isVariable == other.table.isVariable
        pairs = ((self.scale, other.scale), (self.zero_point, other.zero_point))
        return same and all(np.array_equal(one, another) for one, another in pairs)

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
        offset = self.numbers.astype(np.int64) - self.along(self.zero_point)
        return (offset * self.along(self.scale)).astype(np.float32)

    def along(self, each: np.ndarray) -> np.ndarray:
        """Its scales or zero points, shaped to go with its values."""
        axes = [1] * len(self.shape)
        if each.size > 1:
            axes[self.axis] = each.size
        return each.reshape(axes)

    def holding(self, values: np.ndarray) -> "Tensor":
        """The same tensor with other stored numbers, and their shape."""
        stored = pack(values, self.bits) if self.bits < 8 else values.astype(self.dtype).tobytes()
        return replace(self, values=values, shape=values.shape, data=stored)

    def taken(self, keep: np.ndarray, axis: int) -> "Tensor":
        """The slices of these indices along an axis, with the scales that are theirs."""
        shape = (*self.shape[:axis], len(keep), *self.shape[axis + 1 :])
        cut = replace(self, shape=shape)
        if self.scale.size > 1 and self.axis == axis:
            cut = replace(cut, scale=self.scale[keep], zero_point=self.zero_point[keep])
        return cut if self.values is None else cut.holding(np.take(self.values, keep, axis))


def added(tensors: list[Tensor], tensor: Tensor) -> int:
    """The index of a tensor that is put behind others."""
    tensors.append(replace(tensor, index=len(tensors)))
    return len(tensors) - 1


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One step of the graph: its name and the indices of its tensors, -1 for one left out.

    Attributes:
        table: what the file says besides. code: its entry among the file's operator codes.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    table: schema.OperatorT = field(default_factory=schema.OperatorT)
    code: schema.OperatorCodeT = field(default_factory=schema.OperatorCodeT)

    def option(self, name: str) -> Any:
        """One of its options, as `strideW`, a vector as a tuple; 0 where it has none of that name."""
        found = getattr(self.table.builtinOptions, name, 0)
        return numbers(found) if isinstance(found, np.ndarray) else found

    @property
    def intermediates(self) -> tuple[int, ...]:
        """What it keeps between its steps, as an LSTM does."""
        return numbers(self.table.intermediates)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A subgraph's tensors and operators, in the order of the file; the indices of its two ends."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()

    def without(self, *operators: Operator) -> "Graph":
        """The graph without some of its operators."""
        gone = {id(operator) for operator in operators}
        return replace(self, operators=tuple(each for each in self.operators if id(each) not in gone))

    def holding(self, *tensors: Tensor) -> "Graph":
        """The graph with these tensors in the places that are theirs."""
        held = {tensor.index: tensor for tensor in tensors}
        return replace(self, tensors=tuple(held.get(each.index, each) for each in self.tensors))

    @property
    def channels(self) -> int:
        """Of all tensors together, those that operators write once more each time."""
        written = (self.tensors[index] for operator in self.operators for index in operator.outputs)
        return sum(tensor.shape[-1] for tensor in (*self.tensors, *written) if tensor.shape)

    @cached_property
    def has_open_axes(self) -> bool:
        """Whether an axis behind the first is open: in a shape it stands as 1."""
        return any(tensor.has_open_axes for tensor in self.tensors)

    def kernels(self) -> list[tuple[Tensor, Operator]]:
        """Each stored kernel with the convolution or Dense layer that uses it first, in that order."""
        return [(kernel, operators[0]) for kernel, operators in self.users()]

    def users(self) -> list[tuple[Tensor, list[Operator]]]:
        """Each stored kernel with all operators that use it, in the order of execution."""
        found: dict[int, tuple[Tensor, list[Operator]]] = {}
        for operator in self.operators:
            # a product of two computed tensors, as in attention, has no kernel
            if operator.name in KERNEL_OPERATORS and (kernel := self.stored(operator.inputs[1])):
                found.setdefault(kernel.index, (kernel, []))[1].append(operator)
        return list(found.values())

    def bias(self, operator: Operator) -> Tensor | None:
        """The stored bias of a convolution or Dense layer."""
        return self.stored(operator.inputs[2]) if len(operator.inputs) > 2 else None

    def stored(self, index: int) -> Tensor | None:
        """A constant, or the one behind what unpacks it; None where it is computed, or left out."""
        for operator in reversed(self.operators):
            if index in operator.outputs and operator.name in UNPACKING and operator.inputs:
                index = operator.inputs[0]
        return self.tensors[index] if index >= 0 and self.tensors[index].values is not None else None


@dataclass(frozen=True, kw_only=True)
class Model:
    """A file: its subgraphs, the first of which is the net, and its root table for what else it holds."""

    graphs: tuple[Graph, ...]
    root: schema.ModelT

    def holding(self, graph: Graph) -> "Model":
        """The file with another first graph."""
        return replace(self, graphs=(graph, *self.graphs[1:]))


def numbers(vector: np.ndarray | None) -> tuple[int, ...]:
    """A vector of a table as Python's numbers."""
    return () if vector is None else tuple(vector.tolist())


def unpack(raw: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Signed integers of 4 or 2 bits, lowest bits first, as int8."""
    per_byte = 8 // bits
    shifts = np.arange(per_byte, dtype=np.uint8) * bits
    fields = ((raw[:, None] >> shifts) & (2**bits - 1)).astype(np.int8).ravel()[:count]
    return np.where(fields >= 2 ** (bits - 1), fields - 2**bits, fields).astype(np.int8)


def pack(values: np.ndarray, bits: int) -> bytes:
    """The reverse of `unpack`; the last byte is filled up with 0."""
    per_byte = 8 // bits
    fields = values.astype(np.uint8).ravel() & (2**bits - 1)
    fields = np.append(fields, np.zeros(-fields.size % per_byte, np.uint8)).reshape(-1, per_byte)
    shifts = np.arange(per_byte, dtype=np.uint8) * bits
    return np.bitwise_or.reduce(fields << shifts, axis=1).astype(np.uint8).tobytes()
