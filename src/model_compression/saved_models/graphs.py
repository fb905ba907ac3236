"""A trained net as plain nodes, whatever Keras it comes from.

No TensorFlow here: a node is a layer's class, its config and its weights as arrays.
"""

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
        ending: what makes the model's outputs of the net's: "softmax", "sigmoid" or "linear".
    """

    input: str
    input_shape: tuple[int | None, ...]
    nodes: tuple[Node, ...]
    output: str
    ending: str = "linear"

    def node(self, name: str) -> Node:
        """The node of that name.

        Raises:
            KeyError: there is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def before(self, node: Node) -> Node | None:
        """The node that a node of one input reads; None where that is the net's input."""
        (source,) = node.inputs
        return None if source == self.input else self.node(source)

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


# Changes of a net; each gives a new one


def expanded(net: Net, rule: Callable[[Node], Sequence[Node]]) -> Net:
    """The net with each node as the nodes that `rule` makes of it.

    Readers read the last of them; where there is none, what the node read.
    """
    nodes: list[Node] = []
    now = {net.input: net.input}
    for node in net.nodes:
        inputs = tuple(now[name] for name in node.inputs)
        made = rule(replace(node, inputs=inputs))
        nodes += made
        now[node.name] = made[-1].name if made else inputs[0]
    return replace(net, nodes=tuple(nodes), output=now[net.output])


def without(net: Net, node: Node) -> Net:
    """The net without a node of one input, whose readers read that input instead."""
    return expanded(net, lambda each: [] if each.name == node.name else [each])


def changed(net: Net, *nodes: Node) -> Net:
    """The net with nodes in the place of those of the same name."""
    by_name = {node.name: node for node in nodes}
    return replace(net, nodes=tuple(by_name.get(node.name, node) for node in net.nodes))


def rewritten(
    net: Net, kinds: Sequence[str], rule: Callable[[Net, Node], Net], *, from_the_end: bool = False
) -> Net:
    """The net after `rule` has changed it at each node of some kinds, one after the other."""
    names = [node.name for node in net.nodes if node.kind in kinds]
    for name in reversed(names) if from_the_end else names:
        net = rule(net, net.node(name))
    return net


def affine(name: str, source: str, scale: float, offset: float, shape: tuple[int | None, ...]) -> Node:
    """A node that computes scale * x + offset."""
    weights = (np.array([scale], np.float32), np.array([offset], np.float32))
    return Node(name=name, kind=AFFINE, inputs=(source,), weights=weights, shape=shape)
