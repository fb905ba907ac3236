"""Images moved about, so that a net sees none of them twice."""

from .keras2 import tf

#: Limits at strength 1: rotation and shear in radians, change of each side's length as a fraction,
#: shift in pixels of an image 28 pixels wide.
ROTATION, SHEAR, STRETCH, SHIFT = 0.17, 0.17, 0.12, 2.0 / 28


def check_images(strength: float, shape: tuple[int, ...], kind: str | None = None) -> None:
    """Raise ValueError where anything but images shall be moved.

    Args:
        shape: one input's. kind: of the data, see `data.datasets.Dataset.kind`; None where only the shape
            is known.
    """
    if strength and (len(shape) not in (2, 3) or kind not in (None, "image")):
        raise ValueError(
            f"augment is {strength!r} and the data are {kind or 'input'}s {shape}; allowed: 0, "
            "since only images (height, width) or (height, width, channels) can be moved"
        )


def draw_moves(images: int, strength: float, seed: tf.Tensor) -> tf.Tensor:
    """Float32 (6, images), each even in [-strength, strength]: what `move` takes.

    Args:
        seed: int32 (2,); the same seed draws the same.
    """
    return tf.random.stateless_uniform([6, images], seed, -strength, strength)


def view_seed(view: int | tf.Tensor) -> tf.Tensor:
    """The seed of a teacher's view, the same for every student."""
    return tf.stack([0, tf.cast(view, tf.int32)])


def move(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Each image rotated, sheared, stretched and shifted by amounts of its own; 0 comes in at the edges.

    Source: Simard, Steinkraus & Platt 2003, "Best practices for convolutional neural networks".
    Args:
        images: float32 (n, height, width) or (n, height, width, channels).
        drawn: float32 (6, n), see `draw_moves`; ones are the limits above.
    Returns:
        float32 shaped like `images`, interpolated bilinearly.
    """
    grey = images.shape.rank == 3
    batch = images[..., None] if grey else images
    height, width = batch.shape[1:3]
    angle, shear = ROTATION * drawn[0], SHEAR * drawn[1]
    wide, high = 1 + STRETCH * drawn[2], 1 + STRETCH * drawn[3]
    cos, sin = tf.cos(angle), tf.sin(angle)
    xx, xy, yx, yy = cos * wide, (shear - sin) * wide, sin * high, cos * high
    # about the middle of the image
    x, y = (width - 1) / 2, (height - 1) / 2
    right = x - xx * x - xy * y + SHIFT * width * drawn[4]
    down = y - yx * x - yy * y + SHIFT * height * drawn[5]
    none = tf.zeros_like(angle)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=batch,
        transforms=tf.stack([xx, xy, right, yx, yy, down, none, none], axis=1),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return moved[..., 0] if grey else moved


def augment(images: tf.Tensor, strength: float, seed: tf.Tensor) -> tf.Tensor:
    """Images moved about at random, see `move`; at strength 1 each amount goes up to the limits above."""
    return move(images, draw_moves(tf.shape(images)[0], strength, seed))
