"""The shape that a model takes, beside what the images have."""

import pytest

from model_compression.saved_models.graphs import UnsupportedModelError
from model_compression.saved_models.shapes import closed


@pytest.mark.parametrize(
    ("wanted", "given", "taken"),
    [
        ((6, 6, 1), (6, 6), (6, 6, 1)),
        ((6, 6), (6, 6, 1), (6, 6)),
        ((6, 6, 1), (1, 6, 6), (6, 6, 1)),
        ((36,), (6, 6), (36,)),
        ((6, 6, 1), (36,), (6, 6, 1)),
        ((None, None, 1), (6, 6), (6, 6, 1)),
        ((None, 3), (9, 3), (9, 3)),
    ],
)
def test_images_are_reshaped_where_only_axes_of_one_differ(
    wanted: tuple[int | None, ...], given: tuple[int, ...], taken: tuple[int, ...]
) -> None:
    assert closed(wanted, given) == taken


@pytest.mark.parametrize(
    ("wanted", "given", "remedy"),
    [
        ((6, 5, 3), (3, 6, 5), "move the channels last: x = numpy.moveaxis(x, 1, -1)"),
        ((3, 6, 5), (6, 5, 3), "move the channels first: x = numpy.moveaxis(x, -1, 1)"),
        ((6, 5, 3), (6, 5), "repeat the grey channel: x = numpy.stack([x.squeeze()] * 3, axis=-1)"),
        ((None, None, 3), (6, 5, 4), "leave out the alpha channel: x = x[..., :3]"),
        ((6, 5, 1), (6, 5, 3), "make them grey: x = tensorflow.image.rgb_to_grayscale(x).numpy()"),
        (
            (6, 5, 1),
            (12, 10),
            "scale them as for its training: x = tensorflow.image.resize(x.reshape(-1, 12, 10, 1), (6, 5))"
            ".numpy().astype(x.dtype)",
        ),
        ((7,), (6,), "prepare them as for its training"),
    ],
)
def test_other_shapes_are_refused_with_the_line_that_mends_them(
    wanted: tuple[int | None, ...], given: tuple[int, ...], remedy: str
) -> None:
    with pytest.raises(UnsupportedModelError) as refused:
        closed(wanted, given)
    assert str(refused.value).endswith(f"; allowed is the same shape, but for axes of 1; {remedy}")
