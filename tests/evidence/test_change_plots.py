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
FIGURES: dict[str, Callable[[], Figure]] = {
    "rivals": lambda: change_plots.pruned_or_small(RIVALS),
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


def test_bytes_of_a_file_are_its_kinds_one_after_the_other() -> None:
    table = pd.DataFrame({"model_file": ["a.tflite", "b.tflite"], "weights": [70, 40], "long_names": [30, 0]})
    figure = change_plots.contents(table)
    (axes,) = figure.axes
    ends = [[bar.get_x() + bar.get_width() for bar in kind] for kind in axes.containers]
    assert ends == [[70, 40], [100, 40]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["weights", "long names"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a.tflite", "b.tflite"]
