"""What a model takes of a data set: read from likelihoods, with the shape of the model."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from model_compression.data.datasets import Dataset
from model_compression.saved_models.knowing import Output, Range
from model_compression.saved_models.ranges import choose

GENERATOR = np.random.default_rng(0)
PIXELS = GENERATOR.integers(0, 256, (40, 2, 2)).astype(np.uint8)
LABELS = (PIXELS[:, 0, 0] > 127).astype(np.int64)
DATA = Dataset(
    name="bright", x_train=PIXELS, y_train=LABELS, x_val=PIXELS, y_val=LABELS, x_test=PIXELS,
    y_test=LABELS, classes=2,
)  # fmt: skip


@pytest.mark.parametrize(
    ("multiplier", "offset", "name"),
    [(1.0, 0.0, "0 to 1"), (255.0, 0.0, "0 to 255"), (2.0, -1.0, "-1 to 1")],
)
def test_range_that_a_model_was_trained_on_is_found(multiplier: float, offset: float, name: str) -> None:
    # sure, but no surer than right: one image in ten lies on the wrong side
    middle = multiplier / 2 + offset

    def scores(images: np.ndarray) -> np.ndarray:
        margin = (
            6 * (images[:, 0, 0] - middle) / multiplier * np.where(np.arange(len(images)) % 10 == 0, -1, 1)
        )
        return np.stack([-margin, margin], axis=1)

    chosen = choose(scores, DATA, (2, 2), own="")
    assert (chosen.range.multiplier, chosen.range.offset) == (multiplier, offset)
    assert chosen.notes[0].startswith(f"the model takes pixels from {name}, which it knows best")


def test_single_probability_decides_as_two_scores_do() -> None:
    def probability(images: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-(images[:, :1, 0] - 127.5) / 40))

    chosen = choose(probability, DATA, (2, 2), own="", ends=[Output(ending="sigmoid")])
    assert (chosen.range.multiplier, chosen.accuracy) == (255.0, 1.0)


def test_own_scaling_and_floats_leave_no_choice() -> None:
    own = choose(lambda images: images[:, 0], DATA, (2, 2), own="Rescaling")
    assert own.notes == (
        "the model scales pixels itself (Rescaling): it and its files take them from 0 to 255",
        *own.notes[1:],
    )
    assert own.range.multiplier == 255
    floats = replace(DATA, **{f"x_{s}": PIXELS.astype(np.float32) for s in ("train", "val", "test")})
    as_they_are = choose(lambda images: images[:, 0], floats, (2, 2), own="")
    assert (as_they_are.range.multiplier, as_they_are.range.offset) == (1.0, 0.0)


def test_own_scaling_of_pixels_from_0_to_1_is_found_and_said() -> None:
    """As one that begins with Rescaling(2, -1) and was trained on x / 255."""
    chosen = choose(
        lambda images: _bright(2 * images - 1, middle=0.0, width=1.0), DATA, (2, 2), own="Rescaling",
    )  # fmt: skip
    assert (chosen.range.multiplier, chosen.range.offset) == (1.0, 0.0)
    assert not any("scales pixels itself" in note for note in chosen.notes)
    assert chosen.warnings[0].startswith("the model was trained on pixels from 0 to 1 (90.0 % on validation")


def test_model_that_is_not_sure_enough_does_not_get_larger_inputs() -> None:
    """One that was hardly trained is surer of what is larger; how sure it could be tells the two apart."""

    def scores(images: np.ndarray) -> np.ndarray:
        # at 0 to 1 two of 80 are wrong, at larger ones as many of the first 40, but three of the others
        few = images.max() <= 1 and images.min() >= 0
        wrong = np.isin(np.arange(len(images)), [3, 60] if few else [3, 60, 61, 62, 63])
        margin = np.where((np.resize(LABELS, len(images)) == 1) ^ wrong, 0.2, -0.2) * (1 if few else 5)
        return np.stack([-margin, margin], axis=1)

    chosen = choose(scores, DATA, (2, 2), own="")
    assert (chosen.range.multiplier, chosen.range.offset) == (1.0, 0.0)


def test_several_outputs_decide_together() -> None:
    """One knows its labels in any range; the other's values are those of pixels from 0 to 1."""
    values = (PIXELS[:, 0, :1] / 255).astype(np.float32)
    amount = replace(DATA, y_train=values, y_val=values, y_test=values, task="values", classes=1)

    def outputs(images: np.ndarray) -> np.ndarray:
        return np.concatenate([_bright(images, middle=127.5, width=255.0), images[:, 0, :1]], axis=1)

    data = replace(DATA, outputs={"label": DATA, "amount": amount})
    ends = [Output(name="label", columns=slice(0, 2)), Output(name="amount", columns=slice(2, 3))]
    assert choose(lambda x: outputs(x)[:, :2], DATA, (2, 2), own="").range.multiplier == 255
    assert choose(outputs, data, (2, 2), own="", ends=ends).range.multiplier == 1


def test_row_of_a_table_is_not_taken_for_pixels() -> None:
    row = replace(DATA, **{f"x_{s}": 200 * np.ones((40, 3), np.float32) for s in ("train", "val", "test")})
    chosen = choose(lambda rows: -rows[:, :2] / (1 + rows.max() / 100), row, (3,), own="")
    assert not any("over 255" in warning for warning in chosen.warnings)


def test_images_get_the_shape_of_the_model_and_raw_pixels_stay_whole_numbers() -> None:
    raw = Range(multiplier=255.0, offset=0.0, shape=(2, 2, 1)).fed(PIXELS)
    assert raw.shape == (40, 2, 2, 1)
    np.testing.assert_array_equal(raw[..., 0], PIXELS.astype(np.float32))
    around = Range(multiplier=2.0, offset=-1.0, shape=(4,)).fed(PIXELS)
    np.testing.assert_allclose(around, PIXELS.reshape(40, 4) / 127.5 - 1, atol=1e-6)
    changed = Range(multiplier=2.0, offset=-1.0, shape=(4,)).asked(DATA)
    assert changed.input_shape == (4,)
    np.testing.assert_array_equal(changed.y_val, LABELS)


def _floats(change: Callable[[np.ndarray], np.ndarray]) -> Dataset:
    images = change(PIXELS.astype(np.float32))
    return replace(DATA, x_train=images, x_val=images, x_test=images)


def _bright(images: np.ndarray, *, middle: float, width: float) -> np.ndarray:
    """Scores of a net that tells bright images from dark ones, sure but for one in ten."""
    margin = 6 * (images[:, 0, 0] - middle) / width * np.where(np.arange(len(images)) % 10 == 0, -1, 1)
    return np.stack([-margin, margin], axis=1)


def test_pixels_standardized_outside_of_the_model_are_found_and_said() -> None:
    dark = PIXELS // 3
    unit = dark / np.float32(255)
    mean, deviation = float(unit.mean()), float(unit.std())
    chosen = choose(
        lambda images: _bright(images, middle=(1 / 6 - mean) / deviation, width=1 / 3 / deviation),
        replace(DATA, x_train=dark, x_val=dark, x_test=dark), (2, 2), own="",
    )  # fmt: skip
    np.testing.assert_allclose(chosen.range.fed(dark), (unit - mean) / deviation, atol=1e-4)
    (warning,) = chosen.warnings
    assert warning.startswith(
        "the model was trained on inputs minus their mean over their standard deviation"
    )


def test_floats_from_0_to_255_for_a_model_of_0_to_1_are_found_and_said() -> None:
    data = _floats(lambda images: images)
    chosen = choose(lambda images: _bright(images, middle=0.5, width=1.0), data, (2, 2), own="")
    np.testing.assert_allclose(chosen.range.fed(data.x_val), PIXELS / 255, rtol=1e-5)
    assert chosen.warnings[0].startswith("the model was trained on inputs over 255 (90.0 %")


def test_floats_that_the_model_knows_less_well_than_pixels_are_asked_about() -> None:
    """A net that saturates is as sure of either, so that a warning is all that can be given."""

    def scores(images: np.ndarray) -> np.ndarray:
        wrong = np.arange(len(images)) % (4 if images.max() > 1 else 10) == 0
        margin = np.where((np.resize(LABELS, len(images)) == 1) ^ wrong, 0.3, -0.3)
        return np.stack([-margin, margin], axis=1)

    chosen = choose(scores, _floats(lambda images: images), (2, 2), own="")
    assert chosen.range.multiplier == 1
    (warning,) = chosen.warnings
    assert warning.startswith("was the model trained on inputs over 255? It has 90.0 %")


def test_floats_that_the_model_knows_stay_without_a_word() -> None:
    data = _floats(lambda images: images)
    chosen = choose(lambda images: _bright(images, middle=127.5, width=255.0), data, (2, 2), own="")
    assert (chosen.range.multiplier, chosen.range.offset, chosen.warnings) == (1.0, 0.0, ())


def test_normalized_outside_of_the_model_is_said() -> None:
    def scores(images: np.ndarray) -> np.ndarray:
        # a net of unit columns; others it takes for the wrong ones
        apart = np.abs(np.linalg.norm(images, axis=1) - 1).max(axis=1) > 0.01
        sure = np.where(np.resize(LABELS, len(images)) == 1, 3.0, -3.0) * np.where(apart, -1, 1)
        return np.stack([-sure, sure], axis=1)

    (warning,) = choose(scores, DATA, (2, 2), own="").warnings
    assert "keras.utils.normalize(x, axis=1)" in warning
    assert "give the arrays so prepared, as floats" in warning


def test_few_right_answers_do_not_show_that_a_net_is_too_sure() -> None:
    def score(images: np.ndarray) -> np.ndarray:
        sure = 4 * images.max() * (-1 if images.min() < 0 else 1)
        return np.where(np.resize(LABELS[:3], (len(images), 1)) == 1, sure, -sure)

    few = replace(DATA, **{f"x_{s}": PIXELS[:3] for s in ("train", "val")})
    few = replace(few, **{f"y_{s}": LABELS[:3] for s in ("train", "val")})
    chosen = choose(score, few, (2, 2), own="")
    assert (chosen.range.multiplier, chosen.range.offset, chosen.accuracy) == (1.0, 0.0, 1.0)


def test_range_in_which_a_model_is_clearly_less_right_is_not_taken_for_its_modesty() -> None:
    def scores(images: np.ndarray) -> np.ndarray:
        # far too sure of each label, but where it gets half of them wrong
        modest = images.min() < 0
        wrong = np.arange(len(images)) % (2 if modest else 8) == 0
        margin = np.where((np.resize(LABELS, len(images)) == 1) ^ wrong, 1.0, -1.0) * (0.1 if modest else 50)
        return np.stack([-margin, margin], axis=1)

    chosen = choose(scores, DATA, (2, 2), own="")
    assert (chosen.range.multiplier, chosen.range.offset) == (1.0, 0.0)


def test_few_images_more_are_no_reason_to_doubt_the_inputs() -> None:
    def scores(images: np.ndarray) -> np.ndarray:
        # standardized or normalized inputs get 4 of 40 right more, as chance does
        wrong = np.arange(40) % (10 if images.min() < 0 or images.max() > 1.01 else 5) == 0
        margin = np.where((LABELS == 1) ^ wrong, 3, -3)
        return np.stack([-margin, margin], axis=1)

    floats = _floats(lambda images: images / 255)
    chosen = choose(scores, floats, (2, 2), own="")
    assert (chosen.range.multiplier, chosen.warnings) == (1.0, ())


def test_of_several_inputs_in_a_row_pixels_alone_are_scaled() -> None:
    rows = np.concatenate([PIXELS[:, 0] / np.float32(255), PIXELS[:, 1].astype(np.float32)], axis=1)
    data = replace(DATA, x_train=rows, x_val=rows, x_test=rows)
    chosen = choose(
        lambda images: (images[:, :1] - 127.5) / 40, data, (4,), own="",
        pixels=np.array([True, True, False, False]),
    )  # fmt: skip
    np.testing.assert_allclose(chosen.range.fed(rows), PIXELS.reshape(40, 4), rtol=1e-6)
    assert chosen.notes[0].startswith("the model takes pixels from 0 to 255, which it knows best")


def test_axis_of_one_is_not_taken_for_one_that_was_normalized() -> None:
    """Every number of it would be 1."""
    ones = replace(DATA, **{f"x_{s}": PIXELS[..., None] for s in ("train", "val", "test")})
    chosen = choose(lambda images: 9 * (images[:, 0, 0] == 1) + images[:, 0, 0], ones, (2, 2, 1), own="")
    assert not any("axis=-1" in warning for warning in chosen.warnings)


def test_autoencoder_is_asked_for_what_it_takes() -> None:
    chosen = choose(lambda images: np.clip(images, 0, 1), DATA, (2, 2), own="", reconstructs=True)
    assert (chosen.range.multiplier, chosen.range.asks, chosen.accuracy) == (1.0, "inputs", 1.0)
    asked = chosen.range.asked(DATA)
    assert (asked.task, asked.classes) == ("values", 4)
    np.testing.assert_array_equal(asked.x_test, asked.y_test)


def test_values_are_known_best_where_their_error_is_least() -> None:
    values = PIXELS[:, 0, :1].astype(np.float32)
    data = replace(DATA, y_train=values, y_val=values, y_test=values, task="values", classes=1)
    chosen = choose(lambda images: images[:, 0, :1], data, (2, 2), own="")
    assert (chosen.range.multiplier, chosen.accuracy) == (255.0, 1.0)


def test_values_of_which_the_largest_alone_count_are_warned_of() -> None:
    values = PIXELS.reshape(40, 4)[:, :2] * np.array([1.0, 0.01], np.float32)
    data = replace(DATA, y_train=values, y_val=values, y_test=values, task="values", classes=2)

    def told(data: Dataset) -> list[str]:
        chosen = choose(lambda images: images.reshape(-1, 4)[:, :2], data, (2, 2), own="")
        return [warning for warning in chosen.warnings if warning.startswith("the values to predict differ")]

    (warning,) = told(data)
    assert "times in size, and their squared errors are added up" in warning
    assert told(replace(data, y_val=values * [1, 100])) == []


def test_model_that_knows_the_commonest_class_alone_is_told() -> None:
    rare = (np.arange(40) % 10 == 0).astype(np.int64)
    data = replace(DATA, y_train=rare, y_val=rare, y_test=rare)

    def never(images: np.ndarray) -> np.ndarray:
        return np.tile([[1.0, -1.0]], (len(images), 1))

    (warning,) = choose(never, data, (2, 2), own="").warnings
    assert warning.startswith("it is right on 90.0 % of the validation inputs, as the commonest class alone")


def test_pixels_that_were_standardized_are_asked_about_where_more_are_right() -> None:
    def scores(images: np.ndarray) -> np.ndarray:
        standardized = abs(float(images.mean())) < 0.1 and images.min() < -1.2
        wrong = np.arange(len(images)) % (10 if standardized else 4) == 0
        margin = np.where((np.resize(LABELS, len(images)) == 1) ^ wrong, 0.3, -0.3)
        return np.stack([-margin, margin], axis=1)

    (warning,) = choose(scores, DATA, (2, 2), own="").warnings
    assert warning.startswith(
        "was the model trained on inputs minus their mean over their standard deviation?"
    )


@pytest.mark.parametrize(
    ("sizes", "times"),
    [((1, 1, 1000), 1000), ((1, 2000, 1000), 2), ((1, 63), 1), ((1, 65), 65), ((0, 1), 1), ((0, 0), 1)],
)
def test_channels_that_integers_would_lose_are_warned_of(sizes: tuple[float, ...], times: float) -> None:
    rows = np.tile([[-1.0], [1.0]], (20, 1)) * np.array(sizes)
    table = replace(DATA, **{f"x_{s}": rows.astype(np.float32) for s in ("train", "val", "test")})
    shape = (len(sizes),)
    chosen = choose(lambda given: given[:, :2], table, shape, own="")
    said = [each for each in chosen.warnings if "times in size" in each]
    assert [each.split(" times")[0].split()[-1] for each in said] == ([f"{times:,}"] if times > 64 else [])
