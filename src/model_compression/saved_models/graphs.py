"""A trained net as plain nodes, whatever Keras it comes from, and what can be folded away in it.

No TensorFlow here: a node is a layer's class, its config and its weights as arrays. What only scales and
shifts (batch normalization, Rescaling, Normalization) becomes one kind of node, and goes into a neighbouring
kernel where that is exact; where it is not, it becomes a depthwise 1 x 1 convolution, which is.

Source: Jacob et al. 2018 (arXiv:1712.05877), section 3.2, for folding batch normalization.
"""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

#: Layers with a kernel whose output channels are scaled by scaling the kernel.
KERNELS = ("Conv2D", "DepthwiseConv2D", "Dense")
#: The node that only scales and shifts; its weights are (scale, offset), per channel or single numbers.
AFFINE = "Affine"


class UnsupportedModelError(ValueError):
    """A model that cannot be taken as it is; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One use of a layer.

    Attributes:
        name: unique in the net. kind: the layer's class. config: its arguments, without initializers.
        inputs: names of the nodes, or of the net's input, that it reads.
        weights: as `layer.get_weights()` orders them.
        shape: one output's, without the batch; None where the size is open.
    """

    name: str
    kind: str
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...]
    weights: tuple[np.ndarray, ...] = ()
    shape: tuple[int | None, ...]


@dataclass(frozen=True, kw_only=True)
class Net:
    """Nodes in an order in which they can be computed, from one input to the output of `output`.

    Attributes:
        input_shape: one image's; None where the size is open.
    """

    input: str
    input_shape: tuple[int | None, ...]
    nodes: tuple[Node, ...]
    output: str

    def node(self, name: str) -> Node:
        """The node of that name.

        Raises:
            KeyError: there is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def readers(self, name: str) -> list[Node]:
        """The nodes that read `name`."""
        return [node for node in self.nodes if name in node.inputs]

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """One image's output."""
        return self.node(self.output).shape


def pack(net: Net) -> bytes:
    """An .npz file with the net; `unpack` reads it."""
    described = {
        "input": net.input,
        "input_shape": net.input_shape,
        "output": net.output,
        "nodes": [
            {
                "name": node.name,
                "kind": node.kind,
                "config": dict(node.config),
                "inputs": node.inputs,
                "shape": node.shape,
                "weights": len(node.weights),
            }
            for node in net.nodes
        ],
    }
    arrays = {f"{i}.{k}": array for i, node in enumerate(net.nodes) for k, array in enumerate(node.weights)}
    file = io.BytesIO()
    text = np.frombuffer(json.dumps(described, default=_plain).encode(), np.uint8)
    np.savez(file, allow_pickle=False, net=text, **arrays)
    return file.getvalue()


def _plain(value: Any) -> Any:
    """What JSON cannot hold of a Keras config: NumPy numbers, and lists that Keras wraps."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else list(value)


def unpack(content: bytes) -> Net:
    """The net of an .npz file that `pack` wrote."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        described = json.loads(arrays["net"].tobytes())
        nodes = tuple(
            Node(
                name=each["name"],
                kind=each["kind"],
                config=each["config"],
                inputs=tuple(each["inputs"]),
                shape=tuple(each["shape"]),
                weights=tuple(arrays[f"{i}.{k}"] for k in range(each["weights"])),
            )
            for i, each in enumerate(described["nodes"])
        )
    return Net(
        input=described["input"],
        input_shape=tuple(described["input_shape"]),
        nodes=nodes,
        output=described["output"],
    )


# Changes of a net; each gives a new one


def _without(net: Net, node: Node) -> Net:
    """The net without a node of one input, whose readers read that input instead."""
    (source,) = node.inputs
    nodes = (
        replace(other, inputs=tuple(source if name == node.name else name for name in other.inputs))
        for other in net.nodes
        if other is not node
    )
    return replace(net, nodes=tuple(nodes), output=source if net.output == node.name else net.output)


def _with(net: Net, *changed: Node) -> Net:
    """The net with nodes in the place of those of the same name."""
    by_name = {node.name: node for node in changed}
    return replace(net, nodes=tuple(by_name.get(node.name, node) for node in net.nodes))


def prepend(net: Net, node_of: Callable[[str], Node]) -> Net:
    """The net behind one more node; `node_of` makes it from the name of the input."""
    node = node_of(net.input)
    nodes = (
        replace(other, inputs=tuple(node.name if name == net.input else name for name in other.inputs))
        for other in net.nodes
    )
    return replace(net, nodes=(node, *nodes))


def affine(name: str, source: str, scale: float, offset: float, shape: tuple[int | None, ...]) -> Node:
    """A node that computes scale * x + offset."""
    weights = (np.array([scale], np.float32), np.array([offset], np.float32))
    return Node(name=name, kind=AFFINE, inputs=(source,), weights=weights, shape=shape)


def as_scores(net: Net) -> tuple[Net, tuple[str, ...]]:
    """The net with one unbounded score a class as its output, and what was changed, in words.

    A softmax or sigmoid at the end is dropped, which keeps the scores' order; a single score becomes two.

    Raises:
        UnsupportedModelError: the output is not one row of scores an image.
    """
    if len(net.output_shape) != 1 or net.output_shape[0] is None:
        shape = " x ".join("?" if size is None else str(size) for size in net.output_shape)
        raise UnsupportedModelError(
            f"the model's output is {shape} an image; allowed is one score a class: end it with "
            "GlobalAveragePooling2D or Flatten, and Dense(classes)"
        )
    said: list[str] = []
    while True:
        last = net.node(net.output)
        activation = "softmax" if last.kind == "Softmax" else last.config.get("activation")
        if activation not in ("softmax", "sigmoid"):
            break
        said.append(f"the final {activation} was dropped: the file's outputs are logits, its labels the same")
        if last.kind in ("Softmax", "Activation"):
            net = _without(net, last)
        else:
            net = _with(net, replace(last, config={**last.config, "activation": "linear"}))
    last = net.node(net.output)
    if last.shape == (1,):
        if last.kind != "Dense":
            raise UnsupportedModelError(
                f"the model's single score comes from {last.name} ({last.kind}); allowed is Dense(1)"
            )
        # softmax of (0, x) is sigmoid of x
        weights = tuple(np.concatenate([np.zeros_like(array), array], axis=-1) for array in last.weights)
        config = {**last.config, "units": 2}
        net = _with(net, replace(last, config=config, weights=weights, shape=(2,)))
        said.append("the single score became two, 0 and itself: one logit a class")
    return net, tuple(said)


def fold(net: Net) -> Net:
    """The same function with every node that only scales and shifts folded into kernels.

    Into the kernel before it, where nothing else reads that; else into all kernels that read it; else it
    stands as a depthwise 1 x 1 convolution. What has no height and width stays a batch normalization.
    """
    net = _split_separable(_drop_idle(net))
    for node in net.nodes:
        if node.kind in ("BatchNormalization", "Rescaling", "Normalization"):
            net = _with(net, _as_affine(node))
    for name in [node.name for node in net.nodes if node.kind == AFFINE]:
        net = _slide(net, net.node(name))
    for name in [node.name for node in net.nodes if node.kind == AFFINE]:
        net = _fold_back(net, net.node(name))
    # from the back, so that a chain of two ends up in the kernel behind both
    for name in [node.name for node in reversed(net.nodes) if node.kind == AFFINE]:
        net = _fold_forward(net, net.node(name))
    for node in net.nodes:
        if node.kind == AFFINE:
            net = _with(net, _standing(net, node))
    for name in [node.name for node in net.nodes if node.kind in ("ReLU", "Activation")]:
        net = _tidy_relu(net, net.node(name))
    return net


def _tidy_relu(net: Net, node: Node) -> Net:
    """ReLU as a part of the layer before it, and ReLU6 as an Activation.

    TFMOT 0.8 takes a ReLU layer right behind a kernel for a reason not to quantize that kernel in training,
    and so loses the zeros and the clusters that it should keep; and it knows ReLU6 as an Activation only.
    """
    config = node.config
    if node.kind == "ReLU":
        if config.get("negative_slope") or config.get("threshold"):
            return net
        most = config.get("max_value")
        activation = "relu" if most is None else "relu6" if most == 6 else None
    else:
        activation = config.get("activation")
    (source,) = node.inputs
    before = next((other for other in net.nodes if other.name == source), None)
    if activation == "relu" and before and _is_linear(before) and len(net.readers(source)) == 1:
        fused = replace(before, config={**before.config, "activation": "relu"})
        return _without(_with(net, fused), node)
    if activation == "relu6":
        return _with(net, replace(node, kind="Activation", config={"activation": "relu6"}))
    return net


def _drop_idle(net: Net) -> Net:
    for node in net.nodes:
        idle = node.kind == "Identity" or (
            node.kind == "Activation" and node.config.get("activation") == "linear"
        )
        if idle and node.name != net.output:
            net = _without(net, net.node(node.name))
    return net


def _split_separable(net: Net) -> Net:
    """A separable convolution as the two convolutions that it is."""
    nodes: list[Node] = []
    for node in net.nodes:
        if node.kind != "SeparableConv2D":
            nodes.append(node)
            continue
        depthwise, pointwise, *bias = node.weights
        shared = {k: node.config[k] for k in ("strides", "padding", "dilation_rate") if k in node.config}
        multiplier = depthwise.shape[3]
        first = Node(
            name=f"{node.name}_depthwise",
            kind="DepthwiseConv2D",
            config={
                "kernel_size": depthwise.shape[:2],
                "depth_multiplier": multiplier,
                "use_bias": False,
                "activation": "linear",
                **shared,
            },
            inputs=node.inputs,
            weights=(depthwise,),
            shape=(*node.shape[:2], depthwise.shape[2] * multiplier),
        )
        config = {
            "filters": pointwise.shape[-1],
            "kernel_size": (1, 1),
            "use_bias": bool(bias),
            "activation": node.config.get("activation", "linear"),
        }
        second = replace(node, kind="Conv2D", config=config, inputs=(first.name,), weights=(pointwise, *bias))
        nodes += [first, second]
    return replace(net, nodes=tuple(nodes))


def _as_affine(node: Node) -> Node:
    config = node.config
    if node.kind == "Rescaling":
        scale, offset = (np.asarray(config.get(key, plain), np.float64) for key, plain in _RESCALING)
    elif node.kind == "Normalization":
        mean, variance = (array.astype(np.float64).reshape(-1) for array in node.weights)
        deviation = np.maximum(np.sqrt(variance), 1e-7)  # Keras's epsilon
        scale, offset = (deviation, mean) if config.get("invert") else (1 / deviation, -mean / deviation)
    else:
        axis = config.get("axis", -1)
        axis = axis[0] if isinstance(axis, list | tuple) else axis
        if axis not in (-1, len(node.shape)):
            raise UnsupportedModelError(
                f"{node.name} normalizes axis {axis}; allowed is the last: use channels_last"
            )
        weights = iter(array.astype(np.float64) for array in node.weights)
        gamma = next(weights) if config.get("scale", True) else np.ones(1)
        beta = next(weights) if config.get("center", True) else np.zeros(1)
        mean, variance = next(weights), next(weights)
        scale = gamma / np.sqrt(variance + config.get("epsilon", 1e-3))
        offset = beta - mean * scale
    return replace(node, kind=AFFINE, config={}, weights=(np.atleast_1d(scale), np.atleast_1d(offset)))


_RESCALING = (("scale", 1.0), ("offset", 0.0))


def _is_linear(node: Node) -> bool:
    return node.kind in KERNELS and node.config.get("activation", "linear") == "linear"


def _with_bias(node: Node, kernel: np.ndarray, bias: np.ndarray) -> Node:
    weights = (kernel.astype(np.float32), bias.astype(np.float32))
    return replace(node, config={**node.config, "use_bias": True}, weights=weights)


def _bias(node: Node, channels: int) -> np.ndarray:
    return node.weights[1].astype(np.float64) if len(node.weights) > 1 else np.zeros(channels)


def _fold_back(net: Net, node: Node) -> Net:
    """Into the kernel, or the other affine node, right before it, where only this node reads that."""
    scale, offset = node.weights
    (source,) = node.inputs
    if source == net.input or source == net.output or len(net.readers(source)) > 1:
        return net
    before = net.node(source)
    if before.kind == AFFINE:
        first_scale, first_offset = before.weights
        changed = replace(before, weights=(first_scale * scale, first_offset * scale + offset))
    elif _is_linear(before):
        kernel = before.weights[0].astype(np.float64)
        channels = before.shape[-1]
        assert channels is not None
        scale, offset = np.broadcast_to(scale, channels), np.broadcast_to(offset, channels)
        # the two last axes of a depthwise kernel together count the output channels
        factor = scale.reshape(kernel.shape[2:]) if before.kind == "DepthwiseConv2D" else scale
        changed = _with_bias(before, kernel * factor, _bias(before, channels) * scale + offset)
    else:
        return net
    return _without(_with(net, changed), node)


def _slide(net: Net, node: Node) -> Net:
    """Behind the layers that only move numbers about, where it treats all numbers alike."""
    while node.weights[0].size == node.weights[1].size == 1 and node.name != net.output:
        (reader, *others) = net.readers(node.name)
        moved = reader.kind in ("Reshape", "Flatten", "Permute")
        # padding brings in zeros, which the offset would not have touched
        moved |= reader.kind == "ZeroPadding2D" and not np.any(node.weights[1])
        if others or not moved or reader.name == net.output:
            break
        (source,) = node.inputs
        behind = replace(node, inputs=(reader.name,), shape=reader.shape)
        nodes: list[Node] = []
        for other in net.nodes:
            if other is reader:
                nodes += [replace(reader, inputs=(source,)), behind]
            elif other is not node:
                inputs = tuple(node.name if name == reader.name else name for name in other.inputs)
                nodes.append(replace(other, inputs=inputs))
        net, node = replace(net, nodes=tuple(nodes)), behind
    return net


def _fold_forward(net: Net, node: Node) -> Net:
    """Into every kernel that reads it, Dropout between them passed over, where all of them can take it."""
    readers, waiting = [], net.readers(node.name)
    if node.name == net.output or not waiting:
        return net
    while waiting:
        reader = waiting.pop()
        if reader.kind in ("Dropout", "SpatialDropout2D") and reader.name != net.output:
            waiting += net.readers(reader.name)
        elif reader.kind in KERNELS and _takes_input_affine(reader, node):
            readers.append(reader)
        else:
            return net
    for reader in readers:
        net = _with(net, _absorbed(reader, node))
    return _without(net, net.node(node.name))


def _takes_input_affine(reader: Node, node: Node) -> bool:
    """Whether scaling and shifting the input can be moved into the kernel exactly."""
    if reader.config.get("groups", 1) != 1:
        return False
    # "same" pads with zeros, which the offset would not have touched
    return (
        reader.kind == "Dense"
        or reader.config.get("padding", "valid") == "valid"
        or not np.any(node.weights[1])
    )


def _absorbed(reader: Node, node: Node) -> Node:
    kernel = reader.weights[0].astype(np.float64)
    scale, offset = (np.broadcast_to(w, kernel.shape[-2]) for w in node.weights)
    added = kernel * offset[:, None]
    scaled = kernel * scale[:, None]
    if reader.kind == "DepthwiseConv2D":
        return _with_bias(
            reader, scaled, _bias(reader, kernel[0, 0].size) + added.sum(axis=(0, 1)).reshape(-1)
        )
    moved = added.reshape(-1, kernel.shape[-1]).sum(axis=0)
    return _with_bias(reader, scaled, _bias(reader, kernel.shape[-1]) + moved)


def _standing(net: Net, node: Node) -> Node:
    """An affine node that no kernel could take, as a layer of its own."""
    channels = node.shape[-1]
    if channels is None:
        raise UnsupportedModelError(f"{node.name} has an open number of channels; allowed is a fixed one")
    scale, offset = (np.broadcast_to(w, channels).astype(np.float32) for w in node.weights)
    if len(node.shape) == 3:
        config = {"kernel_size": (1, 1), "use_bias": True, "activation": "linear"}
        kernel = scale.reshape(1, 1, channels, 1)
        return replace(node, kind="DepthwiseConv2D", config=config, weights=(kernel, offset))
    # mean 0 and variance 1 - epsilon, so that gamma and beta are all that is left
    epsilon = np.float32(1e-3)
    mean, variance = np.zeros(channels, np.float32), np.full(channels, 1 - epsilon, np.float32)
    return replace(
        node,
        kind="BatchNormalization",
        config={"epsilon": 1e-3},
        weights=(scale, offset, mean, variance),
    )
