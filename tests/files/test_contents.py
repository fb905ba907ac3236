import numpy as np
from tflite_graphs import NONE, Made

from model_compression.files.contents import bytes_by_kind
from model_compression.files.slimming import slim


def made() -> Made:
    net = Made("int8", (1, 5, 5, 2), seed=0)
    net.output = net.dense(net.flatten(net.conv(net.input, 4)), 3, activation=NONE)  # type: ignore[attr-defined]
    return net


def test_bytes_by_kind_by_hand() -> None:
    net = made()
    content = net.content(net.output)  # type: ignore[attr-defined]
    found = bytes_by_kind(content)
    # a vector's 4 bytes of length, then 4 x 3 x 3 x 2 and 3 x 100 weights of a byte, biases of 4
    assert found["weights"] == 4 + 72 + 4 + 300
    assert found["biases"] == 4 + 4 * 4 + 4 + 3 * 4
    # scales of two kernels and two biases by channel, and of four computed tensors
    assert found["scales"] == 2 * (4 + 4 * 4) + 2 * (4 + 3 * 4) + 4 * (4 + 4)
    assert found["zero_points"] == 2 * (4 + 4 * 8) + 2 * (4 + 3 * 8) + 4 * (4 + 8)
    assert found["constants"] == 4 + 2 * 4
    assert sum(found.values()) == len(content)


def test_slim_file_has_no_names_and_each_weight() -> None:
    net = made()
    content = net.content(net.output)  # type: ignore[attr-defined]
    before, after = bytes_by_kind(content), bytes_by_kind(slim(content).content)
    assert before["names"] > 200
    assert (after["names"], after["constants"]) == (0, 0)
    assert after["weights"] == before["weights"]
    assert sum(after.values()) == len(slim(content).content)


def test_weights_are_found_behind_what_unpacks_them() -> None:
    net = Made("float32", (1, 6), seed=0)
    half = net.constant("float32", np.ones((3, 6), np.float32))
    whole = net.tensor((3, 6))
    net.operator("DEQUANTIZE", (half,), whole)
    output = net.operator("FULLY_CONNECTED", (net.input, whole), net.tensor((1, 3)), "FullyConnectedOptions")
    assert bytes_by_kind(net.content(output))["weights"] == 4 + 4 * 18
