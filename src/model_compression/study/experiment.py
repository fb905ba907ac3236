"""A recipe goes in, a record comes out: the only place that chains techniques."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import files as file_room
from .. import saved_models
from ..data.datasets import Dataset, load_dataset, scale
from ..nets import augmentation, distillation, named, training
from ..nets.keras2 import keras, quiet
from ..nets.narrowing import with_weights
from ..saved_models import files as keras_files
from ..saved_models import fitting, loading, taking
from ..saved_models.building import folded, to_keras
from ..store import Store, code_digest, make_key, versions
from . import measuring
from .outcomes import Outcome
from .recipes import Export, Recipe, Scoring, Step, Task, Training

#: Training images that a technique is shown before its first step, about a batch.
STARTING_IMAGES = 128
#: Called with a training's key, its title and the epochs done so far.
Report = Callable[[str, str, float], None]


@functools.lru_cache(maxsize=2)
def _dataset(name: str, data_dir: str, train_images: int | None, values: bool) -> Dataset:
    return load_dataset(name, data_dir=data_dir, values=values).take(train_images)


@functools.lru_cache(maxsize=4)
def _scaled(dataset: Dataset, split: str) -> np.ndarray:
    return scale(getattr(dataset, f"x_{split}"))


@functools.lru_cache(maxsize=2)
def _taken(bench: "Bench", net: str, by: str) -> Dataset:
    return getattr(bench.user_model(net), by)(bench.data) if keras_files.is_path(net) else bench.data


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where recipes are carried out: the data, and the folder that keeps what was computed.

    Args:
        dataset: a name or path that `load_dataset` takes.
        train_images: the first so many; None for all.
        values: take whole numbers for values to predict, see `load_dataset`.
        cache_dir, data_dir: folders.
    """

    dataset: str
    cache_dir: str
    data_dir: str = "data"
    train_images: int | None = None
    values: bool = False

    @property
    def data(self) -> Dataset:
        """The images, loaded once a process."""
        return _dataset(self.dataset, self.data_dir, self.train_images, self.values)

    @property
    def store(self) -> Store:
        """What was computed before."""
        return Store(self.cache_dir)

    def key(self, task: Task) -> str:
        """The hash of all that makes what a task stores: equal tasks are shared."""
        if isinstance(task, Export):
            return self.record_key(task.recipe, task.seed)
        if isinstance(task, Training):
            return self.training_key(task.net, task.steps, task.seed)
        teacher = task.teacher
        return make_key(
            teachers=[self.training_key(teacher.net, teacher.steps, seed) for seed in teacher.seeds],
            views=teacher.distill.views,
            strength=task.strength,
            code=code_digest(training, augmentation, distillation),
        )

    def training_key(self, net: str, steps: tuple[Step, ...], seed: int) -> str:
        """The hash of all that makes a trained net: chained, so that equal beginnings are shared."""
        if not steps:
            return self._identity(net)
        step = steps[-1]
        modules = [training, augmentation, *(step.technique.modules if step.technique else ())]
        if "BatchNormalization" in self._identity(net):
            modules.append(saved_models)  # which takes it out
        parents = [self.key(needed) for needed in Training(net=net, steps=steps, seed=seed).needs()]
        root = {} if len(steps) > 1 else {"data": self.data.fingerprint, "libraries": versions()}
        taught = {"temperature": step.teacher.distill.temperature} if step.teacher else {}
        return make_key(
            architecture=self._identity(net),
            seed=seed,
            train=step.train,
            technique=step.technique.identity if step.technique else None,
            parents=parents,
            depth=len(steps),
            code=code_digest(*modules),
            **taught,
            **root,
        )

    def record_key(self, recipe: Recipe, seed: int) -> str:
        """The hash of all that makes a record."""
        code = code_digest(file_room, measuring)
        trained = self.training_key(recipe.net, recipe.steps, seed)
        return make_key(
            recipe=recipe.name, export=recipe.export, trained=trained, code=code, libraries=versions()
        )

    def carry_out(self, task: Task, report: Report) -> None:
        """Put into the store what a task makes, unless it is there."""
        if isinstance(task, Export):
            self.run(task.recipe, task.seed, report)
        elif isinstance(task, Training):
            self.trained(task.net, task.steps, task.seed, report)
        else:
            self.scores(task, report)

    def scores(self, task: Scoring, report: Report) -> np.ndarray:
        """What a teacher says of the training images, from the store or computed now; see `Lesson`."""
        key, teacher = self.key(task), task.teacher

        def make() -> np.ndarray:
            nets = [self.trained(teacher.net, teacher.steps, seed, report) for seed in teacher.seeds]
            outputs, ending = nets[0].output_shape[-1], self._ending(teacher.net)
            title = f"{Path(teacher.net).stem}, scoring"
            return distillation.scores(
                nets,
                _scaled(self.seen(teacher.net), "train"),
                strength=task.strength,
                views=teacher.distill.views,
                exclusive=training.exclusive(self.data.y_train, outputs=outputs, ending=ending),
                progress=lambda views: report(key, title, task.epochs * views / teacher.distill.views),
            )

        return self.store.kept(key, make)

    def trained(self, net: str, steps: tuple[Step, ...], seed: int, report: Report) -> keras.Model:
        """The net after `steps`, from the store or trained now; what it starts from likewise."""
        if not steps:
            return self._build(net, seed)
        key, method = self.training_key(net, steps, seed), steps[-1].method
        weights = self.store.get(key)
        if weights is not None and not method.quantization_aware:
            return with_weights(folded(self._build(net, seed)), weights)
        model = self._train(net, steps, seed, report)
        if not method.quantization_aware:
            # after the first step, all see plain kernels
            model = folded(model)
            self.store.put(key, model.get_weights())
        return model

    def _train(self, net: str, steps: tuple[Step, ...], seed: int, report: Report) -> keras.Model:
        """The last step: wrap a copy of what it starts from, train it, strip it."""
        step, method = steps[-1], steps[-1].method
        keras.backend.clear_session()
        parent = self.trained(net, steps[:-1], seed, report)
        source = self.trained(net, method.source_steps, seed, report) if method.source_steps else None
        data, lesson = self.seen(net), None
        if step.teacher:
            asked = Scoring(teacher=step.teacher, strength=step.train.augment)
            temperature, scores = step.teacher.distill.temperature, self.scores(asked, report)
            lesson = training.Lesson(scores=scores, strength=asked.strength, temperature=temperature)
        images = _scaled(data, "train")
        key, title = self.training_key(net, steps, seed), f"{Path(net).stem}, {method.label}, seed {seed}"
        # each step of a seed draws from a stream of its own, the same for a technique and its control
        drawn = _seed_of(seed, len(steps))
        keras.utils.set_random_seed(drawn)
        with quiet():
            model = method.wrap(parent, steps=step.train.steps(len(images)), seed=drawn, source=source)
            method.start(model, images[:STARTING_IMAGES])
        training.fit(
            model,
            images,
            data.y_train,
            step.train,
            seed=drawn,
            progress=functools.partial(report, key, title),
            callbacks=method.callbacks(),
            lesson=lesson,
            ending=self._ending(net),
        )
        with quiet():
            return method.strip(model)

    def _identity(self, net: str) -> str:
        """What stands for a net in keys: its architecture, or the hash of all that makes a saved model."""
        if not keras_files.is_path(net):
            return _architecture(net, self.data.input_shape, self.data.classes)
        code = code_digest(saved_models)
        content, seen = keras_files.digest(net), self.data.fingerprint
        return make_key(model=content, data=seen, code=code, libraries=versions())

    def user_model(self, path: str) -> fitting.Fitted:
        """A saved model fitted to the data, read once and kept in the store.

        Raises:
            UnsupportedModelError: it cannot be taken, or not with these data.
        """
        return self.store.kept(self._identity(path), lambda: fitting.fit_to(loading.load(path), self.data))

    def _build(self, net: str, seed: int) -> keras.Model:
        if keras_files.is_path(net):
            fitted = self.user_model(net)
            keras.backend.clear_session()
            keras.utils.set_random_seed(seed)
            return to_keras(fitted.net)
        return named.build(net, input_shape=self.data.input_shape, classes=self.data.classes, seed=seed)

    def seen(self, net: str) -> Dataset:
        """The data as a net is trained on them; a saved model may take other numbers, see `fed`."""
        return _taken(self, net, "seen")

    def fed(self, net: str) -> Dataset:
        """The data as a net's files take them."""
        return _taken(self, net, "fed")

    def _ending(self, net: str) -> str:
        """The function behind a net's logits."""
        return self.user_model(net).net.ending if keras_files.is_path(net) else "softmax"

    def as_file(self, net: str, model: keras.Model) -> keras.Model:
        """A net as it becomes a file: for images of `fed`, a saved model's own function at the end."""
        return taking.as_taken(model, self.user_model(net)) if keras_files.is_path(net) else model

    def run(self, recipe: Recipe, seed: int, report: Report) -> Outcome:
        """Carry out a recipe, as far as the store does not hold it already.

        Raises:
            CorruptFileError: the file does not compute what its net computes.
        """
        key = self.record_key(recipe, seed)
        return self.store.kept(key, lambda: self.made(recipe, seed, report, key=key))

    def made(self, recipe: Recipe, seed: int, report: Report, *, key: str) -> Outcome:
        """What comes of a recipe, made now; `key` is its record's."""
        model = self.trained(recipe.net, recipe.steps, seed, report)
        # as wide as the file, and without the wrappers of quantization-aware training
        before = recipe.steps[:-1]
        plain = self.trained(recipe.net, before, seed, report) if recipe.quantization_aware else model
        trained, net = (self.as_file(recipe.net, each) for each in (model, folded(plain)))
        return measuring.export(recipe, trained, net, self.fed(recipe.net), seed=seed, key=key)


@functools.cache
def _architecture(net: str, input_shape: tuple[int, ...], classes: int) -> str:
    """The net as Keras describes it: what else `named` holds must not cost a training."""
    return named.build(net, input_shape=input_shape, classes=classes, seed=0).to_json()


def _seed_of(seed: int, depth: int) -> int:
    return int(np.random.SeedSequence([seed, depth]).generate_state(1)[0])
