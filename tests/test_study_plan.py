"""What raters are shown, and in which order."""

import itertools
from collections import Counter

import numpy as np
import pytest

from resharp.study.definition import REFERENCE, Study
from resharp.study.plan import Trial, grading_plan, next_pair
from tests.study_sets import plain_study


def test_a_rater_grades_whole_scenes_and_no_scene_follows_itself() -> None:
    study = plain_study(n_scenes=5, n_trials=14, n_repeats=2)  # three of five scenes under four conditions
    seen: Counter[tuple[str, str]] = Counter()
    for number in range(5):
        plan = grading_plan(study, number)
        assert [trial.n for trial in plan] == list(range(14))
        fresh = [(trial.scene, *trial.shown) for trial in plan if trial.repeats is None]
        scenes = {scene for scene, _ in fresh}
        assert len(scenes) == 3
        assert sorted(fresh) == sorted(itertools.product(scenes, study.conditions))
        seen.update(fresh)
        assert all(one.scene != other.scene for one, other in itertools.pairwise(plan))
        for trial in plan:
            if trial.repeats is not None:
                assert trial.n > 6 > trial.repeats
                assert (trial.scene, trial.shown) == (plan[trial.repeats].scene, plan[trial.repeats].shown)
        assert plan == grading_plan(study, number)
    assert set(seen.values()) == {3}  # every picture by three of five raters
    assert grading_plan(study, 0) != grading_plan(study, 1)


def rate(study: Study, quality: dict[str, float], *, n_raters: int = 1, seed: int = 0) -> list[list[Trial]]:
    """All trials of raters who answer after Bradley and Terry."""
    random, wins = np.random.default_rng(seed), np.zeros((len(study.conditions),) * 2)
    shown: Counter[tuple[str, frozenset[str]]] = Counter()
    sessions = []
    for number in range(n_raters):
        own: list[Trial] = []
        answers: dict[int, tuple[str, str]] = {}
        for n in range(study.n_trials):
            trial = next_pair(study, number, own, answers, wins, shown)
            a, b = trial.shown
            chosen = (a, b) if random.random() < 1 / (1 + np.exp(quality[b] - quality[a])) else (b, a)
            own.append(trial)
            answers[n] = chosen
            shown[trial.scene, frozenset(trial.shown)] += 1
            if trial.repeats is None:
                wins[tuple(map(study.conditions.index, chosen))] += 1
        sessions.append(own)
    return sessions


def test_pairs_come_once_with_repeats_and_the_reference_among_them() -> None:
    study = plain_study("pairs", n_trials=27, n_repeats=3)  # all 24 pairs
    (own,) = rate(study, dict.fromkeys(study.conditions, 0.0))
    fresh = [trial for trial in own if trial.repeats is None]
    repeats = [trial for trial in own if trial.repeats is not None]
    assert len({(trial.scene, frozenset(trial.shown)) for trial in fresh}) == 24
    assert len(repeats) == len({trial.repeats for trial in repeats}) == 3
    for trial in repeats:
        assert trial.shown == own[trial.repeats].shown[::-1]
        assert trial.scene == own[trial.repeats].scene
    sides = Counter(trial.shown[0] for trial in fresh)
    assert len(sides) == 4
    assert [trial.repeats is not None for trial in own].index(True) == 8
    assert REFERENCE in own[4].shown  # the check before


def test_pairs_are_asked_where_they_tell_most() -> None:
    study = plain_study("pairs", n_scenes=20, n_trials=40, n_repeats=0)
    quality = dict(zip(study.conditions, (0.0, 0.2, 4.0, 8.0), strict=True))
    asked = Counter(frozenset(trial.shown) for session in rate(study, quality, n_raters=4) for trial in session)
    close, far = (asked[frozenset(study.conditions[i] for i in pair)] for pair in ((0, 1), (0, 3)))
    assert sum(asked.values()) == 160
    assert close > 2 * far
    assert len(asked) == 6


@pytest.mark.parametrize("n", [0, 5])
def test_a_scene_comes_where_the_pair_was_least_shown(n: int) -> None:
    study = plain_study("pairs", n_scenes=6, n_trials=30, n_repeats=0)
    free = f"{n}.png"
    pairs = [frozenset(pair) for pair in itertools.combinations(study.conditions, 2)]
    shown = {(scene.name, pair): int(scene.name != free) for scene in study.scenes for pair in pairs}
    assert next_pair(study, 0, [], {}, np.zeros((4, 4)), shown).scene == free
