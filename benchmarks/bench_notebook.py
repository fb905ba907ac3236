"""The notebook with one seed, as somebody tweaks it: cold, all cells again, another sparsity; in one kernel.

With the forms of the original study alone, then with all. Also when the row of `pruned` is on the screen.
Everything is computed in folders of its own.
Run: `make bench`, or `python benchmarks/bench_notebook.py [ROUNDS]`.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client import KernelManager
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from model_compression.notebook.run import NOTEBOOK

#: What is run in turn, and what changes in the parameters.
RUNS: dict[str, dict[str, object]] = {"cold": {}, "again": {}, "sparsity 0.9": {"FINAL_SPARSITY": 0.9}}
#: A cell that shows the row of `pruned`.
PRUNED = 'pruned = book.outcome("pruned")'


def cells(parameters: dict[str, object]) -> list[str]:
    """The notebook's code, with other parameters."""
    notebook: nbformat.NotebookNode = load_notebook_node(str(NOTEBOOK))
    notebook = parameterize_notebook(notebook, parameters, kernel_name="python3", language="python")
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def seconds(client: Any, parameters: dict[str, object]) -> Iterator[tuple[str, float]]:
    """How long all cells take, and up to the row of `pruned`."""
    start = time.perf_counter()
    for source in cells(parameters):
        reply = client.execute_interactive(source, output_hook=lambda message: None, timeout=None)
        if reply["content"]["status"] != "ok":
            raise RuntimeError(reply["content"]["evalue"])
        if PRUNED in source:
            yield "pruned", time.perf_counter() - start
    yield "all", time.perf_counter() - start


def in_one_kernel(forms: str) -> Iterator[tuple[str, float]]:
    """How long each run takes, one after the other, the first without a cache."""
    kernel = KernelManager(kernel_name="python3")
    with tempfile.TemporaryDirectory() as name:
        kernel.start_kernel(cwd=str(NOTEBOOK.parent))
        client = kernel.client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        folders = {f"{each}_DIR": str(Path(name) / each) for each in ("RESULTS", "MODELS", "CACHE")}
        for run, changes in RUNS.items():
            for what, took in seconds(client, {"N_SEEDS": 1, "FORMS": forms, **folders, **changes}):
                yield f"{forms}, {run}, {what}", took
        client.stop_channels()
        kernel.shutdown_kernel(now=True)


def main() -> None:
    """Print each round, and the medians."""
    found: dict[str, list[float]] = {}
    for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 1):
        for forms in ("original", "all"):
            for what, took in in_one_kernel(forms):
                found.setdefault(what, []).append(took)
                print(f"round {number + 1}: {what}: {took:.0f} s", flush=True)
    for what, times in found.items():
        print(f"median, {what}: {statistics.median(times):.0f} s")


if __name__ == "__main__":
    main()
