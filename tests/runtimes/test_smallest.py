"""The choice among forms, on figures made up by hand."""

from typing import Any

import pytest
from conftest import exactly

from model_compression.runtimes import smallest as room
from model_compression.runtimes.smallest import Candidate, Choice, Limits, Objective


def form(name: str, **changed: Any) -> Candidate:
    figures = {
        "validation_accuracy": 0.98,
        "baseline_accuracy": 0.98,
        "flash_bytes": 1000,
        "coded_bytes": 900,
    }
    return Candidate(name=name, **{**figures, **changed})


def smallest(forms: list[Candidate], *, noise: float = 0.0, **limits: Any) -> Choice:
    return room.smallest(forms, Limits(**limits), noise=noise)


def test_fewest_bytes_win_among_those_within_the_drop() -> None:
    forms = [
        form("large", flash_bytes=4000),
        form("good", flash_bytes=2000, validation_accuracy=0.976),
        form("bad", flash_bytes=500, validation_accuracy=0.97),
    ]
    choice = smallest(forms, max_drop=0.005)
    assert choice.form is forms[1]
    assert choice.fits
    assert choice.fitting == 2
    assert str(choice) == "good: 2,000 bytes"


@pytest.mark.parametrize(("accuracy", "fits"), [(0.975, True), (0.9749, False)])
def test_drop_may_reach_its_limit_and_not_pass_it(accuracy: float, fits: bool) -> None:
    # 0.98 - 0.975 is a little more than 0.005 in floating point
    assert smallest([form("a", validation_accuracy=accuracy)], max_drop=0.005).fits is fits


def test_drop_of_values_is_a_part_of_the_float_nets_error() -> None:
    # errors of 0.02 and 0.022: a tenth more
    values = form("a", validation_accuracy=0.978, of_values=True)
    assert values.drop == pytest.approx(0.1)
    assert values.least_accuracy(0.1) == pytest.approx(0.978)
    assert form("a").least_accuracy(0.1) == pytest.approx(0.88)
    assert smallest([values], max_drop=0.1).fits
    assert str(smallest([values], max_drop=0.05)) == (
        "nothing fits; a comes closest: rise of the error 10.00 %, allowed 5.00 %"
    )


@pytest.mark.parametrize(
    ("limit", "value", "broken"),
    [
        ("max_flash", 1000, ()),
        ("max_flash", 999, ("flash 1,000 bytes, allowed 999 bytes",)),
        ("max_arena", 64, ()),
        ("max_arena", 63, ("arena 64 bytes, allowed 63 bytes",)),
        ("max_latency_us", 2.5, ()),
        ("max_latency_us", 2.4, ("latency 2.5 us, allowed 2.4 us",)),
    ],
)
def test_each_limit_holds_from_both_sides(limit: str, value: float, broken: tuple[str, ...]) -> None:
    choice = smallest([form("a", arena_bytes=64, latency_us=2.5)], max_drop=0.0, **{limit: value})
    assert choice.fits is not bool(broken)
    assert choice.broken == broken


def test_form_without_a_figure_breaks_the_limit_on_it() -> None:
    choice = smallest([form("a")], max_drop=0.0, max_arena=64)
    assert str(choice) == "nothing fits; a comes closest: arena was not measured, allowed 64 bytes"


def test_equal_flash_is_decided_by_accuracy_then_coded_bytes_then_name() -> None:
    a, b = form("a", coded_bytes=700), form("b", coded_bytes=800, validation_accuracy=0.985)
    assert smallest([a, b], max_drop=0.0).form is b
    # bytes that nobody asked about are no reason to take the less accurate of two as large
    assert smallest([a, b], max_drop=0.0, noise=0.005).form is b
    larger = form("c", flash_bytes=9_000, arena_bytes=64, validation_accuracy=0.99)
    arena = form("d", flash_bytes=8_000, arena_bytes=64)
    assert smallest([larger, arena], max_drop=0.0, noise=0.0, objective="arena").form is larger
    assert smallest([larger, arena], max_drop=0.0, noise=0.02, objective="arena").form is arena
    assert smallest([form("b"), form("a")], max_drop=0.0).form == form("a")


@pytest.mark.parametrize(
    ("objective", "chosen"), [("flash", "a"), ("download", "b"), ("arena", "c"), ("latency", "d")]
)
def test_objective_says_what_is_small(objective: Objective, chosen: str) -> None:
    figures = {"flash_bytes": 500, "coded_bytes": 400, "arena_bytes": 64, "latency_us": 2.0}
    forms = [
        form(name, **{**dict.fromkeys(figures, 9000), least: figures[least]})
        for name, least in zip("abcd", figures, strict=True)
    ]
    assert smallest(forms, max_drop=0.0, objective=objective).form == forms["abcd".index(chosen)]


def test_latencies_within_noise_are_equal() -> None:
    fast = form("fast", latency_us=100.0)
    right = form("right", latency_us=105.0, validation_accuracy=0.985)
    slow = form("slow", latency_us=106.0, validation_accuracy=0.99)
    assert smallest([fast, right, slow], max_drop=0.0, objective="latency").form is right


def test_form_without_the_figure_of_the_objective_comes_last() -> None:
    unknown = form("unknown", flash_bytes=10, validation_accuracy=0.99)
    assert smallest([unknown, form("known", arena_bytes=64)], max_drop=0.0, objective="arena").form == form(
        "known", arena_bytes=64
    )


def test_runtime_leaves_out_what_does_not_run_there() -> None:
    forms = [form("a", flash_bytes=10, runs_on_tflm=False), form("b")]
    assert smallest(forms, max_drop=0.0, runtime="tflm").form is forms[1]
    assert smallest(forms, max_drop=0.0, runtime="litert").form is forms[0]


def test_nothing_runs() -> None:
    choice = smallest([form("a", runs_on_tflm=False)], max_drop=0.0, runtime="tflm")
    assert (choice.form, choice.fits, str(choice)) == (None, False, "no form runs on this runtime")


def test_closest_breaks_fewest_limits_then_by_least() -> None:
    both = form("both", flash_bytes=1100, validation_accuracy=0.979)
    flash = form("flash", flash_bytes=4000)
    drop = form("drop", flash_bytes=900, validation_accuracy=0.96)
    choice = smallest([both, flash, drop], max_drop=0.0, max_flash=1000)
    # 3 times too many bytes against 2 pp, which count double; one limit each
    assert choice.form is drop
    assert str(choice) == "nothing fits; drop comes closest: accuracy drop 2.00 pp, allowed 0.00 pp"
    assert smallest([both, flash], max_drop=0.0, max_flash=1000).form is flash


def test_gain_can_be_asked_for() -> None:
    assert not smallest([form("a")], max_drop=-0.001).fits
    assert smallest([form("a", validation_accuracy=0.99)], max_drop=-0.001).fits


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_drop": 2}, "max_drop is 2; allowed: -1 to 1 (0.005 is 0.5 percentage points)"),
        ({"max_drop": 0.0, "max_flash": 0}, "max_flash is 0; allowed: above 0, or None"),
        ({"max_drop": 0.0, "max_arena": float("nan")}, "max_arena is nan; allowed: above 0, or None"),
        (
            {"max_drop": 0.0, "objective": "size"},
            "objective is 'size'; allowed: flash, download, arena, latency",
        ),
        ({"max_drop": 0.0, "runtime": "onnx"}, "runtime is 'onnx'; allowed: litert, tflm"),
    ],
)
def test_limits_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=exactly(message)):
        Limits(**arguments)


def test_limits_are_told_in_words() -> None:
    limits = Limits(max_drop=0.005, max_flash=16_000, max_latency_us=250)
    assert limits.told(of_values=False) == [
        "accuracy drop at most 0.50 pp",
        "flash at most 16,000 bytes",
        "latency at most 250.0 us",
    ]
    assert limits.told(of_values=True)[0] == "rise of the error at most 0.50 %"


def test_names_must_differ() -> None:
    with pytest.raises(ValueError, match=exactly("two forms have the same name; allowed: a name each")):
        smallest([form("a"), form("a")], max_drop=0.0)
