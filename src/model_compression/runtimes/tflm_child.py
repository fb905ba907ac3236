"""What runs files on TFLite Micro (TFLM) in the process that `tflm` starts.

It imports little, since it is started often.
"""

import contextlib
import signal
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tflite_micro.python.tflite_micro import runtime


@dataclass(frozen=True, kw_only=True)
class Ends:
    """What TFLM says of each input and output: shape, dtype and, as scale and zero point, quantization.

    Scale 0 means real values.
    """

    sources: Sequence[Mapping[str, Any]]
    targets: Sequence[Mapping[str, Any]]


#: The interpreter of the file that was loaded last, and that file's ends.
_loaded: list[tuple[Any, Ends]] = []


def load(content: bytes, arena_bytes: int, cpu_seconds: float) -> Ends:
    """Make a file the one that runs; more processor time than `cpu_seconds` ends the process with SIGPROF."""
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    _loaded.clear()  # frees the arena before the next is made
    try:
        interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena_bytes)
    except struct.error as error:
        raise ValueError(f"the file is damaged: {error}") from error
    sources, targets = map(_details, (interpreter.get_input_details, interpreter.get_output_details))
    ends = Ends(sources=sources, targets=targets)
    _loaded.append((interpreter, ends))
    return ends


def _details(tell: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    # how many there are is not told
    with contextlib.suppress(IndexError):
        while True:
            told = tell(len(found))
            scales, zero_points = (told["quantization_parameters"][k] for k in ("scales", "zero_points"))
            quantization = (float(scales[0]), int(zero_points[0])) if len(scales) else (0.0, 0)
            shape, dtype = tuple(map(int, told["shape"])), np.dtype(told["dtype"]).name
            found.append({"shape": shape, "dtype": dtype, "quantization": quantization})
    return found


def run(inputs: Sequence[np.ndarray], cpu_seconds: float) -> list[np.ndarray]:
    """Outputs (n, numbers) of the loaded file for n times its inputs, each of an input's size; see `load`."""
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    ((interpreter, ends),) = _loaded
    outputs = []
    for image in zip(*inputs, strict=True):
        # a recurrent layer remembers the image before
        interpreter.reset()
        for index, given in enumerate(image):
            interpreter.set_input(given.reshape(ends.sources[index]["shape"]), index)
        interpreter.invoke()
        outputs.append([interpreter.get_output(index).reshape(-1) for index in range(len(ends.targets))])
    return [np.array(each) for each in zip(*outputs, strict=True)]
