"""How tables look: as HTML to read and copy, as PNG, and as CSV. Nothing here computes a figure."""

import re
from collections.abc import Collection
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import oxipng
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from pandas.io.formats.style import Styler

from ..store import writable_folder, write_atomically
from .style import DPI, STYLE, WIDTH

#: How a column is shown: heading, its lines divided by bars, and format of a number.
COLUMNS = pd.read_csv(Path(__file__).with_name("columns.csv"), index_col="column")


def interval(mean: float, low: float, high: float, form: str = ".2f") -> str:
    """A figure with its interval in words; a dash where there is none, alone where it has no interval."""
    if pd.isna(mean):
        return "–"
    return f"{mean:{form}}" + ("" if pd.isna(low) else f"  [{low:{form}}, {high:{form}}]")


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """A table with verdicts as a reader wants it: an accuracy or a change and its interval in one column."""
    changes = frame[["change_pp", "change_ci_low_pp", "change_ci_high_pp"]]
    view = frame.assign(change=[interval(mean, low, high, "+.2f") for mean, low, high in changes.to_numpy()])
    if "accuracy_ci_low" in view:
        accuracies = 100 * frame[["accuracy_mean", "accuracy_ci_low", "accuracy_ci_high"]]
        view["accuracy_spread"] = [interval(*row) for row in accuracies.to_numpy()]
    return view[[column for column in VIEW if column in view]]


#: What is shown of a table with verdicts, in this order.
VIEW = (
    "corruption", "class", "images", "recipe", "compared_with", "against", "file_bytes", "converted_bytes",
    "zip_bytes", "best_coded_bytes", "entropy_bytes", "nonzero_weights", "rival_zip_bytes", "accuracy",
    "control_accuracy", "accuracy_spread", "change", "p_holm", "verdict", "detectable_pp",
)  # fmt: skip
#: Columns of words: set flush left.
LEFT = (
    "method", "source", "recipe", "against", "verdict", "change", "measured", "estimate_and_interval",
    "answer", "compared_with", "bits",
)  # fmt: skip
#: Columns of a table that is set in small letters, a row a line: its headings alone are divided.
WIDE = 9
#: Verdict -> shade.
SHADES = {"worse": "#f6d5c3", "better": "#cfeade", "equivalent": "#dcebf5", "undecided": "#f1f1f1"}


def _looks(frame: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Headings and formats of the columns; those without an entry are headed by their name."""
    looks = COLUMNS.reindex(list(frame))
    names = [str(column).replace("_", " ") for column in frame]
    plain = ["{:,}" if series.dtype.kind == "i" else "{}" for _, series in frame.items()]
    headings = looks["heading"].fillna(pd.Series(names, looks.index)).str.replace("|", "\n")
    return list(headings), list(looks["format"].fillna(pd.Series(plain, looks.index)))


def table_figure(frame: pd.DataFrame, title: str, *, note: str = "") -> Figure:
    """A table as a picture, columns as wide as their text."""
    headings, formats = _looks(frame)
    cells = [
        ["–" if pd.isna(value) else form.format(value) for value, form in zip(row, formats, strict=True)]
        for row in frame.itertuples(index=False)
    ]
    widths = [
        max(len(line) for line in [*heading.split("\n"), *(row[index] for row in cells)]) + 2.6
        for index, heading in enumerate(headings)
    ]
    height = 0.24 * len(cells) + 0.85 + 0.18 * note.count("\n") + (0.2 if note else 0)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        axes.set_title(title, fontsize=11, fontweight="bold", y=1 - 0.32 / height, pad=0)
        below = (0.14 + 0.17 * (note.count("\n") + 1)) / height if note else 0.06 / height
        table = axes.table(
            cellText=cells,
            colLabels=headings,
            colWidths=[width / sum(widths) for width in widths],
            bbox=Bbox.from_bounds(0.01, below, 0.98, 1 - below - 0.42 / height),
            cellLoc="right",
        )
        table.auto_set_font_size(False)
        table.set_fontsize(min(9, 9 * 118 / sum(widths)))
        for (row, column), cell in table.get_celld().items():
            cell.set_linewidth(0.4)
            cell.set_edgecolor("#bbbbbb")
            if row == 0:
                cell.set_height(cell.get_height() * 1.7)
                cell.set_facecolor("#e8eef7")
                cell.set_text_props(fontweight="bold")
            elif row % 2 == 0:
                cell.set_facecolor("#f7f7f7")
            if column == 0 or frame.columns[column] in LEFT:
                cell.set_text_props(ha="left")
                cell.PAD = 0.03
        if note:
            axes.text(0.012, 0.06 / height, note, fontsize=7.5, va="bottom", color="#444444")
    return figure


def html_table(frame: pd.DataFrame, title: str, *, least: Collection[str] = ()) -> Styler:
    """The same table as HTML, which a notebook shows as it is; verdicts are shaded.

    Args:
        least: columns whose smallest value is set bold.
    """
    headings, formats = _looks(frame)
    # ids are drawn at random otherwise, and a notebook would never be saved the same twice; in one with a
    # comma or a colon, styles would not find their table
    style = Styler(frame, uuid=re.sub(r"\W+", "-", title), cell_ids=False, caption=title).hide(axis="index")
    style = style.format(dict(zip(frame, formats, strict=True)), na_rep="–")
    # a word that was divided between two lines is whole again
    lines = [re.sub(r"(?<=[a-z])-\n(?=[a-z])", "", heading).replace("\n", " ") for heading in headings]
    style = style.relabel_index(lines, axis="columns")
    words = [place for place, column in enumerate(frame) if place == 0 or column in LEFT]
    style = style.highlight_min(subset=list(least), props="font-weight: bold")
    # apart from the numbers before them, which are flush right
    looks = [{"selector": f".col{x}", "props": "text-align: left; padding-left: 0.7em"} for x in words]
    if len(frame.columns) > WIDE:
        # a dozen columns fit a page of 1,000 pixels
        looks.append({"selector": "td, th", "props": "font-size: 80%; padding: 0.3em 0.35em"})
        looks.append({"selector": "td", "props": "white-space: nowrap"})
    style = style.set_table_styles(looks)
    if "verdict" in frame:
        # black on the shade, whatever a dark page writes in
        shades = {said: f"background-color: {shade}; color: black" for said, shade in SHADES.items()}
        style = style.map(lambda said: shades.get(said, ""), subset=["verdict"])
    return style


#: The steps of each colour, of 255: no eye tells a step from none, and tables of text get by with a palette.
COLOUR_STEP = 5


def png(figure: Figure) -> bytes:
    """A figure as the content of a PNG file."""
    with matplotlib.rc_context(STYLE):
        picture = BytesIO()
        figure.savefig(picture, format="png", dpi=DPI)
    picture.seek(0)
    drawn = 255 * matplotlib.image.imread(picture)[..., :3] / COLOUR_STEP
    stepped = BytesIO()
    pixels = (COLOUR_STEP * np.rint(drawn)).astype(np.uint8)
    nothing: Any = {"Software": None}
    matplotlib.image.imsave(stepped, pixels, format="png", metadata=nothing)
    return stepped.getvalue()


def small_png(figure: Figure) -> bytes:
    """The same picture in fewer bytes, without loss."""
    # all other filters together, in three times the time, take off another hundredth
    plain, hard = [oxipng.RowFilter.NoOp], oxipng.Deflaters.libdeflater(12)
    return oxipng.optimize_from_memory(png(figure), filter=plain, deflate=hard)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    writable_folder(path.parent)
    write_atomically(path, small_png(figure))


def save_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a CSV, whole or not at all; numbers with six significant digits, missing ones empty."""
    writable_folder(path.parent)
    write_atomically(path, frame.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode())
