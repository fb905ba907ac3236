"""Running .tflite files: LiteRT only, no TensorFlow."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from ..data.answers import Task
from ..data.labels import labels_of, right
from ..quiet import quiet
from .graph import Graph, read_graph

#: Images a call: the interpreter's own overhead disappears, activations stay in the processor's cache.
BATCH = 100


@dataclass(frozen=True, kw_only=True)
class IoDetails:
    """How the two ends of a file are quantized; scale 0 means not at all."""

    input_dtype: str
    input_scale: float
    input_zero_point: int
    output_dtype: str
    output_scale: float
    output_zero_point: int


def interpreter(content: bytes, *, delegate: bool = True) -> Interpreter:
    """A LiteRT interpreter; `delegate=False` leaves out XNNPACK."""
    resolver = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with quiet():
        return Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=resolver)


def allocated_graph(content: bytes) -> Graph:
    """`read_graph` with the shapes of computed tensors as the interpreter finds them for one image.

    A packed file leaves them out.
    """
    graph, loaded = read_graph(content), interpreter(content, delegate=False)
    loaded.allocate_tensors()
    shapes = {detail["index"]: tuple(map(int, detail["shape"])) for detail in loaded.get_tensor_details()}
    computed = (tensor for tensor in graph.tensors if tensor.values is None and tensor.index in shapes)
    return graph.holding(*(replace(tensor, shape=shapes[tensor.index]) for tensor in computed))


def io_details(content: bytes) -> IoDetails:
    """Types, scales and zero points of the input and the output, the first of each."""
    loaded = interpreter(content, delegate=False)
    ends = {"input": loaded.get_input_details()[0], "output": loaded.get_output_details()[0]}
    found: dict[str, Any] = {}
    for end, detail in ends.items():
        scale, zero_point = detail["quantization"]
        found |= {f"{end}_dtype": np.dtype(detail["dtype"]).name, f"{end}_scale": float(scale)}
        found |= {f"{end}_zero_point": int(zero_point)}
    return IoDetails(**found)


def quantize(values: np.ndarray, *, scale: float, zero_point: int, dtype: str) -> np.ndarray:
    """Floats to stored integers: divide, round to even, shift, clip, then cast."""
    limits = np.iinfo(dtype)
    stored = values / np.float32(scale)
    np.rint(stored, out=stored)
    stored += zero_point
    return np.clip(stored, limits.min, limits.max, out=stored).astype(dtype)


def logits(content: bytes, images: np.ndarray, *, delegate: bool = True, batch: int = BATCH) -> np.ndarray:
    """Outputs (n, classes) as float32 for float32 images (n, ...).

    Integer inputs are quantized and integer outputs de-quantized by the file's own scales. A file of several
    inputs takes them in a row, (n, numbers of all of them), and gives its outputs so.

    One interpreter a core, each of which takes the next `batch` images when it is through with its last.
    """
    cores = max(1, min(os.cpu_count() or 1, len(images) // batch))
    # made here: holding back their output is the whole process's business, not a thread's
    batch = min(batch, len(images))
    loaded = [allocated(content, delegate=delegate, batch=batch) for _ in range(cores)]
    # asked once: each answer takes as long as an image
    sources, targets = loaded[0].get_input_details(), loaded[0].get_output_details()
    size = int(sources[0]["shape"][0])
    parts: dict[int, np.ndarray] = {}
    starts = iter(range(0, len(images), size))

    def work(own: Interpreter) -> None:
        for start in starts:
            part = images[start : start + size]
            # a recurrent layer remembers the image before
            own.reset_all_variables()
            for source, given in zip(sources, split(part, sources), strict=True):
                # filled up with images, since another number of them would have to be allocated anew
                own.set_tensor(source["index"], np.resize(stored(given, source), (size, *given.shape[1:])))
            own.invoke()
            rows = [own.get_tensor(target["index"]).reshape(size, -1) for target in targets]
            parts[start] = in_a_row(rows, targets)[: len(part)]

    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(work, loaded))
    return np.concatenate([parts[start] for start in range(0, len(images), size)])


def images_a_call(content: bytes) -> int:
    """How many images a call `logits` gives a file: `BATCH`, or those of a file whose shapes are fixed."""
    return int(allocated(content, batch=BATCH).get_input_details()[0]["shape"][0])


#: What the interpreter tells of an input or an output.
Detail: TypeAlias = Mapping[str, Any]


def split(images: np.ndarray, sources: Sequence[Detail]) -> list[np.ndarray]:
    """Each input of images (n, ...), shaped as the file has it: a channel axis of one may be missing."""
    shapes = [tuple(map(int, source["shape"][1:])) for source in sources]
    flat = images.reshape(len(images), -1)
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    if ends[-1] != flat.shape[1]:
        raise ValueError(f"the images hold {flat.shape[1]} numbers each; the file takes {ends[-1]}")
    columns = np.split(flat, ends[:-1], axis=1)
    return [part.reshape(len(part), *shape) for part, shape in zip(columns, shapes, strict=True)]


def stored(values: np.ndarray, source: Detail) -> np.ndarray:
    """Real numbers as an input takes them."""
    scale, zero_point = source["quantization"]
    if not scale:
        return values.astype(source["dtype"], copy=False)
    return quantize(values, scale=scale, zero_point=zero_point, dtype=np.dtype(source["dtype"]).name)


def in_a_row(outputs: Sequence[np.ndarray], targets: Sequence[Detail]) -> np.ndarray:
    """Stored outputs, each (n, numbers), as real numbers in a row."""
    rows = []
    for output, target in zip(outputs, targets, strict=True):
        (scale, zero_point), floats = target["quantization"], output.astype(np.float32, copy=False)
        rows.append((floats - zero_point) * np.float32(scale) if scale else floats)
    return np.concatenate(rows, axis=1)


def allocated(content: bytes, *, delegate: bool = False, batch: int = 1) -> Interpreter:
    """An interpreter for `batch` images a call, or for one where the file's shapes are fixed.

    It knows all shapes. Some operators say only when they run that they take no more images than the file
    says.
    """
    loaded = interpreter(content, delegate=delegate)
    sources = loaded.get_input_details()
    with quiet():
        try:
            for source in sources:
                loaded.resize_tensor_input(source["index"], (batch, *source["shape"][1:]))
            loaded.allocate_tensors()
            if batch > 1 and any(source["shape_signature"][0] != -1 for source in sources):
                for source in sources:
                    zeros = np.zeros((batch, *source["shape"][1:]), source["dtype"])
                    loaded.set_tensor(source["index"], zeros)
                loaded.invoke()
        except RuntimeError:
            for source in sources:
                loaded.resize_tensor_input(source["index"], source["shape"])
            loaded.allocate_tensors()
    return loaded


def predict(content: bytes, images: np.ndarray, *, task: Task = "classes") -> np.ndarray:
    """What a file says of float32 images (n, ...), labels (n,) or what else the task asks for."""
    return labels(content, logits(content, images), task=task)


def labels(content: bytes, outputs: np.ndarray, *, task: Task = "classes") -> np.ndarray:
    """What a file's outputs (n, ...) say, see `labels_of`."""
    return labels_of(outputs, probabilities=last_operator(content) == "LOGISTIC", task=task)


def last_operator(content: bytes, *, output: int = 0) -> str:
    """The last that computes an output: "SOFTMAX" and "LOGISTIC" make probabilities; empty where none."""
    graph = read_graph(content)
    makers = {index: operator for operator in graph.operators for index in operator.outputs}
    maker = makers.get(graph.outputs[output])
    while maker is not None and maker.name in _CONVERTING:
        maker = makers.get(maker.inputs[0])
    return maker.name if maker else ""


#: Operators that change how numbers are stored, and pick of them.
_CONVERTING = ("QUANTIZE", "DEQUANTIZE", "CAST", "RESHAPE", "SLICE", "STRIDED_SLICE")


def accuracy(answers: np.ndarray, predicted: np.ndarray) -> float:
    """The mean of `right`: of labels, the fraction that are equal."""
    return float(np.mean(right(answers, predicted)))
