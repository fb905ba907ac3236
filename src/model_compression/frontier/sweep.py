"""How far can a net be pruned? Error against sparsity, by strategy and by schedule, on the baseline.

Every recipe starts from the same trained net and trains on for as long as the dense control, in the regime
of the notebook.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..evidence.statistics import estimate
from ..files.conversion import ExportConfig
from ..nets.training import TrainConfig
from ..study.outcomes import Outcome
from ..study.recipes import Recipe, Step
from ..techniques.allocation import STRATEGIES
from ..techniques.masking import MaskConfig
from ..techniques.pruning import PruneConfig

NET = "baseline"
SPARSITIES = (0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
#: The notebook's: epochs of the trained net that all start from, and of each recipe after it.
FIRST_EPOCHS, EPOCHS = 6, 2
LEARNING_RATE = 5e-3
#: The strategy under which schedules are compared; strategies are compared at "polynomial 3".
COMMON_STRATEGY = "lamp"
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


def train(epochs: int) -> TrainConfig:
    """The notebook's training, so many epochs of it."""
    return TrainConfig(epochs=epochs, learning_rate=LEARNING_RATE)


_FIRST = Step(train=train(FIRST_EPOCHS))


def _pruned(sparsity: float, strategy: str, schedule: str, power: float = 3.0) -> Step:
    prune = PruneConfig(final_sparsity=sparsity, allocation=strategy, schedule=schedule, power=power)
    return Step(train=train(EPOCHS), technique=prune)


def _iterative(sparsity: float) -> tuple[Step, ...]:
    """One epoch a round, each dropping the same share of what is left, the learning rate starting anew.

    Source: Renda, Frankle & Carbin 2020, arXiv:2003.02389.
    """
    shares = [1 - (1 - sparsity) ** (done / EPOCHS) for done in range(1, EPOCHS + 1)]
    return tuple(
        Step(
            train=train(1),
            technique=PruneConfig(final_sparsity=share, allocation=COMMON_STRATEGY, schedule="one_shot"),
        )
        for share in shares
    )


def case(strategy: str, schedule: str, sparsity: float, *steps: Step) -> Case:
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
    found = [case("dense", "none", 0.0, Step(train=train(EPOCHS)))]
    for sparsity in SPARSITIES:
        like = (_FIRST, _pruned(sparsity, COMMON_STRATEGY, "one_shot"))
        for name, mask in (
            ("random_mask", MaskConfig(random_sparsity=sparsity)),
            ("random_mask_by_layer", MaskConfig(like=like, shuffled=True)),
        ):
            found.append(case(name, "one_shot", sparsity, Step(train=train(EPOCHS), technique=mask)))
        for strategy in STRATEGIES:
            found.append(case(strategy, "polynomial 3", sparsity, _pruned(sparsity, strategy, "polynomial")))
        for schedule, steps in (
            ("polynomial 1", (_pruned(sparsity, COMMON_STRATEGY, "polynomial", 1.0),)),
            ("constant", (_pruned(sparsity, COMMON_STRATEGY, "constant"),)),
            ("one_shot", (_pruned(sparsity, COMMON_STRATEGY, "one_shot"),)),
            ("iterative", _iterative(sparsity)),
        ):
            found.append(case(COMMON_STRATEGY, schedule, sparsity, *steps))
    return found


def table(outcomes: Mapping[str, Sequence[Outcome]], labels: np.ndarray) -> pd.DataFrame:
    """One row a case: the test error in % with its interval, see `statistics`; the median seed's bytes.

    Args:
        outcomes: by recipe name, one a seed. labels: of the test images, (n,).
    """
    rows = []
    for each in cases():
        found = outcomes.get(each.recipe.name, [])
        if not found:
            continue
        wrong = np.stack([outcome.predictions != labels for outcome in found])
        errors, mean = 100 * wrong.mean(axis=1), estimate(wrong)
        sizes = sorted(outcome.record.best_coded_bytes for outcome in found)
        record = found[0].record
        rows.append(
            {
                "strategy": each.strategy,
                "schedule": each.schedule,
                "sparsity": each.sparsity,
                "measured_sparsity": 1 - record.nonzero_weights / record.weights,
                "error_pct": 100 * mean.mean,
                "error_sd_pct": float(np.std(errors, ddof=1)) if len(errors) > 1 else np.nan,
                "error_low_pct": max(100 * mean.low, 0.0),
                "error_high_pct": 100 * mean.high,
                "best_coded_bytes": sizes[(len(sizes) - 1) // 2],
                "seeds": len(errors),
            }
        )
    return pd.DataFrame(rows)
