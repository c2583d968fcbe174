"""Optimisers over a network's parameters, each with its own schedule."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from .config import AdamRecipe, MuonRecipe, ScheduleRecipe
from .schedule import rate_factor

THIN = 16  # channels; convolutions from or to images have 3


class Optimizers:
    """The optimisers of one network, which step as one, with their schedule over a stage of `n_images`."""

    def __init__(
        self, network: nn.Module, *optimizers: torch.optim.Optimizer, schedule: ScheduleRecipe, n_images: int
    ) -> None:
        self.network = network
        self.optimizers = optimizers
        self.schedule = schedule
        self.n_images = n_images
        self._base = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Every parameter of the network that has a gradient now."""
        return [parameter for parameter in self.network.parameters() if parameter.grad is not None]

    @property
    def learning_rate(self) -> float:
        """Of the last step; where there are several optimisers, the first one's."""
        return float(self.optimizers[0].param_groups[0]["lr"])

    def step(self, n_seen: int, *, factor: float = 1.0, scaler: torch.amp.GradScaler | None = None) -> float:
        """One step `n_seen` images into the stage, its rates times `factor`; returns the schedule's factor."""
        scheduled = rate_factor(self.schedule, n_seen, self.n_images)
        for optimizer, rates in zip(self.optimizers, self._base, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * scheduled * factor
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
        return scheduled

    def state_dict(self) -> list[dict[str, Any]]:
        """Of each, in order."""
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """What `state_dict` gave."""
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)


class ConvMuon(torch.optim.Muon):
    """torch's Muon over convolution weights, each seen as the matrix (outputs, inputs * height * width).

    Muon replaces each matrix of a gradient by its nearest orthogonal one (Jordan et al. 2024).  On the plain 20-layer
    DAE it is worth far more than Adam: no normalisation is needed and minutes do the work of hours.
    """

    def __init__(self, weights: Iterable[nn.Parameter], **settings: Any) -> None:
        self._weights = list(weights)
        # The matrices share the weights' memory, so a step on them is a step on the network.
        self._matrices = [nn.Parameter(weight.detach().view(len(weight), -1)) for weight in self._weights]
        super().__init__(self._matrices, **settings)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step on the gradients of the weights."""
        for weight, matrix in zip(self._weights, self._matrices, strict=True):
            assert weight.data_ptr() == matrix.data_ptr(), "the network was moved after its optimiser was made"
            matrix.grad = None if weight.grad is None else weight.grad.reshape(matrix.shape)
        super().step(closure)  # type: ignore[no-untyped-call]


def build_optimizers(network: nn.Module, recipe: MuonRecipe | AdamRecipe, n_images: int) -> Optimizers:
    """What a recipe says, over all parameters of a network, for a stage of `n_images`."""
    if isinstance(recipe, AdamRecipe):
        adam = _adam(network.parameters(), recipe.learning_rate, recipe.betas, recipe.weight_decay)
        return Optimizers(network, adam, schedule=recipe.schedule, n_images=n_images)
    # Muon on convolutions whose matrices are not too thin, as those from and to photos are; Adam on them and on biases.
    inner = [p for p in network.parameters() if p.ndim == 4 and min(p.shape[:2]) >= THIN]
    chosen = {id(p) for p in inner}
    rest = [p for p in network.parameters() if id(p) not in chosen]
    adam = _adam(rest, recipe.adam_learning_rate, (0.9, 0.999), recipe.weight_decay)
    if not inner:  # a toy network: adam_learning_rate is the rate of all
        return Optimizers(network, adam, schedule=recipe.schedule, n_images=n_images)
    muon = ConvMuon(inner, lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    return Optimizers(network, muon, adam, schedule=recipe.schedule, n_images=n_images)


def _adam(
    parameters: Iterable[nn.Parameter], rate: float, betas: tuple[float, float], weight_decay: float
) -> torch.optim.Optimizer:
    return torch.optim.AdamW(list(parameters), lr=rate, betas=betas, weight_decay=weight_decay)
