"""Names beside the points of a picture, where nothing else is drawn."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D
from matplotlib.text import Text

#: Pixels that are kept free around a mark, and around a name.
CLEAR, APART = 4, 2
#: Pixels between two places that are tried; how far from a point they lie where there is room so near.
STRIDE, NEAR = 2, 160
#: Pixels between a point and its name from which on a line joins the two.
FAR = 16
#: Pixels from which on another order is tried, and how many are; that counts which leaves names nearest.
TOO_FAR, ORDERS = 120, 6
#: What is drawn darker than this of 255 is in the way; the grid behind is not.
INK = 200


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

    A name for which there is no room is left out, as is that of a point outside the axes. Everything else is
    to be drawn before, the legend too, and the limits set.
    """
    taken = _drawn(axes)
    spots = np.column_stack([xs, ys])
    points = axes.transData.transform(spots)
    shown = [index for index, point in enumerate(points) if axes.bbox.contains(*point)]
    for x, y in points[shown].astype(int):
        taken[y - CLEAR : y + CLEAR + 1, x - CLEAR : x + CLEAR + 1] = True
    look: Any = {"fontsize": 6.5, "color": "#333333", "va": "bottom", "textcoords": "offset points"}
    texts = {
        index: axes.annotate(names[index], tuple(spots[index]), xytext=(0, 0), **look) for index in shown
    }
    sizes = {index: np.ceil(Text.get_window_extent(text).size) for index, text in texts.items()}
    # the names in the densest crowd first; where one ends far off, once more, and that one before all
    crowd = {index: np.sum(np.abs(points[shown] - points[index]).max(axis=1) < 60) for index in shown}
    order = sorted(shown, key=lambda index: -crowd[index])
    tried: list[tuple[float, dict[int, _Place]]] = []
    for _ in range(ORDERS):
        places = _placed(taken, points, sizes, order)
        off = {index: places[index].length if index in places else float(taken.size) for index in order}
        tried.append((sum(off.values()), places))
        if max(off.values(), default=0) <= TOO_FAR:
            break
        order.sort(key=lambda index: off[index] < max(off.values()))
    _, places = min(tried, key=lambda one: one[0])
    for index, text in texts.items():
        if index not in places:
            text.remove()
            continue
        corner, leader = places[index]
        text.set_position(tuple((corner - points[index]) * 72 / axes.figure.dpi))
        if places[index].length > FAR:
            ends = axes.transData.inverted().transform(leader[[0, -1]])
            # as an artist of its own: it must not move the limits
            axes.add_artist(Line2D(*ends.T, color="#777777", linewidth=0.6, linestyle=":", zorder=1))


class _Place(NamedTuple):
    """The lower left corner of a name, and points from its own one to the name, all in pixels."""

    corner: np.ndarray
    leader: np.ndarray

    @property
    def length(self) -> float:
        return float(np.hypot(*(self.leader[-1] - self.leader[0])))


def _placed(
    taken: np.ndarray, points: np.ndarray, sizes: Mapping[int, np.ndarray], order: Sequence[int]
) -> dict[int, _Place]:
    """Each name at the first place that is left when its turn comes, as far as there is one."""
    taken, named, found = taken.copy(), np.zeros_like(taken), {}
    for index in order:
        point, size = points[index], sizes[index]
        for corner in _free_corners(taken, point, size):
            leader = np.linspace(point, np.clip(point, corner, corner + size), 200)
            columns, rows = leader.astype(int).T
            if named[rows, columns].any():
                continue
            found[index] = _Place(corner, leader)
            (left, bottom), (right, top) = corner.astype(int), (corner + size).astype(int) + 1
            named[bottom:top, left:right] = True
            taken |= named
            if found[index].length > FAR:
                taken[rows, columns] = True
            break
    return found


def _drawn(axes: Axes) -> np.ndarray:
    """The pixels that are in the way, (height, width) from the lower left: all outside the axes, too."""
    canvas = FigureCanvasAgg(axes.get_figure(root=True))  # type: ignore[arg-type]
    canvas.draw()
    ink = np.asarray(canvas.buffer_rgba())[::-1, :, :3].min(axis=2) < INK
    left, bottom, right, top = np.array(axes.bbox.extents, int)
    taken = np.ones_like(ink)
    taken[bottom + 1 : top, left + 1 : right] = ink[bottom + 1 : top, left + 1 : right]
    return taken


def _free_corners(taken: np.ndarray, point: np.ndarray, size: np.ndarray) -> Iterator[np.ndarray]:
    """Lower left corners of free boxes of a size, the nearest to a point first, right before left."""
    width, height = (size + 2 * APART).astype(int)
    # few names are far from their points, and all of a picture takes thirty times as long
    for reach in (NEAR, max(taken.shape)):
        left, bottom = np.maximum(point.astype(int) - reach, 0) // STRIDE * STRIDE
        near = taken[bottom : bottom + 2 * reach, left : left + 2 * reach]
        sums = np.pad(near.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
        ends, starts = sums[height::STRIDE], sums[:-height:STRIDE]
        inside = (ends - starts)[:, width::STRIDE] - (ends - starts)[:, :-width:STRIDE]
        rows, columns = np.nonzero(inside == 0)
        corners = np.column_stack([columns, rows]) * float(STRIDE) + (left, bottom) + APART
        gaps = np.hypot(*(np.clip(point, corners, corners + size) - point).T)
        beside = corners + size / 2 - point
        order = np.argsort(gaps + 0.12 * np.abs(beside[:, 1]) - 0.03 * beside[:, 0], kind="stable")
        # a box a pixel further off is no other place
        yield from corners[order[::10]]
