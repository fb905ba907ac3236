"""A net's outputs become what is asked of it, and that is scored."""

import numpy as np

from .answers import Task


def labels_of(outputs: np.ndarray, *, probabilities: bool = False, task: Task = "classes") -> np.ndarray:
    """Labels, int64 (n,): the largest output's place; of one output an image, whether it is above the middle.

    For the task "multilabel" int64 (n, labels), whether each is above the middle; for "values" the outputs.

    Args:
        outputs: (n, classes) or (n, 1).
        probabilities: whether the middle of an output is 0.5 and not 0.
    """
    if task == "values":
        return outputs.astype(np.float32, copy=False)
    above = (outputs > (0.5 if probabilities else 0.0)).astype(np.int64)
    if task == "multilabel":
        return above
    return above[:, 0] if outputs.shape[-1] == 1 else np.argmax(outputs, axis=-1)


def right(answers: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """How right each prediction is, at most 1; the mean is the score of them all.

    Whether labels are equal, or of several the fraction that is. Of values 1 - error / variance, the squared
    error of an input over the variance of all answers: the mean is the coefficient of determination, 1 for a
    net that is always right and 0 for one that always says the mean.

    Args:
        answers: as a `Dataset` holds them, (n,) or (n, ...). predicted: what `labels_of` gives, of as many
            numbers an input.
    Returns:
        Floats (n,).
    """
    given = answers.reshape(len(answers), -1)
    found = predicted.reshape(len(predicted), -1)
    if given.dtype.kind != "f":
        return np.mean(given == found, axis=1)
    errors = np.mean(np.square(found - given, dtype=np.float64), axis=1)
    return 1 - errors / (variance(given) or 1.0)


def variance(answers: np.ndarray) -> float:
    """Of values (n, ...) around the mean of each column: the squared error of always saying the mean."""
    return float(np.mean(np.var(answers.reshape(len(answers), -1), axis=0, dtype=np.float64)))
