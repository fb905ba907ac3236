"""Files of arrays: IDX, .npz and MNIST's pickle, read so that nothing in them is run, and written whole."""

import contextlib
import gzip
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

from ..store import write_atomically

ARRAY_NAMES = ("x_train", "y_train", "x_test", "y_test")
#: The line that writes a user's data, the last of them to test on.
SAVED = "numpy.savez('data.npz', x_train=x[:-n], y_train=y[:-n], x_test=x[-n:], y_test=y[-n:])"
Arrays: TypeAlias = Mapping[str, np.ndarray]
"""Arrays by name; of a named dataset those of Keras's layout, ARRAY_NAMES."""

Say: TypeAlias = Callable[[str], None]
"""Told in words what is done."""


class InvalidDataError(ValueError):
    """Data that were found, but cannot be used as they are."""


# Checks


def check_shapes(arrays: Arrays, what: str) -> None:
    """Raise InvalidDataError unless the arrays are of one shape, but for their first axis."""
    (first, one), *others = arrays.items()
    for name, array in others:
        if array.shape[1:] != one.shape[1:]:
            raise InvalidDataError(
                f"{first} holds {what} {one.shape[1:]} and {name} {array.shape[1:]}: allowed is one shape"
            )


def as_float32(arrays: Arrays) -> Arrays:
    """The arrays as float32; InvalidDataError where that is not finite."""
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which the next lines find
        floats = {name: array.astype(np.float32) for name, array in arrays.items()}
    for name, array in floats.items():
        if wrong := array.size - np.count_nonzero(np.isfinite(array)):
            raise InvalidDataError(
                f"{name} has {wrong} NaN or infinite values: allowed are finite float32 numbers; "
                f"numpy.nan_to_num({name}) puts numbers in their place"
            )
    return floats


# IDX

#: What an IDX file calls the kinds of numbers that are written here.
_IDX_KINDS = {"u1": 8, "f4": 13}


def idx_content(array: np.ndarray) -> bytes:
    """An IDX file of bytes or float32: the kind, each dimension, the numbers."""
    header = struct.pack(f">HBB{array.ndim}I", 0, _IDX_KINDS[array.dtype.str[1:]], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of a gzipped IDX file."""
    try:
        content = gzip.decompress(path.read_bytes())
        zero, kind, rank = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{rank}I", content, 4)
        if (zero, kind) != (0, _IDX_KINDS["u1"]):
            raise ValueError(f"magic number {content[:4].hex()}, not that of unsigned bytes")
        return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise InvalidDataError(f"{path.name} is no whole IDX file ({error})") from error


# NumPy's archives


def check_held(path: Path, found: Iterable[str], wanted: Iterable[str], claimed: Iterable[str] = ()) -> None:
    """Raise InvalidDataError where a file lacks an array that is wanted, under its own or a claimed name."""
    if missing := [name for name in wanted if name not in found and name not in claimed]:
        raise InvalidDataError(
            f"{path} holds {', '.join(found) or 'nothing'}: {', '.join(missing)} missing; "
            f"allowed is an .npz file with {', '.join(ARRAY_NAMES)}: {SAVED}"
        )


#: All that zipfile and NumPy raise for a file that is cut short, changed or encrypted.
_DAMAGED = (OSError, EOFError, MemoryError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)


@contextlib.contextmanager
def open_npz(path: Path) -> Iterator[Mapping[str, np.ndarray]]:
    """The arrays of an .npz file, each read when it is asked for; pickled objects are never loaded.

    Raises:
        InvalidDataError: no such file, no .npz, or cut short.
    """
    if not path.is_file():
        raise InvalidDataError(
            f"{path} is {'a folder' if path.is_dir() else 'missing'}: allowed is an .npz file: {SAVED}"
        )
    try:
        # np.load takes other files than archives too, and names the fault less well
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as archive:
            yield archive
    except InvalidDataError:
        raise
    except _DAMAGED as error:
        raise InvalidDataError(f"{path} is no whole .npz file ({error}): write it with {SAVED}") from error


def read_member(path: Path, archive: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """An array of an open .npz file.

    Raises:
        InvalidDataError: it holds objects, or is no array.
    """
    try:
        array = archive[name]
    except ValueError as error:
        raise InvalidDataError(
            f"{path}: {name} cannot be read ({error}); allowed are arrays of numbers; "
            f"one of Python objects becomes one by np.array({name}.tolist())"
        ) from error
    if not isinstance(array, np.ndarray):  # what is in the archive but is no array comes as bytes
        raise InvalidDataError(f"{path}: {name} is no array; allowed are arrays of numbers")
    return array


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The four arrays of an .npz file; for what it raises see `open_npz` and `read_member`."""
    with open_npz(path) as archive:
        check_held(path, archive, ARRAY_NAMES)
        return {name: read_member(path, archive, name) for name in ARRAY_NAMES}


def write_npz(path: Path, arrays: Arrays) -> None:
    """Write atomically: under its final name there is the whole file or what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **{name: arrays[name] for name in ARRAY_NAMES})
    write_atomically(path, content.getvalue())


# MNIST's pickle


def read_mnist_pickle(file: IO[bytes] | gzip.GzipFile) -> Arrays:
    """MNIST out of a pickle of three (images, labels) pairs, the first two being the training set.

    Its images are float32 (n, 784), each pixel divided by 256, which loses nothing.
    """
    try:
        pairs = _ArrayUnpickler(file, encoding="latin1").load()
        # rounded, for a cast would cut
        x = [np.rint(images * 256).astype(np.uint8).reshape(-1, 28, 28) for images, _ in pairs]
        y = [labels.astype(np.uint8) for _, labels in pairs]
        train, test = slice(0, 2), slice(2, 3)
        return {
            "x_train": np.concatenate(x[train]),
            "y_train": np.concatenate(y[train]),
            "x_test": np.concatenate(x[test]),
            "y_test": np.concatenate(y[test]),
        }
    # all that pickle, gzip and NumPy raise for a file that is cut short or holds something else
    except (pickle.UnpicklingError, OSError, EOFError, zlib.error, TypeError, ValueError) as error:
        raise InvalidDataError(f"not the pickle of MNIST's arrays ({error})") from error


class _ArrayUnpickler(pickle.Unpickler):
    """Admits what NumPy arrays are rebuilt from, and nothing else that could be called."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        module = module_name.replace("numpy.core", "numpy._core")  # as NumPy 2 calls it
        if f"{module}.{global_name}" not in _OF_ARRAYS:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}: refused")
        return super().find_class(module, global_name)


_OF_ARRAYS = ("numpy._core.multiarray._reconstruct", "numpy.ndarray", "numpy.dtype")
