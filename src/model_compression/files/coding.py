"""What a file weighs: bytes under several coders, zeros and entropy. No TensorFlow here."""

import io
import lzma
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import brotli
import numpy as np
import zstandard
from scipy import stats

#: Up to so many bytes, brotli's modes and these windows (log2 of bytes) are all tried.
BROTLI_SEARCHED, BROTLI_WINDOWS = 2**14, (22, 10, 12, 14, 16)
BROTLI_LARGE = 2**20


def _zip(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        # a fixed name and date: equal content, equal bytes
        archive.writestr(zipfile.ZipInfo("model"), content, zipfile.ZIP_DEFLATED, 9)
    return file.getvalue()


def _unzip(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(archive.namelist()[0])


def _brotli(content: bytes) -> bytes:
    """The shortest over the coder's modes and windows; of a large file, which takes long, the default's.

    The last two qualities take half a minute for a net of some megabytes, whose weights they do not shorten.
    """
    if len(content) > BROTLI_LARGE:
        return brotli.compress(content, quality=9)
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
    "xz": Coder(
        partial(lzma.compress, check=lzma.CHECK_NONE, preset=9 | lzma.PRESET_EXTREME), lzma.decompress
    ),
    "zst": Coder(partial(zstandard.compress, level=22), zstandard.decompress),
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


def entropy_bits(values: np.ndarray) -> float:
    """Order-0 entropy of all of `values`, in bits: a coder without memory goes no lower.

    A symbol is a whole stored number. Coding its bytes one by one without memory can only take more, so that
    would be no floor. The table of the distinct numbers is not counted: where nearly all differ, as among
    floats, files stay far above the floor.
    Source: Shannon 1948, Bell System Technical Journal 27(3).
    """
    stored = np.ascontiguousarray(values)
    # told apart by their bits, as a coder does: 0.0 and -0.0 are two symbols
    _, counts = np.unique(stored.view(f"u{stored.itemsize}"), return_counts=True)
    return float(stats.entropy(counts, base=2) * stored.size)
