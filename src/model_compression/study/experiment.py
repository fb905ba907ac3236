"""A recipe goes in, a record comes out: the only place that chains techniques."""

import functools
import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .. import quiet
from ..data.datasets import Dataset, load_dataset, scale
from ..files import coding, conversion, guard, packing, running
from ..files.graph import Graph, account
from ..files.guard import RULES, Promise, check_file
from ..nets import channels, distillation, keras2, layers, named, training
from ..nets.layers import kernel_size
from ..saved_models import files as keras_files
from ..saved_models import fitting, graphs, reader
from ..store import Store, code_digest, make_key, versions
from ..techniques import allocation, clustering, pruning, quantization, rate_distortion, shrinkage
from ..techniques.clustering import ClusterConfig
from ..techniques.pruning import PruneConfig
from ..techniques.quantization import QuantizeConfig
from ..techniques.rate_distortion import RateConfig
from ..techniques.shrinkage import ShrinkConfig
from .outcomes import Outcome, Record
from .recipes import MaskConfig, Recipe, Scoring, Step, Task, Technique, Training

#: Called with a training's key, its title and the epochs done so far.
Report = Callable[[str, str, float], None]

#: Validation images that the guard asks both sides about.
GUARD_IMAGES = 2000

#: The code that a technique's training depends on.
_MODULES: dict[type, tuple[ModuleType, ...]] = {
    PruneConfig: (pruning, allocation),
    ClusterConfig: (clustering,),
    QuantizeConfig: (quantization,),
    RateConfig: (rate_distortion, channels),
    ShrinkConfig: (shrinkage,),
    MaskConfig: (pruning,),
}


@functools.lru_cache(maxsize=2)
def _dataset(name: str, data_dir: str, train_images: int | None) -> Dataset:
    return load_dataset(name, data_dir=data_dir).take(train_images)


@functools.lru_cache(maxsize=4)
def _scaled(dataset: Dataset, split: str) -> np.ndarray:
    return scale(getattr(dataset, f"x_{split}"))


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where recipes are carried out: the data, and the folder that keeps what was computed.

    Args:
        dataset: a name or path that `load_dataset` takes.
        train_images: the first so many; None for all.
        cache_dir, data_dir: folders.
    """

    dataset: str
    cache_dir: str
    data_dir: str = "data"
    train_images: int | None = None

    @property
    def data(self) -> Dataset:
        """The images, loaded once a process."""
        return _dataset(self.dataset, self.data_dir, self.train_images)

    @property
    def store(self) -> Store:
        """What was computed before."""
        return Store(self.cache_dir)

    def key(self, task: Task) -> str:
        """The hash of all that makes a net's weights or a teacher's scores: equal tasks are shared."""
        if isinstance(task, Scoring):
            return make_key(
                teachers=[self.key(needed) for needed in task.needs()],
                views=task.teacher.distill.views,
                strength=task.strength,
                code=_digest(training, distillation),
            )
        return self.training_key(task.net, task.steps, task.seed)

    def training_key(self, net: str, steps: tuple[Step, ...], seed: int) -> str:
        """The hash of all that makes a trained net: chained, so that equal beginnings are shared."""
        if not steps:
            return self._identity(net)
        step = steps[-1]
        modules = [training, *(_MODULES[type(step.technique)] if step.technique else ())]
        parents = [self.key(needed) for needed in Training(net=net, steps=steps, seed=seed).needs()]
        root = {} if len(steps) > 1 else {"data": self.data.fingerprint, "libraries": versions()}
        taught = {"temperature": step.teacher.distill.temperature} if step.teacher else {}
        return make_key(
            architecture=self._identity(net),
            seed=seed,
            train=step.train,
            technique=_own(step.technique),
            parents=parents,
            depth=len(steps),
            code=_digest(*modules),
            **taught,
            **root,
        )

    def record_key(self, recipe: Recipe, seed: int) -> str:
        """The hash of all that makes a record."""
        packed = (packing, channels) if recipe.export.form.startswith("packed") else ()
        code = _digest(conversion, coding, running, guard, *packed)
        trained = self.training_key(recipe.net, recipe.steps, seed)
        return make_key(
            recipe=recipe.name, export=recipe.export, trained=trained, code=code, libraries=versions()
        )

    def carry_out(self, task: Task, report: Report) -> None:
        """Put into the store what a task makes, unless it is there."""
        if isinstance(task, Scoring):
            self.scores(task, report)
        else:
            self.trained(task.net, task.steps, task.seed, report)

    def scores(self, task: Scoring, report: Report) -> np.ndarray:
        """What a teacher says of the training images, from the store or computed now; see `Lesson`."""
        key = self.key(task)
        files = self.store.get(key)
        if files is None:
            teacher = task.teacher
            title = f"{teacher.net}, scoring"
            found = distillation.scores(
                [self.trained(teacher.net, teacher.steps, seed, report) for seed in teacher.seeds],
                _scaled(self.data, "train"),
                strength=task.strength,
                views=teacher.distill.views,
                progress=lambda views: report(key, title, task.epochs * views / teacher.distill.views),
            )
            packed = io.BytesIO()
            np.save(packed, found)
            self.store.put(key, {"scores.npy": packed.getvalue()})
            return found
        return np.load(io.BytesIO(files["scores.npy"]))

    def _lesson(self, step: Step, report: Report) -> training.Lesson | None:
        if step.teacher is None:
            return None
        task = Scoring(teacher=step.teacher, strength=step.train.augment)
        return training.Lesson(
            scores=self.scores(task, report),
            strength=task.strength,
            temperature=step.teacher.distill.temperature,
        )

    def trained(self, net: str, steps: tuple[Step, ...], seed: int, report: Report) -> keras2.keras.Model:
        """The net after `steps`, from the store or trained now; what it starts from likewise."""
        if not steps:
            return self._build(net, seed)
        key = self.training_key(net, steps, seed)
        step = steps[-1]
        files = self.store.get(key)
        if files is not None and not isinstance(step.technique, QuantizeConfig):
            return self._load(net, seed, files["weights.npz"])
        keras2.keras.backend.clear_session()
        parent = self.trained(net, steps[:-1], seed, report)
        like = getattr(step.technique, "like", ())
        masks = pruning.nonzero_masks(self.trained(net, like, seed, report)) if like else None
        lesson = self._lesson(step, report)
        title = f"{Path(net).stem}, {_title(step)}, seed {seed}"
        progress = functools.partial(report, key, title)
        model = self._run(parent, step, masks, lesson, _seed_of(seed, len(steps)), progress)
        if not isinstance(step.technique, QuantizeConfig):
            self.store.put(key, {"weights.npz": _pack(model)})
        return model

    def _identity(self, net: str) -> str:
        """What stands for a net in keys: its architecture, or the hash of all that makes a saved model."""
        if not keras_files.is_path(net):
            return _architecture(net, self.data.input_shape, self.data.classes)
        code = _digest(fitting, keras_files, graphs, reader)
        content, seen = keras_files.digest(net), self.data.fingerprint
        return make_key(model=content, data=seen, code=code, libraries=versions())

    def user_model(self, path: str) -> fitting.Fitted:
        """A saved model fitted to the data, read once and kept in the store.

        Raises:
            UnsupportedModelError: it cannot be taken, or not with these data.
        """
        key = self._identity(path)
        files = self.store.get(key)
        if files is None:
            fitted = fitting.fit_to(fitting.load(path), self.data)
            self.store.put(key, {"fitted.npz": fitting.pack(fitted)})
            return fitted
        return fitting.unpack(files["fitted.npz"])

    def _build(self, net: str, seed: int) -> keras2.keras.Model:
        if keras_files.is_path(net):
            fitted = self.user_model(net)
            keras2.keras.backend.clear_session()
            keras2.keras.utils.set_random_seed(seed)
            return fitting.to_keras(fitted.net)
        return named.build(net, input_shape=self.data.input_shape, classes=self.data.classes, seed=seed)

    def _load(self, net: str, seed: int, packed: bytes) -> keras2.keras.Model:
        model = self._build(net, seed)
        with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
            model.set_weights([arrays[name] for name in arrays.files])
        return model

    def _run(
        self,
        parent: keras2.keras.Model,
        step: Step,
        masks: dict[str, np.ndarray] | None,
        lesson: training.Lesson | None,
        seed: int,
        progress: Callable[[float], None],
    ) -> keras2.keras.Model:
        """One step: wrap a copy, train it, strip it."""
        technique, images = step.technique, _scaled(self.data, "train")
        keras2.keras.utils.set_random_seed(seed)
        callbacks, strip = [], lambda model: model
        with quiet.quiet():
            if isinstance(technique, PruneConfig):
                model = pruning.wrap(parent, technique, steps=step.train.steps(len(images)), seed=seed)
                callbacks, strip = pruning.callbacks(), pruning.strip
            elif isinstance(technique, ClusterConfig):
                model, strip = clustering.wrap(parent, technique), clustering.strip
            elif isinstance(technique, QuantizeConfig):
                model = quantization.wrap(parent, technique)
                strip = functools.partial(quantization.strip, config=technique)
            elif isinstance(technique, RateConfig):
                model = rate_distortion.wrap(parent, technique, steps=step.train.steps(len(images)))
                strip = rate_distortion.strip
            elif isinstance(technique, ShrinkConfig):
                model, strip = shrinkage.wrap(parent, technique), shrinkage.strip
            elif isinstance(technique, MaskConfig):
                if masks is None:
                    masks = pruning.random_masks(parent, technique.random_sparsity or 0.0, seed=seed)
                model = pruning.fix_masks(parent, masks)
            else:
                model = layers.clone(parent)
        training.fit(
            model,
            images,
            self.data.y_train,
            step.train,
            seed=seed,
            progress=progress,
            callbacks=callbacks,
            lesson=lesson,
        )
        with quiet.quiet():
            return strip(model)

    def run(self, recipe: Recipe, seed: int, report: Report) -> Outcome:
        """Carry out a recipe, as far as the store does not hold it already.

        Raises:
            CorruptFileError: the file does not compute what its net computes.
        """
        key = self.record_key(recipe, seed)
        files = self.store.get(key)
        if files is None:
            files = self._export(recipe, seed, key, report)
            self.store.put(key, files)
        record = Record(**json.loads(files["record.json"]))
        return Outcome(
            record=record,
            content=files["model" + recipe.export.suffix],
            predictions=np.load(io.BytesIO(files["predictions.npy"])),
        )

    def _export(self, recipe: Recipe, seed: int, key: str, report: Report) -> dict[str, bytes]:
        model = conversion.ordered(self.trained(recipe.net, recipe.steps, seed, report), recipe.export)
        validation, test = _scaled(self.data, "val"), _scaled(self.data, "test")
        aware = recipe.quantization_aware
        representative = None if aware else scale(self.data.x_train[: conversion.REPRESENTATIVE_IMAGES])
        content = conversion.export(model, recipe.export, representative=representative)
        is_h5 = recipe.export.form == "h5"
        # a Keras file has no graph of its own to count: its float32 twin has the same weights
        twin = (
            conversion.export(model, conversion.ExportConfig(form="float32"), representative=None)
            if is_h5
            else content
        )
        net = self._build(recipe.net, seed)
        check_file(
            twin,
            net,
            promise_of(recipe, net),
            images=validation[:GUARD_IMAGES],
            trained=model,
        )
        label = training.predict if is_h5 else running.predict
        source = model if is_h5 else content
        predicted = label(source, test)
        record = Record(
            recipe=recipe.name,
            file=recipe.file_name,
            seed=seed,
            key=key,
            validation_accuracy=running.accuracy(self.data.y_val, label(source, validation)),
            accuracy=running.accuracy(self.data.y_test, predicted),
            **_sizes(content, running.allocated_graph(twin)),
        )
        packed = io.BytesIO()
        np.save(packed, predicted.astype(np.uint16))
        return {
            "record.json": json.dumps(asdict(record), indent=1).encode(),
            "predictions.npy": packed.getvalue(),
            "model" + recipe.export.suffix: content,
        }


def _sizes(content: bytes, graph: Graph) -> dict[str, Any]:
    """The fields of a record that the file alone decides."""
    coder, coded = coding.best_coded(content)
    layers = account(graph)
    stored = [tensor.values for tensor, _ in graph.kernels() if tensor.values is not None]
    return {
        "file_bytes": len(content),
        "zip_bytes": coding.zip_bytes(content),
        "best_coded_bytes": len(coded),
        "best_coder": coder,
        "entropy_bytes": sum(coding.entropy_bits(values) for values in stored) / 8,
        "nonzero_weights": sum(layer.nonzero for layer in layers),
        "weights": sum(layer.weights for layer in layers),
        "unique_values": max(len(np.unique(values)) for values in stored),
        "macs": sum(layer.macs for layer in layers),
        "dense_macs": sum(layer.dense_macs for layer in layers),
    }


def promise_of(recipe: Recipe, net: keras2.keras.Model) -> Promise:
    """What the steps of a recipe say of its file: bits, zeros, distinct values.

    Args:
        net: the recipe's float net; its weights are not looked at.
    """
    rule = RULES["float32" if recipe.export.form == "h5" else recipe.export.form]
    if recipe.quantization_aware and getattr(recipe.steps[-1].technique, "weight_bits", 8) == 4:
        rule = RULES["int4_qat"]
    zeros, unique = _counts(recipe.steps, layers.kernel_layers(net))
    return Promise(rule=rule, zeros=zeros, unique_values=unique, by_scores=True)


def _counts(
    steps: tuple[Step, ...], layers: list[keras2.keras.layers.Layer]
) -> tuple[dict[str, int], dict[str, int]]:
    """Least zeros and most distinct values a kernel after `steps`; what no step keeps is not promised."""
    zeros: dict[str, int] = {}
    unique: dict[str, int] = {}
    for step in steps:
        match step.technique:
            case PruneConfig() as prune:
                zeros, unique = pruning.promised_zeros(layers, prune), {}
            case MaskConfig(like=like) if like:
                zeros, unique = _counts(like, layers)[0], {}
            case MaskConfig(random_sparsity=share):
                zeros, unique = {la.name: round((share or 0) * kernel_size(la)) for la in layers}, {}
            case ClusterConfig() as cluster:
                zeros = zeros if cluster.preserve_sparsity else {}
                unique = {
                    layer.name: cluster.clusters for layer in layers if clustering.takes(layer, cluster)
                }
            case QuantizeConfig(preserve=preserve):
                zeros = zeros if "sparsity" in preserve else {}
                unique = unique if "clusters" in preserve else {}
            case RateConfig(levels=levels):
                zeros, unique = {}, {layer.name: 2 * levels + 1 for layer in layers}
            case ShrinkConfig() | None:
                zeros, unique = {}, {}
    return zeros, unique


def _own(technique: Technique | None) -> object:
    """A technique without the steps that it points to: their key stands among the parents."""
    return "mask" if isinstance(technique, MaskConfig) and technique.like else technique


@functools.cache
def _architecture(net: str, input_shape: tuple[int, ...], classes: int) -> str:
    """The net as Keras describes it: what else `models` holds must not cost a training."""
    return named.build(net, input_shape=input_shape, classes=classes, seed=0).to_json()


@functools.cache
def _digest(*modules: ModuleType) -> str:
    return code_digest(modules)


def _seed_of(seed: int, depth: int) -> int:
    """Each step of a seed draws from a stream of its own, the same for a technique and its control."""
    return int(np.random.SeedSequence([seed, depth]).generate_state(1)[0])


def _title(step: Step) -> str:
    """What a progress bar calls a step."""
    return type(step.technique).__name__.removesuffix("Config").lower() if step.technique else "training"


def _pack(model: keras2.keras.Model) -> bytes:
    packed = io.BytesIO()
    np.savez(packed, **{f"{index:03d}": weights for index, weights in enumerate(model.get_weights())})
    return packed.getvalue()
