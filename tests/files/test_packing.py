"""The smallest .tflite file: exact numbers, the same labels, on both sets of kernels."""

import numpy as np
import pytest

from model_compression.files import coding, packing, running
from model_compression.files.conversion import ExportConfig, export
from model_compression.files.graph import account, read_graph
from model_compression.files.guard import RULES, CorruptFileError, Promise, check_file
from model_compression.nets import layers, named
from model_compression.nets.keras2 import keras

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


def images(count: int = 40) -> np.ndarray:
    return np.random.default_rng(1).random((count, 28, 28)).astype(np.float32)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("bits", [4, 8])
def test_file_holds_the_grid_and_computes_the_net(net: str, bits: int) -> None:
    model = on_grid(net)
    content = packing.pack(model, bits=bits)
    graph = read_graph(content)
    for (tensor, _), layer in zip(graph.kernels(), layers.kernel_layers(model), strict=True):
        assert tensor.bits == bits
        assert tensor.scale == [1.0]
        kernel = np.moveaxis(layer.get_weights()[0], -1, 0)
        values, _ = packing.to_grid(kernel, 7)
        np.testing.assert_array_equal(tensor.values, values)
    expected = model.predict(images(), verbose=0)
    for delegate in (True, False):
        found = running.logits(content, images(), delegate=delegate)
        assert found.shape == expected.shape
        # one positive factor for all outputs; activations are rounded to 8 bits on the way
        correlation = np.corrcoef(found.ravel(), expected.ravel())[0, 1]
        assert correlation > 0.99


def test_file_passes_the_guard_and_a_changed_weight_does_not() -> None:
    model, net = (
        on_grid("small_4s_6p_6p"),
        named.build("small_4s_6p_6p", input_shape=(28, 28), classes=10, seed=9),
    )
    promise = Promise(rule=RULES["packed_int4"])
    content = packing.pack(model, bits=4)
    check_file(content, net, promise, images=images(), trained=model)
    layer = layers.kernel_layers(model)[1]
    kernel, bias = layer.get_weights()
    kernel.flat[np.argmax(np.abs(kernel))] *= -1
    layer.set_weights([kernel, bias])
    with pytest.raises(CorruptFileError, match="quantization steps from the trained kernel"):
        check_file(content, net, promise, images=images(), trained=model)


def test_guard_finds_a_changed_bias_behind_the_folded_scales() -> None:
    model, net = on_grid("baseline"), named.build("baseline", input_shape=(28, 28), classes=10, seed=9)
    content = packing.pack(model, bits=4)
    layer = layers.kernel_layers(model)[1]
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel, bias * 1.5])
    with pytest.raises(CorruptFileError, match="from the trained bias"):
        check_file(content, net, Promise(rule=RULES["packed_int4"]), images=images(), trained=model)


def test_export_writes_both_forms_and_the_same_bytes_each_time() -> None:
    model = on_grid("small_4s_6p_6p")
    four, eight = (export(model, ExportConfig(form=f"packed_int{b}"), representative=None) for b in (4, 8))
    assert len(four) < len(eight)
    assert four == export(model, ExportConfig(form="packed_int4"), representative=None)


def test_the_file_around_the_weights_is_small() -> None:
    model = named.build("baseline", input_shape=(28, 28), classes=10, seed=0)
    for layer in layers.kernel_layers(model):
        layer.set_weights([np.zeros_like(weights) for weights in layer.get_weights()])
    assert len(coding.best_coded(packing.pack(model, bits=4))[1]) < 400


def test_account_counts_multiply_adds_of_a_packed_file_as_of_the_converter_s() -> None:
    model = on_grid("small_4s_6p_6p")
    packed = account(running.allocated_graph(packing.pack(model, bits=8)))
    converted = export(model, ExportConfig(form="float32"), representative=None)
    assert [row.macs for row in packed] == [row.macs for row in account(running.allocated_graph(converted))]


def test_to_grid_finds_a_grid_whose_first_point_no_weight_takes() -> None:
    values, scale = packing.to_grid(np.array([0.0, 0.2, -0.3, 0.7], np.float32), 7)
    np.testing.assert_array_equal(values, [0, 2, -3, 7])
    assert scale == pytest.approx(0.1)


def test_to_grid_rounds_what_lies_on_no_grid() -> None:
    kernel = np.array([1.27, -0.5, 0.013, 0.0], np.float32)
    values, scale = packing.to_grid(kernel, 127)
    np.testing.assert_array_equal(values, [127, -50, 1, 0])
    assert scale == pytest.approx(0.01)


def test_to_grid_takes_a_kernel_of_zeros() -> None:
    values, scale = packing.to_grid(np.zeros((2, 3)), 7)
    assert (values == 0).all()
    assert scale == 1.0


def test_round_mantissa_keeps_the_bits_asked_for() -> None:
    values = np.array([0.0, 1.0, 1.06, -1.07, 100.0, 3e-5], np.float32)
    np.testing.assert_allclose(
        packing.round_mantissa(values, 4), [0, 1, 1, -1.125, 96, 3.0517578e-05], rtol=0.05
    )
    assert np.abs(packing.round_mantissa(values, 4) - values).max() <= 100 / 2**4
    np.testing.assert_array_equal(packing.round_mantissa(np.float32([1.0625, 1.1875]), 4), [1.0, 1.25])


def test_pack_int4_puts_the_first_value_into_the_low_half() -> None:
    assert packing.pack_int4(np.array([1, -1, 7], np.int8)) == bytes([0xF1, 0x07])


def test_layers_that_no_scale_passes_are_refused() -> None:
    model = keras.Sequential(
        [keras.layers.InputLayer((4,)), keras.layers.Dense(3, activation="tanh"), keras.layers.Dense(2)]
    )
    with pytest.raises(ValueError, match="has the activation 'tanh'; allowed: 'relu' or none"):
        packing.pack(model, bits=4)


@pytest.mark.parametrize("layer", [keras.layers.DepthwiseConv2D(3), keras.layers.LayerNormalization()])
def test_layers_that_packing_cannot_write_are_refused(layer: keras.layers.Layer) -> None:
    model = keras.Sequential(
        [keras.layers.InputLayer((6, 6, 1)), layer, keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    with pytest.raises(ValueError, match=r"depthwise convolutions have no|which packing cannot write"):
        packing.pack(model, bits=4)
