"""The studies beside the notebook, in parts: `python -m model_compression.frontier.study PART...`.

Computes on Dask what the store lacks, so that an interrupted part goes on where it stopped; then writes the
part's tables and files, and draws the pictures from the tables.
"""

import argparse
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..evidence.tables import save_csv
from ..runtimes.deployment import BASELINE
from ..study.catalogue import Settings, catalogue, forms
from ..study.experiment import Bench
from ..study.recipes import Recipe
from ..study.scheduling import Study
from . import plans, plots, records, sweep, tables, transfer


@dataclass(frozen=True, kw_only=True)
class Part:
    """What can be computed apart.

    Attributes:
        recipes: by name, in the order in which they are wanted.
        write: puts what a study found into the tables of a folder of results.
        check: refuses a folder of results that the part cannot be written to, before it is computed.
        first_seed: the others follow from it. n_seeds: how many, where the command names no number.
    """

    recipes: Callable[[Bench], Mapping[str, Recipe]]
    write: Callable[[Study, Path], None]
    check: Callable[[Path], None] = lambda results: None
    dataset: str = "mnist"
    first_seed: int = 0
    n_seeds: int = 5


def seeds(first: int, count: int) -> list[int]:
    """The first `count` seeds, the same ones whatever the count."""
    return Settings(seed=first, n_seeds=count).seeds


def write_frontier(study: Study, results: Path) -> None:
    """Put a net's plans into the records, the frontier and the literature; write the files of the front."""
    path, folder, standing = results / "frontier.csv", results / "frontier", _standing()
    write_records(study, results)
    found = {name: each for name in study.recipes if (each := study.outcomes(name))}
    labels = study.bench.data.y_test
    rows = [tables.our_row(study.recipes[name], each, labels) for name, each in found.items()]
    table = tables.merge(records.read(path, tables.COLUMNS), rows, standing)
    files = set(table["file"].dropna())
    for each, row in zip(found.values(), rows, strict=True):
        if row["file"] in files:
            tables.write_file(each, str(row["file"]), folder, study.bench.data)
    for old in folder.glob("*"):
        if old.name not in files:
            old.unlink()
    records.save(table, path)
    save_csv(tables.literature(table), results / "literature.csv")


def _standing() -> set[str]:
    return {records.identity(recipe) for recipe in plans.points().values()}


def write_records(study: Study, results: Path) -> None:
    """Put plans into the records, each as soon as it is carried out with all seeds."""
    known = _standing()
    for name, recipe in study.recipes.items():
        stands = records.identity(recipe) in known
        rows = [records.row(recipe, outcome, stands=stands) for outcome in study.outcomes(name)]
        if rows:
            records.add(results / "frontier-records.csv", rows, known)


def _swept(cases: Sequence[sweep.Case], name: str) -> Part:
    def write(study: Study, results: Path) -> None:
        found = {recipe: study.outcomes(recipe) for recipe in study.recipes}
        save_csv(sweep.table(cases, found, study.bench.data.y_test), results / f"{name}.csv")

    return Part(recipes=lambda bench: {case.recipe.name: case.recipe for case in cases}, write=write)


def _pair(pair: transfer.Pair) -> Part:
    return Part(
        dataset=pair.dataset,
        recipes=lambda bench: transfer.recipes_of(pair, bench)[0],
        write=functools.partial(transfer.write_pair, pair),
        first_seed=Settings.seed,
    )


def _net(net: str, variant: str = "") -> Part:
    return Part(recipes=lambda bench: plans.points(net, variant), write=write_frontier)


def _net_rotated(net: str, variant: str = "") -> Part:
    return Part(
        dataset="mnist_rotated",
        recipes=lambda bench: plans.points(net, variant),
        write=functools.partial(transfer.write_rotated, "plan"),
        check=functools.partial(transfer.check_beside, "frontier", "error_low_pct", "make study"),
    )


NETS = tuple(dict.fromkeys(plan.net for plan in plans.PLANS))
#: The plans of a net that are computed apart from its others, by the part's name: net and variant.
VARIANTS = {f"{plan.net}-{plan.variant}": (plan.net, plan.variant) for plan in plans.PLANS if plan.variant}
PARTS: dict[str, Part] = {
    **{net: _net(net) for net in NETS},
    **{name: _net(*each) for name, each in VARIANTS.items()},
    "sweep": _swept(sweep.cases(), "sparsity-sweep"),
    "budget": _swept(sweep.budget_cases(), "pruning-budget"),
    "trials": Part(
        recipes=lambda bench: {plan.recipe.name: plan.recipe for plan in plans.TRIALS}, write=write_records
    ),
    **{pair.name: _pair(pair) for pair in transfer.PAIRS},
    "rates": Part(
        dataset="fashion_mnist",
        recipes=lambda bench: transfer.rates(),
        write=transfer.write_rates,
        first_seed=Settings.seed,
        n_seeds=1,
    ),
    # the net of the pair, so that it is trained once
    "layers": Part(
        dataset="fashion_mnist",
        recipes=lambda bench: {BASELINE: catalogue(Settings(net="resnet_8"))[BASELINE]},
        write=transfer.write_layers,
        first_seed=Settings.seed,
        n_seeds=1,
    ),
    "rotated-forms": Part(
        dataset="mnist_rotated",
        recipes=lambda bench: transfer.with_controls(catalogue(Settings()), list(forms(Settings()))),
        write=functools.partial(transfer.write_rotated, "form"),
        check=functools.partial(transfer.check_beside, "all-forms", "accuracy_ci_high", "make results"),
        first_seed=Settings.seed,
    ),
    **{f"rotated-{net}": _net_rotated(net) for net in NETS},
    **{f"rotated-{name}": _net_rotated(*each) for name, each in VARIANTS.items()},
}
#: Names for several parts.
GROUPS: dict[str, tuple[str, ...]] = {
    "small": tuple(net for net in NETS if net.startswith("small_")),
    "study": (*NETS, "sweep", "budget", "layers"),
    "pairs": tuple(pair.name for pair in transfer.PAIRS),
    "rotated-plans": tuple(f"rotated-{net}" for net in NETS),
    "rotated": ("rotated-forms", *(f"rotated-{net}" for net in NETS)),
}


def chosen(names: Sequence[str]) -> list[str]:
    """The parts that are asked for, each once, in the order of `PARTS`.

    Raises:
        ValueError: a name that there is not.
    """
    if unknown := sorted(set(names) - {*PARTS, *GROUPS}):
        raise ValueError(f"no part is {', '.join(unknown)}; allowed: {', '.join(sorted({*PARTS, *GROUPS}))}")
    asked = {part for name in names for part in GROUPS.get(name, (name,))}
    return [part for part in PARTS if part in asked]


def run(
    part: Part, bench: Bench, *, results: Path, n_seeds: int | None = None, n_workers: int | None = None
) -> list[str]:
    """Compute a part, write what it changes under `results`, and say what failed.

    Args:
        n_seeds: at least 1; None for the part's own.
    """
    part.check(results)
    wanted = seeds(part.first_seed, part.n_seeds if n_seeds is None else n_seeds)
    study = Study(bench, part.recipes(bench), wanted, n_workers=n_workers).start()
    part.write(study, results)
    return [f"{failure.recipe}, seed {failure.seed}: {failure.error}" for failure in study.failures]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m model_compression.frontier.study", description=__doc__)
    parser.add_argument("parts", nargs="+", metavar="PART", help=f"of {', '.join((*GROUPS, *PARTS))}")
    parser.add_argument("--seeds", type=int, default=None, help="5 without")
    parser.add_argument("--train-images", type=int, default=None, help="the first so many; all without")
    parser.add_argument("--workers", type=int, default=None, help="processes; one a core without")
    parser.add_argument("--cache-dir", default="cache")
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--results-dir", type=Path, default=Path("results"))
    given = parser.parse_args(arguments)
    failures = []
    try:
        for name in chosen(given.parts):
            bench = Bench(
                dataset=PARTS[name].dataset,
                cache_dir=given.cache_dir,
                data_dir=given.data_dir,
                train_images=given.train_images,
            )
            failed = run(
                PARTS[name], bench, results=given.results_dir, n_seeds=given.seeds, n_workers=given.workers
            )
            failures += [f"{name}: {failure}" for failure in failed]
    except ValueError as error:
        parser.error(str(error))
    plots.draw(given.results_dir)
    for failure in failures:
        print(f"failed: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
