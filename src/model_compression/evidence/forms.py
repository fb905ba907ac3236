"""Outcomes become rows: sizes, spread, and what may be said of each form beside its control.

Everywhere outcomes stand by the name of their recipe, one a seed, and labels are those of the test images,
(n,), or what else was asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from ..data.labels import right as how_right
from ..runtimes.deployment import BASELINE
from ..study.catalogue import control_of
from ..study.outcomes import Outcome, Record
from ..study.recipes import Recipe
from . import statistics
from .statistics import MARGIN, Spread

Outcomes = Mapping[str, Sequence[Outcome]]
#: The values of a form and of its control, each (seeds, images).
Pair = tuple[np.ndarray, np.ndarray]


def right(outcomes: Sequence[Outcome], labels: np.ndarray) -> np.ndarray:
    """How right each label is, or what else was asked, floats (seeds, images); see `labels.right`."""
    return np.stack([how_right(labels, outcome.predictions) for outcome in outcomes])


def median_outcome(outcomes: Sequence[Outcome], field: str = "best_coded_bytes") -> Outcome:
    """The one whose `field` is the median over the seeds, the lower one of two: sizes stay whole bytes."""
    return sorted(outcomes, key=lambda each: getattr(each.record, field))[(len(outcomes) - 1) // 2]


def middle(outcomes: Sequence[Outcome], field: str) -> float:
    """A record's field, the median seed's."""
    return getattr(median_outcome(outcomes, field).record, field)


def zeros(record: Record) -> float:
    """The part of a file's weights that are zero."""
    return 1 - record.nonzero_weights / record.weights


def verdicts(
    pairs: Sequence[Pair | None], family: Sequence[bool] | None = None, *, margin: float = MARGIN
) -> pd.DataFrame:
    """The columns of a comparison, one row each: change and 95 % interval in points, p values, verdict.

    Args:
        pairs: None where there is no test; its row is empty.
        family: which of them are judged together (Holm); the others are each judged alone and have no
            `p_holm`. All without.
        margin: a fraction, see `statistics.compare`.
    """
    compared = [each and statistics.compare(*each, margin=margin) for each in pairs]
    together = [True] * len(pairs) if family is None else list(family)
    within = [each for each, inside in zip(compared, together, strict=True) if each and inside]
    judged = iter(statistics.judge(within))
    rows: list[dict[str, object]] = []
    for each, inside in zip(compared, together, strict=True):
        if each is None:
            rows.append({"verdict": ""})
            continue
        said = next(judged) if inside else each
        rows.append(
            {
                "change_pp": 100 * each.mean,
                "change_ci_low_pp": 100 * each.low,
                "change_ci_high_pp": 100 * each.high,
                "p_value": each.p_different,
                "p_holm": said.p_different if inside else np.nan,
                "p_equivalent": said.p_equivalent,
                "detectable_pp": 100 * said.detectable,
                "verdict": said.verdict,
            }
        )
    columns = ["change_pp", "change_ci_low_pp", "change_ci_high_pp", "p_value", "p_holm", "p_equivalent"]
    return pd.DataFrame(rows, columns=[*columns, "detectable_pp", "verdict"])


def controls(outcomes: Outcomes, recipes: Mapping[str, Recipe]) -> dict[str, str]:
    """What each .tflite form and control is compared with, itself where that is nothing else.

    Left out is what has no outcomes, or lacks its control or the float net.
    Args:
        recipes: all that there are.
    """
    files = [name for name in outcomes if recipes[name].export.form != "h5"]
    found = {name: control_of(recipes[name], recipes) or "" for name in files if BASELINE in outcomes}
    return {name: control for name, control in found.items() if control in outcomes}


def all_forms(
    outcomes: Outcomes, recipes: Mapping[str, Recipe], labels: np.ndarray, *, margin: float = MARGIN
) -> pd.DataFrame:
    """One row a form: sizes, spread, change against the control, and what may be said of it.

    Sizes are the median seed's, in bytes. Intervals and p values take seeds and images as random, see
    `statistics`; the family of Holm's correction is the forms that are compared with another, and no control.
    """
    found = controls(outcomes, recipes)
    rows = [
        {
            "recipe": name,
            "role": "control" if recipes[name].is_control else "form",
            **_measured(outcomes[name], outcomes[BASELINE], labels),
            "validation_change_pp": 100 * (_validated(outcomes[name]) - _validated(outcomes[control])),
            "compared_with": "" if control == name else control,
        }
        for name, control in found.items()
    ]
    family = [not recipes[name].is_control for name in found]
    pairs = [pair(outcomes, name, control, labels) for name, control in found.items()]
    return pd.concat([pd.DataFrame(rows), verdicts(pairs, family, margin=margin)], axis=1)


def pair(outcomes: Outcomes, name: str, control: str, labels: np.ndarray) -> Pair | None:
    """What is compared, as `verdicts` takes it; a form that is its own control has no test."""
    return None if name == control else (right(outcomes[name], labels), right(outcomes[control], labels))


def _validated(found: Sequence[Outcome]) -> float:
    return float(np.mean([outcome.record.validation_accuracy for outcome in found]))


def _measured(
    found: Sequence[Outcome], float_net: Sequence[Outcome], labels: np.ndarray
) -> dict[str, object]:
    accuracies = [outcome.record.accuracy for outcome in found]
    accuracy = statistics.estimate(right(found, labels))
    coded, entropy = median_outcome(found).record, middle(found, "entropy_bytes")
    agreeing = [
        how_right(theirs.predictions, ours.predictions) for ours, theirs in zip(found, float_net, strict=True)
    ]
    return {
        "seeds": len(found),
        "test_images": len(labels),
        "file_bytes": middle(found, "file_bytes"),
        "converted_bytes": middle(found, "converted_bytes"),
        "zip_bytes": middle(found, "zip_bytes"),
        "best_coded_bytes": coded.best_coded_bytes,
        "best_coder": coded.best_coder,
        "entropy_bytes": round(entropy),
        "above_entropy": coded.best_coded_bytes / entropy,
        "nonzero_weights": middle(found, "nonzero_weights"),
        "unique_values": middle(found, "unique_values"),
        "macs": middle(found, "macs"),
        "theoretical_speedup": middle(float_net, "dense_macs") / middle(found, "macs"),
        "accuracy_mean": accuracy.mean,
        "accuracy_sd": np.std(accuracies, ddof=1) if len(accuracies) > 1 else np.nan,
        "accuracy_ci_low": accuracy.low,
        "accuracy_ci_high": accuracy.high,
        "agreement": np.mean(agreeing),
    }


def power_left(
    outcomes: Outcomes,
    recipes: Mapping[str, Recipe],
    labels: np.ndarray,
    differences: Sequence[float] = (0.001, 0.002, 0.003, 0.005),
) -> pd.DataFrame:
    """With which chance true differences are found, before Holm's correction and after it.

    The spread is the family's middle one: the median over its forms, seeds and images each. `seeds_needed`
    are empty where no number of seeds would do, since the images alone leave too much to chance.
    Args:
        differences: fractions.
    """
    pairs = [
        compared
        for name, control in controls(outcomes, recipes).items()
        if not recipes[name].is_control and (compared := pair(outcomes, name, control, labels))
    ]
    spreads = pd.DataFrame([asdict(statistics.spread(form - theirs)) for form, theirs in pairs])
    (seeds, images), typical = pairs[0][0].shape, Spread(**spreads.median())
    rows = []
    for difference in differences:
        row: dict[str, object] = {"difference_pp": 100 * difference}
        for suffix, tests in (("", 1), ("_holm", len(pairs))):
            plan = {"images": images, "spread": typical, "tests": tests}
            row[f"power{suffix}"] = statistics.power(difference, seeds=seeds, **plan)
            row[f"seeds_needed{suffix}"] = statistics.seeds_needed(difference, **plan)
        rows.append(row)
    return pd.DataFrame(rows)


def records_table(outcomes: Outcomes) -> pd.DataFrame:
    """Every record, one row a recipe and seed; the cache's key is left out."""
    rows = [{**asdict(each.record), "recipe": name} for name, found in outcomes.items() for each in found]
    return pd.DataFrame(rows).drop(columns="key")


def model_comparison(
    outcomes: Mapping[str, Outcome], equal: Mapping[str, float], published: Mapping[str, float]
) -> pd.DataFrame:
    """The files of one seed, named as they lie on the disk.

    `compression_ratio` divides the baseline's bytes by the file's, .h5 by .h5 and .tflite by
    .tflite. `accuracy_change_pp` is against the baseline in the same format.
    Args:
        equal: by file, the accuracy of the float net trained for as long. published: likewise, elsewhere.
    """
    rows = []
    for record in (outcome.record for outcome in outcomes.values()):
        baseline = outcomes[f"{BASELINE}.{record.file.rpartition('.')[2]}"].record
        rows.append(
            {
                "model_file": record.file,
                "file_bytes": record.file_bytes,
                "zip_bytes": record.zip_bytes,
                "compression_ratio": baseline.file_bytes / record.file_bytes,
                "zip_compression_ratio": baseline.zip_bytes / record.zip_bytes,
                "accuracy": record.accuracy,
                "accuracy_change_pp": 100 * (record.accuracy - baseline.accuracy),
                "against_control_pp": 100 * (record.accuracy - equal.get(record.file, np.nan)),
                "published_accuracy": published.get(record.file, np.nan),
            }
        )
    return pd.DataFrame(rows)


def zipped_comparison(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """What zip makes of Keras files; `zip_ratio` divides a file's bytes by its zipped bytes."""
    rows = [asdict(each.record) for each in outcomes]
    table = pd.DataFrame(rows)[["file", "file_bytes", "zip_bytes"]].rename(columns={"file": "model_file"})
    return table.assign(zip_ratio=table.file_bytes / table.zip_bytes)
