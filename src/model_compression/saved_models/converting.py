"""The second way in: a model that cannot be rebuilt is converted as it is, by its own Keras.

`python -m model_compression.saved_models.converting MODEL FOLDER` is that process. It converts for one image
a call, for which recurrent and attention layers become what every interpreter runs.
"""

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import child
from .graphs import UnsupportedModelError


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A float .tflite file of a model.

    Attributes:
        content: its bytes. answers: what the model itself gives for the images it was asked about, (n, ...).
    """

    content: bytes
    answers: np.ndarray


def convert(path: str, images: np.ndarray, *, legacy: bool) -> Converted:
    """A saved model as a float .tflite file for one image a call.

    Args:
        images: some inputs as the model takes them, (n, ...): what it answers, and what closes open sizes.
        legacy: whether Keras 2 saved it.
    Raises:
        UnsupportedModelError: its Keras, or the converter, cannot take it: why.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "images.npz", allow_pickle=False, images=images)
        child.call("converting", path, name, legacy=legacy)
        answers = np.load(folder / "answers.npy", allow_pickle=False)
        return Converted(content=(folder / "model.tflite").read_bytes(), answers=answers)


# In the process of its own


def _callable(path: str) -> tuple[Any, Any, list[tuple[tuple[int | None, ...], Any]]]:
    """What computes a saved model, what has to live as long, and shape and dtype of each of its inputs."""
    import tensorflow as tf

    if os.path.isdir(path) and not _has_layers(path):
        loaded = tf.saved_model.load(path)
        function = loaded.signatures["serving_default"]
        ends = function.structured_input_signature[1]
        shapes = [(tuple(spec.shape[1:]), spec.dtype) for spec in ends.values()]
        return lambda *given: function(**dict(zip(ends, given, strict=True))), loaded, shapes
    if os.environ.get("TF_USE_LEGACY_KERAS") == "1":
        import tf_keras as keras
    else:
        import keras  # type: ignore[no-redef]
    safe = {"safe_mode": True} if path.endswith(".keras") else {}
    model = keras.models.load_model(path, compile=False, **safe)
    shapes = [(tuple(tensor.shape[1:]), tf.as_dtype(tensor.dtype)) for tensor in model.inputs]

    def call(*given: Any) -> Any:
        return model(given[0] if len(given) == 1 else list(given), training=False)

    return call, model, shapes


def _has_layers(path: str) -> bool:
    import tf_keras

    try:
        return hasattr(tf_keras.models.load_model(path, compile=False), "inputs")
    # what it raises for a SavedModel without layers differs from version to version
    except Exception:
        return False


def _converted(path: str, images: np.ndarray) -> tuple[bytes, np.ndarray]:
    import tensorflow as tf

    call, holder, ends = _callable(path)
    if len(ends) != 1:
        raise UnsupportedModelError(f"the model has {len(ends)} inputs; allowed is one")
    ((shape, dtype),) = ends
    given = images.reshape(len(images), *(size or at for size, at in _zip(shape, images.shape[1:])))
    spec = tf.TensorSpec((1, *given.shape[1:]), dtype)

    def scores(batch: Any) -> Any:
        (output,) = tf.nest.flatten(call(batch))
        return output

    answers = [np.asarray(scores(tf.cast(image[None], dtype)))[0] for image in given]
    function = tf.function(scores, input_signature=[spec], autograph=False).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], holder)
    return converter.convert(), np.stack(answers)


def _zip(shape: tuple[int | None, ...], given: tuple[int, ...]) -> list[tuple[int | None, int]]:
    """Each of a model's sizes with that of the images; where they have other axes, the model's alone."""
    return [(size, given[k] if len(given) == len(shape) else 1) for k, size in enumerate(shape)]


def main(arguments: list[str]) -> int:
    """Write FOLDER/model.tflite and FOLDER/answers.npy for FOLDER/images.npz, or FOLDER/error.txt."""
    path, folder = arguments[0], Path(arguments[1])
    try:
        with np.load(folder / "images.npz", allow_pickle=False) as arrays:
            content, answers = _converted(path, arrays["images"])
        (folder / "model.tflite").write_bytes(content)
        np.save(folder / "answers.npy", answers)
    # whatever Keras and the converter raise is an answer to the one who asked
    except Exception as error:
        (folder / "error.txt").write_text(" ".join(str(error).split())[:300] or type(error).__name__)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
