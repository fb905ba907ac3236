"""The four claims of the original study, each answered with a number, an interval and a p value."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from ..study.outcomes import Outcome
from . import statistics

Outcomes = Mapping[str, Sequence[Outcome]]


def _ratio(name: str, over: str, field: str, outcomes: Outcomes) -> dict[str, object]:
    """How many times smaller `name` is than `over`: geometric mean over the seeds, t interval, paired t."""
    logs = np.log(
        [
            getattr(large.record, field) / getattr(small.record, field)
            for large, small in zip(outcomes[over], outcomes[name], strict=True)
        ]
    )
    half = stats.t.ppf(0.975, len(logs) - 1) * stats.sem(logs) if len(logs) > 1 else np.nan
    p_value = stats.ttest_1samp(logs, 0.0).pvalue if len(logs) > 1 and np.ptp(logs) > 0 else np.nan
    if len(logs) > 1 and np.ptp(logs) == 0:
        # equal sizes for every seed: nothing is left to chance
        p_value = float(logs[0] == 0)
    mean = float(np.mean(logs))
    return {
        "estimate": np.exp(mean), "low": np.exp(mean - half), "high": np.exp(mean + half), "p_value": p_value,
        "unit": "times smaller",
    }  # fmt: skip


def _change(name: str, against: str, outcomes: Outcomes, labels: np.ndarray) -> dict[str, object]:
    ours, theirs = (np.stack([each.predictions for each in outcomes[key]]) for key in (name, against))
    change = statistics.accuracy_change(labels, ours, theirs)
    p_values = [statistics.mcnemar_p(labels, one, other) for one, other in zip(ours, theirs, strict=True)]
    return {
        "estimate": 100 * change.mean, "low": 100 * change.low, "high": 100 * change.high,
        "p_value": statistics.combine_p(p_values), "unit": "pp of accuracy",
    }  # fmt: skip


def claims(outcomes: Outcomes, labels: np.ndarray) -> pd.DataFrame:
    """One row a question; intervals are 95 %, p values corrected for their number (Holm).

    Sizes: a paired t test of the logarithms over the seeds. Accuracies: McNemar's exact test a
    seed, combined by `metrics.combine_p`.
    Args:
        outcomes: by recipe name, one a seed.
        labels: of the test images, (n,).
    """

    def ratio(name: str, over: str, field: str) -> dict[str, object]:
        return _ratio(name, over, field, outcomes)

    def change(name: str, against: str) -> dict[str, object]:
        return _change(name, against, outcomes, labels)

    rows = [
        ("4x smaller by quantization", "int8 against float32, file bytes",
         ratio("int8", "non_quantized", "file_bytes")),
        ("... without loss of accuracy", "int8 against float32",
         change("int8", "non_quantized")),
        ("pruning improves accuracy", "pruned against the baseline (unfair: it trained longer)",
         change("pruned", "non_quantized")),
        ("... at equal training?", "pruned against longer_trained",
         change("pruned", "longer_trained")),
        ("QAT makes no difference", "QAT against int8 of the net trained as long",
         change("quantization_aware_trained", "longer_trained_quantized")),
        ("pruned files compress better", "zipped .h5, pruned against baseline",
         ratio("pruned_h5", "non_quantized_h5", "zip_bytes")),
    ]  # fmt: skip
    table = pd.DataFrame([{"claim": claim, "measured": measured, **row} for claim, measured, row in rows])
    known = table.p_value.notna()
    table.loc[known, "p_value"] = statistics.holm(list(table.p_value[known]))
    return table


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The claims as a reader wants them: estimate and interval in one column."""
    signs = {"pp of accuracy": "+.2f", "times smaller": ".2f"}
    values = []
    for row in table.itertuples():
        sign = signs[row.unit]
        # one seed's sizes have no spread
        interval = "" if np.isnan(row.low) else f"  [{row.low:{sign}}, {row.high:{sign}}]"
        values.append(f"{row.estimate:{sign}}{interval} {row.unit}")
    return pd.DataFrame(
        {
            "claim": table.claim,
            "measured": table.measured,
            "estimate_and_interval": values,
            "p_value": table.p_value,
        }
    )
