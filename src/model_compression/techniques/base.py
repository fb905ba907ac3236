"""What a technique is: a frozen config that knows all that the study asks of it.

A technique of your own derives from `Technique`, in a module of its own; the study knows it by these methods.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from ..nets.keras2 import keras
from ..nets.layers import clone, has_kernel

#: Stands for all kernels together where zeros are counted by layer name.
TOGETHER = "all kernels"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a file's kernels are promised to be after the steps so far.

    Attributes:
        zeros: least zeros a kernel, by layer name; of all kernels, by `TOGETHER`.
        unique_values: most distinct values a kernel, by layer name.
        weight_bits: of the stored weights, where the training decides and not the form of the file.
    """

    zeros: Mapping[str, int] = field(default_factory=dict)
    unique_values: Mapping[str, int] = field(default_factory=dict)
    weight_bits: int | None = None


@dataclass(frozen=True, kw_only=True)
class Technique:
    """What happens to a net in one step of a recipe; by itself plain training, from which others derive."""

    #: Whether the trained net keeps its wrappers, which hold the ranges that the converter reads.
    quantization_aware: ClassVar[bool] = False
    #: Whether it makes zeros that later steps may preserve.
    leaves_zeros: ClassVar[bool] = False
    #: Whether few values are left, so that look-up tables can hold the kernels.
    shares_values: ClassVar[bool] = False
    #: What tables and progress bars call it; a property where it hangs on the fields.
    label: ClassVar[Any] = "training"

    @property
    def modules(self) -> tuple[ModuleType, ...]:
        """The code that a training under it depends on: its module, and those of ours that it imports."""
        own = sys.modules[type(self).__module__]
        ours = __name__.partition(".")[0] + "."
        imported = [value for value in vars(own).values() if isinstance(value, ModuleType)]
        return (own, *(module for module in imported if module.__name__.startswith(ours)))

    @property
    def identity(self) -> object:
        """What stands for it in keys: all but `source_steps`, whose own key stands there too."""
        return self

    @property
    def source_steps(self) -> tuple[Any, ...]:
        """The steps of another net of the same architecture and seed, which `wrap` then gets."""
        return ()

    def takes(self, layer: keras.layers.Layer) -> bool:
        """Whether it changes `layer`; here, each that has a kernel."""
        return has_kernel(layer)

    def why_not(self, net: keras.Model) -> str:
        """Why it cannot be carried out on a net; empty when it can."""
        if any(self.takes(layer) for layer in net.layers):
            return ""
        return f"no layer of the model takes {self.label}"

    def check_after(self, before: "Sequence[Technique]") -> None:
        """Raise ValueError where it cannot follow the techniques of the steps before."""

    def wrap(
        self, net: keras.Model, *, steps: int, seed: int, source: keras.Model | None = None
    ) -> keras.Model:
        """A copy of `net` to be trained under the technique; `net` stays as it was.

        Args:
            steps: optimizer steps that the fit will take.
            seed: of whatever is drawn at random.
            source: the net of `source_steps`.
        Raises:
            ValueError: no layer of the net takes the technique.
        """
        return clone(net)

    def taken(self, net: keras.Model) -> list[keras.layers.Layer]:
        """The layers of a net that take the technique.

        Raises:
            ValueError: there is none.
        """
        if reason := self.why_not(net):
            raise ValueError(reason)
        return [layer for layer in net.layers if self.takes(layer)]

    def wrap_layers(self, net: keras.Model, wrap: Callable[[keras.layers.Layer], Any]) -> keras.Model:
        """A copy of `net`, each layer that takes the technique wrapped; see `taken`."""
        names = {layer.name for layer in self.taken(net)}

        def wrapped(layer: keras.layers.Layer) -> keras.layers.Layer:
            return wrap(layer) if layer.name in names else layer

        return keras.models.clone_model(clone(net), clone_function=wrapped)

    def start(self, net: keras.Model, images: np.ndarray) -> None:
        """What the wrapped net has to know of the training images before its first step.

        Args:
            net: what `wrap` gave. images: float32 (n, ...), some of the training images.
        """

    def callbacks(self) -> list[keras.callbacks.Callback]:
        """What a fit of the wrapped net needs."""
        return []

    def strip(self, net: keras.Model) -> keras.Model:
        """The trained net without what only the training needed."""
        return net

    def promise(self, layers: Sequence[keras.layers.Layer], before: Kept) -> Kept:
        """What it leaves of what was promised before, and what it promises itself.

        Args:
            layers: of the float net, those with kernels; their weights are not looked at.
        """
        return Kept()


def kept_after(steps: Iterable[Any], layers: Sequence[keras.layers.Layer]) -> Kept:
    """What the steps of a recipe promise together; see `Technique.promise`."""
    kept = Kept()
    for step in steps:
        kept = step.method.promise(layers, kept)
    return kept
