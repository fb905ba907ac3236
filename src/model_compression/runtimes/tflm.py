"""A TFLite Micro (TFLM) interpreter in a process of its own.

TFLM trusts its input: an arena too small for its own bookkeeping, or a damaged file, ends the process. So
every file runs in a child, whose death is an answer like any other, and whose stderr holds TFLM's reasons.

Source: the `tflite-micro` wheel; its kernels are the reference ones, for this machine.
"""

import bisect
import re
import signal
import tempfile
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import numpy as np

from ..children import Child, DeathError
from ..data import datasets
from ..files import running
from . import tflm_child
from .tflm_child import Ends

Answer = TypeVar("Answer")

#: TFLM rounds both ends of the arena to this, so its size in bytes matters in steps of it.
ALIGNMENT = 16
#: The largest arena tried: more than any microcontroller has.
MAX_ARENA_BYTES = 16 * 2**20
#: Images that a child takes at once, and how long it may take over them or over a file: seconds of its own
#: processor time, since those of the clock would make the answer depend on what else the machine does.
IMAGES_A_MESSAGE = 250
CPU_SECONDS = 120.0


class MicroError(RuntimeError):
    """TFLM cannot load or run a file; the message holds TFLM's own reason."""


class Tflm:
    """A process that loads files into TFLM and runs them; started again after each death."""

    def __enter__(self) -> "Tflm":
        self._stderr = tempfile.TemporaryFile(buffering=0)
        self._child = Child(self._stderr)
        return self

    def __exit__(self, *raised: object) -> None:
        self._child.end()
        self._stderr.close()

    def _ask(self, work: Callable[..., Answer], *given: object) -> Answer:
        """The child's answer.

        Raises:
            MicroError: it refused, died, or took too long.
        """
        self._stderr.seek(0)
        self._stderr.truncate()
        try:
            return cast(Answer, self._child.call(work, *given, CPU_SECONDS))
        except DeathError as error:
            status = error.status or 0
            ended = signal.Signals(-status).name if status < 0 else f"status {status}"
            told = f"it ends the process with {ended}"
            if status == -signal.SIGPROF:
                told = f"it takes more than {CPU_SECONDS:g} s of processor time"
            raise MicroError("; ".join(filter(None, (told, self._said())))) from error
        except (RuntimeError, ValueError) as error:
            raise MicroError(self._said() or str(error)) from error

    def _said(self) -> str:
        """TFLM's first two lines, without places in its code: the operator, and what is wrong with it."""
        self._stderr.seek(0)
        said = self._stderr.read().decode(errors="replace").splitlines()
        lines = [re.sub(r"\S+\.(cc|h)(:\d+)?:? ", "", line).strip() for line in said]
        return "; ".join(list(dict.fromkeys(line for line in lines if line))[:2])

    def load(self, content: bytes, arena_bytes: int) -> Ends:
        return self._ask(tflm_child.load, content, arena_bytes)

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The loaded file's outputs, (n, numbers) each, for n times its inputs, as TFLM stores them."""
        if not inputs:
            raise MicroError("the file has no inputs")
        parts = [
            self._ask(tflm_child.run, [each[start : start + IMAGES_A_MESSAGE] for each in inputs])
            for start in range(0, len(inputs[0]), IMAGES_A_MESSAGE)
        ]
        return [np.concatenate(each) for each in zip(*parts, strict=True)]

    def outputs(self, content: bytes, images: np.ndarray, *, arena_bytes: int) -> np.ndarray:
        """The outputs in a row, (n, numbers), as real values for images whose inputs are in a row."""
        ends = self.load(content, arena_bytes)
        if any(source["shape"][:1] != (1,) for source in ends.sources):
            raise ValueError(f"the input tensor is {ends.sources[0]['shape']}: its batch size must be 1")
        parts = running.split(datasets.scale(images), ends.sources)
        given = [running.stored(part, source) for part, source in zip(parts, ends.sources, strict=True)]
        return running.in_a_row(self.run(given), ends.targets)

    def smallest_arena(self, content: bytes) -> int:
        ends = self.load(content, MAX_ARENA_BYTES)
        probe = random_inputs(ends, 1)
        expected = self.run(probe)

        def works(arena_bytes: int) -> bool:
            try:
                self.load(content, arena_bytes)
                return all(map(np.array_equal, self.run(probe), expected))
            except MicroError:
                return False

        sizes = range(ALIGNMENT, MAX_ARENA_BYTES + 1, ALIGNMENT)
        return sizes[bisect.bisect_left(sizes, True, hi=len(sizes) - 1, key=works)]


def random_inputs(ends: Ends, images: int) -> list[np.ndarray]:
    """The same inputs each time, so many of each: floats from 0 to 1, or integers over their whole range."""
    generator, found = np.random.default_rng(0), []
    for source in ends.sources:
        shape, dtype = (images, *source["shape"]), source["dtype"]
        if source["quantization"][0]:
            limits = np.iinfo(dtype)
            found.append(generator.integers(limits.min, limits.max, shape, dtype, endpoint=True))
        else:
            found.append(generator.random(shape).astype(dtype))
    return found
