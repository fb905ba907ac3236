import numpy as np
import pytest
from conftest import exactly

from model_compression.nets import augmentation
from model_compression.nets.augmentation import check_images
from model_compression.nets.keras2 import tf

IMAGES = np.random.default_rng(0).random((70, 8, 8)).astype(np.float32)


def moved(strength: float, seed: int = 0, images: np.ndarray = IMAGES) -> np.ndarray:
    return augmentation.augment(tf.constant(images), strength, tf.constant([seed, 0])).numpy()


def test_strength_0_leaves_images_as_they_are() -> None:
    np.testing.assert_allclose(moved(0), IMAGES, atol=1e-6)


def test_images_move_the_same_way_for_the_same_seed_and_each_in_its_own() -> None:
    equal = np.repeat(IMAGES[:1], 4, axis=0)
    np.testing.assert_array_equal(moved(1, 5), moved(1, 5))
    assert not np.array_equal(moved(1, 5), moved(1, 6))
    assert not np.array_equal(moved(1, 5, equal)[0], moved(1, 5, equal)[1])


def test_grey_images_move_like_those_with_one_channel() -> None:
    np.testing.assert_array_equal(moved(1)[..., None], moved(1, images=IMAGES[..., None]))


def test_images_alone_may_be_moved() -> None:
    check_images(1.0, (8, 8))
    check_images(1.0, (8, 8, 3), "image")
    check_images(0.0, (40,), "signal")
    message = (
        "augment is 1.0 and the data are signals (128, 9); allowed: 0, "
        "since only images (height, width) or (height, width, channels) can be moved"
    )
    with pytest.raises(ValueError, match=exactly(message)):
        check_images(1.0, (128, 9), "signal")
