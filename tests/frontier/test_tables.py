"""The frontier's tables: rows from outcomes, the front, and how published points are met."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made import LABELS, outcome, predictions

from model_compression.frontier import records, tables
from model_compression.frontier.plans import Plan
from model_compression.study.outcomes import Outcome

PLAN = Plan(net="small_d4", price=0.1)
NOTHING = pd.DataFrame(columns=tables.COLUMNS)


@pytest.fixture(autouse=True)
def no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up outcomes hold no file whose constants could be counted."""
    monkeypatch.setattr(records, "payload_bytes", lambda content: 77)
    monkeypatch.setattr(records, "graph_bytes", lambda content: 33)


def outcomes(*made: tuple[int, int]) -> list[Outcome]:
    """(coded bytes, images labelled rightly of 100), a seed each."""
    return [
        outcome("x.tflite", predictions(right), seed=seed, best_coded_bytes=size, best_coder="br")
        for seed, (size, right) in enumerate(made)
    ]


def test_row_has_the_median_seed_s_bytes_and_file_and_the_errors_mean() -> None:
    row = tables.our_row(PLAN.recipe, outcomes((900, 98), (700, 97), (800, 99)), LABELS)
    assert set(row) == set(tables.COLUMNS)
    assert (row["net"], row["method"], row["bytes"], row["seeds"]) == ("small_d4", "price-0.1", 800, 3)
    assert row["error_pct"] == pytest.approx(2.0)
    assert row["error_sd_pct"] == pytest.approx(1.0)
    assert (row["file"], row["file_seed"]) == ("small_d4-price-0.1.tflite.br", 2)
    assert row["file_error_pct"] == pytest.approx(1.0)


def test_interval_holds_the_mean_and_is_wider_than_the_seeds_spread_alone() -> None:
    row = tables.our_row(PLAN.recipe, outcomes((1, 90), (1, 90), (1, 90)), LABELS)
    # seeds that agree in every image leave the images' own spread: 1.96 * sqrt(.1 * .9 / 99)
    half = 100 * 1.959964 * np.sqrt(0.09 / 99)
    assert row["error_high_pct"] == pytest.approx(10 + half, abs=0.05)
    assert row["error_low_pct"] == pytest.approx(10 - half, abs=0.05)


def test_one_seed_has_no_spread() -> None:
    assert np.isnan(tables.our_row(PLAN.recipe, outcomes((900, 98)), LABELS)["error_sd_pct"])  # type: ignore[arg-type]


def rows(*points: tuple[str, str, int, float]) -> list[dict[str, object]]:
    """(net, method, bytes, error) with an interval of 0.1 to either side."""
    return [
        {
            "plan": f"{net}-{method}",
            "net": net,
            "method": method,
            "bytes": size,
            "flash_bytes": 2 * size,
            "payload_bytes": size - 50,
            "validation_error_pct": error,
            "error_pct": error,
            "error_low_pct": error - 0.1,
            "error_high_pct": error + 0.1,
            "seeds": 5,
            "counted_as": tables.FILE,
            "source": tables.OURS,
            "file": f"{net}-{method}.br",
        }
        for net, method, size, error in points
    ]


def test_front_is_drawn_on_validation_error_whatever_the_test_error() -> None:
    made = rows(("baseline", "a", 100, 2.0), ("lenet_5", "b", 200, 1.0))
    made[1]["validation_error_pct"] = 3.0
    table = tables.merge(NOTHING, made, [])
    ours = table[table["counted_as"] == tables.FILE].set_index("method")
    assert ours.loc["a", "file"] == "baseline-a.br"
    assert pd.isna(ours.loc["b", "file"])
    assert list(table.columns) == tables.COLUMNS


def test_seeds_and_bytes_are_written_with_all_their_digits(tmp_path: Path) -> None:
    made = rows(("baseline", "a", 100, 2.0))
    made[0] |= {"file_seed": 3_677_149_159, "epochs": 30}
    path = tmp_path / "frontier.csv"
    records.save(tables.merge(NOTHING, made, []), path)
    assert pd.read_csv(path)["file_seed"][0] == 3_677_149_159


def test_control_is_never_on_the_front() -> None:
    made = rows(("baseline", "a", 100, 2.0), ("baseline", "dense", 50, 1.0))
    made[1]["counted_as"] = tables.CONTROL
    table = tables.merge(NOTHING, made, [])
    assert list(table["file"].dropna()) == ["baseline-a.br"]


def test_merge_replaces_the_rows_computed_now_and_keeps_others_that_stand() -> None:
    made = rows(("baseline", "a", 100, 2.0), ("baseline", "dropped", 90, 3.0), ("lenet_5", "old", 200, 1.0))
    before = tables.merge(NOTHING, made, [])
    standing = ["baseline-a", "lenet_5-old", "lenet_5-new"]
    again = rows(("lenet_5", "old", 190, 1.0), ("lenet_5", "new", 150, 0.9))
    after = tables.merge(before, again, standing)
    ours = after[after["counted_as"] == tables.FILE].set_index("method")
    assert dict(ours["bytes"]) == {"a": 100, "new": 150, "old": 190}
    # another plan of the net, computed alone
    alone = tables.merge(before, again[1:], standing)
    assert sorted(alone.loc[alone["counted_as"] == tables.FILE, "bytes"]) == [100, 150, 200]
    assert (after["counted_as"] != tables.FILE).sum() == (before["counted_as"] != tables.FILE).sum()


def test_file_of_a_row_that_another_undercuts_goes() -> None:
    made = rows(("baseline", "a", 100, 2.0), ("baseline", "b", 400, 0.5), ("lenet_5", "old", 200, 1.0))
    before = tables.merge(NOTHING, made, [])
    standing = ["baseline-a", "baseline-b", "lenet_5-old"]
    after = tables.merge(before, rows(("lenet_5", "old", 90, 1.5)), standing)
    ours = after[after["counted_as"] == tables.FILE].set_index("method")
    assert dict(ours["bytes"]) == {"a": 100, "b": 400, "old": 90}
    assert list(ours["file"].dropna()) == ["baseline-b.br", "lenet_5-old.br"]


@pytest.mark.parametrize(
    ("size", "error", "said"),
    [
        (99, 9.0, tables.MISSED),  # no file of ours is as small
        (100, 1.11, tables.PASSED),
        (100, 1.0, tables.NOISE),
        (100, 0.91, tables.NOISE),
        (100, 0.89, tables.MISSED),
    ],
)
def test_point_is_passed_only_when_all_of_our_interval_lies_below_it(
    size: int, error: float, said: str
) -> None:
    assert tables.reached(pd.DataFrame(rows(("baseline", "a", 100, 1.0))), size, error) == said


def test_literature_meets_a_point_on_its_own_net_and_by_any_net_and_counted_its_way() -> None:
    made = rows(("lenet_5", "a", 4000, 0.8), ("small_d4", "b", 1500, 0.5))
    table = tables.literature(tables.merge(NOTHING, made, []))
    theirs = table[~table["ours"].astype(bool)].set_index(["method", "net", "error_pct"])
    miracle = theirs.loc[("MIRACLE", "lenet_5", 0.96)]
    assert list(miracle[["same_net", "any_net", "like_any_net"]]) == ["not reached", "passed", "passed"]
    again = theirs.loc[("MIRACLE, re-implemented", "lenet_5", 0.98)]
    assert list(again[["any_net", "like_any_net"]]) == ["not reached", "not reached"]
    # 3,000 bytes of ours in flash
    bitnet = theirs.loc[("BitNetMCU", "16 x 16 CNN", 1.08)]
    assert list(bitnet[["same_net", "any_net", "like_any_net"]]) == ["", "passed", "passed"]


def test_literature_puts_ours_beside_theirs() -> None:
    table = tables.literature(tables.merge(NOTHING, rows(("lenet_5", "a", 4000, 0.8)), []))
    of_net = table[table["net"] == "lenet_5"]
    assert list(of_net["ours"])[-1]
    assert of_net.iloc[-1]["ratio"] == pytest.approx(4 * 431_080 / 4000)
    # a method without an error is in the table, not on the chart
    assert of_net["error_pct"].isna().sum() == 1


def test_published_points_that_ours_do_not_pass_are_named_with_what_comes_nearest() -> None:
    made = rows(("small_d4", "a", 2000, 0.8), ("lenet_5", "a", 5000, 0.5))
    theirs = [
        {"net": "lenet_5", "method": "passed", "bytes": 2000, "error_pct": 0.9, "counted_as": "file"},
        {"net": "lenet_5", "method": "between", "bytes": 3000, "error_pct": 0.65, "counted_as": "file"},
        {"net": "lenet_5", "method": "near", "bytes": 3000, "error_pct": 0.75, "counted_as": "payload"},
        {"net": "other", "method": "nearly", "bytes": 2000, "error_pct": 0.8, "counted_as": "file"},
        {"net": "other", "method": "far", "bytes": 100, "error_pct": 0.1, "counted_as": "estimate"},
    ]
    assert tables.unreached(pd.DataFrame([*made, *theirs])).splitlines() == [
        "- not reached: between on lenet_5 (file), 3,000 bytes at 0.65 %: nearest with no more error: ours "
        "with 5,000 bytes at 0.50 % (lenet_5); nearest with no more bytes: ours with 2,000 bytes at 0.80 % "
        "(small_d4)",
        "- within noise: near on lenet_5 (payload), 3,000 bytes at 0.75 %: nearest with no more error: ours "
        "with 5,000 bytes at 0.50 % (lenet_5); nearest with no more bytes: ours with 2,000 bytes at 0.80 % "
        "(small_d4); counted alike: within noise",
        "- within noise: nearly on other (file), 2,000 bytes at 0.80 %: nearest with no more error and "
        "no more bytes: ours with 2,000 bytes at 0.80 % (small_d4)",
        "- not reached: far on other (estimate), 100 bytes at 0.10 %: nothing of ours is as small or as good",
    ]
