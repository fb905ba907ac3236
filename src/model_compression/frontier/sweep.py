"""How far can a net be pruned, and what does it cost? Two studies on the baseline, in the notebook's regime.

The sweep: error against sparsity, by strategy and by schedule. The budget: loss against equal training, by
sparsity and by the epochs that pruning is given, since what costs most of a point after two epochs may cost
nothing after many. Every recipe starts from the same trained net and trains on for as long as its dense
control.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..evidence.forms import right, verdicts
from ..evidence.statistics import compare
from ..files.conversion import ExportConfig
from ..nets.training import TrainConfig
from ..study.outcomes import Outcome
from ..study.recipes import Recipe, Step
from ..techniques.allocation import STRATEGIES
from ..techniques.masking import MaskConfig
from ..techniques.pruning import PruneConfig
from .tables import errors, median_outcome

NET = "baseline"
SPARSITIES = (0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
#: The notebook's: epochs of the trained net that all start from, and of each recipe after it.
FIRST_EPOCHS, EPOCHS = 6, 2
LEARNING_RATE = 5e-3
#: The strategy under which schedules are compared; strategies are compared at "polynomial 3".
COMMON_STRATEGY = "lamp"
#: The budget's sparsities, epochs and strategies: as the tutorials do, and as the sweep finds best.
BUDGET_SPARSITIES = (0.5, 0.8, 0.9, 0.95)
BUDGET_EPOCHS = (2, 4, 8, 16)
BUDGET_STRATEGIES = ("uniform", "lamp")
EXPORT = ExportConfig(form="packed_int8")
#: Strategies that are there to compare others with.
CONTROLS = ("dense", "random_mask", "random_mask_by_layer")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One recipe of a sweep and where it stands."""

    strategy: str
    schedule: str
    sparsity: float
    recipe: Recipe

    @property
    def epochs(self) -> int:
        """Of training after the net that all start from."""
        return self.recipe.epochs - FIRST_EPOCHS


def _train(epochs: int, technique: MaskConfig | PruneConfig | None = None) -> Step:
    """So many epochs of the notebook's training."""
    return Step(train=TrainConfig(epochs=epochs, learning_rate=LEARNING_RATE), technique=technique)


_FIRST = _train(FIRST_EPOCHS)


def _pruned(sparsity: float, strategy: str, schedule: str, power: float = 3.0, epochs: int = EPOCHS) -> Step:
    prune = PruneConfig(final_sparsity=sparsity, allocation=strategy, schedule=schedule, power=power)
    return _train(epochs, prune)


def _iterative(sparsity: float) -> tuple[Step, ...]:
    """One epoch a round, each dropping the same share of what is left, the learning rate starting anew.

    Source: Renda, Frankle & Carbin 2020, arXiv:2003.02389.
    """
    shares = [1 - (1 - sparsity) ** (done / EPOCHS) for done in range(1, EPOCHS + 1)]
    return tuple(_pruned(share, COMMON_STRATEGY, "one_shot", epochs=1) for share in shares)


def _case(strategy: str, schedule: str, sparsity: float, *steps: Step) -> Case:
    """What follows the trained net, and where it stands."""
    words = "-".join(part.replace(" ", "_") for part in (strategy, schedule))
    epochs = sum(step.train.epochs for step in steps)
    recipe = Recipe(
        name=f"sweep-{words}-{sparsity:g}-{epochs}",
        net=NET,
        steps=(_FIRST, *steps),
        export=EXPORT,
        is_control=strategy in CONTROLS,
    )
    return Case(strategy=strategy, schedule=schedule, sparsity=sparsity, recipe=recipe)


def cases() -> list[Case]:
    """Dense control, random masks, every strategy at one schedule and every schedule at one strategy.

    `random_mask` drops the same share of each kernel; `random_mask_by_layer` as much of each as
    `COMMON_STRATEGY` does, so that only which weights go is left to chance.
    """
    found = [_case("dense", "none", 0.0, _train(EPOCHS))]
    for sparsity in SPARSITIES:
        like = (_FIRST, _pruned(sparsity, COMMON_STRATEGY, "one_shot"))
        for name, mask in (
            ("random_mask", MaskConfig(random_sparsity=sparsity)),
            ("random_mask_by_layer", MaskConfig(like=like, shuffled=True)),
        ):
            found.append(_case(name, "one_shot", sparsity, _train(EPOCHS, mask)))
        for strategy in STRATEGIES:
            found.append(_case(strategy, "polynomial 3", sparsity, _pruned(sparsity, strategy, "polynomial")))
        for schedule, steps in (
            ("polynomial 1", (_pruned(sparsity, COMMON_STRATEGY, "polynomial", 1.0),)),
            ("constant", (_pruned(sparsity, COMMON_STRATEGY, "constant"),)),
            ("one_shot", (_pruned(sparsity, COMMON_STRATEGY, "one_shot"),)),
            ("iterative", _iterative(sparsity)),
        ):
            found.append(_case(COMMON_STRATEGY, schedule, sparsity, *steps))
    return found


def budget_cases() -> list[Case]:
    """Each budget's dense control, then every sparsity under every strategy."""
    found = []
    for epochs in BUDGET_EPOCHS:
        found.append(_case("dense", "none", 0.0, _train(epochs)))
        for sparsity in BUDGET_SPARSITIES:
            for strategy in BUDGET_STRATEGIES:
                step = _pruned(sparsity, strategy, "polynomial", epochs=epochs)
                found.append(_case(strategy, "polynomial 3", sparsity, step))
    return found


def table(
    cases: Sequence[Case], outcomes: Mapping[str, Sequence[Outcome]], labels: np.ndarray
) -> pd.DataFrame:
    """One row a case: the test error with its interval, median bytes, change against equal training.

    The change is none of the dense controls', and of cases whose control is not there; see `verdicts`.

    Args:
        outcomes: by recipe name, one a seed. labels: of the test images, (n,).
    """
    dense = {each.epochs: outcomes.get(each.recipe.name, []) for each in cases if each.strategy == "dense"}
    rows, changes, family = [], [], []
    for each in cases:
        found, control = outcomes.get(each.recipe.name, []), dense[each.epochs]
        if not found:
            continue
        record = median_outcome(found).record
        rows.append(
            {
                "strategy": each.strategy,
                "schedule": each.schedule,
                "sparsity": each.sparsity,
                "epochs": each.epochs,
                "measured_sparsity": 1 - record.nonzero_weights / record.weights,
                **errors(found, labels),
                "best_coded_bytes": record.best_coded_bytes,
            }
        )
        compared = each.strategy != "dense" and len(found) == len(control)
        changes.append(compare(right(found, labels), right(control, labels)) if compared else None)
        family.append(not each.recipe.is_control)
    return pd.concat([pd.DataFrame(rows), verdicts(changes, family)], axis=1)
