"""What does pruning cost? Loss against equal training, by sparsity and by the epochs that pruning is given.

One point would say little: what costs most of a point after two epochs may cost nothing after many.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..evidence.statistics import compare
from ..study.outcomes import Outcome
from ..study.recipes import Step
from ..techniques.pruning import PruneConfig
from .sweep import Case, case, train

SPARSITIES = (0.5, 0.8, 0.9, 0.95)
EPOCHS = (2, 4, 8, 16)
#: How zeros are shared out among the layers: as the tutorials do, and as the sweep finds best.
STRATEGIES = ("uniform", "lamp")


def cases() -> list[Case]:
    """Each budget's dense control, then every sparsity under every strategy."""
    found = []
    for epochs in EPOCHS:
        found.append(case("dense", "none", 0.0, Step(train=train(epochs))))
        for sparsity in SPARSITIES:
            for strategy in STRATEGIES:
                prune = PruneConfig(final_sparsity=sparsity, allocation=strategy)
                step = Step(train=train(epochs), technique=prune)
                found.append(case(strategy, "polynomial 3", sparsity, step))
    return found


def table(outcomes: Mapping[str, Sequence[Outcome]], labels: np.ndarray) -> pd.DataFrame:
    """One row a pruned case: change of accuracy against the dense net trained for as long, in points.

    Args:
        outcomes: by recipe name, one a seed. labels: of the test images, (n,).
    """
    right = {
        name: np.stack([outcome.predictions == labels for outcome in found])
        for name, found in outcomes.items()
    }
    dense = {each.epochs: right.get(each.recipe.name) for each in cases() if each.strategy == "dense"}
    rows = []
    for each in cases():
        form, control = right.get(each.recipe.name), dense[each.epochs]
        if each.strategy == "dense" or form is None or control is None or len(form) != len(control):
            continue
        change = compare(form, control)
        rows.append(
            {
                "strategy": each.strategy,
                "sparsity": each.sparsity,
                "epochs": each.epochs,
                "seeds": len(form),
                "error_pct": 100 * (1 - form.mean()),
                "control_error_pct": 100 * (1 - control.mean()),
                "change_pp": 100 * change.mean,
                "change_ci_low_pp": 100 * change.low,
                "change_ci_high_pp": 100 * change.high,
            }
        )
    return pd.DataFrame(rows)
