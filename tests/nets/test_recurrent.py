"""One kernel applied again: what it computes, how it is trained, and the file that holds it once."""

import numpy as np
import pytest

from model_compression.files import guard, running
from model_compression.files.conversion import ExportConfig, export
from model_compression.files.graph import account, read_graph
from model_compression.files.slimming import slim
from model_compression.nets import named, training
from model_compression.nets.keras2 import keras, tf
from model_compression.nets.layers import clone
from model_compression.nets.recurrent import Recurrent
from model_compression.techniques.base import Kept
from model_compression.techniques.rate_distortion import RateConfig

NET = "small_2_2x2p1"
CONFIG = RateConfig(price=0.1, levels=3)


@pytest.fixture(scope="module")
def net() -> keras.Model:
    """Weights on the grid of whole numbers, biases of each time's own."""
    model = named.build(NET, input_shape=(6, 6), classes=3, seed=0)
    generator = np.random.default_rng(0)
    model.set_weights(
        [
            generator.integers(-2, 3, weights.shape)
            if weights.ndim > 2
            else generator.normal(size=weights.shape)
            for weights in model.get_weights()
        ]
    )
    return model


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).random((20, 6, 6)).astype(np.float32)


def the_layer(model: keras.Model) -> Recurrent:
    (found,) = (layer for layer in model.layers if isinstance(layer, Recurrent))
    return found


def test_layer_equals_the_same_convolution_three_times_with_a_pool_after_the_second() -> None:
    layer = Recurrent(2, "2p1")
    inputs = tf.random.stateless_normal((1, 4, 4, 2), (0, 1))
    outputs = layer(inputs)
    layer.bias.assign([[0.1, -0.2], [0.3, 0.0], [-0.4, 0.5]])
    current = inputs
    for time in range(3):
        current = tf.nn.relu(tf.nn.conv2d(current, layer.kernel, 1, "SAME") + layer.bias[time])
        current = tf.nn.max_pool2d(current, 2, 2, "VALID") if time == 1 else current
    np.testing.assert_allclose(layer(inputs), current, rtol=1e-5)
    assert tuple(outputs.shape) == layer.compute_output_shape((1, 4, 4, 2)) == (1, 2, 2, 2)


def test_kernel_counts_once_and_biases_each_time(net: keras.Model) -> None:
    assert the_layer(net).count_params() == 3 * 3 * 2 * 2 + 3 * 2


def test_clone_has_weights_of_its_own_and_computes_the_same(net: keras.Model, images: np.ndarray) -> None:
    copy = clone(net)
    np.testing.assert_allclose(copy(images), net(images), rtol=1e-6)
    assert the_layer(copy).kernel is not the_layer(net).kernel


def packed(model: keras.Model) -> bytes:
    return slim(export(model, ExportConfig(form="packed_int4"), representative=None)).content


def test_file_holds_one_kernel_that_three_operators_use(net: keras.Model, images: np.ndarray) -> None:
    content = packed(net)
    users = read_graph(content).users()
    assert [len(operators) for _, operators in users] == [1, 3, 1]
    assert len(content) < 240 + len(
        packed(named.build("small_2_2p_2", input_shape=(6, 6), classes=3, seed=0))
    )
    kernel = account(running.allocated_graph(content))[1]
    assert (kernel.weights, kernel.parameters) == (36, 36 + 6)
    # twice on 6 x 6 places, once on 3 x 3
    assert kernel.dense_macs == 36 * (2 * 36 + 9)


def test_guard_passes_the_file_and_finds_a_bias_of_the_wrong_time(
    net: keras.Model, images: np.ndarray
) -> None:
    untrained = named.build(NET, input_shape=(6, 6), classes=3, seed=0)
    promise = guard.RULES["packed_int4"], Kept()
    guard.check_file(packed(net), untrained, *promise, images=images, trained=net)
    swapped = clone(net)
    layer = the_layer(swapped)
    layer.bias.assign(layer.bias.numpy()[::-1])
    with pytest.raises(guard.CorruptFileError, match="from the trained bias"):
        guard.check_file(packed(swapped), untrained, *promise, images=images, trained=net)


def test_rate_distortion_pays_for_the_kernel_once_and_strips_to_the_grid(images: np.ndarray) -> None:
    model = named.build(NET, input_shape=(6, 6), classes=3, seed=0)
    wrapped = CONFIG.wrap(model, steps=2, seed=0)
    labels = np.arange(20) % 3
    wrapped(images[:2], training=True)
    assert len(wrapped.losses) == 3  # the stem, the kernel that is used three times, the Dense layer
    train = training.TrainConfig(epochs=1, learning_rate=0.01, batch_size=10)
    training.fit(wrapped, images, labels, train, seed=0, progress=lambda done: None)
    kernel = the_layer(CONFIG.strip(wrapped)).kernel.numpy()
    assert len(np.unique(np.abs(kernel))) <= CONFIG.levels + 1


def test_channels_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="has 2 filters and reads 3 channels; allowed: as many of both"):
        named.build("small_3_2x2", input_shape=(6, 6), classes=3, seed=0)
