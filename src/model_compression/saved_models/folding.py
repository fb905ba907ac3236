"""What only scales and shifts goes into a neighbouring kernel, or stands beside it.

Batch normalization, Rescaling and Normalization become one kind of node, and go into a kernel where that is
exact; where it is not, they become a depthwise 1 x 1 convolution, which is.

Source: Jacob et al. 2018 (arXiv:1712.05877), section 3.2, for folding batch normalization.
"""

from dataclasses import replace

import numpy as np

from .graphs import AFFINE, KERNELS, Net, Node, UnsupportedModelError, changed, rewritten, without


def fold(net: Net) -> Net:
    """The same function with every node that only scales and shifts folded into kernels.

    Into the kernel before it, where nothing else reads that; else into all kernels that read it; else it
    stands as a depthwise 1 x 1 convolution. What has no height and width stays a batch normalization. What
    makes inputs of different sizes alike stays a Normalization: a kernel that did so would hold weights of
    all sizes. A layer that is called more than once takes nothing up, and x + 3 before a ReLU6 and its sixth
    behind it stay numbers: the converter knows them for the halves of a hard sigmoid.

    Args:
        net: a canonical one.
    """
    net = rewritten(net, ("BatchNormalization", "Rescaling", "Normalization"), _as_affine)
    for rule in (_spare_hard_sigmoid, _fold_back):
        net = rewritten(net, [AFFINE], rule)
    # from the end, so that a chain of two ends up in the kernel behind both
    net = rewritten(net, [AFFINE], _fold_forward, from_the_end=True)
    net = rewritten(net, [AFFINE], _stand)
    return rewritten(net, ("ReLU", "Activation"), _fuse_relu)


def _spare_hard_sigmoid(net: Net, node: Node) -> Net:
    """Numbers stay numbers in x * relu6(x + 3) / 6, and where a ReLU6 is scaled by which others are gated."""
    if any(array.size > 1 for array in node.weights):
        return net
    scale, offset = (float(array[0]) for array in node.weights)
    (source,), readers, before = node.inputs, net.readers(node.name), net.before(node)
    if (scale, offset) == (1.0, 3.0):
        spared = len(net.readers(source)) > 1 and all(reader.activation == "relu6" for reader in readers)
    else:
        gates = all(reader.kind == "Multiply" for reader in readers)
        spared = not offset and gates and before is not None and before.activation == "relu6"
    return changed(net, replace(node, kind="Rescaling")) if spared and readers else net


def _fuse_relu(net: Net, node: Node) -> Net:
    """ReLU as a part of the layer before it.

    TFMOT 0.8 takes a ReLU layer right behind a kernel for a reason not to quantize that kernel in training,
    and so loses the zeros and the clusters that it should keep.
    """
    plain = node.activation == "relu" or (
        node.kind == "ReLU"
        and node.config.get("max_value") is None
        and not (node.config.get("negative_slope") or node.config.get("threshold"))
    )
    before = net.before(node)
    if not plain or before is None or not _is_linear(before) or len(net.readers(before.name)) > 1:
        return net
    return without(changed(net, replace(before, config={**before.config, "activation": "relu"})), node)


def _as_affine(net: Net, node: Node) -> Net:
    config = node.config
    if node.kind == "Rescaling":
        scale = np.asarray(config.get("scale", 1.0), np.float64)
        offset = np.asarray(config.get("offset", 0.0), np.float64)
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
    both = np.atleast_1d(scale), np.atleast_1d(offset)
    return changed(net, replace(node, kind=AFFINE, config={}, weights=both))


def _is_linear(node: Node) -> bool:
    return node.kind in KERNELS and node.activation == "linear" and not node.layer


def _with_bias(node: Node, kernel: np.ndarray, bias: np.ndarray) -> Node:
    weights = (kernel.astype(np.float32), bias.astype(np.float32))
    return replace(node, config={**node.config, "use_bias": True}, weights=weights)


def _bias(node: Node) -> np.ndarray:
    """A kernel's bias, or the number 0."""
    return np.asarray(node.weights[1] if len(node.weights) > 1 else 0.0, np.float64)


def _fold_back(net: Net, node: Node) -> Net:
    """Into the kernel, or the other affine node, right before it, where only this node reads that."""
    scale, offset = node.weights
    before = net.before(node)
    if before is None or before.name == net.output or len(net.readers(before.name)) > 1:
        return net
    if before.kind == AFFINE:
        first_scale, first_offset = before.weights
        made = replace(before, weights=(first_scale * scale, first_offset * scale + offset))
    elif _is_linear(before):
        kernel = before.weights[0].astype(np.float64)
        depthwise = before.kind == "DepthwiseConv2D"
        # the two last axes of a depthwise kernel together count the output channels
        channels = kernel.shape[2:] if depthwise else kernel.shape[-1:]
        scale, offset = (np.broadcast_to(w, int(np.prod(channels))) for w in node.weights)
        made = _with_bias(before, kernel * scale.reshape(channels), _bias(before) * scale + offset)
    else:
        return net
    return without(changed(net, made), node)


def _fold_forward(net: Net, node: Node) -> Net:
    """Into every kernel, or other affine node, that reads it, where all of them can take it."""
    kernels, waiting = [], net.readers(node.name)
    if node.name == net.output or not waiting or _evens_out(net, node):
        return net
    passed_over: tuple[str, ...] = _IDLE
    if all(array.size == 1 for array in node.weights):
        passed_over += _MOVING
        # padding brings in zeros, which the offset would not have touched
        passed_over += () if np.any(node.weights[1]) else ("ZeroPadding2D",)
    while waiting:
        reader = waiting.pop()
        if reader.kind in passed_over and reader.name != net.output:
            waiting += net.readers(reader.name)
        elif made := _absorbed(reader, node):
            kernels.append(made)
        else:
            return net
    return without(changed(net, *kernels), node)


#: How often the largest channel's spread may hold the median one's, which takes few steps of 8 bits then.
MOST_APART = 64
#: How often it may hold the smallest one's: from there on, nearly all forms lost more where kernels had to
#: make channels alike themselves (benchmarks/bench_unlike_columns.py).
MOST_UNEVEN = 2


def apart(spreads: np.ndarray) -> float:
    """How often the largest of the channels' spreads holds the median one; those of 0 do not count."""
    found = np.sort(spreads[spreads > 0])
    return float(found[-1] / found[(len(found) - 1) // 2]) if found.size else 1.0


def _evens_out(net: Net, node: Node) -> bool:
    """Whether it makes channels of the input alike of which one is `MOST_UNEVEN` times another."""
    scales = node.weights[0]
    first = node.inputs == (net.input,) and scales.size == node.shape[-1]
    return first and scales.min() > 0 and scales.max() >= MOST_UNEVEN * scales.min()


#: Layers that change nothing in inference, and layers that only move numbers about.
_IDLE = ("Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianNoise")
_MOVING = ("Reshape", "Flatten", "Permute")


def _absorbed(reader: Node, node: Node) -> Node | None:
    """A reader that scales and shifts its input itself; None where it cannot do so exactly."""
    if reader.kind == AFFINE:
        again, offset = reader.weights
        return replace(reader, weights=(again * node.weights[0], again * node.weights[1] + offset))
    # "same" pads with zeros, which the offset would not have touched
    padded = reader.kind != "Dense" and reader.config.get("padding", "valid") != "valid"
    plain = reader.kind in KERNELS and reader.config.get("groups", 1) == 1 and not reader.layer
    if not plain or (padded and np.any(node.weights[1])):
        return None
    kernel = reader.weights[0].astype(np.float64)
    scale, offset = (np.broadcast_to(w, kernel.shape[-2])[:, None] for w in node.weights)
    # a depthwise kernel adds over its places only, the others over the channels that they read too
    summed = (0, 1) if reader.kind == "DepthwiseConv2D" else tuple(range(kernel.ndim - 1))
    moved = (kernel * offset).sum(axis=summed).reshape(-1)
    return _with_bias(reader, kernel * scale, _bias(reader) + moved)


def _stand(net: Net, node: Node) -> Net:
    """An affine node that no kernel could take, as a layer of its own."""
    if _evens_out(net, node):
        # the converter would put a Rescaling, as a batch normalization, into the kernel behind it
        deviations = 1 / node.weights[0]
        weights = (-node.weights[1] * deviations).astype(np.float32), (deviations**2).astype(np.float32)
        return changed(net, replace(node, kind="Normalization", weights=weights))
    channels = node.shape[-1]
    if channels is None:
        raise UnsupportedModelError(f"{node.name} has an open number of channels; allowed is a fixed one")
    scale, offset = (np.broadcast_to(w, channels).astype(np.float32) for w in node.weights)
    if len(node.shape) == 3:
        config = {"kernel_size": (1, 1), "use_bias": True, "activation": "linear"}
        weights = scale.reshape(1, 1, channels, 1), offset
        return changed(net, replace(node, kind="DepthwiseConv2D", config=config, weights=weights))
    # mean 0 and variance 1 - epsilon, so that gamma and beta are all that is left
    config = {"epsilon": 1e-3}
    plain = np.zeros(channels, np.float32), np.full(channels, 1 - np.float32(1e-3), np.float32)
    return changed(
        net, replace(node, kind="BatchNormalization", config=config, weights=(scale, offset, *plain))
    )
