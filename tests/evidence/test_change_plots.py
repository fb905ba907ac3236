from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from conftest import exactly
from made import Drawn
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from model_compression.evidence import change_plots
from model_compression.evidence.style import WIDTH


def changes(verdicts: list[str], **columns: list[object]) -> pd.DataFrame:
    """Rows with a change each, -1, 0, 1 and so on, and an interval of half a point."""
    value = np.arange(len(verdicts)) - 1.0
    table = pd.DataFrame(columns | {"change_pp": value, "verdict": verdicts})
    return table.assign(change_ci_low_pp=value - 0.5, change_ci_high_pp=value + 0.5)


RIVALS = changes(
    ["worse", "undecided", "better", "worse"],
    recipe=["pruned", "pruned", "clustered_8", "clustered_8"],
    against=["small dense net", "lottery ticket", "small dense net", "lottery ticket"],
)
BUDGET = changes(
    ["worse", "equivalent", "equivalent", "worse"] * 2,
    allocation=["lamp"] * 4 + ["uniform"] * 4,
    sparsity=[0.5, 0.5, 0.8, 0.8] * 2,
    epochs=[2, 8, 2, 8] * 2,
)
PAIRS = changes(
    ["equivalent", "equivalent", "worse", "undecided", "worse"],
    recipe=["int8", "int8", "pruned", "pruned", "clustered_8"],
    pair=["baseline, MNIST", "cnn_1d, signals", "baseline, MNIST", "cnn_1d, signals", "baseline, MNIST"],
)
ROTATED = pd.DataFrame(
    {
        "recipe": ["int8", "pruned", "int8", "pruned"],
        "test_set": ["here", "here", "there", "there"],
        "error_pct": [1.0, 2.0, 1.5, 2.5],
        "error_ci_low_pct": [0.5, 1.5, 1.0, 2.0],
        "error_ci_high_pct": [1.5, 2.5, 2.0, 3.0],
    }
)
FIGURES: dict[str, Callable[[], Figure]] = {
    "rivals": lambda: change_plots.pruned_or_small(RIVALS),
    "budget": lambda: change_plots.pruning_budget(BUDGET),
    "pairs": lambda: change_plots.pairs(PAIRS),
    "rotated": lambda: change_plots.rotated(ROTATED),
}


@pytest.mark.parametrize("name", FIGURES)
def test_pictures_are_white_as_wide_as_the_tables_and_cut_nothing_off(name: str) -> None:
    drawn = Drawn(FIGURES[name]())
    assert drawn.overhang() <= 0
    assert drawn.figure.get_figwidth() == WIDTH
    assert {axes.get_facecolor() for axes in drawn.figure.axes} == {(1, 1, 1, 1)}


def test_verdicts_are_counted_in_one_order() -> None:
    said = pd.Series(["undecided", "", "equivalent", "worse", "worse"])
    assert change_plots.counted(said) == "2 worse, 1 equivalent, 1 undecided"
    assert change_plots.counted(pd.Series([""])) == "no test"


def marks(figure: Figure) -> list[tuple[float, float, str, bool]]:
    """Value, place, colour and whether it is filled, of each mark of the first axes."""
    bars = [each for each in figure.axes[0].containers if isinstance(each, ErrorbarContainer)]
    found = []
    for bar in bars:
        line = bar.lines[0]
        (x,), (y,) = line.get_data()
        found.append((float(x), float(y), line.get_color(), line.get_markerfacecolor() != "white"))
    return found


def test_each_row_is_a_mark_filled_where_it_is_decided() -> None:
    found = marks(change_plots.pruned_or_small(RIVALS))
    # one series after the other
    assert [value for value, *_ in found] == [-1, 1, 0, 2]
    assert [filled for *_, filled in found] == [True, True, False, True]
    assert [round(place) for _, place, *_ in found] == [0, 1, 0, 1]
    assert len({colour for _, _, colour, _ in found}) == 2


def test_title_counts_the_verdicts_of_each_rival() -> None:
    title = change_plots.pruned_or_small(RIVALS).axes[0].get_title()
    assert title.splitlines()[1:] == [
        "small dense net: 1 worse, 1 better",
        "lottery ticket: 1 worse, 1 undecided",
    ]


def test_more_series_than_colours_are_refused() -> None:
    many = changes(["worse"] * 8, recipe=["a"] * 8, against=[f"rival {n}" for n in range(8)])
    with pytest.raises(ValueError, match=exactly("8 series; allowed: 7, a colour each")):
        change_plots.intervals(many, rows="recipe", series="against", title="t")


def test_budget_has_a_panel_an_allocation_and_a_line_a_sparsity() -> None:
    figure = change_plots.pruning_budget(BUDGET)
    assert [axes.get_title() for axes in figure.axes] == [
        "lamp: 2 worse, 2 equivalent",
        "uniform: 2 worse, 2 equivalent",
    ]
    for axes in figure.axes:
        named = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        assert list(named) == ["50 %", "80 %"]
        for bar in named.values():
            assert list(bar.lines[0].get_xdata()) == pytest.approx([2, 8], rel=0.05)
        assert named["50 %"].lines[0].get_xdata()[0] != named["80 %"].lines[0].get_xdata()[0]
        assert [text.get_text() for text in axes.get_xticklabels()] == ["2", "8"]


def test_pairs_show_change_and_verdict_in_each_cell_and_count_all_rows() -> None:
    figure = change_plots.pairs(PAIRS)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == [
        "-1.00\nequivalent",
        "+0.00\nequivalent",
        "+1.00\nworse",
        "+2.00\nundecided",
        "+3.00\nworse",
    ]
    assert axes.get_title() == "1 of 3 rows have one verdict on all 2 pairs"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["baseline, MNIST", "cnn_1d, signals"]
    # no change is white, whatever the others are
    low, high = axes.images[0].get_clim()
    assert low == -high


def test_rotated_shows_both_test_sets_and_how_the_ranks_agree() -> None:
    figure = change_plots.rotated(ROTATED)
    assert [value for value, *_ in marks(figure)] == [1.0, 2.0, 1.5, 2.5]
    assert figure.axes[0].get_title() == (
        "2 rows, means 1.50 % on here, 2.00 % on there; rank correlation 1.00"
    )
