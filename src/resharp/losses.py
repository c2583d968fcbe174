"""What a training minimises: pixel, perceptual and adversarial losses, all plain functions.

Images: float RGB (..., 3, H, W) in [0, 1].  Every loss is a scalar, in float32 or the images' float64 even where they
come in bfloat16 or under autocast.  Its weight in a sum belongs to the recipe.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .errors import ArgumentError, did_you_mean

PixelLoss = Callable[[Tensor, Tensor], Tensor]
"""(restored, target) of equal shape -> scalar."""

Features = Callable[[Tensor], Tensor | Sequence[Tensor]]
"""Images -> one tensor of features, or one for each of several layers."""

# --- pixels -----------------------------------------------------------------------------------------------------------


def l1(restored: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference."""
    return _difference(restored, target).abs().mean()


def l2(restored: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference."""
    return _difference(restored, target).square().mean()


def l2_sum(restored: Tensor, target: Tensor) -> Tensor:
    """Squared difference, summed over an image, mean over images; a quarter of what it is for images in [-1, 1]."""
    return _difference(restored, target).square().sum(dim=(-3, -2, -1)).mean()


def rmse(restored: Tensor, target: Tensor, *, epsilon: float = 1e-3) -> Tensor:
    """Root of an image's mean squared difference + epsilon^2, mean over images; epsilon is on the [0, 1] scale.

    Between `l2`, where badly degraded images outweigh the others, and PSNR, where nearly sharp ones do.
    """
    assert epsilon > 0, "the gradient at zero exists only for epsilon > 0"
    squares = _difference(restored, target).square().mean(dim=(-3, -2, -1))
    return (squares + epsilon**2).sqrt().mean()


def charbonnier(restored: Tensor, target: Tensor, *, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt(difference^2 + epsilon^2) (Charbonnier et al. 1994; epsilon as in Zamir et al. 2021); at least
    epsilon, which stands on the [0, 1] scale.
    """
    return _charbonnier(_difference(restored, target), epsilon)


def edge(restored: Tensor, target: Tensor, *, epsilon: float = 1e-3) -> Tensor:
    """Charbonnier loss of the first Laplacian-pyramid bands (Zamir et al. 2021, arXiv 2102.02808, eq. 3)."""
    # The band is linear in the image, so the difference of bands is the band of the difference.
    return _charbonnier(_laplacian(_difference(restored, target)), epsilon)


def colour(restored: Tensor, target: Tensor, *, sigma: float = 3.0) -> Tensor:
    """Mean squared difference behind a Gaussian of `sigma` pixels: of brightness and colours, not of edges and
    texture (Ignatov et al. 2017, arXiv 1704.02470, section 3.1.1)."""
    assert sigma > 0, "a Gaussian of no width compares pixels, which `l2` does"
    reach = math.ceil(3 * sigma)
    line = torch.exp(-torch.arange(-reach, reach + 1).square() / (2 * sigma**2))
    return _smoothed(_difference(restored, target), (line / line.sum()).tolist()).square().mean()


def grid(restored: Tensor, target: Tensor, *, stride: int = 4, around: int = 6) -> Tensor:
    """Mean square of what the errors at one place of all squares of `stride` pixels have in common, over `around`
    squares each way: the grid that pixel shuffles leave and critics overlook.  0 where not one square fits in.
    """
    difference = _difference(restored, target)
    down, across = (size // stride for size in difference.shape[-2:])
    if not down or not across:
        return difference.sum() * 0
    planes = difference[..., : down * stride, : across * stride].reshape(-1, 1, down * stride, across * stride)
    window = min(around, down), min(around, across)
    common = functional.avg_pool2d(functional.pixel_unshuffle(planes, stride), window, max(1, around // 2))
    return (common - common.mean(1, keepdim=True)).square().mean()


def total_variation(image: Tensor) -> Tensor:
    """Absolute differences of neighbours along both axes, summed, over the number of entries; of one image alone.

    The sum over an image (C, H, W), as some papers have it, is C H W times as large.
    """
    image = _promoted(image)
    down, right = image.diff(dim=-2).abs().sum(), image.diff(dim=-1).abs().sum()
    return (down + right) / image.numel()


def _promoted(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _difference(restored: Tensor, target: Tensor) -> Tensor:
    _same_shape(restored, target)
    return _promoted(restored) - _promoted(target)


def _same_shape(one: Tensor, other: Tensor) -> None:
    """Broadcasting would hide a mistake, so the shapes have to be equal."""
    if one.shape != other.shape:
        raise ArgumentError(f"a loss compares tensors of one shape, not {tuple(one.shape)} and {tuple(other.shape)}")


def _charbonnier(difference: Tensor, epsilon: float) -> Tensor:
    assert epsilon > 0, "the gradient at zero exists only for epsilon > 0"
    return (difference.square() + epsilon**2).sqrt().mean()


def _laplacian(image: Tensor) -> Tensor:
    """Image minus its copy that was smoothed, sampled at every second pixel, filled with zeros and smoothed again."""
    sampled = torch.zeros_like(image)
    sampled[..., ::2, ::2] = 4 * _smoothed(image)[..., ::2, ::2]
    return image - _smoothed(sampled)


def _smoothed(image: Tensor, taps: Sequence[float] = (0.05, 0.25, 0.4, 0.25, 0.05)) -> Tensor:
    """By taps along both axes, Burt and Adelson's five (1983); borders repeated."""
    line = image.new_tensor(taps)
    around = (len(taps) // 2,) * 4
    planes = functional.pad(image.reshape(-1, 1, *image.shape[-2:]), around, mode="replicate")
    with _full_precision(image):
        planes = functional.conv2d(functional.conv2d(planes, line[None, None, :, None]), line[None, None, None, :])
    return planes.reshape(image.shape)


def _full_precision(tensor: Tensor) -> torch.autocast:
    """Autocast would send convolutions and matrix products through bfloat16."""
    return torch.autocast(tensor.device.type, enabled=False)


LOSSES: dict[str, PixelLoss] = {
    "l1": l1,
    "l2": l2,
    "l2-sum": l2_sum,
    "rmse": rmse,
    "charbonnier": charbonnier,
    "edge": edge,
    "colour": colour,
    "grid": grid,
}

# --- features ---------------------------------------------------------------------------------------------------------


FEATURE_LOSSES = ("perceptual", "style")  # those below, by name; they compare what a network sees


def perceptual(restored: Tensor, target: Tensor, features: Features, *, distance: PixelLoss = l2) -> Tensor:
    """Distance of the features of two images (Johnson et al. 2016, arXiv 1603.08155), summed over the layers.

    features: such as a `networks.FeatureNetwork`, or any callable;  no gradient reaches `target`.
    """
    return _over_layers(restored, target, features, distance)


def style(restored: Tensor, target: Tensor, features: Features, *, distance: PixelLoss = l2) -> Tensor:
    """Distance of the Gram matrices of the features of two images (Gatys et al. 2016), summed over the layers.

    The default is the mean over a matrix; the squared Frobenius norm is channels^2 times as large.
    """
    return _over_layers(restored, target, lambda image: [gram(layer) for layer in _as_list(features(image))], distance)


def gram(features: Tensor) -> Tensor:
    """Which channels fire together: (..., C, H, W) -> (..., C, C), products over all positions, over C H W."""
    rows = _promoted(features).flatten(-2)
    with _full_precision(rows):
        return rows @ rows.mT / (rows.shape[-1] * rows.shape[-2])


def _over_layers(restored: Tensor, target: Tensor, features: Features, distance: PixelLoss) -> Tensor:
    _same_shape(restored, target)
    with torch.no_grad():
        wanted = _as_list(features(target.detach()))
    found = _as_list(features(restored))
    return torch.stack([distance(one, other) for one, other in zip(found, wanted, strict=True)]).sum()


def _as_list(features: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return [features] if isinstance(features, Tensor) else features


# --- critics ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Adversarial:
    """What critic and generator minimise, given the critic's logits (of any shape, patches included).

    critic: (real logits, fake logits) -> scalar;  generator: (real logits or None, fake logits) -> scalar, where None
    will do unless `generator_needs_real`.  Logits have seen no sigmoid.
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor | None, Tensor], Tensor]
    generator_needs_real: bool = False


def _wasserstein_critic(real: Tensor, fake: Tensor) -> Tensor:
    return _promoted(fake).mean() - _promoted(real).mean()


def _raise_score(real: Tensor | None, fake: Tensor) -> Tensor:
    del real
    return -_promoted(fake).mean()


def _vanilla_critic(real: Tensor, fake: Tensor) -> Tensor:
    return _unlike_real(-_promoted(real)) + _unlike_real(_promoted(fake))


def _vanilla_generator(real: Tensor | None, fake: Tensor) -> Tensor:
    del real
    return _unlike_real(-_promoted(fake))


def _unlike_real(logits: Tensor) -> Tensor:
    """-log(1 - sigmoid(logits)), mean; large logits do no harm."""
    return functional.softplus(logits).mean()


def _least_squares_critic(real: Tensor, fake: Tensor) -> Tensor:
    return ((_promoted(real) - 1).square().mean() + _promoted(fake).square().mean()) / 2


def _least_squares_generator(real: Tensor | None, fake: Tensor) -> Tensor:
    del real
    return (_promoted(fake) - 1).square().mean() / 2


def _hinge_critic(real: Tensor, fake: Tensor) -> Tensor:
    return torch.relu(1 - _promoted(real)).mean() + torch.relu(1 + _promoted(fake)).mean()


def _relativistic_critic(real: Tensor, fake: Tensor) -> Tensor:
    real, fake = _promoted(real), _promoted(fake)
    return _unlike_real(fake.mean() - real) + _unlike_real(fake - real.mean())


def _relativistic_generator(real: Tensor | None, fake: Tensor) -> Tensor:
    assert real is not None, "a relativistic generator loss compares with the logits of real images"
    return _relativistic_critic(fake, real)


def relativistic_odds(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """How probable a relativistic critic finds it that a real image is more real than the mean fake, and the other way
    round: means of what its loss pushes to 1 and 0, the generator's to 0.5."""
    real, fake = _promoted(real), _promoted(fake)
    return float((real - fake.mean()).sigmoid().mean()), float((fake - real.mean()).sigmoid().mean())


ADVERSARIAL = {
    "wgan": Adversarial(_wasserstein_critic, _raise_score),  # Arjovsky et al. 2017; with `gradient_penalty`
    "vanilla": Adversarial(_vanilla_critic, _vanilla_generator),  # Goodfellow et al. 2014, the non-saturating form
    "lsgan": Adversarial(_least_squares_critic, _least_squares_generator),  # Mao et al. 2017, labels 0 and 1
    "hinge": Adversarial(_hinge_critic, _raise_score),  # Lim and Ye 2017
    # Jolicoeur-Martineau 2018: real images are more real than the average fake, and the other way round
    "relativistic": Adversarial(_relativistic_critic, _relativistic_generator, generator_needs_real=True),
}

# Which axes of a gradient (N, C, H, W) belong to one norm.
_NORM_AXES = {"sample": (1, 2, 3), "channel": (1,)}
_PUBLISHED_SPAN = 2  # of the pixels that critics are trained on elsewhere, [-1, 1]; ours span 1


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    generator: torch.Generator,
    norm: str = "sample",
    autocast: torch.dtype | None = None,
) -> Tensor:
    """How far the critic's slope is from 1 (Gulrajani et al. 2017, arXiv 1704.00028): mean of (|gradient| - 1)^2.

    The gradient of the summed logits is taken at a point between each real and fake image (N, C, H, W), drawn evenly.
    It is that over images in [-1, 1], as published, half of that over ours in [0, 1].
    norm: "sample" is the length of an image's whole gradient, "channel" that at each pixel, as DeblurGAN's code has it.
    The critic must not mix the samples of a batch.  autocast: what its convolutions run in, or None for float32
    (float64 for such images) even inside autocast; the norm is never less.  bfloat16 is off by about 5 % of the
    gradient.
    """
    if norm not in _NORM_AXES:
        raise ArgumentError(f"{norm!r} is no norm of gradients; {did_you_mean(norm, _NORM_AXES, things='norms')}")
    _same_shape(real, fake)
    real, fake = _promoted(real.detach()), _promoted(fake.detach())
    share = torch.rand(len(real), 1, 1, 1, generator=generator, device=generator.device, dtype=real.dtype)
    between = torch.lerp(fake, real, share.to(real.device, non_blocking=True)).requires_grad_()
    with torch.autocast(between.device.type, autocast, enabled=autocast is not None):
        (slope,) = torch.autograd.grad(_promoted(critic(between)).sum(), between, create_graph=True)
        lengths: Tensor = torch.linalg.vector_norm(slope, dim=_NORM_AXES[norm]) / _PUBLISHED_SPAN
        return (lengths - 1).square().mean()
