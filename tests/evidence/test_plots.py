import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import exactly
from made import FORMS, Drawn, crowded_forms
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from model_compression.evidence import plots
from model_compression.evidence.tables import WIDTH

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (15, 28, 28), np.uint8)
SIGNALS = GENERATOR.normal(size=(15, 40, 2))
BEFORE = {
    "conv2d": GENERATOR.normal(size=(3, 3, 1, 12)).astype(np.float32),
    "dense": GENERATOR.normal(size=(2028, 10)).astype(np.float32),
}


def half_of(kernels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every second weight zero."""
    return {
        name: kernel * (np.arange(kernel.size).reshape(kernel.shape) % 2) for name, kernel in kernels.items()
    }


def changes(verdicts: list[str], **columns: list[object]) -> pd.DataFrame:
    """Rows with a change each, -1, 0, 1 and so on, and an interval of half a point."""
    value = np.arange(len(verdicts)) - 1.0
    table = pd.DataFrame(columns | {"change_pp": value, "verdict": verdicts})
    return table.assign(change_ci_low_pp=value - 0.5, change_ci_high_pp=value + 0.5)


RIVALS = changes(
    ["worse", "undecided", "better", "worse"],
    recipe=["pruned", "pruned", "clustered_8", "clustered_8"],
    against=["small dense net", "lottery ticket", "small dense net", "lottery ticket"],
    zip_bytes=[9000, 9000, 7100, 7100],
    rival_zip_bytes=[8800, 9001, 6900, 7101],
)
FIGURES = {
    "examples": lambda: plots.examples(IMAGES, np.arange(15), "image"),
    "histograms": lambda: plots.weights_before_after(BEFORE, half_of(BEFORE)),
    "signals": lambda: plots.examples(SIGNALS, np.arange(15), "signal"),
    "tables": lambda: plots.examples(SIGNALS[..., 0], np.arange(15), "table"),
    "rivals": lambda: plots.pruned_or_small(RIVALS),
    "error": lambda: plots.error_against_bytes(crowded_forms()),
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


def test_fewer_images_than_columns_are_all_shown() -> None:
    figure = plots.examples(IMAGES[:2], ["8 → 3", "4 → 9"], "image")
    assert [axes.get_title() for axes in figure.axes if axes.images] == ["8 → 3", "4 → 9"]


def test_digits_show_the_first_images_under_their_labels() -> None:
    figure = plots.examples(IMAGES[..., None], np.arange(15), "image", columns=5)
    assert [axes.get_title() for axes in figure.axes] == ["0", "1", "2", "3", "4"]
    np.testing.assert_array_equal(figure.axes[4].images[0].get_array(), IMAGES[4])


def test_colours_in_floats_are_shown_over_their_whole_range() -> None:
    colours = np.full((1, 2, 2, 3), [0, 127.5, 255], np.float32)
    shown = plots.examples(colours, ["a"], "image").axes[0].images[0].get_array()
    np.testing.assert_allclose(shown, np.full((2, 2, 3), [0, 0.5, 1]))


def bars(axes: Axes) -> list[int]:
    """What each histogram of an axes counts in all."""
    return [int(sum(bar.get_height() for bar in container)) for container in axes.containers]


def test_histograms_count_all_weights_before_and_the_others_than_zero_after() -> None:
    figure = plots.weights_before_after(BEFORE, half_of(BEFORE))
    assert [axes.get_title() for axes in figure.axes] == ["conv2d: 50.0% zeros", "dense: 50.0% zeros"]
    assert [bars(axes) for axes in figure.axes] == [[108, 54], [20_280, 10_140]]


def test_histograms_are_of_the_six_largest_kernels_three_a_row() -> None:
    many = {f"layer {size}": np.linspace(-1, 1, size) for size in (5, 40, 30, 20, 60, 50, 70)}
    axes = plots.weights_before_after(many, half_of(many)).axes
    assert [each.get_title().split(":")[0] for each in axes] == list(many)[1:]
    assert [each.get_subplotspec().rowspan.start for each in axes] == [0, 0, 0, 1, 1, 1]


def test_histogram_of_one_layer_is_drawn() -> None:
    one = {"dense": BEFORE["dense"]}
    assert len(plots.weights_before_after(one, half_of(one)).axes) == 1


def test_error_plot_shows_methods_intervals_and_the_front_of_the_forms() -> None:
    figure = plots.error_against_bytes(FORMS)
    (axes,) = figure.axes
    # the front and the least error of each method: here, all
    assert set(labels_of(figure)) == set(FORMS.recipe)
    shown = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    assert set(shown) == {
        "Pareto front", "float", "quantized", "pruned", "clustered", "pruned and clustered", "control",
    }  # fmt: skip
    x, y = shown["control"].lines[0].get_data()
    assert (list(x), list(y)) == ([3900], [pytest.approx(1.9)])
    (bar,) = shown["control"].lines[2][0].get_segments()
    assert bar[:, 1].tolist() == pytest.approx([1.6, 2.2])  # 0.3 points to each side
    # 4,700 bytes at 2.01 %, 8,100 at 2 %, 20,757 at 1.669 %, 76,000 at 1.656 %; the control, which would beat
    # two of them, is no form
    assert list(shown["Pareto front"].get_xdata()) == [4700, 8100, 20757, 76000]
    assert axes.get_title().startswith("4 of 5 forms are beaten by none")


def test_a_method_has_one_colour_whatever_else_is_drawn() -> None:
    def colours(table: pd.DataFrame) -> dict[str, str]:
        (axes,) = plots.error_against_bytes(table).axes
        handles, words = axes.get_legend_handles_labels()
        return {
            word: each.lines[0].get_color()
            for word, each in zip(words, handles, strict=True)
            if word != "Pareto front"
        }

    every, few = colours(FORMS), colours(FORMS.iloc[[3, 1]])
    assert few == {name: every[name] for name in ("clustered", "quantized")}
    assert len(set(every.values())) == len(every)


def test_an_interval_that_reaches_0_or_lies_there_is_drawn_on_the_log_axis() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Drawn(plots.error_against_bytes(FORMS.assign(accuracy_ci_high=1.001)))
        perfect = {"accuracy_mean": 1.0, "accuracy_ci_low": 1.0, "accuracy_ci_high": 1.0}
        Drawn(plots.error_against_bytes(FORMS.assign(**perfect)))


def test_log_axes_are_labelled_in_plain_numbers() -> None:
    figure = plots.error_against_bytes(FORMS)
    Drawn(figure)
    ticks = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert {"10,000", "20,000", "50,000"} <= set(ticks)


def test_arrays_stay_as_they_were() -> None:
    before = {name: kernel.copy() for name, kernel in BEFORE.items()}
    after, table = half_of(BEFORE), FORMS.copy()
    plots.weights_before_after(before, after)
    plots.error_against_bytes(table)
    np.testing.assert_equal(before, BEFORE)
    np.testing.assert_equal(after, half_of(BEFORE))
    pd.testing.assert_frame_equal(table, FORMS)


def test_verdicts_are_counted_in_one_order() -> None:
    said = pd.Series(["undecided", "", "equivalent", "worse", "worse"])
    assert plots.counted(said) == "2 worse, 1 equivalent, 1 undecided"
    assert plots.counted(pd.Series([""])) == "no test"


def marks(figure: Figure) -> list[tuple[float, float, str, bool]]:
    """Value, place, colour and whether it is filled, of each mark of the first axes."""
    bars = [each for each in figure.axes[0].containers if isinstance(each, ErrorbarContainer)]
    found = []
    for bar in bars:
        line = bar.lines[0]
        (x,), (y,) = line.get_data()
        found.append((float(x), float(y), line.get_color(), line.get_markerfacecolor() != "white"))
    return found


def test_each_row_is_a_mark_filled_where_it_is_decided() -> None:
    found = marks(figure := plots.pruned_or_small(RIVALS))
    assert [value for value, *_ in found] == [-1, 0, 1, 2]
    assert [filled for *_, filled in found] == [True, False, True, True]
    assert [place for _, place, *_ in found] == [0, 1, 2, 3]
    assert len({colour for _, _, colour, _ in found}) == 2
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == ["pruned: 9,000 B", "", "clustered_8: 7,100 B", ""]
    (rivals,) = figure.axes[0].child_axes
    assert [text.get_text() for text in rivals.get_yticklabels()] == [
        "8,800 B",
        "9,001 B",
        "6,900 B",
        "7,101 B",
    ]


def test_title_counts_the_verdicts_of_each_rival() -> None:
    title = plots.pruned_or_small(RIVALS).axes[0].get_title()
    assert title.splitlines()[1:] == [
        "small dense net: 1 worse, 1 better",
        "lottery ticket: 1 worse, 1 undecided",
    ]


def test_more_series_than_colours_are_refused() -> None:
    many = changes(["worse"] * 8, recipe=["a"] * 8, against=[f"rival {n}" for n in range(8)])
    with pytest.raises(ValueError, match=exactly("8 series; allowed: 7, a colour each")):
        plots.pruned_or_small(many)
