"""Names beside the points of a picture: off each other, off the points and off every line."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

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
RINGS, DIRECTIONS = 70, 24
#: Orders of the names that are tried: those that found no place come first in the next one.
ORDERS = 8


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
    words: Any = {"xytext": (0, 0), "textcoords": "offset points", "va": "bottom", "fontsize": 6.5}
    words["color"] = "#333333"
    texts = [axes.annotate(name, (x, y), **words) for name, x, y in zip(names, xs, ys, strict=True)]
    points = axes.transData.transform(np.column_stack([xs, ys]))
    taken = [_along(np.stack([point, point])) for point in points] + [_along(line) for line in _lines(axes)]
    if legend := axes.get_legend():
        taken.append(np.array([legend.get_window_extent().extents]))
    places = []
    for point, text in zip(points, texts, strict=True):
        box = Text.get_window_extent(text)
        boxes = _boxes(point, np.array([box.width, box.height]))
        inside = (boxes[:, :2] >= axes.bbox.p0).all(axis=1) & (boxes[:, 2:] <= axes.bbox.p1).all(axis=1)
        places.append(boxes[inside] if inside.any() else boxes[:1])
    chosen = _arranged(points, places, np.concatenate(taken))
    for point, text, place in zip(points, texts, chosen, strict=True):
        text.set_position(tuple((place[:2] - point) * 72 / axes.figure.dpi))
        leader = _leader(point, place)
        if np.hypot(*(leader[1] - leader[0])) > CLEAR + 2 + 2 * STRIDE:
            ends = axes.transData.inverted().transform(leader)
            # as an artist of its own: it must not move the limits
            axes.add_artist(Line2D(*ends.T, color="#bbbbbb", linewidth=0.5, zorder=1))


def _arranged(points: np.ndarray, places: Sequence[np.ndarray], taken: np.ndarray) -> list[np.ndarray]:
    """A box for each name out of its places, so that nothing overlaps: one name after the other.

    The names in the densest crowd come first, in the next order those that found no place in the one before.
    """
    crowd = [int(np.sum(np.abs(points - point).max(axis=1) < 60)) for point in points]
    order = sorted(range(len(points)), key=lambda index: -crowd[index])
    for _ in range(ORDERS):
        obstacles, names, stuck = taken, np.empty((0, 4)), []
        found: dict[int, np.ndarray] = {}
        for index in order:
            free = places[index][~_meet(places[index], obstacles)]
            # a line to a point crosses no name, and no later name lies on it
            leaders = ((place, _along(_leader(points[index], place), 1.0)) for place in free)
            fits = ((place, leader) for place, leader in leaders if not _meet(leader, names).any())
            nearest = free[0] if len(free) else places[index][0]
            place, leader = next(fits, (nearest, None))
            if leader is None:
                stuck.append(index)
                leader = np.empty((0, 4))
            found[index], names = place, np.concatenate([names, place[None]])
            obstacles = np.concatenate([obstacles, place[None], leader])
        if not stuck:
            break
        order = [*stuck, *(index for index in order if index not in stuck)]
    return [found[index] for index in range(len(points))]


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
    """Every line of the axes in pixels, those of error bars too."""
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
