"""Quantization-aware training: plain, and preserving the zeros or the clusters it is given.

Jacob et al. 2018 (arXiv:1712.05877), as TFMOT implements it; PQAT, CQAT and PCQAT are TFMOT's
collaborative optimization.
"""

from dataclasses import dataclass

import numpy as np

from ..nets.keras2 import (
    cluster_utils,
    default_8bit_quantize_scheme,
    default_n_bit_quantize_scheme,
    keras,
    tf,
    tfmot,
)
from ..nets.layers import clone

PRESERVES = ("nothing", "sparsity", "clusters", "sparsity and clusters")
#: LiteRT stores 3- and 2-bit weights in 4 bits, so these two are what a file can hold.
WEIGHT_BITS = (8, 4)


@dataclass(frozen=True, kw_only=True)
class QuantizeConfig:
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
        if self.preserve not in PRESERVES:
            raise ValueError(f"preserve is {self.preserve!r}; allowed: {', '.join(PRESERVES)}")
        if self.weight_bits not in WEIGHT_BITS:
            raise ValueError(
                f"weight_bits is {self.weight_bits!r}; allowed: 8 or 4 (all that a file can store)"
            )
        if self.weight_bits != 8 and self.preserve != "nothing":
            raise ValueError(
                f"weight_bits is {self.weight_bits!r} with preserve {self.preserve!r}; allowed: 8"
            )


def _scheme(config: QuantizeConfig) -> object:
    combine = tfmot.experimental.combine
    if config.weight_bits != 8:
        return default_n_bit_quantize_scheme.DefaultNBitQuantizeScheme(
            num_bits_weight=config.weight_bits, num_bits_activation=8
        )
    if config.preserve == "sparsity":
        return combine.Default8BitPrunePreserveQuantizeScheme()
    if config.preserve.endswith("clusters"):
        return combine.Default8BitClusterPreserveQuantizeScheme(
            preserve_sparsity=config.preserve.startswith("sparsity")
        )
    return default_8bit_quantize_scheme.Default8BitQuantizeScheme()


def wrap(model: keras.Model, config: QuantizeConfig) -> keras.Model:
    """A copy of `model` that computes with simulated integers; `model` stays as it was.

    Raises:
        ValueError: a layer that TFMOT cannot quantize, named.
    """
    annotated = tfmot.quantization.keras.quantize_annotate_model(clone(model))
    try:
        return tfmot.quantization.keras.quantize_apply(annotated, scheme=_scheme(config))
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"quantization-aware training cannot take this net: {error}") from error


def strip(model: keras.Model, config: QuantizeConfig) -> keras.Model:
    """Drop what only the training needed; the quantizers stay, for the converter reads their ranges."""
    if config.preserve.endswith("clusters"):
        model = cluster_utils.strip_clustering_cqat(model)
    for layer in model.layers:
        for _, _, limits in getattr(layer, "_weight_vars", ()):
            _widen(limits["min_var"], limits["max_var"])
    return model


def _widen(low: tf.Variable, high: tf.Variable) -> None:
    """Give filters without a weight left the widest range of their kernel; their zeros stay zeros.

    The converter would store their biases in steps of next to nothing, which 32 bits cannot hold.
    """
    widest = float(np.max(np.maximum(-low.numpy(), high.numpy()))) or 1.0
    empty = (low.numpy() == 0) & (high.numpy() == 0)
    low.assign(np.where(empty, -widest, low.numpy()))
    high.assign(np.where(empty, widest, high.numpy()))
