"""The pictures of the study, drawn from arrays and tables only; titles say what these hold."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .placing import label_points, make_room, plain_ticks
from .style import BLACK, BLUE, GREEN, GREY, ORANGE, PALETTE, WIDTH, method_of, styled
from .tables import SHADES

__all__ = ["BLUE", "GREEN", "GREY", "ORANGE", "label_points", "plain_ticks"]


@styled
def examples(inputs: np.ndarray, words: Sequence[object], kind: str, *, columns: int = 12) -> Figure:
    """The first inputs, each under its words: images, curves of a signal's channels, bars of a table's row.

    Args:
        inputs: (n, ...), of which `columns` are drawn at most.
        kind: "image", "signal" or "table", see `data.dataset.kind_of`.
    """
    rows = 1 if kind == "image" else 2
    figure = Figure(figsize=(WIDTH, WIDTH / columns + 0.35 if rows == 1 else 3.2))
    grid = figure.subplots(rows, columns // rows, sharey=kind != "image")
    for axes in grid.ravel()[len(inputs) :]:
        axes.axis("off")
    for axes, sample, word in zip(grid.ravel(), inputs, words, strict=False):
        axes.set_title(str(word))
        if kind == "image":
            axes.axis("off")
            axes.imshow(sample.squeeze(), cmap="gray_r")
            continue
        if kind == "table":
            axes.bar(np.arange(sample.size), sample.ravel(), color=BLUE)
        else:
            axes.plot(sample.reshape(len(sample), -1), linewidth=1)
        axes.tick_params(labelsize=6)
    figure.tight_layout(pad=0.3)
    return figure


@styled
def weights_before_after(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> Figure:
    """Each kernel's weights before and after pruning, zeros of the pruned one counted apart."""
    figure = Figure(figsize=(WIDTH, 2.6))
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(before))), before, strict=True):
        old, new = before[name].ravel(), after[name].ravel()
        bins = np.linspace(min(old.min(), new.min()), max(old.max(), new.max()), 60)
        axes.hist(old, bins, color=GREY, alpha=0.6, label="before")
        axes.hist(new[new != 0], bins, color=BLUE, alpha=0.8, label="after, non-zero")
        title = f"{name}: {np.mean(new == 0):.1%} zeros"
        axes.set(title=title, xlabel="weight", ylabel="weights", yscale="log")
        axes.legend(fontsize=8)
    figure.tight_layout()
    return figure


def _weights(axes: Axes, weights: np.ndarray, limit: float) -> None:
    """A matrix of weights as an image, zeros left out."""
    shown = np.where(weights == 0, np.nan, weights)
    axes.imshow(shown, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)


@styled
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
    percent, place = [100 * sparsity for sparsity in sparsities], list(sparsities).index(chosen)
    figure = Figure(figsize=(WIDTH, 2.6 + 1.2 * len(kernels)), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[2.2, len(kernels)])[:, 0]
    lines: dict[str, list[float]] = {
        "validation accuracy, %": [100 * accuracy for accuracy in accuracies],
        "bytes of the zipped int8 file": [float(size) for size in zip_bytes],
    }
    for axes, (name, values) in zip(above.subplots(1, 2), lines.items(), strict=True):
        axes.plot(percent, values, "o-", color=GREY, markersize=4, linewidth=1)
        axes.plot(percent[place], values[place], "o", color=ORANGE, markersize=8)
        axes.set(xlabel="sparsity, %", ylabel=name)
        axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,.6g}"))
    grid = below.subplots(len(kernels), 1, squeeze=False)
    for axes, (name, kernel) in zip(grid[:, 0], kernels.items(), strict=True):
        _weights(axes, kernel.reshape(len(kernel), -1), float(np.abs(kernel).max()) or 1.0)
        title = f"{name}: {np.sum(kernel == 0):,} of {kernel.size:,} weights are zero"
        axes.set_title(title, fontsize=9)
    return figure


def pareto(bytes_: Sequence[float], errors: Sequence[float]) -> np.ndarray:
    """Which points no other point beats in both bytes and error, as bools (n,)."""
    points = np.column_stack([bytes_, errors]).astype(float)
    beaten = [any(np.all(other <= point) and np.any(other < point) for other in points) for point in points]
    return ~np.array(beaten)


@styled
def error_against_bytes(table: pd.DataFrame) -> Figure:
    """Every form: best-coded bytes against test error with its 95 % interval, and our Pareto front.

    Named are the points of the front, and the least error of each method, whose colour the legend has.
    """
    rows = table.assign(
        error=100 * (1 - table.accuracy_mean),
        low=100 * (1 - table.accuracy_ci_high),
        high=100 * (1 - table.accuracy_ci_low),
    )
    looks = [method_of(row.recipe, is_control=row.role == "control") for row in table.itertuples()]
    rows["method"], rows["colour"] = zip(*looks, strict=True)
    on_front = pareto(rows.best_coded_bytes, rows.error)
    front = rows[on_front].sort_values("best_coded_bytes")
    figure = Figure(figsize=(WIDTH, 6.4))
    axes = figure.subplots()
    axes.set(xscale="log", yscale="log", xlabel="bytes of the best-coded file", ylabel="test error, %")
    drawn = "seeds and images" if (table.seeds > 1).all() else "images"
    axes.set_title(f"{len(front)} of {len(table)} are beaten by none; bars are 95 % intervals over {drawn}")
    for (method, colour), group in rows.groupby(["method", "colour"], sort=False):
        # an interval that reaches 0 has no place on a log axis
        reach = [group.error - np.maximum(group.low, 0.01), group.high - group.error]
        bars: Any = {"color": colour, "elinewidth": 0.8, "label": method, "zorder": 3}
        axes.errorbar(group.best_coded_bytes, group.error, yerr=reach, fmt="o", markersize=4.5, **bars)
    steps: Any = {"color": BLACK, "linewidth": 0.8, "label": "Pareto front"}
    axes.step(front.best_coded_bytes, front.error, where="post", **steps)
    make_room(axes, rows.best_coded_bytes)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=5, fontsize=8)
    figure.tight_layout()
    named = rows[on_front | rows.index.isin(rows.groupby("method").error.idxmin())]
    label_points(axes, named.best_coded_bytes, named.error, list(named.recipe))
    return figure


def counted(verdicts: "pd.Series[str]") -> str:
    """How often each verdict was given, in words: "2 worse, 1 undecided"."""
    found = [f"{(verdicts == said).sum()} {said}" for said in SHADES if (verdicts == said).any()]
    return ", ".join(found) or "no test"


@styled
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
    height = 1.6 + 0.2 * (len(table) + len(kinds))
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(table.itertuples()):
        reach = [[row.change_pp - row.change_ci_low_pp], [row.change_ci_high_pp - row.change_pp]]
        colour = colours[row.against]
        inside = colour if row.verdict in ("worse", "better") else "white"
        looks: Any = {"color": colour, "markerfacecolor": inside, "markersize": 4.5, "elinewidth": 1}
        axes.errorbar(row.change_pp, place, xerr=reach, fmt="o", **looks)
    for kind, colour in colours.items():
        axes.plot([], [], "o", color=colour, label=kind)
    axes.axvline(0, color=BLACK, linewidth=0.8)
    axes.set_yticks(range(len(table)), table.recipe.where(~table.recipe.duplicated(), ""))
    said = [f"{kind}: {counted(table[table.against == kind].verdict)}" for kind in kinds]
    axes.set(ylim=(len(table) - 0.4, -0.6), xlabel="change of test accuracy, pp")
    axes.set_title("\n".join(["Form minus rival", *said]))
    figure.legend(loc="outside lower center", ncols=min(len(kinds), 3), fontsize=8)
    return figure
