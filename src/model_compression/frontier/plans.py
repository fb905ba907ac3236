"""The frontier's plans, `plans.csv`: how a net is trained at a price for its coded bytes.

Plans are compared, kept and dropped by validation error alone; `results/frontier-records.csv` holds every
one that was ever computed, see `records`.
"""

import csv
import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..files.conversion import ExportConfig
from ..nets.distillation import DistillConfig
from ..nets.training import TrainConfig
from ..study.recipes import Recipe, Step, Teacher
from ..techniques.base import Technique
from ..techniques.clustering import ClusterConfig
from ..techniques.pruning import PruneConfig
from ..techniques.rate_distortion import RateConfig
from ..techniques.shrinkage import ShrinkConfig

#: The idea of the trials that all others are measured against.
REFERENCE = "as the plans that stand"


def _train(epochs: int, learning_rate: float, augment: float = 1.0) -> TrainConfig:
    return TrainConfig(epochs=epochs, learning_rate=learning_rate, warmup=0.05, augment=augment)


def _teachers(net: str, train: TrainConfig, seeds: tuple[int, ...], views: int) -> Teacher:
    """Nets that teach all others, with seeds that no other training has; a plan says at what temperature."""
    distill = DistillConfig(temperature=1.0, views=views)
    return Teacher(net=net, steps=(Step(train=train),), seeds=seeds, distill=distill)


LARGE = _teachers("small_32p_64p_128p", _train(24, 2e-3), seeds=(11, 12), views=16)
#: For trials, which many plans share in little time.
SHORT = _teachers("small_16p_32p_64p", _train(12, 3e-3), seeds=(11,), views=8)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How one net is trained for one point of the frontier.

    Attributes:
        price: of a coded kilobyte, see `RateConfig`; levels, first_nonzero: likewise.
        first, tuned: epochs of plain and of rate-distortion training.
        temperature: of the teachers' scores, by which both are trained; the less a net can hold, the lower
            it has to be. None for the labels.
        learning_rate: of both. augment: strength in both, see `training.augment`.
        l1: of the plain training of a net that has far more weights than it needs, see `ShrinkConfig`.
        orders: of the hidden channels that are tried, see `channels.shortest`.
        since: the version with which it stood: a commit, or a release of the package.
        idea: what a trial tries; empty for a plan that stands.
        variant: what tells it, and its dense net, from another plan of its net and price.
    """

    net: str
    price: float
    first: int = 6
    tuned: int = 24
    levels: int = 3
    first_nonzero: float | None = None
    temperature: float | None = None
    teachers: Teacher = LARGE
    learning_rate: float = 3e-3
    augment: float = 1.0
    l1: float | None = None
    orders: int = 1000
    since: str = ""
    idea: str = ""
    variant: str = ""

    @property
    def recipe(self) -> Recipe:
        """What carries it out."""
        shrink = None if self.l1 is None else ShrinkConfig(l1=self.l1)
        rate = RateConfig(price=self.price, levels=self.levels, first_nonzero=self.first_nonzero)
        return Recipe(
            name=self._named(f"price-{self.price:g}"),
            net=self.net,
            steps=(self._step(self.first, shrink), self._step(self.tuned, rate)),
            export=ExportConfig(form="packed_int4", orders=self.orders),
        )

    def _step(self, epochs: int, technique: Technique | None) -> Step:
        train, teacher = _train(epochs, self.learning_rate, self.augment), None
        if self.temperature is not None:
            distill = replace(self.teachers.distill, temperature=self.temperature)
            teacher = replace(self.teachers, distill=distill)
        return Step(train=train, technique=technique, teacher=teacher)

    @property
    def control(self) -> Recipe:
        """The dense net trained and taught alike: what compression costs shows beside it."""
        steps, export = self.recipe.control_steps(), ExportConfig(form="float32")
        return Recipe(name=self._named("dense"), net=self.net, steps=steps, export=export, is_control=True)

    def _named(self, what: str) -> str:
        return "-".join(filter(None, (self.net, what, self.variant)))


def _read() -> list[Plan]:
    """The plans of `plans.csv`, a row each; an empty cell is the default."""
    kinds = {field.name: field.type for field in fields(Plan)}

    def value(name: str, cell: str) -> Any:
        if name == "teachers":
            return {"large": LARGE, "short": SHORT}[cell]
        # whole numbers stay whole: an identity tells 1 from 1.0
        return cell if kinds[name] is str else json.loads(cell)

    with Path(__file__).with_name("plans.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [Plan(**{name: value(name, cell) for name, cell in row.items() if cell}) for row in rows]


#: Those that stand, in the order in which they are computed.
PLANS = tuple(plan for plan in _read() if not plan.idea)
#: What was tried for fewer bytes, all trained alike, for less time than a plan that stands; see
#: `records.at_equal_error`.
TRIALS = tuple(plan for plan in _read() if plan.idea)


def classic() -> Recipe:
    """What the usual tools give on the baseline: prune, cluster, int8."""

    def step(epochs: int, technique: Technique | None = None) -> Step:
        return Step(train=TrainConfig(epochs=epochs, learning_rate=5e-3), technique=technique)

    prune = PruneConfig(final_sparsity=0.85, conv_sparsity=0.3)
    return Recipe(
        name="baseline-pruned-clustered-int8",
        net="baseline",
        steps=(step(8), step(6, prune), step(3, ClusterConfig(clusters=8, preserve_sparsity=True))),
        export=ExportConfig(form="int8"),
    )


def points(net: str | None = None, variant: str = "") -> dict[str, Recipe]:
    """The recipes that stand, by name, and each net's dense control; a net's plain training is shared.

    Args:
        net: only its own; None for all. variant: of its own, only those; empty for all.
    """
    asked = [plan for plan in PLANS if variant in ("", plan.variant)]
    found = [plan.recipe for plan in asked] + [classic()] * (not variant) + [plan.control for plan in asked]
    return {recipe.name: recipe for recipe in found if net in (None, recipe.net)}
