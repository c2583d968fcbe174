"""Learned functions on images: plain modules with the published values as defaults, one paper per file."""

from torch import nn

from .critics import CRITICS, DenseCritic, PatchCritic, PooledCritic
from .dae import DAE
from .deblurgan import DeblurGAN
from .features import FEATURE_NETWORKS, NORMALISATIONS, FeatureNetwork
from .nafnet import NAFNet
from .srresnet import MSRResNet, SRResNet
from .unet import UNet
from .upscaler import LightUpscaler

NETWORKS: dict[str, type[nn.Module]] = {
    "dae": DAE,
    "deblurgan": DeblurGAN,
    "msrresnet": MSRResNet,
    "nafnet": NAFNet,
    "srresnet": SRResNet,
    "unet": UNet,
    "upscaler": LightUpscaler,
}

__all__ = [
    "CRITICS",
    "DAE",
    "FEATURE_NETWORKS",
    "NETWORKS",
    "NORMALISATIONS",
    "DeblurGAN",
    "DenseCritic",
    "FeatureNetwork",
    "LightUpscaler",
    "MSRResNet",
    "NAFNet",
    "PatchCritic",
    "PooledCritic",
    "SRResNet",
    "UNet",
]
