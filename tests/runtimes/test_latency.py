import itertools
from collections.abc import Iterable

import numpy as np
import pytest
from tflite_models import IMAGES, tflite_file

from model_compression.runtimes import latency
from model_compression.runtimes.latency import LatencyReport, measure_latencies

MS = 1_000_000


class Clock:
    """Each run takes the next of these nanoseconds; the last goes on for ever."""

    def __init__(self, durations: Iterable[int]) -> None:
        durations = list(durations)
        self.durations = itertools.chain(durations, itertools.repeat(durations[-1]))
        self.now = 0
        self.running = False

    def __call__(self) -> int:
        if self.running:
            self.now += next(self.durations)
        self.running = not self.running
        return self.now


def measure_latency(content: bytes, images: np.ndarray, **options: object) -> LatencyReport:
    return measure_latencies([content], images, **options)[0]


WARM_UP = 2 * latency.MIN_RUNS
#: Runs a round, where one takes 1 ms.
RUNS = max(latency.MIN_RUNS, round(latency.ROUND_SECONDS * 1000))


def test_steady_runs_give_their_own_time():
    report = measure_latency(tflite_file("int8"), IMAGES, batch=100, clock=Clock([MS]))
    assert report.runs_on_litert
    assert (report.latency_us_median, report.latency_us_p90, report.latency_spread) == (1000, 1000, 0)
    assert report.images_per_s == 100_000


def test_warm_up_does_not_count():
    report = measure_latency(tflite_file("int8"), IMAGES, clock=Clock([99 * MS] * 30 + [MS]))
    assert (report.latency_us_median, report.latency_us_p90) == (1000, 1000)


def test_disturbed_rounds_do_not_count():
    quiet = [MS] * RUNS
    disturbed = [5 * MS] * RUNS
    counting = latency.ROUNDS // 5
    rounds = [disturbed] * (latency.ROUNDS - counting) + [quiet] * counting
    clock = Clock([MS] * WARM_UP + [time for times in rounds for time in times])
    assert measure_latency(tflite_file("int8"), IMAGES, clock=clock).latency_us_p90 == 1000


def test_p90_and_spread_are_those_of_the_rounds_that_count():
    # 10 % of a round's runs take 3 ms, and the three quiet rounds' medians are 1, 1.1 and 1.2 ms.
    rounds = [
        [median] * (RUNS - RUNS // 5) + [3 * MS] * (RUNS // 5)
        for median in (MS, 12 * MS // 10, 11 * MS // 10)
    ]
    rounds += [[2 * MS] * RUNS] * (latency.ROUNDS - 3)
    clock = Clock([MS] * WARM_UP + [time for times in rounds for time in times])
    report = measure_latency(tflite_file("int8"), IMAGES, clock=clock)
    assert report.latency_us_median == 1100
    assert report.latency_us_p90 == 3000
    assert report.latency_spread == pytest.approx(0.2 / 1.1)


def test_of_few_rounds_the_quietest_counts():
    rounds = [[2 * MS] * RUNS, [MS] * RUNS]
    clock = Clock([MS] * WARM_UP + [time for times in rounds for time in times])
    report = measure_latency(tflite_file("int8"), IMAGES, rounds=2, clock=clock)
    assert (report.latency_us_median, report.latency_spread) == (1000, 0)


def test_figures_of_processes_are_their_medians_and_the_spread_is_between_them():
    reports = [
        LatencyReport(runs_on_litert=True, latency_us_median=a, latency_us_p90=2 * a, images_per_s=100 / a)
        for a in (10.0, 12.0, 11.0)
    ]
    middle = latency._middle(reports)
    assert (middle.latency_us_median, middle.latency_us_p90) == (11, 22)
    assert middle.images_per_s == pytest.approx(100 / 11)
    assert middle.latency_spread == pytest.approx(2 / 11)
    refused = LatencyReport(runs_on_litert=False, reason="no")
    assert latency._middle([reports[0], refused]) == refused


def test_fresh_processes_time_each_file_in_order():
    files = [tflite_file("fixed_batch"), b"no model at all", tflite_file("int8")]
    fixed, refused, int8 = measure_latencies(files, IMAGES, batch=4, processes=2)
    assert 0 < fixed.latency_us_median <= fixed.latency_us_p90
    assert np.isnan(fixed.images_per_s)
    assert not refused.runs_on_litert
    assert int8.images_per_s > 0
    assert int8.latency_spread >= 0


def test_real_time_is_above_zero_on_both_kinds_of_kernels(monkeypatch):
    monkeypatch.setattr(latency, "ROUND_SECONDS", 0.0)
    for kernels in ("xnnpack", "plain"):
        report = measure_latency(tflite_file("float32"), IMAGES, kernels=kernels)
        assert 0 < report.latency_us_median <= report.latency_us_p90
        assert report.images_per_s > 0


def test_every_run_gets_an_image(monkeypatch):
    seen, whole = [], latency._Timer.run

    def run(self: latency._Timer, runs: int) -> np.ndarray:
        seen.append(([part.shape for batch in self.batches for part in batch.values()], runs))
        return whole(self, runs)

    monkeypatch.setattr(latency._Timer, "run", run)
    measure_latency(tflite_file("float32"), IMAGES[:3], batch=7, clock=Clock([MS]))
    assert seen == [
        *[([(1, 16, 16)] * 3, latency.MIN_RUNS)] * (2 + latency.ROUNDS),
        ([(7, 16, 16)], 1),
        ([(7, 16, 16)], latency.ROUNDS),
    ]


def test_files_keep_their_order_and_a_refused_one_has_the_reason():
    files = [tflite_file("look_up_table"), b"no model at all", tflite_file("int8")]
    *refused, int8 = measure_latencies(files, IMAGES, clock=Clock([MS]))
    assert int8.runs_on_litert
    for report in refused:
        assert not report.runs_on_litert
        assert report.reason
        assert np.isnan(report.latency_us_median)


def test_a_file_of_fixed_batch_has_a_latency_and_no_throughput():
    report = measure_latency(tflite_file("fixed_batch"), IMAGES, clock=Clock([MS]))
    assert report.runs_on_litert
    assert report.latency_us_median == 1000
    assert np.isnan(report.images_per_s)


def test_a_file_of_several_inputs_is_given_all_of_them():
    (report,) = measure_latencies([tflite_file("two_inputs")], IMAGES.reshape(len(IMAGES), -1), batch=4)
    assert report.runs_on_litert
    assert report.latency_us_median > 0
    assert report.images_per_s > 0


def test_timing_is_quiet(capfd):
    measure_latency(tflite_file("int8"), IMAGES, clock=Clock([MS]))
    measure_latency(tflite_file("look_up_table"), IMAGES, clock=Clock([MS]))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": IMAGES[:0]}, "there are no images to time with"),
        ({"batch": 0}, "batch is 0: allowed is 1 or more"),
        ({"kernels": "gpu"}, "kernels is 'gpu': allowed are 'xnnpack' and 'plain'"),
    ],
)
def test_bad_arguments_are_errors(changes, message):
    arguments = {"images": IMAGES, "batch": 1, "kernels": "plain"} | changes
    with pytest.raises(ValueError, match=f"^{message}$"):
        measure_latency(tflite_file("int8"), **arguments)


def test_images_stay_as_they_were():
    before = IMAGES.copy()
    measure_latency(tflite_file("int8"), IMAGES, clock=Clock([MS]))
    np.testing.assert_array_equal(IMAGES, before)
