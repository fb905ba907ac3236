"""Outcomes become tables, and tables become CSV and PNG. Nothing here trains or converts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from ..store import writable_folder, write_atomically
from ..study.outcomes import Outcome, Record
from . import statistics

#: Width of every picture in inches; at 150 dots an inch it fills the column of a README.
WIDTH = 9.0
DPI = 150
#: Opaque white, so that a dark page shows the same picture.
STYLE: Any = {
    "font.size": 9,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.grid": True,
    "grid.alpha": 0.3,
}
SIGNIFICANCE = 0.05


@dataclass(frozen=True, kw_only=True)
class Form:
    """One row of the study: a recipe's outcomes, one a seed, beside its control's and the float net's.

    Attributes:
        outcomes, control, float_net: in the order of the seeds, equally many.
        control_name: what it is compared with.
    """

    name: str
    outcomes: Sequence[Outcome]
    control_name: str
    control: Sequence[Outcome]
    float_net: Sequence[Outcome]
    is_control: bool = False


def _stack(outcomes: Sequence[Outcome]) -> np.ndarray:
    return np.stack([outcome.predictions for outcome in outcomes])


def _median_record(outcomes: Sequence[Outcome], field: str) -> Record:
    """The record whose `field` is the median over the seeds, the lower one of two: sizes stay whole bytes."""
    records = sorted((outcome.record for outcome in outcomes), key=lambda record: getattr(record, field))
    return records[(len(records) - 1) // 2]


def _middle(outcomes: Sequence[Outcome], field: str) -> float:
    return getattr(_median_record(outcomes, field), field)


def all_forms(forms: Sequence[Form], labels: np.ndarray) -> pd.DataFrame:
    """One row a form: sizes, spread, change against the control, and whether it is more than chance.

    Sizes are the median seed's, in bytes. `change_pp` is form minus control in percentage points,
    with the 95 % interval of `metrics.accuracy_change`. `mcnemar_p` is McNemar's exact p for each
    seed, combined over the seeds for tests that depend on each other (`metrics.combine_p`) and
    corrected for the number of rows (Holm).
    Args:
        labels: of the test images, (n,).
    """
    rows, raw = [], []
    for form in forms:
        ours, theirs = _stack(form.outcomes), _stack(form.control)
        accuracies = [outcome.record.accuracy for outcome in form.outcomes]
        change = statistics.accuracy_change(labels, ours, theirs)
        raw.append(
            statistics.combine_p(
                [statistics.mcnemar_p(labels, a, b) for a, b in zip(ours, theirs, strict=True)]
            )
        )
        best, entropy = _middle(form.outcomes, "best_coded_bytes"), _middle(form.outcomes, "entropy_bytes")
        rows.append(
            {
                "recipe": form.name,
                "role": "control" if form.is_control else "form",
                "seeds": len(form.outcomes),
                "file_bytes": _middle(form.outcomes, "file_bytes"),
                "zip_bytes": _middle(form.outcomes, "zip_bytes"),
                "best_coded_bytes": best,
                "best_coder": _median_record(form.outcomes, "best_coded_bytes").best_coder,
                "entropy_bytes": round(entropy),
                "above_entropy": best / entropy,
                "nonzero_weights": _middle(form.outcomes, "nonzero_weights"),
                "unique_values": _middle(form.outcomes, "unique_values"),
                "macs": _middle(form.outcomes, "macs"),
                "theoretical_speedup": _middle(form.float_net, "dense_macs") / _middle(form.outcomes, "macs"),
                "accuracy_mean": np.mean(accuracies),
                "accuracy_sd": np.std(accuracies, ddof=1) if len(accuracies) > 1 else np.nan,
                "compared_with": form.control_name,
                "change_pp": 100 * change.mean,
                "change_ci_low_pp": 100 * change.low,
                "change_ci_high_pp": 100 * change.high,
                "agreement": np.mean(ours == _stack(form.float_net)),
            }
        )
    table = pd.DataFrame(rows)
    table["mcnemar_p"] = statistics.holm(raw)
    table["verdict"] = [
        verdict(row.change_ci_low_pp, row.change_ci_high_pp, row.mcnemar_p) for row in table.itertuples()
    ]
    return table


def verdict(low: float, high: float, p_value: float) -> str:
    """What may be said of a row: both the interval and the corrected test have to agree."""
    if p_value < SIGNIFICANCE and high < 0:
        return "worse"
    if p_value < SIGNIFICANCE and low > 0:
        return "better"
    return "no difference shown"


def records_table(outcomes: Sequence[Outcome], names: Sequence[str]) -> pd.DataFrame:
    """Every record, one row a recipe and seed; the cache's key is left out."""
    rows = [{**asdict(outcome.record), "recipe": name} for outcome, name in zip(outcomes, names, strict=True)]
    return pd.DataFrame(rows).drop(columns="key")


def model_comparison(outcomes: Mapping[str, Outcome], published: Mapping[str, float]) -> pd.DataFrame:
    """The files of one seed, named as they lie on the disk.

    `compression_ratio` divides the baseline's bytes by the file's, .h5 by .h5 and .tflite by
    .tflite. `accuracy_change_pp` is against the baseline in the same format;
    `against_longer_trained_pp` is against the float net trained for as long as the pruned ones.
    """
    rows = []
    for outcome in outcomes.values():
        record = outcome.record
        baseline = outcomes[
            "non_quantized.h5" if record.file.endswith(".h5") else "non_quantized.tflite"
        ].record
        rows.append(
            {
                "model_file": record.file,
                "file_bytes": record.file_bytes,
                "zip_bytes": record.zip_bytes,
                "compression_ratio": baseline.file_bytes / record.file_bytes,
                "zip_compression_ratio": baseline.zip_bytes / record.zip_bytes,
                "accuracy": record.accuracy,
                "accuracy_change_pp": 100 * (record.accuracy - baseline.accuracy),
                "against_longer_trained_pp": 100
                * (record.accuracy - outcomes["longer_trained.tflite"].record.accuracy),
                "published_accuracy": published.get(record.file, np.nan),
            }
        )
    return pd.DataFrame(rows)


def zipped_comparison(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """What zip makes of Keras files; `zip_ratio` divides a file's bytes by its zipped bytes."""
    rows = [
        {
            "model_file": outcome.record.file,
            "file_bytes": outcome.record.file_bytes,
            "zip_bytes": outcome.record.zip_bytes,
            "zip_ratio": outcome.record.file_bytes / outcome.record.zip_bytes,
        }
        for outcome in outcomes
    ]
    return pd.DataFrame(rows)


#: How a column is shown: heading, and format of a number.
SHOWN: dict[str, tuple[str, str]] = {
    "model_file": ("file", "{}"),
    "recipe": ("form", "{}"),
    "file_bytes": ("bytes", "{:,.0f}"),
    "zip_bytes": ("zipped", "{:,.0f}"),
    "best_coded_bytes": ("best\ncoded", "{:,.0f}"),
    "entropy_bytes": ("entropy\nof weights", "{:,.0f}"),
    "nonzero_weights": ("non-zero\nweights", "{:,.0f}"),
    "unique_values": ("unique\nvalues", "{:,.0f}"),
    "macs": ("multiply-\nadds", "{:,.0f}"),
    "dense_macs": ("of all\nweights", "{:,.0f}"),
    "compression_ratio": ("times\nsmaller", "{:.2f}"),
    "zip_compression_ratio": ("zipped,\ntimes smaller", "{:.2f}"),
    "zip_ratio": ("bytes /\nzipped", "{:.2f}"),
    "accuracy": ("accuracy\n%", "{:.2%}"),
    "published_accuracy": ("original\nstudy", "{:.2%}"),
    "accuracy_change_pp": ("change\npp", "{:+.2f}"),
    "against_longer_trained_pp": ("against equal\ntraining, pp", "{:+.2f}"),
    "change": ("change against equal training\npp, 95 % interval", "{}"),
    "accuracy_spread": ("accuracy %\nmean ± sd", "{}"),
    "agreement": ("same label\nas float", "{:.2%}"),
    "mcnemar_p": ("McNemar p\n(Holm)", "{:.2g}"),
    "verdict": ("verdict", "{}"),
    "claim": ("claim", "{}"),
    "measured": ("measured on", "{}"),
    "estimate_and_interval": ("estimate, 95 % interval", "{}"),
    "p_value": ("p (Holm)", "{:.2g}"),
    "zeros": ("zeros", "{:.2%}"),
    "sparsity": ("sparsity", "{:.2%}"),
    "input": ("input", "{}"),
    "layer": ("layer", "{}"),
    "shape": ("shape of kernel", "{}"),
    "compared_with": ("compared with", "{}"),
    "latency_us_median": ("us an\nimage", "{:.1f}"),
    "latency_us_p90": ("90th per-\ncentile", "{:.1f}"),
    "plain_us_median": ("us without\ndelegate", "{:.1f}"),
    "images_per_s": ("images a\nsecond", "{:,.0f}"),
    "runs_on_litert": ("runs on\nLiteRT", "{}"),
    "runs_on_tflm": ("runs on\nTFLM", "{}"),
    "tflm_agreement": ("labels as\nLiteRT's", "{:.2%}"),
    "arena_bytes": ("arena,\nbytes", "{:,.0f}"),
    "flash_bytes": ("flash,\nbytes", "{:,.0f}"),
}


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """The all-forms table as a reader wants it: spread and interval each in one column."""
    view = frame.copy()
    view["accuracy_spread"] = [
        f"{100 * mean:.2f}" + ("" if np.isnan(sd) else f" ± {100 * sd:.2f}")
        for mean, sd in zip(frame.accuracy_mean, frame.accuracy_sd, strict=True)
    ]
    view["change"] = [
        f"{change:+.2f}  [{low:+.2f}, {high:+.2f}]"
        for change, low, high in zip(
            frame.change_pp, frame.change_ci_low_pp, frame.change_ci_high_pp, strict=True
        )
    ]
    return view[
        [
            "recipe",
            "file_bytes",
            "zip_bytes",
            "best_coded_bytes",
            "entropy_bytes",
            "nonzero_weights",
            "accuracy_spread",
            "change",
            "mcnemar_p",
            "verdict",
        ]
    ]


#: Columns of words: set flush left.
LEFT = ("method", "source", "verdict", "change", "measured", "estimate_and_interval", "compared_with")


def _text(value: object, form: str) -> str:
    if isinstance(value, float) and np.isnan(value):
        return "–"
    return form.format(value)


def table_figure(frame: pd.DataFrame, title: str, *, note: str = "") -> Figure:
    """A table as a picture, columns as wide as their text."""
    headings = [SHOWN.get(column, (column.replace("_", " "), "{}"))[0] for column in frame.columns]
    formats = [
        SHOWN.get(column, ("", "{:,}" if frame[column].dtype.kind == "i" else "{}"))[1]
        for column in frame.columns
    ]
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


def png(figure: Figure) -> bytes:
    """A figure as the content of a PNG file."""
    with matplotlib.rc_context(STYLE):
        picture = BytesIO()
        figure.savefig(picture, format="png", dpi=DPI, metadata={"Software": None})
    return picture.getvalue()


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    writable_folder(path.parent)
    write_atomically(path, png(figure))


def save_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a CSV, whole or not at all; numbers with six significant digits, missing ones empty."""
    writable_folder(path.parent)
    write_atomically(path, frame.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode())
