"""The health of a training: what is measured at a step, and the warnings that the numbers call for."""

from .measures import (
    adversarial_share,
    checkerboard_amplitude,
    colour_drift,
    critic_health,
    critic_separation,
    critic_slope,
    first_non_finite,
    gradient_norm,
    named_gradients,
    output_response,
    output_spread,
    picture_health,
)
from .monitor import LIMITS, SETTLING, WARNINGS, HealthMonitor, HealthWarning, Limit, WarningKind

__all__ = [
    "LIMITS",
    "SETTLING",
    "WARNINGS",
    "HealthMonitor",
    "HealthWarning",
    "Limit",
    "WarningKind",
    "adversarial_share",
    "checkerboard_amplitude",
    "colour_drift",
    "critic_health",
    "critic_separation",
    "critic_slope",
    "first_non_finite",
    "gradient_norm",
    "named_gradients",
    "output_response",
    "output_spread",
    "picture_health",
]
