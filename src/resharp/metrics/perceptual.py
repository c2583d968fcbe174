"""Distances of deep features (Zhang et al. 2018, arXiv 1801.03924).

It is LPIPS only with the paper's linear weights over the paper's network; else it is a feature distance, and is called
so.  Images: float RGB (..., 3, H, W) in [0, 1]; lower is better, 0 for equal images.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from resharp.errors import ArgumentError, WeightsError, did_you_mean
from resharp.models import features_file, load_features

from .arguments import checked_pair, full_precision
from .table import Metric

Features = Callable[[Tensor], Sequence[Tensor]]
"""Images (..., 3, H, W) -> one tensor (..., channels, height, width) for each of several layers."""

# Where LPIPS looks, after the ReLU; its third network, AlexNet, is none of ours.
LPIPS_LAYERS = {
    "vgg16": ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3"),
    "squeezenet1.1": ("conv1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9"),
}
_NO_LENGTH = 1e-10  # next to the length of a feature vector


@torch.no_grad()
def feature_distance(
    restored: Tensor, clean: Tensor, features: Features, linear: Sequence[Tensor] | None = None
) -> Tensor:
    """Squared distance of feature vectors of length 1, mean over the positions, summed over the layers; shape (...).

    features: such as a `networks.FeatureNetwork` after its ReLUs;  linear: for each layer the weights (channels,) of
    the squared differences, 1 without them.
    """
    restored, clean = checked_pair(restored, clean)
    with full_precision(restored):
        pairs = list(zip(features(restored), features(clean), strict=True))
    if linear is not None and [len(weights) for weights in linear] != [one.shape[-3] for one, _ in pairs]:
        found, wanted = [len(weights) for weights in linear], [one.shape[-3] for one, _ in pairs]
        raise ArgumentError(f"linear weights for layers of {found} channels do not fit features of {wanted}")
    total = torch.zeros(restored.shape[:-3], dtype=torch.float64, device=restored.device)
    for layer, (one, other) in enumerate(pairs):
        difference = (_directions(one) - _directions(other)).square().mean(dim=(-2, -1))
        total += (difference if linear is None else difference * linear[layer].to(difference)).double().sum(-1)
    return total


def load_feature_distance(
    architecture: str = "vgg16", *, weights: str | Path | None = None, download: bool = False
) -> Metric:
    """The feature distance over a row of LPIPS_LAYERS: LPIPS's layers without its linear weights, and not LPIPS.

    weights, download: as for `models.load_features`, whose errors it raises.
    """
    layers = _layers(architecture)
    features = load_features(architecture, *layers, after_relu=True, weights=weights, download=download)
    summary = f"feature distance over {architecture}: unit features of {len(layers)} layers"
    return Metric(functools.partial(feature_distance, features=features), "", False, True, summary)


def load_lpips(
    linear: Path, architecture: str = "vgg16", *, weights: str | Path | None = None, download: bool = False
) -> Metric:
    """LPIPS 0.1 with the linear weights of a file as the authors' vgg.pth and squeeze.pth (lin0.model.1.weight, ...).

    weights: of torchvision, on which the linear ones were learned; with others it would not be LPIPS.  Raises
    WeightsError for a file that does not fit, and the errors of `models.load_features`.
    """
    layers = _layers(architecture)
    used = Path(weights) if weights else features_file(architecture, download=download, keras=False)
    if used.suffix == ".h5":
        raise WeightsError(f"{used}: LPIPS was learned on torchvision's weights; name those, or leave LPIPS be")
    features = load_features(architecture, *layers, after_relu=True, weights=used)
    learned = _read_linear(linear, len(layers))
    measure = functools.partial(feature_distance, features=features, linear=learned)
    try:
        measure(torch.zeros(3, 64, 64), torch.zeros(3, 64, 64))
    except ArgumentError as error:
        raise WeightsError(f"{linear}: {error}; is it a file for another network?") from None
    return Metric(measure, "", False, True, f"LPIPS 0.1 over {architecture}")


def _layers(architecture: str) -> tuple[str, ...]:
    if architecture not in LPIPS_LAYERS:
        known = did_you_mean(architecture, LPIPS_LAYERS, things="networks of feature distances")
        raise ArgumentError(f"{architecture!r} has no feature distance; {known}")
    return LPIPS_LAYERS[architecture]


def _directions(features: Tensor) -> Tensor:
    """Each position's vector over the channels, at length 1."""
    lengths: Tensor = torch.linalg.vector_norm(features, dim=-3, keepdim=True)
    return features / (lengths + _NO_LENGTH)


def _read_linear(path: str | Path, n_layers: int) -> list[Tensor]:
    """The weights (channels,) of each layer, in their order."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        weights = [state[f"lin{layer}.model.1.weight"].detach().float().flatten() for layer in range(n_layers)]
    except Exception as error:  # damaged pickles fail in many ways; none is ours, and no code of the file is run
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path}: cannot be read as linear weights of LPIPS ({reason})") from None
    if not all(bool(torch.isfinite(tensor).all()) and bool((tensor >= 0).all()) for tensor in weights):
        raise WeightsError(f"{path}: linear weights of LPIPS are finite and not negative; get the file again")
    return weights
