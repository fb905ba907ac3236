"""Bits a layer under a budget of bytes: each kernel gets 4, 8 or 32, so that the outputs change least.

What a width does to each kernel alone is measured; what several kernels do together is taken as the sum, for
errors of different kernels know nothing of each other. Which widths cost least is a knapsack then, with one
choice a kernel. Sources: Yao et al. 2020, arXiv:2011.10680; Chen et al. 2021, arXiv:2110.06554.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from scipy import optimize

from ..nets.keras2 import qtyping, quantizer
from ..quiet import quiet
from . import flatbuffer, running
from .graph import account, numbers, read_graph, read_model
from .matching import CorruptFileError
from .sensitivity import channel_axis, float_kernels, rounded, sensitivities
from .slimming import slim

FLOAT = 32
#: Widths of a kernel that LiteRT runs rightly, by operator.
WIDTHS = {"CONV_2D": (4, 8, FLOAT), "FULLY_CONNECTED": (4, 8, FLOAT), "DEPTHWISE_CONV_2D": (8, FLOAT)}
#: Bytes that the estimate of a file may be off by, tried first and taken back where the file is too large.
_PADDING = 64
#: Images that show what a width does; each gives as many numbers as there are outputs. Large nets get fewer,
#: so that all of its measurements keep within so many multiply-adds (about 15 s of two cores).
IMAGES, FEWEST, MULTIPLY_ADDS = 200, 50, 3e11


class BudgetError(ValueError):
    """A budget that no choice of widths keeps within."""


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """Bits of each kernel, in the order of execution, and the file.

    Attributes:
        noise: what is expected: mean squared change of the outputs over their variance.
        content: as the quantizer writes it. file_bytes: of the slimmed file, which a budget is of.
    """

    bits: tuple[int, ...]
    noise: float
    content: bytes
    file_bytes: int


class Allocator:
    """What each width of each kernel costs and does, measured once for any number of budgets.

    Args:
        content: a float .tflite file with one input and one output.
        images: float32 (n, ...) as the file takes them, not of the test set; the first, up to `IMAGES`.
    Raises:
        ValueError: a kernel that is no float32, or none at all.
    """

    def __init__(self, content: bytes, images: np.ndarray) -> None:
        self.content = prepared(content)
        kernels = float_kernels(read_model(self.content))
        once = sum(layer.dense_macs for layer in account(running.allocated_graph(self.content)))
        fitting = int(MULTIPLY_ADDS / max(1, 2 * len(kernels) * once))
        self.images = images[: max(FEWEST, min(IMAGES, fitting))]
        self.widths = [WIDTHS[operator] for _, operator in kernels]
        self.outputs = [kernel.shape[channel_axis(operator)] for kernel, operator in kernels]
        self.weights = [kernel.numbers.size for kernel, _ in kernels]

    @cached_property
    def noises(self) -> list[dict[int, float]]:
        """By kernel and width, see `Sensitivity.noise`."""
        changes = {str(bits): partial(rounded, bits=bits) for bits in (4, 8)}
        noises = [{FLOAT: 0.0} for _ in self.widths]
        for each in sensitivities(self.content, self.images, changes=changes):
            noises[each.place][int(each.change)] = each.noise
        return noises

    @cached_property
    def least(self) -> Allocation:
        """Every kernel at its fewest bits."""
        return self.uniform(0)

    def uniform(self, bits: int) -> Allocation:
        """One width for all kernels, the next larger one for those that do not have it."""
        return self._made([min(width for width in widths if width >= bits) for widths in self.widths])

    def within(self, budget: int) -> Allocation:
        """The widths whose file has at most so many bytes and changes the outputs least.

        Raises:
            BudgetError: a budget below the smallest file's bytes.
        """
        smallest = self.least.file_bytes
        if budget < smallest:
            raise BudgetError(
                f"a budget of {budget:,} bytes is below the {smallest:,} of the file with every kernel at "
                "its fewest bits"
            )
        least = sum(self._bytes(place, min(widths)) for place, widths in enumerate(self.widths))
        room = budget - smallest + least + _PADDING
        while room > least:
            made = self._made(self._chosen(room))
            if made.file_bytes <= budget:
                return made
            # paddings and shared parts are known from the file alone
            room -= made.file_bytes - budget
        return self.least

    @cached_property
    def _scale_bytes(self) -> float:
        """What an output's scale and zero point take, on average: two files tell."""
        beside = [
            made.file_bytes - sum(map(_stored, self.weights, made.bits))
            for made in (self.least, self.uniform(FLOAT))
        ]
        return (beside[0] - beside[1]) / sum(self.outputs)

    def _bytes(self, place: int, bits: int) -> float:
        scales = 0 if bits == FLOAT else self._scale_bytes * self.outputs[place]
        return _stored(self.weights[place], bits) + scales

    def _chosen(self, room: float) -> list[int]:
        """The exact knapsack: a width for each kernel, at most `room` bytes in all, the least noise."""
        choices = [(place, bits) for place, widths in enumerate(self.widths) for bits in widths]
        noises = np.array([self.noises[place][bits] for place, bits in choices])
        bytes_ = np.array([self._bytes(place, bits) for place, bits in choices])
        of_kernel = np.repeat(np.eye(len(self.widths)), [len(widths) for widths in self.widths], axis=1)
        found = optimize.milp(
            # the solver takes differences below 1e-6 for none
            noises / min(noises[noises > 0], default=1.0),
            integrality=np.ones(len(choices)),
            bounds=optimize.Bounds(0, 1),
            constraints=[
                optimize.LinearConstraint(of_kernel, 1, 1),
                optimize.LinearConstraint(bytes_[None], ub=room),
            ],
            options={"mip_rel_gap": 0},
        )
        return [bits for (_, bits), taken in zip(choices, found.x, strict=True) if taken > 0.5]

    def _made(self, bits: Sequence[int]) -> Allocation:
        content = quantized(self.content, bits)
        noise = sum(noises[width] for noises, width in zip(self.noises, bits, strict=True))
        return Allocation(
            bits=tuple(bits), noise=noise, content=content, file_bytes=len(slim(content).content)
        )


def _stored(weights: int, bits: int) -> int:
    """Bytes of a kernel's packed weights."""
    return -(-weights * bits // 8)


def prepared(content: bytes) -> bytes:
    """A file as the quantizer wants it: names for all tensors, operators in the newer field, a signature.

    A slimmed file has none of them; without the second, the quantizer leaves it as it is without a word.
    """
    root = flatbuffer.read(content)
    for number, graph in enumerate(root.subgraphs):
        for index, tensor in enumerate(graph.tensors or ()):
            tensor.name = f"graph {number} tensor {index}".encode()
    for code in root.operatorCodes or ():
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
    ends = {
        end: [
            schema.TensorMapT(name=f"{end} {index}".encode(), tensorIndex=index)
            for index in numbers(getattr(root.subgraphs[0], end))
        ]
        for end in ("inputs", "outputs")
    }
    root.signatureDefs = [schema.SignatureDefT(**ends, signatureKey=b"serving_default")]
    return flatbuffer.write(root, shared=False)


def quantized(content: bytes, bits: Sequence[int]) -> bytes:
    """A float file whose kernels have these widths, by LiteRT's quantizer; activations stay floats at rest.

    Args:
        content: as `prepared` gives it. bits: of each kernel in the order of execution: 4, 8 or 32.
    Raises:
        CorruptFileError: the quantizer wrote another width than it was asked for.
    """
    graph = read_graph(content)
    with quiet():
        tool = quantizer.Quantizer(bytearray(content))
        for (_, operators), width in zip(graph.users(), bits, strict=True):
            for operator in operators:
                # the whole scope: the names of what the operator writes
                scope = f"^{graph.tensors[operator.outputs[0]].name};$"
                if width != FLOAT:
                    tool.add_dynamic_config(scope, qtyping.TFLOperationName[operator.name], width)
        written = bytes(tool.quantize().quantized_model) if min(bits) < FLOAT else content
    found = [kernel.bits for kernel, _ in read_graph(written).kernels()]
    if found != list(bits):
        raise CorruptFileError(f"the kernels have {found} bits; asked for: {list(bits)}")
    return written


def mixed(content: bytes, images: np.ndarray, budget: int | None = None) -> bytes:
    """The file of `Allocator.within` a budget; None for the middle between fewest bits and 8 everywhere."""
    allocator = Allocator(content, images)
    if budget is None:
        budget = (allocator.least.file_bytes + allocator.uniform(8).file_bytes) // 2
    return allocator.within(budget).content
