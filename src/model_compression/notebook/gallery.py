"""What a notebook shows, and where it is written: tables as HTML, CSV and PNG, pictures as PNG."""

import hashlib
import importlib.metadata
import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from IPython.display import HTML, Image
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from .. import data, evidence, files, frontier
from ..evidence import tables
from ..evidence.style import DPI, WIDTH
from ..store import Store, code_digest, make_key, versions, write_atomically

#: Another release of these may draw the same otherwise.
DRAWING = ("matplotlib", "pandas")


class Drawn(NamedTuple):
    """A figure as it is written, and its titles."""

    png: bytes
    titles: str


class NothingToDrawError(ValueError):
    """A table without what its picture shows."""


def drawn(figure: Figure | None) -> Drawn:
    """A figure as it is written."""
    if figure is None:
        raise NothingToDrawError("there is nothing to draw")
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    return Drawn(tables.small_png(figure), ", ".join(titles).replace("\n", " "))


class Gallery:
    """Tables and pictures, written to one folder as they are shown.

    Args:
        results: an existing folder. cache: another, of what took long.
    """

    def __init__(self, results: Path, cache: Path) -> None:
        self.results, self._cache = results, Store(cache)

    def kept(self, compute: Callable[..., pd.DataFrame], *given: object, **named: object) -> pd.DataFrame:
        """A table that takes long to compute, from the cache where the same was asked before.

        Args:
            compute: a function of the evidence. given, named: its arguments.
        """
        return self._kept(lambda table: table, compute, *given, **named)

    def _kept(
        self, finish: Callable[[Any], Any], compute: Callable[..., Any], *given: object, **named: object
    ) -> Any:
        """What is finished of what a function computes; the function may be a reader's own."""
        key = make_key(
            what=inspect.getsource(compute),
            given=hashlib.sha256(pickle.dumps((given, named))).hexdigest(),
            code=code_digest(data, evidence, files, frontier),
            libraries=versions() | {name: importlib.metadata.version(name) for name in DRAWING},
        )
        return self._cache.kept(key, lambda: finish(compute(*given, **named)))

    def save(self, table: pd.DataFrame, name: str, *, beside: str = "") -> pd.DataFrame:
        """Write a table as CSV to the results.

        Args:
            beside: a column; the rows that are there and have another value in it stay, before the new ones.
        """
        path = self.results / f"{name}.csv"
        if beside and path.exists():
            old = pd.read_csv(path)
            table = pd.concat([old[~old[beside].isin(table[beside])], table], ignore_index=True)
        tables.save_csv(table, path)
        return table

    def show_table(
        self,
        table: pd.DataFrame | None,
        name: str,
        title: str,
        *,
        note: str = "",
        whole: pd.DataFrame | None = None,
        least: str = "",
        folded: bool = False,
    ) -> Styler | HTML | None:
        """Write a table as CSV and PNG to the results, and show it as HTML; nothing of one without rows.

        Args:
            table: None where a form that it needs is left out, which is said.
                A column without a figure is not shown.
            whole: what the CSV holds, where the picture shows only some of its rows.
            least: columns, with spaces between, whose smallest value is set bold.
            folded: whether only the title is seen until a reader clicks on it.
        """
        if table is None or table.empty:
            print(f"{title}: not of this model, these data and these forms")
            return None
        self.save(table if whole is None else whole, name)
        view = tables.shown(table) if "change_ci_low_pp" in table else table
        view = view.dropna(axis="columns", how="all")
        self._picture(name, tables.table_figure, view, title, note=note)
        html = tables.html_table(view, title, least=[column for column in least.split() if column in view])
        if not (folded or note):
            return html
        shown = html.to_html() + f"<small>{note}</small>" * bool(note)
        summary = f"<summary>{title}: {len(view)} rows</summary>"
        return HTML(f"<details>{summary}{shown}</details>" if folded else shown)

    def show_figure(self, name: str, draw: Callable[..., Figure | None], *given: object) -> Image:
        """Write a figure as PNG to the results, and show it; its titles are what is read aloud of it.

        Args:
            draw: a function, called with `given` where it was not before.
        """
        picture, titles = self._picture(name, draw, *given)
        told = ": ".join(filter(None, (name.replace("-", " "), titles)))
        return Image(data=picture, width=int(DPI * WIDTH), alt=told)

    def _picture(
        self, name: str, draw: Callable[..., Figure | None], *given: object, **named: object
    ) -> Drawn:
        found: Drawn = self._kept(drawn, draw, *given, **named)
        write_atomically(self.results / f"{name}.png", found.png)
        return found
