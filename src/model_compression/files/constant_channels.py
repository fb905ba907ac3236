"""Channels that hold the same number whatever the input: a kernel of zeros, and what follows from it.

Interpreters round differently where a number lies between two steps: LiteRT's own kernels and TFLM round
twice, XNNPACK once. A channel counts as constant only where all of them get the same number.
"""

from collections.abc import Callable

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from .channelwise import BINARY, RESHAPING, channels, links, padded
from .graph import KERNEL_OPERATORS, Graph, Operator, Tensor

#: Channels that are not constant.
UNKNOWN = np.nan
#: Relative difference of the interpreters' multipliers, int16's being the coarsest, and what is added to be
#: on the safe side; in steps of the output.
RELATIVE, ABSOLUTE = 1e-4, 1e-3
#: The same for sums and products, which they compute in ways of their own.
ELEMENTWISE = 0.02
_CLAMPS = {
    schema.ActivationFunctionType.NONE: (-np.inf, np.inf),
    schema.ActivationFunctionType.RELU: (0.0, np.inf),
    schema.ActivationFunctionType.RELU6: (0.0, 6.0),
    schema.ActivationFunctionType.RELU_N1_TO_1: (-1.0, 1.0),
}
_ALONE = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}
OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "ADD": "AddOptions",
    "SUB": "SubOptions",
    "MUL": "MulOptions",
    "CONCATENATION": "ConcatenationOptions",
}


def integer(tensor: Tensor) -> bool:
    """Whether it holds 8- or 16-bit steps of one scale."""
    return tensor.dtype in ("int8", "uint8", "int16") and tensor.scale.size == tensor.zero_point.size == 1


def zero(tensor: Tensor) -> float:
    """What stands for 0 in it."""
    return float(tensor.zero_point[0]) if integer(tensor) else 0.0


def constants(graph: Graph) -> dict[int, np.ndarray]:
    """For each computed tensor and channel the stored number that it always holds, or `UNKNOWN`.

    float64, shaped (channels,). Of floats only 0 is told: sums of others depend on their order.
    """
    known: dict[int, np.ndarray] = {}
    for operator in graph.operators:
        for index in operator.outputs:
            known[index] = np.full(channels(graph.tensors[index]), UNKNOWN)
        if len(operator.outputs) == 1:
            # weights may be infinite, and what is not known is no number
            with np.errstate(invalid="ignore", over="ignore"):
                found = _outputs(graph, operator, known)
            if found is not None:
                known[operator.outputs[0]] = found
    return known


def _outputs(graph: Graph, operator: Operator, known: dict[int, np.ndarray]) -> np.ndarray | None:
    output = graph.tensors[operator.outputs[0]]
    if not (integer(output) or (output.dtype == "float32" and not output.scale.size)):
        return None
    if operator.name in KERNEL_OPERATORS:
        return _weighted(graph, operator, known)
    if operator.name in BINARY:
        return _combined(graph, operator, known)
    return _passed(graph, operator, known)


def weights(graph: Graph, operator: Operator) -> np.ndarray | None:
    """A kernel operator's whole numbers or floats as (outputs, places, inputs); inputs is 1 for depthwise.

    None where kernel or bias are not plain constants.
    """
    if len(operator.inputs) not in (2, 3) or min(operator.inputs[:2]) < 0 or len(operator.outputs) != 1:
        return None
    tensors = [graph.tensors[index] for index in operator.inputs[1:] if index >= 0]
    if not all(tensor.values is not None and tensor.plain for tensor in tensors):
        return None
    wide = channels(graph.tensors[operator.outputs[0]])
    if any(tensor.shape != (wide,) for tensor in tensors[1:]) or not channels(
        graph.tensors[operator.inputs[0]]
    ):
        return None
    kernel = tensors[0]
    if kernel.zero_point.any() and (kernel.zero_point.size > 1 or abs(kernel.zero_point[0]) > 255):
        return None
    values = kernel.numbers
    if kernel.zero_point.any():
        values = values.astype(np.int16) - kernel.zero_point[0].astype(np.int16)
    depthwise = operator.name == "DEPTHWISE_CONV_2D"
    if values.ndim != (2 if operator.name == "FULLY_CONNECTED" else 4) or not values.size:
        return None
    if values.shape[3 if depthwise else 0] != wide or (depthwise and values.shape[0] != 1):
        return None
    if depthwise:
        return np.moveaxis(values, 3, 0).reshape(wide, -1, 1)
    return values.reshape(wide, -1, values.shape[-1])


def bias(graph: Graph, operator: Operator) -> Tensor | None:
    return graph.tensors[operator.inputs[2]] if len(operator.inputs) > 2 and operator.inputs[2] >= 0 else None


def steady(graph: Graph, operator: Operator, known: np.ndarray) -> np.ndarray:
    """Which input channels bring an operator with a kernel the same at every place, the border included."""
    source = graph.tensors[operator.inputs[0]]
    shape = graph.tensors[operator.inputs[1]].shape
    kernel = (1, 1) if operator.name == "FULLY_CONNECTED" else (shape[1], shape[2])
    if kernel == (1, 1) or not padded(graph, operator, kernel, OPTIONS[operator.name]):
        return ~np.isnan(known)
    # the border is filled with what stands for 0
    return known == zero(source)


def _weighted(graph: Graph, operator: Operator, known: dict[int, np.ndarray]) -> np.ndarray | None:
    kernel, source = weights(graph, operator), graph.tensors[operator.inputs[0]]
    output, own = graph.tensors[operator.outputs[0]], bias(graph, operator)
    if kernel is None or (integer(source) != integer(output)):
        return None
    incoming = known.get(source.index, np.full(channels(source), UNKNOWN))
    free = steady(graph, operator, incoming)
    offset = np.where(free, incoming - zero(source), 0.0)
    outputs = len(kernel)
    if operator.name == "DEPTHWISE_CONV_2D":
        if outputs % len(free):
            return None
        free, offset = (np.repeat(each, outputs // len(free))[:, None] for each in (free, offset))
    elif kernel.shape[2] % len(free):
        return None
    else:
        free, offset = (np.tile(each, kernel.shape[2] // len(free))[None] for each in (free, offset))
    moving = ((kernel != 0).any(axis=1) & ~free).any(axis=1)
    sums = (kernel.sum(axis=1) * offset).sum(axis=1)
    sums = sums + (own.numbers.astype(np.float64) if own is not None else 0)
    if not integer(output):
        # a sum of zeros, whatever their order; the activation decides what becomes of the bias
        sums = np.where(_finite(kernel, own), sums, UNKNOWN)
        low, high = _CLAMPS.get(
            operator.options(OPTIONS[operator.name])["fused_activation_function"], (0, -1)
        )
        return np.where(~moving & (np.clip(sums, low, high) == 0) & (low <= high), 0.0, UNKNOWN)
    scale = graph.tensors[operator.inputs[1]].scale.astype(np.float64)
    if scale.size not in (1, outputs):
        return None
    multiplier = source.scale[0] * scale / output.scale[0]
    # rounded twice: first to what is left of the multiplier below 1
    exponent = np.frexp(multiplier)[1]
    twice = np.where(exponent < 0, np.ldexp(0.5, np.minimum(exponent, 0)), 0.0)
    found = _rounded(graph, operator, sums * multiplier, np.where(sums == 0, 0.0, twice + ABSOLUTE))
    return np.where(moving, UNKNOWN, found)


def _finite(kernel: np.ndarray, own: Tensor | None) -> bool:
    return bool(np.isfinite(kernel).all() and (own is None or np.isfinite(own.numbers).all()))


def _rounded(graph: Graph, operator: Operator, real: np.ndarray, margin: np.ndarray | float) -> np.ndarray:
    """What an output holds of `real` steps above its 0, clamped; `UNKNOWN` where rounding may differ."""
    output = graph.tensors[operator.outputs[0]]
    code = _ALONE.get(operator.name)
    if code is None:
        code = operator.options(OPTIONS.get(operator.name, "AddOptions"))["fused_activation_function"]
    if code not in _CLAMPS:
        return np.full(real.shape, UNKNOWN)
    limits, scale = np.iinfo(output.dtype), float(output.scale[0])
    margin = margin + RELATIVE * np.abs(real)

    def stored(steps: np.ndarray, off: float) -> np.ndarray:
        low, high = (zero(output) + np.rint(end / scale + (off if end else 0.0)) for end in _CLAMPS[code])
        low, high = max(low, limits.min), min(high, limits.max)
        return np.clip(zero(output) + np.rint(steps), low, high)

    below, above = stored(real - margin, -ABSOLUTE), stored(real + margin, ABSOLUTE)
    return np.where(below == above, below, UNKNOWN)


def _operands(graph: Graph, operator: Operator, known: dict[int, np.ndarray]) -> list[np.ndarray] | None:
    """Each input's channels as the output has them; a constant one's too, where it holds one number each."""
    wide, found = channels(graph.tensors[operator.outputs[0]]), []
    for index in operator.inputs:
        tensor = graph.tensors[index]
        values = known.get(index, np.full(channels(tensor), UNKNOWN))
        if tensor.values is not None:
            rows = tensor.values.reshape(-1, channels(tensor)).astype(np.float64)
            if not len(rows):
                return None
            values = np.where((rows == rows[0]).all(axis=0), rows[0], UNKNOWN)
        if len(values) not in (1, wide):
            return None
        found.append(np.broadcast_to(values, wide))
    return found


def _combined(graph: Graph, operator: Operator, known: dict[int, np.ndarray]) -> np.ndarray | None:
    """Sums, differences and products."""
    tensors, output = [graph.tensors[index] for index in operator.inputs], graph.tensors[operator.outputs[0]]
    if len(tensors) != 2 or min(operator.inputs) < 0:
        return None
    found = _operands(graph, operator, known)
    if found is None or any(integer(tensor) != integer(output) for tensor in tensors):
        return None
    if not integer(output):
        both = (found[0] == 0) & (found[1] == 0) & (operator.name != "MUL")
        return np.where(both, 0.0, UNKNOWN)
    one, other = (
        (values - zero(tensor)) * float(tensor.scale[0])
        for values, tensor in zip(found, tensors, strict=True)
    )
    if operator.name == "MUL":
        nothing = (one == 0) | (other == 0)
        real = np.where(nothing, 0.0, one * other)
    else:
        nothing = (one == 0) & (other == 0)
        real = one + other if operator.name == "ADD" else one - other
    steps = real / float(output.scale[0])
    return _rounded(graph, operator, steps, np.where(nothing, 0.0, ELEMENTWISE))


def _passed(graph: Graph, operator: Operator, known: dict[int, np.ndarray]) -> np.ndarray | None:
    """Operators that hand on a channel that holds one number everywhere."""
    output, through = graph.tensors[operator.outputs[0]], links(graph, operator)
    if through is None:
        return None
    low, high = (np.full(channels(output), end) for end in (np.inf, -np.inf))
    for link in through:
        source = graph.tensors[link.tensor]
        values = known.get(link.tensor, np.full(channels(source), UNKNOWN))
        change = _change(operator, source, output)
        values = change(values)[link.source]
        np.minimum.at(low, link.target, values)
        np.maximum.at(high, link.target, values)
    found = np.where(low == high, low, UNKNOWN)
    if operator.name == "PAD":
        found = np.where(found == zero(output), found, UNKNOWN)
    if not integer(output):
        return np.where(found == 0, 0.0, UNKNOWN)
    pools = ("AVERAGE_POOL_2D", "MAX_POOL_2D", "CONCATENATION", *_ALONE)
    if operator.name not in pools:
        return found
    clamped = _rounded(graph, operator, found - zero(output), 0.0)
    return np.where(clamped == found, found, UNKNOWN)


def _change(operator: Operator, source: Tensor, output: Tensor) -> Callable[[np.ndarray], np.ndarray]:
    """What becomes of a channel's number on its way; only what stands for 0 survives a new scale."""
    same = source.dtype == output.dtype and np.array_equal(source.scale, output.scale)
    same = same and np.array_equal(source.zero_point, output.zero_point)
    keeping = (
        *RESHAPING,
        "AVERAGE_POOL_2D",
        "MAX_POOL_2D",
        "CONCATENATION",
        "PAD",
        "RESIZE_NEAREST_NEIGHBOR",
    )
    if same and operator.name in (*keeping, *_ALONE):
        return lambda values: values
    if operator.name in (*_ALONE, "MEAN", "QUANTIZE", "DEQUANTIZE"):
        return lambda values: np.where(values == zero(source), zero(output), UNKNOWN)
    return lambda values: np.full(values.shape, UNKNOWN)
