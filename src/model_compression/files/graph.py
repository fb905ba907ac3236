"""Reading .tflite files: their schema only, no interpreter."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from . import flatbuffer
from .flatbuffer import DamagedFileError, UnknownPartError
from .tensors import (
    BITS,
    KERNEL_OPERATORS,
    TYPE_NAMES,
    Graph,
    Model,
    Operator,
    Tensor,
    added,
    numbers,
    unpack,
)  # fmt: skip

__all__ = [
    "KERNEL_OPERATORS", "Graph", "LayerAccount", "Model", "Operator", "Tensor", "account", "added", "numbers",
    "read_graph", "read_model", "zeroed",
]  # fmt: skip

_OPERATOR_NAMES = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}


def read_model(content: bytes) -> Model:
    """The whole file; constants are views of `content`.

    Raises:
        DamagedFileError: no .tflite file, or one whose parts do not fit together.
        UnknownPartError: a part that is not understood, or data that lie in other files.
    """
    root = flatbuffer.read(content)
    if root.externalBufferGroups or root.externalBuffers:
        raise UnknownPartError("the file keeps constants in other files, which is not understood")
    if not root.subgraphs:
        raise DamagedFileError("the file is damaged: it has no subgraph")
    graphs = tuple(_graph(root, table) for table in root.subgraphs)
    for signature in root.signatureDefs or ():
        _check([signature.subgraphIndex], len(graphs), "a signature names a subgraph")
        named = [entry.tensorIndex for entry in (*(signature.inputs or ()), *(signature.outputs or ()))]
        _check(named, len(graphs[signature.subgraphIndex].tensors), "a signature names a tensor")
    _check([entry.buffer for entry in root.metadata or ()], len(root.buffers or ()), "metadata name a buffer")
    return Model(graphs=graphs, root=root)


def read_graph(content: bytes) -> Graph:
    """Every tensor and operator of the first subgraph.

    Raises:
        ValueError: `content` is no .tflite file, a damaged one, or one that is not understood.
    """
    return read_model(content).graphs[0]


def _check(named: Iterable[int], count: int, what: str, *, least: int = 0) -> None:
    """What is named by its number has to be there."""
    if not all(least <= number < count for number in named):
        raise DamagedFileError(f"the file is damaged: {what} that is not there")


def _graph(root: schema.ModelT, table: schema.SubGraphT) -> Graph:
    tensors = tuple(_tensor(root, index, entry) for index, entry in enumerate(table.tensors or ()))
    operators = tuple(_operator(root, entry) for entry in table.operators or ())
    ends = numbers(table.inputs), numbers(table.outputs)
    used = [index for each in operators for index in (*each.inputs, *each.intermediates)]
    _check(used, len(tensors), "an operator names a tensor", least=-1)
    written = [index for each in operators for index in each.outputs]
    _check(written, len(tensors), "an operator writes a tensor")
    _check([*ends[0], *ends[1]], len(tensors), "an end of a graph is a tensor")
    return Graph(tensors=tensors, operators=operators, inputs=ends[0], outputs=ends[1])


def _operator(root: schema.ModelT, table: schema.OperatorT) -> Operator:
    codes, index = root.operatorCodes or (), table.opcodeIndex
    _check([index], len(codes), "an operator has a code")
    if table.largeCustomOptionsOffset:
        raise UnknownPartError("an operator keeps its options outside of the file's tables")
    if table.builtinOptionsType and table.builtinOptions is None:
        raise UnknownPartError(
            f"an operator has options of kind {table.builtinOptionsType}, which is not known"
        )
    code = max(codes[index].deprecatedBuiltinCode, codes[index].builtinCode)
    name = _OPERATOR_NAMES.get(code, f"OPERATOR {code}")
    if name == "CUSTOM":
        name = f"CUSTOM {_text(codes[index].customCode)}"
    ends = numbers(table.inputs), numbers(table.outputs)
    if name in KERNEL_OPERATORS and (min((*ends[0], -1)[:2]) < 0 or not ends[1]):
        raise DamagedFileError(f"the file is damaged: a {name} without input, kernel or output")
    return Operator(name=name, inputs=ends[0], outputs=ends[1], table=table, code=codes[index])


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")


def _tensor(root: schema.ModelT, index: int, table: schema.TensorT) -> Tensor:
    name, dtype = _text(table.name), TYPE_NAMES.get(table.type, f"type {table.type}")
    shape, bits = numbers(table.shape), BITS.get(dtype, 0)
    buffers, number = root.buffers or (), table.buffer
    _check([number], max(1, len(buffers)), f"tensor {name!r} has a buffer")
    if table.externalBuffer:
        raise UnknownPartError(f"tensor {name!r} lies in another file, which is not understood")
    if min(shape, default=0) < 0:
        raise DamagedFileError(f"the file is damaged: tensor {name!r} has the shape {shape}")
    # the first buffer stands for none
    data = buffers[number].data if number else None
    values = None
    if data is not None and bits and not table.sparsity:
        count = math.prod(shape)
        if len(data) != -(-count * bits // 8):
            raise DamagedFileError(
                f"the file is damaged: tensor {name!r} of {dtype} {shape} has {len(data):,} bytes"
            )
        values = (unpack(data, bits, count) if bits < 8 else data.view(dtype)).reshape(shape)
    quantization = table.quantization or schema.QuantizationParametersT()
    if quantization.detailsType == schema.QuantizationDetails.BlockwiseQuantization:
        raise UnknownPartError(f"tensor {name!r} is quantized in blocks, which is not understood")
    return Tensor(
        index=index,
        name=name,
        dtype=dtype,
        bits=bits,
        shape=shape,
        values=values,
        scale=np.empty(0, np.float32) if quantization.scale is None else quantization.scale,
        zero_point=np.empty(0, np.int64) if quantization.zeroPoint is None else quantization.zeroPoint,
        axis=quantization.quantizedDimension,
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
    for number, (kernel, operators) in enumerate(graph.users(), 1):
        weights, nonzero = int(np.prod(kernel.shape)), int(np.count_nonzero(kernel.dequantized()))
        outputs = [graph.tensors[operator.outputs[0]].shape for operator in operators]
        # a weight works once at each place of its output, and again where it is used again
        places = sum(int(np.prod(output[1:-1])) for output in outputs)
        stored = {op.inputs[2] for op in operators if len(op.inputs) > 2 and op.inputs[2] >= 0}
        biases = sum(int(np.prod(graph.tensors[index].shape)) for index in stored)
        rows.append(
            LayerAccount(
                layer=f"{operators[0].name} {number}",
                shape=kernel.shape,
                parameters=weights + biases,
                weights=weights,
                nonzero=nonzero,
                kernel_bytes=-(-weights * kernel.bits // 8),
                macs=nonzero * places,
                dense_macs=weights * places,
            )
        )
    return rows
