"""The process that `tflm` starts: runs files on TFLite Micro (TFLM) until its parent is gone.

It imports little, since it is started often.
"""

import signal
import struct
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from tflite_micro.python.tflite_micro import runtime


class MicroError(RuntimeError):
    """TFLM cannot load or run a file; the message holds TFLM's own reason."""


@dataclass(frozen=True, kw_only=True)
class Ends:
    """What TFLM says of the input and the output; scale 0 means real values."""

    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int
    output_scale: float
    output_zero_point: int


def serve(descriptor: int, cpu_seconds: float) -> None:
    """Answer (file, arena bytes) with `Ends`, and inputs (n, ...) with outputs (n, ...).

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
    source, target = interpreter.get_input_details(0), interpreter.get_output_details(0)
    (scale, zero_point), (output_scale, output_zero_point) = map(_quantization, (source, target))
    return Ends(
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
        # a recurrent layer remembers the image before
        interpreter.reset()
        interpreter.set_input(image[None], 0)
        interpreter.invoke()
        outputs.append(interpreter.get_output(0)[0])
    return np.array(outputs)
