"""How every picture looks: as wide as a README, opaque white, one colour for one method throughout."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import matplotlib
from matplotlib.figure import Figure

Arguments = ParamSpec("Arguments")

#: Width of every picture in inches; at 100 dots an inch it fills the column of a README, and weighs little.
WIDTH = 9.0
DPI = 100
#: Opaque white, so that a dark page shows the same picture.
STYLE: Any = {
    "font.size": 9,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
}
#: Colours that colour-blind readers tell apart, and grey. Source: Okabe & Ito 2008, Color Universal Design.
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#8a8a8a"
SKY, YELLOW, PINK, BLACK = "#56b4e9", "#e69f00", "#cc79a7", "#000000"
PALETTE = (BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK)

#: What a form's name holds -> its method and colour; the first that fits counts.
METHODS = {
    "rate_distortion": ("rate-distortion", YELLOW),
    "sparsity_cluster": ("pruned and clustered", PINK),
    "pruned_clustered": ("pruned and clustered", PINK),
    "prun": ("pruned", ORANGE),
    "cluster": ("clustered", GREEN),
    "quantization_aware": ("quantization-aware", SKY),
    "int": ("quantized", BLUE),
    "float16": ("quantized", BLUE),
    "post_training_quantized": ("quantized", BLUE),
}


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """A function that draws a picture, in the style of all pictures."""

    @functools.wraps(draw)
    def drawn(*arguments: Arguments.args, **named: Arguments.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*arguments, **named)

    return drawn


def method_of(form: str, *, is_control: bool = False) -> tuple[str, str]:
    """The method that a form stands for, as a legend calls it, and its colour."""
    if is_control:
        return "control", GREY
    found = (method for part, method in METHODS.items() if part in form)
    return next(found, ("float", BLACK))
