"""What a study computes, against worked examples, scipy and plain loops."""

import dataclasses
import itertools

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from resharp.study.opinions import (
    agreement_on_grades,
    agreement_on_pairs,
    choices_of,
    differential_opinions,
    grades_of,
    implied_choices,
    mean_opinions,
    scaled,
    shares,
)
from resharp.study.plan import Answer, Trial
from resharp.study.report import find
from resharp.study.scale import JOD, PRIOR_WINS, covariance, information_gain, strengths
from resharp.study.screening import correlations, disagreements, outliers, screened
from tests.study_sets import graded, plain_study

NAN = float("nan")
WINS = np.array([[0, 7, 9, 4], [3, 0, 6, 5], [1, 2, 0, 0], [0, 1, 2, 0]], float)


def loss(values: np.ndarray, wins: np.ndarray) -> float:
    """The negative log-likelihood of Bradley and Terry, with the prior."""
    pairs = itertools.permutations(range(len(wins)), 2)
    return sum((wins[i, j] + PRIOR_WINS) * np.log1p(np.exp(values[j] - values[i])) for i, j in pairs)


def test_strengths_are_the_most_probable_ones() -> None:
    best = scipy.optimize.minimize(loss, np.zeros(4), args=(WINS,), tol=1e-10).x
    assert strengths(WINS) == pytest.approx(best - best.mean(), abs=1e-5)
    two = strengths(np.array([[0, 8.0], [2, 0]]))
    assert two[0] - two[1] == pytest.approx(np.log(8.5 / 2.5))


def test_the_covariance_is_the_inverse_curvature() -> None:
    found, step = strengths(WINS), 1e-3
    unit = np.eye(4) * step
    at = lambda *moves: loss(found + sum(moves), WINS)  # noqa: E731
    curvature = [[(at(a, b) - at(a, -b) - at(-a, b) + at(-a, -b)) / (4 * step**2) for b in unit] for a in unit]
    assert covariance(WINS, found) == pytest.approx(np.linalg.pinv(np.array(curvature), rcond=1e-4), abs=1e-3)


def test_what_an_answer_tells_agrees_with_sampling() -> None:
    found = strengths(WINS)
    draws = np.random.default_rng(0).multivariate_normal(found, covariance(WINS, found), 50_000)
    chance = 1 / (1 + np.exp(draws[:, [1]] - draws))
    entropy = scipy.stats.entropy([chance, 1 - chance], base=2, axis=0)
    of_mean = scipy.stats.entropy([chance.mean(axis=0), 1 - chance.mean(axis=0)], base=2, axis=0)
    gain = information_gain(WINS)
    assert gain[:, 1] == pytest.approx(of_mean - entropy.mean(axis=0), abs=4e-3)
    assert gain == pytest.approx(gain.T)
    assert gain[2, 3] > gain[0, 1] > 0  # hardly asked, against asked ten times


def test_opinions_by_hand() -> None:
    study = plain_study()
    answers = graded([[1, 2, 3, 5], [3, 2, 4, 4], [2, 2, 2, 3]], study.conditions)
    answers.append(Answer("r0", Trial(9, "0.png", (study.conditions[0],), repeats=0), 5))  # in no figure
    grades = grades_of(study, answers)
    assert [one.value for one in mean_opinions(grades)] == [2, 2, 3, 4]
    assert [one.n for one in mean_opinions(grades)] == [3] * 4
    assert [one.value for one in differential_opinions(study, grades)] == [3, 3, 4, 5]
    wins = implied_choices(grades).sum(axis=(0, 1))
    assert wins[1].tolist() == [1, 0, 0, 0]  # of soft and sharper: one each way, and one tie
    assert wins[0].tolist() == [0, 1, 0, 0]
    found = find(study, answers, left_out=["r2"])
    assert [one.value for one in found.figures["mos"]] == [2, 2, 3.5, 4.5]


def test_shares_and_scale_of_pairs() -> None:
    study = plain_study("pairs")
    a, b = study.conditions[:2]
    pairs = [Answer("x", Trial(n, f"{n}.png", (b, a)), 1 if n == 0 else 2) for n in range(4)]
    wins = choices_of(study, pairs)
    assert [one.value for one in shares(wins)][:2] == [0.75, 0.25]
    estimates = scaled(wins)
    assert [one.value * JOD for one in estimates] == pytest.approx(strengths(wins.sum(axis=(0, 1))))
    assert all(one.low <= one.value <= one.high for one in estimates[:2])


def test_intervals_resample_raters_and_scenes() -> None:
    generator = np.random.default_rng(1)
    grades = generator.integers(1, 6, (6, 8, 1)) + generator.normal(0, 1, (6, 1, 1))
    grades[generator.random(grades.shape) < 0.2] = NAN
    means = []
    for _ in range(2000):
        drawn = grades[generator.integers(6, size=6)][:, generator.integers(8, size=8)]
        means.append(np.nanmean(drawn))
    (one,) = mean_opinions(grades)
    assert (one.low, one.high) == pytest.approx(np.percentile(means, (2.5, 97.5)), abs=0.08)


def test_an_interval_is_of_the_resamples_that_hold_answers() -> None:
    grades = np.full((4, 3, 1), NAN)
    grades[:3] = [[[1], [2], [3]], [[2], [4], [3]], [[2], [3], [5]]]  # none of the fourth, 1 of 256 draws has no other
    (one,) = mean_opinions(grades)
    assert 1.5 < one.low < one.value < one.high <= 4
    grades[1:] = NAN  # in 81 of 256 draws
    (one,) = mean_opinions(grades)
    assert (one.value, np.isnan(one.low), np.isnan(one.high)) == (2, True, True)


def test_agreement_of_published_examples() -> None:
    # Krippendorff (2011), "Computing Krippendorff's alpha-reliability": four observers, twelve units; ordinal 0.815.
    told = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    grades = np.array([[NAN if c == "." else float(c) for c in row] for row in told])
    assert agreement_on_grades(grades[..., None]) == pytest.approx(0.815, abs=5e-4)
    assert agreement_on_grades(np.ones((3, 2, 2)) * [1, 5]) == 1
    assert np.isnan(agreement_on_grades(grades[:1, :, None]))
    two_of_three = np.zeros((3, 1, 2, 2))
    two_of_three[:2, 0, 0, 1] = two_of_three[2, 0, 1, 0] = 1
    assert agreement_on_pairs(two_of_three) == pytest.approx(2 / 3 - 1)  # one of three twos is of one mind
    assert agreement_on_pairs(two_of_three[:2]) == 1


def test_screening_of_bt500() -> None:
    generator = np.random.default_rng(3)
    grades = generator.normal(0, 0.7, (15, 30, 1)) + generator.uniform(2, 4, (30, 1))
    grades[0] = grades[1:].mean(axis=0) + np.where(generator.random((30, 1)) < 0.5, -1.9, 1.9)
    grades[4, :5] = NAN
    flat, counted = grades[..., 0], np.zeros((15, 2))
    for column in flat.T:
        known = column[~np.isnan(column)]
        factor = 2 if 2 <= scipy.stats.kurtosis(known, fisher=False) <= 4 else np.sqrt(20)
        reach = factor * known.std(ddof=1)
        counted[:, 0] += column >= known.mean() + reach
        counted[:, 1] += column <= known.mean() - reach
    p, q = counted.T
    n = (~np.isnan(flat)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        expected = ((p + q) / n > 0.05) & (abs(p - q) / (p + q) < 0.3)
    assert outliers(grades) == expected.tolist()
    assert expected[0]
    r = scipy.stats.pearsonr(flat[1], np.nanmean(np.delete(flat, 1, axis=0), axis=0)).statistic
    assert correlations(grades)[1] == (30, pytest.approx(r))


def test_who_grades_the_other_way_round_disagrees() -> None:
    study = plain_study()
    rows = {"0.png": [1, 2, 4, 5], "1.png": [2, 1, 5, 4]}
    answers = [
        Answer(rater, Trial(n, scene, (condition,)), 6 - grade if rater == "inverted" else grade)
        for rater in ("careful", "inverted")
        for n, (scene, (condition, grade)) in enumerate(
            (scene, one) for scene, row in rows.items() for one in zip(study.conditions, row, strict=True)
        )
    ]
    found = find(study, answers, left_out=["inverted"])  # of two, nobody knows which one is right
    assert [(one.correlation, one.flags) for one in found.raters] == [
        (pytest.approx(-1), ("disagrees with the others",))
    ] * 2
    assert [one.value for one in found.figures["mos"]] == [1.5, 1.5, 4.5, 4.5]


@pytest.mark.parametrize(("n", "careful", "at_random"), [(4, 0.06, 0), (8, 0.06, 0), (15, 0.06, 0.7)])
def test_agreement_is_doubted_where_the_evidence_is_real(n: int, careful: float, at_random: float) -> None:
    generator = np.random.default_rng(n)

    def is_flagged(*, careless: bool) -> bool:
        grades = np.array([1.9, 3.9, 3.5, 4.6]) + generator.normal(0, 0.3, (5, 1)) + generator.normal(0, 0.7, (6, 5, 4))
        grades = grades.round().clip(1, 5).reshape(6, 20)
        if careless:
            grades[0] = generator.integers(1, 6, 20)
        grades[0, generator.permutation(20)[n:]] = NAN
        return bool(disagreements(correlations(grades[..., None]))[0])

    assert np.mean([is_flagged(careless=False) for _ in range(200)]) < careful
    assert np.mean([is_flagged(careless=True) for _ in range(50)]) > at_random


@pytest.mark.parametrize("protocol", ["acr", "pairs"])
def test_a_rater_who_does_not_look_is_flagged(protocol: str) -> None:
    study = plain_study(protocol)
    quality = dict(zip(study.conditions, (1, 2, 4, 5), strict=True))
    answers = []
    for rater, n in itertools.product(("careful", "second", "careless"), range(24)):
        first, second = study.conditions[n % 4], study.conditions[(n + 1) % 4]
        trial = Trial(n, f"{n // 4 % 3}.png", (first,) if protocol == "acr" else (first, second))
        if n >= 12:
            trial = dataclasses.replace(trial, shown=trial.shown[::-1], repeats=n - 12)
        better = 1 if quality[trial.shown[0]] > quality[trial.shown[-1]] else 2
        careful = quality[first] if protocol == "acr" else better
        careless = 1 + 4 * (n >= 12) if protocol == "acr" else 1
        answers.append(Answer(rater, trial, careless if rater == "careless" else careful))
    raters = screened(study, answers)
    assert raters[0].flags == ()
    assert (raters[0].repeats, raters[0].self_agreement) == (12, 0 if protocol == "acr" else 1)
    assert "answers the same pictures otherwise when they come again" in raters[2].flags
