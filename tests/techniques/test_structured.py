"""Structured pruning: which channels go, and that the narrower net computes what is left of the wide one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Nets, exactly

from model_compression.files.conversion import ExportConfig
from model_compression.nets import narrowing
from model_compression.nets.keras2 import keras
from model_compression.nets.layers import clone, kernel, kernel_layers
from model_compression.nets.named import build
from model_compression.nets.narrowing import COUNTS, Channels
from model_compression.nets.training import TrainConfig
from model_compression.saved_models.building import folded
from model_compression.study.experiment import Bench
from model_compression.study.recipes import Recipe, Step
from model_compression.techniques.quantization import QuantizeConfig
from model_compression.techniques.structured import StructuredConfig

HALF = StructuredConfig(keep=0.5)


def net(name: str, shape: tuple[int, ...] = (12, 12)) -> keras.Model:
    """An untrained net without normalization, whose biases are not zero."""
    found = folded(build(name, input_shape=shape, classes=10, seed=3))
    generator = np.random.default_rng(0)
    found.set_weights(
        [w + 0.1 * generator.normal(size=w.shape).astype(np.float32) for w in found.get_weights()]
    )
    return found


def branched() -> keras.Model:
    """A sum, a concatenation, two depthwise filters a channel, and a kernel called twice that stays whole."""
    layers = keras.layers
    image = keras.Input((6, 6, 2))
    twice = layers.Conv2D(2, 1, activation="relu", name="twice")
    start = twice(twice(image))
    left = layers.Conv2D(4, 3, padding="same", activation="relu", name="left")(start)
    right = layers.Conv2D(4, 1, use_bias=False, name="right")(start)
    both = layers.Add()([left, right])
    both = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(both)
    aside = layers.Conv2D(3, 3, name="aside")(start)
    joined = layers.Reshape((16, 11))(layers.Concatenate()([both, aside]))
    return keras.Model(image, layers.Dense(5, name="end")(layers.Flatten()(joined)))


def wide_with_zeros(wide: keras.Model, channels: Channels, kept: np.ndarray) -> keras.Model:
    """The same net with zeros where channels go: a second way to leave them out."""
    copy = clone(wide)
    weights = []
    for layer in copy.layers:
        arrays = layer.get_weights()
        for index, axis, ids in channels._axes.get(layer.name, ()):
            shape = [1] * arrays[index].ndim
            shape[axis] = -1
            arrays[index] = arrays[index] * kept[ids].reshape(shape)
        weights += arrays
    copy.set_weights(weights)
    return copy


@pytest.mark.parametrize(
    "wide",
    [
        pytest.param(lambda: net("baseline"), id="chain"),
        pytest.param(lambda: net("resnet_8", (12, 12, 3)), id="residual"),
        pytest.param(lambda: net("ds_cnn"), id="depthwise"),
        pytest.param(lambda: net("small_6_4p_4x2_d8"), id="recurrent"),
        pytest.param(branched, id="branched"),
    ],
)
def test_narrower_net_computes_what_the_wide_one_does_with_zeros_for_its_channels(wide: object) -> None:
    original = wide()  # type: ignore[operator]
    before = original.get_weights()
    channels = Channels(original)
    kept = ~channels.free | (np.arange(len(channels.free)) % 2 == 0)
    assert channels.free.any()
    narrow = channels.without(kept)
    images = np.random.default_rng(1).random((4, *original.input_shape[1:])).astype(np.float32)
    expected = wide_with_zeros(original, channels, kept)(images).numpy()
    np.testing.assert_allclose(narrow(images).numpy(), expected, rtol=1e-4, atol=1e-5)
    assert narrow.count_params() < original.count_params() == sum(w.size for w in before)
    for old, new in zip(before, original.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("of", ["channels", *COUNTS])
@pytest.mark.parametrize("wide", [lambda: net("resnet_8", (12, 12, 3)), branched])
def test_what_is_counted_is_what_the_narrower_net_has(wide: object, of: str) -> None:
    original = wide()  # type: ignore[operator]
    narrow = StructuredConfig(keep=0.6, of=of).wrap(original, steps=1, seed=0)
    whole, left = Channels(original), Channels(narrow)
    had, has = (c.count(np.ones(len(c.free), bool), of) for c in (whole, left))
    assert 0.4 * had < has <= 0.6 * had
    if of == "weights":
        assert has == narrow.count_params()


def test_uniform_halves_each_layer_and_ties_what_a_sum_ties() -> None:
    narrow = HALF.wrap(net("resnet_8", (12, 12, 3)), steps=1, seed=0)
    wide = {
        layer.name: layer.filters
        for layer in kernel_layers(net("resnet_8", (12, 12, 3)))
        if "conv" in layer.name
    }
    assert {layer.name: layer.filters for layer in kernel_layers(narrow) if "conv" in layer.name} == {
        name: filters // 2 for name, filters in wide.items()
    }
    assert narrow.output_shape == (None, 10)


def test_filters_of_the_least_norm_go() -> None:
    wide = net("baseline")
    values = kernel(kernel_layers(wide)[0]).numpy()
    narrow = HALF.wrap(wide, steps=1, seed=0)
    norms = np.linalg.norm(values.reshape(-1, 12), ord=1, axis=0)
    expected = values[..., np.sort(np.argsort(norms)[6:])]
    np.testing.assert_array_equal(kernel(kernel_layers(narrow)[0]).numpy(), expected)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("keep", 0, "above 0, below 1"),
        ("keep", 1.0, "above 0, below 1"),
        ("keep", float("nan"), "above 0, below 1"),
        ("of", "bytes", "channels, weights, multiply_adds, memory"),
    ],
)
def test_field_out_of_range_is_refused_by_name(field: str, value: object, allowed: str) -> None:
    with pytest.raises(ValueError, match=exactly(f"{field} is {value!r}; allowed: {allowed}")):
        replace(HALF, **{field: value})  # type: ignore[arg-type]


def test_net_that_cannot_become_so_narrow_is_refused_with_what_it_can() -> None:
    message = "keep is 0.05 of channels; allowed for this net: 0.083 or more"
    with pytest.raises(ValueError, match=exactly(message)):
        StructuredConfig(keep=0.05).wrap(net("baseline"), steps=1, seed=0)


def test_net_without_hidden_layers_is_told_why_not() -> None:
    chain = keras.Sequential([keras.layers.InputLayer((4,)), keras.layers.Dense(3)])
    assert HALF.why_not(chain) == "no layer of the model has channels that can go"
    assert HALF.why_not(net("baseline")) == ""


def test_weights_of_another_width_are_taken_and_equal_ones_leave_the_net_as_it_is(nets: Nets) -> None:
    narrow = HALF.wrap(nets["baseline"], steps=1, seed=0)
    again = narrowing.with_weights(nets["baseline"], narrow.get_weights())
    np.testing.assert_array_equal(again(nets.images[:8]), narrow(nets.images[:8]))
    same = narrowing.with_weights(nets["baseline"], nets["baseline"].get_weights())
    np.testing.assert_array_equal(same(nets.images[:8]), nets["baseline"](nets.images[:8]))


def test_files_of_a_residual_net_are_as_narrow_as_the_net(few_file: Path, tmp_path: Path) -> None:
    train = TrainConfig(epochs=1, learning_rate=5e-3, batch_size=50)
    narrowed = (Step(train=train), Step(train=train, technique=HALF))
    aware = (*narrowed, Step(train=train, technique=QuantizeConfig()))
    bench = Bench(dataset=str(few_file), train_images=200, cache_dir=str(tmp_path))
    for name, steps in (("narrow", narrowed), ("aware", aware)):
        recipe = Recipe(name=name, net="resnet_8", steps=steps, export=ExportConfig(form="int8"))
        record = bench.run(recipe, 0, lambda *_: None).record
        wide, narrow = (
            Channels(bench.trained("resnet_8", made, 0, lambda *_: None)) for made in (steps[:1], narrowed)
        )
        had, has = (c.count(np.ones(len(c.free), bool), "multiply_adds") for c in (wide, narrow))
        assert record.dense_macs == has < 0.3 * had
