"""The pictures of the study, drawn from arrays and tables only; titles say what these hold."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .placing import label_points, make_room
from .style import BELOW, BLACK, BLUE, GREY, ORANGE, PALETTE, STYLE, WIDTH, method_of, page, reach
from .tables import SHADES


def examples(inputs: np.ndarray, words: Sequence[object], kind: str, *, columns: int = 12) -> Figure:
    """The first inputs, each under its words: images, curves of a signal's channels, bars of a table's row.

    Args:
        inputs: (n, ...), of which `columns` are drawn at most.
        kind: "image", "signal" or "table", see `data.dataset.Dataset.kind`.
    """
    rows, height = (1, WIDTH / columns + 0.35) if kind == "image" else (2, 3.2)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height))
        grid = figure.subplots(rows, columns // rows, sharey=kind != "image").ravel()
    if kind == "image" and inputs.dtype.kind == "f":
        # colours in floats are shown from 0 to 1 alone
        inputs = inputs[:columns] - inputs[:columns].min()
        inputs = inputs / (inputs.max() or 1)
    for axes, sample, word in zip(grid, inputs, words, strict=False):
        axes.set_title(str(word))
        if kind == "image":
            axes.imshow(sample.squeeze(), cmap="gray_r")
        elif kind == "table":
            axes.bar(np.arange(sample.size), sample.ravel(), color=BLUE)
            axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4, integer=True))
        else:
            axes.plot(sample.reshape(len(sample), -1), linewidth=1)
        axes.tick_params(labelsize=6)
    for axes in grid if kind == "image" else grid[len(inputs) :]:
        axes.axis("off")
    figure.tight_layout(pad=0.3)
    return figure


def weights_before_after(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> Figure:
    """The six largest kernels before and after pruning, zeros of the pruned ones counted apart."""
    largest = sorted(before, key=lambda name: before[name].size)[-6:]
    shown = [name for name in before if name in largest]
    rows = -(-len(shown) // 3)
    with page(2.6 * rows, min(3, len(shown)), rows=rows, sharey=False) as (figure, panels):
        for axes in panels[len(shown) :]:
            axes.axis("off")
        for axes, name in zip(panels, shown, strict=False):
            old, new = before[name].ravel(), after[name].ravel()
            bins = np.linspace(min(old.min(), new.min()), max(old.max(), new.max()), 60).tolist()
            axes.hist(old, bins, color=GREY, alpha=0.6, label="before")
            axes.hist(new[new != 0], bins, color=BLUE, alpha=0.8, label="after, non-zero")
            title = f"{name}: {np.mean(new == 0):.1%} zeros"
            axes.set(title=title, xlabel="weight", ylabel="weights", yscale="log")
            axes.legend(fontsize=8, loc="upper left")
    return figure


def tweaked(
    sparsities: Sequence[float],
    accuracies: Sequence[float],
    zip_bytes: Sequence[int],
    chosen: float,
    kernels: Mapping[str, np.ndarray],
) -> Figure:
    """What several sparsities gave, one of them marked, and that one's kernels, zeros left white.

    Args:
        sparsities, accuracies: fractions; one of each a file, sorted by sparsity.
        kernels: of the chosen file, outputs first; a row of the picture is an output.
    """
    percent, place = 100 * np.array(sparsities), list(sparsities).index(chosen)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.6 + 1.2 * len(kernels)), layout="constrained")
        above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[2.2, len(kernels)])[:, 0]
        left, right = above.subplots(1, 2)
        grid = below.subplots(len(kernels), 1, squeeze=False)[:, 0]
    left.set(ylabel="validation accuracy, %")
    right.set(ylabel="bytes of the zipped int8 file")
    for axes, values in ((left, 100 * np.array(accuracies)), (right, np.array(zip_bytes))):
        # a line between two points would say how it falls between them
        axes.plot(percent, values, "o-" if len(values) > 2 else "o", color=GREY, markersize=4, linewidth=1)
        axes.plot(percent[place], values[place], "o", color=ORANGE, markersize=8)
        axes.set(xlabel="sparsity, %")
        axes.yaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:,.6g}"))
    for axes, (name, kernel) in zip(grid, kernels.items(), strict=True):
        limit = float(np.abs(kernel).max()) or 1.0
        weights = np.where(kernel == 0, np.nan, kernel).reshape(len(kernel), -1)
        look: Any = {"cmap": "RdBu", "aspect": "auto", "interpolation": "nearest"}
        axes.imshow(weights, vmin=-limit, vmax=limit, **look)
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
        zeros = f"{np.sum(kernel == 0):,} of {kernel.size:,} weights are zero"
        axes.set_title(f"{name}: {zeros}", fontsize=9)
    return figure


def pareto(bytes_: Sequence[float], errors: Sequence[float]) -> np.ndarray:
    """Which points no other point beats in both bytes and error, as bools (n,)."""
    points = np.column_stack([bytes_, errors]).astype(float)
    beaten = [any(np.all(other <= point) and np.any(other < point) for other in points) for point in points]
    return ~np.array(beaten, bool)


#: Where an error of 0 is drawn, in per cent, and one of values that is beyond all sense.
LEAST_ERROR, MOST_ERROR = 0.01, 1000.0


def error_against_bytes(table: pd.DataFrame) -> Figure:
    """Every form: best-coded bytes against test error with its 95 % interval, and the forms' Pareto front.

    Named are the points of the front, and the least error of each method, whose colour the legend has.
    Controls are drawn, and are no part of the front.
    """
    looks = [method_of(row.recipe, is_control=row.role == "control") for row in table.itertuples()]
    ends = {"error": "accuracy_mean", "low": "accuracy_ci_high", "high": "accuracy_ci_low"}
    # no error at all has no place on a log axis
    rows = table.assign(
        **{name: (100 * (1 - table[column])).clip(LEAST_ERROR, MOST_ERROR) for name, column in ends.items()},
        method=[method for method, _ in looks],
        colour=[colour for _, colour in looks],
    )
    forms = rows[rows.role == "form"]
    front = forms[pareto(forms.best_coded_bytes, forms.error)].sort_values("best_coded_bytes")
    named = rows[rows.index.isin([*front.index, *rows.groupby("method").error.idxmin()])]
    drawn = "seeds and test inputs" if (table.seeds > 1).all() else "test inputs"
    with page(6.4) as (figure, (axes,)):
        axes.set(xscale="log", yscale="log", xlabel="bytes of the best-coded file", ylabel="test error, %")
        # a control that fails would press the forms together
        top = 1.1 * forms.high.max()
        beyond = int((rows.error > top).sum())
        more = f"; {beyond} control{'s' * (beyond > 1)} further up" * bool(beyond)
        axes.set_title(
            f"{len(front)} of {len(forms)} forms are beaten by none on test images: the front. Named: "
            f"these, and each colour's least error.\nBars are 95 % intervals over {drawn}{more}"
        )
        if (rows.high == LEAST_ERROR).all():
            axes.set_ylim(LEAST_ERROR / 2, 100 * LEAST_ERROR)
        for (method, colour), group in rows.groupby(["method", "colour"], sort=False):
            bars = reach(group, "error", "low", "high")
            look: Any = {"color": colour, "elinewidth": 0.8, "label": method, "zorder": 3}
            axes.errorbar(group.best_coded_bytes, group.error, yerr=bars, fmt="o", markersize=4.5, **look)
        steps: Any = {"color": BLACK, "linewidth": 0.8, "label": "Pareto front"}
        axes.step(front.best_coded_bytes, front.error, where="post", **steps)
        # an interval down to no error at all would press the others together
        axes.set_ylim(max(axes.get_ylim()[0], rows.error.min() / 10), top)
        make_room(axes, rows.best_coded_bytes)
        axes.legend(**BELOW, ncols=5)
        figure.tight_layout()
        label_points(axes, named.best_coded_bytes, named.error, list(named.recipe))
    return figure


def counted(verdicts: "pd.Series[str]") -> str:
    """How often each verdict was given, in words: "2 worse, 1 undecided"."""
    found = [f"{(verdicts == said).sum()} {said}" for said in SHADES if (verdicts == said).any()]
    return ", ".join(found) or "no test"


def pruned_or_small(table: pd.DataFrame) -> Figure:
    """Each form minus each of its rivals: a line each, a colour a rival; see `rivals.pruned_or_small`.

    Marks are filled where the verdict tells the two apart, hollow where it does not.
    Raises:
        ValueError: more rivals than colours.
    """
    kinds = list(dict.fromkeys(table.against))
    if len(kinds) > len(PALETTE):
        raise ValueError(f"{len(kinds)} series; allowed: {len(PALETTE)}, a colour each")
    colours = dict(zip(kinds, PALETTE, strict=False))
    with page(1.6 + 0.2 * (len(table) + len(kinds))) as (figure, (axes,)):
        for place, row in enumerate(table.itertuples()):
            ends = [[row.change_pp - row.change_ci_low_pp], [row.change_ci_high_pp - row.change_pp]]
            colour = colours[row.against]
            inside = colour if row.verdict in ("worse", "better") else "white"
            looks: Any = {"color": colour, "markerfacecolor": inside, "markersize": 4.5, "elinewidth": 1}
            axes.errorbar(row.change_pp, place, xerr=ends, fmt="o", **looks)
        for kind, colour in colours.items():
            axes.plot([], [], "o", color=colour, label=kind)
        axes.axvline(0, color=BLACK, linewidth=0.8)
        sizes = [f"{row.recipe}: {row.zip_bytes:,.0f} B" for row in table.itertuples()]
        axes.set_yticks(range(len(table)), pd.Series(sizes).where(~table.recipe.duplicated(), ""))
        theirs = [f"{size:,.0f} B" for size in table.rival_zip_bytes]
        axes.secondary_yaxis("right").set_yticks(range(len(table)), theirs, fontsize=7)
        said = [f"{kind}: {counted(table[table.against == kind].verdict)}" for kind in kinds]
        axes.set(ylim=(len(table) - 0.4, -0.6), xlabel="change of test accuracy, pp")
        axes.set_title(
            "\n".join(["Form minus rival; zipped bytes left and right. Filled: shown to differ", *said])
        )
        axes.legend(**BELOW, ncols=min(len(kinds), 2))
    return figure


def cells(words: pd.DataFrame, colours: np.ndarray, title: str) -> Figure:
    """A table as coloured cells with words in them, white ones on what is dark.

    Args:
        words: its index and columns name the cells. colours: RGBA from 0 to 1, (rows, columns, 4).
    """
    with page(1.2 + 0.3 * len(words), grid=False) as (figure, (axes,)):
        axes.imshow(colours, aspect="auto")
        for (row, column), text in np.ndenumerate(words.to_numpy()):
            ink = "white" if colours[row, column, :3].mean() < 0.45 else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=ink)
        axes.set_xticks(range(words.shape[1]), words.columns)
        axes.set_yticks(range(len(words)), words.index)
        axes.tick_params(length=0, labelsize=8)
        axes.set_title(title, fontsize=9)
    return figure
