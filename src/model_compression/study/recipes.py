"""What the study makes: a recipe is a net, the steps of its training and the file it becomes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..files.coding import zip_bytes
from ..files.conversion import ExportConfig
from ..nets.distillation import DistillConfig
from ..nets.named import parse_net
from ..nets.training import TrainConfig
from ..saved_models.files import digest, is_path
from ..techniques.clustering import ClusterConfig
from ..techniques.pruning import PruneConfig, magnitude_mask
from ..techniques.quantization import QuantizeConfig
from ..techniques.rate_distortion import RateConfig
from ..techniques.shrinkage import ShrinkConfig


@dataclass(frozen=True, kw_only=True)
class MaskConfig:
    """Train under fixed zeros: the controls of pruning.

    Args:
        random_sparsity: drop this fraction of every kernel at random, in [0, 1).
        like: or take the zeros of the net that these steps train.
    Raises:
        ValueError: not exactly one of the two, or a sparsity out of range.
    """

    random_sparsity: float | None = None
    like: "tuple[Step, ...]" = ()

    def __post_init__(self) -> None:
        if (self.random_sparsity is None) == (not self.like):
            raise ValueError("a mask is either random_sparsity or like: give exactly one of the two")
        if self.random_sparsity is not None and not 0 <= self.random_sparsity < 1:
            raise ValueError(
                f"random_sparsity is {self.random_sparsity!r}; allowed: 0 up to but not including 1"
            )


Technique = PruneConfig | ClusterConfig | QuantizeConfig | RateConfig | ShrinkConfig | MaskConfig


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """Better nets, trained beforehand, whose mean scores a net learns instead of the labels.

    Args:
        net: a name that `models.build` knows.
        steps: the teachers' training, at least one step.
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
            if not getattr(self, name):
                raise ValueError(f"{name} of the teacher is empty; allowed: at least one")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One stretch of training, under one technique or none, by the labels or by what a teacher says."""

    train: TrainConfig
    technique: Technique | None = None
    teacher: Teacher | None = None


def check_net(net: str) -> None:
    """Raise ValueError unless `net` is a name that `models.build` knows or the path of a file that exists."""
    if is_path(net):
        digest(net)
    else:
        parse_net(net)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that makes a file, but for the seed and the data.

    Args:
        name: the file's name without its ending.
        net: a name that `models.build` knows, or the path of a saved model, which starts as it was trained.
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
        if not self.steps and not is_path(self.net):
            raise ValueError(f"{self.name}: steps is empty; allowed: at least one step of training")
        for index, step in enumerate(self.steps):
            before = [earlier.technique for earlier in self.steps[:index]]
            self._check_order(step.technique, before)
        if self.quantization_aware and self.export.form != "int8":
            raise ValueError(
                f"{self.name}: form is {self.export.form!r}; "
                "allowed after quantization-aware training: 'int8'"
            )
        if self.quantization_aware and self.export.per_channel_dense:
            raise ValueError(
                f"{self.name}: per_channel_dense is True; quantization-aware training fixes it to False"
            )

    def _check_order(self, technique: Technique | None, before: list[Technique | None]) -> None:
        pruned = any(isinstance(earlier, PruneConfig) for earlier in before)
        clustered = bool(before) and isinstance(before[-1], ClusterConfig)
        if any(isinstance(earlier, QuantizeConfig) for earlier in before):
            raise ValueError(
                f"{self.name}: steps go on after quantization-aware training; allowed: it comes last"
            )
        if isinstance(technique, ClusterConfig) and technique.preserve_sparsity and not pruned:
            raise ValueError(f"{self.name}: preserve_sparsity is True; allowed: only after a pruning step")
        if isinstance(technique, QuantizeConfig):
            if "sparsity" in technique.preserve and not pruned:
                raise ValueError(
                    f"{self.name}: preserve is {technique.preserve!r}; allowed: only after a pruning step"
                )
            if "clusters" in technique.preserve and not clustered:
                raise ValueError(
                    f"{self.name}: preserve is {technique.preserve!r}; "
                    "allowed: only right after a clustering step"
                )

    @property
    def quantization_aware(self) -> bool:
        """Whether the last step is quantization-aware training."""
        return bool(self.steps) and isinstance(self.steps[-1].technique, QuantizeConfig)

    @property
    def file_name(self) -> str:
        """The file's name with its ending."""
        return self.name + self.export.suffix

    @property
    def epochs(self) -> int:
        """Epochs of training in all."""
        return sum(step.train.epochs for step in self.steps)

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
        if not self.steps:
            return
        last = self.steps[-1]
        if isinstance(last.technique, MaskConfig) and last.technique.like:
            yield replace(self, steps=last.technique.like)
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
        """What has to be there before: the teachers."""
        for seed in self.teacher.seeds:
            yield Training(net=self.teacher.net, steps=self.teacher.steps, seed=seed)


Task = Training | Scoring


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The knobs of the notebook's `parameters` cell.

    Args:
        seed: the first seed; the others follow from it.
        n_seeds: seeds in all, at least 1.
        epochs, fine_tune_epochs: of the baseline, and of each technique after it; at least 1.
        batch_size: images a step, at least 1.
        learning_rate: Adam's peak for batches of 128; scales with `batch_size`.
        initial_sparsity, final_sparsity: of pruning, fractions in [0, 1).
        net: a name that `models.build` knows, or the path of a saved model.
    Raises:
        ValueError: a value out of range: what was given and what is allowed.
    """

    seed: int
    n_seeds: int
    epochs: int
    fine_tune_epochs: int
    batch_size: int
    learning_rate: float
    initial_sparsity: float
    final_sparsity: float
    net: str = "baseline"

    def __post_init__(self) -> None:
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed!r}; allowed: whole numbers from 0 to 2**32 - 1")
        if isinstance(self.n_seeds, bool) or not isinstance(self.n_seeds, int) or self.n_seeds < 1:
            raise ValueError(f"n_seeds is {self.n_seeds!r}; allowed: whole numbers from 1")
        if (
            isinstance(self.fine_tune_epochs, bool)
            or not isinstance(self.fine_tune_epochs, int)
            or self.fine_tune_epochs < 1
        ):
            raise ValueError(f"fine_tune_epochs is {self.fine_tune_epochs!r}; allowed: whole numbers from 1")
        check_net(self.net)
        _ = self.first_fit, self.prune

    @property
    def seeds(self) -> list[int]:
        """`seed` itself, then what NumPy's SeedSequence draws from it."""
        drawn = np.random.SeedSequence(self.seed).generate_state(self.n_seeds)[1:]
        return [self.seed, *(int(seed) for seed in drawn)]

    @property
    def first_fit(self) -> TrainConfig:
        """The baseline's training."""
        return TrainConfig(epochs=self.epochs, learning_rate=self.learning_rate, batch_size=self.batch_size)

    @property
    def fine_tune(self) -> TrainConfig:
        """The training of each technique."""
        return replace(self.first_fit, epochs=self.fine_tune_epochs)

    @property
    def prune(self) -> PruneConfig:
        """The pruning that the knobs ask for."""
        return PruneConfig(initial_sparsity=self.initial_sparsity, final_sparsity=self.final_sparsity)


def equal_size_filters(filters: int, final_sparsity: float, *, weights: int = 20_000) -> int:
    """Filters of a dense net whose int8 weights zip to about the bytes of the pruned net's.

    Estimated on normally distributed weights; the table shows the bytes that come out.
    """
    dense = np.random.default_rng(0).normal(size=weights)
    stored = np.rint(dense / np.abs(dense).max() * 127).astype(np.int8)
    pruned = stored * magnitude_mask(dense, final_sparsity)
    return max(1, round(filters * zip_bytes(pruned.tobytes()) / zip_bytes(stored.tobytes())))
