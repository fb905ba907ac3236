"""The frontier: nets and recipes that trade error for bytes, and the tables they fill.

Every point is a whole coded .tflite file that the stock interpreter runs. Recipes were chosen on
validation images; the tables report test images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..data.datasets import Dataset, scale
from ..evidence.plots import pareto
from ..files import coding, running
from ..files.conversion import ExportConfig
from ..files.graph import zeroed
from ..nets.distillation import DistillConfig
from ..nets.training import TrainConfig
from ..store import writable_folder, write_atomically
from ..study.outcomes import Outcome
from ..study.recipes import Recipe, Step, Teacher
from ..techniques.clustering import ClusterConfig
from ..techniques.pruning import PruneConfig
from ..techniques.rate_distortion import RateConfig
from ..techniques.shrinkage import ShrinkConfig
from .published import FLOAT_BYTES, PARAMETERS, PUBLISHED

COLUMNS = ["net", "method", "bytes", "error_pct", "error_sd_pct", "seeds", "counted_as", "source", "file"]
#: What the rows that were computed here say of their source.
OURS = "this study"


#: The nets that teach all others: their training, and seeds that no other training has.
TEACHER_NET, TEACHER_SEEDS, VIEWS = "small_32p_64p_128p", (11, 12), 16
TEACHER_TRAIN = TrainConfig(epochs=24, learning_rate=2e-3, warmup=0.05, augment=1.0)


def _teacher(temperature: float) -> Teacher:
    return Teacher(
        net=TEACHER_NET,
        steps=(Step(train=TEACHER_TRAIN),),
        seeds=TEACHER_SEEDS,
        distill=DistillConfig(temperature=temperature, views=VIEWS),
    )


@dataclass(frozen=True, kw_only=True)
class NetPlan:
    """How one net is trained along the frontier.

    Attributes:
        first, tuned: epochs of plain and of rate-distortion training.
        temperature: of the teachers' scores, by which both are trained; the less a net can hold, the lower
            it has to be. None for the labels.
        learning_rate: of both. augment: strength in both, see `training.augment`.
        prices: of a coded kilobyte; one point of the frontier each. levels, first_nonzero: see `RateConfig`.
        l1: of the plain training of a net that has far more weights than it needs, see `ShrinkConfig`.
        orders: of the hidden channels that are tried, see `ordering.shortest`.
    """

    net: str
    first: int
    tuned: int
    l1: float | None = None
    levels: int
    first_nonzero: float | None = None
    temperature: float | None = None
    learning_rate: float
    augment: float
    prices: tuple[float, ...]
    orders: int = 1000

    def _train(self, epochs: int) -> TrainConfig:
        return TrainConfig(epochs=epochs, learning_rate=self.learning_rate, warmup=0.05, augment=self.augment)

    def recipes(self) -> list[Recipe]:
        """One for each price."""
        shrink = None if self.l1 is None else ShrinkConfig(l1=self.l1)
        teacher = None if self.temperature is None else _teacher(self.temperature)
        first = Step(train=self._train(self.first), technique=shrink, teacher=teacher)

        def priced(price: float) -> Step:
            rate = RateConfig(price=price, levels=self.levels, first_nonzero=self.first_nonzero)
            return Step(train=self._train(self.tuned), technique=rate, teacher=teacher)

        return [
            Recipe(
                name=f"{self.net}-price-{price:g}",
                net=self.net,
                steps=(first, priced(price)),
                export=ExportConfig(form="packed_int4", orders=self.orders),
            )
            for price in self.prices
        ]


#: In the order in which they are computed.
PLANS = (
    NetPlan(
        net="small_20p_40p_64p",
        first=6,
        tuned=24,
        levels=3,
        temperature=3,
        learning_rate=3e-3,
        augment=1.0,
        prices=(0.015,),
    ),
    NetPlan(
        net="small_16p_32p_48p",
        first=6,
        tuned=24,
        levels=3,
        temperature=3,
        learning_rate=3e-3,
        augment=1.0,
        prices=(0.04,),
    ),
    NetPlan(
        net="small_16p_24p_32p",
        first=6,
        tuned=28,
        levels=3,
        temperature=3,
        learning_rate=3e-3,
        augment=1.0,
        prices=(0.16,),
    ),
    NetPlan(
        net="small_12p_16p_16p",
        first=8,
        tuned=24,
        levels=3,
        temperature=2,
        learning_rate=3e-3,
        augment=1.0,
        prices=(0.3,),
    ),
    NetPlan(
        net="baseline",
        first=8,
        tuned=30,
        levels=3,
        temperature=1,
        learning_rate=5e-3,
        augment=0.5,
        prices=(0.02, 0.06),
    ),
    NetPlan(
        net="lenet_300_100",
        first=8,
        tuned=20,
        l1=4e-6,
        levels=3,
        first_nonzero=40,
        learning_rate=2e-3,
        augment=0.5,
        prices=(0.02,),
        orders=0,
    ),
    NetPlan(
        net="lenet_5",
        first=4,
        tuned=10,
        l1=4e-6,
        levels=3,
        first_nonzero=40,
        learning_rate=2e-3,
        augment=0.5,
        prices=(0.012, 0.03),
        orders=0,
    ),
)


def _classic() -> Recipe:
    """What the usual tools give on the baseline: prune, cluster, int8."""

    def train(epochs: int) -> TrainConfig:
        return TrainConfig(epochs=epochs, learning_rate=5e-3)

    return Recipe(
        name="baseline-pruned-clustered-int8",
        net="baseline",
        steps=(
            Step(train=train(8)),
            Step(train=train(6), technique=PruneConfig(final_sparsity=0.85, conv_sparsity=0.3)),
            Step(train=train(3), technique=ClusterConfig(clusters=8, preserve_sparsity=True)),
        ),
        export=ExportConfig(form="int8"),
    )


def points(nets: Sequence[str] = ()) -> dict[str, Recipe]:
    """The recipes of the frontier by name, a net's plain training shared.

    Args:
        nets: only these; `small` stands for all small nets; empty for all.
    """
    recipes = [recipe for plan in PLANS for recipe in plan.recipes()]
    return {recipe.name: recipe for recipe in [*recipes, _classic()] if wanted(recipe.net, nets)}


def wanted(net: str, nets: Sequence[str]) -> bool:
    """Whether a net is among `nets`, by its name or its family's."""
    return not nets or net in nets or any(net.startswith(f"{name}_") for name in nets if name == "small")


def method(recipe: Recipe) -> str:
    """A recipe's name without its net's."""
    return recipe.name.removeprefix(f"{recipe.net}-")


def median_outcome(outcomes: Sequence[Outcome]) -> Outcome:
    """The seed whose coded file has the median size; the smaller of two in the middle."""
    return sorted(outcomes, key=lambda outcome: outcome.record.best_coded_bytes)[(len(outcomes) - 1) // 2]


def our_row(recipe: Recipe, outcomes: Sequence[Outcome]) -> dict[str, object]:
    """One line of the frontier: the median seed's bytes, mean and sample standard deviation of the error."""
    errors = [100 * (1 - outcome.record.accuracy) for outcome in outcomes]
    median = median_outcome(outcomes).record
    return {
        "net": recipe.net,
        "method": method(recipe),
        "bytes": median.best_coded_bytes,
        "error_pct": float(np.mean(errors)),
        "error_sd_pct": float(np.std(errors, ddof=1)) if len(errors) > 1 else np.nan,
        "seeds": len(errors),
        "counted_as": "measured",
        "source": OURS,
        "file": f"{recipe.file_name}.{median.best_coder}",
    }


def published_rows() -> pd.DataFrame:
    """The published points that state an error, in the columns of the frontier."""
    rows = [
        {
            "net": point.net,
            "method": point.method,
            "bytes": point.bytes,
            "error_pct": point.error_pct,
            "counted_as": point.counted_as,
            "source": point.source,
        }
        for point in PUBLISHED
        if point.error_pct is not None
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def merge(
    before: pd.DataFrame | None, rows: Sequence[Mapping[str, object]], nets: Sequence[str]
) -> pd.DataFrame:
    """Our rows, new ones in place of those of the same nets, followed by the published ones.

    `file` stays with the points on our front only.
    """
    ours = pd.DataFrame(rows, columns=COLUMNS)
    if before is not None:
        old = before[before["counted_as"] == "measured"]
        ours = pd.concat([old[[not wanted(net, nets) for net in old["net"]]], ours], ignore_index=True)
    ours = ours.sort_values(["net", "bytes"], ignore_index=True)
    if len(ours):
        ours["file"] = ours["file"].where(pareto(ours["bytes"], ours["error_pct"]), other=pd.NA)
    return pd.concat([ours, published_rows()], ignore_index=True)[COLUMNS]


def unreached(table: pd.DataFrame) -> str:
    """Markdown: the published points that no file of ours matches in bytes and error, and how near ours come.

    Args:
        table: with the columns of `COLUMNS`.
    """
    ours = table[table["counted_as"] == "measured"].sort_values("bytes")
    lines = []
    for point in table[table["counted_as"] != "measured"].itertuples():
        small, good = ours[ours["bytes"] <= point.bytes], ours[ours["error_pct"] <= point.error_pct]
        if len(ours.loc[small.index.intersection(good.index)]):
            continue
        least = good.nsmallest(1, "bytes").itertuples()
        best = small.nsmallest(1, "error_pct").itertuples()
        near = [f"{_point(row)} has no more error" for row in least]
        near += [f"{_point(row)} has no more bytes" for row in best]
        lines.append(
            f"- {point.method} on {point.net} ({point.counted_as}), {point.bytes:,.0f} bytes at "
            f"{point.error_pct:.2f} %: {'; '.join(near) or 'nothing of ours is as small or as good'}"
        )
    return "\n".join(lines)


def _point(row: Any) -> str:
    return f"ours with {row.bytes:,.0f} bytes at {row.error_pct:.2f} % ({row.net})"


def anatomy(recipe: Recipe, outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Where the bytes of the median seed's coded file go.

    `entropy_bytes` is the order-0 entropy of the weights, a floor for a coder without memory;
    `graph_bytes` the coded file with every constant zeroed; `rest_bytes` is what remains: biases, and
    what the coder needs above the entropy.
    """
    outcome = median_outcome(outcomes)
    size, entropy = outcome.record.best_coded_bytes, round(outcome.record.entropy_bytes)
    graph = len(coding.best_coded(zeroed(outcome.content))[1])
    return {
        "net": recipe.net,
        "method": method(recipe),
        "bytes": size,
        "entropy_bytes": entropy,
        "graph_bytes": graph,
        "rest_bytes": size - entropy - graph,
        "above_entropy": size / entropy,
        "nonzero_weights": outcome.record.nonzero_weights,
        "weights": outcome.record.weights,
    }


def write_file(outcomes: Sequence[Outcome], name: str, folder: Path, dataset: Dataset) -> None:
    """Write the median seed's coded file, once it is decoded and its test labels are what was reported.

    Raises:
        RuntimeError: the decoded file labels the test images otherwise.
    """
    outcome = median_outcome(outcomes)
    coder, coded = coding.best_coded(outcome.content)
    decoded = coding.CODERS[coder].decode(coded)
    if not np.array_equal(running.predict(decoded, scale(dataset.x_test)), outcome.predictions):
        raise RuntimeError(f"{name}: the decoded file labels the test images otherwise than reported")
    write_atomically(writable_folder(folder) / name, coded)


def literature(frontier: pd.DataFrame) -> pd.DataFrame:
    """Per net, every published figure with its count, and ours beside them.

    `ratio` is the dense float32 net's bytes over these: as stated, or worked out from the bytes.
    """
    ours = frontier[(frontier["counted_as"] == "measured") & frontier["net"].isin(PARAMETERS)]
    theirs = pd.DataFrame(
        [
            {
                "net": point.net,
                "method": point.method,
                "error_pct": point.error_pct,
                "bytes": point.bytes,
                "ratio": point.ratio,
                "counted_as": point.counted_as,
                "source": point.source,
            }
            for point in PUBLISHED
        ]
    )
    columns = [*theirs.columns]
    mine = ours.reindex(columns=columns)
    table = pd.concat([theirs, mine], ignore_index=True) if len(mine) else theirs
    dense = table["net"].map(PARAMETERS) * FLOAT_BYTES
    table["ratio"] = table["ratio"].astype(float).fillna(dense / table["bytes"])
    table["ours"] = table["source"] == OURS
    return table.sort_values(["net", "ours", "bytes"], ascending=[True, True, False], ignore_index=True)
