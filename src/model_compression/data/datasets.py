"""Images and labels in three splits; nothing else knows where data come from."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from .sources import (
    NAMED,
    Arrays,
    DataUnavailableError,
    DataWarning,
    InvalidDataError,
    Progress,
    fetch,
    read_npz,
)

__all__ = [
    "DataUnavailableError",
    "DataWarning",
    "Dataset",
    "InvalidDataError",
    "load_dataset",
    "scale",
    "stratified_order",
]

# One split for every study, so that records made with different training seeds stay comparable.
SPLIT_SEED = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Three splits of labelled images, read-only.

    Images are uint8 (n, h, w) or (n, h, w, c), or float32 (n, ...) for a user's own data; labels are int64
    (n,), from 0 to classes - 1.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int

    def __post_init__(self) -> None:
        for split in ("train", "val", "test"):
            x, y = getattr(self, f"x_{split}"), getattr(self, f"y_{split}")
            if x.dtype not in (np.uint8, np.float32) or x.ndim < 2:
                raise InvalidDataError(
                    f"x_{split} is {x.dtype} {x.shape}: allowed is uint8 or float32, images first"
                )
            if y.dtype != np.int64 or y.shape != x.shape[:1]:
                raise InvalidDataError(f"y_{split} is {y.dtype} {y.shape}: allowed is int64 {x.shape[:1]}")
            if x.shape[1:] != self.input_shape or x.dtype != self.x_train.dtype:
                raise InvalidDataError(
                    f"x_{split} holds {x.dtype} images {x.shape[1:]}: "
                    f"allowed is x_train's {self.x_train.dtype} {self.input_shape}"
                )
        for name in self._array_names():
            # The fingerprint is worked out once, so what it vouches for must not change.
            view = np.ascontiguousarray(getattr(self, name)).view()
            view.setflags(write=False)
            object.__setattr__(self, name, view)

    @staticmethod
    def _array_names() -> Iterator[str]:
        return (f"{kind}_{split}" for split in ("train", "val", "test") for kind in "xy")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of every array's dtype, shape and bytes; the dataset's name plays no part."""
        digest = hashlib.sha256()
        for name in self._array_names():
            array = getattr(self, name)
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(array.data)
        return digest.hexdigest()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """One image's shape."""
        return self.x_train.shape[1:]

    def take(self, train_images: int | None) -> "Dataset":
        """The same dataset with only its first training images; validation and test stay whole.

        Training images come in stratified order, so that a few of them hold every class.

        Args:
            train_images: how many, from 1 to all there are; None = all.
        Raises:
            ValueError: fewer than 1, more than there are, or no whole number.
        """
        if train_images is None:
            return self
        available = len(self.x_train)
        if not _is_whole(train_images) or not 1 <= train_images <= available:
            raise ValueError(
                f"train_images is {train_images!r}: allowed are 1 to {available}, or None for all {available}"
            )
        return replace(self, x_train=self.x_train[:train_images], y_train=self.y_train[:train_images])


def scale(images: np.ndarray) -> np.ndarray:
    """Images as a net takes them: uint8 divided by 255, into [0, 1]; floats unchanged.

    Args:
        images: uint8 or floats, any shape.
    Returns:
        float32 shaped like `images`.
    Raises:
        InvalidDataError: another dtype.
    """
    if images.dtype == np.uint8:
        return np.divide(images, 255, dtype=np.float32)
    if images.dtype.kind != "f":
        raise InvalidDataError(f"images are {images.dtype}: allowed is uint8 or floats")
    return images.astype(np.float32, copy=False)


def load_dataset(
    name: str | Path,
    *,
    data_dir: str | Path = "data",
    validation_images: int = 5000,
    progress: Progress | None = None,
) -> Dataset:
    """A named dataset, or a user's own.

    The training images are put into one stratified order, drawn from a fixed seed (see stratified_order): its
    head is held out for validation, the rest stays in that order for training. So both parts hold every class
    in proportion, and the same arguments give the same split on every machine and NumPy version.

    Args:
        name: "mnist", "fashion_mnist" or the path of an .npz file with x_train, y_train, x_test, y_test:
            images uint8 or floats of one shape; labels whole numbers from 0, (n,), (n, 1) or one-hot.
        data_dir: folder in which named datasets are cached.
        validation_images: how many to hold out of a named dataset; of a user's file it is a tenth of the
            training images (but one of each class at least), and at most this many.
        progress: told of each source that is tried while a named dataset is fetched for the first time;
            None shows a bar if there is a terminal to show it on.
    Raises:
        DataUnavailableError: no source of a named dataset worked.
        InvalidDataError: the user's file cannot be used; the message says why and what is allowed.
        ValueError: validation_images leaves a class without images on either side.
    """
    if not _is_whole(validation_images):
        raise ValueError(f"validation_images is {validation_images!r}: allowed are whole numbers")
    if str(name) in NAMED:
        return _split(str(name), fetch(str(name), data_dir, progress=progress), validation_images)
    path = Path(name).expanduser()
    if not path.exists():
        named = ", ".join(repr(known) for known in NAMED)
        raise InvalidDataError(f"dataset is {str(name)!r}: allowed are {named} or the path of an .npz file")
    arrays = read_npz(path)
    try:
        checked = _checked(arrays)
    except InvalidDataError as error:
        raise InvalidDataError(f"{path}: {error}") from None
    tenth = max(len(checked["y_train"]) // 10, int(checked["y_train"].max()) + 1)
    return _split(path.stem, checked, min(validation_images, tenth))


def stratified_order(labels: np.ndarray, *, seed: int) -> np.ndarray:
    """A shuffled order in which every head holds the classes in proportion.

    Each class is shuffled and spread evenly over the whole; the first images are one of each class.

    Args:
        labels: ints (n,).
        seed: any int from 0.
    Returns:
        Indices (n,), each once.
    """
    # The bit generator's raw stream, and not Generator.permutation: only the raw stream is promised to stay
    # the same from one NumPy version to the next.
    draws = np.random.PCG64(seed).random_raw(len(labels))
    shuffled = np.lexsort((draws, labels))
    _, starts, counts = np.unique(labels[shuffled], return_index=True, return_counts=True)
    place = np.empty(len(labels))
    place[shuffled] = (np.arange(len(labels)) - np.repeat(starts, counts)) / np.repeat(counts, counts)
    return np.lexsort((draws, place))


def _split(name: str, arrays: Arrays, validation_images: int) -> Dataset:
    labels = arrays["y_train"].astype(np.int64)
    classes, available = int(labels.max()) + 1, len(labels)
    # Up to one half, the order above leaves an image of each class (two or more) on both sides.
    if not classes <= validation_images <= available // 2:
        raise ValueError(
            f"validation_images is {validation_images!r}: allowed are {classes} (one of each class) "
            f"to {available // 2} (half of the training images)"
        )
    order = stratified_order(labels, seed=SPLIT_SEED)
    held_out, kept = order[:validation_images], order[validation_images:]
    return Dataset(
        name=name,
        x_train=arrays["x_train"][kept],
        y_train=labels[kept],
        x_val=arrays["x_train"][held_out],
        y_val=labels[held_out],
        x_test=arrays["x_test"],
        y_test=arrays["y_test"].astype(np.int64),
        classes=classes,
    )


def _is_whole(number: object) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


# Checks of a user's own data


def _checked(arrays: Arrays) -> dict[str, np.ndarray]:
    """The four arrays as uint8 or float32 images and int64 labels, or InvalidDataError."""
    x_train, x_test = (_checked_images(name, arrays[name]) for name in ("x_train", "x_test"))
    y_train, width = _checked_labels("y_train", arrays["y_train"])
    y_test, test_width = _checked_labels("y_test", arrays["y_test"])
    for split, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        if len(x) != len(y):
            raise InvalidDataError(
                f"x_{split} has {len(x)} images and y_{split} {len(y)} labels: allowed is one label an image"
            )
    if x_train.dtype != x_test.dtype:
        raise InvalidDataError(
            f"x_train is {arrays['x_train'].dtype} and x_test {arrays['x_test'].dtype}: "
            "allowed is uint8 in both or floats in both"
        )
    if x_train.shape[1:] != x_test.shape[1:]:
        raise InvalidDataError(
            f"x_train holds images {x_train.shape[1:]} and x_test {x_test.shape[1:]}: allowed is one shape"
        )
    _check_classes(y_train, y_test, width or int(y_train.max()) + 1, test_width)
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def _checked_images(name: str, images: np.ndarray) -> np.ndarray:
    if images.ndim < 2 or 0 in images.shape:
        raise InvalidDataError(f"{name} has the shape {images.shape}: allowed is (images, ...), none of it 0")
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise InvalidDataError(f"{name} is {images.dtype}: allowed is uint8 (0 to 255) or floats")
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which the next line finds
        floats = images.astype(np.float32)
    wrong = floats.size - np.count_nonzero(np.isfinite(floats))
    if wrong:
        raise InvalidDataError(
            f"{name} has {wrong} NaN or infinite values: allowed are finite float32 numbers"
        )
    return floats


def _checked_labels(name: str, labels: np.ndarray) -> tuple[np.ndarray, int | None]:
    """int64 (n,), and the number of classes where one-hot rows tell it."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.size and labels.dtype.kind in "biuf":
        if not (((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all()):
            raise InvalidDataError(f"{name} {labels.shape} is not one-hot: allowed is a single 1 in each row")
        return labels.argmax(axis=1), labels.shape[1]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InvalidDataError(
            f"{name} is {labels.dtype} {labels.shape}: allowed are ints (n,) or (n, 1), or one-hot rows"
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < np.iinfo(np.int64).max:
        raise InvalidDataError(
            f"{name} runs from {labels.min()} to {labels.max()}: allowed are labels from 0"
        )
    return labels.astype(np.int64), None


def _check_classes(y_train: np.ndarray, y_test: np.ndarray, classes: int, test_width: int | None) -> None:
    if classes < 2:
        raise InvalidDataError("y_train holds one class: allowed are two or more")
    if test_width not in (None, classes):
        raise InvalidDataError(f"y_test is one-hot for {test_width} classes: allowed are y_train's {classes}")
    if y_test.max() >= classes:
        raise InvalidDataError(
            f"y_test has labels up to {y_test.max()}: allowed are those of y_train, 0 to {classes - 1}"
        )
    present, counts = np.unique(y_train, return_counts=True)
    if len(present) < classes:
        # Found without a list of all classes: one stray label can be as large as 2**62.
        gaps = np.flatnonzero(present != np.arange(len(present)))
        gap = gaps[0] if len(gaps) else len(present)
        raise InvalidDataError(
            f"y_train has labels up to {classes - 1} but only {len(present)} of the {classes} classes, "
            f"none of class {gap}: allowed is every class from 0"
        )
    if counts.min() < 2:
        raise InvalidDataError(
            f"y_train has one image of class {present[counts.argmin()]}: "
            "allowed are two or more of each class, for training and for validation"
        )
