import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model_compression.data import own
from model_compression.data.files import SAVED, InvalidDataError

Write = Callable[..., Path]

ARRAYS = {
    "x_train": np.arange(120, dtype=np.uint8).reshape(6, 4, 5),
    "y_train": np.array([0, 1, 2, 0, 1, 2]),
    "x_test": np.arange(40, dtype=np.uint8).reshape(2, 4, 5),
    "y_test": np.array([0, 2]),
}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write ARRAYS with some of them changed; None leaves one out."""

    def save(**changes: object) -> Path:
        path = tmp_path / "mine.npz"
        arrays = {
            name: np.asarray(array) for name, array in {**ARRAYS, **changes}.items() if array is not None
        }
        np.savez(path, **arrays)
        return path

    return save


def inputs(path: Path) -> dict[str, np.ndarray]:
    return dict(own.read(path, values=False).inputs[""])


# Names


@pytest.mark.parametrize(
    ("x", "y", "split"),
    [
        ("X_{}", "Y_{}", "train"),
        ("{}_images", "{}_labels", "train"),
        ("{}X", "{}Y", "train"),
        ("x{}", "y{}", "Tr"),
        ("{}ing_data", "{}ing_targets", "train"),
        ("{}-features", "{}-labels", "train"),
    ],
)
def test_arrays_under_other_names_are_taken_and_said(write: Write, x: str, y: str, split: str) -> None:
    names = {"x_train": x.format(split), "y_train": y.format(split)}
    changes = {name: None for name in names} | {names[name]: ARRAYS[name] for name in names}
    found = own.read(write(**changes), values=False)
    np.testing.assert_array_equal(found.inputs[""]["x_train"], ARRAYS["x_train"])
    np.testing.assert_array_equal(found.outputs[""].arrays["y_train"], ARRAYS["y_train"])
    assert found.notes == tuple(f"{given} was taken for {name}" for name, given in names.items())


def test_array_under_its_own_name_wins(write: Write) -> None:
    found = own.read(write(X_train=ARRAYS["x_train"] + 1, x_train_old=ARRAYS["x_train"]), values=False)
    np.testing.assert_array_equal(found.inputs[""]["x_train"], ARRAYS["x_train"])
    assert found.notes == ()


def test_two_arrays_for_one_are_refused(write: Write) -> None:
    path = write(x_test=None, test_images=ARRAYS["x_test"], X_test=ARRAYS["x_test"])
    message = f"{path} holds test_images and X_test: allowed is one of them, as x_test"
    with pytest.raises(InvalidDataError, match=f"^{re.escape(message)}$"):
        own.read(path, values=False)


@pytest.mark.parametrize(
    ("changes", "held", "missing"),
    [
        ({"y_train": None, "labels": [1]}, "x_train, x_test, y_test, labels", "y_train"),
        ({"x_val": [1]}, "x_train, y_train, x_test, y_test, x_val", "y_val"),
        (
            {"y_train": None, "y_train_a": [1], "y_train_b": [1]},
            "x_train, x_test, y_test, y_train_a, y_train_b",
            "y_test_a, y_test_b",
        ),
        ({name: None for name in ARRAYS}, "nothing", "x_train, y_train, x_test, y_test"),
    ],
)
def test_missing_arrays_are_named(write: Write, changes: dict[str, object], held: str, missing: str) -> None:
    path = write(**changes)
    message = (
        f"{path} holds {held}: {missing} missing; "
        f"allowed is an .npz file with x_train, y_train, x_test, y_test: {SAVED}"
    )
    with pytest.raises(InvalidDataError, match=f"^{re.escape(message)}$"):
        own.read(path, values=False)


# Inputs


@pytest.mark.parametrize("shape", [(4, 5, 3), (7,), (2, 3, 4, 5)])
def test_bytes_of_any_shape_stay(write: Write, shape: tuple[int, ...]) -> None:
    images = np.ones((6, *shape), np.uint8)
    assert inputs(write(x_train=images, x_test=images[:2]))["x_train"].dtype == np.uint8


def test_floats_become_float32_and_nothing_else(write: Write) -> None:
    floats = {"x_train": ARRAYS["x_train"].astype("float64"), "x_test": ARRAYS["x_test"].astype(">f2")}
    found = own.read(write(**floats), values=False)
    for name, array in floats.items():
        assert found.inputs[""][name].dtype == np.dtype("=f4")
        np.testing.assert_array_equal(found.inputs[""][name], array)
    assert found.notes == ()


def test_whole_numbers_are_pixels_where_they_can_be(write: Write) -> None:
    path = write(x_train=ARRAYS["x_train"].astype(np.int64))
    found = own.read(path, values=False)
    assert found.inputs[""]["x_train"].dtype == np.uint8
    np.testing.assert_array_equal(found.inputs[""]["x_train"], ARRAYS["x_train"])
    assert found.notes == ("x_train is int64 from 0 to 119: taken as pixels, 0 to 255",)


@pytest.mark.parametrize("change", [{"shape": (6, 20), "add": 0}, {"shape": (6, 4, 5), "add": 137}])
def test_whole_numbers_that_are_no_pixels_stay_as_they_are(write: Write, change: dict) -> None:
    train = ARRAYS["x_train"].astype(np.int16).reshape(change["shape"]) + change["add"]
    test = ARRAYS["x_test"].astype(np.int16).reshape(2, *change["shape"][1:])
    found = own.read(write(x_train=train, x_test=test), values=False)
    assert found.inputs[""]["x_train"].dtype == np.float32
    np.testing.assert_array_equal(found.inputs[""]["x_train"], train)
    assert found.notes == (f"x_train is int16 from 0 to {train.max()}: taken as floats of the same size",)


FLOATS = {name: ARRAYS[name].astype("float32") for name in ("x_train", "x_test")}


def spoilt(name: str, value: float) -> dict[str, object]:
    changed = FLOATS[name].astype(float)
    changed[1, 2, 3] = value
    return {**FLOATS, name: changed}


INVALID: dict[str, tuple[dict[str, object], str]] = {
    "nan": (
        spoilt("x_train", np.nan),
        "x_train has 1 NaN or infinite values: allowed are finite float32 numbers; "
        "numpy.nan_to_num(x_train) puts numbers in their place",
    ),
    "beyond float32": (
        spoilt("x_test", 1e300),
        "x_test has 1 NaN or infinite values: allowed are finite float32 numbers",
    ),
    "complex images": (
        {"x_train": ARRAYS["x_train"].astype(complex)},
        "x_train is complex128: allowed is uint8 (0 to 255) or floats, such as numpy.abs of a spectrum",
    ),
    "text": (
        {"x_train": ["good film"] * 6},
        "x_train is <U9: allowed is uint8 (0 to 255) or floats, such as what the model takes for them",
    ),
    "a single number as images": (
        {"x_train": np.uint8(3)},
        "x_train has the shape (): allowed is (images, ...), none of it 0",
    ),
    "numbers in a row": (
        {"x_train": np.zeros(6)},
        "x_train has the shape (6,): allowed is (images, ...), none of it 0; "
        "one number an input is x_train[:, None]",
    ),
    "no images": (
        {"x_test": np.zeros((0, 4, 5), np.uint8)},
        "x_test has the shape (0, 4, 5): allowed is (images, ...), none of it 0",
    ),
    "float and uint8": (
        {"x_test": FLOATS["x_test"]},
        "x_train is uint8 and x_test float32: allowed is uint8 in both or floats in both",
    ),
    "pixels less 128": (
        {name: (ARRAYS[name].astype(int) - 128).astype(np.int8) for name in ("x_train", "x_test")},
        "x_train is int8 from -128 to -9: allowed is uint8 (0 to 255) or floats; pixels become so by "
        "(x_train.astype(int) + 128).astype('uint8'), other numbers by x_train.astype('float32')",
    ),
    "numbers that float32 does not hold": (
        {"x_train": ARRAYS["x_train"].astype(int) + 2**24},
        f"x_train runs from 0 to {2**24 + 119}: allowed are whole numbers up to {2**24}, as float32 holds",
    ),
    "image shapes": (
        {"x_test": ARRAYS["x_test"][:, :, :4]},
        "x_train holds images (4, 5) and x_test (4, 4): allowed is one shape",
    ),
    "lengths": (
        {"y_train": np.arange(5) % 3},
        "x_train has 6 images and y_train 5 labels: allowed is one label an image",
    ),
    "no labels": (
        {"y_test": np.array([], np.int64)},
        "x_test has 2 images and y_test 0 labels: allowed is one label an image",
    ),
    "one label": (
        {"y_test": np.int64(0)},
        "x_test has 2 images and y_test no labels: allowed is one label an image",
    ),
    "answers": ({"y_train": [0, 0, 0, 1, 1, 2]}, "y_train has one image of class 2: allowed are two or more"),
}


@pytest.mark.parametrize("case", INVALID)
def test_inputs_that_cannot_be_used_say_why_and_what_to_do(write: Write, case: str) -> None:
    changes, message = INVALID[case]
    path = write(**changes)
    with pytest.raises(InvalidDataError, match=f"^{re.escape(f'{path}: {message}')}"):
        own.read(path, values=False)
