"""A user's own model: from a saved file to a float Keras 2 net with logits, which the methods can take.

The file is read as plain nodes (`graphs`), by Keras 2 here or by Keras 3 in a process of its own. What is
built from them has to answer what the file's own Keras answers.
"""

import functools
import inspect
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..data.datasets import Dataset, scale
from ..nets.keras2 import keras
from ..nets.layers import KERNEL_LAYERS, kernel_layers
from ..quiet import quiet
from . import graphs, reader
from .files import SAVE_AGAIN, check_config, digest, identify, is_path
from .graphs import Net, Node, UnsupportedModelError

__all__ = [
    "UnsupportedModelError",
    "UserModel",
    "digest",
    "fit_to",
    "fold_batch_norm",
    "is_path",
    "load",
    "to_keras",
]

#: How far, relative to the largest, answers may lie apart that should be the same.
TOLERANCE = 1e-4
#: The same for a model in half precision, which is built in single precision here.
HALF_TOLERANCE = 2e-2
#: How long Keras 3 may take over a file, in seconds.
TIMEOUT_SECONDS = 600.0
#: Images of the validation split that decide how pixels are scaled.
DECIDING_IMAGES = 2000


@dataclass(frozen=True, kw_only=True)
class UserModel:
    """A model as it was saved.

    Attributes:
        net: its nodes, nothing folded. keras_version: of the file.
        notes: what was found and changed, a sentence each.
    """

    path: Path
    net: Net
    keras_version: str
    notes: tuple[str, ...] = ()


# Loading


@functools.lru_cache(maxsize=4)
def _load(path: str, content: str) -> UserModel:
    version, config = identify(Path(path))
    if config:
        check_config(config, Path(path))
    if version.startswith("3"):
        net, answers = _read_keras_3(path)
    else:
        net, answers = _read_keras_2(path)
    half = "mixed_float16" in json.dumps(config) or "bfloat16" in json.dumps(config)
    with quiet():
        built = to_keras(net).predict(reader.probes(net.input_shape), verbose=0)
    error = _relative_error(built, answers)
    if not error <= (HALF_TOLERANCE if half else TOLERANCE):
        raise UnsupportedModelError(
            f"{path}: rebuilt from its layers, the model gives other scores (error {error:.2g}): one of its "
            "layers computes differently in Keras 2; " + _suspects(net)
        )
    net, notes = graphs.as_scores(net)
    return UserModel(path=Path(path), net=net, keras_version=version, notes=notes)


def _suspects(net: Net) -> str:
    functions = {str(node.config["activation"]) for node in net.nodes if "activation" in node.config}
    return (
        f"its activations are {', '.join(sorted(functions)) or 'none'}; relu and relu6 are the same in both"
    )


def _relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    if ours.shape != theirs.shape:
        return float("inf")
    return float(np.max(np.abs(ours - theirs)) / max(1.0, float(np.max(np.abs(theirs)))))


def load(path: str | Path) -> UserModel:
    """A saved model of Keras 2 (.keras, .h5, SavedModel) or Keras 3 (.keras, .h5).

    Raises:
        UnsupportedModelError: no such model, or one that cannot be taken: why, and what to do.
    """
    return _load(str(path), digest(path))


def _read_keras_2(path: str) -> tuple[Net, np.ndarray]:
    try:
        with quiet():
            safe = {"safe_mode": True} if path.endswith(".keras") else {}
            model = keras.models.load_model(path, compile=False, **safe)
            net = reader.read(model)
            return net, np.asarray(model.predict(reader.probes(net.input_shape), verbose=0))
    except UnsupportedModelError:
        raise
    # Keras raises whatever comes up in rebuilding its layers
    except Exception as error:
        raise UnsupportedModelError(
            f"{path}: Keras 2 cannot load it ({_first_line(error)}); {SAVE_AGAIN}"
        ) from error


def _read_keras_3(path: str) -> tuple[Net, np.ndarray]:
    """By Keras 3 in a process of its own."""
    # the child finds the package where this process found it, installed or not
    environment = os.environ | {
        "TF_USE_LEGACY_KERAS": "0",
        "KERAS_BACKEND": "tensorflow",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "model_compression.saved_models.reader", os.path.abspath(path), name]
        try:
            done = subprocess.run(
                command,
                env=environment,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UnsupportedModelError(
                f"{path}: Keras 3 takes longer than {TIMEOUT_SECONDS:.0f} s"
            ) from error
        if (folder / "error.txt").exists():
            raise UnsupportedModelError(f"{path}: {(folder / 'error.txt').read_text()}")
        if done.returncode or not (folder / "answers.npy").exists():
            said = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
            raise UnsupportedModelError(f"{path}: Keras 3 cannot load it ({said}); {SAVE_AGAIN}")
        answers = np.load(folder / "answers.npy", allow_pickle=False)
        return graphs.unpack((folder / "net.npz").read_bytes()), answers


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


# Building


def to_keras(net: Net, input_shape: tuple[int, ...] | None = None) -> keras.Model:
    """A functional model of Keras 2 with the net's weights.

    Layers with weights that no method takes (a batch normalization that stands alone, a PReLU) are frozen.

    Args:
        input_shape: one image's, where the net's is open; None for the net's own.
    Raises:
        UnsupportedModelError: a layer that Keras 2 does not build.
    """
    image = keras.Input(input_shape or net.input_shape, name=net.input)
    tensors = {net.input: image}
    weights: dict[str, tuple[np.ndarray, ...]] = {}
    for node in net.nodes:
        if node.kind in ("Rescaling", graphs.AFFINE) and not node.config:
            layer = keras.layers.Rescaling(*(float(array[0]) for array in node.weights), name=node.name)
        else:
            layer = _layer(node)
            weights[node.name] = node.weights
        sources = [tensors[name] for name in node.inputs]
        try:
            tensors[node.name] = layer(sources[0] if len(sources) == 1 else sources)
        except (ValueError, TypeError) as error:
            raise _cannot_build(node, error) from error
    model = keras.Model(image, tensors[net.output])
    for name, arrays in weights.items():
        layer = model.get_layer(name)
        try:
            layer.set_weights(_as_keras_2(layer, arrays))
        except ValueError as error:
            raise UnsupportedModelError(f"{name}: its weights do not fit Keras 2 ({error})") from error
        if arrays and not isinstance(layer, KERNEL_LAYERS):
            layer.trainable = False
    return model


def _as_keras_2(layer: keras.layers.Layer, arrays: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    if isinstance(layer, keras.layers.Normalization):
        return []
    return list(arrays)


def _layer(node: Node) -> keras.layers.Layer:
    kind = getattr(keras.layers, node.kind, None)
    if kind is None:
        raise UnsupportedModelError(
            f"layer {node.name!r} ({node.kind}) is not in Keras 2; write it with layers that Keras 2 has"
        )
    config = dict(node.config)
    if node.kind == "LeakyReLU" and "negative_slope" in config:
        config["alpha"] = config.pop("negative_slope")
    if node.kind == "Normalization" and node.weights:
        config |= {"mean": node.weights[0], "variance": node.weights[1]}
    known = _arguments(kind)
    config = {key: value for key, value in config.items() if key in known}
    try:
        return kind(name=node.name, **config)
    except (ValueError, TypeError, ImportError, AttributeError) as error:
        raise _cannot_build(node, error) from error


def _cannot_build(node: Node, error: Exception) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"layer {node.name!r} ({node.kind}) cannot be built in Keras 2 ({_first_line(error)})"
    )


@functools.cache
def _arguments(kind: type) -> frozenset[str]:
    """The names that a layer's constructor takes, those of the classes it builds on included."""

    def names() -> Iterator[str]:
        for each in kind.__mro__:
            if "__init__" in vars(each):
                yield from inspect.signature(vars(each)["__init__"]).parameters

    return frozenset(names()) - {"self", "args", "kwargs"}


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """The same function with batch normalization, Rescaling and Normalization folded into the kernels.

    Exact up to the rounding of float32; see `graphs.fold`. `model` stays as it was.

    Raises:
        UnsupportedModelError: a model that `load` would not take either.
    """
    return to_keras(graphs.fold(reader.read(model)))


# Fitting a model to data


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A model that takes images as `data.scale` gives them.

    Attributes:
        net: everything folded, logits at the end. notes: what was decided, a sentence each.
        validation_accuracy: on the images that decided, a fraction.
    """

    net: Net
    notes: tuple[str, ...]
    validation_accuracy: float


def pack(fitted: Fitted) -> bytes:
    """An .npz file; `unpack` reads it."""
    file = io.BytesIO()
    said = {"notes": fitted.notes, "validation_accuracy": fitted.validation_accuracy}
    np.savez(
        file,
        allow_pickle=False,
        net=np.frombuffer(graphs.pack(fitted.net), np.uint8),
        said=np.frombuffer(json.dumps(said).encode(), np.uint8),
    )
    return file.getvalue()


def unpack(content: bytes) -> Fitted:
    """What `pack` wrote."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        net, said = graphs.unpack(arrays["net"].tobytes()), json.loads(arrays["said"].tobytes())
    return Fitted(net=net, notes=tuple(said["notes"]), validation_accuracy=said["validation_accuracy"])


#: What a model may have been trained on, as (scale, offset) of pixels from 0 to 1.
_PIXELS = {
    "pixels from 0 to 1": (1.0, 0.0),
    "pixels from 0 to 255": (255.0, 0.0),
    "pixels from -1 to 1": (2.0, -1.0),
}


def fit_to(model: UserModel, data: Dataset) -> Fitted:
    """The model with the preprocessing that its data need, read from both.

    uint8 images are divided by 255 for every net. A model that begins with its own Rescaling or Normalization
    gets its pixels from 0 to 255 back by a factor that is folded into its first kernel; without one, the
    model gets what it scores best on (validation images; 0 to 1 where equal). Floats go in as they are.

    Raises:
        UnsupportedModelError: images or classes that do not fit the model.
    """
    net, notes = _shaped(model.net, data.input_shape), list(model.notes)
    classes = net.output_shape[0]
    if classes != data.classes:
        raise UnsupportedModelError(
            f"the model gives {classes} scores and the data have {data.classes} classes "
            f"(labels 0 to {data.classes - 1}); allowed is one score a class"
        )
    images, labels = data.x_val[:DECIDING_IMAGES], data.y_val[:DECIDING_IMAGES]
    choices = {"floats as they are": (1.0, 0.0)}
    if data.x_train.dtype == np.uint8:
        own = _own_scaling(net)
        choices = {"pixels from 0 to 255": _PIXELS["pixels from 0 to 255"]} if own else _PIXELS
        if own:
            notes.append(f"the model scales pixels itself ({own}), so it gets them from 0 to 255")
    scored = {}
    for name, (factor, offset) in choices.items():
        built = graphs.fold(_scaled(net, factor, offset))
        with quiet():
            answers = to_keras(built, data.input_shape).predict(scale(images), batch_size=500, verbose=0)
        scored[name] = (float(np.mean(answers.argmax(axis=-1) == labels)), built)
    best = max(scored, key=lambda name: scored[name][0])
    accuracy, built = scored[best]
    if len(choices) > 1:
        others = ", ".join(f"{name}: {100 * value:.1f} %" for name, (value, _) in scored.items())
        notes.append(f"the model takes {best}, on which it scores best on validation images ({others})")
    if accuracy < 2 / data.classes:
        notes.append(
            f"it scores only {100 * accuracy:.1f} % on validation images: was it trained on other labels or "
            "on images prepared in another way?"
        )
    return Fitted(net=built, notes=tuple(notes), validation_accuracy=accuracy)


def _own_scaling(net: Net) -> str:
    """The first layer that computes, where it is one that scales pixels; else empty."""
    for node in net.nodes:
        if node.kind in ("Rescaling", "Normalization"):
            return node.kind
        if node.kind not in ("Reshape", "Permute", "ZeroPadding2D", "Identity", "Cropping2D"):
            return ""
    return ""


def _scaled(net: Net, factor: float, offset: float) -> Net:
    if (factor, offset) == (1.0, 0.0):
        return net
    shape = net.input_shape
    return graphs.prepend(net, lambda name: graphs.affine("pixels", name, factor, offset, shape))


def _shaped(net: Net, shape: tuple[int, ...]) -> Net:
    """The net for images of `shape`, a Reshape in front where only the axes differ.

    Raises:
        UnsupportedModelError: other images.
    """
    wanted = net.input_shape
    if len(wanted) == len(shape) and all(w in (None, s) for w, s in zip(wanted, shape, strict=True)):
        return replace(net, input_shape=shape)
    if None in wanted and len(wanted) == 3 and len(shape) == 2 and wanted[2] == 1:
        wanted = (*shape, 1)  # an open size takes the image's
    sizes = [size for size in wanted if size is not None]
    same = len(sizes) == len(wanted) and np.prod(sizes) == np.prod(shape)
    if not same or not (len(wanted) == 1 or _squeezed(tuple(sizes)) == _squeezed(shape)):
        expected = " x ".join("any" if size is None else str(size) for size in net.input_shape)
        raise UnsupportedModelError(
            f"the model takes images {expected} and the data hold {' x '.join(map(str, shape))}; "
            "allowed is the same shape, but for a last axis of 1"
        )
    config = {"target_shape": list(sizes)}

    def reshape(name: str) -> Node:
        return Node(name="axes", kind="Reshape", config=config, inputs=(name,), shape=tuple(sizes))

    return graphs.prepend(replace(net, input_shape=shape), reshape)


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:-1] if shape[-1] == 1 else shape


def frozen_layers(model: keras.Model) -> list[str]:
    """The layers with weights that no method takes, by name."""
    known = {layer.name for layer in kernel_layers(model)}
    return [layer.name for layer in model.layers if layer.weights and layer.name not in known]
