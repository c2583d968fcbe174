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
_SURE = 1.96  # standard errors, beyond which chance leads in one direction in 2.5 of 100


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
    alike = correlations(grades)
    raters = []
    for name, is_outlier, (_, correlation), remark in zip(
        names, outliers(grades), alike, disagreements(alike), strict=True
    ):
        own = [answer for answer in answers if answer.rater == name]
        repeats, consistency = _self_agreement(own, is_acr=is_acr)
        n_reference, reference = _lead_of_reference(own, is_acr=is_acr)
        flags = ["far from the others in both directions (BT.500)"] if is_outlier else []
        if repeats >= _FEWEST and (consistency > 1 if is_acr else consistency <= 0.5):
            flags.append("answers the same pictures otherwise when they come again")
        if n_reference >= _FEWEST and reference <= (0 if is_acr else 0.5):
            flags.append("does not prefer the hidden reference")
        flags += [remark] if remark else []
        seconds = float(np.median([answer.seconds for answer in own]))
        raters.append(Rater(name, len(own), seconds, repeats, consistency, reference, correlation, tuple(flags)))
    return raters


def correlations(grades: Matrix) -> list[tuple[int, float]]:
    """Of each rater (pictures that others graded, too; Pearson's correlation with the means of the others), as P.913
    looks for raters who judge something else.

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


def disagreements(alike: Sequence[tuple[int, float]]) -> list[str]:
    """What the `correlations` of raters say against each, in words; "" for nothing.

    Fisher's z of a correlation over n pictures has a standard error of 1 / sqrt(n - 3).  A rater disagrees whose z is
    1.96 of these below 0.  One agrees no more than chance would whose z is not 1.645 of them above 0, if it is also
    1.96 of them below the median z of the others: where those hardly agree either, or the pictures are few, nothing is
    said, and of two raters nobody knows which one looked.

    In simulated studies of four conditions and 6 or 15 raters, some of them noisier than others (1,500 for each
    figure), at most 4 % of careful raters were flagged, be it at 4 answers or at 40; of those who graded at random 12
    to 16 % at 4 answers, 73 to 86 % at 10 and 89 to 95 % from 15 on.  Where conditions hardly differ, at most 6 % were,
    and 22 to 38 % at 15 answers.  Of three raters, one at random was found in half of the studies at 15 answers.
    """
    shown = [max(-0.999, min(value, 0.999)) for _, value in alike]
    z = [math.atanh(value) if n > _FEWEST else math.nan for (n, _), value in zip(alike, shown, strict=True)]
    words = []
    for r, (n, _) in enumerate(alike):
        others = [value for value in z[:r] + z[r + 1 :] if not math.isnan(value)]
        error = 1 / math.sqrt(n - 3) if n > _FEWEST else math.nan
        if z[r] < -_SURE * error:
            words.append("disagrees with the others")
        elif others and z[r] <= _CHANCE * error and z[r] < float(np.median(others)) - _SURE * error:
            words.append("agrees with the others no more than chance would")
        else:
            words.append("")
    return words


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
