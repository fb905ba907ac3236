"""A trained net as plain nodes, whatever Keras it comes from.

No TensorFlow here: a node is a layer's class, its config and its weights as arrays.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

#: Layers with a kernel whose output channels are scaled by scaling the kernel.
KERNELS = ("Conv2D", "DepthwiseConv2D", "Dense")
#: The node that only scales and shifts; its weights are (scale, offset), per channel or single numbers.
AFFINE = "Affine"


class UnsupportedModelError(ValueError):
    """A model that cannot be taken as it is; the message says why and what to do."""


class NotRebuiltError(UnsupportedModelError):
    """A sound model whose layers Keras 2 cannot rebuild: it may still be converted as it is."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One use of a layer.

    Attributes:
        name: unique in the net. kind: the layer's class. config: its arguments, without initializers.
        inputs: names of the nodes, or of the net's input, that it reads.
        weights: as `layer.get_weights()` orders them.
        shape: one output's, without the batch; None where the size is open.
        layer: the layer with weights whose call this is, where that is called more than once; else empty.
    """

    name: str
    kind: str
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...]
    weights: tuple[np.ndarray, ...] = ()
    shape: tuple[int | None, ...]
    layer: str = ""

    @property
    def activation(self) -> str:
        """The name of the function that the layer ends with."""
        return str(self.config.get("activation") or "linear")


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

    def shape_of(self, name: str) -> tuple[int | None, ...]:
        """What a node, or the input, gives."""
        return self.input_shape if name == self.input else self.node(name).shape

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
                "layer": node.layer,
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
                layer=each["layer"],
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


def without(net: Net, node: Node) -> Net:
    """The net without a node of one input, whose readers read that input instead."""
    (source,) = node.inputs
    nodes = (
        replace(other, inputs=tuple(source if name == node.name else name for name in other.inputs))
        for other in net.nodes
        if other is not node
    )
    return replace(net, nodes=tuple(nodes), output=source if net.output == node.name else net.output)


def changed(net: Net, *nodes: Node) -> Net:
    """The net with nodes in the place of those of the same name."""
    by_name = {node.name: node for node in nodes}
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


def expanded(net: Net, rule: Callable[[Node], Sequence[Node]]) -> Net:
    """The net with each node as the nodes that `rule` makes of it; the last of them is what readers read."""
    nodes: list[Node] = []
    now = {net.input: net.input}
    for node in net.nodes:
        made = rule(replace(node, inputs=tuple(now[name] for name in node.inputs)))
        nodes += made
        now[node.name] = made[-1].name
    return replace(net, nodes=tuple(nodes), output=now[net.output])
