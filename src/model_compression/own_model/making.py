"""Every form of a user's model: of the net that it is rebuilt as, or of the file that it is converted to."""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tqdm import tqdm

from ..data.datasets import Dataset
from ..nets.keras2 import keras
from ..nets.layers import multiply_adds
from ..quiet import quiet
from ..runtimes.deployment import BASELINE
from ..runtimes.smallest import Candidate, Objective
from ..saved_models.child import first_line
from ..saved_models.ranges import Taken
from ..store import writable_folder
from ..study.applicable import left_alone
from ..study.catalogue import Settings, forms
from ..study.experiment import Bench
from ..study.outcomes import Outcome
from ..study.recipes import Recipe
from ..study.scheduling import Failure, Study
from . import converted
from .bench import ConvertedBench, bench_of, takes
from .request import Request

#: Images that a fine-tuning step sees in all, where the number of epochs is not given, and its limits.
DEFAULT_IMAGES, MOST_EPOCHS = 100_000, 20
#: Multiply-adds of a step in all, forward, that leave fewer images to a large net: a core takes minutes.
DEFAULT_MULTIPLY_ADDS = 4e11
#: Adam's peak learning rate for batches of 128.
LEARNING_RATE = 1e-3
#: Optimizer steps an epoch that small data sets get by smaller batches.
LEAST_STEPS = 10
#: At which fine-tuning learns what the float model says, see `nets.distillation`.
TEACHER_TEMPERATURE = 4.0
#: Accuracy that fine-tuning may add before the inputs are doubted, a fraction.
MOST_GAIN = 0.05
#: What came of a form: its outcome, or why there is none.
Found = Outcome | str
#: Forms without training that come after the others: LiteRT has only reference kernels for them, which take a
#: hundred times as long.
LAST = ("int16x8",)
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


def settings(request: Request, images: int, multiply_adds: int = 0) -> Settings:
    """The knobs of the catalogue for a saved model.

    Each step is fine-tuned in smaller batches for few images, in fewer epochs for many and for large nets.

    Args:
        images: to train on. multiply_adds: of the net, an image.
    """
    epochs = request.epochs
    if epochs is None:
        seen = min(DEFAULT_IMAGES, DEFAULT_MULTIPLY_ADDS / max(1, multiply_adds))
        epochs = max(1, min(MOST_EPOCHS, round(seen / images)))
    return Settings(
        seed=request.seed,
        n_seeds=1,
        epochs=epochs,
        fine_tune_epochs=epochs,
        batch_size=max(8, min(128, images // LEAST_STEPS)),
        learning_rate=LEARNING_RATE,
        net=os.path.abspath(request.model),
        teacher_temperature=TEACHER_TEMPERATURE,
    )


@dataclass(frozen=True, kw_only=True)
class Making:
    """The forms of a model, and what makes them.

    Attributes:
        stages: names of forms, in the order in which they are made: those without training first.
        make: makes a form in this process, unless a time of `time.monotonic` comes before.
        study: makes forms on workers; None to make all here.
        skipped: by form, why it was not tried. left_alone: layers by form and method.
        notes: what was decided about the model. warnings: what is to be minded.
        recipes: of the forms.
        parameters: of the float net, everything folded. fed: the data as the files take them.
    """

    stages: Sequence[Sequence[str]]
    make: Callable[[str, float], Outcome]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    parameters: int
    fed: Dataset
    study: Study | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)
    left_alone: Mapping[str, Mapping[str, list[str]]] = field(default_factory=dict)
    recipes: dict[str, Recipe] = field(default_factory=dict)

    def add(self, name: str, recipe: Recipe) -> None:
        """One more form; nothing of it is made yet."""
        self.recipes[name] = replace(recipe, name=name)
        if self.study:
            self.study.add(name, self.recipes[name])

    def found(self, names: Sequence[str], until: float) -> Iterator[tuple[str, Found]]:
        """What comes of forms until a time of `time.monotonic`, each as soon as it is there.

        Those of `FIRST` are made whatever the time.
        """
        if self.study is None:
            yield from self._found_here(names, until)
            return
        there = [name for name in names if name not in FIRST]
        (seed,) = self.study.seeds
        # the workers load TensorFlow while the first forms are made here
        for name in there:
            self.study.begin(name, seed)
        yield from self._found_here([name for name in names if name in FIRST], until)
        for name in self.study.as_found(there, seed, until=until):
            each = self.study.outcome(name, seed)
            yield name, each.error if isinstance(each, Failure) else each

    def _found_here(self, names: Sequence[str], until: float) -> Iterator[tuple[str, Found]]:
        """Forms made in this process."""
        with tqdm(total=len(names), unit="form", leave=False, dynamic_ncols=True, disable=None) as bar:
            for name in names:
                if time.monotonic() > until and name not in FIRST:
                    return
                bar.set_description_str(name)
                try:
                    yield name, self.make(name, math.inf if name in FIRST else until)
                except TimeoutError:
                    return
                # a form that a tool fails on is a form less, with the reason
                except Exception as error:
                    yield name, " ".join(str(error).split()) or type(error).__name__
                bar.update()

    def stop(self) -> None:
        """Leave undone what is not done."""
        if self.study:
            self.study.stop()


def begin(bench: Bench, request: Request) -> Making:
    """How every form that a saved model can have is made; nothing is made yet.

    Raises:
        UnsupportedModelError: it can neither be rebuilt nor converted.
    """
    path = os.path.abspath(request.model)
    bench = bench_of(bench, path)
    fed, images = bench.fed(path), len(bench.data.x_train)
    if request.per_cent and not fed.of_values:
        raise ValueError(
            "--max-drop is in %, of what is left open: accuracy is lost in points, such as 0.5pp"
        )
    writable_folder(request.output)
    about: Taken
    if isinstance(bench, ConvertedBench):
        net, about = None, bench.source(path)
        parameters, knobs = converted.parameters(about.content), settings(request, images)
    else:
        net, about = bench.trained(path, (), request.seed, lambda *progress: None), bench.user_model(path)
        parameters, knobs = int(net.count_params()), settings(request, images, multiply_adds(net))
    recipes, skipped = takes(bench, path, forms(knobs))
    stages = ordered(recipes, request.objective)
    # the workers take them in the order of the recipes
    recipes = {name: _for_runtime(recipes[name], request.runtime) for stage in stages for name in stage}

    def make(name: str, until: float) -> Outcome:
        def report(key: str, title: str, done: float) -> None:
            if time.monotonic() > until:
                raise TimeoutError

        try:
            with quiet():
                return bench.run(recipes[name], request.seed, report)
        finally:
            keras.backend.clear_session()

    if net:
        try:
            make(BASELINE, math.inf)
        # whatever the converter or the guard says against the net that was rebuilt, the model may convert
        except Exception as error:
            reason = f"rebuilt, it is no sound file ({first_line(error)})"
            return begin(ConvertedBench(**vars(bench), reason=reason), request)
    study = Study(bench, recipes, [request.seed], n_workers=request.workers)
    return Making(
        stages=stages,
        make=make,
        study=study if net and request.workers != 0 else None,
        skipped=skipped,
        notes=(*bench.data.notes, *about.notes),
        warnings=(*bench.data.warnings, *about.warnings),
        left_alone={name: left_alone(net, recipe) for name, recipe in recipes.items() if net},
        recipes=recipes,
        parameters=parameters,
        fed=fed,
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
    # the empty name stands for those that have no place
    places = [*FIRST, *PROMISING[objective], "", *LAST]
    names = sorted(recipes, key=lambda name: places.index(name if name in places else ""))
    ready = [name for name in names if not recipes[name].steps]
    return [ready, [name for name in names if recipes[name].steps]]


def _for_runtime(recipe: Recipe, runtime: str) -> Recipe:
    """The recipe for a file that takes one image a call, where TFLite Micro has to run it."""
    if runtime != "tflm" or recipe.export.form.startswith("packed"):
        return recipe
    return replace(recipe, export=replace(recipe.export, one_image=True))
