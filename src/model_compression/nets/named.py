"""The nets, by name."""

import re
from collections.abc import Callable

from .keras2 import keras

Body = Callable[[int], list[keras.layers.Layer]]


def _image(shape: tuple[int, ...]) -> list[keras.layers.Layer]:
    """Add the channel axis that a greyscale image lacks."""
    return [keras.layers.Reshape((*shape, 1))] if len(shape) == 2 else []


def _baseline(classes: int) -> list[keras.layers.Layer]:
    """The net of the TFMOT tutorials: 20,410 parameters on 28 x 28 images."""
    layers = keras.layers
    return [
        layers.Conv2D(12, 3, activation="relu"),
        layers.MaxPool2D(),
        layers.Flatten(),
        layers.Dense(classes),
    ]


def _lenet_300_100(classes: int) -> list[keras.layers.Layer]:
    """LeCun et al. 1998, as in Deep Compression: 266,610 parameters."""
    layers = keras.layers
    return [
        layers.Flatten(),
        layers.Dense(300, activation="relu"),
        layers.Dense(100, activation="relu"),
        layers.Dense(classes),
    ]


def _lenet_5(classes: int) -> list[keras.layers.Layer]:
    """LeNet-5 as in Caffe and Deep Compression: 431,080 parameters."""
    layers = keras.layers
    return [
        layers.Conv2D(20, 5),
        layers.MaxPool2D(),
        layers.Conv2D(50, 5),
        layers.MaxPool2D(),
        layers.Flatten(),
        layers.Dense(500, activation="relu"),
        layers.Dense(classes),
    ]


#: `small_12s_24p_24p`, `small_8s_16p_24_g`, `small_d30`: convolutions, then Dense layers or a mean.
_SMALL = re.compile(r"small(?P<convolutions>(_[1-9]\d*s?p?)*)(?P<rest>(_d[1-9]\d*)*|_g)")


def _small(net: str) -> Body | None:
    """A small net by its name; None if it is no such name.

    A part `12` is a convolution of 12 filters, 3 x 3 with "same" padding and ReLU; `s` makes it 5 x 5
    with stride 2, `p` adds a max-pool. `d30` is a Dense layer of 30 with ReLU, `g` the mean over the
    image in place of flattening. The Dense layer of the classes ends each.
    """
    found = _SMALL.fullmatch(net)
    if found is None or net == "small":
        return None

    def body(classes: int) -> list[keras.layers.Layer]:
        layers: list[keras.layers.Layer] = []
        for part in found["convolutions"].split("_")[1:]:
            size, strides = (5, 2) if "s" in part else (3, 1)
            layers.append(
                keras.layers.Conv2D(
                    int(part.rstrip("sp")),
                    size,
                    strides=strides,
                    padding="same",
                    activation="relu",
                    kernel_initializer="he_normal",
                )
            )
            if "p" in part:
                layers.append(keras.layers.MaxPool2D())
        if found["rest"] == "_g":
            return [*layers, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(classes)]
        widths = [int(part) for part in found["rest"].split("_d")[1:]]
        hidden = [keras.layers.Dense(width, activation="relu") for width in widths]
        return [*layers, keras.layers.Flatten(), *hidden, keras.layers.Dense(classes)]

    return body


NETS: dict[str, Body] = {"baseline": _baseline, "lenet_300_100": _lenet_300_100, "lenet_5": _lenet_5}


def parse_net(net: str) -> tuple[str, tuple[int, ...]]:
    """Split a net's name into family and widths: `baseline_3` is the baseline with 3 filters.

    Small nets, whose name says all of their layers, are a family each.

    Raises:
        ValueError: no such net.
    """
    if net in NETS or _small(net):
        return net, ()
    family, _, width = net.rpartition("_")
    if family == "baseline" and width.isdecimal() and int(width) >= 1:
        return family, (int(width),)
    raise ValueError(
        f"net is {net!r}; allowed: {', '.join(sorted(NETS))}, baseline_<filters>, "
        "or small_<layers> such as small_12s_24p_24p, small_8s_16p_24_g or small_d30"
    )


def build(net: str, *, input_shape: tuple[int, ...], classes: int, seed: int) -> keras.Sequential:
    """An untrained net with logits as outputs.

    Args:
        net: a name in `NETS`, `baseline_<filters>` or `small_<layers>`, see `_small`.
        input_shape: one image's shape, (height, width) or (height, width, channels).
        classes: number of outputs.
        seed: sets every generator before the first weight is drawn.
    Raises:
        ValueError: no such net.
    """
    family, widths = parse_net(net)
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    layers = (_small(family) or NETS[family])(classes)
    if widths:
        layers[0] = keras.layers.Conv2D(widths[0], 3, activation="relu")
    return keras.Sequential([keras.layers.InputLayer(input_shape), *_image(input_shape), *layers])
