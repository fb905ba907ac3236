import io
import os
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import exactly
from made import FORMS, Drawn
from matplotlib.figure import Figure
from matplotlib.table import Table
from PIL import Image

from model_compression.evidence import tables


def table_of(figure: Figure) -> Table:
    (table,) = (child for child in figure.axes[0].get_children() if isinstance(child, Table))
    return table


def texts_of(figure: Figure) -> list[list[str]]:
    """Rows of cell texts, the heading first."""
    cells = table_of(figure).get_celld()
    rows, columns = (1 + max(place[axis] for place in cells) for axis in (0, 1))
    return [[cells[row, column].get_text().get_text() for column in range(columns)] for row in range(rows)]


def comparison() -> pd.DataFrame:
    """A table as `forms.model_comparison` gives it."""
    return pd.DataFrame(
        {
            "model_file": ["non_quantized.tflite", "pruned_quantization_aware.tflite"],
            "file_bytes": [84_848, 24_296],
            "zip_bytes": [77_554, 8_380],
            "compression_ratio": [1.0, 3.49226],
            "zip_compression_ratio": [1.0, 9.2547],
            "accuracy": [0.9825, 0.97682],
            "accuracy_change_pp": [0.0, -0.568],
            "against_control_pp": [-0.036, -0.604],
            "published_accuracy": [0.951, np.nan],
        }
    )


def many_forms() -> pd.DataFrame:
    """As many rows as the study has, with its longest names and widest figures."""
    wide = FORMS.assign(
        converted_bytes=985_000,
        entropy_bytes=776_002,
        nonzero_weights=120_388,
        p_holm=1.23e-10,
        detectable_pp=0.53,
    )
    return pd.concat([wide] * 4, ignore_index=True)


NOTE = (
    "bytes: the median seed's. best coded: the shortest of zip, xz, zstd and brotli. entropy: of the stored "
    "weights, order 0.\nchange: against the float net trained for as long. verdict: of the family (Holm)."
)


def figures() -> dict[str, Figure]:
    forms = tables.shown(many_forms())
    layers = pd.DataFrame(
        {"layer": ["CONV_2D 1"], "shape": ["12 x 3 x 3 x 1"], "parameters": [120], "weights": [108],
         "sparsity": [0.8], "nonzero": [22], "kernel_bytes": [432], "macs": [73_008], "dense_macs": [73_008]}
    )  # fmt: skip
    return {
        "forms": tables.table_figure(forms, "Every form, 3 seeds", note=NOTE),
        "one row": tables.table_figure(forms.head(1), "A control", note=NOTE),
        "comparison": tables.table_figure(comparison(), "Model comparison: seed 100, 6 + 2 epochs"),
        "layers": tables.table_figure(layers, "Layer by layer: the float32 file"),
    }


@pytest.mark.parametrize("name", ["forms", "one row", "comparison", "layers"])
def test_no_text_leaves_the_picture_or_its_cell(name: str) -> None:
    figure = figures()[name]
    drawn = Drawn(figure)
    assert drawn.overhang() <= 0
    cells = table_of(figure).get_celld()
    for cell in cells.values():
        around, inside = drawn.extent(cell), drawn.extent(cell.get_text())
        text = cell.get_text().get_text()
        assert inside.x0 >= around.x0 - 1, text
        assert inside.x1 <= around.x1 + 1, text
        assert inside.y0 >= around.y0 - 1, text
        assert inside.y1 <= around.y1 + 1, text


@pytest.mark.parametrize("name", ["forms", "one row", "comparison", "layers"])
def test_title_table_and_note_do_not_overlap(name: str) -> None:
    figure = figures()[name]
    drawn, table = Drawn(figure), table_of(figure)
    cells = table.get_celld()
    rows = [drawn.extent(cells[row, 0]) for row in range(1 + max(row for row, _ in cells))]
    assert drawn.extent(figure.axes[0].title).y0 >= rows[0].y1 - 1
    assert all(above.y0 >= below.y1 - 1 for above, below in pairwise(rows))
    assert all(drawn.extent(note).y1 <= rows[-1].y0 + 1 for note in figure.axes[0].texts)


def test_shown_tables_hold_a_figure_and_its_interval_in_one_column() -> None:
    view = tables.shown(FORMS)
    assert view.accuracy_spread[1] == "98.33  [98.03, 98.63]"
    assert view.change.tolist()[:2] == ["–", "-0.01  [-0.04, +0.01]"]
    assert list(view.columns) == [
        "recipe", "file_bytes", "zip_bytes", "best_coded_bytes", "accuracy_spread", "change", "verdict",
    ]  # fmt: skip


def test_picture_says_what_the_csv_says(tmp_path: Path) -> None:
    heading, *body = texts_of(tables.table_figure(comparison(), "t"))
    assert heading[:4] == ["file", "bytes", "zipped", "times\nsmaller"]
    tables.save_csv(comparison(), tmp_path / "t.csv")
    for row, texts in zip(pd.read_csv(tmp_path / "t.csv").itertuples(), body, strict=True):
        published = "–" if np.isnan(row.published_accuracy) else f"{row.published_accuracy:.2%}"
        assert texts == [
            row.model_file,
            f"{row.file_bytes:,}",
            f"{row.zip_bytes:,}",
            f"{row.compression_ratio:.2f}",
            f"{row.zip_compression_ratio:.2f}",
            f"{row.accuracy:.2%}",
            f"{row.accuracy_change_pp:+.2f}",
            f"{row.against_control_pp:+.2f}",
            published,
        ]


def test_unknown_columns_are_headed_by_their_names() -> None:
    frame = pd.DataFrame({"wrong_turns": [1234567], "where": ["here"]})
    assert texts_of(tables.table_figure(frame, "t")) == [["wrong turns", "where"], ["1,234,567", "here"]]


def test_a_number_that_there_is_not_is_a_dash() -> None:
    frame = pd.DataFrame({"seeds_needed": [7, None], "power": [float("nan"), 0.5]}, dtype=object)
    assert texts_of(tables.table_figure(frame, "t"))[1:] == [["7", "–"], ["–", "50.00%"]]
    cells = re.findall(r"<td [^>]*>(.*?)</td>", tables.html_table(frame, "t").to_html())
    assert cells == ["7", "–", "–", "50.00%"]


def html() -> str:
    table = comparison().assign(verdict=["", "worse"])
    return tables.html_table(table, "The files", least=["file_bytes"]).to_html()


def test_html_says_what_the_picture_says() -> None:
    heading, *body = texts_of(tables.table_figure(comparison(), "t"))
    cells = re.findall(r"<t[hd] [^>]*>(.*?)</t[hd]>", html())
    rows = [cells[start : start + len(heading) + 1] for start in range(0, len(cells), len(heading) + 1)]
    assert rows[0] == [*(text.replace("\n", " ") for text in heading), "verdict"]
    assert [row[:-1] for row in rows[1:]] == body


def test_html_headings_are_whole_words_with_their_units() -> None:
    frame = pd.DataFrame({"converted_bytes": [1], "detectable_pp": [0.5], "zip_compression_ratio": [2.0]})
    text = tables.html_table(frame, "t").to_html()
    for heading in ("as the converter writes", "detectable, pp", "zipped, times smaller"):
        assert f">{heading}</th>" in text


def test_html_marks_the_least_and_shades_verdicts() -> None:
    text = html()
    # bytes: the second row
    (place,) = re.findall(r"([^{}]*)\{\s*font-weight: bold", text)
    assert place.strip().endswith("_row1_col1")
    assert f"background-color: {tables.SHADES['worse']}" in text


def test_the_same_table_is_the_same_html() -> None:
    assert html() == html()


def saved(folder: Path, name: str = "t.png") -> bytes:
    path = folder / name
    tables.save_figure(tables.table_figure(pd.DataFrame({"zip_bytes": [1, 2]}), "t"), path)
    return path.read_bytes()


def test_picture_is_as_wide_as_stated_and_opaque_white(tmp_path: Path) -> None:
    with Image.open(io.BytesIO(saved(tmp_path))) as picture:
        assert picture.format == "PNG"
        assert picture.width == tables.WIDTH * tables.DPI == 846
        pixels = np.asarray(picture.convert("RGBA"))
    assert (pixels[..., 3] == 255).all()
    assert (pixels[[0, -1]] == 255).all()


def test_saving_loses_no_pixel(tmp_path: Path) -> None:
    figure = tables.table_figure(comparison(), "t")
    tables.save_figure(figure, tmp_path / "t.png")
    plain = tables.png(figure)
    assert len((tmp_path / "t.png").read_bytes()) < len(plain)
    pixels = [
        np.asarray(Image.open(source).convert("RGB")) for source in (tmp_path / "t.png", io.BytesIO(plain))
    ]
    np.testing.assert_array_equal(*pixels)


def test_colours_are_rounded_by_less_than_can_be_seen() -> None:
    figure = tables.table_figure(comparison(), "t")
    pixels = np.asarray(Image.open(io.BytesIO(tables.png(figure))).convert("RGB"))
    assert not (pixels % tables.COLOUR_STEP).any()
    plain = io.BytesIO()
    figure.savefig(plain, format="png", dpi=tables.DPI)
    apart = np.asarray(Image.open(plain).convert("RGB")).astype(int) - pixels
    assert np.abs(apart).max() <= tables.COLOUR_STEP // 2


def test_the_same_figure_is_the_same_png(tmp_path: Path) -> None:
    assert saved(tmp_path, "a.png") == saved(tmp_path, "b.png")


def test_pictures_and_tables_are_written_into_folders_made_for_them(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "deep"
    saved(folder)
    tables.save_csv(pd.DataFrame({"a": [1]}), folder / "t.csv")
    assert sorted(path.name for path in folder.iterdir()) == ["t.csv", "t.png"]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("t.png", lambda path: saved(path.parent, path.name)),
        ("t.csv", lambda path: tables.save_csv(pd.DataFrame({"a": [1]}), path)),
    ],
)
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, name: str, write: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")

    def fail(source: str, target: str) -> None:
        raise OSError("power cut")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match=exactly("power cut")):
        write(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_results_below_a_file_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(
        NotADirectoryError, match=exactly(f"{file} must be a folder, and is a file or lies below one")
    ):
        saved(file)


def test_csv_has_six_digits_unix_lines_and_empty_cells_for_what_is_missing(tmp_path: Path) -> None:
    frame = pd.DataFrame({"recipe": ["a", "b,c"], "x": [1 / 3, np.nan], "n": [1_234_567, 2]})
    tables.save_csv(frame, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes() == b'recipe,x,n\na,0.333333,1234567\n"b,c",,2\n'


def test_styles_of_a_table_reach_it_whatever_its_title() -> None:
    frame = pd.DataFrame({"recipe": ["a"], "verdict": ["worse"]})
    page = tables.html_table(frame, "Every form, seeds: 5 (all)").to_html()
    (name,) = set(re.findall(r'<table id="([^"]*)"', page))
    assert re.fullmatch(r"[\w-]+", name)
    assert re.search(rf"#{name} \.row0|#{name}_row0", page)
