"""A TFLite Micro (TFLM) interpreter in a process of its own.

TFLM trusts its input: an arena too small for its own bookkeeping, or a damaged file, ends the process. So
every file runs in a child, whose death is an answer like any other, and whose stderr holds TFLM's reasons.

Source: the `tflite-micro` wheel; its kernels are the reference ones, for this machine.
"""

import bisect
import os
import re
import signal
import subprocess
import sys
import tempfile
from multiprocessing.connection import Pipe
from typing import Any, cast

import numpy as np

from ..data import datasets
from ..files import running
from .tflm_child import Ends, MicroError

#: TFLM rounds both ends of the arena to this, so its size in bytes matters in steps of it.
ALIGNMENT = 16
#: The first arena tried, doubled until it is enough, and the largest: more than any microcontroller has.
FIRST_ARENA_BYTES = 4 * 2**10
MAX_ARENA_BYTES = 16 * 2**20
#: Images that a child takes at once, and how long it may take over them or over a file: seconds of its own
#: processor time, since those of the clock would make the answer depend on what else the machine does.
IMAGES_A_MESSAGE = 250
CPU_SECONDS = 120.0


class Tflm:
    """A process that loads files into TFLM and runs them; started again after each death."""

    def __enter__(self) -> "Tflm":
        self._stderr = tempfile.TemporaryFile(buffering=0)
        self._start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop()
        self._stderr.close()

    def _start(self) -> None:
        self._connection, theirs = Pipe()
        module = "model_compression.runtimes.tflm_child"
        code = f"from {module} import serve; serve({theirs.fileno()}, {CPU_SECONDS})"
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

    def _ask(self, request: object) -> Any:
        """The child's answer.

        Raises:
            MicroError: it refused, died, or took too long.
        """
        self._stderr.seek(0)
        self._stderr.truncate()
        died = ""
        try:
            self._connection.send(request)
            answer = self._connection.recv()
        except (EOFError, ConnectionError):
            died = _death(self._process.wait())
        if died:
            self._stop()
            self._start()
            raise MicroError("; ".join(filter(None, (died, self._said()))))
        if isinstance(answer, Exception):
            raise MicroError(self._said() or str(answer))
        return answer

    def _said(self) -> str:
        """TFLM's first two lines, without places in its code: the operator, and what is wrong with it."""
        self._stderr.seek(0)
        said = self._stderr.read().decode(errors="replace").splitlines()
        lines = [re.sub(r"\S+\.(cc|h)(:\d+)?:? ", "", line).strip() for line in said]
        return "; ".join(list(dict.fromkeys(line for line in lines if line))[:2])

    def load(self, content: bytes, arena_bytes: int) -> Ends:
        return cast(Ends, self._ask((content, arena_bytes)))

    def run(self, inputs: np.ndarray) -> np.ndarray:
        """The loaded file's outputs (n, ...), as TFLM stores them."""
        starts = range(0, len(inputs), IMAGES_A_MESSAGE)
        return np.concatenate([self._ask(inputs[start : start + IMAGES_A_MESSAGE]) for start in starts])

    def outputs(self, content: bytes, images: np.ndarray, *, arena_bytes: int) -> np.ndarray:
        ends = self.load(content, arena_bytes)
        outputs = self.run(_quantized(images, ends)).astype(np.float32)
        if ends.output_scale:
            outputs = (outputs - ends.output_zero_point) * np.float32(ends.output_scale)
        return outputs

    def smallest_arena(self, content: bytes) -> int:
        ends = self.load(content, MAX_ARENA_BYTES)
        probe = random_inputs(ends, 1)
        expected = self.run(probe)

        def works(arena_bytes: int) -> bool:
            try:
                self.load(content, arena_bytes)
                return np.array_equal(self.run(probe), expected)
            except MicroError:
                return False

        enough = FIRST_ARENA_BYTES
        while enough < MAX_ARENA_BYTES and not works(enough):
            enough *= 2
        sizes = range(0, enough + 1, ALIGNMENT)
        # half of it did not do, unless it was the first that was tried
        least = 1 if enough == FIRST_ARENA_BYTES else len(sizes) // 2 + 1
        return sizes[bisect.bisect_left(sizes, True, least, len(sizes) - 1, key=works)]


def random_inputs(ends: Ends, images: int) -> np.ndarray:
    """The same inputs each time, (images, ...): floats from 0 to 1, or integers over their whole range."""
    generator = np.random.default_rng(0)
    shape = (images, *ends.shape[1:])
    if not ends.scale:
        return generator.random(shape).astype(ends.dtype)
    limits = np.iinfo(ends.dtype)
    return generator.integers(limits.min, limits.max, shape, ends.dtype, endpoint=True)


def _quantized(images: np.ndarray, ends: Ends) -> np.ndarray:
    """Images as TFLM's input tensor takes them, shape (n,) + the tensor's; axes of one may be missing."""
    if ends.shape[:1] != (1,):
        raise ValueError(f"the input tensor is {ends.shape}: its batch size must be 1")
    if [size for size in images.shape[1:] if size > 1] != [size for size in ends.shape[1:] if size > 1]:
        raise ValueError(f"the images are {images.shape[1:]}: the input tensor takes {ends.shape[1:]}")
    real = datasets.scale(images).reshape(-1, *ends.shape[1:])
    if not ends.scale:
        return real.astype(ends.dtype)
    return running.quantize(real, scale=ends.scale, zero_point=ends.zero_point, dtype=ends.dtype)


def _death(status: int) -> str:
    if status == -signal.SIGPROF:
        return f"it takes more than {CPU_SECONDS:g} s of processor time"
    return f"it ends the process with {signal.Signals(-status).name if status < 0 else f'status {status}'}"
