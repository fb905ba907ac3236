"""A second test set that nothing was chosen on: `python -m model_compression.frontier.rotated`.

All forms of the notebook and the plans of the frontier that stand are computed once on `mnist_rotated`,
where other images are the test, and set beside what stands in the results.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..evidence.forms import all_forms, right
from ..evidence.statistics import estimate
from ..evidence.tables import save_csv, save_figure
from ..study.catalogue import catalogue, forms
from ..study.experiment import Bench
from ..study.scheduling import Study
from . import plans, study, tables, transfer_plots
from .pairs import measured, settings, with_controls

DATASET = "mnist_rotated"
N_SEEDS = 5
FORMS, PLANS = "form", "plan"


def of_forms(bench: Bench, here: pd.DataFrame, *, n_seeds: int, n_workers: int | None) -> pd.DataFrame:
    """All forms there, beside the rows of `results/all-forms.csv`: errors, changes and verdicts.

    A conclusion holds where both verdicts are the same; one of "undecided" is no contradiction, and is
    left open.
    """
    knobs = settings("baseline", n_seeds=n_seeds)
    recipes = with_controls(catalogue(knobs), list(forms(knobs)))
    found = Study(bench, recipes, knobs.seeds, n_workers=n_workers).start()
    there = all_forms(measured(found, recipes), bench.data.y_test)
    both = here.merge(there, on="recipe", suffixes=("_here", "_there"))
    rows = pd.DataFrame({"kind": FORMS, "name": both["recipe"]})
    for place in ("here", "there"):
        rows[f"error_{place}_pct"] = 100 * (1 - both[f"accuracy_mean_{place}"])
        rows[f"error_low_{place}_pct"] = 100 * (1 - both[f"accuracy_ci_high_{place}"])
        rows[f"error_high_{place}_pct"] = 100 * (1 - both[f"accuracy_ci_low_{place}"])
        rows[f"change_{place}_pp"] = both[f"change_pp_{place}"]
        rows[f"verdict_{place}"] = both[f"verdict_{place}"]
    return rows.assign(
        holds=[holds(*pair) for pair in zip(rows["verdict_here"], rows["verdict_there"], strict=True)]
    )


def holds(here: object, there: object) -> str:
    """Whether what was said here is said there too."""
    said = [verdict if isinstance(verdict, str) else "" for verdict in (here, there)]
    if "" in said:
        return ""
    if "undecided" in said:
        return "open"
    return "yes" if said[0] == said[1] else "no"


def of_plans(bench: Bench, here: pd.DataFrame, *, n_seeds: int, n_workers: int | None) -> pd.DataFrame:
    """The plans that stand, there, beside their rows of `results/frontier.csv`.

    A plan holds where the two intervals overlap.
    """
    recipes = plans.points()
    found = Study(bench, recipes, study.seeds(n_seeds), n_workers=n_workers).start()
    known = {(row.net, row.method): row for row in here.itertuples()}
    rows = []
    for name, recipe in recipes.items():
        outcomes, row = found.outcomes(name), known.get((recipe.net, plans.method(recipe)))
        if row is None or not outcomes:
            continue
        error = estimate(~right(outcomes, bench.data.y_test))
        low, high = 100 * max(error.low, 0.0), 100 * error.high
        overlap = low <= row.error_high_pct and row.error_low_pct <= high
        rows.append(
            {
                "kind": PLANS,
                "name": name,
                "bytes_here": row.bytes,
                "bytes_there": tables.median_outcome(outcomes).record.best_coded_bytes,
                "error_here_pct": row.error_pct,
                "error_low_here_pct": row.error_low_pct,
                "error_high_here_pct": row.error_high_pct,
                "error_there_pct": 100 * error.mean,
                "error_low_there_pct": low,
                "error_high_there_pct": high,
                "holds": "yes" if overlap else "no",
            }
        )
    return pd.DataFrame(rows)


#: What can be computed apart, with the table of results that it is set beside.
PARTS = {"forms": (of_forms, "all-forms"), "plans": (of_plans, "frontier")}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m model_compression.frontier.rotated", description=__doc__)
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS), help="all without")
    parser.add_argument("--seeds", type=int, default=N_SEEDS)
    parser.add_argument("--workers", type=int, default=None, help="processes; one a core without")
    parser.add_argument("--cache-dir", default="cache")
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--results-dir", type=Path, default=Path("results"))
    given = parser.parse_args(arguments)
    bench = Bench(dataset=DATASET, cache_dir=given.cache_dir, data_dir=given.data_dir)
    path = given.results_dir / "rotated.csv"
    for part in given.parts:
        compute, beside = PARTS[part]
        here = pd.read_csv(given.results_dir / f"{beside}.csv")
        rows = compute(bench, here, n_seeds=given.seeds, n_workers=given.workers)
        old = pd.read_csv(path) if path.exists() else rows[:0]
        kept = old[~old["kind"].isin(rows["kind"])]
        table = pd.concat([kept, rows], ignore_index=True) if len(kept) else rows
        save_csv(table.sort_values("kind", kind="stable", ignore_index=True), path)
        save_figure(transfer_plots.rotated(pd.read_csv(path)), path.with_suffix(".png"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
