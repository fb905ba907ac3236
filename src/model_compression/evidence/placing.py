"""Names beside the points of a picture: off each other, off the points and off every line."""

from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Bbox

#: Pixels of a hundred dots an inch: what is kept free around a mark, and between two places that are tried.
CLEAR, STRIDE = 4.0, 5.0
#: Places that are tried around a point: rings, and directions on each, the right one first.
RINGS, DIRECTIONS = 34, 16


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

    A name for which there is no room is left out. Everything else is to be drawn before, the legend too, and
    the limits set.
    """
    axes.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]
    spots = np.column_stack([xs, ys])
    points = axes.transData.transform(spots)
    taken = [Bbox.from_extents(*(point - CLEAR), *(point + CLEAR)) for point in points]
    if legend := axes.get_legend():
        taken.append(legend.get_window_extent())
    lines, labels = list(_lines(axes)), list[Bbox]()
    # the names in the densest crowd first
    crowd = [int(np.sum(np.abs(points - point).max(axis=1) < 60)) for point in points]
    for index in sorted(range(len(points)), key=lambda index: -crowd[index]):
        words: Any = {"fontsize": 6.5, "color": "#333333", "va": "bottom", "textcoords": "offset points"}
        text = axes.annotate(
            names[index], (float(spots[index, 0]), float(spots[index, 1])), xytext=(0, 0), **words
        )
        box = Text.get_window_extent(text)
        places = _places(axes, points[index], np.array(box.size))
        free = (place for place in places if not place.count_overlaps(taken) and not _crossed(place, lines))
        # nor does its own line lie on a name
        leaders = ((place, _leader(points[index], place)) for place in free)
        found = next(
            (each for each in leaders if not any(_crossed(one, each[1:], 0.5) for one in labels)), None
        )
        if found is None:
            text.remove()
            continue
        place, leader = found
        text.set_position(tuple((place.p0 - points[index]) * 72 / axes.figure.dpi))
        taken.append(place)
        labels.append(place)
        if np.hypot(*np.diff(leader.vertices, axis=0)[0]) > CLEAR + 2 + 2 * STRIDE:
            lines.append(leader)
            ends = axes.transData.inverted().transform(leader.vertices)
            # as an artist of its own: it must not move the limits
            axes.add_artist(Line2D(*ends.T, color="#bbbbbb", linewidth=0.5, zorder=1))


def _places(axes: Axes, point: np.ndarray, size: np.ndarray) -> Iterator[Bbox]:
    """Boxes of a name's size around a point and inside the axes, the nearest first."""
    order = sorted(range(DIRECTIONS), key=lambda way: min(way, DIRECTIONS - way))
    angles = np.tile(2 * np.pi * np.array(order) / DIRECTIONS, RINGS)
    ways = np.column_stack([np.cos(angles), np.sin(angles)])
    reach = CLEAR + 2 + STRIDE * np.repeat(np.arange(RINGS), DIRECTIONS)
    # the box lies beyond the ring, whichever of its sides looks at the point
    corners = point + reach[:, None] * ways + (ways - 1) * size / 2
    inside = (corners >= axes.bbox.p0).all(axis=1) & (corners + size <= axes.bbox.p1).all(axis=1)
    return (Bbox.from_bounds(*corner, *size) for corner in corners[inside])


def _lines(axes: Axes) -> Iterator[Path]:
    """Every line of the axes in pixels, those of error bars and grids of references too."""
    for line in axes.lines:
        if line.get_linestyle() != "None":
            yield line.get_transform().transform_path(line.get_path())
    for collection in axes.collections:
        if isinstance(collection, matplotlib.collections.LineCollection):
            yield from (collection.get_transform().transform_path(path) for path in collection.get_paths())


def _leader(point: np.ndarray, place: Bbox) -> Path:
    """The line from a point to the nearest spot of a box."""
    return Path(np.stack([point, np.clip(point, place.p0, place.p1)]))


def _crossed(place: Bbox, lines: Sequence[Path], clear: float = CLEAR / 2) -> bool:
    """Whether a line comes nearer to a box than so many pixels."""
    around = place.padded(clear)
    return any(line.intersects_bbox(around, filled=False) for line in lines)
