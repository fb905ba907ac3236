"""Reading and writing .tflite files as what they are: flatbuffers, tables of fields and vectors.

The reader follows no offset without looking where it leads, so that a damaged file ends in an error. The
writer stores equal vectors and tables once, leaves fields out that hold their default, and pads no more than
alignment asks for.

Source: google/flatbuffers, docs/source/internals.md.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .fields import ALIGNMENT, Field, fields_of, union_kinds

#: What every .tflite file has at its bytes 4 to 8.
IDENTIFIER = b"TFL3"
#: Offsets have 32 bits, and readers take the highest for a sign.
MOST_BYTES = 2**31 - 1


class DamagedFileError(ValueError):
    """No .tflite file, or one whose parts do not fit together."""


class UnknownPartError(ValueError):
    """A .tflite file with something in it that is not understood, so that it cannot be written again."""


@dataclass(eq=False, kw_only=True)
class Table:
    """A table of a file.

    Attributes:
        kind: its name in the schema.
        values: by field name: a number, a `Table`, a tuple of them, or the bytes of a vector or string.
            A field that is not there holds its default; None where that is nothing.
    """

    kind: str
    values: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        found = self.values.get(name)
        return fields_of(self.kind)[name].default if found is None else found

    def replaced(self, **changes: Any) -> "Table":
        """A copy with other values; None leaves a field out."""
        return Table(kind=self.kind, values=self.values | changes)


# Reading


def read(content: bytes) -> Table:
    """The file's root, a `Model`; vectors are views of `content`.

    Raises:
        DamagedFileError: no .tflite file, or one with an offset that leads outside.
        UnknownPartError: fields that the schema does not know, or a file of more than 2 GB.
    """
    if len(content) > MOST_BYTES:
        raise UnknownPartError(f"the file has {len(content):,} bytes; allowed: up to {MOST_BYTES:,}")
    if content[4:8] != IDENTIFIER:
        raise DamagedFileError(f"no .tflite file: bytes 4 to 8 are {content[4:8]!r}, and must be b'TFL3'")
    reader = _Reader(content)
    return reader.table(reader.target(0), "Model")


class _Reader:
    def __init__(self, content: bytes) -> None:
        self.view = memoryview(content).toreadonly()
        self.tables: dict[tuple[int, str], Table] = {}
        self.vectors: dict[tuple[int, int], memoryview] = {}
        #: bytes that what was not yet read can have, since parts do not overlap
        self.left = len(content)

    def number(self, code: str, at: int) -> Any:
        if not 0 <= at <= len(self.view) - struct.calcsize(code):
            raise DamagedFileError(f"the file is damaged: byte {at} is read, of {len(self.view)}")
        return struct.unpack_from(f"<{code}", self.view, at)[0]

    def target(self, at: int) -> int:
        return at + self.number("I", at)

    def _count(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise DamagedFileError("the file is damaged: its parts overlap")

    def table(self, at: int, kind: str) -> Table:
        if (at, kind) in self.tables:
            return self.tables[at, kind]
        layout = at - self.number("i", at)
        layout_bytes, table_bytes = self.number("H", layout), self.number("H", layout + 2)
        self._count(table_bytes)
        known = {spec.slot: (name, spec) for name, spec in fields_of(kind).items()}
        table = self.tables[at, kind] = Table(kind=kind)
        places = {}
        for slot in range((layout_bytes - 4) // 2):
            if place := self.number("H", layout + 4 + 2 * slot):
                if slot not in known:
                    raise UnknownPartError(f"a {kind} has field {slot}, which this schema does not know")
                places[slot] = at + place
        for slot, place in sorted(places.items()):
            name, spec = known[slot]
            value = self.value(table, name, spec, place)
            if value != spec.default or spec.default is None:
                table.values[name] = value
        return table

    def value(self, table: Table, name: str, spec: Field, at: int) -> Any:
        match spec.code:
            case "table":
                return self.table(self.target(at), spec.child)
            case "tables":
                place = self.target(at)
                size = len(self.vector(place, 4))
                return tuple(self.table(self.target(place + at), spec.child) for at in range(4, 4 + size, 4))
            case "union":
                code, kinds = table[f"{name}_type"], union_kinds(table.kind, name)
                if code not in kinds:
                    raise UnknownPartError(f"{table.kind}.{name} is of kind {code}, which is not known")
                return self.table(self.target(at), kinds[code])
            case "string" | "vector":
                return self.vector(self.target(at), spec.item)
            case number:
                return self.number(number, at)

    def vector(self, at: int, item: int) -> memoryview:
        """The bytes of a vector of elements of `item` bytes, the same object each time."""
        if (at, item) not in self.vectors:
            size = item * self.number("I", at)
            if at + 4 + size > len(self.view):
                raise DamagedFileError(f"the file is damaged: the vector at byte {at} ends outside")
            self._count(size)
            self.vectors[at, item] = self.view[at + 4 : at + 4 + size]
        return self.vectors[at, item]


# Writing


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


def write(root: Table, *, shared: bool = True, coded: bool = False) -> bytes:
    """The file's bytes.

    Args:
        shared: whether equal parts are stored once; if not, those that are one object still are.
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
        #: by the id of what they were made of, which is kept, or its id could be another's
        self.by_object: dict[int, tuple[Any, _Part]] = {}
        self.by_content: dict[Any, _Part] = {}

    def table(self, table: Table) -> _Part:
        """The part of a table and, before it, those of all that it holds."""
        return self._once(table, lambda: self._table(table))

    def _once(self, source: Any, make: Callable[[], _Part]) -> _Part:
        if id(source) not in self.by_object:
            self.by_object[id(source)] = source, self._equal(make())
        return self.by_object[id(source)][1]

    def _equal(self, part: _Part) -> _Part:
        links = tuple((place, id(child)) for place, child in part.links)
        key = (part.body, part.layout, part.alignment, links)
        return self.by_content.setdefault(key, part) if self.shared else part

    def _table(self, table: Table) -> _Part:
        known = fields_of(table.kind)
        given = [
            (known[name], value)
            for name, value in table.values.items()
            if value is not None and value != known[name].default
        ]
        # the larger first, so that none needs padding
        given.sort(key=lambda field: (-field[0].size, field[0].slot))
        body, links, places = bytearray(4), [], {}
        for spec, value in given:
            places[spec.slot] = len(body)
            if spec.is_number:
                body += struct.pack(f"<{spec.code}", value)
            else:
                links.append((len(body), self._child(spec, value)))
                body += bytes(4)
        slots = range(max(places, default=-1) + 1)
        layout = struct.pack(
            f"<{2 + len(slots)}H", 4 + 2 * len(slots), len(body), *(places.get(slot, 0) for slot in slots)
        )
        alignment = max([4, *(spec.size for spec, _ in given)])
        return _Part(body=bytes(body), links=tuple(links), layout=layout, alignment=alignment)

    def _child(self, spec: Field, value: Any) -> _Part:
        match spec.code:
            case "table" | "union":
                return self.table(value)
            case "tables":
                links = tuple((4 + 4 * place, self.table(table)) for place, table in enumerate(value))
                return self._equal(
                    _Part(body=struct.pack("<I", len(value)) + bytes(4 * len(value)), links=links)
                )
            case _:
                return self._once(value, lambda: _vector(spec, value))


def _vector(spec: Field, value: bytes | memoryview) -> _Part:
    end = b"\0" if spec.code == "string" else b""
    body = b"".join((struct.pack("<I", len(value) // spec.item), value, end))
    return _Part(body=body, alignment=max(4, spec.alignment))


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
