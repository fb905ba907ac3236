"""What is asked of a net, read from a user's own arrays: labels, several labels at once, or values."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from .files import Arrays, InvalidDataError, Say, as_float32, check_shapes

Task: TypeAlias = Literal["classes", "binary", "multilabel", "values"]
"""One label of several, one of two, any number of them, or numbers."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The arrays of one output by the names in the file; see `Dataset` for what they hold."""

    task: Task
    classes: int
    arrays: Arrays


def read_answers(given: Arrays, *, values: bool, say: Say) -> Answers:
    """What the arrays can be read as in one way only.

    Args:
        given: `y_train` first. values: take whole numbers too for values. say: told how they were read.
    Raises:
        InvalidDataError: nothing that a net can be asked for, or more ways than one to read it.
    """
    given = {
        name: array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
        for name, array in given.items()
    }
    for name, array in given.items():
        _check_numbers(name, array)
    tables = {name: array for name, array in given.items() if array.ndim > 1}
    if values:
        return _values(given, say)
    if not tables:
        return _labels(given, None, say)
    name, array = next(iter(tables.items()))
    if all(each.ndim == 2 and each.size and np.isin(each, (0, 1)).all() for each in tables.values()):
        if all((each.sum(axis=1) == 1).all() for each in tables.values()):
            return _one_hot(given, tables, say)
        return _indicators(given, say)
    if array.dtype.kind != "f":
        raise InvalidDataError(
            f"{name} is {array.dtype} {array.shape}: allowed are ints (n,) or (n, 1), or one-hot rows; "
            f"values to predict are floats: {name}.astype('float32')"
        )
    if array.ndim == 2 and (array >= 0).all() and np.allclose(array.sum(axis=1), 1):
        raise InvalidDataError(
            f"{name} {array.shape} is not one-hot: allowed is a single 1 in each row; "
            f"{name}.argmax(axis=1) takes the largest share"
        )
    return _values(given, say)


def _check_numbers(name: str, array: np.ndarray) -> None:
    if array.dtype.kind in "US":
        texts = np.unique(array)
        names = ", ".join(repr(str(text)) for text in texts[:12]) + (", ..." if len(texts) > 12 else "")
        raise InvalidDataError(
            f"{name} holds text ({names}): allowed are labels from 0, in the order of the model's scores; "
            f"with `names` in that order: np.array([names.index(text) for text in {name}])"
        )
    if array.dtype.kind not in "biuf":
        raise InvalidDataError(
            f"{name} is {array.dtype} {array.shape}: allowed are ints (n,) or (n, 1), or one-hot rows"
        )
    if not np.isfinite(array).all():
        raise InvalidDataError(f"{name} has NaN or infinite values: allowed are finite numbers")


def _values(given: Arrays, say: Say) -> Answers:
    first = next(iter(given))
    say(f"{first} holds numbers: taken as values to predict")
    floats = as_float32({name: np.atleast_2d(array.T).T for name, array in given.items()})
    check_shapes(floats, "values")
    return Answers(task="values", classes=int(floats[first][0].size), arrays=floats)


def _indicators(given: Arrays, say: Say) -> Answers:
    """Columns of 0 and 1, any number of 1 in a row."""
    first, one = next(iter(given.items()))
    if one.ndim < 2 or one.min(axis=0).any() or not one.max(axis=0).all():
        raise InvalidDataError(
            f"{first} {one.shape} is not one-hot: allowed is a single 1 in each row; "
            "or, for several labels an image, 0 and 1 in each column"
        )
    check_shapes(given, "rows of labels")
    say(f"each column of {first} was taken for a label of its own: an image can have several")
    columns = {name: array.astype(np.int64) for name, array in given.items()}
    return Answers(task="multilabel", classes=one.shape[1], arrays=columns)


def _one_hot(given: Arrays, tables: Arrays, say: Say) -> Answers:
    first, one = next(iter(given.items()))
    classes = one.shape[1] if one.ndim > 1 else int(one.max()) + 1
    for name, rows in tables.items():
        if rows.shape[1] != classes:
            raise InvalidDataError(
                f"{name} is one-hot for {rows.shape[1]} classes: allowed are {first}'s {classes}"
            )
    say(f"the one-hot rows of {', '.join(tables)} were taken as labels")
    return _labels({**given, **{name: rows.argmax(axis=1) for name, rows in tables.items()}}, classes, say)


def _labels(given: Arrays, classes: int | None, say: Say) -> Answers:
    """One label an input, from 0; floats that are none are values."""
    first, one = next(iter(given.items()))
    present = np.unique(one)
    if any(array.dtype.kind == "f" for array in given.values()):
        whole = all((array == np.floor(array)).all() for array in given.values())
        in_a_row = len(present) > 1 and present[0] in (0, 1) and (np.diff(present) == 1).all()
        if not whole or not in_a_row:
            return _values(given, say)
        say(f"the numbers of {first}, {present[0]:g} to {present[-1]:g}, were taken as labels")
    if classes is None:
        given = _from_zero(given, first, present, say)
    for name, array in given.items():
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= np.iinfo(np.int64).max:
            remedy = f", as {name} + {-low} gives them" if low < 0 else ""
            raise InvalidDataError(f"{name} runs from {low} to {high}: allowed are labels from 0{remedy}")
    labels = {name: array.astype(np.int64) for name, array in given.items()}
    classes = classes or int(labels[first].max()) + 1
    _check_classes(labels, classes)
    return Answers(task="binary" if classes == 2 else "classes", classes=classes, arrays=labels)


def _from_zero(given: Arrays, first: str, present: np.ndarray, say: Say) -> Arrays:
    """Labels that start at 1, or are -1 and 1, as labels from 0."""
    if present.tolist() == [-1, 1] and all(np.isin(array, (-1, 1)).all() for array in given.values()):
        say(f"the labels of {first}, -1 and 1, were taken as 0 and 1")
        return {name: (array + 1) // 2 for name, array in given.items()}
    low = min(array.min() for array in given.values())
    if len(present) > 1 and low == 1 and present[-1] == len(present):
        say(f"the labels of {first}, 1 to {len(present)}, were taken as 0 to {len(present) - 1}")
        return {name: array - 1 for name, array in given.items()}
    return given


def _check_classes(labels: Arrays, classes: int) -> None:
    (first, one), *others = labels.items()
    if classes < 2 or np.ptp(one) == 0:
        raise InvalidDataError(f"{first} holds one class: allowed are two or more")
    for name, array in others:
        if array.max() >= classes:
            raise InvalidDataError(
                f"{name} has labels up to {array.max()}: allowed are those of {first}, 0 to {classes - 1}"
            )
    present, counts = np.unique(one, return_counts=True)
    if len(present) < classes:
        # Found without a list of all classes: one stray label can be as large as 2**62.
        gap = next((at for at, label in enumerate(present) if at != label), len(present))
        raise InvalidDataError(
            f"{first} has labels up to {classes - 1} but only {len(present)} of the {classes} classes, "
            f"none of class {gap}: allowed is every class from 0; values to predict are floats: "
            f"{first}.astype('float32')"
        )
    if counts.min() < 2:
        raise InvalidDataError(
            f"{first} has one image of class {present[counts.argmin()]}: allowed are two or more of each "
            "class, for training and for validation: add some, or leave it out"
        )
