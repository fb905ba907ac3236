"""The study: its parts, and a run whose records, tables and files agree with each other."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from model_compression.data.datasets import scale
from model_compression.files import coding, running
from model_compression.files.conversion import ExportConfig
from model_compression.frontier import plans, records, study, tables
from model_compression.nets.training import TrainConfig
from model_compression.study.experiment import Bench
from model_compression.study.recipes import Recipe, Step
from model_compression.techniques.rate_distortion import RateConfig


def recipe(net: str) -> Recipe:
    train = TrainConfig(epochs=1, learning_rate=0.01)
    return Recipe(
        name=f"{net}-price-0.1",
        net=net,
        steps=(Step(train=train), Step(train=train, technique=RateConfig(price=0.1))),
        export=ExportConfig(form="packed_int4"),
    )


def part(monkeypatch: pytest.MonkeyPatch, recipes: dict[str, Recipe]) -> study.Part:
    """A part of these recipes, which stand, and nothing else does."""
    monkeypatch.setattr(plans, "points", lambda net=None: recipes)
    return study.Part(recipes=lambda data: recipes, write=study.write_frontier)


def test_unknown_part_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        study.main(["lenet_6"])
    assert "no part is lenet_6; allowed: baseline, baseline-long, budget" in capsys.readouterr().err


def test_no_seed_at_all_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        study.main(["sweep", "--seeds", "0"])
    assert "n_seeds is 0; allowed: whole numbers from 1" in capsys.readouterr().err


def test_groups_stand_for_their_parts_and_trials_are_only_computed_when_asked_for() -> None:
    assert study.chosen(["study"]) == [*study.NETS, "sweep", "budget", "layers"]
    assert study.chosen(["trials", "small", "small_20p_40p_64p"])[-1] == "trials"
    assert all(name.startswith("small_") for name in study.chosen(["small"]))
    assert len(study.chosen(["pairs"])) == 5
    grouped = {part for group in study.GROUPS.values() for part in group}
    variants = {*study.VARIANTS, *(f"rotated-{name}" for name in study.VARIANTS)}
    assert grouped == set(study.PARTS) - {"trials", "rates", *variants}


def test_every_part_has_recipes_that_its_data_and_net_can_have() -> None:
    for name in ("baseline", "sweep", "budget", "trials", "rotated-forms", "rotated-lenet_5"):
        recipes = study.PARTS[name].recipes(None)  # type: ignore[arg-type]
        assert all(recipe.name == each for each, recipe in recipes.items())


def test_seeds_do_not_depend_on_their_number() -> None:
    assert study.seeds(0, 5)[:2] == study.seeds(0, 2)
    assert len(set(study.seeds(0, 5))) == 5


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


def test_a_run_writes_tables_and_files_that_decode_to_what_was_reported(
    tiny_study: tuple[Path, Bench, dict[str, Recipe]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, bench, recipes = tiny_study
    results = folder / "results"
    assert study.run(part(monkeypatch, recipes), bench, n_seeds=2, results=results, n_workers=1) == []
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
        wrong = running.predict(content, scale(bench.data.x_test)) != bench.data.y_test
        # the row holds the mean of the seeds; of the file, its own seed's
        assert 100 * wrong.mean() == pytest.approx(row.file_error_pct, rel=1e-5)
        assert row.file_seed in study.seeds(0, 2)
    assert (ours["graph_bytes"] > 100).all()
    assert (ours["payload_bytes"] < ours["bytes"]).all()
    kept = records.read(results / "frontier-records.csv", records.COLUMNS)
    assert len(kept) == 4
    assert kept["stands"].all()
    means = kept.groupby("net")["test_error_pct"].mean()
    np.testing.assert_allclose(means[ours["net"]], ours["error_pct"], rtol=1e-5)
    assert not (results / "sparsity-sweep.csv").exists()


def test_a_second_run_gives_the_same_bytes_without_training(
    tiny_study: tuple[Path, Bench, dict[str, Recipe]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, bench, recipes = tiny_study
    monkeypatch.setattr(
        "model_compression.study.scheduling.connect", lambda workers: pytest.fail("nothing to compute")
    )
    again = folder / "again"
    study.run(part(monkeypatch, recipes), bench, n_seeds=2, results=again, n_workers=1)
    for path in (folder / "results").rglob("*.*"):
        if path.is_file():
            assert (again / path.relative_to(folder / "results")).read_bytes() == path.read_bytes()


def test_a_decoded_file_that_answers_otherwise_is_not_written(
    tiny_study: tuple[Path, Bench, dict[str, Recipe]], tmp_path: Path
) -> None:
    _, bench, recipes = tiny_study
    found = bench.run(recipes["small_d4-price-0.1"], study.seeds(0, 1)[0], lambda key, title, done: None)
    wrong = replace(found, predictions=found.predictions + 1)
    with pytest.raises(RuntimeError, match="labels the test images otherwise than reported"):
        tables.write_file([wrong], "x.br", tmp_path, bench.data)
    assert list(tmp_path.iterdir()) == []
