"""A Keras model becomes a file: the forms that the converters can write, and those they get wrong."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..nets import channels
from ..nets.keras2 import keras, tf
from ..nets.layers import kernel_layers
from ..quiet import quiet
from . import coding, quantizing
from .bit_allocation import mixed
from .dilation import whole_dilations
from .graph import Model, added, read_model
from .grid import on_grid
from .matching import to_file_layout
from .quantizing import needed, quantize
from .writing import write_model

#: Training images that show a converter the range of each activation.
REPRESENTATIVE_IMAGES = 500

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
        budget: most bytes of a "mixed_bits" file, slimmed; None for those in the middle between the file with
            all kernels at 4 bits and the one with all at 8.
    Raises:
        ValueError: an unknown form, or one that this stack gets wrong, with the reason.
    """

    form: str
    per_channel_dense: bool = False
    one_image: bool = False
    orders: int = 0
    budget: int | None = None

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
        if self.budget is not None and self.form != "mixed_bits":
            raise ValueError(f"budget goes with form 'mixed_bits', not {self.form!r}")

    @property
    def suffix(self) -> str:
        """The file's ending."""
        return ".h5" if self.form == "h5" else ".tflite"


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


Configure = Callable[[tf.lite.TFLiteConverter, np.ndarray | None, ExportConfig], None]


def _optimized(configure: Configure) -> Export:
    """An export through the converter, which quantizes as it is told."""

    def export(model: keras.Model, images: np.ndarray | None, config: ExportConfig) -> bytes:
        converter = _converter(model, config)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        configure(converter, images, config)
        return converter.convert()

    return export


def _float16(converter: tf.lite.TFLiteConverter, images: np.ndarray | None, config: ExportConfig) -> None:
    converter.target_spec.supported_types = [tf.float16]


def _int8(converter: tf.lite.TFLiteConverter, images: np.ndarray | None, config: ExportConfig) -> None:
    converter.inference_input_type = converter.inference_output_type = tf.int8
    if images is not None:
        converter.representative_dataset = lambda: ([image[None]] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        # QAT quantizes Dense per tensor: compare like with like
        converter._experimental_disable_per_channel_quantization_for_dense_layers = (
            not config.per_channel_dense
        )


def _int16x8(converter: tf.lite.TFLiteConverter, images: np.ndarray | None, config: ExportConfig) -> None:
    shown = needed(images)
    converter.representative_dataset = lambda: ([image[None]] for image in shown)
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    ]


def _quantized(form: str) -> Export:
    """An export through LiteRT's quantizer, which starts from the float32 file."""

    def export(model: keras.Model, images: np.ndarray | None, config: ExportConfig) -> bytes:
        return quantize(_float32(model, None, config), form, images, one_image=config.one_image)

    return export


def _mixed_bits(model: keras.Model, images: np.ndarray | None, config: ExportConfig) -> bytes:
    return mixed(_float32(model, None, config), needed(images), config.budget)


def _packed(bits: int) -> Export:
    """Kernels in whole numbers, their scales in the biases, see `grid`."""

    def export(model: keras.Model, images: np.ndarray | None, config: ExportConfig) -> bytes:
        graphs = on_grid(read_model(_float32(model, None, config)), bits=bits)
        return write_model(graphs, coded=True)

    return export


#: Every form that the stack writes and runs rightly.
FORMS: dict[str, Export] = {
    "h5": _h5,
    "float32": _float32,
    "float16": _optimized(_float16),
    "dynamic_range": _optimized(lambda converter, images, config: None),
    "int8": _optimized(_int8),
    "int16x8": _optimized(_int16x8),
    **{
        form: _quantized(form) for form in quantizing.FORMS if form.startswith("int4") or form == "int8_mixed"
    },
    "mixed_bits": _mixed_bits,
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
        return coding.brotli_bytes(write_model(on_grid(_refilled(template, net), bits=bits), coded=True))

    return channels.shortest(model, size, tries=config.orders)


def _refilled(model: Model, net: keras.Model) -> Model:
    """A chain's float32 file with the weights of another net of the same layers."""
    graph = model.graphs[0]
    tensors, operators = list(graph.tensors), list(graph.operators)
    for layer, (kernel, operator) in zip(kernel_layers(net), graph.kernels(), strict=True):
        values, *biases = layer.get_weights()
        named = [graph.tensors[index] for index in operator.inputs[2:] if index >= 0]
        constants = [tensor.holding(bias) for tensor, bias in zip(named, biases, strict=False)]
        constants.insert(0, kernel.holding(to_file_layout(values, layer)))
        places = (added(tensors, tensor) for tensor in constants)
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
