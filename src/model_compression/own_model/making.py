"""Every form of a user's model: of the net that it is rebuilt as, or of the file that it is converted to."""

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from ..data.datasets import Dataset
from ..nets.keras2 import keras
from ..nets.layers import multiply_adds
from ..quiet import quiet
from ..runtimes.deployment import BASELINE
from ..runtimes.smallest import Candidate, Objective
from ..saved_models.child import first_line
from ..store import writable_folder
from ..study.applicable import applicable, left_alone
from ..study.catalogue import Settings, forms
from ..study.experiment import Bench
from ..study.outcomes import Outcome
from ..study.recipes import Recipe
from ..study.scheduling import Failure, Study
from . import converted
from .bench import ConvertedBench, bench_of


class Asked(Protocol):
    """What is asked for, as far as it plays a part here; see `command.Request`."""

    @property
    def per_cent(self) -> bool: ...
    @property
    def output(self) -> Path: ...
    @property
    def runtime(self) -> str: ...
    @property
    def objective(self) -> Objective: ...
    @property
    def seed(self) -> int: ...
    @property
    def workers(self) -> int | None: ...


#: Accuracy that fine-tuning may add before the inputs are doubted, a fraction.
MOST_GAIN = 0.05
#: What came of a form: its outcome, or why there is none.
Found = Outcome | str
#: Forms without training that come before the others, and those with training in the order of their promise
#: by what has to be small; the others follow in the order of the catalogue.
FIRST = (BASELINE, "int8")
PROMISING: Mapping[str, tuple[str, ...]] = {
    "flash": (
        "rate_distortion", "structured_pruned_quantized", "quantization_aware_int4", "clustered_8",
        "quantization_aware_trained",
    ),
    "download": (
        "rate_distortion", "sparsity_cluster_preserving_qat", "pruned_clustered", "quantization_aware_int4",
        "pruned_quantized",
    ),
    "arena": ("structured_pruned_quantized", "quantization_aware_trained"),
    "latency": ("structured_pruned", "structured_pruned_quantized"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Making:
    """The forms of a model, and what makes them.

    Attributes:
        stages: names of forms, in the order in which they are made: those without training first.
        found: yields what comes of the forms of a stage until a time of `time.monotonic`, each as soon as it
            is there; those of `FIRST` are made whatever the time.
        stop: leaves undone what is not done.
        skipped: by form, why it was not tried. left_alone: layers by form and method.
        notes: what was decided about the model. warnings: what is to be minded.
        shared: forms whose kernels look-up tables can hold.
        parameters: of the float net. fed: the data as the files take them.
    """

    stages: Sequence[Sequence[str]]
    found: Callable[[Sequence[str], float], Iterator[tuple[str, Found]]]
    stop: Callable[[], None]
    skipped: Mapping[str, str]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    left_alone: Mapping[str, Mapping[str, list[str]]]
    shared: Collection[str]
    parameters: int
    fed: Dataset


def begin(bench: Bench, path: str, settings: Callable[[int, int], Settings], request: Asked) -> Making:
    """How every form that a saved model can have is made; nothing is made yet.

    Args:
        settings: the knobs of the catalogue for a number of training images and of multiply-adds an image.
    Raises:
        UnsupportedModelError: it can neither be rebuilt nor converted.
    """
    bench = bench_of(bench, path)
    if isinstance(bench, ConvertedBench):
        return _by_converting(bench, path, request)
    return _by_training(bench, path, settings, request)


def _by_converting(bench: ConvertedBench, path: str, request: Asked) -> Making:
    source, fed = bench.source(path), bench.fed(path)
    _check_unit(request, fed)
    writable_folder(request.output)

    def make(name: str) -> Outcome:
        return converted.outcome(source, name, fed, seed=request.seed)

    return Making(
        stages=[converted.FORMS],
        found=lambda names, until: _one_by_one(make, names, until),
        stop=lambda: None,
        skipped={},
        notes=(*bench.data.notes, *source.notes),
        warnings=(*bench.data.warnings, *source.warnings),
        left_alone={},
        shared=(),
        parameters=converted.parameters(source.content),
        fed=fed,
    )


def _by_training(bench: Bench, path: str, settings: Callable[[int, int], Settings], request: Asked) -> Making:
    fitted, fed = bench.user_model(path), bench.fed(path)
    _check_unit(request, fed)
    writable_folder(request.output)
    net = bench.trained(path, (), request.seed, _no_report)
    knobs = settings(len(bench.data.x_train), multiply_adds(net))
    recipes, skipped = applicable(net, forms(knobs))
    recipes = {name: _for_runtime(recipe, request.runtime) for name, recipe in recipes.items()}
    study = Study(bench, recipes, [request.seed], n_workers=request.workers)

    def make(name: str, until: float = math.inf) -> Outcome:
        return _made_here(bench, recipes[name], request.seed, until)

    try:
        make(BASELINE)
    # whatever the converter or the guard says against the net that was rebuilt, the model may still convert
    except Exception as error:
        reason = f"rebuilt, it is no sound file ({first_line(error)})"
        return _by_converting(ConvertedBench(**vars(bench), reason=reason), path, request)

    def found(names: Sequence[str], until: float) -> Iterator[tuple[str, Found]]:
        here = list(names) if request.workers == 0 else [name for name in names if name in FIRST]
        there = [name for name in names if name not in here]
        # the workers load TensorFlow while the first forms are made here
        for name in there:
            study.begin(name, request.seed)
        yield from _one_by_one(lambda name: make(name, math.inf if name in FIRST else until), here, until)
        for name in study.as_found(there, request.seed, until=until):
            each = study.outcome(name, request.seed)
            yield name, each.error if isinstance(each, Failure) else each

    return Making(
        stages=ordered(recipes, request.objective),
        found=found,
        stop=study.stop,
        skipped=skipped,
        notes=(*bench.data.notes, *fitted.notes),
        warnings=(*bench.data.warnings, *fitted.warnings),
        left_alone={name: alone for name, recipe in recipes.items() if (alone := left_alone(net, recipe))},
        shared=[name for name, recipe in recipes.items() if recipe.shares_values],
        parameters=int(net.count_params()),
        fed=fed,
    )


def _check_unit(request: Asked, fed: Dataset) -> None:
    if request.per_cent and not fed.of_values:
        raise ValueError(
            "--max-drop is in %, of what is left open: accuracy is lost in points, such as 0.5pp"
        )


def gained(measured: Iterable[Candidate], data: Dataset) -> list[str]:
    """What is said where fine-tuning finds far more than the model knows."""
    given, best = (
        max((getattr(form, f"{name}_accuracy") for form in measured), default=0.0)
        for name in ("baseline", "validation")
    )
    most = max(MOST_GAIN, 1.5 / len(data.y_val) ** 0.5)
    if data.task == "values" or data.outputs or best - given <= most:
        return []
    return [
        f"the model has {given:.1%} of the validation images right, and after fine-tuning up to {best:.1%}: "
        "were its inputs prepared in another way when it was trained?"
    ]


def ordered(recipes: Mapping[str, Recipe], objective: Objective) -> list[list[str]]:
    """The forms without training, then those with, each in the order of their promise."""

    def in_order(names: list[str], first: Sequence[str]) -> list[str]:
        return sorted(names, key=lambda name: first.index(name) if name in first else len(first))

    ready = [name for name, recipe in recipes.items() if not recipe.steps]
    trained = [name for name, recipe in recipes.items() if recipe.steps]
    return [in_order(ready, FIRST), in_order(trained, PROMISING[objective])]


def _for_runtime(recipe: Recipe, runtime: str) -> Recipe:
    """The recipe for a file that takes one image a call, where TFLite Micro has to run it."""
    if runtime != "tflm" or recipe.export.form.startswith("packed"):
        return recipe
    return replace(recipe, export=replace(recipe.export, one_image=True))


def _no_report(key: str, title: str, done: float) -> None:
    """Progress that nobody watches."""


class _TimeIsUp(Exception):
    """Ends a training."""


def _made_here(bench: Bench, recipe: Recipe, seed: int, until: float) -> Outcome:
    """A recipe's outcome, in this process.

    Raises:
        _TimeIsUp: a training that is not through by then.
    """

    def report(key: str, title: str, done: float) -> None:
        if time.monotonic() > until:
            raise _TimeIsUp

    try:
        with quiet():
            return bench.run(recipe, seed, report)
    finally:
        keras.backend.clear_session()


def _one_by_one(
    make: Callable[[str], Outcome], names: Sequence[str], until: float
) -> Iterator[tuple[str, Found]]:
    """Forms made in this process, those of `FIRST` whatever the time."""
    with tqdm(total=len(names), unit="form", leave=False, dynamic_ncols=True, disable=None) as bar:
        for name in names:
            if time.monotonic() > until and name not in FIRST:
                return
            bar.set_description_str(name)
            try:
                yield name, make(name)
            except _TimeIsUp:
                return
            # a form that a tool fails on is a form less, with the reason
            except Exception as error:
                yield name, " ".join(str(error).split()) or type(error).__name__
            bar.update()
