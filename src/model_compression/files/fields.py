"""Which fields the tables of a .tflite file have: asked of the schema library's builder functions.

Source: tensorflow/compiler/mlir/lite/schema/schema.fbs.
"""

import functools
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

#: Alignment that interpreters want of a constant, and of what a custom operator reads, in bytes.
ALIGNMENT = 16
_ALIGNED = {("Buffer", "data"), ("Operator", "custom_options")}
#: The kinds of tables, or of vectors of tables, that a field holds; all other vectors hold numbers.
_CHILDREN = {
    ("Model", "operator_codes"): "OperatorCode",
    ("Model", "subgraphs"): "SubGraph",
    ("Model", "buffers"): "Buffer",
    ("Model", "metadata"): "Metadata",
    ("Model", "signature_defs"): "SignatureDef",
    ("Model", "external_buffer_groups"): "ExternalBufferGroup",
    ("Model", "external_buffers"): "ExternalBuffer",
    ("SubGraph", "tensors"): "Tensor",
    ("SubGraph", "operators"): "Operator",
    ("Tensor", "quantization"): "QuantizationParameters",
    ("Tensor", "sparsity"): "SparsityParameters",
    ("Tensor", "variant_tensors"): "VariantSubType",
    ("SparsityParameters", "dim_metadata"): "DimensionMetadata",
    ("SignatureDef", "inputs"): "TensorMap",
    ("SignatureDef", "outputs"): "TensorMap",
}
#: Fields whose kind of table another field names: one more than theirs in the same table, `..._type`.
_UNIONS = {
    ("Operator", "builtin_options"): schema.BuiltinOptions,
    ("Operator", "builtin_options2"): schema.BuiltinOptions2,
    ("QuantizationParameters", "details"): schema.QuantizationDetails,
    ("DimensionMetadata", "array_segments"): schema.SparseIndexVector,
    ("DimensionMetadata", "array_indices"): schema.SparseIndexVector,
}
#: Numbers by the name of the builder's method, as `struct` codes.
_NUMBERS = {
    "Bool": "?", "Int8": "b", "Uint8": "B", "Int16": "h", "Uint16": "H", "Int32": "i", "Uint32": "I",
    "Int64": "q", "Uint64": "Q", "Float32": "f", "Float64": "d",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Field:
    """What the schema says of one field.

    Attributes:
        code: a `struct` code for a number; "table", "tables" (a vector of them), "union", "string" or
            "vector" for what lies elsewhere.
        item: bytes of an element of a vector. alignment: of its first element.
        child: kind of the table or tables.
    """

    slot: int
    code: str
    default: Any = None
    item: int = 1
    alignment: int = 1
    child: str = ""

    @property
    def is_number(self) -> bool:
        """Whether it lies in the table itself."""
        return len(self.code) == 1

    @property
    def size(self) -> int:
        """Bytes that it takes in the table: of a number, or of an offset."""
        return struct.calcsize(self.code) if self.is_number else 4


class _Recorder:
    """Stands in for a builder and notes what a builder function asks of it."""

    def __getattr__(self, method: str) -> Any:
        def record(*arguments: Any) -> None:
            self.method, self.arguments = method, arguments

        return record


@functools.cache
def fields_of(kind: str) -> Mapping[str, Field]:
    """The fields of a kind of table by name, as in the schema: `Tensor` has `shape`, `type`, ..."""
    found = {}
    for name in vars(schema):
        if not name.startswith(f"{kind}Add"):
            continue
        camel, recorder = name.removeprefix(f"{kind}Add"), _Recorder()
        key = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", camel).lower()
        getattr(schema, name)(recorder, 0)
        slot, _, default = recorder.arguments
        number = recorder.method.removeprefix("Prepend").removesuffix("Slot")
        if number in _NUMBERS:
            found[key] = Field(slot=slot, code=_NUMBERS[number], default=default)
            continue
        start = getattr(schema, f"{kind}Start{camel}Vector", None)
        child = _CHILDREN.get((kind, key), "")
        if (kind, key) in _UNIONS:
            found[key] = Field(slot=slot, code="union")
        elif start is None:
            found[key] = Field(slot=slot, code="table" if child else "string", child=child)
        elif child:
            found[key] = Field(slot=slot, code="tables", child=child)
        else:
            start(recorder, 0)
            item, _, alignment = recorder.arguments
            alignment = ALIGNMENT if (kind, key) in _ALIGNED else alignment
            found[key] = Field(slot=slot, code="vector", item=item, alignment=alignment)
    return found


@functools.cache
def union_kinds(kind: str, name: str) -> Mapping[int, str]:
    return {code: member for member, code in vars(_UNIONS[kind, name]).items() if isinstance(code, int)}
