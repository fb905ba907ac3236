"""The frontier's records: a row for every plan and seed that was ever computed, kept and dropped ones alike.

A plan is known by what it does, not by its name, so that one that changes inherits no row. The front is
drawn on validation error; test error is written of plans that stand, and of those that stood.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..evidence.tables import save_csv
from ..files import coding, flatbuffer
from ..files.graph import zeroed
from ..store import make_key
from ..study.outcomes import Outcome
from ..study.recipes import Recipe
from ..techniques.rate_distortion import RateConfig
from . import plans

#: `since` and `until` are the versions with which a plan, or a row of it, began and ceased to stand.
COLUMNS = [
    "plan", "net", "method", "idea", "price", "levels", "seed", "seeds", "epochs", "augmentation", "teachers",
    "validation_error_pct", "test_error_pct", "coded_bytes", "coder", "flash_bytes", "payload_bytes",
    "graph_bytes", "entropy_bytes", "nonzero_weights", "weights", "stands", "since", "until",
    "figures",
]  # fmt: skip
#: What `figures` says of a row: computed from a record. Others have none of one seed, and only means and
#: medians over the seeds: "as measured then" in the table of an earlier version, "as a referee measured", or
#: "not measured", of a plan that stood in the code and has no row left.
MEASURED = "measured"
#: The idea of a row of each trial, and the version since which each plan stands.
_PLANS = {plan.recipe: plan for plan in (*plans.TRIALS, *plans.PLANS)}
#: Words that may look like numbers.
_WORDS = dict.fromkeys(("plan", "idea", "teachers", "coder", "since", "until", "figures"), "str")


def identity(recipe: Recipe) -> str:
    """What a recipe does, whatever it is called: of a hash of net, steps and export 12 digits.

    A letter goes before them, so that nobody reads them as a number.
    """
    return "p" + make_key(net=recipe.net, steps=_told(recipe.steps), export=_told(recipe.export))[:12]


def _told(value: Any) -> Any:
    """A config without the fields that have their defaults, so that a new field changes no identity."""
    if isinstance(value, tuple):
        return [_told(each) for each in value]
    if not dataclasses.is_dataclass(value):
        return value
    kept = {
        field.name: _told(getattr(value, field.name))
        for field in dataclasses.fields(value)
        if getattr(value, field.name) != field.default
    }
    return {"type": type(value).__name__, **kept}


def teachers(recipe: Recipe) -> str:
    """Who teaches a net, in words; empty for the labels."""
    teacher = recipe.steps[-1].teacher
    if teacher is None:
        return ""
    epochs = sum(step.train.epochs for step in teacher.steps)
    return f"{len(teacher.seeds)} x {teacher.net}, {epochs} epochs, T {teacher.distill.temperature:g}"


@functools.cache
def graph_bytes(content: bytes) -> int:
    """Coded bytes of a file with every constant zeroed."""
    return len(coding.best_coded(zeroed(content))[1])


@functools.cache
def payload_bytes(content: bytes) -> int:
    """Coded bytes of a file's weights and biases alone, for who knows the graph: as MIRACLE counts."""
    constants = (buffer.data for buffer in flatbuffer.read(content).buffers)
    return len(coding.best_coded(b"".join(data.tobytes() for data in constants if data is not None))[1])


def row(recipe: Recipe, outcome: Outcome, *, stands: bool) -> dict[str, object]:
    """One line of the records; the test error only of a plan that stands."""
    record, plan = outcome.record, _PLANS.get(recipe)
    rates = [step.technique for step in recipe.steps if isinstance(step.technique, RateConfig)]
    return {
        "plan": identity(recipe),
        "net": recipe.net,
        "method": recipe.name.removeprefix(f"{recipe.net}-"),
        "idea": plan.idea if plan else "",
        "price": rates[-1].price if rates else np.nan,
        "levels": rates[-1].levels if rates else np.nan,
        "seed": record.seed,
        "seeds": 1,
        "epochs": recipe.epochs,
        "augmentation": recipe.steps[-1].train.augment,
        "teachers": teachers(recipe),
        "validation_error_pct": 100 * (1 - record.validation_accuracy),
        "test_error_pct": 100 * (1 - record.accuracy) if stands else np.nan,
        "coded_bytes": record.best_coded_bytes,
        "coder": record.best_coder,
        "flash_bytes": record.file_bytes,
        "payload_bytes": payload_bytes(outcome.content),
        "graph_bytes": graph_bytes(outcome.content),
        "entropy_bytes": round(record.entropy_bytes),
        "nonzero_weights": record.nonzero_weights,
        "weights": record.weights,
        "stands": stands,
        "since": plan.since if plan and stands else "",
        "until": "",
        "figures": MEASURED,
    }


def read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A table as it lies on the disk; one without rows where there is none yet."""
    return pd.read_csv(path, dtype=_WORDS) if path.exists() else pd.DataFrame(columns=columns)


def replaced(before: pd.DataFrame, rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """A table with `rows` in place of those that are like one of them in all of `by`."""
    now = set(rows[by].itertuples(index=False, name=None))
    kept = before[[key not in now for key in before[by].itertuples(index=False, name=None)]]
    return pd.concat([part for part in (kept, rows) if len(part)] or [rows], ignore_index=True)


def save(table: pd.DataFrame, path: Path) -> None:
    """Write a table; whole numbers stay whole beside rows that have none."""
    save_csv(table.convert_dtypes(), path)


def add(path: Path, rows: Sequence[dict[str, object]], standing: Iterable[str]) -> pd.DataFrame:
    """Put rows into the records on the disk, by plan and seed, and mark which plans stand.

    Rows of other plans stay, whatever the plans are now.

    Args:
        standing: the identities of the plans that stand.
    """
    table = replaced(read(path, COLUMNS), pd.DataFrame(rows, columns=COLUMNS), ["plan", "seed"])
    table["stands"] = table["plan"].isin(set(standing))
    save(table, path)
    return read(path, COLUMNS)


def by_plan(table: pd.DataFrame) -> pd.DataFrame:
    """One row a measured plan: mean validation error, median of the bytes (the lower one of two)."""
    measured = table[table["figures"] == MEASURED]
    groups = measured.groupby("plan", sort=False)
    means = groups[["validation_error_pct"]].mean()
    sizes = groups[["coded_bytes", "flash_bytes", "payload_bytes"]].quantile(0.5, interpolation="lower")
    first = groups[["net", "method", "idea", "stands", "teachers", "epochs"]].first()
    return first.join([means, sizes, groups.size().rename("seeds")]).reset_index()


def at_equal_error(table: pd.DataFrame) -> pd.DataFrame:
    """Each trial's bytes over what the reference would need for the same validation error.

    The reference is a straight line through its trials, logarithm of error against logarithm of bytes.

    Args:
        table: the records, see `COLUMNS`.
    Returns:
        One row a trial of the other ideas: idea, net, method, seeds, validation_error_pct, coded_bytes,
        reference_bytes, share (below 1 where the idea saves bytes), beyond (whether the error lies outside
        those of the reference's trials, so that the line is prolonged), reference (its net) and references
        (how many trials). None where these have fewer than two different sizes.
    """
    trials = by_plan(table[table["idea"].notna() & (table["idea"] != "")])
    reference = trials["idea"] == plans.REFERENCE
    size = trials["coded_bytes"].astype(float)
    error = np.log(trials["validation_error_pct"].astype(float))
    columns = ["idea", "net", "method", "seeds", "validation_error_pct", "coded_bytes"]
    if size[reference].nunique() < 2:
        extra = ["reference_bytes", "share", "beyond", "reference", "references"]
        return pd.DataFrame(columns=[*columns, *extra])
    slope, start = np.polyfit(np.log(size[reference]), error[reference], 1)
    needed = np.exp((error - start) / slope)
    within = error.between(error[reference].min(), error[reference].max())
    found = trials[columns].assign(reference_bytes=needed, share=size / needed, beyond=~within)
    found["reference"], found["references"] = trials.loc[reference, "net"].iloc[0], int(reference.sum())
    return found[~reference].sort_values(["idea", "share"], ignore_index=True)
