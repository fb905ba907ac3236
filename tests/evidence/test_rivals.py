import numpy as np
import pytest
from made import LABELS, outcomes

from model_compression.evidence import rivals, statistics
from model_compression.evidence.forms import right
from model_compression.study.outcomes import Outcome

NAMES = ("pruned_quantized", "clustered_8")


def made() -> dict[str, list[Outcome]]:
    """A pruned form with all of its rivals, a clustered one, and small dense nets of three sizes."""
    return {
        "pruned_quantized": outcomes(
            "a.tflite", [80, 82, 84], zip_bytes=[800, 810, 820], dense_macs=[90, 90, 90]
        ),
        "clustered_8": outcomes("b.tflite", [90, 90, 91], zip_bytes=[300, 300, 300]),
        "small_dense_2": outcomes("g.tflite", [90, 90, 91], zip_bytes=[250, 250, 250]),
        "small_dense_4": outcomes(
            "c.tflite", [80, 81, 85], zip_bytes=[790, 780, 830], dense_macs=[30, 30, 30]
        ),
        "small_dense_8": outcomes("h.tflite", [10, 10, 10], zip_bytes=[4000, 4000, 4000]),
        "scratch_pruned": outcomes("d.tflite", [60, 62, 64]),
        "scratch_longer_pruned": outcomes("e.tflite", [80, 82, 84]),
        "lottery_pruned": outcomes("f.tflite", [95, 97, 99]),
    }


def test_each_form_stands_beside_each_of_its_rivals_and_the_nearest_small_net() -> None:
    table = rivals.pruned_or_small(made(), NAMES, LABELS)
    assert list(zip(table.recipe, table.rival, strict=True)) == [
        ("pruned_quantized", "small_dense_4"),
        *(("pruned_quantized", f"{kind}_pruned") for kind in rivals.RIVALS),
        ("clustered_8", "small_dense_2"),
    ]
    assert table.accuracy_mean.tolist() == pytest.approx([0.82] * 4 + [271 / 300])
    assert table.rival_accuracy_mean.tolist()[1:4] == pytest.approx([0.62, 0.82, 0.97])


def test_float_form_leaves_the_int8_rivals_to_its_int8_form() -> None:
    found = made() | {"pruned": outcomes("i.tflite", [80, 82, 84])}
    table = rivals.pruned_or_small(found, ("pruned", *NAMES), LABELS)
    assert list(table.rival[table.recipe == "pruned"]) == ["small_dense_4"]
    alone = rivals.pruned_or_small(found, ["pruned"], LABELS)
    assert list(alone.rival) == ["small_dense_4", "scratch_pruned", "scratch_longer_pruned", "lottery_pruned"]


def test_small_net_is_the_one_nearest_in_zipped_bytes_as_a_ratio() -> None:
    small = {
        "small_dense_2": outcomes("c.tflite", [80], zip_bytes=[690]),
        "small_dense_6": outcomes("d.tflite", [90], zip_bytes=[999]),
    }
    # 840 bytes are nearer to 690 than to 999 by difference, but not by ratio: 1.22 against 1.19
    for size, nearest in ((840, "small_dense_6"), (829, "small_dense_2")):
        found = small | {"pruned": outcomes("a.tflite", [80], zip_bytes=[size])}
        assert rivals.pruned_or_small(found, ["pruned"], LABELS).rival.tolist() == [nearest]


def test_bytes_and_work_of_both_are_the_median_seeds() -> None:
    row = rivals.pruned_or_small(made(), NAMES, LABELS).iloc[0]
    assert (row.zip_bytes, row.rival_zip_bytes, row.dense_macs, row.rival_dense_macs) == (810, 790, 90, 30)


def test_form_minus_rival_is_judged_as_one_family() -> None:
    found = made()
    table = rivals.pruned_or_small(found, NAMES, LABELS)
    pairs = [(found[row.recipe], found[row.rival]) for row in table.itertuples()]
    compared = [statistics.compare(right(a, LABELS), right(b, LABELS)) for a, b in pairs]
    said = statistics.judge(compared)
    assert table.change_pp.tolist() == [100 * each.mean for each in compared]
    assert table.verdict.tolist() == [each.verdict for each in said]
    assert table.p_holm.tolist() == [each.p_different for each in said]
    assert table.verdict.tolist()[1:3] == ["better", "equivalent"]


def test_without_rivals_the_table_is_empty() -> None:
    assert rivals.pruned_or_small({"int8": outcomes("a.tflite", [50])}, ["int8"], LABELS).empty


def test_outcomes_stay_as_they_were() -> None:
    found = made()
    before = [each.predictions.copy() for each in found["pruned_quantized"]]
    rivals.pruned_or_small(found, NAMES, LABELS)
    np.testing.assert_array_equal([each.predictions for each in found["pruned_quantized"]], before)
