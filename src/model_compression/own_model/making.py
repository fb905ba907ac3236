"""Every form of a user's model: of the net that it is rebuilt as, or of the file that it is converted to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from ..data.datasets import Dataset
from ..nets.keras2 import keras
from ..quiet import quiet
from ..saved_models import files as keras_files
from ..saved_models import fitting
from ..saved_models.graphs import NotRebuiltError
from ..store import writable_folder
from ..study.applicable import applicable, left_alone
from ..study.catalogue import Settings, forms
from ..study.experiment import Bench
from ..study.outcomes import Outcome
from ..study.recipes import Recipe
from ..study.scheduling import Failure, Study
from . import converted


class Asked(Protocol):
    """What is asked for, as far as it plays a part here; see `command.Request`."""

    @property
    def output(self) -> Path: ...
    @property
    def runtime(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def workers(self) -> int | None: ...


@dataclass(frozen=True, kw_only=True)
class Made:
    """The forms of a model.

    Attributes:
        outcomes: by form. skipped: by form, why there is none.
        notes: what was decided about the model. left_alone: layers by form and method.
        shared: forms whose kernels look-up tables can hold. parameters: of the float net.
        fed: the data as the files take them.
    """

    outcomes: Mapping[str, Outcome]
    skipped: Mapping[str, str]
    notes: tuple[str, ...]
    left_alone: Mapping[str, Mapping[str, list[str]]]
    shared: Sequence[str]
    parameters: int
    fed: Dataset


def make(bench: Bench, path: str, settings: Callable[[int], Settings], request: Asked) -> Made:
    """Every form that a saved model can have.

    Args:
        settings: the knobs of the catalogue for a number of training images.
    Raises:
        UnsupportedModelError: it can neither be rebuilt nor converted.
    """
    if keras_files.is_tflite(Path(path)):
        return _by_converting(bench, path, "", request)
    try:
        fitting.load(path)
        bench.user_model(path)
    except NotRebuiltError as error:
        return _by_converting(bench, path, str(error), request)
    return _by_training(bench, path, settings(len(bench.data.x_train)), request)


def _by_converting(bench: Bench, path: str, reason: str, request: Asked) -> Made:
    source = converted.source(Path(path), bench.data, reason)
    writable_folder(request.output)
    fed = converted.fed(source, bench.data)
    outcomes: dict[str, Outcome] = {}
    skipped: dict[str, str] = {}
    with tqdm(total=len(converted.FORMS), unit="form", leave=False, dynamic_ncols=True) as bar:
        for form in converted.FORMS:
            bar.set_description_str(form)
            try:
                outcomes[form] = converted.outcome(source, form, fed, seed=request.seed)
            # the quantizer raises whatever comes up: a form less, with the reason
            except Exception as error:
                skipped[form] = " ".join(str(error).split()) or type(error).__name__
            bar.update()
    return Made(
        outcomes=outcomes,
        skipped=skipped,
        notes=source.notes,
        left_alone={},
        shared=(),
        parameters=converted.parameters(source.content),
        fed=fed,
    )


def _by_training(bench: Bench, path: str, settings: Settings, request: Asked) -> Made:
    fitted = bench.user_model(path)
    writable_folder(request.output)
    net = bench.trained(path, (), request.seed, _no_report)
    recipes, skipped = applicable(net, forms(settings))
    recipes = {name: _for_runtime(recipe, request.runtime) for name, recipe in recipes.items()}
    alone = {name: found for name, recipe in recipes.items() if (found := left_alone(net, recipe))}
    outcomes, failures = _carry_out(bench, recipes, request)
    return Made(
        outcomes=outcomes,
        skipped=skipped | failures,
        notes=fitted.notes,
        left_alone=alone,
        shared=[name for name in outcomes if recipes[name].shares_values],
        parameters=int(net.count_params()),
        fed=bench.fed(path),
    )


def _for_runtime(recipe: Recipe, runtime: str) -> Recipe:
    """The recipe for a file that takes one image a call, where TFLite Micro has to run it."""
    if runtime != "tflm" or recipe.export.form.startswith("packed"):
        return recipe
    return replace(recipe, export=replace(recipe.export, one_image=True))


def _no_report(key: str, title: str, done: float) -> None:
    """Progress that nobody watches."""


def _carry_out(
    bench: Bench, recipes: Mapping[str, Recipe], request: Asked
) -> tuple[dict[str, Outcome], dict[str, str]]:
    """Each recipe's outcome, or why there is none; side by side in processes, or one by one in this one."""
    outcomes: dict[str, Outcome] = {}
    failures: dict[str, str] = {}
    if request.workers != 0:
        study = Study(bench, recipes, [request.seed], n_workers=request.workers).start()
        study.wait()
        for name in recipes:
            found = study.outcome(name, request.seed)
            if isinstance(found, Failure):
                failures[name] = found.error
            else:
                outcomes[name] = found
        return outcomes, failures
    epochs = sum(recipe.epochs for recipe in recipes.values())
    with tqdm(total=epochs + len(recipes), unit="epoch", leave=False, dynamic_ncols=True) as bar:
        for name, recipe in recipes.items():
            before = bar.n
            bar.set_description_str(name)
            try:
                with quiet():
                    outcomes[name] = bench.run(recipe, request.seed, _no_report)
            # a form that a tool fails on is a form less, with the reason
            except Exception as error:
                failures[name] = " ".join(str(error).split()) or type(error).__name__
            bar.update(before + recipe.epochs + 1 - bar.n)
            keras.backend.clear_session()
    return outcomes, failures
