"""Reading and writing .tflite files as what they are: flatbuffers, tables of fields and vectors.

The schema library reads them, into one object a table. Its own writer stores equal parts as often as they
occur; the one here stores equal vectors and tables once, leaves fields out that hold their default, and pads
no more than alignment asks for.

Source: google/flatbuffers, docs/source/internals.md.
"""

import copy
import functools
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import number_types

#: What every .tflite file has at its bytes 4 to 8.
IDENTIFIER = b"TFL3"
#: Offsets have 32 bits, and readers take the highest for a sign.
MOST_BYTES = 2**31 - 1
#: Alignment that interpreters want of a constant, and of what a custom operator reads, in bytes.
ALIGNMENT = 16
_ALIGNED = {("Buffer", "data"), ("Operator", "customOptions")}


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
        return schema.ModelT.InitFromPackedBuf(bytes(content))
    except (struct.error, TypeError, ValueError) as error:
        raise DamagedFileError(f"the file is damaged: {error}") from error


def replaced(table: Any, **changes: Any) -> Any:
    """A copy of a table with other values."""
    other = copy.copy(table)
    vars(other).update(changes)
    return other


@dataclass(frozen=True, kw_only=True)
class _Field:
    """What the schema says of one field: its place, and the `struct` format of a number, "" for an offset."""

    slot: int
    number: str
    default: Any

    @property
    def size(self) -> int:
        """Bytes that it takes in the table."""
        return struct.calcsize(self.number) if self.number else 4


class _Recorder:
    """Stands in for a builder and notes what a builder function asks of it."""

    def __getattr__(self, method: str) -> Any:
        def record(*arguments: Any) -> None:
            self.method, self.arguments = method, arguments

        return record


@functools.cache
def _fields(kind: str) -> Mapping[str, _Field]:
    """The fields of a kind of table by name: asked of the library's builder functions."""
    found = {}
    for name in vars(schema):
        if name.startswith(f"{kind}Add"):
            field, recorder = name.removeprefix(f"{kind}Add"), _Recorder()
            getattr(schema, name)(recorder, 0)
            slot, _, default = recorder.arguments
            flags = f"{recorder.method.removeprefix('Prepend').removesuffix('Slot')}Flags"
            number = getattr(number_types, flags).packer_type.format if hasattr(number_types, flags) else ""
            found[field[0].lower() + field[1:]] = _Field(slot=slot, number=number, default=default)
    return found


@dataclass(eq=False, kw_only=True)
class _Part:
    """A table, vector or string that is going to be written.

    Attributes:
        body: its bytes, in which offsets are still 0.
        links: (place of an offset in the body, the part that it leads to).
        layout: of a table, where each of its fields is.
        alignment: of what stands behind its first 4 bytes.
    """

    body: bytes
    links: tuple[tuple[int, "_Part"], ...] = ()
    layout: bytes = b""
    alignment: int = 4
    place: int = 0


def write(root: schema.ModelT, *, shared: bool = True, coded: bool = False) -> bytes:
    """The file's bytes.

    Args:
        root: vectors in it are arrays, strings bytes, vectors of tables lists.
        shared: whether equal parts are stored once.
        coded: constants last, the shorter first: a few bytes more, of which a coder makes fewer.
    """
    parts = _in_order(_Parts(shared).table(root))
    if coded:
        parts.sort(key=lambda part: len(part.body) if part.alignment == ALIGNMENT else 0)
    layouts: dict[bytes, int] = {}
    out = bytearray(4) + IDENTIFIER
    for part in parts:
        if part.layout and part.layout not in layouts:
            out.extend(bytes(len(out) % 2))
            layouts[part.layout] = len(out)
            out.extend(part.layout)
        out.extend(bytes(-(len(out) + 4) % part.alignment))
        part.place = len(out)
        out.extend(part.body)
        if part.layout:
            struct.pack_into("<i", out, part.place, part.place - layouts[part.layout])
    struct.pack_into("<I", out, 0, parts[0].place)
    for part in parts:
        for place, child in part.links:
            at = part.place + place
            struct.pack_into("<I", out, at, child.place - at)
    return bytes(out)


class _Parts:
    """Turns tables into parts, equal ones into one."""

    def __init__(self, shared: bool) -> None:
        self.shared = shared
        self.known: dict[Any, _Part] = {}

    def table(self, table: Any) -> _Part:
        """The part of a table and, before it, those of all that it holds."""
        kind = type(table).__name__.removesuffix("T")
        given = []
        for name, field in _fields(kind).items():
            value = getattr(table, name)
            if value is not None and (not field.number or value != field.default):
                given.append((name, field, value))
        # the larger first, so that none needs padding
        given.sort(key=lambda entry: (-entry[1].size, entry[1].slot))
        body, links, places = bytearray(4), [], {}
        for name, field, value in given:
            places[field.slot] = len(body)
            if field.number:
                body += struct.pack(field.number, value)
            else:
                alignment = ALIGNMENT if (kind, name) in _ALIGNED else 4
                links.append((len(body), self._child(value, alignment)))
                body += bytes(4)
        slots = range(max(places, default=-1) + 1)
        layout = struct.pack(
            f"<{2 + len(slots)}H", 4 + 2 * len(slots), len(body), *(places.get(slot, 0) for slot in slots)
        )
        alignment = max([4, *(field.size for _, field, _ in given)])
        return self._once(_Part(body=bytes(body), links=tuple(links), layout=layout, alignment=alignment))

    def _child(self, value: Any, alignment: int) -> _Part:
        match value:
            case list() | tuple():
                links = tuple((4 + 4 * place, self.table(table)) for place, table in enumerate(value))
                return self._once(
                    _Part(body=struct.pack("<I", len(value)) + bytes(4 * len(value)), links=links)
                )
            case bytes():
                return self._once(_Part(body=struct.pack("<I", len(value)) + value + b"\0"))
            case np.ndarray():
                body = struct.pack("<I", len(value)) + value.tobytes()
                return self._once(_Part(body=body, alignment=max(alignment, value.itemsize)))
            case _:
                return self.table(value)

    def _once(self, part: _Part) -> _Part:
        links = tuple((place, id(child)) for place, child in part.links)
        key = (part.body, part.layout, part.alignment, links)
        return self.known.setdefault(key, part) if self.shared else part


def _in_order(root: _Part) -> list[_Part]:
    """Each part behind all that point to it, since offsets point ahead, and close to the last of them."""
    order: list[_Part] = []
    seen: set[int] = set()

    def visit(part: _Part) -> None:
        seen.add(id(part))
        for _, child in reversed(part.links):
            if id(child) not in seen:
                visit(child)
        order.append(part)

    visit(root)
    return order[::-1]
