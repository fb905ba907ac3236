"""Makes small trained models of a user's own, with either Keras: `python saved_models.py 2|3 FOLDER`.

Both train on the same made images: stripes whose slope tells the class, for there is no data set small enough.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

SIZE, CLASSES = 12, 4
TRAIN, TEST = 640, 200


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


def mobile_net(keras: Any) -> Any:
    """Depthwise and pointwise convolutions, each with batch normalization and ReLU6; its own Rescaling."""
    layers = keras.layers
    x = image = keras.Input((SIZE, SIZE, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU(6.0)(x)
    for filters, strides in ((16, 1), (16, 2)):
        x = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU(6.0)(x)
        x = layers.Conv2D(filters, 1, use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu6")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.1)(x)
    return keras.Model(image, layers.Dense(CLASSES, activation="softmax")(x))


def residual_net(keras: Any) -> Any:
    """Two blocks around which the image goes too, the second by a 1 x 1 convolution; takes pixels from 0 to 1."""
    layers = keras.layers

    def block(x: Any, filters: int, strides: int) -> Any:
        y = layers.Conv2D(filters, 3, strides=strides, padding="same")(x)
        y = layers.BatchNormalization()(y)
        y = layers.ReLU()(y)
        y = layers.Conv2D(filters, 3, padding="same")(y)
        y = layers.BatchNormalization()(y)
        if strides > 1:
            x = layers.BatchNormalization()(layers.Conv2D(filters, 1, strides=strides)(x))
        return layers.Activation("relu")(layers.Add()([x, y]))

    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    x = block(block(x, 8, 1), 12, 2)
    x = layers.Flatten()(layers.MaxPooling2D()(x))
    return keras.Model(image, layers.Dense(CLASSES)(x))


def train(keras: Any, model: Any, *, factor: float, from_logits: bool) -> Any:
    x, y = images(TRAIN, 0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=loss)
    model.fit(x * np.float32(factor), y, batch_size=32, epochs=8, verbose=0)
    return model


def save_all(keras: Any, folder: Path, version: str) -> None:
    """`mobile_2.keras`, `residual_2.h5` and so on, for the Keras that is given."""
    keras.utils.set_random_seed(1)
    mobile = train(keras, mobile_net(keras), factor=1.0, from_logits=False)
    residual = train(keras, residual_net(keras), factor=1 / 255, from_logits=True)
    for name, model in (("mobile", mobile), ("residual", residual)):
        for suffix in (".keras", ".h5"):
            model.save(folder / f"{name}_{version}{suffix}")
    if version == "2":
        mobile.save(folder / "mobile_2", save_format="tf")


def main() -> None:
    version, folder = sys.argv[1], Path(sys.argv[2])
    os.environ["TF_USE_LEGACY_KERAS"] = "1" if version == "2" else "0"
    if version == "2":
        import tf_keras as keras
    else:
        import keras
    save_all(keras, folder, version)


if __name__ == "__main__":
    main()
