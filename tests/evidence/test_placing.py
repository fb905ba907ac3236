from itertools import combinations, pairwise

import numpy as np
import pytest
from made import FORMS, Drawn, crowded_forms
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from model_compression.evidence import placing, plots


def names_of(axes: Axes) -> dict[str, Bbox]:
    """Where each name lies, in pixels."""
    axes.figure.draw_without_rendering()
    return {
        text.get_text(): Text.get_window_extent(text) for text in axes.texts if isinstance(text, Annotation)
    }


def drawn_lines(axes: Axes) -> list[np.ndarray]:
    """Every line that is drawn in an axes, sampled in pixels."""
    lines = [line for line in axes.lines if line.get_linestyle() != "None"]
    paths = [line.get_transform().transform(line.get_path().vertices) for line in lines]
    for bars in axes.collections:
        paths += [axes.transData.transform(bar) for bar in getattr(bars, "get_segments", list)()]
    steps = np.linspace(0, 1, 200)[:, None]
    return [start + (end - start) * steps for path in paths for start, end in pairwise(path)]


FIGURES = {
    "few": lambda: plots.error_against_bytes(FORMS),
    "error": lambda: plots.error_against_bytes(crowded_forms()),
}


@pytest.fixture(scope="module", params=FIGURES)
def axes(request: pytest.FixtureRequest) -> Axes:
    drawn = Drawn(FIGURES[request.param]())
    return drawn.figure.axes[0]


def test_names_lie_inside_the_axes(axes: Axes) -> None:
    inside = axes.bbox
    for text, box in names_of(axes).items():
        assert inside.x0 <= box.x0 and box.x1 <= inside.x1, text  # noqa: PT018
        assert inside.y0 <= box.y0 and box.y1 <= inside.y1, text  # noqa: PT018


def test_no_name_lies_on_another(axes: Axes) -> None:
    names = names_of(axes)
    assert [(a, b) for a, b in combinations(names, 2) if names[a].overlaps(names[b])] == []


def test_no_name_lies_on_a_line_or_a_point(axes: Axes) -> None:
    spots = np.concatenate([np.empty((0, 2)), *drawn_lines(axes)])
    points = axes.transData.transform([text.xy for text in axes.texts])
    for text, box in names_of(axes).items():
        core = box.padded(-0.5)
        assert not any(core.contains(*spot) for spot in points), text
        near = (spots > [core.x0, core.y0]).all(axis=1) & (spots < [core.x1, core.y1]).all(axis=1)
        assert not near.any(), text


def test_points_spread_over_the_axes_and_tick_labels_lie_apart(axes: Axes) -> None:
    points = np.concatenate([bars.lines[0].get_xdata() for bars in axes.containers])
    left, right = axes.get_xlim()
    assert (points.min() / left, right / points.max()) == (pytest.approx(1.2), pytest.approx(1.9))
    ticks = [
        text.get_window_extent() for text in axes.get_xticklabels() if left < text.get_position()[0] < right
    ]
    assert len(ticks) >= 3
    assert all(one.x1 < other.x0 for one, other in pairwise(ticks))


def square() -> Axes:
    axes = Figure(figsize=(5, 5)).subplots()
    axes.set(xlim=(0, 10), ylim=(0, 10))
    return axes


def test_a_name_stands_right_of_its_point_where_there_is_room() -> None:
    axes = square()
    placing.label_points(axes, [5], [5], ["alone"])
    (x, y), box = axes.transData.transform((5, 5)), names_of(axes)["alone"]
    assert box.x0 == pytest.approx(x + placing.CLEAR + placing.APART, abs=placing.STRIDE)
    assert (box.y0 + box.y1) / 2 == pytest.approx(y, abs=placing.STRIDE)
    assert not axes.lines


def test_a_name_at_the_right_edge_stands_elsewhere() -> None:
    axes = square()
    placing.label_points(axes, [9.9], [5], ["a long name"])
    assert names_of(axes)["a long name"].x1 <= axes.bbox.x1


def test_a_name_far_from_its_point_has_a_line_to_it_that_moves_no_limit() -> None:
    axes = square()
    grid = [axes.axvline(place) for place in np.arange(4, 6, 0.1)]
    placing.label_points(axes, [5], [5], ["beyond the grid"])
    (leader,) = (line for line in axes.lines if line not in grid)
    assert tuple(leader.get_xydata()[0]) == pytest.approx((5, 5))
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 10), (0, 10))


def test_a_name_without_room_is_left_out() -> None:
    axes = square()
    placing.label_points(
        axes, [5, 2], [5, 2], ["a name that is longer than the whole picture is wide " * 3, "b"]
    )
    assert [text.get_text() for text in axes.texts] == ["b"]
    axes = square()
    for height in np.arange(0, 10, 0.2):
        axes.axhline(height)
    placing.label_points(axes, [5], [5], ["lines everywhere"])
    assert not axes.texts


def test_the_same_points_get_their_names_at_the_same_places() -> None:
    places = [
        [tuple(box.extents) for box in names_of(plots.error_against_bytes(FORMS).axes[0]).values()]
        for _ in range(2)
    ]
    assert places[0] == places[1]


def test_other_orders_name_more_points_or_leave_names_nearer_to_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spots = np.random.default_rng(1).uniform(4, 6, (24, 2))

    def found() -> tuple[int, float]:
        axes = square()
        placing.label_points(axes, *spots.T, [f"the name of point {number}" for number in range(24)])
        ends = [line.get_transform().transform(line.get_path().vertices) for line in axes.lines]
        return 24 - len(axes.texts), sum(float(np.hypot(*(end[-1] - end[0]))) for end in ends)

    best = found()
    monkeypatch.setattr(placing, "ORDERS", 1)
    assert best < found()
