"""LiteRT's own quantizer: a float .tflite file becomes its post-training forms, whatever made it."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from operator import methodcaller

import numpy as np

from ..nets.keras2 import calibrator, qsv_utils, qtyping, quantizer, recipe
from ..quiet import quiet
from . import running
from .bit_allocation import mixed, prepared
from .graph import KERNEL_OPERATORS, Graph, Tensor, read_graph, read_model
from .grid import on_grid
from .writing import write_model

Configure = Callable[[quantizer.Quantizer], object]
_ALGORITHMS = quantizer.AlgorithmName
_ALL, _DENSE = qtyping.TFLOperationName.ALL_SUPPORTED, qtyping.TFLOperationName.FULLY_CONNECTED
_CONV, _DEPTHWISE = qtyping.TFLOperationName.CONV_2D, qtyping.TFLOperationName.DEPTHWISE_CONV_2D


_recipe = partial(methodcaller, "load_quantization_recipe")
#: Of an operation: bits of the weights; static, first those of the activations.
_dynamic = partial(methodcaller, "add_dynamic_config", ".*")
_weight_only = partial(methodcaller, "add_weight_only_config", ".*")
_static = partial(methodcaller, "add_static_config", ".*")
_STATIC_INT4 = (
    _recipe(recipe.static_wi8_ai8()),
    _static(_DENSE, 8, 4, weight_granularity=qtyping.QuantGranularity.TENSORWISE),
)
#: Convolutions at 8 bits: they hold few weights and lose most by 4.
_CONVOLUTIONS = (_dynamic(_CONV, 8), _dynamic(_DEPTHWISE, 8))
#: What a float file can become, by the names that a Keras model's forms have; itself it is "float32".
#: Depthwise convolutions have no kernel of 4 bits.
FORMS: dict[str, tuple[Configure, ...]] = {
    "int8": (_recipe(recipe.static_wi8_ai8()),),
    "dynamic_range": (_recipe(recipe.dynamic_wi8_afp32()),),
    "int8_weight_only": (_recipe(recipe.weight_only_wi8_afp32()),),
    # floats stay between the layers with kernels, for what has no integer kernel, or a wrong one
    "int8_mixed": (_static(_CONV, 8, 8), _static(_DEPTHWISE, 8, 8), _static(_DENSE, 8, 8)),
    "int16x8": (_recipe(recipe.static_wi8_ai16()),),
    "int4_dynamic": (_recipe(recipe.dynamic_wi4_afp32()), _dynamic(_DEPTHWISE, 8)),
    "int4_weight_only": (_weight_only(_ALL, 4), _weight_only(_DEPTHWISE, 8)),
    "int4_weight_only_octav": (
        _weight_only(_ALL, 4, algorithm_key=_ALGORITHMS.OCTAV),
        _weight_only(_DEPTHWISE, 8),
    ),
    "int4_mixed": (_dynamic(_DENSE, 4), *_CONVOLUTIONS),
    "int4_mixed_gptq": (_dynamic(_DENSE, 4, algorithm_key=_ALGORITHMS.GPTQ), *_CONVOLUTIONS),
    "int4_static": _STATIC_INT4,
    "int4_static_all": (*_STATIC_INT4, _static(_CONV, 8, 4)),
}
#: Images that show the widest range of each activation, and how many at once: all their activations are held.
CALIBRATION_IMAGES, CALIBRATION_BATCH = 100, 10
#: Images at once where GPTQ sums up over them, in a ninth of the time that they take one by one.
GPTQ_BATCH = 50
#: Forms whose ends are integers too.
STATIC = ("int8", "int16x8", "int4_static", "int4_static_all")


def needed(images: np.ndarray | None) -> np.ndarray:
    """The images, where a form cannot do without.

    Raises:
        ValueError: there are none.
    """
    if images is None:
        raise ValueError("this form needs representative images, and a QAT model brings none")
    return images


def reads_tokens(graph: Graph) -> str:
    """The operator that takes an input for whole numbers; empty where none does."""
    readers = (operator for operator in graph.operators if set(operator.inputs) & set(graph.inputs))
    return next((each.name for each in readers if each.name in ("CAST", "GATHER", "EMBEDDING_LOOKUP")), "")


def quantize(content: bytes, form: str, images: np.ndarray | None, *, one_image: bool = False) -> bytes:
    """The file in a form.

    Args:
        content: a float .tflite file. form: a name in `FORMS`, or "mixed_bits".
        images: float32 (n, ...) that show the range of each activation.
        one_image: whether the file takes no more than one image a call.
    Raises:
        ValueError: a file that the form would change beyond use.
    """
    graph = read_graph(content)
    if form in STATIC and reads_tokens(graph):
        raise ValueError("the model takes whole numbers (tokens), which a quantized input would round")
    if form == "mixed_bits":
        return mixed(content, needed(images))
    content = prepared(content)
    with quiet():
        tool = quantizer.Quantizer(bytearray(content))
        for configure in FORMS[form]:
            configure(tool)
        calibration = None
        if tool.need_calibration:
            if any(operator.name == "WHILE" for operator in graph.operators):
                raise ValueError(
                    "a recurrent layer is a loop in the file, inside which no ranges can be measured, and "
                    "written out step by step it is larger than the float file; an LSTM is one operator"
                )
            shown, gptq = needed(images), "gptq" in form
            shown = shown if gptq else shown[:CALIBRATION_IMAGES]
            batch = 1 if one_image else GPTQ_BATCH if gptq else CALIBRATION_BATCH
            sources = running.interpreter(content, delegate=False).get_input_details()
            given = {
                f"inputs {source['index']}": running.stored(part, source)
                for source, part in zip(sources, running.split(shown, sources), strict=True)
            }
            samples = [
                {name: whole[start : start + batch] for name, whole in given.items()}
                for start in range(0, len(shown), batch)
            ]
            # more threads add up in another order now and then, and GPTQ makes another file of it; the others
            # take the widest range, of which the tool itself would take a mean over batches
            widest = {} if gptq else {"qsv_update_func": qsv_utils.min_max_update}
            seen = calibrator.Calibrator(content, num_threads=1, **widest)
            for sample in samples:
                seen.calibrate({"serving_default": [sample]}, tool._recipe_manager)
            calibration = seen.get_model_qsvs()
        # biases that overflow, see below
        with np.errstate(invalid="ignore"):
            quantized = bytes(tool.quantize(calibration).quantized_model)
    return _with_even_steps(quantized, graph)


def _with_even_steps(content: bytes, before: Graph) -> bytes:
    """The file with filters of zeros alone on the widest scale of their kernel.

    The tool gives them steps of next to nothing, and 32 bits cannot hold their biases in these.

    Args:
        before: of the float file.
    """
    model, changed = read_model(content), list[Tensor]()
    graph = model.graphs[0]
    pairs = [[each for each in one.operators if each.name in KERNEL_OPERATORS] for one in (graph, before)]
    for operator, known in zip(*pairs, strict=True):
        kernel, bias, floats = graph.stored(operator.inputs[1]), graph.bias(operator), before.bias(known)
        if kernel is None or bias is None or floats is None or min(bias.scale.size, kernel.scale.size) < 2:
            continue
        empty = ~kernel.numbers.any(axis=tuple(set(range(len(kernel.shape))) - {kernel.axis}))
        if empty.any():
            scale = np.where(empty, kernel.scale.max(), kernel.scale)
            steps = bias.scale / kernel.scale * scale
            values = np.where(empty, np.rint(floats.numbers / steps), bias.numbers)
            changed += replace(kernel, scale=scale), replace(bias, scale=steps).holding(values)
    return write_model(model.holding(graph.holding(*changed)), keep_signatures=True) if changed else content


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
