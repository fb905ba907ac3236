"""What a file says, and whether that is what another one, an interpreter or a net says."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..data.answers import Task
from ..data.labels import variance
from . import running
from .matching import CorruptFileError

#: Largest error of the scores, over their spread, of a file that computes right: 0.1 and less was measured
#: for int8, 0.4 and more for files that are wrong.
SCORE_ERROR = 0.2
#: The same of values, of which no label tells more: half of their variance. 0.49 was measured for a static
#: file of 4 bits that computes right; always giving the mean has 1.
VALUE_ERROR = 0.7


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """What a file says of float32 images (n, ...), asked once with XNNPACK and once without.

    Args:
        batch: images a call, where the file's shapes let it.
        task: what is asked of it; "values" also stands for several outputs in a row.
    Attributes:
        fast, plain: its outputs, (n, outputs).
    """

    content: bytes
    images: np.ndarray
    batch: int = running.BATCH
    task: Task = "classes"

    @cached_property
    def fast(self) -> np.ndarray:
        return running.logits(self.content, self.images, batch=self.batch)

    @cached_property
    def plain(self) -> np.ndarray:
        return running.logits(self.content, self.images, batch=self.batch, delegate=False)


def require(good: bool, fault: str) -> None:
    if not good:
        raise CorruptFileError(fault)


def score_error(ours: np.ndarray, theirs: np.ndarray, *, task: Task = "classes") -> float:
    """Root mean square of the difference over the standard deviation; of values around each column's mean."""
    deviation = variance(theirs) ** 0.5 if task == "values" else float(np.std(theirs))
    return float(np.sqrt(np.mean((ours - theirs) ** 2))) / deviation if deviation else float("inf")


def check_answers(answers: Answers, expected: np.ndarray, least: float, what: str) -> None:
    """Raise unless the outputs are near `expected` ones, (n, outputs), or nearly all labels are the same.

    A net may give its two best classes scores so close that rounding decides.
    """
    error = score_error(answers.fast, expected, task=answers.task)
    if error <= SCORE_ERROR:
        return
    if answers.task == "values":
        fault = f"the values lie {error:.2g} of their spread from {what}; most: {VALUE_ERROR}"
        require(error <= VALUE_ERROR, fault)
        return
    labels, others = (
        running.labels(answers.content, each, task=answers.task) for each in (answers.fast, expected)
    )
    agreement = float(np.mean(labels == others))
    fault = f"the file agrees with {what} on {agreement:.4f} of the images; least: {least}"
    require(agreement >= least, fault)


def check_delegate(answers: Answers, float32: Callable[[], np.ndarray], *, agreement: float = 0.99) -> None:
    """Raise unless a file computes finite numbers, and the same ones with XNNPACK and without.

    Labels may differ where the scores lie within `SCORE_ERROR`, of each other or both of the float net's:
    each rounds in its own way.

    Args:
        answers: to images that are not of the test set.
        float32: gives the scores of the float net.
        agreement: least fraction of images with the same label.
    Raises:
        CorruptFileError: what disagrees.
    """
    scores, plain = answers.fast, answers.plain
    require(bool(np.isfinite(scores).all()), "the file computes numbers that are not finite")
    if score_error(scores, plain, task=answers.task) <= SCORE_ERROR:
        return
    known = float32()
    apart = [score_error(each, known, task=answers.task) for each in (scores, plain)]
    if max(apart) <= SCORE_ERROR:
        return
    far = f"which lies {apart[1]:.2g} of the scores' spread from the float net, the file {apart[0]:.2g},"
    check_answers(answers, plain, agreement, f"the interpreter without XNNPACK, {far}")


def check_same(answers: Answers, content: bytes) -> None:
    """Raise unless another file gives the same outputs bit for bit, with and without XNNPACK.

    Raises:
        CorruptFileError: on how many images they differ.
    """
    # one that takes an image a call may have become one that takes many, and then adds up in another order
    other = replace(answers, content=content, batch=running.images_a_call(answers.content))
    for kernels in ("fast", "plain"):
        ours, theirs = (getattr(each, kernels).view(np.uint32) for each in (answers, other))
        differing = int((ours != theirs).any(axis=1).sum())
        where = f"{differing} of {len(ours)} images {'with' if kernels == 'fast' else 'without'} XNNPACK"
        require(not differing, f"the files differ on {where}")
