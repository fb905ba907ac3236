"""Who pays for a form's bytes, over all seeds: the notebook's view of `evidence.who_pays`."""

import numpy as np
import pandas as pd
from IPython.display import Image

from ..evidence import plots, who_pays
from ..files import running
from ..study.outcomes import Outcome
from .workbook import Workbook


class WhoPays:
    """Several forms beside a control.

    Args:
        book: whose recipes. control: the name of a recipe. forms: of others; the first is looked at closely.
        margin: a fraction, see `statistics.compare`.
    """

    def __init__(self, book: Workbook, control: str, *forms: str, margin: float) -> None:
        self.book, self.margin, self.labels = book, margin, book.data.y_test
        self.names = tuple(book.known(control, *forms))
        #: Whether each input has one label, which alone has classes and a confidence.
        self.of_labels = book.data.task in ("classes", "binary") and len(self.names) > 1
        self.outcomes = book.over_seeds(*self.names)

    def _predictions(self, name: str) -> np.ndarray:
        return np.stack([outcome.predictions for outcome in self.outcomes[name]])

    def by_class(self) -> pd.DataFrame | None:
        """The change of the first form by class, see `who_pays.by_class`; None where there are no classes."""
        if not self.of_labels:
            print("who pays is asked where each input has one label")
            return None
        control, form = (self._predictions(name) for name in self.names[:2])
        return who_pays.by_class(form, control, self.labels, margin=self.margin)

    def lost(self, count: int = 12) -> Image | None:
        """Inputs that the control gets right with every seed, and the first form loses with most of them."""
        if not self.of_labels:
            return None
        control, form = self.names[:2]
        lost = who_pays.lost(self._predictions(form), self._predictions(control), self.labels)
        self.book.save(lost, "who-pays-images")
        print(f"{form} loses with most seeds {len(lost)} of those that {control} gets right with every seed")
        if self.book.data.kind != "image" or not len(lost):
            return None
        words = [f"{row.label}: {row.taken_for}" for row in lost.head(count).itertuples()]
        images = self.book.data.x_test[lost.image[:count]]
        return self.book.show_figure(plots.digits(images, words), "who-pays-images")

    def calibration(self) -> pd.DataFrame | None:
        """Calibration error and negative log-likelihood of each, see `who_pays.calibration`; or None."""
        if not self.of_labels:
            return None
        scores = {
            name: [who_pays.logits(one.scores, probabilities=self._probabilities(one)) for one in found]
            for name, found in self.outcomes.items()
        }
        return who_pays.calibration(scores, self.labels)

    def _probabilities(self, outcome: Outcome) -> bool:
        return running.last_operator(outcome.content) in ("SOFTMAX", "LOGISTIC")

    def corrupted(self) -> pd.DataFrame | None:
        """Accuracy of each on corrupted images; None for what is no image, or a model of one's own."""
        if self.book.data.kind != "image" or not self.book.is_named:
            print("the corruptions are of images, in the range that the study's own nets take")
            return None
        files = {name: [one.content for one in found] for name, found in self.outcomes.items()}
        images, seed = self.book.data.x_test, self.book.settings.seed
        return who_pays.corrupted(files, images, self.labels, seed=seed, margin=self.margin)
