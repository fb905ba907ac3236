import numpy as np
import pytest
from tflite_graphs import NONE, Made

from model_compression.files import sameness
from model_compression.files.graph import read_graph


def pair() -> tuple[bytes, bytes]:
    """Two files that differ in one weight of their Dense layer; their softmax saturates."""
    made = Made("int8", (1, 4), seed=0)
    output = made.dense(made.input, 3, activation=NONE)
    kernel, bias = made.operators[0].inputs[1:]
    biases = np.rint([20, -1, -1] / made.tensors[bias].scale).astype(np.int32)
    made.tensors[bias] = made.tensors[bias].holding(biases)
    values = np.zeros((3, 4), np.int8)
    contents = []
    softmax = made.softmax(output)
    for value in (50, 51):
        values[1, 2] = value
        made.tensors[kernel] = made.tensors[kernel].holding(values.copy())
        contents.append(made.content(softmax))
    return contents[0], contents[1]


def test_difference_that_a_softmax_hides_is_seen_before_it() -> None:
    one, other = pair()
    lines = sameness.compared(one, other, sameness.drawn(one, 20, seed=0))
    assert [(line.runtime, line.place) for line in lines] == [
        ("LiteRT", "outputs"),
        ("LiteRT", "before the softmax"),
        ("LiteRT with XNNPACK", "outputs"),
        ("LiteRT with XNNPACK", "before the softmax"),
    ]
    assert [line.inputs for line in lines] == [20] * 4
    assert lines[0].differing == lines[2].differing == 0
    assert min(lines[1].differing, lines[3].differing) > 0


def test_file_that_stopped_running_differs_on_all_inputs() -> None:
    one, _ = pair()
    made = Made("int8", (1, 5), seed=0)
    other = made.content(made.softmax(made.dense(made.input, 3)))
    lines = sameness.compared(one, other, sameness.drawn(one, 3, seed=0))
    assert all(line.differing == 3 and line.reason for line in lines)


def test_file_that_never_ran_is_not_compared() -> None:
    made = Made("int8", (1, 4), seed=0)
    broken = made.content(made.reshape(made.input, (1, 5)))
    lines = sameness.compared(broken, broken, [(np.zeros((1, 4), np.int8),)])
    assert all(line.inputs == 0 and line.reason for line in lines)


@pytest.mark.parametrize("form", ["int8", "int16x8", "float32"])
def test_inputs_are_drawn_over_the_whole_range_the_same_each_time(form: str) -> None:
    made = Made(form, (1, 8, 8, 2), seed=0)
    content = made.content(made.conv(made.input, 3))
    given, again = (sameness.drawn(content, 20, seed=4) for _ in range(2))
    values = np.stack([arrays[0] for arrays in given])
    np.testing.assert_array_equal(values, np.stack([arrays[0] for arrays in again]))
    assert values.dtype == read_graph(content).tensors[0].dtype
    if form != "float32":
        limits = np.iinfo(values.dtype)
        assert values.min() < 0.95 * limits.min
        assert values.max() > 0.95 * limits.max


def test_inputs_that_name_rows_of_a_table_name_those_that_there_are() -> None:
    made = Made("float32", (1, 4), seed=0)
    made.activation = "int32"
    made.input = made.tensor((1, 4))
    made.activation = "float32"
    table = made.constant("float32", np.ones((7, 2), np.float32))
    found = made.tensor((1, 4, 2))
    content = made.content(made.operator("GATHER", (table, made.input), found, "GatherOptions", axis=0))
    drawn = np.stack([ids for (ids,) in sameness.drawn(content, 50, seed=0)])
    assert set(np.unique(drawn)) == set(range(7))


def test_fewer_inputs_are_drawn_where_they_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    content = pair()[0]
    size = sameness.drawn(content, 1, seed=0)[0][0].nbytes
    monkeypatch.setattr(sameness, "MOST_BYTES", 25 * size)
    assert [len(sameness.drawn(content, count, seed=0)) for count in (20, 200)] == [20, 25]


def test_file_without_a_last_softmax_has_nothing_before_it() -> None:
    made = Made("int8", (1, 4), seed=0)
    assert sameness.before_softmax(made.content(made.dense(made.input, 3))) is None
