"""Tweak by hand: a slider that shows what another sparsity gives.

What the store holds is shown at once; anything else is trained on the study's workers, and shown when it is
done. Accuracies are of validation images, for whoever moves a slider is choosing.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from IPython import get_ipython
from matplotlib.figure import Figure

from ..evidence import plots, tables
from ..files.graph import read_graph
from ..study.catalogue import Settings, catalogue
from ..study.outcomes import Outcome
from ..study.recipes import Recipe
from ..study.scheduling import Failure, Study

#: Where the slider stops, besides at the notebook's own sparsity.
STOPS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
#: Seconds between two looks at a training.
TICK = 0.25


def recipe_at(settings: Settings, sparsity: float) -> Recipe:
    """The pruned int8 form at another sparsity; at 0, the net trained for as long without pruning.

    Below the settings' initial sparsity the ramp is flat.
    """
    if sparsity == 0:
        return catalogue(settings)["longer_trained_quantized"]
    initial = min(settings.initial_sparsity, sparsity)
    return catalogue(replace(settings, final_sparsity=sparsity, initial_sparsity=initial))["pruned_quantized"]


class Tweak:
    """The int8 files of a net at several sparsities, first seed.

    Args:
        study: carries them out; gets a recipe for each sparsity.
        settings: of the study.
    """

    def __init__(self, study: Study, settings: Settings) -> None:
        self.study, self.seed, self.start = study, settings.seed, settings.final_sparsity
        self.sparsities = sorted({*STOPS, self.start})
        self._names = {sparsity: f"tweak_{sparsity:g}" for sparsity in self.sparsities}
        for sparsity, name in self._names.items():
            study.add(name, recipe_at(settings, sparsity))

    def begin(self, sparsity: float) -> None:
        """Have it computed in the background unless the store has it."""
        self.study.begin(self._names[sparsity], self.seed)

    def progress(self, sparsity: float) -> float:
        """How much of it is done, from 0 to 1."""
        return self.study.progress(self._names[sparsity], self.seed)

    def outcome(self, sparsity: float) -> Outcome | Failure:
        """What came out; its progress has reached 1."""
        return self.study.outcome(self._names[sparsity], self.seed)

    def computed(self, *sparsities: float) -> dict[float, Outcome]:
        """What came out at each of these, waited for with a progress bar.

        Raises:
            RuntimeError: one failed: its error.
        """
        for sparsity in sparsities:
            self.begin(sparsity)
        self.study.wait([self._names[sparsity] for sparsity in sparsities], [self.seed])
        outcomes = {}
        for sparsity in sparsities:
            found = self.outcome(sparsity)
            if isinstance(found, Failure):
                raise RuntimeError(f"sparsity {sparsity:g} failed: {found.error}")
            outcomes[sparsity] = found
        return outcomes

    def known(self) -> dict[float, Outcome]:
        """By sparsity, what is there without waiting."""
        there = {each: self.outcome(each) for each in self.sparsities if self.progress(each) == 1}
        return {sparsity: found for sparsity, found in there.items() if isinstance(found, Outcome)}


def picture(outcomes: Mapping[float, Outcome], chosen: float) -> Figure:
    """Accuracy and zipped bytes over the sparsities, and the chosen one's kernels."""
    records = {sparsity: outcome.record for sparsity, outcome in outcomes.items()}
    return plots.tweaked(
        list(records),
        [record.validation_accuracy for record in records.values()],
        [record.zip_bytes for record in records.values()],
        chosen,
        _kernels(outcomes[chosen].content),
    )


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


class Panel:
    """The slider, a progress bar, a line of words, and the picture; shown by a notebook as it is.

    It needs a running event loop, which a notebook's kernel has.
    """

    def __init__(self, tweak: Tweak) -> None:
        import ipywidgets

        self.tweak = tweak
        self.slider = ipywidgets.SelectionSlider(
            options=[(f"{100 * each:g} %", each) for each in tweak.sparsities],
            value=tweak.start,
            description="sparsity",
            continuous_update=False,
        )
        self.bar = ipywidgets.FloatProgress(min=0.0, max=1.0, layout={"visibility": "hidden"})
        self.words = ipywidgets.Label()
        self.image = ipywidgets.Image(format="png", layout={"width": f"{96 * tables.WIDTH:.0f}px"})
        self.widget = ipywidgets.VBox([ipywidgets.HBox([self.slider, self.bar]), self.words, self.image])
        self.watching: asyncio.Task[None] | None = None
        self.slider.observe(self._moved, names="value")
        self._moved()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)

    def _moved(self, change: object = None) -> None:
        if self.watching is None or self.watching.done():
            self.watching = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        """Until the sparsity at which the slider stands is there; then show it."""
        try:
            while (done := self.tweak.progress(sparsity := self.slider.value)) < 1:
                self.words.value = f"training at {100 * sparsity:g} % ..."
                self.bar.value, self.bar.layout.visibility = done, "visible"
                # the first one may have to start the workers, which takes seconds
                await asyncio.to_thread(self.tweak.begin, sparsity)
                await asyncio.sleep(TICK)
            self._show(sparsity)
        # an error in a task would be lost
        except Exception as error:
            self.words.value = f"failed: {error}"
        self.bar.layout.visibility = "hidden"

    def _show(self, sparsity: float) -> None:
        found = self.tweak.outcome(sparsity)
        if isinstance(found, Failure):
            self.words.value = f"{100 * sparsity:g} % failed: {found.error}"
            return
        self.image.value = tables.png(picture(self.tweak.known(), sparsity))
        self.words.value = (
            f"sparsity {100 * sparsity:g} %: {found.record.validation_accuracy:.2%} of the validation images "
            f"right, {found.record.zip_bytes:,} bytes zipped ({found.record.file_bytes:,} as they are)"
        )
