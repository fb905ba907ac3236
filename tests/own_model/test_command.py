"""The command: a user's model in, the smallest form out; bad input in one line."""

import argparse
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from keras_models import images

from model_compression import __main__
from model_compression.files import running
from model_compression.own_model.request import (
    Request,
    parse_bytes,
    parse_drop,
    parse_microseconds,
    parse_minutes,
)
from model_compression.runtimes.tflm import Tflm

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TFMOT's, at its import
    from model_compression.nets.keras2 import keras
    from model_compression.own_model import command, making
    from model_compression.study import catalogue

layers = keras.layers

# Units


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_drop, "0.5pp", (0.005, "pp")),
        (parse_drop, "0pp", (0.0, "pp")),
        (parse_drop, "100 pp", (1.0, "pp")),
        (parse_drop, "5%", (0.05, "%")),
        (parse_bytes, "16KB", 16_000),
        (parse_bytes, "16kB", 16_000),
        (parse_bytes, "16 KiB", 16_384),
        (parse_bytes, "1.5MiB", 1_572_864),
        (parse_bytes, "12912B", 12_912),
        (parse_microseconds, "250us", 250.0),
        (parse_microseconds, ".25 ms", 250.0),
        (parse_microseconds, "1s", 1e6),
        (parse_minutes, "10", 10.0),
        (parse_minutes, ".5", 0.5),
    ],
)
def test_amounts_are_read(parse: Callable[[str], float], text: str, value: float) -> None:
    assert parse(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_drop, "0.5"),
        (parse_drop, "101%"),
        (parse_drop, "-1pp"),
        (parse_drop, "101pp"),
        (parse_drop, "0,5pp"),
        (parse_bytes, "16"),
        (parse_bytes, "16K"),
        (parse_bytes, "16kb"),
        (parse_bytes, "0KB"),
        (parse_bytes, "nanKB"),
        (parse_bytes, "1e3KB"),
        (parse_bytes, "16  KB"),
        (parse_microseconds, "250"),
        (parse_microseconds, "250 µs "),
        (parse_microseconds, "0us"),
        (parse_minutes, "1m"),
        (parse_minutes, "nan"),
        (parse_minutes, "0"),
    ],
)
def test_other_amounts_are_refused(parse: Callable[[str], float], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"allowed is|is more than"):
        parse(text)


Knobs = Callable[..., catalogue.Settings]


@pytest.fixture
def knobs(model_file: Path) -> Knobs:
    """Settings for a number of images, of epochs asked for, and of multiply-adds."""

    def made(images: int, epochs: int | None, multiply_adds: int = 0) -> catalogue.Settings:
        request = Request(model=model_file, data="", max_drop=0.0, epochs=epochs)
        return making.settings(request, images, multiply_adds)

    return made


def test_large_net_sees_fewer_images(knobs: Knobs) -> None:
    assert knobs(5_000, None).fine_tune_epochs == 20
    assert knobs(5_000, None, 60_000_000).fine_tune_epochs == 1
    assert knobs(5_000, None, 16_000_000).fine_tune_epochs == 5
    assert knobs(5_000, 3, 60_000_000).fine_tune_epochs == 3


def test_epochs_and_batch_follow_the_images(knobs: Knobs) -> None:
    assert knobs(576, None).fine_tune_epochs == 20
    assert knobs(576, None).batch_size == 57
    assert knobs(50_000, None).fine_tune_epochs == 2
    assert knobs(50_000, None).batch_size == 128
    assert knobs(10**7, None).fine_tune_epochs == 1
    assert knobs(50_000, 7).fine_tune_epochs == 7


# Bad input


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained net with batch normalization and depthwise convolutions."""
    folder = tmp_path_factory.mktemp("model")
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(12, 3, strides=2, use_bias=False),
            layers.BatchNormalization(momentum=0.5),
            layers.ReLU(),
            layers.DepthwiseConv2D(3),
            layers.Flatten(),
            layers.Dense(24, activation="relu"),
            layers.Dense(4, activation="softmax"),
        ]
    )
    x, y = images(640, 0)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    model.fit(x / np.float32(255), y, batch_size=32, epochs=5, verbose=0)
    path = folder / "own net.keras"
    model.save(path)
    return path


def arrays() -> dict[str, np.ndarray]:
    (x_train, y_train), (x_test, y_test) = images(640, 0), images(200, 1)
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def _with_nan(given: dict[str, np.ndarray]) -> None:
    given["x_train"], given["x_test"] = (given[k].astype(np.float32) for k in ("x_train", "x_test"))
    given["x_train"][3, 0, 0, 0] = np.nan


def _set(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[dict[str, np.ndarray]], None]:
    def apply(given: dict[str, np.ndarray]) -> None:
        given[name] = change(given[name])

    return apply


BAD: dict[str, tuple[Callable[[dict[str, np.ndarray]], None], str]] = {
    "labels out of range": (_set("y_test", lambda y: np.where(y == 3, 7, y)), "y_test has labels up to 7"),
    "negative labels": (_set("y_train", lambda y: y - 1), "y_train runs from -1 to 2"),
    "NaN pixels": (_with_nan, "x_train has 1 NaN or infinite values"),
    "another shape": (
        lambda given: given.update({k: given[k][:, :10] for k in ("x_train", "x_test")}),
        "the model takes images 12 x 12 x 3 and the data hold 10 x 12 x 3",
    ),
    "an empty class": (
        _set("y_train", lambda y: np.where(y == 1, 2, y)),
        "only 3 of the 4 classes, none of class 1",
    ),
    "one class more": (_set("y_train", lambda y: np.where(np.arange(640) < 8, 4, y)), "5 classes"),
    "one sample": (
        lambda given: given.update(x_train=given["x_train"][:1], y_train=given["y_train"][:1] * 0),
        "y_train holds one class",
    ),
    "float and uint8": (
        _set("x_test", lambda x: x.astype(np.float32)),
        "x_train is uint8 and x_test float32",
    ),
    "fewer labels": (_set("y_train", lambda y: y[:-1]), "640 images and y_train 639 labels"),
}


def _says(arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> str:
    """The one line of an exit with status 2, and that nothing was written."""
    output = tmp_path / "output"
    given = [*arguments, "--output", str(output), "--cache", str(tmp_path / "cache"), "--workers", "0"]
    with pytest.raises(SystemExit) as ended:
        __main__.main(given)
    assert ended.value.code == 2
    assert not output.exists()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("python -m model_compression: error: ")
    assert said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize("case", BAD)
def test_bad_data_end_with_2_and_one_line(
    case: str, model_file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    change, message = BAD[case]
    given = arrays()
    change(given)
    path = tmp_path / "bad.npz"
    np.savez(path, **given)
    arguments = ["--model", str(model_file), "--data", str(path), "--max-drop", "1pp"]
    assert message in _says(arguments, capsys, tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"--model": "missing.keras"},
            "there is no file missing.keras; give the path of a saved Keras model",
        ),
        ({"--model": __file__}, "is no saved Keras model"),
        ({"--data": "missing.npz"}, "dataset is 'missing.npz'"),
        ({"--data": __file__}, "is no whole .npz file"),
        ({"--max-drop": "0.5"}, "argument --max-drop: '0.5' is no amount"),
        ({"--max-flash": "16"}, "argument --max-flash: '16' is no amount"),
        ({"--max-arena": "16KB"}, "--max-arena goes with --runtime tflm"),
        ({"--runtime": "tflm", "--max-latency": "1ms"}, "--max-latency goes with --runtime litert"),
        (
            {"--objective": "arena"},
            "--objective arena goes with --runtime tflm: LiteRT has no arena of a fixed size",
        ),
        (
            {"--runtime": "tflm", "--objective": "latency"},
            "--objective latency goes with --runtime litert: this machine says nothing of a device's time",
        ),
        ({"--objective": "size"}, "invalid choice: 'size'"),
        ({"--minutes": "0"}, "argument --minutes: '0' is nothing: allowed is more than 0"),
        ({"--max-flash": "100B"}, "max_flash is 100 bytes; the operators and tensors of the model take "),
        ({"--epochs": "0"}, "argument --epochs: '0': allowed are whole numbers from 1"),
        ({"--seed": "-1"}, "argument --seed"),
        ({"--runtime": "onnx"}, "invalid choice: 'onnx'"),
        ({"--max": "1pp"}, "unrecognized arguments: --max 1pp"),
    ],
)
def test_bad_arguments_end_with_2_and_one_line(
    changed: dict[str, str],
    message: str,
    model_file: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    path = tmp_path / "good.npz"
    np.savez(path, **arrays())
    given = {"--model": str(model_file), "--data": str(path), "--max-drop": "1pp"} | changed
    arguments = [word for pair in given.items() for word in pair]
    assert message in _says(arguments, capsys, tmp_path)


def test_output_that_is_a_file_ends_with_2(
    model_file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data, output = tmp_path / "good.npz", tmp_path / "taken"
    np.savez(data, **arrays())
    output.write_text("mine")
    given = ["--model", str(model_file), "--data", str(data), "--max-drop", "1pp", "--output", str(output)]
    with pytest.raises(SystemExit) as ended:
        __main__.main([*given, "--cache", str(tmp_path / "cache"), "--workers", "0"])
    assert ended.value.code == 2
    assert "must be a folder" in capsys.readouterr().err
    assert output.read_text() == "mine"


# The whole way

PAGES = ("report.html", "report.md", "report.png")


@pytest.fixture
def few_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four forms of all: the others are tested as forms, in test_user_models."""
    every = catalogue.forms

    def few(*arguments: object, **named: object) -> dict[str, object]:
        kept = ("non_quantized", "int8", "pruned_quantized", "clustered_8")
        return {name: recipe for name, recipe in every(*arguments, **named).items() if name in kept}

    monkeypatch.setattr(making, "forms", few)


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def _run(arguments: list[str], model_file: Path, cache: Path, tmp_path: Path) -> int:
    data = tmp_path / "good.npz"
    np.savez(data, **arrays())
    given = ["--model", str(model_file), "--data", str(data), "--output", str(tmp_path / "output")]
    given += ["--cache", str(cache), "--workers", "0", "--epochs", "2", *arguments]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converters' and TFMOT's own
        return __main__.main(given)


@pytest.mark.usefixtures("few_forms")
def test_smallest_form_for_tflm_is_written_with_source_and_report(
    model_file: Path, shared_cache: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["--max-drop", "10pp", "--max-flash", "64KB", "--max-arena", "64KiB", "--runtime", "tflm"]
    assert _run(arguments, model_file, shared_cache, tmp_path) == 0
    output = tmp_path / "output"
    names = sorted(path.name for path in output.iterdir())
    (file,) = [name for name in names if name.endswith(".tflite")]
    assert file == "own net_clustered_8_tables.tflite"
    assert names == sorted(
        [file, "own_net_clustered_8_tables_model.cc", "own_net_clustered_8_tables_model.h", *PAGES]
    )
    content, header = (output / file).read_bytes(), (output / names[2]).read_text()
    assert f"constexpr std::size_t model_bytes = {len(content)};" in header
    with Tflm() as child:
        arena = child.smallest_arena(content)
    assert f"constexpr std::size_t arena_bytes = {arena};" in header
    report = (output / "report.md").read_text()
    assert f"**`{file}`** is the smallest of" in report
    assert "accuracy, test images" in report
    assert "| clustered_8_tables |" in report
    assert "by pruning: depthwise_conv2d" in report
    hurting = [line for line in report.splitlines() if line.startswith(("| CONV_2D 1:", "| FULLY_CONNECTED"))]
    assert [len(re.findall(r" dB, [-+][0-9.]+ pp \|", line)) for line in hurting] == [6, 6, 6]
    assert f"{len(content):,} bytes" in capsys.readouterr().out


@pytest.mark.usefixtures("few_forms")
def test_nothing_fits_ends_with_1_and_says_what_came_closest(
    model_file: Path, shared_cache: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert _run(["--max-drop", "50pp", "--max-flash", "2200B"], model_file, shared_cache, tmp_path) == 1
    said = capsys.readouterr().out
    assert said.startswith("nothing fits; ")
    assert "comes closest: flash " in said
    assert "allowed 2,200 bytes" in said
    names = sorted(path.name for path in (tmp_path / "output").iterdir())
    assert names == ["report.html", "report.md", "report.png"]


@pytest.mark.usefixtures("few_forms")
def test_files_of_an_earlier_answer_go_when_nothing_fits_any_more(
    model_file: Path, shared_cache: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    assert _run(["--max-drop", "50pp", "--objective", "download"], model_file, shared_cache, tmp_path) == 0
    files = {path.suffix for path in output.iterdir()}
    assert files >= {".tflite", ".h", ".cc"}
    page = (output / "report.md").read_text()
    assert " bytes coded; as a file: " in page
    # what somebody else has put there stays
    for name in ("own net_mine.tflite", "notes.h"):
        (output / name).write_text("mine")
    assert _run(["--max-drop", "50pp", "--max-flash", "2200B"], model_file, shared_cache, tmp_path) == 1
    assert sorted(path.name for path in output.iterdir()) == ["notes.h", "own net_mine.tflite", *PAGES]


@pytest.mark.usefixtures("few_forms")
def test_litert_within_a_latency(model_file: Path, shared_cache: Path, tmp_path: Path) -> None:
    assert _run(["--max-drop", "10pp", "--max-latency", "1s"], model_file, shared_cache, tmp_path) == 0
    (file,) = (tmp_path / "output").glob("*.tflite")
    images_, labels = images(200, 1)
    predicted = running.predict(file.read_bytes(), images_ / np.float32(255))
    assert np.mean(predicted == labels) > 0.3


def test_forms_without_training_come_first_then_the_promising_ones(model_file: Path) -> None:
    recipes = catalogue.forms(making.settings(Request(model=model_file, data="", max_drop=0.0), 640))
    # scores as the model gave them
    assert recipes["rate_distortion"].export.exact
    ready, trained = making.ordered(recipes, "download")
    assert ready[:2] == ["non_quantized", "int8"]
    assert ready[-1] == "int16x8"
    assert all(not recipes[name].steps for name in ready)
    assert trained[:2] == ["rate_distortion", "sparsity_cluster_preserving_qat"]
    assert sorted([*ready, *trained]) == sorted(recipes)
    promising = {name for names in making.PROMISING.values() for name in names}
    assert promising <= set(trained)


def test_workers_take_forms_in_the_order_of_their_promise(
    model_file: Path, shared_cache: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "own.npz", **arrays())  # type: ignore[arg-type]
    output, data = tmp_path / "output", str(tmp_path / "own.npz")
    request = Request(model=model_file, data=data, max_drop=0.0, output=output, objective="download")
    made = making.begin(command.Bench(dataset=data, cache_dir=str(shared_cache)), request)
    assert made.study is not None
    assert list(made.study.recipes) == [name for stage in made.stages for name in stage]


@pytest.mark.usefixtures("few_forms")
def test_ctrl_c_leaves_the_best_so_far_whole(
    model_file: Path,
    shared_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    run = command.Bench.run

    def interrupted(bench: object, recipe: object, *rest: object) -> object:
        if recipe.steps:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return run(bench, recipe, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(command.Bench, "run", interrupted)
    assert _run(["--max-drop", "50pp"], model_file, shared_cache, tmp_path) == 0
    output = tmp_path / "output"
    (file,) = output.glob("*.tflite")
    assert file.name == "own net_int8.tflite"
    assert running.predict(file.read_bytes(), images(8, 1)[0] / np.float32(255)).shape == (8,)
    report = (output / "report.md").read_text()
    assert "- clustered_8, pruned_quantized: not made before Ctrl-C" in report
    assert f"{file.stat().st_size:,} bytes" in capsys.readouterr().out


def test_ctrl_c_before_there_is_a_file_ends_with_130(
    model_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def interrupted(*rest: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(command.Bench, "run", interrupted)
    with pytest.raises(SystemExit) as ended:
        _run(["--max-drop", "50pp"], model_file, tmp_path / "cache", tmp_path)
    assert ended.value.code == 130
    assert "interrupted before there was a file" in capsys.readouterr().err


@pytest.mark.usefixtures("few_forms")
def test_when_the_time_is_up_the_first_forms_are_there(
    model_file: Path, tmp_path: Path, shared_cache: Path
) -> None:
    assert _run(["--max-drop", "50pp", "--minutes", "0.0001"], model_file, shared_cache, tmp_path) == 0
    report = (tmp_path / "output" / "report.md").read_text()
    assert "not made before the end of the 0.0001 minutes" in report
    assert "| int8 |" in report
    assert "| clustered_8 |" not in report
    assert "There was no time for 4 layers more." in report


@pytest.mark.usefixtures("few_forms")
def test_report_is_one_page_of_html_with_its_picture(
    model_file: Path, shared_cache: Path, tmp_path: Path
) -> None:
    assert _run(["--max-drop", "50pp", "--objective", "download"], model_file, shared_cache, tmp_path) == 0
    page = (tmp_path / "output" / "report.html").read_text()
    assert page.count('src="data:image/png;base64,') == 1
    assert "smallest by download" in page
    for name in ("non_quantized", "int8", "pruned_quantized", "clustered_8"):
        assert f"<td>{name}</td>" in page.replace(' style="text-align:left"', "")
    assert (tmp_path / "output" / "report.png").read_bytes().startswith(b"\x89PNG")


def test_form_that_fails_is_left_out_with_its_reason(
    model_file: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    every = catalogue.forms

    def two(*arguments: object, **named: object) -> dict[str, object]:
        found = every(*arguments, **named)  # type: ignore[arg-type]
        return {name: found[name] for name in ("non_quantized", "int8", "int8_per_channel")}

    run = command.Bench.run

    def failing(bench: object, recipe: object, *rest: object) -> object:
        if recipe.name == "int8":  # type: ignore[attr-defined]
            raise RuntimeError("the tool\ngave up")
        return run(bench, recipe, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(making, "forms", two)
    monkeypatch.setattr(command.Bench, "run", failing)
    assert _run(["--max-drop", "50pp"], model_file, shared_cache, tmp_path) == 0
    assert "- int8: the tool gave up" in (tmp_path / "output" / "report.md").read_text()


def test_module_runs_as_a_program() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "model_compression", "--model", "x"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    assert found.stderr == (
        "python -m model_compression: error: the following arguments are required: --data, --max-drop\n"
    )
    assert found.stdout == ""
