"""Recipe -> key -> stored files: what was computed once is not computed again.

An entry is a folder named by its key. Its `manifest.json`, which holds every file's SHA-256, is
part of a folder that appears by one atomic rename, so an entry is whole or absent.
"""

import ast
import dataclasses
import functools
import hashlib
import importlib.metadata
import io
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
#: Libraries whose version is part of every key: another release may give other numbers.
LIBRARIES = (
    "tensorflow",
    "tf-keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "litert-quantizer",
    "numpy",
)


@functools.cache
def versions() -> dict[str, str]:
    """The installed versions of `LIBRARIES`."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def _without_docstrings(source: str) -> str:
    """The code alone: a comment or a docstring changed must not cost a training."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


@functools.cache
def code_digest(*modules: ModuleType) -> str:
    """SHA-256 of what `modules` do, whatever their comments say; a package stands for all its modules."""
    digest = hashlib.sha256()
    for module in modules:
        if getattr(module, "__file__", None) is None:
            raise ValueError(f"module {module.__name__!r} has no file to hash")
        path = Path(str(module.__file__))
        for each in sorted(path.parent.glob("*.py")) if path.name == "__init__.py" else [path]:
            digest.update(_without_docstrings(each.read_text()).encode())
    return digest.hexdigest()


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: dataclasses by type name and fields, tuples as lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def make_key(**parts: Any) -> str:
    """SHA-256 of named parts, in hex: equal parts, equal key, in whatever order."""
    text = json.dumps(plain(parts), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def pack_arrays(arrays: Sequence[np.ndarray]) -> bytes:
    """Arrays as an .npz file; `unpack_arrays` gives them back in their order."""
    packed = io.BytesIO()
    named: dict[str, Any] = {f"{index:03d}": array for index, array in enumerate(arrays)}
    np.savez(packed, **named)
    return packed.getvalue()


def unpack_arrays(content: bytes) -> list[np.ndarray]:
    """What `pack_arrays` packed."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return [arrays[name] for name in arrays.files]


class Store:
    """A folder of entries, shared by any number of processes.

    Raises:
        NotADirectoryError: the path is a file.
        PermissionError: the folder cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = writable_folder(folder)

    def _entry(self, key: str) -> Path:
        return self.folder / key[:2] / key

    def has(self, key: str) -> bool:
        """Whether there is an entry, without reading it."""
        return (self._entry(key) / MANIFEST).exists()

    def get(self, key: str) -> dict[str, bytes] | None:
        """The files of an entry, or None. A damaged entry is reported, removed and None."""
        entry = self._entry(key)
        try:
            expected = json.loads((entry / MANIFEST).read_text())["sha256"]
            files = {name: (entry / name).read_bytes() for name in expected}
        except FileNotFoundError:
            if not entry.exists():
                return None
            self._discard(entry, "a file is missing")
            return None
        except (ValueError, KeyError, TypeError) as error:
            self._discard(entry, f"its manifest cannot be read ({error})")
            return None
        for name, content in files.items():
            if hashlib.sha256(content).hexdigest() != expected[name]:
                self._discard(entry, f"{name} does not match its checksum")
                return None
        return files

    def kept(self, key: str, make: Callable[[], dict[str, bytes]]) -> dict[str, bytes]:
        """The files of an entry, made and stored where there is none."""
        files = self.get(key)
        if files is None:
            files = make()
            self.put(key, files)
        return files

    def _discard(self, entry: Path, why: str) -> None:
        logger.warning("cache entry %s is damaged: %s; it will be computed again", entry.name[:12], why)
        shutil.rmtree(entry, ignore_errors=True)

    def put(self, key: str, files: Mapping[str, bytes]) -> None:
        """Store an entry; when another process was faster, its entry stays."""
        entry = self._entry(key)
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="unfinished-") as work:
            for name, content in files.items():
                (Path(work) / name).write_bytes(content)
            checksums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
            (Path(work) / MANIFEST).write_text(json.dumps({"sha256": checksums}, indent=1))
            try:
                os.rename(work, entry)
            except OSError:
                if not (entry / MANIFEST).exists():
                    raise
            else:
                os.mkdir(work)  # so that leaving the block finds what it removes


def writable_folder(folder: str | os.PathLike[str]) -> Path:
    """Make `folder` where it is missing, and make sure that it can be written.

    Raises:
        NotADirectoryError: the path, or a part of it, is a file.
        PermissionError: the folder cannot be written.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(f"{path} must be a folder, and is a file or lies below one") from error
    except OSError as error:
        raise PermissionError(f"{path} cannot be made: {error.strerror}") from error
    try:
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise PermissionError(f"{path} cannot be written: {error.strerror}") from error
    return path


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that it is seen whole or not at all."""
    target = Path(path)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".unfinished-", delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.chmod(file.name, 0o644)
            os.replace(file.name, target)
        except BaseException:
            os.unlink(file.name)
            raise
