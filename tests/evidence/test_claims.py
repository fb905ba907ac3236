import warnings

import numpy as np
import pandas as pd
import pytest
from made import LABELS, outcome, outcomes, predictions
from scipy import stats

from model_compression.evidence import statistics
from model_compression.evidence.claims import claims, shown
from model_compression.evidence.forms import right
from model_compression.study.catalogue import Settings, catalogue
from model_compression.study.outcomes import Outcome

CLAIMS = [
    "int8 files are 4x smaller",
    "... without loss of accuracy",
    "pruned files zip 3x smaller",
    "pruning improves accuracy",
    "QAT makes no difference at 8 bits",
    "QAT makes no difference at 4 bits",
]


def made(seeds: int = 3) -> dict[str, list[Outcome]]:
    """Seeds of 100 images: pruned loses 30 to 34 of what equal training has; QAT errs on other images."""
    baseline, longer = [60, 62, 64][:seeds], [90, 92, 94][:seeds]
    return {
        "non_quantized": outcomes("a.tflite", baseline, file_bytes=[4000] * seeds),
        "int8": outcomes("b.tflite", baseline, file_bytes=[1000, 1000, 1010][:seeds]),
        "pruned": outcomes("c.tflite", [60, 58, 62][:seeds]),
        "longer_trained": outcomes("d.tflite", longer),
        "longer_trained_quantized": outcomes("e.tflite", longer),
        "quantization_aware_trained": outcomes("f.tflite", longer, start=5),
        "quantization_aware_int4": outcomes("i.tflite", longer),
        "longer_trained_int4": outcomes("j.tflite", [50, 52, 50][:seeds]),
        "non_quantized_h5": outcomes("g.h5", baseline, zip_bytes=[900, 800, 850][:seeds]),
        "pruned_h5": outcomes("h.h5", baseline, zip_bytes=[300, 200, 250][:seeds]),
    }


def rows(outcomes: dict[str, list[Outcome]]) -> pd.DataFrame:
    return claims(outcomes, LABELS).set_index("claim")


def test_every_claim_has_its_row_and_its_answer() -> None:
    table = claims(made(), LABELS)
    assert list(table.columns) == [
        "claim", "measured", "estimate", "low", "high", "p_value", "unit", "answer",
    ]  # fmt: skip
    assert list(table.claim) == CLAIMS
    assert table.measured[3] == "pruned against longer_trained"
    assert table.answer.str.len().gt(5).all()


def test_the_study_has_both_sides_of_every_claim() -> None:
    knobs = {"epochs": 1, "fine_tune_epochs": 1, "batch_size": 32, "learning_rate": 1e-3}
    sparsities = {"initial_sparsity": 0.5, "final_sparsity": 0.8}
    names = catalogue(Settings(seed=0, n_seeds=1, **knobs, **sparsities))
    # a claim of which a side is missing would be left out without a word
    table = claims(dict.fromkeys(names, outcomes("a.tflite", [50])), LABELS)
    assert list(table.claim) == CLAIMS
    assert table.measured.iloc[-1] == "quantization_aware_int4 against longer_trained_int4"


def test_sizes_are_geometric_means_with_students_interval_and_no_test() -> None:
    row = rows(made()).loc["pruned files zip 3x smaller"]
    logs = np.log([900 / 300, 800 / 200, 850 / 250])
    low, high = stats.t.interval(0.95, 2, loc=logs.mean(), scale=logs.std(ddof=1) / np.sqrt(3))
    assert row[["estimate", "low", "high"]].tolist() == pytest.approx(
        [(3 * 4 * 3.4) ** (1 / 3), np.exp(low), np.exp(high)]
    )
    assert row.unit == "times smaller"
    assert np.isnan(row.p_value)


@pytest.mark.parametrize(
    ("int8_bytes", "answer"),
    [
        (1000, "4.00 times, so yes"),
        (1001, "4.00 times, so nearly"),
        (1250, "3.20 times, so nearly"),
        (1251, "3.20 times, so no"),
    ],
)
def test_size_is_answered_by_what_was_claimed(int8_bytes: int, answer: str) -> None:
    changed = made() | {"int8": outcomes("b.tflite", [60, 62, 64], file_bytes=[int8_bytes] * 3)}
    assert rows(changed).answer["int8 files are 4x smaller"] == answer


def test_changes_are_those_of_the_one_test_judged_together() -> None:
    found = made()
    table = rows(found)
    pairs = [
        ("int8", "non_quantized"),
        ("pruned", "longer_trained"),
        ("quantization_aware_trained", "longer_trained_quantized"),
        ("quantization_aware_int4", "longer_trained_int4"),
    ]
    compared = [statistics.compare(*(right(found[name], LABELS) for name in pair)) for pair in pairs]
    changes = table[table.unit == "pp of accuracy"]
    wanted = [[100 * each.mean, 100 * each.low, 100 * each.high] for each in compared]
    assert changes[["estimate", "low", "high"]].to_numpy().tolist() == wanted
    assert list(changes.p_value) == [said.p_different for said in statistics.judge(compared)]


def test_changes_are_answered_by_their_verdicts() -> None:
    answers = rows(made()).answer
    assert answers["... without loss of accuracy"] == "yes: no difference beyond 0.2 pp"
    assert answers["pruning improves accuracy"] == "no: it costs 32.00 pp"
    assert answers["QAT makes no difference at 8 bits"].startswith("open: between -")
    assert answers["QAT makes no difference at 4 bits"] == "no: it gains 41.33 pp"


def test_a_gain_is_what_was_claimed_of_pruning_and_no_difference_is_not() -> None:
    gains = made() | {"pruned": outcomes("c.tflite", [96, 98, 100])}
    gains |= {"longer_trained": outcomes("d.tflite", [60, 62, 64])}
    assert rows(gains).answer["pruning improves accuracy"] == "yes: it gains 36.00 pp"
    same = made() | {"pruned": outcomes("c.tflite", [90, 92, 94])}
    assert rows(same).answer["pruning improves accuracy"] == "no: no difference beyond 0.2 pp"


def test_margin_is_the_one_asked_for() -> None:
    table = claims(made(), LABELS, margin=0.005).set_index("claim")
    assert table.answer["... without loss of accuracy"] == "yes: no difference beyond 0.5 pp"


def test_one_seed_gives_sizes_without_interval_and_changes_over_the_images() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = rows(made(seeds=1))
    sizes = table[table.unit == "times smaller"]
    assert sizes.estimate.tolist() == pytest.approx([4, 3])
    assert sizes[["low", "high"]].isna().all(axis=None)
    assert table[table.unit == "pp of accuracy"].notna().all(axis=None)
    loss = table.loc["pruning improves accuracy"]
    spread = 1.959964 * np.std([1.0] * 30 + [0.0] * 70, ddof=1) / 10 * 100
    assert [loss.low, loss.high] == pytest.approx([-30 - spread, -30 + spread])


def test_shown_puts_the_interval_beside_the_estimate() -> None:
    table = claims(made(), LABELS)
    view = shown(table)
    assert list(view.columns) == ["claim", "measured", "estimate_and_interval", "answer"]
    row = table.iloc[3]
    assert view.estimate_and_interval[3] == f"-32.00  [{row.low:+.2f}, {row.high:+.2f}] pp of accuracy"
    assert view.estimate_and_interval[2].startswith("3.44  [")
    assert view.estimate_and_interval[2].endswith("] times smaller")


def test_shown_leaves_out_an_interval_that_one_seed_cannot_give() -> None:
    view = shown(claims(made(seeds=1), LABELS))
    assert view.estimate_and_interval[0] == "4.00 times smaller"
    assert not view.estimate_and_interval.str.contains("nan").any()


def test_claims_of_which_a_side_is_missing_are_left_out() -> None:
    lacking = made()
    del lacking["pruned_h5"], lacking["longer_trained_int4"]
    assert list(claims(lacking, LABELS).claim) == [CLAIMS[0], CLAIMS[1], CLAIMS[3], CLAIMS[4]]
    assert claims({}, LABELS).empty


def test_seeds_must_be_as_many_on_both_sides() -> None:
    uneven = made() | {"int8": [outcome("b.tflite", predictions(60))]}
    with pytest.raises(ValueError, match=r"^the form is of shape \(1, 100\), the control of \(3, 100\)"):
        claims(uneven, LABELS)
