"""Files byte by byte: what is written is read again, and a damaged file ends in one clear error."""

import struct
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from conftest import exactly
from tflite_graphs import NONE, Made

from model_compression.files import flatbuffer
from model_compression.files.flatbuffer import DamagedFileError, UnknownPartError, replaced
from model_compression.files.slimming import slim


def small(form: str = "int8") -> bytes:
    made = Made(form, (1, 5, 5, 2), seed=0)
    hidden = made.depthwise(made.conv(made.input, 5, dead=[1])) if made.integer else made.conv(made.input, 5)
    return made.content(made.dense(made.flatten(made.pool(hidden)), 3, activation=NONE))


# Reading and writing


@pytest.mark.parametrize(("shared", "coded"), [(True, False), (True, True), (False, False)])
def test_what_is_written_is_read_again(shared: bool, coded: bool) -> None:
    content = small()
    again = flatbuffer.write(flatbuffer.read(content), shared=shared, coded=coded)
    assert tree(flatbuffer.read(again)) == tree(flatbuffer.read(content))


def tree(value: Any) -> Any:
    """Tables as what can be compared."""
    if isinstance(value, list):
        return [tree(each) for each in value]
    if isinstance(value, np.ndarray):
        return value.dtype, value.tolist()
    return {name: tree(each) for name, each in vars(value).items()} if hasattr(value, "__dict__") else value


def data(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8)


def test_equal_vectors_and_tables_take_one_place() -> None:
    tensors = [schema.TensorT(shape=np.zeros(2, np.int32), buffer=1) for _ in range(100)]
    root = schema.ModelT(subgraphs=[schema.SubGraphT(tensors=tensors)])
    once, each = (len(flatbuffer.write(root, shared=shared)) for shared in (True, False))
    # an offset a tensor stays; a shape of 4 + 8 bytes and a table of 4 + 4 + 4 go
    assert each - once == 99 * 24


def test_defaults_take_no_byte() -> None:
    graph = schema.SubGraphT(operators=[schema.OperatorT(opcodeIndex=0, debugMetadataIndex=-1)])
    content = flatbuffer.write(schema.ModelT(subgraphs=[graph]))
    # a layout of no field, which is 4 bytes long as its table is, and the table, which points 4 back
    assert content.endswith(struct.pack("<HHi", 4, 4, 4))


@pytest.mark.parametrize("kind", ["Buffer", "Operator"])
def test_what_interpreters_read_in_place_is_aligned(kind: str) -> None:
    name = {"Buffer": "data", "Operator": "customOptions"}[kind]
    found = [getattr(schema, f"{kind}T")(**{name: data(bytes([7, n + 1, 7]))}) for n in range(5)]
    graphs = [schema.SubGraphT(operators=found)]
    root = schema.ModelT(buffers=found) if kind == "Buffer" else schema.ModelT(subgraphs=graphs)
    content = flatbuffer.write(root)
    assert [content.index(bytes([7, number + 1, 7])) % 16 for number in range(5)] == [0] * 5


def test_constants_stand_last_in_a_file_that_is_going_to_be_coded() -> None:
    constants = [bytes([7]) * size for size in (50, 9, 30)]
    buffers = [schema.BufferT(data=data(each)) for each in constants]
    root = schema.ModelT(buffers=buffers, description=b"said")
    content = flatbuffer.write(root, coded=True)
    places = [content.index(struct.pack("<I", len(each)) + each) for each in sorted(constants, key=len)]
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
    with pytest.raises(DamagedFileError, match=r"^the file is damaged: "):
        flatbuffer.read(outside)


def test_vector_that_ends_outside_is_named() -> None:
    root = schema.ModelT(buffers=[schema.BufferT(data=data(b"abcd"))])
    content = flatbuffer.write(root)
    at = content.index(b"abcd") - 4
    broken = content[:at] + struct.pack("<I", 2**31) + content[at + 4 :]
    with pytest.raises(DamagedFileError, match=r"^the file is damaged: "):
        flatbuffer.read(broken)


def test_options_of_a_later_schema_are_named() -> None:
    root = flatbuffer.read(small())
    root.subgraphs[0].operators[0].builtinOptionsType = 255
    message = "an operator has options of kind 255, which is not known"
    with pytest.raises(UnknownPartError, match=exactly(message)):
        slim(flatbuffer.write(root))


def test_weights_quantized_in_blocks_are_named() -> None:
    root = flatbuffer.read(small())
    for tensor in root.subgraphs[0].tensors:
        if tensor.quantization:
            tensor.quantization.detailsType = schema.QuantizationDetails.BlockwiseQuantization
            tensor.quantization.details = schema.BlockwiseQuantizationT()
    with pytest.raises(UnknownPartError, match="is quantized in blocks, which is not understood"):
        slim(flatbuffer.write(root))


def test_operator_that_writes_nowhere_is_named() -> None:
    root = flatbuffer.read(small())
    root.subgraphs[0].operators[-1].outputs = np.array([-1], np.int32)
    with pytest.raises(flatbuffer.DamagedFileError, match="an operator writes a tensor that is not there"):
        slim(flatbuffer.write(root))


def test_more_parts_than_any_net_has_are_refused_before_they_are_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flatbuffer, "MOST_PARTS", 3)
    with pytest.raises(flatbuffer.DamagedFileError, match="tensors and operators; allowed: up to 3"):
        flatbuffer.read(small())


def test_negative_zero_is_no_default() -> None:
    root = flatbuffer.read(small())
    operator = root.subgraphs[0].operators[0]
    operator.builtinOptionsType = schema.BuiltinOptions.LeakyReluOptions
    operator.builtinOptions = schema.LeakyReluOptionsT(alpha=-0.0)
    again = flatbuffer.read(flatbuffer.write(root)).subgraphs[0].operators[0].builtinOptions
    assert np.signbit(again.alpha)


def test_constants_in_other_files_are_refused() -> None:
    root = replaced(flatbuffer.read(small()), externalBuffers=[schema.ExternalBufferT(length=4)])
    with pytest.raises(UnknownPartError, match="in other files"):
        slim(flatbuffer.write(root))


def behind(content: bytes) -> bytes:
    """The same file with its constants behind its tables, as the quantizer writes large ones."""
    root = flatbuffer.read(content)
    held = [b"" if buffer.data is None else bytes(buffer.data) for buffer in root.buffers]

    def tables(start: int) -> bytes:
        places = np.cumsum([start, *map(len, held)]).tolist()
        buffers = [
            schema.BufferT(offset=at, size=len(each)) if each else schema.BufferT()
            for at, each in zip(places, held, strict=False)
        ]
        return flatbuffer.write(replaced(root, buffers=buffers), shared=False)

    # as long with whatever numbers
    return tables(len(tables(2**20))) + b"".join(held)


@pytest.mark.parametrize(("offset", "size"), [(2**63, 4), (2**64 - 1, 4), (4096, 2**63), (4096, 2**64 - 1)])
def test_constants_that_lie_nowhere_are_named(offset: int, size: int) -> None:
    root = replaced(flatbuffer.read(small()), buffers=[schema.BufferT(offset=offset, size=size)])
    with pytest.raises(DamagedFileError, match=r"^the file is damaged: "):
        flatbuffer.read(flatbuffer.write(root))


def test_constants_behind_the_tables_are_read() -> None:
    content = small()
    moved = behind(content)
    assert len(moved) > len(content) // 2
    assert slim(moved).content == slim(content).content
    with pytest.raises(DamagedFileError, match=r"^the file is damaged: "):
        flatbuffer.read(moved[:-1])


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
