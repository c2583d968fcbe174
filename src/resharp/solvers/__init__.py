"""Find the image: functions of (measurement, degradation, prior)."""

from .mean_shift import Step, mean_shift, until_settled

__all__ = ["Step", "mean_shift", "until_settled"]
