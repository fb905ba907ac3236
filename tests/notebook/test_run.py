import re
import statistics
import subprocess
import sys
import zipfile
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
from nbformat import v4

from model_compression.data.datasets import Dataset, scale
from model_compression.evidence import summary
from model_compression.files import running
from model_compression.files.graph import read_graph
from model_compression.notebook import run
from model_compression.study.catalogue import Settings, catalogue
from model_compression.study.experiment import Bench

FILES = [
    "non_quantized.h5",
    "non_quantized.tflite",
    "post_training_quantized.tflite",
    "float16.tflite",
    "int8.tflite",
    "quantization_aware_trained.tflite",
    "longer_trained.tflite",
    "pruned.tflite",
    "pruned_quantized.tflite",
    "pruned_quantization_aware.tflite",
]
#: What TensorFlow, absl and the converters say when nobody stops them.
NOISE = (
    "WARNING",
    "Warning",
    "absl",
    "INFO",
    "cuda",
    "XNNPACK delegate for",
    "Estimated count",
    "saved_model",
)
IMAGES, DEVICE_IMAGES = 3000, 200


@pytest.fixture(scope="module")
def committed() -> nbformat.NotebookNode:
    return nbformat.read(run.NOTEBOOK, as_version=4)


def code_cells(read: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in read.cells if cell.cell_type == "code"]


# the notebook's text

#: Those of the parameters that are settings of the catalogue, by the same names.
KNOBS = (
    "SEED", "N_SEEDS", "EPOCHS", "FINE_TUNE_EPOCHS", "BATCH_SIZE", "LEARNING_RATE", "INITIAL_SPARSITY",
    "FINAL_SPARSITY", "FORMS",
)  # fmt: skip


def test_parameters_cell_is_tagged_and_holds_every_knob(committed: nbformat.NotebookNode) -> None:
    (cell,) = (each for each in committed.cells if "parameters" in each.metadata.get("tags", []))
    names = [line.split(" = ")[0] for line in cell.source.splitlines()]
    wanted = {*KNOBS, "TRAIN_IMAGES", "RESULTS_DIR", "MODELS_DIR", "CACHE_DIR"}
    assert wanted <= set(names)
    values: dict[str, Any] = {}
    exec(cell.source, values)
    assert values["TRAIN_IMAGES"] is None
    assert values["N_SEEDS"] == 5


def test_cells_are_short(committed: nbformat.NotebookNode) -> None:
    lengths = [len(cell.source.splitlines()) for cell in code_cells(committed)]
    # the parameters cell has a line a knob
    assert max(lengths) <= 17
    assert statistics.median(lengths) <= 6


def test_every_code_cell_follows_words(committed: nbformat.NotebookNode) -> None:
    kinds = [cell.cell_type for cell in committed.cells]
    assert kinds[:2] == ["markdown", "markdown"]
    assert "code code code" not in " ".join(kinds)


def test_sections_come_in_the_order_that_a_reader_expects(committed: nbformat.NotebookNode) -> None:
    words = "\n".join(cell.source for cell in committed.cells if cell.cell_type == "markdown")
    headings = [line.removeprefix("## ") for line in words.splitlines() if line.startswith("## ")]
    expected = [
        "The answer", "Parameters", "Data", "The baseline", "TensorFlow Lite", "Quantization after training",
        "Quantization-aware training", "Pruning", "Pruned and quantized",
        "Zipped sizes", "The files side by side", "Every form, over all seeds",
        "Pruned, or small?", "Who pays", "What the original study claimed", "Things that go wrong",
        "Tweak by hand", "Your own model", "What we learned",
    ]  # fmt: skip
    assert [heading for heading in headings if heading in expected] == expected


def test_original_study_is_the_first_third(committed: nbformat.NotebookNode) -> None:
    (beyond,) = (
        number
        for number, cell in enumerate(committed.cells)
        if cell.source.startswith("# Beyond the original study")
    )
    assert beyond <= len(committed.cells) / 3


def test_contents_link_to_headings_that_exist(committed: nbformat.NotebookNode) -> None:
    words = "\n".join(cell.source for cell in committed.cells if cell.cell_type == "markdown")
    anchors = {line.lstrip("# ").replace(" ", "-") for line in words.splitlines() if line.startswith("#")}
    linked = re.findall(r"\]\(#(\S+?)\)", words.replace("\n", " "))
    assert len(linked) >= 15
    assert [link for link in linked if link not in anchors] == []


# running notebooks


def small(*cells: str) -> nbformat.NotebookNode:
    """A notebook with an answer to fill and a parameters cell before `cells`."""
    parameters = v4.new_code_cell("KNOB = 1  # turn me\nFOLDER = 'here'", metadata={"tags": ["parameters"]})
    answer = v4.new_markdown_cell("<!-- answer -->\nold\n<!-- /answer -->", metadata={"tags": ["answer"]})
    made = v4.new_notebook(cells=[answer, parameters, *(v4.new_code_cell(cell) for cell in cells)])
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return made


SAYS = (
    "import sys\nprint('said', KNOB)\nprint('progress', file=sys.stderr)",
    "from IPython.display import Markdown\nMarkdown('How.\\n\\n- **Baseline:** new\\n- **Other:** too')",
)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the module takes for the repository, with a small notebook and a README."""
    monkeypatch.setattr(run, "NOTEBOOK", tmp_path / "small.ipynb")
    monkeypatch.setattr(run, "TWEAKED", tmp_path / "small.tweaked.ipynb")
    monkeypatch.setattr(run, "README", tmp_path / "README.md")
    monkeypatch.setattr(run, "RESULTS_PAGE", tmp_path / "results.md")
    monkeypatch.setattr(run, "REPOSITORY", tmp_path)
    nbformat.write(small(*SAYS), tmp_path / "small.ipynb")
    for name in ("README.md", "results.md"):
        (tmp_path / name).write_text("# Title\n<!-- answer -->\n<!-- /answer -->\nend\n")
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    return tmp_path


def outputs_of(path: Path) -> list[Any]:
    read = nbformat.read(path, as_version=4)
    return [output for cell in code_cells(read) for output in cell.outputs]


@pytest.fixture
def pairs(own: Path) -> None:
    """A table of other data and nets, and room for what it says in the pages."""
    (own / "results").mkdir()
    rows = {"recipe": ["int8"], "role": "form", "net": "a", "dataset": "b", "seeds": 3, "verdict": "worse"}
    rows["change_pp"], rows["change_ci_high_pp"] = -2.0, -1.0
    pd.DataFrame(rows).to_csv(own / "results" / "pairs.csv")
    for name in ("README.md", "results.md"):
        with (own / name).open("a") as page:
            page.write("<!-- pairs -->\n<!-- /pairs -->\n")


@pytest.mark.usefixtures("pairs")
def test_run_in_place_fills_the_answer_of_notebook_and_readme(
    own: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = "How.\n\n- **Baseline:** new\n- **Other:** too"
    assert run.main([]) == 0
    read = nbformat.read(own / "small.ipynb", as_version=4)
    assert read.cells[0].source == f"<!-- answer -->\n{said}\n<!-- /answer -->"
    assert run.answer_of(read) == said
    elsewhere = "1 rows of 1 forms were tested: 0 better, 0 equivalent, 1 worse, 0 undecided; "
    for name in ("README.md", "results.md"):
        assert elsewhere in (own / name).read_text()
    page = "# Title\n<!-- answer -->\n{}\n<!-- /answer -->\nend\n"
    assert (own / "README.md").read_text().startswith(page.format(said.removeprefix("How.\n\n")))
    assert (own / "results.md").read_text().startswith(page.format(said))
    assert [cell.execution_count for cell in code_cells(read)] == [1, 2, 3]
    assert all(set(cell.metadata) <= {"tags"} for cell in read.cells)
    # progress is seen and not stored
    assert [output.get("text") for output in outputs_of(own / "small.ipynb")] == ["said 1\n", None]
    assert "progress" in capfd.readouterr().err


def test_where_an_object_lay_in_memory_is_left_out(own: Path) -> None:
    nbformat.write(small("object()"), own / "small.ipynb")
    assert run.main([]) == 0
    assert outputs_of(own / "small.ipynb")[0].data["text/plain"] == "<object>"


@pytest.mark.usefixtures("pairs")
def test_tweaked_run_leaves_notebook_and_readme_alone(own: Path) -> None:
    before = {path: path.read_bytes() for path in own.iterdir() if path.is_file()}
    assert run.main(["-p", "KNOB", "0.9"]) == 0
    assert {path: path.read_bytes() for path in before} == before
    assert outputs_of(own / "small.tweaked.ipynb")[0].text == "said 0.9\n"


def test_failing_cell_ends_in_1_and_its_error_can_be_read(
    own: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    nbformat.write(small("print('kept')", "1 / 0", "print('never')"), own / "small.ipynb")
    target = own / "new" / "out.ipynb"
    assert run.main(["--output", str(target)]) == 1
    assert "ZeroDivisionError" in capfd.readouterr().err
    texts = [output.get("text", output.get("ename")) for output in outputs_of(target)]
    assert texts == ["kept\n", "ZeroDivisionError"]
    assert "old" in nbformat.read(target, as_version=4).cells[0].source


def test_unknown_parameter_ends_in_2_before_anything_runs(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(["-p", "KNOBB", "2"]) == 2
    assert capsys.readouterr().err == "the notebook has no parameter KNOBB; it has KNOB, FOLDER\n"
    assert not (own / "small.tweaked.ipynb").exists()


def test_unknown_parameter_of_the_real_notebook_names_all_that_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(["-p", "SPARSITY", "0.9", "--output", str(tmp_path / "out.ipynb")]) == 2
    assert capsys.readouterr().err == (
        "the notebook has no parameter SPARSITY; it has SEED, N_SEEDS, EPOCHS, FINE_TUNE_EPOCHS, BATCH_SIZE, "
        "LEARNING_RATE, INITIAL_SPARSITY, FINAL_SPARSITY, TRAIN_IMAGES, DEVICE_IMAGES, DATASET, MODEL, "
        "FORMS, MARGIN, RESULTS_DIR, MODELS_DIR, CACHE_DIR\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.9", 0.9),
        ("1e-3", 1e-3),
        ("3000", 3000),
        ("None", None),
        ("mnist", "mnist"),
        ("'mnist'", "mnist"),
        ("/tmp/a b", "/tmp/a b"),
        ("-1", -1),
    ],
)
def test_values_are_read_as_the_cell_would_read_them(
    text: str, value: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(run, "run", lambda source, target, parameters: given.append(parameters))
    assert run.main(["--output", str(tmp_path / "out.ipynb"), "-p", "KNOB", text]) == 0
    assert given == [{"KNOB": value}]
    assert type(given[0]["KNOB"]) is type(value)


def test_answer_of_a_notebook_that_printed_none_is_none() -> None:
    assert run.answer_of(small("1")) is None


def test_bad_setting_stops_papermill_before_any_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(papermill.PapermillExecutionError) as caught:
        papermill.execute_notebook(
            run.NOTEBOOK,
            tmp_path / "out.ipynb",
            {"FINAL_SPARSITY": 0.3, **{f"{name}_DIR": str(tmp_path / name) for name in FOLDERS}},
            progress_bar=False,
        )
    assert (caught.value.ename, caught.value.evalue) == (
        "ValueError",
        "initial_sparsity is 0.5; allowed: at most final_sparsity, which is 0.3",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["out.ipynb"]


FOLDERS = ("RESULTS", "MODELS", "CACHE")


# the study itself, end to end


@dataclass(frozen=True)
class EndToEnd:
    """One run of the whole notebook on real images."""

    folder: Path
    bench: Bench
    finished: "subprocess.CompletedProcess[str]"

    @property
    def results(self) -> Path:
        return self.folder / "RESULTS"

    @property
    def models(self) -> Path:
        return self.folder / "MODELS"

    @property
    def read(self) -> nbformat.NotebookNode:
        return nbformat.read(self.folder / "out.ipynb", as_version=4)

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.results / f"{name}.csv")

    def entries(self) -> set[str]:
        """Keys of all that the cache holds."""
        return {path.stem for path in (self.folder / "CACHE").glob("*/*.pickle")}


def knobs(final_sparsity: float = 0.8) -> Settings:
    return Settings(
        seed=100, n_seeds=1, epochs=1, fine_tune_epochs=1, batch_size=128, learning_rate=5e-3,
        initial_sparsity=0.5, final_sparsity=final_sparsity,
    )  # fmt: skip


@pytest.fixture(scope="module")
def ran(mnist: Dataset, tmp_path_factory: pytest.TempPathFactory) -> EndToEnd:
    """3,000 training, 334 validation and 2,000 test images of MNIST, one epoch, one seed."""
    folder = tmp_path_factory.mktemp("notebook")
    images = folder / "part.npz"
    np.savez(
        images,
        x_train=mnist.x_train[:3334],
        y_train=mnist.y_train[:3334],
        x_test=mnist.x_test[:2000],
        y_test=mnist.y_test[:2000],
    )
    parameters = {"DATASET": images, "TRAIN_IMAGES": IMAGES, "EPOCHS": 1, "FINE_TUNE_EPOCHS": 1, "N_SEEDS": 1}
    parameters["DEVICE_IMAGES"] = DEVICE_IMAGES
    parameters |= {f"{name}_DIR": folder / name for name in FOLDERS}
    given = [part for name, value in parameters.items() for part in ("-p", name, str(value))]
    finished = subprocess.run(
        [
            sys.executable,
            "-m",
            "model_compression.notebook.run",
            *given,
            "--output",
            str(folder / "out.ipynb"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    bench = Bench(dataset=str(images), train_images=IMAGES, cache_dir=str(folder / "CACHE"))
    return EndToEnd(folder=folder, bench=bench, finished=finished)


@pytest.mark.timeout(1800)
def test_every_cell_ran_in_order(ran: EndToEnd) -> None:
    cells = code_cells(ran.read)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


def test_outputs_hold_no_noise_and_no_path_of_this_machine(ran: EndToEnd) -> None:
    outputs = [output for cell in code_cells(ran.read) for output in cell.outputs]
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    said = "\n".join(
        str(output.get("text", ""))
        + str({k: v for k, v in output.get("data", {}).items() if k != "image/png"})
        for output in outputs
    )
    paths = (str(run.REPOSITORY), str(ran.folder), str(Path.home()), "/tmp", "site-packages")
    assert [word for word in NOISE + paths if word in said] == []


def test_runner_of_notebooks_is_nobody_who_could_move_the_slider(ran: EndToEnd) -> None:
    (cell,) = (cell for cell in code_cells(ran.read) if "sparsity_slider(" in cell.source)
    (output,) = cell.outputs
    assert "image/png" in output.data
    assert not [kind for kind in output.data if "widget" in kind]
    assert (ran.results / "sparsity-slider.png").exists()


def test_progress_was_seen(ran: EndToEnd) -> None:
    assert "epochs [" in ran.finished.stderr
    assert ran.finished.stdout == "wrote out.ipynb\n"


def test_answer_stands_at_the_top_and_at_the_end(ran: EndToEnd) -> None:
    said = summary.answer(ran.results)
    assert run.answer_of(ran.read) == said
    assert f"<!-- answer -->\n{said}\n<!-- /answer -->" in ran.read.cells[1].source


def test_committed_notebook_and_readme_were_left_alone(ran: EndToEnd) -> None:
    said = summary.answer(ran.results)
    assert said not in run.RESULTS_PAGE.read_text()
    assert said not in run.NOTEBOOK.read_text()


def test_every_table_comes_as_csv_and_png(ran: EndToEnd) -> None:
    stems = {path.stem for path in ran.results.glob("*.csv")} - {"records", "who-pays-images", "latency"}
    assert {"model-comparison", "zipped-comparison", "all-forms", "claims", "layers"} <= stems
    pictures = {path.stem: path.read_bytes() for path in ran.results.glob("*.png")}
    assert stems < set(pictures)
    assert {content[:8] for content in pictures.values()} == {b"\x89PNG\r\n\x1a\n"}
    assert {path.suffix for path in ran.results.iterdir()} == {".csv", ".png"}


def test_comparison_rows_are_the_files_in_the_models_folder(ran: EndToEnd) -> None:
    table = ran.table("model-comparison")
    wanted = ["model_file", "file_bytes", "zip_bytes", "compression_ratio", "accuracy", "accuracy_change_pp"]
    assert [column for column in table.columns if column in wanted] == wanted
    assert sorted(table.model_file) == sorted(FILES)
    for row in table.itertuples():
        content = (ran.models / row.model_file).read_bytes()
        archive = BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
            file.writestr("model", content)
        assert row.file_bytes == len(content)
        # the archive's own names and dates take some bytes
        assert row.zip_bytes == pytest.approx(len(archive.getvalue()), abs=40)


def test_zipped_comparison_is_of_the_two_keras_files(ran: EndToEnd) -> None:
    table = ran.table("zipped-comparison")
    assert list(table.columns) == ["model_file", "file_bytes", "zip_bytes", "zip_ratio"]
    assert list(table.model_file) == ["non_quantized.h5", "pruned.h5"]
    assert table.file_bytes[0] == table.file_bytes[1]
    assert table.zip_bytes[1] < table.zip_bytes[0] / 2
    for name in table.model_file:
        with h5py.File(ran.models / name) as file:
            assert "optimizer_weights" not in file


@pytest.mark.parametrize("name", ["float16.tflite", "int8.tflite", "pruned_quantization_aware.tflite"])
def test_deployed_file_scores_what_the_table_says(ran: EndToEnd, name: str) -> None:
    data = ran.bench.data
    predicted = running.predict((ran.models / name).read_bytes(), scale(data.x_test))
    said = ran.table("model-comparison").set_index("model_file").accuracy[name]
    assert np.mean(predicted == data.y_test) == pytest.approx(said, abs=1e-6)


def test_qat_file_is_integers_throughout_and_not_the_post_training_file(ran: EndToEnd) -> None:
    content = (ran.models / "quantization_aware_trained.tflite").read_bytes()
    assert {tensor.dtype for tensor in read_graph(content).tensors} == {"int8", "int32"}
    io = running.io_details(content)
    assert (io.input_dtype, io.output_dtype) == ("int8", "int8")
    assert content != (ran.models / "int8.tflite").read_bytes()


def zeros(path: Path) -> list[int]:
    return [
        kernel.dequantized().size - np.count_nonzero(kernel.dequantized())
        for kernel, _ in read_graph(path.read_bytes()).kernels()
    ]


def test_pruned_zeros_are_exactly_as_asked_in_the_files(ran: EndToEnd) -> None:
    # of both kernels together: LAMP shares them out
    asked = round(0.8 * 20_388)
    assert sum(zeros(ran.models / "pruned.tflite")) == asked
    for name in ("pruned_quantized", "pruned_quantization_aware"):
        # rounding to int8 may add a few of its own, and none may be lost
        assert asked <= sum(zeros(ran.models / f"{name}.tflite")) <= 1.005 * asked


def test_all_forms_and_controls_are_in_the_table(ran: EndToEnd) -> None:
    table = ran.table("all-forms")
    assert (table.role == "form").sum() >= 18
    assert (table.role == "control").sum() >= 4
    assert set(table.recipe) == {name for name in catalogue(knobs()) if not name.endswith("_h5")}
    assert table.accuracy_sd.isna().all()  # one seed
    judged = table[(table.role == "form") & table.compared_with.notna()]
    assert judged.drop(columns="accuracy_sd").notna().all(axis=None)


def test_int8_is_as_good_as_float_and_training_helped(ran: EndToEnd) -> None:
    accuracy = ran.table("model-comparison").set_index("model_file").accuracy
    assert accuracy["non_quantized.tflite"] > 0.7
    assert accuracy["int8.tflite"] == pytest.approx(accuracy["non_quantized.tflite"], abs=0.01)
    assert accuracy["non_quantized.h5"] == accuracy["non_quantized.tflite"]


def test_another_sparsity_shares_all_that_is_not_pruned(ran: EndToEnd) -> None:
    recipes = catalogue(knobs(final_sparsity=0.9))
    store = ran.bench.store
    missing = {name for name, each in recipes.items() if not store.has(ran.bench.record_key(each, 100))}
    assert missing == {
        "pruned", "pruned_h5", "pruned_quantized", "pruned_quantization_aware", "pruned_then_plain_qat",
        "pruned_block", "pruned_clustered", "sparsity_cluster_preserving_qat", "pruned_uniform",
        "random_pruned", "random_pruned_like", "scratch_pruned", "scratch_longer_pruned", "lottery_pruned",
    }  # fmt: skip


def test_pruning_further_adds_two_entries_and_trains_no_baseline(ran: EndToEnd) -> None:
    before, heard = ran.entries(), set()
    recipe = catalogue(knobs(final_sparsity=0.9))["pruned"]
    outcome = ran.bench.run(recipe, 100, lambda key, title, done: heard.add(title))
    assert heard == {"baseline, pruning, seed 100"}
    assert ran.entries() - before == {
        ran.bench.training_key(recipe.net, recipe.steps, 100),
        outcome.record.key,
    }
    assert outcome.record.nonzero_weights == 20_388 - round(0.9 * 20_388)


def test_papermill_repeats_the_tables_from_the_cache(ran: EndToEnd, tmp_path: Path) -> None:
    before = ran.entries()
    papermill.execute_notebook(
        run.NOTEBOOK,
        tmp_path / "out.ipynb",
        {
            "DATASET": ran.bench.dataset, "TRAIN_IMAGES": IMAGES, "EPOCHS": 1, "FINE_TUNE_EPOCHS": 1,
            "N_SEEDS": 1, "DEVICE_IMAGES": DEVICE_IMAGES, "RESULTS_DIR": str(tmp_path / "results"),
            "MODELS_DIR": str(tmp_path / "models"),
            "CACHE_DIR": ran.bench.cache_dir,
        },
        progress_bar=False,
    )  # fmt: skip
    assert ran.entries() == before
    for path in ran.results.glob("*.csv"):
        assert (tmp_path / "results" / path.name).read_bytes() == path.read_bytes(), path.name
    for path in ran.models.iterdir():
        assert (tmp_path / "models" / path.name).read_bytes() == path.read_bytes(), path.name


def test_forms_of_the_original_study_run_to_the_end_from_the_cache(ran: EndToEnd, tmp_path: Path) -> None:
    given = {
        "DATASET": ran.bench.dataset, "TRAIN_IMAGES": IMAGES, "EPOCHS": 1, "FINE_TUNE_EPOCHS": 1,
        "N_SEEDS": 1, "DEVICE_IMAGES": DEVICE_IMAGES, "FORMS": "original",
        "RESULTS_DIR": tmp_path / "results", "MODELS_DIR": tmp_path / "models",
        "CACHE_DIR": ran.bench.cache_dir,
    }  # fmt: skip
    parameters = [part for name, value in given.items() for part in ("-p", name, str(value))]
    assert run.main([*parameters, "--output", str(tmp_path / "out.ipynb")]) == 0
    columns = ["recipe", "file_bytes", "zip_bytes", "accuracy_mean", "change_pp", "compared_with"]
    few, every = pd.read_csv(tmp_path / "results" / "all-forms.csv"), ran.table("all-forms")
    same = every[every.recipe.isin(few.recipe)].reset_index(drop=True)
    pd.testing.assert_frame_equal(few[columns], same[columns])
    assert len(few) == len(catalogue(replace(knobs(), forms="original"))) - 2
