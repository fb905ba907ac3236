"""What a net can be asked for besides labels, through the command: a small net of each kind."""

import math
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from model_compression import __main__
from model_compression.files import running

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TFMOT's, at its import
    from model_compression.files.matching import CorruptFileError
    from model_compression.nets.keras2 import keras
    from model_compression.own_model import making
    from model_compression.own_model import report as report_page
    from model_compression.own_model.request import Request
    from model_compression.study import catalogue
    from model_compression.study.experiment import Bench

layers = keras.layers
GENERATOR = np.random.default_rng(3)
ROWS = GENERATOR.normal(size=(900, 6)).astype(np.float32)
KERNEL = GENERATOR.normal(size=(6, 3)).astype(np.float32)


def _dense(outputs: int, activation: str = "linear", kernel: np.ndarray = KERNEL) -> keras.Model:
    model = keras.Sequential([keras.Input((6,)), layers.Dense(outputs, activation=activation)])
    model.layers[-1].set_weights([kernel[:, :outputs], np.zeros(outputs, np.float32)])
    return model


@pytest.fixture
def ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[str, bytes, str]]:
    """Carries out the command with three forms; what it says, the file and the report."""
    every = catalogue.forms

    def few(settings: catalogue.Settings) -> dict[str, object]:
        kept = ("non_quantized", "int8", "quantization_aware_trained")
        return {name: recipe for name, recipe in every(settings).items() if name in kept}

    monkeypatch.setattr(making, "forms", few)

    def carry_out(
        model: keras.Model, answers: np.ndarray, drop: str, first: int = 500
    ) -> tuple[str, bytes, str]:
        path, data, output = tmp_path / "own.keras", tmp_path / "own.npz", tmp_path / "output"
        model.save(path)
        np.savez(
            data, x_train=ROWS[first:], y_train=answers[first:], x_test=ROWS[:first], y_test=answers[:first]
        )
        given = {"--model": path, "--data": data, "--output": output, "--cache": tmp_path / "cache"}
        given |= {"--workers": 0, "--epochs": 1, "--max-drop": drop}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the converters' and TFMOT's own
            assert __main__.main([str(word) for pair in given.items() for word in pair]) == 0
        (file,) = output.glob("*.tflite")
        return capsys.readouterr().out, file.read_bytes(), (output / "report.md").read_text()

    return carry_out


Ask = Callable[..., tuple[str, bytes, str]]


def _apart(model: keras.Model, content: bytes) -> float:
    """How far file and model lie apart on the same raw inputs, in parts of what the model's answers vary."""
    expected = np.asarray(model(ROWS))
    return float(np.sqrt(np.mean((running.logits(content, ROWS) - expected) ** 2)) / np.std(expected))


def test_values_may_lose_a_part_of_the_float_models_error(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    model, drawn, png = _dense(3), list[Figure](), report_page.png

    def kept(figure: Figure) -> bytes:
        drawn.append(figure)
        return png(figure)

    monkeypatch.setattr(report_page, "png", kept)
    noise = GENERATOR.normal(size=(900, 3)).astype(np.float32)
    said, content, report = ask(model, ROWS @ KERNEL + noise, "5%")
    assert "% of the float model's error on validation data" in said
    assert "rise of the error at most 5.00 %" in report
    # the noise's own: 1
    (line,) = [row for row in report.splitlines() if row.startswith("| mean squared error, test")]
    float_model, file = (float(cell) for cell in line.split("|")[2:4])
    assert float_model == pytest.approx(1, rel=0.15)
    assert file == pytest.approx(float_model, rel=0.2)
    assert "| mean absolute error, test |" in report
    # the line of the limit lies where the error is a twentieth larger
    (axes,) = drawn[-1].axes
    assert axes.get_ylabel() == "explained variance, validation, %"
    ((_, explained),) = axes.collections[0].get_offsets()
    assert axes.lines[0].get_ydata()[0] == pytest.approx(100 - 1.05 * (100 - explained))
    assert _apart(model, content) < 0.1


def test_whole_numbers_are_values_where_the_model_gives_one(ask: Ask) -> None:
    answers = np.clip(np.rint(ROWS @ KERNEL[:, 0] * 2 + 5), 0, 10)
    said, _, _ = ask(_dense(1, kernel=2 * KERNEL), answers - answers.min(), "20%")
    assert "of the float model's error" in said


def test_code_of_the_report_feeds_the_file(ask: Ask) -> None:
    _, content, report = ask(_dense(3), ROWS @ KERNEL, "20%")
    loaded = running.allocated(content)
    names = {"numpy": np, "interpreter": loaded, "x": ROWS[:1]}
    names |= {"inputs": loaded.get_input_details(), "outputs": loaded.get_output_details()}
    exec(report.split("```python\n")[1].split("```")[0], names)
    np.testing.assert_allclose(names["output"], running.logits(content, ROWS[:1]), rtol=1e-5)


def test_model_that_gives_what_it_takes_is_asked_for_that(ask: Ask) -> None:
    kernel = np.eye(6, dtype=np.float32) + GENERATOR.normal(scale=0.1, size=(6, 6)).astype(np.float32)
    model = _dense(6, kernel=kernel)
    _, content, report = ask(model, np.arange(900) % 3, "10pp")
    assert "it is asked for its inputs, and the labels are left" in report
    assert _apart(model, content) < 0.15


def test_several_labels_an_input_are_right_each_by_itself(ask: Ask) -> None:
    model = _dense(3, "sigmoid")
    answers = (ROWS @ KERNEL > 0).astype(np.int64)
    said, content, report = ask(model, answers, "2pp")
    assert "each column of y_train was taken for a label of its own" in report
    assert "| accuracy, test images (scored once, no part in the choice) | 100.00% |" in report
    assert "pp of validation accuracy" in said
    found = running.predict(content, ROWS, task="multilabel")
    assert np.mean(found == answers) > 0.97


def test_one_sigmoid_tells_two_labels(ask: Ask) -> None:
    model = _dense(1, "sigmoid")
    answers = (ROWS @ KERNEL[:, 0] > 0).astype(np.int64)
    _, content, report = ask(model, answers, "2pp")
    assert "the model gives probabilities (sigmoid), and so do its files" in report
    assert np.mean(running.predict(content, ROWS) == answers) > 0.97


def test_few_validation_images_are_a_warning_beside_the_answer(ask: Ask) -> None:
    said, _, report = ask(_dense(1, "sigmoid"), (ROWS @ KERNEL[:, 0] > 0).astype(np.int64), "2pp", first=100)
    assert "warning: only 50 validation images choose the form" in said
    assert "**Mind:** only 50 validation images choose the form" in report


def test_per_cent_of_accuracy_are_refused(
    ask: Ask, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        ask(_dense(1, "sigmoid"), (ROWS @ KERNEL[:, 0] > 0).astype(np.int64), "2%")
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(
        "--max-drop is in %, of what is left open: accuracy is lost in points, such as 0.5pp\n"
    )
    assert not (tmp_path / "output").exists()


def test_net_whose_float_file_is_refused_is_converted_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(*arguments: object, **named: object) -> None:
        raise CorruptFileError("the file has 2 kernels, the net 3")

    path, data = tmp_path / "own.keras", tmp_path / "own.npz"
    _dense(3).save(path)
    labels = np.argmax(ROWS @ KERNEL, axis=1)
    np.savez(data, x_train=ROWS, y_train=labels, x_test=ROWS, y_test=labels)
    monkeypatch.setattr(Bench, "made", refused)
    request = Request(model=path, data=str(data), max_drop=0.0, output=tmp_path / "output")
    bench = Bench(dataset=str(data), cache_dir=str(tmp_path), data_dir=str(tmp_path))
    made = making.begin(bench, request)
    reason = "rebuilt, it is no sound file (the file has 2 kernels, the net 3)"
    assert f"converted as it is, so that the methods that train are out of reach: {reason}" in made.notes
    assert made.skipped["pruned"] == f"the model is converted as it is: {reason}"
    assert made.stages[0][:2] == ["non_quantized", "int8"]
    assert made.stages[1] == []
    assert made.make("int8", math.inf).record.accuracy > 0.97
