"""The interval and the test that every comparison has: by hand, against other methods, and simulated."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import exactly
from scipy import integrate, stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests

from model_compression.evidence import statistics
from model_compression.evidence.statistics import Comparison, Estimate, Spread, compare, estimate, judge

#: Two seeds, three images: seed means 1 and 3, image means 1, 2 and 3, four residuals of a half.
TABLE = np.array([[0.5, 0.5, 2.0], [1.5, 3.5, 4.0]])


def test_mean_squares_by_hand() -> None:
    # seeds: 3 * (1 + 1); images: 2 * (1 + 0 + 1) / 2; the rest: 4 * 1/4 in 2 degrees of freedom
    found = statistics.spread(TABLE)
    assert found == Spread(
        seed=pytest.approx((6 - 0.5) / 3), image=pytest.approx((2 - 0.5) / 2), residual=pytest.approx(0.5)
    )


def test_spread_is_that_of_an_analysis_of_variance() -> None:
    values = np.random.default_rng(0).normal(size=(4, 6)) + np.arange(6) + 2 * np.arange(4)[:, None]
    frame = pd.DataFrame(
        [(value, seed, image) for seed, row in enumerate(values) for image, value in enumerate(row)],
        columns=["value", "seed", "image"],
    )
    squares = anova_lm(ols("value ~ C(seed) + C(image)", frame).fit())
    by_seed, by_image, rest = squares.sum_sq / squares.df
    found = statistics.spread(values)
    assert found.residual == pytest.approx(rest)
    assert found.seed == pytest.approx((by_seed - rest) / 6)
    assert found.image == pytest.approx((by_image - rest) / 4)
    assert estimate(values).se ** 2 == pytest.approx((by_seed + by_image - rest) / 24)


def test_seeds_that_happen_to_agree_are_not_taken_to_be_all_alike() -> None:
    # they contradict each other on every image, and their means agree: the residual is all there is
    values = np.array([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]])
    found = estimate(values)
    assert (found.seed_se, found.image_se) == (0, 0)
    # residuals of a half each, 8 of them, in 3 degrees of freedom; 8 values
    assert found.se == found.least_se == pytest.approx(math.sqrt(8 * 0.25 / 3 / 8))
    assert found.high == pytest.approx(0.5 + 1.959964 * found.se)


def test_what_seeds_cannot_be_below_only_widens() -> None:
    parts = {"mean": 0.0, "seeds": 5, "seed_se": 0.7, "image_se": 0.4}
    limits = [Estimate(**parts, least_se=least).limit(0.05) for least in (0.0, 0.3, 0.7, 5.0)]
    assert limits == sorted(limits)
    # far above what the seeds show it is the normal distribution's
    assert limits[-1] == pytest.approx(1.959964 * math.hypot(5.0, 0.4), rel=1e-3)


def test_where_only_seeds_differ_the_interval_is_students() -> None:
    by_seed = np.array([0.01, 0.03, 0.02, 0.06])
    found = estimate(np.repeat(by_seed[:, None], 50, axis=1))
    low, high = stats.t.interval(0.95, 3, loc=by_seed.mean(), scale=stats.sem(by_seed))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-6)


def test_where_only_images_differ_the_interval_is_normal() -> None:
    by_image = np.random.default_rng(0).normal(size=300)
    for seeds in (1, 4):
        found = estimate(np.repeat(by_image[None], seeds, axis=0))
        half = 1.959964 * stats.sem(by_image)
        assert (found.low, found.high) == pytest.approx((by_image.mean() - half, by_image.mean() + half))


def test_chance_beyond_a_distance_is_that_of_t_and_normal_added() -> None:
    found = Estimate(mean=0.0, seeds=5, seed_se=0.7, image_se=0.4)
    for distance in (0.1, 1.0, 3.0, 12.0):
        by_hand, _ = integrate.quad(
            lambda t, far=distance: stats.t.pdf(t, 4) * stats.norm.sf((far - 0.7 * t) / 0.4),
            -np.inf, np.inf, epsabs=1e-13, limit=400,
        )  # fmt: skip
        assert found.beyond(distance) == pytest.approx(by_hand, rel=1e-5)
    assert 2 * found.beyond(found.limit(0.01)) == pytest.approx(0.01)


@pytest.mark.parametrize("shape", [(3,), (2, 1), (0, 5), (2, 3, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    message = f"values are of shape {shape}; allowed: (seeds, images), two images or more"
    with pytest.raises(ValueError, match=exactly(message)):
        estimate(np.zeros(shape))


def test_shapes_that_differ_and_margins_of_nothing_are_refused() -> None:
    with pytest.raises(
        ValueError, match=exactly("the form is of shape (2, 3), the control of (1, 3); allowed: equal")
    ):
        compare(np.zeros((2, 3)), np.zeros((1, 3)))
    with pytest.raises(ValueError, match=exactly("margin is 0; allowed: above 0")):
        compare(np.zeros((2, 3)), np.zeros((2, 3)), margin=0)


def test_change_is_form_minus_control() -> None:
    right, wrong = np.ones((2, 4), bool), np.zeros((2, 4), bool)
    assert compare(right, wrong).mean == 1
    assert compare(wrong, right).mean == -1


def test_equal_answers_are_equivalent_beyond_doubt() -> None:
    same = np.array([[True, False, True]] * 3)
    found = compare(same, same)
    assert (found.mean, found.low, found.high) == (0, 0, 0)
    assert (found.p_different, found.p_equivalent, found.detectable) == (1, 0, 0)


def test_p_values_by_hand_where_only_seeds_differ() -> None:
    by_seed = np.array([0.001, 0.002, 0.0, 0.001])
    form = np.repeat(by_seed[:, None], 20, axis=1)
    found = compare(form, np.zeros_like(form), margin=0.003)
    assert found.p_different == pytest.approx(stats.ttest_1samp(by_seed, 0).pvalue, rel=1e-6)
    # the upper of two one-sided tests: is it below 0.003?
    upper = stats.ttest_1samp(by_seed, 0.003, alternative="less").pvalue
    assert found.p_equivalent == pytest.approx(upper, rel=1e-6)
    assert compare(-form, 0 * form, margin=0.003).p_equivalent == pytest.approx(upper, rel=1e-6)


def test_two_way_bootstrap_finds_the_same_standard_error() -> None:
    """Seeds and images drawn anew independently (Owen 2007, Annals of Applied Statistics 1(2))."""
    rng = np.random.default_rng(1)
    values = rng.normal(0, 0.03, (20, 1)) + rng.normal(0, 0.8, (1, 1500)) + rng.normal(0, 0.3, (20, 1500))
    means = []
    for _ in range(1500):
        seeds, images = rng.integers(0, 20, 20), rng.integers(0, 1500, 1500)
        means.append(values[seeds].mean(axis=0)[images].mean())
    found = estimate(values)
    assert found.se == pytest.approx(np.std(means), rel=0.1)
    low, high = np.quantile(means, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.3 * found.se)


# how often the test errs


def error_rate(limit: Callable[[Estimate], float], seeds: int, images_part: float) -> float:
    """How often a test finds a difference that is not there, worked out over what few seeds may give.

    Args:
        limit: from where on it finds one.
        images_part: of the variance of the mean.
    """
    chi2 = stats.chi2(seeds - 1)
    drawn = np.exp(np.linspace(np.log(chi2.ppf(1e-9)), np.log(chi2.isf(1e-9)), 60))
    chances = chi2.pdf(drawn) * drawn
    estimates = [
        Estimate(mean=0.0, seeds=seeds, seed_se=math.sqrt(part), image_se=math.sqrt(images_part))
        for part in (1 - images_part) * drawn / (seeds - 1)
    ]
    return float(np.average([2 * stats.norm.sf(limit(each)) for each in estimates], weights=chances))


PARTS = (0.0, 0.25, 0.9)


@pytest.mark.parametrize("level", [0.05, 0.05 / 26])
@pytest.mark.parametrize("seeds", [2, 5])
def test_level_is_kept_whatever_the_parts_of_seeds_and_images(seeds: int, level: float) -> None:
    rates = [error_rate(lambda each: each.limit(level), seeds, part) for part in PARTS]
    assert max(rates) <= 1.01 * level
    assert rates[0] == pytest.approx(level, rel=0.01)  # and used up where seeds are all there is


def test_degrees_of_freedom_in_place_of_the_sum_would_not_keep_it() -> None:
    def hillis(each: Estimate, level: float) -> float:
        return float(stats.t.isf(level / 2, each.se**4 / (each.seed_se**4 / 4)) * each.se)

    assert error_rate(lambda each: hillis(each, 0.05), 5, 0.25) > 0.057
    assert error_rate(lambda each: hillis(each, 0.05 / 26), 5, 0.25) > 2.5 * 0.05 / 26


#: Of a seed's mean, and of an image; how many images may differ at all, and how often they do. On MNIST the
#: study's forms have variances of 0 to 1e-6 by the seed, 0 to 3e-3 by the image, 4e-3 to 1.3e-2 of the rest.
SEED_SD, IMAGE_SD, HARD, IMAGES, APART = 0.0008, 0.03, 300, 10_000, 0.3
RUNS = 300
#: The variances that follow; what is apart on hard images and is not the image's is left to chance.
TRUE = Spread(seed=SEED_SD**2, image=IMAGE_SD**2, residual=APART * HARD / IMAGES - IMAGE_SD**2)


def study(
    *, effect: float, seed_sd: float = SEED_SD, image_sd: float = IMAGE_SD, seeds: int = 5
) -> np.ndarray:
    """Differences of correctness, int8 (RUNS, seeds, images): hard images differ, by image and by seed."""
    rng = np.random.default_rng(7)
    share = HARD / IMAGES
    sides = np.where(rng.random((RUNS, 1, HARD)) < 0.5, -1, 1)
    shifts = effect + rng.normal(0, seed_sd, (RUNS, seeds, 1))
    leaning = np.clip(sides * image_sd / math.sqrt(share) + shifts / share, -1, 1)
    apart = np.maximum(np.abs(leaning), APART)
    drawn = rng.random((RUNS, seeds, HARD))
    gains = (drawn < (apart + leaning) / 2).astype(np.int8) - (drawn > 1 - (apart - leaning) / 2)
    return np.concatenate([gains, np.zeros((RUNS, seeds, IMAGES - HARD), np.int8)], axis=2)


def rate(found: np.ndarray) -> tuple[float, float]:
    """The share of runs in which a difference was found, and three standard errors of 5 %."""
    return float(np.mean(found)), 3 * math.sqrt(0.05 * 0.95 / len(found))


def ours(differences: np.ndarray) -> np.ndarray:
    zeros = np.zeros(differences.shape[1:], np.int8)
    return np.array([compare(each, zeros).p_different < 0.05 for each in differences])


@pytest.mark.parametrize(("seed_sd", "image_sd"), [(SEED_SD, IMAGE_SD), (0.0015, 0.01), (0.0001, 0.06)])
def test_without_a_difference_at_most_5_percent_are_called_different(seed_sd: float, image_sd: float) -> None:
    found, chance = rate(ours(study(effect=0, seed_sd=seed_sd, image_sd=image_sd)))
    assert found <= 0.05 + chance


def test_of_0_3_points_at_least_80_percent_are_found() -> None:
    found, _ = rate(ours(study(effect=0.003)))
    assert found >= 0.8


def test_leaving_out_the_images_part_finds_what_is_not_there() -> None:
    differences = study(effect=0, seed_sd=0.0001, image_sd=0.06)
    found, chance = rate(stats.ttest_1samp(differences.mean(axis=2), 0, axis=1).pvalue < 0.05)
    assert found > 0.05 + 2 * chance


def test_leaving_out_the_seeds_part_finds_what_is_not_there() -> None:
    differences = study(effect=0, seed_sd=0.0015, image_sd=0.01)
    found, chance = rate(stats.ttest_1samp(differences.mean(axis=1), 0, axis=1).pvalue < 0.05)
    assert found > 0.05 + 2 * chance


def test_planned_power_is_what_the_simulation_finds() -> None:
    differences = study(effect=0.002)
    planned = statistics.power(0.002, seeds=5, images=IMAGES, spread=TRUE)
    assert np.mean(ours(differences)) == pytest.approx(planned, abs=0.1)


# power


WIDE = Spread(seed=1e-6, image=1e-3, residual=1e-3)


def test_more_tests_and_smaller_differences_need_more() -> None:
    def chance(difference: float, tests: int) -> float:
        return statistics.power(difference, seeds=5, images=10_000, spread=WIDE, tests=tests)

    assert chance(0.003, 1) > chance(0.002, 1) > chance(0.002, 26)
    assert chance(0.0, 1) == pytest.approx(0.05 / 2, abs=0.02)


@pytest.mark.parametrize("tests", [1, 26])
def test_seeds_needed_are_the_fewest(tests: int) -> None:
    plan = {"images": 10_000, "spread": WIDE, "tests": tests}
    fewest = statistics.seeds_needed(0.002, **plan)
    assert fewest is not None
    assert statistics.power(0.002, seeds=fewest, **plan) >= 0.8
    assert statistics.power(0.002, seeds=fewest - 1, **plan) < 0.8


def test_no_number_of_seeds_is_enough_where_the_images_are_too_few() -> None:
    assert statistics.seeds_needed(0.002, images=100, spread=WIDE) is None


def test_without_spread_every_difference_is_found() -> None:
    none = Spread(seed=0.0, image=0.0, residual=0.0)
    assert statistics.power(0.001, seeds=2, images=100, spread=none) == 1
    assert statistics.power(0.0, seeds=2, images=100, spread=none) == 0


def test_detectable_is_found_four_times_of_five() -> None:
    seed_se, image_se = math.sqrt((TRUE.seed + TRUE.residual / IMAGES) / 5), math.sqrt(TRUE.image / IMAGES)
    typical = Comparison(
        mean=0.0, seeds=5, seed_se=seed_se, image_se=image_se, p_different=1.0, p_equivalent=1.0
    )
    assert np.mean(ours(study(effect=typical.detectable))) == pytest.approx(0.8, abs=0.08)
    assert replace(typical, tests=26).detectable > typical.detectable


# families


def comparison(mean: float, p_different: float, p_equivalent: float) -> Comparison:
    return Comparison(
        mean=mean, seeds=5, seed_se=0.001, image_se=0.001, p_different=p_different, p_equivalent=p_equivalent
    )


@pytest.mark.parametrize(
    ("mean", "p_different", "p_equivalent", "verdict"),
    [
        (-0.01, 0.049, 0.9, "worse"),
        (0.01, 0.049, 0.9, "better"),
        (-0.001, 0.049, 0.001, "worse"),  # small, but shown
        (-0.01, 0.05, 0.05, "undecided"),
        (-0.001, 0.05, 0.049, "equivalent"),
        (0.0, 1.0, 0.0, "equivalent"),
    ],
)
def test_verdict_on_a_single_comparison(
    mean: float, p_different: float, p_equivalent: float, verdict: str
) -> None:
    (said,) = judge([comparison(mean, p_different, p_equivalent)])
    assert (said.verdict, said.p_different, said.p_equivalent) == (verdict, p_different, p_equivalent)


def test_both_tests_are_corrected_for_the_family() -> None:
    alone = comparison(-0.01, 0.03, 0.9), comparison(0.0, 0.9, 0.03)
    assert [each.verdict for each in judge(alone)] == ["undecided", "undecided"]
    assert [judge([each])[0].verdict for each in alone] == ["worse", "equivalent"]
    assert [each.p_different for each in judge(alone)] == pytest.approx([0.06, 0.9])
    assert judge(alone)[0].detectable == replace(alone[0], tests=2).detectable


def test_a_family_of_none_has_no_verdicts() -> None:
    assert judge([]) == []


def test_holm_by_hand() -> None:
    # sorted .01 .02 .03: times 3, 2, 1, never falling
    assert statistics.holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.6, 0.7]) == pytest.approx([1, 1])
    assert statistics.holm([]).size == 0


def test_holm_is_that_of_statsmodels() -> None:
    p_values = np.random.default_rng(1).beta(0.3, 1, size=40)
    expected = multipletests(p_values, method="holm")[1]
    assert statistics.holm(list(p_values)) == pytest.approx(expected)
