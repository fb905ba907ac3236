"""The records: a row a plan and seed, which nothing but the same plan and seed replaces."""

import dataclasses
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made import outcome

from model_compression.files import coding
from model_compression.frontier import plans, records
from model_compression.frontier.plans import SHORT, Plan

#: Any file of the front.
CODED = min((Path(__file__).parents[2] / "results" / "frontier").glob("*.br")).read_bytes()
PLAN = Plan(net="small_d4", price=0.1, temperature=2, teachers=SHORT)


def row(plan: Plan = PLAN, seed: int = 7, stands: bool = True) -> dict[str, object]:
    predicted = np.tile(np.arange(10), 10)
    predicted[:3] = 9
    content = coding.CODERS["br"].decode(CODED)
    known = {"validation_accuracy": 0.75, "best_coded_bytes": len(CODED)}
    found = outcome("x.tflite", predicted, content=content, seed=seed, **known)
    return records.row(plan.recipe, found, stands=stands)


def test_row_says_how_the_plan_was_trained_and_what_it_gave() -> None:
    found = row()
    assert list(found) == records.COLUMNS
    assert (found["net"], found["method"], found["price"], found["levels"]) == (
        "small_d4",
        "price-0.1",
        0.1,
        3,
    )
    assert (found["epochs"], found["augmentation"]) == (30, 1.0)
    assert found["teachers"] == "1 x small_16p_32p_64p, 12 epochs, T 2"
    assert found["validation_error_pct"] == 25
    assert found["test_error_pct"] == pytest.approx(3)


def test_test_error_of_a_plan_that_does_not_stand_is_not_written() -> None:
    assert np.isnan(row(stands=False)["test_error_pct"])  # type: ignore[arg-type]


def test_payload_leaves_out_the_graph_but_no_weight() -> None:
    found = row()
    assert found["payload_bytes"] < len(CODED)  # type: ignore[operator]
    assert found["payload_bytes"] > found["coded_bytes"] - found["graph_bytes"] - 100  # type: ignore[operator]


def test_identity_is_what_a_plan_does_and_not_its_name_or_idea() -> None:
    same = replace(PLAN, variant="b", idea="other", since="1")
    assert records.identity(same.recipe) == records.identity(PLAN.recipe)
    for change in ({"price": 0.2}, {"levels": 7}, {"tuned": 25}, {"temperature": 3}, {"orders": 0}):
        assert records.identity(replace(PLAN, **change).recipe) != records.identity(PLAN.recipe)  # type: ignore[arg-type]


def test_identity_leaves_out_what_has_its_default() -> None:
    before = records.identity(PLAN.recipe)
    widened = dataclasses.make_dataclass(
        "ExportConfig",
        [("form", str), ("orders", int, 0), ("another", bool, False)],
        frozen=True,
        kw_only=True,
    )
    recipe = PLAN.recipe
    object.__setattr__(recipe, "export", widened(form="packed_int4", orders=1000))
    assert records.identity(recipe) == before
    object.__setattr__(recipe, "export", widened(form="packed_int4", orders=1000, another=True))
    assert records.identity(recipe) != before


def test_changed_plan_inherits_no_row_and_the_old_row_stays(tmp_path: Path) -> None:
    path, changed = tmp_path / "records.csv", replace(PLAN, tuned=25)
    records.add(path, [row()], [records.identity(PLAN.recipe)])
    table = records.add(path, [row(changed)], [records.identity(changed.recipe)])
    assert list(table["method"]) == ["price-0.1", "price-0.1"]
    assert list(table["stands"]) == [False, True]


def test_same_plan_and_seed_are_replaced_and_other_seeds_stay(tmp_path: Path) -> None:
    path, known = tmp_path / "records.csv", [records.identity(PLAN.recipe)]
    records.add(path, [row(seed=1), row(seed=2)], known)
    table = records.add(path, [{**row(seed=2), "coded_bytes": 5}], known)
    assert list(table["seed"]) == [1, 2]
    assert list(table["coded_bytes"]) == [len(CODED), 5]


def test_reading_and_adding_nothing_changes_no_byte(tmp_path: Path) -> None:
    path, known = tmp_path / "records.csv", [records.identity(PLAN.recipe)]
    records.add(path, [row(), row(replace(PLAN, price=0.2), stands=False)], known)
    before = path.read_bytes()
    records.add(path, [], known)
    assert path.read_bytes() == before


def test_by_plan_takes_the_mean_error_and_the_lower_median_of_the_bytes(tmp_path: Path) -> None:
    rows = [{**row(seed=seed), "coded_bytes": size, "validation_error_pct": error}
            for seed, size, error in ((1, 30, 1.0), (2, 10, 2.0))]  # fmt: skip
    (found,) = records.by_plan(pd.DataFrame(rows)).to_dict("records")
    assert (found["coded_bytes"], found["validation_error_pct"], found["seeds"]) == (10, 1.5, 2)


def test_rows_of_earlier_versions_are_no_measured_rows() -> None:
    old = {**row(), "figures": "as measured then"}
    assert records.by_plan(pd.DataFrame([old])).empty


def test_since_is_known_of_every_plan_that_stands() -> None:
    for plan in plans.PLANS:
        assert row(plan)["since"] == plan.since != ""
        assert row(plan, stands=False)["since"] == ""
    assert row(PLAN)["since"] == ""


def test_row_of_a_trial_names_its_idea() -> None:
    assert {str(row(plan)["idea"]) for plan in plans.TRIALS} == {plan.idea for plan in plans.TRIALS}
    assert row(PLAN)["idea"] == ""


def test_rows_like_the_new_ones_in_all_columns_named_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    nothing = records.read(path, ["a", "b", "seed"])
    first = pd.DataFrame([{"a": 1, "b": 1, "seed": 7}])
    assert records.replaced(nothing, first, ["a"])["b"].tolist() == [1]
    before = pd.DataFrame([{"a": 1, "b": 1, "seed": 3_677_149_159}, {"a": 1, "b": 2}, {"a": 2, "b": 1}])
    records.save(before, path)
    table = records.replaced(records.read(path, []), pd.DataFrame([{"a": 1, "b": 2, "seed": 5}]), ["a", "b"])
    records.save(table, path)
    assert path.read_text() == "a,b,seed\n1,1,3677149159\n2,1,\n1,2,5\n"


# Trials


def trial(idea: str, size: int, error: float, plan: str) -> dict[str, object]:
    made = dict.fromkeys(records.COLUMNS, np.nan)
    return made | {
        "plan": plan,
        "idea": idea,
        "net": "n",
        "method": plan,
        "coded_bytes": size,
        "flash_bytes": size,
        "payload_bytes": size,
        "validation_error_pct": error,
        "figures": records.MEASURED,
        "stands": False,
    }


REFERENCE = [trial(plans.REFERENCE, 1000, 2.0, "a"), trial(plans.REFERENCE, 4000, 1.0, "b")]


def test_bytes_at_equal_error_follow_the_reference_s_line() -> None:
    # a doubling of bytes takes the error down by the square root of two: 2,000 bytes for 1.414 %
    table = pd.DataFrame(
        [*REFERENCE, trial("x", 1000, 2**0.5, "c"), trial("y", 3000, 2**0.5, "d"), trial("z", 9, 3, "e")]
    )
    found = records.at_equal_error(table).set_index("idea")
    assert found.loc["x", "reference_bytes"] == pytest.approx(2000)
    assert found.loc["x", "share"] == pytest.approx(0.5)
    assert found.loc["y", "share"] == pytest.approx(1.5)
    # no reference was measured at that error
    assert found["beyond"].to_dict() == {"x": False, "y": False, "z": True}
    assert set(found["references"]) == {2}


def test_without_two_reference_points_nothing_is_said() -> None:
    assert records.at_equal_error(pd.DataFrame([REFERENCE[0], trial("x", 1000, 1.0, "c")])).empty


def test_plans_that_stand_are_no_trials() -> None:
    standing = trial("", 10, 0.1, "s")
    assert records.at_equal_error(pd.DataFrame([*REFERENCE, standing])).empty


def test_trials_have_an_idea_and_a_name_of_their_own_and_do_not_stand() -> None:
    names = [plan.recipe.name for plan in plans.TRIALS]
    assert len(set(names)) == len(names)
    assert all(plan.idea for plan in plans.TRIALS)
    standing = {plan.recipe for plan in plans.PLANS}
    assert not standing & {plan.recipe for plan in plans.TRIALS}
