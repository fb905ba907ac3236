"""How the search goes on while there is time: what loses too much is trained for longer."""

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from made import LABELS, outcome
from tflite_graphs import layered

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TFMOT's, at its import
    from model_compression.data.datasets import Dataset
    from model_compression.own_model.making import Making
    from model_compression.own_model.request import Request
    from model_compression.own_model.search import Search
    from model_compression.own_model.variants import go_further, turned_up
    from model_compression.store import Store
    from model_compression.study.catalogue import Settings, catalogue
    from model_compression.study.outcomes import Outcome
    from model_compression.techniques.structured import StructuredConfig

SETTINGS = Settings(
    seed=0, n_seeds=1, epochs=2, fine_tune_epochs=3, batch_size=8, learning_rate=1e-3, initial_sparsity=0.5,
    final_sparsity=0.8,
)  # fmt: skip
FLOAT = layered()
#: By form, validation accuracy and the part of the float file's bytes.
MADE = {
    "non_quantized": (0.95, 1.0),
    "clustered_8": (0.95, 0.8),
    "pruned_quantized": (0.92, 0.7),
    "quantization_aware_int4": (0.93, 0.6),
    "rate_distortion": (0.95, 0.55),
    "pruned_half": (0.95, 0.9),
    # more zeros of what is near the smallest, and what is smaller fits or not
    "rate_distortion_price_0.09": (0.95, 0.5),
    "rate_distortion_price_0.27": (0.94, 0.45),
    "rate_distortion_price_0.27_2x": (0.949, 0.45),
    "rate_distortion_price_0.81_2x": (0.90, 0.4),
    "rate_distortion_price_0.81_4x": (0.91, 0.4),
    "rate_distortion_price_0.81_8x": (0.92, 0.4),
    "pruned_half_final_sparsity_0.75": (0.95, 0.95),
}
Start = Callable[[dict[str, tuple[float, float]]], Search]


@pytest.fixture
def start(few: Dataset, tmp_path: Path) -> Start:
    """A search through the forms of the catalogue among those that can be made, ended."""

    def started(can: dict[str, tuple[float, float]]) -> Search:
        def make(name: str, until: float) -> Outcome:
            accuracy, share = can[name]
            size = round(share * len(FLOAT))
            known = {"validation_accuracy": accuracy, "best_coded_bytes": size}
            return outcome(f"{name}.tflite", LABELS, content=FLOAT[:size], **known)

        recipes = {name: recipe for name, recipe in catalogue(SETTINGS).items() if name in can}
        made = Making(
            stages=[["non_quantized"], [name for name in recipes if name != "non_quantized"]],
            make=make,
            notes=(),
            warnings=(),
            parameters=1,
            fed=few,
            recipes=recipes,
        )
        request = Request(model=tmp_path, data="", max_drop=0.005, objective="download")
        store = Store(tmp_path / "cache")
        search = Search(request=request, made=made, store=store, publish=lambda better: None)
        for stage in made.stages:
            search.go_through(stage, math.inf)
        return search

    return started


def test_what_fits_is_turned_up_and_what_loses_too_much_is_trained_for_longer(start: Start) -> None:
    search = start(MADE)
    assert search.choice.form is search.candidates["rate_distortion"]
    go_further(search, math.inf)
    # what is larger than the best is left
    assert set(search.outcomes) == set(MADE)
    assert [name for name in search.outcomes if name.startswith("rate")] == [
        name for name in MADE if name.startswith("rate")
    ]
    assert search.choice.form is search.candidates["rate_distortion_price_0.27_2x"]
    longest = search.made.recipes["rate_distortion_price_0.81_8x"]
    assert [step.train.epochs for step in longest.steps] == [16, 72]
    assert longest.name == "rate_distortion_price_0.81_8x"


def test_form_whose_file_is_the_float_file_is_none(start: Start) -> None:
    search = start({"non_quantized": (0.95, 1.0), "int8": (0.95, 1.0), "mixed_bits": (0.95, 0.9)})
    assert set(search.candidates) == {"non_quantized", "mixed_bits"}
    assert search.skipped["int8"] == "it is the float file: nothing of the model takes the form"


def test_what_fits_and_gets_no_smaller_is_trained_for_longer(start: Start) -> None:
    made = {
        "non_quantized": (0.95, 1.0),
        "rate_distortion": (0.95, 0.5),
        "rate_distortion_price_0.09": (0.95, 0.49),
        "rate_distortion_price_0.09_2x": (0.95, 0.4),
        "rate_distortion_price_0.27_2x": (0.95, 0.39),
        "rate_distortion_price_0.27_4x": (0.95, 0.39),
        "rate_distortion_price_0.27_8x": (0.95, 0.39),
    }
    search = start(made)
    go_further(search, math.inf)
    assert list(search.outcomes) == list(made)


def test_nothing_is_tried_after_the_end_of_the_time(start: Start) -> None:
    search = start(MADE)
    known = set(search.outcomes)
    go_further(search, 0.0)
    assert set(search.outcomes) == known


def test_only_what_makes_the_objective_smaller_is_turned_up() -> None:
    recipes = catalogue(SETTINGS)
    pruned, narrow = recipes["pruned_quantized"], recipes["structured_pruned_quantized"]
    assert turned_up(pruned, "flash") is None
    assert turned_up(recipes["clustered_8"], "download") is None
    harder, narrower = turned_up(pruned, "download"), turned_up(narrow, "flash")
    assert harder
    assert narrower
    assert harder.steps[-1].technique == replace(SETTINGS.prune, final_sparsity=0.9)
    assert narrower.steps[-1].technique == StructuredConfig(keep=0.35)
    assert harder.steps[0] == pruned.steps[0]


def test_pruning_is_turned_up_to_an_end() -> None:
    recipe, seen = catalogue(SETTINGS)["pruned_quantized"], list[float]()
    while (harder := turned_up(recipe, "download")) is not None:
        recipe = harder
        seen.append(getattr(recipe.steps[-1].technique, "final_sparsity"))  # noqa: B009
    assert seen == [0.9, 0.95, 0.975, 0.988, 0.99]
