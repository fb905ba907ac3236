"""The study: its points, the merge of its parts, and files that decode to what was reported."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from model_compression.data.datasets import scale
from model_compression.files import coding, running
from model_compression.files.conversion import ExportConfig
from model_compression.frontier import plans, study, sweep
from model_compression.frontier.published import PARAMETERS, PUBLISHED, Published
from model_compression.nets.training import TrainConfig
from model_compression.study.experiment import Bench
from model_compression.study.outcomes import Outcome, Record
from model_compression.study.recipes import Recipe, Step
from model_compression.techniques.rate_distortion import RateConfig


def outcome(seed: int, size: int, accuracy: float) -> Outcome:
    record = Record(
        recipe="x",
        file="x.tflite",
        seed=seed,
        key="",
        converted_bytes=size * 3,
        file_bytes=size * 2,
        zip_bytes=size + 9,
        best_coded_bytes=size,
        best_coder="br",
        entropy_bytes=size / 2,
        nonzero_weights=30,
        weights=100,
        unique_values=5,
        macs=1,
        dense_macs=2,
        validation_accuracy=accuracy,
        accuracy=accuracy,
    )
    return Outcome(record=record, content=b"", predictions=np.zeros(3), scores=np.zeros((3, 2)))


def recipe(net: str = "small_d4", name: str = "price-0.1") -> Recipe:
    train = TrainConfig(epochs=1, learning_rate=0.01)
    return Recipe(
        name=f"{net}-{name}",
        net=net,
        steps=(Step(train=train), Step(train=train, technique=RateConfig(price=0.1))),
        export=ExportConfig(form="packed_int4"),
    )


def test_row_has_the_median_run_s_bytes_and_the_errors_mean_and_sample_sd() -> None:
    outcomes = [outcome(0, 900, 0.98), outcome(1, 700, 0.97), outcome(2, 800, 0.99)]
    row = plans.our_row(recipe(), outcomes)
    assert (row["net"], row["method"], row["bytes"], row["seeds"]) == ("small_d4", "price-0.1", 800, 3)
    assert row["error_pct"] == pytest.approx(2.0)
    assert row["error_sd_pct"] == pytest.approx(1.0)
    assert row["file"] == "small_d4-price-0.1.tflite.br"


def test_one_seed_has_no_spread() -> None:
    assert np.isnan(plans.our_row(recipe(), [outcome(0, 900, 0.98)])["error_sd_pct"])


def rows(*points: tuple[str, str, int, float]) -> list[dict[str, object]]:
    return [
        {
            "net": net,
            "method": method,
            "bytes": size,
            "error_pct": error,
            "error_sd_pct": 0.1,
            "seeds": 5,
            "counted_as": "measured",
            "source": plans.OURS,
            "file": f"{net}-{method}.br",
        }
        for net, method, size, error in points
    ]


def test_file_stays_with_the_points_on_our_front_only() -> None:
    table = plans.merge(None, rows(("baseline", "a", 100, 2.0), ("lenet_5", "b", 200, 3.0)), [])
    ours = table[table["counted_as"] == "measured"].set_index("method")
    assert ours.loc["a", "file"] == "baseline-a.br"
    assert pd.isna(ours.loc["b", "file"])
    assert list(table.columns) == plans.COLUMNS


def test_merge_replaces_the_nets_computed_now_and_keeps_the_others() -> None:
    before = plans.merge(None, rows(("baseline", "a", 100, 2.0), ("lenet_5", "old", 200, 1.0)), [])
    after = plans.merge(before, rows(("lenet_5", "new", 150, 0.9)), ["lenet_5"])
    ours = after[after["counted_as"] == "measured"]
    assert sorted(ours["method"]) == ["a", "new"]
    assert (after["counted_as"] != "measured").sum() == (before["counted_as"] != "measured").sum()


def test_published_points_that_ours_do_not_match_are_named_with_what_comes_nearest() -> None:
    rows = [
        ("small_d4", "price-1", 2000, 0.8, "measured"),
        ("lenet_5", "price-1", 5000, 0.5, "measured"),
        ("lenet_5", "matched", 2000, 0.9, "file"),
        ("lenet_5", "between", 3000, 0.7, "file"),
        ("other", "far", 100, 0.1, "estimate"),
    ]
    table = pd.DataFrame(rows, columns=["net", "method", "bytes", "error_pct", "counted_as"])
    assert plans.unreached(table).splitlines() == [
        "- between on lenet_5 (file), 3,000 bytes at 0.70 %: ours with 5,000 bytes at 0.50 % (lenet_5) has "
        "no more error; ours with 2,000 bytes at 0.80 % (small_d4) has no more bytes",
        "- far on other (estimate), 100 bytes at 0.10 %: nothing of ours is as small or as good",
    ]


def test_small_stands_for_all_small_nets() -> None:
    assert plans.wanted("small_d4", ["small"])
    assert not plans.wanted("lenet_5", ["small"])
    assert plans.wanted("lenet_5", [])
    assert all(name.startswith("small_") for name in plans.points(["small"]))


def test_every_net_of_the_issue_has_points_and_names_do_not_repeat() -> None:
    nets = {point.net for point in plans.points().values()}
    assert {"baseline", "lenet_300_100", "lenet_5"} <= nets
    assert any(net.startswith("small_") for net in nets)
    names = [case.recipe.name for case in sweep.cases()]
    assert len(set(names)) == len(names)


def test_sweep_has_eight_sparsities_a_random_line_and_the_dense_control() -> None:
    found = {(case.strategy, case.schedule) for case in sweep.cases()}
    assert {"dense", "random_mask", "uniform", "global", "lamp", "erdos_renyi_kernel", "random"} == {
        strategy for strategy, _ in found
    }
    assert {"polynomial 3", "polynomial 1", "constant", "one_shot", "iterative"} <= {s for _, s in found}
    assert len(sweep.SPARSITIES) >= 8
    assert (min(sweep.SPARSITIES), max(sweep.SPARSITIES)) == (0.5, 0.99)


def test_every_case_of_the_sweep_trains_for_as_long() -> None:
    assert len({case.recipe.epochs for case in sweep.cases()}) == 1


def test_sweep_table_by_hand() -> None:
    name = sweep.cases()[0].recipe.name
    table = sweep.table({name: [outcome(0, 10, 0.9), outcome(1, 30, 0.8), outcome(2, 20, 0.7)]})
    (row,) = table.to_dict("records")
    assert (row["strategy"], row["best_coded_bytes"], row["seeds"]) == ("dense", 20, 3)
    assert row["error_pct"] == pytest.approx(20.0)
    assert row["measured_sparsity"] == pytest.approx(0.7)


def test_unknown_part_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        study.main(["--nets", "lenet_6"])
    assert "nets are lenet_6; allowed: baseline" in capsys.readouterr().err


def test_seeds_do_not_depend_on_their_number() -> None:
    assert study.seeds(5)[:2] == study.seeds(2)
    assert len(set(study.seeds(5))) == 5


def test_published_ratio_becomes_bytes_and_stated_bytes_stay() -> None:
    common = {"method": "m", "net": "lenet_5", "error_pct": 1.0, "counted_as": "file", "source": "s"}
    assert Published(ratio=2, **common).bytes == 2 * 431_080
    assert Published(size_bytes=7, ratio=2, **common).bytes == 7


def test_published_needs_bytes_or_the_ratio_of_a_known_net() -> None:
    with pytest.raises(ValueError, match="neither bytes nor the ratio of a known net"):
        Published(method="m", net="other", error_pct=1.0, counted_as="file", source="s", ratio=2)
    with pytest.raises(ValueError, match="counted_as is 'guess'; allowed: file, estimate, parameters"):
        Published(method="m", net="other", error_pct=1.0, counted_as="guess", source="s", size_bytes=2)


def test_published_ratios_and_bytes_agree_where_both_are_stated() -> None:
    for point in PUBLISHED:
        if point.size_bytes and point.ratio:
            assert 4 * PARAMETERS[point.net] / point.ratio == pytest.approx(point.size_bytes, rel=0.04)


def test_literature_puts_ours_beside_theirs() -> None:
    table = plans.literature(plans.merge(None, rows(("lenet_5", "a", 4000, 0.8)), []))
    of_net = table[table["net"] == "lenet_5"]
    assert list(of_net["ours"])[-1]
    assert of_net.iloc[-1]["ratio"] == pytest.approx(4 * 431_080 / 4000)
    # a method without an error is in the table, not on the chart
    assert of_net["error_pct"].isna().sum() == 1


@pytest.fixture(scope="module")
def tiny_study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bench, dict[str, Recipe]]:
    """A folder of results computed by a run of two recipes over two seeds on made-up images."""
    folder = tmp_path_factory.mktemp("study")
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 300)
    images = generator.integers(0, 90, (300, 8, 8)).astype(np.uint8)
    images[np.arange(300), 2 * labels] += 160
    data = folder / "tiny.npz"
    np.savez(data, x_train=images[:200], y_train=labels[:200], x_test=images[200:], y_test=labels[200:])
    bench = Bench(dataset=str(data), cache_dir=str(folder / "cache"))
    return folder, bench, {point.name: point for point in (recipe("small_d4"), recipe("small_3s_3p"))}


def test_a_run_writes_tables_pictures_and_files_that_decode_to_what_was_reported(
    tiny_study: tuple[Path, Bench, dict[str, Recipe]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, bench, recipes = tiny_study
    monkeypatch.setattr(study, "chosen", lambda nets: recipes)
    results = folder / "results"
    assert study.run(bench, [], n_seeds=2, results=results, n_workers=1) == []
    table = pd.read_csv(results / "frontier.csv")
    ours = table[table["counted_as"] == "measured"]
    assert set(ours["net"]) == {"small_d4", "small_3s_3p"}
    assert (ours["seeds"] == 2).all()
    named = ours.dropna(subset="file")
    assert sorted(path.name for path in (results / "frontier").iterdir()) == sorted(named["file"])
    for row in named.itertuples():
        coded = (results / "frontier" / row.file).read_bytes()
        assert len(coded) == row.bytes
        content = coding.CODERS[row.file.rpartition(".")[2]].decode(coded)
        labels = running.predict(content, scale(bench.data.x_test))
        assert labels.shape == bench.data.y_test.shape
    parts = pd.read_csv(results / "frontier-bytes.csv")
    assert (parts["entropy_bytes"] + parts["graph_bytes"] + parts["rest_bytes"] == parts["bytes"]).all()
    assert (parts["graph_bytes"] > 100).all()
    for name in ("frontier", "literature"):
        assert (results / f"{name}.png").stat().st_size > 10_000
    assert not (results / "sparsity-sweep.csv").exists()


def test_a_second_run_gives_the_same_bytes_without_training(
    tiny_study: tuple[Path, Bench, dict[str, Recipe]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, bench, recipes = tiny_study
    monkeypatch.setattr(study, "chosen", lambda nets: recipes)
    monkeypatch.setattr(
        "model_compression.study.scheduling.connect", lambda workers: pytest.fail("nothing to compute")
    )
    again = folder / "again"
    study.run(bench, [], n_seeds=2, results=again, n_workers=1)
    for path in (folder / "results").rglob("*.*"):
        if path.is_file():
            assert (again / path.relative_to(folder / "results")).read_bytes() == path.read_bytes()


def test_a_decoded_file_that_answers_otherwise_is_not_written(
    tiny_study: tuple[Path, Bench, dict[str, Recipe]], tmp_path: Path
) -> None:
    _, bench, recipes = tiny_study
    found = bench.run(recipes["small_d4-price-0.1"], study.seeds(1)[0], lambda key, title, done: None)
    wrong = Outcome(record=found.record, content=found.content, predictions=found.predictions + 1)
    with pytest.raises(RuntimeError, match="labels the test images otherwise than reported"):
        plans.write_file([wrong], "x.br", tmp_path, bench.data)
    assert list(tmp_path.iterdir()) == []


def test_a_record_of_a_point_is_plain_json(tiny_study: tuple[Path, Bench, dict[str, Recipe]]) -> None:
    _, bench, recipes = tiny_study
    point = recipes["small_d4-price-0.1"]
    files = bench.store.get(bench.record_key(point, study.seeds(1)[0]))
    assert files is not None
    assert json.loads(files["record.json"])["recipe"] == point.name
