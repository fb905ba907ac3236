"""Trials: names, and bytes at equal error."""

import numpy as np
import pandas as pd
import pytest

from model_compression.frontier import ideas, plans, records


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


REFERENCE = [trial(ideas.REFERENCE, 1000, 2.0, "a"), trial(ideas.REFERENCE, 4000, 1.0, "b")]


def test_bytes_at_equal_error_follow_the_reference_s_line() -> None:
    # a doubling of bytes takes the error down by the square root of two: 2,000 bytes for 1.414 %
    table = pd.DataFrame([*REFERENCE, trial("x", 1000, 2**0.5, "c"), trial("y", 3000, 2**0.5, "d")])
    found = ideas.at_equal_error(table).set_index("idea")
    assert found.loc["x", "reference_bytes"] == pytest.approx(2000)
    assert found.loc["x", "share"] == pytest.approx(0.5)
    assert found.loc["y", "share"] == pytest.approx(1.5)


def test_without_two_reference_points_nothing_is_said() -> None:
    assert ideas.at_equal_error(pd.DataFrame([REFERENCE[0], trial("x", 1000, 1.0, "c")])).empty


def test_plans_that_stand_are_no_trials() -> None:
    standing = trial("", 10, 0.1, "s")
    assert ideas.at_equal_error(pd.DataFrame([*REFERENCE, standing])).empty


def test_trials_have_an_idea_and_a_name_of_their_own_and_do_not_stand() -> None:
    names = [plan.recipe.name for plan in ideas.TRIALS]
    assert len(set(names)) == len(names)
    assert all(plan.idea for plan in ideas.TRIALS)
    standing = {plan.recipe for plan in plans.PLANS}
    assert not standing & {plan.recipe for plan in ideas.TRIALS}
