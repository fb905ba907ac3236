"""Pictures of how far the baseline can be pruned, and what that costs, drawn from the tables alone."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evidence.plots import BLUE, GREEN, GREY, ORANGE
from ..evidence.tables import STYLE, WIDTH

#: Of lines, in the order of the strategies or schedules.
COLOURS = (BLUE, ORANGE, GREEN, "#7b3294", "#b8860b", "#c2185b")
#: Masks drawn at random: strategy -> words and style of the line.
RANDOM = {
    "random_mask": ("random masks", "--"),
    "random_mask_by_layer": ("random masks, as many zeros a layer as LAMP", ":"),
}


def sparsity_sweep(table: pd.DataFrame) -> Figure:
    """Error against sparsity, by strategy and by schedule; bands of the 95 % interval over seeds and images.

    Both panels hold the random masks and the dense control, trained for as long.
    Args:
        table: what `sweep.table` gives.
    """
    polynomial = table["schedule"] == "polynomial 3"
    dense = table[table["strategy"] == "dense"]
    common = table[~polynomial & ~table["strategy"].isin([*RANDOM, "dense"])]["strategy"]
    of_common = table["strategy"].isin(set(common))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.4))
        panels = figure.subplots(1, 2, sharey=True)
        titles = ("Strategies, polynomial schedule", f"Schedules, strategy {', '.join(sorted(set(common)))}")
        groups = ((table[polynomial], "strategy"), (table[of_common], "schedule"))
        for axes, title, (rows, by) in zip(panels, titles, groups, strict=True):
            for colour, (name, line) in zip(COLOURS, rows.groupby(by, sort=False), strict=False):
                _band(axes, line, colour, str(name).replace("_", " "))
            for name, (words, style) in RANDOM.items():
                _band(axes, table[table["strategy"] == name], GREY, words, style=style)
            for _, control in dense.iterrows():
                axes.axhline(control["error_pct"], color="black", linewidth=1, label="dense, trained as long")
                axes.axhspan(control["error_low_pct"], control["error_high_pct"], color="black", alpha=0.12)
            axes.set(xlabel="sparsity of the kernels, %", title=title, yscale="log", xscale="log")
            axes.set_xticks(*_sparsity_ticks(table))
            axes.minorticks_off()
            axes.invert_xaxis()
            axes.legend(fontsize=7)
        # a band may reach below 0, which a log axis cannot show
        panels[0].set_ylim(bottom=0.7 * float(table["error_pct"].min()))
        panels[0].set_ylabel("test error, %")
        panels[0].yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
        panels[0].yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,.5g}"))
        figure.tight_layout()
    return figure


def _sparsity_ticks(table: pd.DataFrame) -> tuple[list[float], list[str]]:
    """Places on the axis of what is left, and their names in sparsity."""
    found = sorted(share for share in set(table["sparsity"]) if share > 0)
    return [1 - share for share in found], [f"{100 * share:g}" for share in found]


def _band(axes: Axes, rows: pd.DataFrame, colour: str, name: str, *, style: str = "-") -> None:
    rows = rows.sort_values("sparsity")
    left, error = 1 - rows["sparsity"].to_numpy(), rows["error_pct"].to_numpy()
    low, high = rows["error_low_pct"].to_numpy(), rows["error_high_pct"].to_numpy()
    axes.plot(left, error, style, color=colour, marker=".", linewidth=1.2, label=name)
    axes.fill_between(left, np.maximum(low, 1e-3), high, color=colour, alpha=0.15)


def budget(table: pd.DataFrame) -> Figure:
    """Change of accuracy against the epochs that pruning is given, a panel a sparsity.

    Args:
        table: what `budget.table` gives.
    """
    sparsities = sorted(set(table["sparsity"]))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.2))
        panels = figure.subplots(1, len(sparsities), sharey=True, squeeze=False)[0]
        for axes, sparsity in zip(panels, sparsities, strict=True):
            rows = table[table["sparsity"] == sparsity]
            for colour, (name, line) in zip(COLOURS, rows.groupby("strategy", sort=False), strict=False):
                line = line.sort_values("epochs")
                change = line["change_pp"].to_numpy()
                low, high = line["change_ci_low_pp"].to_numpy(), line["change_ci_high_pp"].to_numpy()
                axes.errorbar(
                    line["epochs"],
                    change,
                    yerr=[change - low, high - change],
                    color=colour,
                    marker=".",
                    capsize=2,
                    label=str(name),
                )
            axes.axhline(0, color="black", linewidth=0.8)
            axes.set(xscale="log", xlabel="epochs", title=f"{100 * sparsity:g} % zeros")
            epochs = sorted(set(rows["epochs"]))
            axes.set_xticks(epochs, [str(count) for count in epochs])
            axes.minorticks_off()
        panels[0].set_ylabel("change against equal\ntraining, points")
        panels[-1].legend(fontsize=7)
        figure.tight_layout()
    return figure
