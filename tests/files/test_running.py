import subprocess
import sys

import numpy as np
import pytest
from conftest import Nets, exactly

from model_compression.files import running
from model_compression.files.graph import Graph, Operator, Tensor, account, read_graph
from model_compression.files.running import io_details, quantize
from model_compression.files.slimming import slim
from model_compression.files.tensors import unpack

# Tensors, by hand


def tensor(**changes: object) -> Tensor:
    fields = {
        "index": 0,
        "name": "kernel",
        "dtype": "int8",
        "bits": 8,
        "shape": (2, 3),
        "values": np.array([[1, 2, 3], [-4, 0, 127]], np.int8),
        "scale": np.array([0.5], np.float32),
        "zero_point": np.array([0]),
        "axis": 0,
    }
    return Tensor(**{**fields, **changes})  # type: ignore[arg-type]


def test_one_scale_dequantizes_all_values() -> None:
    np.testing.assert_array_equal(tensor().dequantized(), [[0.5, 1, 1.5], [-2, 0, 63.5]])


def test_zero_point_is_subtracted_without_overflow() -> None:
    moved = tensor(zero_point=np.array([-128]))
    np.testing.assert_array_equal(moved.dequantized(), [[64.5, 65, 65.5], [62, 64, 127.5]])


@pytest.mark.parametrize(
    ("axis", "scale", "expected"),
    [(0, [1, 2], [[1, 2, 3], [-8, 0, 254]]), (1, [1, 2, 3], [[1, 4, 9], [-4, 0, 381]])],
)
def test_one_scale_a_channel_goes_along_its_axis(
    axis: int, scale: list[float], expected: list[list[float]]
) -> None:
    channels = tensor(axis=axis, scale=np.array(scale, np.float32), zero_point=np.zeros(len(scale), np.int64))
    np.testing.assert_array_equal(channels.dequantized(), expected)


def test_floats_are_their_own_values() -> None:
    plain = tensor(values=np.ones((2, 3), np.float16), scale=np.array([], np.float32))
    assert plain.dequantized().dtype == np.float32
    np.testing.assert_array_equal(plain.dequantized(), np.ones((2, 3)))


def test_computed_tensor_has_no_values() -> None:
    with pytest.raises(ValueError, match=exactly("tensor 'kernel' is not a constant")):
        tensor(values=None).dequantized()


def test_packed_integers_are_unpacked_lowest_bits_first_with_their_sign() -> None:
    raw = np.array([0x21, 0xF8, 0x07], np.uint8)
    np.testing.assert_array_equal(unpack(raw, 4, 5), [1, 2, -8, -1, 7])
    np.testing.assert_array_equal(unpack(np.array([0b11_10_01_00], np.uint8), 2, 4), [0, 1, -2, -1])


def test_constant_is_found_behind_what_expands_it() -> None:
    graph = Graph(
        tensors=(tensor(name="stored"), tensor(index=1, name="expanded", values=None), tensor(values=None)),
        operators=(Operator(name="DEQUANTIZE", inputs=(0,), outputs=(1,)),),
    )
    assert graph.stored(1) is graph.tensors[0]
    assert graph.stored(2) is graph.stored(-1) is None


# Files


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip file", b"\x1c\0\0\0TFL"])
def test_file_of_another_kind_is_refused(content: bytes) -> None:
    message = f"no .tflite file: bytes 4 to 8 are {content[4:8]!r}, and must be b'TFL3'"
    with pytest.raises(ValueError, match=exactly(message)):
        read_graph(content)


def test_float_file_holds_the_keras_weights(nets: Nets) -> None:
    (conv, conv_user), (dense, dense_user) = read_graph(nets.file("baseline", "float32")).kernels()
    weights = nets["baseline"].get_weights()
    np.testing.assert_array_equal(conv.dequantized(), weights[0].transpose(3, 0, 1, 2))
    np.testing.assert_array_equal(dense.dequantized(), weights[2].T)
    assert [conv_user.name, dense_user.name] == ["CONV_2D", "FULLY_CONNECTED"]


def test_float16_kernels_are_found_behind_dequantize(nets: Nets) -> None:
    dense, _ = read_graph(nets.file("baseline", "float16")).kernels()[1]
    assert (dense.dtype, dense.bits) == ("float16", 16)
    np.testing.assert_array_equal(dense.values, nets["baseline"].get_weights()[2].T.astype(np.float16))


def test_int8_kernels_are_the_weights_divided_by_their_scale_and_rounded(nets: Nets) -> None:
    (conv, _), (dense, _) = read_graph(nets.file("baseline", "int8")).kernels()
    weights = nets["baseline"].get_weights()
    np.testing.assert_allclose(conv.scale, np.abs(weights[0]).max(axis=(0, 1, 2)) / 127, rtol=1e-6)
    np.testing.assert_allclose(dense.scale, [np.abs(weights[2]).max() / 127], rtol=1e-6)
    steps = dense.values - weights[2].T / dense.scale
    assert np.abs(steps).max() <= 0.5 + 1e-4


def test_account_by_hand(nets: Nets) -> None:
    conv, dense = account(read_graph(nets.file("pruned", "float32")))
    # 3 x 3 x 1 x 4 weights at 26 x 26 places; 13 x 13 x 4 inputs times 10
    assert (conv.layer, conv.weights, conv.parameters, conv.dense_macs) == ("CONV_2D 1", 36, 40, 36 * 676)
    assert (dense.layer, dense.weights, dense.parameters, dense.dense_macs) == (
        "FULLY_CONNECTED 2",
        6760,
        6770,
        6760,
    )
    # a quarter and four fifths pruned
    assert (conv.nonzero, conv.macs) == (27, 27 * 676)
    assert (dense.nonzero, dense.macs) == (1352, 1352)
    assert (conv.kernel_bytes, dense.kernel_bytes) == (144, 27040)


@pytest.mark.parametrize(("form", "bytes_each"), [("float16", 2), ("int8", 1), ("int4_weight_only", 0.5)])
def test_account_counts_stored_bits(nets: Nets, form: str, bytes_each: float) -> None:
    rows = account(read_graph(nets.file("baseline", form)))
    assert [row.kernel_bytes for row in rows] == [36 * bytes_each, 6760 * bytes_each]


def test_slim_file_drops_bytes_and_no_answer(nets: Nets) -> None:
    content = nets.file("baseline", "int8")
    stripped = slim(content).content
    assert len(stripped) < len(content) - 500
    np.testing.assert_array_equal(
        running.logits(stripped, nets.validation), running.logits(content, nets.validation)
    )


def test_ends_are_told_as_the_file_has_them(nets: Nets) -> None:
    details = io_details(nets.file("baseline", "int8"))
    assert (details.input_dtype, details.output_dtype) == ("int8", "int8")
    assert details.input_scale == pytest.approx(1 / 255)
    assert details.input_zero_point == -128
    plain = io_details(nets.file("baseline", "float32"))
    assert (plain.input_dtype, plain.input_scale, plain.output_scale) == ("float32", 0, 0)
    assert io_details(slim(nets.file("baseline", "int8")).content).input_scale == details.input_scale


# Inputs


def test_quantize_rounds_half_to_even_and_clips() -> None:
    values = np.array([0.0, 0.5, 1.5, 2.5, -0.5, 0.49, 0.51, 126.4, 126.6, 1e9, -1e9])
    stored = quantize(values, scale=1, zero_point=0, dtype="int8")
    assert stored.dtype == np.int8
    np.testing.assert_array_equal(stored, [0, 0, 2, 2, 0, 0, 1, 126, 127, 127, -128])


def test_quantize_shifts_by_the_zero_point_before_it_clips() -> None:
    stored = quantize(np.array([0.0, 1.0, 1.2, -0.1]), scale=1 / 255, zero_point=-128, dtype="int8")
    np.testing.assert_array_equal(stored, [-128, 127, 127, -128])


@pytest.mark.parametrize(("dtype", "zero_point"), [("uint8", 0), ("int8", -128)])
def test_every_pixel_is_quantized_to_itself(dtype: str, zero_point: int) -> None:
    pixels = np.arange(256)
    scaled = np.divide(pixels, 255, dtype=np.float32)
    stored = quantize(scaled, scale=1 / 255, zero_point=zero_point, dtype=dtype)
    np.testing.assert_array_equal(stored.astype(int) - zero_point, pixels)
    truncated = (scaled / np.float32(1 / 255)).astype(np.uint8)
    assert np.any(truncated != pixels), "truncation would go unnoticed"


# Answers


def test_float_file_answers_as_keras(nets: Nets) -> None:
    expected = nets["baseline"].predict(nets.validation, verbose=0)
    for delegate in (True, False):
        found = running.logits(nets.file("baseline", "float32"), nets.validation, delegate=delegate)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_int8_and_float_answers_differ_only_where_the_float_net_is_unsure(nets: Nets) -> None:
    """Image by image: another label needs a gap below twice the error of the logits."""
    exact = running.logits(nets.file("baseline", "float32"), nets.validation)
    rounded = running.logits(nets.file("baseline", "int8"), nets.validation)
    second, first = np.sort(exact, axis=1)[:, -2:].T
    differ = np.argmax(exact, axis=1) != np.argmax(rounded, axis=1)
    assert np.mean(differ) < 0.03
    # the last layer's output is clipped to what its scale can hold
    error = np.abs(exact - rounded).max(axis=1)
    assert np.all(first[differ] - second[differ] <= 2 * error[differ])
    assert np.median(error) < 0.5


def test_inputs_are_quantized_and_never_cast(nets: Nets) -> None:
    content, labels = nets.file("baseline", "int8"), nets.data.y_val
    loaded = running.allocated(content, delegate=True, batch=len(labels))

    def given(stored: np.ndarray) -> np.ndarray:
        loaded.set_tensor(loaded.get_input_details()[0]["index"], stored)
        loaded.invoke()
        return np.argmax(loaded.get_tensor(loaded.get_output_details()[0]["index"]), axis=-1)

    asked = running.predict(content, nets.validation)
    assert np.mean(asked == labels) > 0.7
    assert np.mean(given(nets.validation.astype(np.int8)) == labels) < 0.3
    np.testing.assert_array_equal(given((nets.data.x_val.astype(int) - 128).astype(np.int8)), asked)


@pytest.mark.parametrize("images", [1, 99, 100, 101, 250])
def test_answers_do_not_depend_on_the_batch(nets: Nets, monkeypatch: pytest.MonkeyPatch, images: int) -> None:
    content = nets.file("baseline", "int8")
    expected = running.logits(content, nets.validation)[:images]
    monkeypatch.setattr(running, "BATCH", 100)
    np.testing.assert_array_equal(running.logits(content, nets.validation[:images]), expected)


def test_file_of_a_fixed_batch_is_run_image_by_image(nets: Nets) -> None:
    from model_compression.files.conversion import ExportConfig, export
    from model_compression.nets.keras2 import keras

    fixed = keras.Sequential([keras.layers.InputLayer((28, 28), batch_size=1)])
    for layer in keras.models.clone_model(nets["baseline"]).layers:
        fixed.add(layer)
    fixed.set_weights(nets["baseline"].get_weights())
    content = export(fixed, ExportConfig(form="float32"), representative=None)
    np.testing.assert_array_equal(
        running.predict(content, nets.validation[:5]),
        running.predict(nets.file("baseline", "float32"), nets.validation[:5]),
    )


def test_operator_that_takes_no_more_images_than_the_file_says_runs_image_by_image() -> None:
    from model_compression.files.conversion import ExportConfig, export
    from model_compression.nets.keras2 import keras

    net = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2DTranspose(2, 3, strides=2)])
    content = export(net, ExportConfig(form="float32", one_image=True), representative=None)
    images = np.random.default_rng(0).normal(size=(5, 4, 4, 1)).astype(np.float32)
    for delegate in (True, False):
        found = running.logits(content, images, delegate=delegate)
        np.testing.assert_allclose(found, net(images).numpy().reshape(5, -1), atol=1e-5)


def test_dense_layer_along_a_signal_multiplies_at_each_place() -> None:
    from model_compression.files.conversion import ExportConfig, export
    from model_compression.nets.keras2 import keras

    net = keras.Sequential([keras.Input((7, 4)), keras.layers.Dense(3)])
    content = export(net, ExportConfig(form="float32", one_image=True), representative=None)
    (layer,) = account(running.allocated_graph(content))
    assert layer.dense_macs == 7 * 4 * 3


def test_running_a_file_needs_no_tensorflow() -> None:
    code = (
        "import sys, model_compression.files.running\n"
        "assert not {'tensorflow', 'tf_keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
