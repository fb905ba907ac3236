"""Weight clustering: every kernel shares a few values (Han et al. 2015, arXiv:1510.00149, section 3).

TFMOT's implementation; its experimental entry point is the one that can keep zeros.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..checks import check_whole
from ..nets.keras2 import cluster_weights, keras, tfmot
from ..nets.layers import kernel_layers
from .base import Kept, Technique

CentroidInitialization = tfmot.clustering.keras.CentroidInitialization


@dataclass(frozen=True, kw_only=True)
class ClusterConfig(Technique):
    """How many values a kernel may take.

    Args:
        clusters: most centroids a kernel, 2 to 256 (more would not fit int8); with sparsity preserved from 3,
            and fewer for a kernel that keeps fewer weights than that.
        preserve_sparsity: keep zeros where they are; zero is then one of the centroids.
    Raises:
        ValueError: a field out of range.
    """

    clusters: int
    preserve_sparsity: bool = False

    def __post_init__(self) -> None:
        check_whole("clusters", self.clusters, self.fewest, 256)

    @property
    def fewest(self) -> int:
        """Centroids: one for zero and one for each sign, where zeros are kept."""
        return 3 if self.preserve_sparsity else 2

    shares_values = True

    @property
    def label(self) -> str:
        return f"clustering to {self.clusters}"

    def check_after(self, before: Sequence[Technique]) -> None:
        if self.preserve_sparsity and not any(earlier.leaves_zeros for earlier in before):
            raise ValueError("preserve_sparsity is True; allowed: only after a pruning step")

    def takes(self, layer: keras.layers.Layer) -> bool:
        """Whether `layer` has a kernel with more weights than centroids."""
        if not super().takes(layer) or isinstance(layer, keras.layers.DepthwiseConv2D):
            return False
        return layer.count_params() > 2 * self.clusters

    def wrap(
        self, net: keras.Model, *, steps: int, seed: int, source: keras.Model | None = None
    ) -> keras.Model:
        """A copy of `net` whose kernels are clustered while it trains.

        Raises:
            ValueError: no kernel has more weights than `clusters`, or a sparse one keeps fewer than two.
        """

        def clustered(layer: keras.layers.Layer) -> keras.layers.Layer:
            return cluster_weights(
                layer,
                number_of_clusters=self._centroids(layer),
                cluster_centroids_init=CentroidInitialization.KMEANS_PLUS_PLUS,
                preserve_sparsity=self.preserve_sparsity,
            )

        wrapped = self.wrap_layers(net, clustered)
        # kernels too small to be clustered keep their zeros by not being trained
        for layer in kernel_layers(wrapped):
            layer.trainable = not self.preserve_sparsity
        return wrapped

    def strip(self, net: keras.Model) -> keras.Model:
        stripped = tfmot.clustering.keras.strip_clustering(net)
        for layer in kernel_layers(stripped):
            layer.trainable = True
        return stripped

    def promise(self, layers: Sequence[keras.layers.Layer], before: Kept) -> Kept:
        """Few values in each kernel that it takes; the zeros from before where it preserves them."""
        return Kept(
            zeros=before.zeros if self.preserve_sparsity else {},
            unique_values={layer.name: self.clusters for layer in layers if self.takes(layer)},
        )

    def _centroids(self, layer: keras.layers.Layer) -> int:
        """How many centroids a kernel can have.

        With sparsity preserved, TFMOT shares all but the one for zero out to the negative and the positive
        weights, by their numbers, and fails where either has fewer weights than centroids.
        """
        if not self.preserve_sparsity:
            return self.clusters
        values = layer.kernel.numpy()
        negative, positive = int((values < 0).sum()), int((values > 0).sum())
        for clusters in range(self.clusters, self.fewest - 1, -1):
            below = round((clusters - 1) * negative / max(negative + positive, 1))
            if below <= negative and clusters - 1 - below <= positive:
                return clusters
        raise ValueError(
            f"{layer.name} keeps {negative + positive} weights other than zero; "
            "allowed for sparse clusters: 2 or more"
        )
