"""Where a saved model's recipes are carried out, whether it can be rebuilt or converted alone."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..data.datasets import Dataset
from ..files import quantizing
from ..saved_models import files as keras_files
from ..saved_models.building import folded
from ..saved_models.fitting import ValuesError
from ..saved_models.graphs import NotRebuiltError
from ..saved_models.loading import load
from ..study.applicable import applicable, chosen
from ..study.experiment import Bench, Report
from ..study.outcomes import Outcome
from ..study.recipes import Recipe
from . import converted


@dataclass(frozen=True, kw_only=True)
class ConvertedBench(Bench):
    """For a model that is converted as it is: nothing of it trains.

    Args:
        reason: why it is not rebuilt; empty for a .tflite file.
    """

    reason: str

    @functools.lru_cache(maxsize=1)  # noqa: B019 - a process has one
    def source(self, path: str) -> converted.Source:
        """The model as a float file, converted once a process.

        Raises:
            UnsupportedModelError: it cannot be converted, or not for these data.
        """
        return converted.source(Path(path), self.data, self.reason)

    @functools.lru_cache(maxsize=1)  # noqa: B019 - a process has one
    def fed(self, net: str) -> Dataset:
        return self.source(net).fed(self.data)

    def made(self, recipe: Recipe, seed: int, report: Report, *, key: str) -> Outcome:
        return converted.outcome(self.source(recipe.net), recipe, self.fed(recipe.net), seed=seed, key=key)

    def why_not(self, recipe: Recipe) -> str:
        """Why a recipe cannot be carried out; empty when it can."""
        plain = not recipe.steps and not recipe.export.per_channel_dense
        # halves are the converter's, which takes models and no files
        halves = ("float16",) if self.reason and not self.data.inputs else ()
        if plain and recipe.export.form in ("float32", *halves, *quantizing.FORMS, "mixed_bits"):
            return ""
        return f"the model is converted as it is: {self.reason or 'a .tflite file holds no layers to train'}"


def bench_of(bench: Bench, path: str) -> Bench:
    """The bench that a net needs: for a saved model that can only be converted, a `ConvertedBench`.

    One that is given stays.

    Raises:
        UnsupportedModelError: it can neither be rebuilt nor converted.
    """
    reason = ""
    if isinstance(bench, ConvertedBench) or not keras_files.is_path(path):
        return bench
    if not keras_files.is_tflite(Path(path)):
        try:
            load(path)
            if not bench.data.inputs and not bench.data.outputs:
                bench.user_model(path)
                return bench
            reason = "the data hold several inputs or outputs"
        except ValuesError:
            # one score, and whole numbers: what cannot be a label is a value
            return bench_of(replace(bench, values=True), path)
        except NotRebuiltError as error:
            reason = str(error)
    return ConvertedBench(**vars(bench), reason=reason)


def takes(bench: Bench, path: str, recipes: Mapping[str, Recipe]) -> tuple[dict[str, Recipe], dict[str, str]]:
    """The recipes that a net allows, and by name why it rules out the others.

    Args:
        bench: of `bench_of`. path: of a saved model, or a name of `nets.named`.
    """
    if isinstance(bench, ConvertedBench):
        return chosen(recipes, bench.why_not)
    # folded, as techniques see it after the first training
    return applicable(folded(bench.trained(path, (), 0, lambda *progress: None)), recipes)
