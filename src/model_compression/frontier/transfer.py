"""What holds elsewhere: the same forms on five pairs of data and net, and on other test images.

On `mnist_rotated` nothing was chosen: all forms of the notebook and the plans of the frontier that stand are
computed once there, and set beside what stands in the results. Its test images that are validation images of
MNIST here, on which forms and plans were chosen, are left out of what is said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.colors
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..data.datasets import ROTATED
from ..evidence import layers
from ..evidence.forms import all_forms
from ..evidence.plots import cells
from ..evidence.style import PALETTE, page, reach
from ..evidence.tables import SHADES, save_csv
from ..own_model.bench import takes
from ..runtimes.deployment import BASELINE
from ..study.catalogue import Settings, catalogue, control_of
from ..study.experiment import Bench
from ..study.recipes import Recipe
from ..study.scheduling import Study
from . import records, tables


class Pair(NamedTuple):
    """Data and the net that learns them."""

    dataset: str
    net: str

    @property
    def name(self) -> str:
        """As the command calls it."""
        return f"{self.dataset}-{self.net}"


PAIRS = (
    Pair("mnist", "baseline"),
    Pair("fashion_mnist", "baseline"),
    Pair("fashion_mnist", "ds_cnn"),
    Pair("fashion_mnist", "resnet_8"),
    Pair("mnist1d", "cnn_1d"),
)
#: Of the catalogue; what a net cannot take is left out there, with the reason.
FORMS = (
    "float16", "post_training_quantized", "int8", "int16x8", "int4_weight_only", "int4_mixed",
    "quantization_aware_trained", "quantization_aware_int4", "pruned_half", "pruned_quantized",
    "pruned_uniform", "pruned_quantization_aware", "pruned_2_by_4", "clustered_16", "clustered_8",
    "pruned_clustered",
)  # fmt: skip
#: The net that further training at the baseline's rate makes worse, once its batch normalization is taken
#: out, and the rate at which it is fine-tuned: of those tried the one that leaves the float net the best on
#: one seed's validation images.
FINE_TUNE = {"resnet_8": 2e-3}
#: Adam's peak rates that were tried for it, and on what: the float net chooses, the other is recorded.
RATES, TRIED = (5e-3, 2e-3, 1e-3, 5e-4), ("longer_trained", "quantization_aware_trained")


def settings(net: str) -> Settings:
    """The notebook's parameters, for another net."""
    return Settings(net=net, fine_tune_rate=FINE_TUNE.get(net))


def with_controls(recipes: Mapping[str, Recipe], wanted: Sequence[str]) -> dict[str, Recipe]:
    """The recipes of these names, and the float nets that they are compared with."""
    names = {BASELINE: None}
    for name in wanted:
        names |= dict.fromkeys((name, str(control_of(recipes[name], recipes))))
    return {name: recipes[name] for name in names}


def recipes_of(pair: Pair, bench: Bench) -> tuple[dict[str, Recipe], dict[str, str]]:
    """The forms that a pair's net can take, with their controls; why it cannot take the others."""
    return takes(bench, pair.net, with_controls(catalogue(settings(pair.net)), FORMS))


def write_pair(pair: Pair, study: Study, results: Path) -> None:
    """Put a pair's rows, see `all_forms`, into `pairs.csv`; `left_out` says why there are no figures."""
    _, reasons = recipes_of(pair, study.bench)
    left_out = pd.DataFrame({"recipe": list(reasons), "left_out": list(reasons.values()), "role": "form"})
    forms = all_forms(study.whole(study.recipes), study.recipes, study.bench.data.y_test)
    table = pd.concat([each for each in (forms, left_out) if len(each)], ignore_index=True)
    put_pair(results / "pairs.csv", table.assign(dataset=pair.dataset, net=pair.net), pair)


def put_pair(path: Path, rows: pd.DataFrame, pair: Pair) -> pd.DataFrame:
    """The table on the disk with a pair's rows in place of those it had, the pairs in their order."""
    table = records.replaced(records.read(path, list(rows)), rows, ["dataset", "net"])
    places = {each.name: place for place, each in enumerate(PAIRS)}
    order = (table["dataset"] + "-" + table["net"]).map(places)
    table = table.iloc[order.argsort(kind="stable")].reset_index(drop=True)
    records.save(table, path)
    return table


def pairs(table: pd.DataFrame) -> Figure:
    """Forms against pairs of data and net: in each cell the change against the control, and the verdict.

    Args:
        table: what `put_pair` gives.
    """
    rows = table.assign(verdict=table["verdict"].astype(object).fillna(""))
    rows = rows.sort_values("role", key=lambda role: role != "form", kind="stable")
    rows["pair"], rows["form"] = rows["net"] + "\n" + rows["dataset"], rows["recipe"]
    rows["form"] += rows["role"].map({"form": "", "control": ", control"})
    tested = rows["change_pp"].map("{:+.2f} ".format) + rows["verdict"]
    untested = rows["accuracy_mean"].isna().map({True: "not taken", False: "float net"})
    rows["said"] = tested.where(rows["change_pp"].notna(), untested)
    wide = rows.set_index(["form", "pair"])[["said", "verdict"]].unstack(fill_value="", sort=False)
    words, verdicts = wide["said"], wide["verdict"].to_numpy().ravel()
    shades = matplotlib.colors.to_rgba_array([SHADES.get(each, "white") for each in verdicts])
    title = "Change of accuracy against equal training (controls: against the float net), points"
    return cells(words, shades.reshape(*words.shape, 4), title)


def of_forms(table: pd.DataFrame) -> pd.DataFrame:
    """Errors, changes and verdicts of the rows of `all_forms`."""
    return pd.DataFrame(
        {
            "name": table["recipe"],
            "error_pct": 100 * (1 - table["accuracy_mean"]),
            "error_low_pct": 100 * (1 - table["accuracy_ci_high"]),
            "error_high_pct": 100 * (1 - table["accuracy_ci_low"]),
            "change_pp": table["change_pp"],
            "verdict": table["verdict"].astype(object).fillna(""),
        }
    )


def of_plans(table: pd.DataFrame) -> pd.DataFrame:
    """Errors and bytes of the rows of the frontier.

    The validation error too: those images come from the training images, as those of `mnist_rotated` do.
    """
    ours = table[table["source"] == tables.OURS]
    columns = ["error_pct", "error_low_pct", "error_high_pct", "validation_error_pct", "bytes"]
    return ours[columns].assign(name=ours["net"] + "-" + ours["method"])


def check_beside(table: str, column: str, target: str, results: Path) -> None:
    """Refuse, before anything is computed, a table of results that nothing could be set beside.

    Raises:
        ValueError: the table is not there, or is of a version that had no such column.
    """
    path = results / f"{table}.csv"
    if not path.exists() or column not in pd.read_csv(path, nrows=0):
        raise ValueError(f"{path} is missing, or of an earlier version: run {target} first")


def untouched(bench: Bench) -> np.ndarray:
    """Which test images, (n,) bools, validate nothing where they are training images."""
    chosen_on = replace(bench, dataset=bench.dataset.removesuffix(ROTATED)).data.x_val
    known = {image.tobytes() for image in chosen_on}
    return np.array([image.tobytes() not in known for image in bench.data.x_test])


def write_rotated(kind: str, study: Study, results: Path) -> None:
    """Set each "form" or "plan", on the test images that are `untouched`, beside its row here.

    What stands here is read from `all-forms.csv` or `frontier.csv`, and both are put into `rotated.csv`.
    """
    images = untouched(study.bench)
    labels = study.bench.data.y_test[images]
    whole = study.whole(study.recipes).items()
    found = {name: [each.on(images, labels) for each in some] for name, some in whole}
    if kind == "form":
        here = of_forms(pd.read_csv(results / "all-forms.csv"))
        there = of_forms(all_forms(found, study.recipes, labels))
    else:
        here = of_plans(pd.read_csv(results / "frontier.csv"))
        rows = [tables.our_row(study.recipes[name], each, labels) for name, each in found.items()]
        there = of_plans(pd.DataFrame(rows, columns=tables.COLUMNS))
    put_rotated(results / "rotated.csv", kind, here, there.assign(images=len(labels)))


def put_rotated(path: Path, kind: str, here: pd.DataFrame, there: pd.DataFrame) -> None:
    """The table on the disk, with these rows, here and there, in place of those of the same names.

    Rows of the kind that have none here any more are left out.

    Raises:
        ValueError: nothing of what was computed there has a row here.
    """
    both = here.merge(there, on="name", suffixes=("_here", "_there"))
    if both.empty:
        raise ValueError(f"no {kind} has a row to stand beside: compute the results on mnist first")
    rows = both.assign(kind=kind, holds=[holds(row) for row in both.to_dict("records")])
    table = records.replaced(records.read(path, list(rows)), rows, ["kind", "name"])
    known = (table["kind"] != kind) | table["name"].isin(here["name"])
    records.save(table[known].sort_values("kind", kind="stable"), path)


def holds(row: Mapping[str, Any]) -> str:
    """Whether what was said here is said there too: "yes", "no", "open", or empty where nothing was.

    A form's conclusion holds where both verdicts are the same; one of "undecided" is no contradiction, and
    is left open. A plan holds where the 95 % interval of the difference of the two errors, which are of other
    nets and other images, has 0 in it. (That two intervals overlap is said of larger differences too.)
    """
    if "verdict_here" not in row:
        apart = row["error_pct_there"] - row["error_pct_here"]
        halves = [row[f"error_high_pct_{place}"] - row[f"error_pct_{place}"] for place in ("here", "there")]
        return "yes" if abs(apart) <= np.hypot(*halves) else "no"
    said = [row["verdict_here"], row["verdict_there"]]
    if "" in said:
        return ""
    if "undecided" in said:
        return "open"
    return "yes" if said[0] == said[1] else "no"


#: What a legend says of `holds`, by kind.
_HOLDS = {
    "form": {"yes": "the same verdict", "no": "another", "open": "undecided on one or both"},
    "plan": {"yes": "no difference shown", "no": "shown to differ"},
}


def rotated(table: pd.DataFrame) -> Figure:
    """Test error here and there with its intervals; on the diagonal the two are equal.

    Args:
        table: what `put_rotated` writes.
    """
    with page(5.5) as (figure, (axes,)):
        dense = np.where(table["name"].str.contains("-dense"), "dense nets", "compressed nets")
        words = np.where(table["kind"] == "form", "forms and controls", dense)
        for colour, ((kind, group), rows) in zip(PALETTE, table.groupby(["kind", words]), strict=False):
            here, there = (
                reach(rows, *(f"error_{part}pct_{place}" for part in ("", "low_", "high_")))
                for place in ("here", "there")
            )
            look: dict[str, Any] = {"fmt": "o", "markersize": 4, "elinewidth": 0.7, "color": colour}
            told = rows["holds"].value_counts()
            counts = [f"{words} {told[how]}" for how, words in _HOLDS[kind].items() if how in told]
            look["label"] = f"{group}: {', '.join(counts)}"
            axes.errorbar(rows["error_pct_here"], rows["error_pct_there"], xerr=here, yerr=there, **look)
        axes.axline((0, 0), slope=1, color="black", linewidth=0.8, label="equal")
        axes.set(
            xlabel="test error on MNIST's test images, %",
            ylabel="test error on images that nothing was chosen on, %",
            title="A second test set: errors with 95 % intervals over seeds and images",
        )
        axes.legend(fontsize=8)
    return figure


def rates() -> dict[str, Recipe]:
    """What is trained to choose `FINE_TUNE`, each net after its first training at each rate."""
    return {
        f"{net}-{name}-{rate:g}": catalogue(Settings(net=net, fine_tune_rate=rate))[name]
        for net in FINE_TUNE
        for rate in RATES
        for name in TRIED
    }


def write_rates(study: Study, results: Path) -> None:
    """Validation accuracy at each rate, `fine-tuning.csv`; the test images play no part."""
    rows = [
        {
            "net": recipe.net,
            "dataset": study.bench.dataset,
            "recipe": recipe.name,
            "learning_rate": recipe.steps[-1].train.learning_rate,
            "seeds": len(found),
            "validation_accuracy": np.mean([each.record.validation_accuracy for each in found]),
        }
        for name, recipe in study.recipes.items()
        if (found := study.outcomes(name))
    ]
    save_csv(pd.DataFrame(rows), results / "fine-tuning.csv")


def write_layers(study: Study, results: Path) -> None:
    """Where it hurts in a float net, of the first seed, and bits a layer beside one width for all."""
    for outcome in study.outcomes(BASELINE)[:1]:
        given = outcome.content, study.bench.data
        found = {"sensitivity": layers.sensitivity(*given), "bits-a-layer": layers.bits_a_layer(*given)}
        for name, table in found.items():
            save_csv(table, results / f"{name}-{study.recipes[BASELINE].net}.csv")
