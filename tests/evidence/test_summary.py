from pathlib import Path

import pandas as pd
import pytest
from conftest import exactly
from made import CLAIMS, FORMS, results_folder

from model_compression.evidence.summary import answer, blocks, elsewhere, fill, front, second_test_set

KEPT = "Smallest zipped that loses at most 0.2 pp in validation against equal training:"
ON_MICRO = (
    "Smallest in flash that loses at most 0.2 pp in validation against equal training, of those that TFLite "
    "Micro runs:"
)


def lines(folder: Path) -> dict[str, str]:
    """The bullets by their bold beginning."""
    bullets = [line for line in answer(folder).splitlines() if line.startswith("- **")]
    return {bullet.split("**")[1]: bullet.split("**")[2] for bullet in bullets}


def test_sentences_hold_the_figures_of_the_tables(tmp_path: Path) -> None:
    assert lines(results_folder(tmp_path)) == {
        "Baseline:": " 84,848 bytes as float32 .tflite, 77,140 zipped, 98.34 % [98.04, 98.64].",
        "Int8 files are 4x smaller?": " 3.49 times, so nearly (int8 against float32).",
        "Int8 files are 4x smaller ... without loss of accuracy?": (
            " yes: no difference beyond 0.2 pp (int8 against float32)."
        ),
        "Pruning improves accuracy?": " no: it costs 1.27 pp (pruned against longer_trained).",
        **dict.fromkeys(
            (KEPT, "Smallest zipped of all these forms:"),
            " `sparsity_cluster_preserving_qat`, 5,125 bytes zipped, 15.1 times smaller than the zipped "
            "baseline; in flash 24,848, 3.4 times smaller; TFLite Micro runs it in an arena of 12,240 bytes "
            "of RAM. Test: -0.40 pp [-0.50, -0.30] against equal training: worse; against the baseline -0.35 "
            "pp.",
        ),
        ON_MICRO: (
            " `int8`, 21,708 bytes zipped, 3.6 times smaller than the zipped baseline; in flash 24,296, 3.5 "
            "times smaller; TFLite Micro runs it in an arena of 12,240 bytes of RAM. Test: -0.01 pp [-0.04, "
            "+0.01] against equal training: equivalent; against the baseline -0.01 pp."
        ),
    }


def test_the_smallest_that_keeps_its_accuracy_is_chosen_on_validation_images_alone(tmp_path: Path) -> None:
    worse = FORMS.assign(verdict=FORMS.verdict.replace({"equivalent": "worse"}))
    assert lines(results_folder(tmp_path, forms=worse))[KEPT].startswith(" `sparsity_cluster_preserving_qat`")
    lost = FORMS.assign(validation_change_pp=[0, -0.05, -1.3, -0.2, -0.21, -9])
    said = lines(results_folder(tmp_path, forms=lost))[KEPT]
    assert said.startswith(" `clustered_8`, 9,000 bytes")
    assert "TFLite Micro does not run it" in said
    assert lines(results_folder(tmp_path, forms=lost))[ON_MICRO].startswith(" `int8`, ")
    none = FORMS.assign(validation_change_pp=-0.3)
    assert KEPT not in lines(results_folder(tmp_path, forms=none))


def test_a_net_that_takes_no_technique_has_its_baseline_alone(tmp_path: Path) -> None:
    assert list(lines(results_folder(tmp_path, forms=FORMS.head(1), claims=CLAIMS.head(0)))) == ["Baseline:"]


@pytest.mark.parametrize(
    ("seeds", "said"),
    [(5, "mean of 5 seeds on 10,000 images. A"), (1, "mean of 1 seed on 10,000 images. A")],
)
def test_seeds_are_counted_in_good_grammar(tmp_path: Path, seeds: int, said: str) -> None:
    first = answer(results_folder(tmp_path, forms=FORMS.assign(seeds=seeds))).splitlines()[0]
    assert said in first
    assert ("takes seeds and images as drawn" in first) == (seeds > 1)
    # the baseline is compared with nothing, the control belongs to no family
    assert "corrected for the number of forms, 4 (Holm), those of the claims" in first


def test_undecided_is_counted_by_its_side_of_nothing(tmp_path: Path) -> None:
    ends = {"change_ci_high_pp": [-0.1, -0.1, 0.1, -0.1, -0.1, 0.0]}
    forms = FORMS.assign(verdict=["", "undecided", "undecided", "worse", "undecided", "undecided"], **ends)
    assert "Of the 3 undecided 2 have an interval wholly below 0." in answer(
        results_folder(tmp_path, forms=forms.assign(role=["form"] * 5 + ["control"]))
    )


def test_another_figure_in_the_table_is_another_figure_in_the_answer(tmp_path: Path) -> None:
    claims = CLAIMS.assign(answer=["1.23 times, so no", *CLAIMS.answer[1:]])
    assert "1.23 times, so no" in answer(results_folder(tmp_path, claims=claims))


@pytest.mark.parametrize("missing", ["all-forms.csv", "claims.csv", "deployment.csv"])
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


def test_all_rows_of_all_pairs_are_counted_and_the_study_itself_is_no_other_pair() -> None:
    verdicts = {
        "non_quantized": [None, None, None],
        "int8": ["equivalent", "better", "equivalent"],
        "pruned": ["equivalent", "worse", "undecided"],
        "clustered": ["worse", "equivalent", "worse"],
        "int4": ["worse", "undecided", None],
    }
    places = (("baseline", "mnist"), ("resnet_8", "mnist"), ("baseline", "fashion_mnist"))
    rows = [
        {
            "recipe": name,
            "role": "form",
            "net": net,
            "dataset": dataset,
            "seeds": 3,
            "verdict": each[place],
            "change_pp": -0.9 if name == "pruned" else -12.04,
            "change_ci_high_pp": 0.1 if name == "pruned" else -0.1,
        }
        for place, (net, dataset) in enumerate(places)
        for name, each in verdicts.items()
    ]
    control = {"recipe": "longer_trained", "role": "control", "net": "resnet_8", "verdict": "worse"}
    assert elsewhere(pd.DataFrame([*rows, {**control, "change_pp": -1.024}])).splitlines() == [
        "- On 2 other pairs of net and data (resnet_8 on mnist with 3 seeds, baseline on fashion_mnist with "
        "3 seeds) 7 rows of 4 forms were tested: 1 better, 2 equivalent, 2 worse, 2 undecided; with those of "
        "the baseline on mnist 11: 1 better, 4 equivalent, 4 worse, 2 undecided. Of the 2 undecided 1 have "
        "an interval wholly below 0.",
        "- Worse on one or more of these, and on none of them equivalent or better: `pruned` (equivalent on "
        "mnist).",
        "- Equivalent or better on one or more, and on none worse or over 1 point lower: `int8`.",
        "- Worse on one of these, and equivalent or better on another: `clustered`.",
        "- Undecided although the mean is more than 1 point lower, and not to be counted as safe: `int4` "
        "-12.0 (resnet_8).",
        "- Further training itself made the float net worse: `longer_trained` -1.02 (resnet_8); forms "
        "compared with it have lost that much in addition.",
    ]


def test_conclusions_on_a_second_test_set_are_counted() -> None:
    forms = pd.DataFrame(
        {"kind": "form", "name": list("abcde"), "holds": ["yes", "open", "no", None, "open"]}
    )
    forms["verdict_here"] = ["worse", "undecided", "worse", "", "worse"]
    forms["verdict_there"] = ["worse", "undecided", "better", "", "undecided"]
    forms = forms.assign(error_pct_here=1.0, error_pct_there=[1.1, 1.1, 1.1, 9.0, 1.3])
    said = (
        "Of 4 verdicts on forms and controls 1 are the same there, 1 another (`c`); 1 are undecided on both "
        "test sets and 1 on one. Worse on both: `a`; worse here, undecided there: `e`; undecided here, worse "
        "there: none."
    )
    assert second_test_set(forms) == said
    names = ["a-price", "b-price", "c-dense"]
    plans = pd.DataFrame({"kind": "plan", "name": names, "holds": ["yes", "no", "yes"]})
    plans = plans.assign(error_pct_here=0.5, error_pct_there=[0.45, 0.75, 0.6], validation_error_pct_here=0.7)
    told = (
        "2 of 3 nets of the frontier have more error there: the 1 dense ones +0.10 points on average (20 % "
        "of their error here), with an interval of the difference that leaves out 0 for 0; the 2 compressed "
        "ones +0.10 points on average (20 % of their error here), with an interval of the difference that "
        "leaves out 0 for 1. 1 have more error there than on the validation images here, which are "
        "drawn as those there are, by up to 0.05 points."
    )
    harder = " Forms and controls have +0.15 on average: its images are harder."
    assert second_test_set(pd.concat([forms, plans])) == f"{said}\n{told}{harder}"
    assert second_test_set(plans) == told


def test_the_front_is_a_table_from_its_smallest_file_on() -> None:
    columns = [
        "net",
        "method",
        "bytes",
        "error_pct",
        "error_low_pct",
        "error_high_pct",
        "seeds",
        "file",
        "since",
    ]
    rows: list[tuple[object, ...]] = [
        ("b", "price", 2194, 0.642, 0.6, 0.684, 5, "b.br", "9153060"),
        ("a", "price", 1354, 1.148, 1.1, 1.196, 5, "a.br", "41b8c3a"),
        ("a", "dense", 9999, 0.7, 0.6, 0.8, 5, None, "9153060"),
        ("c", "published", 85.0, 3.0, None, None, None, None, None),
    ]
    there = {"kind": "plan", "name": ["a-price", "b-price"], "holds": ["no", "yes"]}
    there |= {"error_pct_there": [1.3, 0.65], "error_low_pct_there": [1.2, 0.6], "error_high_pct_there": 1.4}
    said = front(pd.DataFrame(rows, columns=columns), pd.DataFrame(there))
    assert said.splitlines()[2:4] == [
        "| 1,354 | 1.15  [1.10, 1.20] | 1.30  [1.20, 1.40] | `a`, price |",
        "| 2,194 | 0.64  [0.60, 0.68] | 0.65  [0.60, 1.40] | `b`, price * |",
    ]
    assert "larger one by more than chance may do in 1 of 1 steps. On the second test set 1 of 2 have" in said
    assert said.endswith(
        "* The plans of 1 files were first found by test error, in a version that looked at it."
    )


def test_blocks_are_those_whose_tables_are_there(tmp_path: Path) -> None:
    assert blocks(tmp_path) == {}
    row = {"processor": "a", "recipe": "non_quantized", "flash_bytes": 9, "latency_us_median": 1.0}
    pd.DataFrame([row]).to_csv(tmp_path / "latency.csv")
    pd.DataFrame().to_csv(tmp_path / "frontier.csv")
    assert blocks(tmp_path) == {"speed": "No smaller file was timed."}


def test_what_could_be_shown_is_said_where_it_is_known(tmp_path: Path) -> None:
    folder = results_folder(tmp_path)
    assert "would be shown" not in answer(folder)
    pd.DataFrame({"difference_pp": [0.1, 0.2], "power_holm": [0.004, 0.92]}).to_csv(folder / "power.csv")
    assert "True changes of 0.1, 0.2 pp would be shown with a chance of 0, 92 %." in answer(folder)


def test_other_blocks_are_filled_by_their_name() -> None:
    text = "<!-- answer -->\nx\n<!-- /answer -->\n<!-- datasets -->\n<!-- /datasets -->"
    assert fill(text, "new", "datasets") == text.replace("<!-- /datasets", "new\n<!-- /datasets")
