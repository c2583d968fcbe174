"""Find the image: functions of (measurement, degradation, prior)."""

from .half_quadratic import falling_levels, half_quadratic, halo, mean_and_spread, steps_for, unclipped
from .mean_shift import DataWeight, Step, estimated, known, mean_shift, until_settled
from .noise_level import estimated_noise_sigma

__all__ = [
    "DataWeight",
    "Step",
    "estimated",
    "estimated_noise_sigma",
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
