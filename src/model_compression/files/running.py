"""Running .tflite files: LiteRT only, no TensorFlow."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from ..data.labels import labels_of
from ..quiet import quiet
from .graph import Graph, read_graph

#: Images a call: the interpreter's own overhead disappears, activations stay in the processor's cache.
BATCH = 100


@dataclass(frozen=True, kw_only=True)
class IoDetails:
    """How the two ends of a file are quantized; scale 0 means not at all."""

    input_name: str
    input_dtype: str
    input_scale: float
    input_zero_point: int
    output_dtype: str
    output_scale: float
    output_zero_point: int


def interpreter(content: bytes, *, delegate: bool = True, threads: int = 1) -> Interpreter:
    """A LiteRT interpreter; `delegate=False` leaves out XNNPACK."""
    resolver = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with quiet():
        return Interpreter(model_content=content, num_threads=threads, experimental_op_resolver_type=resolver)


def allocated_graph(content: bytes) -> Graph:
    """`read_graph` with the shapes of computed tensors as the interpreter finds them for one image.

    A packed file leaves them out.
    """
    graph, loaded = read_graph(content), interpreter(content, delegate=False)
    loaded.allocate_tensors()
    shapes = {detail["index"]: tuple(map(int, detail["shape"])) for detail in loaded.get_tensor_details()}
    tensors = (
        tensor if tensor.values is not None else replace(tensor, shape=shapes.get(tensor.index, tensor.shape))
        for tensor in graph.tensors
    )
    return replace(graph, tensors=tuple(tensors))


def io_details(content: bytes) -> IoDetails:
    """Names, types, scales and zero points of the input and the output."""
    loaded = interpreter(content, delegate=False)
    signature = loaded.get_signature_list().get("serving_default", {"inputs": []})["inputs"]
    (source,), (target,) = loaded.get_input_details(), loaded.get_output_details()
    return IoDetails(
        input_name=signature[0] if signature else source["name"],
        input_dtype=np.dtype(source["dtype"]).name,
        input_scale=float(source["quantization"][0]),
        input_zero_point=int(source["quantization"][1]),
        output_dtype=np.dtype(target["dtype"]).name,
        output_scale=float(target["quantization"][0]),
        output_zero_point=int(target["quantization"][1]),
    )


def quantize(values: np.ndarray, *, scale: float, zero_point: int, dtype: str) -> np.ndarray:
    """Floats to stored integers: divide, round to even, shift, clip, then cast."""
    limits = np.iinfo(dtype)
    stored = values / np.float32(scale)
    np.rint(stored, out=stored)
    stored += zero_point
    return np.clip(stored, limits.min, limits.max, out=stored).astype(dtype)


def invoke(
    content: bytes,
    images: np.ndarray,
    *,
    delegate: bool = True,
    prepare: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Raw outputs (n, outputs) for raw inputs (n, ...) of the file's own input type.

    One interpreter a core, each of which takes the next `BATCH` images when it is through with its last.

    Args:
        prepare: makes raw inputs of the images, a batch at a time; None where they are raw already.
    """
    cores = max(1, min(os.cpu_count() or 1, len(images) // BATCH))
    # made here: holding back their output is the whole process's business, not a thread's
    loaded = [_allocated(content, delegate, min(BATCH, len(images))) for _ in range(cores)]
    # asked once: each answer takes as long as an image
    source, target = loaded[0].get_input_details()[0], loaded[0].get_output_details()[0]
    size, *shape = source["shape"]
    parts: dict[int, np.ndarray] = {}
    starts = iter(range(0, len(images), size))

    def work(own: Interpreter) -> None:
        for start in starts:
            part = images[start : start + size]
            part = prepare(part) if prepare else part
            # a channel axis of one may stand in the file and not in the images
            full = part.reshape(len(part), *shape)
            if len(part) < size:
                # filled up, since another size would have to be allocated anew
                full = np.concatenate([full, np.zeros((size - len(part), *shape), part.dtype)])
            # a recurrent layer remembers the image before
            own.reset_all_variables()
            own.set_tensor(source["index"], full)
            own.invoke()
            parts[start] = own.get_tensor(target["index"]).reshape(size, -1)[: len(part)]

    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(work, loaded))
    return np.concatenate([parts[start] for start in range(0, len(images), size)])


def _allocated(content: bytes, delegate: bool, batch: int) -> Interpreter:
    """An interpreter for `batch` images a call, or for one where the file's shapes are fixed."""
    loaded = interpreter(content, delegate=delegate)
    source = loaded.get_input_details()[0]
    with quiet():
        try:
            loaded.resize_tensor_input(source["index"], (batch, *source["shape"][1:]))
            loaded.allocate_tensors()
        except RuntimeError:
            loaded.resize_tensor_input(source["index"], source["shape"])
            loaded.allocate_tensors()
    return loaded


def logits(content: bytes, images: np.ndarray, *, delegate: bool = True) -> np.ndarray:
    """Outputs (n, classes) as float32 for float32 images (n, ...).

    Integer inputs are quantized and integer outputs de-quantized by the file's own scales.
    """
    details, prepare = io_details(content), None
    if details.input_scale:
        prepare = partial(
            quantize,
            scale=details.input_scale,
            zero_point=details.input_zero_point,
            dtype=details.input_dtype,
        )
    outputs = invoke(content, images, delegate=delegate, prepare=prepare).astype(np.float32)
    if details.output_scale:
        outputs = (outputs - details.output_zero_point) * np.float32(details.output_scale)
    return outputs


def predict(content: bytes, images: np.ndarray, *, delegate: bool = True) -> np.ndarray:
    """Labels (n,) that a file gives to float32 images (n, ...)."""
    return labels(content, logits(content, images, delegate=delegate))


def labels(content: bytes, outputs: np.ndarray) -> np.ndarray:
    """Labels (n,) of a file's outputs (n, ...)."""
    single = outputs.shape[-1] == 1
    return labels_of(outputs, probabilities=single and last_operator(content) == "LOGISTIC")


def last_operator(content: bytes) -> str:
    """The last that computes: "SOFTMAX" and "LOGISTIC" make probabilities; empty where none does."""
    names = [operator.name for operator in read_graph(content).operators if operator.name not in _CONVERTING]
    return names[-1] if names else ""


#: Operators that change how numbers are stored, not which.
_CONVERTING = ("QUANTIZE", "DEQUANTIZE", "CAST", "RESHAPE")


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The fraction of equal labels; both (n,)."""
    return float(np.mean(labels == predicted))
