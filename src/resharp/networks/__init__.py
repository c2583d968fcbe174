"""Learned functions on images: plain modules with the published values as defaults, one paper per file."""

from torch import nn

from .blur_detector import BlurDetector
from .critics import CRITICS, DenseCritic, PatchCritic, PooledCritic
from .dae import DAE
from .dbgan import BGAN, DBGAN
from .deblurgan import DeblurGAN
from .features import FEATURE_NETWORKS, NORMALISATIONS, FeatureNetwork
from .mprnet import MPRNet
from .nafnet import NAFNet
from .noise_maps import NOISES, noise_for, noise_map
from .sftnet import SFTNet
from .srresnet import MSRResNet, SRResNet
from .unet import Refiner, UNet
from .upscaler import LightUpscaler

NETWORKS: dict[str, type[nn.Module]] = {
    "bgan": BGAN,
    "dae": DAE,
    "dbgan": DBGAN,
    "deblurgan": DeblurGAN,
    "mprnet": MPRNet,
    "msrresnet": MSRResNet,
    "nafnet": NAFNet,
    "refiner": Refiner,
    "sftnet": SFTNet,
    "srresnet": SRResNet,
    "unet": UNet,
    "upscaler": LightUpscaler,
}
"""What makes photos of photos."""

DETECTORS: dict[str, type[nn.Module]] = {"blur-detector": BlurDetector}
"""What tells something of photos."""

__all__ = [
    "BGAN",
    "CRITICS",
    "DAE",
    "DBGAN",
    "DETECTORS",
    "FEATURE_NETWORKS",
    "NETWORKS",
    "NOISES",
    "NORMALISATIONS",
    "BlurDetector",
    "DeblurGAN",
    "DenseCritic",
    "FeatureNetwork",
    "LightUpscaler",
    "MPRNet",
    "MSRResNet",
    "NAFNet",
    "PatchCritic",
    "PooledCritic",
    "Refiner",
    "SFTNet",
    "SRResNet",
    "UNet",
    "noise_for",
    "noise_map",
]
