"""Perceptual features: the first layers of VGG16, VGG19 (Simonyan & Zisserman 2014, arXiv 1409.1556) and SqueezeNet 1.1
(Iandola et al. 2016, arXiv 1602.07360), with weights that others trained on ImageNet.

In: float RGB (..., 3, H, W) in [0, 1], whatever the network was trained on.  Weights come from a file of torchvision's
or Keras's layout; none are shipped.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resharp.errors import ArgumentError, WeightsError, did_you_mean


@dataclass(frozen=True)
class Stage:
    """A convolution or fire module: its name in the paper, and where published files keep it."""

    name: str
    index: int  # in torchvision's `features`
    pooled: bool  # a max pooling stands before it
    make: Callable[[], nn.Module]
    keras: Mapping[str, str]  # Keras layer -> where its weight and bias stand in torchvision's state dict


class _Fire(nn.Module):
    """Squeeze to few channels, expand by 1x1 and 3x3 side by side; the last ReLU is left to the caller."""

    def __init__(self, n_in: int, n_squeezed: int, n_expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(n_in, n_squeezed, 1)
        self.expand1x1 = nn.Conv2d(n_squeezed, n_expanded, 1)
        self.expand3x3 = nn.Conv2d(n_squeezed, n_expanded, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        squeezed = torch.relu(self.squeeze(image))
        return torch.cat([self.expand1x1(squeezed), self.expand3x3(squeezed)], dim=-3)


def _vgg(n_convolutions: Sequence[int]) -> tuple[Stage, ...]:
    """Blocks of 3x3 convolutions with a ReLU after each (torchvision counts it), a pooling between blocks."""
    stages: list[Stage] = []
    index, n_in = 0, 3
    for block, count in enumerate(n_convolutions, start=1):
        n_out = min(64 * 2 ** (block - 1), 512)
        for position in range(1, count + 1):
            pooled = block > 1 and position == 1
            index += pooled
            make = functools.partial(nn.Conv2d, n_in, n_out, 3, padding=1)
            keras = {f"block{block}_conv{position}": f"features.{index}"}
            stages.append(Stage(f"conv{block}_{position}", index, pooled, make, keras))
            index, n_in = index + 2, n_out
    return tuple(stages)


def _squeezenet() -> tuple[Stage, ...]:
    stages = [Stage("conv1", 0, False, functools.partial(nn.Conv2d, 3, 64, 3, stride=2), {"conv1": "features.0"})]
    index, n_in = 2, 64
    for number, n_squeezed in enumerate((16, 16, 32, 32, 48, 48, 64, 64), start=2):
        name, pooled = f"fire{number}", number in (2, 4, 6)
        index += pooled
        make = functools.partial(_Fire, n_in, n_squeezed, 4 * n_squeezed)
        parts = {"squeeze1x1": "squeeze", "expand1x1": "expand1x1", "expand3x3": "expand3x3"}
        keras = {f"{name}/{layer}": f"features.{index}.{part}" for layer, part in parts.items()}
        stages.append(Stage(name, index, pooled, make, keras))
        index, n_in = index + 1, 8 * n_squeezed
    return tuple(stages)


@dataclass(frozen=True)
class FeatureArchitecture:
    """A network whose layers serve as features, and the published files that hold its weights."""

    stages: tuple[Stage, ...]
    pool: Callable[[Tensor], Tensor]
    url: str  # torchvision's file; the digits at the end of its name begin its SHA-256
    keras_file: str


def _halved(image: Tensor) -> Tensor:
    return nn.functional.max_pool2d(image, 2)


def _halved_overlapping(image: Tensor) -> Tensor:
    """Sizes are rounded up, as in Caffe and torchvision; Keras's own networks round down."""
    return nn.functional.max_pool2d(image, 3, stride=2, ceil_mode=True)


_TORCHVISION = "https://download.pytorch.org/models"

FEATURE_NETWORKS = {
    "vgg19": FeatureArchitecture(
        _vgg((2, 2, 4, 4, 4)),
        _halved,
        f"{_TORCHVISION}/vgg19-dcbb9e9d.pth",
        "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ),
    "vgg16": FeatureArchitecture(
        _vgg((2, 2, 3, 3, 3)),
        _halved,
        f"{_TORCHVISION}/vgg16-397923af.pth",
        "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ),
    "squeezenet1.1": FeatureArchitecture(
        _squeezenet(), _halved_overlapping, f"{_TORCHVISION}/squeezenet1_1-b8a52dc0.pth", "squeezenet1_1_features.h5"
    ),
}


@dataclass(frozen=True)
class Normalisation:
    """What a network sees of an image in [0, 1]: gain * image + offset by channel, with `bgr` in the other order."""

    gain: tuple[float, float, float]
    offset: tuple[float, float, float]
    bgr: bool = False


NORMALISATIONS = {
    # torchvision's: zero mean and unit spread over ImageNet
    "imagenet": Normalisation((1 / 0.229, 1 / 0.224, 1 / 0.225), (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225)),
    # Caffe's, and so Keras's: 0..255 minus the mean of ImageNet
    "caffe": Normalisation((255, 255, 255), (-103.939, -116.779, -123.68), bgr=True),
    # the generator's own [-1, 1], as DeblurGAN hands it to a network that was trained with "imagenet"
    "raw": Normalisation((2, 2, 2), (-1, -1, -1)),
}


def checked_architecture(name: str, layers: Sequence[str] = (), normalisation: str | None = None) -> None:
    """Raises ArgumentError for names that the tables do not hold, and for no layer or one named twice."""
    if name not in FEATURE_NETWORKS:
        known = did_you_mean(name, FEATURE_NETWORKS, things="networks with features")
        raise ArgumentError(f"{name!r} is no network with features; {known}")
    names = [stage.name for stage in FEATURE_NETWORKS[name].stages]
    for layer in layers:
        if layer not in names:
            raise ArgumentError(f"{layer!r} is no layer of {name}; {did_you_mean(layer, names, things='layers')}")
    if len(set(layers)) < len(layers):
        raise ArgumentError(f"a layer of {name} is named twice in {', '.join(layers)}; name each once")
    if normalisation is not None and normalisation not in NORMALISATIONS:
        known = did_you_mean(normalisation, NORMALISATIONS, things="normalisations")
        raise ArgumentError(f"{normalisation!r} is no normalisation of images; {known}")


class FeatureNetwork(nn.Module):
    """Image -> the features at some layers, in the order in which these were named; fixed weights.

    image: (..., 3, H, W) in [0, 1];  returns a list of (..., channels, height, width), before or after the layer's
    ReLU.  Only the layers up to the deepest one are kept, in the dtype of the weights.  The module has no mode: it does
    the same in training and evaluation.  `state` holds torchvision's names (features.0.weight, ...); what lies beyond
    the layers is ignored.  Raises WeightsError for a state that does not fit, ArgumentError for unknown names.
    """

    gain: Tensor
    offset: Tensor

    def __init__(
        self,
        architecture: str,
        layers: Sequence[str],
        state: Mapping[str, Tensor],
        *,
        after_relu: bool = False,
        normalisation: str = "imagenet",
    ) -> None:
        super().__init__()
        checked_architecture(architecture, layers, normalisation)
        if not layers:
            raise ArgumentError(f"no layer of {architecture} is named; name one such as 'conv1_1'")
        self.layers, self.after_relu = tuple(layers), after_relu
        self._pool = FEATURE_NETWORKS[architecture].pool
        stages = FEATURE_NETWORKS[architecture].stages
        depth = max(number for number, stage in enumerate(stages, start=1) if stage.name in layers)
        self._stages = stages[:depth]
        with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
            self.features = nn.ModuleDict({str(stage.index): stage.make() for stage in self._stages})
        self.load_state_dict(_fitting(self.state_dict(), state), assign=True)
        self.requires_grad_(False)
        seen = NORMALISATIONS[normalisation]
        self._bgr = seen.bgr
        self.register_buffer("gain", torch.tensor(seen.gain, dtype=torch.float32)[:, None, None], persistent=False)
        self.register_buffer("offset", torch.tensor(seen.offset, dtype=torch.float32)[:, None, None], persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        if image.ndim < 3 or image.shape[-3] != 3:
            raise ArgumentError(f"features are of colour images (..., 3, H, W); this one is {tuple(image.shape)}")
        leading, size = image.shape[:-3], image.shape[-2:]
        values = image.reshape(-1, 3, *size).to(self.gain.dtype)
        values = (values.flip(-3) if self._bgr else values) * self.gain + self.offset
        taps: dict[str, Tensor] = {}
        for stage, module in zip(self._stages, self.features.values(), strict=True):
            # A 3x3 convolution without margin needs three pixels, a pooling two.
            if min(values.shape[-2:]) < (2 if stage.pooled else 3 if stage.name == "conv1" else 1):
                raise ArgumentError(f"an image of {size[1]}x{size[0]} pixels is too small for {self._stages[-1].name}")
            before = module(self._pool(values) if stage.pooled else values)
            values = torch.relu(before)  # never in place: `before` may be asked for
            if stage.name in self.layers:
                taps[stage.name] = values if self.after_relu else before
        return [taps[layer].reshape(*leading, *taps[layer].shape[1:]) for layer in self.layers]


def _fitting(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The float32 tensors of `state` that `wanted` names, apart from the rest; raises WeightsError."""
    found = {}
    for key, place in wanted.items():
        if key not in state:
            raise WeightsError(f"has no {key}; is it a file of another network?")
        tensor = state[key]
        if tensor.shape != place.shape:
            raise WeightsError(
                f"{key} is {tuple(tensor.shape)} where {tuple(place.shape)} belongs; of another network?"
            )
        found[key] = tensor.detach().to(torch.float32, copy=True)
        if not bool(torch.isfinite(found[key]).all()):
            raise WeightsError(f"{key} holds NaN or infinite values; get the file again")
    return found
