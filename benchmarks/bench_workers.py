"""Two workers against one on the same grid of trainings, as a ratio in one run.

Each worker count gets caches and processes of its own; starting the processes is not counted.
Run: `make bench`, or `python benchmarks/bench_workers.py [ROUNDS]`.
"""

import statistics
import sys
import tempfile
import time
from dataclasses import replace

from model_compression.study.catalogue import Settings, catalogue
from model_compression.study.experiment import Bench
from model_compression.study.scheduling import Study
from model_compression.study.workers import connect

NAMES = ("int8", "quantization_aware_trained", "pruned_quantized", "clustered_16")
SETTINGS = Settings(
    seed=1,
    n_seeds=8,
    epochs=4,
    fine_tune_epochs=2,
    batch_size=128,
    learning_rate=5e-3,
    initial_sparsity=0.5,
    final_sparsity=0.8,
)


def seconds(workers: int) -> float:
    """How long the grid takes on so many workers."""
    connect.cache_clear()
    client = connect(workers)
    recipes = {name: recipe for name, recipe in catalogue(SETTINGS).items() if name in NAMES}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(dataset="mnist", cache_dir=folder, data_dir="data")
        # every worker imports TensorFlow and reads the data before the clock starts
        warm = replace(SETTINGS, seed=2, n_seeds=workers, epochs=1)
        few = replace(bench, train_images=500)
        Study(few, {"int8": catalogue(warm)["int8"]}, warm.seeds, n_workers=workers).start().wait()
        start = time.perf_counter()
        study = Study(bench, recipes, SETTINGS.seeds, n_workers=workers).start()
        study.wait()
        elapsed = time.perf_counter() - start
        for name in recipes:
            if len(study.outcomes(name)) != len(SETTINGS.seeds):
                raise RuntimeError(f"{name} failed: {study.failures}")
    client.shutdown()
    return elapsed


def main() -> None:
    """Print the ratios, in turn one and two workers."""
    ratios = []
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 1):
        one, two = seconds(1), seconds(2)
        ratios.append(one / two)
        print(f"one worker {one:.0f} s, two workers {two:.0f} s: {one / two:.2f} times as fast")
    print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
