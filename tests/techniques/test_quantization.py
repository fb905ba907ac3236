import numpy as np
import pytest
from conftest import Nets, exactly, kernels_of

from model_compression import quiet
from model_compression.files import conversion, running
from model_compression.files.graph import Tensor, read_graph
from model_compression.nets import layers, training
from model_compression.nets.keras2 import keras
from model_compression.techniques.quantization import QuantizeConfig


def test_unknown_preserve_is_refused() -> None:
    message = "preserve is 'zeros'; allowed: nothing, sparsity, clusters, sparsity and clusters"
    with pytest.raises(ValueError, match=exactly(message)):
        QuantizeConfig(preserve="zeros")


@pytest.mark.parametrize("bits", [2, 3, 5, 16, "8"])
def test_bits_that_a_file_cannot_store_are_refused(bits: object) -> None:
    message = f"weight_bits is {bits!r}; allowed: 8 or 4 (all that a file can store)"
    with pytest.raises(ValueError, match=exactly(message)):
        QuantizeConfig(weight_bits=bits)  # type: ignore[arg-type]


@pytest.mark.parametrize("preserve", ["sparsity", "clusters", "sparsity and clusters"])
def test_four_bits_preserve_nothing(preserve: str) -> None:
    message = f"weight_bits is 4 with preserve {preserve!r}; allowed: 8"
    with pytest.raises(ValueError, match=exactly(message)):
        QuantizeConfig(preserve=preserve, weight_bits=4)
    assert QuantizeConfig(weight_bits=4)


def test_layer_that_tfmot_cannot_quantize_is_refused_by_name() -> None:
    net = keras.Sequential([keras.layers.InputLayer((4, 3)), keras.layers.LSTM(2, name="remembers")])
    with (
        quiet.quiet(),
        pytest.raises(ValueError, match=r"^quantization-aware training cannot take this net: .*remembers"),
    ):
        QuantizeConfig().wrap(net, steps=100, seed=0)


def test_baseline_is_unchanged_by_wrapping_and_fine_tuning(nets: Nets) -> None:
    before = [weights.copy() for weights in nets["baseline"].get_weights()]
    with quiet.quiet():
        wrapped = QuantizeConfig().wrap(nets["baseline"], steps=100, seed=0)
    for layer in wrapped.layers:
        layer.set_weights([weights + 1 for weights in layer.get_weights()])
    assert nets["qat"] is not nets["baseline"]
    for now, then in zip(nets["baseline"].get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("bits", [8, 4])
def test_ranges_of_activations_start_where_images_show_them(bits: int) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    hidden = keras.layers.Conv2D(4, 3, name="small")(inputs)
    net = keras.Model(inputs, keras.layers.Dense(2, name="scores")(keras.layers.Flatten()(hidden)))
    images = np.random.default_rng(0).uniform(-20, 20, (32, 8, 8, 3)).astype(np.float32)
    technique = QuantizeConfig(weight_bits=bits)
    with quiet.quiet():
        wrapped = technique.wrap(net, steps=10, seed=0)
        technique.start(wrapped, images)
    found = {weight.name.split(":")[0]: float(weight) for weight in wrapped.weights if weight.shape == ()}
    shown = np.asarray(keras.Model(inputs, hidden)(images))
    # the kernel is rounded meanwhile, to 4 bits at worst
    for end, expected in (("min", shown.min()), ("max", shown.max())):
        (range_end,) = (
            value for name, value in found.items() if name.endswith(f"small/post_activation_{end}")
        )
        assert range_end == pytest.approx(expected, rel=0.02 if bits == 8 else 0.2)
        assert abs(range_end) > 6


def test_training_starts_from_the_baseline(nets: Nets) -> None:
    with quiet.quiet():
        wrapped = QuantizeConfig().wrap(nets["baseline"], steps=100, seed=0)
    held = [weights for layer in wrapped.layers for weights in layer.get_weights()]
    for weights in nets["baseline"].get_weights():
        assert any(np.array_equal(weights, other) for other in held)


def stored_kernels(nets: Nets, name: str) -> list[Tensor]:
    return [kernel for kernel, _ in read_graph(nets.file(name, "int8")).kernels()]


def test_qat_net_itself_becomes_an_int8_file(nets: Nets) -> None:
    graph = read_graph(nets.file("qat", "int8"))
    assert [kernel.dtype for kernel, _ in graph.kernels()] == ["int8", "int8"]
    assert not [tensor.name for tensor in graph.tensors if tensor.dtype.startswith("float")]
    assert nets.file("qat", "int8") != nets.file("baseline", "int8")


def test_file_answers_as_the_simulated_integers_did(nets: Nets) -> None:
    for name in ("qat", "qat4"):
        simulated = training.outputs(nets[name], nets.validation).argmax(axis=1)
        assert np.mean(running.predict(nets.file(name, "int8"), nets.validation) == simulated) > 0.99


def test_four_bit_weights_are_packed(nets: Nets) -> None:
    for kernel in stored_kernels(nets, "qat4"):
        assert (kernel.dtype, kernel.bits) == ("int4", 4)
        assert kernel.values is not None
        assert kernel.values.min() >= -8
        assert kernel.values.max() <= 7
        assert len(np.unique(kernel.values)) > 3


def test_zeros_are_lost_by_plain_qat_and_kept_by_pqat(nets: Nets) -> None:
    pruned = [int(np.sum(kernel == 0)) for kernel in kernels_of(nets["pruned"]).values()]

    def zeros(name: str) -> list[int]:
        return [int(np.sum(kernel.dequantized() == 0)) for kernel in stored_kernels(nets, name)]

    assert all(kept >= asked for kept, asked in zip(zeros("pqat"), pruned, strict=True))
    assert zeros("plain qat of pruned")[1] < 0.9 * pruned[1]


def test_zeros_and_clusters_are_kept_by_pcqat(nets: Nets) -> None:
    # the Dense kernel has one scale, so that one centroid stays one value
    dense = stored_kernels(nets, "pcqat")[1].dequantized()
    asked = int(np.sum(kernels_of(nets["pruned clustered"]).popitem()[1] == 0))
    assert len(np.unique(dense)) <= 8
    assert np.sum(dense == 0) >= asked
    assert len(np.unique(stored_kernels(nets, "qat")[1].dequantized())) > 30


def test_kernel_without_zeros_takes_none_from_the_others() -> None:
    dense = keras.layers.Dense
    parent = keras.Sequential([keras.Input((6,)), dense(8), dense(8), dense(3)])
    for layer in parent.layers:
        kernel, bias = layer.get_weights()
        few = np.random.default_rng(0).choice([-0.5, 0.0, 0.75], kernel.shape)
        layer.set_weights([np.where(few == 0, 0.25, few) if layer is parent.layers[-1] else few, bias])
    config = QuantizeConfig(preserve="sparsity and clusters")
    images = np.random.default_rng(1).normal(size=(64, 6)).astype(np.float32)
    with quiet.quiet():
        wrapped = config.wrap(parent, steps=8, seed=0)
        wrapped.compile("adam", "mse")
        wrapped.fit(images, images[:, :3], epochs=2, verbose=0)
        net = config.strip(wrapped)
    kernels = [weight.numpy() for weight in net.weights if weight.name.endswith("kernel:0")]
    for layer, kernel in zip(parent.layers, kernels, strict=True):
        np.testing.assert_array_equal(kernel == 0, layer.get_weights()[0] == 0)
        assert len(np.unique(kernel)) <= 3


def test_bias_of_a_filter_without_weights_is_in_the_file(nets: Nets) -> None:
    parent, config = layers.clone(nets["pruned"]), QuantizeConfig(preserve="sparsity")
    first = layers.kernel_layers(parent)[0]
    kernel, bias = first.get_weights()
    kernel[..., 0], bias[0] = 0, 0.5
    first.set_weights([kernel, bias])
    with quiet.quiet():
        net = config.strip(nets.fit(config.wrap(parent, steps=100, seed=0)))
        content = conversion.export(net, conversion.ExportConfig(form="int8"), representative=None)
    graph = read_graph(content)
    stored, operator = graph.kernels()[0]
    assert not stored.dequantized()[0].any()
    (trained,) = (weight.numpy() for weight in net.weights if weight.name == f"{first.name}/bias:0")
    assert trained[0] > 0.3
    found = graph.tensors[operator.inputs[2]]
    np.testing.assert_allclose(found.dequantized(), trained, atol=float(found.scale.max()))
