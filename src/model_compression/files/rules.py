"""What the files of each form have to look like: what the guard holds them to."""

from dataclasses import dataclass

from .grid import BIAS_BITS
from .tensors import KERNEL_OPERATORS


@dataclass(frozen=True, kw_only=True)
class FormRule:
    """What the files of one form have to look like.

    Attributes:
        bits: allowed for a kernel. largest_bits: of the largest kernel of `operators`, the point of the form;
            None for any.
        integer_only: no float tensor anywhere, both ends included.
        exact: each weight lies within half a step of its trained value; forms that choose their
            clipping (OCTAV) or correct errors against each other (GPTQ) do not.
        scale_free: a kernel may be stored times a positive factor of its own, and biases times those of
            all layers so far: ReLU lets factors through.
        bias_error: largest relative rounding of a float bias.
        agreement: least fraction of images on which file and net give the same label.
    """

    bits: frozenset[int]
    largest_bits: int | None
    operators: tuple[str, ...] = KERNEL_OPERATORS
    integer_only: bool = False
    exact: bool = True
    scale_free: bool = False
    bias_error: float = 1e-3
    agreement: float = 0.98


def _rule(*bits: int, **rest: object) -> FormRule:
    return FormRule(bits=frozenset(bits), largest_bits=bits[0], **rest)  # type: ignore[arg-type]


#: What has a form of 4 bits; depthwise kernels have 8. Some forms give it to Dense layers alone.
_DENSE = ("FULLY_CONNECTED",)
_SMALL = ("CONV_2D", *_DENSE)

#: By form; the first number is what the largest kernel must have.
RULES: dict[str, FormRule] = {
    "float32": _rule(32, agreement=0.999),
    "float16": _rule(16, agreement=0.998),
    "dynamic_range": _rule(8, 32),
    # a weakly trained net gives many images two nearly equal scores, which rounding decides
    "int8": _rule(8, integer_only=True, agreement=0.96),
    "int4_qat": _rule(4, integer_only=True, exact=False, agreement=0.97),
    "int16x8": _rule(8),
    "int8_mixed": _rule(8, agreement=0.97),
    "int4_dynamic": _rule(4, 8, operators=_SMALL, agreement=0.97),
    "int4_weight_only": _rule(4, 8, operators=_SMALL, agreement=0.97),
    "int4_mixed": _rule(4, 8, operators=_DENSE, agreement=0.97),
    "int4_weight_only_octav": _rule(4, 8, operators=_SMALL, exact=False, agreement=0.97),
    "int4_mixed_gptq": _rule(4, 8, operators=_DENSE, exact=False, agreement=0.97),
    "int4_static": _rule(4, 8, operators=_DENSE, agreement=0.97),
    "int4_static_all": _rule(4, 8, operators=_SMALL, agreement=0.97),
    # `bit_allocation` holds each kernel to the bits that were chosen for it
    "mixed_bits": FormRule(bits=frozenset({4, 8, 32}), largest_bits=None, agreement=0.97),
    "packed_int4": _rule(4, 8, scale_free=True, bias_error=2**-BIAS_BITS, agreement=0.97),
    "packed_int8": _rule(8, scale_free=True, bias_error=2**-BIAS_BITS),
}
