"""One dataset: inputs, what is asked of them, and what kind of data they are."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np

from ..checks import check_whole
from .answers import Task
from .files import InvalidDataError

Kind: TypeAlias = Literal["image", "signal", "table"]

#: From so many numbers in a row on, a curve shows more than bars.
SIGNAL_LENGTH = 32
_ARRAYS = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test")


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Three splits of inputs and of what is asked of them, read-only.

    Attributes:
        x_train, x_val, x_test: uint8 (n, h, w) or (n, h, w, c), or float32 (n, ...).
        y_train, y_val, y_test: int64 (n,), from 0 to classes - 1; for the task "multilabel" int64
            (n, classes) of 0 and 1, for "values" float32 (n, ...).
        classes: how many scores or values a net gives.
        task: "binary" where there are two classes, for which a net may give one score or two.
        notes, warnings: how the data were read, and what is to be minded, a sentence each.
        inputs, outputs: by name the same dataset with each input, or each answer, in turn; empty where
            there is one. x_train and y_train are the first's.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int
    task: Task = "classes"
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    inputs: Mapping[str, "Dataset"] = field(default_factory=dict)
    outputs: Mapping[str, "Dataset"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in _ARRAYS:
            # The fingerprint is worked out once, so what it vouches for must not change.
            view = np.ascontiguousarray(getattr(self, name)).view()
            view.setflags(write=False)
            object.__setattr__(self, name, view)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of every array's dtype, shape and bytes; the dataset's name plays no part."""
        digest = hashlib.sha256()
        for name in _ARRAYS:
            array = getattr(self, name)
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(array.data)
        for name, part in (*self.inputs.items(), *self.outputs.items()):
            digest.update(f"{name} {part.fingerprint}\n".encode())
        return digest.hexdigest()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """One input's shape."""
        return self.x_train.shape[1:]

    @property
    def of_values(self) -> bool:
        """Whether numbers are asked for, and no labels."""
        return all(part.task == "values" for part in self.outputs.values() or [self])

    @property
    def kind(self) -> Kind:
        """What the inputs are by their shape.

        Bytes with two axes or more are pixels; so are floats (height, width) or (height, width, channels)
        where neither side is more than twice the other. Other floats with two or three axes are signals, and
        so are 32 numbers or more in a row; what is left is a row of a table.
        """
        shape = self.input_shape
        if len(shape) in (2, 3):
            sides = sorted(shape[:2])
            return "image" if self.x_train.dtype == np.uint8 or sides[1] <= 2 * sides[0] else "signal"
        return "signal" if len(shape) == 1 and shape[0] >= SIGNAL_LENGTH else "table"

    def take(self, train_images: int | None) -> "Dataset":
        """The same dataset with only its first training images, of which a few hold every class.

        Raises:
            ValueError: fewer than 1, more than there are, or no whole number; None is all.
        """
        if train_images is None:
            return self
        check_whole("train_images", train_images, 1, len(self.x_train))
        return replace(
            self,
            x_train=self.x_train[:train_images],
            y_train=self.y_train[:train_images],
            inputs={name: part.take(train_images) for name, part in self.inputs.items()},
            outputs={name: part.take(train_images) for name, part in self.outputs.items()},
        )


def scale(images: np.ndarray) -> np.ndarray:
    """Images of any shape as a net takes them, float32: uint8 divided by 255, floats unchanged.

    Raises:
        InvalidDataError: another dtype.
    """
    if images.dtype == np.uint8:
        return np.divide(images, 255, dtype=np.float32)
    if images.dtype.kind != "f":
        raise InvalidDataError(f"images are {images.dtype}: allowed is uint8 or floats")
    return images.astype(np.float32, copy=False)
