"""What only scales and shifts goes into a neighbouring kernel, or stands beside it.

Batch normalization, Rescaling and Normalization become one kind of node, and go into a kernel where that is
exact; where it is not, they become a depthwise 1 x 1 convolution, which is.

Source: Jacob et al. 2018 (arXiv:1712.05877), section 3.2, for folding batch normalization.
"""

from dataclasses import replace

import numpy as np

from .graphs import AFFINE, KERNELS, Net, Node, UnsupportedModelError, changed, without


def fold(net: Net) -> Net:
    """The same function with every node that only scales and shifts folded into kernels.

    Into the kernel before it, where nothing else reads that; else into all kernels that read it; else it
    stands as a depthwise 1 x 1 convolution. What has no height and width stays a batch normalization.
    A layer that is called more than once takes nothing up, and x + 3 before a ReLU6 and its sixth behind it
    stay numbers: the converter knows them for the halves of a hard sigmoid.

    Args:
        net: a canonical one.
    """
    for node in net.nodes:
        if node.kind in ("BatchNormalization", "Rescaling", "Normalization"):
            net = changed(net, _as_affine(node))
    for name in [node.name for node in net.nodes if node.kind == AFFINE]:
        if _is_of_hard_sigmoid(net, net.node(name)):
            net = changed(net, replace(net.node(name), kind="Rescaling"))
    for name in [node.name for node in net.nodes if node.kind == AFFINE]:
        net = _slide(net, net.node(name))
    for name in [node.name for node in net.nodes if node.kind == AFFINE]:
        net = _fold_back(net, net.node(name))
    # from the back, so that a chain of two ends up in the kernel behind both
    for name in [node.name for node in reversed(net.nodes) if node.kind == AFFINE]:
        net = _fold_forward(net, net.node(name))
    for node in net.nodes:
        if node.kind == AFFINE:
            net = changed(net, _standing(net, node))
    for name in [node.name for node in net.nodes if node.kind in ("ReLU", "Activation")]:
        net = _tidy_relu(net, net.node(name))
    return net


def _is_of_hard_sigmoid(net: Net, node: Node) -> bool:
    """Whether a node is half of x * relu6(x + 3) / 6, or scales a ReLU6 by which something is multiplied."""
    if any(array.size > 1 for array in node.weights):
        return False
    scale, offset = (float(array[0]) for array in node.weights)
    (source,), readers = node.inputs, net.readers(node.name)
    if (scale, offset) == (1.0, 3.0):
        return len(net.readers(source)) > 1 and bool(readers) and all(_is_relu6(reader) for reader in readers)
    before = next((other for other in net.nodes if other.name == source), None)
    gates = bool(readers) and all(reader.kind == "Multiply" for reader in readers)
    return not offset and gates and before is not None and _is_relu6(before)


def _is_relu6(node: Node) -> bool:
    clips = node.config.get("max_value") == 6 and not node.config.get("negative_slope")
    return (node.kind == "ReLU" and clips) or (node.kind == "Activation" and node.activation == "relu6")


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
        return without(changed(net, fused), node)
    if activation == "relu6":
        return changed(net, replace(node, kind="Activation", config={"activation": "relu6"}))
    return net


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
    return node.kind in KERNELS and node.activation == "linear" and not node.layer


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
        made = replace(before, weights=(first_scale * scale, first_offset * scale + offset))
    elif _is_linear(before):
        kernel = before.weights[0].astype(np.float64)
        channels = before.shape[-1]
        assert channels is not None
        scale, offset = np.broadcast_to(scale, channels), np.broadcast_to(offset, channels)
        # the two last axes of a depthwise kernel together count the output channels
        factor = scale.reshape(kernel.shape[2:]) if before.kind == "DepthwiseConv2D" else scale
        made = _with_bias(before, kernel * factor, _bias(before, channels) * scale + offset)
    else:
        return net
    return without(changed(net, made), node)


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
        if (
            reader.kind in ("Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianNoise")
            and reader.name != net.output
        ):
            waiting += net.readers(reader.name)
        elif reader.kind in KERNELS and _takes_input_affine(reader, node):
            readers.append(reader)
        else:
            return net
    for reader in readers:
        net = changed(net, _absorbed(reader, node))
    return without(net, net.node(node.name))


def _takes_input_affine(reader: Node, node: Node) -> bool:
    """Whether scaling and shifting the input can be moved into the kernel exactly."""
    if reader.config.get("groups", 1) != 1 or reader.layer:
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
