"""Which methods take which layers of a net, and so which forms a user's model can have."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from ..files.quantizing import STATIC
from ..nets.keras2 import keras
from ..nets.layers import kernel_layers, kernel_size
from ..saved_models.building import frozen_layers
from ..saved_models.folding import MOST_APART, apart
from .recipes import Recipe

#: The converter's own limit, in TensorFlow's quantize_weights.
DYNAMIC_RANGE_WEIGHTS = 1024
#: Activations, and layers by their class, whose operators LiteRT has no integer kernels for, or wrong ones.
_FLOAT = {"elu", "selu", "exponential", "softplus", "softsign", "layernormalization", "normalization"}


def left_alone(net: keras.Model, recipe: Recipe) -> dict[str, list[str]]:
    """Layers that each method of a recipe, and its form, do not take, by the method; none left out.

    Args:
        net: the recipe's float net.
    """
    found = {}
    for technique in (step.technique for step in recipe.steps if step.technique):
        weighty = (layer for layer in net.layers if layer.weights)
        found[technique.label] = [layer.name for layer in weighty if not technique.takes(layer)]
    if recipe.export.form.startswith("int"):
        kinds = {
            layer.name: {type(layer).__name__.lower(), str(layer.get_config().get("activation"))}
            for layer in net.layers
        }
        found["integers, in floats instead"] = [name for name, kind in kinds.items() if kind & _FLOAT]
    if recipe.export.form.startswith("int4"):
        wider = [layer.name for layer in kernel_layers(net) if not _has_4_bits(layer, recipe.export.form)]
        where = " in Dense layers alone" if recipe.export.form in _DENSE_ALONE else ""
        found[f"4 bits{where}, at 8 or in floats instead"] = [*wider, *frozen_layers(net)]
    return {method: names for method, names in found.items() if names}


def why_not(net: keras.Model, recipe: Recipe) -> str:
    """Why a recipe cannot be carried out on a net; empty when it can."""
    form, sizes = recipe.export.form, {layer: kernel_size(layer) for layer in kernel_layers(net)}
    for step in recipe.steps:
        if step.technique and (reason := step.technique.why_not(net)):
            return reason
    if form == "dynamic_range" and max(sizes.values()) < DYNAMIC_RANGE_WEIGHTS:
        return f"the converter leaves kernels of less than {DYNAMIC_RANGE_WEIGHTS:,} weights as floats"
    spreads = (np.sqrt(each.variance).ravel() for each in _normalizations(net))
    if form in STATIC and any(apart(each) > MOST_APART for each in spreads):
        return "an integer input would lose what is small of inputs that the model itself makes alike"
    if form == "int16x8" and any(isinstance(each, keras.layers.LayerNormalization) for each in net.layers):
        return "LiteRT ends its process at a layer normalization in 16 bits"
    if form.startswith("int4") and not any(_has_4_bits(layer, form) for layer in sizes):
        return "the form keeps each kernel of the model at 8 bits"
    return ""


#: Forms that leave convolutions at 8 bits.
_DENSE_ALONE = ("int4_mixed", "int4_mixed_gptq", "int4_static")


def _has_4_bits(layer: keras.layers.Layer, form: str) -> bool:
    if form in _DENSE_ALONE:
        return isinstance(layer, keras.layers.Dense)
    # a depthwise convolution is a convolution to Keras
    return not isinstance(layer, keras.layers.DepthwiseConv2D)


def applicable(net: keras.Model, recipes: Mapping[str, Recipe]) -> tuple[dict[str, Recipe], dict[str, str]]:
    """The recipes that can be carried out on a net, and by name why the others cannot.

    Nets that have been trained on get floats at the ends of their integer files where they make inputs of
    different sizes alike.
    """
    if _normalizations(net):
        recipes = {name: _with_float_ends(recipe) for name, recipe in recipes.items()}
    return chosen(recipes, lambda recipe: why_not(net, recipe))


def _normalizations(net: keras.Model) -> list[keras.layers.Normalization]:
    """What makes inputs of different sizes alike, see `saved_models.folding`."""
    return [layer for layer in net.layers if isinstance(layer, keras.layers.Normalization)]


def _with_float_ends(recipe: Recipe) -> Recipe:
    plain = recipe.export.form == "int8" and not recipe.export.per_channel_dense
    if not recipe.steps or recipe.quantization_aware or not plain:
        return recipe
    return replace(recipe, export=replace(recipe.export, form="int8_mixed"))


def chosen(
    recipes: Mapping[str, Recipe], why_not: Callable[[Recipe], str]
) -> tuple[dict[str, Recipe], dict[str, str]]:
    """The recipes that nothing stands against, and by name what stands against the others."""
    reasons = {name: why_not(recipe) for name, recipe in recipes.items()}
    kept = {name: recipe for name, recipe in recipes.items() if not reasons[name]}
    return kept, {name: reason for name, reason in reasons.items() if reason}
