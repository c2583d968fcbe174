"""Training steps: one batch in, one update of the weights, losses out."""

import math

import torch
from torch import Tensor, nn

from resharp.errors import RecipeError

from .optimizers import Optimizers


def supervised_step(
    network: nn.Module, optimizers: Optimizers, degraded: Tensor, clean: Tensor, *, scale: float, precision: str
) -> dict[str, float]:
    """One step on the mean squared error; returns the loss as the PSNR (dB) of the batch.

    degraded, clean: (N, C, H, W);  scale multiplies the learning rates;  precision "bfloat16" runs under autocast.
    """
    network.train()
    for parameter in network.parameters():
        parameter.grad = None
    degraded = degraded.contiguous(memory_format=torch.channels_last)
    with torch.autocast(degraded.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        restored = network(degraded)
    loss = nn.functional.mse_loss(restored.float(), clean)
    if not math.isfinite(loss.item()):
        raise RecipeError(f"the training diverged (loss {loss.item()}); lower optimizer.learning_rate and start anew")
    loss.backward()  # type: ignore[no-untyped-call]
    optimizers.step(scale)
    return {"psnr": -10 * math.log10(loss.item())}
