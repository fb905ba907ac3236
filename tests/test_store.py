import importlib.util
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import exactly

from model_compression import store as store_module
from model_compression.store import Store, code_digest, make_key, plain, writable_folder, write_atomically

KEY = "ab" + "0" * 62
FILES = {"weights.npz": b"many numbers", "record.json": b"{}"}


@dataclass(frozen=True)
class Prune:
    sparsity: float


@dataclass(frozen=True)
class Drop:
    sparsity: float


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def entry(store: Store, key: str = KEY) -> Path:
    return store.folder / key[:2] / f"{key}.pickle"


def module(folder: Path, source: str) -> ModuleType:
    path = folder / "technique.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("technique", path)
    assert spec is not None
    return importlib.util.module_from_spec(spec)


# Keys


def test_key_is_the_sha256_of_canonical_json() -> None:
    # printf '{"a":1,"b":[2,3]}' | sha256sum
    expected = "efbd0040190fb0871831e606c581f8a66db79d8e2bb836745a70051306956070"
    assert make_key(b=(2, 3), a=1) == expected
    assert make_key(a=1, b=[2, 3]) == expected


def test_key_changes_with_a_value_a_name_and_a_type() -> None:
    keys = [
        make_key(step=Prune(0.8)),
        make_key(step=Prune(0.9)),
        make_key(step=Drop(0.8)),
        make_key(steps=Prune(0.8)),
        make_key(step=None),
        make_key(step=0),
        make_key(step=False),
    ]
    assert len(set(keys)) == len(keys)


def test_plain_keeps_type_names_and_turns_tuples_and_numpy_numbers_into_json() -> None:
    value = {1: (Prune(0.5), np.float64(0.25), np.int64(3)), "x": None}
    expected = {"1": [{"type": "Prune", "sparsity": 0.5}, 0.25, 3], "x": None}
    assert plain(value) == expected
    assert json.loads(json.dumps(plain(value))) == expected


def test_versions_name_every_library_that_can_change_a_number() -> None:
    assert set(store_module.versions()) == set(store_module.LIBRARIES)
    assert all(version[0].isdigit() for version in store_module.versions().values())


SOURCE = '''"""Docstring."""

def half(x):
    """Divide."""
    # by two
    return x / 2

class Config:
    """A docstring alone."""
'''


@pytest.mark.parametrize(
    "changed",
    [
        SOURCE.replace("Docstring", "Another"),
        SOURCE.replace('    """Divide."""\n', ""),
        SOURCE.replace("by two", "by 2, and more about it"),
        SOURCE.replace("x / 2", "(x  /  2)  # why"),
        SOURCE.replace("A docstring alone", "Reworded"),
    ],
)
def test_comments_docstrings_and_layout_do_not_change_the_digest(tmp_path: Path, changed: str) -> None:
    digest = code_digest(module(tmp_path, SOURCE))
    assert changed != SOURCE
    assert code_digest(module(tmp_path, changed)) == digest


@pytest.mark.parametrize(
    "changed",
    [
        SOURCE.replace("x / 2", "x / 3"),
        SOURCE.replace("return x / 2", 'return "Divide."'),
        SOURCE.replace("half", "third"),
    ],
)
def test_code_changes_the_digest(tmp_path: Path, changed: str) -> None:
    digest = code_digest(module(tmp_path, SOURCE))
    assert code_digest(module(tmp_path, changed)) != digest


def test_digest_is_of_all_the_modules() -> None:
    assert len({code_digest(store_module), code_digest(store_module, json), code_digest(json)}) == 3


def test_module_without_a_file_has_no_digest() -> None:
    with pytest.raises(ValueError, match=exactly("module 'made_up' has no file to hash")):
        code_digest(ModuleType("made_up"))


# Entries


def test_what_was_put_is_got_back(store: Store) -> None:
    assert not store.has(KEY)
    assert store.get(KEY) is None
    store.put(KEY, FILES)
    assert store.has(KEY)
    assert store.get(KEY) == FILES


def test_another_store_on_the_same_folder_has_the_entry(store: Store) -> None:
    store.put(KEY, FILES)
    assert Store(store.folder).get(KEY) == FILES


def test_putting_leaves_nothing_unfinished(store: Store) -> None:
    store.put(KEY, FILES)
    store.put(KEY, FILES)
    assert [path.name for path in store.folder.iterdir()] == [KEY[:2]]


def flipped(content: bytes) -> bytes:
    return content[:50] + bytes([content[50] ^ 1]) + content[51:]


@pytest.mark.parametrize("damage", [flipped, lambda content: content[:40], lambda content: b""])
def test_damaged_entry_is_said_removed_and_can_be_put_again(
    store: Store, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    store.put(KEY, FILES)
    entry(store).write_bytes(damage(entry(store).read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert store.get(KEY) is None
    (record,) = caplog.records
    assert record.getMessage() == f"cache entry {KEY[:12]} is damaged; it will be computed again"
    assert not entry(store).exists()
    store.put(KEY, FILES)
    assert store.get(KEY) == FILES


def test_what_is_kept_is_made_once(store: Store) -> None:
    made = []
    for _ in range(2):
        assert store.kept(KEY, lambda: made.append("made") or [np.float32(1)]) == [1]
    assert made == ["made"]


def test_whole_and_absent_entries_are_not_reported(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.put(KEY, FILES)
    store.get(KEY)
    store.get("cd" + KEY[2:])
    assert caplog.records == []


def test_kill_between_writing_and_rename_leaves_no_entry(store: Store) -> None:
    killed = f"""
import os
from model_compression.store import Store
os.replace = lambda *paths: os._exit(9)
Store({str(store.folder)!r}).put({KEY!r}, {FILES!r})
"""
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == 9
    assert not store.has(KEY)
    assert store.get(KEY) is None
    store.put(KEY, FILES)
    assert store.get(KEY) == FILES


def test_concurrent_puts_leave_one_whole_entry(store: Store) -> None:
    contents = [{"weights.npz": bytes([number]) * 100_000} for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda files: store.put(KEY, files), contents))
    assert store.get(KEY) in contents


def test_full_disk_is_said_and_leaves_no_entry_and_no_rest(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left on device"):
        store.put(KEY, FILES)
    assert not store.has(KEY)
    assert list(entry(store).parent.iterdir()) == []


# Folders and files


def test_missing_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    assert writable_folder(tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("below", ["", "deeper"])
def test_path_that_is_a_file_or_lies_below_one_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "results").write_text("mine")
    path = tmp_path / "results" / below
    message = f"{path} must be a folder, and is a file or lies below one"
    with pytest.raises(NotADirectoryError, match=exactly(message)):
        Store(path)
    assert (tmp_path / "results").read_text() == "mine"


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A file system that refuses to write; root, as tests often run, could write anywhere else."""

    def refuse(*args: object, **options: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(store_module.tempfile, "TemporaryFile", refuse)
    return


@pytest.mark.usefixtures("refusing")
def test_read_only_folder_is_refused(tmp_path: Path) -> None:
    message = f"{tmp_path} cannot be written: Read-only file system"
    with pytest.raises(PermissionError, match=exactly(message)):
        Store(tmp_path)


def test_folder_that_cannot_be_made_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "new"
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(PermissionError, match=exactly(f"{path} cannot be made: Permission denied")):
        Store(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to read-only folders")
def test_folder_without_write_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="cannot be written: Permission denied"):
        Store(tmp_path)


def test_write_atomically_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_write_that_fails_keeps_the_old_file_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"old")

    def fail(source: str, target: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="Input/output error"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_kill_before_the_replace_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"old")
    killed = f"""
import os
from model_compression.store import write_atomically
os.replace = lambda *paths: os._exit(9)
write_atomically({str(path)!r}, b"new")
"""
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == 9
    assert path.read_bytes() == b"old"
