"""The frontier, the literature and the sweeps: `python -m model_compression.frontier.study`.

Computes on Dask what the store lacks, so that an interrupted study goes on where it stopped; then
writes the tables and the coded files of our front, and draws the pictures from the tables.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..evidence.tables import save_csv
from ..study.catalogue import Settings
from ..study.experiment import Bench
from ..study.outcomes import Outcome
from ..study.recipes import Recipe
from ..study.scheduling import Study
from . import budget, ideas, plans, records, sweep, tables
from . import plots as frontier_plots

#: The first seed of every study; the others follow from it.
FIRST_SEED = 0
FRONTIER, SWEEP, BUDGET, TRIALS = "frontier", "sweep", "budget", "trials"
#: What a part becomes, and where.
TABLES: dict[str, Callable[[Mapping[str, Sequence[Outcome]], np.ndarray], pd.DataFrame]] = {
    SWEEP: sweep.table,
    BUDGET: budget.table,
}
FILES = {SWEEP: "sparsity-sweep", BUDGET: "pruning-budget"}


def seeds(count: int) -> list[int]:
    """The first `count` seeds, the same ones whatever the count."""
    knobs = Settings(
        seed=FIRST_SEED,
        n_seeds=count,
        epochs=1,
        fine_tune_epochs=1,
        batch_size=128,
        learning_rate=1e-3,
        initial_sparsity=0.0,
        final_sparsity=0.5,
    )
    return knobs.seeds


def parts() -> dict[str, Mapping[str, Recipe]]:
    """What can be asked for beside the frontier's nets: the recipes by name, of each part."""
    return {
        SWEEP: {case.recipe.name: case.recipe for case in sweep.cases()},
        BUDGET: {case.recipe.name: case.recipe for case in budget.cases()},
        TRIALS: {plan.recipe.name: plan.recipe for plan in ideas.TRIALS},
    }


def chosen(nets: Sequence[str]) -> dict[str, dict[str, Recipe]]:
    """The recipes asked for, by part and name; those of the frontier's nets under "frontier".

    Args:
        nets: names of nets or `small`, for the frontier; names of `parts`; empty for all but the trials.
    Raises:
        ValueError: a part that there is not.
    """
    others = parts()
    known = {plan.net for plan in plans.PLANS} | {"small", *others}
    unknown = sorted(set(nets) - known)
    if unknown:
        raise ValueError(f"nets are {', '.join(unknown)}; allowed: {', '.join(sorted(known))}")
    asked = [net for net in nets if net not in others]
    found = {name: dict(others[name]) for name in others if name in nets or (not nets and name != TRIALS)}
    return {FRONTIER: plans.points(asked), **found} if asked or not nets else found


def run(
    bench: Bench, nets: Sequence[str], *, n_seeds: int, results: Path, n_workers: int | None = None
) -> list[str]:
    """Compute the parts asked for, write what they change under `results`, and say what failed.

    A recipe's records are written as soon as it is carried out with all seeds.

    Args:
        nets: see `chosen`. n_seeds: at least 1.
    """
    asked = chosen(nets)
    recipes = {name: recipe for found in asked.values() for name, recipe in found.items()}
    study = Study(bench, recipes, seeds(n_seeds), n_workers=n_workers).start()
    for part, found in asked.items():
        outcomes = {}
        for name, recipe in found.items():
            outcomes[name] = study.outcomes(name)
            if part in (FRONTIER, TRIALS):
                _write_records(recipe, outcomes[name], results, stands=part == FRONTIER)
        reached = {name: each for name, each in outcomes.items() if each}
        if part == FRONTIER and reached:
            _write_frontier(found, reached, nets, bench, results)
        elif reached and part in TABLES:
            save_csv(TABLES[part](reached, bench.data.y_test), results / f"{FILES[part]}.csv")
    frontier_plots.draw(results)
    return [f"{failure.recipe}, seed {failure.seed}: {failure.error}" for failure in study.failures]


def _standing() -> list[str]:
    return [records.identity(recipe) for recipe in plans.points().values()]


def _write_records(recipe: Recipe, outcomes: Sequence[Outcome], results: Path, *, stands: bool) -> None:
    idea = {plan.recipe: plan.idea for plan in ideas.TRIALS}.get(recipe, "")
    rows = [records.row(recipe, outcome, stands=stands, idea=idea) for outcome in outcomes]
    if rows:
        records.add(results / "frontier-records.csv", rows, _standing())


def _write_frontier(
    recipes: Mapping[str, Recipe],
    outcomes: Mapping[str, Sequence[Outcome]],
    nets: Sequence[str],
    bench: Bench,
    results: Path,
) -> None:
    path, folder = results / "frontier.csv", results / "frontier"
    before = pd.read_csv(path) if path.exists() else None
    rows = [tables.our_row(recipes[name], found, bench.data.y_test) for name, found in outcomes.items()]
    table = tables.merge(before, rows, nets, _standing())
    files = set(table["file"].dropna())
    for found, row in zip(outcomes.values(), rows, strict=True):
        if row["file"] in files:
            tables.write_file(found, str(row["file"]), folder, bench.data)
    for old in folder.glob("*") if folder.exists() else ():
        if old.name not in files:
            old.unlink()
    save_csv(table, path)
    parts_of = [
        tables.anatomy(recipes[name], found)
        for name, found in outcomes.items()
        if not recipes[name].is_control
    ]
    save_csv(_merged(results / "frontier-bytes.csv", parts_of, nets), results / "frontier-bytes.csv")
    save_csv(tables.literature(table), results / "literature.csv")


def _merged(path: Path, rows: list[dict[str, object]], nets: Sequence[str]) -> pd.DataFrame:
    """A table by net with `rows` in place of those of the same nets, and of plans that no longer stand."""
    table = pd.DataFrame(rows)
    if path.exists():
        kept = tables.remaining(pd.read_csv(path), nets, _standing())
        table = pd.concat([kept, table]) if len(kept) else table
    return table.sort_values(["net", "bytes"], ignore_index=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m model_compression.frontier.study", description=__doc__)
    parser.add_argument("--nets", nargs="*", default=[], metavar="NAME", help="parts to compute; all without")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=None, help="processes; one a core without")
    parser.add_argument("--cache-dir", default="cache")
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--results-dir", type=Path, default=Path("results"))
    options = parser.parse_args(arguments)
    bench = Bench(dataset="mnist", cache_dir=options.cache_dir, data_dir=options.data_dir)
    try:
        failures = run(
            bench,
            options.nets,
            n_seeds=options.seeds,
            results=options.results_dir,
            n_workers=options.workers,
        )
    except ValueError as error:
        parser.error(str(error))
    for failure in failures:
        print(f"failed: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
