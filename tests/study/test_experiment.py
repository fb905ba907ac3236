import hashlib
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from model_compression.files.coding import zip_bytes
from model_compression.files.conversion import ExportConfig
from model_compression.files.graph import read_graph
from model_compression.files.guard import RULES, CorruptFileError
from model_compression.files.running import predict
from model_compression.nets import channels, named, narrowing
from model_compression.nets.distillation import DistillConfig
from model_compression.nets.keras2 import keras
from model_compression.nets.layers import kernel_layers
from model_compression.nets.training import TrainConfig
from model_compression.study import experiment, measuring
from model_compression.study.catalogue import Settings, catalogue
from model_compression.study.experiment import Bench
from model_compression.study.measuring import rule_of
from model_compression.study.outcomes import Outcome
from model_compression.study.recipes import Recipe, Scoring, Step, Teacher
from model_compression.techniques import allocation, clustering, pruning, rate_distortion, structured
from model_compression.techniques.base import Kept, kept_after
from model_compression.techniques.clustering import ClusterConfig
from model_compression.techniques.masking import MaskConfig
from model_compression.techniques.pruning import PruneConfig
from model_compression.techniques.quantization import QuantizeConfig
from model_compression.techniques.rate_distortion import RateConfig
from model_compression.techniques.structured import StructuredConfig

NET = "baseline_4"
BASE = Step(train=TrainConfig(epochs=1, learning_rate=0.02, batch_size=32))
TUNE = Step(train=TrainConfig(epochs=1, learning_rate=0.01, batch_size=64))


def tuned(*techniques: object) -> tuple[Step, ...]:
    return (BASE, *(replace(TUNE, technique=technique) for technique in techniques))  # type: ignore[arg-type]


def recipe(name: str, steps: tuple[Step, ...], form: str, **fields: object) -> Recipe:
    return Recipe(name=name, net=NET, steps=steps, export=ExportConfig(form=form), **fields)  # type: ignore[arg-type]


def grid(sparsity: float) -> dict[str, Recipe]:
    prune = PruneConfig(final_sparsity=sparsity, initial_sparsity=0.5)
    return {
        "plain": recipe("plain", (BASE,), "float32"),
        "keras": recipe("plain", (BASE,), "h5"),
        "pruned": recipe("pruned", tuned(prune), "int8"),
        "pqat": recipe("pqat", tuned(prune, QuantizeConfig(preserve="sparsity")), "int8"),
        "clustered": recipe("clustered", tuned(ClusterConfig(clusters=8)), "int8"),
        "from_scratch": recipe(
            "from_scratch", (replace(BASE, technique=MaskConfig(like=tuned(prune))),), "int8"
        ),
    }


RECIPES = grid(0.8)


@dataclass
class Spy:
    """A report that remembers which trainings it heard of."""

    titles: dict[str, str] = field(default_factory=dict)

    def __call__(self, key: str, title: str, done: float) -> None:
        self.titles[key] = title

    @property
    def trained(self) -> list[str]:
        return sorted(title.split(", ")[1] for title in self.titles.values())


def carry_out(bench: Bench, recipes: Sequence[Recipe], seed: int = 0) -> tuple[dict[str, Outcome], Spy]:
    spy = Spy()
    return {each.file_name: bench.run(each, seed, spy) for each in recipes}, spy


@pytest.fixture(scope="module")
def bench(few_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(dataset=str(few_file), cache_dir=str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def first(bench: Bench) -> tuple[dict[str, Outcome], Spy]:
    """Every recipe once, from an empty cache."""
    return carry_out(bench, list(RECIPES.values()))


def entry(bench: Bench, key: str) -> Path:
    return Path(bench.cache_dir) / key[:2] / f"{key}.pickle"


First = tuple[dict[str, Outcome], Spy]

# Records


def test_each_training_is_done_once_and_shared(first: First) -> None:
    assert first[1].trained == [
        "clustering to 8",
        "masking",
        "pruning",
        "quantization-aware training",
        "training",
    ]


def test_record_tells_what_the_file_is(first: First, bench: Bench) -> None:
    outcome = first[0]["pruned.tflite"]
    record, graph = outcome.record, read_graph(outcome.content)
    stored = [kernel.values for kernel, _ in graph.kernels()]
    assert (record.recipe, record.file, record.seed) == ("pruned", "pruned.tflite", 0)
    assert record.key == bench.record_key(RECIPES["pruned"], 0)
    assert record.file_bytes == len(outcome.content)
    assert record.zip_bytes == zip_bytes(outcome.content)
    assert record.best_coded_bytes <= record.zip_bytes
    # filters that are zero throughout are gone, and what read them
    assert record.weights == sum(values.size for values in stored) <= 36 + 6760
    assert record.nonzero_weights == sum(int(np.count_nonzero(values)) for values in stored)
    assert record.unique_values == max(len(np.unique(values)) for values in stored)
    assert record.dense_macs == stored[0].size * 676 + stored[1].size
    assert record.entropy_bytes < record.best_coded_bytes


def test_accuracy_is_that_of_the_file_on_all_test_images(first: First, bench: Bench) -> None:
    for outcome in first[0].values():
        assert outcome.predictions.shape == bench.data.y_test.shape
        assert outcome.record.accuracy == np.mean(outcome.predictions == bench.data.y_test) > 0.6
    content = first[0]["pruned.tflite"].content
    images = np.divide(bench.data.x_test, 255, dtype=np.float32)
    np.testing.assert_array_equal(predict(content, images), first[0]["pruned.tflite"].predictions)


def test_keras_file_and_float_file_answer_alike(first: First) -> None:
    keras, lite = first[0]["plain.h5"], first[0]["plain.tflite"]
    assert np.mean(keras.predictions == lite.predictions) > 0.998
    assert keras.record.weights == lite.record.weights
    assert keras.content[:4] == b"\x89HDF"


def test_techniques_leave_what_they_promise(first: First) -> None:
    def dense(name: str) -> np.ndarray:
        return read_graph(first[0][f"{name}.tflite"].content).kernels()[1][0].dequantized()

    for name in ("pruned", "pqat", "from_scratch"):
        # what is left of 6,760 weights, where the slimmer has taken out what is never read
        assert np.sum(dense(name) != 0) <= 6760 - 5408
    assert len(np.unique(dense("clustered"))) <= 8
    assert np.mean(dense("plain") == 0) < 0.01


def test_masked_net_has_its_zeros_where_the_pruned_net_has_them(first: First) -> None:
    zeros = [
        read_graph(first[0][f"{name}.tflite"].content).kernels()[1][0].dequantized() == 0
        for name in ("pruned", "from_scratch")
    ]
    # a trained weight may round to 0 as well; the same filters are gone from both
    assert zeros[0].shape == zeros[1].shape
    assert np.mean(zeros[0] == zeros[1]) > 0.97


# Again


def test_same_seed_gives_equal_files_and_records_in_another_order(
    first: First, bench: Bench, tmp_path: Path
) -> None:
    fresh = replace(bench, cache_dir=str(tmp_path))
    names = ["pqat", "clustered", "pruned", "plain"]
    again, _ = carry_out(fresh, [RECIPES[name] for name in names])
    for name, outcome in again.items():
        assert outcome.content == first[0][name].content, name
        assert asdict(outcome.record) == asdict(first[0][name].record)
        np.testing.assert_array_equal(outcome.predictions, first[0][name].predictions)


def test_what_is_stored_is_not_computed_again(first: First, bench: Bench) -> None:
    again, spy = carry_out(bench, list(RECIPES.values()))
    assert spy.trained == []
    for name, outcome in again.items():
        assert outcome.content == first[0][name].content
        assert outcome.record == first[0][name].record


def test_another_sparsity_retrains_only_what_depends_on_it(first: First, bench: Bench) -> None:
    recipes = grid(0.7)
    other, spy = carry_out(
        bench, [recipes[name] for name in ("plain", "pruned", "clustered", "from_scratch")]
    )
    assert spy.trained == ["masking", "pruning"]
    assert other["plain.tflite"].record == first[0]["plain.tflite"].record
    assert other["pruned.tflite"].record.nonzero_weights > first[0]["pruned.tflite"].record.nonzero_weights


@pytest.mark.parametrize("damaged", ["record", "training"])
def test_damaged_entry_is_said_and_computed_again(
    first: First, bench: Bench, caplog: pytest.LogCaptureFixture, damaged: str
) -> None:
    pruned = RECIPES["pruned"]
    keys = {
        "record": bench.record_key(pruned, 0),
        "training": bench.training_key(NET, pruned.steps, 0),
    }
    path = entry(bench, keys[damaged])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    if damaged == "training":
        # or else the record answers without a look at the weights
        entry(bench, keys["record"]).unlink()
    with caplog.at_level(logging.WARNING):
        outcomes, spy = carry_out(bench, [pruned])
    assert f"{keys[damaged][:12]} is damaged; it will be computed again" in caplog.text
    assert spy.trained == {"record": [], "training": ["pruning"]}[damaged]
    assert outcomes["pruned.tflite"].content == first[0]["pruned.tflite"].content
    assert outcomes["pruned.tflite"].record == first[0]["pruned.tflite"].record
    assert path.exists()


TEACHER = Teacher(net=NET, steps=(BASE,), seeds=(0, 1), distill=DistillConfig(temperature=2.0, views=2))


def taught(teacher: Teacher = TEACHER, name: str = "taught", augment: float = 0.3) -> Recipe:
    train = replace(BASE.train, augment=augment)
    return recipe(name, (Step(train=train, teacher=teacher),), "packed_int4")


def test_teachers_and_their_scores_are_computed_once_for_all_students(first: First, bench: Bench) -> None:
    outcomes, spy = carry_out(bench, [taught()])
    # the teacher of seed 0 is the net that other recipes start from
    assert spy.trained == ["scoring", "training", "training"]
    assert outcomes["taught.tflite"].record.accuracy > 0.6
    hotter = replace(TEACHER, distill=DistillConfig(temperature=3.0, views=2))
    _, spy = carry_out(bench, [taught(hotter, "hotter")])
    assert spy.trained == ["training"]


def test_key_of_a_student_changes_with_all_that_makes_its_lesson(bench: Bench) -> None:
    seeds = replace(TEACHER, seeds=(0,))
    steps = replace(TEACHER, steps=(BASE, BASE))
    views = replace(TEACHER, distill=DistillConfig(temperature=2.0, views=3))
    hotter = replace(TEACHER, distill=DistillConfig(temperature=3.0, views=2))
    recipes = [taught(each) for each in (TEACHER, seeds, steps, views, hotter)]
    recipes += [taught(augment=0.4), recipe("untaught", (BASE,), "packed_int4")]
    keys = {key_of(bench, each.steps) for each in recipes}
    assert len(keys) == len(recipes)


def test_scores_are_found_in_the_store(first: First, bench: Bench) -> None:
    task = Scoring(teacher=TEACHER, strength=0.3)
    scored = bench.scores(task, Spy())
    assert bench.store.has(bench.key(task))
    np.testing.assert_array_equal(bench.scores(task, lambda *told: pytest.fail("computed again")), scored)
    assert scored.shape == (2, len(bench.data.y_train), 10)


def test_saved_model_teaches_what_it_is_narrowed_to(few_file: Path, tmp_path: Path) -> None:
    # hardly trained, one in ten such nets has scores too near each other for int8
    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = keras.Input((28, 28, 1))
    first = layers.BatchNormalization()(layers.Conv2D(6, 3, strides=2)(image))
    both = layers.Add()([first, layers.Conv2D(6, 3, padding="same")(layers.ReLU()(first))])
    path = tmp_path / "own.keras"
    own = keras.Model(image, layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(both)))
    own.save(path)
    settings = Settings(
        seed=0,
        n_seeds=1,
        epochs=1,
        fine_tune_epochs=1,
        batch_size=32,
        learning_rate=0.01,
        initial_sparsity=0.5,
        final_sparsity=0.8,
        net=str(path),
        teacher_temperature=4.0,
    )
    narrow = catalogue(settings)["structured_pruned_quantized"]
    bench = Bench(dataset=str(few_file), train_images=300, cache_dir=str(tmp_path / "cache"))
    outcomes, spy = carry_out(bench, [narrow])
    assert sorted(title.split(", ")[1] for title in spy.titles.values()) == ["scoring", "structured pruning"]
    # 13 x 13 places, 3 of 6 filters: 9 from the image, 27 from each other; 3 x 10 at the end
    assert outcomes[narrow.file_name].record.dense_macs == 169 * (3 * 9 + 3 * 27) + 30
    plain = replace(narrow, steps=tuple(replace(step, teacher=None) for step in narrow.steps))
    assert bench.training_key(plain.net, plain.steps, 0) != bench.training_key(narrow.net, narrow.steps, 0)


def test_file_that_fails_the_guard_is_not_stored(
    first: First, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = recipe("unstored", tuned(PruneConfig(final_sparsity=0.8, initial_sparsity=0.5)), "int8")
    monkeypatch.setattr(
        experiment.measuring.conversion, "export", lambda *args, **options: first[0]["plain.tflite"].content
    )
    with pytest.raises(CorruptFileError, match=r"32 bits; promised: \[8\]$"):
        bench.run(other, 0, Spy())
    assert not bench.store.has(bench.record_key(other, 0))


# Keys


def test_file_is_made_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    made, export = [], measuring.export
    monkeypatch.setattr(measuring, "export", lambda *given, **more: made.append(1) or export(*given, **more))
    carry_out(bench, [recipe("once", tuned(QuantizeConfig()), "int8")])
    assert len(made) == 1


def key_of(bench: Bench, steps: tuple[Step, ...], seed: int = 0, net: str = NET) -> str:
    return bench.training_key(net, steps, seed)


def test_key_changes_with_all_that_makes_a_training(bench: Bench) -> None:
    prune = PruneConfig(final_sparsity=0.8)
    steps = tuned(prune)
    keys = [
        key_of(bench, steps),
        key_of(bench, steps, seed=1),
        key_of(bench, steps, net="baseline_5"),
        key_of(replace(bench, train_images=1000), steps),
        key_of(bench, tuned(replace(prune, final_sparsity=0.9))),
        key_of(bench, tuned(None)),
        key_of(bench, (replace(BASE, train=replace(BASE.train, epochs=2)), steps[1])),
        key_of(bench, tuned(prune, None)),
        key_of(bench, (BASE,)),
        key_of(bench, tuned(MaskConfig(like=steps))),
        key_of(bench, tuned(MaskConfig(like=tuned(replace(prune, final_sparsity=0.9))))),
        key_of(bench, tuned(MaskConfig(random_sparsity=0.8))),
        key_of(bench, tuned(MaskConfig(random_sparsity=0.0))),
    ]
    assert len(set(keys)) == len(keys)


def test_sparsity_does_not_change_the_baselines_key(bench: Bench) -> None:
    assert len({key_of(bench, grid(sparsity)["pruned"].steps[:1]) for sparsity in (0.8, 0.9)}) == 1
    assert len({bench.record_key(grid(sparsity)["plain"], 0) for sparsity in (0.8, 0.9)}) == 1
    assert len({bench.record_key(grid(sparsity)["pruned"], 0) for sparsity in (0.8, 0.9)}) == 2


def test_key_does_not_depend_on_where_the_cache_lies(bench: Bench) -> None:
    assert key_of(bench, (BASE,)) == key_of(replace(bench, cache_dir="elsewhere"), (BASE,))


def test_record_key_changes_with_the_export(bench: Bench) -> None:
    pruned = RECIPES["pruned"]
    exports = [
        ExportConfig(form="int8"),
        ExportConfig(form="int8", per_channel_dense=True),
        ExportConfig(form="float32"),
    ]
    assert len({bench.record_key(replace(pruned, export=export), 0) for export in exports}) == 3


def test_training_depends_on_what_its_technique_imports_whole() -> None:
    assert RateConfig(price=0.1).modules == (rate_distortion, channels)
    assert StructuredConfig(keep=0.5).modules == (structured, narrowing)
    assert PruneConfig(final_sparsity=0.5).modules == (pruning, allocation)
    assert ClusterConfig(clusters=4).modules == (clustering,)


@pytest.mark.parametrize("module", ["pruning", "training"])
def test_changed_training_code_changes_the_key_of_what_uses_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    before = key_of(bench, (BASE,)), key_of(bench, RECIPES["pruned"].steps)
    changed = {"pruning": pruning, "training": experiment.training}[module]

    def digest(*modules: object) -> str:
        names = [f"{each} changed" if each is changed else str(each) for each in modules]
        return hashlib.sha256("".join(names).encode()).hexdigest()

    def unchanged(*modules: object) -> str:
        return hashlib.sha256("".join(str(each) for each in modules).encode()).hexdigest()

    monkeypatch.setattr(experiment, "code_digest", unchanged)
    base, pruned = key_of(bench, (BASE,)), key_of(bench, RECIPES["pruned"].steps)
    monkeypatch.setattr(experiment, "code_digest", digest)
    assert (key_of(bench, (BASE,)) != base) == (module != "pruning")
    assert key_of(bench, RECIPES["pruned"].steps) != pruned
    assert (base, pruned) != before


def test_seed_of_each_step_is_its_own_and_0_is_a_seed() -> None:
    seeds = {experiment._seed_of(seed, depth) for seed in (0, 1, 2) for depth in (1, 2, 3)}
    assert len(seeds) == 9


# Promises


def promised(*techniques: object) -> Kept:
    net = named.build(NET, input_shape=(28, 28), classes=10, seed=0)
    return kept_after(tuned(*techniques), kernel_layers(net))


def counts(of: dict[str, int]) -> list[int]:
    return list(of.values())


PRUNE = PruneConfig(final_sparsity=0.8)
SPARSE = ClusterConfig(clusters=8, preserve_sparsity=True)


@pytest.mark.parametrize(
    ("techniques", "zeros", "unique"),
    [
        ((), [], []),
        ((PRUNE,), [29, 5408], []),
        ((replace(PRUNE, conv_sparsity=0.25),), [9, 5408], []),
        ((PruneConfig(final_sparsity=0.5, pattern="2:4"),), [3380], []),
        ((replace(PRUNE, pattern="block"),), [5408], []),
        ((PRUNE, QuantizeConfig(preserve="sparsity")), [29, 5408], []),
        ((PRUNE, QuantizeConfig()), [], []),
        ((PRUNE, None), [], []),
        ((ClusterConfig(clusters=8),), [], [8, 8]),
        ((PRUNE, ClusterConfig(clusters=8)), [], [8, 8]),
        ((PRUNE, SPARSE), [29, 5408], [8, 8]),
        ((PRUNE, SPARSE, QuantizeConfig(preserve="sparsity and clusters")), [29, 5408], [8, 8]),
        ((PRUNE, SPARSE, QuantizeConfig(preserve="clusters")), [], [8, 8]),
        ((MaskConfig(random_sparsity=0.5),), [18, 3380], []),
        ((MaskConfig(like=tuned(PRUNE)),), [29, 5408], []),
    ],
)
def test_promise_is_what_the_steps_keep(
    techniques: tuple[object, ...], zeros: list[int], unique: list[int]
) -> None:
    promise = promised(*techniques)
    assert counts(dict(promise.zeros)) == zeros
    assert counts(dict(promise.unique_values)) == unique


@pytest.mark.parametrize(
    ("techniques", "form", "rule"),
    [
        ((), "int8", "int8"),
        ((), "float16", "float16"),
        ((), "h5", "float32"),
        ((QuantizeConfig(weight_bits=4),), "int8", "int4_qat"),
    ],
)
def test_rule_follows_the_form(techniques: tuple[object, ...], form: str, rule: str) -> None:
    made = recipe("mine", tuned(*techniques), form)
    assert rule_of(made, promised(*techniques)) == RULES[rule]
