"""What `python -m model_compression` does: every form of a model, measured, and the smallest that fits.

Forms are made in the order of their promise, and the best so far is published whenever another one is better.
What was computed stays in the cache folder, so that asking again with other limits trains nothing.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.datasets import Dataset
from ..files.quantizing import graph_bytes
from ..nets.training import TrainConfig
from ..runtimes import deployment, firmware
from ..runtimes.deployment import BASELINE, DeviceFile
from ..runtimes.smallest import Candidate, Choice, Objective, Runtime, smallest
from ..saved_models import files as keras_files
from ..store import write_atomically
from ..study.catalogue import Settings
from ..study.experiment import Bench
from ..study.outcomes import Outcome
from . import making
from .making import Making

#: Images that a fine-tuning step sees in all, where the number of epochs is not given, and its limits.
DEFAULT_IMAGES, MOST_EPOCHS = 100_000, 20
#: Multiply-adds of a step in all, forward, that leave fewer images to a large net: a core takes minutes.
DEFAULT_MULTIPLY_ADDS = 4e11
#: Adam's peak learning rate for batches of 128.
LEARNING_RATE = 1e-3
#: Optimizer steps an epoch that small data sets get by smaller batches.
LEAST_STEPS = 10
#: Validation images on which LiteRT and TFLite Micro are compared.
MICRO_IMAGES = 500
#: At which fine-tuning learns what the float model says, see `nets.distillation`.
TEACHER_TEMPERATURE = 4.0
#: Sparsities at which pruning begins and ends.
INITIAL_SPARSITY, FINAL_SPARSITY = 0.5, 0.8


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for, checked.

    Attributes:
        max_drop: a fraction of accuracy, or where values are predicted of the float net's error.
        per_cent: whether it was asked for in per cent of an error.
        max_flash, max_arena: bytes. max_latency_us: microseconds.
        objective: what has to be small. minutes: for all that is made, above 0.
        output: folder of the answer. cache: folder of what was computed.
        epochs: of each step of fine-tuning; None to follow from the number of images.
        workers: processes; 0 for none but this one, None for one a core.
    """

    model: Path
    data: str
    max_drop: float
    per_cent: bool = False
    max_flash: float | None = None
    max_arena: float | None = None
    max_latency_us: float | None = None
    runtime: Runtime = "litert"
    objective: Objective = "flash"
    minutes: float = 10.0
    output: Path = Path("compressed")
    cache: Path = Path("cache")
    epochs: int | None = None
    seed: int = 0
    workers: int | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The choice, and what it was chosen from.

    Attributes:
        candidates: every form that was measured. skipped: by name, why the others were not.
        notes: what was decided about the model. warnings: what is to be minded beside the answer.
        left_alone: layers by form and method.
        outcomes: by recipe. contents: files by form; one with look-up tables is made from a recipe's file.
        parameters: of the float net, everything folded.
        data: as the model takes them.
    """

    choice: Choice
    candidates: Mapping[str, Candidate]
    skipped: Mapping[str, str]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    left_alone: Mapping[str, Mapping[str, list[str]]]
    outcomes: Mapping[str, Outcome]
    contents: Mapping[str, bytes]
    parameters: int
    data: Dataset

    def outcome(self, form: str) -> Outcome:
        """That of the recipe behind a form."""
        return self.outcomes[form.removesuffix(deployment.TABLES)]


def train_config(images: int, epochs: int | None, multiply_adds: int = 0) -> TrainConfig:
    """How each step is fine-tuned: smaller batches for few images, fewer epochs for many and for large nets.

    Args:
        multiply_adds: of the net, an image.
    """
    batch_size = max(8, min(128, images // LEAST_STEPS))
    if epochs is None:
        seen = min(DEFAULT_IMAGES, DEFAULT_MULTIPLY_ADDS / max(1, multiply_adds))
        epochs = max(1, min(MOST_EPOCHS, round(seen / images)))
    return TrainConfig(epochs=epochs, learning_rate=LEARNING_RATE, batch_size=batch_size)


def settings(path: str, images: int, request: Request, multiply_adds: int = 0) -> Settings:
    """The knobs of the catalogue for a saved model."""
    train = train_config(images, request.epochs, multiply_adds)
    return Settings(
        seed=request.seed,
        n_seeds=1,
        epochs=train.epochs,
        fine_tune_epochs=train.epochs,
        batch_size=train.batch_size,
        learning_rate=train.learning_rate,
        initial_sparsity=INITIAL_SPARSITY,
        final_sparsity=FINAL_SPARSITY,
        net=path,
        teacher_temperature=TEACHER_TEMPERATURE,
    )


def run(request: Request, publish: Callable[[Answer], None]) -> Answer:
    """Make and measure the forms that apply as far as the time allows, and choose.

    Ctrl-C ends the search, as the end of the time does: what is best so far is the answer.

    Args:
        publish: told of each answer that is better than the one before, and of the last.
    Raises:
        ValueError: a model or data that cannot be used (UnsupportedModelError, InvalidDataError), or a limit
            that no form of the model can keep.
        DataUnavailableError: a named dataset that no source has.
        OSError: an output folder that cannot be written.
        KeyboardInterrupt: there is nothing so far.
    """
    until = time.monotonic() + 60 * request.minutes
    dataset = request.data if not os.path.exists(request.data) else os.path.abspath(request.data)
    cache_dir, data_dir = (str(folder.resolve()) for folder in (request.cache, Path("data")))
    bench = Bench(dataset=dataset, cache_dir=cache_dir, data_dir=data_dir)
    path = os.path.abspath(request.model)
    # bad input is found before any folder is made
    keras_files.digest(request.model)
    _ = bench.data
    existed = request.output.exists()
    made = making.begin(bench, path, lambda images, size: settings(path, images, request, size), request)
    search = _Search(bench, made, request, publish)
    try:
        for stage in made.stages:
            search.go_through(stage, until)
    except KeyboardInterrupt:
        if not search.candidates:
            raise
        search.ended = "Ctrl-C"
    except ValueError:
        # nothing is written for bad input
        if not existed and not search.candidates:
            request.output.rmdir()
        raise
    finally:
        made.stop()
    answer = search.answer()
    publish(answer)
    return answer


class _Search:
    """The forms that were found so far, and the best of them."""

    def __init__(
        self, bench: Bench, made: Making, request: Request, publish: Callable[[Answer], None]
    ) -> None:
        self.bench, self.made, self.request, self.publish = bench, made, request, publish
        self.outcomes: dict[str, Outcome] = {}
        self.failures: dict[str, str] = {}
        self.files: dict[str, DeviceFile] = {}
        self.candidates: dict[str, Candidate] = {}
        self.timed = request.objective == "latency" or request.max_latency_us is not None
        self.ended = f"the end of the {request.minutes:g} minutes"
        self._best = ""

    def go_through(self, stage: Iterable[str], until: float) -> None:
        """Make the forms of a stage and measure each; latencies when nothing else runs any more."""
        for name, found in self.made.found(list(stage), until):
            if isinstance(found, str):
                self.failures[name] = found
                if name == BASELINE:
                    raise ValueError(f"the model cannot be converted at all: {found}")
                continue
            self._take(name, found)
            if not self.timed:
                self._measure()
        self._measure()

    def _take(self, name: str, outcome: Outcome) -> None:
        if name == BASELINE:
            _check_flash(outcome.content, self.request.max_flash)
        self.outcomes[name] = outcome
        file = DeviceFile(
            content=outcome.content,
            validation_accuracy=outcome.record.validation_accuracy,
            coded_bytes=outcome.record.best_coded_bytes,
        )
        shared = [name] if self.request.runtime == "tflm" and name in self.made.shared else []
        self.files |= deployment.with_tables({name: file}, shared, store=self.bench.store)

    def _measure(self) -> None:
        """Figures of the new forms, of TFLite Micro where it has to run them, of time where that is asked."""
        new = {name: file for name, file in self.files.items() if name not in self.candidates}
        if not new or BASELINE not in self.files:
            return
        asked = self.timed or self.request.runtime == "tflm"
        runtimes: list[Runtime] = [self.request.runtime] if asked else []
        fed, store = self.made.fed, self.bench.store
        table = deployment.table(new, fed.x_val[:MICRO_IMAGES], store=store, workers=0, runtimes=runtimes)
        self.candidates |= {
            form.name: form for form in deployment.candidates(table, self.files, of_values=fed.of_values)
        }
        answer = self.answer()
        best = answer.choice.form
        if best is not None and answer.choice.fits and best.name != self._best:
            self._best = best.name
            self.publish(answer)

    def answer(self) -> Answer:
        """What is best so far."""
        fed, images = self.made.fed, len(self.made.fed.y_val)
        baseline = self.outcomes[BASELINE].record.validation_accuracy
        known = self.outcomes | self.failures
        left = [name for stage in self.made.stages for name in stage if name not in known]
        return Answer(
            choice=smallest(
                self.candidates.values(),
                max_drop=self.request.max_drop,
                max_flash=self.request.max_flash,
                max_arena=self.request.max_arena,
                max_latency_us=self.request.max_latency_us,
                runtime=self.request.runtime,
                objective=self.request.objective,
                noise=float(np.sqrt(max(0.0, baseline * (1 - baseline)) / images)) * (not fed.of_values),
            ),
            candidates=self.candidates,
            skipped={
                **self.made.skipped,
                **self.failures,
                **dict.fromkeys(left, f"not made before {self.ended}"),
            },
            notes=self.made.notes,
            warnings=(*self.made.warnings, *making.gained(self.candidates.values(), fed)),
            left_alone=self.made.left_alone,
            outcomes=self.outcomes,
            contents={name: file.content for name, file in self.files.items()},
            parameters=self.made.parameters,
            data=fed,
        )


def _check_flash(content: bytes, max_flash: float | None) -> None:
    """Raise ValueError where a limit is below what the graph of the float file takes without a weight."""
    least = graph_bytes(content)
    if max_flash is not None and max_flash < least:
        raise ValueError(
            f"max_flash is {max_flash:,.0f} bytes; the operators and tensors of the model take {least:,} "
            "without a single weight: allow more, or merge layers"
        )


def parts(answer: Answer, request: Request) -> dict[str, bytes]:
    """The chosen file and its C++ source by file name, the model first; empty where nothing fits."""
    form = answer.choice.form
    if form is None or not answer.choice.fits:
        return {}
    content, name = answer.contents[form.name], f"{request.model.stem}_{form.name}.tflite"
    source = firmware.firmware(content, name, arena_bytes=form.arena_bytes)
    return {
        name: content,
        source.header_name: source.header.encode(),
        source.source_name: source.source.encode(),
    }


def write(files: Mapping[str, bytes], folder: Path, *, stale: Iterable[str] = ()) -> None:
    """Write files into a folder, in their order, each whole or not at all; then take the stale ones away."""
    for name, content in files.items():
        write_atomically(folder / name, content)
    for name in stale:
        (folder / name).unlink(missing_ok=True)
