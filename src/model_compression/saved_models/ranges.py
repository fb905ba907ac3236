"""The range of the inputs that a model takes, of a data set as it was given, and what it is asked of them."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..data.answers import Task
from ..data.datasets import Dataset, scale
from ..data.labels import labels_of, right

#: Images of the validation split that decide how pixels are scaled.
DECIDING_IMAGES = 2000
#: Another preparation than the usual ones is believed where it has so many more right, and is so much less
#: surprised by the answers.
CLEARLY_MORE, CLEARLY_LESS = 0.01, 0.8


@dataclass(frozen=True, kw_only=True)
class Range:
    """What a model, and so its files, take.

    Attributes:
        multiplier, offset: of images as `data.scale` gives them. shape: of one image.
        asks: for the data's answers, or for the inputs again: as the model takes them, or as `scale` gives
            them.
    """

    multiplier: float
    offset: float
    shape: tuple[int, ...]
    asks: Literal["answers", "inputs", "scaled inputs"] = "answers"

    def fed(self, images: np.ndarray) -> np.ndarray:
        """Images of the data set as the model takes them: float32 (n, *shape)."""
        images = images.reshape(len(images), *self.shape)
        if images.dtype == np.uint8 and (self.multiplier, self.offset) == (255.0, 0.0):
            return images.astype(np.float32)
        if (self.multiplier, self.offset) == (1.0, 0.0):
            return scale(images)
        return scale(images) * np.float32(self.multiplier) + np.float32(self.offset)

    def asked(self, data: Dataset) -> Dataset:
        """The data as the model takes them, float32, with what it is asked for."""
        if self.asks == "scaled inputs":
            data = _reconstructed(data)
        images = with_images(data, self.fed)
        return _reconstructed(images) if self.asks == "inputs" else images


def _reconstructed(data: Dataset) -> Dataset:
    """The same inputs, as `scale` gives them, as the values to predict: what an autoencoder is asked."""
    return replace(
        data,
        y_train=scale(data.x_train),
        y_val=scale(data.x_val),
        y_test=scale(data.x_test),
        task="values",
        classes=int(np.prod(data.input_shape)),
    )


#: What a model may have been trained on, as (multiplier, offset) of pixels from 0 to 1.
_PIXELS = {
    "pixels from 0 to 1": (1.0, 0.0),
    "pixels from 0 to 255": (255.0, 0.0),
    "pixels from -1 to 1": (2.0, -1.0),
}


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A range, the score on the deciding images with it, what was decided, and what is to be minded."""

    range: Range
    accuracy: float
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def choose(
    outputs: Callable[[np.ndarray], np.ndarray],
    data: Dataset,
    shape: tuple[int, ...],
    *,
    own: str,
    probabilities: bool,
    reconstructs: bool = False,
) -> Chosen:
    """The range with which a model gives validation images the highest likelihood; floats as they are.

    Likelihood, for a net of ReLU hardly changes its labels with the range, but becomes far too sure of them.
    What is prepared otherwise is taken where the model knows it far better, and said as a warning.

    Args:
        outputs: the model: float32 (n, *shape) to (n, ...).
        own: the layer by which the model scales pixels itself: it takes them from 0 to 255; else empty.
        probabilities: whether outputs are, and not unbounded scores.
        reconstructs: whether the model is asked for its inputs, and not for the answers.
    """
    notes, warnings = [], []
    if shape != data.input_shape:
        sizes = " x ".join(map(str, shape))
        notes.append(f"the images are reshaped to {sizes}, as the model and its files take them")
    pixels = data.x_train.dtype == np.uint8
    usual = {"floats as they are": (1.0, 0.0)}
    if pixels:
        usual = {"pixels from 0 to 255": _PIXELS["pixels from 0 to 255"]} if own else dict(_PIXELS)
        if own:
            notes.append(f"the model scales pixels itself ({own}): it and its files take them from 0 to 255")
    others = {} if own else _prepared(data)
    few = _deciding(data)
    found: dict[str, _Tried] = {}
    for name, (multiplier, offset) in (usual | others).items():
        asks: Literal["answers", "inputs", "scaled inputs"] = "answers"
        if reconstructs:
            asks = "scaled inputs" if own else "inputs"
        found[name] = _tried(
            outputs, few, Range(multiplier=multiplier, offset=offset, shape=shape, asks=asks), probabilities
        )
    best = _best(found, usual)
    accuracy = found[best].accuracy
    if len(usual) > 1:
        percents = ", ".join(f"{name}: {100 * found[name].accuracy:.1f} %" for name in usual)
        what = "explained" if reconstructs or data.task == "values" else "right"
        notes.append(f"the model takes {best}, which it knows best, and so do its files ({what}: {percents})")
    if best in others:
        given = 100 * max(found[name].accuracy for name in usual)
        warnings.append(
            f"the model was trained on {best} ({100 * accuracy:.1f} % on validation images, {given:.1f} % as "
            "they are given): so does its file take them"
        )
    elif told := _otherwise_prepared(outputs, few, found, best, probabilities):
        warnings.append(told)
    elif (reconstructs or data.task == "values") and accuracy < 0:
        warnings.append(
            f"the model's squared error is {1 - accuracy:.2f} times that of always giving the mean: was it "
            "trained on other values or on inputs prepared in another way?"
        )
    elif not reconstructs and data.classes > 2 and accuracy < 2 / data.classes:
        warnings.append(
            f"it scores only {100 * accuracy:.1f} % on validation images: was it trained on other labels "
            "or on images prepared in another way?"
        )
    return Chosen(range=found[best].range, accuracy=accuracy, notes=tuple(notes), warnings=tuple(warnings))


@dataclass(frozen=True, kw_only=True)
class _Tried:
    """A range with the score on validation images, and how much their answers surprise the model."""

    range: Range
    accuracy: float
    surprise: float

    def clearly_beats(self, other: "_Tried") -> bool:
        more = self.accuracy >= other.accuracy + CLEARLY_MORE
        return more and self.surprise < CLEARLY_LESS * other.surprise


def _deciding(data: Dataset) -> Dataset:
    """The data with only their first validation images, in every split."""
    x, y = data.x_val[:DECIDING_IMAGES], data.y_val[:DECIDING_IMAGES]
    return replace(data, x_train=x, y_train=y, x_val=x, y_val=y, x_test=x, y_test=y)


def _prepared(data: Dataset) -> dict[str, tuple[float, float]]:
    """What else inputs may have gone through outside of the model."""
    images = scale(data.x_train[:DECIDING_IMAGES])
    deviation, largest = float(np.std(images)), float(np.max(np.abs(images)))
    found = {}
    if deviation:
        standardized = (1 / deviation, -float(np.mean(images)) / deviation)
        found["inputs minus their mean over their standard deviation"] = standardized
    if data.x_train.dtype != np.uint8 and 100 < largest <= 255:
        found |= _OVER
    return found


def _tried(
    outputs: Callable[[np.ndarray], np.ndarray], few: Dataset, range: Range, probabilities: bool
) -> _Tried:
    asked = range.asked(few)
    given = outputs(asked.x_val)
    said = labels_of(given, probabilities=probabilities, task=asked.task)
    surprise = _surprise(given, asked.y_val, asked.task, probabilities=probabilities)
    return _Tried(range=range, accuracy=float(np.mean(right(asked.y_val, said))), surprise=surprise)


def _best(found: Mapping[str, _Tried], usual: Mapping[str, object]) -> str:
    """The usual range that surprises least, or another one that clearly beats it."""
    first = min(usual, key=lambda name: found[name].surprise)
    others = [name for name in found if name not in usual and found[name].clearly_beats(found[first])]
    return min([*others] or [first], key=lambda name: found[name].surprise)


#: What makes small numbers of floats that are pixels.
_OVER = {"inputs over 255": (1 / 255, 0.0), "inputs over 127.5, minus 1": (1 / 127.5, -1.0)}
#: What Keras's `normalize` does to an image, along one of its axes.
_NORMALIZED_AXES = (1, -1)


def _otherwise_prepared(
    outputs: Callable[[np.ndarray], np.ndarray],
    few: Dataset,
    found: Mapping[str, _Tried],
    best: str,
    probabilities: bool,
) -> str:
    """What the model may have been trained on, in the place of what it is given; else empty."""
    given, others = found[best], {name: found[name] for name in found if name in _OVER}
    if given.range.asks == "answers" and few.x_val.ndim > 2:
        plain = replace(given.range, multiplier=1.0, offset=0.0)
        for axis in _NORMALIZED_AXES:
            normalized = with_images(few, functools.partial(_normalized, axis=axis))
            name = f"inputs normalized by keras.utils.normalize(x, axis={axis})"
            others[name] = _tried(outputs, normalized, plain, probabilities)
    least = max(CLEARLY_MORE, 3 / len(few.x_val))
    for name, other in others.items():
        more = other.accuracy - given.accuracy
        if more >= least or (more > -CLEARLY_MORE and other.surprise < CLEARLY_LESS * given.surprise):
            return (
                f"was the model trained on {name}? It has {100 * other.accuracy:.1f} % of the validation "
                f"images right so, {100 * given.accuracy:.1f} % as they are given: then give the arrays so "
                "prepared, as floats"
            )
    return ""


def _normalized(images: np.ndarray, *, axis: int) -> np.ndarray:
    floats = scale(images)
    return floats / np.maximum(np.linalg.norm(floats, axis=axis, keepdims=True), np.float32(1e-9))


def _surprise(outputs: np.ndarray, answers: np.ndarray, task: Task, *, probabilities: bool) -> float:
    """Mean of -log(probability of the right label); of values the squared error, 1 for saying the mean."""
    if task == "values":
        return 1 - float(np.mean(right(answers, outputs)))
    scores = np.log(np.clip(outputs, 1e-7, 1)) if probabilities else outputs.astype(np.float64)
    if task == "multilabel" or outputs.shape[1] == 1:
        against = np.log(np.clip(1 - outputs, 1e-7, 1)) if probabilities else np.zeros_like(scores)
        sign = 1 - 2 * answers.reshape(scores.shape)
        return float(np.mean(np.logaddexp(0, sign * (scores - against))))
    scores = scores - scores.max(axis=1, keepdims=True)
    true = scores[np.arange(len(answers)), answers]
    return float(np.mean(np.log(np.exp(scores).sum(axis=1)) - true))


def with_images(data: Dataset, change: Callable[[np.ndarray], np.ndarray]) -> Dataset:
    """The data with each split's images changed."""
    return replace(data, x_train=change(data.x_train), x_val=change(data.x_val), x_test=change(data.x_test))
