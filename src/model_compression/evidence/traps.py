"""Things that go wrong with every toolkit, made to happen on this net, each with its remedy.

Each table's column `seen` says with how many of the seeds the trap was seen, or what the test over all of
them says. None is the table of a trap of which outcomes are not there: a net may rule forms out.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from ..data.answers import Task
from ..data.labels import right as how_right
from ..files import running
from ..files.graph import Tensor, read_graph
from ..study.outcomes import Record
from .forms import BASELINE, Outcomes, middle, right, verdicts, zeros

#: What loses the zeros, what keeps them, and what had them.
ZEROS = ("pruned_then_plain_qat", "pruned_quantization_aware", "pruned_quantized")


def _seen(seeds: Iterable[bool], rows: int) -> list[str]:
    """The column `seen` of a table: the count stands in its first row, that of the trap."""
    found = list(seeds)
    return [f"{sum(found)} of {len(found)}", *[""] * (rows - 1)]


def _sizes(
    outcomes: Outcomes, names: Sequence[str], seen: Callable[[Record, Record], bool], *fields: str
) -> pd.DataFrame | None:
    """The median seed's zeros and sizes of several files, and with how many seeds the trap is seen.

    Args:
        seen: of the first name's record and the second's.
    """
    if not all(map(outcomes.get, names)):
        return None
    records = {name: [outcome.record for outcome in outcomes[name]] for name in names}
    rows = [
        {
            "model_file": found[0].file,
            "zeros": float(np.median([zeros(record) for record in found])),
            **{field: middle(outcomes[name], field) for field in fields},
        }
        for name, found in records.items()
    ]
    first, second, *_ = records.values()
    return pd.DataFrame(rows).assign(seen=_seen(map(seen, first, second), len(names)))


def pruned_but_not_smaller(outcomes: Outcomes) -> pd.DataFrame | None:
    """Zeros take as many bytes as other numbers until something codes them."""
    names = ("pruned", BASELINE, "pruned_quantized")
    return _sizes(
        outcomes, names, lambda zeros, full: zeros.file_bytes >= full.file_bytes, "file_bytes", "zip_bytes"
    )


def zeros_lost_by_plain_qat(outcomes: Outcomes) -> pd.DataFrame | None:
    """Plain quantization-aware training moves zeros; PQAT's scheme holds them."""
    return _sizes(outcomes, ZEROS, lambda plain, kept: zeros(plain) < zeros(kept), "zip_bytes")


def _dense_kernels(content: bytes) -> list[Tensor]:
    """The largest of the dense layers, where there is one."""
    found = (kernel for kernel, user in read_graph(content).kernels() if user.name == "FULLY_CONNECTED")
    return sorted(found, key=lambda each: np.prod(each.shape))[-1:]


def clusters_split(outcomes: Outcomes) -> pd.DataFrame | None:
    """A scale for each output turns shared values into more."""
    names = ("clustered_16_per_channel", "clustered_16")
    if not all(map(outcomes.get, names)):
        return None
    kernels = [
        [tensor for each in outcomes[name] for tensor in _dense_kernels(each.content)] for name in names
    ]
    if not kernels[0]:
        return pd.DataFrame()
    values = [[len(np.unique(np.asarray(kernel.values))) for kernel in each] for each in kernels]
    return pd.DataFrame(
        {
            "model_file": [outcomes[name][0].record.file for name in names],
            "scales_of_dense": [each[0].scale.size for each in kernels],
            "values_stored": [int(np.median(each)) for each in values],
            "zip_bytes": [middle(outcomes[name], "zip_bytes") for name in names],
            "seen": _seen((split > whole for split, whole in zip(*values, strict=True)), len(names)),
        }
    )


def input_cast(
    outcomes: Outcomes, images: np.ndarray, labels: np.ndarray, *, task: Task = "classes"
) -> pd.DataFrame | None:
    """The int8 files, asked with cast floats, with truncated and with rounded inputs.

    Args:
        images: float32 in [0, 1], (n, ...). labels: (n,), or what else the task asks for.
    """
    if not outcomes.get("int8"):
        return None
    ways = ("cast: inputs.astype(int8)", "truncated: (inputs / scale + zero_point).astype(int8)", "rounded")
    wrong, answers = np.zeros(3, int), np.empty((3, len(outcomes["int8"]), len(labels)))
    for seed, outcome in enumerate(outcomes["int8"]):
        io = running.io_details(outcome.content)
        scale, zero, kind = io.input_scale, io.input_zero_point, io.input_dtype
        steps = images / np.float32(scale) + zero
        stored = [images.astype(kind), steps.astype(kind)]
        stored.append(running.quantize(images, scale=scale, zero_point=zero, dtype=kind))
        for way, inputs in enumerate(stored):
            wrong[way] = wrong[way] if seed else np.sum(inputs != stored[-1])
            meant = (inputs.astype(np.float32) - zero) * np.float32(scale)
            answers[way, seed] = how_right(labels, running.predict(outcome.content, meant, task=task))
    said = verdicts([*((each, answers[-1]) for each in answers[:-1]), None])
    return pd.DataFrame(
        {
            "input": ways,
            "wrong_pixels": wrong,
            "accuracy": answers.mean(axis=(1, 2)),
            "accuracy_change_pp": said.change_pp,
            "seen": said.verdict,
        }
    )


def training_credited_to_pruning(outcomes: Outcomes, labels: np.ndarray) -> pd.DataFrame | None:
    """What longer training alone gives, and what pruning seems to give beside a net without it."""
    names = ("longer_trained", "pruned", BASELINE)
    if not all(map(outcomes.get, names)):
        return None
    found = [right(outcomes[name], labels) for name in names]
    means = 100 * np.array([values.mean() for values in found])
    return pd.DataFrame(
        {
            "model_file": [outcomes[name][0].record.file for name in names],
            "accuracy": means / 100,
            "accuracy_change_pp": means - means[2],
            "against_longer_trained_pp": means - means[0],
            "seen": verdicts([(found[0], found[2]), None, None]).verdict,
        }
    )
