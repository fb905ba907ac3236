import gzip
import hashlib
import os
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_compression.data import sources
from model_compression.data.sources import (
    ARRAY_NAMES,
    NAMED,
    Arrays,
    DataUnavailableError,
    DataWarning,
    InvalidDataError,
    NamedDataset,
    Source,
    SourceUnavailable,
    check_md5,
    fetch,
    read_idx,
    read_npz,
    write_npz,
)

TINY = {
    "x_train": np.arange(24, dtype=np.uint8).reshape(6, 2, 2),
    "y_train": np.array([0, 1, 0, 1, 0, 1], np.uint8),
    "x_test": np.arange(8, dtype=np.uint8).reshape(2, 2, 2),
    "y_test": np.array([1, 0], np.uint8),
}
WRONG = {**TINY, "x_test": TINY["x_test"] + np.uint8(1)}
WRONG_SAID = re.escape("x_test is not Tiny's: as an IDX file its MD5 is ") + "[0-9a-f]{32}, .*"


def idx_file(array: np.ndarray) -> bytes:
    """An IDX file as its format's description has it, byte by byte."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


MD5 = {name: hashlib.md5(idx_file(array)).hexdigest() for name, array in TINY.items()}


class Shelf:
    """A source that counts how often it was asked."""

    def __init__(self, title: str, answer: Arrays | Exception) -> None:
        self.answer, self.asked = answer, 0
        self.source = Source(title=title, fetch=self.fetch)

    def fetch(self) -> Arrays:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def absent(title: str = "nowhere") -> Shelf:
    return Shelf(title, SourceUnavailable("out of reach"))


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let "tiny" come from the given shelves."""

    def register(*shelves: Shelf) -> None:
        sources = tuple(shelf.source for shelf in shelves)
        dataset = NamedDataset(title="Tiny", variable="TINY_NPZ", md5=MD5, sources=sources)
        monkeypatch.setitem(NAMED, "tiny", dataset)

    return register


def assert_tiny(arrays: Arrays) -> None:
    for name in ARRAY_NAMES:
        np.testing.assert_array_equal(arrays[name], TINY[name])


# fetch


def test_first_fetch_fills_the_cache_and_the_second_asks_no_source(
    tiny: Callable[..., None], tmp_path: Path
) -> None:
    shelf = Shelf("a shelf", TINY)
    tiny(shelf)
    for _ in range(2):
        assert_tiny(fetch("tiny", tmp_path / "new" / "folder"))
    assert shelf.asked == 1
    with np.load(tmp_path / "new" / "folder" / "tiny.npz", allow_pickle=False) as cached:
        assert sorted(cached.files) == sorted(ARRAY_NAMES)
        assert all(cached[name].dtype == np.uint8 for name in ARRAY_NAMES)
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["tiny.npz"]


def test_sources_are_asked_in_order_until_one_works(tiny: Callable[..., None], tmp_path: Path) -> None:
    shelves = [absent(), Shelf("a full disk", OSError("no space")), Shelf("third", TINY), Shelf("last", TINY)]
    tiny(*shelves)
    assert_tiny(fetch("tiny", tmp_path))
    assert [shelf.asked for shelf in shelves] == [1, 1, 1, 0]


def test_nothing_is_printed_when_all_is_well(
    tiny: Callable[..., None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tiny(absent(), Shelf("second", TINY))
    fetch("tiny", tmp_path)
    assert capfd.readouterr() == ("", "")


def test_source_with_other_data_is_passed_over_and_said(tiny: Callable[..., None], tmp_path: Path) -> None:
    tiny(Shelf("first", WRONG), Shelf("second", TINY))
    with pytest.warns(DataWarning, match=f"^Tiny is complete and right, but:\n  - first: {WRONG_SAID}$"):
        assert_tiny(fetch("tiny", tmp_path))
    assert_tiny(read_npz(tmp_path / "tiny.npz"))


def test_cache_with_one_changed_pixel_is_said_kept_aside_and_replaced(
    tiny: Callable[..., None], tmp_path: Path
) -> None:
    tiny(Shelf("a shelf", TINY))
    cache, rejected = tmp_path / "tiny.npz", tmp_path / "tiny.npz.rejected"
    write_npz(cache, WRONG)
    said = (
        f"  - {re.escape(f'the cache {cache}')}: {WRONG_SAID}\n"
        f"  - fetched anew; the old cache file is kept as {re.escape(str(rejected))}"
    )
    with pytest.warns(DataWarning, match=f"^Tiny is complete and right, but:\n{said}$"):
        assert_tiny(fetch("tiny", tmp_path))
    np.testing.assert_array_equal(read_npz(rejected)["x_test"], WRONG["x_test"])
    assert_tiny(fetch("tiny", tmp_path))


def test_cache_cut_short_is_said_and_replaced(tiny: Callable[..., None], tmp_path: Path) -> None:
    tiny(Shelf("a shelf", TINY))
    cache = tmp_path / "tiny.npz"
    write_npz(cache, TINY)
    cache.write_bytes(cache.read_bytes()[:-30])
    with pytest.warns(DataWarning, match="is no whole .npz file"):
        assert_tiny(fetch("tiny", tmp_path))
    assert_tiny(read_npz(cache))


def test_warning_turned_into_an_error_does_not_cost_the_data(
    tiny: Callable[..., None], tmp_path: Path
) -> None:
    tiny(Shelf("first", WRONG), Shelf("second", TINY))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataWarning):
            fetch("tiny", tmp_path)
    assert_tiny(read_npz(tmp_path / "tiny.npz"))


def test_cache_that_another_process_wrote_meanwhile_is_no_fault(
    tiny: Callable[..., None], tmp_path: Path
) -> None:
    class Slow(Shelf):
        def fetch(self) -> Arrays:
            write_npz(tmp_path / "tiny.npz", TINY)
            return super().fetch()

    tiny(Slow("a slow shelf", TINY))
    assert_tiny(fetch("tiny", tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.npz"]


def test_damaged_cache_stays_where_nothing_replaces_it(tiny: Callable[..., None], tmp_path: Path) -> None:
    tiny(absent())
    write_npz(tmp_path / "tiny.npz", WRONG)
    with pytest.raises(DataUnavailableError):
        fetch("tiny", tmp_path)
    np.testing.assert_array_equal(read_npz(tmp_path / "tiny.npz")["x_test"], WRONG["x_test"])


def test_when_every_source_fails_one_message_says_all(tiny: Callable[..., None], tmp_path: Path) -> None:
    tiny(absent("the moon"), Shelf("a shelf", InvalidDataError("it is torn")))
    cache = tmp_path / "tiny.npz"
    message = (
        "Tiny could not be had. Tried, in order:\n"
        f"  - the cache {cache}: not there yet\n"
        "  - the moon: out of reach\n"
        "  - a shelf: it is torn\n"
        "What to do: run once more with a network; or put an .npz file with the uint8 arrays "
        f"x_train, y_train, x_test, y_test at {cache}, or name such a file in the environment variable "
        "TINY_NPZ."
    )
    with pytest.raises(DataUnavailableError, match=f"^{re.escape(message)}$"):
        fetch("tiny", tmp_path)
    assert not cache.exists()


def test_folder_that_cannot_be_written_is_said_and_the_data_returned(
    tiny: Callable[..., None], tmp_path: Path
) -> None:
    tiny(Shelf("a shelf", TINY))
    (tmp_path / "file").touch()
    with pytest.warns(DataWarning, match=r"tiny\.npz cannot be written .*: the next run has to fetch"):
        assert_tiny(fetch("tiny", tmp_path / "file"))


# Checks and files


def test_check_accepts_the_right_arrays_in_any_memory_layout() -> None:
    dataset = NamedDataset(title="Tiny", variable="", md5=MD5, sources=())
    check_md5({name: np.asfortranarray(array) for name, array in TINY.items()}, dataset)


@pytest.mark.parametrize("name", ARRAY_NAMES)
def test_check_sees_one_changed_value_in_any_array(name: str) -> None:
    dataset = NamedDataset(title="Tiny", variable="", md5=MD5, sources=())
    changed = TINY[name].copy()
    changed.flat[-1] += 1
    with pytest.raises(InvalidDataError, match=f"^{name} is not Tiny's: "):
        check_md5({**TINY, name: changed}, dataset)


def test_check_sees_the_same_bytes_in_another_shape() -> None:
    dataset = NamedDataset(title="Tiny", variable="", md5=MD5, sources=())
    with pytest.raises(InvalidDataError, match=r"^x_train is not Tiny's: "):
        check_md5({**TINY, "x_train": TINY["x_train"].reshape(6, 4, 1)}, dataset)


def test_check_names_another_dtype() -> None:
    dataset = NamedDataset(title="Tiny", variable="", md5=MD5, sources=())
    with pytest.raises(InvalidDataError, match=r"^y_train is int64: allowed is uint8$"):
        check_md5({**TINY, "y_train": TINY["y_train"].astype(np.int64)}, dataset)


@pytest.mark.parametrize("name", ARRAY_NAMES)
def test_idx_file_is_read_back(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(idx_file(TINY[name])))
    np.testing.assert_array_equal(read_idx(path), TINY[name])


@pytest.mark.parametrize(
    "content",
    {
        "no gzip": idx_file(TINY["x_train"]),
        "gzip cut short": gzip.compress(idx_file(TINY["x_train"]))[:-10],
        "one pixel missing": gzip.compress(idx_file(TINY["x_train"])[:-1]),
        "one pixel more": gzip.compress(idx_file(TINY["x_train"]) + b"\0"),
        "header only": gzip.compress(idx_file(TINY["x_train"])[:4]),
        "floats": gzip.compress(bytes([0, 0, 13, 1, 0, 0, 0, 1, 0])),
        "empty": b"",
    }.values(),
)
def test_file_that_is_no_idx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(content)
    with pytest.raises(InvalidDataError, match=r"^a\.gz is no whole IDX file \("):
        read_idx(path)


def test_write_leaves_the_old_file_and_nothing_else_when_it_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.npz"
    write_npz(path, TINY)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sources.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_npz(path, WRONG)
    assert list(tmp_path.iterdir()) == [path]
    assert_tiny(read_npz(path))


def test_npz_cut_anywhere_is_invalid_and_nothing_worse(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_npz(path, TINY)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidDataError):
            read_npz(path)


def test_npz_with_a_flipped_byte_is_right_or_invalid(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_npz(path, TINY)
    whole = path.read_bytes()
    for position in range(0, len(whole), 5):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        path.write_bytes(damaged)
        try:
            assert_tiny(read_npz(path))  # the byte was one that carries no data, such as a date
        except InvalidDataError:
            continue


def test_npz_that_is_missing_or_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match=r"missing\.npz is missing: allowed is an \.npz file$"):
        read_npz(tmp_path / "missing.npz")
    with pytest.raises(InvalidDataError, match=r" is a folder: allowed is an \.npz file$"):
        read_npz(tmp_path)


def test_npz_without_an_array_lists_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x_train=TINY["x_train"], labels=TINY["y_train"])
    message = (
        f"{path} holds x_train, labels: y_train, x_test, y_test missing; "
        "allowed is an .npz file with x_train, y_train, x_test, y_test"
    )
    with pytest.raises(InvalidDataError, match=f"^{re.escape(message)}$"):
        read_npz(path)


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with path.open("wb") as file:
        np.save(file, TINY["x_train"])
    with pytest.raises(InvalidDataError, match=r"is no whole \.npz file \(File is not a zip file\)"):
        read_npz(path)


def test_archive_of_something_else_under_the_right_names_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ARRAY_NAMES:
            archive.writestr(name, b"no array")
    with pytest.raises(InvalidDataError, match=r"x_train is no array; allowed are arrays of numbers$"):
        read_npz(path)


class Bomb:
    """Creates a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_objects_in_an_npz_are_refused_and_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **{**TINY, "y_test": np.array([Bomb(tmp_path / "hit")], object)})  # type: ignore[arg-type]
    with pytest.raises(
        InvalidDataError, match=r"y_test cannot be read \(.*\); allowed are arrays of numbers"
    ):
        read_npz(path)
    assert not (tmp_path / "hit").exists()


# A file named by the environment


def test_variable_names_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_npz(tmp_path / "mine.npz", TINY)
    monkeypatch.setenv("TINY_NPZ", str(tmp_path / "mine.npz"))
    assert_tiny(sources._from_variable("TINY_NPZ"))


@pytest.mark.parametrize("value", [None, ""])
def test_variable_that_is_not_set_is_no_fault(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("TINY_NPZ", raising=False)
    if value is not None:
        monkeypatch.setenv("TINY_NPZ", value)
    with pytest.raises(SourceUnavailable, match=r"^TINY_NPZ is not set$"):
        sources._from_variable("TINY_NPZ")


def test_variable_that_names_no_file_is_a_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TINY_NPZ", str(tmp_path / "gone.npz"))
    with pytest.raises(InvalidDataError, match=r"gone\.npz is missing"):
        sources._from_variable("TINY_NPZ")


# The table


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_every_named_dataset_has_its_own_variable_first_and_four_sums(name: str) -> None:
    dataset = NAMED[name]
    assert dataset.variable == f"{name.upper()}_NPZ"
    assert dataset.sources[0].title == f"the file that {dataset.variable} names"
    assert set(dataset.md5) == set(ARRAY_NAMES)
    assert len(set(dataset.md5.values())) == 4
