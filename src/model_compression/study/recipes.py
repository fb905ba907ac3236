"""What the study makes: a recipe is a net, the steps of its training and the file it becomes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..files.conversion import ExportConfig
from ..nets.distillation import DistillConfig
from ..nets.named import parse_net
from ..nets.training import TrainConfig
from ..saved_models.files import digest, is_path
from ..techniques.base import Technique

#: What making a file takes, in epochs.
EXPORT_EPOCHS = 0.5


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """Better nets, trained beforehand, whose mean scores a net learns instead of the labels.

    Args:
        net: a name that `named.build` knows, or the path of a saved model.
        steps: the teachers' training; none for a saved model as it is.
        seeds: one teacher each, the same ones whatever seed the student has; at least one.
        distill: how they teach.
    Raises:
        ValueError: no such net, no step or no seed.
    """

    net: str
    steps: "tuple[Step, ...]"
    seeds: tuple[int, ...]
    distill: DistillConfig

    def __post_init__(self) -> None:
        check_net(self.net)
        for name in ("steps", "seeds"):
            if not getattr(self, name) and not (name == "steps" and is_path(self.net)):
                raise ValueError(f"{name} of the teacher is empty; allowed: at least one")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One stretch of training, under one technique or none, by the labels or by what a teacher says."""

    train: TrainConfig
    technique: Technique | None = None
    teacher: Teacher | None = None

    @property
    def method(self) -> Technique:
        """The technique, or plain training."""
        return self.technique or Technique()


def check_net(net: str) -> None:
    """Raise ValueError unless `net` is a name that `named.build` knows or the path of a file that exists."""
    if is_path(net):
        digest(net)
    else:
        parse_net(net)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that makes a file, but for the seed and the data.

    Args:
        name: the file's name without its ending.
        net: a name that `named.build` knows, or the path of a saved model, which starts as it was trained.
        steps: the training; each step starts from what the one before left. None at all for a saved model
            as it is.
        export: the kind of file.
        is_control: whether it is there to compare others with.
    Raises:
        ValueError: steps that cannot follow each other, naming the field and what is allowed.
    """

    name: str
    net: str
    steps: tuple[Step, ...]
    export: ExportConfig
    is_control: bool = False

    def __post_init__(self) -> None:
        check_net(self.net)
        try:
            self._check_steps()
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error

    def _check_steps(self) -> None:
        if not self.steps and not is_path(self.net):
            raise ValueError("steps is empty; allowed: at least one step of training")
        methods = [step.method for step in self.steps]
        if any(method.quantization_aware for method in methods[:-1]):
            raise ValueError("steps go on after quantization-aware training; allowed: it comes last")
        for index, method in enumerate(methods):
            method.check_after(methods[:index])
        if self.quantization_aware and self.export.form != "int8":
            allowed = "allowed after quantization-aware training: 'int8'"
            raise ValueError(f"form is {self.export.form!r}; {allowed}")
        if self.quantization_aware and self.export.per_channel_dense:
            raise ValueError("per_channel_dense is True; quantization-aware training fixes it to False")

    @property
    def quantization_aware(self) -> bool:
        """Whether the last step is quantization-aware training."""
        return bool(self.steps) and self.steps[-1].method.quantization_aware

    @property
    def shares_values(self) -> bool:
        """Whether its kernels hold few values, so that look-up tables make a smaller file."""
        return any(step.method.shares_values for step in self.steps)

    @property
    def sheds_weights(self) -> bool:
        """Whether a technique made its kernels hold zeros or few values, which a coder makes use of."""
        return self.shares_values or any(step.method.leaves_zeros for step in self.steps)

    @property
    def file_name(self) -> str:
        """The file's name with its ending."""
        return self.name + self.export.suffix

    @property
    def epochs(self) -> int:
        """Epochs of training in all."""
        return sum(step.train.epochs for step in self.steps)

    def longer(self, times: int) -> "Recipe":
        """The same with each step of the training so many times as long."""
        trains = [replace(step.train, epochs=times * step.train.epochs) for step in self.steps]
        steps = (replace(step, train=train) for step, train in zip(self.steps, trains, strict=True))
        return replace(self, steps=tuple(steps))

    def control_steps(self) -> tuple[Step, ...]:
        """The same training with every technique left out: what the recipe has to be compared with."""
        return tuple(replace(step, technique=None) for step in self.steps)


@dataclass(frozen=True, kw_only=True)
class Training:
    """The last of a net's steps, carried out with a seed: weights come of it."""

    net: str
    steps: tuple[Step, ...]
    seed: int

    @property
    def epochs(self) -> float:
        """How long it takes, in epochs."""
        return self.steps[-1].train.epochs

    def needs(self) -> "Iterator[Task]":
        """What has to be there before."""
        if len(self.steps) > 1:
            yield replace(self, steps=self.steps[:-1])
        for last in self.steps[-1:]:
            if last.method.source_steps:
                yield replace(self, steps=last.method.source_steps)
            if last.teacher:
                yield Scoring(teacher=last.teacher, strength=last.train.augment)


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """What a teacher says of the training images, moved about at a strength: scores for all its students."""

    teacher: Teacher
    strength: float

    @property
    def epochs(self) -> float:
        """How long it takes, in epochs; a view has no way back, which would take twice as long."""
        return self.teacher.distill.views * len(self.teacher.seeds) / 3

    def needs(self) -> "Iterator[Task]":
        """What has to be there before: the teachers, unless they are a saved model as it is."""
        for seed in self.teacher.seeds if self.teacher.steps else ():
            yield Training(net=self.teacher.net, steps=self.teacher.steps, seed=seed)


@dataclass(frozen=True, kw_only=True)
class Export:
    """A recipe's file and record, with a seed; a quantization-aware net is trained where it is exported."""

    recipe: Recipe
    seed: int

    @property
    def training(self) -> Training:
        """What makes the net."""
        return Training(net=self.recipe.net, steps=self.recipe.steps, seed=self.seed)

    @property
    def epochs(self) -> float:
        """How long it takes, in epochs."""
        return EXPORT_EPOCHS + (self.training.epochs if self.recipe.quantization_aware else 0)

    def needs(self) -> "Iterator[Task]":
        """What has to be there before; a saved model as it is has nothing to train."""
        if self.recipe.quantization_aware or not self.recipe.steps:
            yield from self.training.needs()
        else:
            yield self.training


Task = Training | Scoring | Export
