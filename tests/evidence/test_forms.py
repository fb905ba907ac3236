from collections.abc import Collection
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made import LABELS, outcome, outcomes, predictions

from model_compression.evidence import forms, statistics
from model_compression.evidence.statistics import MARGIN
from model_compression.files.conversion import ExportConfig
from model_compression.nets.training import TrainConfig
from model_compression.study.outcomes import Outcome
from model_compression.study.recipes import Recipe, Step
from model_compression.techniques.pruning import PruneConfig

COLUMNS = [
    "recipe", "file_bytes", "zip_bytes", "best_coded_bytes", "entropy_bytes", "nonzero_weights", "macs",
    "accuracy_mean", "accuracy_sd", "accuracy_ci_low", "accuracy_ci_high", "agreement", "change_pp",
    "change_ci_low_pp", "change_ci_high_pp", "p_value", "p_holm", "p_equivalent", "detectable_pp", "verdict",
]  # fmt: skip


PLAIN = Step(train=TrainConfig(epochs=1, learning_rate=0.01))
PRUNED = replace(PLAIN, technique=PruneConfig(final_sparsity=0.5))


def recipe(name: str, *steps: Step, is_control: bool = False) -> Recipe:
    export = ExportConfig(form="float32")
    return Recipe(name=name, net="baseline", steps=steps, export=export, is_control=is_control)


def study(
    found: dict[str, list[Outcome]], control: list[Outcome], controls: Collection[str] = ()
) -> tuple[dict[str, list[Outcome]], dict[str, Recipe]]:
    """These forms, trained on after the float net, which has 50 right, beside `control`."""
    recipes = {
        "non_quantized": recipe("non_quantized", PLAIN),
        "longer_trained": recipe("longer_trained", PLAIN, PLAIN, is_control=True),
    } | {name: recipe(name, PLAIN, PRUNED, is_control=name in controls) for name in found}
    float_net = outcomes("non_quantized.tflite", [50] * len(control))
    return {"non_quantized": float_net, "longer_trained": control, **found}, recipes


def rows(found: dict[str, list[Outcome]], control: list[Outcome], *, margin: float = MARGIN) -> pd.DataFrame:
    """The rows of these forms."""
    table = forms.all_forms(*study(found, control), LABELS, margin=margin)
    return table[table.recipe.isin(found)].reset_index(drop=True)


THREE = outcomes(
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
#: 20, 22 and 18 less right than those, on the same images.
SIXTY = outcomes("longer_trained.tflite", [60] * 3)


def three_seeds() -> pd.DataFrame:
    """Sizes differ by seed."""
    return rows({"pruned": THREE}, SIXTY)


def test_all_forms_has_its_columns() -> None:
    columns = list(three_seeds().columns)
    assert [column for column in columns if column in COLUMNS] == COLUMNS


def test_sizes_are_whole_bytes_of_the_median_seed() -> None:
    row = three_seeds().iloc[0]
    assert [row.file_bytes, row.zip_bytes, row.best_coded_bytes] == [1001, 200, 80]
    assert row.best_coder == "br"  # the coder of the 80 bytes
    assert row.entropy_bytes == 60
    assert row.above_entropy == pytest.approx(80 / 60.4)
    assert row.nonzero_weights == 41
    assert row.theoretical_speedup == 5000 / 1250


def test_of_two_seeds_the_lower_size_is_shown_and_not_their_mean() -> None:
    ours = outcomes("a.tflite", [50, 50], file_bytes=[1001, 1000])
    table = rows({"a": ours}, ours)
    assert table.file_bytes.tolist() == [1000]
    assert table.file_bytes.dtype.kind == "i"


def test_spread_is_the_sample_sd_and_the_change_is_in_percentage_points() -> None:
    row = three_seeds().iloc[0]
    assert row.accuracy_mean == pytest.approx(0.8)
    assert row.accuracy_sd == pytest.approx(0.02)
    assert row.change_pp == pytest.approx(20)
    assert (row.seeds, row.test_images) == (3, 100)


def test_intervals_hold_the_seeds_and_the_images() -> None:
    row = three_seeds().iloc[0]
    ours, theirs = (forms.right(each, LABELS) for each in (THREE, SIXTY))
    change = statistics.compare(ours, theirs)
    assert min(change.seed_se, change.image_se) > 0
    assert [row.change_ci_low_pp, row.change_ci_high_pp] == [100 * change.low, 100 * change.high]
    alone = statistics.estimate(ours)
    assert [row.accuracy_ci_low, row.accuracy_ci_high] == [alone.low, alone.high]


def test_agreement_is_with_the_float_net_and_not_with_the_control() -> None:
    # the float net has images 0 to 49 right, the form the first 80, 82 and 78: the wrong labels agree too
    row = three_seeds().iloc[0]
    assert row.agreement == pytest.approx(1 - (30 + 32 + 28) / 300)


def test_converted_bytes_stand_beside() -> None:
    assert three_seeds().converted_bytes.tolist() == [1200]


def test_holm_counts_the_forms_and_no_control_and_no_form_that_is_its_own() -> None:
    few = outcomes("a.tflite", [70, 74, 72])
    found, recipes = study({"a": few, "b": SIXTY, "c": few}, SIXTY, controls="c")
    table = forms.all_forms(found, recipes, LABELS).set_index("recipe")
    # two forms are the family: the smaller p counts twice
    assert table.p_holm["a"] == pytest.approx(2 * table.p_value["a"])
    assert table.p_holm["b"] == table.p_value["b"] == 1
    # the control is tested alone
    assert table.p_value["c"] == table.p_value["a"]
    assert np.isnan(table.p_holm["c"])
    said = {"non_quantized": "", "longer_trained": "better", "a": "better", "b": "equivalent", "c": "better"}
    assert table.verdict.to_dict() == said
    assert table.compared_with["non_quantized"] == ""
    assert table.loc["non_quantized", ["change_pp", "p_value", "detectable_pp"]].isna().all()
    assert table.role.tolist() == ["form", "control", "form", "form", "control"]


def test_margin_decides_what_is_equivalent() -> None:
    ours, theirs = outcomes("a.tflite", [60, 61, 60]), outcomes("b.tflite", [60, 60, 60])
    said = [rows({"a": ours}, theirs, margin=margin).verdict[0] for margin in (0.002, 0.2)]
    assert said == ["undecided", "equivalent"]


def test_one_seed_has_no_sd_and_an_interval_over_the_images() -> None:
    row = rows({"a": outcomes("a.tflite", [80])}, outcomes("b.tflite", [60])).iloc[0]
    half = 100 * 1.959964 * np.std([1.0] * 20 + [0.0] * 80, ddof=1) / 10
    assert np.isnan(row.accuracy_sd)
    assert [row.change_pp, row.change_ci_low_pp] == pytest.approx([20, 20 - half])


def test_power_is_that_of_the_forms_middle_spread() -> None:
    found, recipes = study({"a": THREE, "b": THREE, "c": SIXTY}, SIXTY, controls="c")
    table = forms.power_left(found, recipes, LABELS, differences=(0.1, 0.3))
    spread = statistics.spread(forms.right(THREE, LABELS).astype(float) - forms.right(SIXTY, LABELS))
    plan = {"images": 100, "spread": spread}
    assert table.difference_pp.tolist() == pytest.approx([10, 30])
    assert table.power[0] == statistics.power(0.1, seeds=3, **plan)
    assert table.power_holm[0] == statistics.power(0.1, seeds=3, tests=2, **plan) < table.power[0]
    assert table.seeds_needed_holm[1] == statistics.seeds_needed(0.3, tests=2, **plan)


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
    table = forms.model_comparison(one_seed(), {}, {})
    wanted = ["model_file", "file_bytes", "zip_bytes", "compression_ratio", "accuracy", "accuracy_change_pp"]
    assert [column for column in table.columns if column in wanted] == wanted
    assert list(table.model_file) == list(one_seed())


def test_ratios_divide_h5_by_h5_and_tflite_by_tflite() -> None:
    table = forms.model_comparison(one_seed(), {}, {}).set_index("model_file")
    assert table.compression_ratio.tolist() == [1, 1, 4, 1, 1]
    assert table.zip_compression_ratio.tolist() == pytest.approx([1, 1, 4, 3, 800 / 790])


def test_changes_are_against_the_baseline_of_the_same_format_in_points() -> None:
    table = forms.model_comparison(one_seed(), {}, {})
    assert table.accuracy_change_pp.tolist() == pytest.approx([0, 0, -3, -5, 4])
    assert table.against_control_pp.isna().all()


def test_change_against_equal_training_is_that_against_a_file_s_own_control() -> None:
    table = forms.model_comparison(one_seed(), {"int8.tflite": 0.88, "pruned.h5": 0.92}, {})
    assert table.against_control_pp.fillna(9).tolist() == pytest.approx([9, 9, -3, -7, 9])


def test_published_accuracies_stand_beside_their_files_only() -> None:
    table = forms.model_comparison(one_seed(), {}, {"int8.tflite": 0.951})
    assert table.published_accuracy.fillna(-1).tolist() == [-1, -1, 0.951, -1, -1]


def test_zip_ratio_is_bytes_by_zipped_bytes() -> None:
    found = one_seed()
    table = forms.zipped_comparison([found["non_quantized.h5"], found["pruned.h5"]])
    assert table.to_dict("list") == {
        "model_file": ["non_quantized.h5", "pruned.h5"],
        "file_bytes": [1200, 1200],
        "zip_bytes": [900, 300],
        "zip_ratio": [pytest.approx(4 / 3), 4],
    }


def test_records_keep_every_field_but_the_key_under_the_catalogue_name() -> None:
    made = outcomes("a.tflite", [50, 60], zip_bytes=[7, 8])
    table = forms.records_table({"a_h5": made})
    assert {"recipe", "seed", "accuracy", "file_bytes", "zip_bytes"} < set(table.columns)
    assert "key" not in table.columns
    assert table.recipe.tolist() == ["a_h5", "a_h5"]
    assert table.seed.tolist() == [0, 1]
    assert table.zip_bytes.tolist() == [7, 8]
    assert table.accuracy.tolist() == [0.5, 0.6]
