"""Small .tflite files for the tests of what runs them; untrained, and the same each time."""

import functools
import warnings

import numpy as np

from model_compression.runtimes.micro import compress_lut
from model_compression.runtimes.tflm import MAX_ARENA_BYTES, Tflm

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TFMOT's, at its import
    from litert_quantizer import quantizer, recipe

    from model_compression.nets.keras2 import keras, tf
    from model_compression.quiet import quiet

#: 40 images of 16x16, as pixels: coarse blocks, so that they differ enough to get different labels.
IMAGES = np.kron(np.random.default_rng(1).integers(0, 256, (40, 4, 4), np.uint8), np.ones((4, 4), np.uint8))


def _net(*, batch_size: int | None, clustered: bool, unlike_channels: bool) -> keras.Model:
    """Conv2D and Dense on 16x16 images.

    `clustered`: 7 distinct weights a channel. `unlike_channels`: each channel has a range of its own,
    so that quantization per channel differs from that per tensor.
    """
    model = keras.Sequential(
        [
            keras.layers.InputLayer((16, 16), batch_size=batch_size),
            keras.layers.Reshape((16, 16, 1)),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(5),
        ]
    )
    generator = np.random.default_rng(2)
    weights = [generator.uniform(-1, 1, array.shape) for array in model.get_weights()]
    # Without a mean over the 7x7 places, the Dense scores depend on what differs between images.
    places = weights[2].reshape(49, 8, 5)
    weights[2] = (places - places.mean(axis=0)).clip(-1, 1).reshape(-1, 5)
    if clustered:
        weights = [np.round(array * 3) / 3 if array.ndim > 1 else array for array in weights]
    if unlike_channels:
        weights = [array * np.geomspace(1, 3, array.shape[-1]) for array in weights]
    model.set_weights([array.astype(np.float32) for array in weights])
    return model


def _int8(converter: tf.lite.TFLiteConverter) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None] / np.float32(255)] for image in IMAGES)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]


@functools.cache
def tflite_file(form: str) -> bytes:
    """The net in one form, made when first asked for."""
    if form == "look_up_table":
        return compress_lut(tflite_file("clustered_per_channel"))
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")  # the converters' own
        if form == "weight_only_int8":
            tool = quantizer.Quantizer(bytearray(_convert("float32")))
            tool.load_quantization_recipe(recipe.weight_only_wi8_afp32())
            return bytes(tool.quantize().quantized_model)
        if form == "recurrent":
            return _recurrent()
        if form == "two_inputs":
            return _two_inputs()
        return _convert(form)


def _recurrent() -> bytes:
    """An LSTM over rows, for one image a call."""
    keras.utils.set_random_seed(3)
    net = keras.Sequential([keras.layers.InputLayer((16, 16)), keras.layers.LSTM(8), keras.layers.Dense(5)])
    function = tf.function(lambda images: net(images, training=False), autograph=False)
    concrete = function.get_concrete_function(tf.TensorSpec((1, 16, 16)))
    return bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete], net).convert())


def _two_inputs() -> bytes:
    """Two halves of an image, two Dense layers."""
    keras.utils.set_random_seed(3)
    halves = [keras.Input((8, 16), name=name) for name in ("above", "below")]
    both = keras.layers.Concatenate()([keras.layers.Flatten()(half) for half in halves])
    net = keras.Model(halves, [keras.layers.Dense(size)(both) for size in (5, 2)])
    return bytes(tf.lite.TFLiteConverter.from_keras_model(net).convert())


def _convert(form: str) -> bytes:
    net = _net(
        batch_size=1 if form == "fixed_batch" else None,
        clustered=form.startswith("clustered"),
        unlike_channels=form != "clustered_per_tensor",
    )
    converter = tf.lite.TFLiteConverter.from_keras_model(net)
    if form == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    elif form == "dynamic_range":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    elif form != "float32":
        _int8(converter)
    if form in ("int8", "uint8"):
        converter.inference_input_type = converter.inference_output_type = tf.as_dtype(form)
    if form == "clustered_per_tensor":
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    return bytes(converter.convert())


def micro_outputs(content: bytes, images: np.ndarray, *, arena_bytes: int = MAX_ARENA_BYTES) -> np.ndarray:
    """TFLM's outputs for a file, as real values."""
    with Tflm() as child:
        return child.outputs(content, images, arena_bytes=arena_bytes)


def smallest_arena(content: bytes) -> int:
    """The smallest arena in which TFLM runs a file."""
    with Tflm() as child:
        return child.smallest_arena(content)
