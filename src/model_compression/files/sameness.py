"""Whether two .tflite files give the same outputs, bit for bit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..quiet import quiet
from . import running
from .channelwise import RESHAPING
from .graph import Graph, read_graph, read_model
from .writing import write_model

#: What is given to a file: one array an input, of its type and shape.
Given = tuple[np.ndarray, ...]
#: How inputs are drawn, in turn, for a report.
DRAWN = "noise, one value, two values, a slope, and mostly nothing, in turn"
#: Bytes of all that are drawn together, and how many are drawn whatever they take.
MOST_BYTES, LEAST_INPUTS = 2**27, 10


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What two files gave on the same inputs.

    Attributes:
        runtime: and its kernels. place: which tensors were compared.
        differing: of the inputs. reason: why nothing could be compared; empty where it was.
    """

    runtime: str
    place: str
    inputs: int = 0
    differing: int = 0
    reason: str = ""


def drawn(content: bytes, count: int, *, seed: int) -> list[Given]:
    """Inputs over the whole range of the file's types, random and structured."""
    with quiet():
        loaded = running.interpreter(content, delegate=False)
    generator, graph = np.random.default_rng(seed), read_graph(content)
    details = [
        (tuple(map(int, detail["shape"])), np.dtype(detail["dtype"]), _rows(graph, index))
        for index, detail in zip(graph.inputs, loaded.get_input_details(), strict=True)
    ]
    size = sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype, _ in details)
    count = min(count, max(LEAST_INPUTS, MOST_BYTES // max(1, size)))
    return [tuple(_drawn(*detail, number % 5, generator) for detail in details) for number in range(count)]


def _rows(graph: Graph, index: int) -> int | None:
    """Of the table in which an input names one, so that it may name no other; None where it names none."""
    for operator in graph.operators:
        if operator.name == "GATHER" and index in operator.inputs[1:2]:
            axis = operator.option("axis") or 0
            return graph.tensors[operator.inputs[0]].shape[axis]
        if operator.name == "EMBEDDING_LOOKUP" and index in operator.inputs[:1]:
            return graph.tensors[operator.inputs[1]].shape[0]
        if operator.name in ("CAST", *RESHAPING) and index in operator.inputs[:1]:
            return _rows(graph, operator.outputs[0])
    return None


def _drawn(
    shape: tuple[int, ...], dtype: np.dtype, rows: int | None, way: int, generator: np.random.Generator
) -> np.ndarray:
    match way:
        case 0:
            shares = generator.random(shape)
        case 1:
            shares = np.full(shape, generator.random())
        case 2:
            low, high = generator.random(2)
            shares = np.where(generator.random(shape) < generator.random(), low, high)
        case 3:
            low, high = generator.random(2)
            shares = np.linspace(low, high, int(np.prod(shape))).reshape(shape)
        case _:
            shares = generator.random(shape) * (generator.random(shape) < 0.1)
    if rows is not None:
        return np.floor(shares * rows).clip(0, rows - 1).astype(dtype)
    if dtype.kind not in "iu":
        return ((shares - generator.choice([0.0, 0.5])) * generator.choice([1.0, 4.0, 256.0])).astype(dtype)
    limits = np.iinfo(dtype)
    return np.rint(limits.min + shares * (float(limits.max) - limits.min)).astype(dtype)


def outputs(content: bytes, given: Sequence[Given], *, delegate: bool) -> list[bytes]:
    """All outputs for each of the inputs, as their bytes.

    Raises:
        RuntimeError: LiteRT refuses the file or the inputs.
        ValueError: the same.
    """
    with quiet():
        loaded = running.interpreter(content, delegate=delegate)
        loaded.allocate_tensors()
    sources, targets = loaded.get_input_details(), loaded.get_output_details()
    found = []
    for arrays in given:
        for source, array in zip(sources, arrays, strict=True):
            loaded.set_tensor(source["index"], array)
        loaded.invoke()
        found.append(b"".join(loaded.get_tensor(target["index"]).tobytes() for target in targets))
    return found


def before_softmax(content: bytes) -> bytes | None:
    """The same file with what its last softmax reads as its output; None where it ends with none.

    A softmax of 8 bits saturates, and would hide differences.
    """
    model = read_model(content)
    graph = model.graphs[0]
    for operator in graph.operators:
        if operator.name == "SOFTMAX" and graph.outputs == operator.outputs:
            cut = replace(graph, outputs=operator.inputs[:1])
            return write_model(model.holding(cut))
    return None


#: What runs a file: all of its outputs for each of the inputs, as their bytes.
Runtime = Callable[[bytes, Sequence[Given]], list[bytes]]
LITERT: dict[str, Runtime] = {
    "LiteRT": partial(outputs, delegate=False),
    "LiteRT with XNNPACK": partial(outputs, delegate=True),
}


def compared(
    one: bytes, other: bytes, given: Sequence[Given], runtimes: Mapping[str, Runtime] = LITERT
) -> list[Compared]:
    """Both files on each of the runtimes: outputs, and what a last softmax reads.

    Args:
        runtimes: by name; one that cannot run a file raises a `RuntimeError` or `ValueError`.
    """
    places = {"outputs": (one, other)}
    cut = before_softmax(one), before_softmax(other)
    if cut[0] is not None and cut[1] is not None:
        places["before the softmax"] = cut[0], cut[1]
    return [
        _compared(run, pair, given, Compared(runtime=name, place=place))
        for name, run in runtimes.items()
        for place, pair in places.items()
    ]


def _compared(run: Runtime, pair: tuple[bytes, bytes], given: Sequence[Given], line: Compared) -> Compared:
    results: list[list[bytes]] = []
    for content in pair:
        try:
            results.append(run(content, given))
        except (RuntimeError, ValueError) as error:
            # where the first ran, the other has to
            lost = len(given) if results else 0
            return replace(line, inputs=lost, differing=lost, reason=" ".join(str(error).split()))
    differing = sum(a != b for a, b in zip(*results, strict=True))
    return replace(line, inputs=len(given), differing=differing)
