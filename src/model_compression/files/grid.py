"""A float32 file whose kernels become whole numbers of 4 or 8 bits: the smallest form of a net on a grid.

Each kernel gets one scale and zero point 0, so that LiteRT's dynamic-range ("hybrid") kernels run it on
float32 activations. ReLU, pools and means let a positive factor through, so a kernel's scale moves on into
the biases behind it wherever nothing stands in its way: the outputs then are the net's times one common
factor, and keep their order. Where branches meet, their factors have to be equal, and a kernel keeps what is
needed.
Biases get `BIAS_BITS` significant bits, which compress.
"""

from dataclasses import replace

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from .channelwise import BINARY, RESHAPING
from .flatbuffer import replaced
from .graph import KERNEL_OPERATORS, Graph, Model, Operator, Tensor, added
from .idle_operators import without_idle_operators

#: Significant bits of a stored bias: one fewer costs accuracy (0.2 points on the baseline), more cost bytes.
BIAS_BITS = 3
#: The finest grid that is looked for in a kernel before it is rounded to a grid of its own.
GRID_LEVELS = 7

#: Most that a rounded number may be off by, in quantization steps: half of one, and the error of floats.
ROUNDING = 0.51

_LIMITS = {4: 7, 8: 127}
#: Operators whose outputs are a factor larger where all of their inputs are.
_PROPORTIONAL = {
    *RESHAPING, "ADD", "SUB", "MAX_POOL_2D", "AVERAGE_POOL_2D", "MEAN", "RELU", "LEAKY_RELU", "CONCATENATION",
    "PAD", "TRANSPOSE",
}  # fmt: skip
_LETTING_THROUGH = (schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU)


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


def on_grid(model: Model, *, bits: int, exact: bool = False) -> Model:
    """The file with its kernels as whole numbers.

    What only reshapes its input first goes: the input then is what a convolution reads, (1, height, width,
    channels). Depthwise kernels have no 4-bit form in LiteRT and get 8 bits.

    Args:
        model: a float32 file with one input, as the converter writes it.
        bits: of each weight, 4 or 8.
        exact: whether the outputs are the net's, without a factor.
    Raises:
        ValueError: a kernel that is computed or not float32.
    """
    graph = without_idle_operators(_pooling(_from_first_kernel(without_idle_operators(model.graphs[0]))))
    groups = _same_factors(graph)
    kept = (*graph.inputs, *_fixed(graph), *(graph.outputs if exact else ()))
    factors = {groups[index]: 1.0 for index in kept}
    tensors, operators = list(graph.tensors), []
    for operator in graph.operators:
        if operator.name in KERNEL_OPERATORS:
            before = factors.setdefault(groups[operator.inputs[0]], 1.0)
            kernel, scale = _stored(graph, operator, bits)
            after = factors.setdefault(groups[operator.outputs[0]], before * scale)
            kernel = replace(kernel, scale=kernel.scale * np.float32(scale * before / after))
            biases = [_bias(graph.tensors[index], after) for index in operator.inputs[2:] if index >= 0]
            places = (added(tensors, tensor) for tensor in (kernel, *biases))
            operator = replace(operator, inputs=(operator.inputs[0], *places))
        operators.append(operator)
    computed = {index for operator in operators for index in operator.outputs}
    # interpreters work the shapes out anew; rank 4 is what convolutions expect to find
    for index in computed:
        tensors[index] = replace(tensors[index], shape=(1, 1, 1, 1), table=schema.TensorT())
    return model.holding(replace(graph, tensors=tuple(tensors), operators=tuple(operators)))


def _from_first_kernel(graph: Graph) -> Graph:
    """The graph from behind a first operator that only reshapes its input."""
    for operator in graph.operators:
        source, output = (ends[0] if ends else -1 for ends in (operator.inputs, operator.outputs))
        if operator.name == "RESHAPE" and graph.inputs == (source,) and output not in graph.outputs:
            given = replace(graph.tensors[output], table=schema.TensorT())
            # what worked its shape out has nobody left who asks
            return without_idle_operators(replace(graph.without(operator).holding(given), inputs=(output,)))
    return graph


def _pooling(graph: Graph) -> Graph:
    """The graph with means over whole images, which name their axes in a constant, as pools.

    A Dense layer, which flattens what it reads, has to be all that reads them.
    """
    operators = []
    for operator in graph.operators:
        readers = [other.name for other in graph.operators if set(operator.outputs) & set(other.inputs)]
        if operator.name == "MEAN" and set(readers) == {"FULLY_CONNECTED"}:
            source, axes = (graph.tensors[index] for index in operator.inputs)
            if len(source.shape) == 4 and axes.values is not None and {*axes.values.ravel()} == {1, 2}:
                operator = _pool(operator, source.shape)
        operators.append(operator)
    return replace(graph, operators=tuple(operators))


def _pool(operator: Operator, shape: tuple[int, ...]) -> Operator:
    options = schema.Pool2DOptionsT(
        padding=schema.Padding.VALID, strideW=1, strideH=1, filterHeight=shape[1], filterWidth=shape[2]
    )
    kind = schema.BuiltinOptions.Pool2DOptions
    table = replaced(operator.table, builtinOptionsType=kind, builtinOptions=options)
    code = schema.OperatorCodeT(deprecatedBuiltinCode=schema.BuiltinOperator.AVERAGE_POOL_2D)
    return replace(operator, name="AVERAGE_POOL_2D", inputs=operator.inputs[:1], table=table, code=code)


def _computed(graph: Graph, operator: Operator) -> list[int]:
    """An operator's tensors that are not constants."""
    ends = (*operator.inputs, *operator.outputs)
    return [index for index in ends if index >= 0 and graph.tensors[index].data is None]


def _same_factors(graph: Graph) -> dict[int, int]:
    """For each tensor one that stands for all whose factor has to be the same."""
    groups = {tensor.index: tensor.index for tensor in graph.tensors}
    for operator in graph.operators:
        if operator.name in _PROPORTIONAL:
            joined = {groups[index] for index in _computed(graph, operator)}
            groups = {index: min(joined) if group in joined else group for index, group in groups.items()}
    return groups


def _fixed(graph: Graph) -> list[int]:
    """Tensors that have to be as they are: what is no multiple of its inputs needs them so."""
    found = list(graph.outputs) if len(graph.outputs) > 1 else []
    for operator in graph.operators:
        tensors = _computed(graph, operator)
        through = operator.option("fusedActivationFunction") in _LETTING_THROUGH
        if operator.name in KERNEL_OPERATORS:
            found += [] if through else operator.outputs
        elif operator.name not in _PROPORTIONAL or not through:
            found += tensors
        elif operator.name in BINARY and len(tensors) < 3:
            found += tensors  # it adds a constant
    return found


def _stored(graph: Graph, operator: Operator, bits: int) -> tuple[Tensor, float]:
    """The kernel in whole numbers with scale 1, and its own scale."""
    kernel = graph.tensors[operator.inputs[1]]
    if kernel.dtype != "float32" or kernel.values is None:
        raise ValueError(f"the kernel of a {operator.name} is {kernel.dtype}; allowed: float32 constants")
    depthwise = operator.name == "DEPTHWISE_CONV_2D"
    own_bits = 8 if depthwise else bits
    values, scale = to_grid(kernel.values, _LIMITS[own_bits])
    # LiteRT's depthwise kernels want a scale for each channel, equal or not
    scales = kernel.shape[-1] if depthwise else 1
    whole = replace(
        kernel,
        dtype=f"int{own_bits}",
        bits=own_bits,
        scale=np.ones(scales, np.float32),
        zero_point=np.zeros(scales, np.int64),
        axis=3 if depthwise else 0,
        table=schema.TensorT(),
    )
    return whole.holding(values), scale


def _bias(bias: Tensor, factor: float) -> Tensor:
    values = round_mantissa(bias.numbers / factor, BIAS_BITS)
    return replace(bias, table=schema.TensorT()).holding(values)


def factor_of(tensor: Tensor, kernel: np.ndarray) -> float:
    """The positive factor that `kernel` was stored times; 1 for a kernel of zeros.

    One that puts every weight within half a step of what is stored, where there is such a factor: the one
    that comes closest in squares is itself off by what few weights were rounded by.
    """
    kernel = kernel.reshape(tensor.shape)
    stored, step = tensor.dequantized(), float(np.max(tensor.scale, initial=0.0))
    both = float(np.sum(stored * kernel, dtype=np.float64))
    if both <= 0:
        return 1.0
    kept = kernel != 0
    middle, width = stored[kept] / kernel[kept], ROUNDING * step / np.abs(kernel[kept])
    low, high = float(np.max(middle - width)), float(np.min(middle + width))
    if 0 < low <= high:
        return (low + high) / 2
    return both / float(np.sum(kernel**2, dtype=np.float64))
