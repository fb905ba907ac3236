"""One way to write a net: what is only written differently becomes the layers that the methods take, exactly.

One-dimensional layers become their two-dimensional kin, on tensors of height 1; a Dense layer on more than
one axis becomes a 1 x 1 convolution; a separable convolution becomes its two; functions become layers.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .graphs import AFFINE, Net, Node, affine, expanded, without

#: Functions that stay in the layer which they end: the converter and TFMOT take them there.
_FUSED = ("linear", "relu", "softmax", "sigmoid")
#: What Keras 2 calls a function that has another name in Keras 3.
_RENAMED = {"silu": "swish", "hard_swish": "hard_silu"}
#: The slope of the function "leaky_relu" in Keras 3 and TensorFlow.
_LEAKY_SLOPE = 0.2
#: One-dimensional layers, by the layer that does the same with height and width.
_KIN = {
    name + "1D": name + "2D"
    for name in (
        "Conv", "SeparableConv", "DepthwiseConv", "MaxPooling", "AveragePooling", "GlobalMaxPooling",
        "GlobalAveragePooling", "ZeroPadding", "Cropping", "UpSampling", "SpatialDropout",
    )
}  # fmt: skip
#: Layers that do the same to a tensor of height 1 as to one without a height.
_ANY_RANK = (
    "Activation", "ReLU", "LeakyReLU", "ELU", "PReLU", "ThresholdedReLU", "Softmax", "Dropout",
    "AlphaDropout", "GaussianNoise", "GaussianDropout", "BatchNormalization", "LayerNormalization",
    "Rescaling", AFFINE, "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate",
)  # fmt: skip


def canonical(net: Net) -> Net:
    """The same function in the layers that the methods take."""
    for node in net.nodes:
        idle = node.kind in ("Identity", "Activation") and node.activation == "linear"
        if idle and node.name != net.output:
            net = without(net, node)
    net = expanded(expanded(net, _function_as_layer), _bare_normalization)
    return expanded(_two_dimensional(net), _as_convolutions)


# Functions


def _function_as_layer(node: Node) -> list[Node]:
    function = _RENAMED.get(node.activation, node.activation)
    if node.kind == "ReLU" and node.config.get("max_value") == 6 and not node.config.get("negative_slope"):
        # which TFMOT knows as an Activation only
        return [replace(node, kind="Activation", config={"activation": "relu6"})]
    if node.kind == "Activation":
        (source,) = node.inputs
        return function_nodes(node.name, function, source, node.shape)
    if function in _FUSED:
        return [node]
    linear = replace(node, config={**node.config, "activation": "linear"})
    return [linear, *function_nodes(f"{node.name}_{function}", function, node.name, node.shape)]


def function_nodes(name: str, function: str, source: str, shape: tuple[int | None, ...]) -> list[Node]:
    """Nodes that apply a function of either Keras; the last bears `name`."""
    end = Node(name=name, kind="Activation", config={"activation": function}, inputs=(source,), shape=shape)
    if function == "leaky_relu":
        return [replace(end, kind="LeakyReLU", config={"alpha": _LEAKY_SLOPE})]
    if function not in ("hard_silu", "relu6_sigmoid"):
        return [end]
    # relu6(x + 3) / 6, times x for hard_silu
    raised = affine(f"{name}_raised", source, 1.0, 3.0, shape)
    clipped = replace(end, name=f"{name}_clipped", config={"activation": "relu6"}, inputs=(raised.name,))
    if function == "relu6_sigmoid":
        return [raised, clipped, affine(name, clipped.name, 1 / 6, 0.0, shape)]
    gate = affine(f"{name}_gate", clipped.name, 1 / 6, 0.0, shape)
    return [raised, clipped, gate, replace(end, kind="Multiply", config={}, inputs=(source, gate.name))]


def _bare_normalization(node: Node) -> list[Node]:
    """A layer normalization without its gains and offsets, which only scale and shift what it gives."""
    config, last = node.config, (-1, len(node.shape))
    axis = config.get("axis", -1)
    if node.kind != "LayerNormalization" or not node.weights or axis not in (*last, *([at] for at in last)):
        return [node]
    weights = iter(node.weights)
    gain = next(weights) if config.get("scale", True) else np.ones(1)
    offset = next(weights) if config.get("center", True) else np.zeros(1)
    bare = replace(node, config={**config, "scale": False, "center": False}, weights=(), layer="")
    end = Node(
        name=f"{node.name}_gain", kind=AFFINE, inputs=(node.name,), weights=(gain, offset), shape=node.shape
    )
    return [bare, end]


# Dimensions


def _two_dimensional(net: Net) -> Net:
    """One-dimensional layers on tensors of height 1, reshaped where others read or make them."""
    nodes: list[Node] = []
    #: By value: the names of the same numbers with and without a height of 1.
    high: dict[str, str] = {}
    flat: dict[str, str] = {net.input: net.input}

    def raised(name: str) -> str:
        if name not in high:
            high[name] = f"{name}_high"
            nodes.append(_reshaped(high[name], flat[name], (1, *net.shape_of(name))))
        return high[name]

    def lowered(name: str) -> str:
        if name not in flat:
            flat[name] = f"{name}_flat"
            nodes.append(_reshaped(flat[name], high[name], net.shape_of(name)))
        return flat[name]

    for node in net.nodes:
        of_rank_2 = all(len(net.shape_of(name)) == 2 for name in node.inputs)
        follows = node.kind in _ANY_RANK and any(name in high for name in node.inputs)
        dense = node.kind == "Dense" and of_rank_2
        if of_rank_2 and (node.kind in _KIN or follows or dense):
            made = _with_height(replace(node, inputs=tuple(raised(name) for name in node.inputs)))
            nodes += made
            (high if len(node.shape) == 2 else flat)[node.name] = made[-1].name
        else:
            # the order of numbers is the same with a height of 1
            either = node.kind in ("Flatten", "Reshape")
            inputs = tuple(high[n] if either and n not in flat else lowered(n) for n in node.inputs)
            nodes.append(replace(node, inputs=inputs))
            flat[node.name] = node.name
    output = lowered(net.output)
    return replace(net, nodes=tuple(nodes), output=output) if high else net


def _reshaped(name: str, source: str, shape: tuple[int | None, ...]) -> Node:
    config = {"target_shape": [-1 if size is None else size for size in shape]}
    return Node(name=name, kind="Reshape", config=config, inputs=(source,), shape=shape)


def _with_height(node: Node) -> list[Node]:
    """A node of tensors (length, channels) as nodes of tensors (1, length, channels)."""
    config, kind = dict(node.config), _KIN.get(node.kind, node.kind)
    shape = (1, *node.shape) if len(node.shape) == 2 else node.shape
    # a depthwise convolution takes equal strides only; over a height of 1 all do the same
    depthwise = kind in ("DepthwiseConv2D", "SeparableConv2D")
    for key in ("kernel_size", "pool_size", "size", "strides", "dilation_rate"):
        if config.get(key) is not None:
            size = _number(config[key])
            config[key] = (size if depthwise and key in ("strides", "dilation_rate") else 1, size)
    for key in ("padding", "cropping"):
        if kind in ("ZeroPadding2D", "Cropping2D") and key in config:
            given = config[key]
            config[key] = ((0, 0), (given, given) if isinstance(given, int) else tuple(given))
    if "axis" in config:
        # the length, of what has one, is the second axis now
        config["axis"] = 2 if len(node.shape) == 2 and config["axis"] in (1, -2, [1], [-2]) else -1
    if kind == "PReLU":
        config["shared_axes"] = [1, *(axis + 1 for axis in config.get("shared_axes") or ())]
    weights = tuple(w[None] for w in node.weights[: _SPATIAL.get(node.kind, 0)])
    weights += node.weights[len(weights) :]
    made = replace(node, kind=kind, config=config, weights=weights, shape=shape)
    if config.get("padding") != "causal":
        return [made]
    before = (_number(node.config["kernel_size"]) - 1) * _number(node.config.get("dilation_rate", 1))
    (source,) = node.inputs
    padded = Node(
        name=f"{node.name}_padding",
        kind="ZeroPadding2D",
        config={"padding": ((0, 0), (before, 0))},
        inputs=(source,),
        shape=(1, None, node.weights[0].shape[1]),
    )
    return [padded, replace(made, inputs=(padded.name,), config={**config, "padding": "valid"})]


#: How many of a layer's first weights get a height of 1.
_SPATIAL = {"Conv1D": 1, "SeparableConv1D": 2, "DepthwiseConv1D": 1, "PReLU": 1}


def _number(value: Any) -> int:
    return int(value[0]) if isinstance(value, Sequence) else int(value)


def _as_convolutions(node: Node) -> list[Node]:
    """A Dense layer on height, width and channels as a 1 x 1 convolution, a separable one as its two."""
    if node.kind == "Dense" and len(node.shape) == 3:
        kernel, *bias = node.weights
        return [_one_by_one(node, kernel[None, None], bias)]
    if node.kind != "SeparableConv2D":
        return [node]
    depthwise, pointwise, *bias = node.weights
    config = {k: node.config[k] for k in ("strides", "padding", "dilation_rate") if k in node.config}
    config |= {"kernel_size": depthwise.shape[:2], "depth_multiplier": depthwise.shape[3], "use_bias": False}
    first = replace(
        node,
        name=f"{node.name}_depthwise",
        kind="DepthwiseConv2D",
        config=config,
        weights=(depthwise,),
        shape=(*node.shape[:2], depthwise.shape[2] * depthwise.shape[3]),
        layer=node.layer and f"{node.layer}_depthwise",
    )
    return [first, _one_by_one(replace(node, inputs=(first.name,)), pointwise, bias)]


def _one_by_one(node: Node, kernel: np.ndarray, bias: Sequence[np.ndarray]) -> Node:
    config = {
        "filters": kernel.shape[-1],
        "kernel_size": (1, 1),
        "use_bias": bool(bias),
        "activation": node.activation,
    }
    return replace(node, kind="Conv2D", config=config, weights=(kernel, *bias))
