"""Whether LiteRT runs a .tflite file on this machine and how fast, on one thread.

Fewer bits need not be faster here: that depends on the kernels and on the processor. Zeros strewn over a
dense kernel never are: they are multiplied like any other number.
"""

import contextlib
import functools
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from ..children import Child
from ..data import datasets
from ..files import running
from ..quiet import quiet

Kernels = Literal["xnnpack", "plain"]
KERNELS: tuple[Kernels, ...] = get_args(Kernels)
#: Timed rounds, and the part of them that counts: the quietest, since other work only adds time.
ROUNDS = 15
QUIETEST = 1 / 5
#: Processes that share the rounds: where memory lies differs from one to the next, and with it the time.
PROCESSES = 3
#: What a round of single images aims to last, in seconds, and the fewest images it takes.
ROUND_SECONDS = 0.01
MIN_RUNS = 30
#: Different images that the runs cycle through.
IMAGES = 64


@dataclass(frozen=True, kw_only=True)
class LatencyReport:
    """One file on one set of kernels; the figures are NaN where it does not run.

    Attributes:
        reason: why it does not run; empty when it does.
        latency_us_median, latency_us_p90: of `invoke` alone for one image, in microseconds. Copying the image
            in and the result out is left out; the call from Python, under 1 us, is in.
        latency_spread: (largest - smallest) / median of the medians of the rounds that count, or of the
            processes: the median is as good as that.
        images_per_s: in batches; NaN for a file of fixed batch size.
    """

    runs_on_litert: bool
    reason: str = ""
    latency_us_median: float = np.nan
    latency_us_p90: float = np.nan
    latency_spread: float = np.nan
    images_per_s: float = np.nan


def measure_latencies(
    files: Sequence[bytes],
    images: np.ndarray,
    *,
    kernels: Kernels = "xnnpack",
    batch: int = 1000,
    processes: int = 1,
    rounds: int = ROUNDS,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> list[LatencyReport]:
    """Time .tflite files on LiteRT, one thread: an image at a time, then in batches.

    The files take turns, round by round, so that a change in the machine's speed meets them all.

    Args:
        files: .tflite files; one of several inputs takes them in a row.
        images: (n, ...), n >= 1, uint8 pixels (divided by 255) or floats; the first few are used.
        kernels: "xnnpack", LiteRT's default delegate, or "plain", its own optimized kernels.
        batch: images a batch for the throughput; `images` are repeated to fill it.
        processes: fresh ones, one after the other, which differ more than the rounds of one do and share them
            out; each figure is the median of theirs, `latency_spread` that of their medians. 1 for this one.
        rounds: of which the quietest fifth counts, one at least.
        clock: nanoseconds, never going back.
    Returns:
        A report a file; `runs_on_litert` is False, with LiteRT's reason, where LiteRT refuses it.
    Raises:
        ValueError: unknown kernels, no images, or a batch below 1.
    """
    if kernels not in KERNELS:
        raise ValueError(f"kernels is {kernels!r}: allowed are 'xnnpack' and 'plain'")
    if len(images) == 0:
        raise ValueError("there are no images to time with")
    if batch < 1:
        raise ValueError(f"batch is {batch!r}: allowed is 1 or more")
    if processes > 1:
        some, found = max(1, rounds // processes), []
        ask = functools.partial(measure_latencies, files, images, kernels=kernels, batch=batch, rounds=some)
        for _ in range(processes):
            with Child() as fresh:
                found.append(fresh.call(ask))
        return [_middle(reports) for reports in zip(*found, strict=True)]
    real = datasets.scale(images[: max(batch, IMAGES)])
    timers: dict[int, _Timer] = {}
    reports: dict[int, LatencyReport] = {}
    with quiet():
        for number, content in enumerate(files):
            try:
                timers[number] = _Timer(content, real[:IMAGES, None], kernels, clock)
            except (RuntimeError, ValueError) as error:
                reason = " ".join(str(error).split())
                reports[number] = LatencyReport(runs_on_litert=False, reason=reason)
        runs = {number: _runs_a_round(timer) for number, timer in timers.items()}
        timed = [{n: timer.run(runs[n]) for n, timer in timers.items()} for _ in range(rounds)]
        filled = np.resize(real, (1, batch, *real.shape[1:]))
        for number in timers:
            reports[number] = _report([times[number] for times in timed])
            with contextlib.suppress(RuntimeError, ValueError):
                images_per_s = _throughput(_Timer(files[number], filled, kernels, clock), rounds)
                reports[number] = replace(reports[number], images_per_s=images_per_s)
    return [reports[number] for number in range(len(files))]


def _middle(reports: Sequence[LatencyReport]) -> LatencyReport:
    """What several processes found of one file."""
    if refused := [each for each in reports if not each.runs_on_litert]:
        return refused[0]
    figures = ("latency_us_median", "latency_us_p90", "images_per_s")
    found: dict[str, Any] = {
        name: np.median([getattr(each, name) for each in reports]).item() for name in figures
    }
    medians = np.array([each.latency_us_median for each in reports])
    return LatencyReport(
        runs_on_litert=True,
        latency_spread=_spread(medians),
        **found,
    )


class _Timer:
    """A file on LiteRT that is given batches in turn.

    Args:
        batches: (batches, images, ...).
    Raises:
        RuntimeError, ValueError: LiteRT cannot load or run it.
    """

    def __init__(
        self, content: bytes, batches: np.ndarray, kernels: Kernels, clock: Callable[[], int]
    ) -> None:
        self.clock, self.batch = clock, batches.shape[1]
        self.interpreter = running.allocated(content, delegate=kernels == "xnnpack", batch=self.batch)
        sources = self.interpreter.get_input_details()
        # made once: it takes longer than the run of a small net
        self.batches = [
            {
                source["index"]: running.stored(part, source)
                for source, part in zip(sources, running.split(batch, sources), strict=True)
            }
            for batch in batches
        ]
        self.run(MIN_RUNS if self.batch == 1 else 1)

    def run(self, runs: int) -> np.ndarray:
        """Nanoseconds of each run."""
        times = []
        for batch in itertools.islice(itertools.cycle(self.batches), runs):
            for index, part in batch.items():
                self.interpreter.set_tensor(index, part)
            start = self.clock()
            self.interpreter.invoke()
            times.append(self.clock() - start)
        return np.array(times)


def _runs_a_round(timer: _Timer) -> int:
    typical = float(np.median(timer.run(MIN_RUNS)))
    return max(MIN_RUNS, round(ROUND_SECONDS * 1e9 / max(typical, 1)))


def _spread(medians: np.ndarray) -> float:
    return float(np.ptp(medians) / np.median(medians))


def _counting(rounds: int) -> int:
    return max(1, round(QUIETEST * rounds))


def _report(rounds: list[np.ndarray]) -> LatencyReport:
    quietest = np.stack(sorted(rounds, key=np.median)[: _counting(len(rounds))])
    medians, highs = np.percentile(quietest, [50, 90], axis=1)
    return LatencyReport(
        runs_on_litert=True,
        latency_us_median=float(np.median(medians)) / 1e3,
        latency_us_p90=float(np.median(highs)) / 1e3,
        latency_spread=_spread(medians),
    )


def _throughput(timer: _Timer, rounds: int) -> float:
    """Images a second: the median of the quietest batches."""
    # the rows of the output are known for sure only after a run
    outputs = int(timer.interpreter.get_output_details()[0]["shape"][0])
    if outputs != timer.batch:
        raise ValueError(f"a batch of {timer.batch} has {outputs} outputs")
    return timer.batch / (float(np.median(np.sort(timer.run(rounds))[: _counting(rounds)])) / 1e9)
