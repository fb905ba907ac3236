"""What is only written differently becomes the layers that the methods take, and computes the same."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TFMOT's, at its import
    from model_compression.nets.keras2 import keras
    from model_compression.saved_models import building, canonical, folding, reader
    from model_compression.saved_models.graphs import Net

layers = keras.layers


def _chain(*parts: Any, shape: tuple[int | None, ...] = (8, 8, 3)) -> keras.Model:
    return keras.Sequential([keras.Input(shape), *parts])


def _residual() -> keras.Model:
    signal = keras.Input((16, 3))
    x = layers.Conv1D(4, 3, padding="same")(signal)
    y = layers.Activation("swish")(layers.BatchNormalization()(x))
    x = layers.Concatenate(axis=1)([x, y])
    x = layers.Add()([x, layers.Dense(4)(x)])
    return keras.Model(signal, layers.GlobalMaxPooling1D()(layers.Concatenate()([x, x])))


def _gated() -> keras.Model:
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3)(image)
    return keras.Model(image, layers.Multiply()([x, layers.ReLU(6.0)(x + 3.0) * (1.0 / 6.0)]))


SIGNAL = (16, 3)
#: By name: the model, and the kinds of layers with kernels that it becomes.
SAME: dict[str, tuple[Callable[[], keras.Model], list[str]]] = {
    "Conv1D, strided, and its pools": (
        lambda: _chain(
            layers.Conv1D(5, 3, strides=2, activation="relu"),
            layers.MaxPooling1D(2),
            layers.AveragePooling1D(2, strides=1, padding="same"),
            layers.Flatten(),
            layers.Dense(2),
            shape=SIGNAL,
        ),
        ["Conv2D", "Dense"],
    ),
    "dilated and causal": (
        lambda: _chain(layers.Conv1D(5, 3, dilation_rate=2, padding="causal"), shape=SIGNAL),
        ["Conv2D"],
    ),
    "causal and strided": (
        lambda: _chain(layers.Conv1D(5, 4, strides=3, padding="causal"), shape=SIGNAL),
        ["Conv2D"],
    ),
    "SeparableConv1D": (
        lambda: _chain(layers.SeparableConv1D(5, 3, padding="same", activation="tanh"), shape=SIGNAL),
        ["DepthwiseConv2D", "Conv2D"],
    ),
    "SeparableConv1D, strided, of two a channel": (
        lambda: _chain(layers.SeparableConv1D(5, 3, strides=2, depth_multiplier=2), shape=SIGNAL),
        ["DepthwiseConv2D", "Conv2D"],
    ),
    "DepthwiseConv1D": (
        lambda: _chain(layers.DepthwiseConv1D(3, depth_multiplier=2, dilation_rate=2), shape=SIGNAL),
        ["DepthwiseConv2D"],
    ),
    "attention along a signal": (
        lambda: _chain(
            layers.Conv1D(5, 3),
            layers.Softmax(axis=1),
            layers.Softmax(axis=-1),
            layers.Softmax(axis=2),
            shape=SIGNAL,
        ),
        ["Conv2D"],
    ),
    "SeparableConv2D": (
        lambda: _chain(layers.SeparableConv2D(5, 3, strides=2, activation="swish")),
        ["DepthwiseConv2D", "Conv2D"],
    ),
    "padding, cropping, repeating": (
        lambda: _chain(
            layers.ZeroPadding1D((2, 1)),
            layers.Cropping1D(1),
            layers.UpSampling1D(2),
            layers.PReLU(),
            layers.PReLU(shared_axes=[1]),
            layers.SpatialDropout1D(0.5),
            layers.GlobalAveragePooling1D(),
            shape=SIGNAL,
        ),
        [],
    ),
    "branches of signals": (_residual, ["Conv2D", "Conv2D"]),
    "Dense on images": (lambda: _chain(layers.Dense(4, activation="relu")), ["Conv2D"]),
    "Dense on rows, then mixed up": (
        lambda: _chain(
            layers.Dense(4), layers.Permute((2, 1)), layers.Dense(5), layers.Reshape((20,)), shape=(4, 3)
        ),
        ["Conv2D", "Conv2D"],
    ),
    "functions of convolutions": (
        lambda: _chain(layers.Conv2D(4, 3, activation="elu"), layers.Conv2D(4, 3, activation="gelu")),
        ["Conv2D", "Conv2D"],
    ),
    "layer normalization": (
        lambda: _chain(layers.Conv2D(4, 3), layers.LayerNormalization(), layers.Conv2D(2, 3)),
        ["Conv2D", "Conv2D"],
    ),
    "hard swish of numbers and a ReLU6": (_gated, ["Conv2D"]),
    "signal of open length": (
        lambda: _chain(layers.Conv1D(4, 3), layers.GlobalMaxPooling1D(), shape=(None, 3)),
        ["Conv2D"],
    ),
}


def _shaken(model: keras.Model) -> keras.Model:
    """The model with weights of which none is 0 or 1."""
    generator = np.random.default_rng(0)
    model.set_weights([generator.uniform(0.2, 1.0, w.shape) for w in model.get_weights()])
    return model


def _answers(model: keras.Model, shape: tuple[int | None, ...]) -> np.ndarray:
    images = np.random.default_rng(1).normal(size=(3, *(size or 9 for size in shape))).astype(np.float32)
    return np.asarray(model(images, training=False))


def _kernels(net: Net) -> list[str]:
    return [node.kind for node in net.nodes if node.kind in ("Conv2D", "DepthwiseConv2D", "Dense")]


@pytest.mark.parametrize("case", SAME)
def test_canonical_net_computes_the_same(case: str) -> None:
    build, kinds = SAME[case]
    model = _shaken(build())
    read = reader.read(model)
    net = canonical.canonical(read)
    expected = _answers(model, read.input_shape)
    for same in (net, folding.fold(net)):
        given = _answers(building.to_keras(same), read.input_shape)
        assert given.shape == expected.shape
        np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-4)
    assert _kernels(net) == kinds
    assert not any(node.kind.endswith("1D") or node.kind.startswith("Separable") for node in net.nodes)


def test_net_without_signals_gets_no_reshape() -> None:
    net = canonical.canonical(reader.read(_chain(layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2))))
    assert [node.kind for node in net.nodes] == ["Conv2D", "Flatten", "Dense"]


def test_hard_swish_stays_as_the_converter_knows_it() -> None:
    net = folding.fold(canonical.canonical(reader.read(_gated())))
    assert [node.kind for node in net.nodes] == ["Conv2D", "Rescaling", "Activation", "Rescaling", "Multiply"]


def test_layer_that_is_called_twice_stays_one() -> None:
    image = keras.Input((16, 3))
    tied = layers.SeparableConv1D(3, 3, padding="same", activation="elu", name="tied")
    first = tied(image)
    other = layers.BatchNormalization()(tied(layers.MaxPooling1D(2)(first)))
    ends = [layers.GlobalMaxPooling1D()(x) for x in (first, other)]
    model = _shaken(keras.Model(image, layers.Add()(ends)))
    read = reader.read(model)
    built = building.to_keras(folding.fold(canonical.canonical(read)))
    np.testing.assert_allclose(_answers(built, (16, 3)), _answers(model, (16, 3)), rtol=1e-4, atol=1e-4)
    # the batch normalization that stands alone is a depthwise convolution too
    kinds = [type(layer).__name__ for layer in built.layers if layer.weights]
    assert sorted(kinds) == ["Conv2D", "DepthwiseConv2D", "DepthwiseConv2D"]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("hard_silu", lambda x: x * np.clip(x + 3, 0, 6) / 6),
        ("relu6_sigmoid", lambda x: np.clip(x + 3, 0, 6) / 6),
        ("leaky_relu", lambda x: np.where(x > 0, x, 0.2 * x)),
        ("silu", lambda x: x / (1 + np.exp(-x))),
    ],
)
def test_functions_of_keras_3_are_written_in_keras_2(
    function: str, expected: Callable[[np.ndarray], np.ndarray]
) -> None:
    from model_compression.saved_models.graphs import Node

    node = Node(name="f", kind="Activation", config={"activation": function}, inputs=("x",), shape=(9,))
    net = canonical.canonical(Net(input="x", input_shape=(9,), nodes=(node,), output="f"))
    x = np.linspace(-5, 5, 9, dtype=np.float32)[None]
    np.testing.assert_allclose(building.to_keras(net)(x), expected(x), rtol=1e-5, atol=1e-6)
