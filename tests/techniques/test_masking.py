"""Fixed zeros: those of another net, as many elsewhere, and new weights under them."""

import numpy as np
import pytest
from conftest import Nets, exactly, kernels_of

from model_compression.nets.keras2 import keras
from model_compression.techniques.base import Kept
from model_compression.techniques.masking import MaskConfig
from model_compression.techniques.pruning import PruneConfig


class _Step:
    method = PruneConfig(final_sparsity=0.8)


LIKE = (_Step(),)


def test_shuffled_masks_keep_the_number_of_zeros_of_each_kernel_and_not_their_places(nets: Nets) -> None:
    config, source = MaskConfig(like=LIKE, shuffled=True), kernels_of(nets["pruned"])
    found = kernels_of(config.wrap(nets["baseline"], steps=1, seed=3, source=nets["pruned"]))
    again = kernels_of(config.wrap(nets["baseline"], steps=1, seed=3, source=nets["pruned"]))
    for name, kernel in found.items():
        assert np.sum(kernel == 0) == np.sum(source[name] == 0)
        assert np.any((kernel == 0) != (source[name] == 0))
        np.testing.assert_array_equal(kernel, again[name])


def test_fresh_weights_are_new_and_have_the_zeros(nets: Nets) -> None:
    keras.utils.set_random_seed(5)
    config, source = MaskConfig(like=LIKE, fresh=True), kernels_of(nets["pruned"])
    found = kernels_of(config.wrap(nets["baseline"], steps=1, seed=3, source=nets["pruned"]))
    for name, kernel in found.items():
        np.testing.assert_array_equal(kernel == 0, source[name] == 0)
        kept = source[name] != 0
        assert not np.any(kernel[kept] == kernels_of(nets["baseline"])[name][kept])


def test_nothing_to_shuffle_is_refused() -> None:
    message = "shuffled is True; allowed: only with like, whose zeros are counted"
    with pytest.raises(ValueError, match=exactly(message)):
        MaskConfig(random_sparsity=0.5, shuffled=True)


def test_promise_is_that_of_the_steps_which_made_the_mask(nets: Nets) -> None:
    layers = [layer for layer in nets["baseline"].layers if layer.weights]
    expected = PruneConfig(final_sparsity=0.8).promise(layers, Kept()).zeros
    assert MaskConfig(like=LIKE).promise(layers, Kept()) == Kept(zeros=expected)
