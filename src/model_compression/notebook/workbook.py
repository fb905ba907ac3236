"""What the notebook's cells call: one object that computes by name and writes what it shows."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import Image, Markdown

from .. import REPOSITORY
from ..data.datasets import Dataset, scale
from ..evidence import devices, forms, plots
from ..files.graph import account, read_graph
from ..frontier import plots as frontier_plots
from ..frontier import tables as frontier_tables
from ..nets.layers import kernels
from ..own_model.bench import bench_of, takes
from ..runtimes import deployment, latency
from ..runtimes.smallest import Limits, Runtime, smallest
from ..saved_models.files import is_path
from ..store import writable_folder, write_atomically
from ..study.catalogue import PUBLISHED, Settings, catalogue, control_of
from ..study.experiment import Bench
from ..study.outcomes import Outcome
from ..study.recipes import Recipe
from ..study.scheduling import Failure, Study
from . import slider
from .files import tell_left_out
from .gallery import Gallery, NothingToDrawError


class Workbook(Gallery):
    """The study of one parameters cell.

    Args:
        settings: the knobs, already checked.
        dataset: a name or path that `load_dataset` takes.
        train_images: the first so many; None for all.
        results_dir, models_dir, cache_dir, data_dir: folders, made where missing; relative ones count
            from the top of the repository, wherever the notebook is run from.
    Raises:
        NotADirectoryError, PermissionError: a folder that cannot be used, before any training.
        ValueError: more training images than there are.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        dataset: str,
        train_images: int | None,
        results_dir: str,
        models_dir: str,
        cache_dir: str,
        data_dir: str = "data",
    ) -> None:
        self.settings = settings
        results, cache, self.models = (
            writable_folder(REPOSITORY / each) for each in (results_dir, cache_dir, models_dir)
        )
        super().__init__(results, cache)
        data = str(REPOSITORY / data_dir)
        bench = Bench(dataset=dataset, train_images=train_images, cache_dir=str(cache), data_dir=data)
        self.bench = bench_of(bench, settings.net)
        # a saved model's layers may rule forms out
        self.recipes, reasons = takes(self.bench, settings.net, catalogue(settings))
        tell_left_out(reasons)
        self.study = Study(self.bench, self.recipes, settings.seeds)
        _ = self.data

    @property
    def data(self) -> Dataset:
        """The images as they were given, with what the net is asked of them."""
        asked = self.bench.fed(self.settings.net)
        told = {name: getattr(asked, name) for name in ("task", "classes", "y_train", "y_val", "y_test")}
        return replace(self.bench.data, **told)

    @property
    def test_images(self) -> np.ndarray:
        """float32 (n, ...) as the files take them."""
        return scale(self.bench.fed(self.settings.net).x_test)

    @property
    def is_named(self) -> bool:
        """Whether the net is one of the study's, and not somebody's saved model."""
        return not is_path(self.settings.net)

    @property
    def score(self) -> str:
        """What accuracy is: of values, the coefficient of determination."""
        return "accuracy (1 - squared error / variance)" if self.data.of_values else "accuracy"

    def show_examples(self) -> Image:
        """The first training inputs with their labels, as pictures, curves or bars."""
        data, answers = self.data, self.data.y_train[:12]
        # several answers have no room above a picture
        told = np.arange(12) if answers[0].size > 1 else answers.ravel()
        words = [f"{each:.4g}" for each in told]
        return self.show_figure("examples", plots.examples, data.x_train[: len(words)], words, data.kind)

    def start(self) -> None:
        """Begin to compute everything in the background, in the order of the notebook."""
        self.study.start()

    def _on_devices(self) -> dict[str, Recipe]:
        """What is meant for a device: forms and small dense nets; no Keras file, no other control."""
        files = {name: each for name, each in self.recipes.items() if each.export.form != "h5"}
        return {name: x for name, x in files.items() if not x.is_control or x.net != self.settings.net}

    def outcome(self, name: str) -> Outcome:
        """A recipe's outcome with the first seed; its file is written to the models' folder.

        Raises:
            RuntimeError: the recipe failed: its error.
        """
        self.study.wait([name], [self.settings.seed])
        found = self.study.outcome(name, self.settings.seed)
        if isinstance(found, Failure):
            raise RuntimeError(f"{name} failed: {found.error}")
        write_atomically(self.models / found.record.file, found.content)
        return found

    def known(self, *names: str) -> list[str]:
        """Those of the names that there is a file of: a saved model may rule some out."""
        there = [name for name in names if name in self.recipes]
        if self.is_named:
            return there
        self.study.wait(there, [self.settings.seed])
        found = {name: self.study.outcome(name, self.settings.seed) for name in there}
        return [name for name, each in found.items() if not isinstance(each, Failure)]

    def has(self, *names: str) -> bool:
        """Whether there is a file of all of these; says which are missing."""
        if missing := [name for name in names if name not in self.known(*names)]:
            print(f"not of this model: {', '.join(missing)}")
        return not missing

    def alike(self, one: Outcome, other: Outcome, name: str) -> str:
        """How alike two forms answer the test inputs; the other's name as a reader should see it."""
        if one.predictions.dtype.kind == "f":
            apart = np.abs(one.predictions - other.predictions).max()
            return f"answers at most {apart:.2g} from those of {name}"
        same = int((one.predictions == other.predictions).sum())
        return f"same label as {name} on {same:,} of {one.predictions.size:,} test inputs"

    def first_seed(self, *names: str) -> dict[str, list[Outcome]]:
        """Outcomes of the first seed, a list of one each, of those recipes that there is a file of."""
        return {name: [self.outcome(name)] for name in self.known(*names)}

    def kernels(self, name: str) -> dict[str, np.ndarray]:
        """The trained kernels of a recipe's net, first seed, by layer."""
        self.outcome(name)
        recipe = self.recipes[name]
        model = self.bench.trained(recipe.net, recipe.steps, self.settings.seed, lambda *progress: None)
        return {layer: kernel.numpy() for layer, kernel in kernels(model).items()}

    def layers(self, name: str) -> pd.DataFrame:
        """The account of a file, layer by layer."""
        rows = account(read_graph(self.outcome(name).content))
        table = pd.DataFrame([asdict(row) for row in rows])
        table.insert(4, "sparsity", 1 - table.nonzero / table.weights)
        table["shape"] = [" x ".join(map(str, shape)) for shape in table["shape"]]
        return table

    def comparison(self, *names: str) -> pd.DataFrame:
        """The files of the first seed side by side."""
        found = {outcome.record.file: outcome for outcome in map(self.outcome, names)}
        equal = {
            self.recipes[name].file_name: self.outcome(control).record.accuracy
            for name in names
            for control in self.known(control_of(self.recipes[name], self.recipes) or name)
            if control != name and not self.recipes[name].is_control
        }
        # what was published is of this net on MNIST
        original = (self.settings.net, self.bench.dataset) == ("baseline", "mnist")
        return forms.model_comparison(found, equal, PUBLISHED if original else {})

    def over_seeds(self, *names: str) -> dict[str, list[Outcome]]:
        """Every seed's outcome of each recipe; recipes that failed are left out."""
        return self.study.whole(names)

    def shedding(self) -> list[str]:
        """The forms that shed weights: pruned, clustered and coded ones, and narrower nets."""
        found = self._device_outcomes()
        most = max((each.record.weights for each in found.values()), default=0)
        shed = [x for x in found if self.recipes[x].sheds_weights or found[x].record.weights < most]
        return [name for name in shed if not self.recipes[name].is_control]

    def study_picture(self, name: str) -> Image | None:
        """The picture of a table that `make study` left, drawn anew.

        None before it has run, and for other data.
        """
        if self.bench.dataset != "mnist":
            print("not shown: it is of the study's own nets and data")
            return None
        table, draw = frontier_plots.PICTURES[name]
        try:
            return self.show_figure(name, draw, pd.read_csv(REPOSITORY / "results" / f"{table}.csv"))
        except (FileNotFoundError, NothingToDrawError):
            print(f"{name} is not there yet: run make study")
            return None

    def unreached(self) -> Markdown | None:
        """The published points that the frontier does not reach; None as with `study_picture`."""
        path = REPOSITORY / "results" / "frontier.csv"
        if self.bench.dataset != "mnist" or not path.exists():
            return None
        return Markdown(frontier_tables.unreached(pd.read_csv(path)))

    def show_lost(self, lost: pd.DataFrame, *, columns: int = 12) -> Image | None:
        """The inputs of `who_pays.lost`, each with its label and what it is taken for; None of none."""
        self.save(lost, "who-pays-images")
        if lost.empty:
            return None
        words = [f"{row.label} as {row.taken_for}" for row in lost.head(columns).itertuples()]
        inputs = self.data.x_test[lost.image[:columns]]
        return self.show_figure("who-pays-images", plots.examples, inputs, words, self.data.kind)

    def _device_outcomes(self) -> dict[str, Outcome]:
        """What `_on_devices` gave with the first seed; what failed is left out."""
        found = {name: self.study.outcome(name, self.settings.seed) for name in self._on_devices()}
        return {name: each for name, each in found.items() if isinstance(each, Outcome)}

    def device_files(self) -> dict[str, bytes]:
        """Each file of `_on_devices` with the first seed, and its look-up tables where it was clustered.

        Recipes that failed are left out; the others lie in the models' folder.
        """
        files = {name: each.content for name, each in self._device_outcomes().items()}
        shared = [name for name in files if self.recipes[name].shares_values]
        files = deployment.with_tables(files, shared, store=self.bench.store)
        for name, content in files.items():
            write_atomically(self.models / f"{name}.tflite", content)
        return files

    def deployment(self, images: int | None = None) -> pd.DataFrame:
        """What each file does on LiteRT and on TFLite Micro; see `deployment.table`.

        Waits for all trainings first, because a latency beside them would be that of a busy machine.

        Args:
            images: the first so many test images; None for all.
        """
        self.study.wait()
        inputs = self.bench.fed(self.settings.net).x_test[:images]
        store = self.bench.store
        return deployment.table(self.device_files(), inputs, store=store, processes=latency.PROCESSES)

    def smallest(self, measured: pd.DataFrame, *, max_drop: float, runtime: Runtime) -> Markdown:
        """The smallest form within an accuracy drop on validation images, in one line.

        Args:
            measured: what `deployment` gave.
            max_drop: a fraction; 0.005 is half a percentage point.
        """
        records = {name: each.record for name, each in self._device_outcomes().items()}
        forms = measured[~measured.recipe.isin([name for name, x in self.recipes.items() if x.is_control])]
        of_values = self.data.task == "values"
        found = deployment.candidates(forms, self.device_files(), records, of_values=of_values)
        choice = smallest(found, Limits(max_drop=max_drop, runtime=runtime))
        path = Path(self.models.name) / f"{choice.form.name if choice.form else ''}.tflite"
        return Markdown(devices.sentence(choice, path, max_drop=max_drop, runtime=runtime))

    def sparsity_slider(self) -> Image | None:
        """A slider over the sparsities; where nobody can move it, the picture that it starts with."""
        if not self.known("pruned_quantized"):
            return None
        tweak = slider.Tweak(self.study, self.settings)
        if slider.attended():
            tweak.slider()
            return None
        # the same for everyone: other sparsities may lie in one cache and not in another
        others = [0.0] if tweak.start else []
        return self.show_figure("sparsity-slider", plots.tweaked, *tweak.found(*others, tweak.start))

    def finish(self) -> None:
        """Wait for all that was started.

        Raises:
            RuntimeError: recipes of the study's own nets that failed, each with its error; those of a saved
            model are told.
        """
        self.study.wait()
        for name in self.recipes:
            self.study.outcomes(name)
        # what the slider tried is not part of the study
        failures = [each for each in self.study.failures if each.recipe in self.recipes]
        if failures and self.is_named:
            lines = [f"{each.recipe}, seed {each.seed}: {each.error}" for each in failures]
            raise RuntimeError("\n".join(["some recipes failed, the others are done:", *lines]))
        tell_left_out({each.recipe: devices.plainly(each.error) for each in failures})
