"""Who pays for the bytes: classes, single images, calibration, and images that are not clean.

A mean accuracy hides that compression forgets some images and classes more than others (Hooker et al. 2019,
arXiv:1911.05248).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import special

from ..data.corruptions import CORRUPTIONS, corrupt, why_not
from ..data.datasets import scale
from ..files import running
from . import statistics
from .forms import verdicts
from .statistics import MARGIN

#: Bins of the calibration error, equally wide.
BINS = 15


def by_class(
    form: np.ndarray, control: np.ndarray, labels: np.ndarray, *, margin: float = MARGIN
) -> pd.DataFrame:
    """One row a class: images, both accuracies, and the change, judged as one family; see `forms.verdicts`.

    Args:
        form, control: predicted labels, (seeds, images). labels: (images,).
    """
    rows, compared = [], []
    for label in np.unique(labels):
        ours, theirs = (predicted[:, labels == label] == label for predicted in (form, control))
        rows.append(
            {
                "class": int(label),
                "images": ours.shape[1],
                "accuracy": float(ours.mean()),
                "control_accuracy": float(theirs.mean()),
            }
        )
        compared.append(statistics.compare(ours, theirs, margin=margin))
    return pd.concat([pd.DataFrame(rows), verdicts(compared)], axis=1)


def lost(form: np.ndarray, control: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """The images that the control gets right with every seed and the form with less than half of them.

    Those that most seeds lose come first. `taken_for` is the label that most of these give.
    Args:
        form, control: predicted labels, (seeds, images). labels: (images,).
    """
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


def logits(scores: np.ndarray, *, probabilities: bool) -> np.ndarray:
    """Scores before the softmax, one a class, of what a file gave: probabilities, or one score of two.

    Args:
        scores: (images, outputs).
    """
    given = np.asarray(scores, np.float64)
    if given.shape[1] == 1:
        given = np.hstack([1 - given if probabilities else np.zeros_like(given), given])
    return np.log(np.clip(given, 1e-7, 1)) if probabilities else given


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


def calibration(scores: Mapping[str, Sequence[np.ndarray]], labels: np.ndarray) -> pd.DataFrame:
    """One row a form: calibration error, and negative log-likelihood with its change against the first form.

    Means over the seeds; the interval of the change is that over seeds and images.
    Args:
        scores: by form, one array a seed, see `calibration_error`; the first form is the control.
    """
    rows, first = [], None
    for name, found in scores.items():
        each = np.stack([surprise(one, labels) for one in found])
        errors = [calibration_error(one, labels) for one in found]
        first = each if first is None else first
        change = statistics.estimate(each - first)
        rows.append(
            {
                "recipe": name,
                "calibration_error": float(np.mean(errors)),
                "calibration_error_sd": float(np.std(errors, ddof=1)) if len(errors) > 1 else np.nan,
                "nll": float(each.mean()),
                "nll_change": change.mean,
                "nll_change_ci_low": change.low,
                "nll_change_ci_high": change.high,
            }
        )
    return pd.DataFrame(rows)


def corrupted(
    files: Mapping[str, Sequence[bytes]],
    images: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    margin: float = MARGIN,
) -> pd.DataFrame:
    """One row a corruption and form: accuracy, and its change against the first form; see `forms.verdicts`.

    The first rows, `none`, are of the images as they are. A family is the forms under one corruption.
    Args:
        files: .tflite contents by form, one a seed; the first form is the control.
        images: as a `Dataset` holds them, (n, height, width) or (n, height, width, channels).
        seed: of the corruptions.
    Raises:
        ValueError: the samples are no images; see `corruptions.why_not`.
    """
    if reason := why_not(images.shape[1:]):
        raise ValueError(reason)
    tables = []
    for name in ("none", *CORRUPTIONS):
        inputs = scale(images if name == "none" else corrupt(images, name, seed=seed))
        found = {
            form: np.stack([running.predict(content, inputs) == labels for content in contents])
            for form, contents in files.items()
        }
        first = next(iter(found.values()))
        compared = [None, *(statistics.compare(each, first, margin=margin) for each in [*found.values()][1:])]
        rows = [
            {"corruption": name, "recipe": form, "accuracy": float(each.mean())}
            for form, each in found.items()
        ]
        tables.append(pd.concat([pd.DataFrame(rows), verdicts(compared)], axis=1))
    return pd.concat(tables, ignore_index=True)
