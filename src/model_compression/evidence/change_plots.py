"""Pictures of changes with their 95 % intervals, drawn from tables only; titles say what the tables hold."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .style import BLACK, GREY, PALETTE, STYLE, WIDTH
from .tables import SHADES


def counted(verdicts: "pd.Series[str]") -> str:
    """How often each verdict was given, in words: "2 worse, 1 undecided"."""
    found = [f"{(verdicts == said).sum()} {said}" for said in SHADES if (verdicts == said).any()]
    return ", ".join(found) or "no test"


def intervals(table: pd.DataFrame, *, rows: str, series: str, title: str) -> Figure:
    """A mark with its interval for each change: one line a value of `rows`, one colour a value of `series`.

    Filled where the verdict tells the two apart, hollow where it does not.
    Args:
        table: with the columns of `forms.verdicts`. rows, series: other columns of it.
    Raises:
        ValueError: more series than colours.
    """
    names, kinds = list(dict.fromkeys(table[rows])), list(dict.fromkeys(table[series]))
    if len(kinds) > len(PALETTE):
        raise ValueError(f"{len(kinds)} series; allowed: {len(PALETTE)}, a colour each")
    with matplotlib.rc_context(STYLE):
        height = 1.3 + len(names) * (0.16 + 0.12 * len(kinds)) + 0.2 * title.count("\n")
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots()
        for number, (kind, colour) in enumerate(zip(kinds, PALETTE, strict=False)):
            shift = 0.7 * ((number + 0.5) / len(kinds) - 0.5)
            for row in table[table[series] == kind].to_dict("records"):
                value = row["change_pp"]
                axes.errorbar(
                    value,
                    names.index(row[rows]) + shift,
                    xerr=[[value - row["change_ci_low_pp"]], [row["change_ci_high_pp"] - value]],
                    fmt="o",
                    color=colour,
                    markersize=4.5,
                    elinewidth=1,
                    markerfacecolor=colour if row["verdict"] in ("worse", "better") else "white",
                )
            axes.plot([], [], "o", color=colour, label=kind)
        axes.axvline(0, color=BLACK, linewidth=0.8)
        axes.set_yticks(range(len(names)), names)
        axes.set(ylim=(len(names) - 0.4, -0.6), xlabel="change of test accuracy, pp", title=title)
        figure.legend(loc="outside lower center", ncols=min(len(kinds), 3), fontsize=8)
    return figure


def pruned_or_small(table: pd.DataFrame) -> Figure:
    """Each form minus each of its rivals; see `rivals.pruned_or_small`."""
    said = [f"{rival}: {counted(rows.verdict)}" for rival, rows in table.groupby("against", sort=False)]
    return intervals(table, rows="recipe", series="against", title="Form minus rival\n" + "\n".join(said))


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
