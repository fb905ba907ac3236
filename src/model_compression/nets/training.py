"""One stretch of training: seeds, loss, fit, evaluate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..checks import check, check_whole
from ..data.answers import Task
from ..data.labels import labels_of
from .augmentation import augment, check_images, draw_moves, move, view_seed
from .keras2 import keras, tf

#: Batches that one call of the training function runs: 1.3 to 1.5 times as fast on a small net, but
#: traced twice, which a training of few steps never earns back. The weights are the same.
STEPS_PER_EXECUTION, SHORT_TRAINING = 50, 250
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
        warmup: part of the training over which the learning rate first rises from 0, in [0, 1).
        augment: how far images are moved about, see `augmentation.augment`; 0 for not at all.
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
            check_whole(name, getattr(self, name), 1)
        check(0 < self.learning_rate < 1, "learning_rate", self.learning_rate, "above 0, below 1")
        check(0 <= self.warmup < 1, "warmup", self.warmup, "0 up to but not including 1")
        check(0 <= self.augment <= 3, "augment", self.augment, "0 to 3")

    def steps(self, images: int) -> int:
        """Optimizer steps that a fit on `images` images really takes."""
        return self.epochs * -(-images // self.batch_size)


class _Adam(keras.optimizers.Adam):
    """Adam on one device, where no gradients have to be added up.

    Keras's way of adding keeps the whole training graph for the life of the process: 2 to 6 MB a training.
    """

    def aggregate_gradients(self, grads_and_vars: list[tuple[tf.Tensor, tf.Variable]]) -> list[tuple]:
        return list(grads_and_vars)


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """What a teacher says of the training inputs, images each moved about in several ways.

    Args:
        scores: (views, inputs, outputs): log-probabilities of exclusive classes, else the outputs as they
            are, see `exclusive`. View v of images is
            `move(images, draw_moves(len(images), strength, view_seed(v)))`.
        strength: how far the images were moved, see `augmentation.augment`; at 0 every view is the inputs
            as they are, images or not.
        temperature: of the loss, above 0: teacher's and student's scores are divided by it.
    """

    scores: np.ndarray
    strength: float
    temperature: float


class DistillationLoss(keras.losses.Loss):
    """Cross-entropy of softened probabilities; its factor keeps the gradients of one size.

    Source: Hinton, Vinyals & Dean 2015, arXiv:1503.02531, section 2.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        target = tf.nn.softmax(tf.cast(y_true, y_pred.dtype) / self.temperature)
        lost = tf.nn.softmax_cross_entropy_with_logits(labels=target, logits=y_pred / self.temperature)
        return self.temperature**2 * lost


def _each_sigmoid(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy of a logit a class, or of a single one."""
    classes = logits.shape[-1]
    labels = tf.cast(tf.reshape(labels, [-1]), tf.int32)
    wanted = tf.cast(labels[:, None], logits.dtype) if classes == 1 else tf.one_hot(labels, classes)
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=wanted, logits=logits), axis=-1)


def exclusive(answers: np.ndarray, *, outputs: int, ending: str = "softmax") -> bool:
    """Whether each input has one of several classes; the arguments are those of `loss_of`."""
    return answers.dtype.kind != "f" and answers.ndim == 1 and ending != "sigmoid" and outputs > 1


def loss_of(answers: np.ndarray, *, outputs: int, ending: str = "softmax") -> object:
    """What a net is trained by: squared errors of values, cross-entropy of labels, on logits.

    Args:
        answers: as a `Dataset` holds them: floats (n, ...) for values, ints (n,) for labels, ints
            (n, labels) of 0 and 1 where an input can have several.
        outputs: of the net. ending: the function that makes probabilities, or values, of its logits:
            "sigmoid" judges each by itself.
    """
    if answers.dtype.kind == "f":
        squash = tf.sigmoid if ending == "sigmoid" else tf.identity
        return lambda values, z: tf.reduce_mean(tf.square(squash(z) - tf.reshape(values, tf.shape(z))))
    if answers.ndim > 1:
        return keras.losses.BinaryCrossentropy(from_logits=True)
    if exclusive(answers, outputs=outputs, ending=ending):
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return _each_sigmoid


def taught_loss(answers: np.ndarray, temperature: float, *, outputs: int, ending: str = "softmax") -> object:
    """What a net is trained by where a teacher's scores stand for the answers; see `loss_of`."""
    if answers.dtype.kind == "f":
        return keras.losses.MeanSquaredError()
    if exclusive(answers, outputs=outputs, ending=ending):
        return DistillationLoss(temperature)

    def each(scores: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        target = tf.sigmoid(scores / temperature)
        lost = tf.nn.sigmoid_cross_entropy_with_logits(labels=target, logits=logits / temperature)
        return temperature**2 * tf.reduce_mean(lost, axis=-1)

    return each


def compile_model(model: keras.Model, config: TrainConfig, images: int, loss: object) -> None:
    """Adam on a cosine."""
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
        loss=loss,
        steps_per_execution=1 if steps < SHORT_TRAINING else min(STEPS_PER_EXECUTION, steps // config.epochs),
    )
    # else its variables appear while the first step is traced, and Keras traces that a second time
    model.optimizer.build(model.trainable_variables)


#: The array that the last training took, and its copy: page by page, a copy takes up to half a second.
_last: tuple[np.ndarray, tf.Tensor] | None = None


def _tensor(images: np.ndarray) -> tf.Tensor:
    """The images as a tensor, the same as long as training after training takes the same array."""
    global _last
    if _last is None or _last[0] is not images:
        _last = images, tf.constant(images)
    return _last[1]


def _batches(
    images: np.ndarray, labels: np.ndarray, config: TrainConfig, lesson: Lesson | None, seed: int
) -> tf.data.Dataset:
    """The batches, in the order, that Keras makes of arrays; with a lesson, what the teacher saw and said.

    A view of the lesson an epoch, the first again after the last. Without tf.data's autotuning: the thread
    that tunes sleeps for ever longer, and the end of one fit in five waited seconds for it.
    """
    pixels, answers = _tensor(images), tf.constant(lesson.scores if lesson else labels)
    count, size, options = len(images), config.batch_size, tf.data.Options()
    options.autotune.enabled = False

    # the seed of a shuffle is the number of operations before it
    def shuffled(epoch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        order = tf.random.shuffle(tf.range(count, dtype=tf.int64))
        return answers, tf.zeros([6, 0]), order, epoch

    def shown(view: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        assert lesson is not None
        moves = draw_moves(count, lesson.strength, view_seed(view))
        return answers[view], moves, tf.random.shuffle(tf.range(count, dtype=tf.int64)), view

    def cut(said: tf.Tensor, moves: tf.Tensor, order: tf.Tensor, epoch: tf.Tensor) -> tf.data.Dataset:
        def batch(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            places = order[start : start + size]
            seen = tf.gather(pixels, places)
            if lesson and lesson.strength:
                seen = move(seen, tf.gather(moves, places, axis=1))
            if config.augment and lesson is None:
                # 31 bits of the seed and the step's number: every step of every run draws its own
                step = tf.cast(epoch * -(-count // size) + start // size, tf.int32)
                seen = augment(seen, config.augment, tf.stack([seed & 0x7FFFFFFF, step]))
            return seen, tf.gather(said, places)

        return tf.data.Dataset.range(0, count, size).map(batch)

    epochs = tf.data.Dataset.range(config.epochs)
    if lesson:
        views = len(lesson.scores)
        drawn = epochs.map(lambda epoch: epoch % views).map(shown)
    else:
        drawn = epochs.map(shuffled)
    return drawn.flat_map(cut).prefetch(4).with_options(options)


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
    lesson: Lesson | None = None,
    ending: str = "softmax",
) -> None:
    """Train `model` in place.

    Args:
        images: float32 (n, ...), scaled as the net expects. labels, ending: see `loss_of`.
        seed: fixes the order of the batches and how images are moved; set right before the fit.
        progress: called with the epochs done so far.
        lesson: learn this of the images, moved as the teacher saw them, in place of the labels.
    Raises:
        ValueError: inputs that are no images shall be moved.
    """
    check_images(lesson.strength if lesson else config.augment, images.shape[1:])
    keras.utils.set_random_seed(seed)
    kind = {"outputs": model.output_shape[-1], "ending": ending}
    loss = taught_loss(labels, lesson.temperature, **kind) if lesson else loss_of(labels, **kind)
    compile_model(model, config, len(images), loss)
    steps_per_epoch = config.steps(len(images)) // config.epochs
    model.fit(
        _batches(images, labels, config, lesson, seed),
        epochs=config.epochs,
        steps_per_epoch=steps_per_epoch,
        verbose=0,
        callbacks=[*callbacks, _ReportProgress(progress, steps_per_epoch)],
    )


def outputs(model: keras.Model, images: np.ndarray, *, batch_size: int = 1000) -> np.ndarray:
    """What a Keras model of one output gives for float32 inputs (n, ...), float32 (n, ...)."""
    # neither `predict`, which waits for tf.data's tuning, nor `predict_on_batch`, which asks for as many
    # batches as the training took a step
    score = tf.function(
        lambda batch: model(batch, training=False),
        input_signature=[tf.TensorSpec([None, *images.shape[1:]], tf.float32)],
    )
    starts = range(0, len(images), batch_size)
    return np.concatenate([score(images[start : start + batch_size]).numpy() for start in starts])


def labels(model: keras.Model, outputs: np.ndarray, *, task: Task = "classes") -> np.ndarray:
    """What a Keras model's outputs (n, ...) say, see `labels_of`."""
    ends_in_sigmoid = getattr(model.layers[-1], "activation", None) is keras.activations.sigmoid
    return labels_of(outputs, probabilities=ends_in_sigmoid, task=task)
