"""A saved model is read as nodes, by Keras 2 here or by Keras 3 in a process of its own.

What is built from the nodes has to answer what the file's own Keras answers.
"""

import contextlib
import functools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..quiet import quiet
from . import child, reader
from .building import to_keras
from .canonical import canonical
from .files import SAVE_AGAIN, check_config, digest, identify
from .graphs import Net, NotRebuiltError, UnsupportedModelError, changed, without

#: How far, relative to the largest, answers may lie apart that should be the same.
TOLERANCE = 1e-4
#: The same for a model in half precision, which is built in single precision here.
HALF_TOLERANCE = 2e-2


@functools.lru_cache(maxsize=4)
def _load(path: str, content: str) -> Net:
    version, config = identify(Path(path))
    if config:
        check_config(config, Path(path))
    if version.startswith("3"):
        read, answers = child.call(reader.read_file, path, legacy=False)
    else:
        with _told("Keras 2 cannot load it", f"; {SAVE_AGAIN}"):
            read, answers = reader.read_file(path)
    net = canonical(read)
    half = "mixed_float16" in json.dumps(config) or "bfloat16" in json.dumps(config)
    with _told("rebuilt, it does not run in Keras 2"):
        built = np.asarray(to_keras(net)(reader.probes(net.input_shape), training=False))
    error = float("inf")
    if built.shape == answers.shape:
        error = float(np.max(np.abs(built - answers)) / max(1.0, float(np.max(np.abs(answers)))))
    functions = sorted({node.activation for node in read.nodes})
    if not error <= (HALF_TOLERANCE if half else TOLERANCE):
        raise NotRebuiltError(
            f"{path}: rebuilt from its layers, the model gives other scores (error {error:.2g}): one of its "
            f"layers computes differently in Keras 2; its activations are {', '.join(functions)}; relu and "
            "relu6 are the same in both"
        )
    return without_ending(net)


@contextlib.contextmanager
def _told(what: str, remedy: str = "") -> Iterator[None]:
    """Work of Keras, which raises whatever comes up in its layers."""
    try:
        with quiet():
            yield
    except UnsupportedModelError:
        raise
    except Exception as error:
        raise NotRebuiltError(f"{what} ({child.first_line(error)}){remedy}") from error


def without_ending(net: Net) -> Net:
    """The net with unbounded scores, told which function made probabilities of them."""
    last = net.node(net.output)
    function = "softmax" if last.kind == "Softmax" else last.activation
    if function not in ("softmax", "sigmoid") or last.layer:
        return net
    net = replace(net, ending=function)
    if last.kind in ("Softmax", "Activation"):
        return without(net, last)
    return changed(net, replace(last, config={**last.config, "activation": "linear"}))


def load(path: str | Path) -> Net:
    """A saved model of Keras 2 (.keras, .h5, SavedModel) or Keras 3 (.keras, .h5).

    In canonical layers, nothing folded, with unbounded scores.
    Raises:
        UnsupportedModelError: no such model, or one that cannot be taken: why, and what to do.
    """
    return _load(str(path), digest(path))
