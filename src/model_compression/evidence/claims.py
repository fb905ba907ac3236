"""The claims of the original study and of the tutorials, each answered in a sentence with its figures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ..study.outcomes import Outcome
from .forms import BASELINE, Outcomes, pair, verdicts
from .statistics import MARGIN
from .tables import interval

#: Of the size that was claimed, from where on a smaller gain is called near to it.
NEARLY = 0.8
#: Claim, form, control, and what is claimed: so many times fewer bytes of a field, or a verdict on accuracy.
CLAIMS: tuple[tuple[str, str, str, tuple[str, float] | str], ...] = (
    ("int8 files are 4x smaller", "int8", BASELINE, ("file_bytes", 4)),
    ("... without loss of accuracy", "int8", BASELINE, "equivalent"),
    ("pruned files zip 3x smaller", "pruned_h5", f"{BASELINE}_h5", ("zip_bytes", 3)),
    ("pruning improves accuracy", "pruned", "longer_trained", "better"),
    (
        "QAT makes no difference at 8 bits",
        "quantization_aware_trained",
        "longer_trained_quantized",
        "equivalent",
    ),
    ("QAT makes no difference at 4 bits", "quantization_aware_int4", "longer_trained_int4", "equivalent"),
)


def claims(outcomes: Outcomes, labels: np.ndarray, *, margin: float = MARGIN) -> pd.DataFrame:
    """One row a claim: estimate with its 95 % interval, and the answer.

    Accuracies are judged among each other (Holm), see `statistics`; sizes hardly vary and have no test.
    Claims of which a side is missing are left out.
    Args:
        outcomes, labels: see `forms`.
        margin: a fraction, see `statistics.compare`.
    """
    asked = [each for each in CLAIMS if outcomes.get(each[1]) and outcomes.get(each[2])]
    pairs = [
        pair(outcomes, form, control, labels) if isinstance(claimed, str) else None
        for _, form, control, claimed in asked
    ]
    judged = verdicts(pairs, margin=margin).itertuples()
    rows = []
    for (claim, form, control, claimed), said in zip(asked, judged, strict=True):
        if isinstance(claimed, str):
            answer = _change(claimed, said, margin)
        else:
            answer = _size(outcomes[form], outcomes[control], *claimed)
        rows.append({"claim": claim, "measured": f"{form} against {control}", **answer})
    columns = ["claim", "measured", "estimate", "low", "high", "p_value", "unit", "answer"]
    return pd.DataFrame(rows, columns=columns)


def _size(form: Sequence[Outcome], control: Sequence[Outcome], field: str, times: float) -> dict[str, object]:
    """How many times smaller: geometric mean over the seeds, with Student's interval of the logarithms."""
    sizes = [[getattr(each.record, field) for each in found] for found in (control, form)]
    logs = np.subtract(*np.log(sizes))
    half = stats.t.ppf(0.975, len(logs) - 1) * stats.sem(logs) if len(logs) > 1 else np.nan
    ratio, low, high = np.exp(logs.mean() + np.array([0, -half, half]))
    word = "yes" if ratio >= times else "nearly" if ratio >= NEARLY * times else "no"
    answer = f"{ratio:.2f} times, so {word}"
    return {"estimate": ratio, "low": low, "high": high, "unit": "times smaller", "answer": answer}


def _change(expected: str, said: Any, margin: float) -> dict[str, object]:
    """The change in percentage points; `said` is its row of `verdicts`."""
    size, limit = f"{abs(said.change_pp):.2f} pp", f"{100 * margin:g} pp"
    words = {
        "worse": f"no: it costs {size}",
        "better": f"it gains {size}",
        "equivalent": f"no difference beyond {limit}",
        "undecided": f"open: between {said.change_ci_low_pp:+.2f} and {said.change_ci_high_pp:+.2f} pp",
    }[said.verdict]
    if said.verdict in ("better", "equivalent"):
        words = ("yes: " if said.verdict == expected else "no: ") + words
    return {
        "estimate": said.change_pp,
        "low": said.change_ci_low_pp,
        "high": said.change_ci_high_pp,
        "p_value": said.p_holm,
        "unit": "pp of accuracy",
        "answer": words,
    }


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The claims as a reader wants them: estimate and interval in one column."""
    values = []
    for row in table.itertuples():
        sign = "+.2f" if row.unit == "pp of accuracy" else ".2f"
        values.append(f"{interval(row.estimate, row.low, row.high, sign)} {row.unit}")
    return table[["claim", "measured"]].assign(estimate_and_interval=values, answer=table.answer)
