"""A price on magnitudes: what it adds to the loss, and what it does to the weights."""

import numpy as np
import pytest
from conftest import Nets, kernels_of

from model_compression.techniques.shrinkage import ShrinkConfig


@pytest.mark.parametrize("l1", [0, -1e-6, float("inf"), float("nan")])
def test_config_names_the_field_and_what_is_allowed(l1: float) -> None:
    with pytest.raises(ValueError, match=r"l1 is .*; allowed: finite, above 0"):
        ShrinkConfig(l1=l1)


def test_loss_counts_the_magnitudes_of_kernels_and_not_of_biases(nets: Nets) -> None:
    wrapped = ShrinkConfig(l1=0.01).wrap(nets["baseline"], steps=100, seed=0)
    wrapped(nets.images[:1])
    expected = 0.01 * sum(np.abs(kernel).sum() for kernel in kernels_of(nets["baseline"]).values())
    assert float(sum(wrapped.losses)) == pytest.approx(expected, rel=1e-4)


def test_weights_shrink_and_strip_leaves_a_plain_net(nets: Nets) -> None:
    before, config = nets["baseline"].get_weights(), ShrinkConfig(l1=1e-3)
    shrunk = config.strip(nets.fit(config.wrap(nets["baseline"], steps=100, seed=0)))
    tuned = nets.fit(config.strip(nets["baseline"]))
    assert shrunk.losses == []

    def size(model: object) -> float:
        return float(sum(np.abs(kernel).sum() for kernel in kernels_of(model).values()))

    assert size(shrunk) < 0.7 * size(tuned)
    for old, new in zip(before, nets["baseline"].get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
