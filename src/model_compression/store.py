"""Recipe -> key -> what is stored: what was computed once is not computed again.

An entry is a file named by its key, a pickle behind its SHA-256. It appears by one atomic rename, so it is
whole or absent.
"""

import ast
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import logging
import os
import pickle
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

logger = logging.getLogger(__name__)

Kept = TypeVar("Kept")
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


class Store:
    """A folder of entries, shared by any number of processes.

    Raises:
        NotADirectoryError: the path is a file.
        PermissionError: the folder cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = writable_folder(folder)

    def _entry(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.pickle"

    def has(self, key: str) -> bool:
        """Whether there is an entry, without reading it."""
        return self._entry(key).exists()

    def get(self, key: str) -> Any:
        """What was put, or None. A damaged entry is reported, removed and None."""
        entry = self._entry(key)
        try:
            content = entry.read_bytes()
        except FileNotFoundError:
            return None
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            logger.warning("cache entry %s is damaged; it will be computed again", key[:12])
            entry.unlink(missing_ok=True)
            return None
        return pickle.loads(content[32:])

    def put(self, key: str, value: object) -> None:
        """Store what can be pickled, and is not None."""
        entry, content = self._entry(key), pickle.dumps(value)
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(entry, hashlib.sha256(content).digest() + content)

    def kept(self, key: str, make: Callable[[], Kept]) -> Kept:
        """What is stored, made and put where there is none."""
        found = self.get(key)
        if found is None:
            found = make()
            self.put(key, found)
        return found


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
