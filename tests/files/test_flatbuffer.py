"""Files byte by byte: what is written is read again, and a damaged file ends in one clear error."""

import struct

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from conftest import exactly
from tflite_graphs import NONE, Made

from model_compression.files import flatbuffer
from model_compression.files.fields import fields_of
from model_compression.files.flatbuffer import DamagedFileError, Table, UnknownPartError
from model_compression.files.graph import read_model
from model_compression.files.slimming import slim


def small(form: str = "int8") -> bytes:
    made = Made(form, (1, 5, 5, 2), seed=0)
    hidden = made.depthwise(made.conv(made.input, 5, dead=[1])) if made.integer else made.conv(made.input, 5)
    return made.content(made.dense(made.flatten(made.pool(hidden)), 3, activation=NONE))


# Fields


def test_fields_are_those_of_the_schema() -> None:
    fields = fields_of("Conv2DOptions")
    assert (fields["stride_w"].slot, fields["stride_w"].code) == (1, "i")
    assert fields["dilation_wfactor"].default == 1
    assert (fields_of("Tensor")["quantization"].code, fields_of("Tensor")["quantization"].child) == (
        "table",
        "QuantizationParameters",
    )
    assert (fields_of("QuantizationParameters")["zero_point"].item, fields_of("Tensor")["shape"].item) == (
        8,
        4,
    )
    assert fields_of("Buffer")["data"].alignment == 16


def test_no_table_of_options_holds_tables() -> None:
    kinds = [*vars(schema.BuiltinOptions), *vars(schema.BuiltinOptions2)]
    for kind in kinds:
        if not kind.startswith("_"):
            codes = {field.code for field in fields_of(kind).values()}
            assert not codes & {"table", "tables", "union"}, kind


# Reading and writing


@pytest.mark.parametrize(("shared", "coded"), [(True, False), (True, True), (False, False)])
def test_what_is_written_is_read_again(shared: bool, coded: bool) -> None:
    content = small()
    again = flatbuffer.write(flatbuffer.read(content), shared=shared, coded=coded)
    assert tree(flatbuffer.read(again)) == tree(flatbuffer.read(content))
    # the library reads it too
    model = schema.ModelT.InitFromPackedBuf(bytearray(again))
    assert len(model.subgraphs[0].operators) == len(read_model(content).graphs[0].operators)


def tree(value: object) -> object:
    """Tables as what can be compared."""
    if isinstance(value, Table):
        return value.kind, {name: tree(each) for name, each in sorted(value.values.items())}
    if isinstance(value, tuple):
        return [tree(each) for each in value]
    return bytes(value) if isinstance(value, memoryview) else value


def test_equal_vectors_and_tables_take_one_place() -> None:
    tensors = tuple(Table(kind="Tensor", values={"shape": bytes(8), "buffer": 1}) for _ in range(100))
    root = Table(kind="Model", values={"subgraphs": (Table(kind="SubGraph", values={"tensors": tensors}),)})
    once, each = (len(flatbuffer.write(root, shared=shared)) for shared in (True, False))
    # an offset a tensor stays; a shape of 4 + 8 bytes and a table of 4 + 4 + 4 go
    assert each - once == 99 * 24


def test_defaults_take_no_byte() -> None:
    plain = Table(kind="Operator")
    spelled = Table(kind="Operator", values={"opcode_index": 0, "debug_metadata_index": -1, "inputs": None})
    root = [
        Table(kind="Model", values={"subgraphs": (Table(kind="SubGraph", values={"operators": (each,)}),)})
        for each in (plain, spelled)
    ]
    assert flatbuffer.write(root[0]) == flatbuffer.write(root[1])


@pytest.mark.parametrize("kind", ["Buffer", "Operator"])
def test_what_interpreters_read_in_place_is_aligned(kind: str) -> None:
    name = {"Buffer": "data", "Operator": "custom_options"}[kind]
    found = [Table(kind=kind, values={name: bytes([7, number + 1, 7])}) for number in range(5)]
    values = {"buffers": tuple(found)}
    if kind == "Operator":
        values = {"subgraphs": (Table(kind="SubGraph", values={"operators": tuple(found)}),)}
    content = flatbuffer.write(Table(kind="Model", values=values))
    assert [content.index(bytes([7, number + 1, 7])) % 16 for number in range(5)] == [0] * 5


def test_constants_stand_last_in_a_file_that_is_going_to_be_coded() -> None:
    constants = [bytes([7]) * size for size in (50, 9, 30)]
    buffers = tuple(Table(kind="Buffer", values={"data": data}) for data in constants)
    root = Table(kind="Model", values={"buffers": buffers, "description": b"said"})
    content = flatbuffer.write(root, coded=True)
    places = [content.index(struct.pack("<I", len(data)) + data) for data in sorted(constants, key=len)]
    assert places == sorted(places)
    assert content.index(b"said") < places[0]
    assert tree(flatbuffer.read(content)) == tree(root)


# Damage


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip file", b"\x1c\0\0\0TFL"])
def test_file_of_another_kind_is_refused(content: bytes) -> None:
    message = f"no .tflite file: bytes 4 to 8 are {content[4:8]!r}, and must be b'TFL3'"
    with pytest.raises(DamagedFileError, match=exactly(message)):
        flatbuffer.read(content)


def test_offset_that_leads_outside_is_named() -> None:
    content = small()
    outside = struct.pack("<I", len(content)) + content[4:]
    with pytest.raises(DamagedFileError, match=f"^the file is damaged: byte {len(content)} is read, of "):
        flatbuffer.read(outside)


def test_vector_that_ends_outside_is_named() -> None:
    root = Table(kind="Model", values={"description": b"abcd"})
    content = flatbuffer.write(root)
    at = content.index(b"abcd") - 4
    broken = content[:at] + struct.pack("<I", 2**31) + content[at + 4 :]
    with pytest.raises(
        DamagedFileError, match=exactly(f"the file is damaged: the vector at byte {at} ends outside")
    ):
        flatbuffer.read(broken)


def test_vectors_that_overlap_are_not_read_over_and_over() -> None:
    """A few bytes may not stand for gigabytes: 100 vectors of 900 numbers each, in one another's bytes."""
    tensors = tuple(
        Table(kind="Tensor", values={"shape": struct.pack("<I", 0xABC00000 + number)})
        for number in range(100)
    )
    graph = Table(kind="SubGraph", values={"tensors": tensors})
    values = {"subgraphs": (graph,), "description": struct.pack("<I", 900) * 2000}
    content = flatbuffer.write(Table(kind="Model", values=values))
    assert flatbuffer.read(content)["subgraphs"]
    words = np.frombuffer(content[: len(content) // 4 * 4], "<u4").copy()
    places = 4 * np.arange(len(words)) + words
    lengths = np.flatnonzero(words == 900)
    for number in range(100):
        (shape,) = np.flatnonzero(words == 0xABC00000 + number)
        (offset,) = np.flatnonzero(places == 4 * (shape - 1))
        words[offset] = 4 * (lengths[number] - offset)
    with pytest.raises(DamagedFileError, match=exactly("the file is damaged: its parts overlap")):
        flatbuffer.read(words.tobytes())


def test_field_of_a_later_schema_is_named() -> None:
    content = bytearray(flatbuffer.write(Table(kind="Model", values={"version": 3})))
    root = struct.unpack_from("<I", content)[0]
    layout = root - struct.unpack_from("<i", content, root)[0]
    longer = struct.pack("<HH40H", 84, 8, *[0] * 30, 4, *[0] * 9)
    content += longer
    struct.pack_into("<i", content, root, root - (len(content) - len(longer)))
    assert layout != len(content) - len(longer)
    with pytest.raises(
        UnknownPartError, match=exactly("a Model has field 30, which this schema does not know")
    ):
        flatbuffer.read(bytes(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"buffers": (Table(kind="Buffer", values={"offset": 4096, "size": 16}),)}, "outside of its tables"),
        ({"external_buffers": (Table(kind="ExternalBuffer", values={"length": 4}),)}, "in other files"),
    ],
)
def test_constants_outside_of_the_file_are_refused(change: dict[str, object], message: str) -> None:
    root = flatbuffer.read(small()).replaced(**change)
    with pytest.raises(UnknownPartError, match=message):
        slim(flatbuffer.write(root))


@pytest.mark.parametrize("form", ["int8", "hybrid4"])
def test_mutated_files_end_in_a_clear_error_or_a_file(form: str) -> None:
    content, random, refused = small(form), np.random.default_rng(0), 0
    for number in range(150):
        damaged = bytearray(content)
        for _ in range(random.integers(1, 4)):
            at = int(random.integers(8, len(damaged) - 4))
            value = random.choice([0, 1, 2**31, 2**32 - 1, random.integers(2**32)])
            damaged[at : at + 4] = struct.pack("<I", int(value))
        if number % 5 == 0:
            damaged = damaged[: int(random.integers(len(damaged)))]
        try:
            assert len(slim(bytes(damaged)).content) <= len(damaged)
        except (DamagedFileError, UnknownPartError):
            refused += 1
    assert 50 < refused < 150
