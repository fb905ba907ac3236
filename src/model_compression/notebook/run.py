"""Run the notebook from top to bottom: `python -m model_compression.notebook.run -p FINAL_SPARSITY 0.9`.

Progress bars go to the terminal and not into the file; what else the cells print is stored.
"""

import argparse
import ast
import os
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from papermill import PapermillExecutionError, execute_notebook, inspect_notebook
from papermill.execute import remove_error_markers
from tqdm import tqdm

from .. import REPOSITORY
from ..evidence.summary import blocks, fill, headline
from ..store import write_atomically

NOTEBOOK = REPOSITORY / "src" / "notebooks" / "quantization_and_pruning.ipynb"
#: Where a run with other parameters goes; the committed notebook keeps its own.
TWEAKED = NOTEBOOK.with_suffix(".tweaked.ipynb")
#: The page that opens with the headline of the answer, and the one that has all of it.
README, RESULTS_PAGE = REPOSITORY / "README.md", REPOSITORY / "docs" / "results.md"
#: Seconds that one cell may take; a cell waits for the trainings that it shows.
CELL_LIMIT = 3600


def run(source: Path, target: Path, parameters: dict[str, Any]) -> None:
    """Execute `source` with `parameters` set and write it, outputs included, to `target`.

    The target is written even when a cell fails, so that its error can be read.
    Raises:
        papermill.PapermillExecutionError: a cell failed.
        KeyError: a parameter that the notebook does not have.
    """
    known = inspect_notebook(source)
    for name in parameters:
        if name not in known:
            raise KeyError(f"the notebook has no parameter {name}; it has {', '.join(known)}")
    target.parent.mkdir(parents=True, exist_ok=True)
    # what cells write to stderr is progress
    how: Any = {"progress_bar": False, "stderr_file": sys.stderr, "execution_timeout": CELL_LIMIT}
    how |= {"coalesce_streams": True}
    try:
        execute_notebook(source, target, parameters, kernel_name="python3", cwd=source.parent, **how)
    finally:
        notebook = remove_error_markers(nbformat.read(target, as_version=4))
        # it opens with the answer that it ends with
        block = answer_of(notebook)
        for cell in notebook.cells:
            if block and "answer" in cell.metadata.get("tags", []):
                cell.source = fill(cell.source, block)
        _clean(notebook)
        write_atomically(target, (nbformat.writes(notebook) + "\n").encode())


def answer_of(notebook: nbformat.NotebookNode) -> str | None:
    """The answer that the last cell of an executed notebook printed as Markdown."""
    data = [output.get("data", {}) for output in notebook.cells[-1].get("outputs", [])]
    texts = [each["text/markdown"] for each in data if "text/markdown" in each]
    return texts[-1] if texts else None


def _fill_pages(answer: str | None) -> None:
    """The answer, where there is a new one, and what is said on other data and nets and of the frontier."""
    said = blocks(REPOSITORY / "results")
    for path, shortened in ((README, headline), (RESULTS_PAGE, str)):
        page = path.read_text()
        page = fill(page, shortened(answer)) if answer else page
        for name, block in said.items():
            page = fill(page, block, name)
        write_atomically(path, page.encode())


def _clean(notebook: nbformat.NotebookNode) -> None:
    """Leave out what differs from run to run without meaning."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.get("outputs", []):
            if plain := output.get("data", {}).get("text/plain"):
                output.data["text/plain"] = re.sub(r" at 0x[0-9a-f]+>", ">", plain)


def _value(text: str) -> Any:
    """A value as in the parameters cell (`0.9`, `1e-3`, `None`); words need no quotes."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 when every cell ran."""
    parser = argparse.ArgumentParser(prog="python -m model_compression.notebook.run", description=__doc__)
    parser.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    parser.add_argument(
        "--output",
        type=Path,
        help="where to write it; in place without -p, beside it with a name of its own otherwise",
    )
    chosen = parser.parse_args(arguments)
    parameters = {name: _value(text) for name, text in chosen.parameter}
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    output = chosen.output or (TWEAKED if parameters else NOTEBOOK)
    try:
        run(NOTEBOOK, output, parameters)
        if output == NOTEBOOK:
            _fill_pages(answer_of(nbformat.read(NOTEBOOK, as_version=4)))
    except KeyError as error:
        print(error.args[0], file=sys.stderr)
        return 2
    except PapermillExecutionError as error:
        print(error, file=sys.stderr)
        return 1
    tqdm.write(f"wrote {os.path.relpath(output)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
