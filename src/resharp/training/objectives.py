"""What the two sides of a training minimise."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from resharp.losses import FEATURE_LOSSES, Adversarial, PixelLoss, gradient_penalty

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
Parts = dict[str, Tensor]  # what a loss is made of, by name, each a scalar without gradient
WeightedLosses = dict[str, tuple[float, PixelLoss]]


class GeneratorLoss:
    """The generator's whole loss on what it made of a batch: weighted pixel and feature losses, and what the critic
    says.

    critic: taken as it is, its gradients are the caller's to forget;  weight: of the adversarial part;  jitter: the
    critic and feature losses see `windows` of so many pixels less.
    """

    def __init__(
        self,
        losses: WeightedLosses,
        *,
        critic: Callable[[Tensor], Tensor] | None = None,
        adversarial: Adversarial | None = None,
        weight: float = 0.0,
        jitter: int = 0,
    ) -> None:
        assert (critic is None) == (adversarial is None)
        self.losses = losses
        self.critic = critic
        self.adversarial = adversarial
        self.weight = weight
        self.jitter = jitter
        self.pulls: Parts = {}  # gradients of the two halves of the loss at the last restored pictures

    def __call__(self, restored: Tensor, clean: Tensor, seed: int, place: int) -> tuple[Tensor, Parts]:
        """(the whole loss, its parts; among them "loss", what there is of it without the critic); `seed` draws the
        windows, `place` counts the samples of the whole batch that stand before these."""
        compared: Sequence[Tensor] = (self._watched(restored, "fidelity"), clean)
        seen = windows(compared, self.jitter, seed, place) if self.losses.keys() & set(FEATURE_LOSSES) else compared
        parts = {name: loss(*(seen if name in FEATURE_LOSSES else compared)) for name, (_, loss) in self.losses.items()}
        total = torch.stack([self.losses[name][0] * part for name, part in parts.items()]).sum()
        parts["loss"] = total
        if self.critic is not None and self.adversarial is not None:
            fake, real = windows((self._watched(restored, "adversarial"), clean), self.jitter, seed, place)
            wanted = self.critic(real) if self.adversarial.generator_needs_real else None
            parts["adversarial"] = self.adversarial.generator(wanted, self.critic(fake))
            total = total + self.weight * parts["adversarial"]
        return total, {name: part.detach() for name, part in parts.items()}

    def _watched(self, restored: Tensor, name: str) -> Tensor:
        """The same picture, whose gradient by one half of the loss is kept while the backward pass goes through it."""
        view = restored.view_as(restored)
        if view.requires_grad:
            view.register_hook(lambda gradient: self.pulls.update({name: gradient}))  # type: ignore[no-untyped-call]
        return view


class CriticObjective(nn.Module):
    """The critic's whole loss on true and restored photos, gradient penalty included.

    A module whose forward is all of it, so that distributed training sees one forward for each backward.
    penalty: its weight, 0 for none;  norm, autocast: as `losses.gradient_penalty` has them;  jitter: it sees `windows`
    of so many pixels less.
    """

    def __init__(
        self,
        critic: nn.Module,
        adversarial: Adversarial,
        *,
        penalty: float,
        norm: str,
        autocast: torch.dtype | None = None,
        jitter: int = 0,
    ) -> None:
        super().__init__()
        self.critic = critic
        self.adversarial = adversarial
        self.penalty = penalty
        self.norm = norm
        self.autocast = autocast
        self.jitter = jitter

    def forward(self, real: Tensor, fake: Tensor, seed: int, place: int) -> tuple[Tensor, Parts, Tensor, Tensor]:
        """(loss, its parts, the scores of both); `seed` draws windows and where the penalty is taken, `place` counts
        the samples of the whole batch that stand before these."""
        real, fake = windows((real, fake), self.jitter, seed + 1, place)  # apart from what the penalty draws
        real_scores, fake_scores = self._scores(real, fake)
        total = self.adversarial.critic(real_scores, fake_scores)
        parts = {"critic": total.detach()}
        if self.penalty:
            generator = torch.Generator().manual_seed(seed)
            # The first numbers are others', in this process or elsewhere.
            torch.rand(place, generator=generator, dtype=real.dtype)
            slope = gradient_penalty(
                self.critic, real, fake, generator=generator, norm=self.norm, autocast=self.autocast
            )
            parts["gradient_penalty"] = slope.detach()
            total = total + self.penalty * slope
        return total, parts, real_scores.detach(), fake_scores.detach()

    def _scores(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Both in one pass where the critic judges each image by itself."""
        if mixes_samples(self.critic):
            return at_least_float32(self.critic(real)), at_least_float32(self.critic(fake))
        real_scores, fake_scores = at_least_float32(self.critic(torch.cat([real, fake]))).chunk(2)
        return real_scores, fake_scores


def windows(images: Sequence[Tensor], jitter: int, seed: int, place: int) -> Sequence[Tensor]:
    """(N, C, H - jitter, W - jitter) of each of the images, at offsets of 0 to `jitter` that each sample has of its own
    and all images share.

    Networks with strides have gradients that repeat at their pitch.  A generator that makes several pixels at once
    turns them into a chequered pattern, unless the grid lies elsewhere for each sample.
    """
    if not jitter:
        return images
    generator = torch.Generator().manual_seed(seed)
    # The first numbers are others', in this process or elsewhere.
    offsets = torch.randint(jitter + 1, (place + len(images[0]), 2), generator=generator)[place:].tolist()
    height, width = (side - jitter for side in images[0].shape[-2:])
    return [
        torch.stack([one[:, y : y + height, x : x + width] for one, (y, x) in zip(image, offsets, strict=True)])
        for image in images
    ]


def mixes_samples(critic: nn.Module) -> bool:
    """Whether images of one batch see each other, through batch norm."""
    return any(isinstance(module, _BATCH_NORMS) for module in critic.modules())


def at_least_float32(tensor: Tensor) -> Tensor:
    """What autocast made smaller; float64 stays."""
    return tensor.float() if tensor.dtype.itemsize < 4 else tensor
