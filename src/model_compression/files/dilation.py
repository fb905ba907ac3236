"""Dilated convolutions go into a file as they are.

Keras 2 cuts an image into pieces, a batch of them, convolves these and puts them together again, since
TensorFlow has no gradient of a dilated convolution on the processor. A converter would write all of that,
with the bias behind it, and TFLite Micro computes it wrongly (tflite-micro issue 2319).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..nets.keras2 import keras, tf


def _convolve(layer: keras.layers.Conv2D, inputs: Any, kernel: Any) -> Any:
    return tf.nn.conv2d(inputs, kernel, layer.strides, layer.padding.upper(), dilations=layer.dilation_rate)


def _convolve_depthwise(layer: keras.layers.DepthwiseConv2D, inputs: Any) -> Any:
    outputs = tf.raw_ops.DepthwiseConv2dNative(
        input=inputs,
        filter=layer.depthwise_kernel,
        strides=[1, *layer.strides, 1],
        padding=layer.padding.upper(),
        dilations=[1, *layer.dilation_rate, 1],
    )
    outputs = tf.nn.bias_add(outputs, layer.bias) if layer.use_bias else outputs
    return layer.activation(outputs) if layer.activation is not None else outputs


@contextmanager
def whole_dilations() -> Iterator[None]:
    """While it lasts, Keras computes dilated convolutions in one operator each, which has no gradient."""
    convolution, depthwise = keras.layers.Conv2D.convolution_op, keras.layers.DepthwiseConv2D.call

    def convolution_op(layer: Any, inputs: Any, kernel: Any) -> Any:
        dilated = type(layer) is keras.layers.Conv2D and max(layer.dilation_rate) > 1
        return (_convolve if dilated else convolution)(layer, inputs, kernel)

    def call(layer: Any, inputs: Any) -> Any:
        return (_convolve_depthwise if max(layer.dilation_rate) > 1 else depthwise)(layer, inputs)

    keras.layers.Conv2D.convolution_op, keras.layers.DepthwiseConv2D.call = convolution_op, call
    try:
        yield
    finally:
        keras.layers.Conv2D.convolution_op, keras.layers.DepthwiseConv2D.call = convolution, depthwise
