"""What the command makes of a model, beside what converters make: `make own-models`.

A row a model, kept as soon as it is there: an interrupted table goes on where it stopped. Each tool's file is
the smallest that loses at most `MAX_DROP` on validation images, as it is and coded; the test images are
scored once.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from model_compression.data.datasets import Dataset, scale
from model_compression.evidence.style import BLUE, GREEN, GREY, ORANGE, STYLE, WIDTH
from model_compression.evidence.tables import save_csv, save_figure
from model_compression.files import coding, conversion, quantizing, running
from model_compression.nets.keras2 import keras
from model_compression.nets.training import TrainConfig, fit
from model_compression.own_model.command import run
from model_compression.own_model.request import Request
from model_compression.runtimes.deployment import processor
from model_compression.runtimes.smallest import Candidate, Limits, Objective, smallest
from model_compression.study.experiment import Bench
from model_compression.study.recipes import Recipe, Step

MAX_DROP = 0.005
#: Training of the float models: as the pairs of the study, and shorter for the own models, those that take
#: long on fewer images.
TRAIN = TrainConfig(epochs=6, learning_rate=5e-3)
OWN_TRAIN = TrainConfig(epochs=4, learning_rate=2e-3)
OWN_IMAGES = {"fashion_mnist-mobilenet_v2": 10_000}
TOOLS = {
    "converter": "TFLiteConverter, int8",
    "trained": "the same, trained as long as the command's",
    "quantizer": "litert-quantizer, best",
    "command": "this command",
}

OBJECTIVES: tuple[Objective, ...] = ("flash", "download")
#: In place of a form, where a tool has no file that loses so little.
NONE = "none within the limit"

layers = keras.layers
Build: TypeAlias = Callable[[tuple[int, ...], int], keras.Model]


def _mobilenet(shape: tuple[int, ...], classes: int) -> keras.Model:
    image = keras.Input(shape)
    padded = layers.ZeroPadding2D(2)(layers.Reshape((*shape[:2], 1))(image))
    body = keras.applications.MobileNetV2(
        input_tensor=padded, alpha=0.35, weights=None, include_top=False, pooling="avg"
    )
    return keras.Model(image, layers.Dense(classes)(body.output))


def _residual(shape: tuple[int, ...], classes: int) -> keras.Model:
    def normal(x: Any, width: int, stride: int = 1) -> Any:
        x = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    image = keras.Input(shape)
    x = layers.ReLU()(normal(layers.Reshape((*shape[:2], 1))(image), 16, 2))
    for _ in range(2):
        x = layers.ReLU()(layers.Add()([x, normal(layers.ReLU()(normal(x, 16)), 16)]))
    return keras.Model(image, layers.Dense(classes)(layers.GlobalAveragePooling2D()(x)))


def _signal(shape: tuple[int, ...], classes: int) -> keras.Model:
    image = keras.Input(shape)
    x = layers.Reshape((shape[0], 1))(image)
    for width in (16, 32):
        x = layers.ReLU()(layers.BatchNormalization()(layers.SeparableConv1D(width, 5)(x)))
        x = layers.MaxPooling1D()(x)
    return keras.Model(image, layers.Dense(classes)(layers.Flatten()(x)))


#: By name: the data set, and a net of the study or what builds a model of its own.
MODELS: Mapping[str, tuple[str, str | Build]] = {
    "mnist1d-cnn_1d": ("mnist1d", "cnn_1d"),
    "mnist-baseline": ("mnist", "baseline"),
    "fashion_mnist-baseline": ("fashion_mnist", "baseline"),
    "fashion_mnist-ds_cnn": ("fashion_mnist", "ds_cnn"),
    "fashion_mnist-resnet_8": ("fashion_mnist", "resnet_8"),
    "mnist1d-separable": ("mnist1d", _signal),
    "fashion_mnist-residual": ("fashion_mnist", _residual),
    "fashion_mnist-mobilenet_v2": ("fashion_mnist", _mobilenet),
}


def trained(name: str, bench: Bench) -> keras.Model:
    """The float model of a row."""
    _, net = MODELS[name]
    if isinstance(net, str):
        return bench.trained(net, (Step(train=TRAIN),), 0, lambda key, title, done: None)
    data = bench.data
    keras.utils.set_random_seed(0)
    model = net(data.input_shape, data.classes)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.9  # of the few hundred steps of this training, not of many thousands
    data = data.take(OWN_IMAGES.get(name))
    fit(model, scale(data.x_train), data.y_train, OWN_TRAIN, seed=0, progress=lambda done: None)
    return model


def _candidate(name: str, content: bytes, data: Dataset, float_accuracy: float) -> Candidate:
    return Candidate(
        name=name,
        validation_accuracy=running.accuracy(data.y_val, running.predict(content, scale(data.x_val))),
        baseline_accuracy=float_accuracy,
        flash_bytes=len(content),
        coded_bytes=len(coding.best_coded(content)[1]),
    )


def converters(model: keras.Model, data: Dataset) -> dict[str, dict[str, bytes]]:
    """The files of the other tools, by tool and form, as those write them."""
    shown = scale(data.x_train[: conversion.REPRESENTATIVE_IMAGES])
    content, int8 = (
        conversion.export(model, conversion.ExportConfig(form=form), representative=shown)
        for form in ("float32", "int8")
    )
    quantized = {}
    for form in quantizing.FORMS:
        try:
            quantized[form] = quantizing.quantize(content, form, shown)
        # the tool raises whatever comes up: a form less
        except Exception as error:
            print(f"{form}: {error}")
    return {"float": {"float": content}, "converter": {"int8": int8}, "quantizer": quantized}


def as_long(recipe: Recipe, bench: Bench, model: keras.Model) -> bytes:
    """TFLiteConverter's int8 file of the float model after the recipe's training, without techniques."""
    steps, data = recipe.control_steps(), bench.data
    if steps:
        model = bench.as_file(recipe.net, bench.trained(recipe.net, steps, 0, lambda *progress: None))
    shown = scale(data.x_train[: conversion.REPRESENTATIVE_IMAGES])
    return conversion.export(model, conversion.ExportConfig(form="int8"), representative=shown)


def row(name: str, bench: Bench, folder: Path, *, minutes: float, workers: int | None) -> dict[str, object]:
    """One model: each tool's smallest file, in flash and coded, and its accuracy on the test images."""
    model, data = trained(name, bench), bench.data
    path = folder / f"{name}.keras"
    model.save(path)
    files = converters(model, data)
    accurate = running.accuracy(data.y_val, running.predict(files["float"]["float"], scale(data.x_val)))
    started = time.monotonic()
    request = Request(
        model=path,
        data=bench.dataset,
        max_drop=MAX_DROP,
        objective="download",
        minutes=minutes,
        output=folder / name,
        cache=Path(bench.cache_dir),
        workers=workers,
    )
    search = run(request, lambda better: None)
    found: dict[str, object] = {"model": name, "parameters": search.made.parameters}
    found |= {"seconds": round(time.monotonic() - started), "processor": processor()}
    contents = files | {"command": search.files}
    for tool in contents:
        given = (
            list(search.candidates.values())
            if tool == "command"
            else [_candidate(form, content, data, accurate) for form, content in contents[tool].items()]
        )
        for objective in OBJECTIVES:
            choice = smallest(given, Limits(max_drop=MAX_DROP, objective=objective))
            found |= _figures(
                f"{tool}_{objective}", choice.form if choice.fits else None, contents[tool], data
            )
    return found | controls(found, search.made.recipes, bench, model, accurate)


def controls(
    found: Mapping[str, object],
    recipes: Mapping[str, Recipe],
    bench: Bench,
    model: keras.Model,
    accurate: float,
) -> dict[str, object]:
    """What the training of the command's files alone would have given, as it is and coded."""
    columns: dict[str, object] = {}
    for objective in OBJECTIVES:
        if recipe := recipes.get(str(found[f"command_{objective}_form"])):
            form, content = f"int8_{recipe.epochs}_epochs", as_long(recipe, bench, model)
            measured = _candidate(form, content, bench.data, accurate)
            columns |= _figures(f"trained_{objective}", measured, {form: content}, bench.data)
    return columns


def _figures(
    name: str, form: Candidate | None, contents: Mapping[str, bytes], data: Dataset
) -> dict[str, object]:
    if form is None:
        return {f"{name}_form": NONE}
    predicted = running.predict(contents[form.name], scale(data.x_test))
    return {
        f"{name}_form": form.name,
        f"{name}_bytes": form.coded_bytes if name.endswith("download") else form.flash_bytes,
        f"{name}_drop_pp": round(100 * form.drop, 3),
        f"{name}_test_accuracy": running.accuracy(data.y_test, predicted),
    }


def picture(table: pd.DataFrame) -> Figure:
    """Bytes of each tool's smallest file, as it is and coded, in % of the float file's, for each model.

    Beside the bars is how much test accuracy the file loses against the float model, in points.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.4 + 0.6 * len(table)), layout="constrained")
        places = np.arange(len(table))
        titles = {"flash": "bytes of the file", "download": "bytes of the file, coded"}
        for axes, (objective, title) in zip(figure.subplots(1, 2, sharey=True), titles.items(), strict=True):
            for place, (tool, label) in enumerate(TOOLS.items()):
                sizes = table.get(f"{tool}_{objective}_bytes", pd.Series(np.nan, index=table.index))
                whole = table[f"float_{objective}_bytes"]
                colour, shift = (GREY, ORANGE, BLUE, GREEN)[place], 0.2 * place - 0.3
                bars = axes.barh(places + shift, 100 * sizes / whole, height=0.18, color=colour, label=label)
                nothing = pd.Series(np.nan, index=table.index)
                before, after = (
                    table.get(f"{name}_test_accuracy", nothing)
                    for name in ("float_flash", f"{tool}_{objective}")
                )
                words = [f"{change:+.2f}" if np.isfinite(change) else "" for change in 100 * (after - before)]
                axes.bar_label(bars, words, padding=2, fontsize=6)
                forms = table.get(f"{tool}_{objective}_form", nothing)
                for gap in places[sizes.isna() & forms.notna()]:
                    axes.text(1, gap + shift, NONE, fontsize=6, va="center", color=colour)
            axes.set(xlabel=f"{title}, % of the float file's", yticks=places, yticklabels=table["model"])
            axes.margins(x=0.18)
        axes.invert_yaxis()
        figure.suptitle(
            f"Smallest file that loses at most {100 * MAX_DROP:g} points on validation data; numbers: change "
            "of test accuracy.\nThe command may train for minutes; the second bar is of that training alone, "
            "whatever it loses"
        )
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS), help="all without")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the command, for each model")
    parser.add_argument("--workers", type=int, default=None, help="processes; one a core without")
    parser.add_argument(
        "--folder", type=Path, default=Path("models/own-models"), help="of models and answers"
    )
    parser.add_argument("--cache-dir", default="cache")
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--results-dir", type=Path, default=Path("results"))
    given = parser.parse_args(arguments)
    path = given.results_dir / "own-models.csv"
    given.folder.mkdir(parents=True, exist_ok=True)
    for name in given.models:
        known = pd.read_csv(path) if path.exists() else pd.DataFrame({"model": []})
        if name in set(known["model"]):
            continue
        bench = Bench(dataset=MODELS[name][0], cache_dir=given.cache_dir, data_dir=given.data_dir)
        new = row(name, bench, given.folder, minutes=given.minutes, workers=given.workers)
        table = (
            pd.concat([known, pd.DataFrame([new])], ignore_index=True) if len(known) else pd.DataFrame([new])
        )
        order = table["model"].map(list(MODELS).index).argsort(kind="stable")
        save_csv(table.iloc[order].reset_index(drop=True), path)
        save_figure(picture(table.iloc[order]), given.results_dir / "own-models.png")
        print(f"{name}: {new['command_flash_bytes']:,} bytes, {new['command_download_bytes']:,} coded")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
