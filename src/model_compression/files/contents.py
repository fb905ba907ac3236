"""What the bytes of a .tflite file are: weights, biases, scales, names, and the graph that holds them."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .graph import KERNEL_OPERATORS, read_model

#: Constants are those that are no weights or biases, such as the shapes of reshapes; names those of tensors
#: and ends, descriptions and metadata, and the ranges seen in calibration; the graph is all else: tables,
#: operators, shapes and padding.
KINDS = ("weights", "biases", "constants", "scales", "zero_points", "names", "graph")
_FIELDS = {
    "data": "constants", "scale": "scales", "zeroPoint": "zero_points", "min": "names", "max": "names",
    "name": "names", "description": "names", "signatureKey": "names", "customCode": "names",
}  # fmt: skip


def bytes_by_kind(content: bytes) -> dict[str, int]:
    """The bytes of each of the `KINDS`, together all of the file; what several tables share counts once.

    Raises:
        ValueError: no .tflite file, a damaged one, or one that is not understood.
    """
    model = read_model(content)
    roles: dict[int, str] = {}
    for graph in model.graphs:
        for operator in graph.operators:
            if operator.name in KERNEL_OPERATORS:
                # also behind what unpacks them
                stored = [graph.stored(index) for index in operator.inputs[1:]]
                named = zip(stored, ("weights", "biases"), strict=False)
                roles |= {_place(tensor.data): role for tensor, role in named if tensor is not None}
    for entry in model.root.metadata or ():
        roles[_place(model.root.buffers[entry.buffer].data)] = "names"
    found = dict.fromkeys(KINDS, 0)
    seen: set[int] = set()
    for name, value in _vectors(model.root):
        if _place(value) not in seen:
            seen.add(_place(value))
            role = roles.get(_place(value), _FIELDS.get(name, "graph"))
            # the number of its elements, or a string's end
            found[role] += memoryview(value).nbytes + 4
    found["graph"] += len(content) - sum(found.values())
    return found


def _place(value: Any) -> int:
    """Where a vector lies in memory; strings are copies, one for each table."""
    return value.__array_interface__["data"][0] if isinstance(value, np.ndarray) else id(value)


def _vectors(table: Any) -> Iterator[tuple[str, Any]]:
    """Every vector of numbers and string below a table, with the field it is in."""
    for name, value in vars(table).items():
        if isinstance(value, np.ndarray | bytes):
            yield name, value
        elif isinstance(value, list) or hasattr(value, "__dict__"):
            for child in value if isinstance(value, list) else (value,):
                yield from _vectors(child)
