"""Learned functions on images: plain modules with the published values as defaults, one paper per file."""

from torch import nn

from .dae import DAE

NETWORKS: dict[str, type[nn.Module]] = {"dae": DAE}

__all__ = ["DAE", "NETWORKS"]
