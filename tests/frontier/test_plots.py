"""Pictures drawn from tables: what stands in them, and that a dark page shows them too."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from model_compression.evidence.tables import png, save_csv
from model_compression.frontier import plots as frontier_plots
from model_compression.frontier import sweep, tables, transfer
from model_compression.frontier.plans import REFERENCE
from model_compression.frontier.transfer import PAIRS, Pair


@pytest.fixture
def table() -> pd.DataFrame:
    ours = [
        ("baseline", "price-0.05", 1900, 1.9),
        ("baseline", "price-0.5", 1950, 2.5),
        ("lenet_5", "price-0.05", 4000, 0.8),
        ("small_d4", "price-0.1", 900, 4.0),
    ]
    rows = [
        dict(zip(("net", "method", "bytes", "error_pct"), point, strict=True))
        | {"error_sd_pct": 0.1, "seeds": 5, "counted_as": "measured", "source": tables.OURS, "file": "f"}
        for point in ours
    ]
    for row in rows:
        error = float(row["error_pct"])
        row |= {"validation_error_pct": error, "error_low_pct": error - 0.2, "error_high_pct": error + 0.2}
        row |= {"flash_bytes": 3 * int(row["bytes"]), "augmentation": 0.5, "teachers": ""}
        row |= {"graph_bytes": 300, "entropy_bytes": int(row["bytes"]) // 2}
    rows.append({**rows[0], "method": "dense", "bytes": 70_000, "counted_as": "control"})
    return tables.merge(pd.DataFrame(columns=tables.COLUMNS), rows, [])


@pytest.fixture
def sweep_table() -> pd.DataFrame:
    lines = [
        ("lamp", "polynomial 3"),
        ("uniform", "polynomial 3"),
        ("lamp", "one_shot"),
        ("random_mask", "x"),
        ("random_mask_by_layer", "x"),
    ]
    rows = [
        {
            "strategy": strategy,
            "schedule": schedule,
            "sparsity": share,
            "error_pct": 2 + share,
            "error_low_pct": 1.9 + share,
            "error_high_pct": 2.2 + share,
        }
        for strategy, schedule in lines
        for share in (0.5, 0.9, 0.99)
    ]
    dense = {"strategy": "dense", "schedule": "none", "sparsity": 0.0, "error_pct": 1.9}
    return pd.DataFrame([dense | {"error_low_pct": 1.8, "error_high_pct": 2.0}, *rows])


def test_frontier_has_log_axes_our_front_and_a_mark_for_each_way_of_counting(table: pd.DataFrame) -> None:
    (axes,) = frontier_plots.frontier(table).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    ours = "our front, by validation error"
    assert {ours, *(words for _, words in frontier_plots.COUNTED.values())} <= set(words)
    front = next(line for line in axes.lines if line.get_label() == ours)
    np.testing.assert_array_equal(front.get_xdata(), [900, 1900, 4000])


def test_large_dense_nets_press_no_others_together_and_are_counted(table: pd.DataFrame) -> None:
    table.loc[table["counted_as"] == "control", "bytes"] = 1_000_000
    (axes,) = frontier_plots.frontier(table).axes
    assert axes.get_xlim()[1] < 200_000
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "ours: the dense net, trained and taught alike (1 further right)" in words


def test_nets_of_a_family_share_a_colour() -> None:
    assert frontier_plots.net_colour("small_d4") == frontier_plots.net_colour("small_12s_24p")
    assert frontier_plots.net_colour("lenet_5") != frontier_plots.net_colour("baseline")
    assert frontier_plots.net_colour("16 x 16 CNN") == frontier_plots.GREY


def test_sweep_panels_hold_the_dense_control_and_the_random_line(sweep_table: pd.DataFrame) -> None:
    figure = sweep.sparsity_sweep(sweep_table)
    strategies, schedules = figure.axes
    for axes in (strategies, schedules):
        words = [text.get_text() for text in axes.get_legend().get_texts()]
        assert "dense, trained as long" in words
        assert {
            "random masks, one shot",
            "the same, with LAMP's zeros a layer",
        } <= set(words)
    assert "uniform" in [text.get_text() for text in strategies.get_legend().get_texts()]
    assert "one shot" in [text.get_text() for text in schedules.get_legend().get_texts()]
    assert [label.get_text() for label in strategies.get_xticklabels()] == ["50", "90", "99"]


def test_our_intervals_are_those_of_the_table(table: pd.DataFrame) -> None:
    (axes,) = frontier_plots.frontier(table).axes
    (bars,) = (lines for lines in axes.collections if hasattr(lines, "get_segments"))
    ends = sorted(tuple(segment[:, 1]) for segment in bars.get_segments())
    np.testing.assert_allclose(ends, [(0.6, 1.0), (1.7, 2.1), (2.3, 2.7), (3.8, 4.2)])


def test_literature_says_who_was_taught_and_whether_a_point_is_passed(table: pd.DataFrame) -> None:
    figure = frontier_plots.literature(tables.literature(table))
    words = {cell.get_text().get_text() for cell in figure.axes[0].tables[0].get_celld().values()}
    assert {"0.5, labels", "passed", "not reached", "0.80  [0.60, 1.00]", "ours: dense", "program"} <= words


def budget_table() -> pd.DataFrame:
    rows = [
        {"strategy": strategy, "sparsity": share, "epochs": epochs, "change_pp": -share / epochs}
        for strategy in ("uniform", "lamp")
        for share in (0.5, 0.9)
        for epochs in (2, 16)
    ]
    table = pd.DataFrame(rows)
    return table.assign(change_ci_low_pp=table.change_pp - 0.1, change_ci_high_pp=table.change_pp + 0.1)


def test_budget_has_a_panel_a_sparsity_and_a_line_a_strategy() -> None:
    panels = sweep.budget(budget_table()).axes
    assert [axes.get_title() for axes in panels] == ["50 % zeros", "90 % zeros"]
    assert [text.get_text() for text in panels[-1].get_legend().get_texts()] == ["uniform", "lamp"]


def records_table() -> pd.DataFrame:
    made = [
        ("a", REFERENCE, 1000, 2.0),
        ("b", REFERENCE, 4000, 1.0),
        ("c", "x", 1000, 1.5),
        ("d", "y", 4000, 2.0),
    ]
    rows = [
        {"plan": plan, "idea": idea, "net": "n", "method": plan, "coded_bytes": size, "flash_bytes": size,
         "payload_bytes": size, "validation_error_pct": error, "figures": "measured", "stands": False,
         "teachers": "", "epochs": 1}
        for plan, idea, size, error in made
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_ideas_that_save_bytes_lie_left_of_the_line_and_others_right_of_it() -> None:
    (axes,) = frontier_plots.ideas(records_table()).axes
    named = [label.get_text().split("\n")[0] for label in axes.get_yticklabels()]
    widths = dict(zip(named, (bar.get_width() for bar in axes.patches), strict=True))
    assert widths["x"] < 0 < widths["y"]


def test_ideas_without_trials_are_no_picture() -> None:
    assert frontier_plots.ideas(records_table()[:0]) is None


def test_parts_of_a_file_add_up_to_its_bytes(table: pd.DataFrame) -> None:
    (axes,) = frontier_plots.anatomy(table).axes
    ends = sorted({round(bar.get_x() + bar.get_width()) for bar in axes.patches})
    assert ends == [300, 900, 1900, 1950, 4000]
    (entropy,) = axes.collections
    assert sorted(entropy.get_offsets()[:, 0]) == [750, 1250, 1275, 2300]
    assert axes.get_yticklabels()[0].get_text() == "lenet_5\nprice-0.05"


def pair_rows(pair: Pair, change: float) -> pd.DataFrame:
    made = [
        {"recipe": "float32", "change_pp": np.nan, "verdict": ""},
        {"recipe": "int8", "change_pp": change, "verdict": "worse" if change < -0.2 else "equivalent"},
    ]
    table = pd.DataFrame(made).assign(role="form", accuracy_mean=0.9, left_out="")
    left = {"recipe": "int4_mixed", "role": "form", "left_out": "no layer takes it"}
    return pd.concat([table, pd.DataFrame([left])], ignore_index=True).assign(
        dataset=pair.dataset, net=pair.net
    )


def pairs_table() -> pd.DataFrame:
    return pd.concat([pair_rows(PAIRS[0], -0.1), pair_rows(PAIRS[3], -1.0)], ignore_index=True)


def test_picture_of_pairs_has_a_cell_with_change_and_verdict_for_each_form() -> None:
    (axes,) = transfer.pairs(pairs_table()).axes
    words = [text.get_text() for text in axes.texts]
    assert words == [
        "float net", "float net", "-0.10 equivalent", "-1.00 worse", "not taken", "not taken",
    ]  # fmt: skip
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "baseline\nmnist",
        "resnet_8\nfashion_mnist",
    ]


def rotated_table() -> pd.DataFrame:
    table = pd.DataFrame(
        [
            {"kind": kind, "name": "a", "error_pct_here": 2.0, "error_pct_there": 2.1, "holds": said}
            for kind, said in (("form", "yes"), ("form", "no"), ("plan", "yes"), ("plan", "no"))
        ]
    )
    for place in ("here", "there"):
        error = table[f"error_pct_{place}"]
        table[f"error_low_pct_{place}"], table[f"error_high_pct_{place}"] = error - 0.2, error + 0.2
    return table


def test_picture_of_the_second_test_set_counts_what_does_not_hold() -> None:
    (axes,) = transfer.rotated(rotated_table()).axes
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert sorted(words) == [
        "compressed nets: no difference shown 1, shown to differ 1",
        "equal",
        "forms and controls: the same verdict 1, another 1",
    ]
    dense = rotated_table().assign(name="a-dense")[2:3]
    (axes,) = transfer.rotated(dense).axes
    assert "dense nets: no difference shown 1" in [each.get_text() for each in axes.get_legend().get_texts()]


def test_draw_writes_opaque_white_pictures_of_the_tables_that_are_there(
    table: pd.DataFrame, sweep_table: pd.DataFrame, tmp_path: Path
) -> None:
    save_csv(table, tmp_path / "frontier.csv")
    save_csv(tables.literature(table), tmp_path / "literature.csv")
    frontier_plots.draw(tmp_path)
    drawn = {path.stem for path in tmp_path.glob("*.png")}
    assert drawn == {"frontier", "frontier-bytes", "literature"}
    save_csv(sweep_table, tmp_path / "sparsity-sweep.csv")
    save_csv(pairs_table(), tmp_path / "pairs.csv")
    save_csv(rotated_table(), tmp_path / "rotated.csv")
    save_csv(budget_table(), tmp_path / "pruning-budget.csv")
    save_csv(records_table(), tmp_path / "frontier-records.csv")
    frontier_plots.draw(tmp_path)
    there = [
        name for name, (source, _) in frontier_plots.PICTURES.items() if (tmp_path / f"{source}.csv").exists()
    ]
    assert len(there) == len(frontier_plots.PICTURES) - 2
    for name in there:
        picture = matplotlib.image.imread(tmp_path / f"{name}.png")
        assert 750 <= picture.shape[1] <= 1100
        np.testing.assert_array_equal(picture[0, 0, :3], [1, 1, 1])
        assert (picture[..., 3:] == 1).all()


def test_same_table_same_picture(table: pd.DataFrame) -> None:
    assert png(frontier_plots.frontier(table)) == png(frontier_plots.frontier(table))
