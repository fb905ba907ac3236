"""Forms of a model that cannot be rebuilt, but converted: quantized after training, never trained on."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.datasets import Dataset, scale
from ..files import quantizing, running
from ..files.conversion import REPRESENTATIVE_IMAGES
from ..files.graph import read_graph
from ..files.guard import check_delegate
from ..files.slimming import slim
from ..runtimes.deployment import BASELINE
from ..saved_models import files as keras_files
from ..saved_models.converting import ASKED, convert
from ..saved_models.converting import FORMS as CONVERTER_FORMS
from ..saved_models.fitting import ENDING_NOTES
from ..saved_models.graphs import NotRebuiltError, UnsupportedModelError
from ..saved_models.ranges import Range, choose, with_images
from ..store import make_key
from ..study.measuring import GUARD_IMAGES, sizes
from ..study.outcomes import Outcome, Record

#: How far, relative to the largest, their answers may lie apart.
TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Source:
    """A float .tflite file, and how it takes a data set.

    Attributes:
        ready: forms that the converter itself has written. notes: what was decided, a sentence each.
        accuracy: on the validation images that decided, a fraction.
    """

    content: bytes
    ready: Mapping[str, bytes]
    range: Range
    notes: tuple[str, ...]
    accuracy: float


def source(path: Path, data: Dataset, reason: str = "") -> Source:
    """A saved model, or a float .tflite file, as a float .tflite file.

    Args:
        reason: why the model cannot be rebuilt; empty for a .tflite file.
    Raises:
        UnsupportedModelError: it cannot be converted, or computes something else once it is.
    """
    if keras_files.is_tflite(path):
        content = path.read_bytes()
        _check_float(content, path)
        why = "a .tflite file holds no layers to train: the methods that train are out of reach"
    else:
        asked = scale(data.x_val[:ASKED])
        try:
            found = convert(str(path), asked, ("float32",), legacy=keras_files.is_legacy(path))
        except NotRebuiltError as error:
            raise UnsupportedModelError(f"{reason}; nor can it be converted as it is ({error})") from error
        content = found.contents["float32"]
        given = running.logits(content, asked)
        apart = float(np.max(np.abs(given - found.answers.reshape(given.shape))))
        if not apart <= TOLERANCE * max(1.0, float(np.max(np.abs(found.answers)))):
            raise UnsupportedModelError(f"{reason}; converted as it is, it gives other scores ({apart:.2g})")
        why = f"converted as it is, so that the methods that train are out of reach: {reason}"
    shape = _input_shape(content, data.input_shape)
    _check_outputs(content, data)
    ending = _ending(content)
    chosen = choose(
        lambda images: running.logits(content, images),
        data,
        shape,
        own="",
        probabilities=ending != "linear",
    )
    notes = (why, *chosen.notes, ENDING_NOTES[ending])
    if any(operator.name.endswith("_LSTM") for operator in read_graph(content).operators):
        notes += ("its files remember: call interpreter.reset_all_variables() before each image",)
    shown = chosen.range.fed(data.x_train[:REPRESENTATIVE_IMAGES])
    ready = {} if keras_files.is_tflite(path) else _ready(path, shown, len(content))
    return Source(content=content, ready=ready, range=chosen.range, notes=notes, accuracy=chosen.accuracy)


def _ready(path: Path, shown: np.ndarray, most_bytes: int) -> Mapping[str, bytes]:
    """The forms that the converter itself writes; it leaves small kernels as they are, and so small files."""
    try:
        written = convert(str(path), shown, CONVERTER_FORMS[1:], legacy=keras_files.is_legacy(path)).contents
    # what breaks the converter off may still be quantized as a file
    except NotRebuiltError:
        return {}
    return {form: content for form, content in written.items() if len(content) < most_bytes}


#: The forms by name, the float file first.
FORMS = (BASELINE, *quantizing.FORMS, "mixed_bits")


def fed(source: Source, data: Dataset) -> Dataset:
    """The data as the model, and its files, take them: float32 images."""
    return with_images(data, source.range.fed)


def outcome(source: Source, form: str, data: Dataset, *, seed: int) -> Outcome:
    """A form's file and record.

    Args:
        form: of `FORMS`. data: as the model takes them. seed: for the record; nothing is drawn.
    Raises:
        ValueError: a form that the model cannot have: why.
        CorruptFileError: a file that computes otherwise from one interpreter to the other.
    """
    content = source.content
    if form != BASELINE:
        shown = data.x_val if form == "mixed_bits" else data.x_train[:REPRESENTATIVE_IMAGES]
        content = source.ready.get(form) or quantizing.quantize(content, form, shown, one_image=True)
        check_delegate(content, data.x_val[:GUARD_IMAGES])
    converted_bytes = len(content)
    content = slim(content).content
    scores = running.logits(content, data.x_test)
    predicted = running.labels(content, scores)
    record = Record(
        recipe=form,
        file=f"{form}.tflite",
        seed=seed,
        key=make_key(source=hashlib.sha256(source.content).hexdigest(), form=form),
        validation_accuracy=running.accuracy(data.y_val, running.predict(content, data.x_val)),
        accuracy=running.accuracy(data.y_test, predicted),
        converted_bytes=converted_bytes,
        **sizes(content, running.allocated_graph(content)),
    )
    return Outcome(
        record=record,
        content=content,
        predictions=predicted.astype(np.uint16),
        scores=scores.astype(np.float16),
    )


def parameters(content: bytes) -> int:
    """Floats that a float .tflite file holds."""
    constants = (t.values for t in read_graph(content).tensors if t.dtype == "float32")
    return sum(values.size for values in constants if values is not None)


def _check_float(content: bytes, path: Path) -> None:
    graph = read_graph(content)
    kinds = {tensor.dtype for tensor, _ in graph.kernels()}
    if running.io_details(content).input_scale or not kinds <= {"float32"}:
        raise UnsupportedModelError(
            f"{path} is quantized already ({', '.join(sorted(kinds))}); give the float model it was made from"
        )


def _check_outputs(content: bytes, data: Dataset) -> None:
    outputs = running.logits(content, data.x_val[:1].astype(np.float32)).shape[-1]
    if max(outputs, 2) != data.classes:
        raise UnsupportedModelError(
            f"the model gives {outputs} scores and the data have {data.classes} classes "
            f"(labels 0 to {data.classes - 1}); allowed is one score a class"
        )


def _input_shape(content: bytes, given: tuple[int, ...]) -> tuple[int, ...]:
    shape = tuple(map(int, running.interpreter(content).get_input_details()[0]["shape"][1:]))
    if np.prod(shape) != np.prod(given):
        sizes = " x ".join(map(str, shape)), " x ".join(map(str, given))
        raise UnsupportedModelError(f"the model takes images {sizes[0]} and the data hold {sizes[1]}")
    return shape


def _ending(content: bytes) -> str:
    return {"SOFTMAX": "softmax", "LOGISTIC": "sigmoid"}.get(running.last_operator(content), "linear")
