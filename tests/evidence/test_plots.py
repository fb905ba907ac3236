import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from made import FORMS, Drawn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from model_compression.evidence import plots
from model_compression.evidence.tables import WIDTH

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (15, 28, 28), np.uint8)
BEFORE = {
    "conv2d": GENERATOR.normal(size=(3, 3, 1, 12)).astype(np.float32),
    "dense": GENERATOR.normal(size=(2028, 10)).astype(np.float32),
}


def half_of(kernels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every second weight zero."""
    return {
        name: kernel * (np.arange(kernel.size).reshape(kernel.shape) % 2) for name, kernel in kernels.items()
    }


def comparison() -> pd.DataFrame:
    """Ten files, several of them on nearly one spot."""
    names = [
        "non_quantized.h5", "non_quantized.tflite", "longer_trained.tflite", "post_training_quantized.tflite",
        "int8.tflite", "quantization_aware_trained.tflite", "float16.tflite", "pruned.tflite",
        "pruned_quantized.tflite", "pruned_quantization_aware.tflite",
    ]  # fmt: skip
    return pd.DataFrame(
        {
            "model_file": names,
            "zip_bytes": [77648, 77142, 77056, 21972, 21708, 21341, 39349, 22862, 8218, 8564],
            "accuracy": [0.983, 0.983, 0.9849, 0.983, 0.9831, 0.985, 0.983, 0.975, 0.975, 0.977],
        }
    )


def all_forms() -> pd.DataFrame:
    """30 forms in three crowds, as the study's are."""
    rows = [FORMS.assign(recipe=FORMS.recipe + f"_{index}") for index in range(5)]
    table = pd.concat(rows, ignore_index=True)
    table["best_coded_bytes"] += 7 * np.arange(len(table))
    return table


FIGURES = {
    "digits": lambda: plots.digits(IMAGES, np.arange(15)),
    "histograms": lambda: plots.weights_before_after(BEFORE, half_of(BEFORE)),
    "filters": lambda: plots.kernel_images(BEFORE["conv2d"], half_of(BEFORE)["conv2d"]),
    "accuracy": lambda: plots.accuracy_against_bytes(comparison()),
    "error": lambda: plots.error_against_bytes(all_forms()),
}


@pytest.fixture(scope="module", params=FIGURES)
def drawn(request: pytest.FixtureRequest) -> Drawn:
    return Drawn(FIGURES[request.param]())


def labels_of(figure: Figure) -> dict[str, Annotation]:
    (axes,) = figure.axes
    return {text.get_text(): text for text in axes.texts if isinstance(text, Annotation)}


def test_nothing_is_cut_off(drawn: Drawn) -> None:
    assert drawn.overhang() <= 0


def test_pictures_are_white_and_as_wide_as_the_tables(drawn: Drawn) -> None:
    assert drawn.figure.get_figwidth() == WIDTH
    assert drawn.figure.get_facecolor() == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("bytes_", "errors", "on_front"),
    [
        ([1, 2, 3], [3, 2, 1], [True, True, True]),
        ([1, 2, 3], [1, 2, 3], [True, False, False]),
        ([1, 1, 2], [2, 1, 1], [False, True, False]),
        ([1, 1], [1, 1], [True, True]),
        ([5], [5], [True]),
    ],
)
def test_pareto_keeps_what_no_point_beats(
    bytes_: list[float], errors: list[float], on_front: list[bool]
) -> None:
    assert plots.pareto(bytes_, errors).tolist() == on_front


def test_pareto_agrees_with_a_scan_by_bytes() -> None:
    bytes_, errors = GENERATOR.integers(0, 40, (2, 200))
    scanned = [errors[i] == errors[bytes_ <= bytes_[i]].min() for i in range(200)]
    # of those with the least error so far, a point with as little error and fewer bytes beats the others
    wanted = [
        good and not any((errors == errors[i]) & (bytes_ < bytes_[i])) for i, good in enumerate(scanned)
    ]
    assert plots.pareto(bytes_, errors).tolist() == wanted


def test_digits_show_the_first_images_under_their_labels() -> None:
    figure = plots.digits(IMAGES[..., None], np.arange(15), columns=5)
    assert [axes.get_title() for axes in figure.axes] == ["0", "1", "2", "3", "4"]
    np.testing.assert_array_equal(figure.axes[4].images[0].get_array(), IMAGES[4])


def bars(axes: Axes) -> list[int]:
    """What each histogram of an axes counts in all."""
    return [int(sum(bar.get_height() for bar in container)) for container in axes.containers]


def test_histograms_count_all_weights_before_and_the_others_than_zero_after() -> None:
    figure = plots.weights_before_after(BEFORE, half_of(BEFORE))
    assert [axes.get_title() for axes in figure.axes] == ["conv2d: 50.0% zeros", "dense: 50.0% zeros"]
    assert [bars(axes) for axes in figure.axes] == [[108, 54], [20_280, 10_140]]


def test_histogram_of_one_layer_is_drawn() -> None:
    one = {"dense": BEFORE["dense"]}
    assert len(plots.weights_before_after(one, half_of(one)).axes) == 1


def test_filters_leave_out_the_weights_that_are_gone() -> None:
    kernel = BEFORE["conv2d"]
    figure = plots.kernel_images(kernel, half_of(BEFORE)["conv2d"])
    above, below = figure.axes[:12], figure.axes[12:]
    assert [axes.get_ylabel() for axes in (above[0], below[0])] == ["before", "after"]
    np.testing.assert_array_equal(above[5].images[0].get_array(), kernel[:, :, 0, 5])
    gone = np.ma.getmaskarray(below[5].images[0].get_array())
    np.testing.assert_array_equal(gone, np.arange(108).reshape(3, 3, 1, 12)[:, :, 0, 5] % 2 == 0)


def test_filters_before_and_after_share_their_colours() -> None:
    figure = plots.kernel_images(BEFORE["conv2d"], half_of(BEFORE)["conv2d"])
    limit = float(np.abs(BEFORE["conv2d"]).max())
    assert {axes.images[0].get_clim() for axes in figure.axes} == {(-limit, limit)}


def test_accuracy_plot_has_a_named_point_a_file() -> None:
    table = comparison()
    figure = plots.accuracy_against_bytes(table)
    offsets = np.asarray(figure.axes[0].collections[0].get_offsets())
    np.testing.assert_allclose(offsets, np.column_stack([table.zip_bytes, 100 * table.accuracy]))
    named = labels_of(figure)
    assert set(named) == {name.removesuffix(".tflite") for name in table.model_file}
    assert named["int8"].xy == (21708, pytest.approx(98.31))


def test_error_plot_shows_forms_controls_spread_and_the_front_of_both() -> None:
    figure = plots.error_against_bytes(FORMS)
    (axes,) = figure.axes
    assert set(labels_of(figure)) == set(FORMS.recipe)
    shown = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    assert list(shown) == ["Pareto front", "form", "control"]
    x, y = shown["control"].lines[0].get_data()
    assert (list(x), list(y)) == ([3900], [pytest.approx(1.9)])
    (bar,) = shown["control"].lines[2][0].get_segments()
    assert bar[:, 1].tolist() == pytest.approx([0.9, 2.9])  # one sd of 0.01 to each side
    # 3,900 bytes at 1.9 %, 20,757 at 1.669 %, 76,000 at 1.656 %; all others are beaten by the control
    assert list(shown["Pareto front"].get_xdata()) == [3900, 20757, 76000]


def test_error_plot_of_one_seed_has_points_without_bars() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plots.error_against_bytes(FORMS.assign(accuracy_sd=np.nan))
        Drawn(figure)
    assert len(labels_of(figure)) == len(FORMS)


def names_of(drawn: Drawn) -> dict[str, Bbox]:
    """Where each name lies, without the line to its point."""
    return {
        text: super(Annotation, label).get_window_extent(drawn.renderer)
        for text, label in labels_of(drawn.figure).items()
    }


@pytest.mark.parametrize("name", ["accuracy", "error"])
def test_names_lie_inside_the_axes_and_apart(name: str) -> None:
    drawn = Drawn(FIGURES[name]())
    boxes, inside = names_of(drawn), drawn.figure.axes[0].bbox
    assert [text for text, box in boxes.items() if not (inside.x0 <= box.x0 and box.x1 <= inside.x1)] == []
    assert [text for text, box in boxes.items() if not (inside.y0 <= box.y0 and box.y1 <= inside.y1)] == []
    covered = [
        (one, other)
        for one, box in boxes.items()
        for other, second in boxes.items()
        if one < other
        and min(box.x1, second.x1) > max(box.x0, second.x0)
        and min(box.y1, second.y1) - max(box.y0, second.y0) > 0.2 * min(box.height, second.height)
    ]
    assert covered == []


@pytest.mark.parametrize("name", ["accuracy", "error"])
def test_points_spread_over_the_axes_and_tick_labels_lie_apart(name: str) -> None:
    drawn = Drawn(FIGURES[name]())
    (axes,) = drawn.figure.axes
    points = np.array([label.xy[0] for label in labels_of(drawn.figure).values()])
    left, right = axes.get_xlim()
    assert (points.min() / left, right / points.max()) == (pytest.approx(1.2), pytest.approx(1.9))
    ticks = [drawn.extent(text) for text in axes.get_xticklabels() if left < text.get_position()[0] < right]
    assert len(ticks) >= 3
    assert all(one.x1 < other.x0 for one, other in pairwise(ticks))


def test_a_name_is_drawn_on_its_points_height_where_there_is_room() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(0, 10))
    plots.label_points(axes, [1, 1, 5], [5, 5, 2], ["first", "second", "alone"])
    heights = {text: label.xyann[1] for text, label in labels_of(figure).items()}
    assert heights["alone"] == -2
    assert heights["first"] == -2
    # 10 pixels of 100 dots an inch are 7.2 points
    assert abs(heights["second"] + 2) == pytest.approx(7.2)


def test_log_axes_are_labelled_in_plain_numbers() -> None:
    figure = plots.error_against_bytes(FORMS)
    Drawn(figure)
    ticks = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert {"10,000", "20,000", "50,000"} <= set(ticks)


def test_arrays_stay_as_they_were() -> None:
    before = {name: kernel.copy() for name, kernel in BEFORE.items()}
    after, table = half_of(BEFORE), FORMS.copy()
    plots.weights_before_after(before, after)
    plots.kernel_images(before["conv2d"], after["conv2d"])
    plots.error_against_bytes(table)
    np.testing.assert_equal(before, BEFORE)
    np.testing.assert_equal(after, half_of(BEFORE))
    pd.testing.assert_frame_equal(table, FORMS)
