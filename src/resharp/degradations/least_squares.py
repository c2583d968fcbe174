"""Conjugate gradients for images: many small systems at once, each with its own steps (Hestenes and Stiefel 1952)."""

from collections.abc import Callable

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]
_LOOKED_EVERY = 5  # iterations on accelerators, where to look whether it is enough is to wait for them


def conjugate_gradients(
    system: Map, target: Tensor, *, precondition: Map | None, n_iterations: int, tolerance: float
) -> Tensor:
    """Nearly the x with system(x) = target, from x = 0, for a symmetric map without negative eigenvalues.

    target: (..., C, H, W), each image of which is a system of its own;  precondition: symmetric too, near the inverse
    of `system`;  ends once every image's residual is `tolerance` times its target, and after `n_iterations`.
    What `system` and `precondition` return may be overwritten by their next call; what they are given they leave.
    A singular system is fine if it has a solution: the smallest one is found (in the norm of the preconditioner).
    """
    solution, residual = torch.zeros_like(target), target.clone()
    nearer = residual if precondition is None else precondition(residual)
    direction, strength = nearer.clone(), _inner(residual, nearer)
    enough = tolerance**2 * _inner(target, target)
    every = 1 if target.device.type == "cpu" else _LOOKED_EVERY
    for iteration in range(n_iterations):
        image = system(direction)
        length = _ratio(strength, _inner(direction, image))
        solution.addcmul_(length, direction)
        residual.addcmul_(length, image, value=-1)
        if iteration % every == every - 1 and bool((_inner(residual, residual) <= enough).all()):
            break
        nearer = residual if precondition is None else precondition(residual)
        before, strength = strength, _inner(residual, nearer)
        direction.mul_(_ratio(strength, before)).add_(nearer)
    return solution


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """(..., 1, 1, 1): one inner product per image."""
    return (a * b).sum(dim=(-3, -2, -1), keepdim=True)


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """A / b, and 0 for images that are solved already, where b is 0."""
    return torch.where(b > 0, a / torch.where(b > 0, b, 1), 0)
