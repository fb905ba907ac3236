"""Reading and writing .tflite files as what they are: flatbuffers, tables of fields and vectors.

The schema library reads them, into one object a table. Its own writer stores equal parts as often as they
occur; the one here stores equal vectors and tables once, leaves fields out that hold their default, and pads
no more than alignment asks for.

Source: google/flatbuffers, docs/source/internals.md.
"""

import copy
import math
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import number_types

#: What every .tflite file has at its bytes 4 to 8.
IDENTIFIER = b"TFL3"
#: Offsets have 32 bits, and readers take the highest for a sign.
MOST_BYTES = 2**31 - 1
#: Alignment that interpreters want of bytes: of a constant, and of what a custom operator reads.
ALIGNMENT = 16
#: Tensors and operators of a file, all graphs together.
MOST_PARTS = 2**20


class DamagedFileError(ValueError):
    """No .tflite file, or one whose parts do not fit together."""


class UnknownPartError(ValueError):
    """A .tflite file with something in it that is not understood, so that it cannot be written again."""


def read(content: bytes) -> schema.ModelT:
    """The file's root; vectors are views of `content`, strings bytes, what is not there is None.

    Raises:
        DamagedFileError: no .tflite file, or one with an offset that leads outside.
        UnknownPartError: a file of more than 2 GB.
    """
    if len(content) > MOST_BYTES:
        raise UnknownPartError(f"the file has {len(content):,} bytes; allowed: up to {MOST_BYTES:,}")
    if content[4:8] != IDENTIFIER:
        raise DamagedFileError(f"no .tflite file: bytes 4 to 8 are {content[4:8]!r}, and must be b'TFL3'")
    try:
        # tables may share their parts, which would be unpacked once for each
        packed = schema.Model.GetRootAs(bytearray(content))
        graphs = [packed.Subgraphs(index) for index in range(packed.SubgraphsLength())]
        parts = sum(graph.TensorsLength() + graph.OperatorsLength() for graph in graphs)
        if parts > MOST_PARTS:
            raise DamagedFileError(f"{parts:,} tensors and operators; allowed: up to {MOST_PARTS:,}")
        root = schema.ModelT.InitFromPackedBuf(bytes(content))
        for buffer in root.buffers or ():
            # large files keep constants behind their tables
            if buffer.offset > 1:
                buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
                buffer.offset = buffer.size = 0
    except (struct.error, OverflowError, TypeError, ValueError) as error:
        raise DamagedFileError(f"the file is damaged: {error}") from error
    return root


def replaced(table: Any, **changes: Any) -> Any:
    """A copy of a table with other values."""
    other = copy.copy(table)
    vars(other).update(changes)
    return other


class _Part(NamedTuple):
    """A table, vector or string that is going to be written.

    Attributes:
        body: its bytes, in which offsets are still 0.
        links: (place of an offset in the body, number of the part that it leads to).
        layout: of a table, where each of its fields is.
        alignment: of what stands behind its first 4 bytes.
    """

    body: bytes
    links: tuple[tuple[int, int], ...] = ()
    layout: bytes = b""
    alignment: int = 4


def write(root: schema.ModelT, *, shared: bool = True, coded: bool = False) -> bytes:
    """The file's bytes.

    Args:
        root: vectors of numbers in it are arrays, strings bytes.
        shared: whether equal parts are stored once.
        coded: constants last, the shorter first: a few bytes more, of which a coder makes fewer.
    """
    builder = _Builder(shared)
    first, parts = root.Pack(builder), builder.parts
    order = _in_order(parts, first)
    if coded:
        order.sort(key=lambda number: len(parts[number].body) if parts[number].alignment == ALIGNMENT else 0)
    places: dict[int, int] = {}
    layouts: dict[bytes, int] = {}
    out = bytearray(4) + IDENTIFIER
    for number in order:
        part = parts[number]
        if part.layout and part.layout not in layouts:
            out.extend(bytes(len(out) % 2))
            layouts[part.layout] = len(out)
            out.extend(part.layout)
        out.extend(bytes(-(len(out) + 4) % part.alignment))
        places[number] = len(out)
        out.extend(part.body)
        if part.layout:
            struct.pack_into("<i", out, places[number], places[number] - layouts[part.layout])
    struct.pack_into("<I", out, 0, places[first])
    for number, start in places.items():
        for place, child in parts[number].links:
            struct.pack_into("<I", out, start + place, places[child] - start - place)
    return bytes(out)


class _Builder:
    """Stands in for the library's builder while tables pack themselves: makes parts, equal ones once.

    Tables hold each other by the numbers of their parts.
    """

    def __init__(self, shared: bool) -> None:
        self.shared = shared
        self.parts: list[_Part] = []
        self.known: dict[Any, int] = {}
        #: of the table that is being built: (slot, format of a number or "" for an offset, value)
        self.fields: list[tuple[int, str, Any]] = []
        #: of the vector of tables that is being built
        self.tables: list[int] = []

    def _made(self, part: _Part) -> int:
        key = part if self.shared else len(self.parts)
        if key not in self.known:
            self.known[key] = len(self.parts)
            self.parts.append(part)
        return self.known[key]

    def __getattr__(self, method: str) -> Callable[[int, Any, Any], None]:
        """`PrependInt32Slot` and its like."""
        kind = method.removeprefix("Prepend").removesuffix("Slot")
        number = getattr(number_types, f"{kind}Flags").packer_type.format

        def prepend(slot: int, value: Any, default: Any) -> None:
            # -0.0 is another number than the default, and equal to it
            if value != default or (value == 0 and math.copysign(1, value) < 0):
                self.fields.append((slot, number, value))

        return prepend

    def PrependUOffsetTRelativeSlot(self, slot: int, part: int, default: int) -> None:
        self.fields.append((slot, "", part))

    def StartObject(self, count: int) -> None:
        self.fields = []

    def EndObject(self) -> int:
        # the larger first, so that none needs padding
        fields = sorted(self.fields, key=lambda field: (-struct.calcsize(field[1] or "<I"), field[0]))
        body, links, places = bytearray(4), [], {}
        for slot, number, value in fields:
            places[slot] = len(body)
            if not number:
                links.append((len(body), value))
            body += struct.pack(number or "<I", value if number else 0)
        slots = range(max(places, default=-1) + 1)
        layout = struct.pack(
            f"<{2 + len(slots)}H", 4 + 2 * len(slots), len(body), *(places.get(slot, 0) for slot in slots)
        )
        alignment = max([4, *(struct.calcsize(number) for _, number, _ in fields)])
        return self._made(_Part(bytes(body), tuple(links), layout, alignment))

    def CreateString(self, text: bytes) -> int:
        return self._made(_Part(struct.pack("<I", len(text)) + text + b"\0"))

    def CreateNumpyVector(self, values: np.ndarray) -> int:
        alignment = ALIGNMENT if values.dtype == np.uint8 else max(4, values.itemsize)
        return self._made(_Part(struct.pack("<I", len(values)) + values.tobytes(), alignment=alignment))

    def StartVector(self, size: int, count: int, alignment: int) -> None:
        self.tables = []

    def PrependUOffsetTRelative(self, part: int) -> None:
        self.tables.insert(0, part)

    def EndVector(self) -> int:
        links = tuple((4 + 4 * place, part) for place, part in enumerate(self.tables))
        return self._made(_Part(struct.pack("<I", len(links)) + bytes(4 * len(links)), links))


def _in_order(parts: list[_Part], root: int) -> list[int]:
    """Each part's number behind all that point to it, since offsets point ahead, and close to the last."""
    order: list[int] = []
    seen: set[int] = set()

    def visit(number: int) -> None:
        seen.add(number)
        for _, child in reversed(parts[number].links):
            if child not in seen:
                visit(child)
        order.append(number)

    visit(root)
    return order[::-1]
