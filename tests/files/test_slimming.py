"""The same outputs, bit for bit, in fewer bytes: planted channels, shared parts, idle operators."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from conftest import exactly
from hypothesis import given, settings
from hypothesis import strategies as st
from tflite_graphs import EXACT, FORMS, NONE, RELU, SAME, VALID, Made, wordy

from model_compression.files import flatbuffer, sameness
from model_compression.files.graph import Graph, Operator, read_graph, read_model
from model_compression.files.ranges import Ranges
from model_compression.files.slimming import Slimmed, slim
from model_compression.files.writing import write_model
from model_compression.runtimes.tflm import MAX_ARENA_BYTES, Tflm


def same(content: bytes, other: bytes, *, inputs: int = 10) -> None:
    """On LiteRT with and without XNNPACK; each place has to have been compared."""
    lines = sameness.compared(content, other, sameness.drawn(content, inputs, seed=1))
    assert [line for line in lines if line.differing or line.reason] == []


def names(content: bytes) -> list[str]:
    return [operator.name for operator in read_graph(content).operators]


def widths(content: bytes, name: str) -> list[int]:
    """Outputs of each operator of a name."""
    graph = read_graph(content)
    return [graph.tensors[op.outputs[0]].shape[-1] for op in graph.operators if op.name == name]


# Channels


@pytest.mark.parametrize("form", EXACT)
@pytest.mark.parametrize("padding", [SAME, VALID])
def test_dead_channel_goes_with_what_reads_it(form: str, padding: int) -> None:
    made = Made(form, (1, 6, 6, 2), seed=0)
    hidden = made.conv(made.input, 6, dead=[1, 4])
    content = made.content(made.conv(hidden, 3, padding=padding, activation=NONE))
    slimmed = slim(content)
    same(content, slimmed.content)
    assert widths(slimmed.content, "CONV_2D") == [4, 3]
    assert slimmed.savings["constant channels"] > 0


def test_zeros_of_floats_stay_and_are_told() -> None:
    made = Made("float32", (1, 6, 6, 2), seed=0)
    content = made.content(made.conv(made.conv(made.input, 6, dead=[1, 4]), 3))
    slimmed = slim(content)
    same(content, slimmed.content)
    assert widths(slimmed.content, "CONV_2D") == [6, 3]
    assert slimmed.notes == ("2 channels of 0 stay: sums of floats depend on their order",)


@pytest.mark.parametrize("form", ["int8", "int16x8", "int4"])
def test_constant_goes_into_the_next_bias_where_nothing_is_padded(form: str) -> None:
    made = Made(form, (1, 6, 6, 2), seed=0)
    hidden = made.conv(made.input, 6, constant=[0, 5])
    content = made.content(made.conv(hidden, 3, padding=VALID, activation=NONE))
    slimmed = slim(content)
    same(content, slimmed.content)
    assert widths(slimmed.content, "CONV_2D") == [4, 3]
    before, after = (read_graph(each).kernels()[1][1].inputs[2] for each in (content, slimmed.content))
    assert not np.array_equal(
        read_graph(content).tensors[before].values, read_graph(slimmed.content).tensors[after].values
    )


def test_constant_that_is_not_zero_stays_at_a_padded_border_and_is_told() -> None:
    made = Made("int8", (1, 6, 6, 2), seed=0)
    content = made.content(made.conv(made.conv(made.input, 6, constant=[0, 5]), 3, padding=SAME))
    slimmed = slim(content)
    same(content, slimmed.content)
    assert widths(slimmed.content, "CONV_2D") == [6, 3]
    assert slimmed.notes == ("2 constant channels stay: borders or other readers need them",)


@pytest.mark.parametrize("form", ["int8", "int16x8"])
def test_depthwise_filter_goes_with_its_channel(form: str) -> None:
    made = Made(form, (1, 6, 6, 2), seed=0)
    hidden = made.depthwise(made.conv(made.input, 6, dead=[1, 4]), falling=[1, 4])
    content = made.content(made.conv(hidden, 3, size=1, activation=NONE))
    slim_content = slim(content).content
    same(content, slim_content)
    assert widths(slim_content, "DEPTHWISE_CONV_2D") == [4]


def test_unread_channel_goes_whatever_it_says() -> None:
    made = Made("int8", (1, 6, 6, 2), seed=0)
    hidden = made.conv(made.input, 6)
    output = made.conv(hidden, 3, activation=NONE)
    kernel = made.operators[-1].inputs[1]
    values = made.tensors[kernel].numbers.copy()
    values[..., 2] = 0
    made.tensors[kernel] = made.tensors[kernel].holding(values)
    content = made.content(output)
    same(content, slim(content).content)
    assert widths(slim(content).content, "CONV_2D") == [5, 3]


def test_filter_that_reads_constants_only_is_constant_too() -> None:
    made = Made("int8", (1, 6, 6, 2), seed=0)
    first = made.conv(made.input, 4, dead=[0, 1])
    second = made.conv(first, 5, dead=[3])
    kernel, bias = made.operators[-1].inputs[1:]
    values = made.tensors[kernel].numbers.copy()
    values[2, ..., 2:] = 0
    values[2, ..., :2] = 9
    made.tensors[kernel] = made.tensors[kernel].holding(values)
    biases = made.tensors[bias].numbers.copy()
    biases[2] = -5
    made.tensors[bias] = made.tensors[bias].holding(biases)
    content = made.content(made.conv(second, 3, activation=NONE))
    same(content, slim(content).content)
    assert widths(slim(content).content, "CONV_2D") == [2, 3, 3]


@pytest.mark.parametrize("form", ["int8", "int16x8", "int4"])
@pytest.mark.parametrize(("bias", "left"), [(-2.0, 5), (0.0, 6)])
def test_channel_that_its_activation_always_cuts_off_goes_whatever_it_reads(
    form: str, bias: float, left: int
) -> None:
    made = Made(form, (1, 6, 6, 2), seed=0)
    hidden = made.conv(made.input, 6)
    kernel, place = (made.tensors[index] for index in made.operators[-1].inputs[1:])
    biases = place.numbers.copy()
    # all weights times the whole range of what they read
    biases[2] = bias * np.abs(kernel.numbers[2].astype(int)).sum() * (65536 if form == "int16x8" else 256)
    made.tensors[place.index] = place.holding(biases)
    content = made.content(made.conv(hidden, 3, activation=NONE))
    same(content, slim(content).content)
    assert widths(slim(content).content, "CONV_2D") == [left, 3]


@pytest.mark.parametrize("form", EXACT)
def test_flattened_channel_goes_with_all_its_places(form: str) -> None:
    made = Made(form, (1, 4, 4, 2), seed=0)
    hidden = made.pool(made.conv(made.input, 6, dead=[0, 2]))
    content = made.content(made.dense(made.flatten(hidden), 3))
    slim_content = slim(content).content
    same(content, slim_content)
    assert read_graph(slim_content).kernels()[1][0].shape == (3, 2 * 2 * 4)


@pytest.mark.parametrize("form", ["int8", "int16x8", "hybrid"])
def test_sum_loses_a_channel_that_both_sides_lose(form: str) -> None:
    made = Made(form, (1, 5, 5, 2), seed=0)
    one, other = made.conv(made.input, 6, dead=[1, 2]), made.conv(made.input, 6, dead=[2, 3])
    content = made.content(made.conv(made.add(one, other), 3, activation=NONE))
    slim_content = slim(content).content
    same(content, slim_content)
    assert widths(slim_content, "ADD") == [5]


def test_concatenation_loses_the_channels_of_each_side() -> None:
    made = Made("int8", (1, 5, 5, 2), seed=0)
    one, other = made.conv(made.input, 4, dead=[0]), made.conv(made.input, 3, dead=[1, 2])
    content = made.content(made.conv(made.concatenate(one, other), 3, activation=NONE))
    same(content, slim(content).content)
    assert widths(slim(content).content, "CONCATENATION") == [4]


def test_channels_of_an_output_stay() -> None:
    made = Made("int8", (1, 5, 5, 2), seed=0)
    hidden = made.conv(made.input, 4, dead=[0])
    content = made.content(hidden, made.conv(hidden, 3))
    same(content, slim(content).content)
    assert widths(slim(content).content, "CONV_2D") == [4, 3]


def test_one_channel_of_an_all_dead_layer_stays() -> None:
    made = Made("int8", (1, 5, 5, 2), seed=0)
    content = made.content(made.conv(made.conv(made.input, 3, dead=range(3)), 2, activation=NONE))
    same(content, slim(content).content)
    assert widths(slim(content).content, "CONV_2D") == [1, 2]


@pytest.mark.parametrize(
    ("wide", "dead", "left"),
    [
        (6, [0], 6),
        (6, [0, 1], 4),
        (5, [0], 5),
        (5, [0, 1], 5),
        (4, [0, 1], 4),
        (36, range(6), 32),
        (36, range(4, 10), 32),
    ],
)
def test_four_bit_kernels_keep_what_decides_who_runs_them(wide: int, dead: Sequence[int], left: int) -> None:
    """An even or an odd number of inputs, 32 of them or fewer, 4 outputs or fewer."""
    made = Made("hybrid4", (1, 8), seed=0)
    hidden = made.dense(made.input, wide, activation=1, dead=dead)
    content = made.content(made.dense(hidden, 3))
    same(content, slim(content).content)
    assert widths(slim(content).content, "FULLY_CONNECTED") == [left, 3]


def test_kernel_of_quantized_floats_with_a_scale_for_each_output_keeps_two() -> None:
    for form, left in (("hybrid", 2), ("int8", 1)):
        made = Made(form, (1, 5, 5, 2), seed=0)
        content = made.content(made.conv(made.conv(made.input, 3, dead=[1, 2]), 2, activation=NONE))
        same(content, slim(content).content)
        assert widths(slim(content).content, "CONV_2D") == [left, 2]


def test_unread_channel_of_floats_stays_for_the_scale_that_they_get() -> None:
    made = Made("hybrid", (1, 6), seed=0)
    output = made.dense(made.dense(made.input, 8, activation=RELU), 4)
    kernel = made.tensors[made.operators[-1].inputs[1]]
    values = kernel.numbers.copy()
    values[:, 0] = 0
    made.tensors[kernel.index] = kernel.holding(values)
    content = made.content(output)
    same(content, slim(content).content)
    assert widths(slim(content).content, "FULLY_CONNECTED") == [8, 4]


@pytest.mark.parametrize(("scale", "left"), [(0.02, 4), (0.05, 6)])
def test_mean_leaves_0_at_0_where_its_scale_is_that_of_its_input(scale: float, left: int) -> None:
    made = Made("int8", (1, 6, 6, 2), seed=0)
    hidden = made.conv(made.input, 6, dead=[1, 4])
    axes = made.constant("int32", np.array([1, 2], np.int32))
    mean = made.tensor((1, 6), scale=scale, zero_point=-128)
    made.operator("MEAN", (hidden, axes), mean, "ReducerOptions", keepDims=False)
    content = made.content(made.dense(mean, 3))
    same(content, slim(content).content)
    assert widths(slim(content).content, "CONV_2D") == [left]


def test_zero_point_of_a_kernel_that_kernels_ignore_leaves_the_layer_as_it_is() -> None:
    made = Made("int8", (1, 5, 5, 2), seed=0)
    hidden = made.conv(made.input, 4, dead=[0])
    kernel = made.tensors[made.operators[-1].inputs[1]]
    made.tensors[kernel.index] = replace(kernel, scale=kernel.scale[:1], zero_point=np.array([3]))
    assert widths(slim(made.content(made.conv(hidden, 3, activation=NONE))).content, "CONV_2D") == [4, 3]


def test_operands_of_scales_far_apart_are_known_no_better_than_interpreters_add_them() -> None:
    made = Made("int8", (1, 2), seed=0)
    far = made.constant("int8", np.full((1, 2), 100, np.int8), [3e5], [0])
    output = made.tensor((1, 2), scale=1.0)
    made.operator("ADD", (far, far), output, "AddOptions", fusedActivationFunction=NONE)
    near = made.tensor((1, 2), scale=1.0)
    small = made.constant("int8", np.zeros((1, 2), np.int8), [1.0], [0])
    back = made.constant("int8", np.full((1, 2), 5, np.int8), [1.0], [0])
    made.operator("ADD", (small, back), near, "AddOptions", fusedActivationFunction=NONE)
    ranges = Ranges(made.model(output, near).graphs[0])
    assert ranges.constant(near).all()
    made.tensors[small] = replace(made.tensors[small], scale=np.array([3e5], np.float32))
    ranges = Ranges(made.model(output, near).graphs[0])
    assert not ranges.constant(near).any()


@pytest.mark.parametrize("scale", [0.0, 1e-40, np.inf])
def test_scale_that_xnnpack_refuses_keeps_its_layer_as_it_is(scale: float) -> None:
    made = Made("int8", (1, 5, 5, 2), seed=0)
    hidden = made.conv(made.input, 4, dead=[0])
    kernel = made.operators[-1].inputs[1]
    scales = made.tensors[kernel].scale.copy()
    scales[0] = scale
    made.tensors[kernel] = replace(made.tensors[kernel], scale=scales)
    content = made.content(made.conv(hidden, 3, activation=NONE))
    assert widths(slim(content).content, "CONV_2D") == [4, 3]


@pytest.mark.parametrize("change", ["bias of floats", "kernel far from 0", "output without a scale"])
def test_layer_that_no_converter_writes_is_left_as_it_is(change: str) -> None:
    made = Made("int8", (1, 5, 5, 2), seed=0)
    hidden = made.conv(made.input, 4, dead=[0])
    output = made.conv(hidden, 3, activation=NONE)
    kernel, bias = (made.tensors[index] for index in made.operators[0].inputs[1:])
    if change == "kernel far from 0":
        made.tensors[kernel.index] = replace(kernel, scale=kernel.scale[:1], zero_point=np.array([-(2**63)]))
    elif change == "bias of floats":
        made.tensors[bias.index] = replace(bias, dtype="float32", bits=32).holding(bias.numbers)
    else:
        made.tensors[hidden] = replace(made.tensors[hidden], scale=np.zeros(1, np.float32))
    assert widths(slim(made.content(output)).content, "CONV_2D") == [4, 3]


LAYERS: dict[str, Callable[[Made, int, list[int]], int]] = {
    "conv": lambda made, x, dead: made.conv(x, 5, dead=dead),
    "open conv": lambda made, x, dead: made.conv(x, 5, padding=VALID, constant=dead),
    "pointwise": lambda made, x, dead: made.conv(x, 6, size=1, dead=dead),
    "depthwise": lambda made, x, dead: made.depthwise(x),
    "max pool": lambda made, x, dead: made.pool(x),
    "mean pool": lambda made, x, dead: made.pool(x, name="AVERAGE_POOL_2D"),
    "residual": lambda made, x, dead: made.add(made.conv(x, made.tensors[x].shape[-1], dead=dead[:1]), x),
    "wider": lambda made, x, dead: made.concatenate(made.conv(x, 3, dead=dead[:1]), made.conv(x, 2)),
}


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(
    form=st.sampled_from(FORMS),
    kinds=st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, max_size=4),
    dead=st.lists(st.integers(0, 3), unique=True, max_size=3),
    seed=st.integers(0, 2**16),
)
def test_random_graphs_give_the_same_and_slim_once(
    form: str, kinds: list[str], dead: list[int], seed: int
) -> None:
    made = Made(form, (1, 12, 12, 3), seed=seed)
    x = made.input
    for kind in kinds:
        if min(made.tensors[x].shape[1:3]) < 4:
            break
        if form.startswith("hybrid") and kind == "depthwise":
            continue
        x = LAYERS[kind](made, x, [index for index in dead if index < 3])
    content = made.content(made.softmax(made.dense(made.flatten(x), 4)))
    slim_content = slim(content).content
    same(content, slim_content, inputs=5)
    assert slim(slim_content).content == slim_content


@pytest.mark.parametrize("form", ["int8", "int16x8", "float32"])
def test_tflite_micro_gives_the_same(form: str) -> None:
    made = Made(form, (1, 8, 8, 2), seed=5)
    x = made.depthwise(made.conv(made.input, 6, dead=[1, 2], constant=[3]))
    content = made.content(made.dense(made.flatten(made.pool(x)), 4))
    images = np.concatenate([arrays[0] for arrays in sameness.drawn(content, 10, seed=0)])
    found = []
    with Tflm() as child:
        for each in (content, slim(content).content):
            child.load(each, MAX_ARENA_BYTES)
            found += child.run([images])
    np.testing.assert_array_equal(*found)


# Parts


def small(form: str = "int8") -> bytes:
    made = Made(form, (1, 6, 6, 2), seed=0)
    return made.content(made.softmax(made.dense(made.flatten(made.conv(made.input, 5)), 4)))


def test_what_nobody_reads_goes() -> None:
    content = small()
    assert b"layers/1/tensor" in content
    slimmed = slim(content)
    for text in (b"layers", b"made for a test", b"1.5.0", b"nobody", b"serving_default", b"main"):
        assert text not in slimmed.content
    assert slimmed.savings["unread parts"] > 300


def test_signatures_stay_on_request() -> None:
    content = small()
    kept = slim(content, keep_signatures=True).content
    assert b"inputs_0" in kept
    (signature,) = read_model(kept).root.signatureDefs
    graph = read_graph(kept)
    assert signature.inputs[0].tensorIndex == graph.inputs[0]
    assert signature.outputs[0].tensorIndex == graph.outputs[0]
    same(content, kept)


def test_equal_parts_are_stored_once() -> None:
    made = Made("int8", (1, 6, 6, 4), seed=0)
    first = made.conv(made.input, 4)
    twice = made.operators[-1]
    second = made.like(first, made.tensors[first].shape)
    copies = [
        made.constant("int8", np.array(made.tensors[i].values), made.tensors[i].scale)
        for i in twice.inputs[1:2]
    ]
    made.operators.append(replace(twice, inputs=(first, *copies, twice.inputs[2]), outputs=(second,)))
    content = made.content(second)
    slim_content = slim(content).content
    same(content, slim_content)
    stored = made.tensors[twice.inputs[1]].numbers.tobytes()
    assert (content.count(stored), slim_content.count(stored)) == (2, 1)
    graph = read_graph(slim_content)
    assert graph.operators[0].inputs[1] == graph.operators[1].inputs[1]


def test_constants_are_aligned_as_interpreters_want_them() -> None:
    content = slim(small()).content
    for buffer in flatbuffer.read(content).buffers:
        if buffer.data is not None:
            assert content.index(bytes(buffer.data)) % 16 == 0


def test_metadata_that_an_interpreter_reads_stay() -> None:
    root = flatbuffer.read(small())
    root.metadata.append(schema.MetadataT(name=b"reduced_precision_support", buffer=len(root.buffers)))
    root.buffers.append(schema.BufferT(data=np.frombuffer(b"fp16fp32", np.uint8)))
    root = flatbuffer.read(slim(flatbuffer.write(root)).content)
    (entry,) = root.metadata
    assert bytes(root.buffers[entry.buffer].data) == b"fp16fp32"


@pytest.mark.parametrize("name", [b"OfflineMemoryAllocation", b"COMPRESSION_METADATA"])
def test_file_whose_metadata_number_its_tensors_is_left_alone(name: bytes) -> None:
    root = flatbuffer.read(small())
    root.metadata[0].name = name
    content = flatbuffer.write(root)
    note = f"left as it is: its metadata {name.decode()} name tensors by their numbers"
    assert slim(content) == Slimmed(content=content, savings={}, notes=(note,))


def test_slim_file_is_left_as_it_is() -> None:
    content = slim(small()).content
    assert slim(content) == Slimmed(content=content, savings={}, notes=("nothing to take off",))


# Operators


def test_reshapes_that_do_nothing_go() -> None:
    made = Made("int8", (1, 4, 4, 2), seed=0)
    x = made.conv(made.input, 3)
    x = made.reshape(made.reshape(made.reshape(x, (1, 4, 4, 3)), (1, 16, 3)), (1, 48))
    content = made.content(made.dense(x, 4))
    slim_content = slim(content).content
    same(content, slim_content)
    assert names(slim_content) == [
        "CONV_2D",
        "FULLY_CONNECTED",
    ]


def test_reshape_that_merges_open_axes_stays_also_the_second_time() -> None:
    made = Made("float32", (1, 1, 3), seed=0)
    changed = made.operator("EXP", (made.input,), made.like(made.input, (1, 1, 3)))
    merged = made.reshape(changed, (1, 1, 3))
    content = made.content(made.operator("EXP", (merged,), made.like(merged, (1, 1, 3))))
    assert names(slim(content).content) == ["EXP", "EXP"]
    root = flatbuffer.read(content)
    root.subgraphs[0].tensors[changed].shapeSignature = np.array([-1, -1, 3], np.int32)
    once = slim(flatbuffer.write(root)).content
    assert names(slim(once).content) == names(once) == ["EXP", "RESHAPE", "EXP"]


def test_reshape_before_a_dense_layer_of_quantized_floats_stays() -> None:
    made = Made("hybrid", (1, 4, 4, 2), seed=0)
    content = made.content(made.dense(made.flatten(made.conv(made.input, 3)), 4))
    assert len(read_graph(slim(content).content).operators) == 3


def test_quantizing_to_the_same_scale_goes_and_to_another_stays() -> None:
    made = Made("int8", (1, 4, 4, 2), seed=0)
    x = made.conv(made.input, 3)
    x = made.operator("QUANTIZE", (x,), made.like(x, made.tensors[x].shape))
    x = made.operator("QUANTIZE", (x,), made.tensor(made.tensors[x].shape, scale=0.5))
    content = made.content(x)
    same(content, slim(content).content)
    assert names(slim(content).content) == [
        "CONV_2D",
        "QUANTIZE",
    ]


# What is not understood


def test_custom_operator_keeps_what_it_reads_and_is_told() -> None:
    made = Made("int8", (1, 5, 5, 2), seed=0)
    hidden = made.conv(made.input, 4, dead=[0])
    code = schema.OperatorCodeT(deprecatedBuiltinCode=32, customCode=b"Magic")
    options = schema.OperatorT(customOptions=np.array([1, 2, 3], np.uint8))
    output = made.tensor((1, 5, 5, 4), scale=0.02)
    made.operators.append(Operator(name="", inputs=(hidden,), outputs=(output,), table=options, code=code))
    slimmed = slim(made.content(output))
    graph = read_graph(slimmed.content)
    assert [operator.name for operator in graph.operators] == ["CONV_2D", "CUSTOM Magic"]
    assert graph.tensors[graph.operators[1].inputs[0]].shape == (1, 5, 5, 4)
    assert bytes(graph.operators[1].table.customOptions) == b"\x01\x02\x03"
    assert "what Magic reads and writes stays: it is not understood" in slimmed.notes


def test_every_subgraph_is_slimmed_and_signatures_into_others_stay() -> None:
    one, other = (Made("int8", (1, 6, 6, 2), seed=seed) for seed in (0, 1))
    graphs: list[Graph] = []
    for made in (one, other):
        model = made.model(made.conv(made.conv(made.input, 6, dead=[1]), 3, activation=NONE))
        graphs += model.graphs
    root = flatbuffer.read(write_model(replace(model, graphs=tuple(graphs)), shared=False))
    root.signatureDefs = []
    for place, graph in enumerate(root.subgraphs):
        ends = {
            end: [schema.TensorMapT(name=b"x", tensorIndex=getattr(graph, end)[0])]
            for end in ("inputs", "outputs")
        }
        root.signatureDefs.append(schema.SignatureDefT(**ends, signatureKey=b"go", subgraphIndex=place))
    slimmed = slim(flatbuffer.write(root))
    model = read_model(slimmed.content)
    assert [graph.tensors[graph.operators[0].outputs[0]].shape[-1] for graph in model.graphs] == [5, 5]
    assert len(model.root.signatureDefs) == 2
    assert slimmed.notes == (
        "the signatures stay: they are the only way into other subgraphs than the first",
    )


def test_slimming_needs_no_tensorflow() -> None:
    code = "import sys, model_compression.files.slimming; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_wordy_file_runs_like_the_short_one() -> None:
    made = Made("int8", (1, 5, 5, 2), seed=0)
    content = write_model(made.model(made.conv(made.input, 4)))
    same(content, wordy(content))


def test_other_files_are_refused() -> None:
    with pytest.raises(
        ValueError, match=exactly("no .tflite file: bytes 4 to 8 are b'', and must be b'TFL3'")
    ):
        slim(b"none")
