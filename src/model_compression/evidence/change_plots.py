"""Pictures of changes with their 95 % intervals, drawn from tables only; titles say what the tables hold."""

from collections.abc import Mapping

import matplotlib
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from .style import BLACK, GREY, PALETTE, STYLE, WIDTH
from .tables import SHADES

#: Columns of a change and of the two ends of its interval.
CHANGE = ("change_pp", "change_ci_low_pp", "change_ci_high_pp")


def counted(verdicts: "pd.Series[str]") -> str:
    """How often each verdict was given, in words: "2 worse, 1 undecided"."""
    found = [f"{(verdicts == said).sum()} {said}" for said in SHADES if (verdicts == said).any()]
    return ", ".join(found) or "no test"


def intervals(
    table: pd.DataFrame,
    *,
    rows: str,
    series: str,
    title: str,
    xlabel: str = "change of test accuracy, pp",
    columns: tuple[str, str, str] = CHANGE,
) -> Figure:
    """A mark with its interval for each row of the table: one line a value of `rows`, one colour of `series`.

    Filled where the column `verdict` tells the two apart, hollow where it does not or is not there.
    Args:
        rows, series: columns of words. columns: of the value and of the two ends of its interval.
    """
    names, kinds = list(dict.fromkeys(table[rows])), list(dict.fromkeys(table[series]))
    verdicts = table.get("verdict", pd.Series("", index=table.index))
    with matplotlib.rc_context(STYLE):
        height = 1.3 + len(names) * (0.16 + 0.12 * len(kinds))
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots()
        for number, (kind, colour) in enumerate(zip(kinds, _colours(kinds).values(), strict=True)):
            shift = 0.7 * ((number + 0.5) / len(kinds) - 0.5)
            for place, row in table[table[series] == kind].iterrows():
                value, low, high = (row[column] for column in columns)
                axes.errorbar(
                    value,
                    names.index(row[rows]) + shift,
                    xerr=[[value - low], [high - value]],
                    fmt="o",
                    color=colour,
                    markersize=4.5,
                    elinewidth=1,
                    markerfacecolor=colour if verdicts[place] in ("worse", "better") else "white",
                )
            axes.plot([], [], "o", color=colour, label=kind)
        if table[columns[0]].min() < 0:
            axes.axvline(0, color=BLACK, linewidth=0.8)
        axes.set_yticks(range(len(names)), names)
        axes.set(ylim=(len(names) - 0.4, -0.6), xlabel=xlabel, title=title)
        figure.legend(loc="outside lower center", ncols=min(len(kinds), 3), fontsize=8)
    return figure


def _colours(kinds: list[str]) -> Mapping[str, str]:
    if len(kinds) > len(PALETTE):
        raise ValueError(f"{len(kinds)} series; allowed: {len(PALETTE)}, a colour each")
    return dict(zip(kinds, PALETTE, strict=False))


def pruned_or_small(table: pd.DataFrame) -> Figure:
    """Each form minus each of its rivals; see `rivals.pruned_or_small`."""
    said = [f"{rival}: {counted(rows.verdict)}" for rival, rows in table.groupby("against", sort=False)]
    return intervals(table, rows="recipe", series="against", title="Form minus rival\n" + "\n".join(said))


def rotated(table: pd.DataFrame) -> Figure:
    """Test error on the usual test images and on others that nothing was chosen on.

    Args:
        table: `recipe`, `test_set` and `error_pct` with `error_ci_low_pct` and `error_ci_high_pct`.
    """
    sets = list(dict.fromkeys(table.test_set))
    means = table.pivot(index="recipe", columns="test_set", values="error_pct")
    rank = float(means[sets].corr("spearman").iloc[0, -1])
    title = f"{len(means)} rows, means {', '.join(f'{means[name].mean():.2f} % on {name}' for name in sets)}"
    columns = ("error_pct", "error_ci_low_pct", "error_ci_high_pct")
    words = {"title": f"{title}; rank correlation {rank:.2f}", "xlabel": "test error, %"}
    return intervals(table, rows="recipe", series="test_set", columns=columns, **words)


def pruning_budget(table: pd.DataFrame) -> Figure:
    """Change against equal training over the epochs, a line a sparsity; see `rivals.pruning_budget`."""
    panels = list(dict.fromkeys(table.allocation))
    colours = _colours([f"{100 * share:g} %" for share in sorted(set(table.sparsity))])
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)
        for axes, allocation in zip(grid[0], panels, strict=True):
            rows = table[table.allocation == allocation].sort_values("epochs")
            for number, (share, line) in enumerate(rows.groupby("sparsity")):
                name = f"{100 * share:g} %"
                # a little beside each other, so that no interval hides another
                _budget_line(axes, line, 1.03**number * line.epochs, colours[name], name)
            axes.axhline(0, color=BLACK, linewidth=0.8)
            axes.set(
                xscale="log",
                xlabel="epochs after the baseline",
                title=f"{allocation}: {counted(rows.verdict)}",
            )
            axes.set_xticks(sorted(set(rows.epochs)))
            axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%d"))
            axes.minorticks_off()
        figure.axes[0].set_ylabel("change against equal training, pp")
        figure.axes[0].legend(title="zeros", fontsize=8)
    return figure


def _budget_line(axes: Axes, line: pd.DataFrame, x: "pd.Series[float]", colour: str, name: str) -> None:
    value, low, high = (line[column] for column in CHANGE)
    axes.errorbar(x, value, yerr=[value - low, high - value], color=colour, marker="o", capsize=2, label=name)


def pairs(table: pd.DataFrame) -> Figure:
    """Every form on every pair of net and data: colour and figure the change, below it the verdict.

    Args:
        table: `recipe`, `pair`, `change_pp` and `verdict`; a cell without a row stays empty.
    """
    forms, nets = list(dict.fromkeys(table.recipe)), list(dict.fromkeys(table.pair))
    cells = table.pivot(index="recipe", columns="pair", values="change_pp").loc[forms, nets]
    verdicts = table.pivot(index="recipe", columns="pair", values="verdict").loc[forms, nets]
    # a few far losses would leave all others white
    limit = max(float(np.nanquantile(np.abs(cells), 0.8)), 1e-9)
    agree = sum(len(set(row)) == 1 and not row.isna().any() for _, row in verdicts.iterrows())
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(WIDTH, 1.2 + 0.36 * len(forms)), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(cells, cmap="PuOr", norm=TwoSlopeNorm(0, -limit, limit), aspect="auto")
        for row, form in enumerate(forms):
            for column, net in enumerate(nets):
                if not np.isnan(cells.loc[form, net]):
                    words = f"{cells.loc[form, net]:+.2f}\n{verdicts.loc[form, net]}"
                    dark = abs(cells.loc[form, net]) > 0.8 * limit
                    axes.text(
                        column,
                        row,
                        words,
                        ha="center",
                        va="center",
                        fontsize=7,
                        color="white" if dark else BLACK,
                    )
        axes.set_xticks(range(len(nets)), nets)
        axes.set_yticks(range(len(forms)), forms)
        axes.xaxis.tick_top()
        axes.set_title(f"{agree} of {len(forms)} rows have one verdict on all {len(nets)} pairs")
        figure.colorbar(image, label="change of test accuracy, pp", extend="both", shrink=0.6)
    return figure


def contents(table: pd.DataFrame) -> Figure:
    """The bytes of files by kind, a bar a file.

    Args:
        table: `model_file`, then a column of bytes a kind.
    """
    kinds = [column for column in table.columns if column != "model_file"]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.1 + 0.5 * len(table)))
        axes = figure.subplots()
        start = np.zeros(len(table))
        for kind, colour in zip(kinds, (*PALETTE, GREY), strict=False):
            sizes = table[kind].to_numpy(float)
            label = kind.replace("_", " ")
            axes.barh(table["model_file"], sizes, left=start, color=colour, label=label)
            start += sizes
        axes.invert_yaxis()
        axes.set_xlabel("bytes")
        figure.legend(loc="lower center", ncols=len(kinds), fontsize=8)
        figure.tight_layout(rect=(0, 0.09, 1, 1))
    return figure
