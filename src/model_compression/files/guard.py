"""The guard against silent corruption: no file enters a table before it has passed here.

A converter can write, without a word, a file that computes something else: shifted weights, lost
zeros, floats where integers were asked for. So each file's constants are read from its schema, put
into the Keras net, and both are asked the same questions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..nets.keras2 import keras
from ..nets.layers import clone, kernel_layers
from ..nets.training import predict
from ..techniques.base import TOGETHER
from . import running
from .graph import Graph, Operator, Tensor, read_graph
from .matching import CorruptFileError, match_kernels, to_file_layout, to_keras_layout
from .rules import RULES as RULES
from .rules import FormRule

__all__ = [
    "RULES",
    "CorruptFileError",
    "FormRule",
    "Promise",
    "check_delegate",
    "check_file",
    "check_same",
    "rebuild",
]


#: Largest error of the scores, over their spread, of a file that computes right: 0.1 and less was measured
#: for int8, 0.4 and more for files that are wrong.
SCORE_ERROR = 0.2
#: Most that a rounded number may be off by, in quantization steps: half of one, and the error of floats.
ROUNDING = 0.51
#: Largest relative error (root mean square) of a kernel, by its bits.
RELATIVE_ERROR = {32: 1e-6, 16: 1e-3, 8: 0.08, 4: 0.5}


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What a recipe says of its file.

    Attributes:
        rule: of the file's form.
        zeros: least number of zeros a kernel, by the float layer's name; of all kernels, by `TOGETHER`.
        unique_values: most distinct values a kernel with one scale, by the float layer's name.
        by_scores: whether labels may differ where the scores lie within `SCORE_ERROR`: a user's net may give
            its two best classes scores so close that rounding decides.
    """

    rule: FormRule
    zeros: Mapping[str, int] = field(default_factory=dict)
    unique_values: Mapping[str, int] = field(default_factory=dict)
    by_scores: bool = False


def check_file(
    content: bytes,
    net: keras.Model,
    promise: Promise,
    *,
    images: np.ndarray,
    trained: keras.Model,
) -> None:
    """Raise unless the file is what its recipe promised and computes what its constants say.

    Args:
        net: a float Keras net of the same architecture; its weights are not used.
        images: float32 (n, ...), not of the test set.
        trained: the net that the file was made of. A float net's weights are compared with the
            file's; after quantization-aware training, whose wrappers hold them unrounded, the labels.
    Raises:
        CorruptFileError: what disagrees, naming the tensor.
    """
    graph = read_graph(content)
    pairs = match_kernels(graph, net, trained)
    weights = {layer.name: layer.get_weights() for layer in kernel_layers(trained)}
    _check_types(graph, pairs, promise.rule)
    kernels = {name: to_file_layout(found[0], net.get_layer(name)) for name, found in weights.items()}
    users = {tensor.index: operators for tensor, operators in graph.users()}
    own = {
        id(operator): _factor(tensor, kernels[name])
        for name, (tensor, _) in pairs.items()
        if promise.rule.scale_free and name in kernels
        for operator in users[tensor.index]
    }
    factors, moved = _factors(graph, own), {}
    for name, (tensor, operator) in pairs.items():
        _check_counts(name, tensor, promise)
        _check_limits(_bias(graph, operator))
        if weights:
            _check_values(tensor, kernels[name] * own.get(id(operator), 1.0), promise.rule)
            # a kernel that is used again has biases of each time's own
            times = np.atleast_2d(*weights[name][1:]) if weights[name][1:] else []
            for expected, user in zip(times, users[tensor.index], strict=False):
                stored = _bias(graph, user)
                missing = np.any(expected) and (stored is None or not np.any(stored.dequantized()))
                if missing and _adds_later(graph, user):
                    moved[name] = weights[name][1]
                else:
                    _check_bias(stored, expected * factors[user.outputs[0]], name, promise.rule)
    zeros = sum(int(np.sum(tensor.dequantized() == 0)) for tensor, _ in pairs.values())
    if zeros < promise.zeros.get(TOGETHER, 0):
        raise CorruptFileError(f"the kernels have {zeros} zeros; promised: {promise.zeros[TOGETHER]}")
    scores = running.logits(content, images)
    labels = running.labels(content, scores)

    def close(others: Callable[[], np.ndarray]) -> bool:
        return promise.by_scores and _score_error(scores, others()) <= SCORE_ERROR

    agreement = promise.rule.agreement
    # a bias may stand in an operator of its own: then what is computed tells whether it is there
    if moved:
        _compare_scores(scores, _scores(trained, images), moved, promise.rule)
    if not weights and not close(lambda: _scores(trained, images)):
        _compare(labels, predict(trained, images), agreement, "the net it was made of")
    rebuilt = rebuild(graph, net, pairs, moved)
    if not close(lambda: _scores(rebuilt, images)):
        _compare(labels, predict(rebuilt, images), agreement, "its own constants, computed by Keras")
    check_delegate(content, images, by_scores=promise.by_scores, agreement=min(agreement, 0.99))


#: Largest error of the scores, over their spread, of a file of floats.
FLOAT_SCORE_ERROR = 1e-3


def _compare_scores(
    scores: np.ndarray, others: np.ndarray, moved: Mapping[str, np.ndarray], rule: FormRule
) -> None:
    most = FLOAT_SCORE_ERROR if rule.largest_bits == 32 else SCORE_ERROR
    error = _score_error(scores, others)
    if not error <= most:
        raise CorruptFileError(
            f"the bias of {', '.join(moved)} is missing: the scores lie {error:.2g} of their spread from the "
            f"trained net's; most: {most}"
        )


def check_delegate(
    content: bytes, images: np.ndarray, *, by_scores: bool = True, agreement: float = 0.99
) -> None:
    """Raise unless a file computes finite numbers, and the same ones with XNNPACK and without.

    Args:
        images: float32 (n, ...), as the file takes them.
        by_scores: whether labels may differ where the scores lie within `SCORE_ERROR`.
        agreement: least fraction of images with the same label.
    Raises:
        CorruptFileError: what disagrees.
    """
    scores, plain = (running.logits(content, images, delegate=delegate) for delegate in (True, False))
    if not np.isfinite(scores).all():
        raise CorruptFileError("the file computes numbers that are not finite")
    if not (by_scores and _score_error(scores, plain) <= SCORE_ERROR):
        labels, others = (running.predict(content, images, delegate=delegate) for delegate in (True, False))
        _compare(labels, others, agreement, "the interpreter without XNNPACK")


def check_same(content: bytes, other: bytes, *, images: np.ndarray) -> None:
    """Raise unless two files give the same outputs bit for bit, with and without XNNPACK.

    Args:
        images: float32 (n, ...), not of the test set.
    Raises:
        CorruptFileError: on how many images they differ.
    """
    for delegate in (True, False):
        pair = [running.logits(each, images, delegate=delegate) for each in (content, other)]
        differing = int((pair[0].view(np.uint32) != pair[1].view(np.uint32)).any(axis=1).sum())
        if differing:
            kernels = "with" if delegate else "without"
            raise CorruptFileError(
                f"the files differ on {differing} of {len(images)} images {kernels} XNNPACK"
            )


def _scores(model: keras.Model, images: np.ndarray) -> np.ndarray:
    # called, not `predict`: nothing is traced for the few batches that there are
    parts = [images[start : start + 1000] for start in range(0, len(images), 1000)]
    return np.concatenate([np.asarray(model(part, training=False)) for part in parts])


def _score_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Root mean square of the difference over the standard deviation."""
    deviation = float(np.std(theirs))
    return float(np.sqrt(np.mean((ours - theirs) ** 2))) / deviation if deviation else float("inf")


def _compare(labels: np.ndarray, others: np.ndarray, least: float, what: str) -> None:
    agreement = float(np.mean(labels == others))
    if agreement < least:
        raise CorruptFileError(
            f"the file agrees with {what} on {agreement:.4f} of the images; least: {least}"
        )


#: Operators that the converter leaves in floats, between integers: it knows no range for their outputs.
_FLOAT_ONLY = ("ELU", "EXP", "LOG", "SIN", "COS")


def _check_types(graph: Graph, pairs: Mapping[str, tuple[Tensor, Operator]], rule: FormRule) -> None:
    tensors = [tensor for tensor, _ in pairs.values()]
    for tensor in tensors:
        if tensor.bits not in rule.bits:
            raise CorruptFileError(
                f"tensor {tensor.name!r} is {tensor.dtype}, {tensor.bits} bits; promised: {sorted(rule.bits)}"
            )
    largest = max(tensors, key=lambda tensor: int(np.prod(tensor.shape)))
    if largest.bits != rule.largest_bits:
        raise CorruptFileError(
            f"tensor {largest.name!r} has {largest.bits} bits; promised: {rule.largest_bits}"
        )
    if rule.integer_only:
        islands = {i for op in graph.operators if op.name in _FLOAT_ONLY for i in (*op.inputs, *op.outputs)}
        for tensor in graph.tensors:
            if tensor.dtype.startswith("float") and tensor.index not in islands:
                raise CorruptFileError(
                    f"tensor {tensor.name!r} is {tensor.dtype}; promised: integers throughout"
                )


def _check_counts(name: str, tensor: Tensor, promise: Promise) -> None:
    values = tensor.dequantized()
    zeros, unique = int(np.sum(values == 0)), len(np.unique(values))
    if zeros < promise.zeros.get(name, 0):
        raise CorruptFileError(f"tensor {tensor.name!r} has {zeros} zeros; promised: {promise.zeros[name]}")
    # a scale a channel turns one centroid into many values
    if tensor.scale.size <= 1 and unique > promise.unique_values.get(name, unique):
        raise CorruptFileError(
            f"tensor {tensor.name!r} has {unique} distinct values; promised: {promise.unique_values[name]}"
        )


def _factor(tensor: Tensor, kernel: np.ndarray) -> float:
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
        if given and not np.allclose(given, given[0], rtol=1e-3):
            raise CorruptFileError(
                f"a {operator.name} reads tensors stored times {given}; allowed: one factor"
            )
        factor = (given[0] if given else 1.0) * own.get(id(operator), 1.0)
        factors |= dict.fromkeys(operator.outputs, factor)
    return factors


def _check_values(tensor: Tensor, expected: np.ndarray, rule: FormRule) -> None:
    expected = expected.reshape(tensor.shape)
    error = np.abs(tensor.dequantized() - expected)
    relative = float(np.sqrt(np.mean(error**2) / max(float(np.mean(expected**2)), 1e-30)))
    # so that NaN fails too
    if not relative <= RELATIVE_ERROR[tensor.bits]:
        raise CorruptFileError(
            f"tensor {tensor.name!r} lies {relative:.2g} (relative) from the trained kernel; "
            f"most for {tensor.bits} bits: {RELATIVE_ERROR[tensor.bits]}"
        )
    if rule.exact and tensor.scale.size:
        along = [1] * len(tensor.shape)
        if tensor.scale.size > 1:
            along[tensor.axis] = -1
        steps = float(np.max(error / np.broadcast_to(tensor.scale.reshape(along), error.shape)))
        if not steps <= ROUNDING:
            raise CorruptFileError(
                f"tensor {tensor.name!r} lies up to {steps:.2f} quantization steps "
                "from the trained kernel; most: 0.5"
            )


def _bias(graph: Graph, operator: Operator) -> Tensor | None:
    """The stored bias of a layer; None where the converter left out one of zeros."""
    index = operator.inputs[2] if len(operator.inputs) > 2 else -1
    return graph.constant(index) if index >= 0 else None


def _biases(graph: Graph, kernel: Tensor) -> list[Tensor | None]:
    """The stored biases of all operators that use a kernel."""
    (operators,) = (users for tensor, users in graph.users() if tensor.index == kernel.index)
    return [_bias(graph, operator) for operator in operators]


def _check_limits(bias: Tensor | None) -> None:
    """A filter without weights may have got a scale so small that 32 bits cannot hold its bias."""
    if bias is not None and bias.values is not None and bias.scale.size:
        limits = np.iinfo(bias.values.dtype)
        clipped = int(np.isin(bias.values, (limits.min, limits.max)).sum())
        if clipped:
            raise CorruptFileError(
                f"tensor {bias.name!r} has {clipped} biases clipped to {limits.dtype}'s limits; most: 0"
            )


def _adds_later(graph: Graph, operator: Operator) -> bool:
    """Whether what moves an operator's output about, or adds to it, may hold its bias."""
    readers = [other.name for other in graph.operators if set(other.inputs) & set(operator.outputs)]
    return bool(readers) and set(readers) <= {"ADD", "BATCH_TO_SPACE_ND", "RESHAPE"}


def _check_bias(tensor: Tensor | None, expected: np.ndarray, layer: str, rule: FormRule) -> None:
    if tensor is None:
        if np.any(expected):
            raise CorruptFileError(f"the bias of {layer} is missing; the trained one is not zero")
        return
    error = np.abs(tensor.dequantized() - expected)
    # half a step of the integer forms, the rounding of floats
    allowed = (
        ROUNDING * (tensor.scale if tensor.scale.size else 0) + rule.bias_error * np.abs(expected) + 1e-7
    )
    if not np.all(error <= allowed):
        raise CorruptFileError(
            f"tensor {tensor.name!r} lies up to {np.max(error):.2g} from the trained bias; "
            f"most: {np.max(allowed):.2g}"
        )


def rebuild(
    graph: Graph,
    net: keras.Model,
    pairs: Mapping[str, tuple[Tensor, Operator]],
    moved: Mapping[str, np.ndarray] | None = None,
) -> keras.Model:
    """The Keras net with the file's constants, de-quantized, as its weights.

    Args:
        moved: biases that stand elsewhere in the file, by layer.
    """
    copy = clone(net)
    for layer in copy.layers:
        if layer.name not in pairs:
            continue
        tensor, _ = pairs[layer.name]
        kernel, *biases = layer.get_weights()
        weights = [to_keras_layout(tensor.dequantized(), layer, kernel.shape)]
        if biases:
            known = (moved or {}).get(layer.name)
            if known is None:
                width, stored = biases[0].shape[-1], _biases(graph, tensor)
                rows = [np.zeros(width) if row is None else row.dequantized() for row in stored]
                # a layer of Keras that is called twice has one bias, a kernel of ours may have more
                known = np.reshape(rows[: biases[0].size // width], biases[0].shape)
            weights.append(known)
        layer.set_weights(weights)
    return copy
