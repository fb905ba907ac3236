"""How far can a net be pruned? Error against sparsity, by strategy and by schedule, on the baseline.

Every recipe starts from the same trained net and trains on for as long as the dense control.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..files.conversion import ExportConfig
from ..nets.training import TrainConfig
from ..study.outcomes import Outcome
from ..study.recipes import Recipe, Step
from ..techniques.allocation import STRATEGIES
from ..techniques.masking import MaskConfig
from ..techniques.pruning import PruneConfig

NET = "baseline"
SPARSITIES = (0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
#: Epochs of the trained net that all start from, and of each recipe after it.
FIRST_EPOCHS, EPOCHS = 5, 3
BATCH = 512
LEARNING_RATE = 1e-3
#: The strategy under which schedules are compared; strategies are compared at "polynomial, 3".
COMMON_STRATEGY = "lamp"
EXPORT = ExportConfig(form="packed_int8")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One recipe of the sweep and where it stands."""

    strategy: str
    schedule: str
    sparsity: float
    recipe: Recipe


def _train(epochs: int) -> TrainConfig:
    return TrainConfig(epochs=epochs, learning_rate=LEARNING_RATE, batch_size=BATCH)


_FIRST = Step(train=_train(FIRST_EPOCHS))


def _pruned(sparsity: float, strategy: str, schedule: str, power: float = 3.0) -> tuple[Step, ...]:
    prune = PruneConfig(final_sparsity=sparsity, allocation=strategy, schedule=schedule, power=power)
    return (Step(train=_train(EPOCHS), technique=prune),)


def _iterative(sparsity: float) -> tuple[Step, ...]:
    """One epoch a round, each dropping the same share of what is left, the learning rate starting anew.

    Source: Renda, Frankle & Carbin 2020, arXiv:2003.02389.
    """
    shares = [1 - (1 - sparsity) ** (done / EPOCHS) for done in range(1, EPOCHS + 1)]
    return tuple(
        Step(
            train=_train(1),
            technique=PruneConfig(final_sparsity=share, allocation=COMMON_STRATEGY, schedule="one_shot"),
        )
        for share in shares
    )


def _case(strategy: str, schedule: str, sparsity: float, steps: tuple[Step, ...]) -> Case:
    words = "-".join(part.replace(" ", "_").replace(",", "") for part in (strategy, schedule))
    recipe = Recipe(
        name=f"sweep-{words}-{sparsity:g}",
        net=NET,
        steps=(_FIRST, *steps),
        export=EXPORT,
        is_control=strategy in ("dense", "random_mask"),
    )
    return Case(strategy=strategy, schedule=schedule, sparsity=sparsity, recipe=recipe)


def cases() -> list[Case]:
    """Dense control, random masks, every strategy at one schedule and every schedule at one strategy."""
    found = [_case("dense", "none", 0.0, (Step(train=_train(EPOCHS)),))]
    for sparsity in SPARSITIES:
        mask = Step(train=_train(EPOCHS), technique=MaskConfig(random_sparsity=sparsity))
        found.append(_case("random_mask", "one_shot", sparsity, (mask,)))
        for strategy in STRATEGIES:
            found.append(_case(strategy, "polynomial 3", sparsity, _pruned(sparsity, strategy, "polynomial")))
        for schedule, steps in (
            ("polynomial 1", _pruned(sparsity, COMMON_STRATEGY, "polynomial", 1.0)),
            ("constant", _pruned(sparsity, COMMON_STRATEGY, "constant")),
            ("one_shot", _pruned(sparsity, COMMON_STRATEGY, "one_shot")),
            ("iterative", _iterative(sparsity)),
        ):
            found.append(_case(COMMON_STRATEGY, schedule, sparsity, steps))
    return found


def table(outcomes: Mapping[str, Sequence[Outcome]]) -> pd.DataFrame:
    """One row a case: mean and sample standard deviation of the test error in %, the median seed's bytes.

    Args:
        outcomes: by recipe name, one a seed.
    """
    rows = []
    for case in cases():
        found = outcomes.get(case.recipe.name, [])
        if not found:
            continue
        errors = [100 * (1 - outcome.record.accuracy) for outcome in found]
        sizes = sorted(outcome.record.best_coded_bytes for outcome in found)
        record = found[0].record
        rows.append(
            {
                "strategy": case.strategy,
                "schedule": case.schedule,
                "sparsity": case.sparsity,
                "measured_sparsity": 1 - record.nonzero_weights / record.weights,
                "error_pct": float(np.mean(errors)),
                "error_sd_pct": float(np.std(errors, ddof=1)) if len(errors) > 1 else np.nan,
                "best_coded_bytes": sizes[(len(sizes) - 1) // 2],
                "seeds": len(errors),
            }
        )
    return pd.DataFrame(rows)
