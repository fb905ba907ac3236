"""The sparsity slider without a browser: what it asks for, what it shows, and that it does not block."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import pytest
from conftest import exactly
from made import Drawn, outcome, predictions
from tflite_models import tflite_file

from model_compression.evidence import plots
from model_compression.evidence.tables import WIDTH
from model_compression.notebook import run, slider
from model_compression.notebook.slider import Panel, Tweak
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
    """A study whose recipes are done after a few looks; the names in `failing` fail."""

    def __init__(self, looks: int = 3) -> None:
        self.recipes: dict[str, Recipe] = {}
        self.looks, self.left, self.begun, self.failing = looks, dict[str, int](), list[str](), set[str]()

    def add(self, name: str, recipe: Recipe) -> None:
        self.recipes[name] = recipe

    def begin(self, name: str, seed: int) -> None:
        if name not in self.left:
            self.begun.append(name)
            self.left[name] = self.looks

    def progress(self, name: str, seed: int) -> float:
        if name not in self.left:
            return 0.0
        self.left[name] = max(0, self.left[name] - 1)
        return 1 - self.left[name] / self.looks

    def wait(self, names: list[str], seeds: list[int]) -> None:
        self.left |= dict.fromkeys(names, 0)

    def outcome(self, name: str, seed: int) -> Outcome | Failure:
        if name in self.failing:
            return Failure(recipe=name, seed=seed, error="no memory")
        size = 900 - 10 * list(self.recipes).index(name)
        return outcome(name, predictions(90), content=tflite_file("int8"), zip_bytes=size)


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    monkeypatch.setattr(slider, "TICK", 0.001)
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


def test_computed_waits_and_names_what_failed(study: Any, tweak: Tweak) -> None:
    assert list(tweak.computed(0.0, 0.8)) == [0.0, 0.8]
    assert study.begun == ["tweak_0", "tweak_0.8"]
    study.failing.add("tweak_0.9")
    with pytest.raises(RuntimeError, match=exactly("sparsity 0.9 failed: no memory")):
        tweak.computed(0.9)
    # what failed is not drawn either
    assert set(tweak.known()) == {0.0, 0.8}


def in_a_loop(do: Callable[[], Any]) -> Any:
    async def run() -> Any:
        return await do()

    return asyncio.run(run())


def test_panel_trains_what_is_missing_without_blocking_and_then_shows_it(study: Any, tweak: Tweak) -> None:
    async def watch() -> None:
        panel = Panel(tweak)
        said, ticks = set(), 0
        while not panel.watching.done():
            await asyncio.sleep(0)  # the loop is free meanwhile
            said.add((panel.words.value, panel.bar.layout.visibility))
            ticks += 1
        assert ("training at 80 % ...", "visible") in said
        assert ticks > 2
        assert panel.words.value == (
            "sparsity 80 %: 50.00% of the validation images right, 860 bytes zipped (1,000 as they are)"
        )
        assert panel.bar.layout.visibility == "hidden"
        assert bytes(panel.image.value).startswith(PNG)
        first = panel.image.value
        panel.slider.value = 0.9
        await panel.watching
        assert study.begun == ["tweak_0.8", "tweak_0.9"]
        assert panel.words.value.startswith("sparsity 90 %: ")
        assert panel.image.value != first
        # back to what is there: nothing is trained
        panel.slider.value = 0.8
        await panel.watching
        assert study.begun == ["tweak_0.8", "tweak_0.9"]
        assert panel.words.value.startswith("sparsity 80 %: ")

    in_a_loop(watch)


def test_slider_that_moves_on_during_a_training_shows_where_it_ends_up(study: Any, tweak: Tweak) -> None:
    study.looks = 50

    async def watch() -> None:
        panel = Panel(tweak)
        await asyncio.sleep(0.005)
        task = panel.watching
        panel.slider.value = 0.95
        assert panel.watching is task
        await panel.watching
        assert panel.words.value.startswith("sparsity 95 %: ")
        assert set(study.begun) == {"tweak_0.8", "tweak_0.95"}

    in_a_loop(watch)


def test_failed_training_says_so_and_the_slider_goes_on(study: Any, tweak: Tweak) -> None:
    study.failing.add("tweak_0.98")

    async def watch() -> None:
        panel = Panel(tweak)
        await panel.watching
        shown = panel.image.value
        panel.slider.value = 0.98
        await panel.watching
        assert panel.words.value == "98 % failed: no memory"
        assert panel.image.value == shown
        panel.slider.value = 0.5
        await panel.watching
        assert panel.words.value.startswith("sparsity 50 %: ")

    in_a_loop(watch)


def test_error_in_the_background_is_seen(study: Any, tweak: Tweak, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(study, "begin", fail)

    async def watch() -> None:
        panel = Panel(tweak)
        await panel.watching
        assert (panel.words.value, panel.bar.layout.visibility) == ("failed: disk full", "hidden")

    in_a_loop(watch)


def test_notebook_shows_a_panel_as_a_widget(tweak: Tweak) -> None:
    async def show() -> None:
        panel = Panel(tweak)
        await panel.watching
        assert "application/vnd.jupyter.widget-view+json" in panel._repr_mimebundle_()

    in_a_loop(show)


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


def test_runner_of_notebooks_is_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    cell = nbformat.v4.new_code_cell(
        "from model_compression.notebook import slider\nprint(slider.attended())"
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "one.ipynb")
    run.run(tmp_path / "one.ipynb", tmp_path / "out.ipynb", {})
    (ran,) = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
    assert [output.text for output in ran.outputs] == ["False\n"]


def drawn(known: dict[float, int], chosen: float) -> Drawn:
    outcomes = {
        sparsity: outcome(
            "a", predictions(right), content=tflite_file("int8"), validation_accuracy=right / 100
        )
        for sparsity, right in known.items()
    }
    return Drawn(slider.picture(outcomes, chosen))


@pytest.mark.parametrize("known", [{0.8: 90}, {0.0: 98, 0.5: 97, 0.8: 90, 0.98: 30}])
def test_picture_holds_all_points_marks_the_chosen_and_is_not_cut_off(known: dict[float, int]) -> None:
    picture = drawn(known, 0.8)
    assert picture.overhang() <= 0
    assert picture.figure.get_figwidth() == WIDTH
    line, mark = picture.figure.axes[0].lines
    assert line.get_xydata().tolist() == [[100 * share, right] for share, right in known.items()]
    assert mark.get_xydata().tolist() == [[80, 90]]


def test_kernels_leave_zeros_white_and_say_how_many() -> None:
    convolution, dense = np.ones((2, 3, 3, 1)), np.ones((5, 8))
    convolution[0, 0, 0, 0] = 0
    dense[0] = 0
    figure = plots.tweaked([0.5], [0.9], [100], 0.5, {"CONV_2D 1": convolution, "FULLY_CONNECTED 2": dense})
    Drawn(figure)
    assert [part.get_suptitle() for part in figure.subfigs[1:]] == [
        "CONV_2D 1: 1 of 18 weights are zero",
        "FULLY_CONNECTED 2: 8 of 40 weights are zero",
    ]
    images = [axes.images[0].get_array() for axes in figure.axes[2:]]
    assert [image.shape for image in images] == [(3, 3), (3, 3), (5, 8)]
    assert [int(np.ma.getmaskarray(image).sum()) for image in images] == [1, 0, 8]


def test_first_and_largest_kernel_are_shown() -> None:
    kernels = slider._kernels(tflite_file("int8"))
    assert {name: kernel.shape for name, kernel in kernels.items()} == {
        "CONV_2D 1": (8, 3, 3, 1),
        "FULLY_CONNECTED 2": (5, 392),
    }
