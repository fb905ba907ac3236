"""How the search goes on while there is time: what loses too much is trained for longer."""

import math
import warnings
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
    from model_compression.store import Store
    from model_compression.study.catalogue import Settings, catalogue
    from model_compression.study.outcomes import Outcome

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
    "rate_distortion": (0.80, 0.5),
    "pruned_half": (0.90, 0.9),
    "quantization_aware_int4_2x": (0.94, 0.6),
    "quantization_aware_int4_4x": (0.95, 0.6),
    "rate_distortion_2x": (0.81, 0.5),
    "rate_distortion_4x": (0.82, 0.5),
    "rate_distortion_8x": (0.83, 0.5),
    "pruned_quantized_2x": (0.91, 0.7),
    "pruned_quantized_4x": (0.91, 0.7),
}
FORMS = [name for name in MADE if not name.endswith("x")]


@pytest.fixture
def search(few: Dataset, tmp_path: Path) -> Search:
    def make(name: str, until: float) -> Outcome:
        accuracy, share = MADE[name]
        size = round(share * len(FLOAT))
        return outcome(f"{name}.tflite", LABELS, content=FLOAT[:size], validation_accuracy=accuracy)

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
    request = Request(model=tmp_path, data="", max_drop=0.005)
    return Search(request=request, made=made, store=Store(tmp_path / "cache"), publish=lambda better: None)


def test_forms_that_lose_too_much_are_trained_for_longer_until_they_fit_or_are_no_smaller(
    search: Search,
) -> None:
    for stage in search.made.stages:
        search.go_through(stage, math.inf)
    assert search.choice.form is search.candidates["clustered_8"]
    search.go_further(math.inf)
    assert [name for name in search.outcomes if name not in FORMS] == [
        # the least loss first; `pruned_half` is larger than what fits
        "quantization_aware_int4_2x", "pruned_quantized_2x", "rate_distortion_2x",
        "quantization_aware_int4_4x", "pruned_quantized_4x", "rate_distortion_4x",
        # what fits now is smaller than a pruned form would be
        "rate_distortion_8x",
    ]  # fmt: skip
    assert search.choice.form is search.candidates["quantization_aware_int4_4x"]
    longest = search.made.recipes["pruned_quantized_4x"]
    assert [step.train.epochs for step in longest.steps] == [8, 12]
    assert longest.name == "pruned_quantized_4x"


def test_nothing_is_trained_for_longer_after_the_end_of_the_time(search: Search) -> None:
    for stage in search.made.stages:
        search.go_through(stage, math.inf)
    search.go_further(0.0)
    assert set(search.outcomes) == set(FORMS)
