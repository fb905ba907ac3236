import numpy as np
import pytest
from conftest import exactly

from model_compression.nets import keras2
from model_compression.nets.keras2 import keras
from model_compression.nets.layers import clone, kernel_layers, kernel_size, kernels
from model_compression.nets.named import build, parse_net


def tiny(seed: int = 0) -> keras.Sequential:
    return build("baseline_2", input_shape=(8, 8), classes=3, seed=seed)


@pytest.mark.parametrize(
    ("net", "parameters"),
    [("baseline", 20_410), ("lenet_300_100", 266_610), ("lenet_5", 431_080), ("baseline_3", 5_110)],
)
def test_net_has_the_published_number_of_parameters(net: str, parameters: int) -> None:
    assert build(net, input_shape=(28, 28), classes=10, seed=0).count_params() == parameters


@pytest.mark.parametrize(
    ("net", "shape", "classes", "parameters"),
    [
        ("ds_cnn", (49, 10, 1), 12, 24_908),
        ("ds_cnn", (49, 10), 12, 24_908),
        ("resnet_8", (32, 32, 3), 10, 78_666),
        ("cnn_1d", (40,), 10, 5_210),
        ("cnn_1d", (40, 1), 10, 5_210),
    ],
)
def test_net_of_a_benchmark_has_the_published_number_of_parameters(
    net: str, shape: tuple[int, ...], classes: int, parameters: int
) -> None:
    built = build(net, input_shape=shape, classes=classes, seed=0)
    assert built.count_params() == parameters
    assert built.output_shape == (None, classes)


@pytest.mark.parametrize(
    ("net", "shape", "takes"),
    [
        ("ds_cnn", (40,), "images (height, width)"),
        ("baseline", (2, 3, 4, 5), "images (height, width)"),
        ("cnn_1d", (28, 28, 3), "signals (length,)"),
    ],
)
def test_net_refuses_inputs_that_it_does_not_take(net: str, shape: tuple[int, ...], takes: str) -> None:
    message = exactly(f"net {net!r} takes {takes} or with channels last; the data are {shape}")
    with pytest.raises(ValueError, match=message):
        build(net, input_shape=shape, classes=10, seed=0)


def test_net_without_convolutions_takes_any_inputs() -> None:
    assert build("small_d3", input_shape=(40,), classes=2, seed=0).count_params() == 41 * 3 + 4 * 2


def test_one_channel_of_a_signal_is_what_a_signal_without_channels_is() -> None:
    signals = np.random.default_rng(0).random((5, 40), dtype=np.float32)
    plain, column = (build("cnn_1d", input_shape=shape, classes=3, seed=0) for shape in ((40,), (40, 1)))
    np.testing.assert_array_equal(plain(signals), column(signals[..., None]))


def test_small_net_is_what_its_name_says() -> None:
    net = build("small_4s_8p_d5", input_shape=(28, 28), classes=10, seed=0)
    # 5 x 5 with stride 2 to 14 x 14, 3 x 3 and a pool to 7 x 7, Dense 5, Dense 10
    assert [kernel.shape.as_list() for kernel in kernels(net).values()] == [
        [5, 5, 1, 4],
        [3, 3, 4, 8],
        [7 * 7 * 8, 5],
        [5, 10],
    ]


def test_small_net_can_end_in_a_mean() -> None:
    net = build("small_4_g", input_shape=(28, 28), classes=10, seed=0)
    assert [kernel.shape.as_list() for kernel in kernels(net).values()] == [[3, 3, 1, 4], [4, 10]]


def test_small_net_can_have_depthwise_kernels_and_a_head_of_low_rank() -> None:
    net = build("small_4p_6kp_l2", input_shape=(28, 28), classes=10, seed=0)
    shapes = [kernel.shape.as_list() for kernel in kernels(net).values()]
    assert shapes == [[3, 3, 1, 4], [3, 3, 4, 1], [1, 1, 4, 6], [7 * 7 * 6, 2], [2, 10]]
    assert [layer.activation.__name__ for layer in net.layers[-2:]] == ["linear", "linear"]


@pytest.mark.parametrize(
    "net",
    [
        *("", "lenet", "baseline_", "baseline_0", "baseline_x", "lenet_5_3"),
        *(
            "small",
            "small_",
            "small_0",
            "small_d3_4",
            "small_4_g_d3",
            "small_4y",
            "small_2x",
            "small_2sk",
            "small_2xp",
            "small_2x2p0",
        ),
    ],
)
def test_unknown_net_is_refused_with_those_that_are_known(net: str) -> None:
    with pytest.raises(
        ValueError, match=f"^net is {net!r}; allowed: baseline, cnn_1d, ds_cnn, lenet_300_100, "
    ):
        parse_net(net)


def test_width_is_part_of_the_name() -> None:
    assert parse_net("baseline_3") == ("baseline", (3,))
    assert parse_net("baseline") == ("baseline", ())


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_same_seed_gives_the_same_weights(seed: int) -> None:
    one, other = tiny(seed).get_weights(), tiny(seed).get_weights()
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left, right)


def test_seed_0_is_a_seed_like_any_other() -> None:
    assert not np.array_equal(tiny(0).get_weights()[0], tiny(1).get_weights()[0])


def test_outputs_are_logits() -> None:
    outputs = tiny()(np.random.default_rng(0).random((5, 8, 8), dtype=np.float32)).numpy()
    assert outputs.shape == (5, 3)
    assert not np.allclose(outputs.sum(axis=1), 1)


def test_grey_and_colour_images_are_taken() -> None:
    colour = build("baseline_2", input_shape=(8, 8, 3), classes=3, seed=0)
    assert colour.output_shape == (None, 3)
    assert [kernel.shape.as_list() for kernel in kernels(colour).values()] == [[3, 3, 3, 2], [18, 3]]


def test_names_are_the_same_each_time_so_that_files_are() -> None:
    first, second = tiny(), tiny()
    assert first.name == second.name
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]


def test_changing_a_clone_leaves_the_original_alone() -> None:
    net = tiny()
    before = [weights.copy() for weights in net.get_weights()]
    copy = clone(net)
    for one, other in zip(copy.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    copy.set_weights([weights + 1 for weights in before])
    for one, other in zip(net.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_kernels_are_those_of_convolutions_and_dense_layers_in_order() -> None:
    layers = keras.layers
    net = keras.Sequential(
        [
            layers.InputLayer((8, 8, 3)),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.BatchNormalization(name="normal"),
            layers.Conv2D(2, 1, name="conv"),
            layers.Flatten(),
            layers.Dense(3, name="dense"),
        ]
    )
    assert {name: tuple(kernel.shape) for name, kernel in kernels(net).items()} == {
        "depthwise": (3, 3, 3, 1),
        "conv": (1, 1, 3, 2),
        "dense": (72, 3),
    }
    assert [kernel_size(layer) for layer in kernel_layers(net)] == [27, 6, 216]


def test_one_thread_whatever_the_number_of_cores() -> None:
    threading = keras2.tf.config.threading
    assert threading.get_intra_op_parallelism_threads() == 1
    assert threading.get_inter_op_parallelism_threads() == 1


def test_transposed_convolution_is_no_kernel_of_the_methods() -> None:
    layers = keras.layers
    net = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(2, 3), layers.Conv2DTranspose(2, 3), layers.Flatten()]
    )
    assert [type(layer) for layer in kernel_layers(net)] == [layers.Conv2D]
