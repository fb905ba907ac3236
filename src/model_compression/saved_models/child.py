"""Work on a saved model by its own Keras, in a process of its own: two Keras cannot share one."""

import os
import subprocess
import sys
from pathlib import Path

from .graphs import NotRebuiltError

#: How long a process may take over a file, in seconds.
TIMEOUT_SECONDS = 600.0


def call(module: str, path: str, folder: str, *, legacy: bool) -> None:
    """Run `python -m model_compression.saved_models.MODULE PATH FOLDER`, which writes into the folder.

    Args:
        legacy: whether `keras` is Keras 2 there.
    Raises:
        NotRebuiltError: what the process wrote into FOLDER/error.txt, or how it ended.
    """
    # the child finds the package where this process found it, installed or not
    environment = os.environ | {
        "TF_USE_LEGACY_KERAS": str(int(legacy)),
        "KERAS_BACKEND": "tensorflow",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    command = [
        sys.executable,
        "-m",
        f"model_compression.saved_models.{module}",
        os.path.abspath(path),
        folder,
    ]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NotRebuiltError(f"{path}: its Keras takes longer than {TIMEOUT_SECONDS:.0f} s") from error
    said = Path(folder) / "error.txt"
    if said.exists():
        raise NotRebuiltError(f"{path}: {said.read_text()}")
    if done.returncode:
        raise NotRebuiltError(f"{path}: its Keras, or the converter, broke off (status {done.returncode})")
