"""Which methods take which layers of a net, and so which forms a user's model can have."""

from collections.abc import Mapping

from ..nets.keras2 import keras
from ..nets.layers import kernel_layers, kernel_size
from ..saved_models.building import frozen_layers
from .recipes import Recipe

#: The converter's own limit, in TensorFlow's quantize_weights.
DYNAMIC_RANGE_WEIGHTS = 1024


def left_alone(net: keras.Model, recipe: Recipe) -> dict[str, list[str]]:
    """Layers with weights that each method of a recipe does not take, by the method; none left out.

    Args:
        net: the recipe's float net.
    """
    found = {}
    for step in recipe.steps:
        if step.technique is not None:
            takes = step.technique.takes
            names = [layer.name for layer in net.layers if layer.weights and not takes(layer)]
            if names:
                found[step.technique.label] = names
    return found


def why_not(net: keras.Model, recipe: Recipe) -> str:
    """Why a recipe cannot be carried out on a net; empty when it can."""
    for step in recipe.steps:
        if step.technique and (reason := step.technique.why_not(net)):
            return reason
    if recipe.export.form == "dynamic_range" and not any(
        kernel_size(layer) >= DYNAMIC_RANGE_WEIGHTS for layer in kernel_layers(net)
    ):
        return f"the converter leaves kernels of less than {DYNAMIC_RANGE_WEIGHTS:,} weights as floats"
    return _why_not_int4(net, recipe.export.form) if recipe.export.form.startswith("int4") else ""


def _why_not_int4(net: keras.Model, form: str) -> str:
    depthwise = [la.name for la in net.layers if isinstance(la, keras.layers.DepthwiseConv2D)]
    mixed = form in ("int4_mixed", "int4_mixed_gptq", "int4_static")
    left = frozen_layers(net) + ([] if mixed else depthwise)
    if left:
        return f"4-bit forms leave {', '.join(left)} unquantized"
    largest = max(kernel_layers(net), key=kernel_size)
    if mixed and not isinstance(largest, keras.layers.Dense):
        return f"{largest.name}, the largest kernel, is a convolution, which this form keeps at 8 bits"
    return ""


def applicable(net: keras.Model, recipes: Mapping[str, Recipe]) -> tuple[dict[str, Recipe], dict[str, str]]:
    """The recipes that can be carried out on a net, and by name why the others cannot."""
    reasons = {name: why_not(net, recipe) for name, recipe in recipes.items()}
    kept = {name: recipe for name, recipe in recipes.items() if not reasons[name]}
    return kept, {name: reason for name, reason in reasons.items() if reason}
