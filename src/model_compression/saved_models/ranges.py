"""The range of the inputs that a model takes, of a data set as it was given, and what it is asked of them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from scipy import special

from ..data.answers import Task
from ..data.datasets import Dataset, scale
from ..data.labels import labels_of, right
from .folding import MOST_APART, apart

#: Images of the validation split that decide how pixels are scaled.
DECIDING_IMAGES = 2000
#: Another preparation than the usual ones is believed where it has so many more right, and so many standard
#: errors more, and is so much less surprised by the answers.
CLEARLY_MORE, STANDARD_ERRORS, CLEARLY_LESS = 0.01, 2.0, 0.8
#: What makes small numbers of floats that are pixels.
_OVER = {"inputs over 255": (1 / 255, 0.0), "inputs over 127.5, minus 1": (1 / 127.5, -1.0)}
#: What Keras's `normalize` does to an image, along one of its axes.
_NORMALIZED_AXES = (1, -1)

Asks: TypeAlias = Literal["answers", "inputs", "scaled inputs"]


@dataclass(frozen=True, kw_only=True)
class Range:
    """What a model, and so its files, take.

    Attributes:
        multiplier, offset: of images as `data.scale` gives them; of several inputs in a row, of each number.
        shape: of one image.
        asks: for the data's answers, or for the inputs again: as the model takes them, or as `scale` gives
            them.
    """

    multiplier: float | np.ndarray
    offset: float | np.ndarray
    shape: tuple[int, ...]
    asks: Asks = "answers"

    def fed(self, images: np.ndarray) -> np.ndarray:
        """Images of the data set as the model takes them: float32 (n, *shape)."""
        images = images.reshape(len(images), *self.shape)
        if images.dtype == np.uint8 and np.all(self.multiplier == 255) and not np.any(self.offset):
            return images.astype(np.float32)
        return scale(images) * np.float32(self.multiplier) + np.float32(self.offset)

    def wanted(self, images: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """What the model is asked for of images of the data set."""
        if self.asks == "answers":
            return answers
        return self.fed(images) if self.asks == "inputs" else scale(images)

    def asked(self, data: Dataset) -> Dataset:
        """The data as the model takes them, float32, with what it is asked for."""
        arrays: dict[str, Any] = {}
        for split in ("train", "val", "test"):
            x, y = getattr(data, f"x_{split}"), getattr(data, f"y_{split}")
            arrays |= {f"x_{split}": self.fed(x), f"y_{split}": self.wanted(x, y)}
        if self.asks == "answers":
            return replace(data, **arrays)
        return replace(data, **arrays, task="values", classes=int(np.prod(data.input_shape)))


_Way: TypeAlias = tuple[float | np.ndarray, float | np.ndarray]
"""Multiplier and offset of a `Range`."""

#: What a model may have been trained on, of pixels from 0 to 1.
_PIXELS: Mapping[str, _Way] = {
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


@dataclass(frozen=True, kw_only=True)
class _Tried:
    """A range with the score on validation images, and how much their answers surprise the model.

    What has `clearly_more` right than this has so not by chance.
    """

    range: Range
    accuracy: float
    surprise: float
    clearly_more: float


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A model with the images that decide; see `choose`."""

    outputs: Callable[[np.ndarray], np.ndarray]
    images: np.ndarray
    answers: np.ndarray
    shape: tuple[int, ...]
    task: Task
    asks: Asks
    probabilities: bool

    def tried(self, way: _Way) -> _Tried:
        """What comes of a range, (multiplier, offset)."""
        range = Range(multiplier=way[0], offset=way[1], shape=self.shape, asks=self.asks)
        given, answers = self.outputs(range.fed(self.images)), range.wanted(self.images, self.answers)
        said = labels_of(given, probabilities=self.probabilities, task=self.task)
        surprise = _surprise(given, answers, self.task, probabilities=self.probabilities)
        accuracy = float(np.mean(right(answers, said)))
        error = max(0.0, accuracy * (1 - accuracy) / len(answers)) ** 0.5
        more = max(CLEARLY_MORE, STANDARD_ERRORS * error)
        return _Tried(range=range, accuracy=accuracy, surprise=surprise, clearly_more=more)


def choose(
    outputs: Callable[[np.ndarray], np.ndarray],
    data: Dataset,
    shape: tuple[int, ...],
    *,
    own: str,
    probabilities: bool,
    reconstructs: bool = False,
    pixels: np.ndarray | None = None,
) -> Chosen:
    """The range with which a model gives validation images the highest likelihood; floats as they are.

    Likelihood, for a net of ReLU hardly changes its labels with the range, but becomes far too sure of them.
    What is prepared otherwise is taken where the model knows it far better, and said as a warning.

    Args:
        outputs: the model: float32 (n, *shape) to (n, ...).
        own: the layer by which the model scales pixels itself, or empty.
        probabilities: whether outputs are, and not unbounded scores.
        reconstructs: whether the model is asked for its inputs, and not for the answers.
        pixels: of several inputs in a row, which numbers are pixels.
    """
    asked = _Asked(
        outputs=outputs,
        images=data.x_val[:DECIDING_IMAGES],
        answers=data.y_val[:DECIDING_IMAGES],
        shape=shape,
        task="values" if reconstructs else data.task,
        asks="answers" if not reconstructs else "scaled inputs" if own else "inputs",
        probabilities=probabilities,
    )
    notes = list(_told(data, shape, own))
    as_given = {name: asked.tried(way) for name, way in _usual(data, own, pixels).items()}
    most = max(as_given.values(), key=lambda one: one.accuracy)
    sound = {name: one for name, one in as_given.items() if most.accuracy - one.accuracy < most.clearly_more}
    least_surprise = min(one.surprise for one in sound.values())
    others = {} if own or pixels is not None else _prepared(data)
    prepared = {name: asked.tried(way) for name, way in others.items()}
    better = {
        name: one
        for name, one in prepared.items()
        if one.accuracy - most.accuracy >= most.clearly_more and one.surprise < CLEARLY_LESS * least_surprise
    }
    best, chosen = min((better or sound).items(), key=lambda named: named[1].surprise)
    if len(as_given) > 1:
        percents = ", ".join(f"{name}: {100 * one.accuracy:.1f} %" for name, one in as_given.items())
        what = "explained" if asked.task == "values" else "right"
        notes.append(f"the model takes {best}, which it knows best, and so do its files ({what}: {percents})")
    warning = (
        f"the model was trained on {best} ({100 * chosen.accuracy:.1f} % on validation images, "
        f"{100 * most.accuracy:.1f} % as they are given): so does its file take them"
        if better
        else _question(asked, prepared, chosen) or _doubt(chosen.accuracy, asked.task, data.classes)
    )
    said = warning, "" if pixels is not None else _uneven(asked.images.reshape(-1, shape[-1]))
    warnings = tuple(filter(None, said))
    return Chosen(range=chosen.range, accuracy=chosen.accuracy, notes=tuple(notes), warnings=warnings)


def _told(data: Dataset, shape: tuple[int, ...], own: str) -> Iterator[str]:
    """What is known before anything is tried."""
    if shape != data.input_shape:
        sizes = " x ".join(map(str, shape))
        yield f"the images are reshaped to {sizes}, as the model and its files take them"
    if own and data.x_train.dtype == np.uint8:
        yield f"the model scales pixels itself ({own}): it and its files take them from 0 to 255"


def _usual(data: Dataset, own: str, pixels: np.ndarray | None) -> Mapping[str, _Way]:
    """What models take of such data; see `choose`."""
    if pixels is not None and pixels.any():
        return {name: (np.where(pixels, m, 1), np.where(pixels, o, 0)) for name, (m, o) in _PIXELS.items()}
    if data.x_train.dtype != np.uint8:
        return {"floats as they are": (1.0, 0.0)}
    return {"pixels from 0 to 255": (255.0, 0.0)} if own else _PIXELS


def _uneven(inputs: np.ndarray) -> str:
    """What is said of inputs (n, channels) of which integers would lose half; else empty."""
    times = apart(inputs.std(axis=0, dtype=np.float64))
    if times <= MOST_APART:
        return ""
    return (
        f"the inputs' channels differ {times:,.0f} times in size, and an integer input has one scale: forms "
        "of integers throughout lose the small ones. They keep them where each channel is scaled before the "
        "model, by x = (x - x.mean(axis=0)) / x.std(axis=0)"
    )


def _question(asked: _Asked, prepared: Mapping[str, _Tried], given: _Tried) -> str:
    """What the model may have been trained on, in the place of what it is given; else empty."""
    others = {name: prepared[name] for name in prepared if name in _OVER}
    if asked.asks == "answers" and asked.images.ndim > 2:
        floats = scale(asked.images)
        for axis in (axis for axis in _NORMALIZED_AXES if floats.shape[axis] > 1):
            norm = np.maximum(np.linalg.norm(floats, axis=axis, keepdims=True), np.float32(1e-9))
            name = f"inputs normalized by keras.utils.normalize(x, axis={axis})"
            others[name] = replace(asked, images=floats / norm).tried((1.0, 0.0))
    for name, other in others.items():
        more = other.accuracy - given.accuracy
        # a factor leaves the labels of a net of ReLU as they are
        surer = other.surprise < CLEARLY_LESS * given.surprise
        if more >= given.clearly_more or (surer and more > -CLEARLY_MORE):
            return (
                f"was the model trained on {name}? It has {100 * other.accuracy:.1f} % of the validation "
                f"images right so, {100 * given.accuracy:.1f} % as they are given: then give the arrays so "
                "prepared, as floats"
            )
    return ""


def _doubt(accuracy: float, task: Task, classes: int) -> str:
    """What is said of a model that hardly knows more than nothing; else empty."""
    if task == "values" and accuracy < 0:
        return (
            f"the model's squared error is {1 - accuracy:.2f} times that of always giving the mean: was it "
            "trained on other values or on inputs prepared in another way?"
        )
    if task != "values" and classes > 2 and accuracy < 2 / classes:
        return (
            f"it scores only {100 * accuracy:.1f} % on validation images: was it trained on other labels "
            "or on images prepared in another way?"
        )
    return ""


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


def _surprise(outputs: np.ndarray, answers: np.ndarray, task: Task, *, probabilities: bool) -> float:
    """Mean of -log(probability of the right label); of values the squared error, 1 for saying the mean.

    One image more has an answer at random: few right ones do not show that a net is too sure of itself.
    """
    if task == "values":
        return 1 - float(np.mean(right(answers, outputs)))
    scores = np.log(np.clip(outputs, 1e-7, 1)) if probabilities else outputs.astype(np.float64)
    if task == "multilabel" or outputs.shape[1] == 1:
        against = np.log(np.clip(1 - outputs, 1e-7, 1)) if probabilities else np.zeros_like(scores)
        sign = 1 - 2 * answers.reshape(scores.shape)
        both = [np.logaddexp(0, way * (scores - against)) for way in (sign, -sign)]
        known, unknown = np.mean(both[0], axis=1), np.mean(both)
    else:
        whole = special.logsumexp(scores, axis=1)
        known = whole - scores[np.arange(len(answers)), answers]
        unknown = np.mean(whole - np.mean(scores, axis=1))
    return float(np.mean([*known, unknown]))
