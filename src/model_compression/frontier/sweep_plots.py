"""Pictures of how far the baseline can be pruned, and of what holds elsewhere, drawn from tables alone."""

import contextlib
from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evidence.statistics import MARGIN
from ..evidence.style import GREY, PALETTE, STYLE, WIDTH
from ..evidence.tables import SHADES

#: Masks drawn at random: strategy -> words and style of the line.
RANDOM = {
    "random_mask": ("random masks", "--"),
    "random_mask_by_layer": ("random masks, as many zeros a layer as LAMP", ":"),
}
#: Points of the budget's axis.
BUDGET_TICKS = (-50, -20, -10, -5, -2, -1, -0.5, -0.2, 0, 0.2)


@contextlib.contextmanager
def page(height: float, columns: int = 1, *, grid: bool = True) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure as wide as a page, of panels side by side that share the y axis; laid out at the end.

    Args:
        height: in inches. grid: whether lines are drawn behind.
    """
    with matplotlib.rc_context({**STYLE, "axes.grid": grid}):
        figure = Figure(figsize=(WIDTH, height))
        yield figure, list(figure.subplots(1, columns, sharey=True, squeeze=False)[0])
        figure.tight_layout()


def reach(rows: pd.DataFrame, middle: str, low: str, high: str) -> list[pd.Series]:
    """How far intervals reach below and above the middle, as matplotlib wants it."""
    return [rows[middle] - rows[low], rows[high] - rows[middle]]


def sparsity_sweep(table: pd.DataFrame) -> Figure:
    """Error against sparsity, by strategy and by schedule; bands of the 95 % interval over seeds and images.

    Both panels hold the random masks and the dense control, trained for as long.
    Args:
        table: what `sweep.table` gives.
    """
    polynomial = table["schedule"] == "polynomial 3"
    common = set(table[~polynomial & ~table["strategy"].isin([*RANDOM, "dense"])]["strategy"])
    shares = sorted(share for share in set(table["sparsity"]) if share > 0)
    panels = (
        ("Strategies, polynomial schedule", table[polynomial], "strategy"),
        (f"Schedules, strategy {', '.join(common)}", table[table["strategy"].isin(common)], "schedule"),
    )
    with page(5.0, columns=2) as (figure, both):
        for axes, (title, rows, by) in zip(both, panels, strict=True):
            for colour, (name, line) in zip(PALETTE, rows.groupby(by, sort=False), strict=False):
                _band(axes, line, colour, str(name).replace("_", " "))
            for name, (words, style) in RANDOM.items():
                if (table["strategy"] == name).any():
                    _band(axes, table[table["strategy"] == name], GREY, words, style=style)
            for _, control in table[table["strategy"] == "dense"].iterrows():
                axes.axhline(control["error_pct"], color="black", linewidth=1, label="dense, trained as long")
                axes.axhspan(control["error_low_pct"], control["error_high_pct"], color="black", alpha=0.12)
            axes.set(xlabel="sparsity of the kernels, %", title=title, xscale="log", yscale="log")
            # places on the axis of what is left, and their names in sparsity
            axes.set_xticks([1 - share for share in shares], [f"{100 * share:g}" for share in shares])
            axes.minorticks_off()
            axes.invert_xaxis()
            # the curves need all of the panel
            axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
        # a band may reach below 0, which a log axis cannot show
        both[0].set_ylim(bottom=0.7 * float(table["error_pct"].min()))
        both[0].set_ylabel("test error, %")
        both[0].yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
        both[0].yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,.5g}"))
    return figure


def _band(axes: Axes, rows: pd.DataFrame, colour: str, name: str, *, style: str = "-") -> None:
    rows = rows.sort_values("sparsity")
    left, low, high = 1 - rows["sparsity"], rows["error_low_pct"], rows["error_high_pct"]
    axes.plot(left, rows["error_pct"], style, color=colour, marker=".", linewidth=1.2, label=name)
    axes.fill_between(left, low.clip(lower=1e-3), high, color=colour, alpha=0.15)


def budget(table: pd.DataFrame) -> Figure:
    """Change of accuracy against the epochs that pruning is given, a panel a sparsity.

    The grey band is the margin within which accuracies are equivalent.

    Args:
        table: what `sweep.table` gives.
    """
    groups = table.dropna(subset="change_pp").groupby("sparsity")
    with page(3.2, columns=len(groups)) as (figure, panels):
        for axes, (sparsity, rows) in zip(panels, groups, strict=True):
            for colour, (name, line) in zip(PALETTE, rows.groupby("strategy", sort=False), strict=False):
                line = line.sort_values("epochs")
                bars = reach(line, "change_pp", "change_ci_low_pp", "change_ci_high_pp")
                look: dict[str, Any] = {"color": colour, "marker": ".", "capsize": 2, "label": str(name)}
                axes.errorbar(line["epochs"], line["change_pp"], yerr=bars, **look)
            axes.axhline(0, color="black", linewidth=0.8)
            axes.axhspan(-100 * MARGIN, 100 * MARGIN, color="#8882", linewidth=0)
            # a tenth of a point and half of all images are both read off
            axes.set_yscale("symlog", linthresh=100 * MARGIN)
            axes.set(xscale="log", xlabel="epochs", title=f"{100 * float(sparsity):g} % zeros")
            axes.set_yticks(BUDGET_TICKS, [f"{tick:g}" for tick in BUDGET_TICKS])
            epochs = sorted(set(rows["epochs"]))
            axes.set_xticks(epochs, [str(count) for count in epochs])
            axes.minorticks_off()
        panels[0].set_ylabel("change against equal\ntraining, points")
        panels[-1].legend(fontsize=7)
    return figure


def pairs(table: pd.DataFrame) -> Figure:
    """Forms against pairs of data and net: in each cell the change against the control, and the verdict.

    Args:
        table: what `transfer.put_pair` gives.
    """
    rows = table[table["role"] == "form"]
    columns = list(dict.fromkeys(zip(rows["dataset"], rows["net"], strict=True)))
    forms = list(dict.fromkeys(rows["recipe"]))
    with page(1.5 + 0.3 * len(forms), grid=False) as (figure, (axes,)):
        for row in rows.itertuples():
            x, y = columns.index((row.dataset, row.net)), forms.index(row.recipe)
            verdict = row.verdict if isinstance(row.verdict, str) else ""
            axes.add_patch(matplotlib.patches.Rectangle((x, y), 1, 1, color=SHADES.get(verdict, "white")))
            words = "not taken" if pd.isna(row.change_pp) else f"{row.change_pp:+.2f} {verdict}"
            words = "float net" if pd.isna(row.change_pp) and not pd.isna(row.accuracy_mean) else words
            axes.text(x + 0.5, y + 0.5, words, ha="center", va="center", fontsize=7.5)
        axes.set(xlim=(0, len(columns)), ylim=(len(forms), 0))
        names = [f"{net}\n{data}" for data, net in columns]
        axes.set_xticks(np.arange(len(columns)) + 0.5, names, fontsize=8)
        axes.set_yticks(np.arange(len(forms)) + 0.5, [form.replace("_", " ") for form in forms], fontsize=8)
        axes.tick_params(length=0)
        axes.set_title("Change of accuracy against equal training, points")
    return figure


def rotated(table: pd.DataFrame) -> Figure:
    """Test error here and there with its intervals; on the diagonal the two are equal.

    Args:
        table: what `transfer.put_rotated` writes.
    """
    with page(5.5) as (figure, (axes,)):
        for colour, (kind, rows) in zip(PALETTE, table.groupby("kind"), strict=False):
            bars: dict[str, Any] = {
                f"{axis}err": reach(rows, *(f"error_{part}pct_{place}" for part in ("", "low_", "high_")))
                for axis, place in (("x", "here"), ("y", "there"))
            }
            label = f"{kind}s: {(rows['holds'] == 'no').sum()} of {len(rows)} do not hold"
            look: dict[str, Any] = {"fmt": "o", "markersize": 4, "elinewidth": 0.7, "color": colour}
            axes.errorbar(rows["error_pct_here"], rows["error_pct_there"], **bars, **look, label=label)
        ends = axes.get_xlim()
        axes.plot(ends, ends, color="black", linewidth=0.8, label="equal")
        axes.set(
            xlabel="test error on MNIST's test images, %",
            ylabel="test error on images that nothing was chosen on, %",
            title="A second test set: errors with 95 % intervals over seeds and images",
        )
        axes.legend(fontsize=8)
    return figure
