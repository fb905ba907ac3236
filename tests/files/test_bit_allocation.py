"""Bits a layer: the exact knapsack against all choices, and the file that is really written."""

import itertools

import numpy as np
import pytest
from conftest import Nets, exactly
from tflite_graphs import IMAGES, dense, layered

from model_compression.files import bit_allocation, guard, running
from model_compression.files.bit_allocation import FLOAT, WIDTHS, Allocator, BudgetError, prepared, quantized
from model_compression.files.conversion import ExportConfig, export
from model_compression.files.graph import account, read_graph
from model_compression.files.quantizing import quantize
from model_compression.files.slimming import slim
from model_compression.techniques.base import Kept


def bits(content: bytes) -> tuple[int, ...]:
    return tuple(kernel.bits for kernel, _ in read_graph(content).kernels())


@pytest.mark.parametrize("seed", range(5))
def test_choice_is_the_best_of_all(seed: int) -> None:
    allocator, random = Allocator(layered(), IMAGES), np.random.default_rng(seed)
    noises = [np.sort(random.exponential(1, len(widths)))[::-1] for widths in allocator.widths]
    allocator.noises = [
        dict(zip(widths, map(float, each), strict=True))
        for widths, each in zip(allocator.widths, noises, strict=True)
    ]

    def cost(choice: tuple[int, ...]) -> float:
        return sum(allocator._bytes(place, width) for place, width in enumerate(choice))

    def noise(choice: tuple[int, ...]) -> float:
        return sum(allocator.noises[place][width] for place, width in enumerate(choice))

    every = list(itertools.product(*allocator.widths))
    costs = sorted(map(cost, every))
    for room in (costs[0], costs[3], costs[len(costs) // 2], costs[-1] - 1, costs[-1]):
        chosen = tuple(allocator._chosen(room))
        assert cost(chosen) <= room
        assert noise(chosen) == pytest.approx(min(noise(each) for each in every if cost(each) <= room))


def test_file_keeps_within_the_budget_and_has_the_bits_that_were_chosen() -> None:
    allocator = Allocator(layered(), IMAGES)
    most = allocator.uniform(FLOAT).file_bytes + 1
    expected = float("inf")
    for budget in np.linspace(allocator.least.file_bytes, most, 8).astype(int):
        made = allocator.within(int(budget))
        assert made.file_bytes == len(slim(made.content).content) <= budget
        assert bits(made.content) == made.bits
        assert made.noise <= expected
        expected = made.noise
    assert made.bits == (FLOAT, FLOAT, FLOAT)


def test_noise_that_is_expected_is_about_what_comes() -> None:
    content = layered()
    made = Allocator(content, IMAGES).least
    scores, others = (running.logits(each, IMAGES) for each in (content, made.content))
    # activations are rounded too, by the interpreter, and the kernels' errors are few
    assert np.mean((scores - others) ** 2) / np.var(scores) == pytest.approx(made.noise, rel=0.5)


def test_large_net_is_shown_fewer_images(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = np.zeros((300, *IMAGES.shape[1:]), np.float32)
    assert len(Allocator(layered(), shown).images) == 200
    once = sum(layer.dense_macs for layer in account(running.allocated_graph(layered())))
    for factor, left in ((99.5, 99), (300, 200), (3, 50)):
        monkeypatch.setattr(bit_allocation, "MULTIPLY_ADDS", factor * once * 2 * 3)
        assert len(Allocator(layered(), shown).images) == left


def test_depthwise_kernels_have_no_four_bits() -> None:
    allocator = Allocator(layered(), IMAGES)
    assert allocator.least.bits == (4, 8, 4)
    assert allocator.uniform(4).bits == (4, 8, 4)
    assert min(WIDTHS["DEPTHWISE_CONV_2D"]) == 8


def test_budget_below_the_least_file_is_refused() -> None:
    allocator = Allocator(layered(), IMAGES)
    least = allocator.least.file_bytes
    assert allocator.within(least).bits == (4, 8, 4)
    message = (
        f"a budget of {least - 1:,} bytes is below the {least:,} of the file with every kernel at its "
        "fewest bits"
    )
    with pytest.raises(BudgetError, match=exactly(message)):
        allocator.within(least - 1)


def test_slimmed_file_without_names_is_quantized_too() -> None:
    slimmed = slim(layered()).content
    assert {tensor.name for tensor in read_graph(slimmed).tensors} == {""}
    assert bits(quantized(prepared(slimmed), (4, 32, 8))) == (4, 32, 8)
    for form, expected in (("dynamic_range", 8), ("int4_dynamic", 4), ("int8", 8)):
        assert bits(quantize(slimmed, form, IMAGES))[0] == expected


def test_layers_whose_names_begin_alike_are_told_apart() -> None:
    content = prepared(layered())
    assert bits(quantized(content, (8, 32, 4))) == (8, 32, 4)
    assert bits(quantized(content, (32, 8, 4))) == (32, 8, 4)


def test_single_layer_can_stay_as_it_is() -> None:
    content, *_ = dense()
    images = np.random.default_rng(2).normal(0, 1, (50, 5)).astype(np.float32)
    allocator = Allocator(content, images)
    made = allocator.within(10**9)
    assert (made.bits, made.noise) == ((FLOAT,), 0.0)


def test_mixed_form_passes_the_guard_and_keeps_its_budget(nets: Nets) -> None:
    net = nets["baseline"]
    rule = guard.RULES["mixed_bits"]
    small, large = (
        export(net, ExportConfig(form="mixed_bits", budget=budget), representative=nets.validation)
        for budget in (None, 10**6)
    )
    for content in (small, large):
        promise = rule, Kept()
        guard.check_file(content, net, *promise, images=nets.validation, trained=net)
    assert len(slim(small).content) < len(slim(large).content)
    assert set(bits(large)) == {FLOAT}
    with pytest.raises(BudgetError, match="a budget of 100 bytes is below"):
        export(net, ExportConfig(form="mixed_bits", budget=100), representative=nets.validation)


def test_budget_goes_with_the_mixed_form_only() -> None:
    with pytest.raises(ValueError, match=exactly("budget goes with form 'mixed_bits', not 'int8'")):
        ExportConfig(form="int8", budget=1000)
