"""Running .tflite files on TFLite Micro (TFLM), in a process of its own.

TFLM trusts its input: an arena too small for its own bookkeeping, or a damaged file, ends the process. So every
file runs in a child, whose death is an answer like any other, and whose stderr holds TFLM's reasons.

Flash is the model array alone. The kernels and the interpreter come on top, tens of kB that depend on the target,
the compiler and the operators; they are not measured here.

Source: the `tflite-micro` wheel, reference kernels on this machine.
"""

import os
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from types import TracebackType
from typing import Any

import numpy as np

from model_compression import data, tflite
from model_compression.latency import quiet_stderr

#: TFLM rounds both ends of the arena to this, so its size in bytes matters in steps of it.
ALIGNMENT = 16
#: The largest arena tried: what no microcontroller has.
MAX_ARENA_BYTES = 16 * 2**20
#: TFLM and LiteRT round differently, so a label may differ where two scores are within a rounding step. Files that
#: compute right differ in 1 label of 10,000 at most; weight-only int8, which does not, in 335 of them.
MIN_AGREEMENT = 0.99
#: The same for the scores: 0.003 in int8 files that compute right, 0.4 in weight-only int8.
MAX_OUTPUT_ERROR = 0.1
#: What a DECODE operator and its tensors add to a file, about 350 to 550 bytes: a table has to save more than that.
DECODE_BYTES = 600
#: Random images on which look-up tables are checked.
CHECKED_IMAGES = 64
#: Images that a child takes at once, and how long it may take over them or over a file, in seconds.
IMAGES_A_MESSAGE = 250
TIMEOUT_SECONDS = 120.0


class MicroError(RuntimeError):
    """TFLM cannot load or run a file; the message holds TFLM's own reason."""


@dataclass(frozen=True, kw_only=True)
class MicroReport:
    """What a file does on TFLM.

    Attributes:
        runs_on_tflm: it loads, runs, and computes what LiteRT computes.
        reason: why not; empty when it does.
        arena_bytes: the smallest arena that works on this machine, a multiple of 16; None when it does not run.
            A target with 32-bit pointers needs a little less, one with kernels of its own perhaps more.
        tflm_agreement: fraction of the images to which LiteRT gives the same label.
        output_error: root mean square of the difference to LiteRT's scores, over their standard deviation.
        images: how many images that was measured on.
        flash_bytes: the model array's bytes; kernels and interpreter not counted.
    """

    runs_on_tflm: bool
    reason: str = ""
    arena_bytes: int | None = None
    tflm_agreement: float | None = None
    output_error: float | None = None
    images: int = 0
    flash_bytes: int


def flash_bytes(content: bytes) -> int:
    """Read-only memory that a model takes on a device, in bytes: its array, executed in place.

    Not counted: TFLM's interpreter and kernels, the same for every model with the same operators.
    """
    return len(content)


def measure_micro(content: bytes, images: np.ndarray, *, reference: bytes | None = None) -> MicroReport:
    """Run a .tflite file on TFLM and compare it with LiteRT.

    Args:
        content: the file, with one input of batch size 1 (or open).
        images: (n, ...), n >= 1, uint8 pixels (divided by 255) or floats.
        reference: the file that LiteRT runs; default `content`. A look-up-table file, which LiteRT cannot
            run, takes the file it was made from.
    Returns:
        The report. `runs_on_tflm` is False, with the reason, for a file that TFLM refuses or that it computes
        wrongly: labels that agree on less than `MIN_AGREEMENT` of the images, or `output_error` above
        `MAX_OUTPUT_ERROR`.
    Raises:
        ValueError: no images, or images that do not fit the file.
        RuntimeError: LiteRT runs the reference on neither kind of kernels.
    """
    if len(images) == 0:
        raise ValueError("there are no images to compare with")
    size = flash_bytes(content)
    try:
        with _Child() as child:
            arena_bytes = child.smallest_arena(content)
            outputs = child.outputs(content, images, arena_bytes=arena_bytes)
    except MicroError as error:
        return MicroReport(runs_on_tflm=False, reason=str(error), flash_bytes=size)
    expected = _litert_outputs(content if reference is None else reference, images)
    agreement = float(np.mean(outputs.argmax(axis=-1) == expected.argmax(axis=-1)))
    error = _output_error(outputs, expected)
    if agreement < MIN_AGREEMENT or error > MAX_OUTPUT_ERROR:
        reason = f"computes wrongly: agreement {agreement:.4f}, output error {error:.3f}"
        return MicroReport(runs_on_tflm=False, reason=reason, images=len(images), flash_bytes=size)
    return MicroReport(
        runs_on_tflm=True,
        arena_bytes=arena_bytes,
        tflm_agreement=agreement,
        output_error=error,
        images=len(images),
        flash_bytes=size,
    )


def smallest_arena(content: bytes) -> int:
    """The smallest arena, in bytes, in which TFLM runs a file; 16 bytes less fail.

    Found by bisection: an arena works when the file loads, runs, and gives the outputs it gives in the largest.

    Raises:
        MicroError: TFLM refuses the file.
    """
    with _Child() as child:
        return child.smallest_arena(content)


def micro_outputs(content: bytes, images: np.ndarray, *, arena_bytes: int = MAX_ARENA_BYTES) -> np.ndarray:
    """TFLM's outputs as real values.

    Args:
        content: a .tflite file with one input of batch size 1 (or open).
        images: (n, ...) uint8 pixels (divided by 255) or floats; divided by the input's scale, shifted by its
            zero point, rounded, clipped, then cast.
        arena_bytes: the arena.
    Returns:
        float32, (n,) + one output's shape.
    Raises:
        MicroError: TFLM refuses the file or the arena.
        ValueError: images that do not fit the file.
    """
    with _Child() as child:
        return child.outputs(content, images, arena_bytes=arena_bytes)


def compress_lut(content: bytes) -> bytes:
    """A clustered model with its kernels as look-up tables and packed indices, for TFLM only.

    Lossless: the outputs are compared bit for bit on random images. A DECODE operator before each layer
    unpacks the kernel into the arena, which grows by the largest kernel: less flash, more RAM.

    Kernels quantized per channel get a table a channel, the others one table. TFLM reads the kernel's scales to
    know which it is, so that one table for a per-channel kernel loads and computes nonsense. Kernels with more
    than 128 distinct weights to a table, 4-bit ones, and those that would not get smaller stay as they are.

    Args:
        content: a .tflite file that runs on TFLM.
    Returns:
        The smaller file.
    Raises:
        ValueError: no kernel gets smaller.
        MicroError: TFLM refuses either file, or their outputs differ.
    Source: the TFLM wheel's `compression` module.
    """
    graph = tflite.read_graph(content)
    kernels = [graph.tensors[op.inputs[1]] for op in graph.operators if op.name in tflite.KERNEL_OPERATORS]
    specs = {kernel.index: spec for kernel in kernels if (spec := _table_spec(kernel)) is not None}
    if not specs:
        raise ValueError("no kernel gets smaller as a look-up table: cluster the weights first")
    compressed = _encode(content, specs)
    if len(compressed) >= len(content):
        raise ValueError(f"look-up tables take {len(compressed)} bytes, and the file {len(content)}")
    _check_identical(content, compressed)
    return compressed


@dataclass(frozen=True, kw_only=True)
class _TableSpec:
    """Bits an index, and the axis that has a table a slice; None = one table."""

    bits: int
    axis: int | None


def _table_spec(kernel: tflite.Tensor) -> _TableSpec | None:
    """How to store a kernel, or None where that does not pay."""
    if kernel.values is None or kernel.dtype not in ("int8", "int16", "float32"):
        return None
    axis = kernel.axis if kernel.scale.size > 1 else None
    if axis not in (None, 0, kernel.values.ndim - 1):
        return None  # the DECODE kernel knows the first and the last axis only
    slices = [kernel.values] if axis is None else list(np.moveaxis(kernel.values, axis, 0))
    entries = max(np.unique(part).size for part in slices)
    bits = max(1, (entries - 1).bit_length())
    if bits > 7:
        return None
    table_bytes = entries * len(slices) * kernel.values.itemsize
    saved_bytes = kernel.values.nbytes - -(-kernel.values.size * bits // 8) - table_bytes
    return _TableSpec(bits=bits, axis=axis) if saved_bytes > DECODE_BYTES else None


def _encode(content: bytes, specs: Mapping[int, _TableSpec]) -> bytes:
    from tflite_micro.tensorflow.lite.micro.compression import compress, spec

    tables = [
        spec.Tensor(
            subgraph=0,
            tensor=index,
            compression=[
                spec.LookUpTableCompression(
                    index_bitwidth=table.bits,
                    mode=spec.PerTensor() if table.axis is None else spec.PerChannel(axis=table.axis),
                )
            ],
        )
        for index, table in specs.items()
    ]
    return bytes(compress(content, tables))


def _check_identical(content: bytes, compressed: bytes) -> None:
    """Compare two files' outputs, bit for bit.

    Raises:
        MicroError: TFLM refuses one of them, or they differ.
    """
    with _Child() as child:
        ends = child.load(content, MAX_ARENA_BYTES)
        inputs = _random_inputs(ends, CHECKED_IMAGES)
        expected = child.run(inputs)
        child.load(compressed, MAX_ARENA_BYTES)
        differing = int(np.any(child.run(inputs) != expected, axis=tuple(range(1, expected.ndim))).sum())
    if differing:
        raise MicroError(
            f"the look-up tables change the outputs of {differing} of {CHECKED_IMAGES} random images"
        )


def _random_inputs(ends: "_Ends", images: int) -> np.ndarray:
    """The same inputs each time, (images, ...): floats from 0 to 1, or integers over their whole range."""
    generator = np.random.default_rng(0)
    shape = (images, *ends.shape[1:])
    if not ends.scale:
        return generator.random(shape).astype(ends.dtype)
    limits = np.iinfo(ends.dtype)
    return generator.integers(limits.min, limits.max, shape, ends.dtype, endpoint=True)


def _litert_outputs(content: bytes, images: np.ndarray) -> np.ndarray:
    """LiteRT's outputs, by its default delegate where that takes the file, else by its plain kernels."""
    real = data.scale(images)
    with quiet_stderr():
        try:
            return tflite.logits(content, real)
        except RuntimeError:
            return tflite.logits(content, real, delegate=False)


def _output_error(outputs: np.ndarray, expected: np.ndarray) -> float:
    difference = float(np.sqrt(np.mean(np.square(outputs.astype(np.float64) - expected))))
    deviation = float(np.std(expected, dtype=np.float64))
    if deviation == 0:
        return 0.0 if difference == 0 else float("inf")
    return difference / deviation


@dataclass(frozen=True, kw_only=True)
class _Ends:
    """What TFLM says of the input and the output; scale 0 means real values."""

    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int
    output_scale: float
    output_zero_point: int


class _Child:
    """A process that loads files into TFLM and runs them; started again after each death."""

    def __enter__(self) -> "_Child":
        self._stderr = tempfile.TemporaryFile()
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._stderr.close()

    def _start(self) -> None:
        self._connection, theirs = Pipe()
        code = f"from model_compression.micro import _serve; _serve({theirs.fileno()})"
        # The child finds the package where this process found it, installed or not.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            pass_fds=[theirs.fileno()],
            env=environment,
        )
        theirs.close()

    def _stop(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def _ask(self, request: object) -> object:
        """The child's answer.

        Raises:
            MicroError: it refused, died, or took too long.
        """
        self._stderr.seek(0)
        self._stderr.truncate()
        died = ""
        try:
            self._connection.send(request)
            if self._connection.poll(TIMEOUT_SECONDS):
                answer = self._connection.recv()
            else:
                died = f"it gives no answer within {TIMEOUT_SECONDS:.0f} s"
        except (EOFError, ConnectionError):
            died = f"it ends the process with {_status_name(self._process.wait())}"
        if died:
            self._stop()
            self._start()
            raise MicroError(self._reason(died))
        if isinstance(answer, Exception):
            raise MicroError(self._reason(str(answer)))
        return answer

    def _reason(self, otherwise: str) -> str:
        """TFLM's first two lines, which name the operator and what is wrong with it."""
        self._stderr.seek(0)
        lines = [line.strip() for line in self._stderr.read().decode(errors="replace").splitlines()]
        said = list(dict.fromkeys(line for line in lines if line))
        return "; ".join(said[:2]) or otherwise

    def load(self, content: bytes, arena_bytes: int) -> _Ends:
        ends = self._ask((content, arena_bytes))
        assert isinstance(ends, _Ends)
        return ends

    def run(self, inputs: np.ndarray) -> np.ndarray:
        """The loaded file's outputs (n, ...), as TFLM stores them."""
        parts = []
        for start in range(0, len(inputs), IMAGES_A_MESSAGE):
            part = self._ask(inputs[start : start + IMAGES_A_MESSAGE])
            assert isinstance(part, np.ndarray)
            parts.append(part)
        return np.concatenate(parts)

    def outputs(self, content: bytes, images: np.ndarray, *, arena_bytes: int) -> np.ndarray:
        ends = self.load(content, arena_bytes)
        outputs = self.run(_quantized(images, ends)).astype(np.float32)
        if ends.output_scale:
            outputs = (outputs - ends.output_zero_point) * np.float32(ends.output_scale)
        return outputs

    def smallest_arena(self, content: bytes) -> int:
        ends = self.load(content, MAX_ARENA_BYTES)
        probe = _random_inputs(ends, 1)
        expected = self.run(probe)

        def works(arena_bytes: int) -> bool:
            try:
                self.load(content, arena_bytes)
                return np.array_equal(self.run(probe), expected)
            except MicroError:
                return False

        too_small, enough = 0, MAX_ARENA_BYTES // ALIGNMENT
        while enough - too_small > 1:
            middle = (too_small + enough) // 2
            if works(middle * ALIGNMENT):
                enough = middle
            else:
                too_small = middle
        return enough * ALIGNMENT


def _quantized(images: np.ndarray, ends: _Ends) -> np.ndarray:
    """Images as TFLM's input tensor takes them, shape (n,) + the tensor's."""
    if ends.shape[:1] != (1,):
        raise ValueError(f"the input tensor is {ends.shape}: its batch size must be 1")
    if images.shape[1:] != ends.shape[1:]:
        raise ValueError(f"the images are {images.shape[1:]}: the input tensor takes {ends.shape[1:]}")
    real = data.scale(images)
    if not ends.scale:
        return real.astype(ends.dtype)
    return tflite.quantize(real, scale=ends.scale, zero_point=ends.zero_point, dtype=ends.dtype)


def _status_name(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"status {status}"


def _serve(descriptor: int) -> None:
    """The child: answers (file, arena bytes) with `_Ends`, inputs (n, ...) with outputs (n, ...)."""
    from tflite_micro.python.tflite_micro import runtime

    connection = Connection(descriptor)
    interpreter = None
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        try:
            if isinstance(request, tuple):
                interpreter = None  # frees the arena before the next is made
                interpreter = runtime.Interpreter.from_bytes(request[0], arena_size=request[1])
                connection.send(_ends(interpreter))
            else:
                connection.send(_run(interpreter, request))
        except struct.error as error:
            connection.send(MicroError(f"the file is damaged: {error}"))
        except Exception as error:
            connection.send(MicroError(str(error)))


def _ends(interpreter: Any) -> _Ends:
    source, target = interpreter.get_input_details(0), interpreter.get_output_details(0)
    (scale, zero_point), (output_scale, output_zero_point) = map(_quantization, (source, target))
    return _Ends(
        shape=tuple(int(size) for size in source["shape"]),
        dtype=np.dtype(source["dtype"]).name,
        scale=scale,
        zero_point=zero_point,
        output_scale=output_scale,
        output_zero_point=output_zero_point,
    )


def _quantization(details: dict[str, Any]) -> tuple[float, int]:
    parameters = details["quantization_parameters"]
    if not len(parameters["scales"]):
        return 0.0, 0
    return float(parameters["scales"][0]), int(parameters["zero_points"][0])


def _run(interpreter: Any, inputs: np.ndarray) -> np.ndarray:
    outputs = []
    for image in inputs:
        interpreter.set_input(image[None], 0)
        interpreter.invoke()
        outputs.append(interpreter.get_output(0)[0])
    return np.array(outputs)
