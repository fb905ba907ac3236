import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from conftest import Nets, exactly

from model_compression.nets import training
from model_compression.nets.keras2 import keras, tf
from model_compression.nets.layers import clone
from model_compression.nets.named import build
from model_compression.nets.training import TrainConfig, compile_model, fit, outputs

GENERATOR = np.random.default_rng(0)
LABELS = np.arange(70) % 3
IMAGES = (GENERATOR.random((70, 8, 8)) * 0.1 + LABELS[:, None, None] / 3).astype(np.float32)
CONFIG = TrainConfig(epochs=2, learning_rate=0.05, batch_size=16)
LOSS = training.loss_of(LABELS, outputs=3)


def net() -> keras.Sequential:
    return build("baseline_2", input_shape=(8, 8), classes=3, seed=0)


@dataclass(frozen=True)
class Run:
    """What one fit left behind."""

    weights: list[np.ndarray]
    steps: int
    heard: list[float]


def run(config: TrainConfig = CONFIG, *, seed: int) -> Run:
    model, heard = net(), []
    fit(model, IMAGES, LABELS, config, seed=seed, progress=heard.append)
    return Run(model.get_weights(), int(model.optimizer.iterations), heard)


@pytest.fixture(scope="module")
def seed_0() -> Run:
    return run(seed=0)


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(left, right) for left, right in zip(one, other, strict=True))


@pytest.mark.parametrize("field", ["epochs", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, 1.0, True, "2", None])
def test_epochs_and_batch_size_below_1_are_refused(field: str, value: object) -> None:
    message = f"{field} is {value!r}; allowed: whole numbers from 1"
    with pytest.raises(ValueError, match=exactly(message)):
        replace(CONFIG, **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, -0.1, 1, math.nan])
def test_learning_rate_outside_0_to_1_is_refused(value: float) -> None:
    message = f"learning_rate is {value!r}; allowed: above 0, below 1"
    with pytest.raises(ValueError, match=exactly(message)):
        replace(CONFIG, learning_rate=value)


@pytest.mark.parametrize("value", [-0.1, 1, math.nan])
def test_warmup_of_the_whole_training_is_refused(value: float) -> None:
    message = f"warmup is {value!r}; allowed: 0 up to but not including 1"
    with pytest.raises(ValueError, match=exactly(message)):
        replace(CONFIG, warmup=value)


@pytest.mark.parametrize("value", [-0.1, 3.1, math.nan])
def test_augment_outside_0_to_3_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=exactly(f"augment is {value!r}; allowed: 0 to 3")):
        replace(CONFIG, augment=value)


def test_smallest_configs_are_allowed() -> None:
    assert TrainConfig(epochs=1, learning_rate=1e-9, batch_size=1).steps(1) == 1


@pytest.mark.parametrize(("images", "steps"), [(64, 8), (65, 10), (63, 8), (16, 2), (1, 2)])
def test_steps_count_the_last_short_batch(images: int, steps: int) -> None:
    assert CONFIG.steps(images) == steps


def test_steps_are_those_the_optimizer_takes(seed_0: Run) -> None:
    assert seed_0.steps == CONFIG.steps(len(IMAGES)) == 10


def test_learning_rate_scales_with_the_batch_and_falls_to_0() -> None:
    model = net()
    compile_model(model, CONFIG, len(IMAGES), LOSS)
    schedule = model.optimizer._learning_rate
    peak = 0.05 * 16 / 128
    assert float(schedule(0)) == pytest.approx(peak)
    assert float(schedule(5)) == pytest.approx(peak / 2)
    assert float(schedule(10)) == pytest.approx(0, abs=1e-9)


def test_learning_rate_rises_first_where_asked() -> None:
    model = net()
    compile_model(model, replace(CONFIG, warmup=0.4), len(IMAGES), LOSS)
    schedule = model.optimizer._learning_rate
    peak = 0.05 * 16 / 128
    assert [float(schedule(step)) for step in (0, 2, 4, 7, 10)] == pytest.approx(
        [0, peak / 2, peak, peak / 2, 0], abs=1e-9
    )


def test_same_seed_gives_the_same_weights_whatever_was_drawn_before(seed_0: Run) -> None:
    np.random.random(100)
    tf.random.normal([100])
    assert same(run(seed=0).weights, seed_0.weights)


def test_seed_0_is_a_seed_like_any_other(seed_0: Run) -> None:
    assert not same(run(seed=1).weights, seed_0.weights)


def test_training_learns(nets: Nets) -> None:
    accuracy = np.mean(outputs(nets["baseline"], nets.validation).argmax(axis=1) == nets.data.y_val)
    assert accuracy > 0.7


def test_progress_ends_at_the_number_of_epochs(seed_0: Run) -> None:
    assert seed_0.heard == [1, 2]


def test_training_a_clone_leaves_the_original_alone() -> None:
    model = net()
    before = model.get_weights()
    copy = clone(model)
    fit(copy, IMAGES, LABELS, CONFIG, seed=0, progress=lambda done: None)
    assert same(before, model.get_weights())
    assert not same(before, copy.get_weights())


def test_predictions_are_the_largest_logit_whatever_the_batch() -> None:
    model = net()
    expected = np.argmax(model(IMAGES).numpy(), axis=1)
    for batch_size in (1, 64, 1000):
        found = training.labels(model, outputs(model, IMAGES, batch_size=batch_size))
        np.testing.assert_array_equal(found, expected)


def test_long_trained_net_predicts_as_it_computes() -> None:
    # trained with many batches a step
    config = TrainConfig(epochs=4, learning_rate=0.01, batch_size=1)
    assert config.steps(len(IMAGES)) >= training.SHORT_TRAINING
    model = net()
    fit(model, IMAGES, LABELS, config, seed=0, progress=lambda done: None)
    found = np.argmax(outputs(model, IMAGES), axis=1)
    np.testing.assert_array_equal(found, np.argmax(model(IMAGES).numpy(), axis=1))


def test_training_on_moved_images_differs_repeats_and_tells_its_progress() -> None:
    # 70 steps, told every 50
    config = TrainConfig(epochs=1, learning_rate=0.01, batch_size=1, augment=1.0)
    moved_once, moved_again = run(config, seed=0), run(config, seed=0)
    assert same(moved_once.weights, moved_again.weights)
    assert not same(moved_once.weights, run(replace(config, augment=0.0), seed=0).weights)
    assert moved_once.heard == pytest.approx([50 / 70, 1])


@pytest.mark.parametrize("shape", [(8,), (2, 2, 2, 2)])
def test_only_images_are_moved(shape: tuple[int, ...]) -> None:
    inputs = np.zeros((4, *shape), np.float32)
    message = (
        f"augment is 0.5 and the data are inputs {shape}; allowed: 0, "
        "since only images (height, width) or (height, width, channels) can be moved"
    )
    with pytest.raises(ValueError, match=exactly(message)):
        fit(net(), inputs, LABELS[:4], replace(CONFIG, augment=0.5), seed=0, progress=lambda done: None)


# What a net is trained by

SCORES = GENERATOR.normal(size=(5, 3)).astype(np.float32)
SHARES = 1 / (1 + np.exp(-SCORES.astype(np.float64)))


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (
            np.array([0, 2, 1, 1, 0]),
            -np.mean((SCORES - np.log(np.exp(SCORES).sum(1, keepdims=True)))[range(5), [0, 2, 1, 1, 0]]),
        ),
        (np.eye(3, dtype=np.int64)[[0, 2, 1, 1, 0]] | [[1, 0, 0]], None),
        (SCORES + np.float32(0.5), 0.25),
    ],
    ids=["labels", "several labels", "values"],
)
def test_loss_follows_from_the_answers(answers: np.ndarray, expected: float | None) -> None:
    if expected is None:
        expected = -np.mean(np.where(answers == 1, np.log(SHARES), np.log(1 - SHARES)))
    assert float(training.loss_of(answers, outputs=SCORES.shape[-1])(answers, SCORES)) == pytest.approx(
        expected, rel=1e-5
    )


def test_values_are_learned() -> None:
    inputs = GENERATOR.normal(size=(200, 3)).astype(np.float32)
    asked = inputs @ np.array([[1, 0], [-1, 2], [0, 1]], np.float32)
    model = keras.Sequential([keras.layers.InputLayer((3,)), keras.layers.Dense(2)])
    config = TrainConfig(epochs=20, learning_rate=0.5, batch_size=32)
    fit(model, inputs, asked, config, seed=0, progress=lambda done: None)
    np.testing.assert_allclose(training.outputs(model, inputs, batch_size=64), asked, atol=0.1)
