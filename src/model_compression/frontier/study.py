"""The frontier, the literature and the sparsity sweep: `python -m model_compression.frontier.study`.

Computes on Dask what the store lacks, so that an interrupted study goes on where it stopped; then
writes the tables and the coded files of our front, and draws the pictures from the tables.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..evidence.tables import save_csv
from ..study.catalogue import Settings
from ..study.experiment import Bench
from ..study.outcomes import Outcome
from ..study.recipes import Recipe
from ..study.scheduling import Study
from . import plans, sweep
from . import plots as frontier_plots

#: The first seed of every study; the others follow from it.
FIRST_SEED = 0
SWEEP = "sweep"


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


def chosen(nets: Sequence[str]) -> dict[str, Recipe]:
    """The recipes of the parts asked for.

    Args:
        nets: names of nets or `small`, for the frontier; `sweep` for the sweep; empty for all.
    Raises:
        ValueError: a part that there is not.
    """
    known = {plan.net for plan in plans.PLANS} | {"small", SWEEP}
    unknown = sorted(set(nets) - known)
    if unknown:
        raise ValueError(f"nets are {', '.join(unknown)}; allowed: {', '.join(sorted(known))}")
    found = {}
    if not nets or set(nets) != {SWEEP}:
        found.update(plans.points(nets))
    if not nets or SWEEP in nets:
        found.update({case.recipe.name: case.recipe for case in sweep.cases()})
    return found


def run(
    bench: Bench, nets: Sequence[str], *, n_seeds: int, results: Path, n_workers: int | None = None
) -> list[str]:
    """Compute the parts asked for, write what they change under `results`, and say what failed.

    Args:
        nets: see `chosen`. n_seeds: at least 1.
    """
    recipes = chosen(nets)
    study = Study(bench, recipes, seeds(n_seeds), n_workers=n_workers).start()
    study.wait()
    outcomes = {name: study.outcomes(name) for name in recipes}
    swept = {name: found for name, found in outcomes.items() if name.startswith(f"{SWEEP}-")}
    reached = {name: found for name, found in outcomes.items() if name not in swept and found}
    if swept:
        save_csv(sweep.table(swept), results / "sparsity-sweep.csv")
    if reached:
        _write_frontier(recipes, reached, nets, bench, results)
    frontier_plots.draw(results)
    return [f"{failure.recipe}, seed {failure.seed}: {failure.error}" for failure in study.failures]


def _write_frontier(
    recipes: dict[str, Recipe],
    outcomes: dict[str, list[Outcome]],
    nets: Sequence[str],
    bench: Bench,
    results: Path,
) -> None:
    path, folder = results / "frontier.csv", results / "frontier"
    before = _planned(pd.read_csv(path)) if path.exists() else None
    rows = {name: plans.our_row(recipes[name], found) for name, found in outcomes.items()}
    table = plans.merge(before, list(rows.values()), nets)
    files = set(table["file"].dropna())
    for name, row in rows.items():
        if row["file"] in files:
            plans.write_file(outcomes[name], str(row["file"]), folder, bench.data)
    for old in folder.glob("*") if folder.exists() else ():
        if old.name not in files:
            old.unlink()
    save_csv(table, path)
    found = [plans.anatomy(recipes[name], outcomes[name]) for name in rows]
    save_csv(_merged(results / "frontier-bytes.csv", found, nets), results / "frontier-bytes.csv")
    save_csv(plans.literature(table), results / "literature.csv")


def _planned(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of an earlier run that today's plans would still compute."""
    names = table["net"] + "-" + table["method"]
    return table[names.isin(plans.points())]


def _merged(path: Path, rows: list[dict[str, object]], nets: Sequence[str]) -> pd.DataFrame:
    """A table by net with `rows` in place of those of the same nets."""
    table = pd.DataFrame(rows)
    if path.exists():
        old = _planned(pd.read_csv(path))
        table = pd.concat([old[[not plans.wanted(net, nets) for net in old["net"]]], table])
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
