"""What the notebook asks of a form's file: what its bytes are, and what TFLite Micro does with it."""

import hashlib
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from ..data import corruptions
from ..data.datasets import scale
from ..evidence import who_pays
from ..evidence.forms import Outcomes
from ..files import conversion, running
from ..files.contents import bytes_by_kind
from ..store import code_digest, make_key, versions
from ..study.experiment import Bench
from ..study.outcomes import Outcome
from ..study.recipes import Recipe


def contents(bench: Bench, recipe: Recipe, outcome: Outcome) -> pd.DataFrame:
    """The bytes of a file by kind, `as converted` and `as stored`, a row each.

    Args:
        recipe: without quantization-aware training, of one of the study's nets. outcome: what it gave.
    """
    trained = bench.trained(recipe.net, recipe.steps, outcome.record.seed, lambda *progress: None)
    shown = scale(bench.data.x_train[: conversion.REPRESENTATIVE_IMAGES])
    converted = conversion.export(trained, recipe.export, representative=shown)
    files = {"as converted": converted, "as stored": outcome.content}
    table = pd.DataFrame([bytes_by_kind(content) for content in files.values()])
    table.insert(0, "model_file", list(files))
    return table


def corrupted(bench: Bench, outcomes: Outcomes, *, seed: int, margin: float) -> pd.DataFrame:
    """See `who_pays.corrupted`; what a file answers is kept, and only files that changed are asked again.

    Args:
        outcomes: of the study's nets.
    """
    parts = {"code": code_digest(corruptions, running), "data": bench.data.fingerprint, "seed": seed}

    def keep(content: bytes, ask: Callable[[], np.ndarray]) -> np.ndarray:
        key = make_key(corrupted=hashlib.sha256(content).hexdigest(), libraries=versions(), **parts)
        return bench.store.kept(key, ask)

    data = bench.data
    return who_pays.corrupted(outcomes, data.x_test, data.y_test, seed=seed, margin=margin, keep=keep)


def tell_left_out(reasons: Mapping[str, str]) -> None:
    """Say which forms are left out, those of one reason together."""
    for reason in dict.fromkeys(reasons.values()):
        names = [name for name in reasons if reasons[name] == reason]
        print(f"{', '.join(names)} {'are' if len(names) > 1 else 'is'} left out: {reason}")
