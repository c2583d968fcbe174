"""What is measured at a step of a training; pure functions, no gradients, one wait for the device per step.

Pictures: float RGB (N, 3, H, W) in [0, 1].  Scores: what a critic says of N pictures, (N, ...), one or many a picture.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import get_total_norm

ROUNDING = 0.5 / 255  # half a grey level: spreads below it say nothing
CELLS = 8  # a side; the coarse picture on which an output must follow its target
PERIODS = 8  # of the grid in one block, on which its pattern is measured; half as many in small pictures
FEWEST_SCORES = 4  # of each sort; below, a standard deviation is worth nothing


@torch.no_grad()
def picture_health(restored: Tensor, target: Tensor, *, stride: int) -> dict[str, float]:
    """Measures of the outputs beside what they should resemble: the clean photos, or unpaired the inputs.

    stride: the product of the network's strides, 1 where it keeps the size.  Returns
    output_mean: in [0, 1];  drift_red, drift_green, drift_blue: output minus target, mean, in [0, 1];
    spread: of the outputs, relative to the targets';  response: 1 where an output follows its target, 0 where it
    ignores it;  checkerboard: RMS amplitude of the pattern of the stride, in [0, 1].
    """
    names = ("output_mean", "drift_red", "drift_green", "drift_blue", "spread", "response", "checkerboard")
    values = [
        restored.float().mean(),
        *colour_drift(restored, target),
        output_spread(restored, target),
        output_response(restored, target),
        checkerboard_amplitude(restored, target, stride),
    ]
    return dict(zip(names, torch.stack(values).tolist(), strict=True))


@torch.no_grad()
def critic_health(
    restored: Tensor,
    target: Tensor,
    real_scores: Tensor,
    fake_scores: Tensor,
    generator_gradient: Tensor,
    critic_gradient: Tensor,
) -> dict[str, float]:
    """Measures of a critic that gave `target` the real and `restored` the fake scores; no sigmoid on either.

    generator_gradient, critic_gradient: from `gradient_norm`, each when its network is about to step.  Returns
    score_gap: real minus fake, mean, in the critic's unit;  separation: see `critic_separation`, left out for fewer
    than 4 scores;  critic_slope: see there;  generator_gradient, critic_gradient;  gradient_ratio: the former over the
    latter, left out for a critic without gradient.
    """
    gap = real_scores.float().mean() - fake_scores.float().mean()
    slope = critic_slope(real_scores, fake_scores, restored, target)
    separation = critic_separation(real_scores, fake_scores)
    measures = [gap, slope, generator_gradient, critic_gradient, separation]
    # A network without gradients has its norm on the CPU.
    values = torch.stack([value.detach().float().to(gap.device) for value in measures]).tolist()
    names = ("score_gap", "critic_slope", "generator_gradient", "critic_gradient", "separation")
    named: dict[str, float] = dict(zip(names, values, strict=True))
    if min(real_scores.numel(), fake_scores.numel()) < FEWEST_SCORES:
        del named["separation"]
    if named["critic_gradient"] != 0:  # a hinge critic that has won
        named["gradient_ratio"] = named["generator_gradient"] / named["critic_gradient"]
    return named


def critic_separation(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """How far apart a critic keeps the two: d' = (mean real - mean fake) / pooled standard deviation; ().

    Free of the critic's unit, so that one limit serves logits, least squares and Wasserstein.  At 5 one pair in 5000 is
    judged wrongly (of normal scores).  Held below 1000, where a saturated critic says one value for all.
    """
    real, fake = real_scores.detach().float(), fake_scores.detach().float()
    gap = real.mean() - fake.mean()
    spread = ((real.var(correction=0) + fake.var(correction=0)) / 2).sqrt()
    return gap / (spread + 1e-3 * gap.abs() + torch.finfo(spread.dtype).tiny)


def critic_slope(real_scores: Tensor, fake_scores: Tensor, restored: Tensor, target: Tensor) -> Tensor:
    """How much a critic's score changes from `restored` to `target`, per unit of their Euclidean distance; ().

    A score is the mean of what the critic says of a picture.  No critic of Lipschitz constant K exceeds K, whatever its
    loss, so that growth without end shows, while scores that wander together do not.
    """
    real, fake = (scores.detach().float().reshape(len(scores), -1).mean(1) for scores in (real_scores, fake_scores))
    distance = (target.detach().float() - restored.detach().float()).flatten(1).norm(dim=1)
    assert real.shape == fake.shape == distance.shape, "one set of scores for each picture"
    slope: Tensor = (real - fake).abs().mean() / distance.mean().clamp_min(1e-6)
    return slope


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Euclidean norm of all gradients together, (); a parameter without one counts as zero."""
    return get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])


@torch.no_grad()
def adversarial_share(adversarial: Tensor, fidelity: Tensor) -> Tensor:
    """|a| / (|a| + |f|): the critic's part in what moves the generator, from 0 to 1; ().

    adversarial, fidelity: the gradients of the two weighted losses with respect to the output.  Taking them there costs
    nothing: their sum is what `output.backward` needs.
    """
    ours, theirs = adversarial.float().norm(), fidelity.float().norm()
    share: Tensor = ours / (ours + theirs).clamp_min(torch.finfo(ours.dtype).tiny)
    return share


@torch.no_grad()
def colour_drift(restored: Tensor, target: Tensor) -> Tensor:
    """(3,): restored minus target, mean of each channel, in [0, 1]."""
    return (restored.float() - target.float()).mean(dim=(0, 2, 3))


@torch.no_grad()
def output_spread(restored: Tensor, target: Tensor) -> Tensor:
    """The standard deviation of the outputs relative to that of the targets, about 1 in health, 0 after a collapse; ().

    Over the batch at each pixel, so that one output for all inputs has none however rich it is; of a single picture,
    over its pixels.  Both deviations are taken half a grey level larger: flat outputs of flat targets have spread 1.
    """
    dims = (0,) if len(restored) > 1 else (2, 3)
    ours, theirs = (image.float().var(dim=dims, correction=0).mean().sqrt() for image in (restored, target))
    return (ours + ROUNDING) / (theirs + ROUNDING)


@torch.no_grad()
def output_response(restored: Tensor, target: Tensor) -> Tensor:
    """The slope of outputs over targets, both coarse and each picture without its mean colour; ().

    1 where the outputs follow, also if blurred, noisy or tinted; 0 where they are constant, or rich and unrelated:
    a batch of one shows that in no other way.
    """
    cells = min(CELLS, *restored.shape[-2:])
    ours, theirs = (functional.adaptive_avg_pool2d(image.float(), cells) for image in (restored, target))
    ours, theirs = (coarse - coarse.mean(dim=(2, 3), keepdim=True) for coarse in (ours, theirs))
    return ((ours * theirs).mean() + ROUNDING**2) / (theirs.square().mean() + ROUNDING**2)


@torch.no_grad()
def checkerboard_amplitude(restored: Tensor, target: Tensor, stride: int) -> Tensor:
    """RMS amplitude, in [0, 1], of what repeats every `stride` pixels in all outputs and is not in the targets; ().

    The uneven overlap of transposed convolutions (Odena et al. 2016), and whatever else upsampling leaves, stands at
    the frequencies k / stride with the same phase everywhere.  Those frequencies are measured on blocks under a Hann
    window, which keeps slopes out; power that differs from block to block (texture, noise, the frequencies nearby) is
    subtracted.  What remains counts as far as it is both in the error and more than the targets have: a fence has a
    phase of its own, and a blurred fence is no pattern.  0 where the pictures are too small to tell.
    """
    side = min(restored.shape[-2:])
    block = (PERIODS if side >= 2 * PERIODS * stride else PERIODS // 2) * stride
    n_blocks = len(restored) * (restored.shape[-2] // block) * (restored.shape[-1] // block)
    if stride == 1 or n_blocks < 2:
        return torch.zeros((), device=restored.device)
    ours, theirs = (_grid_waves(image.float(), stride, block) for image in (restored, target))
    added = torch.minimum(_common_power(ours - theirs), _common_power(ours) - _common_power(theirs))
    return added.clamp(min=0).sqrt()


def _grid_waves(image: Tensor, stride: int, block: int) -> Tensor:
    """(blocks, C, stride, stride): the complex amplitudes at the frequencies (k, l) / stride of each block."""
    place = torch.arange(block, device=image.device)
    window = 1 - torch.cos(2 * math.pi * (place + 0.5) / block)
    angle = -2 * math.pi * place[:, None] * torch.arange(stride, device=image.device) / stride
    waves = torch.polar(window[:, None] / block, angle)
    blocks = image.unfold(-2, block, block).unfold(-2, block, block).to(waves.dtype)
    return torch.einsum("nchwyx,yk,xl->nhwckl", blocks, waves, waves).flatten(0, 2)


def _common_power(waves: Tensor) -> Tensor:
    """The power of the mean wave, without its share of the scatter between blocks (unbiased), without k = l = 0; ()."""
    n_blocks = len(waves)
    common = waves.mean(0)
    scatter = (waves - common).abs().square().sum(0) / (n_blocks * (n_blocks - 1))
    power = (common.abs().square() - scatter).flatten(1)
    return power[:, 1:].sum(1).mean()


def named_gradients(network: nn.Module, owner: str) -> list[tuple[str, Tensor]]:
    """("gradient of OWNER.NAME", gradient) of each parameter that has one, for `first_non_finite`."""
    return [(f"gradient of {owner}.{name}", p.grad) for name, p in network.named_parameters() if p.grad is not None]


@torch.no_grad()
def first_non_finite(named_tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    """The name of the first tensor that holds NaN or infinity, or None; one wait for the device where all is well."""
    named = [(name, tensor) for name, tensor in named_tensors if tensor.is_floating_point() and tensor.numel()]
    largest = get_total_norm([tensor for _, tensor in named], math.inf)  # of which NaN is one; sums could overflow
    if largest.isfinite():
        return None
    return next(name for name, tensor in named if not tensor.isfinite().all())
