"""Kernels on a grid: exact numbers, the same labels, on both sets of kernels, whatever the net."""

import numpy as np
import pytest

from model_compression.files import coding, grid, running
from model_compression.files.conversion import ExportConfig, export
from model_compression.files.graph import account, read_graph
from model_compression.files.guard import RULES, CorruptFileError, check_file
from model_compression.nets import layers, named
from model_compression.nets.keras2 import keras
from model_compression.techniques.base import Kept

NETS = ["baseline", "lenet_300_100", "lenet_5", "small_4s_6p_6p", "small_6_8p_g", "small_d9", "small_4sp_d7"]


def on_grid(net: str, *, seed: int = 2, levels: int = 7) -> keras.Sequential:
    """A net whose kernels are whole multiples of a scale a layer, with biases that matter."""
    model = named.build(net, input_shape=(28, 28), classes=10, seed=seed)
    generator = np.random.default_rng(seed)
    for layer in layers.kernel_layers(model):
        kernel, bias = layer.get_weights()
        scale = np.float32(np.abs(kernel).max() / levels * generator.uniform(0.5, 1.0))
        grid = np.clip(np.rint(kernel / scale), -levels, levels).astype(np.float32)
        layer.set_weights([grid * scale, generator.normal(scale=0.05, size=bias.shape).astype(np.float32)])
    return model


def packed(model: keras.Model, bits: int) -> bytes:
    return export(model, ExportConfig(form=f"packed_int{bits}"), representative=None)


def images(count: int = 40) -> np.ndarray:
    return np.random.default_rng(1).random((count, 28, 28)).astype(np.float32)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("bits", [4, 8])
def test_file_holds_the_grid_and_computes_the_net(net: str, bits: int) -> None:
    model = on_grid(net)
    content = packed(model, bits)
    graph = read_graph(content)
    for (tensor, _), layer in zip(graph.kernels(), layers.kernel_layers(model), strict=True):
        assert tensor.bits == bits
        assert tensor.scale == [1.0]
        kernel = np.moveaxis(layer.get_weights()[0], -1, 0)
        values, _ = grid.to_grid(kernel, 7)
        np.testing.assert_array_equal(tensor.values, values)
    expected = model.predict(images(), verbose=0)
    for delegate in (True, False):
        found = running.logits(content, images(), delegate=delegate)
        assert found.shape == expected.shape
        # one positive factor for all outputs; activations are rounded to 8 bits on the way
        correlation = np.corrcoef(found.ravel(), expected.ravel())[0, 1]
        assert correlation > 0.99


@pytest.mark.parametrize("net", ["baseline", "small_4s_6p_6p"])
def test_exact_file_gives_the_scores_without_a_factor(net: str) -> None:
    model = on_grid(net)
    expected = model.predict(images(), verbose=0)
    exact, loose = (
        export(model, ExportConfig(form="packed_int4", exact=exact), representative=None)
        for exact in (True, False)
    )

    def factor(content: bytes) -> float:
        found = running.logits(content, images(), delegate=False)
        return float(np.sum(found * expected) / np.sum(expected**2))

    assert factor(exact) == pytest.approx(1, abs=0.05)
    assert abs(factor(loose) - 1) > 0.5
    assert len(exact) - len(loose) < 40


def test_file_passes_the_guard_and_a_changed_weight_does_not() -> None:
    model, net = (
        on_grid("small_4s_6p_6p"),
        named.build("small_4s_6p_6p", input_shape=(28, 28), classes=10, seed=9),
    )
    promise = RULES["packed_int4"], Kept()
    content = packed(model, 4)
    check_file(content, net, *promise, images=images(), trained=model)
    layer = layers.kernel_layers(model)[1]
    kernel, bias = layer.get_weights()
    kernel.flat[np.argmax(np.abs(kernel))] *= -1
    layer.set_weights([kernel, bias])
    with pytest.raises(CorruptFileError, match="quantization steps from the trained kernel"):
        check_file(content, net, *promise, images=images(), trained=model)


def test_guard_finds_a_changed_bias_behind_the_folded_scales() -> None:
    model, net = on_grid("baseline"), named.build("baseline", input_shape=(28, 28), classes=10, seed=9)
    content = packed(model, 4)
    layer = layers.kernel_layers(model)[1]
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel, bias * 1.5])
    with pytest.raises(CorruptFileError, match="from the trained bias"):
        check_file(content, net, RULES["packed_int4"], Kept(), images=images(), trained=model)


def test_eight_bits_take_more_bytes_and_the_same_net_gives_the_same() -> None:
    model = on_grid("small_4s_6p_6p")
    assert len(packed(model, 4)) < len(packed(model, 8))
    assert packed(model, 4) == packed(model, 4)


def test_the_file_around_the_weights_is_small() -> None:
    model = named.build("baseline", input_shape=(28, 28), classes=10, seed=0)
    for layer in layers.kernel_layers(model):
        layer.set_weights([np.zeros_like(weights) for weights in layer.get_weights()])
    assert len(coding.best_coded(packed(model, 4))[1]) < 400


def test_account_counts_multiply_adds_of_a_packed_file_as_of_the_converter_s() -> None:
    model = on_grid("small_4s_6p_6p")
    found = account(running.allocated_graph(packed(model, 8)))
    converted = export(model, ExportConfig(form="float32"), representative=None)
    assert [row.macs for row in found] == [row.macs for row in account(running.allocated_graph(converted))]


def test_to_grid_finds_a_grid_whose_first_point_no_weight_takes() -> None:
    values, scale = grid.to_grid(np.array([0.0, 0.2, -0.3, 0.7], np.float32), 7)
    np.testing.assert_array_equal(values, [0, 2, -3, 7])
    assert scale == pytest.approx(0.1)


def test_to_grid_rounds_what_lies_on_no_grid() -> None:
    kernel = np.array([1.27, -0.5, 0.013, 0.0], np.float32)
    values, scale = grid.to_grid(kernel, 127)
    np.testing.assert_array_equal(values, [127, -50, 1, 0])
    assert scale == pytest.approx(0.01)


def test_to_grid_takes_a_kernel_of_zeros() -> None:
    values, scale = grid.to_grid(np.zeros((2, 3)), 7)
    assert (values == 0).all()
    assert scale == 1.0


def test_round_mantissa_keeps_the_bits_asked_for() -> None:
    values = np.array([0.0, 1.0, 1.06, -1.07, 100.0, 3e-5], np.float32)
    np.testing.assert_allclose(
        grid.round_mantissa(values, 4), [0, 1, 1, -1.125, 96, 3.0517578e-05], rtol=0.05
    )
    assert np.abs(grid.round_mantissa(values, 4) - values).max() <= 100 / 2**4
    np.testing.assert_array_equal(grid.round_mantissa(np.float32([1.0625, 1.1875]), 4), [1.0, 1.25])


def branched(kind: str) -> keras.Model:
    """A net with branches that meet, or with depthwise filters; kernels on grids of their own."""
    layers_ = keras.layers
    keras.utils.set_random_seed(3)
    image = x = keras.Input((12, 12, 2))
    x = layers_.Conv2D(6, 3, padding="same", activation="relu")(x)
    match kind:
        case "residual":
            y = layers_.Conv2D(6, 3, padding="same", activation="relu")(x)
            x = layers_.ReLU()(layers_.Conv2D(6, 3, padding="same")(y) + x)
        case "two convolutions":
            y = layers_.Conv2D(8, 1)(x)
            x = layers_.ReLU()(layers_.Conv2D(8, 3, padding="same")(x) + y)
        case "concatenation":
            x = layers_.Concatenate()([layers_.Conv2D(4, 1, activation="relu")(x), x])
        case "depthwise":
            x = layers_.DepthwiseConv2D(3, padding="same", activation="relu")(x)
            x = layers_.Conv2D(8, 1, activation="relu")(x)
        case "clamped":
            x = layers_.Conv2D(8, 1, activation="relu6")(x)
            x = layers_.Conv2D(8, 1, activation="relu")(x)
    output = layers_.Dense(5)(layers_.GlobalAveragePooling2D()(x))
    model = keras.Model(image, output)
    for layer in layers.kernel_layers(model):
        kernel, bias = layer.get_weights()
        steps = np.rint(7 * kernel / np.abs(kernel).max())
        spread = np.random.default_rng(1).normal(scale=0.3, size=bias.shape)
        layer.set_weights([steps * np.abs(kernel).max() / 7, spread])
    return model


@pytest.mark.parametrize("kind", ["residual", "two convolutions", "concatenation", "depthwise", "clamped"])
@pytest.mark.parametrize("bits", [4, 8])
def test_branches_meet_with_one_factor(kind: str, bits: int) -> None:
    model = branched(kind)
    content = packed(model, bits)
    given = np.random.default_rng(1).random((40, 12, 12, 2), np.float32)
    promise = RULES[f"packed_int{bits}"], Kept()
    check_file(content, keras.models.clone_model(model), *promise, images=given, trained=model)
    expected = np.asarray(model(given))
    for delegate in (True, False):
        found = running.logits(content, given, delegate=delegate)
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99
