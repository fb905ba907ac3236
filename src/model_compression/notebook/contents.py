"""What the bytes of a file are, as the converter writes it and as it is stored: the notebook's picture."""

from dataclasses import asdict

import pandas as pd

from ..data.datasets import scale
from ..files import conversion
from ..files.contents import bytes_by_kind
from .workbook import Workbook


def contents(book: Workbook, name: str) -> pd.DataFrame:
    """Bytes by kind, a row a file: `as converted` and `as stored`.

    Args:
        name: of a recipe without quantization-aware training, whose net is one of the study's.
    """
    recipe, bench = book.recipes[name], book.study.bench
    stored = book.outcome(name).content
    trained = bench.trained(recipe.net, recipe.steps, book.settings.seed, lambda *progress: None)
    shown = scale(book.data.x_train[: conversion.REPRESENTATIVE_IMAGES])
    converted = conversion.export(trained, recipe.export, representative=shown)
    rows = {"as converted": converted, "as stored": stored}
    table = pd.DataFrame([asdict(bytes_by_kind(content)) for content in rows.values()])
    table.insert(0, "model_file", list(rows))
    return table
