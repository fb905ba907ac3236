"""The second way in: what cannot be rebuilt is converted as it is, and quantized after training."""

import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import exactly

from model_compression.data.datasets import Dataset
from model_compression.files import flatbuffer, running
from model_compression.files.slimming import slim

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TFMOT's, at its import
    from model_compression.files import conversion, quantizing
    from model_compression.nets.keras2 import keras, tf
    from model_compression.own_model import converted
    from model_compression.own_model.ends import named
    from model_compression.quiet import quiet
    from model_compression.saved_models.graphs import UnsupportedModelError
    from model_compression.study.outcomes import Outcome
    from model_compression.study.recipes import Recipe

layers = keras.layers
GENERATOR = np.random.default_rng(0)
ROWS = GENERATOR.normal(size=(60, 6, 4)).astype(np.float32)
LABELS = np.arange(60) % 3
DATA = Dataset(
    name="rows", x_train=ROWS, y_train=LABELS, x_val=ROWS, y_val=LABELS, x_test=ROWS, y_test=LABELS, classes=3
)  # fmt: skip


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A saved recurrent net and what it answers to `ROWS`."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6, 4)), layers.LSTM(40), layers.Dense(3, activation="softmax")])
    path = tmp_path_factory.mktemp("recurrent") / "own.keras"
    model.save(path)
    return path, np.asarray(model(ROWS))


def made(source: converted.Source, form: str, data: Dataset) -> Outcome:
    recipe = Recipe(name=form, net=__file__, steps=(), export=conversion.ExportConfig(form=form))
    return converted.outcome(source, recipe, data, seed=0, key="")


def _dense() -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((6, 4)), layers.Flatten(), layers.Dense(40), layers.Dense(3)])


def test_recurrent_net_leaves_quantized_and_agrees_with_the_model(
    recurrent: tuple[Path, np.ndarray],
) -> None:
    path, answers = recurrent
    source = converted.source(path, DATA, "it is recurrent")
    assert source.notes[0].endswith("the methods that train are out of reach: it is recurrent")
    assert any("reset_all_variables()" in note for note in source.notes)
    fed = source.fed(DATA)
    exact = made(source, "float32", fed)
    np.testing.assert_allclose(running.logits(exact.content, ROWS), answers, atol=1e-5)
    small = made(source, "int8", fed)
    assert small.record.file_bytes < 0.7 * exact.record.file_bytes
    np.testing.assert_allclose(running.logits(small.content, ROWS), answers, atol=0.02)


def test_float_tflite_file_gets_every_form(tmp_path: Path) -> None:
    model = _dense()
    content = conversion.export(model, conversion.ExportConfig(form="float32"), representative=None)
    path = tmp_path / "own.tflite"
    path.write_bytes(content)
    source = converted.source(path, DATA)
    assert source.notes[0].startswith("a .tflite file holds no layers to train")
    answers, sizes = np.asarray(model(ROWS)), {}
    for form in ("float32", "mixed_bits", *(form for form in quantizing.FORMS if form in conversion.FORMS)):
        outcome = made(source, form, DATA)
        apart = running.logits(outcome.content, ROWS) - answers
        sizes[form] = outcome.record.file_bytes
        # 4 bits: half a step of the largest weight a kernel
        most = 0.3 if form.startswith(("int4", "mixed")) else 0.05
        assert np.sqrt(np.mean(apart**2)) < most * np.std(answers), form
    assert sizes["int4_dynamic"] < sizes["dynamic_range"] < sizes["float32"]
    # the biases are 0, and left out
    assert converted.parameters(content) == 24 * 40 + 40 * 3


def _file(model: keras.Model, path: Path) -> Path:
    """A float .tflite file for one input a call."""
    function = tf.function(lambda given: model(given, training=False), autograph=False)
    ends = tf.TensorSpec((1, *model.input_shape[1:]), model.input.dtype)
    with quiet():
        concrete = function.get_concrete_function(ends)
        path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete], model).convert())
    return path


def test_file_with_names_and_without_a_signature_is_calibrated_too(tmp_path: Path) -> None:
    """As Keras 3 writes one of several inputs."""
    root = flatbuffer.read(_file(_dense(), tmp_path / "own.tflite").read_bytes())
    root.signatureDefs = []
    small = quantizing.quantize(flatbuffer.write(root, shared=False), "int8", ROWS, one_image=True)
    assert running.io_details(small).input_dtype == "int8"


def test_tokens_stay_whole_numbers_from_0(tmp_path: Path) -> None:
    """Others would ask the table for a row that it does not have."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((5,)), layers.Embedding(30, 8), layers.Flatten(), layers.Dense(3, activation="softmax")]
    )
    words = GENERATOR.integers(0, 30, (60, 5)).astype(np.float32)
    data = replace(DATA, x_train=words, x_val=words, x_test=words)
    source = converted.source(_file(model, tmp_path / "own.tflite"), data)
    assert (source.range.multiplier, source.range.offset) == (1.0, 0.0)
    small = made(source, "dynamic_range", data)
    np.testing.assert_allclose(running.logits(small.content, words), model(words), atol=0.02)
    with pytest.raises(ValueError, match="takes whole numbers"):
        made(source, "int8", data)
    beyond = replace(data, x_val=words + 1)
    with pytest.raises(UnsupportedModelError, match="the model cannot take all of the inputs"):
        converted.source(tmp_path / "own.tflite", beyond)


def test_loop_of_a_recurrent_layer_is_quantized_by_its_weights(tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    stack = [layers.GRU(16, return_sequences=True), layers.GRU(8)]
    model = keras.Sequential([keras.Input((6, 4)), *stack, layers.Dense(3)])
    source = converted.source(_file(model, tmp_path / "own.tflite"), DATA)
    small = made(source, "dynamic_range", DATA)
    np.testing.assert_allclose(running.logits(small.content, ROWS), model(ROWS), atol=0.02)
    with pytest.raises(ValueError, match="a recurrent layer is a loop in the file"):
        made(source, "int8", DATA)
    # kernels within the loop count too: of the inputs and of the state, for three gates each
    kernels = 48 * (4 + 16) + 24 * (16 + 8) + 3 * 8
    assert small.record.weights == kernels < converted.parameters(source.content)


def test_probabilities_of_some_classes_are_probabilities(tmp_path: Path) -> None:
    """What leaves scores out of a model, as a refusal of too many says."""
    net = keras.Sequential([keras.Input((6, 4)), layers.Flatten(), layers.Dense(4, activation="softmax")])
    source = converted.source(_file(keras.Model(net.input, net.output[:, :3]), tmp_path / "own.tflite"), DATA)
    assert source.outputs[0].ending == "softmax"


def test_flash_of_a_net_that_keeps_its_state_is_counted(tmp_path: Path) -> None:
    """The operator that keeps it gives nothing."""
    model = keras.Sequential([keras.Input((6, 4), batch_size=1), layers.GRU(4, stateful=True)])
    assert quantizing.graph_bytes(_file(model, tmp_path / "own.tflite").read_bytes()) > 1000


def test_file_with_tensorflow_s_operators_is_refused_by_their_names(tmp_path: Path) -> None:
    function = tf.function(lambda x: tf.abs(tf.signal.fft2d(tf.cast(x, tf.complex64))), autograph=False)
    with quiet():
        concrete = function.get_concrete_function(tf.TensorSpec((1, 6, 4)))
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], function)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
        (tmp_path / "own.tflite").write_bytes(converter.convert())
    with pytest.raises(UnsupportedModelError, match=r"LiteRT cannot run .*own\.tflite \(FlexFFT2D\)"):
        converted.source(tmp_path / "own.tflite", DATA)


class Loaded:
    """An interpreter of a file with two inputs."""

    def __init__(self, names: list[str], signature: dict[str, int]) -> None:
        self.names, self.signature = names, signature

    def get_signature_list(self) -> dict[str, Any]:
        return {"serving_default": {}} if self.signature else {}

    def get_signature_runner(self) -> Any:
        return SimpleNamespace(
            get_input_details=lambda: {name: {"index": index} for name, index in self.signature.items()}
        )

    def get_input_details(self) -> list[dict[str, Any]]:
        return [{"name": name, "index": 7 + place} for place, name in enumerate(self.names)]


@pytest.mark.parametrize(
    ("tensors", "signature", "names"),
    [
        (["serving_default_b:0", "serving_default_a:0"], {}, ("b", "a")),
        (["x:0", "x:1"], {"a": 8, "b": 7}, ("b", "a")),
        # a signature with other names does not hide those of the tensors
        (["b", "a"], {"args_0": 7, "args_1": 8}, ("b", "a")),
    ],
)
def test_inputs_are_told_by_their_names_where_the_file_has_them(
    tensors: list[str], signature: dict[str, int], names: tuple[str, str]
) -> None:
    data = _ends(inputs={"a": ROWS, "b": ROWS}, outputs={})
    assert named(Loaded(tensors, signature), "inputs", data) == (names, "")


def test_names_that_are_guessed_are_said() -> None:
    found, warning = named(
        Loaded(["", "args_0"], {}), "inputs", _ends(inputs={"a": ROWS, "b": ROWS}, outputs={})
    )
    assert (found, warning.split(":")[0]) == (("a", "b"), "the file names its inputs otherwise than the data")


def test_outputs_that_coincide_for_the_first_image_are_told_apart_by_the_others(tmp_path: Path) -> None:
    keras.utils.set_random_seed(2)
    image = keras.Input((6, 4))
    flat = layers.Flatten()(image)
    heads = [layers.Dense(1, activation="relu", name=name)(flat) for name in ("zeta", "alpha")]
    model = keras.Model(image, heads)
    model.save(tmp_path / "two.keras")
    answers = {name: np.asarray(each) for name, each in zip(("zeta", "alpha"), model(ROWS), strict=True)}
    # both are cut off at first
    order = np.argsort(np.maximum(*answers.values()).ravel(), kind="stable")
    assert all(answers[name][order[0]] == 0 for name in answers)
    rows = {f"x_{split}": ROWS[order] for split in ("train", "val", "test")}
    data = replace(DATA, **rows)
    outputs = {
        name: replace(
            data, task="values", classes=1, **dict.fromkeys(("y_train", "y_val", "y_test"), each[order])
        )
        for name, each in answers.items()
    }
    source = converted.source(tmp_path / "two.keras", replace(data, outputs=outputs), "it has two outputs")
    given = running.logits(source.content, ROWS)
    for output in source.outputs:
        np.testing.assert_allclose(given[:, output.columns], answers[output.name], atol=1e-5)


def test_tokens_of_a_byte_are_no_pixels(tmp_path: Path) -> None:
    """Tried as pixels from -1 to 1 they would ask the table for a row before its first."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((5,)), layers.Embedding(30, 8), layers.Flatten(), layers.Dense(3)])
    words = GENERATOR.integers(0, 30, (60, 5)).astype(np.uint8)
    source = converted.source(
        _file(model, tmp_path / "own.tflite"), replace(DATA, x_train=words, x_val=words, x_test=words)
    )
    assert (source.range.multiplier, source.range.offset) == (255.0, 0.0)
    assert not any("pixels" in note for note in source.notes)


def test_converter_s_own_integer_file_of_tokens_is_left_out(tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((5,)), layers.Embedding(30, 8), layers.Flatten(), layers.Dense(3)])
    model.save(tmp_path / "own.keras")
    words = GENERATOR.integers(0, 30, (60, 5)).astype(np.float32)
    data = replace(DATA, x_train=words, x_val=words, x_test=words)
    source = converted.source(tmp_path / "own.keras", data, "it has an embedding")
    assert "int8" not in source.ready
    with pytest.raises(ValueError, match="takes whole numbers"):
        made(source, "int8", data)


def test_pixels_among_several_inputs_stay_pixels(tmp_path: Path) -> None:
    keras.utils.set_random_seed(2)
    image, row = keras.Input((4, 4), name="image"), keras.Input((3,), name="row")
    pixels = layers.Flatten()(layers.Rescaling(1 / 255)(image))
    model = keras.Model([image, row], layers.Dense(3)(layers.Concatenate()([pixels, row])))
    # without names, and without the signature that the quantizer asks for
    with quiet():
        content = slim(tf.lite.TFLiteConverter.from_keras_model(model).convert()).content
    (tmp_path / "own.tflite").write_bytes(content)
    x, few = GENERATOR.integers(0, 256, (60, 4, 4)).astype(np.uint8), ROWS[:, 0, :3]
    answers = np.asarray(model([x.astype(np.float32), few]))
    labels = {f"y_{split}": answers.argmax(axis=1) for split in ("train", "val", "test")}
    data = replace(_ends(inputs={"image": x, "row": few}, outputs={}), **labels)
    source = converted.source(tmp_path / "own.tflite", data)
    fed = source.fed(data)
    np.testing.assert_allclose(fed.x_val, np.concatenate([x.reshape(60, 16), few], axis=1), rtol=1e-6)
    small = made(source, "dynamic_range", fed)
    np.testing.assert_allclose(running.logits(small.content, fed.x_val), answers, atol=0.1)


def test_quantized_tflite_file_is_refused(tmp_path: Path) -> None:
    with quiet():
        content = conversion.export(_dense(), conversion.ExportConfig(form="int8"), representative=ROWS)
    path = tmp_path / "own.tflite"
    path.write_bytes(content)
    message = f"{path} is quantized already (int8); give the float model it was made from"
    with pytest.raises(UnsupportedModelError, match=exactly(message)):
        converted.source(path, DATA)


def test_other_classes_and_images_are_refused(tmp_path: Path) -> None:
    content = conversion.export(_dense(), conversion.ExportConfig(form="float32"), representative=None)
    path = tmp_path / "own.tflite"
    path.write_bytes(content)
    short = np.ascontiguousarray(ROWS[:, :5])
    other = Dataset(
        name="short", x_train=short, y_train=LABELS, x_val=short, y_val=LABELS, x_test=short, y_test=LABELS,
        classes=3,
    )  # fmt: skip
    with pytest.raises(UnsupportedModelError, match="the model takes images 6 x 4 and the data hold 5 x 4"):
        converted.source(path, other)


def _ends(*, inputs: dict[str, np.ndarray], outputs: dict[str, Dataset]) -> Dataset:
    """The rows as several inputs, or with several answers."""
    named = {name: replace(DATA, x_train=array, x_val=array, x_test=array) for name, array in inputs.items()}
    return replace(DATA, inputs=named, outputs=outputs)


def test_two_inputs_leave_with_an_integer_file_that_agrees_with_the_model(tmp_path: Path) -> None:
    keras.utils.set_random_seed(2)
    wide, narrow = keras.Input((6, 4), name="wide"), keras.Input((3,), name="narrow")
    both = layers.Concatenate()([layers.Flatten()(wide), layers.Dense(5, activation="relu")(narrow)])
    model = keras.Model([wide, narrow], layers.Dense(3, activation="softmax")(both))
    path = tmp_path / "two.keras"
    model.save(path)
    few = GENERATOR.normal(size=(60, 3)).astype(np.float32)
    # in another order than the model's
    data = _ends(inputs={"narrow": few, "wide": ROWS}, outputs={})
    source = converted.source(path, data, "it has two inputs")
    fed = source.fed(data)
    rows = {"wide": ROWS.reshape(60, 24), "narrow": few}
    expected = np.concatenate([rows[name] for name in source.inputs], axis=1)
    np.testing.assert_array_equal(fed.x_val, expected)
    assert f"the files' inputs are, in this order: {', '.join(source.inputs)}" in source.notes
    answers = np.asarray(model([ROWS, few]))
    for form, most in (("float32", 1e-5), ("int8", 0.05)):
        content = made(source, form, fed).content
        np.testing.assert_allclose(running.logits(content, fed.x_val), answers, atol=most)
    message = (
        "the model has 2 inputs: allowed are arrays named x_train_wide, x_train_narrow, and so for x_test"
    )
    with pytest.raises(UnsupportedModelError, match=message):
        converted.source(path, DATA, "it has two inputs")


def test_two_outputs_are_asked_for_what_each_is_and_scored_together(tmp_path: Path) -> None:
    keras.utils.set_random_seed(2)
    image = keras.Input((6, 4))
    flat = layers.Flatten()(image)
    size, kind = layers.Dense(1, name="size")(flat), layers.Dense(3, activation="softmax", name="kind")(flat)
    model = keras.Model(image, [size, kind])
    path = tmp_path / "two.keras"
    model.save(path)
    sizes, kinds = (np.asarray(each) for each in model(ROWS))
    of_kind = replace(DATA, **{f"y_{split}": kinds.argmax(axis=1) for split in ("train", "val", "test")})
    values = replace(DATA, task="values", classes=1, y_train=sizes, y_val=sizes, y_test=sizes)
    data = _ends(inputs={}, outputs={"kind": of_kind, "size": values})
    source = converted.source(path, data, "it has two outputs")
    fed = source.fed(data)
    exact = made(source, "float32", fed)
    given, answers = running.logits(exact.content, ROWS), {"size": sizes, "kind": kinds}
    assert (
        f"the files' outputs are, in this order: {', '.join(o.name for o in source.outputs)}" in source.notes
    )
    for output in source.outputs:
        np.testing.assert_allclose(given[:, output.columns], answers[output.name], atol=1e-5)
    assert exact.record.accuracy == pytest.approx(1, abs=1e-6)
    small = made(source, "int8", fed)
    assert 0.9 < small.record.accuracy < 1
    message = "the model has 2 outputs: allowed are arrays named y_train_"
    with pytest.raises(UnsupportedModelError, match=message):
        converted.source(path, DATA, "it has two outputs")
