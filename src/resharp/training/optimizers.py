"""Optimisers over a network's parameters, with one learning-rate factor for the schedule to set."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

THIN = 16  # channels; convolutions from or to images have 3


class Optimizers:
    """Several optimisers that step as one; `scale` multiplies every base learning rate."""

    def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
        self.optimizers = optimizers
        self._base = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]

    def step(self, scale: float) -> None:
        for optimizer, rates in zip(self.optimizers, self._base, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * scale
            optimizer.step()

    def state_dict(self) -> list[dict[str, Any]]:
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
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
        for weight, matrix in zip(self._weights, self._matrices, strict=True):
            assert weight.data_ptr() == matrix.data_ptr(), "the network was moved after its optimiser was made"
            matrix.grad = None if weight.grad is None else weight.grad.reshape(matrix.shape)
        super().step(closure)  # type: ignore[no-untyped-call]


def muon_and_adam(
    network: nn.Module, *, learning_rate: float, momentum: float, adam_learning_rate: float
) -> Optimizers:
    """Muon on the inner convolutions; Adam on the first and last one, whose matrices are too thin, and on biases."""
    inner = [p for p in network.parameters() if p.ndim == 4 and min(p.shape[:2]) >= THIN]
    chosen = {id(p) for p in inner}
    adam = torch.optim.Adam([p for p in network.parameters() if id(p) not in chosen], lr=adam_learning_rate)
    if not inner:  # a toy network
        return Optimizers(adam)
    return Optimizers(ConvMuon(inner, lr=learning_rate, momentum=momentum, weight_decay=0.0), adam)


def adam(network: nn.Module, *, learning_rate: float) -> Optimizers:
    """Adam on all parameters."""
    return Optimizers(torch.optim.Adam(network.parameters(), lr=learning_rate))
