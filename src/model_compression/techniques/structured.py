"""Structured pruning: whole channels go, so that file, memory and time shrink on every runtime.

Source: Li et al. 2017, arXiv:1608.08710 (filters by their L1 norm); for what a sum ties together He et al.
2017, arXiv:1707.06168, section 3.3.
"""

import bisect
from dataclasses import dataclass

import numpy as np

from ..checks import check
from ..nets import narrowing
from ..nets.keras2 import keras
from ..saved_models.building import folded
from .base import Technique


@dataclass(frozen=True, kw_only=True)
class StructuredConfig(Technique):
    """How narrow a net becomes before it is trained on; several steps, each narrower, prune gradually.

    Each layer loses the same share of its channels, those whose filters have the least L1 norm.

    Args:
        keep: what is left, as a part of what the net has before the step; above 0, below 1.
        of: what that is a part of: "channels" of the layers between input and outputs, "weights",
            "multiply_adds" or "memory", the most numbers alive at once.
    Raises:
        ValueError: a field out of range.
    """

    keep: float
    of: str = "channels"

    def __post_init__(self) -> None:
        check(0 < self.keep < 1, "keep", self.keep, "above 0, below 1")
        counts = ("channels", *narrowing.COUNTS)
        check(self.of in counts, "of", self.of, ", ".join(counts))

    label = "structured pruning"

    def why_not(self, net: keras.Model) -> str:
        """Empty where some layer has channels that can go."""
        if any(len(each) > 1 for each in narrowing.Channels(net).sets):
            return ""
        return "no layer of the model has channels that can go"

    def wrap(
        self, net: keras.Model, *, steps: int, seed: int, source: keras.Model | None = None
    ) -> keras.Model:
        """A narrower copy of `net`, its batch normalization folded.

        Raises:
            ValueError: it cannot be made as narrow as that; each layer keeps a channel.
        """
        net = folded(net)
        channels = narrowing.Channels(net)
        order = self._order(channels)

        def kept(dropped: int) -> np.ndarray:
            left = np.ones(len(channels.free), bool)
            left[order[:dropped]] = False
            return left

        def count(dropped: int) -> float:
            return channels.count(kept(dropped), self.of)

        least = count(len(order)) / count(0) if len(order) else 1.0
        if least > self.keep:
            raise ValueError(f"keep is {self.keep!r} of {self.of}; allowed for this net: {least:.2g} or more")
        # the fewest channels dropped that meet the target: what is counted falls with each
        target, drops = self.keep * count(0), range(1, len(order) + 1)
        dropped = drops[bisect.bisect_left(drops, True, key=lambda each: count(each) <= target)]
        return channels.without(kept(dropped))

    def _order(self, channels: narrowing.Channels) -> np.ndarray:
        """The channels that can go, first those that go first; not the last one of any layer."""
        norms = channels.norms()
        ranks, stays = np.zeros(len(norms)), ~channels.free
        for each in channels.sets:
            sorted_set = each[np.argsort(norms[each], kind="stable")]
            ranks[sorted_set] = (np.arange(len(each)) + 0.5) / len(each)
            stays[sorted_set[-1]] = True
        order = np.argsort(ranks, kind="stable")
        return order[~stays[order]]
