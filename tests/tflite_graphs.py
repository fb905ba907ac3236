"""Small .tflite files made operator by operator, with channels planted that say nothing. No TensorFlow."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from model_compression.files import flatbuffer
from model_compression.files.flatbuffer import replaced
from model_compression.files.graph import Graph, Model, Operator, Tensor, read_graph
from model_compression.files.writing import write_model

FORMS = ("int8", "int16x8", "int4", "hybrid", "hybrid4", "float32")
#: Forms whose sums are of whole numbers.
EXACT = ("int8", "int16x8", "int4", "hybrid", "hybrid4")
RELU, NONE = schema.ActivationFunctionType.RELU, schema.ActivationFunctionType.NONE
SAME, VALID = schema.Padding.SAME, schema.Padding.VALID


class Made:
    """A graph that grows operator by operator; `content` is its file.

    Args:
        form: one of `FORMS`.
        shape: of the input, with a batch of 1.
    """

    def __init__(self, form: str, shape: tuple[int, ...], *, seed: int) -> None:
        self.form, self.random = form, np.random.default_rng(seed)
        self.integer = not form.startswith(("hybrid", "float"))
        self.activation = {"int8": "int8", "int4": "int8", "int16x8": "int16"}.get(form, "float32")
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.input = self.tensor(shape, scale=0.02, zero_point=3)

    def tensor(self, shape: tuple[int, ...], *, scale: float = 0.0, zero_point: int = 0) -> int:
        """A computed tensor."""
        if self.activation == "int16":
            scale, zero_point = scale / 256, 0
        if not self.integer:
            return self._add(self.activation, shape, None, (), (), 0)
        return self._add(self.activation, shape, None, (scale,), (zero_point,), 0)

    def constant(
        self, dtype: str, values: Any, scale: Any = (), zero_point: Any = None, axis: int = 0
    ) -> int:
        zero_point = np.zeros(np.size(scale), int) if zero_point is None else zero_point
        return self._add(dtype, np.shape(values), np.asarray(values), scale, zero_point, axis)

    def _add(self, dtype: str, shape: Any, values: Any, scale: Any, zero_point: Any, axis: int) -> int:
        bits = {"int4": 4, "int8": 8, "int16": 16, "int64": 64}.get(dtype, 32)
        plain = Tensor(
            index=len(self.tensors),
            name="",
            dtype=dtype,
            bits=bits,
            shape=tuple(shape),
            values=None,
            scale=np.asarray(scale, np.float32),
            zero_point=np.asarray(zero_point, np.int64),
            axis=axis,
        )
        self.tensors.append(plain if values is None else plain.holding(values))
        return plain.index

    def operator(self, name: str, inputs: Any, output: int, kind: str = "", **options: Any) -> int:
        code = getattr(schema.BuiltinOperator, name)
        version = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "RESHAPE": 1}.get(name, 2)
        table = schema.OperatorT()
        if kind:
            table.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            table.builtinOptions = getattr(schema, f"{kind}T")(**options)
        codes = {"deprecatedBuiltinCode": min(code, 127), "builtinCode": code, "version": version}
        self.operators.append(
            Operator(
                name=name,
                inputs=tuple(inputs),
                outputs=(output,),
                table=table,
                code=schema.OperatorCodeT(**codes),
            )
        )
        return output

    def _kernel(self, shape: tuple[int, ...], axis: int, silent: Any) -> tuple[int, np.ndarray]:
        """A kernel whose `silent` outputs are 0, and its scales."""
        limit = 7 if self.form.endswith("4") and len(shape) == 2 else 127
        values = self.random.integers(-limit, limit + 1, shape)
        scales = self.random.uniform(0.5, 1.5, shape[axis]) / limit
        np.moveaxis(values, axis, 0)[list(silent)] = 0
        if self.form == "float32":
            shares = scales.reshape([-1 if place == axis else 1 for place in range(len(shape))])
            return self.constant("float32", (values * shares).astype(np.float32)), scales
        dtype = "int4" if limit == 7 else "int8"
        if len(shape) == 2 and not self.integer:
            scales = scales[:1]
        return self.constant(dtype, values.astype(np.int8), scales, axis=axis), scales

    def _bias(self, source: int, scales: np.ndarray, outputs: int, dead: Any, constant: Any) -> int:
        real = self.random.normal(0, 0.3, outputs)
        real[list(dead)] = -np.abs(real[list(dead)])
        real[list(constant)] = 1000.0
        if not self.integer:
            return self.constant("float32", real.astype(np.float32))
        steps = scales * self.tensors[source].scale[0]
        dtype = "int64" if self.activation == "int16" else "int32"
        return self.constant(dtype, np.rint(real / steps).astype(dtype), steps)

    def conv(
        self, source: int, outputs: int, *, size: int = 3, padding: int = SAME, activation: int = RELU,
        dead: Any = (), constant: Any = (),
    ) -> int:  # fmt: skip
        """Channels `dead` are 0 behind the activation; `constant` ones hold the largest number."""
        _, height, width, inputs = self.tensors[source].shape
        kernel, scales = self._kernel((outputs, size, size, inputs), 0, [*dead, *constant])
        less = 0 if padding == SAME else size - 1
        output = self.tensor(
            (1, height - less, width - less, outputs), scale=0.02, zero_point=-128 if activation else -4
        )
        bias = self._bias(source, scales, outputs, dead, constant)
        given = {"padding": padding, "strideW": 1, "strideH": 1, "fusedActivationFunction": activation}
        return self.operator("CONV_2D", (source, kernel, bias), output, "Conv2DOptions", **given)

    def depthwise(self, source: int, *, size: int = 3, padding: int = SAME, falling: Any = ()) -> int:
        """Channels `falling` have a bias below 0."""
        _, height, width, channels = self.tensors[source].shape
        kernel, scales = self._kernel((1, size, size, channels), 3, ())
        less = 0 if padding == SAME else size - 1
        output = self.tensor((1, height - less, width - less, channels), scale=0.03, zero_point=-128)
        bias = self._bias(source, scales, channels, falling, ())
        given = {"padding": padding, "strideW": 1, "strideH": 1, "depthMultiplier": 1}
        return self.operator(
            "DEPTHWISE_CONV_2D",
            (source, kernel, bias),
            output,
            "DepthwiseConv2DOptions",
            fusedActivationFunction=RELU,
            **given,
        )

    def dense(self, source: int, outputs: int, *, activation: int = NONE, dead: Any = ()) -> int:
        inputs = int(np.prod(self.tensors[source].shape))
        kernel, scales = self._kernel((outputs, inputs), 0, dead)
        output = self.tensor((1, outputs), scale=0.05, zero_point=-128 if activation else 7)
        own = scales if scales.size == outputs else np.full(outputs, scales[0])
        bias = self._bias(source, own, outputs, dead, ())
        return self.operator(
            "FULLY_CONNECTED",
            (source, kernel, bias),
            output,
            "FullyConnectedOptions",
            fusedActivationFunction=activation,
            asymmetricQuantizeInputs=not self.integer,
        )

    def pool(self, source: int, *, name: str = "MAX_POOL_2D") -> int:
        _, height, width, channels = self.tensors[source].shape
        given = {"padding": VALID, "strideW": 2, "strideH": 2, "filterWidth": 2, "filterHeight": 2}
        output = self.like(source, (1, height // 2, width // 2, channels))
        return self.operator(name, (source,), output, "Pool2DOptions", **given)

    def like(self, source: int, shape: tuple[int, ...]) -> int:
        """A computed tensor with the scale and zero point of another."""
        tensor = self.tensors[source]
        return self._add(tensor.dtype, shape, None, tensor.scale, tensor.zero_point, 0)

    def add(self, one: int, other: int) -> int:
        output = self.tensor(self.tensors[one].shape, scale=0.04, zero_point=-128)
        return self.operator("ADD", (one, other), output, "AddOptions", fusedActivationFunction=RELU)

    def concatenate(self, one: int, other: int) -> int:
        shape = self.tensors[one].shape
        output = self.like(one, (*shape[:-1], shape[-1] + self.tensors[other].shape[-1]))
        return self.operator("CONCATENATION", (one, other), output, "ConcatenationOptions", axis=-1)

    def reshape(self, source: int, shape: tuple[int, ...]) -> int:
        told = self.constant("int32", np.array([-1, *shape[1:]], np.int32))
        return self.operator("RESHAPE", (source, told), self.like(source, shape), "ReshapeOptions")

    def flatten(self, source: int) -> int:
        return self.reshape(source, (1, int(np.prod(self.tensors[source].shape))))

    def softmax(self, source: int) -> int:
        scale = 1 / 128 if self.activation == "int16" else 1 / 256
        output = self.tensor(self.tensors[source].shape, scale=scale, zero_point=-128)
        return self.operator("SOFTMAX", (source,), output, "SoftmaxOptions", beta=1.0)

    def model(self, *outputs: int) -> Model:
        graph = Graph(
            tensors=tuple(self.tensors),
            operators=tuple(self.operators),
            inputs=(self.input,),
            outputs=outputs,
        )
        return Model(graphs=(graph,), root=schema.ModelT(version=3))

    def content(self, *outputs: int) -> bytes:
        """The file as converters write it, see `wordy`."""
        return wordy(write_model(self.model(*outputs), shared=False))


#: For `layered`.
IMAGES = np.random.default_rng(3).normal(0, 1, (64, 6, 6, 2)).astype(np.float32)


def layered(form: str = "float32") -> bytes:
    """A convolution, a depthwise one, and a dense layer for four classes."""
    made = Made(form, (1, 6, 6, 2), seed=0)
    hidden = made.depthwise(made.conv(made.input, 6))
    return made.content(made.dense(made.flatten(hidden), 4))


def dense(*, ending: str = "", outputs: int = 3) -> tuple[bytes, np.ndarray, np.ndarray]:
    """A file of one dense layer on 5 numbers, its kernel and its bias."""
    made = Made("float32", (1, 5), seed=1)
    scores = made.dense(made.input, outputs)
    if ending == "SOFTMAX":
        made.softmax(scores)
    if ending == "LOGISTIC":
        made.operator("LOGISTIC", (scores,), made.tensor((1, outputs)))
    graph = read_graph(made.content(len(made.tensors) - 1 if ending else scores))
    (operator,) = (each for each in graph.operators if each.name == "FULLY_CONNECTED")
    kernel, bias = (graph.tensors[index].numbers for index in operator.inputs[1:])
    return made.content(len(made.tensors) - 1 if ending else scores), kernel, bias


def wordy(content: bytes) -> bytes:
    """The same file with names, ranges, a description, a signature, metadata, and parts nobody refers to."""
    root = flatbuffer.read(content)
    (graph,) = root.subgraphs
    for number, tensor in enumerate(graph.tensors):
        tensor.name = f"layers/{number}/tensor".encode()
        if tensor.quantization is not None:
            ranges = np.full(len(tensor.quantization.scale), number, np.float32)
            tensor.quantization = replaced(tensor.quantization, min=ranges, max=ranges)
    graph.name = b"main"
    graph.tensors.append(schema.TensorT(name=b"nobody", buffer=len(root.buffers)))
    root.buffers += [schema.BufferT(), schema.BufferT(data=np.frombuffer(b"1.5.0" * 4, np.uint8))]
    root.description = b"made for a test"
    root.metadata = [schema.MetadataT(name=b"min_runtime_version", buffer=len(root.buffers) - 1)]
    ends = {
        end: [
            schema.TensorMapT(name=f"{end}_{index}".encode(), tensorIndex=index)
            for index in getattr(graph, end).tolist()
        ]
        for end in ("inputs", "outputs")
    }
    root.signatureDefs = [schema.SignatureDefT(**ends, signatureKey=b"serving_default")]
    return flatbuffer.write(root, shared=False)
