"""The sweeps: which cases there are, that all train alike, and their tables by hand."""

import numpy as np
import pytest
from made import LABELS, outcome, predictions

from model_compression.frontier import sweep


def test_sweep_has_eight_sparsities_random_lines_and_the_dense_control() -> None:
    found = {(case.strategy, case.schedule) for case in sweep.cases()}
    strategies = {"uniform", "global", "lamp", "erdos_renyi_kernel", "random"}
    assert {"dense", "random_mask", "random_mask_by_layer", *strategies} == {name for name, _ in found}
    assert {"polynomial 3", "polynomial 1", "constant", "one_shot", "iterative"} <= {s for _, s in found}
    assert len(sweep.SPARSITIES) >= 8
    assert (min(sweep.SPARSITIES), max(sweep.SPARSITIES)) == (0.5, 0.99)


def test_names_of_all_cases_differ() -> None:
    names = [case.recipe.name for case in [*sweep.cases(), *sweep.budget_cases()]]
    recipes = {case.recipe.name: case.recipe for case in [*sweep.cases(), *sweep.budget_cases()]}
    shared = [name for name in set(names) if names.count(name) > 1]
    # the same recipe in both: computed once
    for name in shared:
        assert (
            len({case.recipe for case in [*sweep.cases(), *sweep.budget_cases()] if case.recipe.name == name})
            == 1
        )
    assert len(recipes) > 100


def test_every_case_of_the_sweep_trains_for_as_long() -> None:
    assert {case.epochs for case in sweep.cases()} == {sweep.EPOCHS}


def test_every_budget_has_its_control_of_equal_training() -> None:
    dense = {case.epochs for case in sweep.budget_cases() if case.strategy == "dense"}
    assert dense == {case.epochs for case in sweep.budget_cases()} == {2, 4, 8, 16}
    assert len(sweep.budget_cases()) == 4 + 4 * 4 * 2


def test_sweep_table_by_hand() -> None:
    name = sweep.cases()[0].recipe.name
    made = [
        outcome("x", predictions(right), best_coded_bytes=size, nonzero_weights=30, weights=100)
        for size, right in ((10, 90), (30, 80), (20, 70))
    ]
    (row,) = sweep.table(sweep.cases(), {name: made}, LABELS).to_dict("records")
    assert (row["strategy"], row["best_coded_bytes"], row["seeds"]) == ("dense", 20, 3)
    assert row["error_pct"] == pytest.approx(20.0)
    assert row["error_low_pct"] < 20 < row["error_high_pct"]
    assert row["measured_sparsity"] == pytest.approx(0.7)
    assert np.isnan(row["change_pp"])


def test_cases_are_compared_with_the_dense_net_of_the_same_epochs() -> None:
    cases = sweep.budget_cases()
    names = {(case.strategy, case.sparsity, case.epochs): case.recipe.name for case in cases}
    rights = {("dense", 0.0, 2): 90, ("dense", 0.0, 16): 95, ("lamp", 0.8, 2): 88, ("lamp", 0.8, 16): 96}
    made = {names[key]: [outcome("x", predictions(right))] * 2 for key, right in rights.items()}
    table = sweep.table(cases, made, LABELS)
    pruned = table[table["strategy"] == "lamp"]
    assert list(pruned["change_pp"]) == pytest.approx([-2.0, 1.0])
    assert (pruned["change_ci_low_pp"] < pruned["change_pp"]).all()
    assert list(table[table["strategy"] == "dense"]["error_pct"]) == pytest.approx([10.0, 5.0])


def test_case_without_its_control_has_an_error_and_no_change() -> None:
    names = [case.recipe.name for case in sweep.budget_cases() if case.strategy == "lamp"]
    made = {names[0]: [outcome("x", predictions(88))]}
    (row,) = sweep.table(sweep.budget_cases(), made, LABELS).to_dict("records")
    assert row["error_pct"] == pytest.approx(12.0)
    assert np.isnan(row["change_pp"])
