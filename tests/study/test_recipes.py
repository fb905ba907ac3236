from dataclasses import replace
from pathlib import Path

import pytest
from conftest import exactly

from model_compression.files.conversion import ExportConfig
from model_compression.nets.distillation import DistillConfig
from model_compression.nets.training import TrainConfig
from model_compression.study.catalogue import PUBLISHED, SMALL, Settings, catalogue, control_of
from model_compression.study.recipes import Recipe, Scoring, Step, Teacher, Training
from model_compression.techniques.base import Technique
from model_compression.techniques.clustering import ClusterConfig
from model_compression.techniques.masking import MaskConfig
from model_compression.techniques.pruning import PruneConfig
from model_compression.techniques.quantization import QuantizeConfig

SETTINGS = Settings(
    seed=100,
    n_seeds=3,
    epochs=4,
    fine_tune_epochs=2,
    batch_size=32,
    learning_rate=0.01,
    initial_sparsity=0.5,
    final_sparsity=0.8,
)
TRAIN = TrainConfig(epochs=1, learning_rate=0.01)
PRUNE, CLUSTER = PruneConfig(final_sparsity=0.8), ClusterConfig(clusters=8)
PLAIN = Step(train=TRAIN)


def recipe(*techniques: Technique | None, form: str = "int8", **fields: object) -> Recipe:
    steps = tuple(Step(train=TRAIN, technique=technique) for technique in techniques)
    given = {"name": "mine", "net": "baseline", "steps": steps, "export": ExportConfig(form=form), **fields}
    return Recipe(**given)  # type: ignore[arg-type]


# Masks


def test_mask_is_random_or_like_another_net() -> None:
    message = "a mask is either random_sparsity or like: give exactly one of the two"
    for fields in ({}, {"random_sparsity": 0.5, "like": (PLAIN,)}):
        with pytest.raises(ValueError, match=exactly(message)):
            MaskConfig(**fields)  # type: ignore[arg-type]
    assert MaskConfig(random_sparsity=0).like == ()
    assert MaskConfig(like=(PLAIN,)).random_sparsity is None


@pytest.mark.parametrize("value", [-0.1, 1, float("nan")])
def test_random_sparsity_outside_0_to_1_is_refused(value: float) -> None:
    message = f"random_sparsity is {value!r}; allowed: 0 up to but not including 1"
    with pytest.raises(ValueError, match=exactly(message)):
        MaskConfig(random_sparsity=value)


# Recipes that cannot be


def test_recipe_without_training_is_refused() -> None:
    with pytest.raises(
        ValueError, match=exactly("mine: steps is empty; allowed: at least one step of training")
    ):
        recipe()


def test_recipe_of_an_unknown_net_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^net is 'resnet'; allowed: "):
        recipe(None, net="resnet")


@pytest.mark.parametrize("last", [None, PRUNE, CLUSTER, QuantizeConfig()])
def test_nothing_goes_after_quantization_aware_training(last: Technique | None) -> None:
    message = "mine: steps go on after quantization-aware training; allowed: it comes last"
    with pytest.raises(ValueError, match=exactly(message)):
        recipe(None, QuantizeConfig(), last)
    assert recipe(None, QuantizeConfig()).quantization_aware


@pytest.mark.parametrize("preserve", ["sparsity", "sparsity and clusters"])
def test_zeros_can_be_preserved_only_where_there_was_pruning(preserve: str) -> None:
    message = f"mine: preserve is {preserve!r}; allowed: only after a pruning step"
    with pytest.raises(ValueError, match=exactly(message)):
        recipe(None, CLUSTER, QuantizeConfig(preserve=preserve))
    assert recipe(None, PRUNE, CLUSTER, QuantizeConfig(preserve=preserve))


def test_clusters_can_be_preserved_only_right_after_clustering() -> None:
    message = "mine: preserve is 'clusters'; allowed: only right after a clustering step"
    aware = QuantizeConfig(preserve="clusters")
    for before in ((None,), (None, CLUSTER, None), (None, CLUSTER, PRUNE)):
        with pytest.raises(ValueError, match=exactly(message)):
            recipe(*before, aware)
    assert recipe(None, CLUSTER, aware)


def test_sparsity_preserving_clusters_need_pruning_before() -> None:
    sparse = ClusterConfig(clusters=8, preserve_sparsity=True)
    message = "mine: preserve_sparsity is True; allowed: only after a pruning step"
    with pytest.raises(ValueError, match=exactly(message)):
        recipe(None, sparse, PRUNE)
    assert recipe(None, PRUNE, sparse)


@pytest.mark.parametrize("form", ["float32", "dynamic_range", "h5", "int4_mixed"])
def test_quantization_aware_training_ends_in_int8(form: str) -> None:
    message = f"mine: form is {form!r}; allowed after quantization-aware training: 'int8'"
    with pytest.raises(ValueError, match=exactly(message)):
        recipe(None, QuantizeConfig(), form=form)
    assert recipe(None, PRUNE, form=form)


def test_quantization_aware_training_knows_one_scale_for_dense() -> None:
    message = "mine: per_channel_dense is True; quantization-aware training fixes it to False"
    with pytest.raises(ValueError, match=exactly(message)):
        recipe(None, QuantizeConfig(), export=ExportConfig(form="int8", per_channel_dense=True))


# What a recipe tells


def test_recipe_tells_its_file_and_its_epochs() -> None:
    mine = recipe(None, PRUNE, QuantizeConfig(preserve="sparsity"))
    assert (mine.file_name, mine.epochs) == ("mine.tflite", 3)
    assert recipe(None, form="h5").file_name == "mine.h5"


def test_control_trains_as_long_without_the_techniques() -> None:
    mine = recipe(None, PRUNE, QuantizeConfig(preserve="sparsity"))
    assert mine.control_steps() == (PLAIN, PLAIN, PLAIN)
    assert recipe(None).control_steps() == (PLAIN,)


def training(*steps: Step) -> Training:
    return Training(net="baseline", steps=steps, seed=5)


def test_training_starts_from_all_earlier_steps_and_from_the_net_of_its_mask() -> None:
    masked = Step(train=TRAIN, technique=MaskConfig(like=(PLAIN, PLAIN)))
    assert list(training(PLAIN).needs()) == []
    assert list(training(PLAIN, masked).needs()) == [training(PLAIN), training(PLAIN, PLAIN)]
    assert list(training(masked).needs()) == [training(PLAIN, PLAIN)]


# Teachers

TEACHER = Teacher(net="small_d4", steps=(PLAIN,), seeds=(1, 2), distill=DistillConfig(temperature=2, views=6))


def test_taught_training_needs_the_scores_and_they_need_the_teachers() -> None:
    taught = Step(train=TrainConfig(epochs=3, learning_rate=0.01, augment=0.5), teacher=TEACHER)
    scoring = Scoring(teacher=TEACHER, strength=0.5)
    assert list(training(taught).needs()) == [scoring]
    assert list(training(PLAIN, taught).needs()) == [training(PLAIN), scoring]
    teachers = [Training(net="small_d4", steps=(PLAIN,), seed=seed) for seed in (1, 2)]
    assert list(scoring.needs()) == teachers
    # two teachers, six views, no way back
    assert (scoring.epochs, training(taught).epochs) == (4, 3)


@pytest.mark.parametrize("field", ["steps", "seeds"])
def test_teacher_without_training_or_seed_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=exactly(f"{field} of the teacher is empty; allowed: at least one")):
        replace(TEACHER, **{field: ()})


def test_saved_model_teaches_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "own.keras"
    path.write_bytes(b"a model")
    own = replace(TEACHER, net=str(path), steps=())
    assert list(Scoring(teacher=own, strength=0).needs()) == []


def test_teacher_of_no_known_net_is_refused() -> None:
    with pytest.raises(ValueError, match="net is 'lenet_6'; allowed: "):
        replace(TEACHER, net="lenet_6")


# Settings


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("seed", -1, "whole numbers from 0 to 2**32 - 1"),
        ("seed", 2**32, "whole numbers from 0 to 2**32 - 1"),
        ("seed", True, "whole numbers from 0 to 2**32 - 1"),
        ("seed", None, "whole numbers from 0 to 2**32 - 1"),
        ("n_seeds", 0, "whole numbers from 1"),
        ("n_seeds", 2.0, "whole numbers from 1"),
        ("epochs", 0, "whole numbers from 1"),
        ("fine_tune_epochs", 0, "whole numbers from 1"),
        ("fine_tune_epochs", True, "whole numbers from 1"),
        ("batch_size", 0, "whole numbers from 1"),
        ("learning_rate", 0, "above 0, below 1"),
        ("final_sparsity", 1, "0 up to but not including 1"),
        ("initial_sparsity", -0.1, "0 up to but not including 1"),
        ("initial_sparsity", 0.9, "at most final_sparsity, which is 0.8"),
        ("forms", "most", "'all', 'original'"),
    ],
)
def test_setting_out_of_range_is_refused_by_name(field: str, value: object, allowed: str) -> None:
    with pytest.raises(ValueError, match=exactly(f"{field} is {value!r}; allowed: {allowed}")):
        replace(SETTINGS, **{field: value})  # type: ignore[arg-type]


def test_setting_of_an_unknown_net_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^net is 'resnet'; allowed: "):
        replace(SETTINGS, net="resnet")


@pytest.mark.parametrize("seed", [0, 100, 2**32 - 1])
def test_first_seed_is_the_one_given_and_the_others_follow_from_it(seed: int) -> None:
    seeds = replace(SETTINGS, seed=seed).seeds
    assert seeds[0] == seed
    assert len(set(seeds)) == 3
    assert seeds == replace(SETTINGS, seed=seed).seeds
    assert all(0 <= each < 2**32 for each in seeds)


def test_more_seeds_keep_those_there_were() -> None:
    assert replace(SETTINGS, n_seeds=5).seeds[:3] == SETTINGS.seeds
    assert replace(SETTINGS, n_seeds=1).seeds == [100]


def test_different_first_seeds_share_no_seed() -> None:
    assert not set(SETTINGS.seeds) & set(replace(SETTINGS, seed=101).seeds)


# The catalogue


def test_catalogue_holds_the_forms_and_controls_that_the_issue_asks_for() -> None:
    recipes = catalogue(SETTINGS)
    controls = [name for name, each in recipes.items() if each.is_control]
    assert len(recipes) - len(controls) >= 18
    named = {"longer_trained", "random_pruned", "random_pruned_like", "scratch_pruned", "lottery_pruned"}
    assert named | {f"small_dense_{filters}" for filters in SMALL} <= set(controls)
    assert next(iter(recipes)) == "non_quantized_h5"


def test_catalogue_names_every_file_of_the_comparison() -> None:
    files = {each.file_name for each in catalogue(SETTINGS).values()}
    assert files >= set(PUBLISHED)
    assert files >= {
        "non_quantized.h5",
        "non_quantized.tflite",
        "post_training_quantized.tflite",
        "float16.tflite",
        "int8.tflite",
        "quantization_aware_trained.tflite",
        "longer_trained.tflite",
        "pruned.tflite",
        "pruned_quantized.tflite",
        "pruned_quantization_aware.tflite",
    }


def test_forms_of_the_original_study_are_the_same_ones_with_their_controls() -> None:
    everything, original = catalogue(SETTINGS), catalogue(replace(SETTINGS, forms="original"))
    assert set(original) == {
        "non_quantized_h5", "non_quantized", "post_training_quantized", "float16", "int8",
        "quantization_aware_trained", "pruned", "pruned_h5", "pruned_quantized", "pruned_quantization_aware",
        "pruned_then_plain_qat", "longer_trained", "longer_trained_twice", "longer_trained_quantized",
    }  # fmt: skip
    assert {name: everything[name] for name in original} == original
    for recipe in original.values():
        assert control_of(recipe, original) == control_of(recipe, everything)


def test_no_two_recipes_write_the_same_file() -> None:
    recipes = catalogue(SETTINGS)
    assert len({each.file_name for each in recipes.values()}) == len(recipes)


def test_every_recipe_of_the_study_has_a_float_control_of_equal_training() -> None:
    recipes = catalogue(SETTINGS)
    for name, each in recipes.items():
        control = control_of(each, recipes)
        assert control is not None, name
        other = recipes[control]
        assert other.export.form == "float32"
        assert not any(step.technique for step in other.steps)
        if any(step.technique for step in each.steps) and "longer" not in name:
            assert other.epochs == each.epochs, name


def test_quantized_forms_are_compared_with_the_net_they_come_from() -> None:
    recipes = catalogue(SETTINGS)
    assert control_of(recipes["int8"], recipes) == "non_quantized"
    assert control_of(recipes["pruned_quantized"], recipes) == "longer_trained"
    assert control_of(recipes["pruned_quantization_aware"], recipes) == "longer_trained_twice"
    assert control_of(recipes["longer_trained"], recipes) == "non_quantized"


def test_techniques_start_from_the_baseline_so_that_it_is_trained_once() -> None:
    recipes = catalogue(SETTINGS)
    first = {each.steps[0] for name, each in recipes.items() if not name.startswith(("scratch", "lottery"))}
    assert first == {Step(train=SETTINGS.first_fit)}


def test_pruning_follows_the_settings() -> None:
    for settings in (SETTINGS, replace(SETTINGS, final_sparsity=0.9)):
        pruned = catalogue(settings)["pruned"].steps[1]
        config = PruneConfig(initial_sparsity=0.5, final_sparsity=settings.final_sparsity)
        assert pruned.technique == replace(config, allocation="lamp")
        assert catalogue(settings)["pruned_uniform"].steps[1].technique == config
        assert pruned.train.epochs == 2


def test_float_net_teaches_every_fine_tuning_where_that_is_asked() -> None:
    taught = replace(SETTINGS, teacher_temperature=4.0)
    recipes, plain = catalogue(taught), catalogue(SETTINGS)
    assert list(recipes) == list(plain)
    for name, each in recipes.items():
        if not name.startswith(("scratch", "lottery")):
            assert each.steps[0] == Step(train=taught.first_fit)
            assert all(step.teacher and step.teacher.steps == each.steps[:1] for step in each.steps[1:])
        assert control_of(each, recipes) == control_of(plain[name], plain)


def test_temperature_of_the_teacher_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=exactly("temperature is 0; allowed: finite, above 0")):
        replace(SETTINGS, teacher_temperature=0)


@pytest.mark.parametrize("net", ["lenet_300_100", "lenet_5"])
def test_catalogue_takes_other_nets(net: str) -> None:
    recipes = catalogue(replace(SETTINGS, net=net))
    assert {each.net for each in recipes.values()} == {net}
