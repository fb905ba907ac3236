import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_compression.data import datasets, sources
from model_compression.data.datasets import Dataset, InvalidDataError, load_dataset, scale, stratified_order

Save = Callable[..., Path]


def user_arrays(per_class: int = 20, classes: int = 3, dtype: str = "uint8") -> dict[str, np.ndarray]:
    """Images whose every pixel is their index, sorted by class."""
    n = per_class * classes
    images = np.arange(n).reshape(n, 1, 1).repeat(4, axis=1).repeat(5, axis=2).astype(dtype)
    labels = np.arange(classes).repeat(per_class)
    return {"x_train": images, "y_train": labels, "x_test": images[::7], "y_test": labels[::7]}


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write user_arrays with some of them changed; None leaves one out."""

    def write(arrays: dict[str, np.ndarray] | None = None, /, **changes: np.ndarray | None) -> Path:
        path = tmp_path / "mine.npz"
        chosen: dict[str, Any] = {**(arrays or user_arrays()), **changes}
        np.savez(path, **{name: array for name, array in chosen.items() if array is not None})
        return path

    return write


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
    message = f"train_images is {count!r}: allowed are 1 to 6, or None for all 6"
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"x_val": np.zeros((2, 2, 3), np.uint8)},
            "x_val holds uint8 images (2, 3): allowed is x_train's uint8 (2, 2)",
        ),
        (
            {"x_test": np.zeros((3, 2, 2), np.float32)},
            "x_test holds float32 images (2, 2): allowed is x_train's uint8 (2, 2)",
        ),
        (
            {"x_train": np.zeros((6, 2, 2))},
            "x_train is float64 (6, 2, 2): allowed is uint8 or float32, images first",
        ),
        ({"y_test": np.array([0, 1])}, "y_test is int64 (2,): allowed is int64 (3,)"),
        ({"y_val": np.array([0, 1], np.uint8)}, "y_val is uint8 (2,): allowed is int64 (2,)"),
    ],
)
def test_splits_that_do_not_fit_each_other_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidDataError, match=f"^{re.escape(message)}$"):
        small(**changes)


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


# stratified_order


def test_order_holds_every_index_once() -> None:
    labels = np.random.RandomState(0).randint(0, 7, 1000)
    np.testing.assert_array_equal(np.sort(stratified_order(labels, seed=0)), np.arange(1000))


def test_every_head_of_the_order_holds_the_classes_in_proportion() -> None:
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    ordered = labels[stratified_order(labels, seed=3)]
    for length in range(1, 1001):
        counts = np.bincount(ordered[:length], minlength=3)
        assert np.abs(counts - length * np.array([0.6, 0.3, 0.1])).max() < 2
    assert set(ordered[:3]) == {0, 1, 2}


def test_order_is_shuffled_within_a_class() -> None:
    order = stratified_order(np.zeros(100, np.int64), seed=1)
    assert np.count_nonzero(order == np.arange(100)) < 10


def test_order_follows_the_seed_and_zero_is_a_seed() -> None:
    labels = np.arange(100) % 10
    orders = [tuple(stratified_order(labels, seed=seed)) for seed in (0, 0, 1)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_order_sorts_by_place_within_the_class_then_by_draw() -> None:
    labels = [2, 0, 1, 0, 2, 0, 2, 2, 1, 0, 0, 2]
    draws = [int(draw) for draw in np.random.PCG64(5).random_raw(len(labels))]
    place: dict[int, float] = {}
    for label in set(labels):
        members = sorted((i for i, own in enumerate(labels) if own == label), key=lambda i: draws[i])
        place |= {i: rank / len(members) for rank, i in enumerate(members)}
    expected = sorted(range(len(labels)), key=lambda i: (place[i], draws[i]))
    assert stratified_order(np.array(labels), seed=5).tolist() == expected


def test_order_is_the_same_on_every_machine() -> None:
    # Written down once: a NumPy that changed its bit generator would change every study's split.
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
    assert stratified_order(labels, seed=20).tolist() == [5, 6, 2, 0, 9, 4, 1, 8, 3, 7]


# load_dataset, named


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A named dataset of 40 training images, four of them of class 1."""
    labels = np.array([0] * 36 + [1] * 4, np.uint8)
    images = np.arange(40, dtype=np.uint8).reshape(40, 1, 1)
    arrays = {"x_train": images, "y_train": labels, "x_test": images[30:], "y_test": labels[30:]}
    source = sources.Source(title="a table", fetch=lambda: arrays)
    dataset = sources.NamedDataset(title="Tiny", variable="TINY_NPZ", md5={}, sources=(source,))
    monkeypatch.setitem(sources.NAMED, "tiny", dataset)
    return "tiny"


def test_named_dataset_is_split_with_labels_as_int64(named: str, tmp_path: Path) -> None:
    dataset = load_dataset(named, data_dir=tmp_path, validation_images=10)
    assert (dataset.name, dataset.classes, dataset.input_shape) == ("tiny", 2, (1, 1))
    assert np.bincount(dataset.y_val).tolist() == [9, 1]
    assert dataset.y_test.dtype == dataset.y_val.dtype == dataset.y_train.dtype == np.int64
    together = np.concatenate([dataset.x_train, dataset.x_val]).ravel()
    np.testing.assert_array_equal(np.sort(together), np.arange(40))
    for x, y in ((dataset.x_train, dataset.y_train), (dataset.x_val, dataset.y_val)):
        np.testing.assert_array_equal(y, x.ravel() >= 36)


def test_split_is_the_same_every_time(named: str, tmp_path: Path) -> None:
    first, second = (load_dataset(named, data_dir=tmp_path, validation_images=10) for _ in range(2))
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize("count", [2, 20])
def test_validation_leaves_every_class_on_both_sides_at_the_bounds(
    named: str, tmp_path: Path, count: int
) -> None:
    dataset = load_dataset(named, data_dir=tmp_path, validation_images=count)
    assert len(dataset.x_val) == count
    assert set(dataset.y_val) == set(dataset.y_train) == {0, 1}


@pytest.mark.parametrize("count", [1, 21])
def test_validation_beyond_the_bounds_names_them(named: str, tmp_path: Path, count: int) -> None:
    message = (
        f"validation_images is {count}: allowed are 2 (one of each class) to 20 (half of the training images)"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        load_dataset(named, data_dir=tmp_path, validation_images=count)


@pytest.mark.parametrize("count", [2.5, "5", True, None])
def test_validation_that_is_no_whole_number_is_refused(named: str, tmp_path: Path, count: object) -> None:
    with pytest.raises(ValueError, match=r"^validation_images is .*: allowed are whole numbers$"):
        load_dataset(named, data_dir=tmp_path, validation_images=count)  # type: ignore[arg-type]


def test_progress_hears_of_each_source_once_and_not_of_the_cache(named: str, tmp_path: Path) -> None:
    heard: list[str] = []
    for _ in range(2):
        load_dataset(named, data_dir=tmp_path, validation_images=10, progress=heard.append)
    assert heard == ["Tiny: a table"]


def test_unknown_name_lists_the_known_ones() -> None:
    message = "dataset is 'cifar': allowed are 'mnist', 'fashion_mnist' or the path of an .npz file"
    with pytest.raises(InvalidDataError, match=f"^{re.escape(message)}$"):
        load_dataset("cifar")


def test_mnist_is_whole_and_split_in_proportion(mnist: Dataset) -> None:
    canonical = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    train, val = np.bincount(mnist.y_train), np.bincount(mnist.y_val)
    assert (len(mnist.x_train), len(mnist.x_val), len(mnist.x_test)) == (55000, 5000, 10000)
    assert (mnist.input_shape, mnist.classes, mnist.x_train.dtype) == ((28, 28), 10, np.uint8)
    assert (train + val).tolist() == canonical
    assert np.abs(val - np.array(canonical) / 12).max() < 1
    assert mnist.y_test[:5].tolist() == [7, 2, 1, 0, 4]


def test_mnist_validation_shares_no_image_with_training(mnist: Dataset) -> None:
    train = {image.tobytes() for image in mnist.x_train}
    assert not any(image.tobytes() in train for image in mnist.x_val)


# load_dataset, a user's own


def test_user_file_keeps_a_tenth_for_validation(save: Save) -> None:
    dataset = load_dataset(save(user_arrays(per_class=30)))
    assert (dataset.name, dataset.classes, dataset.input_shape) == ("mine", 3, (4, 5))
    assert np.bincount(dataset.y_val).tolist() == [3, 3, 3]
    np.testing.assert_array_equal(dataset.y_train, dataset.x_train[:, 0, 0] // 30)
    np.testing.assert_array_equal(dataset.x_test, user_arrays(per_class=30)["x_test"])


def test_user_file_sorted_by_class_still_gives_every_class_to_take(save: Save) -> None:
    assert set(load_dataset(save()).take(3).y_train) == {0, 1, 2}


def test_user_validation_is_capped(save: Save) -> None:
    assert len(load_dataset(str(save()), validation_images=4).x_val) == 4


def test_two_images_a_class_are_enough(save: Save) -> None:
    dataset = load_dataset(save(user_arrays(per_class=2)))
    assert sorted(dataset.y_val) == sorted(dataset.y_train) == [0, 1, 2]


def test_colour_images_and_any_other_shape_are_taken(save: Save) -> None:
    for shape in [(4, 5, 3), (7,), (2, 3, 4, 5)]:
        images = np.ones((60, *shape), np.uint8)
        assert load_dataset(save(x_train=images, x_test=images[::7])).input_shape == shape


def test_floats_become_float32_and_nothing_else(save: Save) -> None:
    arrays = user_arrays(dtype="float64")
    dataset = load_dataset(save(arrays, x_test=arrays["x_test"].astype(">f2")))
    assert dataset.x_train.dtype == dataset.x_test.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(dataset.x_test, arrays["x_test"])


@pytest.mark.parametrize("dtype", ["uint8", "bool", "float32", "int64"])
def test_one_hot_labels_are_turned_into_numbers(save: Save, dtype: str) -> None:
    arrays = user_arrays()
    one_hot = {name: np.eye(3, dtype=dtype)[arrays[name]] for name in ("y_train", "y_test")}
    assert load_dataset(save(**one_hot)).fingerprint == load_dataset(save()).fingerprint


@pytest.mark.parametrize("dtype", ["uint8", "int32", "uint64", ">i2"])
def test_label_columns_of_any_integer_type_are_taken(save: Save, dtype: str) -> None:
    arrays = user_arrays()
    columns = {name: arrays[name].astype(dtype)[:, None] for name in ("y_train", "y_test")}
    assert load_dataset(save(**columns)).fingerprint == load_dataset(save()).fingerprint


def test_classes_may_be_missing_from_the_test_images(save: Save) -> None:
    arrays = user_arrays()
    assert load_dataset(save(x_test=arrays["x_test"][:1], y_test=arrays["y_test"][:1])).classes == 3


def with_value(name: str, index: Any, value: Any, dtype: str | None = None) -> dict[str, np.ndarray]:
    changed = user_arrays()[name].astype(dtype or user_arrays()[name].dtype)
    changed[index] = value
    return {name: changed}


FLOATS = user_arrays(dtype="float32")
INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "nan": (
        {**FLOATS, **with_value("x_train", (3, 2, 1), np.nan, "float32")},
        "x_train has 1 NaN or infinite values: allowed are finite float32 numbers",
    ),
    "infinite": (
        {**FLOATS, **with_value("x_test", 0, np.inf, "float32")},
        "x_test has 20 NaN or infinite values: allowed are finite float32 numbers",
    ),
    "beyond float32": (
        {**FLOATS, **with_value("x_train", (0, 0, 0), 1e300, "float64")},
        "x_train has 1 NaN or infinite values: allowed are finite float32 numbers",
    ),
    "images of another integer type": (
        {"x_train": user_arrays()["x_train"].astype(np.int32)},
        "x_train is int32: allowed is uint8 (0 to 255) or floats",
    ),
    "complex images": (
        {"x_train": user_arrays()["x_train"].astype(complex)},
        "x_train is complex128: allowed is uint8 (0 to 255) or floats",
    ),
    "a single number as images": (
        {"x_train": np.uint8(3)},
        "x_train has the shape (): allowed is (images, ...), none of it 0",
    ),
    "no images": (
        {"x_test": np.zeros((0, 4, 5), np.uint8)},
        "x_test has the shape (0, 4, 5): allowed is (images, ...), none of it 0",
    ),
    "float and uint8": (
        {"x_test": FLOATS["x_test"]},
        "x_train is uint8 and x_test float32: allowed is uint8 in both or floats in both",
    ),
    "image shapes": (
        {"x_test": user_arrays()["x_test"][:, :, :4]},
        "x_train holds images (4, 5) and x_test (4, 4): allowed is one shape",
    ),
    "lengths": (
        {"y_train": np.arange(59) % 3},
        "x_train has 60 images and y_train 59 labels: allowed is one label an image",
    ),
    "no labels": (
        {"y_test": np.array([], np.int64)},
        "x_test has 9 images and y_test 0 labels: allowed is one label an image",
    ),
    "labels with fractions": (
        with_value("y_train", 0, 0.5, "float64"),
        "y_train is float64 (60,): allowed are ints (n,) or (n, 1), or one-hot rows",
    ),
    "labels as text": (
        {"y_test": np.array(["cat"] * 9)},
        "y_test is <U3 (9,): allowed are ints (n,) or (n, 1), or one-hot rows",
    ),
    "no labels but a table without columns": (
        {"y_train": np.zeros((60, 0), np.int64)},
        "y_train is int64 (60, 0): allowed are ints (n,) or (n, 1), or one-hot rows",
    ),
    "negative label": (
        with_value("y_train", 0, -1),
        "y_train runs from -1 to 2: allowed are labels from 0",
    ),
    "label beyond int64": (
        with_value("y_train", 0, 2**64 - 1, "uint64"),
        f"y_train runs from 0 to {2**64 - 1}: allowed are labels from 0",
    ),
    "empty class": (
        {"y_train": np.repeat([0, 3], 30)},
        "y_train has labels up to 3 but only 2 of the 4 classes, none of class 1: "
        "allowed is every class from 0",
    ),
    "empty class 0": (
        {"y_train": np.repeat([1, 2], 30)},
        "y_train has labels up to 2 but only 2 of the 3 classes, none of class 0: "
        "allowed is every class from 0",
    ),
    "stray label": (
        with_value("y_train", 0, 2**62),
        f"y_train has labels up to {2**62} but only 4 of the {2**62 + 1} classes, none of class 3: "
        "allowed is every class from 0",
    ),
    "empty last class": (
        {"y_train": np.eye(4)[user_arrays()["y_train"]]},
        "y_train has labels up to 3 but only 3 of the 4 classes, none of class 3: "
        "allowed is every class from 0",
    ),
    "test label out of range": (
        with_value("y_test", 0, 3),
        "y_test has labels up to 3: allowed are those of y_train, 0 to 2",
    ),
    "one-hot of other widths": (
        {"y_test": np.eye(4)[user_arrays()["y_test"]]},
        "y_test is one-hot for 4 classes: allowed are y_train's 3",
    ),
    "soft labels": (
        {"y_train": np.full((60, 3), 1 / 3)},
        "y_train (60, 3) is not one-hot: allowed is a single 1 in each row",
    ),
    "two labels an image": (
        {"y_train": np.ones((60, 2), np.int64)},
        "y_train (60, 2) is not one-hot: allowed is a single 1 in each row",
    ),
    "one class": (
        {"y_train": np.zeros(60, np.int64), "y_test": np.zeros(9, np.int64)},
        "y_train holds one class: allowed are two or more",
    ),
    "one image of a class": (
        {"y_train": np.array([0] * 30 + [1] + [2] * 29)},
        "y_train has one image of class 1: allowed are two or more of each class, "
        "for training and for validation",
    ),
    "one sample": (
        {name: array[:1] for name, array in user_arrays().items()},
        "y_train holds one class: allowed are two or more",
    ),
}


@pytest.mark.parametrize("case", INVALID)
def test_user_data_that_cannot_be_used_say_why(save: Save, case: str) -> None:
    changes, message = INVALID[case]
    path = save(**changes)
    with pytest.raises(InvalidDataError, match=f"^{re.escape(f'{path}: {message}')}$"):
        load_dataset(path)


def test_every_error_class_can_be_caught_as_its_python_kind() -> None:
    assert issubclass(datasets.InvalidDataError, ValueError)
    assert issubclass(datasets.DataUnavailableError, RuntimeError)
