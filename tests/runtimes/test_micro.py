import subprocess
import sys

import numpy as np
import pytest
from tflite_graphs import Made
from tflite_micro.tensorflow.lite.micro.compression import spec
from tflite_models import IMAGES, micro_outputs, smallest_arena, tflite_file

from model_compression.files import conversion, running
from model_compression.files.graph import Tensor, read_graph
from model_compression.files.slimming import slim
from model_compression.nets.keras2 import keras
from model_compression.quiet import quiet
from model_compression.runtimes import micro, tflm
from model_compression.runtimes.micro import MicroError, compress_lut, measure_micro


def litert_reference(content: bytes) -> np.ndarray:
    return running.logits(content, IMAGES / np.float32(255), delegate=False)


@pytest.mark.parametrize("form", ["int8", "uint8", "int8_float_io", "float32"])
def test_supported_forms_run_and_agree_with_litert(form):
    report = measure_micro(tflite_file(form), IMAGES)
    assert report.runs_on_tflm
    assert report.reason == ""
    assert report.tflm_agreement == 1.0


def test_the_nets_of_these_tests_give_different_labels():
    assert len(set(litert_reference(tflite_file("int8")).argmax(axis=1))) >= 3


def test_int8_outputs_are_litert_s_to_one_step():
    content = tflite_file("int8")
    step = running.io_details(content).output_scale
    difference = micro_outputs(content, IMAGES) - litert_reference(content)
    assert np.abs(difference).max() <= step * 1.001


def test_recurrent_net_forgets_the_image_before():
    images = IMAGES / np.float32(255)
    twice = np.concatenate([images[:1], images])
    outputs = micro_outputs(tflite_file("recurrent"), twice)
    np.testing.assert_array_equal(outputs[0], outputs[1])
    expected = running.logits(tflite_file("recurrent"), images, delegate=False)
    np.testing.assert_allclose(outputs[1:], expected, atol=1e-4)


def test_several_inputs_and_outputs_agree_with_litert():
    content = tflite_file("two_inputs")
    rows = IMAGES.reshape(len(IMAGES), -1)
    report = measure_micro(content, rows)
    assert report.runs_on_tflm, report.reason
    expected = running.logits(content, rows / np.float32(255), delegate=False)
    np.testing.assert_allclose(micro_outputs(content, rows), expected, atol=1e-5)


def test_pixels_and_floats_give_the_same_outputs():
    content = tflite_file("int8")
    np.testing.assert_array_equal(
        micro_outputs(content, IMAGES), micro_outputs(content, IMAGES / np.float32(255))
    )


@pytest.mark.parametrize("form", ["int8", "float32", "look_up_table"])
def test_the_smallest_arena_works_and_16_bytes_less_fail(form):
    content = tflite_file(form)
    arena_bytes = smallest_arena(content)
    assert arena_bytes % 16 == 0
    np.testing.assert_array_equal(
        micro_outputs(content, IMAGES, arena_bytes=arena_bytes), micro_outputs(content, IMAGES)
    )
    with pytest.raises(MicroError, match="missing"):
        micro_outputs(content, IMAGES, arena_bytes=arena_bytes - 16)


def test_an_arena_that_kills_the_interpreter_is_an_error():
    with pytest.raises(MicroError, match="it ends the process with SIGSEGV; Failed to allocate tail memory"):
        micro_outputs(tflite_file("int8"), IMAGES, arena_bytes=0)


def test_a_run_that_does_not_end_is_an_error(monkeypatch):
    monkeypatch.setattr(tflm, "CPU_SECONDS", 0.01)
    monkeypatch.setattr(tflm, "IMAGES_A_MESSAGE", 40_000)
    with pytest.raises(MicroError, match=r"^it takes more than 0\.01 s of processor time$"):
        micro_outputs(tflite_file("int8"), np.tile(IMAGES, (1000, 1, 1)))


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ("dynamic_range", "Input type: FLOAT32 with filter type: INT8 not supported."),
        ("float16", "Node DEQUANTIZE (number 0) failed to prepare"),
    ],
)
def test_forms_that_tflm_refuses_are_reported_with_its_reason(form, reason):
    report = measure_micro(tflite_file(form), IMAGES)
    assert not report.runs_on_tflm
    assert reason in report.reason
    assert np.isnan([report.arena_bytes, report.tflm_agreement]).all()


def test_a_file_that_loads_but_computes_wrongly_does_not_run():
    content = tflite_file("weight_only_int8")
    assert micro_outputs(content, IMAGES).shape == (len(IMAGES), 5)
    report = measure_micro(content, IMAGES)
    assert not report.runs_on_tflm
    assert report.reason.startswith("computes wrongly: agreement 0.")
    assert np.isnan([report.arena_bytes, report.tflm_agreement]).all()


def test_labels_of_one_score_agree_where_it_lies_on_the_same_side(monkeypatch):
    made = Made("float32", (1, 16), seed=0)
    content = made.content(made.dense(made.input, 1))
    rows = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
    outputs = tflm.Tflm.outputs

    def shifted(*given, **named):
        found = outputs(*given, **named)
        return found + 0.03 * found.std()

    assert measure_micro(content, rows).tflm_agreement == 1.0
    monkeypatch.setattr(tflm.Tflm, "outputs", shifted)
    assert 0.9 < measure_micro(content, rows).tflm_agreement < 1.0


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x20\0\0\0TFL3" + b"\xff" * 100])
def test_a_damaged_file_does_not_run(content):
    report = measure_micro(content, IMAGES)
    assert not report.runs_on_tflm
    assert report.reason.startswith("the file is damaged: ")


def test_images_are_needed():
    with pytest.raises(ValueError, match=r"^there are no images to compare with$"):
        measure_micro(tflite_file("int8"), IMAGES[:0])


def test_images_must_fit():
    with pytest.raises(ValueError, match=r"^the images hold 128 numbers each; the file takes 256$"):
        measure_micro(tflite_file("int8"), IMAGES[:, ::2])


def test_output_error_is_relative_to_the_spread_of_the_scores():
    expected = np.array([[0.0, 2.0], [4.0, 2.0]])  # standard deviation sqrt(2)
    assert micro._output_error(expected + 1, expected) == pytest.approx(1 / np.sqrt(2))
    assert micro._output_error(np.ones((2, 2)), np.ones((2, 2))) == 0
    assert micro._output_error(np.zeros((2, 2)), np.ones((2, 2))) == float("inf")


def test_measuring_is_quiet(capfd):
    measure_micro(tflite_file("int8"), IMAGES)
    measure_micro(tflite_file("dynamic_range"), IMAGES)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("form", ["clustered_per_channel", "clustered_per_tensor"])
def test_look_up_tables_shrink_a_clustered_file_and_keep_every_output(form):
    content = tflite_file(form)
    compressed = compress_lut(content)
    # 1,960 int8 weights as 3-bit indices, and the operator that unpacks them
    assert len(compressed) < len(content) - 1960 * 5 // 8 + 600
    np.testing.assert_array_equal(micro_outputs(compressed, IMAGES), micro_outputs(content, IMAGES))
    assert compress_lut(content) == compressed


def test_a_look_up_table_file_is_compared_with_its_original():
    content, compressed = tflite_file("clustered_per_channel"), tflite_file("look_up_table")
    report = measure_micro(compressed, IMAGES, reference=content)
    assert report.runs_on_tflm
    assert report.tflm_agreement == 1.0
    assert report.arena_bytes > measure_micro(content, IMAGES).arena_bytes


def test_one_table_for_a_per_channel_kernel_is_caught():
    content = tflite_file("clustered_per_channel")
    kernels = [kernel for kernel, _ in read_graph(content).kernels()]
    dense = next(kernel for kernel in kernels if len(kernel.shape) == 2)
    assert dense.scale.size == 5
    table = micro._table(dense)
    (method,) = table.compression
    assert (method.index_bitwidth, method.mode) == (3, spec.PerChannel(axis=0))
    method.index_bitwidth, method.mode = (np.unique(dense.values).size - 1).bit_length(), spec.PerTensor()
    wrong = micro._encode(content, [table])
    with pytest.raises(MicroError, match=r"^the look-up tables change 64 of 64 outputs$"):
        micro._check_identical(content, wrong)


def test_nothing_to_compress_is_an_error():
    with pytest.raises(
        ValueError, match=r"^no kernel gets smaller as a look-up table: cluster the weights first$"
    ):
        compress_lut(tflite_file("int8"))


@pytest.mark.parametrize(("entries", "bits"), [(1, 1), (2, 1), (3, 2), (8, 3), (9, 4), (128, 7)])
def test_table_bits_count_the_entries(entries, bits):
    (method,) = micro._table(kernel_of(entries)).compression
    assert (method.index_bitwidth, method.mode) == (bits, spec.PerTensor())


def test_a_table_of_129_entries_is_none():
    assert micro._table(kernel_of(129)) is None


def kernel_of(entries: int) -> Tensor:
    values = (np.arange(20_000) % entries - entries // 2).astype(np.int16).reshape(100, 200)
    return Tensor(
        index=0,
        name="",
        dtype="int16",
        bits=16,
        shape=values.shape,
        values=values,
        scale=np.ones(1, np.float32),
        zero_point=np.zeros(1, np.int64),
        axis=0,
    )


def test_the_device_modules_need_no_tensorflow():
    code = (
        "import sys\n"
        "from model_compression.runtimes import firmware, latency, micro\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_select_of_floats_runs_once_slimmed():
    layers = keras.layers
    keras.utils.set_random_seed(3)
    net = keras.Sequential(
        [layers.InputLayer((16, 16)), layers.Flatten(), layers.Dense(8), layers.Dense(5, "selu")]
    )
    config = conversion.ExportConfig(form="float32", one_image=True)
    with quiet():
        content = conversion.export(net, config, representative=None)
    assert "SELECT" in {operator.name for operator in read_graph(content).operators}
    slimmed = slim(content).content
    assert "SELECT_V2" in {operator.name for operator in read_graph(slimmed).operators}
    assert measure_micro(slimmed, IMAGES).runs_on_tflm
    np.testing.assert_array_equal(running.logits(slimmed, IMAGES), running.logits(content, IMAGES))
