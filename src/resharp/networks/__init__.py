"""Learned functions on images: plain modules with the published values as defaults, one paper per file."""

from torch import nn

from .dae import DAE
from .feature_weights import features_file, load_features, weights_folder
from .features import FEATURE_NETWORKS, NORMALISATIONS, FeatureNetwork

NETWORKS: dict[str, type[nn.Module]] = {"dae": DAE}

__all__ = [
    "DAE",
    "FEATURE_NETWORKS",
    "NETWORKS",
    "NORMALISATIONS",
    "FeatureNetwork",
    "features_file",
    "load_features",
    "weights_folder",
]
