import lzma
import math
import zipfile
from io import BytesIO

import numpy as np
import pytest
from conftest import exactly
from scipy.stats import binomtest

from model_compression.evidence.statistics import accuracy_change, combine_p, holm, mcnemar_p
from model_compression.files import coding
from model_compression.files.coding import CODERS, best_coded, entropy_bits, sparsity, zip_bytes
from model_compression.files.running import accuracy

NOISE = np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8).tobytes()
WEIGHTS = np.rint(np.random.default_rng(1).normal(0, 3, 5000)).astype(np.int8).tobytes()

# Coders


@pytest.mark.parametrize("name", CODERS)
@pytest.mark.parametrize("content", [b"", b"a", bytes(5000), NOISE], ids=["empty", "one", "zeros", "noise"])
def test_coder_gives_back_what_it_was_given(name: str, content: bytes) -> None:
    assert CODERS[name].decode(CODERS[name].encode(content)) == content


@pytest.mark.parametrize("name", CODERS)
def test_equal_content_gives_equal_bytes(name: str) -> None:
    assert CODERS[name].encode(WEIGHTS) == CODERS[name].encode(WEIGHTS)


def test_zip_holds_no_date_so_that_it_is_the_same_tomorrow() -> None:
    with zipfile.ZipFile(BytesIO(CODERS["zip"].encode(WEIGHTS))) as archive:
        (info,) = archive.infolist()
        assert info.date_time == (1980, 1, 1, 0, 0, 0)
        assert info.compress_type == zipfile.ZIP_DEFLATED
        assert archive.testzip() is None


def test_zip_bytes_are_those_of_the_archive() -> None:
    assert zip_bytes(WEIGHTS) == len(CODERS["zip"].encode(WEIGHTS))
    assert zip_bytes(bytes(5000)) < 200 < 4000 < zip_bytes(NOISE)


def test_best_coded_is_the_shortest_and_decodes() -> None:
    name, coded = best_coded(WEIGHTS)
    assert len(coded) == min(len(coder.encode(WEIGHTS)) for coder in CODERS.values())
    assert CODERS[name].decode(coded) == WEIGHTS


def test_best_coded_refuses_a_coder_that_loses_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = coding.Coder(lambda content: b"", lambda content: b"something else")
    monkeypatch.setitem(coding.CODERS, "xz", broken)
    with pytest.raises(ValueError, match=exactly("coder 'xz' does not give back what it was given")):
        best_coded(WEIGHTS)


def test_xz_is_the_command_line_format() -> None:
    assert lzma.decompress(CODERS["xz"].encode(WEIGHTS), format=lzma.FORMAT_XZ) == WEIGHTS


# Weights


def test_sparsity_counts_zeros() -> None:
    assert sparsity(np.array([[0.0, 1.0], [-0.0, -2.0]])) == 0.5


def test_sparsity_of_integers_counts_the_zero_point() -> None:
    assert sparsity(np.array([3, 0, 3, 4], np.int8), zero=3) == 0.5
    assert sparsity(np.array([3, 0, 3, 4], np.int8)) == 0.25


@pytest.mark.parametrize(
    ("values", "bits"),
    [
        ([5, 5, 5, 5], 0.0),
        ([0, 1, 0, 1], 4.0),
        ([0, 1, 2, 3], 8.0),
        # two symbols, 1/4 and 3/4: 4 * (1/4 * 2 + 3/4 * log2(4/3))
        ([-1, 0, 0, 0], 4 * (0.5 + 0.75 * math.log2(4 / 3))),
    ],
)
def test_entropy_of_bytes_by_hand(values: list[int], bits: float) -> None:
    assert entropy_bits(np.array(values, np.int8)) == pytest.approx(bits)
    assert entropy_bits(np.array(values, np.int8).reshape(2, 2)) == pytest.approx(bits)


def test_entropy_of_wider_values_is_the_sum_over_byte_positions() -> None:
    # low bytes 0, 1, 0, 1 and high bytes 0, 0, 1, 1: one bit each, four times
    assert entropy_bits(np.array([0x0000, 0x0001, 0x0100, 0x0101], np.int16)) == pytest.approx(8)
    # 1.0 and 2.0 differ in two bytes of float32: 0x3f800000, 0x40000000
    assert entropy_bits(np.array([1, 2], np.float32)) == pytest.approx(4)


def test_entropy_is_a_floor_for_a_memoryless_source() -> None:
    floor = entropy_bits(np.frombuffer(WEIGHTS, np.int8)) / 8
    assert floor < len(best_coded(WEIGHTS)[1]) < 1.2 * floor


# Accuracy and McNemar


def test_accuracy_is_the_share_of_equal_labels() -> None:
    assert accuracy(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 0])) == 0.75


def predictions(both: int, only_one: int, only_other: int, neither: int) -> tuple[np.ndarray, ...]:
    """Labels 1 and two classifiers that answer 1 (right) or 0, in the four combinations."""
    counts = [both, only_one, only_other, neither]
    one, other = np.repeat([1, 1, 0, 0], counts), np.repeat([1, 0, 1, 0], counts)
    return np.ones_like(one), one, other


@pytest.mark.parametrize(("only_one", "only_other"), [(0, 1), (5, 0), (3, 3), (10, 2), (40, 61)])
def test_mcnemar_is_a_binomial_test_of_the_images_that_one_gets_right(only_one: int, only_other: int) -> None:
    expected = binomtest(only_one, only_one + only_other, 0.5).pvalue
    labels, one, other = predictions(100, only_one, only_other, 7)
    assert mcnemar_p(labels, one, other) == pytest.approx(expected)
    assert mcnemar_p(labels, other, one) == pytest.approx(expected)


def test_mcnemar_by_hand() -> None:
    # five against none: 2 * (1/2) ** 5
    assert mcnemar_p(*predictions(90, 5, 0, 5)) == pytest.approx(0.0625)


def test_mcnemar_ignores_the_images_on_which_both_agree() -> None:
    assert mcnemar_p(*predictions(0, 8, 2, 0)) == mcnemar_p(*predictions(9000, 8, 2, 400))


def test_mcnemar_of_a_classifier_with_itself_is_one() -> None:
    assert mcnemar_p(*predictions(10, 0, 0, 3)) == 1


def test_mcnemar_counts_right_answers_not_equal_ones() -> None:
    # both are wrong, in different ways
    assert mcnemar_p(np.array([1, 1]), np.array([2, 3]), np.array([4, 5])) == 1


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([0.03], 0.03),
        ([0.01, 0.04], 0.04),  # upper median of two: the larger, times 2 / 2
        ([0.9, 0.01, 0.02], 1.5 * 0.02),
        ([0.5, 0.01, 0.02, 0.03, 0.04], 5 / 3 * 0.03),
        ([0.8, 0.9, 0.7], 1.0),
    ],
)
def test_combined_p_by_hand(p_values: list[float], expected: float) -> None:
    given = list(p_values)
    assert combine_p(p_values) == pytest.approx(expected)
    assert p_values == given


def test_combined_p_keeps_its_level_when_the_tests_are_one_and_the_same() -> None:
    drawn = np.random.default_rng(0).uniform(size=2000)
    rejected = np.mean([combine_p([p] * 5) <= 0.05 for p in drawn])
    assert rejected <= 0.05


def test_no_p_value_cannot_be_combined() -> None:
    with pytest.raises(ValueError, match=exactly("no p value to combine; allowed: at least one")):
        combine_p([])


def test_holm_by_hand() -> None:
    # sorted .01 .02 .03: times 3, 2, 1, never falling
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_stays_at_one_and_leaves_a_single_p_alone() -> None:
    assert holm([0.6, 0.7]) == pytest.approx([1, 1])
    assert holm([0.04]) == pytest.approx([0.04])


def test_holm_of_nothing_is_nothing() -> None:
    assert holm([]).size == 0


# Intervals


def test_change_of_one_seed_is_a_paired_normal_interval() -> None:
    labels = np.ones(10, int)
    form = np.array([[1, 1, 1, 1, 1, 1, 1, 1, 0, 0]])
    control = np.array([[1, 1, 1, 1, 1, 1, 1, 0, 1, 0]])
    change = accuracy_change(labels, form, control)
    # gains: one of +1, one of -1, eight of 0; variance 2 / 9
    half = 1.959964 * math.sqrt(2 / 9 / 10)
    assert change.mean == 0
    assert (change.low, change.high) == pytest.approx((-half, half))


def test_change_over_seeds_is_student_t_of_their_differences() -> None:
    labels = np.ones(4, int)
    form = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1]])
    control = np.array([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 0]])
    change = accuracy_change(labels, form, control)
    # differences 1/4, 0, 1/2: mean 1/4, sample sd 1/4; t with 2 degrees of freedom is 4.302653
    half = 4.302653 * 0.25 / math.sqrt(3)
    assert change.mean == pytest.approx(0.25)
    assert (change.low, change.high) == pytest.approx((0.25 - half, 0.25 + half))


def test_change_is_form_minus_control() -> None:
    labels, right, wrong = np.ones(4, int), np.ones((2, 4), int), np.zeros((2, 4), int)
    assert accuracy_change(labels, right, wrong).mean == 1
    assert accuracy_change(labels, wrong, right).mean == -1


def test_equal_predictions_change_nothing() -> None:
    labels, same = np.ones(4, int), np.array([[1, 1, 0, 1]])
    for seeds in (1, 3):
        change = accuracy_change(labels, same.repeat(seeds, 0), same.repeat(seeds, 0))
        assert (change.mean, change.low, change.high) == (0, 0, 0)


def test_metrics_need_no_tensorflow() -> None:
    import subprocess
    import sys

    modules = "model_compression.files.coding, model_compression.store"
    code = f"import sys, {modules}; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
