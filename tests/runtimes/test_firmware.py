import importlib.metadata
import re
import shutil
import struct
import subprocess

import numpy as np
import pytest
from tflite_models import tflite_file

from model_compression.files import running
from model_compression.files.graph import _OPERATOR_NAMES, Tensor, read_model
from model_compression.runtimes import firmware as firmware_module
from model_compression.runtimes.firmware import firmware, identifier, resolver_calls

NET = [
    "AddShape",
    "AddStridedSlice",
    "AddPack",
    "AddReshape",
    "AddConv2D",
    "AddMaxPool2D",
    "AddFullyConnected",
]

MAIN = """
#include <cstdio>
#include <cstring>
{includes}

// Stands for a MicroMutableOpResolver: 0 is kTfLiteOk.
struct Resolver {{
  int added = 0;
  int fails_at = -1;
  int add() {{ return added++ == fails_at ? 1 : 0; }}
  {calls}
}};

template <typename T> void put(T value) {{ std::fwrite(&value, sizeof(value), 1, stdout); }}

int main() {{
  Resolver good, bad;
  bad.fails_at = {name}::operator_count - 1;
  put<std::uint32_t>(reinterpret_cast<std::size_t>({name}::model_data) % 16);
  put<std::uint32_t>({name}::model_bytes);
  put<std::uint32_t>({name}::arena_bytes);
  put<std::uint32_t>({name}::input_bytes);
  put<float>({name}::input_scale);
  put<std::int32_t>({name}::input_zero_point);
  put<std::uint32_t>({name}::output_bytes);
  put<float>({name}::output_scale);
  put<std::int32_t>({name}::output_zero_point);
  put<std::uint32_t>({name}::operator_count);
  put<std::uint32_t>({name}::register_operators(good) ? good.added : 0);
  put<std::uint32_t>({name}::register_operators(bad));
  std::fwrite({name}::model_data, 1, {name}::model_bytes, stdout);
}}
"""


@pytest.fixture(scope="module")
def compiler() -> str:
    found = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if found is None:
        pytest.skip("no C++ compiler on this machine")
    return found


def compile_and_run(compiler: str, directory, content: bytes, *sources: dict[str, str]) -> bytes:
    """What a program says that links these sources and looks into the first, of this file."""
    files = {name: text for source in sources for name, text in source.items()}
    for name, text in files.items():
        (directory / name).write_text(text)
    headers, codes = ([name for name in files if name.endswith(kind)] for kind in (".h", ".cc"))
    # Each header twice: the guard holds.
    includes = "\n".join(f'#include "{name}"' for name in headers * 2)
    calls = "\n  ".join(
        f"int {call}() {{ return add(); }}" for call in resolver_calls(read_model(content))[0]
    )
    name = headers[0].removesuffix(".h")
    (directory / "main.cc").write_text(MAIN.format(includes=includes, calls=calls, name=name))
    command = [
        compiler,
        "-std=c++11",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        "main.cc",
        "-o",
        "program",
    ]
    subprocess.run([*command, *codes], cwd=directory, check=True)
    return subprocess.run([directory / "program"], stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.parametrize("form", ["int8", "uint8", "float32", "look_up_table"])
def test_the_compiled_source_holds_the_file_and_its_constants(compiler, tmp_path, form):
    content = tflite_file(form)
    source = firmware(content, f"{form}.tflite", arena_bytes=4096)
    program = compile_and_run(compiler, tmp_path, content, source)
    head = struct.unpack("<4Ifi", program[:24]) + struct.unpack("<Ifi3I", program[24:48])
    quantized = {} if form in ("float32", "look_up_table") else vars(running.io_details(content))
    item = 1 if quantized else 4
    operators = len(resolver_calls(read_model(content))[0])
    assert head == (
        0,
        len(content),
        4096,
        16 * 16 * item,
        quantized.get("input_scale", 0),
        quantized.get("input_zero_point", 0),
        5 * item,
        quantized.get("output_scale", 0),
        quantized.get("output_zero_point", 0),
        operators,
        operators,
        0,
    )
    assert program[48:] == content


def test_two_models_link_into_one_program(compiler, tmp_path):
    one, two = (firmware(tflite_file(form), form, arena_bytes=16) for form in ("int8", "uint8"))
    content = tflite_file("int8")
    assert compile_and_run(compiler, tmp_path, content, one, two)[48:] == content


def test_an_unmeasured_arena_is_left_out():
    header = firmware(tflite_file("int8"), "int8")["int8_model.h"]
    assert "arena_bytes" not in header
    assert "// The arena was not measured." in header


def test_a_net_that_remembers_is_said_to():
    line = "// It remembers what it was given: call the interpreter's Reset() before each input."
    assert line in firmware(tflite_file("recurrent"), "own")["own_model.h"]
    assert line not in firmware(tflite_file("int8"), "own")["own_model.h"]


def test_integers_are_said_to_be_clamped_to_their_type():
    line = "std::lround(x[i] / input_scale) + input_zero_point"
    assert (
        f"// input[i] = std::clamp<long>({line}, -128, 127);"
        in firmware(tflite_file("int8"), "a")["a_model.h"]
    )
    assert line not in firmware(tflite_file("float32"), "a")["a_model.h"]


@pytest.mark.parametrize("arena_bytes", [0, -16])
def test_an_arena_without_bytes_is_an_error(arena_bytes):
    with pytest.raises(ValueError, match=f"^arena_bytes is {arena_bytes}: allowed is 1 or more, or None$"):
        firmware(tflite_file("int8"), "int8", arena_bytes=arena_bytes)


def test_what_is_no_model_is_an_error():
    with pytest.raises(ValueError, match=r"no \.tflite file"):
        firmware(b"no model at all", "int8")


def test_operators_come_from_the_file():
    def calls(form: str) -> tuple[list[str], list[str]]:
        return resolver_calls(read_model(tflite_file(form)))

    assert calls("int8") == (NET, [])
    assert set(calls("int8_float_io")[0]) == {*NET, "AddQuantize", "AddDequantize"}
    assert "AddDecode" in calls("look_up_table")[0]


def test_without_a_kernel_there_is_nothing_to_register(monkeypatch):
    monkeypatch.delitem(firmware_module.CALLS, "CONV_2D")
    calls, missing = resolver_calls(read_model(tflite_file("int8")))
    assert missing == ["CONV_2D"]
    assert "AddConv2D" not in calls
    header = firmware(tflite_file("int8"), "int8")["int8_model.h"]
    assert "register_operators" not in header
    assert "// TFLite Micro cannot run this model: it has no kernel for CONV_2D." in header


def test_the_operators_are_those_of_the_installed_tflm():
    files = importlib.metadata.files("tflite_micro")
    library = next(file for file in files if file.name == "_runtime.so").locate().read_bytes()
    registered = {name.decode() for name in re.findall(rb"Register_([A-Z0-9_]+?)Ev", library)}
    known = {name for name in firmware_module.CALLS if not name.startswith("CUSTOM ")}
    assert registered & set(_OPERATOR_NAMES.values()) == known


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("int8.tflite", "int8_model"),
        ("some/where/My Net-v1.2.TFLITE", "my_net_v1_2_model"),
        ("8bit.tflite", "m_8bit_model"),
        ("class.tflite", "class_model"),
        ("__init__", "init_model"),
        ("model.tflite", "model"),
        ("été.tflite", "t_model"),
        ("模型.tflite", "model"),
        ("", "model"),
    ],
)
def test_identifiers_are_valid_for_any_name(file_name, name):
    assert identifier(file_name) == name
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)


def test_scales_come_back_exactly():
    tensor = Tensor(
        index=0,
        name="",
        dtype="int8",
        bits=8,
        shape=(1, 3),
        values=None,
        scale=np.array([1.0], np.float32),
        zero_point=np.array([-128]),
        axis=0,
    )
    assert firmware_module._end("input", tensor)["scale"] == "1.0"
