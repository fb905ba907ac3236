"""The second way in: a model that cannot be rebuilt is converted as it is, by its own Keras.

It is converted for one image a call, for which recurrent and attention layers become what every interpreter
runs.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
        inputs, outputs: names of the model's, in the order of the float file; empty where that was not asked.
        answers: what the model itself gives for the images it was asked about, (n, numbers): the outputs in a
            row, in that order.
    """

    contents: Mapping[str, bytes]
    answers: np.ndarray
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


#: Forms that the converter writes of a model, and not of its float file: it knows recurrent layers as such.
FORMS = ("float32", "dynamic_range", "float16", "int8")


def convert(path: str, images: Mapping[str, np.ndarray], forms: Sequence[str], *, legacy: bool) -> Converted:
    """A saved model as .tflite files for one image a call.

    Args:
        images: by the name of each input ("" for the only one) some as the model takes them, float32
            (n, ...): what it answers, what closes open sizes, and what shows an integer form the range of
            activations.
        forms: of `FORMS`.
        legacy: whether Keras 2 saved it.
    Raises:
        NotRebuiltError: its Keras, or the converter, cannot take it: why.
    """
    found: Converted = child.call(_convert, path, images, forms, legacy=legacy)
    return found


# In the process of its own


@dataclass(frozen=True, kw_only=True)
class _Model:
    """A loaded model.

    Attributes:
        call: gives the outputs for the inputs. holder: what has to live as long.
        inputs: shape and dtype by name, in the order of the call. outputs: names; empty where they are told
            by what the call gives.
    """

    call: Callable[..., Any]
    holder: Any
    inputs: Mapping[str, tuple[tuple[int | None, ...], Any]]
    outputs: Sequence[str]


def _load(path: str) -> _Model:
    import tensorflow as tf

    if os.path.isdir(path):
        # not by Keras, which would run a Lambda's Python code
        loaded = tf.saved_model.load(path)
        if "serving_default" not in loaded.signatures:
            held = ", ".join(loaded.signatures) or "none"
            raise UnsupportedModelError(f"it has the signatures: {held}; allowed: one named serving_default")
        function = loaded.signatures["serving_default"]
        ends = function.structured_input_signature[1]
        return _Model(
            call=lambda *given: function(**dict(zip(ends, given, strict=True))),
            holder=loaded,
            inputs={name: (tuple(spec.shape[1:]), spec.dtype) for name, spec in ends.items()},
            outputs=sorted(function.structured_outputs),
        )
    model = load_model(path)
    return _Model(
        call=lambda *given: model(given[0] if len(given) == 1 else list(given), training=False),
        # the weights of Keras 3 would stay variables, which an interpreter has no values for
        holder=model if os.environ.get("TF_USE_LEGACY_KERAS") == "1" else None,
        inputs={
            str(tensor.name).partition(":")[0]: (tuple(tensor.shape[1:]), tf.as_dtype(tensor.dtype))
            for tensor in model.inputs
        },
        outputs=list(getattr(model, "output_names", ("output",))),
    )


def _convert(path: str, images: Mapping[str, np.ndarray], forms: Sequence[str]) -> Converted:
    import tensorflow as tf

    model, contents = _load(path), {}
    given = _given(model, images)
    kinds = [dtype for _, dtype in model.inputs.values()]

    def scores(*batch: Any) -> list[Any]:
        return tf.nest.flatten(model.call(*batch))

    def one(image: int) -> list[Any]:
        return [tf.cast(array[image : image + 1], kind) for array, kind in zip(given, kinds, strict=True)]

    specs = [
        tf.TensorSpec((1, *array.shape[1:]), kind, name=f"input_{k}")
        for k, (array, kind) in enumerate(zip(given, kinds, strict=True))
    ]
    function = tf.function(scores, input_signature=specs, autograph=False).get_concrete_function()
    for form in forms:
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model.holder)
        if form != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if form == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if form == "int8":
            converter.representative_dataset = lambda: (one(image) for image in range(len(given[0])))
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        try:
            contents[form] = converter.convert()
        # a form less, but the first is what all depends on
        except Exception:
            if form == "float32":
                raise
    if "float32" not in forms:
        return Converted(contents=contents, answers=np.empty((0, 0)), inputs=(), outputs=())
    answers = [scores(*one(image)) for image in range(min(ASKED, len(given[0])))]
    inputs, outputs = _order(contents["float32"])
    return Converted(
        contents=contents,
        answers=np.stack([np.concatenate([np.ravel(each[k]) for k in outputs]) for each in answers]),
        inputs=tuple(list(model.inputs)[k] for k in inputs),
        outputs=tuple(model.outputs[k] for k in outputs),
    )


def _order(content: bytes) -> list[list[int]]:
    """Which of the model's inputs, and of its outputs, stands where in the file.

    The converter has its own order, of which the signature tells; without one it keeps the given one.
    """
    import tensorflow as tf

    interpreter, found = tf.lite.Interpreter(model_content=content), []
    runner = interpreter.get_signature_runner() if interpreter.get_signature_list() else None
    for end in ("input", "output"):
        places = [each["index"] for each in getattr(interpreter, f"get_{end}_details")()]
        order = np.arange(len(places))
        if runner:
            named = getattr(runner, f"get_{end}_details")()
            given = [named[f"{end}_{k}"]["index"] for k in order]
            # one tensor may be two outputs
            order[np.argsort(places, kind="stable")] = np.argsort(given, kind="stable")
        found.append([int(k) for k in order])
    return found


def _given(model: _Model, images: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The arrays in the order of the model's inputs, in its shape; where a size is open, in theirs.

    Raises:
        UnsupportedModelError: other names than the model's, or another number.
    """
    names = list(model.inputs)
    if len(images) == len(names) == 1:
        images = {names[0]: next(iter(images.values()))}
    if set(images) != set(names):
        wanted = ", ".join(f"x_train_{name}" for name in names) if len(names) > 1 else "x_train"
        raise UnsupportedModelError(
            f"the model has {len(names)} input{'s' * (len(names) > 1)}: allowed are arrays named {wanted}, "
            "and so for x_test"
        )
    shaped = []
    for name, (shape, _) in model.inputs.items():
        array = images[name]
        sizes = array.shape[1:] if array.ndim == len(shape) + 1 else [1] * len(shape)
        shaped.append(array.reshape(len(array), *(size or at for size, at in zip(shape, sizes, strict=True))))
    return shaped


#: Images whose answers are compared.
ASKED = 32
