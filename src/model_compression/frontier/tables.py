"""The frontier's tables: our points with their intervals, the published ones, and how the two compare.

Every point of ours is a whole coded .tflite file that the stock interpreter runs. A row is the median of
the seeds' bytes and the mean of their errors; the file beside it is one seed's, whose own figures stand
there too. Which of our points make the front is decided on validation error.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..data.datasets import Dataset, scale
from ..evidence.forms import median_outcome, right
from ..evidence.plots import pareto
from ..evidence.statistics import estimate
from ..files import coding, running
from ..store import writable_folder, write_atomically
from ..study.outcomes import Outcome
from ..study.recipes import Recipe
from . import records
from .published import COUNTS, FLOAT_BYTES, PARAMETERS, published

COLUMNS = [
    "plan", "net", "method", "bytes", "flash_bytes", "payload_bytes", "graph_bytes", "entropy_bytes",
    "validation_error_pct", "error_pct", "error_sd_pct", "error_low_pct", "error_high_pct", "seeds", "epochs",
    "augmentation", "teachers", "since", "counted_as", "file", "file_seed", "file_error_pct", "source",
]  # fmt: skip
#: What the rows that were computed here say of their source.
OURS = "this study"
#: How our rows are counted: whole coded files, and the dense nets trained and taught alike.
FILE, CONTROL = "measured", "control"
PASSED, NOISE, MISSED = "passed", "within noise", "not reached"


def errors(outcomes: Sequence[Outcome], labels: np.ndarray) -> dict[str, float]:
    """The seeds' mean test error in %, their spread, and the interval.

    The interval holds both seeds and test images as drawn at random, see `statistics`.
    """
    wrong = 1 - right(outcomes, labels)
    each, mean = 100 * wrong.mean(axis=1), estimate(wrong)
    return {
        "error_pct": float(each.mean()),
        "error_sd_pct": float(each.std(ddof=1)) if len(each) > 1 else np.nan,
        "error_low_pct": max(100 * mean.low, 0.0),
        "error_high_pct": 100 * mean.high,
        "seeds": len(each),
    }


def our_row(recipe: Recipe, outcomes: Sequence[Outcome], labels: np.ndarray) -> dict[str, object]:
    """One line of the frontier: the median seed's bytes, and the seeds' errors.

    `entropy_bytes` is the order-0 entropy of the weights, a floor for a coder without memory; `graph_bytes`
    the coded file with every constant zeroed.
    """
    median = records.row(recipe, median_outcome(outcomes), stands=True)
    validation = [outcome.record.validation_accuracy for outcome in outcomes]
    return {
        **{column: value for column, value in median.items() if column in COLUMNS},
        "bytes": median["coded_bytes"],
        "validation_error_pct": 100 * (1 - np.mean(validation)),
        **errors(outcomes, labels),
        "counted_as": CONTROL if recipe.is_control else FILE,
        "file": f"{recipe.file_name}.{median['coder']}",
        "file_seed": median["seed"],
        "file_error_pct": median["test_error_pct"],
        "source": OURS,
    }


def merge(
    before: pd.DataFrame, rows: Sequence[Mapping[str, object]], standing: Collection[str]
) -> pd.DataFrame:
    """Our rows, new ones in place of those of the same name, followed by the published ones.

    `file` stays with the points of our front only.

    Args:
        before: of an earlier run, see `records.read`.
        standing: identities of today's plans: rows of others go, whatever they are called.
    """
    kept = before[before["plan"].isin(standing)]
    ours = records.replaced(kept, pd.DataFrame(rows, columns=COLUMNS), ["net", "method"])
    ours = ours.sort_values(["counted_as", "net", "bytes"], ascending=[False, True, True], ignore_index=True)
    ours["file"] = ours["file"].where(on_front(ours), other=pd.NA)
    theirs = published().dropna(subset="error_pct")
    return pd.concat([ours, theirs], ignore_index=True)[COLUMNS]


def on_front(table: pd.DataFrame) -> np.ndarray:
    """Which rows are on our front: files that no other undercuts in coded bytes and validation error."""
    ours = table[table["counted_as"] == FILE]
    return table.index.isin(ours.index[pareto(ours["bytes"], ours["validation_error_pct"])])


#: Which of our bytes a way of counting is compared with, where ours can be counted so.
_LIKE = {"flash": "flash_bytes", "payload": "payload_bytes", "file": "bytes"}


def reached(ours: pd.DataFrame, size: float, error_pct: float, column: str | None = "bytes") -> str:
    """Whether a file of ours has no more bytes and no more error than a published point.

    The published error is taken as it stands. "passed": the whole interval of one of ours is below it;
    "within noise": it lies in or above the interval of one; else "not reached". Empty where there is no
    error, no file of ours, or no column of such bytes.
    """
    if np.isnan(error_pct) or not len(ours) or column is None:
        return ""
    small = ours[ours[column] <= size]
    if (small["error_high_pct"] <= error_pct).any():
        return PASSED
    return NOISE if (small["error_low_pct"] <= error_pct).any() else MISSED


def literature(frontier: pd.DataFrame) -> pd.DataFrame:
    """Per net, every published figure with its count, and ours beside them.

    `ratio` is the dense float32 net's bytes over these: as stated, or worked out from the bytes.
    `same_net` and `any_net` say whether whole coded files of ours reach the point, `like_same_net` and
    `like_any_net` whether ours do counted as it is: in flash, weights and biases alone, or whole files.
    """
    ours = frontier[frontier["counted_as"] == FILE]
    theirs = published()
    for point in theirs.itertuples():
        given = point.bytes, point.error_pct
        for suffix, some in (("any_net", ours), ("same_net", ours[ours["net"] == point.net])):
            theirs.loc[point.Index, suffix] = reached(some, *given)
            theirs.loc[point.Index, f"like_{suffix}"] = reached(some, *given, _LIKE.get(point.counted_as))
    shown = frontier[frontier["counted_as"].isin([FILE, CONTROL]) & frontier["net"].isin(PARAMETERS)]
    table = pd.concat([theirs, shown], ignore_index=True) if len(shown) else theirs
    dense = table["net"].map(PARAMETERS) * FLOAT_BYTES
    table["ratio"] = table["ratio"].astype(float).fillna(dense / table["bytes"])
    table["ours"] = table["source"] == OURS
    columns = [
        "net", "method", "error_pct", "error_low_pct", "error_high_pct", "bytes", "ratio", "counted_as",
        "augmentation", "teachers", "same_net", "any_net", "like_same_net", "like_any_net", "ours", "source",
    ]  # fmt: skip
    table = table.reindex(columns=columns)
    return table.sort_values(["net", "ours", "bytes"], ascending=[True, True, False], ignore_index=True)


def unreached(table: pd.DataFrame) -> str:
    """Markdown: the published points that no coded file of ours has passed, and how near ours come.

    Where a point is counted otherwise than as a file, also how ours do when they are counted alike.

    Args:
        table: with the columns of `COLUMNS`.
    """
    ours = table[table["counted_as"] == FILE].sort_values("bytes")
    lines = []
    for point in table[table["counted_as"].isin(COUNTS)].itertuples():
        found = reached(ours, point.bytes, point.error_pct) or MISSED
        if found == PASSED:
            continue
        nearest = {
            "error": ours[ours["error_pct"] <= point.error_pct].nsmallest(1, "bytes"),
            "bytes": ours[ours["bytes"] <= point.bytes].nsmallest(1, "error_pct"),
        }
        near: dict[str, list[str]] = {}
        for what, rows in nearest.items():
            for row in rows.itertuples():
                name = f"ours with {row.bytes:,.0f} bytes at {row.error_pct:.2f} % ({row.net})"
                near.setdefault(name, []).append(f"no more {what}")
        words = [f"nearest with {' and '.join(each)}: {name}" for name, each in near.items()]
        like = _LIKE.get(point.counted_as, "bytes")
        if like != "bytes":
            words.append(f"counted alike: {reached(ours, point.bytes, point.error_pct, like) or MISSED}")
        lines.append(
            f"- {found}: {point.method} on {point.net} ({point.counted_as}), {point.bytes:,.0f} bytes at "
            f"{point.error_pct:.2f} %: {'; '.join(words) or 'nothing of ours is as small or as good'}"
        )
    return "\n".join(lines)


def write_file(outcomes: Sequence[Outcome], name: str, folder: Path, dataset: Dataset) -> None:
    """Write the median seed's coded file, once it is decoded and its test labels are what was reported.

    Raises:
        RuntimeError: the decoded file labels the test images otherwise.
    """
    outcome = median_outcome(outcomes)
    _, coded = coding.best_coded(outcome.content)
    if not np.array_equal(running.predict(outcome.content, scale(dataset.x_test)), outcome.predictions):
        raise RuntimeError(f"{name}: the decoded file labels the test images otherwise than reported")
    write_atomically(writable_folder(folder) / name, coded)
