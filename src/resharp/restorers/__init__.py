"""Restorers: an image in, an image out, whatever is behind it; and the opposite way, for tests and demonstrations."""

from .base import Progress, Restored, Restorer, StoppedError
from .bayes import SOLVERS, BayesRestorer, Problem, Solver
from .degrading import blur, degrade
from .network import NetworkDenoiser, NetworkRestorer, TiledNetwork
from .opening import TELLABLE, FunctionRestorer, open_denoiser, open_restorer
from .photos import restore_photo, restore_planes
from .precision import PRECISIONS
from .verbs import deblur, deconvolve, denoise, restore, upscale

__all__ = [
    "PRECISIONS",
    "SOLVERS",
    "TELLABLE",
    "BayesRestorer",
    "FunctionRestorer",
    "NetworkDenoiser",
    "NetworkRestorer",
    "Problem",
    "Progress",
    "Restored",
    "Restorer",
    "Solver",
    "StoppedError",
    "TiledNetwork",
    "blur",
    "deblur",
    "deconvolve",
    "degrade",
    "denoise",
    "open_denoiser",
    "open_restorer",
    "restore",
    "restore_photo",
    "restore_planes",
    "upscale",
]
