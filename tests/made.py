"""Outcomes and tables made by hand, for the tests of what is drawn and said from them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from model_compression.study.outcomes import Outcome, Record

#: 100 images of ten classes.
LABELS = np.tile(np.arange(10), 10)


def predictions(right: int, *, start: int = 0, labels: np.ndarray = LABELS) -> np.ndarray:
    """Labels of which `right` in a row are right, from image `start` on; all others are wrong."""
    places = (start + np.arange(right)) % len(labels)
    predicted = (labels + 1) % 10
    predicted[places] = labels[places]
    return predicted


def outcome(
    file: str, predicted: np.ndarray, *, labels: np.ndarray = LABELS, content: bytes = b"", **fields: Any
) -> Outcome:
    """An outcome whose accuracy is that of `predicted`; `fields` are set in the record."""
    record = {
        "recipe": file.rsplit(".", 1)[0],
        "file": file,
        "seed": 100,
        "key": "0" * 64,
        "converted_bytes": 1200,
        "file_bytes": 1000,
        "zip_bytes": 500,
        "best_coded_bytes": 400,
        "best_coder": "br",
        "entropy_bytes": 320.0,
        "nonzero_weights": 200,
        "weights": 200,
        "unique_values": 100,
        "macs": 5000,
        "dense_macs": 5000,
        "validation_accuracy": 0.5,
        "accuracy": float(np.mean(predicted == labels)),
    }
    scores = np.eye(int(predicted.max()) + 1, dtype=np.float16)[predicted.astype(int)]
    return Outcome(
        record=Record(**{**record, **fields}), content=content, predictions=predicted, scores=scores
    )


def outcomes(file: str, rights: list[int], *, start: int = 0, **fields: list[Any]) -> list[Outcome]:
    """One outcome a seed: so many right each, and each field a list with a value for each seed."""
    return [
        outcome(
            file,
            predictions(right, start=start),
            seed=seed,
            **{name: values[seed] for name, values in fields.items()},
        )
        for seed, right in enumerate(rights)
    ]


#: The columns of `results/all-forms.csv` that the summary and the plots read, one row a form.
FORMS = pd.DataFrame(
    [
        ("non_quantized", "form", 84_848, 77_140, 76_000, 0.98344, np.nan, np.nan, np.nan, ""),
        ("int8", "form", 24_296, 21_708, 20_757, 0.98331, -0.013, -0.04, 0.014, "equivalent"),
        ("pruned_quantized", "form", 24_296, 8_218, 7_300, 0.97012, -1.25, -1.5, -1.0, "worse"),
        ("clustered_8", "form", 24_296, 9_000, 8_100, 0.98, -0.3, -0.6, 0.0, "undecided"),
        ("sparsity_cluster_preserving_qat", "form", 24_848, 5_125, 4_700, 0.9799, -0.4, -0.5, -0.3, "worse"),
        ("random_pruned", "control", 24_296, 4_000, 3_900, 0.981, -9.0, -10.0, -8.0, "worse"),
    ],
    columns=[
        "recipe", "role", "file_bytes", "zip_bytes", "best_coded_bytes", "accuracy_mean", "change_pp",
        "change_ci_low_pp", "change_ci_high_pp", "verdict",
    ],
).assign(
    seeds=5,
    test_images=10_000,
    validation_change_pp=[0, -0.05, -1.3, -0.25, -0.2, -9],
    accuracy_ci_low=lambda table: table.accuracy_mean - 0.003,
    accuracy_ci_high=lambda table: table.accuracy_mean + 0.003,
)  # fmt: skip


def crowded_forms() -> pd.DataFrame:
    """24 forms in three crowds, as the study's are."""
    rows = [FORMS.assign(recipe=FORMS.recipe + f"_{index}") for index in range(4)]
    table = pd.concat(rows, ignore_index=True)
    table["best_coded_bytes"] += 7 * np.arange(len(table))
    return table


CLAIMS = pd.DataFrame(
    [
        ("int8 files are 4x smaller", "int8 against float32", "3.49 times, so nearly"),
        ("... without loss of accuracy", "int8 against float32", "yes: no difference beyond 0.2 pp"),
        ("pruning improves accuracy", "pruned against longer_trained", "no: it costs 1.27 pp"),
    ],
    columns=["claim", "measured", "answer"],
)


def results_folder(folder: Path, *, forms: pd.DataFrame = FORMS, claims: pd.DataFrame = CLAIMS) -> Path:
    """A results folder with the tables that the summary reads; TFLite Micro runs all but clustered files."""
    runs = {"recipe": forms.recipe, "runs_on_tflm": ~forms.recipe.str.startswith("clustered")}
    runs["arena_bytes"] = 12_240
    pd.DataFrame(runs).to_csv(folder / "deployment.csv", index=False)
    forms.to_csv(folder / "all-forms.csv", index=False)
    claims.to_csv(folder / "claims.csv", index=False)
    return folder


def happens(table: pd.DataFrame) -> bool:
    """Whether a trap was seen with every seed or, where accuracies are compared, is shown by the test."""
    said = str(table.seen.iloc[0])
    return said in ("worse", "better") or (" of " in said and len(set(said.split(" of "))) == 1)


class Drawn:
    """A figure as it is drawn, to measure where things lie: pixels from the lower left."""

    def __init__(self, figure: Figure) -> None:
        self.figure, canvas = figure, FigureCanvasAgg(figure)
        canvas.draw()
        self.renderer = canvas.get_renderer()

    def extent(self, artist: Artist) -> Bbox:
        return artist.get_window_extent(self.renderer)

    def overhang(self) -> float:
        """Pixels by which something drawn leaves the figure; below 0 where all of it lies inside."""
        box, dpi = self.figure.get_tightbbox(self.renderer), self.figure.dpi
        width, height = self.figure.bbox.size
        return max(-dpi * box.x0, -dpi * box.y0, dpi * box.x1 - width, dpi * box.y1 - height)
