import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import exactly
from IPython.display import Image
from made import outcome
from matplotlib.figure import Figure

from model_compression.evidence import forms
from model_compression.files import conversion
from model_compression.nets.keras2 import keras
from model_compression.notebook import slider, workbook
from model_compression.notebook.workbook import REPOSITORY, Workbook
from model_compression.runtimes import deployment
from model_compression.runtimes.smallest import Candidate
from model_compression.study.catalogue import SMALL, Settings
from model_compression.study.outcomes import Outcome
from model_compression.study.scheduling import Failure, Study

SETTINGS = Settings(
    seed=100,
    n_seeds=2,
    epochs=1,
    fine_tune_epochs=1,
    batch_size=128,
    learning_rate=5e-3,
    initial_sparsity=0.5,
    final_sparsity=0.8,
)


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts one here has checked too late."""

    def fail(n_workers: int | None = None) -> None:
        raise AssertionError("a cluster was started")

    monkeypatch.setattr("model_compression.study.scheduling.connect", fail)


def open_book(folder: Path, few_file: Path, **changed: Any) -> Workbook:
    arguments: dict[str, Any] = {
        "settings": SETTINGS,
        "dataset": str(few_file),
        "train_images": 500,
        "results_dir": str(folder / "results"),
        "models_dir": str(folder / "models"),
        "cache_dir": str(folder / "cache"),
        "data_dir": str(folder / "data"),
    }
    return Workbook(**{**arguments, **changed})


class Computed(Study):
    """A study whose outcomes lie ready; recipe `float16` fails with the second seed."""

    def start(self) -> "Computed":
        return self

    def begin(self, name: str, seed: int) -> None:
        pass

    def wait(self, names: Any = None, *args: Any, **kwargs: Any) -> None:
        pass

    def outcome(self, name: str, seed: int) -> Outcome | Failure:
        if name == "float16" and seed != 100:
            failure = Failure(recipe=name, seed=seed, error="no memory")
            if failure not in self.failures:
                self.failures.append(failure)
            return failure
        labels, recipe = self.bench.data.y_test, self.recipes[name]
        # each recipe errs on other images
        wrong = list(self.recipes).index(name)
        predicted = np.where(np.arange(len(labels)) % 50 == wrong, (labels + 1) % 10, labels)
        return outcome(recipe.file_name, predicted, labels=labels, seed=seed, content=name.encode())


@pytest.fixture
def book(tmp_path: Path, few_file: Path, monkeypatch: pytest.MonkeyPatch) -> Workbook:
    monkeypatch.setattr(workbook, "Study", Computed)
    return open_book(tmp_path, few_file)


@pytest.mark.parametrize("name", ["results", "models", "cache"])
@pytest.mark.parametrize("below", [False, True])
def test_file_where_a_folder_should_be_is_refused(
    tmp_path: Path, few_file: Path, name: str, below: bool
) -> None:
    path = tmp_path / "taken"
    path.touch()
    wanted = path / "deeper" if below else path
    with pytest.raises(
        NotADirectoryError, match=exactly(f"{wanted} must be a folder, and is a file or lies below one")
    ):
        open_book(tmp_path, few_file, **{f"{name}_dir": str(wanted)})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to read-only folders")
@pytest.mark.parametrize("name", ["results", "models", "cache"])
def test_read_only_folder_is_refused(tmp_path: Path, few_file: Path, name: str) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(PermissionError, match=exactly(f"{folder} cannot be written: Permission denied")):
        open_book(tmp_path, few_file, **{f"{name}_dir": str(folder)})


@pytest.mark.skipif(not Path("/proc/1").exists(), reason="no /proc, whose folders nobody can write to")
def test_folder_that_nobody_can_make_is_refused(tmp_path: Path, few_file: Path) -> None:
    with pytest.raises(PermissionError, match=r"^/proc/results cannot be made: "):
        open_book(tmp_path, few_file, results_dir="/proc/results")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (0, "train_images is 0; allowed: whole numbers from 1 to 2000"),
        (2001, "train_images is 2001; allowed: whole numbers from 1 to 2000"),
        (1.5, "train_images is 1.5; allowed: whole numbers from 1 to 2000"),
    ],
)
def test_as_many_images_as_there_are_not_is_refused(
    tmp_path: Path, few_file: Path, images: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=exactly(message)):
        open_book(tmp_path, few_file, train_images=images)


def test_missing_data_is_found_before_anything_is_trained(tmp_path: Path, few_file: Path) -> None:
    with pytest.raises((FileNotFoundError, ValueError), match=r"nowhere\.npz"):
        open_book(tmp_path, few_file, dataset=str(tmp_path / "nowhere.npz"))


@pytest.mark.parametrize(
    ("knob", "value", "message"),
    [
        ("final_sparsity", 1.0, "final_sparsity is 1.0; allowed: 0 up to but not including 1"),
        ("final_sparsity", -0.1, "final_sparsity is -0.1; allowed: 0 up to but not including 1"),
        ("epochs", 0, "epochs is 0; allowed: whole numbers from 1"),
        ("fine_tune_epochs", 0, "fine_tune_epochs is 0; allowed: whole numbers from 1"),
        ("batch_size", 0, "batch_size is 0; allowed: whole numbers from 1"),
        ("n_seeds", 0, "n_seeds is 0; allowed: whole numbers from 1"),
        ("seed", -1, "seed is -1; allowed: whole numbers from 0 to 2**32 - 1"),
    ],
)
def test_knob_out_of_range_is_refused_when_it_is_written_down(knob: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=exactly(message)):
        replace(SETTINGS, **{knob: value})


def test_opening_a_book_makes_its_folders_and_starts_no_cluster(tmp_path: Path, few_file: Path) -> None:
    opened = open_book(tmp_path, few_file)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["cache", "models", "results"]
    assert len(opened.data.x_train) == 500
    assert opened.test_images.dtype == np.float32
    assert opened.test_images.max() == 1


def test_forms_that_a_saved_model_rules_out_are_left_out_and_said(
    tmp_path: Path, few_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers, path = keras.layers, tmp_path / "own.keras"
    image = keras.Input((28, 28, 1))
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
    keras.Model(image, layers.Dense(10)(pooled)).save(path)
    book = open_book(tmp_path, few_file, settings=replace(SETTINGS, net=str(path)))
    said = capsys.readouterr().out
    reason = "the converter leaves kernels of less than 1,024 weights as floats"
    assert f"post_training_quantized is left out: {reason}\n" in said
    assert "post_training_quantized" not in book.recipes
    assert {"int8", "rate_distortion", "sparsity_cluster_preserving_qat"} <= set(book.recipes)


def test_model_that_is_only_converted_has_the_forms_without_training(
    tmp_path: Path, few_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(10)])
    path = tmp_path / "own.tflite"
    path.write_bytes(conversion.export(net, conversion.ExportConfig(form="float32"), representative=None))
    book = open_book(tmp_path, few_file, settings=replace(SETTINGS, net=str(path)))
    # those of one reason in one line
    (said,) = capsys.readouterr().out.splitlines()
    assert ", pruned, " in said
    assert " are left out: the model is converted as it is" in said
    assert "int8" in book.recipes


def test_relative_folders_count_from_the_top_of_the_repository(
    tmp_path: Path, few_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (REPOSITORY / "pyproject.toml").exists()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(workbook, "REPOSITORY", tmp_path)
    folders = {f"{name}_dir": name for name in ("results", "models", "cache", "data")}
    opened = open_book(tmp_path, few_file, **folders)
    assert (opened.results, opened.models) == (tmp_path / "results", tmp_path / "models")
    assert opened.study.bench.cache_dir == str(tmp_path / "cache")
    assert opened.study.bench.data_dir == str(tmp_path / "data")
    assert list(elsewhere.iterdir()) == []


def test_outcome_is_the_first_seed_and_lies_in_the_models_folder(book: Workbook) -> None:
    found = book.outcome("non_quantized_h5")
    assert found.record.seed == 100
    assert (book.models / "non_quantized.h5").read_bytes() == b"non_quantized_h5"


def test_outcome_of_an_unknown_recipe_is_refused(book: Workbook) -> None:
    with pytest.raises(KeyError, match=exactly("'int7'")):
        book.outcome("int7")


def test_failed_recipe_says_its_error(book: Workbook, monkeypatch: pytest.MonkeyPatch) -> None:
    failure = Failure(recipe="int8", seed=100, error="swapped scales")
    monkeypatch.setattr(book.study, "outcome", lambda name, seed: failure)
    with pytest.raises(RuntimeError, match=exactly("int8 failed: swapped scales")):
        book.outcome("int8")
    assert list(book.models.iterdir()) == []


def rule_out(book: Workbook, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a book of a saved model of which one form cannot be made."""
    computed = book.study.outcome

    def outcome(name: str, seed: int) -> Outcome | Failure:
        failure = Failure(recipe=name, seed=seed, error="swapped scales")
        return failure if name == form else computed(name, seed)

    monkeypatch.setattr(Workbook, "is_named", False)
    monkeypatch.setattr(book.study, "outcome", outcome)


def test_form_that_a_saved_model_rules_out_is_said_not_to_be(
    book: Workbook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rule_out(book, "int8", monkeypatch)
    assert book.known("int8", "non_quantized", "of_nobody") == ["non_quantized"]
    assert list(book.first_seed("int8", "non_quantized")) == ["non_quantized"]
    assert book.has("non_quantized")
    assert not book.has("non_quantized", "int8")
    assert capsys.readouterr().out == "not of this model: int8\n"


def test_file_whose_control_a_saved_model_rules_out_is_compared_with_the_baseline_alone(
    book: Workbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert book.comparison("non_quantized", "pruned_quantized").against_control_pp.notna().tolist() == [
        False,
        True,
    ]
    rule_out(book, "longer_trained", monkeypatch)
    table = book.comparison("non_quantized", "pruned_quantized")
    assert table.against_control_pp.isna().all()
    assert table.accuracy_change_pp.notna().all()


def test_two_forms_are_alike_by_their_labels_or_by_how_far_their_values_lie_apart(book: Workbook) -> None:
    one, other = book.outcome("non_quantized"), book.outcome("int8")
    assert book.alike(one, other, "int8") == "same label as int8 on 240 of 250 test inputs"
    values = [
        replace(one, predictions=np.array(each, np.float32)) for each in ([[0.5], [2]], [[0.5], [1.75]])
    ]
    assert book.alike(*values, "int8") == "answers at most 0.25 from those of int8"


def test_comparison_names_rows_as_the_files_are_and_has_published_figures_of_mnist_only(
    book: Workbook,
) -> None:
    table = book.comparison("non_quantized_h5", "non_quantized", "int8", "longer_trained", "pruned_quantized")
    assert table.model_file.tolist() == [
        "non_quantized.h5",
        "non_quantized.tflite",
        "int8.tflite",
        "longer_trained.tflite",
        "pruned_quantized.tflite",
    ]
    assert table.published_accuracy.isna().all()
    assert {path.name for path in book.models.iterdir()} == set(table.model_file)


def test_recipe_that_failed_with_one_seed_is_in_no_table_and_the_others_are(book: Workbook) -> None:
    assert set(book.over_seeds("float16", "int8")) == {"int8"}
    table = forms.all_forms(book.over_seeds(*book.recipes), book.recipes, book.data.y_test)
    assert "float16" not in set(table.recipe)
    keras_files = {"non_quantized_h5", "pruned_h5"}
    assert set(table.recipe) == set(book.recipes) - {"float16"} - keras_files
    records = forms.records_table(book.over_seeds(*book.recipes))
    assert set(records.recipe) == set(book.recipes) - {"float16"}
    assert records.groupby("recipe").seed.nunique().eq(2).all()


def test_forms_are_compared_with_the_net_trained_for_as_long(book: Workbook) -> None:
    table = forms.all_forms(book.over_seeds(*book.recipes), book.recipes, book.data.y_test)
    control = table.set_index("recipe").compared_with
    assert control["int8"] == control["longer_trained"] == "non_quantized"
    assert control["non_quantized"] == ""
    assert control["pruned"] == control["quantization_aware_trained"] == "longer_trained"
    assert control["pruned_quantization_aware"] == "longer_trained_twice"
    assert control["sparsity_cluster_preserving_qat"] == "longer_trained_thrice"


def test_control_that_failed_takes_its_forms_out_of_the_table(
    book: Workbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = book.study.outcomes
    monkeypatch.setattr(
        book.study, "outcomes", lambda name: [] if name == "longer_trained_twice" else whole(name)
    )
    table = forms.all_forms(book.over_seeds(*book.recipes), book.recipes, book.data.y_test)
    assert "longer_trained_twice" not in set(table.compared_with)
    assert "pruned_quantization_aware" not in set(table.recipe)
    assert "pruned" in set(table.recipe)


def test_finish_names_every_failure(book: Workbook) -> None:
    second = SETTINGS.seeds[1]
    message = f"some recipes failed, the others are done:\nfloat16, seed {second}: no memory"
    with pytest.raises(RuntimeError, match=exactly(message)):
        book.finish()


def test_finish_of_a_whole_study_says_nothing(book: Workbook) -> None:
    del book.recipes["float16"]
    book.finish()


def test_table_is_written_as_csv_and_png_and_shown_as_html(book: Workbook) -> None:
    table = pd.DataFrame({"model_file": ["a.tflite"], "zip_bytes": [12]})
    shown = book.show_table(table, "t", "A table", least="zip_bytes file_bytes")
    assert (book.results / "t.csv").read_text() == "model_file,zip_bytes\na.tflite,12\n"
    assert (book.results / "t.png").read_bytes().startswith(b"\x89PNG")
    assert "a.tflite" in shown.to_html()


def test_picture_of_some_rows_comes_with_the_csv_of_all(book: Workbook) -> None:
    whole = pd.DataFrame({"zip_bytes": [1, 2, 3]})
    book.show_table(whole[whole.zip_bytes > 1], "t", "Some", whole=whole)
    assert pd.read_csv(book.results / "t.csv").equals(whole)


def test_figure_is_shown_as_it_was_written(book: Workbook) -> None:
    image = book.show_figure("empty", Figure)
    assert image.data == (book.results / "empty.png").read_bytes()
    assert [path.name for path in book.results.iterdir()] == ["empty.png"]


def test_records_hold_all_fields_but_the_key(book: Workbook) -> None:
    fields = set(asdict(book.outcome("int8").record)) - {"key"}
    assert set(forms.records_table(book.over_seeds(*book.recipes)).columns) == fields


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look-up tables of every clustered file but one."""

    def made(content: bytes, *, store: Any) -> bytes | None:
        return None if content == b"clustered_8" else b"tables of " + content

    monkeypatch.setattr(deployment, "look_up_tables", made)


@pytest.mark.usefixtures("tables")
def test_device_files_are_the_forms_and_the_tables_of_clustered_ones(book: Workbook) -> None:
    files = book.device_files()
    forms = {name for name, each in book.recipes.items() if not each.is_control and each.export.form != "h5"}
    clustered = {
        "clustered_16", "clustered_16_per_channel", "cluster_preserving_qat", "pruned_clustered",
        "sparsity_cluster_preserving_qat",
    }  # fmt: skip
    small = {f"small_dense_{filters}" for filters in SMALL}
    assert set(files) == forms | small | {name + "_tables" for name in clustered}
    assert files["int8"] == b"int8"
    assert files["pruned_clustered_tables"] == b"tables of pruned_clustered"
    assert {path.name: path.read_bytes() for path in book.models.iterdir()} == {
        f"{name}.tflite": content for name, content in files.items()
    }


@pytest.mark.usefixtures("tables")
def test_form_that_failed_is_no_device_file(book: Workbook, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = book.study.outcome

    def fail(name: str, seed: int) -> Outcome | Failure:
        return (
            Failure(recipe=name, seed=seed, error="swapped scales") if name == "int8" else whole(name, seed)
        )

    monkeypatch.setattr(book.study, "outcome", fail)
    files = book.device_files()
    assert "int8" not in files
    assert "int8_per_channel" in files


@pytest.mark.usefixtures("tables")
def test_nothing_is_timed_before_all_is_computed(book: Workbook, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(book.study, "wait", lambda *args: order.append(f"wait {args}"))

    def table(files: object, images: np.ndarray, *, store: object, processes: int) -> None:
        order.append(f"{images.shape} in {processes}")

    monkeypatch.setattr(deployment, "table", table)
    book.deployment()
    assert order == ["wait ()", f"{book.data.x_test.shape} in 3"]


@pytest.mark.usefixtures("tables")
def test_smallest_form_is_named_by_its_file(book: Workbook, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"validation_accuracy": 0.9, "baseline_accuracy": 0.9, "coded_bytes": 1, "arena_bytes": 16}
    forms = [
        Candidate(name="int8", flash_bytes=2000, **given),
        Candidate(name="float16", flash_bytes=1000, runs_on_tflm=False, **given),
    ]
    asked: list[str] = []

    def candidates(measured: pd.DataFrame, *given: object, of_values: bool) -> list[Candidate]:
        asked.extend(measured.recipe)
        return forms

    monkeypatch.setattr(deployment, "candidates", candidates)
    every = pd.DataFrame({"recipe": ["int8", "small_dense_2", "clustered_16_tables"]})
    book.smallest(every, max_drop=0.005, runtime="tflm")
    # a small dense net is compared with, and never the answer
    assert asked == ["int8", "clustered_16_tables"]
    said = book.smallest(pd.DataFrame({"recipe": []}), max_drop=0.005, runtime="tflm").data
    assert said.startswith("**`models/int8.tflite`** is the only form that runs on TFLite Micro")
    assert (book.models / "int8.tflite").exists()
    forms.clear()
    assert book.smallest(pd.DataFrame({"recipe": []}), max_drop=0.005, runtime="tflm").data == (
        "No form runs on this runtime."
    )


def test_slider_that_nobody_can_move_is_the_picture_of_what_the_study_has(
    book: Workbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, ...]] = []

    def found(self: slider.Tweak, *sparsities: float) -> tuple[Any, ...]:
        asked.append(sparsities)
        return list(sparsities), [0.98, 0.97], [900, 500], 0.8, {"a": np.eye(3), "b": np.eye(4)}

    monkeypatch.setattr(slider.Tweak, "found", found)
    image = book.sparsity_slider()
    assert isinstance(image, Image)
    assert image.data == (book.results / "sparsity-slider.png").read_bytes()
    assert asked == [(0.0, 0.8)]


def test_slider_before_a_reader_is_one(book: Workbook, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[float] = []
    monkeypatch.setattr(slider, "attended", lambda: True)
    monkeypatch.setattr(slider.Tweak, "slider", lambda self: moved.append(self.start))
    assert book.sparsity_slider() is None
    assert moved == [0.8]
    assert list(book.results.iterdir()) == []


def test_table_without_rows_is_not_shown(book: Workbook) -> None:
    assert book.show_table(None, "t", "A table") is None
    assert book.show_table(pd.DataFrame(), "t", "A table") is None
    assert list(book.results.iterdir()) == []


def test_folded_table_shows_its_title_and_opens(book: Workbook) -> None:
    shown = book.show_table(pd.DataFrame({"zip_bytes": [1, 2]}), "t", "A table", folded=True)
    assert shown.data.startswith("<details><summary>A table: 2 rows</summary>")
    assert shown.data.endswith("</details>")
    assert (book.results / "t.csv").exists()


def test_note_stands_below_its_table(book: Workbook) -> None:
    shown = book.show_table(pd.DataFrame({"form": ["int8"]}), "noted", "Noted", note="in small print")
    assert shown.data.endswith("</table>\n<small>in small print</small>")


def test_what_the_slider_tried_in_vain_does_not_end_the_study(book: Workbook) -> None:
    del book.recipes["float16"]
    book.study.failures.append(Failure(recipe="tweak_0.98", seed=100, error="no memory"))
    book.finish()
