"""Five ways to spoil images, to ask who pays when they are not as clean as the training's.

In the order of MNIST-C (Mu & Gilmer 2019, arXiv:1906.02337), whose shot noise, glass blur, translation,
brightness and stripes these stand for; each is written from its definition, at one strength.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

#: Height and width below which there is no picture to spoil.
LEAST = 8


def why_not(shape: tuple[int, ...]) -> str:
    """Why samples of a shape, (height, width) or (height, width, channels) for images, are left alone.

    Empty where they are images.
    """
    if len(shape) in (2, 3) and min(shape[:2]) >= LEAST:
        return ""
    return f"samples of shape {shape} are no images: height and width of at least {LEAST} are needed"


def _noise(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Photons are counted, 10 where it is brightest: Poisson noise."""
    return rng.poisson(10 * images) / 10


def _blur(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur, its standard deviation 1/20 of the side: 1.4 pixels of 28."""
    sides = images.shape[1:3]
    sigma = (0.0, *(side / 20 for side in sides), *[0.0] * (images.ndim - 3))
    return ndimage.gaussian_filter(images, sigma, mode="nearest")


def _shift(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each image moved by 1/8 of its sides, 3 pixels of 28, along one of the diagonals; 0 moves in."""
    height, width = images.shape[1:3]
    down, right = max(1, height // 8), max(1, width // 8)
    padded = np.pad(images, [(0, 0), (down, down), (right, right), *[(0, 0)] * (images.ndim - 3)])
    moved = np.empty_like(images)
    ways = rng.integers(0, 4, len(images))
    for way in range(4):
        top, left = 2 * down * (way // 2), 2 * right * (way % 2)
        moved[ways == way] = padded[ways == way, top : top + height, left : left + width]
    return moved


def _brightness(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All of the image brighter by 0.3 of the range, what exceeds it cut off."""
    return images + 0.3


def _occlusion(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A square a quarter of the sides wide, in the middle two quarters, is black."""
    spoilt = images.copy()
    height, width = images.shape[1:3]
    tops = rng.integers(height // 4, height - height // 2 + 1, len(images))
    lefts = rng.integers(width // 4, width - width // 2 + 1, len(images))
    for image, top, left in zip(spoilt, tops, lefts, strict=True):
        image[top : top + height // 4, left : left + width // 4] = 0
    return spoilt


#: By name.
CORRUPTIONS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "noise": _noise,
    "blur": _blur,
    "shift": _shift,
    "brightness": _brightness,
    "occlusion": _occlusion,
}


def corrupt(images: np.ndarray, name: str, *, seed: int) -> np.ndarray:
    """A spoilt copy; the same seed spoils alike.

    Args:
        images: uint8, or floats of any range, (n, height, width) or (n, height, width, channels). The range
            is 0 to 255, or that of the floats given.
        name: a key of `CORRUPTIONS`.
    Returns:
        Of the same type and shape, within the same range.
    Raises:
        ValueError: no such corruption, or samples that are no images.
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"corruption is {name!r}; allowed: {', '.join(CORRUPTIONS)}")
    if reason := why_not(images.shape[1:]):
        raise ValueError(reason)
    whole = images.dtype == np.uint8
    low, high = (0.0, 255.0) if whole else (float(images.min()), float(images.max()))
    unit = (images.astype(np.float32) - low) / ((high - low) or 1.0)
    spoilt = low + (high - low) * np.clip(CORRUPTIONS[name](unit, np.random.default_rng(seed)), 0, 1)
    return (np.rint(spoilt) if whole else spoilt).astype(images.dtype)
