"""How far can a net be pruned, and what does it cost? Two studies on the baseline, in the notebook's regime.

The sweep: error against sparsity, by strategy and by schedule. The budget: loss against equal training, by
sparsity and by the epochs that pruning is given, since what costs most of a point after two epochs may cost
nothing after many. Every recipe starts from the same trained net and trains on for as long as its dense
control.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evidence.forms import Outcomes, Pair, median_outcome, right, verdicts, zeros
from ..evidence.placing import plain_ticks
from ..evidence.statistics import MARGIN
from ..evidence.style import BELOW, GREY, PALETTE, page, reach
from ..files.conversion import ExportConfig
from ..nets.training import TrainConfig
from ..study.recipes import Recipe, Step
from ..techniques.allocation import STRATEGIES
from ..techniques.base import Technique
from ..techniques.masking import MaskConfig
from ..techniques.pruning import PruneConfig
from .tables import errors

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
#: Masks drawn at random: strategy -> words and style of the line.
RANDOM = {
    "random_mask": ("random masks, one shot", "--"),
    "random_mask_by_layer": ("the same, with LAMP's zeros a layer", ":"),
}
#: Each strategy's colour; a schedule that stands in both panels of the sweep has that of its strategy.
COLOURS = dict(zip(STRATEGIES, PALETTE, strict=False))
#: Points of the budget's axis.
BUDGET_TICKS = (-50, -20, -10, -5, -2, -1, -0.5, -0.2, 0, 0.2)


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


def _train(epochs: int, technique: Technique | None = None) -> Step:
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
    words = f"{strategy}-{schedule}".replace(" ", "_")
    recipe = Recipe(
        name=f"sweep-{words}-{sparsity:g}-{sum(step.train.epochs for step in steps)}",
        net=NET,
        steps=(_FIRST, *steps),
        export=EXPORT,
        is_control=strategy in ("dense", *RANDOM),
    )
    return Case(strategy=strategy, schedule=schedule, sparsity=sparsity, recipe=recipe)


def cases() -> list[Case]:
    """Dense control, random masks, every strategy at one schedule and every schedule at one strategy.

    `random_mask` drops the same share of each kernel; `random_mask_by_layer` as much of each as
    `COMMON_STRATEGY` does, so that only which weights go is left to chance.
    """
    common, found = COMMON_STRATEGY, [_case("dense", "none", 0.0, _train(EPOCHS))]
    for sparsity in SPARSITIES:
        one_shot = _pruned(sparsity, common, "one_shot")
        alike = MaskConfig(like=(_FIRST, one_shot), shuffled=True)
        random = _train(EPOCHS, MaskConfig(random_sparsity=sparsity))
        found += [
            _case("random_mask", "one_shot", sparsity, random),
            _case("random_mask_by_layer", "one_shot", sparsity, _train(EPOCHS, alike)),
        ]
        for strategy in STRATEGIES:
            found.append(_case(strategy, "polynomial 3", sparsity, _pruned(sparsity, strategy, "polynomial")))
        found += [
            _case(common, "polynomial 1", sparsity, _pruned(sparsity, common, "polynomial", 1.0)),
            _case(common, "constant", sparsity, _pruned(sparsity, common, "constant")),
            _case(common, "one_shot", sparsity, one_shot),
            _case(common, "iterative", sparsity, *_iterative(sparsity)),
        ]
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


def table(cases: Sequence[Case], outcomes: Outcomes, labels: np.ndarray) -> pd.DataFrame:
    """One row a case: the test error with its interval, median bytes, change against equal training.

    The change is none of the dense controls', and of cases whose control is not there; see `verdicts`.
    """
    dense = {each.epochs: outcomes.get(each.recipe.name, []) for each in cases if each.strategy == "dense"}
    there = [each for each in cases if outcomes.get(each.recipe.name)]
    rows = []
    pairs: list[Pair | None] = []
    for each in there:
        found, control = outcomes[each.recipe.name], dense[each.epochs]
        record = median_outcome(found).record
        rows.append(
            {
                "strategy": each.strategy,
                "schedule": each.schedule,
                "sparsity": each.sparsity,
                "epochs": each.epochs,
                "measured_sparsity": zeros(record),
                **errors(found, labels),
                "best_coded_bytes": record.best_coded_bytes,
            }
        )
        compared = each.strategy != "dense" and len(found) == len(control)
        pairs.append((right(found, labels), right(control, labels)) if compared else None)
    family = [not each.recipe.is_control for each in there]
    return pd.concat([pd.DataFrame(rows), verdicts(pairs, family)], axis=1)


RANDOM_SHARES = "random shares a layer (band left out)"


def sparsity_sweep(table: pd.DataFrame) -> Figure:
    """Error against sparsity, by strategy and by schedule; bands of the 95 % interval over seeds and images.

    Both panels hold the random masks and the dense control, trained for as long.
    Args:
        table: what `sweep.table` gives.
    """
    polynomial = table["schedule"] == "polynomial 3"
    common = set(table[~polynomial & ~table["strategy"].isin([*RANDOM, "dense"])]["strategy"])
    shares = sorted(share for share in set(table["sparsity"]) if share > 0)
    panels = (
        ("Strategies, polynomial schedule", table[polynomial], "strategy"),
        (f"Schedules, strategy {', '.join(common)}", table[table["strategy"].isin(common)], "schedule"),
    )
    with page(5.0, columns=2) as (figure, both):
        for axes, (title, rows, by) in zip(both, panels, strict=True):
            others = (colour for colour in PALETTE if colour != COLOURS[COMMON_STRATEGY])
            for name, line in rows.groupby(by, sort=False):
                known = COMMON_STRATEGY if name == "polynomial 3" else str(name)
                colour = COLOURS.get(known) or next(others)
                # its masks are by magnitude
                words = RANDOM_SHARES if name == "random" else str(name).replace("_", " ")
                _band(axes, line, colour, words)
            for name, (words, style) in RANDOM.items():
                if (table["strategy"] == name).any():
                    _band(axes, table[table["strategy"] == name], GREY, words, style=style)
            for _, control in table[table["strategy"] == "dense"].iterrows():
                axes.axhline(control["error_pct"], color="black", linewidth=1, label="dense, trained as long")
                axes.axhspan(control["error_low_pct"], control["error_high_pct"], color="black", alpha=0.12)
            axes.set(xlabel="sparsity of the kernels, %", title=title, xscale="log", yscale="log")
            plain_ticks(axes)
            # places on the axis of what is left, and their names in sparsity
            axes.set_xticks([1 - share for share in shares], [f"{100 * share:g}" for share in shares])
            axes.minorticks_off()
            axes.invert_xaxis()
            # the curves need all of the panel
            axes.legend(**BELOW, ncols=2)
        # a band may reach below 0, which a log axis cannot show
        both[0].set_ylim(bottom=0.7 * float(table["error_pct"].min()))
        both[0].set_ylabel("test error, %; bands: 95 % interval over seeds and images")
    return figure


def _band(axes: Axes, rows: pd.DataFrame, colour: str, name: str, *, style: str = "-") -> None:
    rows = rows.sort_values("sparsity")
    left, low, high = 1 - rows["sparsity"], rows["error_low_pct"], rows["error_high_pct"]
    axes.plot(left, rows["error_pct"], style, color=colour, marker=".", linewidth=1.2, label=name)
    # masks at random may fail altogether, and their band would lie over all others
    if name != RANDOM_SHARES:
        axes.fill_between(left, low.clip(lower=1e-3), high, color=colour, alpha=0.15)


def budget(table: pd.DataFrame) -> Figure:
    """Change of accuracy against the epochs that pruning is given, a panel a sparsity.

    The grey band is the margin within which accuracies are equivalent.

    Args:
        table: what `sweep.table` gives.
    """
    groups = table.dropna(subset="change_pp").sort_values("epochs", kind="stable").groupby("sparsity")
    with page(3.2, columns=len(groups)) as (figure, panels):
        for axes, (sparsity, rows) in zip(panels, groups, strict=True):
            for name, line in rows.groupby("strategy", sort=False):
                bars = reach(line, "change_pp", "change_ci_low_pp", "change_ci_high_pp")
                look: dict[str, Any] = {"color": COLOURS[str(name)], "marker": ".", "capsize": 2}
                look["label"] = str(name)
                axes.errorbar(line["epochs"], line["change_pp"], yerr=bars, **look)
            axes.axhline(0, color="black", linewidth=0.8)
            axes.axhspan(-100 * MARGIN, 100 * MARGIN, color="#8882", linewidth=0)
            # a tenth of a point and half of all images are both read off
            axes.set_yscale("symlog", linthresh=100 * MARGIN)
            axes.set(xscale="log", xlabel="epochs", title=f"{100 * float(sparsity):g} % zeros")
            axes.set_yticks(BUDGET_TICKS, [f"{tick:g}" for tick in BUDGET_TICKS])
            epochs = sorted(set(rows["epochs"]))
            axes.set_xticks(epochs, [str(count) for count in epochs])
            axes.minorticks_off()
        panels[0].set_ylabel(
            "change against equal training, points,\n95 % interval; linear in the grey band only"
        )
        panels[-1].legend(fontsize=7)
    return figure
