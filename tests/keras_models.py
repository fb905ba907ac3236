"""Small trained models of a user's own, made with Keras 2 here and with Keras 3 in a process of its own.

As a program, `python saved_models.py FOLDER`, it is that process: it builds the same nets, gives them the
weights that Keras 2 trained, and saves them. So both Keras must come out as one and the same net.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIZE, CLASSES = 12, 4


def images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (count, 12, 12, 3) and their labels: stripes in one of four directions, with noise."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    generator.shuffle(labels)
    angle = labels * np.pi / CLASSES + generator.normal(0, 0.08, count)
    down, right = np.mgrid[:SIZE, :SIZE]
    way = np.cos(angle)[:, None, None] * right + np.sin(angle)[:, None, None] * down
    stripes = np.sin(way * 1.6 + generator.uniform(0, 6.3, count)[:, None, None])
    pixels = 127 + 70 * stripes[..., None] * generator.uniform(0.6, 1, (count, 1, 1, 3))
    pixels += generator.normal(0, 10, pixels.shape)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8), labels


def save_data(path: Path) -> Path:
    """640 training and 200 test images as a user's .npz file."""
    (x_train, y_train), (x_test, y_test) = images(640, 0), images(200, 1)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return path


def mobile_net(keras: Any) -> Any:
    """A depthwise and a pointwise convolution, batch normalization, ReLU6; its own Rescaling, softmax."""
    layers = keras.layers
    x = image = keras.Input((SIZE, SIZE, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU(6.0)(x)
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("relu6")(x)
    x = layers.Conv2D(16, 1, use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU(6.0)(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.1)(x)
    return keras.Model(image, layers.Dense(CLASSES, activation="softmax")(x))


def residual_net(keras: Any) -> Any:
    """A block with the image led around it by a 1 x 1 convolution; takes pixels from 0 to 1, gives logits."""
    layers = keras.layers
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    y = layers.Conv2D(12, 3, strides=2, padding="same")(x)
    y = layers.BatchNormalization()(y)
    y = layers.ReLU()(y)
    y = layers.Conv2D(12, 3, padding="same")(y)
    y = layers.BatchNormalization()(y)
    x = layers.BatchNormalization()(layers.Conv2D(12, 1, strides=2)(x))
    x = layers.Activation("relu")(layers.Add()([x, y]))
    x = layers.Flatten()(layers.MaxPooling2D()(x))
    return keras.Model(image, layers.Dense(CLASSES)(x))


#: By name: the net, what pixels are multiplied by for it, and whether it gives logits.
NETS: dict[str, tuple[Callable[[Any], Any], float, bool]] = {
    "mobile": (mobile_net, 1.0, False),
    "residual": (residual_net, 1 / 255, True),
}
EPOCHS = 6


def save_both(keras: Any, folder: Path) -> None:
    """`mobile_2.keras`, `residual_3.h5` and so on: each net, of Keras 2 (`keras`) and of Keras 3."""
    x, y = images(640, 0)
    for name, (build, factor, from_logits) in NETS.items():
        keras.utils.set_random_seed(1)
        model = build(keras)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
        model.compile(optimizer=keras.optimizers.Adam(0.01), loss=loss)
        model.fit(x * np.float32(factor), y, batch_size=32, epochs=EPOCHS, verbose=0)
        np.savez(folder / f"{name}.npz", *model.get_weights())
        for suffix in (".keras", ".h5"):
            model.save(folder / f"{name}_2{suffix}")
        if name == "mobile":
            model.save(folder / "mobile_2", save_format="tf")
    environment = os.environ | {"TF_USE_LEGACY_KERAS": "0", "KERAS_BACKEND": "tensorflow"}
    subprocess.run([sys.executable, __file__, str(folder)], env=environment, check=True, capture_output=True)


def main() -> None:
    import keras

    folder = Path(sys.argv[1])
    for name, (build, _, _) in NETS.items():
        model = build(keras)
        with np.load(folder / f"{name}.npz") as weights:
            model.set_weights([weights[key] for key in weights.files])
        for suffix in (".keras", ".h5"):
            model.save(folder / f"{name}_3{suffix}")
    image = keras.Input((4, 4, 1))
    for name, x in {
        "custom_3": _custom_layer(keras)()(image),
        "operators_3": image / 255.0 + 1.0,
        "bare_3": keras.ops.sin(image),
        "hard_3": keras.layers.Conv2D(2, 3, activation="hard_sigmoid")(image),
        "lambda_3": keras.layers.Lambda(abs)(image),
        "attention_3": keras.layers.MultiHeadAttention(2, 4)(*[keras.layers.Reshape((4, 4))(image)] * 2),
    }.items():
        keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(x))).save(folder / f"{name}.keras")


def _custom_layer(keras: Any) -> Any:
    @keras.saving.register_keras_serializable(package="mine")
    class Twice(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return 2 * inputs

    return Twice


if __name__ == "__main__":
    main()
