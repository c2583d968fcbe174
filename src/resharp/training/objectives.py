"""What the two sides of a training minimise."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from resharp.losses import Adversarial, PixelLoss, gradient_penalty

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
Parts = dict[str, Tensor]  # what a loss is made of, by name, each a scalar without gradient
WeightedLosses = dict[str, tuple[float, PixelLoss]]


class GeneratorLoss:
    """The generator's whole loss on what it made of a batch: weighted pixel and feature losses, and what the critic
    says.

    critic: taken as it is, its gradients are the caller's to forget;  weight: of the adversarial part.
    """

    def __init__(
        self,
        losses: WeightedLosses,
        *,
        critic: Callable[[Tensor], Tensor] | None = None,
        adversarial: Adversarial | None = None,
        weight: float = 0.0,
    ) -> None:
        assert (critic is None) == (adversarial is None)
        self.losses = losses
        self.critic = critic
        self.adversarial = adversarial
        self.weight = weight
        self.pulls: Parts = {}  # gradients of the two halves of the loss at the last restored pictures

    def __call__(self, restored: Tensor, clean: Tensor) -> tuple[Tensor, Parts]:
        """(the whole loss, its parts; among them "loss", what there is of it without the critic)."""
        compared = self._watched(restored, "fidelity")
        parts = {name: loss(compared, clean) for name, (_, loss) in self.losses.items()}
        total = torch.stack([self.losses[name][0] * part for name, part in parts.items()]).sum()
        parts["loss"] = total
        if self.critic is not None and self.adversarial is not None:
            real = self.critic(clean) if self.adversarial.generator_needs_real else None
            judged = self.critic(self._watched(restored, "adversarial"))
            parts["adversarial"] = self.adversarial.generator(real, judged)
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
    penalty: its weight, 0 for none;  norm, autocast: as `losses.gradient_penalty` has them.
    """

    def __init__(
        self,
        critic: nn.Module,
        adversarial: Adversarial,
        *,
        penalty: float,
        norm: str,
        autocast: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.critic = critic
        self.adversarial = adversarial
        self.penalty = penalty
        self.norm = norm
        self.autocast = autocast

    def forward(self, real: Tensor, fake: Tensor, seed: int, place: int) -> tuple[Tensor, Parts, Tensor, Tensor]:
        """(loss, its parts, the scores of both); `seed` draws where the penalty is taken, `place` counts the samples of
        the whole batch that stand before these."""
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


def mixes_samples(critic: nn.Module) -> bool:
    """Whether images of one batch see each other, through batch norm."""
    return any(isinstance(module, _BATCH_NORMS) for module in critic.modules())


def at_least_float32(tensor: Tensor) -> Tensor:
    """What autocast made smaller; float64 stays."""
    return tensor.float() if tensor.dtype.itemsize < 4 else tensor
