"""Other data and nets, and other test images: which forms there are, and their tables and pictures."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from model_compression.frontier import pairs, rotated, transfer_plots
from model_compression.frontier.pairs import PAIRS
from model_compression.study.catalogue import catalogue, control_of


def test_five_pairs_of_at_least_twelve_forms_each_with_its_control() -> None:
    assert len(PAIRS) == 5
    assert len({pair.name for pair in PAIRS}) == 5
    assert len(pairs.FORMS) >= 12
    recipes = catalogue(pairs.settings("resnet_8", n_seeds=3))
    found = pairs.with_controls(recipes, pairs.FORMS)
    assert set(pairs.FORMS) <= set(found)
    for name in pairs.FORMS:
        assert control_of(recipes[name], found) in found
    float_net = next(iter(found.values()))
    assert (float_net.export.form, len(float_net.steps)) == ("float32", 1)


def rows(pair: pairs.Pair, change: float) -> pd.DataFrame:
    made = [
        {"recipe": "float32", "change_pp": np.nan, "verdict": ""},
        {"recipe": "int8", "change_pp": change, "verdict": "worse" if change < -0.2 else "equivalent"},
    ]
    table = pd.DataFrame(made).assign(role="form", accuracy_mean=0.9, left_out="")
    left = {"recipe": "int4_mixed", "role": "form", "left_out": "no layer takes it"}
    return pd.concat([table, pd.DataFrame([left])], ignore_index=True).assign(
        dataset=pair.dataset, net=pair.net
    )


def test_part_computed_again_replaces_its_rows_alone_and_pairs_keep_their_order(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    pairs.put(path, rows(PAIRS[2], -1.0), PAIRS[2])
    pairs.put(path, rows(PAIRS[0], -0.1), PAIRS[0])
    table = pairs.put(path, rows(PAIRS[2], -2.0), PAIRS[2])
    assert list(table["net"]) == ["baseline"] * 3 + ["ds_cnn"] * 3
    assert list(table["change_pp"].dropna()) == [-0.1, -2.0]


def test_picture_has_a_cell_with_change_and_verdict_for_each_form_and_pair() -> None:
    table = pd.concat([rows(PAIRS[0], -0.1), rows(PAIRS[3], -1.0)], ignore_index=True)
    (axes,) = transfer_plots.pairs(table).axes
    words = [text.get_text() for text in axes.texts]
    assert words == [
        "float net", "-0.10 equivalent", "not taken", "float net", "-1.00 worse", "not taken",
    ]  # fmt: skip
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "baseline\nmnist",
        "resnet_8\nfashion_mnist",
    ]


@pytest.mark.parametrize(
    ("here", "there", "said"),
    [
        ("worse", "worse", "yes"),
        ("worse", "equivalent", "no"),
        ("worse", "undecided", "open"),
        ("undecided", "undecided", "open"),
        ("", "worse", ""),
        (np.nan, "worse", ""),
    ],
)
def test_conclusion_holds_when_the_same_is_said_and_undecided_leaves_it_open(
    here: object, there: object, said: str
) -> None:
    assert rotated.holds(here, there) == said


def test_rotated_picture_counts_what_does_not_hold() -> None:
    table = pd.DataFrame(
        [
            {"kind": kind, "error_here_pct": 2.0, "error_there_pct": 2.1, "holds": said}
            for kind, said in (("form", "yes"), ("form", "no"), ("plan", "yes"))
        ]
    )
    for place, error in (("here", 2.0), ("there", 2.1)):
        table[f"error_low_{place}_pct"], table[f"error_high_{place}_pct"] = error - 0.2, error + 0.2
    (axes,) = transfer_plots.rotated(table).axes
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert words == ["equal", "forms: 1 of 2 do not hold", "plans: 0 of 1 do not hold"]
