"""Other data and nets, and other test images: which forms there are, and their tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import DATA_DIR
from made import LABELS, outcome, predictions

from model_compression.data.datasets import Dataset
from model_compression.frontier import study, tables, transfer
from model_compression.frontier.transfer import PAIRS, Pair
from model_compression.study.catalogue import Settings, catalogue, control_of
from model_compression.study.experiment import Bench


def test_five_pairs_of_at_least_twelve_forms_each_with_its_control() -> None:
    assert len({pair.name for pair in PAIRS}) == len(PAIRS) == 5
    assert len(transfer.FORMS) >= 12
    recipes = catalogue(Settings(net="resnet_8"))
    found = transfer.with_controls(recipes, transfer.FORMS)
    assert set(transfer.FORMS) <= set(found)
    for name in transfer.FORMS:
        assert control_of(recipes[name], found) in found
    float_net = next(iter(found.values()))
    assert (float_net.export.form, len(float_net.steps)) == ("float32", 1)


def test_a_net_with_a_rate_of_its_own_is_fine_tuned_at_it_and_first_trained_as_all_are() -> None:
    rates = {
        net: [step.train.learning_rate for step in catalogue(transfer.settings(net))["pruned"].steps]
        for net in ("ds_cnn", "resnet_8")
    }
    assert rates == {"ds_cnn": [5e-3, 5e-3], "resnet_8": [5e-3, transfer.FINE_TUNE["resnet_8"]]}
    asked = transfer.rates()["resnet_8-longer_trained-0.001"]
    assert [step.train.learning_rate for step in asked.steps] == [5e-3, 1e-3]


def rows(pair: Pair, change: float) -> pd.DataFrame:
    made = [{"recipe": "float32", "zip_bytes": 1_234_567}, {"recipe": "int8", "change_pp": change}]
    return pd.DataFrame(made).assign(dataset=pair.dataset, net=pair.net)


def test_part_computed_again_replaces_its_rows_alone_and_pairs_keep_their_order(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    transfer.put_pair(path, rows(PAIRS[2], -1.0), PAIRS[2])
    transfer.put_pair(path, rows(PAIRS[0], -0.1), PAIRS[0])
    table = transfer.put_pair(path, rows(PAIRS[2], -2.0), PAIRS[2])
    assert list(table["net"]) == ["baseline"] * 2 + ["ds_cnn"] * 2
    assert list(table["change_pp"].dropna()) == [-0.1, -2.0]
    assert "1234567" in path.read_text()


@pytest.mark.parametrize(
    ("here", "there", "said"),
    [
        ("worse", "worse", "yes"),
        ("worse", "equivalent", "no"),
        ("worse", "undecided", "open"),
        ("undecided", "undecided", "open"),
        ("", "worse", ""),
    ],
)
def test_conclusion_holds_when_the_same_is_said_and_undecided_leaves_it_open(
    here: str, there: str, said: str
) -> None:
    assert transfer.holds({"verdict_here": here, "verdict_there": there}) == said


@pytest.mark.parametrize(("there", "said"), [(0.4, "no"), (0.6, "yes"), (1.4, "yes"), (1.6, "no")])
def test_plan_holds_where_the_interval_of_the_difference_has_0_in_it(there: float, said: str) -> None:
    """Half as wide as 0.3 and 0.4 together; intervals that overlap by a little are no agreement."""
    row = {"error_pct_here": 1.0, "error_high_pct_here": 1.3}
    assert transfer.holds({**row, "error_pct_there": there, "error_high_pct_there": there + 0.4}) == said


def test_images_that_validate_here_are_left_out_of_the_second_test_set(
    mnist: Dataset, tmp_path: Path
) -> None:
    bench = Bench(dataset="mnist_rotated", data_dir=str(DATA_DIR), cache_dir=str(tmp_path))
    kept, there = transfer.untouched(bench), bench.data
    assert (kept.size, kept.sum()) == (10_000, 9_216)
    validating = {image.tobytes() for image in mnist.x_val}
    for images, inside in ((there.x_test[kept], 0), (there.x_test[~kept], 784)):
        assert len(validating & {image.tobytes() for image in images}) == inside


def test_outcome_on_some_images_has_their_answers_and_their_accuracy() -> None:
    whole = outcome("a.tflite", predictions(60))
    images = np.arange(100) >= 40
    part = whole.on(images, LABELS[images])
    assert (len(part.predictions), len(part.scores)) == (60, 60)
    assert (whole.record.accuracy, part.record.accuracy) == (0.6, 20 / 60)
    assert part.content == whole.content


def measured(**errors: float) -> pd.DataFrame:
    made = [
        {"name": name, "error_pct": error, "error_low_pct": error - 0.1, "error_high_pct": error + 0.1}
        for name, error in errors.items()
    ]
    return pd.DataFrame(made)


def test_kinds_stand_in_one_table_and_only_what_has_a_row_here(tmp_path: Path) -> None:
    path = tmp_path / "rotated.csv"
    transfer.put_rotated(path, "plan", measured(a=1.0, b=2.0), measured(a=1.1, c=3.0))
    words = {"verdict": "worse"}
    transfer.put_rotated(path, "form", measured(d=1.0).assign(**words), measured(d=5.0).assign(**words))
    table = pd.read_csv(path)
    assert table[["kind", "name", "holds"]].to_numpy().tolist() == [
        ["form", "d", "yes"],
        ["plan", "a", "yes"],
    ]
    # a part computes some of the plans, and what stands no more goes
    transfer.put_rotated(path, "plan", measured(b=2.0, e=1.0), measured(b=2.0))
    transfer.put_rotated(path, "plan", measured(b=2.0, e=1.0), measured(e=9.0))
    assert pd.read_csv(path)["name"].tolist() == ["d", "b", "e"]
    with pytest.raises(ValueError, match="no plan has a row to stand beside: compute the results on mnist"):
        transfer.put_rotated(path, "plan", measured(a=1.0), measured(c=3.0))


def test_missing_verdict_is_none(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "recipe": ["int8"],
            "accuracy_mean": 0.9,
            "accuracy_ci_low": 0.8,
            "accuracy_ci_high": 0.95,
            "change_pp": np.nan,
            "verdict": np.nan,
        }
    )
    (row,) = transfer.of_forms(table).to_dict("records")
    assert row["verdict"] == ""
    ends = [row[f"error_{end}pct"] for end in ("low_", "", "high_")]
    assert ends == pytest.approx([5, 10, 20])


def test_plans_are_our_rows_alone() -> None:
    made = {"net": ["n", "m"], "method": "price-1", "source": [tables.OURS, "a paper"]}
    table = pd.DataFrame(made).reindex(columns=tables.COLUMNS)
    assert transfer.of_plans(table)["name"].tolist() == ["n-price-1"]


def test_table_of_an_earlier_version_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    part, bench = study.PARTS["rotated-forms"], Bench(dataset="none", cache_dir=str(tmp_path))
    message = "all-forms.csv is missing, or of an earlier version: run make results first$"
    with pytest.raises(ValueError, match=message):
        study.run(part, bench, results=tmp_path)
    (tmp_path / "all-forms.csv").write_text("recipe,accuracy_mean\n")
    with pytest.raises(ValueError, match=message):
        study.run(part, bench, results=tmp_path)
    (tmp_path / "all-forms.csv").write_text("recipe,accuracy_ci_high\n")
    part.check(tmp_path)
