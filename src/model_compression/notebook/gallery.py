"""What a notebook shows, and where it is written: tables as HTML, CSV and PNG, pictures as PNG."""

import hashlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from IPython.display import HTML, Image
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from .. import data, evidence, files
from ..evidence import tables
from ..evidence.style import DPI, WIDTH
from ..store import Store, code_digest, make_key, versions

#: What a stored table has where a figure is missing.
MISSING = "<none>"


class Gallery:
    """Tables and pictures, written to one folder as they are shown.

    Args:
        results: an existing folder. cache: another, of tables that took long.
    """

    def __init__(self, results: Path, cache: Path) -> None:
        self.results, self._cache = results, Store(cache)

    def kept(self, compute: Callable[..., pd.DataFrame], *given: object, **named: object) -> pd.DataFrame:
        """A table that takes long to compute, from the cache where the same was asked before.

        Args:
            compute: a function of the evidence. given, named: its arguments.
        """
        key = make_key(
            table=compute.__qualname__,
            given=hashlib.sha256(pickle.dumps((given, named))).hexdigest(),
            code=code_digest(data, evidence, files),
            libraries=versions(),
        )

        def make() -> dict[str, bytes]:
            return {"table.csv": compute(*given, **named).to_csv(index=False, na_rep=MISSING).encode()}

        # words that are empty stay so
        text = io.BytesIO(self._cache.kept(key, make)["table.csv"])
        return pd.read_csv(text, na_values=[MISSING], keep_default_na=False)

    def save(self, table: pd.DataFrame, name: str) -> None:
        """Write a table as CSV to the results."""
        tables.save_csv(table, self.results / f"{name}.csv")

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
        self._save_figure(tables.table_figure(view, title, note=note), name)
        html = tables.html_table(view, title, least=[column for column in least.split() if column in view])
        if not (folded or note):
            return html
        shown = html.to_html() + f"<small>{note}</small>" * bool(note)
        summary = f"<summary>{title}: {len(view)} rows</summary>"
        return HTML(f"<details>{summary}{shown}</details>" if folded else shown)

    def show_figure(self, figure: Figure, name: str) -> Image:
        """Write a figure as PNG to the results, and show it; its titles are what is read aloud of it."""
        titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
        told = ": ".join(filter(None, (name.replace("-", " "), ", ".join(titles).replace("\n", " "))))
        return Image(data=self._save_figure(figure, name), width=int(DPI * WIDTH), alt=told)

    def _save_figure(self, figure: Figure, name: str) -> bytes:
        path = self.results / f"{name}.png"
        tables.save_figure(figure, path, store=self._cache)
        return path.read_bytes()
