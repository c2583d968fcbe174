"""What a rater is shown: drawn from the study's seed, the rater's number and the answers so far, and nothing else."""

import dataclasses
import random
from collections.abc import Mapping, Sequence

import numpy as np

from .definition import REFERENCE, Study
from .scale import Matrix, information_gain, strengths

_APART = 2  # trials at least between a pair and its repetition, where there are so many


@dataclasses.dataclass(frozen=True)
class Trial:
    """One question.  n: its number for this rater, from 0;  shown: one condition to grade, or two, left and right;
    repeats: the n of the earlier question that this one asks again."""

    n: int
    scene: str
    shown: tuple[str, ...]
    repeats: int | None = None


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a rater said to a trial: a grade, or 1 for left and 2 for right."""

    rater: str
    trial: Trial
    answer: int
    seconds: float = 0.0
    zoom: str = ""
    stored: str = ""

    @property
    def chosen(self) -> tuple[str, str]:
        """(winner, loser) of a pair."""
        left, right = self.trial.shown
        return (left, right) if self.answer == 1 else (right, left)


def grading_plan(study: Study, number: int) -> list[Trial]:
    """All trials of the rater of that number: scenes in a circle, so that all come up alike often, each under every
    condition; a scene does not follow itself, as P.910 asks, and repeats fall into the second half."""
    everyone, own = _random(study), _random(study, number)
    n_scenes = min(len(study.scenes), (study.n_trials - study.n_repeats) // len(study.conditions))
    circle = [scene.name for scene in everyone.sample(study.scenes, len(study.scenes))]
    taken = [circle[(number * n_scenes + i) % len(circle)] for i in range(n_scenes)]
    orders = {scene: own.sample(study.conditions, len(study.conditions)) for scene in taken}
    shown: list[tuple[str, str]] = []
    for turn in range(len(study.conditions)):
        scenes = own.sample(taken, len(taken))
        if shown and len(scenes) > 1 and scenes[0] == shown[-1][0]:
            scenes.append(scenes.pop(0))
        shown += [(scene, orders[scene][turn]) for scene in scenes]
    for repeated in own.sample(shown[: len(shown) // 2], study.n_repeats):
        places = range(len(shown) // 2 + 1, len(shown) + 1)
        free = [i for i in places if repeated[0] not in (shown[i - 1][0], *(one[0] for one in shown[i : i + 1]))]
        shown.insert(own.choice(free or list(places)), repeated)
    first: dict[tuple[str, str], int] = {}
    trials = []
    for n, (scene, condition) in enumerate(shown):
        trials.append(Trial(n, scene, (condition,), first.get((scene, condition))))
        first.setdefault((scene, condition), n)
    return trials


def next_pair(
    study: Study,
    number: int,
    own: Sequence[Trial],
    answers: Mapping[int, tuple[str, str]],
    wins: Matrix,
    shown: Mapping[tuple[str, frozenset[str]], int],
) -> Trial:
    """The next trial of a rater: the pair of conditions whose answer tells most, on the scene that it was least often
    shown on; now and then an earlier pair with its sides changed, or the reference beside the weakest condition.

    own: this rater's trials in order;  answers: n of one -> (winner, loser);  wins: of all raters;  shown: (scene,
    pair) -> how often anybody was shown it.
    """
    n, names = len(own), study.conditions
    draw, found, kind = _random(study, number, n), strengths(wins), _kind(study, n)
    seen = {(trial.scene, frozenset(trial.shown)) for trial in own}
    again = _to_repeat(own, answers, dict(zip(names, found, strict=True)))
    if again is not None and (kind == "repeat" or len(seen) == len(study.pairs) * len(study.scenes)):
        return Trial(n, again.scene, again.shown[::-1], again.n)
    gain, weakest = information_gain(wins), names[int(np.argmin(found))]

    def worth(pair: tuple[int, int]) -> tuple[float, ...]:
        is_check = kind == REFERENCE and {names[i] for i in pair} == {REFERENCE, weakest}
        return not is_check, -round(float(gain[pair]), 9), draw.random()

    for i, j in sorted(study.pairs, key=worth):
        pair = frozenset((names[i], names[j]))
        free = [scene.name for scene in study.scenes if (scene.name, pair) not in seen]
        if free:
            last = own[-1].scene if own else None
            scene = min(free, key=lambda name: (shown.get((name, pair), 0), name == last, draw.random()))
            return Trial(n, scene, tuple(draw.sample((names[i], names[j]), 2)))
    raise AssertionError("a rater was asked for more pairs than there are")


def _kind(study: Study, n: int) -> str:
    """Of trial n "repeat", REFERENCE or "": the checks of a rater's care stand at even distances."""
    n_checks = study.n_repeats * (1 + study.has_reference)
    index = n * n_checks // study.n_trials
    if (n + 1) * n_checks // study.n_trials == index:
        return ""
    return REFERENCE if study.has_reference and index % 2 == 0 else "repeat"


def _to_repeat(
    own: Sequence[Trial], answers: Mapping[int, tuple[str, str]], found: Mapping[str, float]
) -> Trial | None:
    """Of trials some time ago, not repeated yet, the most decided one, which a careful rater answers alike."""
    repeated = {trial.repeats for trial in own}
    past = [trial for trial in own if trial.n in answers and trial.repeats is None and trial.n not in repeated]
    far = [trial for trial in past if trial.n < len(own) - _APART]
    return max(far or past, key=lambda trial: abs(found[trial.shown[0]] - found[trial.shown[1]]), default=None)


def _random(study: Study, *parts: int) -> random.Random:
    return random.Random("/".join(map(str, (study.seed, *parts))))
