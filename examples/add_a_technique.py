"""A technique of your own: kernels on a grid, rounded at random (Gupta et al. 2015, arXiv:1502.02551)."""

from dataclasses import dataclass

from model_compression.evidence.forms import all_forms
from model_compression.files.conversion import ExportConfig
from model_compression.nets.layers import clone, kernel, kernel_layers, tf
from model_compression.nets.training import TrainConfig
from model_compression.study.experiment import Bench
from model_compression.study.recipes import Recipe, Step
from model_compression.techniques.base import Kept, Technique


@dataclass(frozen=True, kw_only=True)
class RoundConfig(Technique):
    step: float
    label = "rounding at random"

    def wrap(self, net, *, steps, seed, source=None):
        def rounded(weights):
            points = tf.floor(weights / self.step + tf.random.uniform(weights.shape))
            return self.step * tf.clip_by_value(points, -31, 31)

        for layer in kernel_layers(copy := clone(net)):
            kernel(layer)._constraint = rounded
        return copy

    def promise(self, layers, before):
        return Kept(unique_values={layer.name: 63 for layer in layers})


if __name__ == "__main__":
    train, lite = TrainConfig(epochs=3, learning_rate=2e-3, batch_size=32), ExportConfig(form="float32")
    steps = (Step(train=train), Step(train=train, technique=RoundConfig(step=1 / 32)))
    mine = Recipe(name="rounded", net="baseline", steps=steps, export=ExportConfig(form="int8"))
    plain = Recipe(name="non_quantized", net="baseline", steps=mine.control_steps(), export=lite)
    bench, recipes = Bench(dataset="mnist", train_images=4000, cache_dir="cache"), (mine, plain)
    found = {recipe.name: [bench.run(recipe, 0, lambda *_: None)] for recipe in recipes}
    table = all_forms(found, {recipe.name: recipe for recipe in recipes}, bench.data.y_test)
    print(*(each.record for (each,) in found.values()), table.iloc[0], sep="\n")
