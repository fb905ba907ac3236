"""What a trained net and a recipe give: the file, guarded, and its record."""

from typing import Any

import numpy as np

from ..data.datasets import Dataset, scale
from ..files import coding, comparing, conversion, guard, running
from ..files.graph import account, read_model
from ..files.slimming import slim
from ..nets import training
from ..nets.keras2 import keras
from ..nets.layers import kernel_layers
from ..techniques.base import Kept, kept_after
from .outcomes import Outcome, Record
from .recipes import Recipe

#: Validation images that the guard asks both sides about.
GUARD_IMAGES = 2000


def export(
    recipe: Recipe, trained: keras.Model, net: keras.Model, data: Dataset, *, seed: int, key: str
) -> Outcome:
    """The file of a trained net, once the guard has passed it, with its record and its scores.

    Args:
        trained: the net after the recipe's steps. net: the float net that they started from.
        seed: of the training. key: of the record.
    Raises:
        CorruptFileError: the file does not compute what its net computes.
    """
    model = conversion.ordered(trained, recipe.export)
    aware = recipe.quantization_aware
    # ranges are those of training images, bits are chosen on validation images
    shown = data.x_val if recipe.export.form == "mixed_bits" else data.x_train
    representative = None if aware else scale(shown[: conversion.REPRESENTATIVE_IMAGES])
    converted = conversion.export(model, recipe.export, representative=representative)
    is_h5 = recipe.export.form == "h5"
    # what is made to be coded is laid out for it
    coded = recipe.export.form.startswith("packed")
    content = converted if is_h5 else slim(converted, coded=coded).content
    # a Keras file has no graph of its own to count: its float32 twin has the same weights
    float32 = conversion.ExportConfig(form="float32")
    twin = conversion.export(model, float32, representative=None) if is_h5 else content
    validation, kept = scale(data.x_val), kept_after(recipe.steps, kernel_layers(net))
    # kernels are compared as the converter writes them: the slimmer's want of what says nothing
    guarded, file = validation[:GUARD_IMAGES], twin if is_h5 else converted
    rule = rule_of(recipe, kept)
    answers = guard.check_file(file, net, rule, kept, images=guarded, trained=model, task=data.task)
    if not is_h5:
        comparing.check_same(answers, content)

    def scores(images: np.ndarray) -> np.ndarray:
        return training.outputs(model, images) if is_h5 else running.logits(content, images)

    def labels(outputs: np.ndarray) -> np.ndarray:
        if is_h5:
            return training.labels(model, outputs, task=data.task)
        return running.labels(content, outputs, task=data.task)

    found = scores(scale(data.x_test))
    predicted = labels(found)
    record = Record(
        recipe=recipe.name,
        file=recipe.file_name,
        seed=seed,
        key=key,
        validation_accuracy=running.accuracy(data.y_val, labels(scores(validation))),
        accuracy=running.accuracy(data.y_test, predicted),
        converted_bytes=len(converted),
        **sizes(content, twin),
    )
    return Outcome(record=record, content=content, **answered(predicted, found))


def answered(predicted: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
    """The fields of an outcome that hold what its file said of the test images; see `Outcome`."""
    if predicted.dtype.kind == "f":
        return {"predictions": predicted, "scores": scores}
    return {"predictions": predicted.astype(np.uint16), "scores": scores.astype(np.float16)}


def sizes(content: bytes, twin: bytes) -> dict[str, Any]:
    """The fields of a record that the file alone decides; the body of a loop counts once.

    Args:
        twin: a .tflite file with its weights, where it is none itself.
    """
    coder, coded = coding.best_coded(content)
    graphs = running.allocated_graph(twin), *read_model(twin).graphs[1:]
    layers = [layer for graph in graphs for layer in account(graph)]
    kernels = (tensor for graph in graphs for tensor, _ in graph.kernels())
    stored = [kernel.values for kernel in kernels if kernel.values is not None]
    return {
        "file_bytes": len(content),
        "zip_bytes": coding.zip_bytes(content),
        "best_coded_bytes": len(coded),
        "best_coder": coder,
        "entropy_bytes": sum(coding.entropy_bits(values) for values in stored) / 8,
        "nonzero_weights": sum(layer.nonzero for layer in layers),
        "weights": sum(layer.weights for layer in layers),
        "unique_values": max((len(np.unique(values)) for values in stored), default=0),
        "macs": sum(layer.macs for layer in layers),
        "dense_macs": sum(layer.dense_macs for layer in layers),
    }


def rule_of(recipe: Recipe, kept: Kept) -> guard.FormRule:
    """What the file of a recipe has to look like, whose steps promise `kept`."""
    form = "float32" if recipe.export.form == "h5" else recipe.export.form
    return guard.RULES["int4_qat" if kept.weight_bits == 4 else form]
