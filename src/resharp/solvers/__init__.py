"""Find the image: functions of (measurement, degradation, prior)."""

from .half_quadratic import falling_levels, half_quadratic, halo, mean_and_spread, steps_for, unclipped
from .mean_shift import DataWeight, Step, estimated, known, mean_shift, until_settled

__all__ = [
    "DataWeight",
    "Step",
    "estimated",
    "falling_levels",
    "half_quadratic",
    "halo",
    "known",
    "mean_and_spread",
    "mean_shift",
    "steps_for",
    "unclipped",
    "until_settled",
]
