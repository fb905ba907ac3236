"""A tiny dataset as arrays and as IDX files, one of MNIST's form as a pickle, and a pickle that does harm."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from model_compression.data.files import ARRAY_NAMES, Arrays

TINY = {
    "x_train": np.arange(24, dtype=np.uint8).reshape(6, 2, 2),
    "y_train": np.array([0, 1, 0, 1, 0, 1], np.uint8),
    "x_test": np.arange(8, dtype=np.uint8).reshape(2, 2, 2),
    "y_test": np.array([1, 0], np.uint8),
}


def idx_file(array: np.ndarray) -> bytes:
    """An IDX file as its format's description has it, byte by byte."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


MD5 = {name: hashlib.md5(idx_file(array)).hexdigest() for name, array in TINY.items()}


def assert_tiny(arrays: Arrays) -> None:
    for name in ARRAY_NAMES:
        np.testing.assert_array_equal(arrays[name], TINY[name])


class Bomb:
    """Creates a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


PIXELS = (np.arange(7 * 784) % 256).reshape(7, 784)
PAIRS = [(PIXELS[:5], range(5)), (PIXELS[5:], range(2)), (PIXELS[:1], [9])]
"""Of MNIST's form: training set in two parts, test set."""


def scaled_pairs() -> tuple[Any, ...]:
    return tuple(((x / 256).astype("<f4"), np.array(y, "<i8")) for x, y in PAIRS)


def wheel_pickle() -> bytes:
    """As Python 2 wrote the wheel's: protocol 2, an array's bytes as a str."""

    def number(value: int) -> bytes:
        return b"J" + value.to_bytes(4, "little", signed=True)

    def array(a: np.ndarray) -> bytes:
        shell = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tU\x01btR"
        kind = b"cnumpy\ndtype\n(U\x02" + a.dtype.str[1:].encode() + b"K\0K\x01tR"
        kind += b"(K\x03U\x01<NNN" + number(-1) + number(-1) + b"K\0tb"
        shape = b"(" + b"".join(number(size) for size in a.shape) + b"t"
        content = b"T" + a.nbytes.to_bytes(4, "little") + a.tobytes()
        return shell + b"(K\x01" + shape + kind + b"\x89" + content + b"tb"

    pairs = (b"(" + array(x) + array(y) + b"t" for x, y in scaled_pairs())
    return b"\x80\x02(" + b"".join(pairs) + b"t."
