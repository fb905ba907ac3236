"""The same forms on five pairs of data and net: `python -m model_compression.frontier.pairs`.

Each pair is a part, which can be computed apart and goes on where it was interrupted.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..evidence.forms import Form, all_forms
from ..evidence.tables import save_csv, save_figure
from ..files.conversion import ExportConfig
from ..nets import named
from ..study.applicable import applicable
from ..study.catalogue import Settings, catalogue, control_of
from ..study.experiment import Bench
from ..study.recipes import Recipe
from ..study.scheduling import Study
from . import transfer_plots

N_SEEDS = 3


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Data and the net that learns them."""

    dataset: str
    net: str

    @property
    def name(self) -> str:
        """As the command and the table call it."""
        return f"{self.dataset}-{self.net}"


PAIRS = (
    Pair(dataset="mnist", net="baseline"),
    Pair(dataset="fashion_mnist", net="baseline"),
    Pair(dataset="fashion_mnist", net="ds_cnn"),
    Pair(dataset="fashion_mnist", net="resnet_8"),
    Pair(dataset="mnist1d", net="cnn_1d"),
)
#: Of the catalogue; what a net cannot take is left out there, with the reason.
FORMS = (
    "float16", "post_training_quantized", "int8", "int16x8", "int4_weight_only", "int4_mixed",
    "quantization_aware_trained", "quantization_aware_int4", "pruned_half", "pruned_quantized",
    "pruned_uniform", "pruned_quantization_aware", "pruned_2_by_4", "clustered_16", "clustered_8",
    "pruned_clustered",
)  # fmt: skip


def settings(net: str, *, n_seeds: int) -> Settings:
    """The notebook's parameters, for another net."""
    return Settings(
        seed=100,
        n_seeds=n_seeds,
        epochs=6,
        fine_tune_epochs=2,
        batch_size=128,
        learning_rate=5e-3,
        initial_sparsity=0.5,
        final_sparsity=0.8,
        net=net,
    )


def with_controls(recipes: Mapping[str, Recipe], wanted: Sequence[str]) -> dict[str, Recipe]:
    """The recipes of these names, and the float nets that they are compared with."""
    first = next(name for name, recipe in recipes.items() if recipe.export == ExportConfig(form="float32"))
    names = {first: None}
    for name in wanted:
        names |= dict.fromkeys((name, str(control_of(recipes[name], recipes))))
    return {name: recipes[name] for name in names}


def measured(study: Study, recipes: Mapping[str, Recipe]) -> list[Form]:
    """Each recipe's outcomes beside its control's and the first one's, the float net's.

    What failed with a seed, or whose control did, is left out, and stands in the study's failures.
    """
    found = {name: study.outcomes(name) for name in recipes}
    whole = {name: each for name, each in found.items() if len(each) == len(study.seeds)}
    forms = []
    for name, outcomes in whole.items():
        control = str(control_of(recipes[name], recipes))
        if control in whole and next(iter(recipes)) in whole:
            forms.append(
                Form(
                    name=name,
                    is_control=recipes[name].is_control,
                    outcomes=outcomes,
                    control_name=control,
                    control=whole[control],
                    float_net=whole[next(iter(recipes))],
                )
            )
    return forms


def compute(
    pair: Pair, bench: Bench, *, n_seeds: int, n_workers: int | None
) -> tuple[pd.DataFrame, list[str]]:
    """One row a form of a pair, see `all_forms`, `left_out` saying why there are no figures; what failed."""
    knobs = settings(pair.net, n_seeds=n_seeds)
    net = named.build(
        pair.net, input_shape=bench.data.input_shape, classes=bench.data.classes, seed=knobs.seed
    )
    recipes, left_out = applicable(net, with_controls(catalogue(knobs), FORMS))
    study = Study(bench, recipes, knobs.seeds, n_workers=n_workers).start()
    table = all_forms(measured(study, recipes), bench.data.y_test)
    reasons = pd.DataFrame({"recipe": list(left_out), "left_out": list(left_out.values()), "role": "form"})
    table = pd.concat([table, reasons], ignore_index=True) if len(reasons) else table.assign(left_out="")
    failures = [f"{failure.recipe}, seed {failure.seed}: {failure.error}" for failure in study.failures]
    return table.assign(dataset=pair.dataset, net=pair.net), failures


def put(path: Path, rows: pd.DataFrame, pair: Pair) -> pd.DataFrame:
    """The table on the disk with a pair's rows in place of those it had, the pairs in their order."""
    old = pd.read_csv(path) if path.exists() else rows[:0]
    others = old[(old["dataset"] != pair.dataset) | (old["net"] != pair.net)]
    table = pd.concat([others, rows], ignore_index=True) if len(others) else rows
    places = {(each.dataset, each.net): place for place, each in enumerate(PAIRS)}
    order = pd.Series(list(zip(table["dataset"], table["net"], strict=True))).map(places)
    table = table.iloc[order.argsort(kind="stable")].reset_index(drop=True)
    save_csv(table, path)
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m model_compression.frontier.pairs", description=__doc__)
    names = [pair.name for pair in PAIRS]
    parser.add_argument("--pairs", nargs="*", default=names, choices=names, help="all without")
    parser.add_argument("--seeds", type=int, default=N_SEEDS)
    parser.add_argument("--workers", type=int, default=None, help="processes; one a core without")
    parser.add_argument("--cache-dir", default="cache")
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--results-dir", type=Path, default=Path("results"))
    given = parser.parse_args(arguments)
    failures = []
    for pair in (pair for pair in PAIRS if pair.name in given.pairs):
        bench = Bench(dataset=pair.dataset, cache_dir=given.cache_dir, data_dir=given.data_dir)
        rows, failed = compute(pair, bench, n_seeds=given.seeds, n_workers=given.workers)
        table = put(given.results_dir / "pairs.csv", rows, pair)
        save_figure(transfer_plots.pairs(table), given.results_dir / "pairs.png")
        failures += [f"{pair.name}: {failure}" for failure in failed]
    for failure in failures:
        print(f"failed: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
