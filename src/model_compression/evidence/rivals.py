"""Is it worth it? Forms beside small dense nets, and beside their masks on other weights.

Recipes are found by their names: `small_dense_<filters>`, dense nets, of which each form meets the one that
is nearest in zipped bytes; `scratch_<form>`, new random weights under the form's mask, trained for as many
epochs, and `scratch_longer_<form>`, for twice as many (Liu et al. 2018, arXiv:1810.05270); `lottery_<form>`,
the first weights of the form's own net under its mask (Frankle & Carbin 2018, arXiv:1803.03635).
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..study.outcomes import Outcome
from . import statistics
from .forms import middle, right, verdicts
from .statistics import MARGIN

Outcomes = Mapping[str, Sequence[Outcome]]

#: Beginning of a rival's name -> what it is.
RIVALS = {
    "scratch": "its mask, new weights, as many epochs",
    "scratch_longer": "its mask, new weights, twice the epochs",
    "lottery": "its mask, its first weights (lottery ticket)",
}


def pruned_or_small(
    outcomes: Outcomes, names: Sequence[str], labels: np.ndarray, *, margin: float = MARGIN
) -> pd.DataFrame:
    """One row a form and rival: bytes of both, and form minus rival; see `forms.verdicts`.

    Args:
        outcomes: by recipe name, one a seed. names: of the forms.
        labels: of the test images, (n,).
    """
    small = [name for name in outcomes if re.fullmatch(r"small_dense_\d+", name)]
    pairs = []
    for name in names:
        size = middle(outcomes[name], "zip_bytes")
        if small:
            apart = {each: abs(np.log(middle(outcomes[each], "zip_bytes") / size)) for each in small}
            pairs.append(
                (name, min(small, key=apart.__getitem__), "small dense net, nearest in zipped bytes")
            )
        # the rivals are int8 files: where a form has one, that meets them
        training = name if f"{name}_quantized" not in names else ""
        rivals = {f"{kind}_{training.removesuffix('_quantized')}": words for kind, words in RIVALS.items()}
        pairs += [(name, rival, words) for rival, words in rivals.items() if rival in outcomes]
    rows = [
        {
            "recipe": name,
            "against": words,
            "rival": rival,
            "zip_bytes": middle(outcomes[name], "zip_bytes"),
            "rival_zip_bytes": middle(outcomes[rival], "zip_bytes"),
            "dense_macs": middle(outcomes[name], "dense_macs"),
            "rival_dense_macs": middle(outcomes[rival], "dense_macs"),
            "accuracy_mean": float(right(outcomes[name], labels).mean()),
            "rival_accuracy_mean": float(right(outcomes[rival], labels).mean()),
        }
        for name, rival, words in pairs
    ]
    compared = [
        statistics.compare(right(outcomes[name], labels), right(outcomes[rival], labels), margin=margin)
        for name, rival, _ in pairs
    ]
    return pd.concat([pd.DataFrame(rows), verdicts(compared)], axis=1)
