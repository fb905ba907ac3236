"""The contract: a model and its files agree on the same raw inputs, kind by kind."""

import pickle
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from model_compression.data.datasets import Dataset
from model_compression.files import running
from model_compression.techniques.base import Kept

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TFMOT's, at its import
    from model_compression.files import conversion, guard
    from model_compression.nets import training
    from model_compression.nets.keras2 import keras
    from model_compression.quiet import quiet
    from model_compression.saved_models import building, fitting, loading, taking
    from model_compression.study import applicable
    from model_compression.study.recipes import Recipe, Step
    from model_compression.techniques.quantization import QuantizeConfig

layers = keras.layers
IMAGE, SIGNAL = (12, 12, 3), (32, 3)


def _chain(*parts: Any, shape: tuple[int, ...] = IMAGE) -> keras.Model:
    return keras.Sequential([keras.Input(shape), *parts])


def _residual() -> keras.Model:
    image = keras.Input(IMAGE)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.Rescaling(1 / 255)(image))
    y = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(x))
    return keras.Model(image, layers.Dense(4)(layers.Flatten()(layers.ReLU()(x + y))))


def _shared() -> keras.Model:
    image = keras.Input(IMAGE)
    x = layers.Conv2D(6, 3, padding="same", activation="relu")(layers.Rescaling(1 / 255)(image))
    tied = layers.Conv2D(6, 3, padding="same", activation="relu")
    x = tied(x)
    x = layers.Add()([x, tied(x)])
    return keras.Model(image, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


#: By kind: the model, and the layer's shape and numbers that it takes (pixels, or floats of a size).
KINDS: dict[str, tuple[Callable[[], keras.Model], tuple[int, ...], float]] = {
    "chain, Rescaling to -1..1, padded, softmax": (
        lambda: _chain(
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ),
        IMAGE,
        255,
    ),
    "residual, logits": (_residual, IMAGE, 255),
    "Resizing, depthwise, a sigmoid a class": (
        lambda: _chain(
            layers.Resizing(8, 8),
            layers.Rescaling(1 / 255),
            layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu"),
            layers.Conv2D(8, 1, activation="relu"),
            layers.Flatten(),
            layers.Dense(4),
            layers.Activation("sigmoid"),
        ),
        IMAGE,
        255,
    ),
    "one sigmoid behind a Normalization by column": (
        lambda: _chain(
            layers.Normalization(mean=[50.0, 60, 70, 80], variance=[400.0, 256, 784, 625]),
            layers.Dense(12, activation="relu"),
            layers.Dense(1, activation="sigmoid"),
            shape=(4,),
        ),
        (4,),
        100,
    ),
    "signal, dilated and causal": (
        lambda: _chain(
            layers.Conv1D(6, 3, dilation_rate=2, padding="causal", activation="relu"),
            layers.MaxPooling1D(2),
            layers.SeparableConv1D(6, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
            shape=SIGNAL,
        ),
        SIGNAL,
        1,
    ),
    "floats in the thousands, dilated image": (
        lambda: _chain(
            layers.Conv2D(6, 3, dilation_rate=2, padding="same", activation="relu"),
            layers.DepthwiseConv2D(3, dilation_rate=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(4),
        ),
        IMAGE,
        2000,
    ),
    "layer called twice": (_shared, IMAGE, 255),
}


def _made(kind: str, folder: Path) -> tuple[keras.Model, fitting.Fitted, Dataset, np.ndarray]:
    """The model, what it becomes, its data, and raw images as the model takes them."""
    build, shape, size = KINDS[kind]
    keras.utils.set_random_seed(1)
    model = build()
    model.save(folder / "own.keras")
    generator = np.random.default_rng(0)
    images = generator.uniform(0 if size == 255 else -size, size, (120, *shape)).astype(np.float32)
    if kind.startswith("one"):
        images = generator.normal([50, 60, 70, 80], [20, 10, 30, 5], (120, 4)).astype(np.float32)
    if size == 255:
        images = images.astype(np.uint8)
    classes = max(2, model.output_shape[-1])
    labels = np.arange(120) % classes
    data = Dataset(
        name=kind, x_train=images, y_train=labels, x_val=images, y_val=labels, x_test=images,
        y_test=labels, classes=classes, task="binary" if model.output_shape[-1] == 1 else "classes",
    )  # fmt: skip
    fitted = fitting.fit_to(loading.load(folder / "own.keras"), data)
    return model, fitted, data, images.astype(np.float32)


def _apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.sqrt(np.mean((ours - theirs) ** 2)) / np.std(theirs))


@pytest.mark.parametrize("kind", KINDS)
def test_model_and_files_agree_on_raw_inputs(kind: str, tmp_path: Path) -> None:
    model, fitted, data, raw = _made(kind, tmp_path)
    theirs = np.asarray(model(raw))
    net = taking.as_taken(building.to_keras(fitted.net), fitted)
    np.testing.assert_allclose(net(raw), theirs, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(fitted.fed(data).x_val, raw)
    assert np.abs(fitted.seen(data).x_val).max() <= 10
    for form, one_image, most in (("float32", False, 1e-3), ("int8", True, 0.15)):
        export = conversion.ExportConfig(form=form, one_image=one_image)
        content = conversion.export(net, export, representative=raw)
        promise = guard.RULES[form], Kept()
        guard.check_file(content, net, *promise, images=raw, trained=net)
        ours = running.logits(content, raw)
        assert ours.shape == theirs.shape
        assert _apart(ours, theirs) < most
        details = running.io_details(content)
        if form == "int8":
            step = details.input_scale
            covered = step * (-128 - details.input_zero_point), step * (127 - details.input_zero_point)
            np.testing.assert_allclose(covered, (min(raw.min(), 0), raw.max()), atol=step)


@pytest.mark.parametrize(("ending", "within"), [("softmax", "softmax"), ("sigmoid", "activation")])
def test_function_at_the_end_has_a_name_of_its_own(
    ending: str, within: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras.backend.clear_session()
    hidden = keras.layers.Activation("softmax", name=within)
    net = keras.Sequential([keras.Input((3,)), hidden, keras.layers.Dense(2)])
    fitted: Any = SimpleNamespace(factor=1, net=SimpleNamespace(ending=ending))
    monkeypatch.setattr(taking, "first_kernels", lambda net: None)
    taken = taking.as_taken(keras.Model(net.input, net.output), fitted)
    assert len({layer.name for layer in taken.layers}) == len(taken.layers) == 4


def test_quantization_aware_net_takes_what_the_model_took(tmp_path: Path) -> None:
    model, fitted, data, raw = _made("chain, Rescaling to -1..1, padded, softmax", tmp_path)
    technique, seen = QuantizeConfig(), fitted.seen(data)
    net = building.to_keras(fitted.net)
    config = training.TrainConfig(epochs=60, learning_rate=1e-6, batch_size=30)
    with quiet():
        wrapped = technique.wrap(net, steps=240, seed=0)
        training.fit(wrapped, seen.x_train, seen.y_train, config, seed=0, progress=lambda done: None)
        trained = technique.strip(wrapped)
        before = np.asarray(trained(seen.x_val))
        taken = taking.as_taken(trained, fitted)
    softmax = np.exp(before) / np.exp(before).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(taken(raw), softmax, atol=1e-3)
    content = conversion.export(taken, conversion.ExportConfig(form="int8"), representative=None)
    assert running.last_operator(content) == "SOFTMAX"
    assert _apart(running.logits(content, raw), np.asarray(model(raw))) < 0.3


def test_net_that_reads_its_input_twice_is_trained_on_it_as_it_is(tmp_path: Path) -> None:
    image = keras.Input(IMAGE)
    x = layers.Concatenate()([layers.Conv2D(3, 3, padding="same")(image), image])
    keras.Model(image, layers.Dense(2)(layers.Flatten()(x))).save(tmp_path / "own.keras")
    images = np.random.default_rng(0).integers(0, 256, (40, *IMAGE)).astype(np.float32)
    labels = np.arange(40) % 2
    data = Dataset(
        name="x", x_train=images, y_train=labels, x_val=images, y_val=labels, x_test=images,
        y_test=labels, classes=2,
    )  # fmt: skip
    fitted = fitting.fit_to(loading.load(tmp_path / "own.keras"), data)
    assert fitted.factor == 1.0
    small = fitting.fit_to(loading.load(tmp_path / "own.keras"), replace(data, name="y"))
    assert pickle.loads(pickle.dumps(small)).range == fitted.range


#: Of the channels of an input that one scale of integers cannot hold.
SIZES = np.array([1.0, 3, 5000, 2])
UNEVEN: dict[str, tuple[keras.layers.Layer, ...]] = {
    "table": (layers.Dense(12, activation="relu"),),
    "signal": (layers.Conv1D(6, 3, activation="relu"), layers.Flatten()),
    "image": (layers.Conv2D(6, 3, padding="same", activation="relu"), layers.GlobalAveragePooling2D()),
}
SHAPES = {"table": (4,), "signal": (16, 4), "image": (6, 6, 4)}


@pytest.mark.parametrize("kind", UNEVEN)
def test_channels_of_very_different_sizes_are_made_alike_in_floats(kind: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(2)
    normal = layers.Normalization(mean=10 * SIZES, variance=SIZES**2)
    parts = [type(layer).from_config(layer.get_config()) for layer in UNEVEN[kind]]
    model = _chain(normal, *parts, layers.Dense(4), shape=SHAPES[kind])
    model.save(tmp_path / "own.keras")
    raw = np.random.default_rng(0).normal(10 * SIZES, SIZES, (160, *SHAPES[kind])).astype(np.float32)
    theirs = np.asarray(model(raw))
    labels = theirs.argmax(axis=1)
    data = Dataset(
        name=kind, x_train=raw, y_train=labels, x_val=raw, y_val=labels, x_test=raw, y_test=labels, classes=4,
    )  # fmt: skip
    fitted = fitting.fit_to(loading.load(tmp_path / "own.keras"), data)
    net = taking.as_taken(building.to_keras(fitted.net), fitted)
    np.testing.assert_allclose(net(raw), theirs, rtol=1e-3, atol=1e-4)
    step = Step(train=training.TrainConfig(epochs=1, learning_rate=1e-3))
    path, int8 = str(tmp_path / "own.keras"), conversion.ExportConfig(form="int8")
    recipes = {
        name: Recipe(name=name, net=path, steps=steps, export=int8)
        for name, steps in {"trained": (step,), "plain": ()}.items()
    }
    kept, left_out = applicable.applicable(net, recipes)
    assert {name: recipe.export.form for name, recipe in kept.items()} == {"trained": "int8_mixed"}
    assert left_out["plain"].startswith("an integer input would lose what is small")
    apart = {}
    for form in ("float32", "int8_mixed", "int8"):
        content = conversion.export(net, conversion.ExportConfig(form=form), representative=raw)
        apart[form] = _apart(running.logits(content, raw), theirs)
        if form != "int8":
            promise = guard.RULES[form], Kept()
            guard.check_file(content, net, *promise, images=raw, trained=net)
    assert apart["float32"] < 1e-3 < apart["int8_mixed"] < 0.15 < 0.3 < apart["int8"]
