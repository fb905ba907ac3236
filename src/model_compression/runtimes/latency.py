"""Whether LiteRT runs a .tflite file on this machine and how fast, on one thread.

Fewer bits need not be faster here: that depends on the kernels and on the processor. Zeros strewn over a
dense kernel never are: they are multiplied like any other number.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from ..data import datasets
from ..files import running
from ..quiet import quiet

Kernels = Literal["xnnpack", "plain"]
KERNELS: tuple[Kernels, ...] = ("xnnpack", "plain")

#: Timed rounds, and how many of them count: the quietest, since other work on the machine only adds time.
ROUNDS = 15
QUIETEST = 3
#: What a round of single images aims to last, in seconds, and the fewest images it takes.
ROUND_SECONDS = 0.01
MIN_RUNS_A_ROUND = 30
#: Different images that the runs cycle through.
IMAGES = 64


class LiteRTError(RuntimeError):
    """LiteRT cannot load or run a file; the message is LiteRT's own."""


@dataclass(frozen=True, kw_only=True)
class LatencyReport:
    """One file on one set of kernels; the figures are None where it does not run.

    Attributes:
        kernels: "xnnpack", LiteRT's default delegate, or "plain", its own optimized kernels.
        reason: why it does not run; empty when it does.
        latency_us_median, latency_us_p90: of `invoke` alone for one image, in microseconds. Copying the image
            in and the result out is left out; the call from Python, under 1 us, is in.
        spread: (largest - smallest) / median of the medians of the rounds that count: the median is as good
            as that.
        runs: images timed one at a time, in the rounds that count.
        images_per_s: in batches of `batch` images; None, with `batch_reason`, for a file of fixed batch size.
    """

    kernels: Kernels
    runs_on_litert: bool
    reason: str = ""
    latency_us_median: float | None = None
    latency_us_p90: float | None = None
    spread: float | None = None
    runs: int = 0
    images_per_s: float | None = None
    batch: int | None = None
    batch_reason: str = ""


def measure_latencies(
    files: Mapping[str, bytes],
    images: np.ndarray,
    *,
    kernels: Kernels = "xnnpack",
    batch: int = 1000,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> dict[str, LatencyReport]:
    """Time .tflite files on LiteRT, one thread: an image at a time, then in batches.

    The files take turns, round by round, so that a change in the machine's speed meets them all.

    Args:
        files: the files by name, each with one input.
        images: (n, ...), n >= 1, uint8 pixels (divided by 255) or floats; the first few are used.
        kernels: "xnnpack", LiteRT's default delegate, or "plain", its own optimized kernels.
        batch: images a batch for the throughput; `images` are repeated to fill it.
        clock: nanoseconds, never going back.
    Returns:
        A report by name; `runs_on_litert` is False, with LiteRT's reason, where LiteRT refuses the file.
    Raises:
        ValueError: unknown kernels, no images, or a batch below 1.
    """
    if kernels not in KERNELS:
        raise ValueError(f"kernels is {kernels!r}: allowed are 'xnnpack' and 'plain'")
    if len(images) == 0:
        raise ValueError("there are no images to time with")
    if batch < 1:
        raise ValueError(f"batch is {batch!r}: allowed is 1 or more")
    real = datasets.scale(images[: max(batch, IMAGES)])
    timers: dict[str, _Timer] = {}
    reports: dict[str, LatencyReport] = {}
    with quiet():
        for name, content in files.items():
            try:
                timers[name] = _Timer(_Loaded(content, kernels, batch=1), real[:IMAGES], clock)
            except LiteRTError as error:
                reports[name] = LatencyReport(kernels=kernels, runs_on_litert=False, reason=str(error))
        for _ in range(ROUNDS):
            for timer in timers.values():
                timer.time_round()
        for name, timer in timers.items():
            report = timer.report(kernels)
            try:
                images_per_s = _throughput(_Loaded(files[name], kernels, batch=batch), real, clock)
                reports[name] = replace(report, images_per_s=images_per_s, batch=batch)
            except LiteRTError as error:
                reports[name] = replace(report, batch_reason=str(error))
    return {name: reports[name] for name in files}


class _Loaded:
    """An interpreter for one batch size; every failure of LiteRT's is a LiteRTError."""

    def __init__(self, content: bytes, kernels: Kernels, *, batch: int) -> None:
        self.batch = batch
        with _litert_errors():
            self.interpreter: Interpreter = running.interpreter(content, delegate=kernels == "xnnpack")
            (self.input,) = self.interpreter.get_input_details()
            if self.input["shape"][0] != batch:
                self.interpreter.resize_tensor_input(self.input["index"], [batch, *self.input["shape"][1:]])
            self.interpreter.allocate_tensors()

    def stored(self, real: np.ndarray) -> np.ndarray:
        """One image or a batch of them as the input tensor takes it."""
        values = real.reshape(self.batch, *self.input["shape"][1:])
        scale, zero_point = self.input["quantization"]
        if scale:
            dtype = np.dtype(self.input["dtype"]).name
            values = running.quantize(values, scale=scale, zero_point=zero_point, dtype=dtype)
        return values

    def set(self, stored: np.ndarray) -> None:
        self.interpreter.set_tensor(self.input["index"], stored)

    def time(self, clock: Callable[[], int]) -> int:
        """Nanoseconds of one run."""
        with _litert_errors():
            start = clock()
            self.interpreter.invoke()
            return clock() - start


class _Timer:
    """Rounds of one image at a time; the two first, not recorded, are the warm-up."""

    def __init__(self, loaded: _Loaded, real: np.ndarray, clock: Callable[[], int]) -> None:
        self.loaded, self.clock = loaded, clock
        # made once: it takes longer than the run of a small net
        self.inputs = [loaded.stored(image) for image in real]
        self.rounds: list[np.ndarray] = []
        self._run(MIN_RUNS_A_ROUND)  # the first runs pack weights and fill caches
        typical = float(np.median(self._run(MIN_RUNS_A_ROUND)))
        self.runs = max(MIN_RUNS_A_ROUND, round(ROUND_SECONDS * 1e9 / max(typical, 1)))

    def _run(self, runs: int) -> np.ndarray:
        """Nanoseconds of each run."""
        times = []
        for i in range(runs):
            self.loaded.set(self.inputs[i % len(self.inputs)])
            times.append(self.loaded.time(self.clock))
        return np.array(times)

    def time_round(self) -> None:
        self.rounds.append(self._run(self.runs))

    def report(self, kernels: Kernels) -> LatencyReport:
        quietest = np.stack(sorted(self.rounds, key=np.median)[:QUIETEST])
        medians, highs = np.percentile(quietest, [50, 90], axis=1)
        return LatencyReport(
            kernels=kernels,
            runs_on_litert=True,
            latency_us_median=float(np.median(medians)) / 1e3,
            latency_us_p90=float(np.median(highs)) / 1e3,
            spread=float(np.ptp(medians) / np.median(medians)),
            runs=quietest.size,
        )


def _throughput(loaded: _Loaded, real: np.ndarray, clock: Callable[[], int]) -> float:
    """Images a second: the median of the quietest batches, after one of warm-up."""
    loaded.set(loaded.stored(np.resize(real, (loaded.batch, *real.shape[1:]))))
    loaded.time(clock)
    # the rows of the output are known for sure only after a run
    outputs = int(loaded.interpreter.get_output_details()[0]["shape"][0])
    if outputs != loaded.batch:
        raise LiteRTError(f"a batch of {loaded.batch} has {outputs} outputs")
    times = sorted(loaded.time(clock) for _ in range(ROUNDS))[:QUIETEST]
    return loaded.batch / (float(np.median(times)) / 1e9)


@contextlib.contextmanager
def _litert_errors() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise LiteRTError(" ".join(str(error).split())) from error
