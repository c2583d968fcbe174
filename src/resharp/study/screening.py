"""Raters who may not have looked: what speaks against each, for the experimenter to decide on."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from .definition import REFERENCE, Study
from .opinions import grades_of
from .plan import Answer
from .scale import Matrix

_FEWEST = 3  # checks of a kind that say something
_CHANCE = 1.645  # standard errors, which chance exceeds in 5 of 100 raters


@dataclasses.dataclass(frozen=True)
class Rater:
    """n: answers;  seconds: their median;  repeats: how many repeated trials, and self_agreement: of grades the mean
    distance, of pairs the share answered alike;  reference: of grades the mean lead of the hidden reference over the
    rest, of pairs how often it was chosen;  correlation: of grades with the means of the other raters, picture by
    picture;  flags: what speaks against the rater, in words."""

    name: str
    n: int
    seconds: float
    repeats: int
    self_agreement: float
    reference: float
    correlation: float
    flags: tuple[str, ...]


def screened(study: Study, answers: Sequence[Answer]) -> list[Rater]:
    """Every rater, in the order of their coming."""
    names = list(dict.fromkeys(answer.rater for answer in answers))
    is_acr = study.protocol == "acr"
    grades = grades_of(study, answers) if is_acr else np.empty((len(names), 0))
    raters = []
    for name, is_outlier, (n_shared, correlation) in zip(names, outliers(grades), correlations(grades), strict=True):
        own = [answer for answer in answers if answer.rater == name]
        repeats, consistency = _self_agreement(own, is_acr=is_acr)
        n_reference, reference = _lead_of_reference(own, is_acr=is_acr)
        flags = ["far from the others in both directions (BT.500)"] if is_outlier else []
        if repeats >= _FEWEST and (consistency > 1 if is_acr else consistency <= 0.5):
            flags.append("answers the same pictures otherwise when they come again")
        if n_reference >= _FEWEST and reference <= (0 if is_acr else 0.5):
            flags.append("does not prefer the hidden reference")
        if n_shared > _FEWEST and not math.atanh(min(correlation, 0.999)) > _CHANCE / math.sqrt(n_shared - 3):
            flags.append("agrees with the others no more than chance would")
        seconds = float(np.median([answer.seconds for answer in own]))
        raters.append(Rater(name, len(own), seconds, repeats, consistency, reference, correlation, tuple(flags)))
    return raters


def correlations(grades: Matrix) -> list[tuple[int, float]]:
    """Of each rater (pictures that others graded, too; Pearson's correlation with the means of the others), as P.913
    looks for raters who judge something else; by Fisher's z, chance is beyond tanh(1.645 / sqrt(n - 3)) in 5 of 100.

    A rater whose grades are all one has a correlation of 0."""
    flat = grades.reshape(len(grades), -1)
    found = []
    for r, own in enumerate(flat):
        others = np.delete(flat, r, axis=0)
        shared = ~np.isnan(own) & (~np.isnan(others)).any(axis=0)
        if shared.sum() < 2:
            found.append((int(shared.sum()), math.nan))
            continue
        mine, theirs = own[shared], np.nanmean(others[:, shared], axis=0)
        spreads = mine.std() * theirs.std()
        value = ((mine - mine.mean()) * (theirs - theirs.mean())).mean() / spreads if spreads > 0 else 0.0
        found.append((int(shared.sum()), float(value)))
    return found


def outliers(grades: Matrix) -> list[bool]:
    """Which raters Recommendation ITU-R BT.500 (annex on the screening of observers) rejects, of grades (raters,
    scenes, conditions), NaN for none.

    For each picture, grades beyond mean +- 2 s (+- sqrt(20) s where their kurtosis m4 / m2^2 is outside 2 to 4, so that
    they are not normal) count as P above and Q below; a rater goes with (P + Q) / n > 0.05 and |P - Q| / (P + Q) < 0.3.
    Grades of too few raters have no spread, and nobody goes.
    """
    flat = grades.reshape(len(grades), -1)
    count = (~np.isnan(flat)).sum(axis=0)
    known = np.where(count >= 3, flat, math.nan)[:, count >= 3]
    if known.size == 0:
        return [False] * len(grades)
    centred = known - np.nanmean(known, axis=0)
    second, fourth = np.nanmean(centred**2, axis=0), np.nanmean(centred**4, axis=0)
    kurtosis = fourth / np.where(second > 0, second, math.nan) ** 2
    reach = np.where((kurtosis >= 2) & (kurtosis <= 4), 2, math.sqrt(20)) * np.nanstd(known, axis=0, ddof=1)
    above, below = ((sign * centred >= reach) & (reach > 0) for sign in (1, -1))
    p, q, n = above.sum(axis=1), below.sum(axis=1), (~np.isnan(flat)).sum(axis=1)
    return [bool(a + b > 0.05 * k and abs(a - b) < 0.3 * (a + b)) for a, b, k in zip(p, q, n, strict=True)]


def _self_agreement(own: Sequence[Answer], *, is_acr: bool) -> tuple[int, float]:
    """(number of repeats, mean distance of their grades or share of pairs answered alike)."""
    first = {answer.trial.n: answer for answer in own}
    both = [(first[a.trial.repeats], a) for a in own if a.trial.repeats is not None and a.trial.repeats in first]
    if not both:
        return 0, math.nan
    alike = [abs(a.answer - b.answer) if is_acr else a.chosen == b.chosen for a, b in both]
    return len(both), float(np.mean(alike))


def _lead_of_reference(own: Sequence[Answer], *, is_acr: bool) -> tuple[int, float]:
    """(number of answers about the reference, its mean grade less that of the others or the share that it won)."""
    fresh = [answer for answer in own if answer.trial.repeats is None]
    about = [answer for answer in fresh if REFERENCE in answer.trial.shown]
    rest = [answer.answer for answer in fresh if REFERENCE not in answer.trial.shown]
    if not about or (is_acr and not rest):
        return 0, math.nan
    if is_acr:
        return len(about), float(np.mean([answer.answer for answer in about]) - np.mean(rest))
    return len(about), float(np.mean([answer.chosen[0] == REFERENCE for answer in about]))
