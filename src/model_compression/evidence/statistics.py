"""One interval and one test for every comparison, in which seeds and test images are both random.

A value stands for each seed and image: whether the label is right, or by how much two files differ. Another
seed would give another net, another sample of images another score, so the interval holds both. The variance
is that of the analysis of several readers of the same cases: Dorfman, Berbaum & Metz 1992 (Investigative
Radiology 27(9)), Obuchowski & Rockette 1995 (Communications in Statistics 24(2)), Hillis 2007 (Statistics in
Medicine 26(3)).

Their degrees of freedom find differences that are not there: with 5 seeds up to 1.16 times as often as they
should at 5 %, and 3 times as often at the level of Holm's first step, because few seeds that happen to agree
raise them. So the seeds' part is taken as Student's t and the images' part as normal, and the distribution
of their sum is worked out (Behrens 1929; Fisher 1935, Annals of Eugenics 6(4)), which keeps the level. What
seeds and images do together is known from thousands of values, and seeds cannot differ by less than that.
"""

import bisect
import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, special, stats

#: Of every test, before and after Holm's correction.
SIGNIFICANCE = 0.05
#: With which a difference that is called detectable would have been found.
POWER = 0.8
#: Accuracies that differ by no more than this fraction are equivalent, unless another one is asked for.
MARGIN = 0.002
#: Seeds up to which `seeds_needed` looks.
MOST_SEEDS = 500


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over seeds and images.

    Attributes:
        seeds: how many.
        seed_se, image_se: its standard errors by the seeds drawn, and by the images drawn.
        least_se: what the first cannot be below, by the residual.
    """

    mean: float
    seeds: int
    seed_se: float
    image_se: float
    least_se: float = 0.0

    @property
    def se(self) -> float:
        """The standard error by both."""
        return float(np.hypot(max(self.seed_se, self.least_se), self.image_se))

    @property
    def low(self) -> float:
        """The lower end of the 95 % interval."""
        return self.mean - self.limit(SIGNIFICANCE)

    @property
    def high(self) -> float:
        """The upper end of the 95 % interval."""
        return self.mean + self.limit(SIGNIFICANCE)

    def beyond(self, distance: float) -> float:
        """With which chance the mean lies further above the truth than `distance`."""
        if self.se == 0:
            return float(distance <= 0)
        spread, weights = _spreads(self.seeds)
        by_seed = np.maximum(self.seed_se * spread, self.least_se)
        return float(weights @ special.ndtr(-distance / np.hypot(by_seed, self.image_se)))

    def limit(self, level: float) -> float:
        """The distance from the truth, to either side, that is passed with the chance `level`."""
        if self.se == 0:
            return 0.0
        most = -special.ndtri(level / 2) * (self.image_se + self.least_se)
        if self.seeds > 1:
            most -= special.stdtrit(self.seeds - 1, level / 2) * self.seed_se
        return float(optimize.brentq(lambda distance: 2 * self.beyond(distance) - level, 0, 2 * most))


@functools.lru_cache
def _spreads(seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """True over estimated standard deviation of so many normal values: a grid, and the chance of each."""
    if seeds == 1:
        return np.ones(1), np.ones(1)
    chi2 = stats.chi2(seeds - 1)
    logs = np.linspace(np.log(chi2.ppf(1e-14)), np.log(chi2.isf(1e-14)), 300)
    weights = chi2.pdf(np.exp(logs)) * np.exp(logs)
    return np.sqrt((seeds - 1) / np.exp(logs)), weights / weights.sum()


@dataclass(frozen=True, kw_only=True)
class Comparison(Estimate):
    """Form minus control, and the p values of both tests.

    Attributes:
        p_different: two-sided, of no difference.
        p_equivalent: of a difference beyond the margin: the larger of two one-sided ones.
        tests: how many both p values are corrected for, see `judge`; 1 for none but this.
    """

    p_different: float
    p_equivalent: float
    tests: int = 1

    @property
    def detectable(self) -> float:
        """The smallest true difference that Holm's first step would have found with power `POWER`."""
        return self.limit(SIGNIFICANCE / self.tests) + self.limit(2 * (1 - POWER))

    @property
    def verdict(self) -> str:
        """Whether a difference is shown, however small, else whether one beyond the margin is ruled out."""
        if self.p_different < SIGNIFICANCE:
            return "worse" if self.mean < 0 else "better"
        return "equivalent" if self.p_equivalent < SIGNIFICANCE else "undecided"


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Variances of one seed's value of one image: by the seed, by the image, and of what is left."""

    seed: float
    image: float
    residual: float


def _mean_squares(values: np.ndarray) -> tuple[float, float, float]:
    """Of seeds, images and the residual, in a two-way table with one value a cell.

    One seed cannot tell seeds from images: all of the variance is the images'.
    """
    seeds, images = values.shape
    by_image = seeds * float(np.var(values.mean(axis=0), ddof=1))
    if seeds == 1:
        return 0.0, by_image, 0.0
    by_seed = images * float(np.var(values.mean(axis=1), ddof=1))
    rest = seeds * images * float(np.var(values)) - (seeds - 1) * by_seed - (images - 1) * by_image
    return by_seed, by_image, max(rest, 0.0) / ((seeds - 1) * (images - 1))


def spread(values: np.ndarray) -> Spread:
    """The variances from the mean squares, none below 0.

    Args:
        values: (seeds, images).
    """
    by_seed, by_image, residual = _mean_squares(values)
    seed, image = max(by_seed - residual, 0.0), max(by_image - residual, 0.0)
    return Spread(seed=seed / values.shape[1], image=image / values.shape[0], residual=residual)


def estimate(values: np.ndarray) -> Estimate:
    """The mean of a value a seed and image, for seeds and images that were not drawn.

    The variance of the mean is (MS_seed + max(MS_image - MS_residual, 0)) / (seeds x images); the images'
    part is taken as known, since there are hundreds of them or more.
    Args:
        values: (seeds, images), bools or numbers.
    Raises:
        ValueError: another shape, or fewer than two images.
    """
    values = np.asarray(values, float)
    if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] < 2:
        raise ValueError(f"values are of shape {values.shape}; allowed: (seeds, images), two images or more")
    by_seed, by_image, residual = _mean_squares(values)
    added = max(by_image - residual, 0.0)
    seed, image, least = np.sqrt(np.array([by_seed, added, residual]) / values.size).tolist()
    mean = float(values.mean())
    return Estimate(mean=mean, seeds=len(values), seed_se=seed, image_se=image, least_se=least)


def compare(form: np.ndarray, control: np.ndarray, *, margin: float = MARGIN) -> Comparison:
    """Form minus control, paired by seed and image.

    Args:
        form, control: (seeds, images), whether each label is right, or another number of each image.
        margin: a difference up to which the two are equivalent, above 0.
    Raises:
        ValueError: shapes that differ, or see `estimate`; a margin of 0 or less.
    Source: of the two one-sided tests, Schuirmann 1987, J. of Pharmacokinetics and Biopharmaceutics 15(6).
    """
    form, control = np.asarray(form, float), np.asarray(control, float)
    if form.shape != control.shape:
        raise ValueError(f"the form is of shape {form.shape}, the control of {control.shape}; allowed: equal")
    if not margin > 0:
        raise ValueError(f"margin is {margin!r}; allowed: above 0")
    found = estimate(form - control)
    return Comparison(
        **vars(found),
        p_different=min(1.0, 2 * found.beyond(abs(found.mean))),
        p_equivalent=found.beyond(margin - abs(found.mean)),
    )


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p values corrected for their number (Holm 1979), in the order given."""
    order = np.argsort(p_values)
    steps = np.sort(p_values) * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def judge(family: Sequence[Comparison]) -> list[Comparison]:
    """A declared family of comparisons, each of the two tests corrected for all (Holm 1979)."""
    different = holm([each.p_different for each in family])
    equivalent = holm([each.p_equivalent for each in family])
    return [
        replace(each, p_different=float(apart), p_equivalent=float(inside), tests=len(family))
        for each, apart, inside in zip(family, different, equivalent, strict=True)
    ]


def power(difference: float, *, seeds: int, images: int, spread: Spread, tests: int = 1) -> float:
    """With which chance a true difference is found, its interval as wide as the spread lets expect.

    Args:
        seeds, images: how many.
        tests: of the family; Holm finds it with at least this chance, whatever the other tests give.
    """
    by_seed, residual = spread.seed / seeds, spread.residual / (seeds * images)
    seed, image, least = np.sqrt([by_seed + residual, spread.image / images, residual]).tolist()
    planned = Estimate(mean=0.0, seeds=seeds, seed_se=seed, image_se=image, least_se=least)
    if planned.se == 0:
        return float(difference != 0)
    return float(special.ndtr((abs(difference) - planned.limit(SIGNIFICANCE / tests)) / planned.se))


def seeds_needed(difference: float, *, images: int, spread: Spread, tests: int = 1) -> int | None:
    """The fewest seeds, from two on, with which a true difference is found with power `POWER`.

    None where `MOST_SEEDS` are too few: the images alone leave too much to chance.
    """

    def found(seeds: int) -> bool:
        return power(difference, seeds=seeds, images=images, spread=spread, tests=tests) >= POWER

    # more seeds are never worse
    fewest = 2 + bisect.bisect_left(range(2, MOST_SEEDS + 1), True, key=found)
    return fewest if fewest <= MOST_SEEDS else None
