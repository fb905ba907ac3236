"""What the bytes of a .tflite file are: weights, biases, scales, names, and the graph that holds them."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .graph import KERNEL_OPERATORS, Graph, read_model


@dataclass(frozen=True, kw_only=True)
class ContentBytes:
    """The bytes of a file by kind; together all that it has.

    Attributes:
        weights: of convolutions and Dense layers. constants: all others, such as the shapes of reshapes.
        names: of tensors and ends, descriptions and metadata, and the ranges seen in calibration.
        graph: tables, operators, shapes and padding.
    """

    weights: int = 0
    biases: int = 0
    constants: int = 0
    scales: int = 0
    zero_points: int = 0
    names: int = 0
    graph: int = 0

    @property
    def total(self) -> int:
        return sum(getattr(self, entry.name) for entry in fields(self))


_FIELDS = {
    "data": "constants", "scale": "scales", "zeroPoint": "zero_points", "min": "names", "max": "names",
    "name": "names", "description": "names", "signatureKey": "names", "customCode": "names",
}  # fmt: skip


def bytes_by_kind(content: bytes) -> ContentBytes:
    """Count them; what several tables share counts once.

    Raises:
        ValueError: no .tflite file, a damaged one, or one that is not understood.
    """
    model = read_model(content)
    roles: dict[int, str] = {}
    for graph in model.graphs:
        roles |= {_place(data): role for data, role in _roles(graph)}
    for entry in model.root.metadata or ():
        roles[_place(model.root.buffers[entry.buffer].data)] = "names"
    found = dict.fromkeys((entry.name for entry in fields(ContentBytes)), 0)
    seen: set[int] = set()
    for name, value in _vectors(model.root):
        if _place(value) not in seen:
            seen.add(_place(value))
            role = roles.get(_place(value), _FIELDS.get(name, "graph"))
            # the number of its elements, or a string's end
            found[role] += memoryview(value).nbytes + 4
    found["graph"] += len(content) - sum(found.values())
    return ContentBytes(**found)


def _roles(graph: Graph) -> Iterator[tuple[Any, str]]:
    """The data of kernels and biases, also behind what unpacks them."""
    for operator in graph.operators:
        if operator.name in KERNEL_OPERATORS:
            for index, role in zip(operator.inputs[1:], ("weights", "biases"), strict=False):
                stored = graph.stored(index)
                if stored is not None:
                    yield stored.data, role


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
