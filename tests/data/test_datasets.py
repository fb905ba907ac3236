import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_compression.data import datasets, sources
from model_compression.data.datasets import Dataset, InvalidDataError, load_dataset, stratified_order

DATA_DIR = Path(__file__).parents[2] / "data"
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
    dataset = sources.NamedDataset(title="Tiny", md5={}, sources={"a table": lambda: arrays})
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
    message = f"validation_images is {count}; allowed: whole numbers from 2 to 20"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        load_dataset(named, data_dir=tmp_path, validation_images=count)


@pytest.mark.parametrize("count", [2.5, "5", True, None, 0])
def test_validation_that_is_no_whole_number_is_refused(named: str, tmp_path: Path, count: object) -> None:
    with pytest.raises(ValueError, match=r"^validation_images is .*; allowed: whole numbers from 1$"):
        load_dataset(named, data_dir=tmp_path, validation_images=count)  # type: ignore[arg-type]


def test_unknown_name_lists_the_known_ones() -> None:
    message = (
        "dataset is 'cifar': allowed are 'mnist', 'fashion_mnist', 'mnist1d', each with '_rotated' too, "
        "or the path of an .npz file"
    )
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


# Other test images


def test_rotated_test_images_come_from_the_training_images_and_none_is_lost(
    named: str, tmp_path: Path
) -> None:
    rotated = load_dataset(f"{named}_rotated", data_dir=tmp_path, validation_images=10)
    assert (rotated.name, len(rotated.x_test), len(rotated.x_val), len(rotated.x_train)) == (
        *("tiny_rotated", 10, 10, 30),
    )
    # here the old test images are the training images 30 to 39 once more
    together = np.concatenate([rotated.x_train, rotated.x_val, rotated.x_test]).ravel()
    np.testing.assert_array_equal(np.sort(together), np.sort([*range(40), *range(30, 40)]))
    np.testing.assert_array_equal(rotated.y_test, rotated.x_test.ravel() >= 36)


def test_rotated_mnist_tests_on_training_images_alone(mnist: Dataset) -> None:
    rotated = load_dataset("mnist_rotated", data_dir=DATA_DIR)
    assert (len(rotated.x_train), len(rotated.x_val), len(rotated.x_test)) == (55_000, 5_000, 10_000)
    learned, chosen, tested = (
        {image.tobytes() for image in x} for x in (rotated.x_train, rotated.x_val, rotated.x_test)
    )
    assert not tested & (learned | chosen)
    assert {image.tobytes() for image in mnist.x_test} <= learned | chosen
    # Written down once: another stream would be another test set.
    assert rotated.y_test[:10].tolist() == [1, 3, 1, 1, 3, 4, 9, 4, 1, 4]


# load_dataset, a user's own


def test_user_test_images_are_halved_to_choose_by_and_said(save: Save) -> None:
    arrays = user_arrays(per_class=200)
    arrays |= {"x_test": arrays["x_train"][:500], "y_test": arrays["y_train"][:500]}
    dataset = load_dataset(save(arrays))
    assert (dataset.name, dataset.task, dataset.classes, dataset.input_shape) == (
        "mine",
        "classes",
        3,
        (4, 5),
    )
    assert np.bincount(dataset.y_val).tolist() == [100, 100, 50]
    assert np.bincount(dataset.y_test).tolist() == [100, 100, 50]
    assert len(dataset.x_train) == 600
    np.testing.assert_array_equal(
        np.sort(np.concatenate([dataset.x_val, dataset.x_test])[:, 0, 0]), np.sort(arrays["x_test"][:, 0, 0])
    )
    assert dataset.notes == ("250 of the 500 test images choose the form, the other 250 test it",)
    assert dataset.warnings == ()


def test_user_validation_images_are_taken_where_there_are_some(save: Save) -> None:
    arrays = user_arrays()
    dataset = load_dataset(save(x_valid=arrays["x_train"][::2], y_valid=arrays["y_train"][::2]))
    assert np.bincount(dataset.y_val).tolist() == [10, 10, 10]
    np.testing.assert_array_equal(dataset.x_test, arrays["x_test"])
    assert dataset.notes == ("x_valid was taken for x_val", "y_valid was taken for y_val")


def test_few_validation_images_are_a_warning(save: Save) -> None:
    (said,) = load_dataset(save()).warnings
    assert said == (
        "only 4 validation images choose the form, each with 25.0 % of the vote: "
        "more of them, as x_val and y_val, choose better"
    )


def test_user_file_sorted_by_class_still_gives_every_class_to_take(save: Save) -> None:
    assert set(load_dataset(save()).take(3).y_train) == {0, 1, 2}


def test_user_validation_is_capped(save: Save) -> None:
    assert len(load_dataset(str(save()), validation_images=3).x_val) == 3


def test_classes_may_be_missing_from_the_test_images(save: Save) -> None:
    arrays = user_arrays()
    assert load_dataset(save(x_test=arrays["x_test"][:2], y_test=arrays["y_test"][:2])).classes == 3


def test_one_test_image_cannot_be_halved(save: Save) -> None:
    arrays = user_arrays()
    path = save(x_test=arrays["x_test"][:1], y_test=arrays["y_test"][:1])
    message = (
        f"{path}: x_test has one image: allowed are two or more, some of them to choose by, "
        "or x_val and y_val beside it"
    )
    with pytest.raises(InvalidDataError, match=f"^{re.escape(message)}$"):
        load_dataset(path)


def test_several_outputs_share_inputs_and_splits(save: Save) -> None:
    arrays = user_arrays()
    named = {f"y_{split}_{part}": arrays[f"y_{split}"] for split in ("train", "test") for part in ("a", "b")}
    named |= {name: array * np.float32(0.5) for name, array in named.items() if name.endswith("b")}
    dataset = load_dataset(save(y_train=None, y_test=None, **named))
    assert [(name, part.task) for name, part in dataset.outputs.items()] == [
        ("a", "classes"),
        ("b", "values"),
    ]
    for split in ("train", "val", "test"):
        one, other = (getattr(dataset.outputs[part], f"y_{split}") for part in "ab")
        np.testing.assert_array_equal(one[:, None] * 0.5, other)
        np.testing.assert_array_equal(getattr(dataset, f"y_{split}"), one)
    assert dataset.outputs["a"].x_val.base is dataset.outputs["b"].x_val.base


def test_several_inputs_share_answers_and_splits(save: Save) -> None:
    arrays = user_arrays()
    named = {f"x_{split}_left": arrays[f"x_{split}"] for split in ("train", "test")}
    named |= {
        f"x_{split}_right": arrays[f"x_{split}"][:, 0, :2] / np.float32(2) for split in ("train", "test")
    }
    dataset = load_dataset(save(x_train=None, x_test=None, **named))
    assert {name: part.input_shape for name, part in dataset.inputs.items()} == {
        "left": (4, 5),
        "right": (2,),
    }
    np.testing.assert_array_equal(dataset.inputs["left"].x_val[:, 0, :2] / 2, dataset.inputs["right"].x_val)
    assert dataset.outputs == {}


def test_every_error_class_can_be_caught_as_its_python_kind() -> None:
    assert issubclass(datasets.InvalidDataError, ValueError)
    assert issubclass(sources.DataUnavailableError, RuntimeError)
