from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from model_compression.notebook.gallery import Gallery, NothingToDrawError


def test_table_that_takes_long_is_computed_once_and_is_the_same_again(tmp_path: Path) -> None:
    asked = []

    def compute(numbers: np.ndarray, *, share: float) -> pd.DataFrame:
        asked.append(share)
        words = ["worse", "", None]
        return pd.DataFrame({"third": numbers * share / 3, "verdict": words, "missing": [1.0, np.nan, 2.0]})

    def given(share: float) -> pd.DataFrame:
        return Gallery(tmp_path, tmp_path).kept(compute, np.arange(3.0), share=share)

    first, again = given(1.0), given(1.0)
    assert asked == [1.0]
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    pd.testing.assert_frame_equal(first, compute(np.arange(3.0), share=1.0), check_exact=True)
    assert given(0.5).third[1] == pytest.approx(1 / 6)
    assert asked == [1.0, 1.0, 0.5]


def test_column_without_a_figure_is_kept_in_the_csv_and_not_shown(tmp_path: Path) -> None:
    table = pd.DataFrame({"recipe": ["a", "b"], "agreement": [np.nan, np.nan], "zeros": [0.5, np.nan]})
    shown = Gallery(tmp_path, tmp_path).show_table(table, "t", "Two rows")
    assert list(shown.data.columns) == ["recipe", "zeros"]
    assert list(pd.read_csv(tmp_path / "t.csv").columns) == list(table.columns)


def test_rows_of_other_runs_stay_beside_those_of_this_one(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path, tmp_path)
    gallery.save(pd.DataFrame({"processor": ["a", "b", "b"], "us": [1, 2, 3]}), "t")
    kept = gallery.save(pd.DataFrame({"processor": ["b"], "us": [9]}), "t", beside="processor")
    assert kept.to_numpy().tolist() == [["a", 1], ["b", 9]]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "t.csv"), kept)


def titled(*titles: str) -> Figure:
    """A figure of several parts."""
    figure = Figure()
    for axes, title in zip(np.atleast_1d(figure.subplots(1, len(titles))), titles, strict=True):
        axes.set_title(title)
    return figure


def test_picture_has_its_titles_to_be_read_aloud(tmp_path: Path) -> None:
    shown = Gallery(tmp_path, tmp_path).show_figure("a-picture", titled, "One\ntwo", "", "Three")
    assert shown._repr_png_()[1]["alt"] == "a picture: One two, Three"


def test_picture_is_drawn_once_and_again_of_other_words(tmp_path: Path) -> None:
    asked = []

    def draw(title: str) -> Figure:
        asked.append(title)
        return titled(title)

    gallery = Gallery(tmp_path, tmp_path)
    shown = [gallery.show_figure(name, draw, title) for name, title in (("a", "1"), ("b", "1"), ("a", "2"))]
    assert asked == ["1", "2"]
    assert shown[0].data == shown[1].data == (tmp_path / "b.png").read_bytes()
    assert shown[2].data == (tmp_path / "a.png").read_bytes() != shown[0].data


def test_function_that_changed_draws_again(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path, tmp_path)

    def draw() -> Figure:
        return titled("before")

    first = gallery.show_figure("a", draw)

    def draw() -> Figure:  # type: ignore[no-redef]
        return titled("after")

    assert (first.alt, gallery.show_figure("a", draw).alt) == ("a: before", "a: after")


def test_table_with_nothing_to_draw_leaves_no_picture(tmp_path: Path) -> None:
    with pytest.raises(NothingToDrawError, match=r"^there is nothing to draw$"):
        Gallery(tmp_path, tmp_path).show_figure("a", lambda: None)
    assert not (tmp_path / "a.png").exists()
