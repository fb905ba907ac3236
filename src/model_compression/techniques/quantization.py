"""Quantization-aware training: plain, and preserving the zeros or the clusters it is given.

Jacob et al. 2018 (arXiv:1712.05877), as TFMOT implements it; PQAT, CQAT and PCQAT are TFMOT's
collaborative optimization.
"""

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import check
from ..nets.keras2 import (
    cluster_utils,
    default_8bit_quantize_registry,
    default_8bit_quantize_scheme,
    default_n_bit_quantize_scheme,
    keras,
    quant_ops,
    quiet,
    tf,
    tfmot,
)
from ..nets.layers import clone
from .base import Kept, Technique

PRESERVES = ("nothing", "sparsity", "clusters", "sparsity and clusters")
#: LiteRT stores 3- and 2-bit weights in 4 bits, so these two are what a file can hold.
WEIGHT_BITS = (8, 4)


@dataclass(frozen=True, kw_only=True)
class QuantizeConfig(Technique):
    """What the training simulates.

    Args:
        preserve: what survives of the parent: "nothing" (QAT), "sparsity" (PQAT), "clusters"
            (CQAT) or "sparsity and clusters" (PCQAT).
        weight_bits: 8, or 4 for weights packed two a byte; activations are always 8 bits.
    Raises:
        ValueError: a field out of range, or 4 bits while preserving (TFMOT has no such scheme).
    """

    preserve: str = "nothing"
    weight_bits: int = 8

    def __post_init__(self) -> None:
        check(self.preserve in PRESERVES, "preserve", self.preserve, ", ".join(PRESERVES))
        storable = "8 or 4 (all that a file can store)"
        check(self.weight_bits in WEIGHT_BITS, "weight_bits", self.weight_bits, storable)
        if self.weight_bits != 8 and self.preserve != "nothing":
            raise ValueError(
                f"weight_bits is {self.weight_bits!r} with preserve {self.preserve!r}; allowed: 8"
            )

    quantization_aware = True
    label = "quantization-aware training"

    def check_after(self, before: Sequence[Technique]) -> None:
        if "sparsity" in self.preserve and not any(earlier.leaves_zeros for earlier in before):
            raise ValueError(f"preserve is {self.preserve!r}; allowed: only after a pruning step")
        if "clusters" in self.preserve and not any(last.shares_values for last in before[-1:]):
            raise ValueError(f"preserve is {self.preserve!r}; allowed: only right after a clustering step")

    def takes(self, layer: keras.layers.Layer) -> bool:
        """Whether TFMOT can quantize `layer`, with a kernel or without."""
        return _registry().supports(layer)

    def why_not(self, net: keras.Model) -> str:
        unknown = [
            f"{layer.name} ({type(layer).__name__})"
            for layer in net.layers
            if not self.takes(layer) and not isinstance(layer, keras.layers.InputLayer)
        ]
        if not unknown:
            return ""
        return f"TFMOT cannot quantize {', '.join(unknown)}, and int8 throughout needs every layer"

    def wrap(
        self, net: keras.Model, *, steps: int, seed: int, source: keras.Model | None = None
    ) -> keras.Model:
        """A copy of `net` that computes with simulated integers.

        Raises:
            ValueError: a layer that TFMOT cannot quantize, named.
        """
        annotated = tfmot.quantization.keras.quantize_annotate_model(clone(net))
        try:
            return tfmot.quantization.keras.quantize_apply(annotated, scheme=self._scheme())
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"quantization-aware training cannot take this net: {error}") from error

    def start(self, net: keras.Model, images: np.ndarray) -> None:
        """Set the ranges of activations to what some images show.

        TFMOT's start at -6 and 6 and move by a thousandth a step, which a short training never makes up for.
        """
        moving = quant_ops.MovingAvgQuantize

        def at_once(*given: object, **named: object) -> tf.Tensor:
            return moving(*given, **{**named, "ema_decay": 0.0})

        quant_ops.MovingAvgQuantize = at_once
        try:
            net(images, training=True)
        finally:
            quant_ops.MovingAvgQuantize = moving

    def strip(self, net: keras.Model) -> keras.Model:
        """Drop what only the training needed; the quantizers stay, for the converter reads their ranges."""
        if self.preserve.endswith("clusters"):
            net = cluster_utils.strip_clustering_cqat(net)
        for layer in net.layers:
            for _, _, limits in getattr(layer, "_weight_vars", ()):
                _widen(limits["min_var"], limits["max_var"])
        return net

    def promise(self, layers: Sequence[keras.layers.Layer], before: Kept) -> Kept:
        """What it preserves, and the bits of its weights."""
        return Kept(
            zeros=before.zeros if "sparsity" in self.preserve else {},
            unique_values=before.unique_values if "clusters" in self.preserve else {},
            weight_bits=self.weight_bits,
        )

    def _scheme(self) -> object:
        combine = tfmot.experimental.combine
        if self.weight_bits != 8:
            return default_n_bit_quantize_scheme.DefaultNBitQuantizeScheme(
                num_bits_weight=self.weight_bits, num_bits_activation=8
            )
        if self.preserve == "sparsity":
            return combine.Default8BitPrunePreserveQuantizeScheme()
        if self.preserve.endswith("clusters"):
            return _ClusterScheme(preserve_sparsity=self.preserve.startswith("sparsity"))
        return default_8bit_quantize_scheme.Default8BitQuantizeScheme()


class _ClusterScheme(tfmot.experimental.combine.Default8BitClusterPreserveQuantizeScheme):
    """TFMOT's, with a quantizer of its own for each layer.

    One that all share loses the zeros of all kernels as soon as one kernel has none.
    """

    def get_quantize_registry(self) -> Any:
        registry = super().get_quantize_registry()
        shared = registry.get_quantize_config

        def own(layer: keras.layers.Layer) -> Any:
            config = shared(layer)
            if hasattr(config, "weight_quantizer"):
                config.weight_quantizer = copy.copy(config.weight_quantizer)
            return config

        registry.get_quantize_config = own
        return registry


@functools.cache
def _registry() -> default_8bit_quantize_registry.Default8BitQuantizeRegistry:
    with quiet():
        return default_8bit_quantize_registry.Default8BitQuantizeRegistry()


def _widen(low: tf.Variable, high: tf.Variable) -> None:
    """Give filters without a weight left the widest range of their kernel; their zeros stay zeros.

    The converter would store their biases in steps of next to nothing, which 32 bits cannot hold.
    """
    widest = float(np.max(np.maximum(-low.numpy(), high.numpy()))) or 1.0
    empty = (low.numpy() == 0) & (high.numpy() == 0)
    low.assign(np.where(empty, -widest, low.numpy()))
    high.assign(np.where(empty, widest, high.numpy()))
