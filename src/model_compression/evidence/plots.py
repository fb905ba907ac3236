"""The pictures of the study, drawn from arrays and tables only."""

from collections.abc import Mapping, Sequence

import matplotlib
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .placing import label_points, make_room, plain_ticks
from .style import BLACK, BLUE, GREEN, GREY, ORANGE, STYLE, WIDTH, method_of

__all__ = ["BLUE", "GREEN", "GREY", "ORANGE", "label_points", "make_room", "plain_ticks"]


def digits(images: np.ndarray, words: Sequence[object], *, columns: int = 12) -> Figure:
    """The first images, each under its label or another word, in a row that has room for `columns`."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, WIDTH / columns + 0.35))
        for index, axes in enumerate(figure.subplots(1, columns)):
            axes.axis("off")
            if index < len(images):
                axes.imshow(images[index].squeeze(), cmap="gray_r")
                axes.set_title(str(words[index]))
        figure.tight_layout(pad=0.3)
    return figure


def examples(inputs: np.ndarray, words: Sequence[object], kind: str, *, count: int = 12) -> Figure:
    """The first inputs, each under its words: images, curves of a signal's channels, bars of a table's row.

    Args:
        inputs: (n, ...), n >= `count`. kind: "image", "signal" or "table", see `data.dataset.kind_of`.
    """
    if kind == "image":
        return digits(inputs[:count], words[:count], columns=count)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.2))
        grid = figure.subplots(2, count // 2, sharey=True)
        for axes, row, word in zip(grid.ravel(), inputs, words, strict=False):
            if kind == "table":
                axes.bar(np.arange(row.size), row.ravel(), color=BLUE)
            else:
                axes.plot(row.reshape(len(row), -1), linewidth=1)
            axes.set_title(str(word))
            axes.tick_params(labelsize=6)
        figure.tight_layout()
    return figure


def weights_before_after(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> Figure:
    """Each kernel's weights before and after pruning, zeros of the pruned one counted apart."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.6))
        for axes, name in zip(np.atleast_1d(figure.subplots(1, len(before))), before, strict=True):
            old, new = before[name].ravel(), after[name].ravel()
            bins = np.linspace(min(old.min(), new.min()), max(old.max(), new.max()), 60)
            axes.hist(old, bins, color=GREY, alpha=0.6, label="before")
            axes.hist(new[new != 0], bins, color=BLUE, alpha=0.8, label="after, non-zero")
            axes.set(
                title=f"{name}: {np.mean(new == 0):.1%} zeros",
                xlabel="weight",
                ylabel="weights",
                yscale="log",
            )
            axes.legend(fontsize=8)
        figure.tight_layout()
    return figure


def kernel_images(before: np.ndarray, after: np.ndarray) -> Figure:
    """A convolution's filters (height, width, inputs, outputs), first input: above before, below after."""
    filters = before.shape[-1]
    limit = float(np.abs(before).max())
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2 * WIDTH / filters + 0.5))
        grid = figure.subplots(2, filters, squeeze=False)
        for row, (kernel, title) in enumerate(((before, "before"), (after, "after"))):
            for index, axes in enumerate(grid[row]):
                shown = np.where(kernel[:, :, 0, index] == 0, np.nan, kernel[:, :, 0, index])
                axes.set_facecolor("#eeeeee")
                axes.imshow(shown, cmap="RdBu", vmin=-limit, vmax=limit)
                axes.set(xticks=[], yticks=[])
                axes.grid(visible=False)
            grid[row][0].set_ylabel(title)
        figure.tight_layout(pad=0.4)
    return figure


#: Filters of a convolution that are drawn, the first ones.
FILTERS = 12


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
        kernels: of the chosen file, (outputs, ...): convolutions as filters (outputs, height, width, inputs),
            the others as matrices.
    """
    percent = [100 * sparsity for sparsity in sparsities]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.6 + 1.2 * len(kernels)), layout="constrained")
        ratios = [2.2, *[1.0] * len(kernels)]
        parts = figure.subfigures(len(ratios), 1, squeeze=False, height_ratios=ratios)
        above, *below = parts[:, 0]
        lines: tuple[tuple[list[float], str], ...] = (
            ([100 * accuracy for accuracy in accuracies], "validation accuracy, %"),
            (list(zip_bytes), "bytes of the zipped int8 file"),
        )
        for axes, (values, name) in zip(above.subplots(1, 2), lines, strict=True):
            axes.plot(percent, values, "o-", color=GREY, markersize=4, linewidth=1)
            place = list(sparsities).index(chosen)
            axes.plot(percent[place], values[place], "o", color=ORANGE, markersize=8)
            axes.set(xlabel="sparsity, %", ylabel=name)
            axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,.6g}"))
        for part, (name, kernel) in zip(below, kernels.items(), strict=True):
            part.suptitle(f"{name}: {np.sum(kernel == 0):,} of {kernel.size:,} weights are zero", fontsize=9)
            filters = kernel.ndim == 4 and kernel.shape[1] * kernel.shape[2] > 1 and kernel.shape[0] > 1
            images = kernel[:FILTERS, :, :, 0] if filters else kernel.reshape(1, len(kernel), -1)
            limit = float(np.abs(kernel).max()) or 1.0
            for axes, image in zip(np.atleast_1d(part.subplots(1, len(images))), images, strict=True):
                shown = np.where(image == 0, np.nan, image)
                aspect = "equal" if filters else "auto"
                axes.imshow(
                    shown, cmap="RdBu", vmin=-limit, vmax=limit, aspect=aspect, interpolation="nearest"
                )
                axes.set(xticks=[], yticks=[])
                axes.grid(visible=False)
    return figure


def pareto(bytes_: Sequence[float], errors: Sequence[float]) -> np.ndarray:
    """Which points no other point beats in both bytes and error, as bools (n,)."""
    points = np.column_stack([bytes_, errors]).astype(float)
    beaten = [any(np.all(other <= point) and np.any(other < point) for other in points) for point in points]
    return ~np.array(beaten)


def accuracy_against_bytes(table: pd.DataFrame) -> Figure:
    """The files of the model comparison: zipped bytes against accuracy."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.2))
        axes = figure.subplots()
        axes.set(xscale="log", xlabel="bytes of the zipped file", ylabel="accuracy on 10,000 test images, %")
        axes.scatter(table.zip_bytes, 100 * table.accuracy, color=BLUE, zorder=3)
        make_room(axes, table.zip_bytes)
        figure.tight_layout()
        label_points(
            axes,
            table.zip_bytes,
            100 * table.accuracy,
            [name.removesuffix(".tflite") for name in table.model_file],
        )
    return figure


def error_against_bytes(table: pd.DataFrame) -> Figure:
    """Every form: best-coded bytes against test error with its 95 % interval, and our Pareto front.

    The title says how wide the intervals are, the legend which colour stands for which method.
    """
    error = 100 * (1 - table.accuracy_mean)
    low, high = 100 * (1 - table.accuracy_ci_high), 100 * (1 - table.accuracy_ci_low)
    front = table[pareto(table.best_coded_bytes, error)].sort_values("best_coded_bytes")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 6.4))
        axes = figure.subplots()
        axes.set(xscale="log", yscale="log", xlabel="bytes of the best-coded file", ylabel="test error, %")
        axes.set_title(
            f"{len(front)} of {len(table)} are beaten by none; bars are 95 % intervals over seeds and images"
        )
        for place, row in enumerate(table.itertuples()):
            method, colour = method_of(row.recipe, is_control=row.role == "control")
            known = axes.get_legend_handles_labels()[1]
            axes.errorbar(
                row.best_coded_bytes,
                error.iloc[place],
                # an interval that reaches 0 has no place on a log axis
                yerr=[
                    [error.iloc[place] - max(low.iloc[place], 0.01)],
                    [high.iloc[place] - error.iloc[place]],
                ],
                fmt="o",
                markersize=4.5,
                color=colour,
                elinewidth=0.8,
                label=None if method in known else method,
                zorder=3,
            )
        axes.step(
            front.best_coded_bytes,
            100 * (1 - front.accuracy_mean),
            where="post",
            color=BLACK,
            linewidth=0.8,
            label="Pareto front",
        )
        make_room(axes, table.best_coded_bytes)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=5, fontsize=8)
        figure.tight_layout()
        label_points(axes, table.best_coded_bytes, error, list(table.recipe))
    return figure
