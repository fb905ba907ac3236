import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.tools import flatbuffer_utils
from conftest import TINY_NET, Nets, exactly
from tflite_graphs import Made

from model_compression.data.answers import Task
from model_compression.files import comparing, conversion, grid, matching, running
from model_compression.files.graph import Tensor, read_graph
from model_compression.files.guard import RULES, CorruptFileError, check_file
from model_compression.files.slimming import slim
from model_compression.nets import keras2, named, training
from model_compression.nets.layers import kernel_layers
from model_compression.quiet import quiet
from model_compression.techniques.base import Kept
from model_compression.techniques.quantization import QuantizeConfig

CONV, DENSE = 0, 1


def check(nets: Nets, name: str, content: bytes, rule: str, **promised: dict[str, int]) -> None:
    promise = RULES[rule], Kept(**promised)
    check_file(content, nets.untrained(seed=9), *promise, images=nets.validation, trained=nets[name])


def edited(content: bytes, index: int, change: Callable[[Any, Any], None]) -> bytes:
    """The file with `change` made to a tensor and its buffer."""
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    tensor = model.subgraphs[0].tensors[index]
    change(tensor, model.buffers[tensor.buffer])
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def kernel_index(content: bytes, layer: int) -> int:
    return read_graph(content).kernels()[layer][0].index


def name_of(content: bytes, layer: int) -> str:
    return read_graph(content).kernels()[layer][0].name


def stored(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any, Any], None]:
    """A change of the numbers of an int8 tensor, in its shape."""

    def apply(tensor: Any, buffer: Any) -> None:
        values = np.asarray(buffer.data, np.uint8).view(np.int8).reshape(tensor.shape)
        buffer.data = np.ascontiguousarray(change(values)).astype(np.int8).view(np.uint8).ravel()

    return apply


def quantization(**fields: Callable[[np.ndarray], Any]) -> Callable[[Any, Any], None]:
    def apply(tensor: Any, buffer: Any) -> None:
        for field, change in fields.items():
            setattr(tensor.quantization, field, change(np.asarray(getattr(tensor.quantization, field))))

    return apply


# Good files pass


# an .h5 has no graph; a packed_int4 wants kernels on a 4-bit grid, see test_grid.py
@pytest.mark.parametrize("form", [form for form in conversion.FORMS if form not in ("h5", "packed_int4")])
def test_good_file_of_each_form_passes(nets: Nets, form: str) -> None:
    check(nets, "baseline", nets.file("baseline", form), form)


@pytest.mark.parametrize(("name", "rule"), [("qat", "int8"), ("qat4", "int4_qat"), ("pqat", "int8")])
def test_good_file_of_a_qat_net_passes(nets: Nets, name: str, rule: str) -> None:
    check(nets, name, nets.file(name, "int8"), rule)


def test_file_of_a_qat_net_that_cuts_off_passes(nets: Nets) -> None:
    """What it has learned cuts off most of what a float net would compute with its constants."""
    config, parent = QuantizeConfig(), nets["baseline"]
    with quiet():
        net = config.wrap(parent, steps=1, seed=0)
        config.start(net, nets.images[:128])
        most = next(weight for weight in net.weights if "activation_max" in weight.name)
        most.assign(0.05 * most)
        form = conversion.ExportConfig(form="int8")
        content = conversion.export(config.strip(net), form, representative=None)
    check_file(content, parent, RULES["int8"], Kept(), images=nets.validation, trained=net)
    labels = running.predict(content, nets.validation)
    others = training.outputs(parent, nets.validation).argmax(axis=1)
    assert np.mean(labels == others) < RULES["int8"].agreement


@pytest.mark.parametrize("form", ["float32", "int8", "packed_int8"])
def test_bias_that_the_converter_takes_into_the_next_one_is_looked_for_there(form: str) -> None:
    dense, generator = keras2.keras.layers.Dense, np.random.default_rng(0)
    net = keras2.keras.Sequential([keras2.keras.Input((20,)), dense(6), dense(5), dense(4)])
    for layer in net.layers:
        layer.set_weights([generator.normal(size=each.shape) for each in layer.get_weights()])
    images = generator.normal(size=(300, 20)).astype(np.float32)
    content = conversion.export(net, conversion.ExportConfig(form=form), representative=images)
    stored_biases = [read_graph(content).bias(each) for _, each in read_graph(content).kernels()]
    assert None in stored_biases
    promise = RULES[form], Kept()
    check_file(content, net, *promise, images=images, trained=net)
    last = next(bias for bias in reversed(stored_biases) if bias is not None)
    bad = edited(content, last.index, lambda tensor, buffer: buffer.data.__setitem__(slice(None), 0))
    with pytest.raises(CorruptFileError, match="bias"):
        check_file(bad, net, *promise, images=images, trained=net)


def test_good_file_with_every_promise_passes(nets: Nets) -> None:
    layers = kernel_layers(nets["pruned"])
    zeros = {layers[CONV].name: 9, layers[DENSE].name: 5408}
    check(nets, "pruned", nets.file("pruned", "int8"), "int8", zeros=zeros)
    unique = {layer.name: 8 for layer in layers}
    check(nets, "clustered", nets.file("clustered", "int8"), "int8", unique_values=unique)


def test_slim_file_passes(nets: Nets) -> None:
    check(nets, "baseline", slim(nets.file("baseline", "int8")).content, "int8")


@pytest.mark.parametrize("seed", range(5))
def test_few_weights_stored_times_a_factor_lie_within_half_a_step(seed: int) -> None:
    kernel = np.zeros((4, 3, 3, 1), np.float32)
    kernel.ravel()[:5] = np.random.default_rng(seed).normal(size=5)
    integers = np.round(kernel * 127 / np.abs(kernel).max()).astype(np.int8)
    tensor = Tensor(
        index=0, name="kernel", dtype="int8", bits=8, shape=kernel.shape, values=integers,
        scale=np.ones(1, np.float32), zero_point=np.zeros(1, np.int64), axis=0,
    )  # fmt: skip
    factor = grid.factor_of(tensor, kernel)
    assert np.abs(integers - factor * kernel).max() <= grid.ROUNDING


def test_every_form_has_a_rule() -> None:
    assert set(conversion.FORMS) - {"h5"} <= set(RULES)


def test_bias_of_zeros_that_the_converter_leaves_out_is_no_fault(nets: Nets) -> None:
    net = nets.untrained()
    content = conversion.export(net, conversion.ExportConfig(form="float32"), representative=None)
    assert read_graph(content).kernels()[DENSE][1].inputs[2] == -1
    promise = RULES["float32"], Kept()
    check_file(content, nets.untrained(seed=9), *promise, images=nets.validation, trained=net)


# Planted corruption is found, and named


@pytest.mark.parametrize("layer", [CONV, DENSE])
@pytest.mark.parametrize("change", [np.negative, np.flip], ids=["sign", "order"])
def test_flipped_kernel_is_named(nets: Nets, layer: int, change: Callable[[np.ndarray], np.ndarray]) -> None:
    good = nets.file("baseline", "int8")
    bad = edited(good, kernel_index(good, layer), stored(change))
    found = f"^tensor '{name_of(good, layer)}' lies .* from the trained kernel; most for 8 bits: 0.08$"
    with pytest.raises(CorruptFileError, match=found):
        check(nets, "baseline", bad, "int8")


def test_single_changed_weight_is_named(nets: Nets) -> None:
    def nudge(values: np.ndarray) -> np.ndarray:
        changed = values.copy()
        changed[3, 100] += 1 if changed[3, 100] < 100 else -1
        return changed

    good = nets.file("baseline", "int8")
    bad = edited(good, kernel_index(good, DENSE), stored(nudge))
    found = f"^tensor '{name_of(good, DENSE)}' lies up to [01].* quantization steps from the trained kernel"
    with pytest.raises(CorruptFileError, match=found):
        check(nets, "baseline", bad, "int8")


def test_permuted_outputs_are_named(nets: Nets) -> None:
    good = nets.file("baseline", "int8")
    bad = edited(good, kernel_index(good, DENSE), stored(lambda values: np.roll(values, 1, axis=0)))
    with pytest.raises(CorruptFileError, match=f"^tensor '{name_of(good, DENSE)}' lies"):
        check(nets, "baseline", bad, "int8")


def test_swapped_scales_are_named(nets: Nets) -> None:
    good = nets.file("baseline", "int8")
    scales = read_graph(good).kernels()[CONV][0].scale
    low, high = int(np.argmin(scales)), int(np.argmax(scales))
    assert scales[high] > 1.05 * scales[low]

    def swap(scale: np.ndarray) -> np.ndarray:
        swapped = scale.copy()
        swapped[[low, high]] = scale[[high, low]]
        return swapped

    bad = edited(good, kernel_index(good, CONV), quantization(scale=swap))
    with pytest.raises(CorruptFileError, match=f"^tensor '{name_of(good, CONV)}' lies"):
        check(nets, "baseline", bad, "int8")


def test_scale_that_is_no_number_is_named(nets: Nets) -> None:
    good = nets.file("baseline", "int8")
    bad = edited(good, kernel_index(good, DENSE), quantization(scale=lambda scale: scale * np.nan))
    with pytest.raises(CorruptFileError, match=f"^tensor '{name_of(good, DENSE)}' lies nan"):
        check(nets, "baseline", bad, "int8")


def test_changed_zero_point_of_a_kernel_is_named(nets: Nets) -> None:
    good = nets.file("baseline", "int8")
    bad = edited(good, kernel_index(good, DENSE), quantization(zeroPoint=lambda zero: zero + 20))
    with pytest.raises(CorruptFileError, match=f"^tensor '{name_of(good, DENSE)}' lies"):
        check(nets, "baseline", bad, "int8")


@pytest.mark.parametrize("layer", [CONV, DENSE])
@pytest.mark.parametrize("form", ["float32", "int8"])
def test_changed_bias_is_named(nets: Nets, layer: int, form: str) -> None:
    good = nets.file("baseline", form)
    graph = read_graph(good)
    bias = graph.tensors[graph.kernels()[layer][1].inputs[2]]

    def change(tensor: Any, buffer: Any) -> None:
        values = np.asarray(buffer.data, np.uint8).view("<f4" if form == "float32" else "<i4").copy()
        values[0] += 1 if form == "float32" else round(1 / bias.scale[0])
        buffer.data = values.view(np.uint8)

    message = f"tensor '{bias.name}' lies up to 1 from the trained bias; most: "
    with pytest.raises(CorruptFileError) as caught:
        check(nets, "baseline", edited(good, bias.index, change), form)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_layer_that_is_called_twice_is_one_layer(form: str) -> None:
    keras = keras2.keras
    keras.utils.set_random_seed(3)
    image = keras.Input((6, 6, 2))
    tied = keras.layers.Conv2D(2, 3, padding="same", bias_initializer="ones")
    first = tied(image)
    end = keras.layers.Dense(3)(keras.layers.Flatten()(keras.layers.Add()([first, tied(first)])))
    model = keras.Model(image, end)
    images = np.random.default_rng(0).normal(size=(30, 6, 6, 2)).astype(np.float32)
    export = conversion.ExportConfig(form=form)
    content = conversion.export(model, export, representative=images)
    promise = RULES[form], Kept()
    check_file(content, model, *promise, images=images, trained=model)
    assert len(matching.match_kernels(read_graph(content), model)) == 2
    kernel = kernel_index(content, CONV)
    wrong = edited(content, kernel, lambda tensor, buffer: setattr(buffer, "data", np.roll(buffer.data, 4)))
    with pytest.raises(CorruptFileError):
        check_file(wrong, model, *promise, images=images, trained=model)


def test_bias_left_out_is_named(nets: Nets) -> None:
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(nets.file("baseline", "float32")))
    operator = next(each for each in model.subgraphs[0].operators if len(each.inputs) == 3)
    operator.inputs[2] = -1
    layer = kernel_layers(nets["baseline"])[CONV].name
    with pytest.raises(
        CorruptFileError, match=f"^the bias of {layer} is missing; the trained one is not zero$"
    ):
        check(nets, "baseline", bytes(flatbuffer_utils.convert_object_to_bytearray(model)), "float32")


def test_changed_scale_of_an_activation_is_found(nets: Nets) -> None:
    good = nets.file("baseline", "int8")
    graph = read_graph(good)
    output = graph.kernels()[CONV][1].outputs[0]
    bad = edited(good, output, quantization(scale=lambda scale: scale / 8))
    with pytest.raises((CorruptFileError, RuntimeError), match=r"its own constants|scale|prepare"):
        check(nets, "baseline", bad, "int8")


def test_changed_zero_point_of_the_input_is_found(nets: Nets) -> None:
    good = nets.file("baseline", "int8")
    graph = read_graph(good)
    # the input's own numbers stay, what the convolution takes them for does not
    taken = graph.kernels()[CONV][1].inputs[0]
    bad = edited(good, taken, quantization(zeroPoint=lambda zero: zero + 60))
    with pytest.raises((CorruptFileError, RuntimeError), match=r"its own constants|zero|prepare"):
        check(nets, "baseline", bad, "int8")


def test_lost_zero_is_named(nets: Nets) -> None:
    good = nets.file("pruned", "int8")
    first = np.flatnonzero(read_graph(good).kernels()[DENSE][0].values == 0)[0]

    def fill(values: np.ndarray) -> np.ndarray:
        filled = values.copy()
        filled.flat[first] = 1
        return filled

    zeros = int(np.sum(read_graph(good).kernels()[DENSE][0].values == 0))
    layer = kernel_layers(nets["pruned"])[DENSE].name
    bad = edited(good, kernel_index(good, DENSE), stored(fill))
    message = f"tensor '{name_of(good, DENSE)}' has {zeros - 1} zeros; promised: {zeros}"
    with pytest.raises(CorruptFileError, match=exactly(message)):
        check(nets, "pruned", bad, "int8", zeros={layer: zeros})


def test_zeros_lost_by_plain_qat_are_named(nets: Nets) -> None:
    layer = kernel_layers(nets["pruned"])[DENSE].name
    content = nets.file("plain qat of pruned", "int8")
    found = f"^tensor '{name_of(content, DENSE)}' has .* zeros; promised: 5408$"
    with pytest.raises(CorruptFileError, match=found):
        check(nets, "plain qat of pruned", content, "int8", zeros={layer: 5408})


def test_split_cluster_is_named(nets: Nets) -> None:
    good = nets.file("clustered", "int8")
    values = np.unique(read_graph(good).kernels()[DENSE][0].values)
    new = next(value for value in range(-127, 128) if value not in values)

    def split(stored_values: np.ndarray) -> np.ndarray:
        changed = stored_values.copy()
        changed.flat[0] = new
        return changed

    layer = kernel_layers(nets["clustered"])[DENSE].name
    bad = edited(good, kernel_index(good, DENSE), stored(split))
    message = (
        f"tensor '{name_of(good, DENSE)}' has {len(values) + 1} distinct values; promised: {len(values)}"
    )
    with pytest.raises(CorruptFileError, match=exactly(message)):
        check(nets, "clustered", bad, "int8", unique_values={layer: len(values)})


@pytest.mark.parametrize(("form", "dtype", "bits"), [("float32", "float32", 32), ("float16", "float16", 16)])
def test_unquantized_file_passed_as_int8_is_named(nets: Nets, form: str, dtype: str, bits: int) -> None:
    content = nets.file("baseline", form)
    message = f"tensor '{name_of(content, CONV)}' is {dtype}, {bits} bits; promised: [8]"
    with pytest.raises(CorruptFileError, match=exactly(message)):
        check(nets, "baseline", content, "int8")


def test_dynamic_range_passed_as_int8_is_named(nets: Nets) -> None:
    content = nets.file("baseline", "dynamic_range")
    message = f"tensor '{name_of(content, CONV)}' is float32, 32 bits; promised: [8]"
    with pytest.raises(CorruptFileError, match=exactly(message)):
        check(nets, "baseline", content, "int8")


def test_unquantized_file_passed_as_dynamic_range_is_named(nets: Nets) -> None:
    content = nets.file("baseline", "float32")
    message = f"tensor '{name_of(content, DENSE)}' has 32 bits; promised: 8"
    with pytest.raises(CorruptFileError, match=exactly(message)):
        check(nets, "baseline", content, "dynamic_range")


def test_float_ends_of_an_int8_file_are_named(nets: Nets) -> None:
    content = nets.file("baseline", "int16x8")  # kernels of 8 bits between float ends
    with pytest.raises(CorruptFileError, match=r"^tensor '.+' is float32; promised: integers throughout$"):
        check(nets, "baseline", content, "int8")


def test_form_of_dense_kernels_is_held_to_its_bits_in_the_largest_of_those() -> None:
    keras2.keras.utils.set_random_seed(0)
    layers = keras2.keras.layers
    parts = layers.Conv2D(32, 3, activation="relu"), layers.Flatten(), layers.Dense(2)
    net = keras2.keras.Sequential([layers.Input((6, 6, 4)), *parts])
    images = np.random.default_rng(0).normal(size=(60, 6, 6, 4)).astype(np.float32)
    content = conversion.export(net, conversion.ExportConfig(form="int4_mixed"), representative=images)
    assert [kernel.bits for kernel, _ in read_graph(content).kernels()] == [8, 4]
    given = {"images": images, "trained": net}
    check_file(content, net, RULES["int4_mixed"], Kept(), **given)
    with pytest.raises(CorruptFileError, match=r"has 8 bits; promised: 4$"):
        check_file(content, net, RULES["int4_dynamic"], Kept(), **given)


def test_eight_bits_passed_as_four_are_named(nets: Nets) -> None:
    content = nets.file("qat", "int8")
    message = f"tensor '{name_of(content, CONV)}' is int8, 8 bits; promised: [4]"
    with pytest.raises(CorruptFileError, match=exactly(message)):
        check(nets, "qat", content, "int4_qat")


@pytest.mark.parametrize("change", [np.negative, np.flip], ids=["sign", "order"])
def test_flipped_kernel_after_qat_is_found_by_the_trained_net(
    nets: Nets, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    """The file's own constants agree with it: only the net that it was made of knows better."""
    good = nets.file("qat", "int8")
    bad = edited(good, kernel_index(good, DENSE), stored(change))
    found = r"^the file agrees with the net it was made of on 0\.\d{4} of the images; least: 0\.96$"
    with pytest.raises(CorruptFileError, match=found):
        check(nets, "qat", bad, "int8")


@pytest.mark.parametrize("means", [[20], [20, 120]])
def test_values_are_compared_as_such(nets: Nets, means: list[int]) -> None:
    """All above 0, as prices are: as labels they would be alike, whatever the file computes."""
    net = named.build("small_d8", input_shape=(28, 28), classes=len(means), seed=0)
    kernel, _ = net.layers[-1].get_weights()
    # an integer output has one step for all
    net.layers[-1].set_weights([10 * kernel, np.array(means)])
    config, form = QuantizeConfig(), conversion.ExportConfig(form="int8")
    with quiet():
        trained = config.wrap(net, steps=1, seed=0)
        config.start(trained, nets.images[:500])
        content = conversion.export(config.strip(trained), form, representative=None)
    wrong = edited(content, kernel_index(content, 0), stored(np.flip))
    assert min(running.logits(each, nets.validation).min() for each in (content, wrong)) > 0
    promise, given = (RULES["int8"], Kept()), {"images": nets.validation, "trained": trained}
    check_file(content, net, *promise, task="values", **given)
    found = r"^the values lie \d(\.\d+)? of their spread from the net it was made of; most: 0\.7$"
    with pytest.raises(CorruptFileError, match=found):
        check_file(wrong, net, *promise, task="values", **given)


@pytest.mark.parametrize("limit", [-(2**31), 2**31 - 1])
def test_clipped_bias_is_named(nets: Nets, limit: int) -> None:
    """What becomes of the bias of a filter that has no weights left, when its scale is next to 0."""
    good = nets.file("qat", "int8")
    _, operator = read_graph(good).kernels()[CONV]

    def clip(tensor: Any, buffer: Any) -> None:
        values = np.asarray(buffer.data, np.uint8).view(np.int32).copy()
        values[1] = limit
        buffer.data = values.view(np.uint8)

    bad = edited(good, operator.inputs[2], clip)
    name = read_graph(good).tensors[operator.inputs[2]].name
    message = f"tensor '{name}' has 1 biases clipped to int32's limits; most: 0"
    with pytest.raises(CorruptFileError, match=exactly(message)):
        check(nets, "qat", bad, "int8")


def test_disagreement_without_xnnpack_is_found(nets: Nets, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = running.logits

    def wrong_without(*given: Any, delegate: bool = True, **rest: Any) -> np.ndarray:
        return np.roll(logits(*given, delegate=delegate, **rest), 0 if delegate else 1, axis=1)

    monkeypatch.setattr(running, "logits", wrong_without)
    message = (
        r"^the file agrees with the interpreter without XNNPACK, which lies \d\.\d+ of the scores' spread "
        r"from the float net, the file 0\.\d+, on 0\.0000 of the images; least: 0\.96$"
    )
    with pytest.raises(CorruptFileError, match=message):
        check(nets, "baseline", nets.file("baseline", "int8"), "int8")


@pytest.mark.parametrize(
    ("task", "apart", "passes"),
    [("classes", 0.15, True), ("classes", 0.25, False), ("values", 0.15, True), ("values", 0.4, False)],
)
def test_interpreters_that_round_in_their_own_ways_may_differ(
    monkeypatch: pytest.MonkeyPatch, task: Task, apart: float, passes: bool
) -> None:
    """As those of a deep net do: each as near to the float net as a sound file is."""
    exact = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)

    class_by_class = np.float32(apart) * np.resize([1, -1], 5).astype(np.float32)

    def scores(*given: Any, delegate: bool = True, **rest: Any) -> np.ndarray:
        return exact + (class_by_class if delegate else -class_by_class)

    monkeypatch.setattr(running, "logits", scores)
    monkeypatch.setattr(running, "labels", lambda content, outputs, task: outputs.argmax(axis=1))
    with contextlib.nullcontext() if passes else pytest.raises(CorruptFileError, match="the float net"):
        comparing.check_delegate(comparing.Answers(content=b"", images=exact, task=task), lambda: exact)


@pytest.mark.parametrize("with_delegate", [True, False])
def test_file_is_asked_once_with_xnnpack_and_once_without(
    nets: Nets, monkeypatch: pytest.MonkeyPatch, with_delegate: bool
) -> None:
    """And that which was slimmed answers as it did, bit for bit."""
    content, asked, logits = nets.file("baseline", "int8"), list[bool](), running.logits

    def counted(*given: Any, delegate: bool = True, **rest: Any) -> np.ndarray:
        asked.append(delegate)
        found = logits(*given, delegate=delegate, **rest)
        if len(asked) > 2 and delegate == with_delegate:
            found[7, 0] = np.nextafter(found[7, 0], np.float32(9))
        return found

    monkeypatch.setattr(running, "logits", counted)
    promise = RULES["int8"], Kept()
    given = {"images": nets.validation, "trained": nets["baseline"]}
    answers = check_file(content, nets.untrained(seed=9), *promise, **given)
    assert sorted(asked) == [False, True]
    where = "with" if with_delegate else "without"
    message = f"the files differ on 1 of {len(nets.validation)} images {where} XNNPACK"
    with pytest.raises(CorruptFileError, match=exactly(message)):
        comparing.check_same(answers, content)


def test_file_that_takes_one_image_a_call_is_compared_so() -> None:
    """Without its reshape to 1 x 896 a slimmed file takes many, which it adds up in another order."""
    made = Made("float32", (1, 28, 32), seed=0)
    given = made.input, made.constant("int32", np.array([1, 896], np.int32))
    flat = made.operator("RESHAPE", given, made.like(made.input, (1, 896)), "ReshapeOptions")
    content = made.content(made.dense(flat, 10))
    images = np.random.default_rng(0).normal(size=(200, 28, 32)).astype(np.float32)
    answers, slimmed = comparing.Answers(content=content, images=images), slim(content).content
    assert (running.images_a_call(content), running.images_a_call(slimmed)) == (1, running.BATCH)
    assert (running.logits(slimmed, images, delegate=False) != answers.plain).any()
    comparing.check_same(answers, slimmed)


def test_file_of_another_net_is_refused(nets: Nets) -> None:
    promise = RULES["float32"], Kept()
    content = nets.file("baseline", "float32")

    def other(net: str) -> Any:
        return named.build(net, input_shape=(28, 28), classes=10, seed=0)

    for net, message in (
        ("lenet_300_100", "the file has 2 kernels, the net 3"),
        ("baseline_5", f"tensor '{name_of(content, CONV)}' has shape (4, 3, 3, 1); {{}} needs (5, 3, 3, 1)"),
    ):
        wrong = other(net)
        expected = message.format(kernel_layers(wrong)[0].name)
        with pytest.raises(CorruptFileError, match=exactly(expected)):
            check_file(content, wrong, *promise, images=nets.validation, trained=nets["baseline"])
    assert TINY_NET == "baseline_4"


def test_kernel_layouts_go_there_and_back() -> None:
    layers = keras2.keras.layers
    for layer, shape, in_file in (
        (layers.Conv2D(5, 3), (3, 3, 2, 5), (5, 3, 3, 2)),
        (layers.Dense(5), (7, 5), (5, 7)),
        (layers.DepthwiseConv2D(3), (3, 3, 6, 1), (1, 3, 3, 6)),
    ):
        kernel = np.arange(np.prod(shape)).reshape(shape)
        there = matching.to_file_layout(kernel, layer)
        assert there.shape == in_file
        np.testing.assert_array_equal(matching.to_keras_layout(there, layer, shape), kernel)
