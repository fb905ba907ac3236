import logging
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import dask
import numpy as np
import pytest
from distributed import Client
from tqdm import tqdm

from model_compression.files.conversion import ExportConfig
from model_compression.nets.distillation import DistillConfig
from model_compression.nets.training import TrainConfig
from model_compression.study import scheduling
from model_compression.study.experiment import Bench
from model_compression.study.outcomes import Outcome
from model_compression.study.recipes import Recipe, Scoring, Step, Teacher
from model_compression.study.scheduling import Failure, Study
from model_compression.study.workers import connect
from model_compression.techniques.pruning import PruneConfig

NET = "baseline_4"
BASE = Step(train=TrainConfig(epochs=1, learning_rate=0.02, batch_size=32))
PRUNED = (BASE, replace(BASE, technique=PruneConfig(final_sparsity=0.8)))
GRID = {
    "plain": Recipe(name="plain", net=NET, steps=(BASE,), export=ExportConfig(form="float32")),
    "pruned": Recipe(name="pruned", net=NET, steps=PRUNED, export=ExportConfig(form="int8")),
}
#: 169 inputs of the Dense layer, no multiple of 4, and one channel into the convolution.
IMPOSSIBLE = Recipe(
    name="impossible",
    net="baseline_1",
    steps=(BASE, replace(BASE, technique=PruneConfig(final_sparsity=0.5, pattern="2:4"))),
    export=ExportConfig(form="int8"),
)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Two spawned processes that all tests of this file share."""
    found = connect(2)
    yield found
    found.close()
    if found.cluster is not None:
        found.cluster.close()
    connect.cache_clear()


@pytest.fixture(scope="module")
def bench(few_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(dataset=str(few_file), cache_dir=str(tmp_path_factory.mktemp("side_by_side")))


@dataclass
class Interrupted:
    """A study one of whose workers was killed in the middle."""

    study: Study
    victim: int
    finished: list[str]


@pytest.fixture(scope="module")
def interrupted(client: Client, bench: Bench) -> Interrupted:
    """Two good recipes over two seeds, and one that cannot be: carried out although a worker was killed."""
    study = Study(bench, {"impossible": IMPOSSIBLE, **GRID}, [0, 1], n_workers=2).start()
    keys = [bench.training_key(NET, each.steps, seed) for each in GRID.values() for seed in (0, 1)]
    until = time.monotonic() + 200
    while not (finished := [key for key in keys if bench.store.has(key)]):
        assert time.monotonic() < until, "no training finished"
        time.sleep(0.02)
    assert len(finished) < len(keys)
    victim = next(iter(client.run(os.getpid).values()))
    os.kill(victim, signal.SIGKILL)
    study.wait()
    return Interrupted(study, victim, finished)


@pytest.fixture
def study(interrupted: Interrupted) -> Study:
    return interrupted.study


def nothing(key: str, title: str, done: float) -> None:
    """Report to nobody."""


def test_killed_worker_is_replaced(interrupted: Interrupted, client: Client) -> None:
    client.wait_for_workers(2, timeout=120)
    workers = client.run(os.getpid).values()
    assert len(workers) == 2
    assert interrupted.victim not in workers


def test_workers_are_not_profiled(client: Client) -> None:
    """CPython may deadlock when it is asked for other threads' frames."""
    assert set(client.run(dask.config.get, "distributed.worker.profile.enabled").values()) == {False}


def test_workers_leave_no_lock_between_processes_behind(client: Client) -> None:
    assert set(client.run(_lock_of_bars).values()) == {"RLock"}


def _lock_of_bars() -> str:
    return type(tqdm.get_lock()).__name__


def test_workers_print_no_traceback_of_a_recipe_that_fails(study: Study, client: Client) -> None:
    study.outcomes("impossible")
    level = client.run(lambda: logging.getLogger("distributed.worker").getEffectiveLevel())
    assert set(level.values()) == {logging.CRITICAL}


def test_nothing_finished_is_trained_again(interrupted: Interrupted, client: Client) -> None:
    heard = [event["key"] for _, event in client.get_events(scheduling.TOPIC)]
    assert interrupted.finished
    for key in interrupted.finished:
        # 1,800 images in batches of 32 are 57 steps, told every 50: twice a training
        assert 1 <= heard.count(key) <= 2


def test_teachers_are_trained_once_before_their_scores_and_those_before_the_students(
    client: Client, bench: Bench
) -> None:
    first = Step(train=replace(BASE.train, learning_rate=0.03))
    distill = DistillConfig(temperature=2.0, views=1)
    teacher = Teacher(net=NET, steps=(first,), seeds=(7,), distill=distill)
    steps = (replace(BASE, teacher=teacher),)
    taught = Recipe(name="taught", net=NET, steps=steps, export=ExportConfig(form="float32"))
    study = Study(bench, {"taught": taught}, [0, 1], n_workers=2).start()
    study.wait()
    assert len(study.outcomes("taught")) == 2
    scoring = Scoring(teacher=teacher, strength=0.0)
    (trained,) = scoring.needs()
    heard = [event["key"] for _, event in client.get_events(scheduling.TOPIC)]
    students = [bench.training_key(NET, steps, seed) for seed in (0, 1)]
    keys = [bench.key(trained), bench.key(scoring)]
    # both end before the next begins
    last = [max(place for place, heard_key in enumerate(heard) if heard_key == key) for key in keys]
    assert last[0] < heard.index(keys[1]) <= last[1] < min(heard.index(key) for key in students)


def test_interrupted_study_gives_the_same_as_one_in_process(
    study: Study, bench: Bench, tmp_path: Path
) -> None:
    alone = replace(bench, cache_dir=str(tmp_path))
    for name, recipe in GRID.items():
        there, here = study.outcomes(name)[0], alone.run(recipe, 0, nothing)
        assert there.record == here.record
        assert there.content == here.content
        np.testing.assert_array_equal(there.predictions, here.predictions)


def test_outcomes_come_one_a_seed_in_order(study: Study) -> None:
    outcomes = study.outcomes("pruned")
    assert [outcome.record.seed for outcome in outcomes] == [0, 1]
    assert outcomes[0].content != outcomes[1].content


def test_failing_recipe_is_reported_with_its_error_and_the_others_go_on(study: Study) -> None:
    assert study.outcomes("impossible") == []
    error = "no layer of the model takes pruning 2:4"
    assert study.failures == [Failure(recipe="impossible", seed=seed, error=error) for seed in (0, 1)]
    study.outcomes("impossible")
    assert len(study.failures) == 2
    assert len(study.outcomes("plain")) == 2


def test_unknown_recipe_is_a_key_error(study: Study) -> None:
    with pytest.raises(KeyError, match="unknown"):
        study.outcomes("unknown")


def test_recipe_that_is_added_is_computed_when_it_is_begun(study: Study) -> None:
    more = replace(GRID["pruned"], steps=(BASE, replace(BASE, technique=PruneConfig(final_sparsity=0.9))))
    # the same name on its file: another recipe all the same
    study.add("pruned more", more)
    assert not study.done("pruned more", 0)
    study.begin("pruned more", 0)
    study.begin("pruned more", 0)
    study.wait(["pruned more"], [0])
    assert study.done("pruned more", 0)
    found, less = study.outcome("pruned more", 0), study.outcome("pruned", 0)
    assert isinstance(found, Outcome)
    assert isinstance(less, Outcome)
    assert found.record.nonzero_weights < less.record.nonzero_weights


def test_what_is_stored_or_has_failed_is_done(study: Study) -> None:
    assert all(study.done(name, 1) for name in ("plain", "pruned", "impossible"))


def test_another_recipe_of_a_name_that_is_taken_is_refused(study: Study) -> None:
    study.add("plain", GRID["plain"])
    with pytest.raises(ValueError, match=r"^there is another recipe of the name 'plain'$"):
        study.add("plain", GRID["pruned"])
    assert study.recipes["plain"] == GRID["plain"]


def test_stored_study_needs_no_cluster(study: Study, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(n_workers: int | None = None) -> Client:
        raise AssertionError("a cluster was asked for")

    monkeypatch.setattr(scheduling, "connect", refuse)
    again = Study(bench, GRID, [0, 1], n_workers=2).start()
    again.wait()
    for name in GRID:
        assert [outcome.record for outcome in again.outcomes(name)] == [
            outcome.record for outcome in study.outcomes(name)
        ]


def test_existing_cluster_is_taken_from_dask_s_own_setting(client: Client) -> None:
    connect.cache_clear()
    with dask.config.set({"scheduler-address": client.scheduler.address}):
        other = connect()
        try:
            assert other.cluster is None
            assert other.scheduler_info()["id"] == client.scheduler_info()["id"]
        finally:
            other.close()
            connect.cache_clear()
