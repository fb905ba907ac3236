"""The process that `tflm` starts: runs files on TFLite Micro (TFLM) until its parent is gone.

It imports little, since it is started often.
"""

import contextlib
import signal
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from tflite_micro.python.tflite_micro import runtime


class MicroError(RuntimeError):
    """TFLM cannot load or run a file; the message holds TFLM's own reason."""


@dataclass(frozen=True, kw_only=True)
class Ends:
    """What TFLM says of each input and output: shape, dtype and, as scale and zero point, quantization.

    Scale 0 means real values.
    """

    sources: Sequence[Mapping[str, Any]]
    targets: Sequence[Mapping[str, Any]]


def serve(descriptor: int, cpu_seconds: float) -> None:
    """Answer (file, arena bytes) with `Ends`, and a list of inputs (n, ...) with one of outputs (n, numbers).

    An answer that takes more processor time than `cpu_seconds` ends the process with SIGPROF.
    """
    connection = Connection(descriptor)
    interpreter = None
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
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


def _ends(interpreter: Any) -> Ends:
    return Ends(
        sources=_details(interpreter.get_input_details), targets=_details(interpreter.get_output_details)
    )


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


def _run(interpreter: Any, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    outputs = []
    count = len(_details(interpreter.get_output_details))
    for image in zip(*inputs, strict=True):
        # a recurrent layer remembers the image before
        interpreter.reset()
        for index, given in enumerate(image):
            interpreter.set_input(given[None], index)
        interpreter.invoke()
        outputs.append([interpreter.get_output(index).reshape(-1) for index in range(count)])
    return [np.array(each) for each in zip(*outputs, strict=True)]
