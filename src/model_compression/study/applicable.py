"""Which methods take which layers of a net, and so which forms a user's model can have."""

from collections.abc import Mapping
from dataclasses import replace

from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_registry,
)

from ..files.conversion import ExportConfig
from ..nets.keras2 import keras
from ..nets.layers import kernel_layers, kernel_size
from ..nets.training import TrainConfig
from ..quiet import quiet
from ..saved_models.fitting import frozen_layers
from ..techniques import clustering, pruning, rate_distortion
from ..techniques.clustering import ClusterConfig
from ..techniques.pruning import PruneConfig
from ..techniques.quantization import QuantizeConfig
from ..techniques.rate_distortion import RateConfig
from ..techniques.shrinkage import ShrinkConfig
from .recipes import Recipe, Step, Technique

INT8 = ExportConfig(form="int8", stripped=True)
#: Sparsities of the pruned forms: half the weights cost little, four fifths compress well.
HALF, MOST = 0.5, 0.8
#: The converter's own limit, in TensorFlow's quantize_weights.
DYNAMIC_RANGE_WEIGHTS = 1024


def method_of(technique: Technique) -> str:
    """What a table calls a technique."""
    match technique:
        case PruneConfig(pattern=pattern):
            return "pruning" if pattern == "unstructured" else f"pruning {pattern}"
        case ClusterConfig(clusters=clusters):
            return f"clustering to {clusters}"
        case QuantizeConfig():
            return "quantization-aware training"
        case RateConfig():
            return "rate-distortion training"
        case ShrinkConfig():
            return "training with a price on magnitudes"
        case _:
            return "masking"


def left_alone(net: keras.Model, recipe: Recipe) -> dict[str, list[str]]:
    """Layers with weights that each method of a recipe does not take, by the method; none left out.

    Args:
        net: the recipe's float net.
    """
    found = {}
    for step in recipe.steps:
        if step.technique is not None:
            taken = _taken(net, step.technique)
            names = [layer.name for layer in net.layers if layer.weights and layer.name not in taken]
            if names:
                found[method_of(step.technique)] = names
    return found


def _taken(net: keras.Model, technique: Technique) -> set[str]:
    layers = kernel_layers(net)
    match technique:
        case PruneConfig(pattern=pattern):
            return {layer.name for layer in layers if pruning.takes(layer, pattern)}
        case ClusterConfig() as cluster:
            return {layer.name for layer in layers if clustering.takes(layer, cluster)}
        case QuantizeConfig():
            registry = _registry()
            return {layer.name for layer in net.layers if registry.supports(layer)}
        case RateConfig():
            return {layer.name for layer in layers if rate_distortion.takes(layer)}
        case _:
            return {layer.name for layer in layers}


def _registry() -> default_8bit_quantize_registry.Default8BitQuantizeRegistry:
    with quiet():
        return default_8bit_quantize_registry.Default8BitQuantizeRegistry()


def why_not(net: keras.Model, recipe: Recipe) -> str:
    """Why a recipe cannot be carried out on a net; empty when it can."""
    for step in recipe.steps:
        technique = step.technique
        if technique is None:
            continue
        taken = _taken(net, technique)
        if isinstance(technique, QuantizeConfig):
            unknown = [
                f"{layer.name} ({type(layer).__name__})"
                for layer in net.layers
                if layer.name not in taken and not isinstance(layer, keras.layers.InputLayer)
            ]
            if unknown:
                return f"TFMOT cannot quantize {', '.join(unknown)}, and int8 throughout needs every layer"
        elif not taken:
            return f"no layer of the model takes {method_of(technique)}"
    if recipe.export.form == "dynamic_range" and not any(
        kernel_size(layer) >= DYNAMIC_RANGE_WEIGHTS for layer in kernel_layers(net)
    ):
        return f"the converter leaves kernels of less than {DYNAMIC_RANGE_WEIGHTS:,} weights as floats"
    packed = recipe.export.form.startswith("packed")
    if packed and not isinstance(net, keras.Sequential):
        return "packed files are written of sequential nets only"
    if recipe.export.form.startswith("int4") and frozen_layers(net):
        return f"4-bit forms leave {', '.join(frozen_layers(net))} unquantized"
    return ""


def applicable(net: keras.Model, recipes: Mapping[str, Recipe]) -> tuple[dict[str, Recipe], dict[str, str]]:
    """The recipes that can be carried out on a net, and by name why the others cannot."""
    reasons = {name: why_not(net, recipe) for name, recipe in recipes.items()}
    kept = {name: recipe for name, recipe in recipes.items() if not reasons[name]}
    return kept, {name: reason for name, reason in reasons.items() if reason}


def candidates(path: str, net: keras.Model, train: TrainConfig, *, dynamic: bool) -> dict[str, Recipe]:
    """The forms among which the command chooses: float, int8, pruned, clustered, and their combinations.

    Args:
        path: of a saved model. net: what it is read as. train: of each step of fine-tuning.
        dynamic: whether to offer dynamic range, which TFLite Micro does not run.
    """

    def tuned(*techniques: Technique) -> tuple[Step, ...]:
        return tuple(Step(train=train, technique=technique) for technique in techniques)

    half, most = PruneConfig(final_sparsity=HALF), PruneConfig(final_sparsity=MOST, initial_sparsity=HALF)
    cluster = ClusterConfig(clusters=16)
    sparse = ClusterConfig(clusters=16, preserve_sparsity=True)
    forms: dict[str, tuple[tuple[Step, ...], ExportConfig]] = {
        "float32": ((), ExportConfig(form="float32", stripped=True)),
        "int8": ((), INT8),
        "int8_per_channel": ((), replace(INT8, per_channel_dense=True)),
        "quantization_aware": (tuned(QuantizeConfig()), INT8),
        "pruned_half": (tuned(half), INT8),
        "pruned": (tuned(most), INT8),
        "pruned_quantization_aware": (tuned(most, QuantizeConfig(preserve="sparsity")), INT8),
        "clustered_16": (tuned(cluster), INT8),
        "clustered_8": (tuned(ClusterConfig(clusters=8)), INT8),
        "cluster_preserving_qat": (tuned(cluster, QuantizeConfig(preserve="clusters")), INT8),
        "pruned_clustered": (tuned(most, sparse), INT8),
        "sparsity_cluster_preserving_qat": (
            tuned(most, sparse, QuantizeConfig(preserve="sparsity and clusters")),
            INT8,
        ),
    }
    if dynamic:
        forms["dynamic_range"] = ((), ExportConfig(form="dynamic_range", stripped=True))
    return {
        name: Recipe(name=name, net=path, steps=steps, export=export)
        for name, (steps, export) in forms.items()
    }
