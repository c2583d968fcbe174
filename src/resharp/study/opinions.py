"""What raters think of conditions: means, intervals, agreement.

Grades are arrays (raters, scenes, conditions), wins (raters, scenes, C, C): entry (i, j) counts how often condition i
was chosen over j.  NaN or 0 where nothing was asked.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .definition import REFERENCE, Study
from .plan import Answer
from .scale import JOD, Matrix, strengths

N_DRAWS = 2000  # of an interval
_ENOUGH = 0.95  # of the draws must hold answers, for an interval to be of all that might have been asked
_SCALE_DRAWS = 500  # of one whose every draw is a fit


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval, and how many answers it is from; NaN where there is none."""

    value: float
    low: float
    high: float
    n: int


def grades_of(study: Study, answers: Sequence[Answer]) -> Matrix:
    """The first grades of each rater (raters, scenes, conditions); repeats are for screening alone."""
    raters, scenes, conditions = _places(study, answers)
    grades = np.full((len(raters), len(scenes), len(conditions)), math.nan)
    for one in answers:
        if one.trial.repeats is None:
            grades[raters[one.rater], scenes[one.trial.scene], conditions[one.trial.shown[0]]] = one.answer
    return grades


def choices_of(study: Study, answers: Sequence[Answer]) -> Matrix:
    """The wins (raters, scenes, C, C) of pairs that were shown; repeats are for screening alone."""
    raters, scenes, conditions = _places(study, answers)
    wins = np.zeros((len(raters), len(scenes), len(conditions), len(conditions)))
    for one in answers:
        if one.trial.repeats is None:
            winner, loser = one.chosen
            wins[raters[one.rater], scenes[one.trial.scene], conditions[winner], conditions[loser]] += 1
    return wins


def implied_choices(grades: Matrix) -> Matrix:
    """The wins that grades imply: of two conditions of a scene that one rater graded, the higher; equal ones say
    nothing."""
    with np.errstate(invalid="ignore"):
        return (grades[..., :, None] > grades[..., None, :]).astype(float)


def mean_opinions(grades: Matrix) -> list[Estimate]:
    """The mean opinion score of each condition over all grades."""
    return [_mean_of(grades[..., c]) for c in range(grades.shape[-1])]


def differential_opinions(study: Study, grades: Matrix) -> list[Estimate]:
    """Grades less the same rater's grade of the hidden reference on the scene, plus 5 (P.910, ACR-HR)."""
    reference = study.conditions.index(REFERENCE)
    return mean_opinions(grades - grades[..., reference : reference + 1] + 5)


def shares(wins: Matrix) -> list[Estimate]:
    """How often each condition was chosen when it was shown."""
    won, lost = wins.sum(axis=3), wins.sum(axis=2)
    return [_ratio(won[..., c], won[..., c] + lost[..., c]) for c in range(wins.shape[-1])]


def scaled(wins: Matrix) -> list[Estimate]:
    """Bradley-Terry strengths in JOD with mean 0: three of four choose the better one of two that are 1 apart."""
    n_raters, n_scenes = wins.shape[:2]
    found = strengths(wins.sum(axis=(0, 1)))
    draws = _draws(n_raters, n_scenes, _SCALE_DRAWS)
    resampled = np.stack(
        [np.einsum("r,s,rsij->ij", raters, scenes, wins) for raters, scenes in zip(*draws, strict=True)]
    )
    low, high = _interval(np.stack([strengths(one, start=found) / JOD for one in resampled]))
    asked = (wins + wins.swapaxes(2, 3)).sum(axis=(0, 1, 3))
    rows = zip(found / JOD, low, high, asked, strict=True)
    return [Estimate(float(value), float(a), float(b), int(n)) for value, a, b, n in rows]


def agreement_on_grades(grades: Matrix) -> float:
    """Krippendorff's alpha (2011) of ordinal grades (raters, ...): 1 for full agreement, 0 for that of chance.

    From the coincidences o of grades c and k, 1 - (n - 1) sum o d / sum n_c n_k d, d their ordinal distance.  NaN where
    no picture has two grades, or all grades are one.
    """
    units = grades.reshape(len(grades), -1).T
    values = np.unique(units[~np.isnan(units)])
    counts = (units[..., None] == values).sum(axis=1).astype(float)  # (units, values)
    counts = counts[counts.sum(axis=1) >= 2]
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(len(values))
    coincidences = (pairs / (counts.sum(axis=1) - 1)[:, None, None]).sum(axis=0)
    totals = coincidences.sum(axis=1)
    between = np.cumsum(totals)[None] - np.cumsum(totals)[:, None]  # of the values after c up to k
    distance = (between + (totals[:, None] - totals[None]) / 2) ** 2
    expected = (np.outer(totals, totals) * distance).sum()
    return float(1 - (totals.sum() - 1) * (coincidences * distance).sum() / expected) if expected > 0 else math.nan


def agreement_on_pairs(wins: Matrix) -> float:
    """Kendall's u (with Babington Smith 1940) of wins (raters, scenes, C, C): twice the share of two raters who choose
    alike, less 1, over all pairs of conditions on a scene that several raters saw.  NaN where there are none."""
    chosen = wins.sum(axis=0)
    asked = chosen + chosen.swapaxes(1, 2)
    alike, all_twos = (chosen * (chosen - 1)).sum(), (asked * (asked - 1)).sum() / 2
    return float(2 * alike / all_twos - 1) if all_twos > 0 else math.nan


def _places(study: Study, answers: Sequence[Answer]) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    raters = dict.fromkeys(answer.rater for answer in answers)
    names: tuple[Any, ...] = raters, [scene.name for scene in study.scenes], study.conditions
    places = [{name: i for i, name in enumerate(group)} for group in names]
    return places[0], places[1], places[2]


def _mean_of(grades: Matrix) -> Estimate:
    """Of grades (raters, scenes), NaN for none."""
    return _ratio(np.nan_to_num(grades), (~np.isnan(grades)).astype(float))


def _ratio(sums: Matrix, counts: Matrix) -> Estimate:
    """The sum of `sums` over that of `counts`, both (raters, scenes), with the interval of `_draws`."""
    n = counts.sum()
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    raters, scenes = _draws(counts.shape[0], counts.shape[1], N_DRAWS)
    upper, lower = (np.einsum("br,rs,bs->b", raters, part, scenes, optimize=True) for part in (sums, counts))
    low, high = _interval((upper / np.where(lower > 0, lower, math.nan))[:, None])
    return Estimate(float(sums.sum() / n), float(low[0]), float(high[0]), int(n))


def _draws(n_raters: int, n_scenes: int, n: int) -> tuple[Matrix, Matrix]:
    """How often each rater (n, raters) and each scene (n, scenes) is in n resamples of both (the pigeonhole bootstrap,
    Owen 2007): raters share scenes and scenes share raters, so answers are not independent, and resampling answers
    would give intervals too narrow."""
    generator = np.random.default_rng(0)
    counts = [
        generator.multinomial(size, np.full(size, 1 / size), size=n).astype(float) for size in (n_raters, n_scenes)
    ]
    return counts[0], counts[1]


def _interval(draws: NDArray[np.float64]) -> Matrix:
    """The 2.5 and 97.5 % points (2, n) over the draws (draws, n) that hold answers, the others being NaN.  NaN where
    fewer than 95 % do, and where all are one: one answer has no interval."""
    found = np.full((2, draws.shape[1]), math.nan)
    for place, drawn in enumerate(draws.T):
        known = drawn[~np.isnan(drawn)]
        if len(known) >= _ENOUGH * len(drawn) and np.ptp(known) > 0:
            found[:, place] = np.percentile(known, (2.5, 97.5))
    return found
