"""What `python -m model_compression` does: every form of a model, measured, and the smallest that fits.

What was computed stays in the cache folder, so that asking again with other limits trains nothing. The answer
is written last, each file by an atomic rename.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..data.datasets import Dataset
from ..nets.training import TrainConfig
from ..runtimes import deployment, firmware
from ..runtimes.deployment import BASELINE, DeviceFile
from ..runtimes.smallest import Candidate, Choice, Runtime, smallest
from ..saved_models import files as keras_files
from ..store import write_atomically
from ..study.catalogue import Settings
from ..study.experiment import Bench
from ..study.outcomes import Outcome
from . import making

#: Images that a fine-tuning step sees in all, where the number of epochs is not given, and its limits.
DEFAULT_IMAGES, MOST_EPOCHS = 100_000, 20
#: Adam's peak learning rate for batches of 128.
LEARNING_RATE = 1e-3
#: Optimizer steps an epoch that small data sets get by smaller batches.
LEAST_STEPS = 10
#: Validation images on which LiteRT and TFLite Micro are compared.
MICRO_IMAGES = 500
#: Sparsities at which pruning begins and ends.
INITIAL_SPARSITY, FINAL_SPARSITY = 0.5, 0.8


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for, checked.

    Attributes:
        max_drop: a fraction. max_flash, max_arena: bytes. max_latency_us: microseconds.
        output: folder of the answer. cache: folder of what was computed.
        epochs: of each step of fine-tuning; None to follow from the number of images.
        workers: processes; 0 for none but this one, None for one a core.
    """

    model: Path
    data: str
    max_drop: float
    max_flash: float | None = None
    max_arena: float | None = None
    max_latency_us: float | None = None
    runtime: Runtime = "litert"
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
        notes: what was decided about the model. left_alone: layers by form and method.
        outcomes: by recipe. contents: files by form; one with look-up tables is made from a recipe's file.
        parameters: of the float net, everything folded. images: for validation.
        input_shape: of one image, as the model takes it.
    """

    choice: Choice
    candidates: Mapping[str, Candidate]
    skipped: Mapping[str, str]
    notes: tuple[str, ...]
    left_alone: Mapping[str, Mapping[str, list[str]]]
    outcomes: Mapping[str, Outcome]
    contents: Mapping[str, bytes]
    parameters: int
    images: int
    input_shape: tuple[int, ...]

    def outcome(self, form: str) -> Outcome:
        """That of the recipe behind a form."""
        return self.outcomes[form.removesuffix(deployment.TABLES)]


def train_config(images: int, epochs: int | None) -> TrainConfig:
    """How each step is fine-tuned: smaller batches for few images, fewer epochs for many."""
    batch_size = max(8, min(128, images // LEAST_STEPS))
    if epochs is None:
        epochs = max(1, min(MOST_EPOCHS, round(DEFAULT_IMAGES / images)))
    return TrainConfig(epochs=epochs, learning_rate=LEARNING_RATE, batch_size=batch_size)


def settings(path: str, images: int, request: Request) -> Settings:
    """The knobs of the catalogue for a saved model."""
    train = train_config(images, request.epochs)
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
    )


def run(request: Request) -> Answer:
    """Make and measure every form that applies, choose, and write the answer where something fits.

    Raises:
        ValueError: a model or data that cannot be used (UnsupportedModelError, InvalidDataError).
        DataUnavailableError: a named dataset that no source has.
        OSError: an output folder that cannot be written.
    """
    dataset = request.data if not os.path.exists(request.data) else os.path.abspath(request.data)
    cache_dir, data_dir = (str(folder.resolve()) for folder in (request.cache, Path("data")))
    bench = Bench(dataset=dataset, cache_dir=cache_dir, data_dir=data_dir)
    path = os.path.abspath(request.model)
    # bad input is found before any folder is made
    keras_files.digest(request.model)
    _ = bench.data
    made = making.make(bench, path, lambda images: settings(path, images, request), request)
    if BASELINE not in made.outcomes:
        raise ValueError(f"the model cannot be converted at all: {made.skipped[BASELINE]}")
    files = {
        name: DeviceFile(content=outcome.content, validation_accuracy=outcome.record.validation_accuracy)
        for name, outcome in made.outcomes.items()
    }
    if request.runtime == "tflm":
        files = deployment.with_tables(files, made.shared, store=bench.store)
    measured = _measure(bench, made.fed, files, request)
    return Answer(
        choice=smallest(
            measured,
            max_drop=request.max_drop,
            max_flash=request.max_flash,
            max_arena=request.max_arena,
            max_latency_us=request.max_latency_us,
            runtime=request.runtime,
        ),
        candidates={form.name: form for form in measured},
        skipped=made.skipped,
        notes=made.notes,
        left_alone=made.left_alone,
        outcomes=made.outcomes,
        contents={name: file.content for name, file in files.items()},
        parameters=made.parameters,
        images=len(bench.data.y_val),
        input_shape=made.fed.input_shape,
    )


def _measure(
    bench: Bench, fed: Dataset, files: Mapping[str, DeviceFile], request: Request
) -> list[Candidate]:
    """Figures of each form: of TFLite Micro where it has to run there, of time where that is limited."""
    runtimes: list[Runtime] = []
    if request.runtime == "tflm" or request.max_latency_us is not None:
        runtimes = [request.runtime]
    images, store = fed.x_val[:MICRO_IMAGES], bench.store
    table = deployment.table(files, images, store=store, workers=request.workers, runtimes=runtimes)
    return deployment.candidates(table, files)


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


def write(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files into a folder, in their order, each whole or not at all."""
    for name, content in files.items():
        write_atomically(folder / name, content)
