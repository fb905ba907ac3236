"""What a form loses of a regression whose own Normalization is folded, and where it stays a layer.

The widest of eight columns is 1 to 32 times the narrowest. Change of the mean squared error on validation
data, as a part of the float file's: what `folding.MOST_UNEVEN` was chosen by. One seed; four minutes.

Run: `make bench`, or `python benchmarks/bench_unlike_columns.py`.
"""

import tempfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from model_compression.files.guard import CorruptFileError
from model_compression.nets.keras2 import keras
from model_compression.saved_models import folding
from model_compression.study import applicable
from model_compression.study.catalogue import Settings, forms
from model_compression.study.experiment import Bench

APART = (1, 2, 3, 4, 8, 32)
FORMS = ("int8", "int8_mixed", "int4_dynamic", "pruned_half", "pruned_quantized", "clustered_16")
TRAINED = 6000


def make(folder: Path, apart: float) -> tuple[str, str]:
    """A trained model and its data, as files."""
    keras.utils.set_random_seed(0)
    generator, layers = np.random.default_rng(0), keras.layers
    z = generator.normal(size=(8000, 8))
    x = ((3 + z) * generator.permutation(np.geomspace(1, apart, 8))).astype(np.float32)
    y = np.sin(2 * z[:, 0]) + z[:, 1] * z[:, 3] + np.abs(z[:, 2]) + np.tanh(z[:, 6]) * z[:, 7]
    y = (y + z[:, 4] ** 2 / (2 + 2 * np.abs(z[:, 5])) + generator.normal(0, 0.3, 8000)).astype(np.float32)
    normal = layers.Normalization()
    normal.adapt(x[:TRAINED])
    hidden = (layers.Dense(width, activation="relu") for width in (64, 32))
    model = keras.Sequential([keras.Input((8,)), normal, *hidden, layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(x[:TRAINED], y[:TRAINED], epochs=30, verbose=0)
    path, data = folder / f"{apart}.keras", folder / f"{apart}.npz"
    model.save(path)
    np.savez(data, x_train=x[:TRAINED], y_train=y[:TRAINED], x_test=x[TRAINED:], y_test=y[TRAINED:])
    return str(path), str(data)


def losses(path: str, data: str, folder: Path) -> list[str]:
    """By form, the change of the error; in words why there is none."""
    settings = Settings(
        seed=0, n_seeds=1, epochs=5, fine_tune_epochs=5, batch_size=32, learning_rate=0.002, net=path
    )  # fmt: skip
    bench = Bench(dataset=data, cache_dir=str(folder / "cache"))
    net = bench.trained(path, (), 0, lambda *progress: None)
    kept, left_out = applicable.applicable(net, forms(settings))

    def error(name: str) -> float:
        return 1 - bench.run(kept[name], 0, lambda *progress: None).record.validation_accuracy

    found, plain = [], error("non_quantized")
    for name in tqdm(FORMS, leave=False):
        try:
            found.append("left out" if name in left_out else f"{error(name) / plain - 1:+.0%}")
        except (ValueError, CorruptFileError):
            found.append("refused")
    return found


if __name__ == "__main__":
    print(f"{'':>12}" + "".join(f"{name:>18}" for name in FORMS))
    for apart in APART:
        for words, most in (("folded", np.inf), ("a layer", 0.0)):
            folding.MOST_UNEVEN = most
            with tempfile.TemporaryDirectory() as name:
                row = losses(*make(Path(name), apart), Path(name))
            print(f"{apart:>3} {words:>8}" + "".join(f"{each:>18}" for each in row), flush=True)
