"""What a model takes of a data set: read from likelihoods, with the shape of the model."""

from dataclasses import replace

import numpy as np
import pytest

from model_compression.data.datasets import Dataset
from model_compression.saved_models.ranges import Range, choose, with_images

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
        margin = 6 * (images[:, 0, 0] - middle) / multiplier * np.where(np.arange(40) % 10 == 0, -1, 1)
        return np.stack([-margin, margin], axis=1)

    chosen = choose(scores, DATA, (2, 2), own="", probabilities=False)
    assert (chosen.range.multiplier, chosen.range.offset) == (multiplier, offset)
    assert chosen.notes[0].startswith(f"the model takes pixels from {name}, which it knows best")


def test_single_probability_decides_as_two_scores_do() -> None:
    def probability(images: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-(images[:, :1, 0] - 127.5) / 40))

    chosen = choose(probability, DATA, (2, 2), own="", probabilities=True)
    assert (chosen.range.multiplier, chosen.accuracy) == (255.0, 1.0)


def test_own_scaling_and_floats_leave_no_choice() -> None:
    own = choose(lambda images: images[:, 0], DATA, (2, 2), own="Rescaling", probabilities=False)
    assert own.notes == (
        "the model scales pixels itself (Rescaling): it and its files take them from 0 to 255",
        *own.notes[1:],
    )
    assert own.range.multiplier == 255
    floats = replace(DATA, **{f"x_{s}": PIXELS.astype(np.float32) for s in ("train", "val", "test")})
    as_they_are = choose(lambda images: images[:, 0], floats, (2, 2), own="", probabilities=False)
    assert (as_they_are.range.multiplier, as_they_are.range.offset) == (1.0, 0.0)


def test_images_get_the_shape_of_the_model_and_raw_pixels_stay_whole_numbers() -> None:
    raw = Range(multiplier=255.0, offset=0.0, shape=(2, 2, 1)).fed(PIXELS)
    assert raw.shape == (40, 2, 2, 1)
    np.testing.assert_array_equal(raw[..., 0], PIXELS.astype(np.float32))
    around = Range(multiplier=2.0, offset=-1.0, shape=(4,)).fed(PIXELS)
    np.testing.assert_allclose(around, PIXELS.reshape(40, 4) / 127.5 - 1, atol=1e-6)
    changed = with_images(DATA, Range(multiplier=2.0, offset=-1.0, shape=(4,)).fed)
    assert changed.input_shape == (4,)
    np.testing.assert_array_equal(changed.y_val, LABELS)
