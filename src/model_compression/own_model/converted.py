"""Forms of a model that cannot be rebuilt, but converted: quantized after training, never trained on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..data.datasets import Dataset, scale
from ..files import quantizing, running
from ..files.comparing import Answers, check_delegate, check_same
from ..files.conversion import REPRESENTATIVE_IMAGES
from ..files.graph import read_graph, read_model
from ..files.slimming import slim
from ..saved_models import files as keras_files
from ..saved_models.converting import ASKED, convert
from ..saved_models.converting import FORMS as CONVERTER_FORMS
from ..saved_models.fitting import ENDING_NOTES, check_outputs
from ..saved_models.graphs import NotRebuiltError, UnsupportedModelError
from ..saved_models.knowing import Output
from ..saved_models.ranges import Taken, choose
from ..saved_models.shapes import closed
from ..study.measuring import GUARD_IMAGES, answered, sizes
from ..study.outcomes import Outcome, Record
from ..study.recipes import Recipe
from .ends import asked_outputs, named

#: How far, relative to the largest, their answers may lie apart.
TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Source(Taken):
    """A float .tflite file, and how it takes a data set.

    Attributes:
        inputs: names in the data, in the file's order; of one input it does not matter.
        ready: forms that the converter itself has written.
    """

    content: bytes
    inputs: tuple[str, ...]
    outputs: tuple[Output, ...]
    ready: Mapping[str, bytes]

    def fed(self, data: Dataset) -> Dataset:
        """The data as the model, and its files, take them: float32 images."""
        return super().fed(_in_a_row(data, self.inputs))


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
        loaded = running.interpreter(content)
        (inputs, guess), (names, other) = (named(loaded, end, data) for end in ("inputs", "outputs"))
        guessed = tuple(filter(None, (guess, other)))
    else:
        guessed = ()
        content, inputs, names = _converted(path, data, reason)
        why = f"converted as it is, so that the methods that train are out of reach: {reason}"
    firsts = [data.inputs[name].x_train[0] for name in inputs if data.inputs]
    pixels = [np.full(first.size, first.dtype == np.uint8) for first in firsts]
    data = _in_a_row(data, inputs)
    shapes = [tuple(map(int, each["shape"][1:])) for each in running.allocated(content).get_input_details()]
    shape = closed(shapes[0], data.input_shape) if len(shapes) == 1 else data.input_shape
    outputs = asked_outputs(content, names, data)
    reconstructs = [
        check_outputs((each.columns.stop - each.columns.start,), shape, each.asked(data), ending=each.ending)
        for each in outputs
    ]
    try:
        taken = choose(
            lambda images: running.logits(content, images),
            data,
            shape,
            own=quantizing.reads_tokens(read_graph(content)),
            ends=outputs,
            reconstructs=reconstructs[0],
            pixels=np.concatenate(pixels) if pixels else None,
        )
    except RuntimeError as error:
        raise UnsupportedModelError(f"the model cannot take all of the inputs ({error})") from error
    endings = dict.fromkeys(ENDING_NOTES[each.ending] for each in outputs)
    notes = (why, *taken.notes, *endings, *_usage(content, inputs, outputs))
    shown = taken.range.fed(data.x_train[:REPRESENTATIVE_IMAGES])
    ready = {} if keras_files.is_tflite(path) or len(inputs) > 1 else _ready(path, shown, content)
    taken = replace(taken, notes=notes, warnings=(*guessed, *taken.warnings))
    return Source(content=content, inputs=inputs, outputs=outputs, ready=ready, **vars(taken))


def _usage(content: bytes, inputs: Sequence[str], outputs: Sequence[Output]) -> Iterator[str]:
    """What is to be known for feeding the files, a sentence each."""
    for what, order in (("inputs", inputs), ("outputs", [each.name for each in outputs])):
        if len(order) > 1:
            yield f"the files' {what} are, in this order: {', '.join(order)}"
    if any(operator.name.endswith("_LSTM") for operator in read_graph(content).operators):
        yield "its files remember: call interpreter.reset_all_variables() before each image"


def _converted(path: Path, data: Dataset, reason: str) -> tuple[bytes, tuple[str, ...], tuple[str, ...]]:
    """A saved model as a float file that gives the same answers, and the names of its inputs and outputs."""
    parts = data.inputs or {"": data}
    asked = {name: scale(part.x_val[:ASKED]) for name, part in parts.items()}
    try:
        found = convert(str(path), asked, ("float32",), legacy=keras_files.is_legacy(path))
    except NotRebuiltError as error:
        raise UnsupportedModelError(f"{reason}; nor can it be converted as it is ({error})") from error
    content = found.contents["float32"]
    row = _in_a_row(data, found.inputs).x_val[:ASKED]
    given = running.logits(content, scale(row))
    apart = float(np.max(np.abs(given - found.answers.reshape(given.shape))))
    if not apart <= TOLERANCE * max(1.0, float(np.max(np.abs(found.answers)))):
        raise UnsupportedModelError(f"{reason}; converted as it is, it gives other scores ({apart:.2g})")
    return content, found.inputs, found.outputs


def _in_a_row(data: Dataset, names: tuple[str, ...]) -> Dataset:
    """The numbers of several inputs in a row, (n, all of them), as `scale` gives them; one input as it is."""
    if not data.inputs:
        return data
    rows: dict[str, Any] = {}
    for split in ("x_train", "x_val", "x_test"):
        parts = [scale(getattr(data.inputs[name], split)) for name in names]
        rows[split] = np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
    outputs = {name: replace(part, **rows) for name, part in data.outputs.items()}
    return replace(data, inputs={}, outputs=outputs, **rows)


def _ready(path: Path, shown: np.ndarray, float32: bytes) -> Mapping[str, bytes]:
    """The forms that the converter itself writes; it leaves small kernels as they are, and so small files."""
    # calibrating a loop ends its process; a quantized input rounds tokens
    graph = read_graph(float32)
    unfit = any(operator.name == "WHILE" for operator in graph.operators) or quantizing.reads_tokens(graph)
    forms = [form for form in CONVERTER_FORMS[1:] if not (unfit and form == "int8")]
    try:
        written = convert(str(path), {"": shown}, forms, legacy=keras_files.is_legacy(path)).contents
    # what breaks the converter off may still be quantized as a file
    except NotRebuiltError:
        return {}
    return {form: content for form, content in written.items() if len(content) < len(float32)}


def outcome(source: Source, recipe: Recipe, data: Dataset, *, seed: int, key: str) -> Outcome:
    """The file of a recipe without training, and its record.

    Args:
        recipe: of "float32", "mixed_bits" or a form of `quantizing`. data: as the model takes them.
        seed, key: for the record; nothing is drawn.
    Raises:
        ValueError: a form that the model cannot have: why.
        CorruptFileError: a file that computes otherwise from one interpreter to the other.
    """
    content, form = source.content, recipe.export.form
    if form != "float32":
        shown = data.x_val if form == "mixed_bits" else data.x_train[:REPRESENTATIVE_IMAGES]
        if form == "float16" and form not in source.ready:
            raise ValueError("the converter writes no smaller file of the model in halves")
        content = source.ready.get(form) or quantizing.quantize(content, form, shown, one_image=True)
    converted_bytes, images = len(content), data.x_val[:GUARD_IMAGES]
    tasks = [each.asked(data).task for each in source.outputs]
    answers = Answers(content=content, images=images, task=tasks[0] if len(tasks) == 1 else "values")
    if form != "float32":
        check_delegate(answers, partial(running.logits, source.content, images))
    content = slim(content).content
    check_same(answers, content)

    def score(split: str, outputs: np.ndarray) -> float:
        parts = [(getattr(e.asked(data), f"y_{split}"), e.said(outputs, data)) for e in source.outputs]
        return float(np.mean([running.accuracy(*part) for part in parts]))

    scores = running.logits(content, data.x_test)
    record = Record(
        recipe=recipe.name,
        file=recipe.file_name,
        seed=seed,
        key=key,
        validation_accuracy=score("val", running.logits(content, data.x_val)),
        # the mean of several outputs
        accuracy=score("test", scores),
        converted_bytes=converted_bytes,
        **sizes(content, content),
    )
    predicted = source.outputs[0].said(scores, data) if len(source.outputs) == 1 else scores
    return Outcome(record=record, content=content, **answered(predicted, scores))


def parameters(content: bytes) -> int:
    """Floats that a float .tflite file holds."""
    tensors = (tensor for graph in read_model(content).graphs for tensor in graph.tensors)
    constants = (tensor.values for tensor in tensors if tensor.dtype == "float32")
    return sum(values.size for values in constants if values is not None)


def _check_float(content: bytes, path: Path) -> None:
    graph = read_graph(content)
    try:
        running.allocated(content)
    except RuntimeError as error:
        custom = sorted({op.name[7:] for op in graph.operators if op.name.startswith("CUSTOM ")})
        raise UnsupportedModelError(
            f"LiteRT cannot run {path} ({', '.join(custom) or error}); allowed are its own operators: "
            "converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS]"
        ) from error
    kinds = {tensor.dtype for tensor, _ in graph.kernels()}
    if running.io_details(content).input_scale or not kinds <= {"float32"}:
        raise UnsupportedModelError(
            f"{path} is quantized already ({', '.join(sorted(kinds))}); give the float model it was made from"
        )
