import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from model_compression.data.dataset import Dataset, scale
from model_compression.data.files import InvalidDataError


def small(name: str = "small", **changes: Any) -> Dataset:
    arrays = {
        "x_train": np.arange(24, dtype=np.uint8).reshape(6, 2, 2),
        "y_train": np.array([0, 1, 0, 1, 0, 1]),
        "x_val": np.zeros((2, 2, 2), np.uint8),
        "y_val": np.array([0, 1]),
        "x_test": np.ones((3, 2, 2), np.uint8),
        "y_test": np.array([0, 1, 1]),
    }
    return Dataset(name=name, classes=2, **{**arrays, **changes})


# Dataset


def test_input_shape_is_one_images() -> None:
    assert small().input_shape == (2, 2)


def test_take_keeps_the_first_training_images_and_the_other_splits() -> None:
    whole = small()
    part = whole.take(4)
    np.testing.assert_array_equal(part.x_train, whole.x_train[:4])
    np.testing.assert_array_equal(part.y_train, [0, 1, 0, 1])
    np.testing.assert_array_equal(part.x_val, whole.x_val)
    np.testing.assert_array_equal(part.x_test, whole.x_test)
    assert part.fingerprint != whole.fingerprint


@pytest.mark.parametrize("count", [None, 6])
def test_take_can_keep_all(count: int | None) -> None:
    assert small().take(count).fingerprint == small().fingerprint


def test_take_one_image_is_allowed() -> None:
    assert len(small().take(1).x_train) == 1


@pytest.mark.parametrize("count", [0, -1, 7, 2.0, True, "3"])
def test_take_names_what_was_given_and_what_is_allowed(count: object) -> None:
    message = f"train_images is {count!r}; allowed: whole numbers from 1 to 6"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        small().take(count)  # type: ignore[arg-type]


def test_fingerprint_ignores_the_name_and_the_memory_layout() -> None:
    backwards = np.asfortranarray(small().x_train)
    assert small("other", x_train=backwards).fingerprint == small().fingerprint


@pytest.mark.parametrize("name", ["x_train", "y_train", "x_val", "y_val", "x_test", "y_test"])
def test_fingerprint_sees_one_changed_value_in_any_array(name: str) -> None:
    changed = getattr(small(), name).copy()
    changed.flat[-1] = 1 - changed.flat[-1] % 2
    changes: dict[str, Any] = {name: changed}
    assert small(**changes).fingerprint != small().fingerprint


def test_fingerprint_sees_shape_and_dtype() -> None:
    zeros = {
        f"x_{split}": np.zeros_like(getattr(small(), f"x_{split}")) for split in ("train", "val", "test")
    }
    flat: dict[str, Any] = {name: array.reshape(len(array), 4) for name, array in zeros.items()}
    # as many zero bytes, in a quarter of the pixels
    floats = {name: np.zeros((len(array), 1), np.float32) for name, array in zeros.items()}
    assert len({small(**arrays).fingerprint for arrays in (zeros, flat, floats)}) == 3


def test_arrays_are_read_only_and_the_arguments_stay_as_they_were() -> None:
    mine = np.arange(24, dtype=np.uint8).reshape(6, 2, 2)
    dataset = small(x_train=mine)
    with pytest.raises(ValueError, match="read-only"):
        dataset.x_train[0] = 0
    assert mine.flags.writeable


# scale


def test_scale_maps_bytes_onto_zero_to_one() -> None:
    every = np.arange(256, dtype=np.uint8)
    scaled = scale(every)
    assert scaled.dtype == np.float32
    assert (scaled[0], scaled[255]) == (0, 1)
    np.testing.assert_array_equal(np.rint(scaled * 255), every)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_scale_leaves_floats_as_they_are(dtype: str) -> None:
    images = np.array([[-3.5, 0.25], [1, 300]], dtype)
    assert scale(images).dtype == np.float32
    np.testing.assert_array_equal(scale(images), images)


def test_scale_refuses_other_integers() -> None:
    with pytest.raises(InvalidDataError, match=r"^images are int64: allowed is uint8 or floats$"):
        scale(np.array([1, 2]))


# Other tasks, several inputs and outputs, kinds


def test_every_input_and_output_is_taken_and_fingerprinted() -> None:
    labels = {"y_train": np.arange(6) % 3, "y_val": np.array([0, 1]), "y_test": np.array([2, 1, 0])}
    whole = small(outputs={"sex": small(), "age": replace(small(), classes=3, **labels)})
    assert whole.fingerprint != small().fingerprint
    assert whole.fingerprint != small(outputs={"sex": small(), "age": small()}).fingerprint
    part = whole.take(2)
    assert part.outputs["age"].y_train.tolist() == [0, 1]
    assert len(part.outputs["sex"].x_train) == 2
    assert len(small(inputs={"left": small()}).take(1).inputs["left"].x_train) == 1


@pytest.mark.parametrize(
    ("kind", "shape", "dtype"),
    [
        ("image", (28, 28), "uint8"),
        ("image", (28, 28), "float32"),
        ("image", (32, 64, 3), "float32"),
        ("image", (10, 200), "uint8"),
        ("signal", (32, 65, 3), "float32"),
        ("signal", (128, 9), "float32"),
        ("signal", (9, 128), "float32"),
        ("signal", (40,), "float32"),
        ("signal", (187, 1), "float32"),
        ("signal", (32,), "uint8"),
        ("table", (31,), "float32"),
        ("table", (4, 4, 4, 4), "uint8"),
    ],
)
def test_kind_follows_from_the_shape(kind: str, shape: tuple[int, ...], dtype: str) -> None:
    assert small(x_train=np.zeros((6, *shape), dtype)).kind == kind


def test_dataset_knows_its_kind() -> None:
    assert small().kind == "image"
