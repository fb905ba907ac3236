"""Trials: what was tried for fewer bytes, each idea beside the plans of the kind that stands.

All are trained alike, for less time than a plan that stands, and compared on validation images alone.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from .plans import SHORT, Plan
from .records import by_plan

#: The idea of those that all others are measured against.
REFERENCE = "as the plans that stand"
_SHORT = Plan(
    net="small_12p_16p_16p",
    price=0.3,
    first=2,
    tuned=12,
    temperature=2,
    teachers=SHORT,
    orders=0,
    idea=REFERENCE,
)
_AGAIN = replace(_SHORT, idea="one kernel applied again")
_LEVELS = replace(_SHORT, idea="other levels")
TRIALS: tuple[Plan, ...] = (
    _SHORT,
    replace(_SHORT, price=0.6),
    replace(_AGAIN, net="small_12p_16p_16x3p"),
    replace(_AGAIN, net="small_16p_16x1p2p"),
    replace(_AGAIN, net="small_16p_16x1p2p", price=0.5),
    replace(_AGAIN, net="small_24p_24x1p2p", price=0.5),
    replace(_SHORT, net="small_12p_16p_24_g", idea="a mean for the dense layer"),
    replace(_SHORT, net="small_12s_16p_16p", idea="a stem with strides"),
    replace(_LEVELS, levels=1, variant="levels-1"),
    replace(_LEVELS, levels=7, variant="levels-7"),
    replace(_SHORT, price=0.5, tuned=24, idea="twice the training", variant="long"),
)


def at_equal_error(table: pd.DataFrame) -> pd.DataFrame:
    """Each trial's bytes over what the reference would need for the same validation error.

    The reference is a straight line through its trials, logarithm of error against logarithm of bytes.

    Args:
        table: the records, see `records.COLUMNS`.
    Returns:
        One row a trial of the other ideas: idea, net, method, seeds, validation_error_pct, coded_bytes,
        reference_bytes, share (below 1 where the idea saves bytes). None where the reference has fewer than
        two trials of different bytes.
    """
    trials = by_plan(table[table["idea"].notna() & (table["idea"] != "")])
    reference = trials["idea"] == REFERENCE
    error, size = (
        np.log(trials["validation_error_pct"].astype(float)),
        np.log(trials["coded_bytes"].astype(float)),
    )
    columns = ["idea", "net", "method", "seeds", "validation_error_pct", "coded_bytes"]
    if size[reference].nunique() < 2:
        return pd.DataFrame(columns=[*columns, "reference_bytes", "share"])
    slope, start = np.polyfit(size[reference], error[reference], 1)
    needed = np.exp((error - start) / slope)
    found = trials[columns].assign(reference_bytes=needed, share=trials["coded_bytes"].astype(float) / needed)
    return found[~reference].sort_values(["idea", "share"], ignore_index=True)
