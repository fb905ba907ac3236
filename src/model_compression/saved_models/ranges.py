"""The range of the images that a model takes, of a data set as it was given."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..data.datasets import Dataset, scale
from ..data.labels import labels_of

#: Images of the validation split that decide how pixels are scaled.
DECIDING_IMAGES = 2000


@dataclass(frozen=True, kw_only=True)
class Range:
    """What a model, and so its files, take.

    Attributes:
        multiplier, offset: of images as `data.scale` gives them. shape: of one image.
    """

    multiplier: float
    offset: float
    shape: tuple[int, ...]

    def fed(self, images: np.ndarray) -> np.ndarray:
        """Images of the data set as the model takes them: float32 (n, *shape)."""
        images = images.reshape(len(images), *self.shape)
        if images.dtype == np.uint8 and (self.multiplier, self.offset) == (255.0, 0.0):
            return images.astype(np.float32)
        if (self.multiplier, self.offset) == (1.0, 0.0):
            return scale(images)
        return scale(images) * np.float32(self.multiplier) + np.float32(self.offset)


#: What a model may have been trained on, as (multiplier, offset) of pixels from 0 to 1.
_PIXELS = {
    "pixels from 0 to 1": (1.0, 0.0),
    "pixels from 0 to 255": (255.0, 0.0),
    "pixels from -1 to 1": (2.0, -1.0),
}


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A range, the fraction of the deciding images that are right with it, and what was decided."""

    range: Range
    accuracy: float
    notes: tuple[str, ...]


def choose(
    outputs: Callable[[np.ndarray], np.ndarray],
    data: Dataset,
    shape: tuple[int, ...],
    *,
    own: str,
    probabilities: bool,
) -> Chosen:
    """The range with which a model gives validation images the highest likelihood; floats as they are.

    Likelihood, for a net of ReLU hardly changes its labels with the range, but becomes far too sure of them.

    Args:
        outputs: the model: float32 (n, *shape) to (n, classes).
        own: the layer by which the model scales pixels itself: it takes them from 0 to 255; else empty.
        probabilities: whether outputs are, and not unbounded scores.
    """
    notes = []
    if shape != data.input_shape:
        sizes = " x ".join(map(str, shape))
        notes.append(f"the images are reshaped to {sizes}, as the model and its files take them")
    images, labels = data.x_val[:DECIDING_IMAGES], data.y_val[:DECIDING_IMAGES]
    choices = {"floats as they are": (1.0, 0.0)}
    if data.x_train.dtype == np.uint8:
        choices = {"pixels from 0 to 255": _PIXELS["pixels from 0 to 255"]} if own else _PIXELS
        if own:
            notes.append(f"the model scales pixels itself ({own}): it and its files take them from 0 to 255")
    ranges = {name: Range(multiplier=m, offset=o, shape=shape) for name, (m, o) in choices.items()}
    given = {name: outputs(range.fed(images)) for name, range in ranges.items()}
    right = {
        name: float(np.mean(labels_of(scores, probabilities=probabilities) == labels))
        for name, scores in given.items()
    }
    best = min(given, key=lambda name: _cross_entropy(given[name], labels, probabilities=probabilities))
    if len(choices) > 1:
        others = ", ".join(f"{name}: {100 * value:.1f} %" for name, value in right.items())
        notes.append(f"the model takes {best}, which it knows best, and so do its files (right: {others})")
    if right[best] < 2 / data.classes and data.classes > 2:
        notes.append(
            f"it scores only {100 * right[best]:.1f} % on validation images: was it trained on other labels "
            "or on images prepared in another way?"
        )
    return Chosen(range=ranges[best], accuracy=right[best], notes=tuple(notes))


def _cross_entropy(outputs: np.ndarray, labels: np.ndarray, *, probabilities: bool) -> float:
    """Mean of -log(probability of the right label)."""
    scores = np.log(np.clip(outputs, 1e-7, 1)) if probabilities else outputs.astype(np.float64)
    if outputs.shape[1] == 1:
        against = np.log(np.clip(1 - outputs, 1e-7, 1)) if probabilities else np.zeros_like(scores)
        scores = np.concatenate([against, scores], axis=1)
    scores = scores - scores.max(axis=1, keepdims=True)
    right = scores[np.arange(len(labels)), labels]
    return float(np.mean(np.log(np.exp(scores).sum(axis=1)) - right))


def with_images(data: Dataset, change: Callable[[np.ndarray], np.ndarray]) -> Dataset:
    """The data with each split's images changed."""
    return replace(data, x_train=change(data.x_train), x_val=change(data.x_val), x_test=change(data.x_test))
