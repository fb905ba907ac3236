"""The smallest .tflite file of a sequential net: only what an interpreter needs to run it.

Written byte by byte after the flatbuffer and TFLite schemas, for the converter's own files carry names,
shapes, signatures and metadata that weigh more than the weights of a well-compressed net:
- whole numbers as kernels, 4 or 8 bits, one scale a kernel, run by the dynamic-range ("hybrid")
  kernels on float32 activations;
- every scale is 1: ReLU, max and mean are positively homogeneous, so a kernel's scale can be moved
  into the biases of its own and of all later layers, and the outputs keep their order;
- biases with `BIAS_BITS` significant bits, which compress;
- Dense layers flatten their input themselves, and all computed tensors share one entry: the
  interpreter works their shapes out when it allocates.

Source: google/flatbuffers, docs/source/Internals.md; tensorflow/compiler/mlir/lite/schema/schema.fbs.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ..nets.keras2 import keras
from ..nets.recurrent import Recurrent

#: Significant bits of a stored bias: one fewer costs accuracy (0.2 points on the baseline), more cost bytes.
BIAS_BITS = 3
#: The finest grid that is looked for in a kernel before it is rounded to a grid of its own.
GRID_LEVELS = 7
#: Alignment of a constant in the file, in bytes.
ALIGNMENT = 16

_LIMITS = {4: 7, 8: 127}
_TYPES = {4: schema.TensorType.INT4, 8: schema.TensorType.INT8}


# Flatbuffers


@dataclass(eq=False)
class Table:
    """A flatbuffer table: numbers, tables and vectors by their number in the schema.

    Attributes:
        fields: (number, kind, value); the kinds are "b" (int8), "i" (int32), "I" (uint32) and "o"
            (a table or vector).
        last: written after all others.
    """

    fields: list[tuple[int, str, object]]
    last: bool = False


@dataclass(eq=False)
class Vector:
    """A flatbuffer vector.

    Attributes:
        kind: what it holds: "i" int32, "q" int64, "f" float32, "B" bytes or "o" tables.
    """

    kind: str
    values: object


class _Writer:
    """Lays tables and vectors out from front to back, each right after the first that points to it."""

    def __init__(self) -> None:
        self.buffer = bytearray(8)
        self.buffer[4:8] = b"TFL3"
        self.places: dict[int, int] = {}
        self.postponed: list[tuple[int, Table | Vector]] = []

    def write(self, root: Table) -> bytes:
        self._point(0, root)
        for at, child in self.postponed:
            self._point(at, child, postpone=False)
        return bytes(self.buffer)

    def _pad(self, alignment: int, ahead: int = 0) -> None:
        """Zeros until what comes `ahead` bytes later is aligned."""
        self.buffer.extend(bytes(-(len(self.buffer) + ahead) % alignment))

    def _point(self, at: int, child: Table | Vector, *, postpone: bool = True) -> None:
        """Write at `at` the distance to `child`, which is written first where it is not there yet.

        Distances are unsigned: they can only point ahead, so a child that already lies behind is
        written once more.
        """
        if postpone and isinstance(child, Table) and child.last:
            self.postponed.append((at, child))
            return
        if self.places.get(id(child), -1) <= at:
            place = self._table(child) if isinstance(child, Table) else self._vector(child)
            self.places[id(child)] = place
        struct.pack_into("<I", self.buffer, at, self.places[id(child)] - at)

    def _vector(self, vector: Vector) -> int:
        values, kind = list(vector.values), vector.kind  # type: ignore[call-overload]
        alignment = {"B": ALIGNMENT, "q": 8}.get(kind, 4)
        self._pad(4)
        self._pad(alignment, 4)
        place = len(self.buffer)
        self.buffer.extend(struct.pack("<I", len(values)))
        if kind == "o":
            self.buffer.extend(bytes(4 * len(values)))
            for index, child in enumerate(values):
                self._point(place + 4 + 4 * index, child)
        else:
            self.buffer.extend(struct.pack(f"<{len(values)}{kind}", *values))
        return place

    def _table(self, table: Table) -> int:
        sizes = {"b": 1}
        # the larger fields first, so that none needs padding
        fields = sorted(table.fields, key=lambda entry: (-sizes.get(entry[1], 4), entry[0]))
        offsets, end = {}, 4
        for number, kind, _ in fields:
            offsets[number] = end
            end += sizes.get(kind, 4)
        numbers = range(max(offsets, default=-1) + 1)
        layout = struct.pack(
            f"<{2 + len(numbers)}H",
            4 + 2 * len(numbers),
            end,
            *(offsets.get(number, 0) for number in numbers),
        )
        self._pad(4, len(layout))
        layout_place = len(self.buffer)
        self.buffer.extend(layout)
        place = len(self.buffer)
        self.buffer.extend(bytes(end))
        struct.pack_into("<i", self.buffer, place, place - layout_place)
        children = []
        for number, kind, value in fields:
            if kind == "o":
                children.append((place + offsets[number], value))
            else:
                struct.pack_into(f"<{kind}", self.buffer, place + offsets[number], value)
        for at, child in children:
            self._point(at, child)  # type: ignore[arg-type]
        return place


def _table(*fields: tuple[int, str, object]) -> Table:
    """A table without the fields that are 0 or None, the schema's defaults."""
    return Table([entry for entry in fields if entry[2] is not None and entry[2] != 0])


# Numbers


def to_grid(kernel: np.ndarray, limit: int) -> tuple[np.ndarray, float]:
    """A kernel as whole numbers times one scale.

    A kernel whose values are multiples of a common step, at most `GRID_LEVELS` of them, keeps them
    exactly; any other is rounded to the grid that `limit` gives its largest value.

    Args:
        kernel: floats, any shape. limit: largest whole number.
    Returns:
        int8 shaped like `kernel`, and the scale, above 0.
    """
    magnitudes = np.unique(np.abs(kernel.astype(np.float64)))
    magnitudes = magnitudes[magnitudes > 0]
    if not magnitudes.size:
        return np.zeros(kernel.shape, np.int8), 1.0
    for divisor in range(1, GRID_LEVELS + 1):
        scale = magnitudes[0] / divisor
        steps = magnitudes / scale
        if steps[-1] < min(GRID_LEVELS, limit) + 0.5 and np.allclose(
            steps, np.rint(steps), rtol=1e-5, atol=0
        ):
            break
    else:
        scale = magnitudes[-1] / limit
    return np.rint(kernel / scale).astype(np.int8), float(scale)


def round_mantissa(values: np.ndarray, bits: int) -> np.ndarray:
    """float32 values rounded to `bits` significant bits."""
    mantissa, exponent = np.frexp(values.astype(np.float64))
    return np.ldexp(np.rint(mantissa * 2**bits) / 2**bits, exponent).astype(np.float32)


def pack_int4(values: np.ndarray) -> bytes:
    """Whole numbers from -8 to 7, two a byte, the first in the low half; an odd end is filled with 0."""
    halves = np.append(values.ravel(), np.zeros(values.size % 2, values.dtype)).astype(np.uint8) & 15
    return (halves[0::2] | halves[1::2] << 4).astype(np.uint8).tobytes()


# Nets


class _Graph:
    """Collects the tensors, constants and operators of a file."""

    def __init__(self, input_shape: Iterable[int]) -> None:
        self.buffers = [Table([])]
        self.tensors = [_table((0, "o", Vector("i", [1, *input_shape])))]
        self.operators: list[Table] = []
        self.codes: list[int] = []
        # interpreters work the shapes out anew; rank 4 is what convolutions expect to find
        self.computed = Table([(0, "o", Vector("i", [1, 1, 1, 1]))], last=True)
        self.current = 0

    def constant(
        self, shape: Iterable[int], content: bytes, kind: int, quantization: Table | None = None
    ) -> int:
        self.buffers.append(_table((0, "o", Vector("B", content))))
        self.tensors.append(
            _table(
                (0, "o", Vector("i", list(shape))),
                (1, "b", kind),
                (2, "I", len(self.buffers) - 1),
                (4, "o", quantization),
            )
        )
        return len(self.tensors) - 1

    def operator(self, code: int, constants: Iterable[int], options_type: int, options: Table) -> None:
        """Append an operator on the current tensor and `constants`; its output is the next current one."""
        if code not in self.codes:
            self.codes.append(code)
        self.tensors.append(self.computed)
        output = len(self.tensors) - 1
        self.operators.append(
            _table(
                (0, "I", self.codes.index(code)),
                (1, "o", Vector("i", [self.current, *constants])),
                (2, "o", Vector("i", [output])),
                (3, "b", options_type),
                (4, "o", options),
            )
        )
        self.current = output

    def content(self) -> bytes:
        codes = [_table((0, "b", code)) for code in self.codes]
        subgraph = _table(
            (0, "o", Vector("o", self.tensors)),
            (1, "o", Vector("i", [0])),
            (2, "o", Vector("i", [self.current])),
            (3, "o", Vector("o", self.operators)),
        )
        model = _table(
            (0, "I", 3),
            (1, "o", Vector("o", codes)),
            (2, "o", Vector("o", [subgraph])),
            (4, "o", Vector("o", self.buffers)),
        )
        return _Writer().write(model)


@dataclass
class _Packer:
    """Turns layers into operators and carries the product of the scales along."""

    graph: _Graph
    bits: int
    scale: float = 1.0

    def kernel(self, layer: keras.layers.Layer) -> list[int]:
        """The constants of a layer with a kernel: whole numbers, and the biases over all scales so far."""
        kernel, scale = self.weights(layer)
        self.scale *= scale
        return [kernel, *([self.bias(layer.bias.numpy())] if layer.use_bias else [])]

    def weights(self, layer: keras.layers.Layer) -> tuple[int, float]:
        """A kernel's whole numbers as a constant, and the scale that they are multiples of."""
        kernel = np.moveaxis(layer.kernel.numpy(), -1, 0)
        values, scale = to_grid(kernel, _LIMITS[self.bits])
        packed = pack_int4(values) if self.bits == 4 else values.tobytes()
        one = _table((2, "o", Vector("f", [1.0])), (3, "o", Vector("q", [0])))
        return self.graph.constant(kernel.shape, packed, _TYPES[self.bits], one), scale

    def bias(self, values: np.ndarray) -> int:
        """Biases over all scales so far, as a constant."""
        bias = round_mantissa(values / self.scale, BIAS_BITS)
        return self.graph.constant(bias.shape, bias.tobytes(), schema.TensorType.FLOAT32)

    def recurrent(self, layer: Recurrent) -> None:
        """Convolutions that name one kernel, in one buffer."""
        kernel, scale = self.weights(layer)
        biases = iter(layer.bias.numpy())
        for times, pool in layer.pooled:
            for _ in range(times):
                self.scale *= scale
                self.convolve(layer, [kernel, self.bias(next(biases))])
            if pool:
                self.pool(schema.BuiltinOperator.MAX_POOL_2D, (2, 2), (2, 2), schema.Padding.VALID)

    def convolution(self, layer: keras.layers.Conv2D) -> None:
        self.convolve(layer, self.kernel(layer))

    def convolve(self, layer: keras.layers.Conv2D, constants: list[int]) -> None:
        height, width = layer.strides
        options = _table(
            (0, "b", _padding(layer)), (1, "i", width), (2, "i", height), (3, "b", _activation(layer))
        )
        operator = schema.BuiltinOperator.CONV_2D
        self.graph.operator(operator, constants, schema.BuiltinOptions.Conv2DOptions, options)

    def dense(self, layer: keras.layers.Dense) -> None:
        options = _table((0, "b", _activation(layer)))
        operator = schema.BuiltinOperator.FULLY_CONNECTED
        kind = schema.BuiltinOptions.FullyConnectedOptions
        self.graph.operator(operator, self.kernel(layer), kind, options)

    def pool(self, operator: int, size: tuple[int, int], strides: tuple[int, int], padding: int) -> None:
        options = _table(
            (0, "b", padding),
            (1, "i", strides[1]),
            (2, "i", strides[0]),
            (3, "i", size[1]),
            (4, "i", size[0]),
        )
        self.graph.operator(operator, [], schema.BuiltinOptions.Pool2DOptions, options)


def _padding(layer: keras.layers.Layer) -> int:
    return {"same": schema.Padding.SAME, "valid": schema.Padding.VALID}[layer.padding]


def _activation(layer: keras.layers.Layer) -> int:
    relu = schema.ActivationFunctionType.RELU
    known = {keras.activations.linear: 0, keras.activations.relu: relu}
    if layer.activation not in known:
        raise ValueError(
            f"{layer.name} has the activation {layer.activation.__name__!r}; allowed: 'relu' or none "
            "(a kernel's scale passes through no other)"
        )
    return known[layer.activation]


#: Layers that only rename the axes, or do nothing outside training.
_IDLE = (keras.layers.InputLayer, keras.layers.Flatten, keras.layers.Reshape, keras.layers.Dropout)


def pack(model: keras.Sequential, *, bits: int) -> bytes:
    """The whole .tflite file.

    Its input is one float32 image (1, height, width, channels); its outputs are the net's logits
    over one common positive factor, so labels are the net's.

    Args:
        model: a sequential net with logits. bits: of each weight, 4 or 8.
    Raises:
        ValueError: a layer that cannot be written, or whose output does not scale with its input.
    """
    if not isinstance(model, keras.Sequential):
        raise ValueError(f"packing writes sequential nets; this one is a {type(model).__name__}")
    layers = [layer for layer in model.layers if not isinstance(layer, _IDLE)]
    packer = _Packer(_Graph(_image_shape(model, layers[0])), bits)
    for layer in layers:
        _write_layer(packer, layer)
    return packer.graph.content()


def _image_shape(model: keras.Sequential, first: keras.layers.Layer) -> tuple[int, ...]:
    """Of the image as the first operator wants it; a Dense layer flattens any."""
    shape = model.input_shape if isinstance(first, keras.layers.Dense) else first.input_shape
    return tuple(shape[1:])


def _write_layer(packer: _Packer, layer: keras.layers.Layer) -> None:
    pools = schema.BuiltinOperator
    match layer:
        case keras.layers.DepthwiseConv2D():
            raise ValueError(f"{layer.name}: depthwise convolutions have no 4-bit kernels in LiteRT")
        case Recurrent():
            packer.recurrent(layer)
        case keras.layers.Conv2D():
            packer.convolution(layer)
        case keras.layers.Dense():
            packer.dense(layer)
        case keras.layers.MaxPool2D() | keras.layers.AveragePooling2D():
            is_max = isinstance(layer, keras.layers.MaxPool2D)
            code = pools.MAX_POOL_2D if is_max else pools.AVERAGE_POOL_2D
            packer.pool(code, layer.pool_size, layer.strides, _padding(layer))
        case keras.layers.GlobalAveragePooling2D():
            packer.pool(pools.AVERAGE_POOL_2D, layer.input_shape[1:3], (1, 1), schema.Padding.VALID)
        case _:
            raise ValueError(f"{layer.name} is a {type(layer).__name__}, which packing cannot write")
