"""The order of hidden channels: one that codes short, and the same function."""

import numpy as np
import pytest

from model_compression.files import coding, conversion
from model_compression.files.conversion import ExportConfig
from model_compression.nets import channels, layers, named
from model_compression.nets.keras2 import keras


def tiny_net(seed: int = 3) -> keras.Sequential:
    net = named.build("small_4s_6p", input_shape=(8, 8), classes=3, seed=seed)
    generator = np.random.default_rng(1)
    for layer in layers.kernel_layers(net):
        kernel, *bias = layer.get_weights()
        layer.set_weights([kernel, *(generator.normal(size=b.shape).astype(np.float32) for b in bias)])
    return net


IMAGES = np.random.default_rng(0).random((16, 8, 8)).astype(np.float32)


def outputs(net: keras.Model) -> np.ndarray:
    return net(IMAGES).numpy()


def test_canonical_sorts_channels_by_bias_and_keeps_the_function() -> None:
    net = tiny_net()
    sorted_net = channels.canonical(net)
    np.testing.assert_allclose(outputs(net), outputs(sorted_net), rtol=1e-4, atol=1e-5)
    for layer in layers.kernel_layers(sorted_net)[:-1]:
        bias = layer.get_weights()[1]
        assert (np.diff(bias) >= 0).all()
        assert len(np.unique(bias)) == len(bias)


def test_canonical_silences_dead_channels() -> None:
    net = named.build("small_4s_6p", input_shape=(8, 8), classes=3, seed=3)
    first, second, last = layers.kernel_layers(net)
    kernel, bias = first.get_weights()
    kernel[..., 1], bias[1] = 0, -1  # always 0 behind the ReLU
    first.set_weights([kernel, bias])
    weights, *rest = last.get_weights()
    unread = weights.reshape(-1, 6, 3)
    unread[:, 4] = 0  # nobody reads channel 4 of the second layer
    last.set_weights([unread.reshape(weights.shape), *rest])
    second_kernel, second_bias = second.get_weights()
    second_bias[4] = 2
    second.set_weights([second_kernel, second_bias])
    silenced = channels.canonical(net)
    np.testing.assert_allclose(outputs(net), outputs(silenced), rtol=1e-4, atol=1e-5)
    one, two, three = layers.kernel_layers(silenced)
    assert (np.abs(one.get_weights()[0]).sum(axis=(0, 1, 2)) == 0).sum() == 1
    assert (one.get_weights()[1] >= 0).all()
    assert (np.abs(two.get_weights()[0]).sum(axis=(0, 1, 3)) == 0).sum() == 1
    assert (np.abs(two.get_weights()[0]).sum(axis=(0, 1, 2)) == 0).sum() == 1
    assert (np.abs(three.get_weights()[0].reshape(-1, 6, 3)).sum(axis=(0, 2)) == 0).sum() == 1
    assert two.get_weights()[1].max() == 0


def inversions(net: keras.Model) -> int:
    """Pairs of neighbours whose biases fall: 0 where they are sorted upwards."""
    biases = [layer.get_weights()[1] for layer in layers.kernel_layers(net)[:-1]]
    return sum(int((bias[:, None] > bias)[np.triu_indices(len(bias), 1)].sum()) for bias in biases)


def test_climb_finds_the_order_asked_for_and_keeps_the_function() -> None:
    net = tiny_net()
    before = net.get_weights()
    found = channels.shortest(net, inversions, tries=300)
    assert inversions(net) > 0 == inversions(found)
    np.testing.assert_allclose(outputs(net), outputs(found), rtol=1e-4, atol=1e-5)
    for one, other in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_climb_never_ends_larger_and_repeats() -> None:
    net = tiny_net()
    config = ExportConfig(form="packed_int4", orders=40)

    def coded(model: keras.Model) -> bytes:
        return conversion.export(model, config, representative=None)

    one, other = (coded(conversion.ordered(net, config)) for _ in range(2))
    assert one == other
    assert coding.brotli_bytes(one) <= coding.brotli_bytes(coded(net))


def test_nets_that_are_no_chain_stay_as_they_are() -> None:
    inputs = keras.Input((8,))
    left, right = keras.layers.Dense(4)(inputs), keras.layers.Dense(4)(inputs)
    net = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Add()([left, right])))
    for found in (channels.canonical(net), channels.shortest(net, lambda model: 0, tries=5)):
        for one, other in zip(net.get_weights(), found.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_no_orders_asked_for_is_the_net_itself() -> None:
    net = tiny_net()
    assert conversion.ordered(net, ExportConfig(form="packed_int4")) is net


@pytest.mark.parametrize("value", [-1, 1.0, True])
def test_orders_below_0_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match=f"orders is {value!r}; allowed: whole numbers from 0"):
        ExportConfig(form="packed_int4", orders=value)  # type: ignore[arg-type]


def test_orders_go_with_packed_forms_only() -> None:
    with pytest.raises(ValueError, match="orders goes with a packed form, not 'int8'"):
        ExportConfig(form="int8", orders=5)
    with pytest.raises(ValueError, match="exact goes with a packed form, not 'int8'"):
        ExportConfig(form="int8", exact=True)
