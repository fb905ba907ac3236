"""What each form does where it is meant to run: how fast on LiteRT, and whether on TFLite Micro (TFLM).

Every figure is kept in the store under the hash of its file: what TFLM does costs seconds and never differs,
and a latency measured twice would never be the same twice.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import multiprocessing
import os
import platform
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..files import coding, running
from ..store import Store, code_digest, make_key, versions
from . import latency, micro, tflm, tflm_child
from .latency import KERNELS, Kernels, LatencyReport
from .micro import MicroError, MicroReport
from .smallest import RUNTIMES, Candidate, Runtime

#: Ends the names of forms whose kernels are look-up tables.
TABLES = "_tables"
BASELINE = "non_quantized"
#: Images a batch for the throughput.
BATCH = 1000
#: Each column of figures: what was asked, and its field of the report.
COLUMNS = {
    "latency_us_median": ("xnnpack", "latency_us_median"),
    "latency_us_p90": ("xnnpack", "latency_us_p90"),
    "plain_us_median": ("plain", "latency_us_median"),
    "images_per_s": ("xnnpack", "images_per_s"),
    "runs_on_litert": ("xnnpack", "runs_on_litert"),
    "runs_on_plain": ("plain", "runs_on_litert"),
    "runs_on_tflm": ("tflm", "runs_on_tflm"),
    "tflm_agreement": ("tflm", "tflm_agreement"),
    "xnnpack_agreement": ("tflm", "xnnpack_agreement"),
    "arena_bytes": ("tflm", "arena_bytes"),
    "flash_bytes": ("tflm", "flash_bytes"),
    "latency_spread": ("xnnpack", "spread"),
}


@dataclass(frozen=True, kw_only=True)
class DeviceFile:
    """A file to measure.

    Attributes:
        validation_accuracy: fraction, of the file's record.
        original: the file that this one's look-up tables were made from, for LiteRT cannot run this one; None
            for a file that LiteRT runs itself.
        coded_bytes: of its record; None to be worked out.
    """

    content: bytes
    validation_accuracy: float
    original: bytes | None = None
    coded_bytes: int | None = None


def with_tables(
    files: Mapping[str, DeviceFile], names: Iterable[str], *, store: Store
) -> dict[str, DeviceFile]:
    """The files, and after each of the named ones that which holds its kernels as look-up tables.

    Left out where no kernel gets smaller. The outputs are the same bit for bit, and so the accuracy.
    """
    found, shared = {}, set(names)
    for name, file in files.items():
        found[name] = file
        tables = look_up_tables(file.content, store=store) if name in shared else None
        if tables is not None:
            found[name + TABLES] = replace(file, content=tables, original=file.content, coded_bytes=None)
    return found


def table(
    files: Mapping[str, DeviceFile],
    images: np.ndarray,
    *,
    store: Store,
    workers: int | None = None,
    runtimes: Collection[Runtime] = RUNTIMES,
) -> pd.DataFrame:
    """One row a file; figures are missing where a runtime refuses the file or computes it wrongly.

    `latency_us_median`, `latency_us_p90`, `images_per_s` (in batches of `BATCH`) and `runs_on_litert` are of
    LiteRT's default kernels, one thread; `plain_us_median` and `runs_on_plain` of its kernels without the
    XNNPACK delegate. `tflm_agreement` and `xnnpack_agreement` are the fractions of the images to which TFLM
    gives the label of the plain and of the default kernels. `arena_bytes` is the smallest arena that works;
    `flash_bytes` is the model alone. `latency_spread` is what the median may be off by, as a fraction; above
    0.1 the machine was busy. `reason` says what a runtime objects to.

    Nothing else should run meanwhile, or the latencies are those of a busy machine.
    Args:
        images: the test images, (n, ...), n >= 1, uint8 pixels or floats.
        store: keeps what was measured.
        workers: processes for TFLM; 0 for none but this one, None for one a core.
        runtimes: those that are asked; of another, figures are missing and every file is taken to run.
    Raises:
        ValueError: there are no images.
    """
    if len(images) == 0:
        raise ValueError("there are no images to measure with")
    every = list(files.values())
    unasked = [LatencyReport(kernels="plain", runs_on_litert=file.original is None) for file in every]
    reports: dict[str, list[Any]] = {"xnnpack": unasked, "plain": unasked}
    if "litert" in runtimes:
        reports = {kernels: _latencies(every, images, store, kernels) for kernels in KERNELS}
    reports["tflm"] = (
        _micro_reports(every, images, store, workers)
        if "tflm" in runtimes
        else [MicroReport(runs_on_tflm=True, flash_bytes=len(file.content)) for file in every]
    )
    frames = {runtime: pd.DataFrame([asdict(each) for each in found]) for runtime, found in reports.items()}
    columns = {name: frames[runtime][figure] for name, (runtime, figure) in COLUMNS.items()}
    floats = {name: float for name in COLUMNS if not name.startswith("runs_on") and name != "flash_bytes"}
    reasons = [_reason(*each) for each in zip(*(frame["reason"] for frame in frames.values()), strict=True)]
    return pd.DataFrame({"recipe": list(files), **columns, "reason": reasons}).astype(floats)


def _reason(fast: str, slow: str, tiny: str) -> str:
    """What the runtimes object to; both kinds of kernels are heard once where they object alike."""
    refused = {"LiteRT": fast, "LiteRT without delegate": "" if slow == fast else slow, "TFLM": tiny}
    return "; ".join(f"{runtime}: {reason}" for runtime, reason in refused.items() if reason)


def candidates(
    measured: pd.DataFrame, files: Mapping[str, DeviceFile], *, of_values: bool = False
) -> list[Candidate]:
    """The forms for `smallest.smallest`, with what was measured of each."""
    return [
        Candidate(
            name=row.recipe,
            validation_accuracy=files[row.recipe].validation_accuracy,
            baseline_accuracy=files[BASELINE].validation_accuracy,
            flash_bytes=row.flash_bytes,
            coded_bytes=files[row.recipe].coded_bytes or len(coding.best_coded(files[row.recipe].content)[1]),
            arena_bytes=None if np.isnan(row.arena_bytes) else int(row.arena_bytes),
            latency_us=None if np.isnan(row.latency_us_median) else row.latency_us_median,
            runs_on_litert=row.runs_on_litert,
            runs_on_tflm=row.runs_on_tflm,
            why_not=row.reason,
            of_values=of_values,
        )
        for row in measured.itertuples()
    ]


def look_up_tables(content: bytes, *, store: Store) -> bytes | None:
    """`micro.compress_lut`, made once; None where no kernel gets smaller or TFLM refuses the file."""
    key = make_key(
        look_up_tables=_digest(content), code=_code(micro, tflm, tflm_child), libraries=_versions()
    )
    files = store.get(key)
    if files is None:
        try:
            files = {"model.tflite": micro.compress_lut(content)}
        except (ValueError, MicroError) as error:
            files = {"reason.txt": str(error).encode()}
        store.put(key, files)
    return files.get("model.tflite")


def _micro_reports(
    files: list[DeviceFile], images: np.ndarray, store: Store, workers: int | None
) -> list[MicroReport]:
    """What TFLM does with each file."""

    def measure(missing: list[DeviceFile]) -> Iterator[MicroReport]:
        processes = min(len(missing), os.cpu_count() or 1) if workers is None else workers
        with contextlib.ExitStack() as stack:
            run: Any = map
            if processes:
                # threads would not do, since silencing stderr is a process's
                spawn = multiprocessing.get_context("spawn")
                run = stack.enter_context(ProcessPoolExecutor(processes, mp_context=spawn)).map
            reports = run(functools.partial(_measure, images), missing)
            yield from tqdm(
                reports, "TFLite Micro", len(missing), leave=False, unit="file", dynamic_ncols=True
            )

    code = _code(micro, tflm, tflm_child, running)
    found = _kept(store, files, measure, micro=_digest(images.tobytes()), code=code)
    return [MicroReport(**report) for report in found]


def _measure(images: np.ndarray, file: DeviceFile) -> MicroReport:
    try:
        return micro.measure_micro(file.content, images, reference=file.original)
    except ValueError as error:
        # a packed file may leave out the shapes that TFLM needs
        return MicroReport(runs_on_tflm=False, reason=str(error), flash_bytes=len(file.content))


def _latencies(
    files: list[DeviceFile], images: np.ndarray, store: Store, kernels: Kernels
) -> list[LatencyReport]:
    """Each file's latency on this machine."""

    def measure(missing: list[DeviceFile]) -> Iterable[LatencyReport]:
        contents = {str(number): file.content for number, file in enumerate(missing)}
        # the throughput is asked of the default kernels only
        batch = min(BATCH, len(images)) if kernels == "xnnpack" else 1
        return latency.measure_latencies(contents, images[:BATCH], kernels=kernels, batch=batch).values()

    found = _kept(store, files, measure, latency=kernels, machine=_machine(), code=_code(latency))
    return [LatencyReport(**report) for report in found]


def _kept(
    store: Store,
    files: list[DeviceFile],
    measure: Callable[[list[DeviceFile]], Iterable[Any]],
    **parts: str,
) -> list[dict[str, Any]]:
    """Each file's report as a dict, from the store or measured now; equal files are measured once.

    Args:
        measure: gives the reports of some files, in their order.
        parts: of the key, besides the file.
    """
    libraries = _versions()
    keys = [
        make_key(
            file=_digest(file.content), original=_digest(file.original or b""), libraries=libraries, **parts
        )
        for file in files
    ]
    found = {key: entry for key in keys if (entry := store.get(key)) is not None}
    missing = {key: file for key, file in zip(keys, files, strict=True) if key not in found}
    for key, report in zip(missing, measure(list(missing.values())) if missing else (), strict=True):
        found[key] = {"report.json": json.dumps(asdict(report)).encode()}
        store.put(key, found[key])
    return [json.loads(found[key]["report.json"]) for key in keys]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@functools.cache
def _code(*modules: ModuleType) -> str:
    return code_digest(modules)


def _versions() -> dict[str, str]:
    return versions() | {"tflite-micro": importlib.metadata.version("tflite-micro")}


@functools.cache
def _machine() -> str:
    """The processor: a latency from another one is another figure."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return "; ".join([platform.machine(), str(os.cpu_count()), *models[:1]])
