"""The committed notebook and README are held to the tables in results/, and these to each other."""

import base64
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from made import happens

from model_compression.evidence import devices, summary
from model_compression.notebook import run

RESULTS = run.REPOSITORY / "results"
NOTEBOOK, README = run.NOTEBOOK, run.README
#: What the CSVs keep: six significant digits.
DIGITS = 1e-5
COLUMNS = {
    "model-comparison": [
        "model_file", "file_bytes", "zip_bytes", "compression_ratio", "accuracy", "accuracy_change_pp",
    ],
    "zipped-comparison": ["model_file", "file_bytes", "zip_bytes", "zip_ratio"],
    "all-forms": [
        "recipe", "file_bytes", "zip_bytes", "best_coded_bytes", "entropy_bytes", "nonzero_weights", "macs",
        "converted_bytes", "accuracy_mean", "accuracy_sd", "change_pp", "change_ci_low_pp",
        "change_ci_high_pp",
        "p_value", "p_holm", "p_equivalent", "detectable_pp", "verdict", "agreement",
    ],
    "records": ["recipe", "seed", "accuracy", "file_bytes", "zip_bytes"],
    "claims": ["claim", "measured", "estimate", "low", "high", "p_value", "unit", "answer"],
    "deployment": [
        "recipe", "latency_us_median", "latency_us_p90", "runs_on_litert", "runs_on_tflm", "tflm_agreement",
        "arena_bytes", "flash_bytes",
    ],
}  # fmt: skip
EXECUTED = pytest.mark.skipif(
    not any(cell.get("outputs") for cell in nbformat.read(NOTEBOOK, as_version=4).cells),
    reason="the notebook holds no outputs yet: make results runs it",
)
SIZES = [
    "converted_bytes",
    "file_bytes",
    "zip_bytes",
    "best_coded_bytes",
    "nonzero_weights",
    "unique_values",
    "macs",
]


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / f"{name}.csv")


def by_seed(field: str) -> pd.DataFrame:
    """A field of the records: a row a seed, a column a recipe."""
    return table("records").pivot(index="seed", columns="recipe", values=field)


def executed() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def outputs() -> list[nbformat.NotebookNode]:
    return [output for cell in executed().cells if cell.cell_type == "code" for output in cell.outputs]


def knobs() -> dict[str, object]:
    """The values of the parameters cell."""
    (source,) = (cell.source for cell in executed().cells if "parameters" in cell.metadata.get("tags", []))
    values: dict[str, object] = {}
    exec(source, values)
    return values


def pictures() -> list[str]:
    """The pictures that the README and the page of results show."""
    pages = README.read_text() + run.RESULTS_PAGE.read_text().replace("(../", "(")
    return re.findall(r"!\[[^]]*\]\(([^)\s]+)", pages)


def medians(field: str, recipes: list[str]) -> pd.Series:
    """Over the seeds; the lower one of two, so that bytes stay whole."""
    return by_seed(field)[recipes].quantile(0.5, interpolation="lower")


# notebook and README


@EXECUTED
def test_notebook_was_executed_from_top_to_bottom_without_an_error() -> None:
    cells = [cell for cell in executed().cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert [output.evalue for output in outputs() if output.output_type == "error"] == []


@EXECUTED
def test_notebook_holds_no_noise_and_no_path_of_a_machine() -> None:
    assert {output.get("name", "stdout") for output in outputs()} == {"stdout"}
    read = executed()
    for cell in read.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/png", None)
    text = nbformat.writes(read)
    unwanted = [str(run.REPOSITORY), str(Path.home()), "/root", "/home/", "/tmp/", "site-packages"]
    unwanted += ["WARNING", "UserWarning", "DeprecationWarning", "absl", "cuda", "tensorflow/", "it/s]"]
    assert [word for word in unwanted if word in text] == []


def test_notebook_was_run_with_the_defaults() -> None:
    tags = [tag for cell in executed().cells for tag in cell.metadata.get("tags", [])]
    assert tags.count("parameters") == 1
    assert "injected-parameters" not in tags


@EXECUTED
def test_answer_is_the_same_in_results_notebook_and_readme() -> None:
    said = summary.answer(RESULTS)
    block = f"<!-- answer -->\n{said}\n<!-- /answer -->"
    (cell,) = (cell for cell in executed().cells if "answer" in cell.metadata.get("tags", []))
    assert block in cell.source
    assert run.answer_of(executed()) == said
    assert block in run.RESULTS_PAGE.read_text()
    assert f"<!-- answer -->\n{summary.headline(said)}\n<!-- /answer -->" in README.read_text()


def test_what_is_said_of_the_studies_is_that_of_their_tables() -> None:
    said = summary.blocks(RESULTS)
    assert set(said) == {"pairs", "rotated", "frontier", "speed"}
    for page in (run.README, run.RESULTS_PAGE):
        for name, block in said.items():
            assert f"<!-- {name} -->\n{block}\n<!-- /{name} -->" in page.read_text()


def test_latencies_of_the_processor_are_those_of_the_deployment_table() -> None:
    here, every = devices.latencies(table("deployment")), table("latency")
    there = every[every.processor.isin(here.processor)].reset_index(drop=True)
    pd.testing.assert_frame_equal(there, here.reset_index(drop=True))


@EXECUTED
def test_pictures_of_the_notebook_are_those_in_results() -> None:
    shown = [output.data["image/png"] for output in outputs() if "image/png" in output.get("data", {})]
    there = {path.read_bytes(): path.name for path in RESULTS.glob("*.png")}
    assert len(shown) >= 10
    assert all(base64.b64decode(picture) in there for picture in shown)


@EXECUTED
def test_figures_that_the_notebook_prints_are_those_of_the_tables() -> None:
    text = "\n".join(output.text for output in outputs() if output.output_type == "stream")
    said = re.findall(r"(\w+\.(?:h5|tflite)):?\s+([\d,]+) bytes,.*?([\d.]+)%", text)
    rows = table("model-comparison").set_index("model_file")
    assert {name for name, _, _ in said} >= {"non_quantized.h5", "int8.tflite", "pruned.tflite"}
    for name, file_bytes, accuracy in said:
        assert int(file_bytes.replace(",", "")) == rows.file_bytes[name]
        assert f"{rows.accuracy[name]:.2%}" == f"{accuracy}%"


@EXECUTED
def test_notebook_and_pictures_stay_small() -> None:
    assert NOTEBOOK.stat().st_size <= 1e6
    assert sum(path.stat().st_size for path in RESULTS.glob("*.png")) <= 1.5e6


def test_pages_show_pictures_and_no_other_page_has_them() -> None:
    assert len(pictures()) >= 8
    assert len(pictures()) == len(set(pictures()))


@pytest.fixture
def tracked() -> set[str]:
    if not shutil.which("git") or not (run.REPOSITORY / ".git").exists():
        pytest.skip("no git checkout")
    found = subprocess.run(
        ["git", "ls-files"], cwd=run.REPOSITORY, capture_output=True, text=True, check=True
    )
    return set(found.stdout.splitlines())


def test_pictures_and_tables_are_tracked_by_git(tracked: set[str]) -> None:
    wanted = {*pictures(), *(f"results/{name}.csv" for name in COLUMNS)}
    assert wanted - tracked == set()


def test_repository_stays_small(tracked: set[str]) -> None:
    sizes = [(run.REPOSITORY / name).stat().st_size for name in tracked]
    assert max(sizes) < 5e6
    assert sum(sizes) < 20e6


# the tables


@pytest.mark.parametrize("name", COLUMNS)
def test_table_has_the_columns_of_the_issues(name: str) -> None:
    assert set(COLUMNS[name]) <= set(table(name).columns)


def test_records_hold_every_recipe_once_a_seed_and_the_first_seed_first() -> None:
    records = table("records")
    counts = records.groupby("recipe").seed.agg(["nunique", "size"])
    assert (counts == knobs()["N_SEEDS"]).all(axis=None)
    assert (records.groupby("recipe").seed.first() == knobs()["SEED"]).all()


def test_study_has_18_forms_and_4_controls_over_5_seeds() -> None:
    forms = table("all-forms")
    assert (forms.role == "form").sum() >= 18
    assert (forms.role == "control").sum() >= 4
    assert (forms.seeds == 5).all()
    assert forms.recipe.is_unique


def test_forms_are_the_records_of_all_that_is_not_a_keras_file() -> None:
    records = table("records")
    assert set(table("all-forms").recipe) == set(records[~records.file.str.endswith(".h5")].recipe)


def test_comparison_agrees_with_the_records_of_the_first_seed() -> None:
    rows, records = table("model-comparison"), table("records")
    first = records[records.seed == knobs()["SEED"]].set_index("file").loc[list(rows.model_file)]
    for field in ("file_bytes", "zip_bytes"):
        assert list(rows[field]) == list(first[field])
    np.testing.assert_allclose(rows.accuracy, first.accuracy, rtol=DIGITS)


def test_comparison_agrees_with_itself() -> None:
    rows = table("model-comparison").set_index("model_file")
    for name, row in rows.iterrows():
        base = rows.loc["non_quantized" + Path(str(name)).suffix]
        assert row.compression_ratio == pytest.approx(base.file_bytes / row.file_bytes, rel=DIGITS)
        change = 100 * (row.accuracy - base.accuracy)
        assert row.accuracy_change_pp == pytest.approx(change, abs=1e-3)
    trained = [f"{name}.tflite" for name in ("quantization_aware_trained", "pruned", "pruned_quantized")]
    against = 100 * (rows.accuracy[trained] - rows.accuracy["longer_trained.tflite"])
    np.testing.assert_allclose(rows.against_control_pp[trained], against, atol=1e-3)
    against = 100 * (rows.accuracy["int8.tflite"] - rows.accuracy["non_quantized.tflite"])
    assert rows.against_control_pp["int8.tflite"] == pytest.approx(against, abs=1e-3)


def test_zipped_comparison_agrees_with_the_model_comparison() -> None:
    rows, files = table("zipped-comparison").set_index("model_file"), table("records").set_index("file")
    assert list(rows.index) == ["non_quantized.h5", "pruned.h5"]
    first = files[files.seed == knobs()["SEED"]].loc[rows.index]
    assert list(rows.zip_bytes) == list(first.zip_bytes)
    assert list(rows.file_bytes) == list(first.file_bytes)
    np.testing.assert_allclose(rows.zip_ratio, rows.file_bytes / rows.zip_bytes, rtol=DIGITS)


def test_means_and_spreads_follow_from_the_records() -> None:
    forms, accuracy = table("all-forms").set_index("recipe"), by_seed("accuracy")
    wanted = accuracy[list(forms.index)]
    np.testing.assert_allclose(forms.accuracy_mean, wanted.mean(), rtol=DIGITS)
    np.testing.assert_allclose(forms.accuracy_sd, wanted.std(ddof=1), rtol=DIGITS, atol=1e-9)


@pytest.mark.parametrize("field", SIZES)
def test_sizes_are_the_medians_of_the_records(field: str) -> None:
    forms = table("all-forms").set_index("recipe")
    assert list(forms[field]) == list(medians(field, list(forms.index)))


def test_derived_columns_follow_from_their_parts() -> None:
    forms = table("all-forms").set_index("recipe")
    entropy = medians("entropy_bytes", list(forms.index))
    np.testing.assert_allclose(forms.entropy_bytes, entropy, atol=0.51)
    np.testing.assert_allclose(forms.above_entropy, forms.best_coded_bytes / entropy, rtol=DIGITS)
    dense = medians("dense_macs", ["non_quantized"]).iloc[0]
    np.testing.assert_allclose(forms.theoretical_speedup, dense / forms.macs, rtol=DIGITS)
    assert (forms.best_coded_bytes <= forms.zip_bytes).all()
    assert forms.agreement.between(0, 1).all()
    tested = forms[(forms.role == "form") & forms.verdict.notna()]
    assert tested.p_holm.between(0, 1).all()
    assert (tested.p_holm >= tested.p_value).all()
    assert forms.agreement["non_quantized"] == 1


def test_changes_are_paired_by_seed_with_the_control() -> None:
    forms, accuracy = table("all-forms").set_index("recipe"), by_seed("accuracy")
    for name, row in forms[forms.compared_with.notna()].iterrows():
        gain = 100 * (accuracy[name] - accuracy[row.compared_with]).mean()
        assert row.change_pp == pytest.approx(gain, abs=1e-3), name
        assert row.change_ci_low_pp <= row.change_pp <= row.change_ci_high_pp, name


def test_verdicts_are_those_of_interval_tests_and_margin() -> None:
    forms, margin = table("all-forms"), 100 * float(str(knobs()["MARGIN"]))
    tested = forms[(forms.role == "form") & forms.verdict.notna()]
    assert set(tested.verdict) <= {"worse", "better", "equivalent", "undecided"}
    for row in tested.itertuples():
        if row.verdict in ("worse", "better"):
            assert row.p_holm < 0.05, row.recipe
            assert (row.change_pp < 0) == (row.verdict == "worse"), row.recipe
        elif row.verdict == "equivalent":
            assert row.p_equivalent < 0.05, row.recipe
            assert abs(row.change_pp) < margin, row.recipe
        else:
            assert row.detectable_pp > 0, row.recipe


def test_controls_table_is_a_part_of_the_forms_table() -> None:
    forms = table("all-forms")
    wanted = forms[forms.role == "control"].reset_index(drop=True)
    pd.testing.assert_frame_equal(table("controls"), wanted, check_dtype=False)


def test_claims_follow_from_the_records() -> None:
    accuracy, files, zipped = (by_seed(field) for field in ("accuracy", "file_bytes", "zip_bytes"))
    for row in table("claims").itertuples():
        form, control = row.measured.split(" against ")
        if row.unit == "pp of accuracy":
            assert row.estimate == pytest.approx(100 * (accuracy[form] - accuracy[control]).mean(), abs=1e-3)
            assert 0 <= row.p_value <= 1
        else:
            sizes = zipped if "zip" in row.claim else files
            wanted = np.exp(np.log(sizes[control] / sizes[form]).mean())
            assert row.estimate == pytest.approx(wanted, rel=1e-4)
        assert row.answer


# what the study must show


def test_keras_file_and_float_file_give_the_same_labels() -> None:
    accuracy = by_seed("accuracy")
    assert (accuracy["non_quantized"] == accuracy["non_quantized_h5"]).all()


def test_zeros_are_exactly_as_asked_and_survive_pqat() -> None:
    nonzero, sparsity = by_seed("nonzero_weights"), float(str(knobs()["FINAL_SPARSITY"]))
    asked = 20_388 - round(sparsity * 20_388)
    assert (nonzero["pruned"] == asked).all()
    assert (nonzero["pruned_quantization_aware"] <= asked).all()
    # int8 rounds few more to zero
    assert (nonzero["pruned_quantization_aware"] >= 0.98 * asked).all()


# trap-3 and equal-training depend on what the seeds gave: their tables say how many of them show it
@pytest.mark.parametrize("name", ["trap-1", "zeros-after-qat", "trap-4"])
def test_each_trap_is_seen_in_its_table(name: str) -> None:
    assert happens(table(name))


# the device


def test_int8_forms_get_the_same_labels_on_both_runtimes() -> None:
    rows = table("deployment").set_index("recipe")
    int8 = ["int8", "quantization_aware_trained", "pruned_quantized", "clustered_16"]
    assert rows.runs_on_tflm[int8].all()
    assert (rows.tflm_agreement[int8] == 1).all()
    assert rows.arena_bytes[rows.runs_on_tflm].notna().all()
    # a runtime that refuses a file or computes it wrongly has no figures of it
    assert rows.arena_bytes[~rows.runs_on_tflm].isna().all()
    assert rows.latency_us_median[~rows.runs_on_litert].isna().all()
