"""How time and memory grow with the number of recipes: a grid, and the same over twice as many seeds.

Both grids run on the same two workers with caches of their own; memory is the workers' resident set.
Run: `make bench`, or `python benchmarks/bench_growth.py [SEEDS]`.
"""

import sys
import tempfile
import time
from dataclasses import replace

import psutil
from bench_workers import NAMES, SETTINGS

from model_compression.study.catalogue import catalogue
from model_compression.study.experiment import Bench
from model_compression.study.scheduling import Study
from model_compression.study.workers import connect

WORKERS = 2


def resident_mb() -> float:
    """Of the process that asks."""
    return psutil.Process().memory_info().rss / 1e6


def measure(seeds: int, first: int) -> tuple[float, float]:
    """Seconds that a grid takes, and the larger worker's resident MB after it."""
    settings = replace(SETTINGS, seed=first, n_seeds=seeds, epochs=1, fine_tune_epochs=1)
    recipes = {name: recipe for name, recipe in catalogue(settings).items() if name in NAMES}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(dataset="mnist", cache_dir=folder, data_dir="data", train_images=10_000)
        start = time.perf_counter()
        study = Study(bench, recipes, settings.seeds, n_workers=WORKERS).start()
        study.wait()
        elapsed = time.perf_counter() - start
        for name in recipes:
            if len(study.outcomes(name)) != seeds:
                raise RuntimeError(f"{name} failed: {study.failures}")
    return elapsed, max(connect(WORKERS).run(resident_mb).values())


def main() -> None:
    """Print both grids and their ratios."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    measure(WORKERS, first=1)  # every worker imports TensorFlow and reads the data before the clock starts
    once, before = measure(seeds, first=2)
    twice, after = measure(2 * seeds, first=3)
    recipes = len(NAMES) * seeds
    print(f"{recipes} recipes: {once:.0f} s, {before:,.0f} MB a worker")
    print(f"{2 * recipes} recipes: {twice:.0f} s, {after:,.0f} MB a worker")
    print(f"twice the recipes: {twice / once:.2f} times the time, {after / before:.2f} times the memory")
    connect(WORKERS).shutdown()


if __name__ == "__main__":
    main()
