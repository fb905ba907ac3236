"""The range of the inputs that a model takes, of a data set as it was given, and what it is asked of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..data.datasets import Dataset, scale
from .folding import MOST_APART, apart
from .knowing import CLEARLY_MORE, Asked, Output, Range, Tried, Way

#: Images that decide how pixels are scaled: of the validation split, filled up with those trained on.
DECIDING_IMAGES = 2000
#: Another range is believed where the model is so much less surprised by the answers.
CLEARLY_LESS = 0.8
#: Layers by which a model scales pixels itself; what else reads inputs as they are takes them for tokens.
SCALING = ("Rescaling", "Normalization")
#: What makes small numbers of floats that are pixels.
_STANDARDIZED = "inputs minus their mean over their standard deviation"
_OVER = {"inputs over 255": (1 / 255, 0.0), "inputs over 127.5, minus 1": (1 / 127.5, -1.0)}
#: What Keras's `normalize` does to an image, along one of its axes.
_NORMALIZED_AXES = (1, -1)

#: What a model may have been trained on, of pixels from 0 to 1.
_PIXELS: Mapping[str, Way] = {
    "pixels from 0 to 1": (1.0, 0.0),
    "pixels from 0 to 255": (255.0, 0.0),
    "pixels from -1 to 1": (2.0, -1.0),
}


@dataclass(frozen=True, kw_only=True)
class Taken:
    """How a model takes a data set.

    Attributes:
        range: what it takes. accuracy: on the deciding images.
        notes: what was decided, a sentence each. warnings: what is to be minded.
    """

    range: Range
    accuracy: float
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def fed(self, data: Dataset) -> Dataset:
        """The data as the model, and its files, take them: float32 images."""
        return self.range.asked(data)


def choose(
    outputs: Callable[[np.ndarray], np.ndarray],
    data: Dataset,
    shape: tuple[int, ...],
    *,
    own: str,
    ends: Sequence[Output] = (Output(),),
    reconstructs: bool = False,
    pixels: np.ndarray | None = None,
) -> Taken:
    """The range with which a model knows images best; floats as they are.

    Of those with which it has nearly as many right as with any, and could be nearly as sure of them, the one
    with which it is: a net of ReLU hardly changes its labels with the range, but becomes too sure of them or
    not sure enough. Where that decides little, it is pixels from 0 to 1. What is prepared otherwise is taken
    where the model knows it far better, and said as a warning.

    Args:
        outputs: the model: float32 (n, *shape) to (n, ...).
        own: the layer of `SCALING`, or the operator for tokens, that reads the inputs as they are, or empty.
        ends: what it gives.
        reconstructs: whether the model is asked for its inputs, and not for the answers.
        pixels: of several inputs in a row, which numbers are pixels.
    """
    shown, first = data.x_val[:DECIDING_IMAGES], ends[0].asked(data)
    asked = Asked(
        outputs=outputs,
        data=data,
        images=np.concatenate([shown, data.x_train[: DECIDING_IMAGES - len(shown)]]),
        validating=len(shown),
        shape=shape,
        task="values" if reconstructs else first.task,
        asks="answers" if not reconstructs else "scaled inputs" if own else "inputs",
        ends=ends,
    )
    as_given = {name: asked.tried(way) for name, way in _usual(data, own, pixels).items()}
    most = max(as_given.values(), key=lambda one: one.accuracy)
    known = {name: one for name, one in as_given.items() if most.accuracy - one.accuracy < most.clearly_more}
    least = min(one.at_best for one in known.values())
    sound = {name: one for name, one in known.items() if CLEARLY_LESS * one.at_best <= least}
    least_surprise = min(one.surprise for one in sound.values())
    prepared = {name: asked.tried(way) for name, way in _prepared(data, own, pixels).items()}
    better = {
        name: one
        for name, one in prepared.items()
        if one.accuracy - most.accuracy >= most.clearly_more and one.surprise < CLEARLY_LESS * least_surprise
    }
    ways = better or sound
    # the first that no other one is clearly less surprised than
    least = min(one.surprise for one in ways.values())
    best, chosen = next(way for way in ways.items() if CLEARLY_LESS * way[1].surprise <= least)
    notes = *_told(data, shape, "" if better else own), *_taken(best, as_given, asked)
    warning = (
        _found(best, chosen, most)
        if better
        else _question(asked, prepared, chosen) or _doubt(chosen, asked, first.classes)
    )
    warnings = tuple(filter(None, (warning, *_uneven(asked, own, pixels))))
    return Taken(range=chosen.range, accuracy=chosen.accuracy, notes=notes, warnings=warnings)


def _found(best: str, chosen: Tried, given: Tried) -> str:
    """That the model was trained on another range than it is given."""
    return (
        f"the model was trained on {best} ({100 * chosen.accuracy:.1f} % on validation images, "
        f"{100 * given.accuracy:.1f} % as they are given): so does its file take them"
    )


def _taken(best: str, tried: Mapping[str, Tried], asked: Asked) -> Iterator[str]:
    """Which of several ranges the model takes and how well it knows each, and what else it is asked for."""
    percents = ", ".join(f"{name}: {100 * one.accuracy:.1f} %" for name, one in tried.items())
    what = "explained" if asked.task == "values" else "right"
    if len(asked.ends) > 1:
        what = "mean score of the outputs"
    if len(tried) > 1:
        yield (
            f"the model takes {best}, which it knows best, and so do its files ({what}: {percents}); floats "
            "would be taken as they are"
        )
    if asked.asks != "answers":
        yield (
            "the model gives as many numbers as it takes: it is asked for its inputs, and the labels are left"
        )


def _told(data: Dataset, shape: tuple[int, ...], own: str) -> Iterator[str]:
    """What is known before anything is tried."""
    if shape != data.input_shape:
        sizes = " x ".join(map(str, shape))
        yield f"the images are reshaped to {sizes}, as the model and its files take them"
    if own in SCALING and data.x_train.dtype == np.uint8:
        yield f"the model scales pixels itself ({own}): it and its files take them from 0 to 255"


def _usual(data: Dataset, own: str, pixels: np.ndarray | None) -> Mapping[str, Way]:
    """What models take of such data; see `choose`."""
    if pixels is not None and pixels.any():
        return {name: (np.where(pixels, m, 1), np.where(pixels, o, 0)) for name, (m, o) in _PIXELS.items()}
    if data.x_train.dtype != np.uint8:
        return {"floats as they are": (1.0, 0.0)}
    return {"pixels from 0 to 255": (255.0, 0.0)} if own else _PIXELS


#: What is said of numbers of which one column is so many times as large as another.
_UNEVEN_INPUTS = (
    "the inputs' channels differ {:,.0f} times in size, and an integer input has one scale: forms of "
    "integers throughout lose the small ones. They keep them where each channel is scaled before the "
    "model, by x = (x - x.mean(axis=0)) / x.std(axis=0)"
)
_UNEVEN_ANSWERS = (
    "the values to predict differ {:,.0f} times in size, and their squared errors are added up: forms may "
    "lose the small ones unseen. Train the model on values of one size, "
    "y = (y - y.mean(axis=0)) / y.std(axis=0)"
)


def _uneven(asked: Asked, own: str, pixels: np.ndarray | None) -> Iterator[str]:
    """What is said of inputs, and of values to predict, whose small columns are lost beside large ones."""
    found, answers = [], asked.data.y_val
    if pixels is None and own != "Normalization":
        shown = asked.images[: asked.validating]
        found.append((shown.reshape(-1, asked.shape[-1]), _UNEVEN_INPUTS))
    if asked.task == "values" and asked.asks == "answers" and len(asked.ends) == 1 and answers.ndim == 2:
        found.append((answers, _UNEVEN_ANSWERS))
    for columns, told in found:
        times = apart(columns.std(axis=0, dtype=np.float64))
        if times > MOST_APART:
            yield told.format(times)


def _question(asked: Asked, prepared: Mapping[str, Tried], given: Tried) -> str:
    """What the model may have been trained on, in the place of what it is given; else empty."""
    if len(asked.ends) > 1:
        return ""
    others = dict(prepared)
    if asked.asks == "answers" and asked.images.ndim > 2:
        floats = scale(asked.images)
        for axis in (axis for axis in _NORMALIZED_AXES if floats.shape[axis] > 1):
            norm = np.maximum(np.linalg.norm(floats, axis=axis, keepdims=True), np.float32(1e-9))
            name = f"inputs normalized by keras.utils.normalize(x, axis={axis})"
            others[name] = replace(asked, images=floats / norm).tried((1.0, 0.0))
    for name, other in others.items():
        more = other.accuracy - given.accuracy
        # a factor leaves the labels of a net of ReLU as they are
        surer = other.surprise < CLEARLY_LESS * given.surprise and name != _STANDARDIZED
        if more >= given.clearly_more or (surer and more > -CLEARLY_MORE):
            return (
                f"was the model trained on {name}? It has {100 * other.accuracy:.1f} % of the validation "
                f"images right so, {100 * given.accuracy:.1f} % as they are given: then give the arrays so "
                "prepared, as floats"
            )
    return ""


def _doubt(given: Tried, asked: Asked, classes: int) -> str:
    """What is said of a model that hardly knows more than nothing; else empty."""
    if (asked.task == "values" or len(asked.ends) > 1) and given.accuracy < 0:
        what = "error over its outputs is" if len(asked.ends) > 1 else "squared error is"
        return (
            f"the model's {what} {1 - given.accuracy:.2f} times that of always giving the mean: "
            "was it trained on other values or on inputs prepared in another way?"
        )
    if asked.task != "values" and classes > 2 and given.accuracy < min(2 / classes, 0.5):
        return (
            f"it scores only {100 * given.accuracy:.1f} % on validation images: was it trained on other "
            "labels or on images prepared in another way?"
        )
    if asked.task in ("classes", "binary") and len(asked.ends) == 1:
        labels = asked.data.y_val[: asked.validating].astype(int)
        commonest = float(np.bincount(labels.ravel()).max()) / len(labels)
        if given.accuracy <= commonest:
            return (
                f"it is right on {100 * given.accuracy:.1f} % of the validation inputs, as the commonest "
                f"class alone would be on {100 * commonest:.1f} %: a file that keeps its accuracy may have "
                "lost what the model knows of the others"
            )
    return ""


def _prepared(data: Dataset, own: str, pixels: np.ndarray | None) -> Mapping[str, Way]:
    """What else inputs may have gone through outside of the model.

    Of one that begins with a scaling of its own: pixels that were not from 0 to 255 before it.
    """
    if pixels is not None:
        return {}
    if own:
        others = {name: way for name, way in _PIXELS.items() if name not in _usual(data, own, pixels)}
        # a token is no pixel, and a table of them has no row for others
        return others if own in SCALING and data.x_train.dtype == np.uint8 else {}
    images = scale(data.x_train[:DECIDING_IMAGES])
    deviation, largest = float(np.std(images)), float(np.max(np.abs(images)))
    found: dict[str, Way] = {}
    if deviation:
        standardized = (1 / deviation, -float(np.mean(images)) / deviation)
        found[_STANDARDIZED] = standardized
    # a row of a table holds no pixels
    if data.x_train.dtype != np.uint8 and images.ndim > 2 and 100 < largest <= 255:
        found |= _OVER
    return found
