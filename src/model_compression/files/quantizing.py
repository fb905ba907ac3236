"""A float .tflite file becomes its post-training forms, whatever made it.

The forms bear the names of those that a Keras model has, and are LiteRT's own quantizer's.
"""

import contextlib
from collections.abc import Callable

import numpy as np

from ..nets.keras2 import qtyping, quantizer, recipe
from ..quiet import quiet
from .graph import read_graph, read_model
from .grid import on_grid
from .running import io_details
from .writing import write_model

Configure = Callable[[quantizer.Quantizer], object]


def _recipe(make: Callable[[], object]) -> Configure:
    return lambda tool: tool.load_quantization_recipe(make())


def _mixed(tool: quantizer.Quantizer) -> None:
    operations = qtyping.TFLOperationName
    tool.add_dynamic_config(".*", operations.FULLY_CONNECTED, 4)
    for operation in (operations.CONV_2D, operations.DEPTHWISE_CONV_2D):
        tool.add_dynamic_config(".*", operation, 8)


#: By name; the float file itself is "float32".
FORMS: dict[str, Configure] = {
    "dynamic_range": _recipe(recipe.dynamic_wi8_afp32),
    "int8_weight_only": _recipe(recipe.weight_only_wi8_afp32),
    "int8": _recipe(recipe.static_wi8_ai8),
    "int16x8": _recipe(recipe.static_wi8_ai16),
    "int4_dynamic": _recipe(recipe.dynamic_wi4_afp32),
    "int4_weight_only": _recipe(recipe.weight_only_wi4_afp32),
    "int4_mixed": _mixed,
}
#: Images that show the range of each activation, an interpreter for each.
CALIBRATION_IMAGES = 100
#: Forms whose ends are integers too.
STATIC = ("int8", "int16x8")


def _ranges(tool: quantizer.Quantizer, name: str, images: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """The least and the largest number of each tensor: over images the tool would average them."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for image in images:
        for tensor, limits in tool.calibrate({"serving_default": [{name: image[None]}]}).items():
            known = found.setdefault(tensor, dict(limits))
            if limits:
                known["min"] = np.minimum(known["min"], limits["min"])
                known["max"] = np.maximum(known["max"], limits["max"])
    return found


def quantize(content: bytes, form: str, images: np.ndarray) -> bytes:
    """The file in a form.

    Args:
        content: a float .tflite file. form: a name in `FORMS`.
        images: float32 (n, ...) that show the range of each activation.
    Raises:
        ValueError: a file that the form would change beyond use.
    """
    first = next(iter(read_graph(content).operators), None)
    if form in STATIC and first is not None and first.name in ("CAST", "GATHER", "EMBEDDING_LOOKUP"):
        raise ValueError("the model takes whole numbers (tokens), which a quantized input would round")
    with quiet():
        tool = quantizer.Quantizer(bytearray(content))
        FORMS[form](tool)
        calibration = None
        if tool.need_calibration:
            name = io_details(content).input_name
            calibration = _ranges(tool, name, images[:CALIBRATION_IMAGES])
        return bytes(tool.quantize(calibration).quantized_model)


def graph_bytes(content: bytes) -> int:
    """What a float file takes without its constants, in the form that takes least: packed, see `grid`."""
    found = [content]
    # what cannot be packed has operators that stay as they are
    with contextlib.suppress(ValueError):
        found.append(write_model(on_grid(read_model(content), bits=4)))

    def own(file: bytes) -> int:
        held = ((t.values, t.bits) for t in read_graph(file).tensors)
        return len(file) - sum(-(-values.size * bits // 8) for values, bits in held if values is not None)

    return min(map(own, found))
