"""Which bench a saved model needs, and what it makes there."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_compression.files import running

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TFMOT's, at its import
    from model_compression.files import conversion
    from model_compression.nets.keras2 import keras
    from model_compression.own_model.bench import ConvertedBench, bench_of, takes
    from model_compression.study.catalogue import Settings, catalogue
    from model_compression.study.experiment import Bench

GENERATOR = np.random.default_rng(0)
ROWS = GENERATOR.normal(size=(60, 6)).astype(np.float32)
SETTINGS = Settings(
    seed=0, n_seeds=1, epochs=1, fine_tune_epochs=1, batch_size=8, learning_rate=1e-3, initial_sparsity=0.5,
    final_sparsity=0.8,
)  # fmt: skip


@pytest.fixture
def model() -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(40), keras.layers.Dense(3)])


@pytest.fixture
def bench(model: keras.Model, tmp_path: Path) -> Bench:
    labels = np.argmax(model(ROWS), axis=1)
    data = tmp_path / "own.npz"
    np.savez(data, x_train=ROWS, y_train=labels, x_test=ROWS, y_test=labels)
    return Bench(dataset=str(data), cache_dir=str(tmp_path / "cache"))


def test_model_of_known_layers_keeps_its_bench(model: keras.Model, bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "own.keras"
    model.save(path)
    assert bench_of(bench, str(path)) is bench


def test_model_that_is_only_converted_has_the_forms_without_training(
    model: keras.Model, bench: Bench, tmp_path: Path
) -> None:
    path = tmp_path / "own.tflite"
    content = conversion.export(model, conversion.ExportConfig(form="float32"), representative=None)
    path.write_bytes(content)
    found = bench_of(bench, str(path))
    assert isinstance(found, ConvertedBench)
    kept, left_out = takes(found, str(path), catalogue(replace(SETTINGS, net=str(path))))
    assert {"non_quantized", "int8", "post_training_quantized", "mixed_bits"} <= set(kept)
    assert left_out["pruned"] == ("the model is converted as it is: a .tflite file holds no layers to train")
    small = found.run(kept["post_training_quantized"], 0, lambda *progress: None)
    assert (small.record.recipe, small.record.file) == (
        "post_training_quantized", "post_training_quantized.tflite"
    )  # fmt: skip
    np.testing.assert_allclose(running.logits(small.content, ROWS), model(ROWS), atol=0.1)
    again = found.run(kept["post_training_quantized"], 0, lambda *progress: None)
    assert again.record == small.record


def test_model_with_a_layer_that_no_method_takes_has_halves_too(tmp_path: Path) -> None:
    tokens = GENERATOR.integers(0, 30, (60, 6)).astype(np.float32)
    words = keras.layers.Embedding(30, 40)
    net = keras.Sequential([keras.Input((6,)), words, keras.layers.Flatten(), keras.layers.Dense(3)])
    data, path = tmp_path / "own.npz", tmp_path / "own.keras"
    labels = np.argmax(net(tokens), axis=1)
    np.savez(data, x_train=tokens, y_train=labels, x_test=tokens, y_test=labels)
    net.save(path)
    found = bench_of(Bench(dataset=str(data), cache_dir=str(tmp_path / "cache")), str(path))
    kept, _ = takes(found, str(path), catalogue(replace(SETTINGS, net=str(path))))
    halves, whole = (found.run(kept[name], 0, lambda *told: None) for name in ("float16", "non_quantized"))
    assert halves.record.file_bytes < 0.7 * whole.record.file_bytes
    np.testing.assert_allclose(running.logits(halves.content, tokens), net(tokens), atol=1e-2)


def test_net_by_name_is_asked_as_it_is_after_its_training(tmp_path: Path) -> None:
    images, labels = GENERATOR.integers(0, 255, (40, 12, 12)).astype(np.uint8), np.arange(40) % 2
    np.savez(tmp_path / "own.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    bench = Bench(dataset=str(tmp_path / "own.npz"), cache_dir=str(tmp_path / "cache"))
    kept, left_out = takes(bench, "ds_cnn", catalogue(replace(SETTINGS, net="ds_cnn")))
    # its batch normalization, which TFMOT cannot quantize, is folded then
    assert "quantization_aware_trained" in kept
    assert left_out == {}
