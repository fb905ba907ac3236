"""Reading and editing .tflite files: their schema only, no interpreter."""

from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

_TYPE_NAMES = {
    code: name.lower() for name, code in vars(schema.TensorType).items() if not name.startswith("_")
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
        values: stored numbers in `shape`, 4-bit ones unpacked; None unless constant.
        scale: float32, empty when not quantized, one value, or one a slice along `axis`.
        zero_point: int64, shaped like `scale`.
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

    def dequantized(self) -> np.ndarray:
        """float32 values in `shape`: (stored - zero_point) * scale.

        Raises:
            ValueError: the tensor is not a constant.
        """
        if self.values is None:
            raise ValueError(f"tensor {self.name!r} is not a constant")
        if not self.scale.size:
            return self.values.astype(np.float32)
        along = [1] * len(self.shape)
        if self.scale.size > 1:
            along[self.axis] = self.scale.size
        offset = self.values.astype(np.int64) - self.zero_point.reshape(along)
        return (offset * self.scale.reshape(along)).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One step of the graph: its name and the indices of its tensors."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A file's tensors and operators, in the order of the file."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]

    def kernels(self) -> list[tuple[Tensor, Operator]]:
        """Convolutions and Dense layers in the order of execution, each with its constant kernel."""
        return [
            (self.constant(operator.inputs[1]), operator)
            for operator in self.operators
            if operator.name in KERNEL_OPERATORS
        ]

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


def _unpack(raw: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Signed integers of 4 or 2 bits, lowest bits first, as int8."""
    per_byte = 8 // bits
    shifts = np.arange(per_byte, dtype=np.uint8) * bits
    fields = ((raw[:, None] >> shifts) & (2**bits - 1)).astype(np.int8).ravel()[:count]
    return np.where(fields >= 2 ** (bits - 1), fields - 2**bits, fields).astype(np.int8)


def _values(raw: np.ndarray, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    if dtype in ("int4", "int2"):
        return _unpack(raw, _BITS[dtype], int(np.prod(shape, dtype=np.int64))).reshape(shape)
    return np.frombuffer(raw.tobytes(), dtype=_DTYPES[dtype]).reshape(shape)


def _array(values: object, dtype: type) -> np.ndarray:
    return np.array([] if values is None else values, dtype=dtype)


def read_graph(content: bytes) -> Graph:
    """Every tensor and operator of the first subgraph.

    Raises:
        ValueError: `content` is no .tflite file.
    """
    if content[4:8] != b"TFL3":
        raise ValueError(f"no .tflite file: bytes 4 to 8 are {content[4:8]!r}, and must be b'TFL3'")
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    subgraph = model.subgraphs[0]
    tensors = []
    for index, tensor in enumerate(subgraph.tensors):
        dtype = _TYPE_NAMES[tensor.type]
        shape = tuple(int(size) for size in (tensor.shape if tensor.shape is not None else ()))
        raw = model.buffers[tensor.buffer].data
        constant = raw is not None and len(raw) > 0 and dtype in _BITS and tensor.sparsity is None
        quantization = tensor.quantization
        name = tensor.name or b""
        tensors.append(
            Tensor(
                index=index,
                name=name.decode() if isinstance(name, bytes) else name,
                dtype=dtype,
                bits=_BITS.get(dtype, 0),
                shape=shape,
                values=_values(np.asarray(raw, np.uint8), dtype, shape) if constant else None,
                scale=_array(quantization and quantization.scale, np.float32),
                zero_point=_array(quantization and quantization.zeroPoint, np.int64),
                axis=int(quantization.quantizedDimension) if quantization else 0,
            )
        )
    codes = [flatbuffer_utils.opcode_to_name(model, index) for index in range(len(model.operatorCodes))]
    operators = [
        Operator(
            name=codes[operator.opcodeIndex],
            inputs=tuple(int(i) for i in operator.inputs),
            outputs=tuple(int(i) for i in operator.outputs),
        )
        for operator in subgraph.operators
    ]
    return Graph(tensors=tuple(tensors), operators=tuple(operators))


def strip(content: bytes) -> bytes:
    """The same file without names, signatures and metadata: fewer bytes, equal predictions.

    Source: ai_edge_litert.tools.flatbuffer_utils.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    flatbuffer_utils.strip_strings(model)
    model.metadata = []
    model.metadataBuffer = []
    model.signatureDefs = []
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


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
        macs: multiply-adds an image of the non-zero weights; dense_macs: of all weights.
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
    for number, (kernel, operator) in enumerate(graph.kernels(), 1):
        weights, nonzero = int(np.prod(kernel.shape)), int(np.count_nonzero(kernel.dequantized()))
        output = graph.tensors[operator.outputs[0]].shape
        # a convolution's weight works once at each place of its output
        places = output[1] * output[2] if len(output) == 4 else 1
        biases = len(operator.inputs) > 2 and operator.inputs[2] >= 0
        rows.append(
            LayerAccount(
                layer=f"{operator.name} {number}",
                shape=kernel.shape,
                parameters=weights + (output[-1] if biases else 0),
                weights=weights,
                nonzero=nonzero,
                kernel_bytes=-(-weights * kernel.bits // 8),
                macs=nonzero * places,
                dense_macs=weights * places,
            )
        )
    return rows
