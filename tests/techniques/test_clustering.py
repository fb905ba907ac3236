import numpy as np
import pytest
from conftest import Nets, exactly, kernels_of

from model_compression import quiet
from model_compression.nets import layers, named
from model_compression.nets.keras2 import keras
from model_compression.techniques.clustering import ClusterConfig


@pytest.mark.parametrize("clusters", [1, 0, -1, 257, 8.0, True, "8", None])
def test_clusters_outside_2_to_256_are_refused(clusters: object) -> None:
    message = f"clusters is {clusters!r}; allowed: whole numbers from 2 to 256"
    with pytest.raises(ValueError, match=exactly(message)):
        ClusterConfig(clusters=clusters)  # type: ignore[arg-type]


def test_sparse_clusters_start_at_three() -> None:
    message = "clusters is 2; allowed: whole numbers from 3 to 256"
    with pytest.raises(ValueError, match=exactly(message)):
        ClusterConfig(clusters=2, preserve_sparsity=True)
    assert ClusterConfig(clusters=3, preserve_sparsity=True).clusters == 3


@pytest.mark.parametrize("clusters", [2, 256])
def test_bounds_are_allowed(clusters: int) -> None:
    assert ClusterConfig(clusters=clusters).clusters == clusters


def test_net_with_fewer_weights_than_clusters_is_refused() -> None:
    net = named.build("baseline_1", input_shape=(4, 4), classes=3, seed=0)
    with pytest.raises(ValueError, match=exactly("no layer of the model takes clustering to 200")):
        ClusterConfig(clusters=200).wrap(net, steps=100, seed=0)


def test_layers_without_a_kernel_or_with_a_small_one_are_left_out() -> None:
    def taken(layer: keras.layers.Layer, shape: tuple[int, ...], clusters: int) -> bool:
        layer.build((None, *shape))
        return ClusterConfig(clusters=clusters).takes(layer)

    assert taken(keras.layers.Dense(4), (7,), 15)  # 28 weights, 4 biases: more than 30
    assert not taken(keras.layers.Dense(4), (7,), 16)
    assert taken(keras.layers.Conv2D(4, 3), (8, 8, 1), 8)
    assert not taken(keras.layers.DepthwiseConv2D(3), (8, 8, 64), 8)
    assert not taken(keras.layers.BatchNormalization(), (100,), 8)


def test_every_kernel_ends_with_as_many_values_as_asked(nets: Nets) -> None:
    for kernel in kernels_of(nets["clustered"]).values():
        assert 4 <= len(np.unique(kernel)) <= 8


def test_clustering_trains_on_from_the_baseline_and_leaves_it_alone(nets: Nets) -> None:
    before = [weights.copy() for weights in nets["baseline"].get_weights()]
    with quiet.quiet():
        wrapped = ClusterConfig(clusters=8).wrap(nets["baseline"], steps=100, seed=0)
    for layer in wrapped.layers:
        layer.set_weights([weights + 1 for weights in layer.get_weights()])
    assert not np.array_equal(nets["clustered"].get_weights()[1], before[1])
    for now, then in zip(nets["baseline"].get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_clustering_keeps_zeros_where_asked(nets: Nets) -> None:
    pruned, clustered = kernels_of(nets["pruned"]), kernels_of(nets["pruned clustered"])
    for name, kernel in clustered.items():
        assert np.all(kernel[pruned[name] == 0] == 0)
        assert 4 <= len(np.unique(kernel)) <= 8


def test_kernel_too_small_to_be_clustered_keeps_its_zeros() -> None:
    net = keras.Sequential([keras.layers.Input((12,)), keras.layers.Dense(8), keras.layers.Dense(1)])
    net.build()
    kernel, bias = net.layers[-1].get_weights()
    net.layers[-1].set_weights([np.where(np.arange(8)[:, None] < 6, 0, kernel), bias])
    config = ClusterConfig(clusters=8, preserve_sparsity=True)
    wrapped = config.wrap(net, steps=20, seed=0)
    rows = np.random.default_rng(0).normal(size=(64, 12)).astype(np.float32)
    wrapped.compile("sgd", "mse")
    wrapped.fit(rows, rows[:, :1], epochs=2, verbose=0)
    stripped = config.strip(wrapped)
    assert np.count_nonzero(stripped.layers[-1].kernel.numpy()) == 2
    assert all(layer.trainable for layer in stripped.layers)
    assert len(np.unique(stripped.layers[0].kernel.numpy())) <= 8


def sparse(nets: Nets, kept: list[float]) -> keras.Model:
    """The baseline, its convolution's kernel zero but for `kept`."""
    net = layers.clone(nets["baseline"])
    layer = layers.kernel_layers(net)[0]
    kernel, bias = layer.get_weights()
    flat = np.zeros_like(kernel).ravel()
    flat[: len(kept)] = kept
    layer.set_weights([flat.reshape(kernel.shape), bias])
    return net


@pytest.mark.parametrize("kept", [[0.1, -0.2], [0.1, 0.2], [0.1, 0.2, 0.3, 0.4, 0.5, -0.1], [0.3] * 7])
def test_kernel_that_keeps_fewer_weights_than_clusters_gets_fewer(nets: Nets, kept: list[float]) -> None:
    with quiet.quiet():
        config = ClusterConfig(clusters=16, preserve_sparsity=True)
        wrapped = config.wrap(sparse(nets, kept), steps=100, seed=0)
    values = kernels_of(config.strip(wrapped))
    convolution, dense = values.values()
    assert np.count_nonzero(convolution) == len(kept)
    assert len(np.unique(convolution)) <= len(kept) + 1
    assert 8 < len(np.unique(dense)) <= 16


def test_kernel_that_keeps_one_weight_cannot_be_clustered(nets: Nets) -> None:
    net = sparse(nets, [0.1])
    name = layers.kernel_layers(net)[0].name
    message = f"{name} keeps 1 weights other than zero; allowed for sparse clusters: 2 or more"
    with pytest.raises(ValueError, match=exactly(message)):
        ClusterConfig(clusters=16, preserve_sparsity=True).wrap(net, steps=100, seed=0)


def test_strip_gives_back_the_plain_layers(nets: Nets) -> None:
    assert [type(layer) for layer in nets["clustered"].layers] == [
        type(layer) for layer in nets["baseline"].layers
    ]
    assert (
        ClusterConfig(clusters=8).strip(nets["clustered"]).count_params() == nets["baseline"].count_params()
    )
