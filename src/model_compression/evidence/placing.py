"""Names beside the points of a picture: off each other, off the points and off every line."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.text import Text

#: Pixels of a hundred dots an inch: what is kept free around a mark, and between two places that are tried.
CLEAR, STRIDE = 4.0, 5.0
#: Places that are tried around a point: rings, and directions on each, the right one first.
RINGS, DIRECTIONS = 70, 16


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
    """Names as near to their points as there is room, those further off with a thin line to their point.

    Everything else is to be drawn before, the legend too, and the limits set.
    """
    axes.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]
    spots = np.column_stack([xs, ys])
    points = axes.transData.transform(spots)
    taken = [_along(np.stack([point, point])) for point in points] + [_along(line) for line in _lines(axes)]
    if legend := axes.get_legend():
        taken.append(np.array([legend.get_window_extent().extents]))
    obstacles, placed = np.concatenate(taken), np.empty((0, 4))
    crowd = [int(np.sum(np.abs(points - point).max(axis=1) < 60)) for point in points]
    for index in sorted(range(len(names)), key=lambda index: (-crowd[index], -len(names[index]))):
        text = axes.annotate(
            names[index],
            tuple(spots[index]),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=6.5,
            color="#333333",
        )
        box = Text.get_window_extent(text)
        boxes = _boxes(points[index], np.array([box.width, box.height]))
        inside = (boxes[:, :2] >= axes.bbox.p0).all(axis=1) & (boxes[:, 2:] <= axes.bbox.p1).all(axis=1)
        free = np.flatnonzero(inside & ~_meet(boxes, obstacles))
        leaders = (_along(_leader(points[index], boxes[place]), 1.0) for place in free)
        # a line to a point crosses no name; where each would, the nearest free place has to do
        clear = (
            place for place, leader in zip(free, leaders, strict=True) if not _meet(leader, placed).any()
        )
        chosen = next(clear, free[0] if len(free) else 0)
        place = boxes[chosen]
        text.set_position(tuple((place[:2] - points[index]) * 72 / axes.figure.dpi))
        if chosen >= 2 * DIRECTIONS:
            ends = axes.transData.inverted().transform(_leader(points[index], place))
            # as an artist of its own: it must not move the limits
            axes.add_artist(Line2D(*ends.T, color="#bbbbbb", linewidth=0.5, zorder=1))
            obstacles = np.concatenate([obstacles, _along(_leader(points[index], place), 1.0)])
        obstacles, placed = np.concatenate([obstacles, place[None]]), np.concatenate([placed, place[None]])


def _boxes(point: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Boxes (left, bottom, right, top) of a name's size around a point, the nearest first."""
    order = sorted(range(DIRECTIONS), key=lambda way: min(way, DIRECTIONS - way))
    angles = np.tile(2 * np.pi * np.array(order) / DIRECTIONS, RINGS)
    ways = np.column_stack([np.cos(angles), np.sin(angles)])
    reach = CLEAR + 2 + STRIDE * np.repeat(np.arange(RINGS), DIRECTIONS)
    # the box lies beyond the ring, whichever of its sides looks at the point
    centres = point + reach[:, None] * ways + ways * size / 2
    return np.concatenate([centres - size / 2, centres + size / 2], axis=1)


def _leader(point: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The line from a point to the nearest spot of a box, as its two ends."""
    return np.stack([point, np.clip(point, place[:2], place[2:])])


def _lines(axes: Axes) -> Iterator[np.ndarray]:
    """Every line of the axes in pixels, those of error bars and grids of references too."""
    for line in axes.lines:
        if line.get_linestyle() != "None":
            yield line.get_transform().transform(line.get_path().vertices)
    for collection in axes.collections:
        if isinstance(collection, LineCollection):
            for path in collection.get_paths():
                yield collection.get_transform().transform(path.vertices)


def _along(line: np.ndarray, clear: float = CLEAR) -> np.ndarray:
    """Boxes along a line of pixels, one for what is level or upright, else a row of small ones."""
    boxes = [np.empty((0, 4))]
    for start, end in pairwise(line):
        if not np.isfinite([start, end]).all():
            continue
        parts = 1 if np.abs(end - start).min() < 1 else 1 + int(np.abs(end - start).max() // CLEAR)
        ends = start + (end - start) * np.linspace(0, 1, parts + 1)[:, None]
        low, high = np.minimum(ends[:-1], ends[1:]), np.maximum(ends[:-1], ends[1:])
        boxes.append(np.concatenate([low - clear, high + clear], axis=1))
    return np.concatenate(boxes)


def _meet(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which of the boxes overlap one of the others."""
    below, above = boxes[:, None, :2] < others[None, :, 2:], boxes[:, None, 2:] > others[None, :, :2]
    return np.any(np.all(below & above, axis=2), axis=1)
