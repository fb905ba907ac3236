"""The datasets by name and a user's own, split in three; nothing else knows where data come from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import check_whole
from . import own
from .answers import Answers
from .dataset import Dataset
from .dataset import scale as scale
from .files import Arrays, InvalidDataError
from .sources import NAMED, fetch

# One split for every study, so that records made with different training seeds stay comparable.
SPLIT_SEED = 20
#: Draws the test images of the datasets whose name ends so.
ROTATED, ROTATION_SEED = "_rotated", 21
#: Fewer validation images than these are a warning: each is half a point of accuracy.
FEW_IMAGES = 200


def load_dataset(
    name: str | Path,
    *,
    data_dir: str | Path = "data",
    validation_images: int = 5000,
    values: bool = False,
) -> Dataset:
    """A named dataset, or a user's own.

    Validation images are the head of a stratified order (see `stratified_order`) of the training images, or
    of a user's test images: what the user trained a model on is x_train.

    Args:
        name: of `NAMED`, at will with "_rotated" (see `_rotated`), or the path of an .npz file with x_train,
            y_train, x_test, y_test and, at will, x_val, y_val; see `own` and `answers` for what is taken. An
            output of several has its name at the end, y_train_<output>, and an input likewise.
        data_dir: folder in which named datasets are cached.
        validation_images: how many to hold out, of a user's test images half at most.
        values: take a user's whole-number answers for values to predict, and not for labels.
    Raises:
        DataUnavailableError: no source of a named dataset worked.
        InvalidDataError: the user's file cannot be used.
        ValueError: validation_images leaves a class without images on either side.
    """
    check_whole("validation_images", validation_images, 1)
    base = str(name).removesuffix(ROTATED)
    if base in NAMED:
        arrays = fetch(base, data_dir)
        if base != str(name):
            arrays = _rotated(arrays)
        labels = {key: array.astype(np.int64) for key, array in arrays.items() if key.startswith("y")}
        answers = Answers(task="classes", classes=int(labels["y_train"].max()) + 1, arrays=labels)
        # up to one half, the stratified order leaves an image of each class (two or more) on both sides
        check_whole("validation_images", validation_images, answers.classes, len(labels["y_train"]) // 2)
        inputs = {key: array for key, array in arrays.items() if key.startswith("x")}
        whole = own.Own(inputs={"": inputs}, outputs={"": answers}, notes=())
        return _split(str(name), whole, "train", validation_images)
    path = Path(name).expanduser()
    if not path.exists():
        named = ", ".join(repr(known) for known in NAMED)
        raise InvalidDataError(
            f"dataset is {str(name)!r}: allowed are {named}, each with {ROTATED!r} too, "
            "or the path of an .npz file"
        )
    whole = own.read(path, values=values)
    answers = next(iter(whole.outputs.values()))
    given = _by_split(answers.arrays)
    if "val" in given:
        return _split(path.stem, whole, "val", len(given["val"]))
    if len(given["test"]) < 2:
        raise InvalidDataError(
            f"{path}: x_test has one image: allowed are two or more, some of them to choose by, "
            "or x_val and y_val beside it"
        )
    return _split(path.stem, whole, "test", min(validation_images, len(given["test"]) // 2))


def _rotated(arrays: Arrays) -> Arrays:
    """Another test set that nothing was ever chosen on: as many images, drawn from the training images.

    The other training images and the old test images are trained and validated on. Drawn are those with the
    smallest numbers of a fixed stream, whatever their class.
    """
    count = len(arrays["y_test"])
    draws = np.random.PCG64(ROTATION_SEED).random_raw(len(arrays["y_train"]))
    drawn = np.zeros(len(draws), bool)
    drawn[np.argsort(draws, kind="stable")[:count]] = True
    return {
        f"{kind}_{split}": array
        for kind in "xy"
        for split, array in (
            ("train", np.concatenate([arrays[f"{kind}_train"][~drawn], arrays[f"{kind}_test"]])),
            ("test", arrays[f"{kind}_train"][drawn]),
        )
    }


def stratified_order(labels: np.ndarray, *, seed: int) -> np.ndarray:
    """Indices (n,) in a shuffled order in which every head holds the classes of labels (n,) in proportion.

    Each class is shuffled and spread evenly over the whole; the first images are one of each class. The same
    on every machine and NumPy version.
    """
    # The bit generator's raw stream, and not Generator.permutation: only the raw stream is promised to stay
    # the same from one NumPy version to the next.
    draws = np.random.PCG64(seed).random_raw(len(labels))
    shuffled = np.lexsort((draws, labels))
    _, starts, counts = np.unique(labels[shuffled], return_index=True, return_counts=True)
    place = np.empty(len(labels))
    place[shuffled] = (np.arange(len(labels)) - np.repeat(starts, counts)) / np.repeat(counts, counts)
    return np.lexsort((draws, place))


def _split(name: str, whole: own.Own, origin: str, count: int) -> Dataset:
    """The dataset with `count` validation images of `origin`, the training images in stratified order."""
    first = next(iter(whole.outputs.values()))
    answers = _by_split(first.arrays)
    order = {
        split: stratified_order(each if each.ndim == 1 else np.zeros(len(each)), seed=SPLIT_SEED)
        for split, each in answers.items()
    }
    available = len(order[origin])
    places: dict[str, np.ndarray | slice] = {"train": order["train"], "test": slice(None)}
    places |= {origin: order[origin][count:], "val": order[origin][:count]}

    def cut(kind: str, arrays: Arrays) -> dict[str, Any]:
        found = _by_split(arrays)
        return {
            f"{kind}_{split}": found[origin if split == "val" else split][place]
            for split, place in places.items()
        }

    notes, warnings = list(whole.notes), []
    if origin == "test":
        notes.append(
            f"{count} of the {available} test images choose the form, the other {available - count} test it"
        )
    if count < FEW_IMAGES:
        warnings.append(
            f"only {count} validation images choose the form, each with {100 / count:.1f} % of the vote: "
            "more of them, as x_val and y_val, choose better"
        )
    said: dict[str, Any] = {"notes": tuple(notes), "warnings": tuple(warnings)}
    xs = {part: cut("x", arrays) for part, arrays in whole.inputs.items()}
    ys = {part: cut("y", each.arrays) for part, each in whole.outputs.items()}

    def made(x: str, y: str) -> Dataset:
        asked = whole.outputs[y]
        return Dataset(name=name, task=asked.task, classes=asked.classes, **xs[x], **ys[y], **said)

    one, answer = next(iter(xs)), next(iter(ys))
    return replace(
        made(one, answer),
        inputs={part: made(part, answer) for part in xs if len(xs) > 1},
        outputs={part: made(one, part) for part in ys if len(ys) > 1},
    )


def _by_split(arrays: Arrays) -> dict[str, np.ndarray]:
    return {name.split("_")[1]: array for name, array in arrays.items()}
