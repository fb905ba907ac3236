"""What each form does where it is meant to run: how fast on LiteRT, and whether on TFLite Micro (TFLM).

Every figure is kept in the store under the hash of its file: what TFLM does costs seconds and never differs,
and a latency measured twice would never be the same twice.
"""

import functools
import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..files import coding, running
from ..store import Store, code_digest, make_key, versions
from . import latency, micro, tflm, tflm_child
from .latency import KERNELS, LatencyReport
from .micro import MicroError, MicroReport
from .smallest import RUNTIMES, Candidate, Runtime

#: Ends the names of forms whose kernels are look-up tables.
TABLES = "_tables"
BASELINE = "non_quantized"
#: Images a batch for the throughput.
BATCH = 1000

Report = TypeVar("Report", LatencyReport, MicroReport)


class _File(NamedTuple):
    """A file to measure, and that which its look-up tables were made from, where it has them."""

    content: bytes
    original: bytes | None


def with_tables(files: Mapping[str, bytes], names: Collection[str], *, store: Store) -> dict[str, bytes]:
    """The files, and after each of the named ones that which holds its kernels as look-up tables.

    Left out where no kernel gets smaller. The outputs are the same bit for bit, and so the accuracy.
    """
    found = {}
    for name, content in files.items():
        found[name] = content
        if name in names and (tables := look_up_tables(content, store=store)):
            found[name + TABLES] = tables
    return found


def table(
    files: Mapping[str, bytes],
    images: np.ndarray,
    *,
    store: Store,
    runtimes: Collection[Runtime] = RUNTIMES,
    processes: int = 1,
) -> pd.DataFrame:
    """One row a file; figures are missing where a runtime refuses the file or computes it wrongly.

    `latency_us_median`, `latency_us_p90`, `images_per_s` (in batches of `BATCH`) and `runs_on_litert` are of
    LiteRT's default kernels, one thread; `plain_us_median` and `runs_on_plain` of its kernels without the
    XNNPACK delegate. `tflm_agreement` is the fraction of the images to which TFLM gives the label of these
    plain kernels. `arena_bytes` is the smallest arena that works;
    `flash_bytes` is the model alone. `latency_spread` is what the median may be off by, as a fraction: by how
    much rounds, or processes, differ. `processor` has the latencies, `reason` says what a runtime objects to.

    Nothing else should run meanwhile, or the latencies are those of a busy machine.
    Args:
        files: by form; LiteRT, which cannot run look-up tables, answers for them with the file that they were
            made from, the one of their name without `TABLES`.
        images: the test images, (n, ...), n >= 1, uint8 pixels or floats.
        store: keeps what was measured.
        runtimes: those that are asked; of another, figures are missing and every file is taken to run.
        processes: in which latencies are measured, one after the other; 1 for this one.
    Raises:
        ValueError: there are no images.
    """
    if len(images) == 0:
        raise ValueError("there are no images to measure with")
    every = [
        _File(content, files[name.removesuffix(TABLES)] if name.endswith(TABLES) else None)
        for name, content in files.items()
    ]
    fast = slow = [LatencyReport(runs_on_litert=file.original is None) for file in every]
    if "litert" in runtimes:
        fast, slow = (_latencies(every, images, store, kernels, processes) for kernels in KERNELS)
    tiny = [MicroReport(runs_on_tflm=True)] * len(every)
    if "tflm" in runtimes:
        tiny = _micro_reports(every, images, store)
    rows = [_row(*each) for each in zip(files, every, fast, slow, tiny, strict=True)]
    return pd.DataFrame(rows).assign(processor=processor())


def _row(
    name: str, file: _File, fast: LatencyReport, slow: LatencyReport, tiny: MicroReport
) -> dict[str, object]:
    # both kinds of kernels are heard once where they object alike
    plain = "" if slow.reason == fast.reason else slow.reason
    refused = {"LiteRT": fast.reason, "LiteRT without delegate": plain, "TFLM": tiny.reason}
    return {
        "recipe": name,
        **asdict(fast),
        "plain_us_median": slow.latency_us_median,
        "runs_on_plain": slow.runs_on_litert,
        **asdict(tiny),
        "flash_bytes": len(file.content),
        "reason": "; ".join(f"{runtime}: {reason}" for runtime, reason in refused.items() if reason),
    }


class Known(Protocol):
    """What a form's record knows of its file; see `study.outcomes.Record`."""

    @property
    def validation_accuracy(self) -> float: ...
    @property
    def best_coded_bytes(self) -> int: ...


def candidates(
    measured: pd.DataFrame,
    files: Mapping[str, bytes],
    records: Mapping[str, Known],
    *,
    of_values: bool = False,
) -> list[Candidate]:
    """The forms for `smallest.smallest`, with what was measured of each.

    Args:
        records: of the forms but for look-up tables, which are as accurate as what they were made from.
    """
    return [
        Candidate(
            name=row.recipe,
            validation_accuracy=records[row.recipe.removesuffix(TABLES)].validation_accuracy,
            baseline_accuracy=records[BASELINE].validation_accuracy,
            flash_bytes=row.flash_bytes,
            coded_bytes=records[row.recipe].best_coded_bytes
            if row.recipe in records
            else len(coding.best_coded(files[row.recipe])[1]),
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
        look_up_tables=_digest(content), code=code_digest(micro, tflm, tflm_child), libraries=_versions()
    )

    def make() -> bytes:
        try:
            return micro.compress_lut(content)
        except (ValueError, MicroError):
            return b""

    return store.kept(key, make) or None


def _micro_reports(files: list[_File], images: np.ndarray, store: Store) -> list[MicroReport]:
    """What TFLM does with each file, as many at a time as there are processors."""

    def ask(file: _File) -> MicroReport:
        try:
            return micro.measure_micro(file.content, images, reference=file.original)
        except ValueError as error:
            # a packed file may leave out the shapes that TFLM needs
            return MicroReport(runs_on_tflm=False, reason=str(error))

    def measure(missing: list[_File]) -> Iterator[MicroReport]:
        look: Any = {"leave": False, "unit": "file", "dynamic_ncols": True, "total": len(missing)}
        with ThreadPool(os.cpu_count()) as pool:
            yield from tqdm(pool.imap(ask, missing), "TFLite Micro", **look)

    code = code_digest(micro, tflm, tflm_child, running)
    return _kept(store, files, measure, micro=_digest(images.tobytes()), code=code)


def _latencies(
    files: list[_File], images: np.ndarray, store: Store, kernels: latency.Kernels, processes: int
) -> list[LatencyReport]:
    """Each file's latency on this machine."""

    def measure(missing: list[_File]) -> list[LatencyReport]:
        contents = [file.content for file in missing]
        # the throughput is asked of the default kernels only
        batch = min(BATCH, len(images)) if kernels == "xnnpack" else 1
        return latency.measure_latencies(
            contents, images[:BATCH], kernels=kernels, batch=batch, processes=processes
        )

    how = f"{kernels}, processes: {processes}"
    machine = f"{platform.machine()}; {os.cpu_count()}; {processor()}"
    parts = {"latency": how, "machine": machine, "code": code_digest(latency)}
    return _kept(store, files, measure, **parts)


def _kept(
    store: Store,
    files: list[_File],
    measure: Callable[[list[_File]], Iterable[Report]],
    **parts: str,
) -> list[Report]:
    """Each file's report, from the store or measured now; equal files are measured once.

    `measure` gives the reports of some files, in their order; `parts` are of the key, besides the file.
    """
    keys = {
        file: make_key(
            file=_digest(file.content),
            original=_digest(file.original or b""),
            libraries=_versions(),
            **parts,
        )
        for file in files
    }
    found: dict[_File, Report] = {file: store.get(key) for file, key in keys.items()}
    missing = [file for file, report in found.items() if report is None]
    for file, report in zip(missing, measure(missing) if missing else (), strict=True):
        found[file] = report
        store.put(keys[file], report)
    return [found[file] for file in files]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _versions() -> dict[str, str]:
    return versions() | {"tflite-micro": importlib.metadata.version("tflite-micro")}


@functools.cache
def processor() -> str:
    """What the system calls it: a latency from another one is another figure."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
