"""Recipes side by side on Dask distributed: a local cluster, or the one that Dask is set up for.

Every training and every file is a task whose key is its cache key. What the store holds is not
submitted, so an interrupted study goes on where it stopped; a worker that dies is replaced, and
only the task that it was at is run again.
"""

import functools
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from distributed import Client, Future, LocalCluster
from tqdm import tqdm

from ..saved_models.files import is_path
from .experiment import Bench
from .outcomes import Outcome
from .recipes import Export, Recipe, Task
from .workers import TOPIC, carry_out, connect

#: Seconds between two looks at the progress.
TICK = 0.25


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A recipe that could not be carried out."""

    recipe: str
    seed: int
    error: str


class Study:
    """Recipes over seeds, computed in the background and waited for by name.

    Args:
        bench: the data and the cache.
        recipes: by name, in the order in which they are wanted.
        seeds: each recipe is carried out once a seed.
        n_workers: see `connect`.
    """

    def __init__(
        self,
        bench: Bench,
        recipes: Mapping[str, Recipe],
        seeds: Iterable[int],
        *,
        n_workers: int | None = None,
    ) -> None:
        self.bench, self.recipes, self.seeds, self.n_workers = bench, dict(recipes), list(seeds), n_workers
        self.failures: list[Failure] = []
        self._client: Client | None = None
        # what was submitted, and the epochs done of it, by key
        self._futures: dict[str, Future] = {}
        self._done: dict[str, float] = {}
        self._title = ""
        self._key = functools.cache(bench.key)
        self._found = functools.cache(lambda recipe, seed: bench.run(recipe, seed, lambda *told: None))

    def start(self) -> "Study":
        """Submit all that the store lacks; returns at once."""
        for seed in self.seeds:
            for name in self.recipes:
                self.begin(name, seed)
        return self

    def add(self, name: str, recipe: Recipe) -> None:
        """One more recipe; nothing of it is computed before `begin`.

        Raises:
            ValueError: another recipe has the name.
        """
        if self.recipes.setdefault(name, recipe) != recipe:
            raise ValueError(f"there is another recipe of the name {name!r}")

    def begin(self, name: str, seed: int) -> None:
        """Submit one recipe unless the store has it; returns at once."""
        # whole seeds one after the other, each in the order of the recipes: highest first
        place = list(self.recipes.values()).index(self.recipes[name])
        self._submit(self._task(name, seed), -(self.seeds.index(seed) * len(self.recipes) + place))

    def done(self, name: str, seed: int) -> bool:
        """Whether a recipe is carried out, or has failed."""
        key = self._key(self._task(name, seed))
        return self._futures[key].done() if key in self._futures else self.bench.store.has(key)

    def outcomes(self, name: str) -> list[Outcome]:
        """What a recipe gave, one outcome a seed; waits with a progress bar.

        Seeds that failed are left out, and stand in `failures`.
        Raises:
            KeyError: no recipe of that name.
        """
        self.wait([name])
        found = [self.outcome(name, seed) for seed in self.seeds]
        return [outcome for outcome in found if isinstance(outcome, Outcome)]

    def whole(self, names: Iterable[str]) -> dict[str, list[Outcome]]:
        """Every seed's outcome of each recipe; those that failed with a seed are left out."""
        found = {name: self.outcomes(name) for name in names}
        return {name: each for name, each in found.items() if len(each) == len(self.seeds)}

    def outcome(self, name: str, seed: int) -> Outcome | Failure:
        """What a recipe gave with one seed; the caller has waited for it."""
        future = self._futures.get(self._key(self._task(name, seed)))
        if future is None or future.status == "finished":
            return self._found(self.recipes[name], seed)
        failure = Failure(recipe=name, seed=seed, error=str(future.exception() or future.status))
        if failure not in self.failures:
            self.failures.append(failure)
        return failure

    def as_found(self, names: Iterable[str], seed: int, *, until: float) -> Iterator[str]:
        """Recipes by name, each as soon as it is carried out or has failed, with a bar and what is left.

        Args:
            until: of `time.monotonic`; what is not done by then is not named.
        """
        waiting = list(names)
        for _ in self._ticks([self._task(name, seed) for name in waiting]):
            if not waiting or time.monotonic() >= until:
                return
            found = [name for name in waiting if self.done(name, seed)]
            yield from found
            waiting = [name for name in waiting if name not in found]

    def wait(self, names: Iterable[str] | None = None, seeds: Iterable[int] | None = None) -> None:
        """Until the recipes with the seeds are carried out or have failed; all where none are named."""
        pairs = itertools.product(self.recipes if names is None else names, seeds or self.seeds)
        tasks = [self._task(name, seed) for name, seed in pairs]
        waiting = [self._futures[key] for task in tasks if (key := self._key(task)) in self._futures]
        for _ in self._ticks(tasks):
            if all(future.done() for future in waiting):
                return

    def stop(self) -> None:
        """Leave undone what is not done, and end the cluster if it was started here."""
        if self._client is None:
            return
        self._client.cancel(list(self._futures.values()), force=True)
        if isinstance(self._client.cluster, LocalCluster):
            self._client.cluster.close()
            self._client.close()
            connect.cache_clear()
        self._client = None

    def _task(self, name: str, seed: int) -> Export:
        return Export(recipe=self.recipes[name], seed=seed)

    def _submit(self, task: Task, priority: int) -> Future | None:
        """Submit a task and what it needs; None of one that the store has."""
        key = self._key(task)
        if key not in self._futures and not self.bench.store.has(key):
            needed = [self._submit(each, priority) for each in task.needs()]
            self._futures[key] = self._connected().submit(
                carry_out, self.bench, task, *needed, key=key, priority=priority, pure=False
            )
        return self._futures.get(key)

    def _connected(self) -> Client:
        if self._client is None:
            # read by the workers, which start later. TensorFlow takes oneDNN of itself only where the
            # processor has AVX-512 VNNI or newer; on the others it makes a training 2.5 times as fast. It
            # ends the process at some strided 1 x 1 kernels (6 to 13 channels, say): users' models go without
            if not any(is_path(recipe.net) for recipe in self.recipes.values()):
                os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
            self._client = connect(self.n_workers)
            self._client.subscribe_topic(TOPIC, self._hear)
        return self._client

    def _hear(self, event: tuple[float, dict[str, object]]) -> None:
        message = event[1]
        self._done[str(message["key"])] = float(message["done"])  # type: ignore[arg-type]
        self._title = str(message["title"])

    def _ticks(self, tasks: Iterable[Task]) -> Iterator[None]:
        """Time and again, from the second time on with a bar over what these tasks still need."""
        yield
        epochs = self._submitted(tasks)
        form = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} epochs [{elapsed}<{remaining}]"
        total = sum(epochs.values())
        with tqdm(total=total, bar_format=form, leave=False, dynamic_ncols=True, mininterval=1) as bar:
            while True:
                bar.set_description_str(self._title or "starting", refresh=False)
                bar.update(sum(self._epochs_done(*each) for each in epochs.items()) - bar.n)
                time.sleep(TICK)
                yield

    def _submitted(self, tasks: Iterable[Task]) -> dict[str, float]:
        """Epochs of these tasks and of what they need, as far as they were submitted, by key."""
        found: dict[str, float] = {}
        for task in tasks:
            if (key := self._key(task)) in self._futures:
                found |= {key: task.epochs, **self._submitted(task.needs())}
        return found

    def _epochs_done(self, key: str, epochs: float) -> float:
        return epochs if self._futures[key].done() else min(self._done.get(key, 0.0), epochs)
