"""A Keras model becomes a file: the forms that the converters write rightly."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np

from ..checks import check, check_whole
from ..nets import channels
from ..nets.keras2 import keras, nn_impl, nn_ops, tf
from ..nets.layers import kernel_layers
from ..quiet import quiet
from . import coding, quantizing, running
from .bit_allocation import mixed
from .graph import Model, added, read_model
from .grid import on_grid
from .matching import to_file_layout
from .writing import write_model

#: Training images that show a converter the range of each activation.
REPRESENTATIVE_IMAGES = 500


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
        exact: a packed file whose scores are the net's; without, in fewer bytes, they are times a factor.
        budget: most bytes of a "mixed_bits" file, slimmed; None for those in the middle between the file with
            all kernels at 4 bits and the one with all at 8.
    Raises:
        ValueError: an unknown form, or what does not go with it.
    """

    form: str
    per_channel_dense: bool = False
    one_image: bool = False
    orders: int = 0
    exact: bool = False
    budget: int | None = None

    def __post_init__(self) -> None:
        check(self.form in FORMS, "form", self.form, ", ".join(FORMS))
        if self.per_channel_dense and self.form != "int8":
            raise ValueError(f"per_channel_dense goes with form 'int8', not {self.form!r}")
        check_whole("orders", self.orders, 0)
        for name in ("orders", "exact"):
            if getattr(self, name) and not self.form.startswith("packed"):
                raise ValueError(f"{name} goes with a packed form, not {self.form!r}")
        if self.budget is not None and self.form != "mixed_bits":
            raise ValueError(f"budget goes with form 'mixed_bits', not {self.form!r}")

    @property
    def suffix(self) -> str:
        """The file's ending."""
        return ".h5" if self.form == "h5" else ".tflite"


def _converter(model: keras.Model, config: ExportConfig) -> tf.lite.TFLiteConverter:
    """What `from_keras_model` gives, in a third of its time: that saves the model first, layer by layer."""
    (image,) = model.inputs
    (output,) = model.output_names

    def call(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {output: model(images, training=False)}

    shape = [1 if config.one_image else None, *image.shape[1:]]
    spec = tf.TensorSpec(shape, image.dtype, name=image.name.split(":")[0])
    # as for a TPU: dilated convolutions in one operator each, which has no gradient. Else an image is cut
    # into a batch of pieces, which the converter would write and TFLM computes wrongly (its issue 2319)
    with mock.patch.object(nn_ops, "device_context"), mock.patch.object(nn_impl, "device_context"):
        function = tf.function(call, input_signature=[spec], autograph=False).get_concrete_function()
    # what the function reads, and nothing that Keras would save beside it
    holder = tf.Module()
    holder.variables_ = model.variables
    return tf.lite.TFLiteConverter.from_concrete_functions([function], holder)


def _h5(model: keras.Model) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.h5"
        model.save(path, include_optimizer=False, save_format="h5")
        return path.read_bytes()


def _optimized(model: keras.Model, images: np.ndarray | None, config: ExportConfig) -> bytes:
    """What the converter itself quantizes, as the form says."""
    converter = _converter(model, config)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if config.form == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if config.form == "int8":
        converter.inference_input_type = converter.inference_output_type = tf.int8
    if config.form == "int16x8":
        quantizing.needed(images)
    if config.form in _SUPPORTED and images is not None:
        _check_exponentials(model, images, config)
        converter.representative_dataset = lambda: ([image[None]] for image in images)
        converter.target_spec.supported_ops = [_SUPPORTED[config.form]]
        # QAT quantizes Dense per tensor: compare like with like
        per_tensor = config.form == "int8" and not config.per_channel_dense
        converter._experimental_disable_per_channel_quantization_for_dense_layers = per_tensor
    return converter.convert()


#: Activations that the converter writes by an exponential of all inputs, large ones too.
_BY_EXPONENTIALS = {"selu", "exponential", "softplus"}


def _check_exponentials(model: keras.Model, images: np.ndarray, config: ExportConfig) -> None:
    """Raise ValueError where one overflows: the range of infinity ends the converter's process."""
    activations = {getattr(getattr(layer, "activation", None), "__name__", "") for layer in model.layers}
    if not activations & _BY_EXPONENTIALS:
        return
    whole = read_model(_converter(model, config).convert())
    graph = whole.graphs[0]
    for operator in (operator for operator in graph.operators if operator.name == "EXP"):
        cut = write_model(whole.holding(replace(graph, outputs=operator.outputs)))
        if not np.isfinite(running.logits(cut, images)).all():
            raise ValueError(
                "an exponential within the model overflows on its training inputs, so that it has no range "
                "for integers: scale the inputs, or take relu for selu, exponential or softplus"
            )


#: Integer forms of the converter's, by the operators that they may have.
_SUPPORTED = {
    "int8": tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
    "int16x8": tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
}


def _on_grid(model: Model, config: ExportConfig) -> bytes:
    """Kernels in whole numbers, their scales in the biases, see `grid`."""
    bits = 4 if config.form == "packed_int4" else 8
    return write_model(on_grid(model, bits=bits, exact=config.exact), coded=True)


#: What the converter itself quantizes, and every form that the stack writes and runs rightly.
_CONVERTED = ("float16", "dynamic_range", "int8", "int16x8")
FORMS = (
    "h5", "float32", *_CONVERTED, "int8_mixed", *(form for form in quantizing.FORMS if "int4" in form),
    "mixed_bits", "packed_int4", "packed_int8",
)  # fmt: skip


def ordered(model: keras.Model, config: ExportConfig) -> keras.Model:
    """The same net with its hidden channels in the order, of those tried, whose file codes shortest."""
    if not config.orders:
        return model

    # the converter takes a second for what differs in its constants only
    template = read_model(_converter(model, config).convert())

    def size(net: keras.Model) -> int:
        return coding.brotli_bytes(_on_grid(_refilled(template, net), config))

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
    return model.holding(replace(graph, tensors=tuple(tensors), operators=tuple(operators)))


def export(model: keras.Model, config: ExportConfig, *, representative: np.ndarray | None) -> bytes:
    """The file's bytes, as the converter writes them.

    Args:
        model: a float model with logits, or a QAT model.
        representative: float32 images (n, ...) that show the range of each activation; None for a
            QAT model, which has learned its ranges.
    """
    with quiet():
        if config.form == "h5":
            return _h5(model)
        if config.form in _CONVERTED:
            return _optimized(model, representative, config)
        content = _converter(model, config).convert()
        if config.form == "float32":
            return content
        if config.form.startswith("packed"):
            return _on_grid(read_model(content), config)
        if config.form == "mixed_bits":
            return mixed(content, quantizing.needed(representative), config.budget)
        return quantizing.quantize(content, config.form, representative, one_image=config.one_image)
