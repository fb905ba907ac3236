"""What each form does on LiteRT and on TFLite Micro, on small untrained files."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import exactly
from tflite_micro.tensorflow.lite.micro.compression import spec
from tflite_models import IMAGES, micro_outputs, smallest_arena, tflite_file

from model_compression.evidence import devices
from model_compression.files.graph import read_graph
from model_compression.runtimes import deployment, latency, micro
from model_compression.runtimes.smallest import Candidate, Choice, Limits, smallest
from model_compression.store import Store

RIGHT = ("float32", "int8", "clustered_per_channel")


def wrong_tables() -> dict[str, bytes]:
    """One look-up table for a kernel with a scale a channel: it loads, runs and computes nonsense."""
    content = tflite_file("clustered_per_channel")
    (dense,) = (kernel for kernel, _ in read_graph(content).kernels() if len(kernel.shape) == 2)
    table = micro._table(dense)
    (method,) = table.compression
    method.index_bitwidth, method.mode = (np.unique(dense.values).size - 1).bit_length(), spec.PerTensor()
    return {"wrong": content, "wrong_tables": micro._encode(content, [table])}


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "ROUND_SECONDS", 0.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def measured(store: Store, files: dict[str, bytes], images: np.ndarray = IMAGES) -> pd.DataFrame:
    return deployment.table(files, images, store=store).set_index("recipe")


def test_forms_that_run_everywhere_have_every_figure(store: Store) -> None:
    rows = measured(store, {name: tflite_file(name) for name in RIGHT})
    assert list(rows.index) == list(RIGHT)
    assert rows.notna().all(axis=None)
    assert rows[["runs_on_litert", "runs_on_plain", "runs_on_tflm"]].all(axis=None)
    assert (rows.reason == "").all()
    assert (rows.tflm_agreement == 1).all()
    assert (rows.latency_us_median > 0).all()
    assert (rows.latency_us_median <= rows.latency_us_p90).all()
    assert [rows.flash_bytes[name] for name in RIGHT] == [len(tflite_file(name)) for name in RIGHT]
    assert [rows.arena_bytes[name] for name in RIGHT] == [smallest_arena(tflite_file(name)) for name in RIGHT]


def test_columns_are_those_that_the_readers_know(store: Store) -> None:
    table = deployment.table({"int8": tflite_file("int8")}, IMAGES, store=store)
    wanted = {
        "recipe", "latency_us_median", "latency_us_p90", "runs_on_litert", "runs_on_tflm", "tflm_agreement",
        "arena_bytes", "flash_bytes",
    }  # fmt: skip
    assert wanted <= set(table)
    assert table.dtypes[["runs_on_litert", "runs_on_tflm"]].eq(bool).all()


def test_look_up_tables_run_on_tflm_only(store: Store) -> None:
    files = {"lut": tflite_file("clustered_per_channel"), "lut_tables": tflite_file("look_up_table")}
    row = measured(store, files).loc["lut_tables"]
    assert (row.runs_on_litert, row.runs_on_plain, row.runs_on_tflm) == (False, False, True)
    assert row.tflm_agreement == 1
    assert row.flash_bytes == len(tflite_file("look_up_table")) < len(tflite_file("clustered_per_channel"))
    assert np.isnan(row.latency_us_median)
    assert row.reason.startswith("LiteRT: ")
    assert "TFLM: " not in row.reason
    # both kinds of kernels object alike, and are heard once
    assert row.reason.count("LiteRT") == 1


def test_form_that_tflm_refuses_has_the_reason_and_no_figures(store: Store) -> None:
    row = measured(store, {"dynamic": tflite_file("dynamic_range")}).loc["dynamic"]
    assert (row.runs_on_litert, row.runs_on_tflm) == (True, False)
    assert row.reason.startswith("TFLM: Input type: FLOAT32 with filter type: INT8 not supported.")
    assert row[["tflm_agreement", "arena_bytes"]].isna().all()
    assert row.latency_us_median > 0


@pytest.mark.parametrize("planted", [wrong_tables, lambda: {"weights": tflite_file("weight_only_int8")}])
def test_planted_silent_failure_is_caught_and_not_tabulated(store: Store, planted: Any) -> None:
    files = planted()
    *_, broken = files
    # it is silent: TFLM loads it and gives outputs
    assert micro_outputs(files[broken], IMAGES).shape == (len(IMAGES), 5)
    row = measured(store, files | {"int8": tflite_file("int8")}).loc[broken]
    assert not row.runs_on_tflm
    assert "TFLM: computes wrongly: agreement 0." in row.reason
    assert row[["tflm_agreement", "arena_bytes"]].isna().all()


def test_file_without_an_input_shape_is_a_row_with_a_reason(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ValueError("the input tensor is (): its batch size must be 1")

    monkeypatch.setattr(micro, "measure_micro", refuse)
    row = measured(store, {"packed": tflite_file("int8")}).loc["packed"]
    assert (row.runs_on_litert, row.runs_on_tflm) == (True, False)
    assert row.reason == "TFLM: the input tensor is (): its batch size must be 1"
    assert row.flash_bytes == len(tflite_file("int8"))


def test_same_files_give_the_same_table_and_nothing_is_measured_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {name: tflite_file(name) for name in (*RIGHT, "dynamic_range")}
    first = measured(store, files)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(micro, "measure_micro", refuse)
    monkeypatch.setattr(latency, "measure_latencies", refuse)
    pd.testing.assert_frame_equal(measured(store, files), first)
    # the name plays no part
    again = measured(store, {"other": files["int8"]})
    pd.testing.assert_series_equal(again.loc["other"], first.loc["int8"], check_names=False)
    with pytest.raises(AssertionError, match="measured again"):
        measured(store, files, IMAGES[:-1])


def test_latencies_of_fresh_processes_are_kept_apart(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    files, here = (
        {"int8": tflite_file("int8")},
        latency.LatencyReport(runs_on_litert=True, latency_spread=0.0),
    )
    apart = replace(here, latency_spread=0.3)

    def measure(*given: Any, processes: int, **named: Any) -> list[latency.LatencyReport]:
        return [here if processes == 1 else apart]

    monkeypatch.setattr(latency, "measure_latencies", measure)
    spreads = [
        deployment.table(files, IMAGES, store=store, runtimes=["litert"], processes=each).latency_spread[0]
        for each in (1, 3)
    ]
    assert spreads == [0.0, 0.3]


def test_equal_files_are_measured_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    whole = micro.measure_micro

    def count(content: bytes, *args: Any, **kwargs: Any) -> micro.MicroReport:
        seen.append(content)
        return whole(content, *args, **kwargs)

    monkeypatch.setattr(micro, "measure_micro", count)
    rows = measured(store, {"one": tflite_file("int8"), "two": tflite_file("int8")})
    assert len(seen) == 1
    pd.testing.assert_series_equal(rows.loc["one"], rows.loc["two"], check_names=False)


def test_damaged_entry_is_measured_anew(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    first = measured(store, {"int8": tflite_file("int8")})
    for path in store.folder.glob("*/*"):
        path.write_bytes(path.read_bytes()[:-1])
    again = measured(store, {"int8": tflite_file("int8")})
    assert "is damaged; it will be computed again" in caplog.text
    columns = ["runs_on_tflm", "tflm_agreement", "arena_bytes", "flash_bytes"]
    pd.testing.assert_frame_equal(again[columns], first[columns])


def test_images_with_a_channel_axis_fit(store: Store) -> None:
    assert measured(store, {"int8": tflite_file("int8")}, IMAGES[..., None]).runs_on_tflm["int8"]


def test_look_up_tables_are_made_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clustered, plain = tflite_file("clustered_per_channel"), tflite_file("int8")
    assert deployment.look_up_tables(clustered, store=store) == tflite_file("look_up_table")
    assert deployment.look_up_tables(plain, store=store) is None

    def refuse(content: bytes) -> bytes:
        raise AssertionError("made again")

    monkeypatch.setattr(micro, "compress_lut", refuse)
    assert deployment.look_up_tables(clustered, store=store) == tflite_file("look_up_table")
    assert deployment.look_up_tables(plain, store=store) is None


#: Made up by hand.
TABLE = pd.DataFrame(
    [
        ("non_quantized", 8.0, 9.0, 20.0, 1e5, True, True, True, 1.0, 30_000.0, 84_848, ""),
        ("int8", 24.0, 25.0, 25.0, 1e5, True, True, True, 1.0, 12_656.0, 24_296, ""),
        ("float16", 8.0, 9.0, 20.0, 1e5, True, True, False, np.nan, np.nan, 44_704, "TFLM: a_<c>"),
        ("int4", 8.0, 9.0, 20.0, 1e5, True, True, False, np.nan, np.nan, 14_000, "TFLM: a_<c>"),
        ("c_tables", np.nan, np.nan, np.nan, np.nan, False, False, True, 1.0, 33_000.0, 9_000, "LiteRT"),
    ],
    columns=[
        "recipe", "latency_us_median", "latency_us_p90", "plain_us_median", "images_per_s", "runs_on_litert",
        "runs_on_plain", "runs_on_tflm", "tflm_agreement", "arena_bytes", "flash_bytes",
        "reason",
    ],
).assign(latency_spread=0.01, processor="a 6502")  # fmt: skip
FILES = {name: name.encode() * 100 for name in TABLE.recipe}
ACCURACIES = {"non_quantized": 0.98, "int8": 0.978, "float16": 0.98, "int4": 0.98, "c": 0.974}
RECORDS = {
    name: SimpleNamespace(validation_accuracy=accuracy, best_coded_bytes=800)
    for name, accuracy in ACCURACIES.items()
}


def test_view_says_yes_and_no_and_leaves_the_reasons_out() -> None:
    before = TABLE.copy()
    view = devices.shown(TABLE)
    assert list(view.runs_on_tflm) == ["yes", "yes", "no", "no", "yes"]
    assert "reason" not in view
    pd.testing.assert_frame_equal(before, TABLE)


def test_smaller_files_that_are_faster_are_counted_by_processor() -> None:
    here = devices.latencies(TABLE)
    assert list(here.recipe) == list(TABLE.recipe[TABLE.runs_on_litert])
    said = (
        "- a 6502: of 3 smaller files 0 are faster and 1 slower than the float file by more than fresh "
        "processes differ, a median of 1.0 % and 1.0 % at most; `int8` takes 3.00 times as long, `int8` the "
        "longest, 3.0 times."
    )
    assert devices.speed(here) == said
    # what processes differ by is no difference of files
    there = here.assign(processor="another", latency_spread=2.5)
    lines = devices.speed(pd.concat([there, here])).splitlines()
    assert lines[0].startswith("- another: of 3 smaller files 0 are faster and 0 slower")
    assert lines[1:] == [said]
    assert devices.speed(here[1:]) == "No smaller file was timed."


def test_forms_refused_for_one_reason_stand_together() -> None:
    assert devices.refusals(TABLE) == "- `float16`, `int4`: TFLM: a\\_\\<c>\n- `c_tables`: LiteRT"


def test_files_that_tflm_calls_hybrid_are_refused_in_one_line() -> None:
    said = (
        "TFLM: Hybrid models are not supported on TFLite Micro.; Node CONV_2D (number 6) failed",
        "TFLM: Input type: FLOAT32 with filter type: INT4 not supported.; Node FULLY_CONNECTED failed",
        "TFLM: input->type == kTfLiteInt8 || input->type == kTfLiteUInt8 was not true.; Node DEQUANTIZE",
    )
    plain = "TFLM: has no operators for float activations with kernels in integers or halves"
    assert {devices.plainly(each) for each in said} == {plain}
    assert devices.plainly(f"LiteRT: no; {said[0]}") == f"LiteRT: no; {plain}"
    assert devices.plainly("TFLM: another reason") == "TFLM: another reason"
    refused = "failed to create XNNPACK runtimeNode number 2 (TfLiteXNNPackDelegate) failed to prepare."
    assert devices.plainly(refused) == "LiteRT's XNNPACK cannot prepare the file"


def test_error_after_its_way_through_the_code_is_said_alone() -> None:
    traced = "in user code:\n\n    File a.py\n    Error: no\n\n    ValueError: rank 2 only\n  - x=1"
    assert devices.plainly(traced) == "rank 2 only"


def test_labels_that_differ_between_the_runtimes_are_said_with_their_share() -> None:
    table = TABLE.copy()
    table.loc[1, "tflm_agreement"] = 0.9998
    assert (
        devices.refusals(table)
        .splitlines()[-1]
        .startswith("- `int8`: run on both, and at most 0.02 % of the labels differ.")
    )


def test_candidates_hold_what_was_measured() -> None:
    found = {form.name: form for form in deployment.candidates(TABLE, FILES, RECORDS)}
    assert found["int8"] == Candidate(
        name="int8",
        validation_accuracy=0.978,
        baseline_accuracy=0.98,
        flash_bytes=24_296,
        coded_bytes=800,
        arena_bytes=12_656,
        latency_us=24.0,
    )
    assert found["c_tables"].validation_accuracy == 0.974
    assert 0 < found["c_tables"].coded_bytes < 100
    assert (found["float16"].arena_bytes, found["float16"].runs_on_tflm) == (None, False)
    assert (found["c_tables"].latency_us, found["c_tables"].runs_on_litert) == (None, False)


@pytest.mark.parametrize(
    ("max_drop", "said"),
    [
        (
            0.005,
            "**`models/int8.tflite`** is the smallest of 2 forms that run on TFLite Micro within 0.50 pp of "
            "the float net on validation data (-0.20 pp): 24,296 bytes of flash, 12,656 of arena.",
        ),
        (
            0.001,
            "**`models/non_quantized.tflite`** is the only form that runs on TFLite Micro within 0.10 pp of "
            "the float net on validation data (+0.00 pp): 84,848 bytes of flash, 30,000 of arena.",
        ),
    ],
)
def test_answer_is_one_line_with_the_file(max_drop: float, said: str) -> None:
    choice = smallest(deployment.candidates(TABLE, FILES, RECORDS), Limits(max_drop=max_drop, runtime="tflm"))
    assert choice.form is not None
    path = Path("models") / f"{choice.form.name}.tflite"
    assert devices.sentence(choice, path, max_drop=max_drop, runtime="tflm") == said


def test_answer_where_nothing_fits_says_what_came_closest() -> None:
    choice = smallest(
        deployment.candidates(TABLE, FILES, RECORDS), Limits(max_drop=0.005, max_flash=100, runtime="tflm")
    )
    said = devices.sentence(choice, Path("models/x"), max_drop=0.005, runtime="tflm")
    assert said == "Nothing fits; int8 comes closest: flash 24,296 bytes, allowed 100 bytes."
    none = devices.sentence(Choice(form=None), Path("models/x"), max_drop=0.005, runtime="tflm")
    assert none == "No form runs on this runtime."


def test_no_images_is_an_error(store: Store) -> None:
    with pytest.raises(ValueError, match=exactly("there are no images to measure with")):
        measured(store, {"int8": tflite_file("int8")}, IMAGES[:0])
