"""The committed tables and files of the frontier: held to each other, to the records and to the code."""

import numpy as np
import pandas as pd
import pytest

from model_compression import REPOSITORY
from model_compression.data.datasets import Dataset, scale
from model_compression.files import coding, running
from model_compression.frontier import plans, records, tables, transfer

RESULTS = REPOSITORY / "results"


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / f"{name}.csv")


def committed() -> pd.DataFrame:
    return records.read(RESULTS / "frontier-records.csv", records.COLUMNS)


# the records


def test_records_hold_each_plan_and_seed_once() -> None:
    found = committed()
    assert list(found.columns) == records.COLUMNS
    measured = found[found["figures"] == records.MEASURED]
    assert not measured.duplicated(["plan", "seed"]).any()


def test_records_hold_every_row_that_ever_stood_in_the_frontier() -> None:
    then = committed().query("figures == 'as measured then'")
    rows = set(zip(then["coded_bytes"], then["test_error_pct"], strict=True))
    assert {(1886, 1.814), (1905, 1.026), (2470, 0.752), (2739, 0.65)} <= rows
    assert len(then) == 17


def test_records_hold_33_priced_plans_of_the_history_15_of_them_with_figures() -> None:
    history = committed().query("figures != 'measured'")
    priced = history[history["price"].notna()]
    assert priced["plan"].nunique() == 33
    assert (priced["figures"] == "as measured then").sum() == 15
    assert priced[priced["figures"] == "not measured"]["coded_bytes"].isna().all()


def test_test_error_stands_only_with_plans_that_stand_or_stood() -> None:
    found = committed()
    dropped = found[~found["stands"] & (found["figures"] == records.MEASURED)]
    assert dropped["test_error_pct"].isna().all()
    assert found[found["figures"] == records.MEASURED]["validation_error_pct"].notna().all()


def test_records_say_of_today_s_plans_and_of_no_others_that_they_stand() -> None:
    standing = {records.identity(recipe) for recipe in plans.points().values()}
    found = committed()
    assert set(found[found["stands"]]["plan"]) <= standing
    assert not set(found[~found["stands"]]["plan"]) & standing


def test_since_is_a_version_of_every_plan_of_the_history() -> None:
    history = committed().query("figures != 'measured'")
    assert history["since"].str.fullmatch("[0-9a-f]{7}").all()
    # a row without an end is one of a plan that stands
    assert (history["until"].isna() == history["stands"]).all()


# the tables


@pytest.fixture(scope="module")
def front() -> pd.DataFrame:
    return records.read(RESULTS / "frontier.csv", tables.COLUMNS)


def test_frontier_has_the_columns_that_the_code_writes(front: pd.DataFrame) -> None:
    assert list(front.columns) == tables.COLUMNS


def test_rows_of_the_frontier_follow_from_the_records(front: pd.DataFrame) -> None:
    measured = committed().query("figures == 'measured'").groupby("plan")
    for plan, row in front[front["source"] == tables.OURS].set_index("plan").iterrows():
        seeds = measured.get_group(plan)
        assert len(seeds) == row["seeds"]
        assert row["bytes"] == seeds["coded_bytes"].quantile(0.5, interpolation="lower")
        assert row["error_pct"] == pytest.approx(seeds["test_error_pct"].mean(), rel=1e-5)
        assert row["validation_error_pct"] == pytest.approx(seeds["validation_error_pct"].mean(), rel=1e-5)
        assert row["error_low_pct"] < row["error_pct"] < row["error_high_pct"]


def test_every_plan_that_stands_has_one_row_and_the_dense_net_that_was_trained_alike(
    front: pd.DataFrame,
) -> None:
    ours = front[front["source"] == tables.OURS]
    named = dict(zip(ours["plan"], ours["net"] + "-" + ours["method"], strict=True))
    assert len(named) == len(ours)
    assert named == {records.identity(recipe): recipe.name for recipe in plans.points().values()}


def test_files_of_the_front_decode_and_score_as_their_row_says_of_their_seed(
    front: pd.DataFrame, mnist: Dataset
) -> None:
    ours = front.dropna(subset="file")
    files = {path.name for path in (RESULTS / "frontier").iterdir()}
    assert files == set(ours["file"])
    for row in ours.itertuples():
        coded = (RESULTS / "frontier" / row.file).read_bytes()
        assert len(coded) == row.bytes
        content = coding.CODERS[row.file.rsplit(".", 1)[1]].decode(coded)
        assert len(content) == row.flash_bytes
        error = 100 * np.mean(running.predict(content, scale(mnist.x_test)) != mnist.y_test)
        assert error == pytest.approx(row.file_error_pct, rel=1e-5)


def test_front_is_that_of_the_validation_errors(front: pd.DataFrame) -> None:
    np.testing.assert_array_equal(tables.on_front(front), front["file"].notna())


def test_literature_follows_from_the_frontier(front: pd.DataFrame) -> None:
    wanted = tables.literature(front).replace("", np.nan)
    pd.testing.assert_frame_equal(table("literature"), wanted, check_dtype=False, rtol=1e-5)


def test_rate_of_fine_tuning_is_the_float_net_s_best_on_validation_images() -> None:
    tried = pd.read_csv(RESULTS / "fine-tuning.csv")
    assert sorted(tried["learning_rate"].unique(), reverse=True) == list(transfer.RATES)
    plain = tried[tried["recipe"] == transfer.TRIED[0]].set_index("learning_rate")
    best = plain.groupby("net")["validation_accuracy"].idxmax()
    assert best.to_dict() == transfer.FINE_TUNE


def test_sweep_has_the_dense_control_and_eight_sparsities_of_each_line() -> None:
    sweep = table("sparsity-sweep")
    assert (sweep["seeds"] == 5).all()
    lines = sweep[sweep["strategy"] != "dense"].groupby(["strategy", "schedule"])["sparsity"].nunique()
    assert (lines >= 8).all()
    assert {"uniform", "random_mask", "lamp"} <= set(sweep["strategy"])
    assert len(sweep[sweep["strategy"] == "dense"]) == 1


def test_page_says_what_twice_the_training_gave() -> None:
    found = table("frontier").query(f"source == '{tables.OURS}'")
    rows = found.set_index(found["net"] + " " + found["method"])
    long, longer = (rows.loc[f"small_16p_32p_48p price-{price}-long"] for price in ("0.05", "0.03"))
    shorter = rows.loc["small_16p_32p_48p price-0.04"]
    fewer = 100 * (1 - long["bytes"] / shorter["bytes"])
    assert long["error_low_pct"] < shorter["error_pct"] < long["error_high_pct"]
    assert longer["bytes"] > long["bytes"]
    assert longer["error_pct"] < long["error_pct"]
    assert longer["validation_error_pct"] > long["validation_error_pct"]
    assert pd.isna(longer["file"])
    told = " ".join((REPOSITORY / "docs" / "results.md").read_text().split())
    assert (
        f"has {fewer:.0f} % fewer bytes than the shorter plan, and an error that is not shown to differ;"
        in told
    )


def test_page_counts_what_it_leaves_out() -> None:
    told = " ".join((REPOSITORY / "docs" / "results.md").read_text().split())
    early = table("frontier-records")["coded_bytes"].isna().sum()
    assert f"({early} early ones without figures)" in told
    (images,) = table("rotated")["images"].unique()
    assert f"are left out, and {images:,} stay:" in told
