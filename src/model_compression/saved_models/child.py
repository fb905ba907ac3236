"""Work on a saved model by its own Keras, in a process of its own: two Keras cannot share one.

`python -m model_compression.saved_models.child MODULE MODEL FOLDER` is that process. `carry_out` of the
module writes into the folder what it is asked for.
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path

from .graphs import NotRebuiltError

#: How long a process may take over a file, in seconds.
TIMEOUT_SECONDS = 600.0


def call(module: str, path: str, folder: str, *, legacy: bool) -> None:
    """Have a module of this room carry out its work on a saved model.

    Args:
        folder: where it finds what it needs, and writes.
        legacy: whether `keras` is Keras 2 there.
    Raises:
        NotRebuiltError: what it raised, or how its process ended.
    """
    # the child finds the package where this process found it, installed or not
    environment = os.environ | {
        "TF_USE_LEGACY_KERAS": str(int(legacy)),
        "KERAS_BACKEND": "tensorflow",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    command = [sys.executable, "-m", __name__, module, os.path.abspath(path), folder]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NotRebuiltError(f"{path}: its Keras takes longer than {TIMEOUT_SECONDS:.0f} s") from error
    said = Path(folder) / "error.txt"
    if said.exists():
        raise NotRebuiltError(f"{path}: {said.read_text()}")
    if done.returncode:
        raise NotRebuiltError(f"{path}: its Keras, or the converter, broke off (status {done.returncode})")


def first_line(error: Exception) -> str:
    """What an error says, in a line of at most 300 characters, without the places in code that lead there."""
    _, _, said = str(error).rpartition(": error: ") if ": error: " in str(error) else ("", "", str(error))
    return " ".join(said.split())[:300] or type(error).__name__


def main(module: str, path: str, folder: str) -> None:
    """Carry out a module's work, or write FOLDER/error.txt."""
    try:
        importlib.import_module(f"{__package__}.{module}").carry_out(path, Path(folder))
    # whatever Keras and the converter raise is an answer to the one who asked
    except Exception as error:
        (Path(folder) / "error.txt").write_text(first_line(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
