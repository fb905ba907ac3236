"""Sharing out a total sparsity: exact totals, known strategies, exact zeros after training."""

import numpy as np
import pytest

from model_compression.nets import layers, named
from model_compression.nets.training import TrainConfig, fit
from model_compression.techniques.allocation import STRATEGIES, allocate, lamp_scores, magnitude_mask
from model_compression.techniques.base import TOGETHER, Kept
from model_compression.techniques.pruning import PruneConfig


def kernels(*sizes: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(4)
    return {f"layer_{index}": generator.normal(size=size) for index, size in enumerate(sizes)}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.77, 0.99])
def test_zeros_add_up_exactly_and_every_kernel_keeps_a_weight(strategy: str, sparsity: float) -> None:
    found = kernels(20, 501, 3000)
    zeros = allocate(found, sparsity, strategy, seed=1)
    assert sum(zeros.values()) == round(sparsity * 3521)
    assert all(0 <= zeros[name] < kernel.size for name, kernel in found.items())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_all_but_one_weight_a_kernel_can_go(strategy: str) -> None:
    assert allocate(kernels(4, 6), 0.8, strategy, seed=0) == {"layer_0": 3, "layer_1": 5}


def test_global_drops_the_smallest_of_all() -> None:
    found = {"small": np.array([0.1, -0.2, 5.0]), "large": np.array([1.0, -2.0, 3.0])}
    assert allocate(found, 0.5, "global", seed=0) == {"small": 2, "large": 1}


def test_lamp_scores_by_hand() -> None:
    # squares 4, 1, 9: over 13, 14 and 9
    np.testing.assert_allclose(lamp_scores(np.array([2.0, -1.0, 3.0])), [4 / 13, 1 / 14, 1.0])


def test_lamp_takes_ties_and_zeros() -> None:
    scores = lamp_scores(np.array([0.0, 0.0, 1.0, 1.0]))
    np.testing.assert_allclose(scores, [0, 0, 0.5, 1.0])
    np.testing.assert_array_equal(lamp_scores(np.zeros(3)), 0)


def test_lamp_does_not_change_with_a_layer_s_scale() -> None:
    found = kernels(40, 90)
    scaled = {name: kernel * (1 + 9 * index) for index, (name, kernel) in enumerate(found.items())}
    assert allocate(found, 0.6, "lamp", seed=0) == allocate(scaled, 0.6, "lamp", seed=0)


def test_erdos_renyi_kernel_keeps_in_proportion_to_the_sum_of_the_axes() -> None:
    found = {"conv": np.ones((3, 3, 4, 10)), "dense": np.ones((100, 20))}
    zeros = allocate(found, 0.9, "erdos_renyi_kernel", seed=0)
    kept = {name: found[name].size - zeros[name] for name in found}
    assert kept["conv"] / kept["dense"] == pytest.approx(20 / 120, rel=0.03)


def test_a_kernel_that_would_be_over_full_stays_dense() -> None:
    found = {"tiny": np.ones((3, 3, 1, 2)), "dense": np.ones((100, 20))}
    zeros = allocate(found, 0.5, "erdos_renyi_kernel", seed=0)
    assert zeros == {"tiny": 0, "dense": 1009}


def test_random_follows_its_seed() -> None:
    found = kernels(300, 400, 500)
    assert allocate(found, 0.7, "random", seed=1) == allocate(found, 0.7, "random", seed=1)
    assert allocate(found, 0.7, "random", seed=1) != allocate(found, 0.7, "random", seed=2)


def test_uniform_gives_each_kernel_the_same_share() -> None:
    assert allocate(kernels(100, 200), 0.25, "uniform", seed=0) == {"layer_0": 25, "layer_1": 50}


def test_unknown_strategy_and_impossible_sparsity_are_named() -> None:
    with pytest.raises(ValueError, match="allocation is 'best'; allowed: uniform, global"):
        allocate(kernels(5), 0.5, "best", seed=0)
    with pytest.raises(ValueError, match=r"sparsity is 0.99; allowed: 0 or more, and a weight left"):
        allocate(kernels(4, 4), 0.99, "global", seed=0)


@pytest.mark.parametrize(
    ("schedule", "strategy"),
    [
        ("polynomial", "uniform"),
        ("polynomial", "global"),
        ("polynomial", "erdos_renyi_kernel"),
        ("polynomial", "random"),
        ("constant", "lamp"),
        ("one_shot", "lamp"),
        ("one_shot", "uniform"),
    ],
)
def test_training_ends_with_exactly_the_zeros_asked_for(schedule: str, strategy: str) -> None:
    net = named.build("small_4s_6p", input_shape=(8, 8), classes=3, seed=0)
    generator = np.random.default_rng(0)
    images, labels = generator.random((64, 8, 8)).astype(np.float32), generator.integers(0, 3, 64)
    train = TrainConfig(epochs=5, learning_rate=0.01, batch_size=16)
    config = PruneConfig(final_sparsity=0.7, allocation=strategy, schedule=schedule)
    model = config.wrap(net, steps=train.steps(64), seed=3)
    fit(model, images, labels, train, seed=1, progress=lambda done: None, callbacks=config.callbacks())
    pruned = config.strip(model)
    zeros = {name: int((kernel.numpy() == 0).sum()) for name, kernel in layers.kernels(pruned).items()}
    promised = config.promise(layers.kernel_layers(net), Kept()).zeros
    if strategy == "uniform":
        assert zeros == promised
        return
    assert sum(zeros.values()) == promised[TOGETHER]
    weights = {name: kernel.numpy() for name, kernel in layers.kernels(net).items()}
    shared = allocate(weights, 0.7, strategy, seed=3)
    assert list(zeros.values()) == list(shared.values())


def test_one_shot_keeps_the_first_choice() -> None:
    net = named.build("small_d10", input_shape=(4, 4), classes=3, seed=0)
    generator = np.random.default_rng(0)
    images, labels = generator.random((64, 4, 4)).astype(np.float32), generator.integers(0, 3, 64)
    train = TrainConfig(epochs=4, learning_rate=0.05, batch_size=8)
    config = PruneConfig(final_sparsity=0.5, schedule="one_shot")
    model = config.wrap(net, steps=train.steps(64), seed=0)
    fit(model, images, labels, train, seed=1, progress=lambda done: None, callbacks=config.callbacks())
    for before, after in zip(
        layers.kernels(net).values(), layers.kernels(config.strip(model)).values(), strict=True
    ):
        np.testing.assert_array_equal(after.numpy() != 0, magnitude_mask(before.numpy(), 0.5))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schedule": "cubic"}, "schedule is 'cubic'; allowed: polynomial, constant, one_shot"),
        ({"allocation": "best"}, "allocation is 'best'; allowed: uniform, global"),
        ({"allocation": "lamp", "pattern": "block"}, "allowed with a pattern or conv_sparsity: 'uniform'"),
        ({"allocation": "lamp", "conv_sparsity": 0.1}, "allowed with a pattern or conv_sparsity: 'uniform'"),
    ],
)
def test_prune_config_names_what_is_allowed(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PruneConfig(final_sparsity=0.5, **fields)
