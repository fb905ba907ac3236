"""Is it worth it? Forms beside small dense nets, and beside their masks on other weights.

Recipes are found by their names: `small_dense_<filters>`, dense nets, of which each form meets the one that
is nearest in zipped bytes; `scratch_<form>`, new random weights under the form's mask, trained for as many
epochs, and `scratch_longer_<form>`, for twice as many (Liu et al. 2018, arXiv:1810.05270); `lottery_<form>`,
the first weights of the form's own net under its mask (Frankle & Carbin 2018, arXiv:1803.03635).
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from .forms import Outcomes, middle, right, verdicts
from .statistics import MARGIN

#: Beginning of a rival's name -> what it is.
RIVALS = {
    "scratch": "its mask, new weights, as many epochs",
    "scratch_longer": "its mask, new weights, twice the epochs",
    "lottery": "its mask, its first weights (lottery ticket)",
}
#: What each form meets beside them.
NEAREST = "small dense net, nearest in zipped bytes"


def pruned_or_small(
    outcomes: Outcomes, names: Sequence[str], labels: np.ndarray, *, margin: float = MARGIN
) -> pd.DataFrame:
    """One row a form and rival: bytes of both, and form minus rival; see `forms.verdicts`.

    Args:
        outcomes, labels: see `forms`. names: of the forms.
    """
    small = [name for name in outcomes if re.fullmatch(r"small_dense_\d+", name)]
    found = []
    for name in names:
        if small:
            size = middle(outcomes[name], "zip_bytes")
            apart = {each: abs(np.log(middle(outcomes[each], "zip_bytes") / size)) for each in small}
            found.append((name, min(small, key=apart.__getitem__), NEAREST))
        # the rivals are int8 files: where a form has one, that meets them
        training = name.removesuffix("_quantized") if f"{name}_quantized" not in names else ""
        rivals = {f"{kind}_{training}": words for kind, words in RIVALS.items()}
        found += [(name, rival, words) for rival, words in rivals.items() if rival in outcomes]
    rows, pairs = [], []
    for name, rival, words in found:
        row: dict[str, object] = {"recipe": name, "against": words, "rival": rival}
        for field in ("zip_bytes", "dense_macs"):
            row[field], row[f"rival_{field}"] = (middle(outcomes[each], field) for each in (name, rival))
        ours, theirs = (right(outcomes[each], labels) for each in (name, rival))
        row |= {"accuracy_mean": float(ours.mean()), "rival_accuracy_mean": float(theirs.mean())}
        rows.append(row)
        pairs.append((ours, theirs))
    return pd.concat([pd.DataFrame(rows), verdicts(pairs, margin=margin)], axis=1)
