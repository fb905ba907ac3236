"""What carrying out a recipe gives."""

from dataclasses import dataclass, replace

import numpy as np

from ..files import running


@dataclass(frozen=True, kw_only=True)
class Record:
    """What one recipe gave with one seed. Sizes in bytes, accuracies as fractions, see `labels.right`.

    Attributes:
        converted_bytes: the file as the converter writes it; file_bytes: without what no interpreter reads.
        best_coded_bytes: the file under the coder that makes it shortest, `best_coder`.
        entropy_bytes: order-0 entropy of the stored kernels: a floor for a coder without memory.
        nonzero_weights, weights: of all kernels; biases are not counted.
        unique_values: distinct stored values of the kernel that has most of them.
        macs, dense_macs: multiply-adds an image, of non-zero weights and of all.
    """

    recipe: str
    file: str
    seed: int
    key: str
    converted_bytes: int
    file_bytes: int
    zip_bytes: int
    best_coded_bytes: int
    best_coder: str
    entropy_bytes: float
    nonzero_weights: int
    weights: int
    unique_values: int
    macs: int
    dense_macs: int
    validation_accuracy: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A record with the file's bytes and what it answered to the test images.

    Attributes:
        predictions: labels, uint16 (n,), or (n, labels) where an image can have several; float32 (n, ...)
            where values were asked for. scores: outputs as the file gave them, float16 (n, outputs), of
            values float32.
    """

    record: Record
    content: bytes
    predictions: np.ndarray
    scores: np.ndarray

    def on(self, images: np.ndarray, labels: np.ndarray) -> "Outcome":
        """The same of some test images only.

        Args:
            images: their places, or a bool for each that there is. labels: theirs.
        """
        predictions = self.predictions[images]
        record = replace(self.record, accuracy=running.accuracy(labels, predictions))
        return replace(self, record=record, predictions=predictions, scores=self.scores[images])
