"""Learned functions on images: plain modules with the published values as defaults, one paper per file."""

from torch import nn

from .critics import CRITICS, PatchCritic, PooledCritic
from .dae import DAE
from .deblurgan import DeblurGAN
from .features import FEATURE_NETWORKS, NORMALISATIONS, FeatureNetwork
from .nafnet import NAFNet
from .unet import UNet

NETWORKS: dict[str, type[nn.Module]] = {"dae": DAE, "deblurgan": DeblurGAN, "nafnet": NAFNet, "unet": UNet}

__all__ = [
    "CRITICS",
    "DAE",
    "FEATURE_NETWORKS",
    "NETWORKS",
    "NORMALISATIONS",
    "DeblurGAN",
    "FeatureNetwork",
    "NAFNet",
    "PatchCritic",
    "PooledCritic",
    "UNet",
]
