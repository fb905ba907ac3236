"""What `python -m model_compression` does: every form of a model, measured, and the smallest that fits.

Forms are made in the order of their promise, and the best so far is published whenever another one is better.
What was computed stays in the cache folder, so that asking again with other limits trains nothing.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from ..saved_models import files as keras_files
from ..study.experiment import Bench
from . import making, report
from .request import Parser, Request
from .search import Search
from .variants import go_further


def run(request: Request, publish: Callable[[Search], None]) -> Search:
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
    # bad input is found before any folder is made
    keras_files.digest(request.model)
    _ = bench.data
    existed = request.output.exists()
    made = making.begin(bench, request)
    search = Search(request=request, made=made, store=bench.store, publish=publish)
    try:
        ready, trained = made.stages
        search.go_through(ready, until)
        # the forms without training are there, and what follows takes longer
        search.look_where_it_hurts(until)
        search.go_through(trained, until)
        # how long to train is left to the command
        if request.epochs is None:
            go_further(search, until)
    except KeyboardInterrupt:
        if not search.candidates:
            raise
        search.ended = "Ctrl-C"
    except Exception:
        # nothing is written for bad input
        if not existed and not search.candidates:
            request.output.rmdir()
        raise
    finally:
        made.stop()
    publish(search)
    return search


def main(request: Request, parser: Parser) -> int:
    """Carry out a request and say what was found; the exit status."""
    started = time.monotonic()
    files, said = report.earlier(request), [""]

    def publish(search: Search) -> None:
        files[:] = report.publish(search, files)
        said.append(report.sentence(search, files))
        if files and said[-1] != said[-2]:
            tqdm.write(f"{time.monotonic() - started:.0f} s: {said[-1]}", file=sys.stderr)

    try:
        search = run(request, publish)
    # what the tools raise for a net that they cannot run is an answer too
    except (ValueError, OSError, RuntimeError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: interrupted before there was a file\n")
    print(said[-1])
    for warning in search.warnings:
        print(f"warning: {warning}")
    print(f"report: {request.output / 'report.md'}")
    return 0 if search.choice.fits else 1
