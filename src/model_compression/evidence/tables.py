"""How tables look: as HTML to read and copy, as PNG, and as CSV. Nothing here computes a figure."""

import re
from collections.abc import Collection
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
import oxipng
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from pandas.io.formats.style import Styler

from ..store import writable_folder, write_atomically
from .style import DPI, STYLE, WIDTH

#: How a column is shown: heading, and format of a number.
SHOWN: dict[str, tuple[str, str]] = {
    "model_file": ("file", "{}"),
    "recipe": ("form", "{}"),
    "file_bytes": ("bytes", "{:,.0f}"),
    "converted_bytes": ("as the con-\nverter writes", "{:,.0f}"),
    "zip_bytes": ("zipped", "{:,.0f}"),
    "best_coded_bytes": ("best\ncoded", "{:,.0f}"),
    "entropy_bytes": ("entropy\nof weights", "{:,.0f}"),
    "nonzero_weights": ("non-zero\nweights", "{:,.0f}"),
    "unique_values": ("unique\nvalues", "{:,.0f}"),
    "macs": ("multiply-adds\nan image", "{:,.0f}"),
    "dense_macs": ("of all\nweights", "{:,.0f}"),
    "compression_ratio": ("times\nsmaller", "{:.2f}"),
    "zip_compression_ratio": ("zipped,\ntimes smaller", "{:.2f}"),
    "zip_ratio": ("bytes /\nzipped", "{:.2f}"),
    "accuracy": ("accuracy\n%", "{:.2%}"),
    "control_accuracy": ("of the\ncontrol, %", "{:.2%}"),
    "published_accuracy": ("original\nstudy, %", "{:.2%}"),
    "accuracy_change_pp": ("change\npp", "{:+.2f}"),
    "against_longer_trained_pp": ("against equal\ntraining, pp", "{:+.2f}"),
    "change": ("change against control\npp, 95 % interval", "{}"),
    "accuracy_spread": ("accuracy %\n95 % interval", "{}"),
    "calibration_error": ("calibration\nerror, %", "{:.2%}"),
    "calibration_error_sd": ("its sd over\nseeds, %", "{:.2%}"),
    "nll": ("log-likelihood,\nnegative, nats", "{:.4f}"),
    "nll_change": ("its change\nnats", "{:+.4f}"),
    "nll_change_ci_low": ("95 % interval\nfrom", "{:+.4f}"),
    "nll_change_ci_high": ("95 % interval\nto", "{:+.4f}"),
    "agreement": ("same label\nas float", "{:.2%}"),
    "p_holm": ("p (Holm)", "{:.2g}"),
    "p_value": ("p", "{:.2g}"),
    "p_equivalent": ("p of equi-\nvalence", "{:.2g}"),
    "detectable_pp": ("detect-\nable, pp", "{:.2f}"),
    "difference_pp": ("true differ-\nence, pp", "{:.1f}"),
    "power": ("chance to\nfind it", "{:.2%}"),
    "power_holm": ("after\nHolm", "{:.2%}"),
    "seeds_needed": ("seeds for\n80 %", "{:.0f}"),
    "seeds_needed_holm": ("after Holm,\nseeds for 80 %", "{:.0f}"),
    "verdict": ("verdict", "{}"),
    "claim": ("claim", "{}"),
    "measured": ("measured on", "{}"),
    "estimate_and_interval": ("estimate, 95 % interval", "{}"),
    "answer": ("answer", "{}"),
    "snr_db": ("signal to\nnoise, dB", "{:.1f}"),
    "one_width_snr_db": ("one width,\ndB", "{:.1f}"),
    "one_width_accuracy": ("one width,\naccuracy", "{:.2%}"),
    "change_pp": ("change\npp", "{:+.2f}"),
    "bits": ("bits of each layer", "{}"),
    "zeros": ("zeros", "{:.2%}"),
    "sparsity": ("sparsity", "{:.2%}"),
    "input": ("input", "{}"),
    "layer": ("layer", "{}"),
    "shape": ("shape of kernel", "{}"),
    "compared_with": ("compared with", "{}"),
    "latency_us_median": ("us an\nimage", "{:.1f}"),
    "latency_us_p90": ("90th\npercentile", "{:.1f}"),
    "plain_us_median": ("us without\ndelegate", "{:.1f}"),
    "images_per_s": ("images a\nsecond", "{:,.0f}"),
    "runs_on_litert": ("runs on\nLiteRT", "{}"),
    "runs_on_tflm": ("runs on\nTFLM", "{}"),
    "tflm_agreement": ("labels as\nLiteRT's", "{:.2%}"),
    "arena_bytes": ("arena,\nbytes", "{:,.0f}"),
    "flash_bytes": ("flash,\nbytes", "{:,.0f}"),
}


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """A table with verdicts as a reader wants it: an accuracy or a change and its interval in one column."""
    view = frame.copy()
    if "accuracy_ci_low" in view:
        view["accuracy_spread"] = [
            f"{100 * mean:.2f}  [{100 * low:.2f}, {100 * high:.2f}]"
            for mean, low, high in zip(
                frame.accuracy_mean, frame.accuracy_ci_low, frame.accuracy_ci_high, strict=True
            )
        ]
    view["change"] = [
        "–"
        if np.isnan(row.change_pp)
        else f"{row.change_pp:+.2f}  [{row.change_ci_low_pp:+.2f}, {row.change_ci_high_pp:+.2f}]"
        for row in frame.itertuples()
    ]
    return view[[column for column in VIEW if column in view]]


#: What is shown of a table with verdicts, in this order.
VIEW = (
    "corruption", "class", "images", "recipe", "against", "file_bytes", "converted_bytes", "zip_bytes",
    "best_coded_bytes", "entropy_bytes", "nonzero_weights", "rival_zip_bytes", "accuracy", "control_accuracy",
    "accuracy_spread", "change", "p_holm", "verdict", "detectable_pp",
)  # fmt: skip
#: Columns of words: set flush left.
LEFT = (
    "method", "source", "recipe", "against", "verdict", "change", "measured", "estimate_and_interval",
    "answer", "compared_with", "bits",
)  # fmt: skip
#: Verdict -> shade.
SHADES = {"worse": "#f6d5c3", "better": "#cfeade", "equivalent": "#dcebf5", "undecided": "#f1f1f1"}


def _looks(frame: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Heading and format of each column; those without an entry are headed by their name."""
    return {
        column: SHOWN.get(column, (column.replace("_", " "), "{:,}" if series.dtype.kind == "i" else "{}"))
        for column, series in frame.items()
    }


def _text(value: object, form: str) -> str:
    return "–" if pd.isna(value) else form.format(value)


def table_figure(frame: pd.DataFrame, title: str, *, note: str = "") -> Figure:
    """A table as a picture, columns as wide as their text."""
    looks = _looks(frame).values()
    headings, formats = [heading for heading, _ in looks], [form for _, form in looks]
    cells = [
        [_text(value, form) for value, form in zip(row, formats, strict=True)]
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


def html_table(
    frame: pd.DataFrame,
    title: str,
    *,
    least: Collection[str] = (),
    most: Collection[str] = (),
    bars: Collection[str] = (),
) -> Styler:
    """The same table as HTML, which a notebook shows as it is; verdicts are shaded.

    Args:
        least, most: columns whose smallest, or largest, value is set bold.
        bars: columns of numbers with a bar behind each, as long as the number is large.
    """
    looks = _looks(frame)
    # ids are drawn at random otherwise, and a notebook would never be saved the same twice
    style = Styler(frame, uuid=title.replace(" ", "-"), cell_ids=False, caption=title).hide(axis="index")
    style = style.format({column: form for column, (_, form) in looks.items()}, na_rep="–")
    style = style.relabel_index([_line(heading) for heading, _ in looks.values()], axis="columns")
    words = [column for place, column in enumerate(frame) if place == 0 or column in LEFT]
    style = style.set_properties(subset=words, **{"text-align": "left"})
    if bars:
        style = style.bar(subset=list(bars), color=SHADES["equivalent"], vmin=0)
    style = style.highlight_min(subset=list(least), props="font-weight: bold")
    style = style.highlight_max(subset=list(most), props="font-weight: bold")
    if "verdict" in frame:
        # black on the shade, whatever a dark page writes in
        shades = {said: f"background-color: {shade}; color: black" for said, shade in SHADES.items()}
        style = style.map(lambda said: shades.get(said, ""), subset=["verdict"])
    return style


def _line(heading: str) -> str:
    """A heading of several lines in one; a word that was divided is whole again."""
    return re.sub(r"(?<=[a-z])-\n(?=[a-z])", "", heading).replace("\n", " ")


def png(figure: Figure) -> bytes:
    """A figure as the content of a PNG file."""
    with matplotlib.rc_context(STYLE):
        picture = BytesIO()
        figure.savefig(picture, format="png", dpi=DPI, metadata={"Software": None})
    return picture.getvalue()


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    writable_folder(path.parent)
    # without loss: the same pixels in fewer bytes
    write_atomically(path, oxipng.optimize_from_memory(png(figure), level=4))


def save_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a CSV, whole or not at all; numbers with six significant digits, missing ones empty."""
    writable_folder(path.parent)
    write_atomically(path, frame.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode())
