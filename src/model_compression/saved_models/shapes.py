"""The shape of what a model takes, beside that of a data set's images."""

from collections.abc import Sequence

import numpy as np

from .graphs import UnsupportedModelError


def closed(wanted: tuple[int | None, ...], given: tuple[int, ...]) -> tuple[int, ...]:
    """A model's input shape, its open sizes closed by what the images have.

    Args:
        wanted: None where a size is open. given: an image's shape.
    Raises:
        UnsupportedModelError: images of another shape, but for axes of 1 and for all numbers in one axis.
    """
    # an open size takes the image's, and an axis of 1 may be missing at the end
    full = given if len(given) == len(wanted) else (*given, 1)
    if None in wanted and len(full) == len(wanted) and _fits(wanted, full):
        return full
    sizes = tuple(size for size in wanted if size is not None)
    same = [size for size in sizes if size != 1] == [size for size in given if size != 1]
    flat = 1 in (len(sizes), len(given)) and np.prod(sizes) == np.prod(given)
    if None not in wanted and (same or flat):
        return sizes
    raise UnsupportedModelError(
        f"the model takes images {_told(wanted)} and the data hold {_told(given)}; allowed is the same "
        f"shape, but for axes of 1; {_remedy(wanted, given)}"
    )


#: Code that makes other channels, by how many there are and how many there should be.
_CHANNELS = {
    (1, 3): "repeat the grey channel: x = numpy.stack([x.squeeze()] * 3, axis=-1)",
    (3, 1): "make them grey: x = tensorflow.image.rgb_to_grayscale(x).numpy()",
    (4, 3): "leave out the alpha channel: x = x[..., :3]",
}


def _remedy(wanted: tuple[int | None, ...], given: tuple[int, ...]) -> str:
    """What gives images the shape that a model takes, with code where one way is likely."""
    if (*given[1:], given[0]) == wanted:
        return "move the channels last: x = numpy.moveaxis(x, 1, -1)"
    if (given[-1], *given[:-1]) == wanted:
        return "move the channels first: x = numpy.moveaxis(x, -1, 1)"
    *sides, channels = given if len(given) == 3 else (*given, 1)
    if len(wanted) == 3 and len(sides) == 2:
        code = _CHANNELS.get((channels, wanted[2] or 0))
        if code and _fits(wanted, sides):
            return code
        if channels == wanted[2]:
            size, shape = tuple(wanted[:2]), (-1, *sides, channels)
            return (
                "scale them as for its training: "
                f"x = tensorflow.image.resize(x.reshape{shape}, {size}).numpy().astype(x.dtype)"
            )
    return "prepare them as for its training"


def _told(shape: tuple[int | None, ...]) -> str:
    return " x ".join("any" if size is None else str(size) for size in shape)


def _fits(wanted: Sequence[int | None], sizes: Sequence[int]) -> bool:
    return all(each in (None, size) for each, size in zip(wanted, sizes, strict=False))
