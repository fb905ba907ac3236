"""Batch normalization of the nets by name, and of nets in training, goes into the kernels."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TFMOT's, at its import
    from model_compression.nets import named
    from model_compression.nets.keras2 import keras
    from model_compression.saved_models.building import folded, to_keras
    from model_compression.saved_models.folding import fold
    from model_compression.saved_models.loading import load

GENERATOR = np.random.default_rng(0)
layers = keras.layers


def lived_in(model: keras.Model) -> keras.Model:
    """The model with weights none of which is 0 or 1 any more; variances are positive."""
    model.set_weights(
        [
            GENERATOR.uniform(0.2, 1.2, weights.shape) - 0.5 * (weights.ndim > 1)
            for weights in model.get_weights()
        ]
    )
    return model


def normalized(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]


def assert_same_function(model: keras.Model, other: keras.Model) -> None:
    inputs = GENERATOR.normal(size=(6, *model.input_shape[1:])).astype(np.float32)
    expected = model(inputs, training=False).numpy()
    assert expected.std() > 0
    np.testing.assert_allclose(other(inputs, training=False), expected, rtol=1e-4, atol=1e-4 * expected.std())


@pytest.mark.parametrize("net", ["ds_cnn", "resnet_8"])
def test_net_by_name_computes_the_same_without_normalization(net: str) -> None:
    model = lived_in(named.build(net, input_shape=(12, 12), classes=3, seed=0))
    before = model.get_weights()
    plain = folded(model)
    assert normalized(model)
    assert not normalized(plain)
    assert_same_function(model, plain)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert {layer.name for layer in plain.layers[1:]} < {layer.name for layer in model.layers}


def test_net_without_normalization_is_given_back() -> None:
    model = named.build("baseline_2", input_shape=(8, 8), classes=3, seed=0)
    assert folded(model) is model


@pytest.mark.parametrize(("largest", "stays"), [(1.9, False), (2.0, True)])
def test_what_makes_inputs_of_different_sizes_alike_stays(
    largest: float, stays: bool, tmp_path: Path
) -> None:
    deviations = np.array([1.5, 1, largest])
    normal = layers.Normalization(mean=[5.0, 3, 1], variance=deviations**2)
    model = keras.Sequential([keras.Input((3,)), normal, layers.Dense(4)])
    model.save(tmp_path / "own.keras")
    net = to_keras(fold(load(tmp_path / "own.keras")))
    assert [type(layer).__name__ for layer in net.layers[1:]] == ["Normalization"] * stays + ["Dense"]
    assert_same_function(model, net)


def test_fold_by_hand() -> None:
    dense, normal = layers.Dense(1), layers.BatchNormalization(epsilon=1.0)
    model = keras.Sequential([layers.InputLayer((1,)), dense, normal])
    dense.set_weights([np.array([[2.0]]), np.array([1.0])])
    normal.set_weights([np.array([each]) for each in (5.0, 6.0, 3.0, 3.0)])  # gamma, beta, mean, variance
    # 5 * (2 x + 1 - 3) / sqrt(3 + 1) + 6
    assert [weights.item() for weights in folded(model).get_weights()] == [5.0, 1.0]


def chain(*parts: Any, shape: tuple[int, ...] = (6, 6, 2)) -> keras.Model:
    return lived_in(keras.Sequential([layers.InputLayer(shape), *parts]))


@pytest.mark.parametrize(
    ("parts", "activation"),
    [
        (
            [layers.Conv2D(3, 2, use_bias=False), layers.BatchNormalization(scale=False), layers.ReLU()],
            "relu",
        ),
        ([layers.Conv2D(3, 2), layers.BatchNormalization(center=False), layers.Activation("relu")], "relu"),
        (
            [layers.DepthwiseConv2D(2, depth_multiplier=3), layers.BatchNormalization(), layers.ReLU(6)],
            "linear",
        ),
        ([layers.Dense(3), layers.BatchNormalization(), layers.Activation("tanh")], "linear"),
        ([layers.Conv2D(3, 2), layers.BatchNormalization(), layers.ReLU(negative_slope=0.1)], "linear"),
    ],
)
def test_every_kernel_takes_its_normalization_and_a_plain_relu(parts: list[Any], activation: str) -> None:
    model = chain(*parts)
    plain = folded(model)
    assert_same_function(model, plain)
    _, kernel, *others = plain.layers
    assert kernel.get_config()["activation"] == activation
    assert len(others) == (0 if activation == "relu" else 1)


def test_relu_beside_another_reader_stays() -> None:
    image = keras.Input((4,))
    normal = layers.BatchNormalization()(layers.Dense(3)(image))
    model = lived_in(keras.Model(image, layers.Add()([layers.ReLU()(normal), normal])))
    plain = folded(model)
    assert_same_function(model, plain)
    assert sum(isinstance(layer, layers.ReLU) for layer in plain.layers) == 1


def test_net_whose_normalization_stands_alone_is_folded_again_into_itself() -> None:
    model = chain(layers.Dense(4, activation="relu"), layers.BatchNormalization(), layers.ReLU(), shape=(3,))
    plain = folded(model)
    assert_same_function(model, plain)
    again = folded(plain)
    assert [layer.name for layer in again.layers] == [layer.name for layer in plain.layers]
    for one, other in zip(again.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
    assert normalized(again)
