"""One stretch of training: seeds, fit, evaluate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .models import keras

#: Batches that one call of the training function runs: 1.3 to 1.5 times as fast on a small net.
STEPS_PER_EXECUTION = 50
#: The batch size that a learning rate is stated for.
REFERENCE_BATCH = 128

Progress = Callable[[float], None]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how fast to train.

    Args:
        epochs: passes over the training set, at least 1.
        learning_rate: Adam's peak for batches of 128; it scales linearly with `batch_size`
            (Goyal et al. 2017, arXiv:1706.02677) and falls to 0 along a cosine.
        batch_size: images a step, at least 1.
    Raises:
        ValueError: a field out of range.
    """

    epochs: int
    learning_rate: float
    batch_size: int = REFERENCE_BATCH

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}; allowed: whole numbers from 1")
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate is {self.learning_rate!r}; allowed: above 0, below 1")

    def steps(self, images: int) -> int:
        """Optimizer steps that a fit on `images` images really takes."""
        return self.epochs * -(-images // self.batch_size)


def compile_model(model: keras.Model, config: TrainConfig, images: int) -> None:
    """Adam on a cosine, cross-entropy on logits."""
    peak = config.learning_rate * config.batch_size / REFERENCE_BATCH
    schedule = keras.optimizers.schedules.CosineDecay(peak, config.steps(images))
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=min(STEPS_PER_EXECUTION, -(-images // config.batch_size)),
    )


class _ReportProgress(keras.callbacks.Callback):
    """Tell `report` how many epochs are done, as a float."""

    def __init__(self, report: Progress, steps_per_epoch: int) -> None:
        super().__init__()
        self.report, self.steps_per_epoch, self.epoch = report, steps_per_epoch, 0

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.report(self.epoch + (batch + 1) / self.steps_per_epoch)


def fit(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    config: TrainConfig,
    *,
    seed: int,
    progress: Progress,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Train `model` in place.

    Args:
        images: float32 (n, ...), scaled as the net expects.
        labels: int (n,).
        seed: fixes the order of the batches; set right before the fit.
        progress: called with the epochs done so far.
    """
    keras.utils.set_random_seed(seed)
    compile_model(model, config, len(images))
    steps_per_epoch = config.steps(len(images)) // config.epochs
    model.fit(
        images,
        labels,
        batch_size=config.batch_size,
        epochs=config.epochs,
        verbose=0,
        callbacks=[*callbacks, _ReportProgress(progress, steps_per_epoch)],
    )


def predict(model: keras.Model, images: np.ndarray, *, batch_size: int = 1000) -> np.ndarray:
    """Labels (n,) that a Keras model gives to float32 images (n, ...)."""
    return np.argmax(model.predict(images, batch_size=batch_size, verbose=0), axis=-1)
