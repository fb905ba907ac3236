"""A Keras model becomes a file: the forms that the converters can write, and those they get wrong."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..nets import channels
from ..nets.keras2 import keras, qtyping, quantizer, recipe, tf
from ..nets.layers import kernel_layers
from ..quiet import quiet
from . import coding
from .dilation import whole_dilations
from .graph import Model, read_model
from .grid import on_grid
from .matching import to_file_layout
from .running import io_details
from .writing import write_model

#: Training images that show a converter the range of each activation.
REPRESENTATIVE_IMAGES = 500
#: Images at once where a converter sums up over them, in a ninth of the time that they take one by one.
GPTQ_BATCH = 50

_ALL = qtyping.TFLOperationName.ALL_SUPPORTED
_CONV = qtyping.TFLOperationName.CONV_2D
_DENSE = qtyping.TFLOperationName.FULLY_CONNECTED
_MIN_MAX = quantizer.AlgorithmName.MIN_MAX_UNIFORM_QUANT
_OCTAV = quantizer.AlgorithmName.OCTAV
_GPTQ = quantizer.AlgorithmName.GPTQ

#: Forms that this stack writes without an error and computes wrongly, with what was measured.
REFUSED = {
    "int2_conv": "2-bit convolutions score chance (0.098) on every kernel",
    "int4_static_gptq": "GPTQ in a static recipe writes a corrupt file (0.098)",
    "int4_dynamic_octav": "dynamic 4-bit with OCTAV is right under XNNPACK only (0.942 without)",
    "int4_dynamic_mse": "dynamic 4-bit with MSE is right under XNNPACK only (0.894 without)",
    "int4_mixed_octav": "dynamic 4-bit with OCTAV is right under XNNPACK only (0.936 agreement without)",
    "int2_weight_only": "weight-only 2-bit returns an unquantized file",
    "float16_block_sparse": "float16 with block-sparse encoding scores chance (0.088)",
}


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What kind of file to write.

    Args:
        form: a name in `FORMS`.
        per_channel_dense: one scale for each output of a Dense layer instead of one in all; only
            int8. The converter's own default, but larger, and it splits clusters.
        one_image: a file for one image a call, which TFLite Micro wants: shapes that an open batch would
            leave to be worked out, by operators that it lacks, are numbers then.
        orders: of the hidden channels that are tried for a packed file that codes short, see `ordered`.
    Raises:
        ValueError: an unknown form, or one that this stack gets wrong, with the reason.
    """

    form: str
    per_channel_dense: bool = False
    one_image: bool = False
    orders: int = 0

    def __post_init__(self) -> None:
        if self.form in REFUSED:
            raise ValueError(f"form {self.form!r} is refused: {REFUSED[self.form]}")
        if self.form not in FORMS:
            raise ValueError(f"form is {self.form!r}; allowed: {', '.join(FORMS)}")
        if self.per_channel_dense and self.form != "int8":
            raise ValueError(f"per_channel_dense goes with form 'int8', not {self.form!r}")
        if isinstance(self.orders, bool) or not isinstance(self.orders, int) or self.orders < 0:
            raise ValueError(f"orders is {self.orders!r}; allowed: whole numbers from 0")
        if self.orders and not self.form.startswith("packed"):
            raise ValueError(f"orders goes with a packed form, not {self.form!r}")

    @property
    def suffix(self) -> str:
        """The file's ending."""
        return ".h5" if self.form == "h5" else ".tflite"


Source = Callable[[], Iterator[list[np.ndarray]]]
Export = Callable[[keras.Model, np.ndarray | None, ExportConfig], bytes]


def _converter(model: keras.Model, config: ExportConfig) -> tf.lite.TFLiteConverter:
    """What `from_keras_model` gives, in a third of its time: that saves the model first, layer by layer."""
    (image,) = model.inputs
    (output,) = model.output_names

    def call(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {output: model(images, training=False)}

    shape = [1 if config.one_image else None, *image.shape[1:]]
    spec = tf.TensorSpec(shape, image.dtype, name=image.name.split(":")[0])
    with whole_dilations():
        function = tf.function(call, input_signature=[spec], autograph=False).get_concrete_function()
    # what the function reads, and nothing that Keras would save beside it
    holder = tf.Module()
    holder.variables_ = model.variables
    return tf.lite.TFLiteConverter.from_concrete_functions([function], holder)


def _h5(model: keras.Model, images: np.ndarray | None, config: ExportConfig) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.h5"
        model.save(path, include_optimizer=False, save_format="h5")
        return path.read_bytes()


def _float32(model: keras.Model, images: np.ndarray | None, config: ExportConfig) -> bytes:
    return _converter(model, config).convert()


def _float16(model: keras.Model, images: np.ndarray | None, config: ExportConfig) -> bytes:
    converter = _converter(model, config)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def _dynamic_range(model: keras.Model, images: np.ndarray | None, config: ExportConfig) -> bytes:
    converter = _converter(model, config)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()


def _int8(model: keras.Model, images: np.ndarray | None, config: ExportConfig) -> bytes:
    converter = _converter(model, config)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    if images is not None:
        converter.representative_dataset = lambda: ([image[None]] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        # QAT quantizes Dense per tensor: compare like with like
        converter._experimental_disable_per_channel_quantization_for_dense_layers = (
            not config.per_channel_dense
        )
    return converter.convert()


def _int16x8(model: keras.Model, images: np.ndarray | None, config: ExportConfig) -> bytes:
    converter = _converter(model, config)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in _needed(images))
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    ]
    return converter.convert()


def _needed(images: np.ndarray | None) -> np.ndarray:
    if images is None:
        raise ValueError("this form needs representative images, and a QAT model brings none")
    return images


def _litert_quantizer(configure: Callable[[quantizer.Quantizer], object], *, batch: int = 1) -> Export:
    """An export through litert-quantizer, which starts from the float32 file.

    Args:
        batch: representative images at once; above 1 changes ranges, which are averages over the batches.
    """

    def export(model: keras.Model, images: np.ndarray | None, config: ExportConfig) -> bytes:
        content = _float32(model, None, config)
        tool = quantizer.Quantizer(bytearray(content))
        configure(tool)
        calibration = None
        if tool.need_calibration:
            name = io_details(content).input_name
            shown = _needed(images)
            samples = [{name: shown[start : start + batch]} for start in range(0, len(shown), batch)]
            # more threads add up in another order now and then, and GPTQ makes another file of it
            calibration = tool.calibrate({"serving_default": samples}, num_threads=1)
        return bytes(tool.quantize(calibration).quantized_model)

    return export


def _mixed(algorithm: quantizer.AlgorithmName, *, batch: int = 1) -> Export:
    """Dynamic: Dense at 4 bits, convolutions at 8, which hold few weights and lose most by 4."""

    def configure(tool: quantizer.Quantizer) -> None:
        tool.add_dynamic_config(".*", _DENSE, 4, algorithm_key=algorithm)
        tool.add_dynamic_config(".*", _CONV, 8)

    return _litert_quantizer(configure, batch=batch)


def _static_int4(tool: quantizer.Quantizer) -> None:
    tool.load_quantization_recipe(recipe.static_wi8_ai8())
    tool.add_static_config(
        ".*",
        _DENSE,
        activation_num_bits=8,
        weight_num_bits=4,
        weight_granularity=qtyping.QuantGranularity.TENSORWISE,
    )


def _packed(bits: int) -> Export:
    """Kernels in whole numbers, their scales in the biases, see `grid`."""

    def export(model: keras.Model, images: np.ndarray | None, config: ExportConfig) -> bytes:
        return write_model(on_grid(read_model(_float32(model, None, config)), bits=bits))

    return export


#: Every form that the stack writes and runs rightly.
FORMS: dict[str, Export] = {
    "h5": _h5,
    "float32": _float32,
    "float16": _float16,
    "dynamic_range": _dynamic_range,
    "int8": _int8,
    "int16x8": _int16x8,
    "int4_dynamic": _litert_quantizer(lambda tool: tool.load_quantization_recipe(recipe.dynamic_wi4_afp32())),
    "int4_weight_only": _litert_quantizer(
        lambda tool: tool.load_quantization_recipe(recipe.weight_only_wi4_afp32())
    ),
    "int4_mixed": _mixed(_MIN_MAX),
    "int4_weight_only_octav": _litert_quantizer(
        lambda tool: tool.add_weight_only_config(".*", _ALL, 4, algorithm_key=_OCTAV)
    ),
    "int4_mixed_gptq": _mixed(_GPTQ, batch=GPTQ_BATCH),
    "int4_static": _litert_quantizer(_static_int4),
    "packed_int4": _packed(4),
    "packed_int8": _packed(8),
}


def ordered(model: keras.Model, config: ExportConfig) -> keras.Model:
    """The same net with its hidden channels in the order, of those tried, whose file codes shortest."""
    if not config.orders:
        return model

    # the converter takes a second for what differs in its constants only
    template = read_model(_float32(model, None, config))
    bits = 4 if config.form == "packed_int4" else 8

    def size(net: keras.Model) -> int:
        return coding.brotli_bytes(write_model(on_grid(_refilled(template, net), bits=bits)))

    return channels.shortest(model, size, tries=config.orders)


def _refilled(model: Model, net: keras.Model) -> Model:
    """A chain's float32 file with the weights of another net of the same layers."""
    graph = model.graphs[0]
    tensors, operators = list(graph.tensors), list(graph.operators)
    for layer, (kernel, operator) in zip(kernel_layers(net), graph.kernels(), strict=True):
        values, *biases = layer.get_weights()
        added = [kernel.holding(to_file_layout(values, layer))]
        named = [graph.tensors[index] for index in operator.inputs[2:] if index >= 0]
        added += [tensor.holding(bias) for tensor, bias in zip(named, biases, strict=False)]
        places = range(len(tensors), len(tensors) + len(added))
        tensors += [replace(tensor, index=place) for tensor, place in zip(added, places, strict=True)]
        operators[operators.index(operator)] = replace(operator, inputs=(operator.inputs[0], *places))
    return replace(model, graphs=(replace(graph, tensors=tuple(tensors), operators=tuple(operators)),))


def export(model: keras.Model, config: ExportConfig, *, representative: np.ndarray | None) -> bytes:
    """The file's bytes, as the converter writes them.

    Args:
        model: a float model with logits, or a QAT model.
        representative: float32 images (n, ...) that show the range of each activation; None for a
            QAT model, which has learned its ranges.
    """
    with quiet():
        return FORMS[config.form](model, representative, config)
