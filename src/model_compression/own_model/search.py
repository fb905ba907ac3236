"""The search for the smallest form: what was found of a model so far, and what is best of it."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ..evidence import layers
from ..files.graph import read_model
from ..files.quantizing import graph_bytes
from ..files.sensitivity import float_kernels
from ..runtimes import deployment
from ..runtimes.deployment import BASELINE, TABLES
from ..runtimes.smallest import Candidate, Choice, Runtime, smallest
from ..store import Store
from ..study.outcomes import Outcome
from .making import Making, gained
from .request import Request

#: Validation images on which LiteRT and TFLite Micro are compared.
MICRO_IMAGES = 500
#: The part of all time that it may take to find where it hurts.
HURT_TIME = 0.1


@dataclass(kw_only=True)
class Search:
    """Forms are made in the order of their promise, and the best so far is published when another is better.

    Attributes:
        made: the forms of the model, and what makes them. publish: told of each better answer.
        store: keeps what was measured.
        outcomes: by recipe. failures: by recipe, why there is none.
        files: by form; one with look-up tables is made from a recipe's file.
        candidates: every form that was measured, by name.
        hurt: see `evidence.layers.sensitivity`, of the float file. unhurt: what of it there is not, and why.
        ended: what ended the search before all forms were made.
    """

    request: Request
    made: Making
    store: Store
    publish: Callable[["Search"], None]
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    candidates: dict[str, Candidate] = field(default_factory=dict)
    hurt: pd.DataFrame | None = None
    unhurt: str = ""
    ended: str = ""
    _best: str = ""

    def go_through(self, stage: Iterable[str], until: float) -> None:
        """Make the forms of a stage and measure each; latencies when nothing else runs any more."""
        for name, found in self.made.found(list(stage), until):
            if isinstance(found, str):
                self.failures[name] = found
                if name == BASELINE:
                    raise ValueError(f"the model cannot be converted at all: {found}")
                continue
            if name == BASELINE:
                least, allowed = graph_bytes(found.content), self.request.max_flash
                if allowed is not None and allowed < least:
                    raise ValueError(
                        f"max_flash is {allowed:,.0f} bytes; the operators and tensors of the model take "
                        f"{least:,} without a single weight: allow more, or merge layers"
                    )
            elif found.content == self.outcomes[BASELINE].content:
                self.failures[name] = "it is the float file: nothing of the model takes the form"
                continue
            self.outcomes[name] = found
            shared = self.request.runtime == "tflm" and self.made.recipes[name].shares_values
            tables = [name] if shared else []
            self.files |= deployment.with_tables({name: found.content}, tables, store=self.store)
            if not self.request.is_timed:
                self._measure()
        self._measure()

    def look_where_it_hurts(self, until: float) -> None:
        """Change each kernel of the float file alone, once, within a part of the time."""
        content, fed = self.files[BASELINE], self.made.fed
        until = min(until, time.monotonic() + HURT_TIME * 60 * self.request.minutes)
        try:
            self.hurt = layers.sensitivity(content, fed, images=layers.FEW, until=until)
        except (ValueError, RuntimeError) as error:
            self.unhurt = f"Not measured: {error}."
            return
        if missing := len(float_kernels(read_model(content))) - self.hurt.layer.nunique():
            self.unhurt = f"There was no time for {missing} layer{'s' * (missing > 1)} more."

    def _measure(self) -> None:
        """Figures of the new forms, of TFLite Micro where it has to run them, of time where that is asked."""
        new = {name: content for name, content in self.files.items() if name not in self.candidates}
        if not new or BASELINE not in self.files:
            return
        asked = self.request.is_timed or self.request.runtime == "tflm"
        runtimes: list[Runtime] = [self.request.runtime] if asked else []
        fed = self.made.fed
        table = deployment.table(new, fed.x_val[:MICRO_IMAGES], store=self.store, runtimes=runtimes)
        records = {name: outcome.record for name, outcome in self.outcomes.items()}
        for form in deployment.candidates(table, new, records, of_values=fed.of_values):
            self.candidates[form.name] = form
        choice = self.choice
        if choice.form is not None and choice.fits and choice.form.name != self._best:
            self._best = choice.form.name
            self.publish(self)

    @property
    def choice(self) -> Choice:
        """What is best so far."""
        fed = self.made.fed
        baseline = self.outcomes[BASELINE].record.validation_accuracy
        noise = float(np.sqrt(max(0.0, baseline * (1 - baseline)) / len(fed.y_val)))
        return smallest(self.candidates.values(), self.request, noise=0.0 if fed.of_values else noise)

    @property
    def skipped(self) -> dict[str, str]:
        """By form, why it is not among the candidates."""
        known = self.outcomes | self.failures
        ended = self.ended or f"the end of the {self.request.minutes:g} minutes"
        left = [name for stage in self.made.stages for name in stage if name not in known]
        return {**self.made.skipped, **self.failures, **dict.fromkeys(left, f"not made before {ended}")}

    @property
    def warnings(self) -> list[str]:
        """What is to be minded beside the answer."""
        return [*self.made.warnings, *gained(self.candidates.values(), self.made.fed)]

    def outcome(self, form: str) -> Outcome:
        """That of the recipe behind a form."""
        return self.outcomes[form.removesuffix(TABLES)]
