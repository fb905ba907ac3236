"""How well a model knows inputs of a range: its score, and how much the right answers surprise it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from scipy import special

from ..data.answers import Task
from ..data.datasets import Dataset, scale
from ..data.labels import labels_of, right

#: What a score has more, in itself and in standard errors, that is not more by chance.
CLEARLY_MORE, STANDARD_ERRORS = 0.01, 2.0
#: Factors of the scores among which is the one that makes a model as sure of itself as it may be.
SHARPNESS = np.geomspace(1e-3, 1e2, 31)

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


Way: TypeAlias = tuple[float | np.ndarray, float | np.ndarray]
"""Multiplier and offset of a `Range`."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """One of what a model gives; without arguments the only one, of unbounded scores.

    Attributes:
        name: in the data; empty for the only one. columns: of all outputs in a row.
        ending: what makes it of unbounded scores: "softmax", "sigmoid" or "linear".
    """

    name: str = ""
    columns: slice = field(default_factory=lambda: slice(None))
    ending: str = "linear"

    def asked(self, data: Dataset) -> Dataset:
        """The data with what this output is asked for."""
        return data.outputs[self.name] if self.name else data

    def said(self, outputs: np.ndarray, data: Dataset) -> np.ndarray:
        """Its part of a model's outputs, see `labels_of`."""
        sure = self.ending != "linear"
        return labels_of(outputs[:, self.columns], probabilities=sure, task=self.asked(data).task)


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A range with the score on validation images, and how much all deciding ones surprise the model.

    `at_best` is the surprise were its scores multiplied by what suits them best. What has `clearly_more`
    right than this has so not by chance.
    """

    range: Range
    accuracy: float
    surprise: float
    at_best: float
    clearly_more: float


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A model with the images that decide, the validation images first; see `ranges.choose`."""

    outputs: Callable[[np.ndarray], np.ndarray]
    data: Dataset
    images: np.ndarray
    validating: int
    shape: tuple[int, ...]
    task: Task
    asks: Asks
    ends: Sequence[Output]

    def tried(self, way: Way) -> Tried:
        """What comes of a range, (multiplier, offset); the mean of several outputs."""
        range = Range(multiplier=way[0], offset=way[1], shape=self.shape, asks=self.asks)
        given = self.outputs(range.fed(self.images))
        found = np.mean([self._judged(end, given[:, end.columns], range) for end in self.ends], axis=0)
        accuracy, surprise, at_best, error = map(float, found)
        more = max(CLEARLY_MORE, STANDARD_ERRORS * error)
        return Tried(range=range, accuracy=accuracy, surprise=surprise, at_best=at_best, clearly_more=more)

    def _judged(self, end: Output, given: np.ndarray, range: Range) -> tuple[float, float, float, float]:
        """Score, surprise, that at best, and the standard error of the score."""
        data, count, sure = end.asked(self.data), self.validating, end.ending != "linear"
        task = "values" if self.asks != "answers" else data.task
        answers = np.concatenate([data.y_val[:count], data.y_train[: len(given) - count]])
        answers = range.wanted(self.images, answers)
        said = labels_of(given[:count], probabilities=sure, task=task)
        accuracy = float(np.mean(right(answers[:count], said)))
        error = max(0.0, accuracy * (1 - accuracy) / count) ** 0.5
        if task == "values":
            lost = 1 - float(np.mean(right(answers, given)))
            return accuracy, lost, lost, error
        scores = _scores(given, task, probabilities=sure)
        each = [_surprise(scores * times, answers) for times in (1.0, *SHARPNESS)]
        return accuracy, each[0], min(each), error


def _scores(outputs: np.ndarray, task: Task, *, probabilities: bool) -> np.ndarray:
    """Unbounded scores, (n, classes); of a class alone, or several labels, (n, classes, 2): no and yes."""
    scores = np.log(np.clip(outputs, 1e-7, 1)) if probabilities else outputs.astype(np.float64)
    if task == "multilabel" or outputs.shape[1] == 1:
        against = np.log(np.clip(1 - outputs, 1e-7, 1)) if probabilities else np.zeros_like(scores)
        return np.stack([against, scores], axis=-1)
    return scores


def _surprise(scores: np.ndarray, answers: np.ndarray) -> float:
    """Mean of -log(probability of the right label).

    One image more has an answer at random: few right ones do not show that a net is too sure of itself.

    Args:
        scores: what `_scores` gives. answers: (n,), or (n, labels).
    """
    whole = special.logsumexp(scores, axis=-1)
    labels = answers.astype(int).reshape(whole.shape)
    known = whole - np.take_along_axis(scores, labels[..., None], axis=-1)[..., 0]
    unknown = float(np.mean(whole - np.mean(scores, axis=-1)))
    return float(np.mean([*known.reshape(len(known), -1).mean(axis=1), unknown]))
