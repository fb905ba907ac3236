import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import Nets, exactly
from made import outcome
from scipy import special
from tflite_models import tflite_file

from model_compression.data.corruptions import CORRUPTIONS, corrupt
from model_compression.data.datasets import scale
from model_compression.evidence import statistics, who_pays
from model_compression.files import running
from model_compression.study.outcomes import Outcome

#: 60 images of three classes.
LABELS = np.repeat([0, 1, 4], 20)


def answers(*wrong: list[int]) -> np.ndarray:
    """Predicted labels, a row a seed: right but for the images named, which are taken for the class 7."""
    predicted = np.tile(LABELS, (len(wrong), 1))
    for seed, images in enumerate(wrong):
        predicted[seed, images] = 7
    return predicted


def made(**forms: np.ndarray) -> dict[str, list[Outcome]]:
    """Outcomes with these predicted labels, by form; the control first."""
    return {
        name: [outcome(f"{name}.tflite", each, labels=LABELS) for each in predicted]
        for name, predicted in forms.items()
    }


def scored(**forms: np.ndarray) -> dict[str, list[Outcome]]:
    """Outcomes with these scores, (seeds, images, classes), by form."""
    return {
        name: [
            replace(outcome(f"{name}.tflite", LABELS, labels=LABELS, content=tflite_file("int8")), scores=one)
            for one in scores
        ]
        for name, scores in forms.items()
    }


def test_each_class_has_its_own_change() -> None:
    form, control = answers([0, 1, 2, 20], [0, 1, 2, 3]), answers([0], [])
    table = who_pays.by_class(made(control=control, form=form), LABELS)
    assert table["class"].tolist() == [0, 1, 4]
    assert table.images.tolist() == [20, 20, 20]
    assert table.accuracy.tolist() == pytest.approx([1 - 7 / 40, 1 - 1 / 40, 1])
    assert table.control_accuracy.tolist() == pytest.approx([1 - 1 / 40, 1, 1])
    assert table.change_pp.tolist() == pytest.approx([-15, -2.5, 0])
    first = statistics.compare(form[:, :20] == 0, control[:, :20] == 0)
    assert table.change_ci_low_pp[0] == pytest.approx(100 * first.low)
    assert table.p_holm[0] == pytest.approx(3 * first.p_different)


def test_lost_images_are_those_that_all_controls_get_right_and_most_forms_do_not() -> None:
    form = answers([1, 2, 3, 30], [2, 3, 30, 50], [3, 30])
    form[0, 30] = form[1, 30] = 9
    control = answers([], [], [50])
    table = who_pays.lost(made(control=control, form=form), LABELS)
    # image 1 is lost by one seed of three, and a control errs on image 50
    assert table.to_dict("list") == {
        "image": [3, 30, 2],
        "label": [0, 1, 0],
        "taken_for": [7, 9, 7],
        "seeds_lost": [3, 3, 2],
        "seeds": [3, 3, 3],
    }


def test_half_of_the_seeds_is_not_most() -> None:
    assert who_pays.lost(made(control=answers([], []), form=answers([1], [])), LABELS).empty


def test_calibration_error_by_hand() -> None:
    # four images at 0.9 of which three are right, four at 0.6 of which all are
    def logits(chance: float) -> list[float]:
        return [math.log(chance), math.log(1 - chance)]

    scores = np.array([logits(0.9)] * 4 + [logits(0.6)] * 4)
    labels = np.array([0, 0, 0, 1, 0, 0, 0, 0])
    assert who_pays.calibration_error(scores, labels) == pytest.approx((abs(0.9 - 0.75) + abs(0.6 - 1)) / 2)
    likelihoods = who_pays.surprise(scores, labels)
    assert likelihoods[[0, 3, 4]].tolist() == pytest.approx([-math.log(0.9), -math.log(0.1), -math.log(0.6)])


def test_calibration_error_agrees_with_a_loop_over_the_bins() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(0, 2, (500, 10)), rng.integers(0, 10, 500)
    chances = special.softmax(scores, axis=1)
    error = 0.0
    for low in np.arange(15) / 15:
        inside = (chances.max(axis=1) >= low) & (chances.max(axis=1) < low + 1 / 15)
        if inside.any():
            gap = chances[inside].max(axis=1).mean() - np.mean(
                chances[inside].argmax(axis=1) == labels[inside]
            )
            error += inside.mean() * abs(gap)
    assert who_pays.calibration_error(scores, labels) == pytest.approx(error)


def test_certainty_belongs_to_the_last_bin_and_half_precision_is_enough() -> None:
    scores = np.array([[60000.0, 0.0], [60000.0, 0.0]], np.float16)
    assert who_pays.calibration_error(scores, np.array([0, 1])) == pytest.approx(0.5)
    assert np.isfinite(who_pays.surprise(scores, np.array([0, 1]))).all()


def test_likelihoods_are_compared_with_the_first_form() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 50)
    first, other = rng.normal(size=(2, 50, 3)), rng.normal(size=(2, 50, 3))
    table = who_pays.calibration(scored(float32=first, int8=other), labels).set_index("recipe")
    assert table.loc["float32", ["nll_change", "nll_change_ci_low", "nll_change_ci_high"]].tolist() == [
        0,
        0,
        0,
    ]
    differences = np.stack([who_pays.surprise(one, labels) for one in other]) - np.stack(
        [who_pays.surprise(one, labels) for one in first]
    )
    assert table.nll_change["int8"] == pytest.approx(differences.mean())
    assert table.nll_change_ci_low["int8"] == pytest.approx(statistics.estimate(differences).low)
    assert table.calibration_error["int8"] == pytest.approx(
        np.mean([who_pays.calibration_error(one, labels) for one in other])
    )


def test_forms_are_asked_about_each_corruption(nets: Nets) -> None:
    images, labels = nets.data.x_test[:200], nets.data.y_test[:200]
    files = {"float32": [nets.file("baseline", "float32")], "int8": [nets.file("baseline", "int8")]}
    asked = {
        name: [outcome(f"{name}.tflite", labels, labels=labels, content=content) for content in contents]
        for name, contents in files.items()
    }
    table = who_pays.corrupted(asked, images, labels, seed=3)
    assert table.corruption.tolist() == [name for name in ("none", *CORRUPTIONS) for _ in range(2)]
    assert table.recipe.tolist() == ["float32", "int8"] * 6
    row = table[(table.corruption == "blur") & (table.recipe == "int8")].iloc[0]
    spoilt = scale(corrupt(images, "blur", seed=3))
    right = [running.predict(files[name][0], spoilt) == labels for name in ("int8", "float32")]
    assert row.accuracy == right[0].mean()
    assert row.change_pp == pytest.approx(100 * (right[0].mean() - right[1].mean()))
    assert table[table.recipe == "float32"].verdict.tolist() == [""] * 6
    clean = table[table.corruption == "none"].accuracy.tolist()
    assert clean[0] == running.accuracy(labels, running.predict(files["float32"][0], scale(images)))


def test_signals_are_refused_with_the_reason() -> None:
    message = "samples of shape (40, 1) are no images: height and width of at least 8 are needed"
    with pytest.raises(ValueError, match=exactly(message)):
        who_pays.corrupted({}, np.zeros((2, 40, 1), np.float32), np.zeros(2, int), seed=0)
