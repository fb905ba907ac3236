"""A net's outputs become labels."""

import numpy as np


def labels_of(outputs: np.ndarray, *, probabilities: bool = False) -> np.ndarray:
    """Labels, int64 (n,): the largest output's place; of one output an image, whether it is above the middle.

    Args:
        outputs: (n, classes) or (n, 1).
        probabilities: whether the middle of a single output is 0.5 and not 0.
    """
    if outputs.shape[-1] == 1:
        return (outputs[:, 0] > (0.5 if probabilities else 0.0)).astype(np.int64)
    return np.argmax(outputs, axis=-1)
