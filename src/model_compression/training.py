"""One stretch of training: seeds, augmentation, fit, evaluate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .models import keras, tf

#: Batches that one call of the training function runs: 1.3 to 1.5 times as fast on a small net, but
#: traced twice, which a training of few steps never earns back. The weights are the same.
STEPS_PER_EXECUTION, SHORT_TRAINING = 50, 250
#: The batch size that a learning rate is stated for.
REFERENCE_BATCH = 128

#: Limits at strength 1: rotation and shear in radians, change of each side's length as a fraction,
#: shift in pixels of an image 28 pixels wide.
ROTATION, SHEAR, STRETCH, SHIFT = 0.17, 0.17, 0.12, 2.0 / 28

Progress = Callable[[float], None]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how fast to train.

    Args:
        epochs: passes over the training set, at least 1.
        learning_rate: Adam's peak for batches of 128; it scales linearly with `batch_size`
            (Goyal et al. 2017, arXiv:1706.02677) and falls to 0 along a cosine.
        batch_size: images a step, at least 1.
        warmup: part of the training over which the learning rate first rises from 0, in [0, 1).
        augment: how far the images are moved about, see `augment`; 0 for not at all.
    Raises:
        ValueError: a field out of range.
    """

    epochs: int
    learning_rate: float
    batch_size: int = REFERENCE_BATCH
    warmup: float = 0.0
    augment: float = 0.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}; allowed: whole numbers from 1")
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate is {self.learning_rate!r}; allowed: above 0, below 1")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is {self.warmup!r}; allowed: 0 up to but not including 1")
        if not 0 <= self.augment <= 3:
            raise ValueError(f"augment is {self.augment!r}; allowed: 0 to 3")

    def steps(self, images: int) -> int:
        """Optimizer steps that a fit on `images` images really takes."""
        return self.epochs * -(-images // self.batch_size)


class _Adam(keras.optimizers.Adam):
    """Adam on one device, whose gradients nobody has to add up.

    Keras adds them up through a custom gradient, which TensorFlow registers for the life of the
    process, and the whole training graph with it: 2 to 6 MB a training.
    """

    def aggregate_gradients(self, grads_and_vars: list[tuple[tf.Tensor, tf.Variable]]) -> list[tuple]:
        return list(grads_and_vars)


def compile_model(model: keras.Model, config: TrainConfig, images: int) -> None:
    """Adam on a cosine, cross-entropy on logits."""
    peak = config.learning_rate * config.batch_size / REFERENCE_BATCH
    steps = config.steps(images)
    rising = round(config.warmup * steps)
    schedule = (
        keras.optimizers.schedules.CosineDecay(0.0, steps - rising, warmup_target=peak, warmup_steps=rising)
        if rising
        else keras.optimizers.schedules.CosineDecay(peak, steps)
    )
    model.compile(
        optimizer=_Adam(schedule),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=1 if steps < SHORT_TRAINING else min(STEPS_PER_EXECUTION, steps // config.epochs),
    )
    # else its variables appear while the first step is traced, and Keras traces that a second time
    model.optimizer.build(model.trainable_variables)


def augment(images: tf.Tensor, strength: float, seed: tf.Tensor) -> tf.Tensor:
    """Each image rotated, sheared, stretched and shifted by amounts of its own; 0 comes in at the edges.

    Source: Simard, Steinkraus & Platt 2003, "Best practices for convolutional neural networks".
    Args:
        images: float32 (n, height, width) or (n, height, width, channels).
        strength: 0 leaves images as they are; 1 draws each amount evenly up to the limits above.
        seed: int32 (2,); the same seed moves the images the same way.
    Returns:
        float32 shaped like `images`, interpolated bilinearly.
    """
    grey = images.shape.rank == 3
    batch = images[..., None] if grey else images
    height, width = batch.shape[1:3]
    drawn = tf.random.stateless_uniform([6, tf.shape(batch)[0]], seed, -strength, strength)
    angle, shear = ROTATION * drawn[0], SHEAR * drawn[1]
    wide, high = 1 + STRETCH * drawn[2], 1 + STRETCH * drawn[3]
    cos, sin = tf.cos(angle), tf.sin(angle)
    xx, xy, yx, yy = cos * wide, (shear - sin) * wide, sin * high, cos * high
    # about the middle of the image
    x, y = (width - 1) / 2, (height - 1) / 2
    right = x - xx * x - xy * y + SHIFT * width * drawn[4]
    down = y - yx * x - yy * y + SHIFT * height * drawn[5]
    none = tf.zeros_like(angle)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=batch,
        transforms=tf.stack([xx, xy, right, yx, yy, down, none, none], axis=1),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return moved[..., 0] if grey else moved


def _augment_batches(model: keras.Model, strength: float, seed: int) -> None:
    """Make the steps of `model`'s next fit move their images; what it computes stays as it is."""
    plain = model.train_step

    def train_step(data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        images, labels = data
        # 31 bits of the seed and the step number: every step of every run draws its own
        step = tf.cast(model.optimizer.iterations, tf.int32)
        return plain((augment(images, strength, tf.stack([seed & 0x7FFFFFFF, step])), labels))

    model.train_step = train_step


#: The array that the last training took, and its copy: page by page, a copy takes up to half a second.
_last: tuple[np.ndarray, tf.Tensor] | None = None


def _tensor(images: np.ndarray) -> tf.Tensor:
    """The images as a tensor, the same as long as training after training takes the same array."""
    global _last
    if _last is None or _last[0] is not images:
        _last = images, tf.constant(images)
    return _last[1]


def _batches(images: np.ndarray, labels: np.ndarray, config: TrainConfig) -> tf.data.Dataset:
    """The batches, in the order, that Keras makes of arrays, but without tf.data's autotuning.

    The thread that tunes sleeps for ever longer, and the end of one fit in five waited seconds for it.
    """
    pixels, answers = _tensor(images), tf.constant(labels)
    size, options = config.batch_size, tf.data.Options()
    options.autotune.enabled = False

    def shuffled(_: tf.Tensor) -> tf.Tensor:
        return tf.random.shuffle(tf.range(len(images), dtype=tf.int64))

    def cut(order: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.range(0, len(images), size).map(lambda start: order[start : start + size])

    def gather(places: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.gather(pixels, places), tf.gather(answers, places)

    epochs = tf.data.Dataset.range(1).repeat(config.epochs).map(shuffled)
    return epochs.flat_map(cut).map(gather).prefetch(4).with_options(options)


class _ReportProgress(keras.callbacks.Callback):
    """Tell `report` how many epochs are done, as a float."""

    def __init__(self, report: Progress, steps_per_epoch: int) -> None:
        super().__init__()
        self.report, self.steps_per_epoch, self.epoch = report, steps_per_epoch, 0

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        if (batch + 1) % STEPS_PER_EXECUTION == 0 or batch + 1 == self.steps_per_epoch:
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
        seed: fixes the order of the batches and how images are moved; set right before the fit.
        progress: called with the epochs done so far.
    """
    keras.utils.set_random_seed(seed)
    compile_model(model, config, len(images))
    if config.augment:
        _augment_batches(model, config.augment, seed)
    steps_per_epoch = config.steps(len(images)) // config.epochs
    model.fit(
        _batches(images, labels, config),
        epochs=config.epochs,
        steps_per_epoch=steps_per_epoch,
        verbose=0,
        callbacks=[*callbacks, _ReportProgress(progress, steps_per_epoch)],
    )


def predict(model: keras.Model, images: np.ndarray, *, batch_size: int = 1000) -> np.ndarray:
    """Labels (n,) that a Keras model gives to float32 images (n, ...)."""
    # neither `predict`, which waits for tf.data's tuning, nor `predict_on_batch`, which asks for as many
    # batches as the training took a step
    score = tf.function(
        lambda batch: model(batch, training=False),
        input_signature=[tf.TensorSpec([None, *images.shape[1:]], tf.float32)],
    )
    starts = range(0, len(images), batch_size)
    scores = [score(images[start : start + batch_size]).numpy() for start in starts]
    return np.argmax(np.concatenate(scores), axis=-1)
