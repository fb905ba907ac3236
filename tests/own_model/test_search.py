"""How the search goes on while there is time: what loses too much is trained for longer."""

import math
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from made import LABELS, outcome
from tflite_graphs import layered

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TFMOT's, at its import
    from model_compression.data.datasets import Dataset
    from model_compression.own_model.making import Making, turned_up
    from model_compression.own_model.request import Request
    from model_compression.own_model.search import Search
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
FORMS = list(MADE)[:6]


@pytest.fixture
def search(few: Dataset, tmp_path: Path) -> Search:
    def make(name: str, until: float) -> Outcome:
        accuracy, share = MADE[name]
        size = round(share * len(FLOAT))
        known = {"validation_accuracy": accuracy, "best_coded_bytes": size}
        return outcome(f"{name}.tflite", LABELS, content=FLOAT[:size], **known)

    recipes = catalogue(SETTINGS)
    made = Making(
        stages=[FORMS[:1], FORMS[1:]],
        make=make,
        notes=(),
        warnings=(),
        parameters=1,
        fed=few,
        recipes={name: recipes[name] for name in FORMS},
    )
    request = Request(model=tmp_path, data="", max_drop=0.005, objective="download")
    return Search(request=request, made=made, store=Store(tmp_path / "cache"), publish=lambda better: None)


def test_what_fits_is_turned_up_and_what_loses_too_much_is_trained_for_longer(search: Search) -> None:
    for stage in search.made.stages:
        search.go_through(stage, math.inf)
    assert search.choice.form is search.candidates["rate_distortion"]
    search.go_further(math.inf)
    # in this order but for `pruned_half`, which got no smaller: what is larger than the best is left
    assert set(search.outcomes) == set(MADE)
    assert [name for name in search.outcomes if name.startswith("rate")] == [
        name for name in MADE if name.startswith("rate")
    ]
    assert search.choice.form is search.candidates["rate_distortion_price_0.27_2x"]
    longest = search.made.recipes["rate_distortion_price_0.81_8x"]
    assert [step.train.epochs for step in longest.steps] == [16, 72]
    assert longest.name == "rate_distortion_price_0.81_8x"


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


def test_nothing_is_trained_for_longer_after_the_end_of_the_time(search: Search) -> None:
    for stage in search.made.stages:
        search.go_through(stage, math.inf)
    search.go_further(0.0)
    assert set(search.outcomes) == set(FORMS)
