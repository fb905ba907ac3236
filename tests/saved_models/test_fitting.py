"""A user's saved models: Keras 2 and 3, folded exactly, through every form, and what is refused."""

import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import exactly
from keras_models import CLASSES, NETS, save_both, save_data

from model_compression.data.datasets import Dataset, load_dataset
from model_compression.files import matching, running
from model_compression.files.graph import read_graph
from model_compression.saved_models import graphs
from model_compression.saved_models.graphs import Net, NotRebuiltError, UnsupportedModelError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TFMOT's, at its import
    from model_compression.files import conversion, guard
    from model_compression.nets.keras2 import keras, tfmot
    from model_compression.quiet import quiet
    from model_compression.saved_models import (
        building,
        canonical,
        converting,
        fitting,
        folding,
        loading,
        reader,
        taking,
    )
    from model_compression.saved_models import files as keras_files
    from model_compression.study import applicable
    from model_compression.study.catalogue import Settings, forms
    from model_compression.study.experiment import Bench
    from model_compression.techniques.base import Kept

layers = keras.layers


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every saved model; see `saved_models`."""
    folder = tmp_path_factory.mktemp("saved")
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")  # Keras calls .h5 outdated
        save_both(keras, folder)
    return folder


@pytest.fixture(scope="session")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_data(tmp_path_factory.mktemp("data") / "stripes.npz")


@pytest.fixture(scope="session")
def data(data_file: Path) -> Dataset:
    return load_dataset(data_file)


def answers(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict(images, verbose=0))


# Loading


@pytest.mark.parametrize("name", NETS)
def test_every_format_of_both_keras_gives_the_same_net(name: str, saved: Path, data: Dataset) -> None:
    files = [f"{name}_2.keras", f"{name}_2.h5", f"{name}_3{'.keras' if name == 'mobile' else '.h5'}"]
    files += ["mobile_2"] if name == "mobile" else []
    images = data.x_val / np.float32(255)
    given = [
        answers(building.to_keras(fitting.fit_to(loading.load(saved / file), data).net), images)
        for file in files
    ]
    for others in given[1:]:
        np.testing.assert_allclose(others, given[0], rtol=1e-4, atol=1e-4)
    # what the nets were trained to: it is the right net, fed the right pixels
    assert np.mean(given[0].argmax(axis=-1) == data.y_val) > 0.8


def test_model_gives_what_its_file_gave(saved: Path, data: Dataset) -> None:
    original = keras.models.load_model(saved / "mobile_2.keras", compile=False)
    loaded = loading.load(saved / "mobile_2.keras")
    assert loaded.ending == "softmax"
    fitted = fitting.fit_to(loaded, data)
    net = building.to_keras(fitted.net)
    ours = answers(taking.as_taken(net, fitted), fitted.fed(data).x_val)
    theirs = answers(original, data.x_val.astype(np.float32))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    # what is trained gives the same scores on smaller numbers
    small = answers(net, fitted.seen(data).x_val)
    np.testing.assert_allclose(fitted.seen(data).x_val, data.x_val / np.float32(255), rtol=1e-6)
    np.testing.assert_array_equal(small.argmax(axis=1), theirs.argmax(axis=1))


def test_pixels_are_scaled_as_validation_data_say(saved: Path, data: Dataset) -> None:
    own = fitting.fit_to(loading.load(saved / "mobile_2.h5"), data)
    assert own.notes[0] == (
        "the model scales pixels itself (Rescaling): it and its files take them from 0 to 255"
    )
    without = fitting.fit_to(loading.load(saved / "residual_2.h5"), data)
    assert without.notes[0].startswith("the model takes pixels from 0 to 1, which it knows best")


def test_raw_pixels_are_found(data: Dataset) -> None:
    # scores 0 unless the mean pixel is far above 1: only raw pixels tell
    model = keras.Sequential(
        [keras.Input(data.input_shape), layers.GlobalAveragePooling2D(), layers.Dense(CLASSES)]
    )
    lit = data.y_val[:, None, None, None] == 1
    bright = replace(data, x_val=np.where(lit, np.uint8(200), np.uint8(20)) + np.zeros_like(data.x_val))
    weights = np.zeros((3, CLASSES), np.float32)
    weights[0, 1] = 1
    model.set_weights([weights, np.array([100, 0, 0, 0], np.float32)])
    wanted = reader.read(model)
    fitted = fitting.fit_to(wanted, bright)
    assert "the model takes pixels from 0 to 255" in fitted.notes[0]
    np.testing.assert_array_equal(fitted.fed(bright).x_val, bright.x_val.astype(np.float32))


# Folding


def _folded(model: keras.Model) -> keras.Model:
    return building.to_keras(folding.fold(canonical.canonical(reader.read(model))))


def _bn(seed: int) -> keras.layers.Layer:
    """Batch normalization far from doing nothing."""
    draw = keras.initializers.RandomUniform
    return layers.BatchNormalization(
        gamma_initializer=draw(-1.5, 1.5, seed),
        beta_initializer=draw(-1, 1, seed + 1),
        moving_mean_initializer=draw(-1, 1, seed + 2),
        moving_variance_initializer=draw(0.3, 2, seed + 3),
    )


def _chain(*parts: Any, shape: tuple[int, ...] = (6, 6, 3)) -> keras.Model:
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.Input(shape), *parts])


FOLDED: dict[str, tuple[Callable[[], keras.Model], int]] = {
    "after a convolution": (lambda: _chain(layers.Conv2D(4, 3, use_bias=False), _bn(1), layers.ReLU()), 0),
    "after a depthwise one with two outputs a channel": (
        lambda: _chain(layers.DepthwiseConv2D(3, depth_multiplier=2), _bn(1)),
        0,
    ),
    "after a grouped convolution": (lambda: _chain(layers.Conv2D(6, 3, groups=3), _bn(1)), 0),
    "after Dense": (lambda: _chain(layers.Dense(5), _bn(1), shape=(7,)), 0),
    "after a separable convolution": (lambda: _chain(layers.SeparableConv2D(4, 3), _bn(1)), 0),
    "between ReLU and Dense, over Dropout": (
        lambda: _chain(
            layers.Dense(5, activation="relu"), _bn(1), layers.Dropout(0.5), layers.Dense(2), shape=(7,)
        ),
        0,
    ),
    "between ReLU and an unpadded convolution": (
        lambda: _chain(layers.Conv2D(4, 3, activation="relu"), _bn(1), layers.Conv2D(2, 3)),
        0,
    ),
    "between ReLU and a padded convolution": (
        lambda: _chain(layers.Conv2D(4, 3, activation="relu"), _bn(1), layers.Conv2D(2, 3, padding="same")),
        1,
    ),
    "before ReLU, after a sum": (lambda: _pre_activation(), 1),
    "twice": (lambda: _chain(layers.Conv2D(4, 3), _bn(1), _bn(5)), 0),
    "before depthwise": (lambda: _chain(_bn(1), layers.DepthwiseConv2D(3)), 0),
    "Rescaling and Normalization": (
        lambda: _chain(
            layers.Rescaling(0.5, offset=1),
            layers.Normalization(mean=[1.0, 2, 3], variance=[4, 9, 6]),
            layers.Conv2D(2, 3),
        ),
        0,
    ),
    "Rescaling before Reshape": (
        lambda: _chain(layers.Rescaling(2.0), layers.Reshape((6, 6, 1)), layers.Conv2D(2, 3), shape=(6, 6)),
        0,
    ),
}


def _pre_activation() -> keras.Model:
    keras.utils.set_random_seed(3)
    image = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, padding="same")(image)
    x = layers.Add()([x, layers.Conv2D(4, 1)(image)])
    return keras.Model(image, layers.Conv2D(2, 1)(layers.ReLU()(_bn(1)(x))))


@pytest.mark.parametrize("case", FOLDED)
def test_folding_changes_no_score(case: str) -> None:
    build, standing = FOLDED[case]
    model = build()
    before = [array.copy() for array in model.get_weights()]
    folded = _folded(model)
    images = np.random.default_rng(0).normal(size=(5, *model.input_shape[1:])).astype(np.float32)
    np.testing.assert_allclose(answers(folded, images), answers(model, images), rtol=1e-4, atol=1e-4)
    kinds = [type(layer).__name__ for layer in folded.layers]
    assert not {"BatchNormalization", "Rescaling", "Normalization"} & set(kinds)
    alone = [layer for layer in folded.layers if getattr(layer, "kernel_size", 0) == (1, 1)]
    assert sum(isinstance(layer, layers.DepthwiseConv2D) for layer in alone) == standing
    for array, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_what_cannot_be_folded_stands_frozen() -> None:
    model = _chain(layers.Dense(5, activation="relu"), _bn(1), layers.ReLU(), layers.Dense(2), shape=(7,))
    folded = _folded(model)
    images = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    np.testing.assert_allclose(answers(folded, images), answers(model, images), rtol=1e-4, atol=1e-4)
    (name,) = building.frozen_layers(folded)
    assert not folded.get_layer(name).trainable


def test_net_survives_packing() -> None:
    net = reader.read(FOLDED["after a convolution"][0]())
    assert isinstance(net, Net)
    copy = pickle.loads(pickle.dumps(net))
    assert (copy.input, copy.input_shape, copy.output) == (net.input, net.input_shape, net.output)
    for ours, theirs in zip(copy.nodes, net.nodes, strict=True):
        assert (ours.name, ours.kind, ours.inputs, ours.shape) == (
            theirs.name,
            theirs.kind,
            theirs.inputs,
            theirs.shape,
        )
        for one, other in zip(ours.weights, theirs.weights, strict=True):
            np.testing.assert_array_equal(one, other)


def test_nested_and_shared_layers_are_followed() -> None:
    relu = layers.ReLU()
    inner = keras.Sequential([keras.Input((6, 6, 4)), layers.Conv2D(4, 3), layers.BatchNormalization()])
    image = keras.Input((6, 6, 3))
    x = relu(layers.Conv2D(4, 1)(image))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(relu(inner(x) + 1.0))))
    folded = _folded(model)
    images = np.random.default_rng(0).normal(size=(5, 6, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(answers(folded, images), answers(model, images), rtol=1e-4, atol=1e-4)
    assert [layer.activation.__name__ for layer in folded.layers if hasattr(layer, "kernel")] == [
        "relu",
        "relu",
        "linear",
    ]


def test_ending_is_left_out_and_named() -> None:
    for end, ending in (
        (layers.Dense(1, activation="sigmoid"), "sigmoid"),
        (layers.Softmax(), "softmax"),
        (layers.Activation("tanh"), "linear"),
    ):
        net = loading.without_ending(reader.read(_chain(layers.Dense(3), end, shape=(7,))))
        assert (net.ending, net.node(net.output).activation) == (
            ending,
            "tanh" if ending == "linear" else "linear",
        )


def test_relu_is_fused_and_relu6_an_activation_so_that_tfmot_quantizes_the_kernels_before() -> None:
    model = _chain(
        layers.Conv2D(4, 3), layers.ReLU(), layers.Conv2D(4, 3), _bn(1), layers.ReLU(6.0), layers.ReLU(3.0)
    )
    folded = _folded(model)
    said = [(type(layer).__name__, getattr(layer, "activation", None)) for layer in folded.layers[1:]]
    assert [(kind, getattr(function, "__name__", None)) for kind, function in said] == [
        ("Conv2D", "relu"),
        ("Conv2D", "linear"),
        ("Activation", "relu6"),
        ("ReLU", None),
    ]


# Matching


def test_kernels_are_told_apart_by_value_whatever_their_order_and_scale() -> None:
    generator = np.random.default_rng(0)
    expected = [generator.normal(size=(4, 3, 3, 4)) for _ in range(3)]
    stored = [3 * expected[2], expected[0] + 0.1, np.zeros((2, 2)), expected[1]]
    assert matching.assign(stored, [kernel.shape for kernel in expected], expected) == [1, 3, 0]


def test_unknown_kernels_are_matched_in_order_and_wrong_shapes_not_at_all() -> None:
    stored = [np.ones((2, 2)), np.ones((2, 2))]
    assert matching.assign(stored, [(2, 2), (2, 2)], [None, None]) == [0, 1]
    assert matching.assign(stored, [(2, 2), (2, 3)], [None, None]) is None
    assert matching.assign(stored, [(2, 2)] * 3, [None] * 3) is None


# Forms


@pytest.fixture(scope="session")
def bench(data_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(dataset=str(data_file), cache_dir=str(tmp_path_factory.mktemp("cache")))


def settings(path: str) -> Settings:
    return Settings(
        seed=0,
        n_seeds=1,
        epochs=4,
        fine_tune_epochs=4,
        batch_size=32,
        learning_rate=0.02,
        initial_sparsity=0.5,
        final_sparsity=0.8,
        net=path,
    )


#: Forms that do to depthwise kernels what they do to no other, and one of each kind for sums of branches.
OF_DEPTHWISE = (
    "int8", "int4_weight_only", "quantization_aware_trained", "quantization_aware_int4", "pruned_quantized",
    "pruned_clustered", "structured_pruned_quantized", "rate_distortion",
)  # fmt: skip
OF_SUMS = (
    "float16", "post_training_quantized", "int8", "int16x8", "int4_dynamic", "int4_mixed_gptq",
    "int4_static_all", "mixed_bits", "quantization_aware_int4", "pruned_quantization_aware", "pruned_2_by_4",
    "clustered_16", "structured_pruned_quantized", "rate_distortion", "sparsity_cluster_preserving_qat",
)  # fmt: skip


@pytest.mark.parametrize(("file", "made"), [("mobile_3.keras", OF_DEPTHWISE), ("residual_2.h5", OF_SUMS)])
def test_forms_are_made_and_pass_the_guard(
    file: str, made: tuple[str, ...], saved: Path, bench: Bench
) -> None:
    path = str(saved / file)
    net = bench.trained(path, (), 0, lambda *progress: None)
    wanted = forms(settings(path))
    kept, skipped = applicable.applicable(net, wanted)
    # the small one has no kernel that dynamic range would quantize
    small = {"post_training_quantized"} if "mobile" in file else set()
    out = {name for name in skipped if not name.startswith(("int", "rate", "pruned_2", "pruned_block"))}
    assert out == small
    assert set(kept) == set(wanted) - set(skipped)
    for recipe in (kept[name] for name in made):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the converters' and TFMOT's own
            outcome = bench.run(recipe, 0, lambda *progress: None)
        assert outcome.record.validation_accuracy > 0.7, recipe.name
        if recipe.name.startswith("pruned_quant") or recipe.name == "pruned_clustered":
            alone = applicable.left_alone(net, recipe).get("pruning", [])
            free = sum(int(np.prod(net.get_layer(name).weights[0].shape)) for name in alone)
            assert outcome.record.nonzero_weights <= 0.22 * (outcome.record.weights - free) + free + 4


def test_guard_finds_a_changed_kernel_of_a_branched_net(saved: Path, bench: Bench) -> None:
    path = str(saved / "residual_2.h5")
    net = bench.trained(path, (), 0, lambda *progress: None)
    wrong = building.to_keras(bench.user_model(path).net)
    first = next(layer for layer in wrong.layers if layer.weights)
    kernel, bias = first.get_weights()
    first.set_weights([kernel[..., ::-1], bias])
    export = conversion.ExportConfig(form="float32")
    content = conversion.export(wrong, export, representative=None)
    promise = guard.RULES["float32"], Kept()
    with pytest.raises(guard.CorruptFileError, match="from the trained kernel"):
        guard.check_file(content, net, *promise, images=bench.data.x_val / np.float32(255), trained=net)


def test_layers_that_a_method_leaves_alone_are_listed(saved: Path, bench: Bench) -> None:
    path = str(saved / "mobile_2.keras")
    net = bench.trained(path, (), 0, lambda *progress: None)
    recipe = forms(settings(path))["pruned_clustered"]
    found = applicable.left_alone(net, recipe)
    depthwise = [layer.name for layer in net.layers if isinstance(layer, layers.DepthwiseConv2D)]
    assert found["pruning"] == depthwise
    (clustered,) = (names for method, names in found.items() if method.startswith("clustering"))
    assert set(depthwise) <= set(clustered)


def test_depthwise_net_has_forms_of_4_bits_and_the_layers_at_8_are_named() -> None:
    first, apart = layers.Conv2D(4, 3, name="first"), layers.DepthwiseConv2D(3, name="apart")
    net = _chain(first, apart, layers.Flatten(), layers.Dense(2))
    kept, _ = applicable.applicable(net, forms(settings(str(Path(__file__)))))
    assert {"int8_mixed", "int4_mixed", "int4_weight_only", "int4_static_all"} <= set(kept)
    wide = {form: applicable.left_alone(net, kept[form]) for form in ("int4_dynamic", "int4_mixed")}
    assert wide == {
        "int4_dynamic": {"4 bits, at 8 or in floats instead": ["apart"]},
        "int4_mixed": {"4 bits in Dense layers alone, at 8 or in floats instead": ["first", "apart"]},
    }
    _, skipped = applicable.applicable(
        _chain(layers.Conv2D(2, 3), layers.GlobalMaxPooling2D()), forms(settings(str(Path(__file__))))
    )
    assert skipped["int4_mixed"] == "the form keeps each kernel of the model at 8 bits"


def test_layer_that_stays_in_floats_is_named_and_mixed_files_are_offered() -> None:
    net = _chain(
        layers.Conv2D(4, 3, activation="elu", name="soft"),
        layers.LayerNormalization(name="norm"),
        layers.Flatten(),
        layers.Dense(2),
    )
    kept, skipped = applicable.applicable(net, forms(settings(str(Path(__file__)))))
    assert skipped["int16x8"] == "LiteRT ends its process at a layer normalization in 16 bits"
    for name in ("int8", "int8_mixed"):
        found = applicable.left_alone(net, kept[name])
        assert found == {"integers, in floats instead": ["soft", "norm"]}


def test_form_that_a_layer_rules_out_is_skipped_with_the_reason() -> None:
    net = _chain(layers.Conv2D(4, 3), layers.PReLU(name="own"), layers.Flatten(), layers.Dense(2))
    path = str(Path(__file__))
    recipes = forms(settings(path))
    kept, skipped = applicable.applicable(net, recipes)
    assert "int8" in kept
    assert skipped["quantization_aware_trained"] == (
        "TFMOT cannot quantize own (PReLU), and int8 throughout needs every layer"
    )


def test_content_and_not_the_path_makes_the_key(saved: Path, bench: Bench, tmp_path: Path) -> None:
    path, copy = saved / "residual_2.h5", tmp_path / "other.h5"
    copy.write_bytes(path.read_bytes())
    steps = forms(settings(str(path)))["pruned"].steps
    key = bench.training_key(str(path), steps, 0)
    assert bench.training_key(str(copy), steps, 0) == key
    assert bench.training_key(str(saved / "mobile_2.h5"), steps, 0) != key


# Bad input


def _refused(path: Path, message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=exactly(message)):
        loading.load(path)


def test_files_that_are_no_model(tmp_path: Path) -> None:
    again = "save the whole model with model.save('model.keras'), or give a float .tflite file of it"
    path = tmp_path / "model.keras"
    _refused(path, f"there is no file {path}; give the path of a saved Keras model")
    path.write_text("not a model")
    _refused(path, f"{path} is no saved Keras model; {again}")
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(20))
    _refused(path, f"{path} is a .tflite file, which holds no layers to train")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"")
    _refused(path, f"{path} is a zip archive without a Keras config (it holds data.pkl); {again}")
    folder = tmp_path / "folder"
    folder.mkdir()
    _refused(folder, f"{folder} is a folder without a saved_model.pb; {again}")
    (folder / "saved_model.pb").write_bytes(b"")
    with pytest.raises(NotRebuiltError, match="Keras 2 cannot load it"):
        loading.load(folder)


def test_weights_without_layers(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "some.weights.h5"
    _chain(layers.Dense(2), shape=(3,)).save_weights(path)
    said = "save the whole model with model.save('model.keras'), or give a float .tflite file of it"
    _refused(path, f"{path} holds weights only, and no layers that they belong to; {said}")


def test_cut_short_files(saved: Path, tmp_path: Path) -> None:
    for name in ("mobile_2.keras", "mobile_2.h5"):
        path = tmp_path / name
        content = (saved / name).read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(UnsupportedModelError, match="save the whole model with"):
            loading.load(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "custom_3",
            "layer 'twice' (Twice) is a custom layer, whose Python code is not in the file; write it with "
            "layers of Keras and save the model again, or save it with model.export(folder)",
        ),
        (
            "lambda_3",
            "layer 'lambda' (Lambda) holds Python code, which is not run; write it with layers of Keras "
            "(an axis is added by Reshape), or save the model with model.export(folder)",
        ),
    ],
)
def test_layers_that_are_code_are_refused(name: str, message: str, saved: Path) -> None:
    _refused(saved / f"{name}.keras", message)


def test_functions_that_differ_between_the_two_keras_are_written_out(saved: Path) -> None:
    kinds = [node.kind for node in loading.load(saved / "hard_3.keras").nodes]
    assert kinds == ["Conv2D", "Affine", "Activation", "Affine", "Flatten", "Dense"]


def test_what_keras_3_alone_builds_is_converted_with_its_weights_in_the_file(saved: Path) -> None:
    path = saved / "attention_3.keras"
    with pytest.raises(NotRebuiltError, match="MultiHeadAttention"):
        loading.load(path)
    images = np.random.default_rng(0).normal(size=(3, 4, 4, 1)).astype(np.float32)
    found = converting.convert(str(path), {"": images}, ("float32",), legacy=False)
    content = found.contents["float32"]
    assert not {"VAR_HANDLE", "READ_VARIABLE"} & {each.name for each in read_graph(content).operators}
    np.testing.assert_allclose(running.logits(content, images), found.answers, atol=1e-5)


def test_net_that_answers_otherwise_is_found(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "canonical", lambda net: replace(net, nodes=(*map(_other, net.nodes),)))
    loading._load.cache_clear()
    with pytest.raises(NotRebuiltError, match=r"computes differently in Keras 2; its activations are linear"):
        loading.load(saved / "residual_2.h5")
    loading._load.cache_clear()


def _other(node: graphs.Node) -> graphs.Node:
    return replace(node, weights=tuple(1.1 * array for array in node.weights))


def test_operators_of_numbers_become_layers_and_others_are_named(saved: Path) -> None:
    net = loading.load(saved / "operators_3.keras")
    assert [node.kind for node in net.nodes][:2] == ["Rescaling", "Rescaling"]
    with pytest.raises(UnsupportedModelError, match="bare operator 'sin'; use a layer"):
        loading.load(saved / "bare_3.keras")


def test_exported_model_has_no_layers_and_is_converted(tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    model = _chain(layers.Dense(2), shape=(3,))
    model.export(folder)
    with pytest.raises(NotRebuiltError, match="holds no layers to train"):
        loading.load(folder)
    rows = np.eye(3, dtype=np.float32)
    found = converting.convert(str(folder), {"": rows}, ("float32",), legacy=True)
    np.testing.assert_allclose(running.logits(found.contents["float32"], rows), model(rows), atol=1e-5)


def test_saved_model_with_a_lambda_is_converted_without_its_python_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _chain(layers.Lambda(lambda inputs: 2 * inputs), layers.Dense(2), shape=(3,))
    folder, rows = tmp_path / "lambda", np.eye(3, dtype=np.float32)
    with quiet():
        model.save(folder)
    with pytest.raises(NotRebuiltError, match=r"\(Lambda\) holds Python code, which is not run"):
        loading.load(folder)
    found = converting.convert(str(folder), {"": rows}, ("float32",), legacy=True)
    np.testing.assert_allclose(running.logits(found.contents["float32"], rows), model(rows), atol=1e-5)
    # by the graph that it holds: Keras, which would run the code, is not asked
    monkeypatch.setattr(converting, "load_model", lambda path: pytest.fail("Keras was asked"))
    assert len(converting._load(str(folder)).inputs) == 1


def test_subclassed_models_are_refused(tmp_path: Path) -> None:
    class Own(keras.Model):
        def call(self, inputs: Any) -> Any:
            return inputs

    model = Own()
    model(np.zeros((1, 3), np.float32))
    path = tmp_path / "own.keras"
    model.save(path)
    _refused(
        path,
        f"{path} is a subclassed model (Own), which only its own Python code can rebuild; "
        "rebuild it with the functional API (keras.Model(inputs, outputs)) and save that, or save it with "
        "model.export(folder)",
    )
    # a folder holds what it computes
    with quiet():
        model.save(tmp_path / "own")
    with pytest.raises(NotRebuiltError, match="is a subclassed model"):
        loading.load(tmp_path / "own")


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (tfmot.sparsity.keras.prune_low_magnitude, r"is pruned and still wrapped.*strip_pruning\(model\)"),
        (tfmot.quantization.keras.quantize_model, "quantization-aware training.*give the float model"),
    ],
)
def test_wrapped_models_are_refused_with_the_line_that_strips_them(
    wrap: Callable[[keras.Model], keras.Model], said: str, tmp_path: Path
) -> None:
    model = wrap(_chain(layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(2)))
    path = tmp_path / "wrapped.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras calls .h5 outdated
        model.save(path)
    with pytest.raises(UnsupportedModelError, match=said):
        loading.load(path)


def test_sequential_whose_config_is_a_list_is_read(tmp_path: Path) -> None:
    path, model = tmp_path / "old.h5", _chain(layers.Flatten(), layers.Dense(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras calls .h5 outdated
        model.save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"] = [
            layer for layer in config["config"]["layers"] if layer["class_name"] != "InputLayer"
        ]
        config["config"][0]["config"]["batch_input_shape"] = [None, 6, 6, 3]
        file.attrs["model_config"] = json.dumps(config)
    assert [node.kind for node in loading.load(path).nodes] == ["Flatten", "Dense"]


def test_several_inputs_are_refused(tmp_path: Path) -> None:
    ends = keras.Input((3,)), keras.Input((3,))
    path = tmp_path / "two.keras"
    keras.Model(ends, layers.Add()(ends)).save(path)
    _refused(
        path,
        "the model has 2 inputs; allowed is one: build keras.Model(image, scores) from its layers and "
        "save that",
    )


def test_output_that_is_an_image_is_refused(data: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "image.keras"
    _chain(layers.Conv2D(2, 3), shape=(12, 12, 3)).save(path)
    with pytest.raises(UnsupportedModelError, match="the model's output is 10 x 10 x 2 an image; allowed is"):
        fitting.fit_to(loading.load(path), data)


def test_images_and_classes_must_fit_the_model(saved: Path, data: Dataset) -> None:
    model = loading.load(saved / "residual_2.h5")
    grey = replace(data, **{f"x_{s}": getattr(data, f"x_{s}")[..., :1] for s in ("train", "val", "test")})
    message = (
        "the model takes images 12 x 12 x 3 and the data hold 12 x 12 x 1; "
        "allowed is the same shape, but for axes of 1; repeat the grey channel: x = numpy.stack("
        "[x.squeeze()] * 3, axis=-1)"
    )
    with pytest.raises(UnsupportedModelError, match=exactly(message)):
        fitting.fit_to(model, grey)
    with pytest.raises(UnsupportedModelError, match="the model gives 4 scores and the data have 5 classes"):
        fitting.fit_to(model, replace(data, classes=5))


def test_name_of_a_net_is_no_path_and_a_file_is() -> None:
    assert not keras_files.is_path("baseline")
    assert keras_files.is_path("my.keras")
    assert keras_files.is_path(f"some{os.sep}folder")
