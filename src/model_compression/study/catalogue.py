"""The forms that the notebook compares, each a recipe by name, and their controls."""

from collections.abc import Mapping
from dataclasses import replace

from ..files.conversion import ExportConfig
from ..saved_models.files import is_path
from ..techniques.clustering import ClusterConfig
from ..techniques.pruning import PruneConfig
from ..techniques.quantization import QuantizeConfig
from ..techniques.rate_distortion import RateConfig
from .recipes import MaskConfig, Recipe, Settings, Step, Technique, equal_size_filters

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
    "int4_dynamic": ExportConfig(form="int4_dynamic"),
    "int4_weight_only": ExportConfig(form="int4_weight_only"),
    "int4_mixed": ExportConfig(form="int4_mixed"),
    "int4_weight_only_octav": ExportConfig(form="int4_weight_only_octav"),
    "int4_mixed_gptq": ExportConfig(form="int4_mixed_gptq"),
    "int4_static": ExportConfig(form="int4_static"),
}

#: Loss that 1,000 coded bytes count for in `rate_distortion`: of 0.02 and 0.03, tried with 4 to 8
#: epochs on one seed's validation images, the one that kept 98 % in the fewer bytes.
RATE_PRICE = 0.03

INT8 = ExportConfig(form="int8")
FLOAT = ExportConfig(form="float32")


def catalogue(settings: Settings) -> dict[str, Recipe]:
    """Every recipe of the study by name, in the order of the tables.

    `non_quantized_h5` and `pruned_h5` are Keras files; the names of all others are their files'.
    """
    # a saved model has been trained: its baseline is the model as it is
    base = () if is_path(settings.net) else (Step(train=settings.first_fit),)

    def tuned(*techniques: Technique | None) -> tuple[Step, ...]:
        return (*base, *(Step(train=settings.fine_tune, technique=technique) for technique in techniques))

    prune = settings.prune
    cluster_16, cluster_8 = ClusterConfig(clusters=16), ClusterConfig(clusters=8)
    sparse_cluster = ClusterConfig(clusters=16, preserve_sparsity=True)
    pruned = tuned(prune)
    trained: dict[str, tuple[tuple[Step, ...], ExportConfig]] = {
        "quantization_aware_trained": (tuned(QuantizeConfig()), INT8),
        "quantization_aware_int4": (tuned(QuantizeConfig(weight_bits=4)), INT8),
        "pruned": (pruned, FLOAT),
        "pruned_quantized": (pruned, INT8),
        "pruned_quantization_aware": (tuned(prune, QuantizeConfig(preserve="sparsity")), INT8),
        "pruned_then_plain_qat": (tuned(prune, QuantizeConfig()), INT8),
        "pruned_2_by_4": (tuned(PruneConfig(final_sparsity=0.5, pattern="2:4")), INT8),
        "pruned_block": (
            tuned(
                PruneConfig(
                    initial_sparsity=settings.initial_sparsity,
                    final_sparsity=settings.final_sparsity,
                    pattern="block",
                )
            ),
            INT8,
        ),
        "clustered_16": (tuned(cluster_16), INT8),
        "clustered_16_per_channel": (tuned(cluster_16), ExportConfig(form="int8", per_channel_dense=True)),
        "clustered_8": (tuned(cluster_8), INT8),
        "cluster_preserving_qat": (tuned(cluster_16, QuantizeConfig(preserve="clusters")), INT8),
        "pruned_clustered": (tuned(prune, sparse_cluster), INT8),
        "rate_distortion": (
            (
                *base,
                Step(
                    train=replace(settings.fine_tune, epochs=3 * settings.fine_tune_epochs),
                    technique=RateConfig(price=RATE_PRICE),
                ),
            ),
            ExportConfig(form="packed_int4"),
        ),
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
        *_controls(settings, base, pruned),
    ]
    recipes = {recipe.file_name.replace(".tflite", "").replace(".", "_"): recipe for recipe in found}
    for recipe in found:
        if control_of(recipe, recipes) is None:
            steps = recipe.control_steps()
            name = "trained_" + "_".join(str(step.train.epochs) for step in steps) + "_epochs"
            recipes[name] = Recipe(name=name, net=settings.net, steps=steps, export=FLOAT, is_control=True)
    return recipes


def control_of(recipe: Recipe, recipes: Mapping[str, Recipe]) -> str | None:
    """The name of the float net trained for as long as `recipe`, technique left out; None if there is none.

    A net that was itself only trained on is compared with the baseline.
    """
    steps = recipe.control_steps()
    if steps == recipe.steps and recipe.net == recipes_net(recipes):
        steps = () if is_path(recipe.net) else steps[:1]
    for name, other in recipes.items():
        if other.steps == steps and other.net == recipes_net(recipes) and other.export.form == "float32":
            return name
    return None


def recipes_net(recipes: Mapping[str, Recipe]) -> str:
    """The net under study: that of the first recipe."""
    return next(iter(recipes.values())).net


def _controls(settings: Settings, base: tuple[Step, ...], pruned: tuple[Step, ...]) -> list[Recipe]:
    """What the techniques have to beat, each trained for as long as the pruned net."""
    longer = Step(train=settings.fine_tune)
    random = MaskConfig(random_sparsity=settings.final_sparsity)
    mask = MaskConfig(like=pruned)
    steps = {
        "longer_trained": (*base, longer),
        "longer_trained_twice": (*base, longer, longer),
        "longer_trained_thrice": (*base, longer, longer, longer),
    }
    controls = [
        Recipe(name=name, net=settings.net, steps=each, export=FLOAT, is_control=True)
        for name, each in steps.items()
    ]
    masked = {
        "random_pruned": (*base, Step(train=settings.fine_tune, technique=random)),
    }
    if base:
        masked["pruned_from_scratch"] = (
            Step(train=settings.first_fit, technique=mask),
            Step(train=settings.fine_tune, technique=mask),
        )
    controls += [
        Recipe(name=name, net=settings.net, steps=each, export=INT8, is_control=True)
        for name, each in masked.items()
    ]
    if settings.net == "baseline":
        small = f"baseline_{equal_size_filters(12, settings.final_sparsity)}"
        controls.append(
            Recipe(name="small_dense", net=small, steps=(*base, longer), export=INT8, is_control=True)
        )
    controls.append(
        Recipe(
            name="longer_trained_quantized",
            net=settings.net,
            steps=(*base, longer),
            export=INT8,
            is_control=True,
        )
    )
    return controls
