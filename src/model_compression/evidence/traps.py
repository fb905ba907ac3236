"""Five things that go wrong with every toolkit, made to happen on this net, each with its remedy."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..files import running
from ..files.graph import Tensor, read_graph
from ..study.outcomes import Outcome

Outcomes = Mapping[str, Outcome]


def _kernel(content: bytes) -> Tensor:
    """The largest kernel of a file."""
    return max(
        (tensor for tensor, _ in read_graph(content).kernels()),
        key=lambda tensor: np.prod(tensor.shape),
    )


def pruned_but_not_smaller(outcomes: Outcomes) -> pd.DataFrame:
    """Zeros take as many bytes as other numbers until something codes them."""
    rows = [outcomes[name].record for name in ("non_quantized", "pruned", "pruned_quantized")]
    return pd.DataFrame(
        {
            "model_file": [row.file for row in rows],
            "zeros": [1 - row.nonzero_weights / row.weights for row in rows],
            "file_bytes": [row.file_bytes for row in rows],
            "zip_bytes": [row.zip_bytes for row in rows],
        }
    )


def zeros_lost_by_plain_qat(outcomes: Outcomes) -> pd.DataFrame:
    """Plain quantization-aware training moves zeros; PQAT's scheme holds them."""
    names = ("pruned_quantized", "pruned_then_plain_qat", "pruned_quantization_aware")
    rows = [outcomes[name].record for name in names]
    return pd.DataFrame(
        {
            "model_file": [row.file for row in rows],
            "zeros": [1 - row.nonzero_weights / row.weights for row in rows],
            "zip_bytes": [row.zip_bytes for row in rows],
        }
    )


def clusters_split(outcomes: Outcomes) -> pd.DataFrame:
    """A scale for each output turns 16 shared values into more."""
    names = ("clustered_16_per_channel", "clustered_16")
    kernels = [_kernel(outcomes[name].content) for name in names]
    return pd.DataFrame(
        {
            "model_file": [outcomes[name].record.file for name in names],
            "scales_of_dense": [kernel.scale.size for kernel in kernels],
            "values_stored": [len(np.unique(np.asarray(kernel.values))) for kernel in kernels],
            "zip_bytes": [outcomes[name].record.zip_bytes for name in names],
        }
    )


def input_cast(outcomes: Outcomes, images: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """The int8 file, asked with cast floats, with truncated and with rounded inputs.

    Args:
        images: float32 in [0, 1], (n, ...). labels: (n,).
    """
    content = outcomes["int8"].content
    io = running.io_details(content)
    steps = images / np.float32(io.input_scale) + io.input_zero_point
    right = running.quantize(
        images, scale=io.input_scale, zero_point=io.input_zero_point, dtype=io.input_dtype
    )
    inputs = {
        "cast: images.astype(int8)": images.astype(io.input_dtype),
        "truncated: (images / scale + zero_point).astype(int8)": steps.astype(io.input_dtype),
        "rounded and clipped, then cast": right,
    }
    predicted = [np.argmax(running.invoke(content, stored), axis=-1) for stored in inputs.values()]
    return pd.DataFrame(
        {
            "input": list(inputs),
            "wrong_pixels": [int(np.sum(stored != right)) for stored in inputs.values()],
            "accuracy": [running.accuracy(labels, each) for each in predicted],
        }
    )


def training_credited_to_pruning(outcomes: Outcomes) -> pd.DataFrame:
    """What pruning seems to give beside the baseline, and what it gives beside equal training."""
    names = ("non_quantized", "pruned", "longer_trained")
    rows = [outcomes[name].record for name in names]
    return pd.DataFrame(
        {
            "model_file": [row.file for row in rows],
            "accuracy": [row.accuracy for row in rows],
            "accuracy_change_pp": [100 * (row.accuracy - rows[0].accuracy) for row in rows],
            "against_longer_trained_pp": [100 * (row.accuracy - rows[2].accuracy) for row in rows],
        }
    )
