import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from conftest import Nets, exactly

from model_compression.files.conversion import FORMS, ExportConfig, export
from model_compression.files.graph import read_graph
from model_compression.files.running import logits
from model_compression.files.slimming import slim
from model_compression.nets import training
from model_compression.nets.keras2 import keras, tf
from model_compression.quiet import quiet


def test_unknown_form_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match=exactly(f"form is 'int3'; allowed: {', '.join(FORMS)}")):
        ExportConfig(form="int3")


def test_per_channel_dense_goes_with_int8_only() -> None:
    assert ExportConfig(form="int8", per_channel_dense=True)
    with pytest.raises(
        ValueError, match=exactly("per_channel_dense goes with form 'int8', not 'dynamic_range'")
    ):
        ExportConfig(form="dynamic_range", per_channel_dense=True)


def test_files_end_as_their_form_says() -> None:
    assert {form for form in FORMS if ExportConfig(form=form).suffix != ".tflite"} == {"h5"}
    assert ExportConfig(form="h5").suffix == ".h5"


def test_form_that_needs_images_says_so(nets: Nets) -> None:
    message = "this form needs representative images, and a QAT model brings none"
    with pytest.raises(ValueError, match=exactly(message)):
        export(nets["baseline"], ExportConfig(form="int16x8"), representative=None)


def test_h5_holds_the_net_without_its_optimizer(nets: Nets, tmp_path: object) -> None:
    path = tmp_path / "net.h5"  # type: ignore[operator]
    path.write_bytes(nets.file("baseline", "h5"))
    loaded = keras.models.load_model(path, compile=False)
    np.testing.assert_array_equal(
        training.outputs(loaded, nets.validation).argmax(axis=1),
        training.outputs(nets["baseline"], nets.validation).argmax(axis=1),
    )
    parameters = sum(weights.size for weights in nets["baseline"].get_weights())
    assert 4 * parameters < path.stat().st_size < 4 * parameters + 25_000
    assert b"optimizer_weights" not in path.read_bytes()


@pytest.mark.parametrize(
    ("form", "dtypes"),
    [
        ("float32", ["float32", "float32"]),
        ("float16", ["float16", "float16"]),
        ("dynamic_range", ["float32", "int8"]),  # the converter leaves kernels below 1,024 weights alone
        ("int8", ["int8", "int8"]),
        ("int16x8", ["int8", "int8"]),
        ("int4_weight_only", ["int4", "int4"]),
        ("int4_mixed", ["int8", "int4"]),
        ("int4_static", ["int8", "int4"]),
    ],
)
def test_form_stores_its_kernels_as_it_says(nets: Nets, form: str, dtypes: list[str]) -> None:
    graph = read_graph(nets.file("baseline", form))
    assert [kernel.dtype for kernel, _ in graph.kernels()] == dtypes


@pytest.mark.parametrize(
    ("form", "dtypes"),
    [
        ("int8_mixed", ["int8", "int8", "int8"]),
        ("int4_dynamic", ["int4", "int8", "int4"]),
        ("int4_weight_only", ["int4", "int8", "int4"]),
        ("int4_weight_only_octav", ["int4", "int8", "int4"]),
        ("int4_static_all", ["int4", "int8", "int4"]),
    ],
)
def test_depthwise_kernels_keep_8_bits_where_others_have_4(form: str, dtypes: list[str]) -> None:
    keras.utils.set_random_seed(0)
    net = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(8, 3),
            keras.layers.DepthwiseConv2D(3, activation="elu"),
            keras.layers.Flatten(),
            keras.layers.Dense(4),
        ]
    )
    images = np.random.default_rng(0).uniform(size=(200, 8, 8, 3)).astype(np.float32)
    content = export(net, ExportConfig(form=form), representative=images[:50])
    assert [kernel.dtype for kernel, _ in read_graph(content).kernels()] == dtypes
    expected = np.asarray(net(images))
    for delegate in (True, False):
        apart = logits(content, images, delegate=delegate) - expected
        assert np.sqrt(np.mean(apart**2)) < (0.3 if "int4" in form else 0.05) * np.std(expected)


@pytest.mark.parametrize("first", [keras.layers.Conv2D(6, 3), keras.layers.DepthwiseConv2D(3), None])
def test_filter_of_zeros_alone_keeps_its_bias(first: keras.layers.Layer | None) -> None:
    keras.utils.set_random_seed(0)
    kernels = [first] if first else []
    kernels += [keras.layers.Flatten(), keras.layers.Dense(5, activation="relu"), keras.layers.Dense(4)]
    net = keras.Sequential([keras.Input((6, 6, 3)), *kernels])
    for layer in (layer for layer in net.layers if layer.weights):
        kernel, bias = layer.get_weights()
        # the last axis but for a depthwise kernel, whose last is 1
        (kernel if kernel.shape[-1] > 1 else kernel[..., 0])[..., 1] = 0
        layer.set_weights([kernel, bias + np.float32(0.5)])
    images = np.random.default_rng(0).uniform(size=(200, 6, 6, 3)).astype(np.float32)
    content = export(net, ExportConfig(form="int8_mixed"), representative=images[:50])
    expected = np.asarray(net(images))
    for delegate in (True, False):
        apart = logits(content, images, delegate=delegate) - expected
        assert np.sqrt(np.mean(apart**2)) < 0.05 * np.std(expected)


@pytest.mark.parametrize("activation", ["selu", "exponential", "softplus"])
def test_exponential_that_overflows_is_a_reason_and_not_the_end_of_the_process(activation: str) -> None:
    keras.utils.set_random_seed(0)
    net = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(8, activation=activation), keras.layers.Dense(2)]
    )
    rows = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    assert export(net, ExportConfig(form="int8"), representative=rows)
    with pytest.raises(ValueError, match="an exponential within the model overflows"):
        export(net, ExportConfig(form="int8"), representative=1000 * rows)


def test_int8_file_is_integer_throughout(nets: Nets) -> None:
    dtypes = {tensor.dtype for tensor in read_graph(nets.file("baseline", "int8")).tensors}
    assert dtypes == {"int8", "int32"}


def test_int16x8_has_activations_of_16_bits(nets: Nets) -> None:
    graph = read_graph(nets.file("baseline", "int16x8"))
    outputs = [graph.tensors[user.outputs[0]].dtype for _, user in graph.kernels()]
    assert outputs == ["int16", "int16"]


def test_dense_has_one_scale_unless_asked(nets: Nets) -> None:
    config = ExportConfig(form="int8", per_channel_dense=True)
    channels = export(nets["baseline"], config, representative=nets.images[:100])
    scales = [kernel.scale.size for kernel, _ in read_graph(channels).kernels()]
    assert scales == [4, 10]
    scales = [kernel.scale.size for kernel, _ in read_graph(nets.file("baseline", "int8")).kernels()]
    assert scales == [4, 1]


def test_export_leaves_the_net_alone(nets: Nets) -> None:
    before = [weights.copy() for weights in nets["baseline"].get_weights()]
    nets.file("baseline", "int8")
    for now, then in zip(nets["baseline"].get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("net", ["baseline", "qat"])
def test_file_is_what_from_keras_model_writes(nets: Nets, net: str) -> None:
    with quiet():
        converter = tf.lite.TFLiteConverter.from_keras_model(nets[net])
        if net == "qat":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        theirs = converter.convert()
    ours = nets.file(net, "int8" if net == "qat" else "float32")
    # the metadata name the kind of model that was converted: one byte
    assert len(ours) == len(theirs)
    assert sum(a != b for a, b in zip(ours, theirs, strict=True)) <= 1


def test_file_of_more_bytes_than_the_quantizer_keeps_in_its_tables_is_read() -> None:
    keras.utils.set_random_seed(0)
    net = keras.Sequential([keras.Input((512,)), keras.layers.Dense(600), keras.layers.Dense(2)])
    rows = np.random.default_rng(0).normal(size=(40, 512)).astype(np.float32)
    content = export(net, ExportConfig(form="int8_mixed"), representative=rows)
    assert any(buffer.offset > 1 for buffer in schema.ModelT.InitFromPackedBuf(content).buffers)
    kernels = [kernel for kernel, _ in read_graph(content).kernels()]
    assert [kernel.numbers.dtype for kernel in kernels] == [np.int8, np.int8]
    small = slim(content).content
    np.testing.assert_array_equal(logits(small, rows), logits(content, rows))
    assert np.abs(logits(small, rows) - net(rows)).max() < 0.1
