import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import exactly
from made import LABELS, outcome, outcomes, predictions
from scipy import stats

from model_compression.evidence.claims import claims, shown
from model_compression.study.outcomes import Outcome

SEEDS = 3


def made(seeds: int = SEEDS) -> dict[str, list[Outcome]]:
    """Three seeds of 100 images: pruned gains 20 on the baseline and loses 10 on equal training."""
    baseline, longer = [60, 62, 64][:seeds], [90, 92, 94][:seeds]
    float_bytes, int8_bytes = [4000] * seeds, [1000, 1000, 1010][:seeds]
    return {
        "non_quantized": outcomes("a.tflite", baseline, file_bytes=float_bytes),
        "int8": outcomes("b.tflite", baseline, file_bytes=int8_bytes),
        "pruned": outcomes("c.tflite", [right - 10 for right in longer]),
        "longer_trained": outcomes("d.tflite", longer),
        "longer_trained_quantized": outcomes("e.tflite", longer),
        # as good as its control, but on other images
        "quantization_aware_trained": outcomes("f.tflite", longer, start=5),
        "non_quantized_h5": outcomes("g.h5", baseline, zip_bytes=[900, 800, 850][:seeds]),
        "pruned_h5": outcomes("h.h5", baseline, zip_bytes=[300, 200, 250][:seeds]),
    }


def rows(seeds: int = SEEDS) -> pd.DataFrame:
    return claims(made(seeds), LABELS).set_index("claim")


def test_every_claim_has_its_row() -> None:
    table = claims(made(), LABELS)
    assert list(table.columns) == ["claim", "measured", "estimate", "low", "high", "p_value", "unit"]
    assert list(table.claim) == [
        "4x smaller by quantization",
        "... without loss of accuracy",
        "pruning improves accuracy",
        "... at equal training?",
        "QAT makes no difference",
        "pruned files compress better",
    ]


def test_sizes_are_geometric_means_with_the_paired_t_interval() -> None:
    table = rows()
    logs = np.log([900 / 300, 800 / 200, 850 / 250])
    low, high = stats.t.interval(0.95, 2, loc=logs.mean(), scale=logs.std(ddof=1) / np.sqrt(3))
    row = table.loc["pruned files compress better"]
    assert row[["estimate", "low", "high"]].tolist() == pytest.approx(
        [(3 * 4 * 3.4) ** (1 / 3), np.exp(low), np.exp(high)]
    )
    assert row.unit == "times smaller"
    assert table.loc["4x smaller by quantization"].estimate == pytest.approx((4 * 4 * 4000 / 1010) ** (1 / 3))


def test_changes_are_percentage_points_of_the_right_pair() -> None:
    table = rows()
    assert table.loc["... without loss of accuracy", ["estimate", "low", "high"]].tolist() == [0, 0, 0]
    assert table.loc["pruning improves accuracy", "estimate"] == pytest.approx(20)
    assert table.loc["... at equal training?", "estimate"] == pytest.approx(-10)
    assert table.loc["QAT makes no difference", "estimate"] == pytest.approx(0)
    assert table.loc["QAT makes no difference", "unit"] == "pp of accuracy"


def test_p_values_are_mcnemar_merged_over_the_seeds_and_corrected_by_holm() -> None:
    p_values = rows().p_value
    # 20 images gained and none lost, in each of 3 seeds: 2 * 2^-20 each, merged to 3/2 of the second smallest
    gained, lost = 1.5 * 2 * 0.5**20, 1.5 * 2 * 0.5**10
    sizes = [
        stats.ttest_1samp(np.log([4, 4, 4000 / 1010]), 0).pvalue,
        stats.ttest_1samp(np.log([3, 4, 3.4]), 0).pvalue,
    ]
    raw = [sizes[0], 1.0, gained, lost, 1.0, sizes[1]]
    order = np.argsort(raw)
    holm, running = np.empty(6), 0.0
    for place, index in enumerate(order):
        running = max(running, min(1.0, (6 - place) * raw[index]))
        holm[index] = running
    assert p_values.tolist() == pytest.approx(holm.tolist())


def test_equal_sizes_leave_nothing_to_chance() -> None:
    same = made()
    same["int8"] = outcomes("b.tflite", [60, 62, 64], file_bytes=[1000] * 3)
    first = claims(same, LABELS).iloc[0]
    assert first[["estimate", "low", "high"]].tolist() == pytest.approx([4, 4, 4])
    assert first.p_value == 0
    same["int8"] = outcomes("b.tflite", [60, 62, 64], file_bytes=[4000] * 3)
    assert claims(same, LABELS).iloc[0].p_value == 1


def test_one_seed_gives_sizes_without_interval_or_p() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = rows(seeds=1)
    sizes = table[table.unit == "times smaller"]
    assert sizes.estimate.tolist() == pytest.approx([4, 3])
    assert sizes[["low", "high", "p_value"]].isna().all(axis=None)
    changes = table[table.unit == "pp of accuracy"]
    assert changes.notna().all(axis=None)
    # a gain of 20 images of 100: the paired normal interval, and Holm over the four p values that there are
    gain = changes.loc["pruning improves accuracy"]
    spread = 1.959964 * np.std([1.0] * 20 + [0.0] * 80, ddof=1) / 10 * 100
    assert [gain.low, gain.high] == pytest.approx([20 - spread, 20 + spread])
    assert gain.p_value == pytest.approx(4 * 2 * 0.5**20)


def test_shown_puts_the_interval_beside_the_estimate() -> None:
    view = shown(claims(made(), LABELS))
    assert list(view.columns) == ["claim", "measured", "estimate_and_interval", "p_value"]
    assert view.estimate_and_interval[2] == "+20.00  [+20.00, +20.00] pp of accuracy"
    assert view.estimate_and_interval[5].endswith("times smaller")
    assert view.estimate_and_interval[5].startswith("3.44  [")


def test_shown_leaves_out_an_interval_that_one_seed_cannot_give() -> None:
    view = shown(claims(made(seeds=1), LABELS))
    assert view.estimate_and_interval[0] == "4.00 times smaller"
    assert not view.estimate_and_interval.str.contains("nan").any()


def test_a_missing_recipe_is_named() -> None:
    lacking = made()
    del lacking["pruned_h5"]
    with pytest.raises(KeyError, match=exactly("'pruned_h5'")):
        claims(lacking, LABELS)


def test_seeds_must_be_as_many_on_both_sides() -> None:
    uneven = made()
    uneven["int8"] = [outcome("b.tflite", predictions(60))]
    with pytest.raises(ValueError, match=r"zip\(\) argument 2 is shorter than argument 1"):
        claims(uneven, LABELS)
