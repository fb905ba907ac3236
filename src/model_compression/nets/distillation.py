"""Distillation: a small net learns the scores that better ones give, instead of the labels alone.

Teacher and student see the same moved images (Beyer et al. 2022, arXiv:2106.05237). What the teachers
say of them is computed once for all students: each training image in so many views, a view an epoch.

Source: Hinton, Vinyals & Dean 2015, arXiv:1503.02531.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..checks import check, check_whole
from .augmentation import check_images, draw_moves, move, view_seed
from .keras2 import keras, tf

#: Images that the teachers score at once.
BATCH = 500


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """How a net is taught.

    Args:
        temperature: teacher's and student's scores are divided by it in the loss; above 0.
        views: ways in which each training image is moved; a longer training begins anew with the first.
    Raises:
        ValueError: a field out of range.
    """

    temperature: float
    views: int

    def __post_init__(self) -> None:
        check(0 < self.temperature < float("inf"), "temperature", self.temperature, "finite, above 0")
        check_whole("views", self.views, 1)


def scores(
    teachers: Sequence[keras.Model],
    images: np.ndarray,
    *,
    strength: float,
    views: int,
    progress: Callable[[float], None],
    exclusive: bool = True,
) -> np.ndarray:
    """The mean of what the teachers say, see `training.Lesson`.

    Args:
        teachers: any float nets that give logits or values, the user's own likewise.
        images: float32 (n, ...). strength: see `augmentation.augment`; at 0 the inputs, which need be no
            images then, are the same in each view.
        progress: called with the views done so far.
        exclusive: whether an input has one class, so that log-probabilities are what can be averaged.
    Returns:
        (views, n, outputs): float16 log-probabilities, or float32.
    Raises:
        ValueError: inputs that are no images shall be moved.
    """
    check_images(strength, images.shape[1:])

    @tf.function(reduce_retracing=True)
    def score(batch: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        seen = move(batch, drawn) if strength else batch
        given = [teacher(seen, training=False) for teacher in teachers]
        if exclusive:
            given = [tf.nn.log_softmax(outputs) for outputs in given]
        return tf.cast(tf.add_n(given) / len(given), tf.float16 if exclusive else tf.float32)

    def view(number: int) -> np.ndarray:
        drawn = draw_moves(len(images), strength, view_seed(number))
        starts = range(0, len(images), BATCH)
        found = [score(images[at : at + BATCH], drawn[:, at : at + BATCH]).numpy() for at in starts]
        progress(number + 1)
        return np.concatenate(found)

    return np.stack([view(number) for number in range(views)])
