"""Restorers: an image in, an image out, whatever is behind it; and the opposite way, for tests and demonstrations."""

from typing import TYPE_CHECKING

from resharp.lazy import on_first_use

if TYPE_CHECKING:
    from .base import Progress, Restored, Restorer, StoppedError
    from .bayes import SOLVERS, BayesRestorer, Problem, Solver
    from .blind import BlindRestorer
    from .degrading import blur, degrade
    from .files import restore_files
    from .jobs import Job, Jobs, Shard, plan_jobs
    from .journal import Journal
    from .network import NetworkDenoiser, NetworkRestorer
    from .opening import TELLABLE, FunctionRestorer, open_denoiser, open_restorer
    from .photos import restore_photo, restore_planes
    from .precision import PRECISIONS
    from .report import Report
    from .rows import Pace, Row
    from .tiled import TiledNetwork
    from .verbs import deblur, deconvolve, demosaic, denoise, inpaint, restore, upscale

__all__ = [
    "PRECISIONS",
    "SOLVERS",
    "TELLABLE",
    "BayesRestorer",
    "BlindRestorer",
    "FunctionRestorer",
    "Job",
    "Jobs",
    "Journal",
    "NetworkDenoiser",
    "NetworkRestorer",
    "Pace",
    "Problem",
    "Progress",
    "Report",
    "Restored",
    "Restorer",
    "Row",
    "Shard",
    "Solver",
    "StoppedError",
    "TiledNetwork",
    "blur",
    "deblur",
    "deconvolve",
    "degrade",
    "demosaic",
    "denoise",
    "inpaint",
    "open_denoiser",
    "open_restorer",
    "plan_jobs",
    "restore",
    "restore_files",
    "restore_photo",
    "restore_planes",
    "upscale",
]

if not TYPE_CHECKING:  # a type checker must not take any name for one of ours
    __getattr__ = on_first_use(__name__)
