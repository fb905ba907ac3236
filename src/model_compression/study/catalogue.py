"""The one list of forms, each a recipe by name, and their controls: for the notebook and the command."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..checks import check_whole
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

#: Forms of the trained baseline: name -> export.
POST_TRAINING = {
    "non_quantized": ExportConfig(form="float32"),
    "float16": ExportConfig(form="float16"),
    "post_training_quantized": ExportConfig(form="dynamic_range"),
    "int8": ExportConfig(form="int8"),
    "int8_per_channel": ExportConfig(form="int8", per_channel_dense=True),
    "int16x8": ExportConfig(form="int16x8"),
    "int8_mixed": ExportConfig(form="int8_mixed"),
    "int4_dynamic": ExportConfig(form="int4_dynamic"),
    "int4_weight_only": ExportConfig(form="int4_weight_only"),
    "int4_mixed": ExportConfig(form="int4_mixed"),
    "int4_weight_only_octav": ExportConfig(form="int4_weight_only_octav"),
    "int4_mixed_gptq": ExportConfig(form="int4_mixed_gptq"),
    "int4_static": ExportConfig(form="int4_static"),
    "int4_static_all": ExportConfig(form="int4_static_all"),
    "mixed_bits": ExportConfig(form="mixed_bits"),
}

#: Loss that 1,000 coded bytes count for in `rate_distortion`: of 0.02 and 0.03, tried with 4 to 8
#: epochs on one seed's validation images, the one that kept 98 % in the fewer bytes.
RATE_PRICE = 0.03

#: Filters of the small dense nets.
SMALL = (2, 4, 6)

#: Sparsity of the milder pruned form, which costs little, and share of channels left by structured pruning.
HALF = 0.5

INT8 = ExportConfig(form="int8")
FLOAT = ExportConfig(form="float32")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The knobs of the notebook's `parameters` cell.

    Args:
        seed: the first seed; the others follow from it.
        n_seeds: seeds in all, at least 1.
        epochs, fine_tune_epochs: of the baseline, and of each technique after it; at least 1.
        batch_size: images a step, at least 1.
        learning_rate: Adam's peak for batches of 128; scales with `batch_size`.
        initial_sparsity, final_sparsity: of pruning, fractions in [0, 1).
        net: a name that `named.build` knows, or the path of a saved model.
        teacher_temperature: where given, each fine-tuning learns what the float net says (distillation at
            this temperature) instead of the labels.
    Raises:
        ValueError: a value out of range: what was given and what is allowed.
    """

    seed: int
    n_seeds: int
    epochs: int
    fine_tune_epochs: int
    batch_size: int
    learning_rate: float
    initial_sparsity: float
    final_sparsity: float
    net: str = "baseline"
    teacher_temperature: float | None = None

    def __post_init__(self) -> None:
        check_whole("seed", self.seed, 0, 2**32 - 1)
        for name in ("n_seeds", "fine_tune_epochs"):
            check_whole(name, getattr(self, name), 1)
        check_net(self.net)
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
        return replace(self.first_fit, epochs=self.fine_tune_epochs)

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
    def prune_uniform(self) -> PruneConfig:
        """The tutorials' pruning: the same sparsity for every kernel."""
        return PruneConfig(initial_sparsity=self.initial_sparsity, final_sparsity=self.final_sparsity)


def catalogue(settings: Settings) -> dict[str, Recipe]:
    """Every recipe of the study by name, in the order of the tables.

    `non_quantized_h5` and `pruned_h5` are Keras files; the names of all others are their files'.
    """
    base = settings.base

    def tuned(*techniques: Technique | None) -> tuple[Step, ...]:
        return (*base, *(replace(settings.tuning, technique=technique) for technique in techniques))

    prune = settings.prune
    cluster_16, cluster_8 = ClusterConfig(clusters=16), ClusterConfig(clusters=8)
    sparse_cluster = ClusterConfig(clusters=16, preserve_sparsity=True)
    pruned = tuned(prune)
    # what leaves little of the net that it starts from takes longer
    train = replace(settings.fine_tune, epochs=3 * settings.fine_tune_epochs)
    rate, narrowed = (
        (*base, replace(settings.tuning, train=train, technique=technique))
        for technique in (RateConfig(price=RATE_PRICE), StructuredConfig(keep=HALF))
    )
    trained: dict[str, tuple[tuple[Step, ...], ExportConfig]] = {
        "quantization_aware_trained": (tuned(QuantizeConfig()), INT8),
        "quantization_aware_int4": (tuned(QuantizeConfig(weight_bits=4)), INT8),
        "pruned": (pruned, FLOAT),
        "pruned_half": (tuned(PruneConfig(final_sparsity=HALF, allocation="lamp")), INT8),
        "pruned_uniform": (tuned(settings.prune_uniform), INT8),
        "pruned_quantized": (pruned, INT8),
        "pruned_quantization_aware": (tuned(prune, QuantizeConfig(preserve="sparsity")), INT8),
        "pruned_then_plain_qat": (tuned(prune, QuantizeConfig()), INT8),
        "pruned_2_by_4": (tuned(PruneConfig(final_sparsity=0.5, pattern="2:4")), INT8),
        "pruned_block": (tuned(replace(settings.prune_uniform, pattern="block")), INT8),
        "structured_pruned": (narrowed, FLOAT),
        "structured_pruned_quantized": (narrowed, INT8),
        "clustered_16": (tuned(cluster_16), INT8),
        "clustered_16_per_channel": (tuned(cluster_16), ExportConfig(form="int8", per_channel_dense=True)),
        "clustered_8": (tuned(cluster_8), INT8),
        "cluster_preserving_qat": (tuned(cluster_16, QuantizeConfig(preserve="clusters")), INT8),
        "pruned_clustered": (tuned(prune, sparse_cluster), INT8),
        "rate_distortion": (rate, ExportConfig(form="packed_int4")),
        "sparsity_cluster_preserving_qat": (
            tuned(prune, sparse_cluster, QuantizeConfig(preserve="sparsity and clusters")),
            INT8,
        ),
    }
    found = [
        Recipe(name="non_quantized", net=settings.net, steps=base, export=ExportConfig(form="h5")),
        *(Recipe(name=n, net=settings.net, steps=base, export=export) for n, export in POST_TRAINING.items()),
        *(Recipe(name=n, net=settings.net, steps=steps, export=e) for n, (steps, e) in trained.items()),
        Recipe(name="pruned", net=settings.net, steps=pruned, export=ExportConfig(form="h5")),
        *_controls(settings, pruned),
    ]
    recipes = {recipe.file_name.replace(".tflite", "").replace(".", "_"): recipe for recipe in found}
    for recipe in found:
        if control_of(recipe, recipes) is None:
            steps = recipe.control_steps()
            name = "trained_" + "_".join(str(step.train.epochs) for step in steps) + "_epochs"
            recipes[name] = Recipe(name=name, net=settings.net, steps=steps, export=FLOAT, is_control=True)
    return recipes


def forms(settings: Settings) -> dict[str, Recipe]:
    """The .tflite files among which somebody chooses: the catalogue without Keras files and controls."""
    found = catalogue(settings).items()
    return {name: recipe for name, recipe in found if recipe.export.form != "h5" and not recipe.is_control}


def control_of(recipe: Recipe, recipes: Mapping[str, Recipe]) -> str | None:
    """The name of the float net trained for as long as `recipe`, technique left out; None if there is none.

    A net that was itself only trained on is compared with the baseline; a control that no float net was
    trained as long as, with `longer_trained`.
    """
    steps = recipe.control_steps()
    if steps == recipe.steps and recipe.net == recipes_net(recipes):
        steps = () if is_path(recipe.net) else steps[:1]
    for name, other in recipes.items():
        if other.steps == steps and other.net == recipes_net(recipes) and other.export.form == "float32":
            return name
    return "longer_trained" if recipe.is_control and "longer_trained" in recipes else None


def recipes_net(recipes: Mapping[str, Recipe]) -> str:
    """The net under study: that of the first recipe."""
    return next(iter(recipes.values())).net


def _controls(settings: Settings, pruned: tuple[Step, ...]) -> list[Recipe]:
    """What the techniques have to beat.

    Float nets trained for as long as the forms; zeros at random places; small dense nets, one of which has
    about the bytes of each form; and under the masks of the pruned net new random weights, trained for as
    long or for twice as long (`scratch`: Liu et al. 2018, arXiv:1810.05270), or the initial weights of the
    net that gave the mask (`lottery`: Frankle & Carbin 2018, arXiv:1803.03635).
    """
    net, base, longer = settings.net, settings.base, settings.tuning
    random = MaskConfig(random_sparsity=settings.final_sparsity)
    shuffled = MaskConfig(like=pruned, shuffled=True)
    found: dict[str, tuple[str, tuple[Step, ...], ExportConfig]] = {
        "longer_trained": (net, (*base, longer), FLOAT),
        "longer_trained_twice": (net, (*base, longer, longer), FLOAT),
        "longer_trained_thrice": (net, (*base, longer, longer, longer), FLOAT),
        "longer_trained_int4": (net, (*base, longer), ExportConfig(form="int4_dynamic")),
        "longer_trained_quantized": (net, (*base, longer), INT8),
        "random_pruned": (net, (*base, replace(longer, technique=random)), INT8),
        "random_pruned_like": (net, (*base, replace(longer, technique=shuffled)), INT8),
    }
    if base:
        twice = tuple(
            replace(step, train=replace(step.train, epochs=2 * step.train.epochs)) for step in pruned
        )
        found["scratch_pruned"] = net, _masked(pruned, pruned, fresh=True), INT8
        found["scratch_longer_pruned"] = net, _masked(twice, pruned, fresh=True), INT8
        found["lottery_pruned"] = net, _masked(pruned, pruned, fresh=False), INT8
    if net == "baseline":
        found |= {f"small_dense_{n}": (f"baseline_{n}", (*base, longer), INT8) for n in SMALL}
    return [
        Recipe(name=name, net=trained, steps=steps, export=export, is_control=True)
        for name, (trained, steps, export) in found.items()
    ]


def _masked(steps: tuple[Step, ...], like: tuple[Step, ...], *, fresh: bool) -> tuple[Step, ...]:
    """The steps' trainings, each under the zeros of the net that `like` trains."""
    mask = MaskConfig(like=like)
    first, *rest = (replace(step, technique=mask) for step in steps)
    return (replace(first, technique=replace(mask, fresh=fresh)), *rest)
