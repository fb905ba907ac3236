"""How long a file of some 10 MB takes to slim, and how much memory, as a multiple of the file."""

import time
import tracemalloc

from model_compression.files.conversion import ExportConfig, export
from model_compression.files.slimming import slim
from model_compression.nets.keras2 import keras


def main() -> None:
    layers = keras.layers
    net = keras.Sequential(
        [keras.Input((1000,)), layers.Dense(2000, activation="relu"), layers.Dense(250), layers.Dense(10)]
    )
    content = export(net, ExportConfig(form="float32"), representative=None)
    start = time.perf_counter()
    slimmed = slim(content)
    seconds = time.perf_counter() - start
    tracemalloc.start()
    slim(content)
    most = tracemalloc.get_traced_memory()[1] / len(content)
    print(f"{len(content):,} bytes to {len(slimmed.content):,}: {seconds:.1f} s, {most:.1f} times its memory")


if __name__ == "__main__":
    main()
