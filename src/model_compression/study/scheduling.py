"""Recipes side by side on Dask distributed: a local cluster, or the one that Dask is set up for.

Every training and every file is a task whose key is its cache key. What the store holds is not
submitted, so an interrupted study goes on where it stopped; a worker that dies is replaced, and
only the task that it was at is run again.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from distributed import Client, Future, LocalCluster
from tqdm import tqdm

from ..saved_models.files import is_path
from .experiment import Bench
from .outcomes import Outcome
from .recipes import Recipe, Task, Training
from .workers import TOPIC, carry_out, connect, follow, run

#: Seconds between two looks at the progress.
TICK = 0.25
#: What an export weighs on the progress bar, in epochs.
EXPORT_EPOCHS = 0.5


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
        self._futures: dict[str, Future] = {}
        self._followers: dict[str, Future] = {}
        self._epochs_of: dict[str, float] = {}
        self._done: dict[str, float] = {}
        self._title = ""
        self._keys: dict[tuple[Recipe, int], str] = {}
        self._found: dict[str, Outcome] = {}
        self._client: Client | None = None

    def start(self) -> "Study":
        """Submit all that the store lacks; returns at once."""
        for seed in self.seeds:
            for recipe in self.recipes.values():
                self._submit(recipe, seed)
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
        self._submit(self.recipes[name], seed)

    def after(self, name: str, seed: int, do: Callable[[Bench, Outcome], object], *, title: str) -> None:
        """Have more done on a worker with an outcome that is being computed, when the seed's trainings are.

        What it gives is what it stores: its errors are left to whoever computes it again. Nothing is done
        with an outcome that lay in the store before.
        Args:
            do: is sent to a worker, and called with its bench and the outcome.
            title: on the progress bar; one for each outcome.
        """
        recipe = self.recipes[name]
        needed = self._futures.get(self._key(recipe, seed))
        if needed is not None:
            priority = -(self.seeds.index(seed) + 1) * len(self.recipes)
            self._followers[title] = self._connected().submit(
                follow, self.bench, recipe, seed, do, title, needed, priority=priority, pure=False
            )

    def progress(self, name: str, seed: int) -> float:
        """How much of a recipe is done, from 0 to 1; 1 also when it has failed."""
        recipe = self.recipes[name]
        key = self._key(recipe, seed)
        if key not in self._futures:
            return float(self.bench.store.has(key))
        if self._futures[key].done():
            return 1.0
        epochs = self._epochs([(recipe, seed)])
        done = self._epochs_done(epochs, [self._futures[key]])
        return done / (sum(epochs.values()) + EXPORT_EPOCHS)

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

    def _submit(self, recipe: Recipe, seed: int) -> None:
        key = self._key(recipe, seed)
        if key in self._futures or self.bench.store.has(key):
            return
        training = Training(net=recipe.net, steps=recipe.steps, seed=seed)
        aware = recipe.quantization_aware
        # quantization-aware nets are trained where they are exported
        # a saved model as it is has no steps, and nothing to train
        needed = training.needs() if aware or not recipe.steps else [training]
        priority = self._priority(recipe, seed)
        futures = [self._submit_task(task, priority) for task in needed]
        if aware:
            self._epochs_of[self.bench.key(training)] = training.epochs
        self._futures[key] = self._connected().submit(
            run, self.bench, recipe, seed, *futures, key=key, priority=priority, pure=False
        )

    def _submit_task(self, task: Task, priority: int) -> Future | None:
        key = self.bench.key(task)
        if key not in self._futures:
            if self.bench.store.has(key):
                return None
            futures = [self._submit_task(needed, priority) for needed in task.needs()]
            self._epochs_of[key] = task.epochs
            self._futures[key] = self._connected().submit(
                carry_out, self.bench, task, *futures, key=key, priority=priority, pure=False
            )
        return self._futures[key]

    def _key(self, recipe: Recipe, seed: int) -> str:
        """`bench.record_key`, worked out once."""
        if (recipe, seed) not in self._keys:
            self._keys[recipe, seed] = self.bench.record_key(recipe, seed)
        return self._keys[recipe, seed]

    def _priority(self, recipe: Recipe, seed: int) -> int:
        """Whole seeds one after the other, each in the order of the recipes: highest first."""
        place = list(self.recipes.values()).index(recipe)
        return -(self.seeds.index(seed) * len(self.recipes) + place)

    def outcomes(self, name: str) -> list[Outcome]:
        """What a recipe gave, one outcome a seed; waits with a progress bar.

        Seeds that failed are left out, and stand in `failures`.
        Raises:
            KeyError: no recipe of that name.
        """
        self.wait([name])
        found = [self.outcome(name, seed) for seed in self.seeds]
        return [outcome for outcome in found if isinstance(outcome, Outcome)]

    def outcome(self, name: str, seed: int) -> Outcome | Failure:
        """What a recipe gave with one seed; the caller has waited for it."""
        recipe = self.recipes[name]
        future = self._futures.get(self._key(recipe, seed))
        if future is not None and future.status != "finished":
            failure = Failure(recipe=name, seed=seed, error=str(future.exception() or future.status))
            if failure not in self.failures:
                self.failures.append(failure)
            return failure
        key = self._key(recipe, seed)
        if key not in self._found:
            self._found[key] = self.bench.run(recipe, seed, lambda key, title, done: None)
        return self._found[key]

    def as_found(self, names: Iterable[str], seed: int, *, until: float) -> Iterator[str]:
        """Recipes by name, each as soon as it is carried out or has failed, with a bar and what is left.

        Args:
            until: of `time.monotonic`; what is not done by then is not named.
        """
        waiting = list(names)
        with self._bar([(self.recipes[name], seed) for name in waiting]) as look:
            while waiting and time.monotonic() < until:
                found = [name for name in waiting if self.progress(name, seed) == 1]
                yield from found
                waiting = [name for name in waiting if name not in found]
                look()
                time.sleep(0 if found else TICK)

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

    def wait(self, names: Iterable[str] | None = None, seeds: Iterable[int] | None = None) -> None:
        """Until the recipes with the seeds are carried out or have failed.

        All where none are named, and what is to be done after them.
        """
        recipes = [self.recipes[name] for name in (self.recipes if names is None else names)]
        wanted = self.seeds if seeds is None else list(seeds)
        keys = {self._key(recipe, seed): (recipe, seed) for recipe in recipes for seed in wanted}
        waiting = {key: self._futures[key] for key in keys if key in self._futures}
        waiting |= self._followers if names is None else {}
        if all(future.done() for future in waiting.values()):
            return
        with self._bar(list(keys.values())) as look:
            while not all(future.done() for future in waiting.values()):
                look()
                time.sleep(TICK)

    @contextlib.contextmanager
    def _bar(self, wanted: Sequence[tuple[Recipe, int]]) -> Iterator[Callable[[], None]]:
        """A bar over what these recipes and seeds still need, and what brings it up to date."""
        futures = [self._futures[key] for pair in wanted if (key := self._key(*pair)) in self._futures]
        epochs = self._epochs(wanted)
        total = sum(epochs.values()) + EXPORT_EPOCHS * len(futures)
        form = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} epochs [{elapsed}<{remaining}]"
        with tqdm(total=total, bar_format=form, leave=False, dynamic_ncols=True, mininterval=1) as bar:

            def look() -> None:
                bar.set_description_str(self._title or "starting", refresh=False)
                bar.update(self._epochs_done(epochs, futures) - bar.n)

            yield look

    def _epochs(self, wanted: Iterable[tuple[Recipe, int]]) -> dict[str, float]:
        """Epochs of each task that was submitted for these recipes and seeds, by its key."""
        tasks = (Training(net=recipe.net, steps=recipe.steps, seed=seed) for recipe, seed in wanted)
        keys = set().union(*(self._ancestors(task) for task in tasks))
        return {key: self._epochs_of[key] for key in keys if key in self._epochs_of}

    def _epochs_done(self, epochs: Mapping[str, float], exports: Iterable[Future]) -> float:
        finished = {key for key in epochs if key in self._futures and self._futures[key].done()}
        trained = sum(
            length if key in finished else min(self._done.get(key, 0.0), length)
            for key, length in epochs.items()
        )
        return trained + EXPORT_EPOCHS * sum(future.done() for future in exports)

    def _ancestors(self, task: Task) -> set[str]:
        return {self.bench.key(task)}.union(*(self._ancestors(needed) for needed in task.needs()))
