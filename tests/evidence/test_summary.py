from pathlib import Path

import pytest
from conftest import exactly
from made import CLAIMS, FORMS, results_folder

from model_compression.evidence.summary import answer, compared, fill


def lines(folder: Path) -> dict[str, str]:
    """The bullets by their bold beginning."""
    bullets = [line for line in answer(folder).splitlines() if line.startswith("- **")]
    return {bullet.split("**")[1]: bullet.split("**")[2] for bullet in bullets}


def test_sentences_hold_the_figures_of_the_tables(tmp_path: Path) -> None:
    said = lines(results_folder(tmp_path))
    assert said == {
        "Baseline:": " 84,848 bytes as float32 .tflite, 98.34 %.",
        "Quantized to int8:": (
            " 24,296 bytes, 3.49 times smaller. -0.01 pp [-0.04, +0.01], p = 1: no difference shown."
        ),
        "Pruned, then int8:": (
            " the file is as large as before (24,296 bytes); zipped it has 8,218 instead of 21,708. "
            "-1.25 pp [-1.50, -1.00], p = 0.0012: worse."
        ),
        "Pruned, clustered and quantization-aware (PCQAT):": (
            " 5,125 bytes zipped, 15.1 times fewer than the zipped baseline. "
            "-0.40 pp [-0.50, -0.30], p = 0.04: worse."
        ),
        "Does pruning improve accuracy?": (
            " Beside the baseline it seems to change it by +0.43 pp; beside a net trained for as long, "
            "by -1.27 pp [-1.55, -0.99]."
        ),
        "Does quantization-aware training matter here?": (
            " +0.07 pp [-0.50, +0.60] beside quantizing a net trained for as long (p = 0.75)."
        ),
        "Smallest file at 98 % or better:": " `clustered_8`, 9,000 bytes zipped, 98.00 %.",
    }


def test_a_control_or_a_form_just_below_98_percent_is_not_the_smallest(tmp_path: Path) -> None:
    # 4,000 bytes at 98.1 % is a control, 5,125 bytes reach 97.99 %
    assert "`clustered_8`" in answer(results_folder(tmp_path))


def test_no_smallest_file_is_named_when_no_form_reaches_98_percent(tmp_path: Path) -> None:
    poor = FORMS.assign(accuracy_mean=0.9799)
    assert "Smallest file at 98 % or better:" not in lines(results_folder(tmp_path, forms=poor))


@pytest.mark.parametrize(("seeds", "said"), [(5, "the mean of 5 seeds on"), (1, "the mean of 1 seed on")])
def test_seeds_are_counted_in_good_grammar(tmp_path: Path, seeds: int, said: str) -> None:
    folder = results_folder(tmp_path, forms=FORMS.assign(seeds=seeds))
    assert said in answer(folder).splitlines()[0]


def test_another_figure_in_the_table_is_another_figure_in_the_answer(tmp_path: Path) -> None:
    claims = CLAIMS.copy()
    claims.loc[4, "estimate"] = -3.21
    assert "-3.21 pp" in answer(results_folder(tmp_path, claims=claims))


@pytest.mark.parametrize("missing", ["all-forms.csv", "claims.csv"])
def test_missing_table_raises(tmp_path: Path, missing: str) -> None:
    (results_folder(tmp_path) / missing).unlink()
    with pytest.raises(FileNotFoundError, match=missing):
        answer(tmp_path)


def test_fill_replaces_only_what_is_between_the_marks() -> None:
    text = "before\n<!-- answer -->\nold\n\nlines\n<!-- /answer -->\nafter\n"
    assert fill(text, "new") == "before\n<!-- answer -->\nnew\n<!-- /answer -->\nafter\n"


def test_fill_puts_text_between_empty_marks() -> None:
    assert fill("<!-- answer -->\n<!-- /answer -->", "new") == "<!-- answer -->\nnew\n<!-- /answer -->"


def test_fill_twice_is_fill_once() -> None:
    once = fill("<!-- answer -->\n\n<!-- /answer -->\n", "a\n\nb")
    assert fill(once, "a\n\nb") == once


def test_fill_takes_the_block_literally() -> None:
    block = r"\1 \g<0> \n"
    filled = fill("<!-- answer -->\nx\n<!-- /answer -->", block)
    assert filled == f"<!-- answer -->\n{block}\n<!-- /answer -->"


@pytest.mark.parametrize(
    "text", ["", "no marks", "<!-- answer -->\nnever ended", "<!-- /answer -->\n<!-- answer -->\n", "answer"]
)
def test_fill_without_marks_raises(text: str) -> None:
    message = "no answer marks: <!-- answer --> and <!-- /answer --> on lines of their own"
    with pytest.raises(ValueError, match=exactly(message)):
        fill(text, "new")


def test_conclusion_holds_where_both_datasets_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = results_folder(tmp_path)
    forms = FORMS.copy()
    changed = forms.recipe == "int8"
    forms.loc[changed, ["verdict", "change_pp"]] = ["worse", -9.87]
    second = results_folder(tmp_path / "other", forms=forms)
    rows = compared(first, second, ("A", "B")).splitlines()
    assert rows[0].endswith("conclusions hold on B as on A; otherwise: int8, against float32.")
    assert rows[2] == "| | A | B | holds |"
    assert rows[4].endswith("|  |")  # a figure alone concludes nothing
    (int8,) = (row for row in rows if row.startswith("| int8, against float32 |"))
    assert "-9.87 pp" in int8
    assert "-9.87 pp" not in int8.split("|")[2]
    assert int8.endswith("| **no** |")
    (pruned,) = (row for row in rows if row.startswith("| pruned and int8"))
    assert pruned.endswith("| yes |")
    assert sum("pruning improves accuracy" in row for row in rows) == 1


def test_other_blocks_are_filled_by_their_name() -> None:
    text = "<!-- answer -->\nx\n<!-- /answer -->\n<!-- datasets -->\n<!-- /datasets -->"
    assert fill(text, "new", "datasets") == text.replace("<!-- /datasets", "new\n<!-- /datasets")
