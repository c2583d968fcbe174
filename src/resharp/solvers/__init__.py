"""Find the image: functions of (measurement, degradation, prior)."""

from .mean_shift import DataWeight, Step, estimated, known, mean_shift, until_settled

__all__ = ["DataWeight", "Step", "estimated", "known", "mean_shift", "until_settled"]
