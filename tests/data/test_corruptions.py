import numpy as np
import pytest
from conftest import exactly

from model_compression.data.corruptions import CORRUPTIONS, corrupt, why_not

#: A white square of 10 pixels in the middle of black, as a picture, its double with channels, and as floats.
SQUARE = np.zeros((3, 28, 28), np.uint8)
SQUARE[:, 9:19, 9:19] = 255
SHAPES = {
    "grey": SQUARE,
    "channels": np.repeat(SQUARE[..., None], 3, axis=3),
    "floats": SQUARE.astype(np.float32) / 50 - 2,
    "wide": np.zeros((2, 8, 40), np.uint8) + 100,
}


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_shape_type_and_range_stay(name: str, shape: str) -> None:
    images = SHAPES[shape]
    spoilt = corrupt(images, name, seed=0)
    assert (spoilt.shape, spoilt.dtype) == (images.shape, images.dtype)
    low, high = (0, 255) if images.dtype == np.uint8 else (images.min(), images.max())
    assert spoilt.min() >= low - 1e-6
    assert spoilt.max() <= high + 1e-6


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_same_seed_spoils_alike_and_leaves_the_images_alone(name: str) -> None:
    images = SQUARE.copy()
    spoilt = corrupt(images, name, seed=3)
    np.testing.assert_array_equal(corrupt(images, name, seed=3), spoilt)
    np.testing.assert_array_equal(images, SQUARE)
    assert (spoilt != images).any()


@pytest.mark.parametrize("name", ["noise", "shift", "occlusion"])
def test_another_seed_spoils_otherwise(name: str) -> None:
    many = np.tile(SQUARE, (5, 1, 1))
    assert (corrupt(many, name, seed=3) != corrupt(many, name, seed=4)).any()


def test_colours_are_blurred_shifted_and_hidden_together() -> None:
    for name in ("blur", "shift", "brightness", "occlusion"):
        spoilt = corrupt(SHAPES["channels"], name, seed=0)
        np.testing.assert_array_equal(spoilt, np.repeat(spoilt[..., :1], 3, axis=3))
        np.testing.assert_array_equal(spoilt[..., 0], corrupt(SQUARE, name, seed=0))


def test_shift_moves_by_an_eighth_along_a_diagonal_and_fills_with_black() -> None:
    pixels = np.zeros((40, 16, 24), np.uint8)
    pixels[:, 8, 12] = 200
    places = {tuple(map(int, place)) for place in np.argwhere(corrupt(pixels, "shift", seed=0))[:, 1:]}
    assert places == {(6, 9), (6, 15), (10, 9), (10, 15)}
    assert corrupt(np.full((1, 16, 16), 9, np.uint8), "shift", seed=0).min() == 0


def test_brightness_adds_three_tenths_and_cuts_off() -> None:
    spoilt = corrupt(np.array([0, 100, 200], np.uint8).repeat(64).reshape(3, 8, 8), "brightness", seed=0)
    assert spoilt[:, 0, 0].tolist() == pytest.approx([76.5, 176.5, 255], abs=0.5)


def test_noise_is_that_of_counted_photons() -> None:
    spoilt = corrupt(np.full((10, 50, 50), 102, np.uint8), "noise", seed=0) / 255
    # brightness 0.4: mean 0.4, variance 0.4 / 10
    assert spoilt.mean() == pytest.approx(0.4, abs=0.01)
    assert spoilt.var() == pytest.approx(0.04, rel=0.1)
    assert set(np.unique(np.round(10 * spoilt, 1)) % 1) <= {0}


def test_blur_keeps_the_brightness_and_lowers_the_contrast() -> None:
    spoilt = corrupt(SQUARE, "blur", seed=0)
    assert spoilt.mean() == pytest.approx(SQUARE.mean(), rel=0.01)
    # an edge that was one step is half as bright at its middle
    assert 0 < spoilt[0, 14, 8] < 128 < spoilt[0, 14, 9] < 255


def test_occlusion_hides_a_quarter_of_the_sides_within_the_middle() -> None:
    spoilt = corrupt(np.full((50, 16, 24), 255, np.uint8), "occlusion", seed=0)
    assert (spoilt == 0).sum(axis=(1, 2)).tolist() == [4 * 6] * 50
    hidden = np.argwhere(spoilt == 0)[:, 1:]
    assert hidden.min(axis=0).tolist() == [4, 6]
    assert hidden.max(axis=0).tolist() == [11, 17]


@pytest.mark.parametrize("shape", [(28, 28), (8, 8, 1), (32, 32, 3)])
def test_images_are_taken(shape: tuple[int, ...]) -> None:
    assert why_not(shape) == ""


@pytest.mark.parametrize("shape", [(40,), (40, 1), (1, 40), (4, 4, 3), (7, 28), (2, 8, 8, 8)])
def test_signals_and_tables_are_left_alone_with_the_reason(shape: tuple[int, ...]) -> None:
    message = f"samples of shape {shape} are no images: height and width of at least 8 are needed"
    assert why_not(shape) == message
    with pytest.raises(ValueError, match=exactly(message)):
        corrupt(np.zeros((2, *shape), np.float32), "noise", seed=0)


def test_unknown_corruption_is_refused() -> None:
    message = "corruption is 'fog'; allowed: noise, blur, shift, brightness, occlusion"
    with pytest.raises(ValueError, match=exactly(message)):
        corrupt(SQUARE, "fog", seed=0)


def test_black_images_stay_images() -> None:
    black = np.zeros((1, 8, 8), np.float32)
    assert np.isfinite(corrupt(black, "blur", seed=0)).all()
