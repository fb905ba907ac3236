"""What a file weighs and how well it answers: bytes, entropy, accuracy, and the tests between two.

No TensorFlow here. Sizes are bytes, accuracies are fractions, changes are fractions until
`reporting` turns them into percentage points.
"""

import io
import lzma
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import brotli
import numpy as np
import zstandard
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

#: Up to so many bytes, brotli's modes and these windows (log2 of bytes) are all tried.
BROTLI_SEARCHED, BROTLI_WINDOWS = 2**14, (22, 10, 12, 14, 16)


def _zip(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        # a fixed name and date: equal content, equal bytes
        archive.writestr(zipfile.ZipInfo("model"), content, zipfile.ZIP_DEFLATED, 9)
    return file.getvalue()


def _unzip(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(archive.namelist()[0])


def _xz(content: bytes) -> bytes:
    return lzma.compress(content, check=lzma.CHECK_NONE, preset=9 | lzma.PRESET_EXTREME)


def _zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=22, write_checksum=False).compress(content)


def _brotli(content: bytes) -> bytes:
    """The shortest over the coder's modes and windows; of a large file, which takes long, the default's."""
    if len(content) > BROTLI_SEARCHED:
        return brotli.compress(content, quality=11)
    modes = (brotli.MODE_GENERIC, brotli.MODE_TEXT, brotli.MODE_FONT)
    tried = (
        brotli.compress(content, quality=11, mode=mode, lgwin=window)
        for window in BROTLI_WINDOWS
        for mode in modes
    )
    return min(tried, key=len)


@dataclass(frozen=True)
class Coder:
    """A general-purpose compressor at its highest level."""

    encode: Callable[[bytes], bytes]
    decode: Callable[[bytes], bytes]


#: By the ending that a coded file gets.
CODERS: dict[str, Coder] = {
    "zip": Coder(_zip, _unzip),
    "xz": Coder(_xz, lzma.decompress),
    "zst": Coder(_zstd, lambda content: zstandard.ZstdDecompressor().decompress(content)),
    "br": Coder(_brotli, brotli.decompress),
}


def zip_bytes(content: bytes) -> int:
    """Bytes of a zip archive (deflate, level 9) that holds `content`."""
    return len(_zip(content))


def brotli_bytes(content: bytes) -> int:
    """Bytes of `content` under brotli (quality 11, its default mode and window)."""
    return len(brotli.compress(content, quality=11))


def best_coded(content: bytes) -> tuple[str, bytes]:
    """The shortest coding of `content` and the name of its coder in `CODERS`.

    Raises:
        ValueError: the coding does not decode to `content`.
    """
    coded = {name: coder.encode(content) for name, coder in CODERS.items()}
    best = min(coded, key=lambda name: len(coded[name]))
    if CODERS[best].decode(coded[best]) != content:
        raise ValueError(f"coder {best!r} does not give back what it was given")
    return best, coded[best]


def sparsity(weights: np.ndarray, *, zero: float = 0) -> float:
    """The fraction of `weights` equal to `zero` (a quantized tensor's zero point)."""
    return float(np.mean(weights == zero))


def entropy_bits(values: np.ndarray) -> float:
    """Order-0 entropy of all of `values`: what a memoryless coder needs, in bits.

    Integers of one byte are the symbols themselves; wider values count as one memoryless coder a
    byte position.
    Source: Shannon 1948.
    """
    planes = np.ascontiguousarray(values).view(np.uint8).reshape(-1, values.dtype.itemsize)
    return float(sum(stats.entropy(np.bincount(plane), base=2) for plane in planes.T) * len(planes))


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The fraction of equal labels; both (n,)."""
    return float(np.mean(labels == predicted))


def mcnemar_p(labels: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """Exact two-sided p of McNemar's test: do two classifiers err equally often?

    Only the images that just one of them gets right count.
    Args:
        labels, one, other: the truth and the two predictions, (n,).
    Source: Dietterich 1998, Neural Computation 10(7).
    """
    right_one, right_other = one == labels, other == labels
    table = [
        [int(np.sum(right_one & right_other)), int(np.sum(right_one & ~right_other))],
        [int(np.sum(~right_one & right_other)), int(np.sum(~right_one & ~right_other))],
    ]
    return float(mcnemar(table, exact=True).pvalue)


def combine_p(p_values: Sequence[float]) -> float:
    """One p value for tests that share their images, and so depend on each other.

    n / k times the k-th smallest, with k the upper median: valid under any dependence.
    Source: Rueger 1978; Vovk & Wang 2020, Biometrika 107(4).
    Raises:
        ValueError: no p value.
    """
    if not p_values:
        raise ValueError("no p value to combine; allowed: at least one")
    ordered = sorted(p_values)
    k = len(ordered) // 2 + 1
    return min(1.0, len(ordered) / k * ordered[k - 1])


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p values corrected for their number (Holm 1979), in the order given."""
    if not len(p_values):
        return np.array([])
    return multipletests(p_values, method="holm")[1]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A difference of accuracies, form minus control, as fractions, with its 95 % interval."""

    mean: float
    low: float
    high: float


def accuracy_change(labels: np.ndarray, form: np.ndarray, control: np.ndarray) -> Change:
    """How much a form gains on its control, paired by seed and image.

    Several seeds: Student's t over the seeds' differences, which covers the spread of training.
    One seed: the paired normal interval over the test images, the only spread there is.
    Args:
        labels: (images,). form, control: predictions, (seeds, images).
    Source: Dietterich 1998; Newcombe 1998 (paired differences).
    """
    gains = (form == labels).astype(float) - (control == labels).astype(float)
    by_seed = gains.mean(axis=1)
    mean = float(by_seed.mean())
    if len(by_seed) == 1:
        half = 1.959964 * float(gains[0].std(ddof=1)) / np.sqrt(gains.shape[1])
    else:
        half = float(stats.t.ppf(0.975, len(by_seed) - 1) * stats.sem(by_seed))
    return Change(mean=mean, low=mean - half, high=mean + half)
