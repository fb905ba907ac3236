"""What a .tflite file does on TFLite Micro (TFLM): whether it runs, what it computes, what memory it takes.

Flash is the model array alone. The kernels and the interpreter come on top, tens of kB that depend on the
target, the compiler and the operators; they are not measured here.
"""

import threading
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils

from ..data import datasets
from ..files import running
from ..files.graph import KERNEL_OPERATORS, Tensor, read_graph
from ..quiet import quiet
from .tflm import MAX_ARENA_BYTES, MicroError, Tflm, random_inputs

#: TFLM rounds as LiteRT's plain kernels do, so that a file it computes right gets the same label on every
#: image, but for a tie in a float file; weight-only int8, which it does not, differs in 335 of 10,000.
MIN_AGREEMENT = 0.99
#: The same for the scores: 0.003 in int8 files that compute right, 0.4 in weight-only int8.
MAX_OUTPUT_ERROR = 0.1
#: Up to here other labels are those of a net that is not sure, whose best two scores rounding exchanges.
ROUNDING_ERROR = 0.05
#: Random images on which look-up tables are checked.
CHECKED_IMAGES = 64


#: `quiet` silences all threads of a process.
_SILENCE = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class MicroReport:
    """What a file does on TFLM.

    Attributes:
        runs_on_tflm: it loads, runs, and computes what LiteRT computes.
        reason: why not; empty when it does.
        arena_bytes: the smallest arena that works on this machine, a multiple of 16; NaN when none does. A
            target with 32-bit pointers needs a little less, one with kernels of its own perhaps more.
        tflm_agreement: fraction of the images to which LiteRT's plain kernels give the same label.
    """

    runs_on_tflm: bool
    reason: str = ""
    arena_bytes: float = np.nan
    tflm_agreement: float = np.nan


def measure_micro(content: bytes, images: np.ndarray, *, reference: bytes | None = None) -> MicroReport:
    """Run a .tflite file on TFLM, in a process of its own, and compare it with LiteRT's plain kernels.

    Threads may do so at once.

    Args:
        content: takes one image a call (or any number).
        images: (n, ...), n >= 1, uint8 pixels (divided by 255) or floats, several inputs in a row.
        reference: the file that LiteRT runs; default `content`. A look-up-table file, which LiteRT cannot
            run, takes the file it was made from.
    Returns:
        `runs_on_tflm` is False, with the reason, for a file that TFLM refuses or that it computes wrongly:
        labels that agree on less than `MIN_AGREEMENT` of the images and scores off by more than
        `ROUNDING_ERROR`, or scores off by more than `MAX_OUTPUT_ERROR`.
    Raises:
        ValueError: no images, or images that do not fit the file.
        RuntimeError: LiteRT cannot run the reference.
    """
    if len(images) == 0:
        raise ValueError("there are no images to compare with")
    try:
        with Tflm() as child:
            arena_bytes = child.smallest_arena(content)
            outputs = child.outputs(content, images, arena_bytes=arena_bytes)
    except MicroError as error:
        return MicroReport(runs_on_tflm=False, reason=str(error))
    of_litert = content if reference is None else reference
    real = datasets.scale(images)
    with _SILENCE, quiet():
        expected = running.logits(of_litert, real, delegate=False)
    labels, theirs = (running.labels(of_litert, each) for each in (outputs, expected))
    agreement = float(np.mean(labels == theirs))
    output_error = _output_error(outputs, expected)
    differs = agreement < MIN_AGREEMENT and output_error > ROUNDING_ERROR
    if differs or output_error > MAX_OUTPUT_ERROR:
        reason = f"computes wrongly: agreement {agreement:.4f}, output error {output_error:.3f}"
        return MicroReport(runs_on_tflm=False, reason=reason)
    return MicroReport(runs_on_tflm=True, arena_bytes=arena_bytes, tflm_agreement=agreement)


def compress_lut(content: bytes) -> bytes:
    """A clustered model with its kernels as look-up tables and packed indices, for TFLM only.

    Lossless: the outputs are compared bit for bit on random images. A DECODE operator before each layer
    unpacks the kernel into the arena, which grows by the largest kernel: less flash, more RAM.

    Kernels quantized per channel get a table a channel, the others one table; one table for a per-channel
    kernel would load and compute nonsense. Kernels with more than 128 distinct weights to a table, 4-bit
    ones, and those that would not get smaller stay as they are.

    Raises:
        ValueError: no kernel gets smaller.
        MicroError: TFLM refuses either file, or their outputs differ.
    Source: the TFLM wheel's `compression` module.
    """
    graph = read_graph(content)
    kernels = {op.inputs[1] for op in graph.operators if op.name in KERNEL_OPERATORS}
    tables = [table for index in sorted(kernels) if (table := _table(graph.tensors[index]))]
    best, chosen = content, list[Any]()
    # The operator that unpacks a kernel takes bytes too, most of them names: the file's size decides.
    for table in sorted(tables, key=lambda table: len(_encode(content, [table]))):
        trial = _encode(content, [*chosen, table])
        if len(trial) < len(best):
            best, chosen = trial, [*chosen, table]
    if not chosen:
        raise ValueError("no kernel gets smaller as a look-up table: cluster the weights first")
    _check_identical(content, best)
    return best


def _table(kernel: Tensor) -> Any:
    """A kernel as a look-up table, as TFLM's tool takes it; None where it has too many values."""
    from tflite_micro.tensorflow.lite.micro.compression import spec

    if kernel.values is None or kernel.dtype not in ("int8", "int16", "float32"):
        return None
    axis = kernel.axis if kernel.scale.size > 1 else None
    if axis not in (None, 0, kernel.values.ndim - 1):
        return None  # the DECODE kernel knows the first and the last axis only
    slices = [kernel.values] if axis is None else np.moveaxis(kernel.values, axis, 0)
    bits = max(1, (max(np.unique(part).size for part in slices) - 1).bit_length())
    if bits > 7:
        return None
    mode = spec.PerTensor() if axis is None else spec.PerChannel(axis=axis)
    method = spec.LookUpTableCompression(index_bitwidth=bits, mode=mode)
    return spec.Tensor(subgraph=0, tensor=kernel.index, compression=[method])


def _encode(content: bytes, tables: list[Any]) -> bytes:
    """The file with kernels as look-up tables."""
    from tflite_micro.tensorflow.lite.micro.compression import compress

    # the tool reads an operator's code in the newer of its two fields only
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    for code in model.operatorCodes:
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a kernel gets larger so, which the file's size tells
        return bytes(compress(bytes(flatbuffer_utils.convert_object_to_bytearray(model)), tables))


def _check_identical(content: bytes, compressed: bytes) -> None:
    """Raise MicroError where TFLM refuses one of two files, or their outputs differ by a bit."""
    with Tflm() as child:
        ends = child.load(content, MAX_ARENA_BYTES)
        inputs = random_inputs(ends, CHECKED_IMAGES)
        expected = child.run(inputs)
        child.load(compressed, MAX_ARENA_BYTES)
        rows = zip(child.run(inputs), expected, strict=True)
        differing = int(np.any([np.any(one != other, axis=1) for one, other in rows], axis=0).sum())
    if differing:
        raise MicroError(f"the look-up tables change {differing} of {CHECKED_IMAGES} outputs")


def _output_error(outputs: np.ndarray, expected: np.ndarray) -> float:
    """Root mean square of the difference to the expected scores, over their standard deviation."""
    difference = float(np.sqrt(np.mean(np.square(outputs.astype(np.float64) - expected))))
    deviation = float(np.std(expected, dtype=np.float64))
    if deviation == 0:
        return 0.0 if difference == 0 else float("inf")
    return difference / deviation
