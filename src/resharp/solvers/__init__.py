"""Find the image: functions of (measurement, degradation, prior)."""

<<<<<<< HEAD
from .half_quadratic import falling_levels, half_quadratic, mean_and_spread, unclipped
from .mean_shift import DataWeight, Step, estimated, known, mean_shift, until_settled
=======
from .half_quadratic import at_any_level, falling_levels, half_quadratic, halo, mean_and_spread, unclipped
from .mean_shift import Step, mean_shift, until_settled
>>>>>>> solver
from .noise_level import estimated_noise_sigma

__all__ = [
    "DataWeight",
    "Step",
    "estimated",
    "estimated_noise_sigma",
    "falling_levels",
    "half_quadratic",
<<<<<<< HEAD
    "known",
=======
    "halo",
>>>>>>> solver
    "mean_and_spread",
    "mean_shift",
    "unclipped",
    "until_settled",
]
