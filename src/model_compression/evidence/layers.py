"""Where it hurts, layer by layer, and what bits a layer are worth beside one width for all."""

import itertools
import math
import time
from dataclasses import asdict

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..data.datasets import Dataset, scale
from ..files import running
from ..files.bit_allocation import Allocator
from ..files.graph import read_model
from ..files.sensitivity import CHANGES, changed, float_kernels, rounded, sensitivities
from .forms import verdicts
from .plots import cells
from .statistics import MARGIN
from .tables import table_figure

#: Validation images that every change is measured on, and how many will do where there is no time.
IMAGES, FEW = 1000, 200
#: What the table of bits says of itself.
NOTE = (
    "one net, so that the verdict is on it alone. one width: all kernels at the budget's mean bits; 5 to 7\n"
    "are computed, for no file stores them. bits of a layer: 4, 8 or 32, so that bytes may be left over."
)
TITLE = "Bits a layer within a budget of bytes, and one width for all"
#: Mean bits a weight at which the two are compared.
MEAN_BITS = (5, 6, 7, 8)


def sensitivity(
    content: bytes, data: Dataset, *, images: int = IMAGES, until: float = math.inf
) -> pd.DataFrame:
    """One row a kernel and change, see `files.sensitivity`, on validation images.

    Args:
        content: a float .tflite file. data: as the file takes them. images: the first so many.
        until: of `time.monotonic`; layers that are not measured by then are left out.
    Raises:
        ValueError: a file that cannot be treated so: why.
    """
    classes = data.task in ("classes", "binary") and not data.outputs
    labels = data.y_val[:images] if classes else None
    found = sensitivities(content, scale(data.x_val[:images]), labels)
    rows = [
        {
            "layer": f"{each.operator} {each.place + 1}",
            **asdict(each),
            "shape": " x ".join(map(str, each.shape)),
            "snr_db": each.snr_db,
            "accuracy_change_pp": 100 * each.accuracy_change,
        }
        for each in itertools.takewhile(lambda _: time.monotonic() < until, found)
    ]
    whole = rows[: len(rows) - len(rows) % len(CHANGES)]
    columns = ["layer", "shape", "weights", "change", "snr_db", "kl", "accuracy_change_pp"]
    return pd.DataFrame(whole, columns=columns)


def grid(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Layers with their weights against changes: signal to noise, and in words with what accuracy lost.

    Args:
        table: what `sensitivity` gives.
    """
    # without a minus before nothing
    said = (table["snr_db"].round() + 0.0).map("{:.0f} dB".format)
    said += table["accuracy_change_pp"].map(", {:+.1f} pp".format, na_action="ignore").fillna("")
    named = table.assign(said=said, row=table["layer"] + table["weights"].map(": {:,}".format))
    wide = named.set_index(["row", "change"]).unstack(sort=False)
    return wide["snr_db"], wide["said"]


def worst(table: pd.DataFrame, change: str) -> str:
    """The layer where a change leaves the least signal to noise, of what `sensitivity` gives."""
    return str(table.loc[table[table["change"] == change]["snr_db"].idxmin(), "layer"])


def picture(table: pd.DataFrame) -> Figure:
    """The words of `grid`, the darker a cell the worse."""
    noise, words = grid(table)
    colours = matplotlib.colormaps["Oranges_r"]((noise.to_numpy() + 10) / 70)
    title = f"One kernel changed at a time; least signal to noise at 4 bits: {worst(table, '4 bits')}"
    return cells(words, colours, f"{title}. Validation images, {IMAGES:,} at most")


def bits_a_layer(content: bytes, data: Dataset, *, margin: float = MARGIN) -> pd.DataFrame:
    """Bits chosen for each layer within the bytes of one width for all, beside it; test images only judge.

    8 bits for all are a file. 5 to 7 no file stores: the kernels are rounded to so many, and computed with as
    floats, which is better than a file could be.

    Args:
        content: a float .tflite file of a classifier. data: as the file takes them.
        margin: fraction within which accuracies are equivalent.
    """
    shown = scale(data.x_val[:IMAGES])
    asked, seen = np.concatenate([shown, scale(data.x_test)]), len(shown)
    allocator = Allocator(content, shown)
    labels = np.concatenate([data.y_val[:IMAGES], data.y_test])
    before, rows, pairs = running.logits(content, asked), [], []
    least, most = allocator.uniform(4), allocator.uniform(8)
    for mean in MEAN_BITS:
        budget = least.file_bytes + (most.file_bytes - least.file_bytes) * (mean - 4) // 4
        chosen = allocator.within(budget)
        row: dict[str, object] = {"mean_bits": mean, "budget_bytes": budget, "file_bytes": chosen.file_bytes}
        row |= {"bits": " ".join(map(str, chosen.bits)), "one_width": "file" if mean == 8 else "computed"}
        right = []
        for name, file in (("", chosen.content), ("one_width_", _one_width(content, most.content, mean))):
            scores = running.logits(file, asked)
            right.append(running.labels(content, scores) == labels)
            noise = np.mean((scores - before)[:seen] ** 2) / np.var(before[:seen])
            row[f"{name}snr_db"] = float(-10 * np.log10(noise)) if noise else np.inf
            row[f"{name}validation_accuracy"] = right[-1][:seen].mean()
            row[f"{name}accuracy"] = right[-1][seen:].mean()
        pairs.append((right[0][None, seen:], right[1][None, seen:]))
        rows.append(row)
    said = verdicts(pairs, margin=margin)[["change_pp", "change_ci_low_pp", "change_ci_high_pp", "verdict"]]
    ends = {"change_ci_low_pp": "low_pp", "change_ci_high_pp": "high_pp"}
    return pd.concat([pd.DataFrame(rows), said.rename(columns=ends)], axis=1)


#: What is shown of the table of `bits_a_layer`.
VIEW = [
    "mean_bits", "budget_bytes", "file_bytes", "bits", "snr_db", "one_width_snr_db", "accuracy",
    "one_width_accuracy", "change_pp", "verdict",
]  # fmt: skip


def bits_figure(table: pd.DataFrame) -> Figure:
    """The table of `bits_a_layer` as a picture."""
    return table_figure(table[VIEW], TITLE, note=NOTE)


def _one_width(content: bytes, eight_bits: bytes, bits: int) -> bytes:
    """All kernels at 8 bits, as a file, or rounded to fewer, as floats."""
    if bits == 8:
        return eight_bits
    model = read_model(content)
    kernels = enumerate(float_kernels(model))
    return changed(model, {place: rounded(*kernel, bits=bits) for place, kernel in kernels})
