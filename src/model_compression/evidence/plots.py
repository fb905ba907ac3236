"""The pictures of the study, drawn from arrays and tables only."""

from collections.abc import Mapping, Sequence

import matplotlib
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .tables import STYLE, WIDTH

#: Colours that also differ in grey and for most colour-blind readers.
BLUE, ORANGE, GREEN, GREY = "#0b62a4", "#d1640b", "#2e7d32", "#8a8a8a"


def digits(images: np.ndarray, labels: np.ndarray, *, columns: int = 12) -> Figure:
    """The first images with their labels, a row."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, WIDTH / columns + 0.35))
        for index, axes in enumerate(figure.subplots(1, columns)):
            axes.imshow(images[index].squeeze(), cmap="gray_r")
            axes.set_title(str(labels[index]))
            axes.axis("off")
        figure.tight_layout(pad=0.3)
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
    """Every form: best-coded bytes against test error, bars of one sample sd, our Pareto front."""
    error = 100 * (1 - table.accuracy_mean)
    front = pareto(table.best_coded_bytes, error)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 5.2))
        axes = figure.subplots()
        axes.set(xscale="log", yscale="log", xlabel="bytes of the best-coded file", ylabel="test error, %")
        for role, colour in (("form", BLUE), ("control", ORANGE)):
            rows = table.role == role
            axes.errorbar(
                table.best_coded_bytes[rows],
                error[rows],
                yerr=100 * table.accuracy_sd[rows].fillna(0),
                fmt="o",
                color=colour,
                ecolor="#bbbbbb",
                capsize=2,
                label=role,
                zorder=3,
            )
        order = np.argsort(table.best_coded_bytes[front])
        axes.step(
            table.best_coded_bytes[front].iloc[order],
            error[front].iloc[order],
            where="post",
            color=GREEN,
            linewidth=1,
            label="Pareto front",
        )
        make_room(axes, table.best_coded_bytes)
        axes.legend(loc="upper right")
        figure.tight_layout()
        label_points(axes, table.best_coded_bytes, error, list(table.recipe))
    return figure


def make_room(axes: Axes, bytes_: Sequence[float]) -> None:
    """Limits of a logarithmic axis of bytes that leave room for names right of the points."""
    axes.set_xlim(min(bytes_) / 1.2, 1.9 * max(bytes_))
    plain_ticks(axes)


def plain_ticks(axes: Axes) -> None:
    """Whole numbers on log axes, and more of them where less than a decade is shown."""
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            low, high = axis.get_view_interval()
            subs = (1, 2, 5) if high > 8 * low else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8)
            axis.set_major_locator(matplotlib.ticker.LogLocator(subs=subs))
            axis.set_minor_locator(matplotlib.ticker.NullLocator())
            axis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))


def label_points(axes: Axes, xs: Sequence[float], ys: Sequence[float], names: Sequence[str]) -> None:
    """Names right of their points; where points crowd, at the nearest free height, with a line."""
    axes.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]
    pixels = axes.transData.transform(np.column_stack([xs, ys]))
    taken = [(left - 5, left + 5, bottom) for left, bottom in pixels]
    offset, lowest, highest = 8 * axes.figure.dpi / 100, axes.bbox.y0 + 8, axes.bbox.y1 - 12
    for (x, y), name, (point, bottom) in sorted(
        zip(zip(xs, ys, strict=True), names, pixels, strict=True), key=lambda row: (row[0][1], row[0][0])
    ):
        left, right = point + offset, point + offset + 4.9 * len(name) * axes.figure.dpi / 100
        heights = bottom + np.array(sorted(range(-400, 401, 5), key=abs))
        free = [
            height
            for height in heights[(heights >= lowest) & (heights <= highest)]
            if not any(
                abs(height - other) < 10 and left < end and right > start for start, end, other in taken
            )
        ]
        place = free[0] if free else bottom
        taken.append((left, right, place))
        axes.annotate(
            name,
            (x, y),
            xytext=(6, (place - bottom) * 72 / axes.figure.dpi - 2),
            textcoords="offset points",
            fontsize=6.5,
            color="#333333",
            arrowprops={"arrowstyle": "-", "color": "#cccccc", "linewidth": 0.5} if place != bottom else None,
        )
