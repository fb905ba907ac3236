"""Outcomes become rows: sizes, spread, and what may be said of each form beside its control."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from ..data.labels import right as how_right
from ..runtimes.deployment import BASELINE
from ..study.catalogue import control_of
from ..study.outcomes import Outcome, Record
from ..study.recipes import Recipe
from . import statistics
from .statistics import MARGIN, Comparison, Spread


@dataclass(frozen=True, kw_only=True)
class Form:
    """One row of the study: a recipe's outcomes, one a seed, beside its control's and the float net's.

    Attributes:
        outcomes, control, float_net: in the order of the seeds, equally many.
        control_name: what it is compared with; a form that is its own control has no test.
    """

    name: str
    is_control: bool = False
    outcomes: Sequence[Outcome]
    control_name: str
    control: Sequence[Outcome]
    float_net: Sequence[Outcome]


def beside_controls(outcomes: Mapping[str, Sequence[Outcome]], recipes: Mapping[str, Recipe]) -> list[Form]:
    """Each .tflite form and control beside what it is compared with, and the float net.

    Args:
        outcomes: by name, one a seed; what is not among them is left out, as is what lacks its control.
        recipes: all that there are.
    """
    forms = []
    for name, found in outcomes.items():
        control = control_of(recipes[name], recipes) or ""
        if recipes[name].export.form == "h5" or control not in outcomes or BASELINE not in outcomes:
            continue
        forms.append(
            Form(
                name=name,
                is_control=recipes[name].is_control,
                outcomes=found,
                control_name=control,
                control=outcomes[control],
                float_net=outcomes[BASELINE],
            )
        )
    return forms


def right(outcomes: Sequence[Outcome], labels: np.ndarray) -> np.ndarray:
    """Whether each label is right, (seeds, images), or how right what else was asked; see `labels.right`."""
    if labels.ndim == 1 and labels.dtype.kind != "f":
        return stacked(outcomes) == labels
    return np.stack([how_right(labels, outcome.predictions) for outcome in outcomes])


def stacked(outcomes: Sequence[Outcome]) -> np.ndarray:
    """The predicted labels, (seeds, images)."""
    return np.stack([outcome.predictions for outcome in outcomes])


def _median_record(outcomes: Sequence[Outcome], field: str) -> Record:
    """The record whose `field` is the median over the seeds, the lower one of two: sizes stay whole bytes."""
    records = sorted((outcome.record for outcome in outcomes), key=lambda record: getattr(record, field))
    return records[(len(records) - 1) // 2]


def middle(outcomes: Sequence[Outcome], field: str) -> float:
    """A record's field, the median seed's."""
    return getattr(_median_record(outcomes, field), field)


def verdicts(comparisons: Sequence[Comparison | None], family: Sequence[bool] | None = None) -> pd.DataFrame:
    """The columns of a comparison, one row each: change and 95 % interval in points, p values, verdict.

    Args:
        comparisons: None where there is no test; its row is empty.
        family: which of them are judged together (Holm); the others are each judged alone and have no
            `p_holm`. All without.
    """
    together = [True] * len(comparisons) if family is None else list(family)
    within = [each for each, inside in zip(comparisons, together, strict=True) if each and inside]
    judged = iter(statistics.judge(within))
    rows: list[dict[str, object]] = []
    for each, inside in zip(comparisons, together, strict=True):
        if each is None:
            rows.append({"verdict": ""})
            continue
        said = next(judged) if inside else statistics.judge([each])[0]
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


def _compared(form: Form, labels: np.ndarray, margin: float) -> Comparison | None:
    if form.name == form.control_name:
        return None
    return statistics.compare(right(form.outcomes, labels), right(form.control, labels), margin=margin)


def all_forms(forms: Sequence[Form], labels: np.ndarray, *, margin: float = MARGIN) -> pd.DataFrame:
    """One row a form: sizes, spread, change against the control, and what may be said of it.

    Sizes are the median seed's, in bytes. Intervals and p values take seeds and images as random, see
    `statistics`; the family of Holm's correction is the forms that are compared with another, and no control.
    Args:
        labels: of the test images, (n,), or what else was asked for.
        margin: a fraction, see `statistics.compare`.
    """
    rows = pd.DataFrame([_row(form, labels) for form in forms])
    family = [not form.is_control for form in forms]
    compared = verdicts([_compared(form, labels, margin) for form in forms], family)
    return pd.concat([rows, compared], axis=1)


def _row(form: Form, labels: np.ndarray) -> dict[str, object]:
    accuracies = [outcome.record.accuracy for outcome in form.outcomes]
    accuracy = statistics.estimate(right(form.outcomes, labels))
    best, entropy = middle(form.outcomes, "best_coded_bytes"), middle(form.outcomes, "entropy_bytes")
    return {
        "recipe": form.name,
        "role": "control" if form.is_control else "form",
        "seeds": len(form.outcomes),
        "test_images": len(labels),
        "file_bytes": middle(form.outcomes, "file_bytes"),
        "converted_bytes": middle(form.outcomes, "converted_bytes"),
        "zip_bytes": middle(form.outcomes, "zip_bytes"),
        "best_coded_bytes": best,
        "best_coder": _median_record(form.outcomes, "best_coded_bytes").best_coder,
        "entropy_bytes": round(entropy),
        "above_entropy": best / entropy,
        "nonzero_weights": middle(form.outcomes, "nonzero_weights"),
        "unique_values": middle(form.outcomes, "unique_values"),
        "macs": middle(form.outcomes, "macs"),
        "theoretical_speedup": middle(form.float_net, "dense_macs") / middle(form.outcomes, "macs"),
        "accuracy_mean": accuracy.mean,
        "accuracy_sd": np.std(accuracies, ddof=1) if len(accuracies) > 1 else np.nan,
        "accuracy_ci_low": accuracy.low,
        "accuracy_ci_high": accuracy.high,
        "agreement": np.mean(
            [
                how_right(theirs.predictions, ours.predictions)
                for ours, theirs in zip(form.outcomes, form.float_net, strict=True)
            ]
        ),
        "compared_with": "" if form.name == form.control_name else form.control_name,
    }


def power_left(
    forms: Sequence[Form], labels: np.ndarray, differences: Sequence[float] = (0.001, 0.002, 0.003, 0.005)
) -> pd.DataFrame:
    """With which chance true differences are found, before Holm's correction and after it.

    The spread is the family's middle one: the median over its forms, seeds and images each. `seeds_needed`
    are empty where no number of seeds would do, since the images alone leave too much to chance.
    Args:
        differences: fractions.
    """
    family = [form for form in forms if not form.is_control and form.name != form.control_name]
    found = [
        statistics.spread(right(form.outcomes, labels).astype(float) - right(form.control, labels))
        for form in family
    ]
    parts = {part: float(np.median([getattr(each, part) for each in found])) for part in asdict(found[0])}
    seeds, images, typical = len(family[0].outcomes), len(labels), Spread(**parts)
    rows = []
    for difference in differences:
        row: dict[str, object] = {"difference_pp": 100 * difference}
        for suffix, tests in (("", 1), ("_holm", len(family))):
            row[f"power{suffix}"] = statistics.power(
                difference, seeds=seeds, images=images, spread=typical, tests=tests
            )
            row[f"seeds_needed{suffix}"] = statistics.seeds_needed(
                difference, images=images, spread=typical, tests=tests
            )
        rows.append(row)
    return pd.DataFrame(rows)


def records_table(outcomes: Mapping[str, Sequence[Outcome]]) -> pd.DataFrame:
    """Every record, one row a recipe and seed; the cache's key is left out."""
    rows = [{**asdict(each.record), "recipe": name} for name, found in outcomes.items() for each in found]
    return pd.DataFrame(rows).drop(columns="key")


def model_comparison(outcomes: Mapping[str, Outcome], published: Mapping[str, float]) -> pd.DataFrame:
    """The files of one seed, named as they lie on the disk.

    `compression_ratio` divides the baseline's bytes by the file's, .h5 by .h5 and .tflite by
    .tflite. `accuracy_change_pp` is against the baseline in the same format;
    `against_longer_trained_pp` is against the float net trained for as long as the pruned ones.
    """
    rows = []
    for outcome in outcomes.values():
        record = outcome.record
        baseline = outcomes[f"{BASELINE}.h5" if record.file.endswith(".h5") else f"{BASELINE}.tflite"].record
        longer = outcomes["longer_trained.tflite"].record
        rows.append(
            {
                "model_file": record.file,
                "file_bytes": record.file_bytes,
                "zip_bytes": record.zip_bytes,
                "compression_ratio": baseline.file_bytes / record.file_bytes,
                "zip_compression_ratio": baseline.zip_bytes / record.zip_bytes,
                "accuracy": record.accuracy,
                "accuracy_change_pp": 100 * (record.accuracy - baseline.accuracy),
                "against_longer_trained_pp": 100 * (record.accuracy - longer.accuracy),
                "published_accuracy": published.get(record.file, np.nan),
            }
        )
    return pd.DataFrame(rows)


def zipped_comparison(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """What zip makes of Keras files; `zip_ratio` divides a file's bytes by its zipped bytes."""
    fields = ("file_bytes", "zip_bytes")
    rows = [
        {"model_file": each.record.file, **{field: getattr(each.record, field) for field in fields}}
        for each in outcomes
    ]
    table = pd.DataFrame(rows)
    return table.assign(zip_ratio=table.file_bytes / table.zip_bytes)
