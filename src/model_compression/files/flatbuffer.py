"""Reading and writing .tflite files as what they are: flatbuffers, tables of fields and vectors.

The reader follows no offset without looking where it leads, so that a damaged file ends in an error. The
writer stores equal vectors and tables once, leaves fields out that hold their default, and pads no more than
alignment asks for.

Source: google/flatbuffers, docs/source/internals.md.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .fields import Field, fields_of, union_kinds

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


@dataclass(eq=False)
class _Part:
    """A table or vector that is going to be written.

    Attributes:
        numbers: (slot, code, value) of a table. links: (slot or element, the part pointed to).
        content: of a vector of numbers or a string, with what stands behind it; None for a table and for
            a vector of tables. count: elements of a vector; None for a table.
        alignment: of the first element, or of a table's fields.
    """

    numbers: tuple[tuple[int, str, Any], ...] = ()
    links: tuple[tuple[int, "_Part"], ...] = ()
    content: bytes | memoryview | None = None
    count: int | None = None
    alignment: int = 4
    place: int = 0


def write(root: Table, *, shared: bool = True) -> bytes:
    """The file's bytes.

    Args:
        shared: whether equal parts are stored once; if not, those that are one object still are.
    """
    parts = _in_order(_Parts(shared).table(root))
    layouts: dict[bytes, int] = {}
    out = bytearray(8)
    out[4:8] = IDENTIFIER
    for part in parts:
        if part.count is None:
            _write_table(out, part, layouts)
        else:
            _write_vector(out, part)
    struct.pack_into("<I", out, 0, parts[0].place)
    for part in parts:
        for at, child in _links(part):
            struct.pack_into("<I", out, at, child.place - at)
    return bytes(out)


class _Parts:
    """Turns tables into parts, equal ones into one."""

    def __init__(self, shared: bool) -> None:
        self.shared = shared
        self.by_object: dict[int, _Part] = {}
        self.by_content: dict[Any, _Part] = {}
        self.kept: list[Any] = []

    def _one(self, source: Any, key: Any, part: _Part) -> _Part:
        if self.shared:
            part = self.by_content.setdefault(key, part)
        self.by_object[id(source)] = part
        self.kept.append(source)  # or its id could be another's
        return part

    def table(self, table: Table) -> _Part:
        if id(table) in self.by_object:
            return self.by_object[id(table)]
        numbers, links = [], []
        for name, value in table.values.items():
            spec = fields_of(table.kind)[name]
            if value is None or value == spec.default:
                continue
            if spec.code in ("table", "union"):
                links.append((spec.slot, self.table(value)))
            elif spec.code == "tables":
                links.append((spec.slot, self.tables(value)))
            elif spec.code in ("string", "vector"):
                links.append((spec.slot, self.vector(value, spec)))
            else:
                numbers.append((spec.slot, spec.code, value))
        numbers, links = sorted(numbers), sorted(links, key=lambda link: link[0])
        key = (tuple(numbers), tuple((slot, id(part)) for slot, part in links))
        wide = max((struct.calcsize(code) for _, code, _ in numbers), default=4)
        part = _Part(numbers=tuple(numbers), links=tuple(links), alignment=max(4, wide))
        return self._one(table, key, part)

    def tables(self, tables: tuple[Table, ...]) -> _Part:
        links = tuple(enumerate(self.table(table) for table in tables))
        key = ("tables", tuple(id(part) for _, part in links))
        return self._one(tables, key, _Part(links=links, count=len(links)))

    def vector(self, value: bytes | memoryview, spec: Field) -> _Part:
        if id(value) in self.by_object:
            return self.by_object[id(value)]
        key = (spec.item, spec.alignment, spec.code, bytes(value))
        content = key[-1] + b"\0" if spec.code == "string" else key[-1]
        part = _Part(content=content, count=len(value) // spec.item, alignment=spec.alignment)
        return self._one(value, key, part)


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


def _pad(out: bytearray, alignment: int, ahead: int) -> None:
    """Zeros until what comes `ahead` bytes later is aligned."""
    out.extend(bytes(-(len(out) + ahead) % alignment))


def _write_vector(out: bytearray, part: _Part) -> None:
    _pad(out, max(4, part.alignment), 4)
    part.place = len(out)
    out.extend(struct.pack("<I", part.count))
    out.extend(bytes(4 * len(part.links)) if part.content is None else part.content)


def _sizes(part: _Part) -> Iterator[tuple[int, int]]:
    """Slots of a table with the bytes of their fields, the larger first, so that none needs padding."""
    found = [(slot, struct.calcsize(code)) for slot, code, _ in part.numbers]
    found += [(slot, 4) for slot, _ in part.links]
    yield from sorted(found, key=lambda entry: (-entry[1], entry[0]))


def _write_table(out: bytearray, part: _Part, layouts: dict[bytes, int]) -> None:
    offsets, end = {}, 4
    for slot, size in _sizes(part):
        offsets[slot] = end
        end += size
    slots = max(offsets, default=-1) + 1
    layout = struct.pack(
        f"<{2 + slots}H", 4 + 2 * slots, end, *(offsets.get(slot, 0) for slot in range(slots))
    )
    if layout not in layouts:
        _pad(out, 2, 0)
        layouts[layout] = len(out)
        out.extend(layout)
    _pad(out, part.alignment, 4 if part.alignment == 8 else 0)
    place = part.place = len(out)
    out.extend(bytes(end))
    struct.pack_into("<i", out, place, place - layouts[layout])
    for slot, code, value in part.numbers:
        struct.pack_into(f"<{code}", out, place + offsets[slot], value)
    part.links = tuple((place + offsets[slot], child) for slot, child in part.links)


def _links(part: _Part) -> Iterator[tuple[int, _Part]]:
    """Where the offsets of a written part stand, and what they point to."""
    for at, child in part.links:
        yield (at if part.count is None else part.place + 4 + 4 * at), child
