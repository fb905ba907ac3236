"""The one list of forms, each a recipe by name, and their controls: for the notebook and the command."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import check, check_whole
from ..files.conversion import ExportConfig
from ..nets.distillation import DistillConfig
from ..nets.training import TrainConfig
from ..saved_models.files import is_path
from ..techniques.base import Technique
from ..techniques.clustering import ClusterConfig
from ..techniques.masking import MaskConfig
from ..techniques.pruning import PruneConfig
from ..techniques.quantization import QuantizeConfig
from ..techniques.rate_distortion import RateConfig
from ..techniques.structured import StructuredConfig
from .recipes import Recipe, Step, Teacher, check_net

#: What the original study published for its files: test accuracy, one epoch, one seed.
PUBLISHED = {
    "non_quantized.h5": 0.9510,
    "non_quantized.tflite": 0.9510,
    "post_training_quantized.tflite": 0.9502,
    "quantization_aware_trained.tflite": 0.9502,
    "pruned_quantized.tflite": 0.9666,
}

#: Loss that 1,000 coded bytes count for in `rate_distortion`: of 0.02 and 0.03, tried with 4 to 8
#: epochs on one seed's validation images, the one that kept 98 % in the fewer bytes.
RATE_PRICE = 0.03

#: Filters of the small dense nets.
SMALL = (2, 4, 6, 8, 10)

#: Sparsity of the milder pruned form, which costs little, and share of channels left by structured pruning.
HALF = 0.5


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The knobs of the notebook's `parameters` cell, as they stand there.

    Args:
        seed: the first seed; the others follow from it.
        n_seeds: seeds in all, at least 1.
        epochs, fine_tune_epochs: of the baseline, and of each technique after it; at least 1.
        batch_size: images a step, at least 1.
        learning_rate: Adam's peak for batches of 128; scales with `batch_size`.
        fine_tune_rate: of each technique, likewise; `learning_rate` where None.
        initial_sparsity, final_sparsity: of pruning, fractions in [0, 1).
        net: a name that `named.build` knows, or the path of a saved model.
        forms: "all", or "original": those of the original study alone, and what they are compared with.
        teacher_temperature: where given, each fine-tuning learns what the float net says (distillation at
            this temperature) instead of the labels.
    Raises:
        ValueError: a value out of range: what was given and what is allowed.
    """

    seed: int = 100
    n_seeds: int = 5
    epochs: int = 6
    fine_tune_epochs: int = 2
    batch_size: int = 128
    learning_rate: float = 5e-3
    initial_sparsity: float = 0.5
    final_sparsity: float = 0.8
    net: str = "baseline"
    forms: str = "all"
    fine_tune_rate: float | None = None
    teacher_temperature: float | None = None

    def __post_init__(self) -> None:
        check_whole("seed", self.seed, 0, 2**32 - 1)
        for name in ("n_seeds", "fine_tune_epochs"):
            check_whole(name, getattr(self, name), 1)
        check_net(self.net)
        check(self.forms in ("all", "original"), "forms", self.forms, "'all', 'original'")
        _ = self.first_fit, self.prune, self.tuning

    @property
    def seeds(self) -> list[int]:
        """`seed` itself, then what NumPy's SeedSequence draws from it."""
        drawn = np.random.SeedSequence(self.seed).generate_state(self.n_seeds)[1:]
        return [self.seed, *(int(seed) for seed in drawn)]

    @property
    def first_fit(self) -> TrainConfig:
        """The baseline's training."""
        return TrainConfig(epochs=self.epochs, learning_rate=self.learning_rate, batch_size=self.batch_size)

    @property
    def fine_tune(self) -> TrainConfig:
        """The training of each technique."""
        rate = self.learning_rate if self.fine_tune_rate is None else self.fine_tune_rate
        return replace(self.first_fit, epochs=self.fine_tune_epochs, learning_rate=rate)

    @property
    def base(self) -> tuple[Step, ...]:
        """What makes the baseline: a saved model has been trained, and is it as it is."""
        return () if is_path(self.net) else (Step(train=self.first_fit),)

    @property
    def tuning(self) -> Step:
        """A fine-tuning without a technique, taught by the baseline of the first seed where that is asked."""
        if self.teacher_temperature is None:
            return Step(train=self.fine_tune)
        distill = DistillConfig(temperature=self.teacher_temperature, views=1)
        teacher = Teacher(net=self.net, steps=self.base, seeds=(self.seed,), distill=distill)
        return Step(train=self.fine_tune, teacher=teacher)

    @property
    def prune(self) -> PruneConfig:
        """The pruning that the knobs ask for, zeros shared out to the kernels by LAMP."""
        return replace(self.prune_uniform, allocation="lamp")

    @property
    def pruned(self) -> tuple[Step, ...]:
        """The baseline, and pruning after it."""
        return (*self.base, replace(self.tuning, technique=self.prune))

    @property
    def prune_uniform(self) -> PruneConfig:
        """The tutorials' pruning: the same sparsity for every kernel."""
        return PruneConfig(initial_sparsity=self.initial_sparsity, final_sparsity=self.final_sparsity)


def _methods(settings: Settings) -> dict[str, Step]:
    """A fine-tuning by each technique, by what `forms.csv` calls it."""
    uniform, plain = settings.prune_uniform, settings.tuning
    techniques: dict[str, Technique | None] = {
        "plain": None,
        "prune": settings.prune,
        "prune_half": PruneConfig(final_sparsity=HALF, allocation="lamp"),
        "prune_uniform": uniform,
        "prune_2_by_4": PruneConfig(final_sparsity=0.5, pattern="2:4"),
        "prune_block": replace(uniform, pattern="block"),
        "cluster_16": ClusterConfig(clusters=16),
        "cluster_8": ClusterConfig(clusters=8),
        "sparse_cluster": ClusterConfig(clusters=16, preserve_sparsity=True),
        "qat": QuantizeConfig(),
        "qat_4_bits": QuantizeConfig(weight_bits=4),
        "pqat": QuantizeConfig(preserve="sparsity"),
        "cqat": QuantizeConfig(preserve="clusters"),
        "pcqat": QuantizeConfig(preserve="sparsity and clusters"),
        "random": MaskConfig(random_sparsity=settings.final_sparsity),
        "shuffled": MaskConfig(like=settings.pruned, shuffled=True),
    }
    # what leaves little of the net that it starts from takes longer
    longer = replace(plain, train=replace(plain.train, epochs=3 * plain.train.epochs))
    return {
        **{name: replace(plain, technique=technique) for name, technique in techniques.items()},
        "narrow": replace(longer, technique=StructuredConfig(keep=HALF)),
        "rate": replace(longer, technique=RateConfig(price=RATE_PRICE)),
    }


def catalogue(settings: Settings) -> dict[str, Recipe]:
    """Every recipe of the study by name, in the order of the tables: those of `forms.csv`, and controls.

    `non_quantized_h5` and `pruned_h5` are Keras files; the names of all others are their files'. Beside the
    float nets that were trained for as long as the forms, controls are zeros at random places, the masks of
    the pruned net on other weights, and small dense nets, one of which has about the bytes of each form.
    """
    methods, int8 = _methods(settings), ExportConfig(form="int8")

    def recipe(name: str, steps: tuple[Step, ...], export: ExportConfig, **rest: Any) -> Recipe:
        return Recipe(**{"name": name, "net": settings.net, "steps": steps, "export": export, **rest})

    with Path(__file__).with_name("forms.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if settings.forms == "all" or not row["beyond"]]
    found = []
    for row in rows:
        steps = (*settings.base, *(methods[technique] for technique in row["techniques"].split()))
        # a model of a user's gives what it gave
        exact = is_path(settings.net) and row["form"].startswith("packed")
        per_channel = row["per_channel_dense"] == "yes"
        export = ExportConfig(form=row["form"], per_channel_dense=per_channel, exact=exact)
        found.append(recipe(row["name"], steps, export, is_control=row["is_control"] == "yes"))
    # beyond the original study: none of its forms is compared with these
    masked = _under_masks(settings) if settings.forms == "all" else {}
    found += [recipe(name, steps, int8, is_control=True) for name, steps in masked.items()]
    plain = (*settings.base, settings.tuning)
    small = SMALL if settings.net == "baseline" and settings.forms == "all" else ()
    found += [recipe(f"small_dense_{n}", plain, int8, net=f"baseline_{n}", is_control=True) for n in small]
    recipes = {each.file_name.replace(".tflite", "").replace(".", "_"): each for each in found}
    for each in found:
        if control_of(each, recipes) is None:
            steps, export = each.control_steps(), ExportConfig(form="float32")
            name = "trained_" + "_".join(str(step.train.epochs) for step in steps) + "_epochs"
            recipes[name] = recipe(name, steps, export, is_control=True)
    return recipes


def _under_masks(settings: Settings) -> dict[str, tuple[Step, ...]]:
    """Under the masks of the pruned net other weights; a saved model's first ones are not known.

    `scratch`: new random ones, trained for as long or for twice as long (Liu et al. 2018, arXiv:1810.05270).
    `lottery`: the first ones of the net that gave the mask (Frankle & Carbin 2018, arXiv:1803.03635).
    """
    if not settings.base:
        return {}
    mask = MaskConfig(like=settings.pruned)
    first, *rest = (replace(step, technique=mask) for step in settings.pruned)
    scratch = (replace(first, technique=replace(mask, fresh=True)), *rest)
    twice = [replace(step, train=replace(step.train, epochs=2 * step.train.epochs)) for step in scratch]
    return {
        "scratch_pruned": scratch,
        "scratch_longer_pruned": tuple(twice),
        "lottery_pruned": (first, *rest),
    }


def forms(settings: Settings) -> dict[str, Recipe]:
    """The .tflite files among which somebody chooses: the catalogue without Keras files and controls."""
    found = catalogue(settings).items()
    return {name: recipe for name, recipe in found if recipe.export.form != "h5" and not recipe.is_control}


def control_of(recipe: Recipe, recipes: Mapping[str, Recipe]) -> str | None:
    """The name of the float net trained for as long as `recipe`, technique left out; None if there is none.

    The float net is the one under study, that of the first recipe. A net that was itself only trained on is
    compared with the baseline; a control that no float net was trained as long as, with `longer_trained`.
    """
    steps, net = recipe.control_steps(), next(iter(recipes.values())).net
    if steps == recipe.steps and recipe.net == net:
        steps = () if is_path(recipe.net) else steps[:1]
    for name, other in recipes.items():
        if other.steps == steps and other.net == net and other.export.form == "float32":
            return name
    return "longer_trained" if recipe.is_control and "longer_trained" in recipes else None
