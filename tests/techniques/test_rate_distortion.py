"""Rate-distortion training: the price of a byte, the grid, and what strip leaves."""

import numpy as np
import pytest

from model_compression.files import conversion, guard
from model_compression.files.conversion import ExportConfig
from model_compression.nets import layers, named
from model_compression.nets.keras2 import keras, tf
from model_compression.nets.training import TrainConfig, fit
from model_compression.techniques import rate_distortion
from model_compression.techniques.base import Kept
from model_compression.techniques.rate_distortion import PRIOR_COUNT, RateConfig


def tiny_net(seed: int = 3) -> keras.Sequential:
    return named.build("small_4s_6p", input_shape=(8, 8), classes=3, seed=seed)


def tiny_images(count: int = 96) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, count)
    images = generator.random((count, 8, 8)).astype(np.float32) / 4
    images[np.arange(count), 2 * labels] += 0.7
    return images, labels


def trained(price: float, levels: int = 7) -> keras.Model:
    images, labels = tiny_images()
    train = TrainConfig(epochs=12, learning_rate=0.01, batch_size=16)
    config = RateConfig(price=price, levels=levels)
    wrapped = config.wrap(tiny_net(), steps=train.steps(len(images)), seed=0)
    fit(wrapped, images, labels, train, seed=1, progress=lambda done: None)
    return config.strip(wrapped)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("price", -0.1, "price is -0.1; allowed: finite, 0 or more"),
        ("price", float("inf"), "price is inf; allowed: finite, 0 or more"),
        ("levels", 0, "levels is 0; allowed: whole numbers from 1 to 7"),
        ("levels", 8, "levels is 8; allowed: whole numbers from 1 to 7"),
        ("levels", True, "levels is True; allowed: whole numbers from 1 to 7"),
        ("ramp", 0.0, "ramp is 0.0; allowed: above 0, up to 1"),
        ("ramp", 1.1, "ramp is 1.1; allowed: above 0, up to 1"),
        ("first_nonzero", 0, "first_nonzero is 0; allowed: None, or finite and above 0"),
    ],
)
def test_config_names_the_field_and_what_is_allowed(field: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        RateConfig(**({"price": 0.1} | {field: value}))


def test_config_takes_the_limits_themselves() -> None:
    assert RateConfig(price=0, levels=1, ramp=1.0).levels == 1
    assert RateConfig(price=0, levels=7).levels == 7


def test_code_bits_of_grid_points_are_their_code_lengths() -> None:
    values = np.array([0, 0, 0, 1, -1, 0, 0, 2], np.float32)
    counts = np.array([0, 1, 5, 1, 1]) + PRIOR_COUNT
    expected = -np.log2(counts / counts.sum()) @ np.array([0, 1, 5, 1, 1])
    assert float(rate_distortion.code_bits(tf.constant(values), 2)) == pytest.approx(expected, rel=1e-5)


def test_code_bits_between_grid_points_are_interpolated() -> None:
    values = tf.constant([0.25, 0.0, 0.0, 1.0])
    counts = np.array([0, 3, 1]) + PRIOR_COUNT
    lengths = -np.log2(counts / counts.sum())
    expected = 0.75 * lengths[1] + 0.25 * lengths[2] + 2 * lengths[1] + lengths[2]
    assert float(rate_distortion.code_bits(values, 1)) == pytest.approx(expected, rel=1e-5)


def test_code_bits_pull_a_weight_towards_the_commoner_neighbour() -> None:
    values = tf.Variable([0.4, 0.0, 0.0, 0.0, 1.0])
    with tf.GradientTape() as tape:
        bits = rate_distortion.code_bits(values, 1)
    assert tape.gradient(bits, values).numpy()[0] > 0


def test_code_bits_take_the_largest_grid_point() -> None:
    assert np.isfinite(float(rate_distortion.code_bits(tf.constant([7.0, -7.0]), 7)))


def test_first_scale_ignores_zeros_and_takes_a_kernel_of_zeros() -> None:
    kernel = np.array([0, 0, 0, 0.7, -0.7], np.float32)
    config = RateConfig(price=0.1)
    assert rate_distortion.first_scale(kernel, config) == pytest.approx(0.1)
    assert rate_distortion.first_scale(np.zeros(4, np.float32), config) == 1.0


def test_few_weights_start_away_from_zero_where_asked() -> None:
    kernel = np.random.default_rng(0).normal(size=(100, 100)).astype(np.float32)
    config = RateConfig(price=0.1, levels=3, first_nonzero=5)
    away = np.count_nonzero(np.rint(kernel / rate_distortion.first_scale(kernel, config)))
    assert away == pytest.approx(500, abs=2)
    free = RateConfig(price=0.1, levels=3, first_nonzero=1e6)
    all_of_them = RateConfig(price=0.1, levels=3)
    assert rate_distortion.first_scale(kernel, free) == rate_distortion.first_scale(kernel, all_of_them)


def test_wrap_leaves_the_model_as_it_was_and_computes_with_the_grid() -> None:
    net = tiny_net()
    before = net.get_weights()
    wrapped = RateConfig(price=0.1).wrap(net, steps=10, seed=0)
    images, _ = tiny_images(8)
    stripped = RateConfig(price=0.1).strip(wrapped)
    np.testing.assert_allclose(
        wrapped.predict(images, verbose=0), stripped.predict(images, verbose=0), atol=1e-5
    )
    for old, new in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("levels", [1, 7])
def test_stripped_kernels_lie_exactly_on_a_grid(levels: int) -> None:
    for kernel in layers.kernels(trained(0.5, levels)).values():
        magnitudes = np.unique(np.abs(kernel.numpy()))
        positive = magnitudes[magnitudes > 0]
        assert len(positive) <= levels
        if len(positive):
            steps = np.array([positive / (positive[0] / divisor) for divisor in range(1, levels + 1)])
            assert np.abs(steps - np.rint(steps)).max(axis=1).min() < 1e-4


def test_sums_and_depthwise_convolutions_are_put_on_the_grid_and_into_a_file() -> None:
    image = keras.Input((8, 8, 1))
    first = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    spread = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu")(first)
    second = keras.layers.Add()([first, keras.layers.Conv2D(4, 1)(spread)])
    net = keras.Model(image, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(second)))
    images, labels = tiny_images()
    images, config = images[..., None], RateConfig(price=0.1, levels=3)
    train = TrainConfig(epochs=2, learning_rate=0.01, batch_size=16)
    wrapped = config.wrap(net, steps=train.steps(len(images)), seed=0)
    np.testing.assert_allclose(wrapped(images), config.strip(wrapped)(images), atol=1e-5)
    fit(wrapped, images, labels, train, seed=1, progress=lambda done: None)
    stripped = config.strip(wrapped)
    assert all(len(np.unique(kernel.numpy())) <= 7 for kernel in layers.kernels(stripped).values())
    content = conversion.export(stripped, ExportConfig(form="packed_int4"), representative=None)
    kept = config.promise(layers.kernel_layers(net), Kept())
    guard.check_file(content, net, guard.RULES["packed_int4"], kept, images=images, trained=stripped)


def test_a_higher_price_leaves_less_to_code() -> None:
    def entropy(model: keras.Model) -> float:
        bits = 0.0
        for kernel in layers.kernels(model).values():
            _, counts = np.unique(kernel.numpy(), return_counts=True)
            bits -= float(np.sum(counts * np.log2(counts / counts.sum())))
        return bits

    free, dear = entropy(trained(0.0)), entropy(trained(3000.0))
    assert dear < 0.85 * free


def test_same_seed_same_weights() -> None:
    for one, other in zip(trained(0.5).get_weights(), trained(0.5).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_wrap_refuses_a_net_without_kernels() -> None:
    net = keras.Sequential([keras.layers.InputLayer((4, 4)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match="no layer of the model takes rate-distortion training"):
        RateConfig(price=0.1).wrap(net, steps=10, seed=0)
