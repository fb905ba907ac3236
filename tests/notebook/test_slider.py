"""The sparsity slider without a browser: what it asks for, and what it shows."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import exactly
from IPython.display import Image
from made import Drawn, outcome, predictions
from tflite_models import tflite_file

from model_compression.evidence import plots
from model_compression.evidence.style import WIDTH
from model_compression.notebook import slider
from model_compression.notebook.slider import Tweak
from model_compression.study.catalogue import Settings, catalogue
from model_compression.study.outcomes import Outcome
from model_compression.study.recipes import Recipe
from model_compression.study.scheduling import Failure

SETTINGS = Settings(
    seed=100,
    n_seeds=1,
    epochs=1,
    fine_tune_epochs=1,
    batch_size=128,
    learning_rate=5e-3,
    initial_sparsity=0.5,
    final_sparsity=0.8,
)
PNG = b"\x89PNG\r\n\x1a\n"


class Recorded:
    """A study that notes what is begun and waited for; the names in `failing` fail."""

    def __init__(self) -> None:
        self.recipes: dict[str, Recipe] = {}
        self.begun, self.waited, self.failing = list[str](), list[str](), set[str]()

    def add(self, name: str, recipe: Recipe) -> None:
        self.recipes[name] = recipe

    def begin(self, name: str, seed: int) -> None:
        self.begun.append(name)

    def wait(self, names: list[str], seeds: list[int]) -> None:
        assert set(names) <= set(self.begun)
        self.waited += names

    def outcome(self, name: str, seed: int) -> Outcome | Failure:
        assert name in self.waited
        if name in self.failing:
            return Failure(recipe=name, seed=seed, error="no memory")
        size = 900 - 10 * list(self.recipes).index(name)
        return outcome(name, predictions(90), content=tflite_file("int8"), zip_bytes=size)


@pytest.fixture
def study() -> Recorded:
    return Recorded()


@pytest.fixture
def tweak(study: Any) -> Tweak:
    return Tweak(study, SETTINGS)


@pytest.mark.parametrize(("sparsity", "initial"), [(0.9, 0.5), (0.5, 0.5), (0.3, 0.3)])
def test_recipe_is_the_one_of_a_run_with_that_sparsity(sparsity: float, initial: float) -> None:
    there = replace(SETTINGS, final_sparsity=sparsity, initial_sparsity=initial)
    assert slider.recipe_at(SETTINGS, sparsity) == catalogue(there)["pruned_quantized"]


def test_no_sparsity_is_the_net_trained_for_as_long() -> None:
    assert slider.recipe_at(SETTINGS, 0.0) == catalogue(SETTINGS)["longer_trained_quantized"]


def test_slider_stops_at_the_settings_own_sparsity(study: Any) -> None:
    tweak = Tweak(study, replace(SETTINGS, final_sparsity=0.83))
    assert tweak.sparsities == [0, 0.5, 0.6, 0.7, 0.8, 0.83, 0.85, 0.9, 0.95, 0.98]
    assert len(study.recipes) == len(tweak.sparsities)
    assert len(set(study.recipes.values())) == len(tweak.sparsities)
    assert study.begun == []


def points(found: tuple[Any, ...]) -> list[float]:
    """The sparsities of a picture, and last the marked one."""
    line, mark = plots.tweaked(*found).axes[0].lines
    return [*line.get_xdata(), *mark.get_xdata()]


def test_picture_waits_for_what_it_shows_and_keeps_what_was_seen(study: Any, tweak: Tweak) -> None:
    assert points(tweak.found(0.0, 0.8)) == [0, 80, 80]
    assert study.waited == ["tweak_0", "tweak_0.8"]
    assert points(tweak.found(0.5)) == [0, 50, 80, 50]


def test_failed_training_says_so_and_the_slider_goes_on(study: Any, tweak: Tweak) -> None:
    study.failing.add("tweak_0.9")
    with pytest.raises(RuntimeError, match=exactly("sparsity 0.9 failed: no memory")):
        tweak.found(0.9)
    # what failed is not drawn
    assert points(tweak.found(0.8)) == [80, 80]


def test_moved_slider_shows_words_and_picture(
    tweak: Tweak, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[Image] = []
    monkeypatch.setattr(slider, "display", shown.append)
    tweak.show(0.8)
    assert capsys.readouterr().out == (
        "sparsity 80 %: validation accuracy 50.00%, 860 bytes zipped (1,000 as they are)\n"
    )
    (image,) = shown
    assert image.data.startswith(PNG)


def test_slider_stops_at_each_sparsity_and_begins_at_the_notebooks_own(
    tweak: Tweak, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr("ipywidgets.interact", lambda do, **widgets: asked.update(widgets, do=do))
    tweak.slider()
    choice = asked["sparsity"]
    assert asked["do"] == tweak.show
    assert [value for _, value in choice.options] == tweak.sparsities
    assert (choice.value, choice.label, choice.continuous_update) == (0.8, "80 %", False)


def shell(request: dict[str, Any]) -> Any:
    """A notebook's IPython while its kernel answers `request`."""
    return SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda: request))


@pytest.mark.parametrize(
    ("ipython", "seen"),
    [
        (None, False),
        (SimpleNamespace(), False),
        (shell({}), False),
        (shell({"content": {"allow_stdin": False}}), False),
        (shell({"content": {"allow_stdin": True}}), True),
    ],
)
def test_only_who_can_answer_a_question_can_move_a_slider(
    ipython: Any, seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slider, "get_ipython", lambda: ipython)
    assert slider.attended() is seen


@pytest.mark.parametrize("known", [{0.8: 90}, {0.0: 98, 0.5: 97, 0.8: 90, 0.98: 30}])
def test_picture_holds_all_points_and_is_not_cut_off(known: dict[float, int]) -> None:
    kernels = {"CONV_2D 1": np.ones((2, 3, 3, 1)), "FULLY_CONNECTED 2": np.ones((5, 8))}
    shares = [right / 100 for right in known.values()]
    drawn = Drawn(plots.tweaked(list(known), shares, [100] * len(known), 0.8, kernels))
    assert drawn.overhang() <= 0
    assert drawn.figure.get_figwidth() == WIDTH
    line, _ = drawn.figure.axes[0].lines
    assert line.get_xydata().tolist() == [[100 * share, right] for share, right in known.items()]


def test_kernels_leave_zeros_white_and_say_how_many() -> None:
    convolution, dense = np.ones((2, 3, 3, 1)), np.ones((5, 8))
    convolution[0, 0, 0, 0] = 0
    dense[0] = 0
    figure = plots.tweaked([0.5], [0.9], [100], 0.5, {"CONV_2D 1": convolution, "FULLY_CONNECTED 2": dense})
    Drawn(figure)
    assert [axes.get_title() for axes in figure.axes[2:]] == [
        "CONV_2D 1: 1 of 18 weights are zero",
        "FULLY_CONNECTED 2: 8 of 40 weights are zero",
    ]
    images = [axes.images[0].get_array() for axes in figure.axes[2:]]
    assert [image.shape for image in images] == [(2, 9), (5, 8)]
    assert [int(np.ma.getmaskarray(image).sum()) for image in images] == [1, 8]


def test_first_and_largest_kernel_are_shown() -> None:
    kernels = slider._kernels(tflite_file("int8"))
    assert {name: kernel.shape for name, kernel in kernels.items()} == {
        "CONV_2D 1": (8, 3, 3, 1),
        "FULLY_CONNECTED 2": (5, 392),
    }
