"""A .tflite file as C++ source, for devices without a file system.

TensorFlow's own writer, `convert_bytes_to_c_source`, aligns to 4 bytes and knows neither scales nor
operators; TFLite Micro (TFLM) reads a model in place and wants 16.
"""

import csv
import re
from pathlib import Path, PurePath

import numpy as np

from ..files.graph import Graph, Model, Tensor, read_model
from ..templates import fill

#: TFLM reads tensors where they lie in the array, with vector loads on some targets.
ALIGNMENT = 16
_HERE = Path(__file__).parent
#: Operators that TFLM has a kernel for, under their schema names, and the calls of its
#: MicroMutableOpResolver that register them. Source: the Register_* functions in the `tflite-micro` wheel.
CALLS: dict[str, str] = dict(csv.reader((_HERE / "tflm_operators.csv").read_text().splitlines()))


def firmware(content: bytes, file_name: str, *, arena_bytes: int | None = None) -> dict[str, str]:
    """A .tflite file as the texts of a header and a source file, by file name.

    The header declares, in a namespace of the file's name: `model_data`, aligned to 16, and `model_bytes`;
    `arena_bytes`, where it is known; of the input and the output the size in bytes, the scale and the zero
    point, where real value = scale * (integer - zero_point), and scale 0 stands for a tensor of real values
    (several are numbered, `input0_scale`); `operator_count` and `register_operators`, which fills a
    MicroMutableOpResolver<operator_count> and returns true when all went well, unless TFLM has no kernel for
    an operator. It needs no header of TFLM's.

    Args:
        file_name: the name, or a path that ends in it; see `identifier`.
        arena_bytes: as measured; None leaves it out.
    Raises:
        ValueError: `content` is no .tflite file, or `arena_bytes` is not above 0.
    """
    if arena_bytes is not None and arena_bytes <= 0:
        raise ValueError(f"arena_bytes is {arena_bytes!r}: allowed is 1 or more, or None")
    model = read_model(content)
    calls, missing = resolver_calls(model)
    name = identifier(file_name)
    rows = (content[start : start + 15] for start in range(0, len(content), 15))
    given = {
        "name": name,
        "model_bytes": len(content),
        "rows": [row.hex(" ").replace(" ", ", 0x") for row in rows],
        "alignment": ALIGNMENT,
        "arena_bytes": arena_bytes,
        **ends(model.graphs[0]),
        "calls": calls,
        "missing": missing,
        "remembers": any(call.endswith("LSTM") for call in calls),
    }
    return {f"{name}.{kind}": fill(_HERE / f"firmware.{kind}.jinja", **given) for kind in ("h", "cc")}


def identifier(file_name: str) -> str:
    """A C++ identifier for a file: its stem in lower case, with "_" for each run of what is not a-z or 0-9.

    Ends in "model", so that it is no keyword, and starts with a letter. Two names may come out the same.
    """
    stem = PurePath(file_name).name.lower().removesuffix(".tflite")
    words = re.sub(r"[^a-z0-9]+", "_", stem).strip("_")
    if not words.endswith("model"):
        words = f"{words}_model".strip("_")
    return words if words[0].isalpha() else f"m_{words}"


def resolver_calls(model: Model) -> tuple[list[str], list[str]]:
    """The calls that register a file's operators with TFLM, and the operators that TFLM has no kernel for.

    Both in the order of execution, each once.
    """
    names = dict.fromkeys(operator.name for graph in model.graphs for operator in graph.operators)
    missing = [name.removeprefix("CUSTOM ") for name in names if name not in CALLS]
    return [CALLS[name] for name in names if name in CALLS], missing


def ends(graph: Graph) -> dict[str, list[dict[str, object]]]:
    """What is to be known for feeding a file: of its `inputs` and of its `outputs`."""
    found = {}
    for role, indices in (("input", graph.inputs), ("output", graph.outputs)):
        names = [role] if len(indices) == 1 else [f"{role}{number}" for number in range(len(indices))]
        tensors = [graph.tensors[index] for index in indices]
        found[f"{role}s"] = [_end(*each) for each in zip(names, tensors, strict=True)]
    return found


def _end(role: str, tensor: Tensor) -> dict[str, object]:
    scale = np.float32(tensor.scale[0] if tensor.scale.size else 0)
    zero_point = int(tensor.zero_point[0]) if tensor.zero_point.size else 0
    reach, limits = "", None
    if scale:
        limits = np.iinfo(tensor.dtype)
        low, high = (float(scale) * (int(limit) - zero_point) for limit in (limits.min, limits.max))
        reach = f"{low:.4g} to {high:.4g}"
    return {
        "role": role,
        "dtype": tensor.dtype,
        "shape": " x ".join(map(str, tensor.shape)) or "scalar",
        "image": " x ".join(map(str, tensor.shape[1:])) or "1",
        "bytes": int(np.prod(tensor.shape, dtype=np.int64)) * tensor.bits // 8,
        # the shortest text that gives the same float32 back
        "scale": repr(float(str(scale))),
        "zero_point": zero_point,
        "range": reach,
        "limits": (limits.min, limits.max) if limits else (),
    }
