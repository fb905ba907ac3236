"""The least and the largest number that each channel can hold, whatever the input.

A channel whose ends are one number says nothing: a kernel of zeros, what a ReLU always cuts off, and what
follows from them. Interpreters round differently where a number lies between two steps: LiteRT's own kernels
and TFLM round twice, XNNPACK once. A range holds what any of them gets.
"""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from .channelwise import RESHAPING, channels, links, padded
from .graph import KERNEL_OPERATORS, Graph, Operator, Tensor

#: Relative difference of the interpreters' multipliers, int16's being the coarsest, and what is added to be
#: on the safe side; in steps of the output.
RELATIVE, ABSOLUTE = 1e-4, 1e-3
#: The same for sums of tensors, which they compute in ways of their own.
ELEMENTWISE = 0.02
#: And the part of a step to which they bring the operands to one scale first.
SHIFTED = {"int8": 2.0**-20, "uint8": 2.0**-20, "int16": 2.0**-15}
#: What a sum may reach before it is multiplied, by the type of the bias.
MOST_SUM = {"int32": 2.0**31, "int64": 2.0**47}
_CLAMPS = {
    schema.ActivationFunctionType.NONE: (-np.inf, np.inf),
    schema.ActivationFunctionType.RELU: (0.0, np.inf),
    schema.ActivationFunctionType.RELU6: (0.0, 6.0),
    schema.ActivationFunctionType.RELU_N1_TO_1: (-1.0, 1.0),
}
_ALONE = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}
#: Operators that hand on stored numbers as they are, or something between them, where the scale is the same.
_KEEPING = {
    *RESHAPING, *_ALONE, "AVERAGE_POOL_2D", "MAX_POOL_2D", "CONCATENATION", "PAD", "RESIZE_NEAREST_NEIGHBOR",
}  # fmt: skip
#: Those that make 0 of 0, whatever the scales.
_LEAVING_ZERO = {*_ALONE, "QUANTIZE", "DEQUANTIZE"}


def integer(tensor: Tensor) -> bool:
    """Whether it holds 8- or 16-bit steps of one scale."""
    return tensor.dtype in ("int8", "uint8", "int16") and tensor.scale.size == tensor.zero_point.size == 1


def zero(tensor: Tensor) -> float:
    """What stands for 0 in it."""
    return float(tensor.zero_point[0]) if integer(tensor) else 0.0


class Ranges(dict[int, np.ndarray]):
    """For each tensor and channel the least and the largest stored number: float64, shaped (2, channels).

    Of floats only 0 is told from all others, since sums of others depend on their order.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        for operator in graph.operators:
            output = graph.tensors[operator.outputs[0]] if len(operator.outputs) == 1 else None
            if output is None or not (
                integer(output) or (output.dtype == "float32" and not output.scale.size)
            ):
                continue
            # weights may be infinite, and scales 0
            with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
                if operator.name in KERNEL_OPERATORS:
                    found = self._weighted(operator)
                else:
                    found = self._added(operator) if operator.name == "ADD" else self._passed(operator)
            if found is not None:
                unknown = np.isnan(found).any(axis=0)
                found = np.where(unknown, _limits(output)[:, None], found)
                self[output.index] = found if integer(output) else _zeros_told(found)

    def __missing__(self, index: int) -> np.ndarray:
        tensor = self.graph.tensors[index]
        wide = channels(tensor)
        if tensor.values is not None and tensor.values.size:
            rows = tensor.values.reshape(-1, wide)
            own = np.stack([rows.min(axis=0), rows.max(axis=0)]).astype(np.float64)
            self[index] = own if integer(tensor) else _zeros_told(own)
        else:
            self[index] = np.repeat(_limits(tensor)[:, None], wide, axis=1)
        return self[index]

    def constant(self, index: int) -> np.ndarray:
        """Which channels of a tensor hold one number."""
        low, high = self[index]
        return low == high

    def read(self, operator: Operator) -> np.ndarray:
        """The ranges of what an operator with a kernel reads, the border included, which stands for 0."""
        low, high = self[operator.inputs[0]]
        if not padded(self.graph, operator):
            return np.stack([low, high])
        here = zero(self.graph.tensors[operator.inputs[0]])
        return np.stack([np.minimum(low, here), np.maximum(high, here)])

    def _weighted(self, operator: Operator) -> np.ndarray | None:
        graph, kernel = self.graph, weights(self.graph, operator)
        source, output = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
        if kernel is None or integer(source) != integer(output):
            return None
        if not integer(output) and not np.isfinite(kernel).all():
            return None
        given = self.read(operator) - zero(source)
        wide, depthwise = given.shape[1], operator.name == "DEPTHWISE_CONV_2D"
        if (len(kernel) if depthwise else kernel.shape[2]) % wide:
            return None
        if depthwise:
            given = np.repeat(given, len(kernel) // wide, axis=1)[:, :, None]
        else:
            given = np.tile(given, kernel.shape[2] // wide)[:, None]
        own = graph.bias(operator)
        biases = own.numbers.astype(np.float64) if own is not None else np.zeros(len(kernel))
        if not integer(output):
            # a sum of zeros, whatever their order; the activation decides what becomes of the bias
            moving = summed(kernel != 0, given[0] != given[1])
            return np.clip(np.where(moving, _limits(output)[:, None], biases), *_clamp(operator))
        above, below = np.maximum(kernel, 0), np.minimum(kernel, 0)
        sums = np.stack([summed(above, start) + summed(below, end) for start, end in (given, given[::-1])])
        sums = sums + biases
        multiplier = multipliers(graph, operator)
        if multiplier.size not in (1, len(kernel)):
            return None
        farthest = np.abs(given).max(axis=0)
        reach = summed(above, farthest) - summed(below, farthest) + np.abs(biases)
        most = MOST_SUM.get(own.dtype if own is not None else "int32", 0.0)
        fits = reach * np.maximum(1.0, 2 * multiplier) < most
        # rounded twice: first to what is left of the multiplier below 1
        exponent = np.frexp(multiplier)[1]
        twice = np.where(exponent < 0, np.ldexp(0.5, np.minimum(exponent, 0)), 0.0)
        real = sums * multiplier
        margin = np.where((sums == 0).all(axis=0), 0.0, twice + ABSOLUTE + RELATIVE * np.abs(real))
        return np.where(fits, _rounded(operator, output, real, margin), _limits(output)[:, None])

    def _added(self, operator: Operator) -> np.ndarray | None:
        if len(operator.inputs) != 2 or min(operator.inputs) < 0:
            return None
        tensors = [self.graph.tensors[index] for index in operator.inputs]
        output = self.graph.tensors[operator.outputs[0]]
        wide = channels(output)
        if any(integer(each) != integer(output) or channels(each) not in (1, wide) for each in tensors):
            return None
        one, other = (
            np.broadcast_to(
                (self[each.index] - zero(each)) * (each.scale[0] if each.scale.size else 1.0), (2, wide)
            )
            for each in tensors
        )
        nothing = (one == 0).all(axis=0) & (other == 0).all(axis=0)
        if not integer(output):
            return np.where(nothing, 0.0, _limits(output)[:, None])
        real = (one + other) / float(output.scale[0])
        coarse = 2 * max(float(each.scale[0]) for each in tensors) / float(output.scale[0])
        sure = ELEMENTWISE + coarse * SHIFTED[output.dtype]
        margin = np.where(nothing, 0.0, sure + RELATIVE * np.abs(real))
        return _rounded(operator, output, real, margin)

    def _passed(self, operator: Operator) -> np.ndarray | None:
        """What operators hand on that keep channels apart."""
        output, through = self.graph.tensors[operator.outputs[0]], links(self.graph, operator)
        if through is None:
            return None
        low, high = (np.full(channels(output), end) for end in (np.inf, -np.inf))
        for index, own, target in through:
            start, end = self._changed(operator, self.graph.tensors[index], output)[:, own]
            np.minimum.at(low, target, start)
            np.maximum.at(high, target, end)
        if operator.name == "PAD":
            low, high = np.minimum(low, zero(output)), np.maximum(high, zero(output))
        found = np.stack([low, high])
        return _rounded(operator, output, found - zero(output), 0.0) if integer(output) else found

    def _changed(self, operator: Operator, source: Tensor, output: Tensor) -> np.ndarray:
        """What becomes of a range on its way; only what stands for 0 survives a new scale."""
        if source.alike(output) and operator.name in _KEEPING:
            return self[source.index]
        # a mean of whole numbers in another scale cuts off a share of what stands for 0
        leaving = operator.name in _LEAVING_ZERO or (
            operator.name == "MEAN" and (source.alike(output) or not integer(source))
        )
        nothing = (self[source.index] == zero(source)).all(axis=0) & leaving
        return np.where(nothing, zero(output), _limits(output)[:, None])


def _limits(tensor: Tensor) -> np.ndarray:
    """The ends of all that a tensor can hold."""
    if not integer(tensor):
        return np.array([-np.inf, np.inf])
    limits = np.iinfo(tensor.dtype)
    return np.array([limits.min, limits.max], np.float64)


def _zeros_told(found: np.ndarray) -> np.ndarray:
    return np.where((found == 0).all(axis=0), 0.0, np.array([[-np.inf], [np.inf]]))


def summed(kernel: np.ndarray, given: np.ndarray) -> np.ndarray:
    """What each output sums up where all places of an input hold the same; it copies no kernel.

    Args:
        kernel: (outputs, places, inputs). given: (inputs,), or (outputs, 1) for depthwise.
    """
    return np.einsum("opi,oi->o", kernel, np.broadcast_to(given, (len(kernel), kernel.shape[2])))


def weights(graph: Graph, operator: Operator) -> np.ndarray | None:
    """A kernel operator's whole numbers or floats as (outputs, places, inputs); inputs is 1 for depthwise.

    None where kernel or bias are not plain constants.
    """
    tensors = [graph.tensors[index] for index in operator.inputs[1:] if index >= 0]
    if max(len(operator.inputs) - 2, len(operator.outputs)) > 1:
        return None
    if not all(each.values is not None and each.plain for each in tensors):
        return None
    wide, kernel = channels(graph.tensors[operator.outputs[0]]), tensors[0]
    if any(each.shape != (wide,) for each in tensors[1:]) or not channels(graph.tensors[operator.inputs[0]]):
        return None
    if kernel.zero_point.any() and (kernel.zero_point.size > 1 or not -255 <= kernel.zero_point[0] <= 255):
        return None
    values, source = kernel.numbers, graph.tensors[operator.inputs[0]]
    if kernel.zero_point.any():
        # the others compute as if it were 0
        whole = operator.name == "FULLY_CONNECTED" and integer(source)
        if not whole and not kernel.dtype == source.dtype == "uint8":
            return None
        values = values.astype(np.int16) - kernel.zero_point[0].astype(np.int16)
    depthwise = operator.name == "DEPTHWISE_CONV_2D"
    if values.ndim != (2 if operator.name == "FULLY_CONNECTED" else 4) or not values.size:
        return None
    if values.shape[3 if depthwise else 0] != wide or (depthwise and values.shape[0] != 1):
        return None
    if depthwise:
        return np.moveaxis(values, 3, 0).reshape(wide, -1, 1)
    return values.reshape(wide, -1, values.shape[-1])


def multipliers(graph: Graph, operator: Operator) -> np.ndarray:
    """What the sums of whole numbers are multiplied by, one for all outputs or for each."""
    source, kernel, output = (graph.tensors[index] for index in (*operator.inputs[:2], operator.outputs[0]))
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        return source.scale[0] * kernel.scale.astype(np.float64) / output.scale[0]


def _clamp(operator: Operator) -> tuple[float, float]:
    """The ends of an operator's activation; no numbers where it is not understood."""
    code = _ALONE.get(operator.name) or operator.option("fusedActivationFunction")
    return _CLAMPS.get(code, (np.nan, np.nan))


def _rounded(operator: Operator, output: Tensor, real: np.ndarray, margin: np.ndarray | float) -> np.ndarray:
    """The range of what an output holds of `real` steps above its 0, clamped.

    Args:
        margin: by how much interpreters differ before they round, in steps.
    """
    limits, clamp, ends = _limits(output), np.array(_clamp(operator)), []
    for steps, off in zip(real + np.multiply([[-1.0], [1.0]], margin), (-ABSOLUTE, ABSOLUTE), strict=True):
        cut = np.rint(clamp / np.float64(output.scale[0]) + np.where(clamp == 0, 0.0, off))
        ends.append(np.clip(zero(output) + np.rint(steps), *np.clip(zero(output) + cut, *limits)))
    return np.stack(ends)
