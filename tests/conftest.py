"""What more than one test file needs."""

from pathlib import Path

import pytest

from model_compression.data import Dataset, load_dataset

DATA_DIR = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="session")
def mnist() -> Dataset:
    """All of MNIST, from the repository's cache; fetched where that is still empty."""
    return load_dataset("mnist", data_dir=DATA_DIR)
