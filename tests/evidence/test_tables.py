import io
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import exactly
from made import LABELS, Drawn, outcome, outcomes, predictions
from matplotlib.figure import Figure
from matplotlib.table import Table
from PIL import Image

from model_compression.evidence import tables
from model_compression.evidence.tables import Form
from model_compression.study.outcomes import Outcome

ISSUE_COLUMNS = [
    "recipe", "file_bytes", "zip_bytes", "best_coded_bytes", "entropy_bytes", "nonzero_weights", "macs",
    "accuracy_mean", "accuracy_sd", "change_pp", "change_ci_low_pp", "change_ci_high_pp", "agreement",
    "mcnemar_p",
]  # fmt: skip


def form(name: str, ours: list[Outcome], control: list[Outcome], *, is_control: bool = False) -> Form:
    return Form(
        name=name,
        is_control=is_control,
        outcomes=ours,
        control_name="longer_trained",
        control=control,
        float_net=outcomes("non_quantized.tflite", [50] * len(ours)),
    )


def three_seeds() -> Form:
    """Sizes differ by seed; 20, 22 and 18 more right than the control, on the same images."""
    ours = outcomes(
        "pruned.tflite",
        [80, 82, 78],
        file_bytes=[1000, 1007, 1001],
        zip_bytes=[300, 100, 200],
        best_coded_bytes=[90, 80, 70],
        best_coder=["xz", "br", "zstd"],
        entropy_bytes=[60.4, 61.6, 59.0],
        nonzero_weights=[40, 41, 42],
        macs=[1000, 1250, 2000],
    )
    return form("pruned", ours, outcomes("longer_trained.tflite", [60] * 3))


def test_all_forms_has_the_columns_of_the_issue() -> None:
    columns = list(tables.all_forms([three_seeds()], LABELS).columns)
    assert [column for column in columns if column in ISSUE_COLUMNS] == ISSUE_COLUMNS


def test_sizes_are_whole_bytes_of_the_median_seed() -> None:
    row = tables.all_forms([three_seeds()], LABELS).iloc[0]
    assert [row.file_bytes, row.zip_bytes, row.best_coded_bytes] == [1001, 200, 80]
    assert row.best_coder == "br"  # the coder of the 80 bytes
    assert row.entropy_bytes == 60
    assert row.above_entropy == pytest.approx(80 / 60.4)
    assert row.nonzero_weights == 41
    assert row.theoretical_speedup == 5000 / 1250


def test_of_two_seeds_the_lower_size_is_shown_and_not_their_mean() -> None:
    ours = outcomes("a.tflite", [50, 50], file_bytes=[1001, 1000])
    table = tables.all_forms([form("a", ours, ours)], LABELS)
    assert table.file_bytes.tolist() == [1000]
    assert table.file_bytes.dtype.kind == "i"


def test_spread_is_the_sample_sd_and_the_change_is_in_percentage_points() -> None:
    row = tables.all_forms([three_seeds()], LABELS).iloc[0]
    assert row.accuracy_mean == pytest.approx(0.8)
    assert row.accuracy_sd == pytest.approx(0.02)
    half = 4.302653 * 2 / np.sqrt(3)  # t of 2 degrees of freedom, sd of 2 pp
    assert [row.change_pp, row.change_ci_low_pp, row.change_ci_high_pp] == pytest.approx(
        [20, 20 - half, 20 + half]
    )
    assert row.seeds == 3


def test_agreement_is_with_the_float_net_and_not_with_the_control() -> None:
    # the float net has images 0 to 49 right, the form the first 80, 82 and 78: the wrong labels agree too
    row = tables.all_forms([three_seeds()], LABELS).iloc[0]
    assert row.agreement == pytest.approx(1 - (30 + 32 + 28) / 300)


def test_p_values_are_merged_over_seeds_and_corrected_for_the_rows() -> None:
    same = outcomes("same.tflite", [60] * 3)
    table = tables.all_forms([three_seeds(), form("same", same, same)], LABELS)
    # 20, 22, 18 images gained, none lost: exact p is 2 * 2^-n; 3/2 of the middle one; Holm: twice
    assert table.mcnemar_p.tolist() == pytest.approx([2 * 1.5 * 2 * 0.5**20, 1])
    assert table.verdict.tolist() == ["better", "no difference shown"]


def test_one_seed_has_no_sd_and_an_interval_over_the_images() -> None:
    one = form("a", outcomes("a.tflite", [80]), outcomes("b.tflite", [60]))
    row = tables.all_forms([one], LABELS).iloc[0]
    half = 100 * 1.959964 * np.std([1.0] * 20 + [0.0] * 80, ddof=1) / 10
    assert np.isnan(row.accuracy_sd)
    assert [row.change_pp, row.change_ci_low_pp] == pytest.approx([20, 20 - half])


def test_roles_tell_controls_from_forms() -> None:
    ours = outcomes("a.tflite", [50])
    forms = [form("a", ours, ours), form("b", ours, ours, is_control=True)]
    assert tables.all_forms(forms, LABELS).role.tolist() == ["form", "control"]


@pytest.mark.parametrize(
    ("low", "high", "p_value", "said"),
    [
        (-2.0, -0.001, 0.0499, "worse"),
        (-2.0, 0.0, 0.0499, "no difference shown"),
        (-2.0, -0.001, 0.05, "no difference shown"),
        (0.001, 2.0, 0.0499, "better"),
        (0.0, 2.0, 0.0499, "no difference shown"),
        (0.001, 2.0, 0.05, "no difference shown"),
        (-1.0, 1.0, 1e-9, "no difference shown"),
        (float("nan"), float("nan"), 1e-9, "no difference shown"),
    ],
)
def test_verdict_needs_both_the_interval_and_the_test(
    low: float, high: float, p_value: float, said: str
) -> None:
    assert tables.verdict(low, high, p_value) == said


def one_seed() -> dict[str, Outcome]:
    """Accuracies 0.9, 0.88, 0.85, 0.92: the .h5 baseline and its .tflite differ, so that a mix-up shows."""
    made = [
        outcome("non_quantized.h5", predictions(90), file_bytes=1200, zip_bytes=900),
        outcome("non_quantized.tflite", predictions(88), file_bytes=1000, zip_bytes=800),
        outcome("int8.tflite", predictions(85), file_bytes=250, zip_bytes=200),
        outcome("pruned.h5", predictions(85), file_bytes=1200, zip_bytes=300),
        outcome("longer_trained.tflite", predictions(92), file_bytes=1000, zip_bytes=790),
    ]
    return {each.record.file: each for each in made}


def test_comparison_has_the_columns_of_the_issue_and_a_row_a_file() -> None:
    table = tables.model_comparison(one_seed(), {})
    wanted = ["model_file", "file_bytes", "zip_bytes", "compression_ratio", "accuracy", "accuracy_change_pp"]
    assert [column for column in table.columns if column in wanted] == wanted
    assert list(table.model_file) == list(one_seed())


def test_ratios_divide_h5_by_h5_and_tflite_by_tflite() -> None:
    table = tables.model_comparison(one_seed(), {}).set_index("model_file")
    assert table.compression_ratio.tolist() == [1, 1, 4, 1, 1]
    assert table.zip_compression_ratio.tolist() == pytest.approx([1, 1, 4, 3, 800 / 790])


def test_changes_are_against_the_baseline_of_the_same_format_in_points() -> None:
    table = tables.model_comparison(one_seed(), {})
    assert table.accuracy_change_pp.tolist() == pytest.approx([0, 0, -3, -5, 4])
    assert table.against_longer_trained_pp.tolist() == pytest.approx([-2, -4, -7, -7, 0])


def test_published_accuracies_stand_beside_their_files_only() -> None:
    table = tables.model_comparison(one_seed(), {"int8.tflite": 0.951})
    assert table.published_accuracy.fillna(-1).tolist() == [-1, -1, 0.951, -1, -1]


def test_zip_ratio_is_bytes_by_zipped_bytes() -> None:
    found = one_seed()
    table = tables.zipped_comparison([found["non_quantized.h5"], found["pruned.h5"]])
    assert table.to_dict("list") == {
        "model_file": ["non_quantized.h5", "pruned.h5"],
        "file_bytes": [1200, 1200],
        "zip_bytes": [900, 300],
        "zip_ratio": [pytest.approx(4 / 3), 4],
    }


def test_records_keep_every_field_but_the_key_under_the_catalogue_name() -> None:
    made = outcomes("a.tflite", [50, 60], zip_bytes=[7, 8])
    table = tables.records_table(made, ["a_h5", "a_h5"])
    assert {"recipe", "seed", "accuracy", "file_bytes", "zip_bytes"} < set(table.columns)
    assert "key" not in table.columns
    assert table.recipe.tolist() == ["a_h5", "a_h5"]
    assert table.seed.tolist() == [0, 1]
    assert table.zip_bytes.tolist() == [7, 8]
    assert table.accuracy.tolist() == [0.5, 0.6]


def test_records_need_a_name_each() -> None:
    with pytest.raises(ValueError, match=r"zip\(\) argument 2 is shorter than argument 1"):
        tables.records_table(outcomes("a.tflite", [50, 60]), ["a"])


# the pictures of tables


def table_of(figure: Figure) -> Table:
    (table,) = (child for child in figure.axes[0].get_children() if isinstance(child, Table))
    return table


def texts_of(figure: Figure) -> list[list[str]]:
    """Rows of cell texts, the heading first."""
    cells = table_of(figure).get_celld()
    rows, columns = (1 + max(place[axis] for place in cells) for axis in (0, 1))
    return [[cells[row, column].get_text().get_text() for column in range(columns)] for row in range(rows)]


def many_forms() -> pd.DataFrame:
    """As many rows as the study has, with its longest names and widest figures."""
    names = ["sparsity_cluster_preserving_qat", "longer_trained_quantized", "non_quantized", "int4_mixed"]
    forms = []
    for index in range(24):
        ours = outcomes(
            "a.tflite",
            [40 + index, 45, 50],
            file_bytes=[984_848] * 3,
            zip_bytes=[877_112] * 3,
            best_coded_bytes=[776_002] * 3,
            nonzero_weights=[120_388] * 3,
        )
        forms.append(form(names[index % 4], ours, outcomes("b.tflite", [60, 30, 90])))
    return tables.all_forms(forms, LABELS)


NOTE = (
    "bytes: the median seed's. best coded: the shortest of zip, xz, zstd and brotli. entropy: of the stored "
    "weights, order 0.\nchange: against the float net trained for as long. verdict: where both agree."
)


def figures() -> dict[str, Figure]:
    forms = tables.shown(many_forms())
    comparison = tables.model_comparison(one_seed(), {"int8.tflite": 0.951})
    comparison.loc[2, "model_file"] = "pruned_quantization_aware.tflite"
    layers = pd.DataFrame(
        {"layer": ["CONV_2D 1"], "shape": ["12 x 3 x 3 x 1"], "parameters": [120], "weights": [108],
         "sparsity": [0.8], "nonzero": [22], "kernel_bytes": [432], "macs": [73_008], "dense_macs": [73_008]}
    )  # fmt: skip
    return {
        "forms": tables.table_figure(forms, "Every form, 3 seeds", note=NOTE),
        "one row": tables.table_figure(forms.head(1), "A control", note=NOTE),
        "comparison": tables.table_figure(comparison, "Model comparison: seed 100, 6 + 2 epochs"),
        "zipped": tables.table_figure(tables.zipped_comparison(list(one_seed().values())[:2]), "Zipped"),
        "layers": tables.table_figure(layers, "Layer by layer: the float32 file"),
    }


@pytest.mark.parametrize("name", ["forms", "one row", "comparison", "zipped", "layers"])
def test_no_text_leaves_the_picture_or_its_cell(name: str) -> None:
    figure = figures()[name]
    drawn = Drawn(figure)
    assert drawn.overhang() <= 0
    cells = table_of(figure).get_celld()
    for cell in cells.values():
        around, inside = drawn.extent(cell), drawn.extent(cell.get_text())
        text = cell.get_text().get_text()
        assert inside.x0 >= around.x0 - 1, text
        assert inside.x1 <= around.x1 + 1, text
        assert inside.y0 >= around.y0 - 1, text
        assert inside.y1 <= around.y1 + 1, text


@pytest.mark.parametrize("name", ["forms", "one row", "comparison", "zipped", "layers"])
def test_title_table_and_note_do_not_overlap(name: str) -> None:
    figure = figures()[name]
    drawn, table = Drawn(figure), table_of(figure)
    cells = table.get_celld()
    rows = [drawn.extent(cells[row, 0]) for row in range(1 + max(row for row, _ in cells))]
    assert drawn.extent(figure.axes[0].title).y0 >= rows[0].y1 - 1
    assert all(above.y0 >= below.y1 - 1 for above, below in pairwise(rows))
    assert all(drawn.extent(note).y1 <= rows[-1].y0 + 1 for note in figure.axes[0].texts)


def test_shown_forms_hold_spread_and_interval_in_one_column_each() -> None:
    view = tables.shown(tables.all_forms([three_seeds()], LABELS))
    assert view.accuracy_spread.tolist() == ["80.00 ± 2.00"]
    assert view.change.tolist() == ["+20.00  [+15.03, +24.97]"]


def test_shown_form_of_one_seed_has_no_spread() -> None:
    one = form("a", outcomes("a.tflite", [80]), outcomes("b.tflite", [60]))
    assert tables.shown(tables.all_forms([one], LABELS)).accuracy_spread.tolist() == ["80.00"]


def test_picture_says_what_the_csv_says(tmp_path: Path) -> None:
    comparison = tables.model_comparison(one_seed(), {"int8.tflite": 0.951})
    heading, *body = texts_of(tables.table_figure(comparison, "t"))
    assert heading[:4] == ["file", "bytes", "zipped", "times\nsmaller"]
    tables.save_csv(comparison, tmp_path / "t.csv")
    for row, texts in zip(pd.read_csv(tmp_path / "t.csv").itertuples(), body, strict=True):
        published = "–" if np.isnan(row.published_accuracy) else f"{row.published_accuracy:.2%}"
        assert texts == [
            row.model_file,
            f"{row.file_bytes:,}",
            f"{row.zip_bytes:,}",
            f"{row.compression_ratio:.2f}",
            f"{row.zip_compression_ratio:.2f}",
            f"{row.accuracy:.2%}",
            f"{row.accuracy_change_pp:+.2f}",
            f"{row.against_longer_trained_pp:+.2f}",
            published,
        ]


def test_unknown_columns_are_headed_by_their_names() -> None:
    frame = pd.DataFrame({"wrong_pixels": [1234567], "where": ["here"]})
    assert texts_of(tables.table_figure(frame, "t")) == [["wrong pixels", "where"], ["1,234,567", "here"]]


def saved(folder: Path, name: str = "t.png") -> bytes:
    path = folder / name
    tables.save_figure(tables.table_figure(pd.DataFrame({"zip_bytes": [1, 2]}), "t"), path)
    return path.read_bytes()


def test_picture_is_as_wide_as_stated_and_opaque_white(tmp_path: Path) -> None:
    with Image.open(io.BytesIO(saved(tmp_path))) as picture:
        assert picture.format == "PNG"
        assert picture.width == tables.WIDTH * tables.DPI == 1350
        pixels = np.asarray(picture.convert("RGBA"))
    assert (pixels[..., 3] == 255).all()
    assert (pixels[[0, -1]] == 255).all()


def test_the_same_figure_is_the_same_png(tmp_path: Path) -> None:
    assert saved(tmp_path, "a.png") == saved(tmp_path, "b.png")


def test_pictures_and_tables_are_written_into_folders_made_for_them(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "deep"
    saved(folder)
    tables.save_csv(pd.DataFrame({"a": [1]}), folder / "t.csv")
    assert sorted(path.name for path in folder.iterdir()) == ["t.csv", "t.png"]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("t.png", lambda path: saved(path.parent, path.name)),
        ("t.csv", lambda path: tables.save_csv(pd.DataFrame({"a": [1]}), path)),
    ],
)
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, name: str, write: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")

    def fail(source: str, target: str) -> None:
        raise OSError("power cut")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match=exactly("power cut")):
        write(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_results_below_a_file_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(
        NotADirectoryError, match=exactly(f"{file} must be a folder, and is a file or lies below one")
    ):
        saved(file)


def test_csv_has_six_digits_unix_lines_and_empty_cells_for_what_is_missing(tmp_path: Path) -> None:
    frame = pd.DataFrame({"recipe": ["a", "b,c"], "x": [1 / 3, np.nan], "n": [1_234_567, 2]})
    tables.save_csv(frame, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes() == b'recipe,x,n\na,0.333333,1234567\n"b,c",,2\n'
