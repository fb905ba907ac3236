"""What a file with a saved model is, told from its bytes, before Keras opens it.

Lambda layers, custom classes and subclassed models are refused here: nothing of a file is run as Python code.
"""

import functools
import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py

from ..nets.keras2 import keras
from .graphs import NotRebuiltError, UnsupportedModelError

SUFFIXES = (".keras", ".h5", ".hdf5")
SAVE_AGAIN = "save the whole model with model.save('model.keras'), or give a float .tflite file of it"

_NETS = ("Sequential", "Functional", "Model")
#: Wrappers of training, and the line that takes them off.
_WRAPPED = {
    "PruneLowMagnitude": "is pruned and still wrapped: model = "
    "tensorflow_model_optimization.sparsity.keras.strip_pruning(model), and save that",
    "ClusterWeights": "is clustered and still wrapped: model = "
    "tensorflow_model_optimization.clustering.keras.strip_clustering(model), and save that",
    "QuantizeLayer": "is a model of quantization-aware training, which holds its quantizers: give the float "
    "model that it was made from (quantization-aware training is one of the methods tried here)",
}
_WRAPPED |= dict.fromkeys(("QuantizeWrapperV2", "QuantizeWrapper"), _WRAPPED["QuantizeLayer"])
#: Layers that no method takes; a net with one is converted as it is.
_NOT_TAKEN = (
    "RNN", "LSTM", "GRU", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "Bidirectional",
    "TimeDistributed", "Embedding",
)  # fmt: skip


def is_path(net: str) -> bool:
    """Whether `net` can only be a path: it has a suffix of `SUFFIXES` or a separator, or it exists."""
    return net.lower().endswith(SUFFIXES) or os.sep in net or os.path.exists(net)


def is_tflite(path: Path) -> bool:
    """Whether a file is a .tflite file, by its bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(8)[4:] == b"TFL3"


def is_legacy(path: Path) -> bool:
    """Whether a saved model is to be opened by Keras 2, and not by Keras 3."""
    try:
        return not identify(path)[0].startswith("3")
    except NotRebuiltError:
        return True


@functools.lru_cache(maxsize=8)
def _digest(path: str, stamp: tuple[tuple[str, int, int], ...]) -> str:
    found = hashlib.sha256()
    for name, *_ in stamp:
        found.update(f"{Path(name).relative_to(path)}\n".encode())
        found.update(hashlib.sha256(Path(name).read_bytes()).digest())
    return found.hexdigest()


def digest(path: str | Path) -> str:
    """SHA-256 (hex) of a saved model's bytes, those of all its files for a SavedModel.

    Raises:
        UnsupportedModelError: there is no such file.
    """
    _check_exists(Path(path))
    files = sorted(file for file in (Path(path), *Path(path).rglob("*")) if file.is_file())
    stamp = tuple((str(f), status.st_size, status.st_mtime_ns) for f in files if (status := f.stat()))
    return _digest(str(path), stamp)


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise UnsupportedModelError(f"there is no file {path}; give the path of a saved Keras model")


def identify(path: Path) -> tuple[str, Mapping[str, Any]]:
    """The Keras version that wrote a file, and the config of its model ({} for a SavedModel).

    Raises:
        UnsupportedModelError: it is no saved Keras model, and what it is instead.
    """
    _check_exists(path)
    try:
        if path.is_dir():
            return _inspect_folder(path)
        if zipfile.is_zipfile(path):
            return _inspect_zip(path)
        if h5py.is_hdf5(path):
            return _inspect_hdf5(path)
        if is_tflite(path):
            raise UnsupportedModelError(f"{path} is a .tflite file, which holds no layers to train")
    except UnsupportedModelError:
        raise
    # all that zipfile, h5py, json and the file system raise for a damaged file
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise UnsupportedModelError(f"{path} cannot be read ({error}); {SAVE_AGAIN}") from error
    raise UnsupportedModelError(f"{path} is no saved Keras model; {SAVE_AGAIN}")


def _inspect_folder(path: Path) -> tuple[str, Mapping[str, Any]]:
    if not (path / "saved_model.pb").exists():
        raise UnsupportedModelError(f"{path} is a folder without a saved_model.pb; {SAVE_AGAIN}")
    if not (path / "keras_metadata.pb").exists():
        # written by TensorFlow before 2.5, or by model.export: whether it has layers is seen in opening it
        return "2 (SavedModel)", {}
    from tf_keras.protobuf import saved_metadata_pb2

    metadata = saved_metadata_pb2.SavedMetadata()
    try:
        metadata.ParseFromString((path / "keras_metadata.pb").read_bytes())
    except Exception as error:  # protobuf's DecodeError is not a public class
        raise UnsupportedModelError(f"{path} has a damaged keras_metadata.pb; {SAVE_AGAIN}") from error
    for node in metadata.nodes:
        described = json.loads(node.metadata)
        if node.node_path == "root":
            # nor is a subclassed model lost
            _check_is_net(
                described.get("class_name", ""), path, has_layers="config" in described, own=NotRebuiltError
            )
        elif node.identifier in ("_tf_keras_layer", "_tf_keras_input_layer"):
            # a SavedModel holds what its layers compute, those of one's own too
            _check_layer(described, own=NotRebuiltError)
    return "2 (SavedModel)", {}


def _inspect_zip(path: Path) -> tuple[str, Mapping[str, Any]]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if "config.json" not in names or "metadata.json" not in names:
            held = ", ".join(names[:3]) or "nothing"
            raise UnsupportedModelError(
                f"{path} is a zip archive without a Keras config (it holds {held}); {SAVE_AGAIN}"
            )
        version = json.loads(archive.read("metadata.json"))["keras_version"]
        return str(version), json.loads(archive.read("config.json"))


def _inspect_hdf5(path: Path) -> tuple[str, Mapping[str, Any]]:
    with h5py.File(path, "r") as file:
        if "model_config" not in file.attrs:
            raise UnsupportedModelError(
                f"{path} holds weights only, and no layers that they belong to; {SAVE_AGAIN}"
            )
        version = file.attrs.get("keras_version", b"2")
        config = file.attrs["model_config"]
    text, found = (value.decode() if isinstance(value, bytes) else str(value) for value in (config, version))
    if found.startswith("1."):
        raise UnsupportedModelError(
            f"{path} was saved by Keras {found}, whose layers take other arguments; load it in Keras 2.2, "
            "which reads both, and save it again with model.save('model.h5')"
        )
    return found, json.loads(text)


def check_config(config: Mapping[str, Any], path: Path) -> None:
    """Refuse what cannot be rebuilt from its config, before anything is loaded.

    Raises:
        NotRebuiltError: a net that Keras 2 cannot rebuild, but that may convert as it is.
        UnsupportedModelError: one that has to be saved in another way first.
    """
    inner = config.get("config")
    # a Sequential was a list of layers before Keras 2.2.3
    layers = inner if isinstance(inner, list) else inner.get("layers") if isinstance(inner, dict) else None
    _check_is_net(str(config.get("class_name")), path, has_layers=layers is not None)
    for layer in layers or ():
        inside = layer.get("config", {})
        if layer.get("class_name") in _NETS and (isinstance(inside, list) or "layers" in inside):
            check_config(layer, path)
        else:
            _check_layer(layer)


def _check_is_net(
    class_name: str, path: Path, *, has_layers: bool, own: type[UnsupportedModelError] = UnsupportedModelError
) -> None:
    if class_name not in _NETS or not has_layers:
        raise own(
            f"{path} is a subclassed model ({class_name}), which only its own Python code can rebuild; "
            "rebuild it with the functional API (keras.Model(inputs, outputs)) and save that, or save it "
            "with model.export(folder)"
        )


def _check_layer(
    layer: Mapping[str, Any], *, own: type[UnsupportedModelError] = UnsupportedModelError
) -> None:
    """Refuse a layer that cannot be rebuilt; one of the user's own Python code with `own`."""
    kind = str(layer.get("class_name", "")).rpartition(">")[2]
    name = layer.get("config", {}).get("name", "?")
    if kind in _WRAPPED:
        raise UnsupportedModelError(f"the model {_WRAPPED[kind]}")
    if kind == "Lambda":
        raise own(
            f"layer {name!r} (Lambda) holds Python code, which is not run; write it with layers of Keras "
            "(an axis is added by Reshape), or save the model with model.export(folder)"
        )
    if kind in _NOT_TAKEN:
        raise NotRebuiltError(f"no method takes layer {name!r} ({kind}) as it is trained")
    registered = layer.get("registered_name")
    module = str(layer.get("module") or "keras")
    custom = ">" in str(layer.get("class_name", "")) or (registered and registered != kind)
    # bare operators pass: `reader` makes layers of those it knows and names the others
    operation = kind in ("TFOpLambda", "SlicingOpLambda") or module.startswith("keras.src.ops")
    if custom or not module.startswith(("keras", "tf_keras")):
        raise own(
            f"layer {name!r} ({kind}) is a custom layer, whose Python code is not in the file; write it with "
            "layers of Keras and save the model again, or save it with model.export(folder)"
        )
    if not hasattr(keras.layers, kind) and not operation:
        raise NotRebuiltError(f"Keras 2 has no layer {name!r} ({kind}) that could be trained")
