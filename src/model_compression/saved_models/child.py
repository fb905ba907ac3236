"""Work on a saved model by its own Keras, in a process of its own: two Keras cannot share one."""

import functools
import os
from collections.abc import Callable
from typing import Any

from ..children import Child, DeathError
from .graphs import NotRebuiltError

#: How long a process may take over a file, in seconds.
TIMEOUT_SECONDS = 600.0


@functools.cache
def _process(legacy: bool) -> Child:
    """It stays for other models: to import a Keras takes seconds."""
    return Child(TF_USE_LEGACY_KERAS=str(int(legacy)), KERAS_BACKEND="tensorflow")


def call(work: Callable[..., Any], path: str, *given: object, legacy: bool) -> Any:
    """What `work(path, *given)` gives where `keras` is Keras 2, if `legacy`, or Keras 3.

    Raises:
        NotRebuiltError: what it raised, or how its process ended.
    """
    try:
        return _process(legacy).call(work, os.path.abspath(path), *given, seconds=TIMEOUT_SECONDS)
    except DeathError as error:
        raise NotRebuiltError(f"{path}: its Keras, or the converter, {error}") from error
    # whatever Keras and the converter raise is an answer to the one who asked
    except Exception as error:
        raise NotRebuiltError(f"{path}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """What an error says, in a line of at most 300 characters, without the places in code that lead there."""
    _, _, said = str(error).rpartition(": error: ") if ": error: " in str(error) else ("", "", str(error))
    return " ".join(said.split())[:300] or type(error).__name__
