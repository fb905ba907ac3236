"""Distillation: what the teachers say of each view, and a student that learns it."""

import re
from dataclasses import replace

import numpy as np
import pytest
from conftest import exactly

from model_compression.nets import distillation
from model_compression.nets.augmentation import draw_moves, move, view_seed
from model_compression.nets.distillation import DistillConfig
from model_compression.nets.keras2 import keras, tf
from model_compression.nets.named import build
from model_compression.nets.training import (
    DistillationLoss,
    Lesson,
    TrainConfig,
    compile_model,
    fit,
    outputs,
    taught_loss,
)

GENERATOR = np.random.default_rng(0)
LABELS = np.arange(600) % 3
IMAGES = (GENERATOR.random((600, 8, 8)) * 0.1).astype(np.float32)
IMAGES[np.arange(600), 2 * LABELS] += 0.7
STRENGTH, VIEWS = 0.5, 3
TRAIN = TrainConfig(epochs=4, learning_rate=0.02, batch_size=32, augment=STRENGTH)


def net(seed: int, name: str = "small_4s") -> keras.Sequential:
    return build(name, input_shape=(8, 8), classes=3, seed=seed)


@pytest.fixture(scope="module")
def teachers() -> list[keras.Sequential]:
    found = [net(1, "small_8s"), net(2, "small_8s")]
    for seed, teacher in enumerate(found):
        fit(teacher, IMAGES, LABELS, TRAIN, seed=seed, progress=lambda done: None)
    return found


@pytest.fixture(scope="module")
def said(teachers: list[keras.Sequential]) -> np.ndarray:
    return distillation.scores(teachers, IMAGES, strength=STRENGTH, views=VIEWS, progress=lambda done: None)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("temperature", 0, "finite, above 0"),
        ("temperature", float("inf"), "finite, above 0"),
        ("temperature", float("nan"), "finite, above 0"),
        ("views", 0, "whole numbers from 1"),
        ("views", 1.0, "whole numbers from 1"),
        ("views", True, "whole numbers from 1"),
    ],
)
def test_config_names_the_field_and_what_is_allowed(field: str, value: float, allowed: str) -> None:
    with pytest.raises(ValueError, match=exactly(f"{field} is {value!r}; allowed: {allowed}")):
        DistillConfig(**({"temperature": 2.0, "views": 1} | {field: value}))  # type: ignore[arg-type]


def test_scores_are_the_mean_of_the_teachers_log_probabilities_of_the_moved_images(
    teachers: list[keras.Sequential], said: np.ndarray
) -> None:
    assert (said.shape, said.dtype) == ((VIEWS, 600, 3), np.float16)
    for view in range(VIEWS):
        moved = move(tf.constant(IMAGES), draw_moves(600, STRENGTH, view_seed(view)))
        logits = np.stack([teacher(moved).numpy().astype(np.float64) for teacher in teachers])
        expected = (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).mean(0)
        np.testing.assert_allclose(said[view], expected, rtol=2e-3, atol=2e-3)


def test_views_differ(said: np.ndarray) -> None:
    assert not np.array_equal(said[0], said[1])


def test_progress_counts_the_views(teachers: list[keras.Sequential]) -> None:
    heard: list[float] = []
    distillation.scores(teachers, IMAGES[:50], strength=0, views=2, progress=heard.append)
    assert heard == [1, 2]


def test_loss_is_the_cross_entropy_of_softened_scores_times_the_temperature_squared() -> None:
    model = net(0)
    compile_model(model, TRAIN, 600, DistillationLoss(4.0))
    given, answered = GENERATOR.normal(size=(5, 3)), GENERATOR.normal(size=(5, 3))

    def softened(scores: np.ndarray) -> np.ndarray:
        powers = np.exp(scores / 4)
        return powers / powers.sum(axis=1, keepdims=True)

    expected = 16 * np.mean(-(softened(given) * np.log(softened(answered))).sum(axis=1))
    found = model.loss(tf.constant(given, tf.float16), tf.constant(answered, tf.float32))
    assert float(found) == pytest.approx(expected, rel=1e-3)


def test_classes_judged_each_by_itself_and_values_are_taught_as_they_are() -> None:
    given, answered = (GENERATOR.normal(size=(5, 3)).astype(np.float32) for _ in range(2))
    several = taught_loss(np.zeros((5, 3), int), 2.0, outputs=3)
    target, answer = (1 / (1 + np.exp(-scores / 2)) for scores in (given, answered))
    expected = -4 * np.mean(target * np.log(answer) + (1 - target) * np.log(1 - answer), axis=-1)
    np.testing.assert_allclose(several(tf.constant(given), tf.constant(answered)), expected, rtol=1e-4)
    values = taught_loss(np.zeros((5, 3)), 2.0, outputs=3)
    assert float(values(given, answered)) == pytest.approx(np.mean((given - answered) ** 2), rel=1e-5)
    teacher = keras.Sequential([keras.layers.InputLayer((5,)), keras.layers.Dense(3)])
    signals = GENERATOR.normal(size=(9, 5)).astype(np.float32)
    quiet = {"strength": 0, "views": 1, "progress": lambda done: None}
    raw = distillation.scores([teacher], signals, exclusive=False, **quiet)
    assert raw.dtype == np.float32
    np.testing.assert_allclose(raw[0], teacher(signals), rtol=1e-5)


def taught(said: np.ndarray, *, epochs: int = 8, labels: np.ndarray = LABELS, seed: int = 0) -> keras.Model:
    student = net(seed)
    lesson = Lesson(scores=said, strength=STRENGTH, temperature=2.0)
    train = replace(TRAIN, epochs=epochs)
    fit(student, IMAGES, labels, train, seed=seed, progress=lambda done: None, lesson=lesson)
    return student


def test_student_learns_what_the_teachers_say_and_not_the_labels(said: np.ndarray) -> None:
    # with scores of the classes in another order, and the labels none at all
    shifted = np.roll(said, 1, axis=-1)
    student = taught(shifted, labels=np.zeros(600, np.int64))
    assert np.mean(outputs(student, IMAGES).argmax(1) == (LABELS + 1) % 3) > 0.9


def test_student_sees_the_views_that_the_teachers_saw(said: np.ndarray) -> None:
    """A training of three epochs needs each view once, of one epoch the first alone."""
    once = taught(said[:1], epochs=1)
    longer = taught(said, epochs=1)
    for one, other in zip(once.get_weights(), longer.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    seen = taught(said, epochs=2).get_weights()
    repeated = taught(said[:1], epochs=2).get_weights()
    assert not all(np.array_equal(one, other) for one, other in zip(seen, repeated, strict=True))


def test_same_seed_gives_the_same_student(said: np.ndarray) -> None:
    for one, other in zip(taught(said).get_weights(), taught(said).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_inputs_that_are_no_images_are_taught_as_they_are() -> None:
    signals = GENERATOR.normal(size=(90, 5)).astype(np.float32)
    layers = [keras.layers.InputLayer((5,)), keras.layers.Dense(3)]
    teacher = keras.Sequential(layers)
    said = distillation.scores([teacher], signals, strength=0, views=1, progress=lambda done: None)
    logits = teacher(signals).numpy()
    np.testing.assert_allclose(said[0], tf.nn.log_softmax(logits), rtol=2e-3, atol=2e-3)
    student = keras.Sequential([keras.layers.InputLayer((5,)), keras.layers.Dense(3)])
    lesson = Lesson(scores=said, strength=0, temperature=1.0)
    train = replace(TRAIN, epochs=30, learning_rate=0.3)
    fit(student, signals, np.zeros(90, np.int64), train, seed=0, progress=lambda done: None, lesson=lesson)
    assert np.mean(outputs(student, signals).argmax(1) == logits.argmax(1)) > 0.9
    message = "augment is 0.5 and the data are inputs (5,); allowed: 0, since only images"
    for moving in (
        lambda: distillation.scores([teacher], signals, strength=0.5, views=1, progress=lambda done: None),
        lambda: fit(
            student,
            signals,
            np.zeros(90, np.int64),
            train,
            seed=0,
            progress=lambda done: None,
            lesson=replace(lesson, strength=0.5),
        ),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
            moving()
