"""Which channels of a net can go, together with what, and the narrower net without them.

A channel goes with all that it becomes: what an Add ties together goes together, a depthwise filter with
its input. Whatever is not known to keep channels apart keeps all of them, as do the inputs and the outputs.
"""

import collections
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .keras2 import keras, tf
from .layers import multiply_adds

_MIXING = (keras.layers.Conv2D, keras.layers.Dense)
_TYING = (
    keras.layers.Add, keras.layers.Subtract, keras.layers.Multiply, keras.layers.Average,
    keras.layers.Maximum, keras.layers.Minimum,
)  # fmt: skip
#: Layers that keep channels apart and in their order; the last axis of their weights counts channels.
_CHANNELWISE = (
    keras.layers.Activation, keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU, keras.layers.PReLU,
    keras.layers.BatchNormalization, keras.layers.Dropout, keras.layers.SpatialDropout2D,
    keras.layers.MaxPool2D, keras.layers.AveragePooling2D, keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D, keras.layers.ZeroPadding2D, keras.layers.Cropping2D,
    keras.layers.UpSampling2D,
)  # fmt: skip


class Channels:
    """The channels of a net, numbered from 0; those that go only together have one number.

    Attributes:
        free: bools (channels,): those that can go.
        sets: the free channels of each kernel, in the order of the layers, no set twice.
    """

    def __init__(self, net: keras.Model) -> None:
        self._net = net
        #: By tensor: a number for each of its channels.
        self._ids: dict[str, np.ndarray] = {}
        #: By layer: the axes of its weights that count channels, as (weight, axis, numbers).
        self._axes: dict[str, list[tuple[int, int, np.ndarray]]] = {}
        self._fixed: list[np.ndarray] = []
        self._ties: list[np.ndarray] = []
        self._count = 0
        times = collections.Counter(call.layer for call in _calls(net))
        for call in _calls(net):
            self._follow(call, again=times[call.layer] > 1)
        self._fixed += [self._ids[str(id(output))] for output in net.outputs]
        self._join()

    def _join(self) -> None:
        """Give what is tied one number."""
        edges = np.concatenate(self._ties, axis=1) if self._ties else np.zeros((2, 0), int)
        matrix = coo_matrix((np.ones(edges.shape[1], bool), tuple(edges)), shape=(self._count,) * 2)
        count, labels = connected_components(matrix, directed=False)
        self._axes = {
            name: [(index, axis, labels[ids]) for index, axis, ids in axes]
            for name, axes in self._axes.items()
        }
        self.free = np.ones(count, bool)
        for ids in self._fixed:
            self.free[labels[ids]] = False
        found = [np.unique(made[self.free[made]]) for made in self._made().values()]
        self.sets = [np.array(each) for each in dict.fromkeys(map(tuple, found)) if each]

    def _made(self) -> dict[str, np.ndarray]:
        """The channels that each convolution or Dense layer makes."""
        kernels = [layer for layer in self._net.layers if type(layer) in _MIXING and layer.name in self._axes]
        return {layer.name: self._axes[layer.name][1][2] for layer in kernels}

    def _new(self, width: int) -> np.ndarray:
        self._count += width
        return np.arange(self._count - width, self._count)

    def _tie(self, one: np.ndarray, other: np.ndarray) -> bool:
        """Make two tensors' channels the same; False where one has more than the other."""
        if len(one) != len(other):
            return False
        self._ties.append(np.stack([one, other]))
        return True

    def _follow(self, call: Any, *, again: bool) -> None:
        """Follow the channels through a call of a layer."""
        shapes = [tuple(output.shape) for output in tf.nest.flatten(call.outputs)]
        given = [self._ids[name] for name in call.flat_input_ids]
        # a kernel that is used twice keeps all its channels
        known = given and len(shapes) == 1 and not (again and call.layer.weights)
        found = self._through(call.layer, given, shapes[0]) if known else None
        made = [found] if found is not None else [self._new(shape[-1] or 1) for shape in shapes]
        if found is None:
            self._fixed += [*given, *made]
        self._ids |= zip(map(str, call.flat_output_ids), made, strict=True)

    def _through(
        self, layer: keras.layers.Layer, given: list[np.ndarray], shape: tuple[int, ...]
    ) -> np.ndarray | None:
        """The output's channels; None where they have nothing to do with the inputs'."""
        kind, ids = type(layer), given[0]
        if kind in _MIXING and getattr(layer, "groups", 1) == 1:
            made = self._new(shape[-1])
            self._axes[layer.name] = [(0, -2, ids), (0, -1, made), (1, 0, made)][: 1 + len(layer.weights)]
            return made
        if kind is keras.layers.DepthwiseConv2D:
            made = np.repeat(ids, layer.depth_multiplier)
            self._axes[layer.name] = [(0, 2, ids), (1, 0, made)][: len(layer.weights)]
            return made
        if kind in _CHANNELWISE and all(weight.shape[-1] == len(ids) for weight in layer.weights):
            self._axes[layer.name] = [(index, -1, ids) for index in range(len(layer.weights))]
            return ids
        if kind is keras.layers.Flatten:
            return np.tile(ids, shape[-1] // len(ids))
        if kind is keras.layers.Reshape and shape[-1] == len(ids):
            return ids
        if kind is keras.layers.Concatenate and layer.axis in (-1, len(shape) - 1):
            return np.concatenate(given)
        if kind in _TYING and all(self._tie(ids, other) for other in given[1:]):
            return ids
        return None

    def norms(self) -> np.ndarray:
        """Each channel's L1 norm of its filter, over the mean of its layer; the mean where tied.

        A filter's norm counts the batch normalization behind it once that is folded, as all are here.
        """
        total, times = np.zeros(len(self.free)), np.zeros(len(self.free))
        for name, made in self._made().items():
            kernel = self._net.get_layer(name).get_weights()[0]
            norm = np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]).astype(np.float64), ord=1, axis=0)
            np.add.at(total, made, norm / max(norm.mean(), np.finfo(float).tiny))
            np.add.at(times, made, 1)
        return total / np.maximum(times, 1)

    def count(self, kept: np.ndarray, what: str) -> float:
        """How many "channels", or of `COUNTS`, a net has that keeps some channels, bools (channels,)."""
        return kept[self.free].sum() if what == "channels" else COUNTS[what](self.without(kept))

    def without(self, kept: np.ndarray) -> keras.Model:
        """The narrower net with the weights that are left; the net that was traced stays as it was.

        Args:
            kept: bools (channels,); what is not free has to be kept.
        """
        weights = []
        for layer in self._net.layers:
            arrays = layer.get_weights()
            for index, axis, ids in self._axes.get(layer.name, ()):
                arrays[index] = np.compress(kept[ids], arrays[index], axis=axis)
            weights += arrays
        return with_weights(self._net, weights)


def _calls(net: keras.Model) -> list[Any]:
    """The calls of a net's layers, in an order in which they can be computed."""
    by_depth = sorted(net._nodes_by_depth.items(), reverse=True)
    return [call for _, calls in by_depth for call in calls]


def _memory(net: keras.Model) -> int:
    """The most numbers that are alive at once, the part of an arena that the net decides."""
    calls = _calls(net)
    last = {str(name): place for place, call in enumerate(calls) for name in call.flat_input_ids}
    most, alive = 0, dict[str, int]()
    for place, call in enumerate(calls):
        for name, output in zip(map(str, call.flat_output_ids), tf.nest.flatten(call.outputs), strict=True):
            alive[name] = int(np.prod([size or 1 for size in output.shape[1:]]))
        most = max(most, sum(alive.values()))
        alive = {name: size for name, size in alive.items() if last.get(name, place) > place}
    return most


#: What a target can count of a net, besides its channels.
COUNTS: dict[str, Callable[[keras.Model], int]] = {
    "weights": keras.Model.count_params,
    "multiply_adds": multiply_adds,
    "memory": _memory,
}


def with_weights(net: keras.Model, weights: Sequence[np.ndarray]) -> keras.Model:
    """A net with these weights: itself, or a copy that is narrower, where they are.

    Args:
        weights: in the order of `net.get_weights()`; a kernel's last axis says how many filters or units
            its layer has.
    """
    if all(old.shape == new.shape for old, new in zip(net.weights, weights, strict=True)):
        net.set_weights(weights)
        return net
    given = iter(weights)
    arrays = {layer.name: [next(given) for _ in layer.weights] for layer in net.layers}

    def resized(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if type(layer) in _MIXING:
            config["filters" if "filters" in config else "units"] = arrays[layer.name][0].shape[-1]
        if isinstance(layer, keras.layers.Reshape):
            config["target_shape"] = (*layer.output_shape[1:-1], -1)
        return type(layer).from_config(config)

    copy = keras.models.clone_model(net, clone_function=resized)
    for layer in copy.layers:
        if isinstance(layer, keras.layers.Reshape):
            # the converter does not work out what -1 stands for
            layer.target_shape = layer.output_shape[1:]
    copy.set_weights(weights)
    return copy
