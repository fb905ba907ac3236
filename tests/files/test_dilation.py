"""Dilated convolutions are one operator in a file, and computed as Keras computes them."""

import warnings

import numpy as np
import pytest

from model_compression.files import running
from model_compression.files.graph import read_graph
from model_compression.techniques.base import Kept

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TFMOT's, at its import
    from model_compression.files import conversion, guard
    from model_compression.nets.keras2 import keras

layers = keras.layers
IMAGES = np.random.default_rng(0).random((20, 12, 12, 3), np.float32)


def _net(padding: str) -> keras.Model:
    keras.utils.set_random_seed(1)
    net = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(4, 3, padding=padding, dilation_rate=2, activation="relu"),
            layers.DepthwiseConv2D(3, padding=padding, dilation_rate=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    net.set_weights([np.random.default_rng(2).normal(0, 0.3, w.shape) for w in net.get_weights()])
    return net


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("form", ["float32", "int8"])
def test_dilated_convolutions_are_one_operator_each(form: str, padding: str) -> None:
    net = _net(padding)
    content = conversion.export(net, conversion.ExportConfig(form=form), representative=IMAGES)
    names = [operator.name for operator in read_graph(content).operators]
    assert names == ["CONV_2D", "DEPTHWISE_CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    theirs = np.asarray(net(IMAGES))
    apart = np.abs(running.logits(content, IMAGES) - theirs).max()
    assert apart < (1e-4 if form == "float32" else 0.1) * np.std(theirs)
    promise = guard.RULES[form], Kept()
    guard.check_file(content, net, *promise, images=IMAGES, trained=net)


def test_training_computes_dilated_convolutions_as_before() -> None:
    net = _net("same")
    conversion.export(net, conversion.ExportConfig(form="float32"), representative=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
        before = net.get_weights()[0].copy()
        net.fit(IMAGES, np.ones((20, 3), np.float32), verbose=0)  # has no gradient in one operator
    assert np.any(net.get_weights()[0] != before)
