"""A .tflite file as C++ source, for devices without a file system.

TensorFlow's own writer, `convert_bytes_to_c_source`, aligns to 4 bytes and knows neither scales nor
operators; TFLite Micro (TFLM) reads a model in place and wants 16.
"""

import re
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from ..files.graph import Graph, Model, Tensor, read_model

#: TFLM reads tensors where they lie in the array, with vector loads on some targets.
ALIGNMENT = 16
_BYTES_A_LINE = 15
#: Builtin operators that TFLM has a kernel for, under their schema names.
#: Source: the Register_* functions in the `tflite-micro` wheel.
TFLM_OPERATORS = frozenset(
    """
    ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND
    BROADCAST_ARGS BROADCAST_TO CALL_ONCE CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTHWISE_CONV_2D
    DEPTH_TO_SPACE DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FILL
    FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH IF
    L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC
    LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL PACK PAD PADV2 PRELU
    QUANTIZE READ_VARIABLE REDUCE_ALL REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE RESIZE_BILINEAR
    RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND
    SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM SVDF TANH
    TRANSPOSE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK VAR_HANDLE WHILE ZEROS_LIKE
    """.split()  # noqa: SIM905 - a list a page long otherwise
)


#: Calls that are not the schema name in camel case, and those of custom operators.
_IRREGULAR_CALLS = {
    "BATCH_MATMUL": "AddBatchMatMul",
    "CUMSUM": "AddCumSum",
    "PADV2": "AddPadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
    "CUSTOM TFLM_DECODE": "AddDecode",
    "CUSTOM CIRCULAR_BUFFER": "AddCircularBuffer",
    "CUSTOM TFLite_Detection_PostProcess": "AddDetectionPostprocess",
}


_HEADER = """\
#ifndef {guard}
#define {guard}

#include <cstddef>
#include <cstdint>

namespace {name} {{

// A .tflite file, to be read in place.
alignas({alignment}) extern const unsigned char model_data[];
constexpr std::size_t model_bytes = {size};

{constants}

}}  // namespace {name}

#endif  // {guard}
"""
_ARENA = """\
// The smallest arena that worked, with reference kernels, on a 64-bit host; align it to 16.
constexpr std::size_t arena_bytes = {arena_bytes};"""
_REGISTER = """
// Fills a MicroMutableOpResolver<operator_count>; true when all went well.
constexpr unsigned int operator_count = {count};
template <typename Resolver>
bool register_operators(Resolver& resolver) {{
  return {checks};
}}"""


@dataclass(frozen=True, kw_only=True)
class Firmware:
    """C++ source of one model.

    Attributes:
        name: the namespace; the files are `header_name` and `source_name`.
        header, source: the text of the two files.
        operators: the calls of TFLM's MicroMutableOpResolver that the model needs, such as "AddConv2D".
        missing_operators: operators that TFLM has no kernel for; with any, the header has no
            `register_operators`.
    """

    name: str
    header: str
    source: str
    operators: tuple[str, ...]
    missing_operators: tuple[str, ...]

    @property
    def header_name(self) -> str:
        return f"{self.name}.h"

    @property
    def source_name(self) -> str:
        return f"{self.name}.cc"


def firmware(content: bytes, file_name: str, *, arena_bytes: int | None = None) -> Firmware:
    """A .tflite file as a header and a source file.

    The header declares, in a namespace of the file's name: `model_data`, aligned to 16, and `model_bytes`;
    `arena_bytes`, where it is known; of the input and the output the size in bytes, the scale and the zero
    point, where real value = scale * (integer - zero_point), and scale 0 stands for a tensor of real values
    (several are numbered, `input0_scale`); `operator_count` and `register_operators`, which fills a
    MicroMutableOpResolver<operator_count> and returns true when all went well. It needs no header of TFLM's.

    Args:
        content: the file.
        file_name: the name, or a path that ends in it; see `identifier`.
        arena_bytes: as measured; None leaves it out.
    Raises:
        ValueError: `content` is no .tflite file, or `arena_bytes` is not above 0.
    """
    if arena_bytes is not None and arena_bytes <= 0:
        raise ValueError(f"arena_bytes is {arena_bytes!r}: allowed is 1 or more, or None")
    model = read_model(content)
    operators, missing = resolver_calls(model)
    name = identifier(file_name)
    lines = [_ARENA.format(arena_bytes=arena_bytes) if arena_bytes else "// The arena was not measured."]
    lines += ["", "// Real value = scale * (integer - zero_point); scale 0: the tensor holds real values."]
    lines += _ends_lines(model.graphs[0])
    if missing:
        lines += ["", f"// TFLite Micro cannot run this model: it has no kernel for {', '.join(missing)}."]
    else:
        checks = " &&\n         ".join(f"resolver.{call}() == 0" for call in operators)
        lines += [_REGISTER.format(count=len(operators), checks=checks or "true")]
    return Firmware(
        name=name,
        header=_HEADER.format(
            name=name,
            guard=f"{name.upper()}_H_",
            alignment=ALIGNMENT,
            size=len(content),
            constants="\n".join(lines),
        ),
        source=_source(name, content),
        operators=operators,
        missing_operators=missing,
    )


def identifier(file_name: str) -> str:
    """A C++ identifier for a file: its stem in lower case, with "_" for each run of what is not a-z or 0-9.

    Ends in "model", so that it is no keyword, and starts with a letter. Two names may come out the same.
    """
    stem = PurePath(file_name).name.lower().removesuffix(".tflite")
    words = re.sub(r"[^a-z0-9]+", "_", stem).strip("_")
    if not words.endswith("model"):
        words = f"{words}_model".strip("_")
    return words if words[0].isalpha() else f"m_{words}"


def resolver_calls(model: Model) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The calls that register a file's operators with TFLM, and the operators that TFLM has no kernel for.

    Both in the order of execution, each once.
    """
    names = dict.fromkeys(operator.name for graph in model.graphs for operator in graph.operators)
    known = [name for name in names if name in TFLM_OPERATORS or name in _IRREGULAR_CALLS]
    missing = [name.removeprefix("CUSTOM ") for name in names if name not in known]
    return tuple(_IRREGULAR_CALLS.get(name, _camel_case(name)) for name in known), tuple(missing)


def _camel_case(name: str) -> str:
    words = (word if word == "2D" else word.capitalize() for word in name.split("_"))
    return "Add" + "".join(words)


def _ends_lines(graph: Graph) -> list[str]:
    lines = []
    for role, ends in (("input", graph.inputs), ("output", graph.outputs)):
        for number, index in enumerate(ends):
            lines += _tensor_lines(role if len(ends) == 1 else f"{role}{number}", graph.tensors[index])
    return lines


def _tensor_lines(role: str, tensor: Tensor) -> list[str]:
    scale = np.float32(tensor.scale[0] if tensor.scale.size else 0)
    zero_point = int(tensor.zero_point[0]) if tensor.zero_point.size else 0
    size = int(np.prod(tensor.shape, dtype=np.int64)) * tensor.bits // 8
    return [
        f"// {role}: {tensor.dtype}, shape {' x '.join(map(str, tensor.shape)) or 'scalar'}",
        *(f"// {line}" for line in _usage(role, tensor, scale, zero_point)),
        f"constexpr std::size_t {role}_bytes = {size};",
        # repr is the shortest text that gives the same float32 back
        f"constexpr float {role}_scale = {float(str(scale))!r}f;",
        f"constexpr std::int32_t {role}_zero_point = {zero_point};",
    ]


def _usage(role: str, tensor: Tensor, scale: np.float32, zero_point: int) -> list[str]:
    """How real numbers get in or out; the range is the one that the model was given."""
    if not scale:
        return ["real numbers, in the range that the model took"] if role.startswith("input") else []
    limits = np.iinfo(tensor.dtype)
    low, high = (float(scale) * (int(limit) - zero_point) for limit in (limits.min, limits.max))
    if not role.startswith("input"):
        return [f"{role}_scale * ({role}[i] - {role}_zero_point) runs from {low:.4g} to {high:.4g}"]
    return [
        f"x[i], as the model took it, from {low:.4g} to {high:.4g}:",
        f"{role}[i] = std::lround(x[i] / {role}_scale) + {role}_zero_point;",
    ]


def _source(name: str, content: bytes) -> str:
    rows = (content[start : start + _BYTES_A_LINE] for start in range(0, len(content), _BYTES_A_LINE))
    array = "\n".join("    " + " ".join(f"0x{byte:02x}," for byte in row) for row in rows)
    return f"""#include "{name}.h"

namespace {name} {{

alignas({ALIGNMENT}) const unsigned char model_data[] = {{
{array}
}};

static_assert(sizeof(model_data) == model_bytes, "the header is of another model");

}}  // namespace {name}
"""
