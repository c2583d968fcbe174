"""Find the image: functions of (measurement, degradation, prior)."""

from .half_quadratic import at_any_level, falling_levels, half_quadratic, halo, mean_and_spread, unclipped
from .mean_shift import Step, mean_shift, until_settled
from .noise_level import estimated_noise_sigma

__all__ = [
    "Step",
    "at_any_level",
    "estimated_noise_sigma",
    "falling_levels",
    "half_quadratic",
    "halo",
    "mean_and_spread",
    "mean_shift",
    "unclipped",
    "until_settled",
]
