"""Where does it hurt? Each kernel of a float .tflite file alone in fewer bits, or with zeros.

It takes any graph: kernels are exchanged in the file itself, rounded as the files' kernels are.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import special

from ..techniques.allocation import magnitude_mask
from . import running
from .graph import Model, Tensor, read_model
from .writing import write_model

#: A kernel and the operator that uses it first -> float32 values in its place.
Change = Callable[[Tensor, str], np.ndarray]
#: A probability that is rounded to nothing.
_LEAST = 1e-7


def channel_axis(operator: str) -> int:
    """The axis of a stored kernel along which its outputs lie."""
    return 3 if operator == "DEPTHWISE_CONV_2D" else 0


def rounded(kernel: Tensor, operator: str, *, bits: int) -> np.ndarray:
    """A kernel as the quantizer stores it: whole numbers times one scale for each output.

    Args:
        bits: of each weight, at least 2; the whole numbers go from -n to n, n = 2**(bits - 1) - 1.
    Returns:
        float32 in the kernel's shape.
    Source: Jacob et al. 2018, arXiv:1712.05877, section 3.
    """
    values, limit = kernel.numbers, np.float32(2 ** (bits - 1) - 1)
    others = tuple(axis for axis in range(values.ndim) if axis != channel_axis(operator))
    largest = np.abs(values).max(axis=others, keepdims=True)
    scale = np.where(largest > 0, largest, np.float32(1)) / limit
    return np.rint(values / scale) * scale


def _pruned(kernel: Tensor, operator: str, *, sparsity: float) -> np.ndarray:
    return kernel.numbers * magnitude_mask(kernel.numbers, sparsity)


#: What is done to a kernel, by name.
CHANGES: dict[str, Change] = {
    **{f"{bits} bits": partial(rounded, bits=bits) for bits in (8, 4, 2)},
    **{f"{100 * sparsity:.0f} % zeros": partial(_pruned, sparsity=sparsity) for sparsity in (0.5, 0.8, 0.95)},
}


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What one change of one kernel does to the outputs.

    Attributes:
        place: of the kernel, from 0. operator: that uses it first.
        noise: mean squared change of the outputs over the variance of the float file's.
        kl: mean Kullback-Leibler divergence of the classes' probabilities from the float file's, in nats;
            accuracy_change: a fraction. NaN where outputs are no scores of classes.
    """

    place: int
    operator: str
    shape: tuple[int, ...]
    weights: int
    change: str
    noise: float
    kl: float
    accuracy_change: float

    @property
    def snr_db(self) -> float:
        """Signal to noise in decibels; infinite where nothing changes."""
        return float(-10 * np.log10(self.noise)) if self.noise else float("inf")


def float_kernels(model: Model) -> list[tuple[Tensor, str]]:
    """Each kernel of a float file with the operator that uses it first, in the order of execution.

    Raises:
        ValueError: a kernel that is no float32, or none at all.
    """
    found = [(kernel, operator.name) for kernel, operator in model.graphs[0].kernels()]
    wrong = [
        f"{kernel.name or name} is {kernel.dtype}" for kernel, name in found if kernel.dtype != "float32"
    ]
    if wrong or not found:
        raise ValueError(f"{wrong[0] if wrong else 'the file has no kernel'}; allowed: kernels of float32")
    return found


def changed(model: Model, values: Mapping[int, np.ndarray]) -> bytes:
    """A float file with other kernels.

    Args:
        values: floats by the kernel's place in `float_kernels`, from 0, each shaped like the kernel.
    """
    kernels = [kernel for kernel, _ in float_kernels(model)]
    exchanged = (kernels[place].holding(numbers) for place, numbers in values.items())
    return write_model(model.holding(model.graphs[0].holding(*exchanged)))


def sensitivities(
    content: bytes,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    changes: Mapping[str, Change] = CHANGES,
) -> Iterator[Sensitivity]:
    """Every kernel under every change, one as soon as it is measured.

    Args:
        content: a float .tflite file with one input and one output.
        images: float32 (n, ...) as the file takes them, not of the test set.
        labels: theirs, (n,); None where the outputs are no scores of classes.
    Raises:
        ValueError: a file with other kernels than of float32, or outputs that never change.
    """
    model = read_model(content)
    before = running.logits(content, images)
    if not np.var(before):
        raise ValueError(f"the file gives the same outputs for all {len(images)} images")
    for place, (kernel, operator) in enumerate(float_kernels(model)):
        for name, change in changes.items():
            after = running.logits(changed(model, {place: change(kernel, operator)}), images)
            kl = gained = float("nan")
            if labels is not None:
                # the mean over images of the sum over classes of p log(p / q)
                p, q = (log_probabilities(content, outputs) for outputs in (before, after))
                kl = float(np.mean(np.sum(np.exp(p) * (p - q), axis=tuple(range(1, p.ndim)))))
                now, then = (running.labels(content, outputs) for outputs in (after, before))
                gained = running.accuracy(labels, now) - running.accuracy(labels, then)
            yield Sensitivity(
                place=place,
                operator=operator,
                shape=kernel.shape,
                weights=kernel.numbers.size,
                change=name,
                noise=float(np.mean((after - before) ** 2) / np.var(before)),
                kl=kl,
                accuracy_change=gained,
            )


def log_probabilities(content: bytes, outputs: np.ndarray) -> np.ndarray:
    """Of each class; (n, scores, 2) where each score stands for a yes or no of its own."""
    ending, numbers = running.last_operator(content), outputs.astype(np.float64)
    if ending == "SOFTMAX":
        return special.log_softmax(np.log(np.maximum(numbers, _LEAST)), axis=-1)
    if ending == "LOGISTIC":
        numbers = special.logit(np.clip(numbers, _LEAST, 1 - _LEAST))
    elif numbers.shape[-1] > 1:
        return special.log_softmax(numbers, axis=-1)
    return special.log_softmax(np.stack([np.zeros_like(numbers), numbers], axis=-1), axis=-1)
