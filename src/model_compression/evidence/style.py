"""How every picture looks: as wide as a README, opaque white, one colour for one method throughout."""

import contextlib
from collections.abc import Iterator
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Width of every picture in inches; at 94 dots an inch it fills the column of a README, and weighs little.
WIDTH = 9.0
DPI = 94
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

#: Where a legend stands that would hide what is drawn.
BELOW: Any = {"fontsize": 7, "loc": "upper center", "bbox_to_anchor": (0.5, -0.12)}
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
    "mixed_bits": ("quantized", BLUE),
    "dynamic_range": ("quantized", BLUE),
    "post_training_quantized": ("quantized", BLUE),
}


@contextlib.contextmanager
def page(
    height: float, columns: int = 1, *, rows: int = 1, grid: bool = True, sharey: bool = True
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure as wide as a page, of panels side by side, in rows; laid out at the end.

    Args:
        height: in inches. grid: whether lines are drawn behind. sharey: have one y axis.
    """
    with matplotlib.rc_context({**STYLE, "axes.grid": grid}):
        figure = Figure(figsize=(WIDTH, height))
        yield figure, list(figure.subplots(rows, columns, sharey=sharey, squeeze=False).flat)
        figure.tight_layout()


def reach(rows: pd.DataFrame, middle: str, low: str, high: str) -> list[pd.Series]:
    """How far intervals reach below and above the middle, as matplotlib wants it."""
    return [rows[middle] - rows[low], rows[high] - rows[middle]]


def method_of(form: str, *, is_control: bool = False) -> tuple[str, str]:
    """The method that a form stands for, as a legend calls it, and its colour."""
    if is_control:
        return "control", GREY
    found = (method for part, method in METHODS.items() if part in form)
    return next(found, ("float", BLACK))
