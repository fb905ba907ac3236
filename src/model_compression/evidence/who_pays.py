"""Who pays for the bytes: classes, single images, calibration, and images that are not clean.

A mean accuracy hides that compression forgets some images and classes more than others (Hooker et al. 2019,
arXiv:1911.05248). Every table takes the outcomes of several forms by name, one a seed; the first is the
control that the others are compared with.
"""

import functools
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import special

from ..data.corruptions import CORRUPTIONS, corrupt, why_not
from ..data.datasets import scale
from ..files import running
from ..files.sensitivity import log_probabilities
from . import statistics
from .forms import Outcomes, Pair, right, verdicts
from .statistics import MARGIN

#: Bins of the calibration error, equally wide.
BINS = 15


def by_class(outcomes: Outcomes, labels: np.ndarray, *, margin: float = MARGIN) -> pd.DataFrame:
    """One row a class: images, accuracies of the second form and of the control, and the change.

    The changes are judged as one family; see `forms.verdicts`.
    """
    control, form = (right(found, labels) for found in list(outcomes.values())[:2])
    classes, images = np.unique(labels, return_counts=True)
    pairs = [(form[:, labels == each], control[:, labels == each]) for each in classes]
    rows = {
        "class": classes.astype(int),
        "images": images,
        "accuracy": [ours.mean() for ours, _ in pairs],
        "control_accuracy": [theirs.mean() for _, theirs in pairs],
    }
    return pd.concat([pd.DataFrame(rows), verdicts(pairs, margin=margin)], axis=1)


def lost(outcomes: Outcomes, labels: np.ndarray) -> pd.DataFrame:
    """The images that the control gets right with every seed and the second form with less than half of them.

    Those that most seeds lose come first. `taken_for` is the label that most of these give.
    """
    both = list(outcomes.values())[:2]
    control, form = (np.stack([each.predictions for each in found]) for found in both)
    wrong = (form != labels).sum(axis=0)
    images = np.flatnonzero((control == labels).all(axis=0) & (2 * wrong > len(form)))
    images = images[np.argsort(-wrong[images], kind="stable")]
    given = [form[form[:, image] != labels[image], image] for image in images]
    return pd.DataFrame(
        {
            "image": images,
            "label": labels[images],
            "taken_for": [int(np.bincount(each).argmax()) for each in given],
            "seeds_lost": wrong[images],
            "seeds": len(form),
        }
    )


def calibration_error(scores: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error: how far confidence and accuracy lie apart, a fraction.

    The mean over `BINS` bins of equal width in confidence, weighted by their images.
    Args:
        scores: before the softmax, (images, classes). labels: (images,).
    Source: Guo et al. 2017, arXiv:1706.04599.
    """
    chances = special.softmax(np.asarray(scores, np.float64), axis=1)
    confidence, hit = chances.max(axis=1), chances.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, confidence - hit, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))


def surprise(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Negative log-likelihood of each image's label in nats, (images,); see `calibration_error`."""
    logs = special.log_softmax(np.asarray(scores, np.float64), axis=1)
    return -logs[np.arange(len(labels)), labels]


def calibration(outcomes: Outcomes, labels: np.ndarray) -> pd.DataFrame:
    """One row a form: calibration error, and negative log-likelihood with its change against the control.

    Means over the seeds; the interval of the change is that over seeds and images.
    """
    rows: list[dict[str, object]] = []
    control: np.ndarray | None = None
    for name, found in outcomes.items():
        # the one score of two classes becomes two
        scores = [log_probabilities(one.content, one.scores).reshape(len(labels), -1) for one in found]
        each = np.stack([surprise(one, labels) for one in scores])
        errors = [calibration_error(one, labels) for one in scores]
        control = each if control is None else control
        change = statistics.estimate(each - control)
        rows.append(
            {
                "recipe": name,
                "calibration_error": np.mean(errors),
                "calibration_error_sd": np.std(errors, ddof=1) if len(errors) > 1 else np.nan,
                "nll": each.mean(),
                "nll_change": change.mean,
                "nll_change_ci_low": change.low,
                "nll_change_ci_high": change.high,
            }
        )
    return pd.DataFrame(rows)


def corrupted(
    outcomes: Outcomes,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    margin: float = MARGIN,
    keep: Callable[[bytes, Callable[[], np.ndarray]], np.ndarray] = lambda content, ask: ask(),
) -> pd.DataFrame:
    """One row a corruption and form: accuracy, and its change against the control; see `forms.verdicts`.

    The first rows, `none`, are of the images as they are. All rows are one family.
    Args:
        images: as a `Dataset` holds them, (n, height, width) or (n, height, width, channels).
        seed: of the corruptions.
        keep: is given a file and what asks it, and gives the labels (corruptions, n) that it answers.
    Raises:
        ValueError: the samples are no images; see `corruptions.why_not`.
    """
    if reason := why_not(images.shape[1:]):
        raise ValueError(reason)
    rows: list[dict[str, object]] = []
    pairs: list[Pair | None] = []
    names = ("none", *CORRUPTIONS)

    @functools.cache
    def inputs(name: str) -> np.ndarray:
        return scale(images if name == "none" else corrupt(images, name, seed=seed))

    def ask(content: bytes) -> np.ndarray:
        return np.stack([running.predict(content, inputs(name)) for name in names])

    right = {
        form: [keep(one.content, functools.partial(ask, one.content)) == labels for one in found]
        for form, found in outcomes.items()
    }
    for place, name in enumerate(names):
        asked = {form: np.stack([each[place] for each in found]) for form, found in right.items()}
        control, *others = asked.values()
        rows += [
            {"corruption": name, "recipe": form, "accuracy": each.mean()} for form, each in asked.items()
        ]
        pairs += [None, *((each, control) for each in others)]
    return pd.concat([pd.DataFrame(rows), verdicts(pairs, margin=margin)], axis=1)
