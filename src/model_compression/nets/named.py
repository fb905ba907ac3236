"""The nets, by name.

Some are trained with batch normalization, which `saved_models.building.folded` takes out afterwards.
"""

import functools
import re
from collections.abc import Callable

from .keras2 import keras, tf
from .recurrent import RUNS, Recurrent

#: What computes one tensor from another: a layer, or several in a graph of their own.
Part = Callable[[tf.Tensor], tf.Tensor]
Body = Callable[[int], list[Part]]
layers = keras.layers


def _baseline(classes: int) -> list[Part]:
    """The net of the TFMOT tutorials: 20,410 parameters on 28 x 28 images."""
    return [
        layers.Conv2D(12, 3, activation="relu"),
        layers.MaxPool2D(),
        layers.Flatten(),
        layers.Dense(classes),
    ]


def _lenet_5(classes: int) -> list[Part]:
    """LeNet-5 as in Caffe and Deep Compression: 431,080 parameters."""
    return [
        layers.Conv2D(20, 5),
        layers.MaxPool2D(),
        layers.Conv2D(50, 5),
        layers.MaxPool2D(),
        layers.Flatten(),
        layers.Dense(500, activation="relu"),
        layers.Dense(classes),
    ]


#: Its averages follow within a hundred steps, for a training here may be one short epoch.
_normalization = functools.partial(layers.BatchNormalization, momentum=0.9)


def _ds_cnn(classes: int) -> list[Part]:
    """MLPerf Tiny's net for keywords: 24,908 parameters on 49 x 10 features in 12 classes.

    A convolution and four depthwise-separable blocks of 64 channels. The first kernel is 10 x 4 whatever
    the image; the mean is over all that is left of it.
    Source: Zhang et al. 2017, arXiv:1711.07128; Banbury et al. 2021, arXiv:2106.07597.
    """

    def normal() -> list[Part]:
        return [_normalization(), layers.ReLU()]

    parts = [layers.Conv2D(64, (10, 4), strides=2, padding="same"), *normal(), layers.Dropout(0.2)]
    for _ in range(4):
        parts += [layers.DepthwiseConv2D(3, padding="same"), *normal(), layers.Conv2D(64, 1), *normal()]
    return [*parts, layers.Dropout(0.4), layers.GlobalAveragePooling2D(), layers.Dense(classes)]


def _resnet_8(classes: int) -> list[Part]:
    """MLPerf Tiny's residual net for images: 78,666 parameters on 32 x 32 x 3 in 10 classes.

    Source: He et al. 2016, arXiv:1512.03385; Banbury et al. 2021, arXiv:2106.07597.
    """

    def convolution(filters: int, size: int, strides: int) -> Part:
        return layers.Conv2D(filters, size, strides=strides, padding="same", kernel_initializer="he_normal")

    def block(filters: int, strides: int) -> Part:
        def part(x: tf.Tensor) -> tf.Tensor:
            y = layers.ReLU()(_normalization()(convolution(filters, 3, strides)(x)))
            y = _normalization()(convolution(filters, 3, 1)(y))
            around = convolution(filters, 1, strides)(x) if strides > 1 else x
            return layers.ReLU()(layers.Add()([around, y]))

        return part

    stem = [convolution(16, 3, 1), _normalization(), layers.ReLU()]
    end = [layers.GlobalAveragePooling2D(), layers.Dense(classes, kernel_initializer="he_normal")]
    return [*stem, block(16, 1), block(32, 2), block(64, 2), *end]


def _cnn_1d(classes: int) -> list[Part]:
    """The convolutional net of MNIST-1D: 5,210 parameters on 40 numbers in 10 classes.

    Its convolutions are those of an image one pixel high, so that every method takes them.
    Source: Greydanus & Kobak 2020, arXiv:2011.14439.
    """
    convolutions = [
        layers.Conv2D(25, (1, width), strides=(1, 2), padding="same", activation="relu")
        for width in (5, 3, 3)
    ]
    return [*convolutions, layers.Flatten(), layers.Dense(classes)]


#: `small_12s_24p_24p`, `small_12p_24kp`, `small_24p_24x2p2p`, `small_8s_16p_24_g`, `small_d30_l6`:
#: convolutions, then Dense layers or a mean.
_SMALL = re.compile(
    rf"small(?P<convolutions>(_[1-9]\d*([sk]?p?|x{RUNS}))*)(?P<rest>(_[dl][1-9]\d*)*|_g)(?<!small)"
)


def _small(net: str, classes: int) -> list[Part]:
    """A small net by its name.

    A part `12` is a convolution of 12 filters, 3 x 3 with "same" padding and ReLU; `s` makes it 5 x 5
    with stride 2, `k` a depthwise one and a pointwise one of 12 after it, `p` adds a max-pool; `24x2p2` is
    one kernel applied four times, see `Recurrent`. `d30` is a Dense layer of 30 with ReLU, `l6` one of 6
    without, a product of two matrices with the next, `g` the mean over the image in place of flattening.
    The Dense layer of the classes ends each.
    """
    found, parts = _SMALL.fullmatch(net), list[Part]()
    assert found
    for part in found["convolutions"].split("_")[1:]:
        filters, again, runs = part.partition("x")
        if again:
            parts.append(Recurrent(int(filters), runs))
            continue
        size, strides = (5, 2) if "s" in part else (3, 1)
        if "k" in part:
            parts.append(layers.DepthwiseConv2D(3, padding="same", use_bias=False))
            size = 1
        convolution = layers.Conv2D(
            int(part.rstrip("skp")),
            size,
            strides=strides,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
        )
        parts += [convolution, layers.MaxPool2D()] if "p" in part else [convolution]
    if found["rest"] == "_g":
        return [*parts, layers.GlobalAveragePooling2D(), layers.Dense(classes)]
    hidden = [
        layers.Dense(int(part[1:]), activation="relu" if part[0] == "d" else None)
        for part in found["rest"].split("_")[1:]
    ]
    return [*parts, layers.Flatten(), *hidden, layers.Dense(classes)]


NETS: dict[str, Body] = {
    "baseline": _baseline,
    "cnn_1d": _cnn_1d,
    "ds_cnn": _ds_cnn,
    # LeCun et al. 1998, as in Deep Compression: 266,610 parameters
    "lenet_300_100": functools.partial(_small, "small_d300_d100"),
    "lenet_5": _lenet_5,
    "resnet_8": _resnet_8,
}


def _shaped(net: str, shape: tuple[int, ...], first: Part) -> list[Part]:
    """The axes that the net's first convolution needs and its inputs lack.

    Raises:
        ValueError: inputs that it cannot take.
    """
    signals = net == "cnn_1d"
    least, named = (1, "signals (length,)") if signals else (2, "images (height, width)")
    if len(shape) not in (least, least + 1) and isinstance(first, keras.layers.Conv2D):
        raise ValueError(f"net {net!r} takes {named} or with channels last; the data are {shape}")
    full = ((1,) if signals else ()) + shape + ((1,) if len(shape) == least else ())
    return [keras.layers.Reshape(full)] if len(full) > len(shape) else []


def parse_net(net: str) -> tuple[str, tuple[int, ...]]:
    """Split a net's name into family and widths: `baseline_3` is the baseline with 3 filters.

    Small nets, whose name says all of their layers, are a family each.

    Raises:
        ValueError: no such net.
    """
    if net in NETS or _SMALL.fullmatch(net):
        return net, ()
    family, _, width = net.rpartition("_")
    if family == "baseline" and width.isdecimal() and int(width) >= 1:
        return family, (int(width),)
    raise ValueError(
        f"net is {net!r}; allowed: {', '.join(sorted(NETS))}, baseline_<filters>, "
        "or small_<layers> such as small_12s_24p_24p, small_8s_16p_24_g or small_d30"
    )


def build(net: str, *, input_shape: tuple[int, ...], classes: int, seed: int) -> keras.Model:
    """An untrained net with logits as outputs: a chain where it is one, else a graph.

    Args:
        net: a name in `NETS`, `baseline_<filters>` or `small_<layers>`, see `_small`.
        input_shape: one input's: (height, width) or (height, width, channels); for cnn_1d (length,) or
            (length, channels).
        classes: number of outputs.
        seed: sets every generator before the first weight is drawn.
    Raises:
        ValueError: no such net, or one that does not take such inputs.
    """
    family, widths = parse_net(net)
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    parts = NETS[family](classes) if family in NETS else _small(net, classes)
    if widths:
        parts[0] = layers.Conv2D(widths[0], 3, activation="relu")
    parts = [*_shaped(net, input_shape, parts[0]), *parts]
    if all(isinstance(part, keras.layers.Layer) for part in parts):
        return keras.Sequential([keras.layers.InputLayer(input_shape), *parts])
    x = image = keras.Input(input_shape)
    for part in parts:
        x = part(x)
    return keras.Model(image, x)
