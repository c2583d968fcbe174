"""Learning rates over a stage, as factors of their base."""

import math

from .config import ScheduleRecipe


def rate_factor(schedule: ScheduleRecipe, n_seen: int, n_images: int) -> float:
    """The factor for the step that begins after `n_seen` of a stage's `n_images`; see ScheduleRecipe."""
    warmup = min(1.0, (n_seen + 1) / (schedule.warmup_images + 1))
    if schedule.kind == "constant":
        return warmup
    if schedule.kind == "steps":
        return warmup * math.prod(schedule.factor for milestone in schedule.milestones if n_seen >= milestone)
    if schedule.kind == "linear":
        left = 1 - max(0, n_seen - schedule.constant_images) / max(1, n_images - schedule.constant_images)
    else:
        left = 0.5 * (1 + math.cos(math.pi * min(n_seen / n_images, 1.0)))
    return warmup * (schedule.end + (1 - schedule.end) * max(0.0, left))
