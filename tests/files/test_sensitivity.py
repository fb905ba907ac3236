"""One kernel at a time, against figures worked by hand and against what the quantizer writes."""

import numpy as np
import pytest
from conftest import exactly
from tflite_graphs import IMAGES, Made, dense, layered

from model_compression.files.bit_allocation import prepared, quantized
from model_compression.files.graph import read_graph, read_model
from model_compression.files.sensitivity import (
    CHANGES,
    Sensitivity,
    changed,
    float_kernels,
    rounded,
    sensitivities,
)


def measured(content: bytes, images: np.ndarray, labels: np.ndarray | None) -> dict[str, Sensitivity]:
    return {each.change: each for each in sensitivities(content, images, labels)}


@pytest.mark.parametrize("bits", [4, 8])
def test_kernel_is_rounded_as_the_quantizer_rounds_it(bits: int) -> None:
    content = prepared(layered())
    kernels = float_kernels(read_model(content))
    widths = [8 if operator == "DEPTHWISE_CONV_2D" else bits for _, operator in kernels]
    stored = [kernel for kernel, _ in read_graph(quantized(content, widths)).kernels()]
    assert [kernel.bits for kernel in stored] == widths
    for (kernel, operator), width, theirs in zip(kernels, widths, stored, strict=True):
        np.testing.assert_allclose(rounded(kernel, operator, bits=width), theirs.dequantized(), atol=1e-6)


def test_two_bits_leave_three_values_an_output() -> None:
    content, kernel, _ = dense()
    ((tensor, operator),) = float_kernels(read_model(content))
    largest = np.abs(kernel).max(axis=1, keepdims=True)
    expected = np.where(np.abs(kernel) > largest / 2, np.sign(kernel) * largest, 0)
    np.testing.assert_allclose(rounded(tensor, operator, bits=2), expected, rtol=1e-6)


def test_zeros_are_the_smallest_weights_in_their_number() -> None:
    content, kernel, _ = dense()
    ((tensor, operator),) = float_kernels(read_model(content))
    pruned = CHANGES["80 % zeros"](tensor, operator)
    assert np.sum(pruned == 0) == 12
    assert np.abs(kernel[pruned == 0]).max() < np.abs(kernel[pruned != 0]).min()


def test_only_the_kernel_asked_for_changes() -> None:
    content = layered()
    before = [kernel.numbers for kernel, _ in float_kernels(read_model(content))]
    after = float_kernels(read_model(changed(read_model(content), {1: 2 * before[1]})))
    for place, (kernel, _) in enumerate(after):
        np.testing.assert_array_equal(kernel.numbers, before[place] * (2 if place == 1 else 1))


def test_scores_are_those_worked_out_by_hand() -> None:
    content, kernel, bias = dense()
    images = np.random.default_rng(2).normal(0, 1, (50, 5)).astype(np.float32)
    labels = np.arange(50) % 3
    ((tensor, operator),) = float_kernels(read_model(content))
    before = images @ kernel.T + bias
    after = images @ rounded(tensor, operator, bits=4).T + bias
    found = measured(content, images, labels)["4 bits"]
    assert found.noise == pytest.approx(np.mean((after - before) ** 2) / np.var(before), rel=1e-3)
    assert found.snr_db == pytest.approx(10 * np.log10(1 / found.noise))
    p, q = (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True) for scores in (before, after))
    assert found.kl == pytest.approx(np.mean(np.sum(p * np.log(p / q), axis=1)), rel=1e-3)
    right = [np.mean(scores.argmax(axis=1) == labels) for scores in (before, after)]
    assert found.accuracy_change == pytest.approx(right[1] - right[0])


def test_probabilities_diverge_as_their_scores_do() -> None:
    images = np.random.default_rng(2).normal(0, 0.3, (50, 5)).astype(np.float32)
    labels = np.arange(50) % 3
    scores, probabilities = (measured(dense(ending=each)[0], images, labels) for each in ("", "SOFTMAX"))
    for change in CHANGES:
        assert probabilities[change].kl == pytest.approx(scores[change].kl, rel=1e-2, abs=1e-7)


@pytest.mark.parametrize("ending", ["", "LOGISTIC"])
def test_one_score_is_a_yes_or_no(ending: str) -> None:
    content, kernel, bias = dense(ending=ending, outputs=1)
    images = np.random.default_rng(2).normal(0, 0.3, (50, 5)).astype(np.float32)
    ((tensor, operator),) = float_kernels(read_model(content))
    two_bits = rounded(tensor, operator, bits=2)
    p, q = (1 / (1 + np.exp(-(images @ weights.T + bias))) for weights in (kernel, two_bits))
    expected = np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))
    assert measured(content, images, np.arange(50) % 2)["2 bits"].kl == pytest.approx(expected, rel=1e-3)


def test_without_labels_there_is_noise_alone() -> None:
    found = measured(dense()[0], np.random.default_rng(2).normal(0, 1, (50, 5)).astype(np.float32), None)
    assert all(np.isnan([each.kl, each.accuracy_change]).all() for each in found.values())
    assert found["8 bits"].noise < found["4 bits"].noise < found["2 bits"].noise


def test_every_layer_of_any_graph_is_measured_under_every_change() -> None:
    found = list(sensitivities(layered(), IMAGES, np.arange(64) % 4))
    assert [(each.place, each.change) for each in found] == [(p, c) for p in range(3) for c in CHANGES]
    assert [each.operator for each in found[:: len(CHANGES)]] == [
        "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"
    ]  # fmt: skip


def test_kernel_without_weights_stays_empty() -> None:
    content, kernel, _ = dense()
    emptied = changed(read_model(content), {0: np.zeros_like(kernel)})
    ((tensor, operator),) = float_kernels(read_model(emptied))
    np.testing.assert_array_equal(rounded(tensor, operator, bits=4), 0)


def test_quantized_file_is_refused() -> None:
    with pytest.raises(ValueError, match="is int8; allowed: kernels of float32"):
        list(sensitivities(layered("int8"), IMAGES))


def test_file_without_a_kernel_is_refused() -> None:
    made = Made("float32", (1, 6, 6, 2), seed=0)
    with pytest.raises(ValueError, match=exactly("the file has no kernel; allowed: kernels of float32")):
        list(sensitivities(made.content(made.pool(made.input)), IMAGES))


def test_outputs_that_never_change_are_refused() -> None:
    made = Made("float32", (1, 6, 6, 2), seed=0)
    silent = made.content(made.conv(made.input, 2, dead=[0, 1]))
    with pytest.raises(ValueError, match=exactly("the file gives the same outputs for all 64 images")):
        list(sensitivities(silent, IMAGES))
