import re

import numpy as np
import pytest
from conftest import Nets, exactly, kernels_of

from model_compression import quiet
from model_compression.nets import named
from model_compression.nets.keras2 import keras, tf
from model_compression.nets.layers import kernel_layers, kernel_size
from model_compression.techniques import pruning
from model_compression.techniques.allocation import magnitude_mask
from model_compression.techniques.base import Kept
from model_compression.techniques.masking import fix_masks, nonzero_masks, random_masks
from model_compression.techniques.pruning import PruneConfig, end_step, update_frequency

# Bad input


@pytest.mark.parametrize("field", ["final_sparsity", "initial_sparsity", "conv_sparsity"])
@pytest.mark.parametrize("value", [-0.01, 1, 1.5, float("nan")])
def test_sparsity_outside_0_to_1_is_refused(field: str, value: float) -> None:
    fields = {"final_sparsity": 0.8, field: value}
    message = f"{field} is {value!r}; allowed: 0 up to but not including 1"
    with pytest.raises(ValueError, match=exactly(message)):
        PruneConfig(**fields)


@pytest.mark.parametrize("value", [0, 0.0, 0.999])
def test_sparsities_within_the_bounds_are_taken(value: float) -> None:
    assert PruneConfig(final_sparsity=value, initial_sparsity=value, conv_sparsity=value)


def test_initial_above_final_is_refused_and_equal_is_not() -> None:
    message = "initial_sparsity is 0.6; allowed: at most final_sparsity, which is 0.5"
    with pytest.raises(ValueError, match=exactly(message)):
        PruneConfig(final_sparsity=0.5, initial_sparsity=0.6)
    assert PruneConfig(final_sparsity=0.5, initial_sparsity=0.5)


def test_unknown_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match=exactly("pattern is '1:2'; allowed: unstructured, 2:4, block")):
        PruneConfig(final_sparsity=0.5, pattern="1:2")


@pytest.mark.parametrize("pattern", ["2:4", "block"])
def test_pattern_that_no_layer_takes_is_refused(pattern: str) -> None:
    # one input channel, and 6 * 6 * 2 + ... = 49 inputs, no multiple of 4
    net = named.build("baseline_1", input_shape=(16, 16), classes=3, seed=0)
    message = f"no layer of the model takes pruning {pattern}"
    with pytest.raises(ValueError, match=exactly(message)):
        PruneConfig(final_sparsity=0.5, pattern=pattern).wrap(net, steps=100, seed=0)


# When


@pytest.mark.parametrize("steps", [2, 3, 19, 20, 39, 40, 41, 63, 100, 399, 400, 401, 1719, 4297])
def test_ramp_ends_on_an_update_within_the_training(steps: int) -> None:
    frequency, last = update_frequency(steps), end_step(steps)
    assert last % frequency == 0
    assert frequency <= last < steps or last == steps == 1
    assert abs(last - pruning.RAMP * steps) <= max(frequency / 2, 1)


@pytest.mark.parametrize(
    ("steps", "frequency", "last"), [(39, 1, 27), (40, 2, 28), (400, 20, 280), (4000, 20, 2800)]
)
def test_updates_come_every_20_steps_or_twentieth_of_the_training(
    steps: int, frequency: int, last: int
) -> None:
    assert (update_frequency(steps), end_step(steps)) == (frequency, last)


@pytest.mark.parametrize("steps", [0, 1])
def test_too_few_steps_are_refused(steps: int) -> None:
    message = (
        f"pruning over {steps} optimizer steps; allowed: at least 2 "
        "(more training images, more epochs or a smaller batch)"
    )
    with pytest.raises(ValueError, match=exactly(message)):
        end_step(steps)


@pytest.mark.parametrize("batch_size", [16, 128])
def test_ramp_follows_the_real_batch_size(nets: Nets, batch_size: int) -> None:
    from dataclasses import replace

    steps = replace(nets.config, batch_size=batch_size).steps(len(nets.images))
    with quiet.quiet():
        wrapped = PruneConfig(final_sparsity=0.8).wrap(nets["baseline"], steps=steps, seed=0)
    ends = {layer.pruning_schedule.end_step for layer in wrapped.layers if hasattr(layer, "pruning_schedule")}
    assert steps == {16: 125, 128: 16}[batch_size]
    assert ends == {{16: 90, 128: 11}[batch_size]}


# Which


@pytest.mark.parametrize(
    ("sparsity", "kept"),
    [
        (0, [1, 1, 1, 1, 1]),
        (0.2, [1, 1, 0, 1, 1]),
        (0.6, [1, 1, 0, 0, 0]),
        (0.69, [1, 1, 0, 0, 0]),  # 3.45 of 5: three
        (0.71, [1, 0, 0, 0, 0]),  # 3.55 of 5: four
        (1, [0, 0, 0, 0, 0]),
    ],
)
def test_mask_drops_the_smallest_magnitudes(sparsity: float, kept: list[int]) -> None:
    mask = magnitude_mask(np.array([-5.0, 4, 0.1, -2, 3]), sparsity)
    np.testing.assert_array_equal(mask, np.array(kept, bool))


@pytest.mark.parametrize("dropped", range(7))
def test_mask_drops_exact_count_with_ties_lowest_index_first(dropped: int) -> None:
    mask = magnitude_mask(np.array([[2.0, -2, 2], [-2, 2, -2]]), dropped / 6)
    assert mask.shape == (2, 3)
    np.testing.assert_array_equal(mask.ravel(), np.arange(6) >= dropped)


@pytest.mark.parametrize("sparsity", [-0.1, 1.1, float("nan")])
def test_mask_refuses_a_sparsity_outside_0_to_1(sparsity: float) -> None:
    with pytest.raises(ValueError, match=exactly(f"sparsity is {sparsity!r}; allowed: 0 to 1")):
        magnitude_mask(np.ones(3), sparsity)


def test_mask_leaves_its_weights_alone() -> None:
    weights = np.array([3.0, 1, 2])
    magnitude_mask(weights, 0.5)
    np.testing.assert_array_equal(weights, [3, 1, 2])


def test_random_masks_drop_the_same_share_of_every_kernel(nets: Nets) -> None:
    masks = random_masks(nets["baseline"], 0.8, seed=0)
    kernels = kernels_of(nets["baseline"])
    assert {name: int(np.sum(~mask)) for name, mask in masks.items()} == {
        name: round(0.8 * kernel.size) for name, kernel in kernels.items()
    }


def test_random_masks_follow_the_seed_and_not_the_weights(nets: Nets) -> None:
    def flat(seed: int) -> np.ndarray:
        return np.concatenate(
            [mask.ravel() for mask in random_masks(nets["baseline"], 0.5, seed=seed).values()]
        )

    np.testing.assert_array_equal(flat(0), flat(0))
    assert not np.array_equal(flat(0), flat(1))
    weights = np.concatenate([kernel.ravel() for kernel in kernels_of(nets["baseline"]).values()])
    assert abs(np.corrcoef(flat(0), np.abs(weights))[0, 1]) < 0.05


# What a fit with TFMOT leaves


def zeros_of(model: keras.Model) -> dict[str, int]:
    return {name: int(np.sum(kernel == 0)) for name, kernel in kernels_of(model).items()}


@pytest.mark.parametrize("name", ["pruned", "block", "2:4"])
def test_training_leaves_exactly_the_promised_zeros(nets: Nets, name: str) -> None:
    promised = nets.parents[name][1].promise(kernel_layers(nets["baseline"]), Kept()).zeros
    zeros = zeros_of(nets[name])
    assert promised
    assert {layer: zeros[layer] for layer in promised} == promised


def test_zeros_by_hand(nets: Nets) -> None:
    # 3 x 3 x 1 x 4 = 36 weights, of which a quarter; 676 x 10 = 6,760, of which 0.8
    assert list(zeros_of(nets["pruned"]).values()) == [9, 5408]


def test_pruning_trains_on_and_strips_its_wrappers(nets: Nets) -> None:
    assert [type(layer) for layer in nets["pruned"].layers] == [type(la) for la in nets["baseline"].layers]
    assert not np.array_equal(nets["pruned"].get_weights()[1], nets["baseline"].get_weights()[1])


def test_blocks_of_four_inputs_are_dropped_whole(nets: Nets) -> None:
    conv, dense = kernels_of(nets["block"]).values()
    blocks = np.sum(dense.reshape(169, 4, 10) == 0, axis=1)
    assert set(np.unique(blocks)) == {0, 4}
    assert np.sum(blocks == 4) == round(0.75 * 1690)
    assert np.all(conv != 0)


def test_two_of_each_four_inputs_are_dropped(nets: Nets) -> None:
    conv, dense = kernels_of(nets["2:4"]).values()
    np.testing.assert_array_equal(np.sum(dense.reshape(169, 4, 10) == 0, axis=1), 2)
    assert np.all(conv != 0)


@pytest.mark.parametrize("name", ["pruned", "2:4"])
def test_baseline_is_unchanged_by_wrapping_and_fine_tuning(nets: Nets, name: str) -> None:
    baseline = nets["baseline"]
    before = [weights.copy() for weights in baseline.get_weights()]
    config = nets.parents[name][1]
    with quiet.quiet():
        wrapped = config.wrap(baseline, steps=63, seed=0)
        config.strip(wrapped)
    for layer in wrapped.layers:
        layer.set_weights([weights + 1 for weights in layer.get_weights()])
    assert nets[name] is not baseline
    for now, then in zip(baseline.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def fake(pattern: str, inputs: int, outputs: int) -> keras.layers.Dense:
    layer = keras.layers.Dense(outputs)
    layer.build((None, inputs))
    return layer


@pytest.mark.parametrize("pattern", ["unstructured", "block"])
@pytest.mark.parametrize("sparsity", [0, 0.1, 0.25, 0.3, 0.5, 0.75, 0.7501, 0.8, 0.85, 0.9, 0.999])
@pytest.mark.parametrize(("inputs", "outputs"), [(12, 3), (20, 5), (28, 9), (676, 10)])
def test_promise_is_what_tfmot_drops(pattern: str, sparsity: float, inputs: int, outputs: int) -> None:
    """Both ends of a rounded half included: 0.75 of 1,690 blocks."""
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_impl

    layer = fake(pattern, inputs, outputs)
    config = PruneConfig(final_sparsity=sparsity, pattern=pattern)
    layer.kernel.assign(tf.random.stateless_normal(layer.kernel.shape, [0, 1]))
    rule = pruning_impl.Pruning(
        training_step_fn=lambda: tf.constant(0),
        pruning_vars=[],
        pruning_schedule=lambda step: (True, tf.constant(sparsity, tf.float32)),
        block_size=[4, 1] if pattern == "block" else [1, 1],
        block_pooling_type="AVG",
    )
    _, mask = rule._maybe_update_block_mask(layer.kernel)
    assert config.promise([layer], Kept()).zeros == {layer.name: int(np.sum(mask.numpy() == 0))}


def test_convolutions_take_their_own_sparsity() -> None:
    config = PruneConfig(final_sparsity=0.8, conv_sparsity=0.25)
    net = named.build("baseline_4", input_shape=(8, 8), classes=3, seed=0)
    assert list(config.promise(kernel_layers(net), Kept()).zeros.values()) == [9, round(0.8 * 108)]
    assert PruneConfig(final_sparsity=0.5).promise(kernel_layers(net), Kept()).zeros == {
        layer.name: kernel_size(layer) // 2 for layer in kernel_layers(net)
    }


def test_patterns_of_four_need_inputs_in_fours() -> None:
    layers = keras.layers
    net = keras.Sequential(
        [
            layers.InputLayer((8, 8, 1)),
            layers.Conv2D(4, 3, name="one_channel"),
            layers.Conv2D(3, 3, name="four_channels"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.Flatten(),
            layers.Dense(4, name="inputs_12"),
            layers.Dense(2, name="inputs_4"),
            layers.Dense(4, name="inputs_2"),
            layers.Dense(1, name="one_column"),
        ]
    )
    configs = {pattern: PruneConfig(final_sparsity=0.5, pattern=pattern) for pattern in pruning.PATTERNS}
    taken = {
        pattern: [layer.name for layer in kernel_layers(net) if config.takes(layer)]
        for pattern, config in configs.items()
    }
    assert taken == {
        "unstructured": ["one_channel", "four_channels", "inputs_12", "inputs_4", "inputs_2", "one_column"],
        "2:4": ["four_channels", "inputs_12", "inputs_4", "one_column"],
        "block": ["inputs_12", "inputs_4"],
    }


# Fixed masks


def test_fixed_masks_hold_under_training_and_the_rest_trains(nets: Nets) -> None:
    baseline = nets["baseline"]
    before = kernels_of(baseline)
    masks = random_masks(baseline, 0.5, seed=0)
    masked = fix_masks(baseline, masks)
    np.testing.assert_array_equal(
        kernels_of(masked).popitem()[1], before[list(before)[-1]] * masks[list(masks)[-1]]
    )
    nets.fit(masked)
    for name, kernel in kernels_of(masked).items():
        assert np.all(kernel[~masks[name]] == 0)
        # a weight behind a pixel that is always black has no gradient
        assert np.mean(kernel[masks[name]] != before[name][masks[name]]) > 0.5
        np.testing.assert_array_equal(kernels_of(baseline)[name], before[name])


def test_nonzero_masks_are_those_of_the_pruned_net(nets: Nets) -> None:
    masks = nonzero_masks(nets["pruned"])
    for name, kernel in kernels_of(nets["pruned"]).items():
        np.testing.assert_array_equal(masks[name], kernel != 0)
    assert re.match("conv2d", next(iter(masks)))
