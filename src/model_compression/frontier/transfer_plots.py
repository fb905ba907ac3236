"""Pictures of what holds elsewhere: on other data and nets, and on other test images."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..evidence.plots import BLUE, ORANGE
from ..evidence.tables import STYLE, WIDTH

#: Verdict -> colour of its cell.
CELLS = {"worse": "#f4c7b0", "better": "#c6e5c3", "equivalent": "#cfe2f3", "undecided": "#eeeeee"}


def pairs(table: pd.DataFrame) -> Figure:
    """Forms against pairs of data and net: in each cell the change against the control, and the verdict.

    Args:
        table: what `pairs.put` gives.
    """
    rows = table[table["role"] == "form"]
    columns = list(dict.fromkeys(zip(rows["dataset"], rows["net"], strict=True)))
    forms = list(dict.fromkeys(rows["recipe"]))
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(WIDTH, 1.5 + 0.3 * len(forms)))
        axes = figure.subplots()
        for row in rows.itertuples():
            x, y = columns.index((row.dataset, row.net)), forms.index(row.recipe)
            verdict = row.verdict if isinstance(row.verdict, str) else ""
            axes.add_patch(matplotlib.patches.Rectangle((x, y), 1, 1, color=CELLS.get(verdict, "white")))
            words = "not taken" if pd.isna(row.change_pp) else f"{row.change_pp:+.2f} {verdict}"
            words = "float net" if pd.isna(row.change_pp) and not pd.isna(row.accuracy_mean) else words
            axes.text(x + 0.5, y + 0.5, words, ha="center", va="center", fontsize=7.5)
        axes.set(xlim=(0, len(columns)), ylim=(len(forms), 0))
        axes.set_xticks(
            np.arange(len(columns)) + 0.5, [f"{net}\n{data}" for data, net in columns], fontsize=8
        )
        axes.set_yticks(np.arange(len(forms)) + 0.5, [form.replace("_", " ") for form in forms], fontsize=8)
        axes.tick_params(length=0)
        axes.set_title("Change of accuracy against equal training, points")
        figure.tight_layout()
    return figure


def rotated(table: pd.DataFrame) -> Figure:
    """Test error here and there with its intervals; on the diagonal the two are equal.

    Args:
        table: what `rotated` writes.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 5.5))
        axes = figure.subplots()
        for (kind, rows), colour in zip(table.groupby("kind", sort=True), (BLUE, ORANGE), strict=False):
            here, there = rows["error_here_pct"].to_numpy(), rows["error_there_pct"].to_numpy()
            axes.errorbar(
                here,
                there,
                xerr=[here - rows["error_low_here_pct"], rows["error_high_here_pct"] - here],
                yerr=[there - rows["error_low_there_pct"], rows["error_high_there_pct"] - there],
                fmt="o",
                markersize=4,
                elinewidth=0.7,
                color=colour,
                label=f"{kind}s: {(rows['holds'] == 'no').sum()} of {len(rows)} do not hold",
            )
        ends = axes.get_xlim()
        axes.plot(ends, ends, color="black", linewidth=0.8, label="equal")
        axes.set(
            xlabel="test error on MNIST's test images, %",
            ylabel="test error on images that nothing was chosen on, %",
            title="A second test set: errors with 95 % intervals over seeds and images",
        )
        axes.legend(fontsize=8)
        figure.tight_layout()
    return figure
