import lzma
import math
import zipfile
from io import BytesIO

import numpy as np
import pytest
from conftest import exactly

from model_compression.files import coding
from model_compression.files.coding import CODERS, best_coded, entropy_bits, zip_bytes
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


def test_a_wider_value_is_one_symbol() -> None:
    # four distinct words: two bits each
    assert entropy_bits(np.array([0x0000, 0x0001, 0x0100, 0x0101], np.int16)) == pytest.approx(8)
    # 1.0 and 2.0 differ in two bytes of float32, and are still one bit apart
    assert entropy_bits(np.array([1, 2], np.float32)) == pytest.approx(2)


def test_zeros_of_two_signs_are_two_symbols() -> None:
    assert entropy_bits(np.array([0.0, -0.0], np.float32)) == pytest.approx(2)


def test_floor_of_sparse_floats_is_below_what_is_reachable() -> None:
    """A mask and the other weights as they are: no coder at all, and shorter than the four byte planes."""
    weights = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    weights[np.random.default_rng(1).random(20_000) < 0.8] = 0
    reachable = weights.size / 8 + 4 * np.count_nonzero(weights)
    planes = weights.view(np.uint8).reshape(-1, 4)
    by_bytes = sum(entropy_bits(plane) for plane in planes.T) / 8
    assert entropy_bits(weights) / 8 < reachable < by_bytes


def test_entropy_is_a_floor_for_a_memoryless_source() -> None:
    floor = entropy_bits(np.frombuffer(WEIGHTS, np.int8)) / 8
    assert floor < len(best_coded(WEIGHTS)[1]) < 1.2 * floor


# Accuracy


def test_accuracy_is_the_share_of_equal_labels() -> None:
    assert accuracy(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 0])) == 0.75


def test_metrics_need_no_tensorflow() -> None:
    import subprocess
    import sys

    modules = "model_compression.files.coding, model_compression.store"
    code = f"import sys, {modules}; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
