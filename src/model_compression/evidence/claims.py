"""The claims of the original study and of the tutorials, each answered in a sentence with its figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from ..study.outcomes import Outcome
from . import statistics
from .forms import BASELINE, right
from .statistics import MARGIN, Comparison, Judgement

Outcomes = Mapping[str, Sequence[Outcome]]

#: Of the size that was claimed, from where on a smaller gain is called near to it.
NEARLY = 0.8


@dataclass(frozen=True, kw_only=True)
class _Size:
    """A claim that a file is so many times smaller than another."""

    claim: str
    times: float
    form: str
    control: str
    field: str

    def row(self, outcomes: Outcomes) -> dict[str, object]:
        """Geometric mean over the seeds, with Student's interval of the logarithms."""
        sizes = [
            [getattr(each.record, self.field) for each in outcomes[name]]
            for name in (self.control, self.form)
        ]
        logs = np.subtract(*np.log(sizes))
        half = stats.t.ppf(0.975, len(logs) - 1) * stats.sem(logs) if len(logs) > 1 else np.nan
        ratio = float(np.exp(logs.mean()))
        word = "yes" if ratio >= self.times else "nearly" if ratio >= NEARLY * self.times else "no"
        return {
            "estimate": ratio,
            "low": np.exp(logs.mean() - half),
            "high": np.exp(logs.mean() + half),
            "unit": "times smaller",
            "answer": f"{ratio:.2f} times, so {word}",
        }


@dataclass(frozen=True, kw_only=True)
class _Change:
    """A claim that a form's accuracy is that of its control, or better: `expected` as a verdict."""

    claim: str
    expected: str
    form: str
    control: str

    def row(self, found: Comparison, said: Judgement, margin: float) -> dict[str, object]:
        """The change in percentage points, judged among the other claims."""
        size, limit = f"{100 * abs(found.mean):.2f} pp", f"{100 * margin:g} pp"
        words = {
            "worse": f"no: it costs {size}",
            "better": f"it gains {size}",
            "equivalent": f"no difference beyond {limit}",
            "undecided": f"open: between {100 * found.low:+.2f} and {100 * found.high:+.2f} pp",
        }[said.verdict]
        if said.verdict in ("better", "equivalent"):
            words = ("yes: " if said.verdict == self.expected else "no: ") + words
        return {
            "estimate": 100 * found.mean,
            "low": 100 * found.low,
            "high": 100 * found.high,
            "p_value": said.p_different,
            "unit": "pp of accuracy",
            "answer": words,
        }


def _asked(outcomes: Outcomes) -> list[_Size | _Change]:
    """The claims, in order, of which both sides were computed."""
    # the float net trained for as long and then rounded to 4 bits, where the study has it
    four_bits = "longer_trained_int4" if "longer_trained_int4" in outcomes else "int4_dynamic"
    keras, aware = f"{BASELINE}_h5", "quantization_aware"
    size, change = "file_bytes", "equivalent"
    every: list[_Size | _Change] = [
        _Size(claim="int8 files are 4x smaller", times=4, form="int8", control=BASELINE, field=size),
        _Change(claim="... without loss of accuracy", expected=change, form="int8", control=BASELINE),
        _Size(
            claim="pruned files zip 3x smaller", times=3, form="pruned_h5", control=keras, field="zip_bytes"
        ),
        _Change(
            claim="pruning improves accuracy", expected="better", form="pruned", control="longer_trained"
        ),
        _Change(
            claim="QAT makes no difference at 8 bits",
            expected=change,
            form=f"{aware}_trained",
            control="longer_trained_quantized",
        ),
        _Change(
            claim="QAT makes no difference at 4 bits",
            expected=change,
            form=f"{aware}_int4",
            control=four_bits,
        ),
    ]
    return [each for each in every if outcomes.get(each.form) and outcomes.get(each.control)]


def claims(outcomes: Outcomes, labels: np.ndarray, *, margin: float = MARGIN) -> pd.DataFrame:
    """One row a claim: estimate with its 95 % interval, and the answer.

    Accuracies are judged among each other (Holm), see `statistics`; sizes hardly vary and have no test.
    Claims of which a side is missing are left out.
    Args:
        outcomes: by recipe name, one a seed.
        labels: of the test images, (n,).
        margin: a fraction, see `statistics.compare`.
    """
    asked = _asked(outcomes)
    found = [
        statistics.compare(
            right(outcomes[each.form], labels), right(outcomes[each.control], labels), margin=margin
        )
        for each in asked
        if isinstance(each, _Change)
    ]
    judged = iter(zip(found, statistics.judge(found), strict=True))
    rows = [
        {
            "claim": each.claim,
            "measured": f"{each.form} against {each.control}",
            **(each.row(outcomes) if isinstance(each, _Size) else each.row(*next(judged), margin)),
        }
        for each in asked
    ]
    return pd.DataFrame(
        rows, columns=["claim", "measured", "estimate", "low", "high", "p_value", "unit", "answer"]
    )


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The claims as a reader wants them: estimate and interval in one column."""
    values = []
    for row in table.itertuples():
        sign = "+.2f" if row.unit == "pp of accuracy" else ".2f"
        # one seed's sizes have no spread
        interval = "" if np.isnan(row.low) else f"  [{row.low:{sign}}, {row.high:{sign}}]"
        values.append(f"{row.estimate:{sign}}{interval} {row.unit}")
    return table[["claim", "measured"]].assign(estimate_and_interval=values, answer=table.answer)
