"""Tweak by hand: a slider that shows what another sparsity gives.

What the store holds is shown at once; anything else is trained on the study's workers first. Accuracies are
of validation images, for whoever moves a slider is choosing.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from IPython import get_ipython
from IPython.display import Image, display

from ..evidence import plots, tables
from ..evidence.style import DPI, WIDTH
from ..files.graph import read_graph
from ..study.catalogue import Settings, catalogue
from ..study.outcomes import Outcome
from ..study.recipes import Recipe
from ..study.scheduling import Failure, Study

#: Where the slider stops, besides at the notebook's own sparsity.
STOPS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)


def recipe_at(settings: Settings, sparsity: float) -> Recipe:
    """The pruned int8 form at another sparsity; at 0, the net trained for as long without pruning.

    Below the settings' initial sparsity the ramp is flat.
    """
    if sparsity == 0:
        return catalogue(settings)["longer_trained_quantized"]
    initial = min(settings.initial_sparsity, sparsity)
    return catalogue(replace(settings, final_sparsity=sparsity, initial_sparsity=initial))["pruned_quantized"]


class Tweak:
    """The int8 files of a net at several sparsities, first seed; the study gets a recipe for each."""

    def __init__(self, study: Study, settings: Settings) -> None:
        self.study, self.seed, self.start = study, settings.seed, settings.final_sparsity
        self.sparsities = sorted({*STOPS, self.start})
        self.seen: dict[float, Outcome] = {}
        self._names = {sparsity: f"tweak_{sparsity:g}" for sparsity in self.sparsities}
        for sparsity, name in self._names.items():
            study.add(name, recipe_at(settings, sparsity))

    def found(self, *sparsities: float) -> tuple[Any, ...]:
        """For `plots.tweaked`: what all sparsities seen so far gave, these among them.

        The kernels are of the last one. Waits for those that are not there yet, with a progress bar.
        Raises:
            RuntimeError: one failed: its error.
        """
        for sparsity in sparsities:
            self.study.begin(self._names[sparsity], self.seed)
        self.study.wait([self._names[sparsity] for sparsity in sparsities], [self.seed])
        for sparsity in sparsities:
            found = self.study.outcome(self._names[sparsity], self.seed)
            if isinstance(found, Failure):
                raise RuntimeError(f"sparsity {sparsity:g} failed: {found.error}")
            self.seen[sparsity] = found
        chosen, shown = sparsities[-1], dict(sorted(self.seen.items()))
        records = [outcome.record for outcome in shown.values()]
        accuracies = [record.validation_accuracy for record in records]
        sizes = [record.zip_bytes for record in records]
        return list(shown), accuracies, sizes, chosen, _kernels(shown[chosen].content)

    def show(self, sparsity: float) -> None:
        """The picture of one more sparsity, and a line of words: what a slider calls."""
        drawn = tables.png(plots.tweaked(*self.found(sparsity)))
        record = self.seen[sparsity].record
        print(
            f"sparsity {100 * sparsity:g} %: validation accuracy {record.validation_accuracy:.2%}, "
            f"{record.zip_bytes:,} bytes zipped ({record.file_bytes:,} as they are)"
        )
        display(Image(data=drawn, width=int(DPI * WIDTH)))

    def slider(self) -> None:
        """Show a slider that moves the picture; a training shows its progress below it."""
        import ipywidgets

        stops = [(f"{100 * each:g} %", each) for each in self.sparsities]
        choice = ipywidgets.SelectionSlider(
            options=stops, value=self.start, description="sparsity", continuous_update=False
        )
        ipywidgets.interact(self.show, sparsity=choice)


def _kernels(content: bytes) -> dict[str, np.ndarray]:
    """A file's first and largest kernels, outputs first, by what a title calls them."""
    kernels = [
        (f"{operator.name} {number}", kernel.dequantized())
        for number, (kernel, operator) in enumerate(read_graph(content).kernels(), 1)
    ]
    return dict([kernels[0], max(kernels, key=lambda each: each[1].size)])


def attended() -> bool:
    """Whether somebody sits before the notebook, who alone can move a slider.

    A runner (nbclient, papermill, `make results`) tells the kernel that it cannot answer questions.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    request = kernel.get_parent() if kernel else {}
    return bool(request.get("content", {}).get("allow_stdin", False))
