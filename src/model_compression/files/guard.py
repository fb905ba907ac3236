"""The guard against silent corruption: no file enters a table before it has passed here.

A converter can write, without a word, a file that computes something else: shifted weights, lost
zeros, floats where integers were asked for. So each file's constants are read from its schema, put
into the Keras net, and both are asked the same questions.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np

from ..data.answers import Task
from ..nets.keras2 import keras
from ..nets.layers import kernel_layers
from ..techniques.base import TOGETHER, Kept
from .comparing import Answers, check_answers, check_delegate, require
from .graph import Graph, Operator, Tensor, read_graph
from .grid import ROUNDING, factor_of
from .matching import CorruptFileError as CorruptFileError
from .matching import match_kernels, rebuild, to_file_layout
from .rules import RULES as RULES
from .rules import FormRule

#: Largest relative error (root mean square) of a kernel, by its bits.
RELATIVE_ERROR = {32: 1e-6, 16: 1e-3, 8: 0.08, 4: 0.5}
#: Operators that the converter leaves in floats, between integers: it knows no range for their outputs.
_FLOAT_ONLY = ("ELU", "EXP", "LOG", "SIN", "COS")


def check_file(
    content: bytes,
    net: keras.Model,
    rule: FormRule,
    promise: Kept,
    *,
    images: np.ndarray,
    trained: keras.Model,
    task: Task = "classes",
) -> Answers:
    """What the file says; raise unless it is what its recipe promised and computes what its constants say.

    Args:
        net: a float Keras net of the same architecture; its weights are not used.
        rule: of the file's form. promise: of its kernels.
        images: float32 (n, ...), not of the test set.
        trained: the net that the file was made of. A float net's weights are compared with the
            file's; after quantization-aware training, whose wrappers hold them unrounded, what both answer.
        task: what the net is asked.
    Raises:
        CorruptFileError: what disagrees, naming the tensor.
    """
    graph = read_graph(content)
    pairs = match_kernels(graph, net, trained)
    weights = {layer.name: layer.get_weights() for layer in kernel_layers(trained)}
    _check_types(graph, list(pairs.values()), rule)
    for name, (tensor, operator) in pairs.items():
        _check_counts(name, tensor, promise)
        _check_limits(graph.bias(operator))
    if weights:
        _check_weights(graph, pairs, weights, net, rule)
    zeros = sum(int(np.sum(tensor.dequantized() == 0)) for tensor, _ in pairs.values())
    least = promise.zeros.get(TOGETHER, 0)
    require(zeros >= least, f"the kernels have {zeros} zeros; promised: {least}")
    answers = Answers(content=content, images=images, task=task)
    # quantization-aware training may have learned ranges that cut off what its constants alone would give
    model, what = trained, "the net it was made of"
    if weights:
        model, what = rebuild(graph, net, pairs), "its own constants, computed by Keras"
    check_answers(answers, _scores(model, images), rule.agreement, what)
    agreement, float32 = min(rule.agreement, 0.99), partial(_scores, trained, images)
    check_delegate(answers, float32, agreement=agreement)
    return answers


def _scores(model: keras.Model, images: np.ndarray) -> np.ndarray:
    # called, not `predict`: nothing is traced for the few batches that there are
    parts = [images[start : start + 1000] for start in range(0, len(images), 1000)]
    return np.concatenate([np.asarray(model(part, training=False)).reshape(len(part), -1) for part in parts])


def _check_types(graph: Graph, kernels: list[tuple[Tensor, Operator]], rule: FormRule) -> None:
    for tensor, _ in kernels:
        fault = f"tensor {tensor.name!r} is {tensor.dtype}, {tensor.bits} bits"
        require(tensor.bits in rule.bits, f"{fault}; promised: {sorted(rule.bits)}")
    meant = [tensor for tensor, operator in kernels if operator.name in rule.operators]
    require(bool(meant), f"the file has no kernel of {', '.join(rule.operators)}")
    largest = max(meant, key=lambda tensor: int(np.prod(tensor.shape)))
    fault = f"tensor {largest.name!r} has {largest.bits} bits; promised: {rule.largest_bits}"
    require(rule.largest_bits in (None, largest.bits), fault)
    islands = {i for op in graph.operators if op.name in _FLOAT_ONLY for i in (*op.inputs, *op.outputs)}
    for tensor in graph.tensors if rule.integer_only else ():
        whole = not tensor.dtype.startswith("float") or tensor.index in islands
        require(whole, f"tensor {tensor.name!r} is {tensor.dtype}; promised: integers throughout")


def _check_counts(name: str, tensor: Tensor, promise: Kept) -> None:
    values = tensor.dequantized()
    zeros, unique = int(np.sum(values == 0)), len(np.unique(values))
    least, most = promise.zeros.get(name, 0), promise.unique_values.get(name, unique)
    require(zeros >= least, f"tensor {tensor.name!r} has {zeros} zeros; promised: {least}")
    # a scale a channel turns one centroid into many values
    few = unique <= most or tensor.scale.size > 1
    require(few, f"tensor {tensor.name!r} has {unique} distinct values; promised: {most}")


def _check_limits(bias: Tensor | None) -> None:
    """A filter without weights may have got a scale so small that 32 bits cannot hold its bias."""
    if bias is not None and bias.scale.size:
        limits = np.iinfo(bias.numbers.dtype)
        clipped = int(np.isin(bias.numbers, (limits.min, limits.max)).sum())
        fault = f"tensor {bias.name!r} has {clipped} biases clipped to {limits.dtype}'s limits; most: 0"
        require(not clipped, fault)


def _check_weights(
    graph: Graph,
    pairs: Mapping[str, tuple[Tensor, Operator]],
    weights: Mapping[str, list[np.ndarray]],
    net: keras.Model,
    rule: FormRule,
) -> None:
    """Kernels and biases against the trained ones."""
    users = {tensor.index: operators for tensor, operators in graph.users()}
    kernels = {name: to_file_layout(found[0], net.get_layer(name)) for name, found in weights.items()}
    own = {name: factor_of(pairs[name][0], kernels[name]) if rule.scale_free else 1.0 for name in pairs}
    factors = _factors(
        graph, {id(user): own[name] for name, (tensor, _) in pairs.items() for user in users[tensor.index]}
    )
    # by the tensor that lacks it, a bias that the converter has taken into the next one
    carried: dict[int, np.ndarray] = {}
    for name, (tensor, _) in pairs.items():
        _check_values(tensor, kernels[name] * own[name], rule)
        # a kernel that is used again has biases of each time's own
        times = [row for bias in weights[name][1:] for row in np.atleast_2d(bias)]
        for expected, user in zip(times, users[tensor.index], strict=False):
            stored, output = graph.bias(user), user.outputs[0]
            if user.inputs[0] in carried:
                expected = expected + kernels[name] @ carried[user.inputs[0]]
            missing = np.any(expected) and (stored is None or not np.any(stored.dequantized()))
            readers = {other.name for other in graph.operators if output in other.inputs}
            if missing and readers == {"FULLY_CONNECTED"} and user.name == "FULLY_CONNECTED":
                carried[output] = expected
            elif stored is not None:
                _check_bias(stored, expected * factors[output], rule)
            else:
                require(not missing, f"the bias of {name} is missing; the trained one is not zero")


def _factors(graph: Graph, own: Mapping[int, float]) -> dict[int, float]:
    """The positive factor that each computed tensor is stored times.

    Args:
        own: of each kernel, by the `id` of its operator.
    Raises:
        CorruptFileError: tensors of different factors come together.
    """
    factors = dict.fromkeys(graph.inputs, 1.0)
    for operator in graph.operators:
        given = [factors[index] for index in operator.inputs if index in factors]
        fault = f"a {operator.name} reads tensors stored times {given}; allowed: one factor"
        require(np.allclose(given, given[:1] or 1.0, rtol=1e-3), fault)
        factor = (given[0] if given else 1.0) * own.get(id(operator), 1.0)
        factors |= dict.fromkeys(operator.outputs, factor)
    return factors


def _check_values(tensor: Tensor, expected: np.ndarray, rule: FormRule) -> None:
    expected = expected.reshape(tensor.shape)
    error = np.abs(tensor.dequantized() - expected)
    relative = float(np.sqrt(np.mean(error**2) / max(float(np.mean(expected**2)), 1e-30)))
    most, fault = RELATIVE_ERROR[tensor.bits], f"{relative:.2g} (relative) from the trained kernel"
    # NaN is no less than anything, and fails
    require(relative <= most, f"tensor {tensor.name!r} lies {fault}; most for {tensor.bits} bits: {most}")
    if rule.exact and tensor.scale.size:
        steps = float(np.max(error / np.broadcast_to(tensor.along(tensor.scale), error.shape)))
        fault = f"up to {steps:.2f} quantization steps from the trained kernel; most: 0.5"
        require(steps <= ROUNDING, f"tensor {tensor.name!r} lies {fault}")


def _check_bias(tensor: Tensor, expected: np.ndarray, rule: FormRule) -> None:
    error = np.abs(tensor.dequantized() - expected)
    # half a step of the integer forms, the rounding of floats
    step = tensor.scale if tensor.scale.size else 0
    allowed = ROUNDING * step + rule.bias_error * np.abs(expected) + 1e-7
    fault = f"up to {np.max(error):.2g} from the trained bias; most: {np.max(allowed):.2g}"
    require(bool(np.all(error <= allowed)), f"tensor {tensor.name!r} lies {fault}")
