"""The command `slim`: a table, a proof, and a file only where the outputs are the same."""

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tflite_graphs import NONE, Made

from model_compression import __main__ as command
from model_compression.files import sameness
from model_compression.files.graph import read_graph
from model_compression.files.sameness import Compared
from model_compression.own_model import slim


def content(*, seed: int = 0) -> bytes:
    made = Made("int8", (1, 6, 6, 2), seed=seed)
    hidden = made.conv(made.conv(made.input, 6, dead=[1, 4]), 3)
    return made.content(made.softmax(made.dense(made.flatten(hidden), 4, activation=NONE)))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(content())
    return path


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        command.main(["slim", *arguments])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said.removeprefix("python -m model_compression slim: error: ").rstrip()


@pytest.mark.parametrize("name", [".", "/"])
def test_folder_for_a_model_is_refused_in_a_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "empty name" in refusal([name], capsys)


@pytest.mark.parametrize("given", [b"", b"PK\x03\x04 cut off", b"words"])
def test_inputs_that_numpy_cannot_read_are_refused_in_a_line(
    given: bytes, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = model.with_name("inputs.npz")
    path.write_bytes(given)
    assert refusal([str(model), "--check", str(path)], capsys).startswith(f"{path} cannot be read as an .npz")
    np.save(path.with_suffix(".npy"), np.zeros(3))
    said = refusal([str(model), "--check", str(path.with_suffix(".npy"))], capsys)
    assert "cannot be read as an .npz file" in said


def test_file_that_takes_too_long_is_refused(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slim, "LIMIT", 1e-6)
    assert refusal([str(model)], capsys) == "LiteRT cannot run the file: it takes longer than 0 s"


def test_smaller_file_is_written_with_a_table_and_the_proof(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = model.read_bytes()
    assert command.main(["slim", str(model)]) == 0
    said = capsys.readouterr().out
    written = (model.parent / "model_slim.tflite").read_bytes()
    assert model.read_bytes() == before
    assert len(written) < len(before)
    assert f"bytes{len(before):>37,}{len(written):>14,}" in said
    # 36 places: 6 filters of 18 and 3 of 54 weights, then 108 x 4; without two filters of the first
    assert f"multiply-adds{36 * (108 + 162) + 432:>29,}{36 * (72 + 108) + 432:>14,}" in said
    for step in ("unread parts", "equal parts", "idle operators", "constant channels"):
        assert step in said
    for runtime in ("LiteRT", "LiteRT with XNNPACK", "TFLite Micro"):
        inputs = slim.MICRO_INPUTS if runtime == "TFLite Micro" else slim.INPUTS
        for place in ("outputs", "before the softmax"):
            assert f"{runtime}, {place}: {inputs} of {inputs} inputs give the same bits" in said
    assert sorted(path.name for path in model.parent.iterdir()) == ["model.tflite", "model_slim.tflite"]


def test_existing_output_is_overwritten_on_request_only(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = model.parent / "small.tflite"
    output.write_bytes(b"mine")
    assert refusal([str(model), "--output", str(output)], capsys) == f"{output} exists; --force overwrites it"
    assert output.read_bytes() == b"mine"
    monkeypatch.setattr(slim, "run", lambda *arguments, **named: report(differing=0))
    assert command.main(["slim", str(model), "--output", str(output), "--force"]) == 0
    assert output.read_bytes() == b"slim"


def report(*, differing: int) -> slim.Report:
    figures = slim.Figures(file_bytes=9, coded_bytes=8, coder="xz", multiply_adds=None, arena_bytes=None)
    return slim.Report(
        slimmed=slim.Slimmed(content=b"slim", savings={"equal parts": 5}),
        before=figures,
        after=figures,
        proof=(
            Compared(runtime="LiteRT", place="outputs", inputs=7),
            Compared(runtime="TFLite Micro", place="outputs", inputs=7, differing=differing),
        ),
    )


def test_nothing_is_written_where_outputs_differ_and_it_says_where(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slim, "run", lambda *arguments, **named: report(differing=2))
    assert command.main(["slim", str(model)]) == 1
    said = capsys.readouterr().out
    assert "TFLite Micro, outputs: 5 of 7 inputs give the same bits" in said
    assert said.endswith("nothing is written: the outputs differ on TFLite Micro, outputs\n")
    assert [path.name for path in model.parent.iterdir()] == ["model.tflite"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda given: b"", "no .tflite file: bytes 4 to 8 are b'', and must be b'TFL3'"),
        (lambda given: given[:300], "the file is damaged: "),
        (lambda given: struct.pack("<I", 2**31) + given[4:], "the file is damaged: "),
    ],
)
def test_damaged_file_is_refused_in_one_line(
    damage: object, said: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.write_bytes(damage(model.read_bytes()))  # type: ignore[operator]
    assert refusal([str(model)], capsys).startswith(said)
    assert [path.name for path in model.parent.iterdir()] == ["model.tflite"]


def test_file_that_litert_cannot_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = Made("int8", (1, 4), seed=0)
    path = tmp_path / "broken.tflite"
    path.write_bytes(made.content(made.reshape(made.input, (1, 5))))
    assert refusal([str(path)], capsys).startswith("LiteRT cannot run the file: ")


def test_missing_file_and_folder_are_named(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = model.parent / "gone"
    assert str(gone) in refusal([str(gone)], capsys)
    assert refusal([str(model), "--output", str(gone / "x")], capsys) == f"{gone} is no folder"


# A user's inputs


def saved(folder: Path, **arrays: np.ndarray) -> Path:
    path = folder / "inputs.npz"
    np.savez(path, **arrays)
    return path


def test_user_s_inputs_are_taken_as_they_are_or_quantized(tmp_path: Path) -> None:
    given = content()
    whole = np.random.default_rng(0).integers(-128, 128, (3, 6, 6, 2)).astype(np.int8)
    rows = slim.checked(saved(tmp_path, x=whole), given)
    np.testing.assert_array_equal(np.concatenate([row[0] for row in rows]), whole)
    # a scale of 0.02 and a zero point of 3
    real = (whole.astype(np.float32) - 3) * np.float32(0.02)
    rows = slim.checked(saved(tmp_path, x=real), given)
    np.testing.assert_array_equal(np.concatenate([row[0] for row in rows]), whole)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, 5, 5, 2), np.int8)}, r"has inputs of \(5, 5, 2\); the file takes \(1, 6, 6, 2\)"),
        ({"x": np.zeros((2, 6, 6, 2), np.int32)}, "has inputs of int32; the file takes int8"),
        ({"x": np.zeros((2, 72), np.int8), "y": np.zeros((2, 4))}, "has 2 arrays; allowed: one"),
        ({"x": np.int8(3)}, r"has 1 arrays; allowed: one of \(n, \.\.\.\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    arrays: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        slim.checked(saved(tmp_path, **arrays), content())


def test_difference_is_found_by_running_both(monkeypatch: pytest.MonkeyPatch) -> None:
    given = content()
    graph = read_graph(given)
    kernel = next(tensor for tensor, _ in graph.kernels())
    stored = kernel.numbers.tobytes()
    wrong = given.replace(stored, stored[::-1])
    monkeypatch.setattr(slim, "slim", lambda *arguments, **named: slim.Slimmed(content=wrong, savings={}))
    found = slim.run(given, inputs=5, micro_inputs=5)
    assert not found.same
    assert {line.runtime for line in found.proof if line.differing} == {
        "LiteRT",
        "LiteRT with XNNPACK",
        "TFLite Micro",
    }
    assert replace(found.proof[0], differing=0).inputs == 5
    assert sameness.DRAWN in slim.table(found)


def test_several_images_a_run_are_compared_on_every_runtime() -> None:
    made = Made("int8", (3, 6, 6, 2), seed=0)
    found = slim.run(made.content(made.conv(made.conv(made.input, 6, dead=[1, 4]), 3)), micro_inputs=4)
    assert found.same
    assert [line.reason for line in found.proof] == [""] * len(found.proof)
    assert {line.runtime: line.inputs for line in found.proof}["TFLite Micro"] == 4
    assert found.after.arena_bytes is not None
