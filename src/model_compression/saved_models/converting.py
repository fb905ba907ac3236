"""The second way in: a model that cannot be rebuilt is converted as it is, by its own Keras.

It is converted for one image a call, for which recurrent and attention layers become what every interpreter
runs.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import child
from .graphs import UnsupportedModelError
from .reader import load_model


@dataclass(frozen=True, kw_only=True)
class Converted:
    """.tflite files of a model.

    Attributes:
        contents: their bytes by form, of those that the converter could write.
        answers: what the model itself gives for the images it was asked about, (n, ...).
    """

    contents: Mapping[str, bytes]
    answers: np.ndarray


#: Forms that the converter writes of a model, and not of its float file: it knows recurrent layers as such.
FORMS = ("float32", "dynamic_range", "int8")


def convert(path: str, images: np.ndarray, forms: Sequence[str], *, legacy: bool) -> Converted:
    """A saved model as .tflite files for one image a call.

    Args:
        images: some inputs as the model takes them, float32 (n, ...): what it answers, what closes open
            sizes, and what shows an integer form the range of each activation.
        forms: of `FORMS`.
        legacy: whether Keras 2 saved it.
    Raises:
        NotRebuiltError: its Keras, or the converter, cannot take it: why.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "images.npz", allow_pickle=False, images=images, forms=np.array(list(forms)))
        child.call("converting", path, name, legacy=legacy)
        return Converted(
            contents={file.stem: file.read_bytes() for file in sorted(folder.glob("*.tflite"))},
            answers=np.load(folder / "answers.npy", allow_pickle=False),
        )


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
    model = load_model(path)
    shapes = [(tuple(tensor.shape[1:]), tf.as_dtype(tensor.dtype)) for tensor in model.inputs]

    def call(*given: Any) -> Any:
        return model(given[0] if len(given) == 1 else list(given), training=False)

    return call, model, shapes


def _has_layers(path: str) -> bool:
    try:
        return hasattr(load_model(path), "inputs")
    # what it raises for a SavedModel without layers differs from version to version
    except Exception:
        return False


def carry_out(path: str, folder: Path) -> None:
    """Write the forms and FOLDER/answers.npy for FOLDER/images.npz."""
    import tensorflow as tf

    with np.load(folder / "images.npz", allow_pickle=False) as arrays:
        images, forms = arrays["images"], arrays["forms"].tolist()
    call, holder, ends = _callable(path)
    if len(ends) != 1:
        raise UnsupportedModelError(f"the model has {len(ends)} inputs; allowed is one")
    ((shape, dtype),) = ends
    given = images.reshape(len(images), *(size or at for size, at in _zip(shape, images.shape[1:])))

    def scores(batch: Any) -> Any:
        (output,) = tf.nest.flatten(call(batch))
        return output

    answers = [np.asarray(scores(tf.cast(image[None], dtype)))[0] for image in given[:ASKED]]
    np.save(folder / "answers.npy", np.stack(answers))
    spec = tf.TensorSpec((1, *given.shape[1:]), dtype)
    function = tf.function(scores, input_signature=[spec], autograph=False).get_concrete_function()
    for form in forms:
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], holder)
        if form != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if form == "int8":
            converter.representative_dataset = lambda: ([image[None]] for image in given)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        try:
            (folder / f"{form}.tflite").write_bytes(converter.convert())
        # a form less, but the first is what all depends on
        except Exception:
            if form == "float32":
                raise


#: Images whose answers are compared.
ASKED = 32


def _zip(shape: tuple[int | None, ...], given: tuple[int, ...]) -> list[tuple[int | None, int]]:
    """Each of a model's sizes with that of the images; where they have other axes, the model's alone."""
    return [(size, given[k] if len(given) == len(shape) else 1) for k, size in enumerate(shape)]
