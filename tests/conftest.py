"""What more than one test file needs."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_compression.data.datasets import Dataset, load_dataset, scale

DATA_DIR = Path(__file__).parents[1] / "data"
# what workers of one test are told is not to reach those of another, which train models of users
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


#: The longest files, so that no process ends with one of them while the others wait.
FIRST = (
    "notebook/test_run", "saved_models/test_fitting", "notebook/test_slider_browser",
    "own_model/test_converted", "study/test_experiment", "study/test_scheduling", "own_model/test_command",
    "files/test_guard", "techniques/test_structured", "saved_models/test_taking", "own_model/test_tasks",
    "files/test_grid", "test_example", "frontier/test_study",
)  # fmt: skip
TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each file's tests stay together, in their order."""
    place = {TESTS / f"{name}.py": number for number, name in enumerate(FIRST)}
    assert all(path.exists() for path in place)
    items.sort(key=lambda item: place.get(item.path, len(FIRST)))


@pytest.fixture(scope="session")
def mnist() -> Dataset:
    """All of MNIST, from the repository's cache; fetched where that is still empty."""
    return load_dataset("mnist", data_dir=DATA_DIR)


#: One short training that every test of a technique shares: 63 steps.
SHORT = {"epochs": 1, "learning_rate": 0.02, "batch_size": 32}
#: 4 filters and a Dense kernel of 676 x 10: small, and every pattern fits it.
TINY_NET = "baseline_4"


@pytest.fixture(scope="session")
def few(mnist: Dataset) -> Dataset:
    """2,000 real training images, 500 for validation and 500 for the test."""
    part = mnist.take(2000)
    return replace(
        part,
        x_val=part.x_val[:500],
        y_val=part.y_val[:500],
        x_test=part.x_test[:500],
        y_test=part.y_test[:500],
    )


@pytest.fixture(scope="session")
def few_file(few: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images as a user's own file, for what opens its data by name."""
    path = tmp_path_factory.mktemp("data") / "few.npz"
    np.savez(path, x_train=few.x_train, y_train=few.y_train, x_test=few.x_test, y_test=few.y_test)
    return path


class Nets:
    """Nets trained for one short epoch, each once a session; nobody may change them.

    `nets["pruned"]` is the net, `nets.file("pruned", "int8")` its file.
    """

    def __init__(self, data: Dataset) -> None:
        # TensorFlow is slow to import, and not every test needs it
        from model_compression.nets import training
        from model_compression.techniques import clustering, pruning, quantization

        self.data, self.config = data, training.TrainConfig(**SHORT)
        self.images, self.labels = scale(data.x_train), data.y_train
        self.validation = scale(data.x_val)
        prune, cluster, quantize = (
            pruning.PruneConfig,
            clustering.ClusterConfig,
            quantization.QuantizeConfig,
        )
        self.parents: dict[str, tuple[str, Any]] = {
            "pruned": ("baseline", prune(final_sparsity=0.8, initial_sparsity=0.5, conv_sparsity=0.25)),
            "block": ("baseline", prune(final_sparsity=0.75, pattern="block")),
            "2:4": ("baseline", prune(final_sparsity=0.5, pattern="2:4")),
            "clustered": ("baseline", cluster(clusters=8)),
            "pruned clustered": ("pruned", cluster(clusters=8, preserve_sparsity=True)),
            "qat": ("baseline", quantize()),
            "qat4": ("baseline", quantize(weight_bits=4)),
            "plain qat of pruned": ("pruned", quantize()),
            "pqat": ("pruned", quantize(preserve="sparsity")),
            "pcqat": ("pruned clustered", quantize(preserve="sparsity and clusters")),
        }
        self._trained: dict[str, Any] = {}
        self._files: dict[tuple[str, str], bytes] = {}

    def untrained(self, seed: int = 0) -> Any:
        from model_compression.nets import named

        return named.build(TINY_NET, input_shape=(28, 28), classes=10, seed=seed)

    def fit(self, model: Any, *, seed: int = 1, callbacks: Sequence[Any] = ()) -> Any:
        from model_compression.nets import training

        training.fit(
            model,
            self.images,
            self.labels,
            self.config,
            seed=seed,
            progress=lambda done: None,
            callbacks=callbacks,
        )
        return model

    def __getitem__(self, name: str) -> Any:
        if name not in self._trained:
            self._trained[name] = (
                self.fit(self.untrained()) if name == "baseline" else self._tuned(*self.parents[name])
            )
        return self._trained[name]

    def _tuned(self, parent: str, config: Any) -> Any:
        from model_compression.nets.keras2 import keras, quiet

        keras.utils.set_random_seed(1)
        with quiet():
            wrapped = config.wrap(self[parent], steps=self.config.steps(len(self.images)), seed=0)
            return config.strip(self.fit(wrapped, callbacks=config.callbacks()))

    def file(self, name: str, form: str) -> bytes:
        from model_compression.files import conversion

        if (name, form) not in self._files:
            representative = None if "qat" in name else self.images[:100]
            self._files[name, form] = conversion.export(
                self[name], conversion.ExportConfig(form=form), representative=representative
            )
        return self._files[name, form]


@pytest.fixture(scope="session")
def nets(few: Dataset) -> Nets:
    """See `Nets`."""
    return Nets(few)


def kernels_of(model: Any) -> dict[str, np.ndarray]:
    """A float net's kernels as arrays."""
    from model_compression.nets import layers

    return {name: kernel.numpy().copy() for name, kernel in layers.kernels(model).items()}


def exactly(message: str) -> str:
    """For `match`: this message and nothing else."""
    return f"^{re.escape(message)}$"
