"""What runs in the processes of a cluster, and the cluster itself: Dask's own, or one started here."""

import contextlib
import functools
import gc
import logging
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator

import dask
from distributed import Client, LocalCluster, get_worker
from distributed.utils import get_mp_context
from tqdm import tqdm

from ..quiet import quiet
from .experiment import Bench
from .recipes import Task

TOPIC = "model-compression-progress"

_one_at_a_time = threading.Lock()
# instead of one between processes, which Python warns of where a worker that was ended leaves it behind
tqdm.set_lock(threading.RLock())


def report(key: str, title: str, done: float) -> None:
    """Say how much of a task is done: epochs, under the title of what is done."""
    get_worker().log_event(TOPIC, {"key": key, "title": title, "done": done})


@functools.cache
def _settle() -> None:
    """What is imported stays: the collections to come need not look through it each time.

    A recipe that fails is told once, with its reason, and not beside that by the worker's whole traceback.
    """
    logging.getLogger("distributed.worker").setLevel(logging.CRITICAL)
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One thing at a time: TensorFlow's random state belongs to the process, whatever threads there are."""
    with _one_at_a_time, quiet():
        _settle()
        yield
        gc.collect()  # a Keras model is a cycle of references, and holds its training functions


def carry_out(bench: Bench, task: Task, *needed: None) -> None:
    """A task; `needed` are those that come before it."""
    with _alone():
        key = bench.key(task)
        bench.carry_out(task, lambda _, title, done: report(key, title, done))


@functools.cache
def connect(n_workers: int | None = None) -> Client:
    """A client of the cluster in Dask's `scheduler-address` setting, or of one started here.

    Args:
        n_workers: processes of a cluster started here; None for one a core.
    """
    if dask.config.get("scheduler-address", None):
        return Client()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    # its profiler asks for other threads' frames, which deadlocks where a collection of garbage comes in
    # between (github.com/python/cpython/issues/106883), as it does once in some hundred files; set for
    # good, since a worker that is replaced takes what is set then
    dask.config.set({"distributed.worker.profile.enabled": False})
    # not the half second that Dask takes them for: two trainings would wait for one worker
    dask.config.set({"distributed.scheduler.unknown-task-duration": "10s"})
    if sys.platform == "linux":
        # workers are forked from one process that has imported TensorFlow, which takes seconds, and begun
        # nothing with it
        dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
        get_mp_context()  # asks for Dask's own modules
        multiprocessing.set_forkserver_preload([__name__])
    cluster = LocalCluster(
        n_workers=n_workers or cores,
        threads_per_worker=1,
        processes=True,
        # None would still take port 8787, and warn where another cluster has it
        dashboard_address="127.0.0.1:0",
        silence_logs="CRITICAL",
    )
    return Client(cluster)
