"""Optimisers over a network's parameters, each with its own schedule; groups of them with rates of their own."""

import fnmatch
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from resharp.device import has_fast_bfloat16
from resharp.errors import RecipeError, did_you_mean

from .config import AdamRecipe, MuonRecipe, ScheduleRecipe
from .schedule import rate_factor

THIN = 16  # channels; convolutions from or to images have 3


class Frozen(NamedTuple):
    """Parameters that do not learn before so many images of the stage."""

    n_images: int
    parameters: Sequence[nn.Parameter]


class Optimizers:
    """The optimisers of one network, which step as one, with their schedule over a stage of `n_images`."""

    def __init__(
        self,
        network: nn.Module,
        *optimizers: torch.optim.Optimizer,
        schedule: ScheduleRecipe,
        n_images: int,
        frozen: Sequence[Frozen] = (),
    ) -> None:
        self.network = network
        self.optimizers = optimizers
        self.schedule = schedule
        self.n_images = n_images
        self.frozen = frozen
        self._base = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Every parameter of the network that has a gradient now."""
        return [parameter for parameter in self.network.parameters() if parameter.grad is not None]

    @property
    def learning_rate(self) -> float:
        """Of the last step; where there are several optimisers or groups, the first one's."""
        return float(self.optimizers[0].param_groups[0]["lr"])

    def hold(self, n_seen: int) -> None:
        """Forgets the gradients of what is still frozen `n_seen` images into the stage."""
        for parameter in itertools.chain.from_iterable(one.parameters for one in self.frozen if n_seen < one.n_images):
            parameter.grad = None

    def unscale(self, scaler: torch.amp.GradScaler | None) -> None:
        """Gradients at the scale of the loss."""
        for optimizer in self.optimizers if scaler is not None else ():
            if _has_gradients(optimizer):
                scaler.unscale_(optimizer)  # type: ignore[union-attr]

    def step(self, n_seen: int, *, factor: float = 1.0, scaler: torch.amp.GradScaler | None = None) -> float:
        """One step `n_seen` images into the stage, its rates times `factor`; returns the schedule's factor."""
        scheduled = rate_factor(self.schedule, n_seen, self.n_images)
        for optimizer, rates in zip(self.optimizers, self._base, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * scheduled * factor
            if scaler is None:
                optimizer.step()
            elif _has_gradients(optimizer):
                scaler.step(optimizer)
        return scheduled

    def state_dict(self) -> list[dict[str, Any]]:
        """Of each, in order."""
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """What `state_dict` gave."""
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)


class ConvMuon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) over convolution weights, each seen as the matrix (outputs, inputs * height * width).

    Muon replaces each matrix of a gradient, averaged with Nesterov's momentum, by its nearest orthogonal one.  On the
    plain 20-layer DAE it is worth far more than Adam: no normalisation is needed and minutes do the work of hours.
    The products of matrices are in bfloat16 where that is fast, as its authors have them, else in float32: processors
    without bfloat16 take five times as long for it.
    """

    def __init__(
        self,
        weights: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step on the gradients of the weights."""
        del closure
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            for alike in _taken_together(weights):
                self._move(alike, group)

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """Weights of one shape."""
        gradients, momentum = [weight.grad.reshape(len(weight), -1) for weight in weights], group["momentum"]  # type: ignore[union-attr]
        averages = [
            self.state[weight].setdefault("momentum_buffer", torch.zeros_like(gradient))
            for weight, gradient in zip(weights, gradients, strict=True)
        ]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        ahead = torch._foreach_lerp(gradients, averages, momentum)
        directions = nearest_orthogonal(torch.stack(ahead) if len(ahead) > 1 else ahead[0])
        tall = max(1.0, directions.shape[-2] / directions.shape[-1]) ** 0.5
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        steps = [direction.view_as(weights[0]) for direction in directions.reshape(len(weights), -1)]
        torch._foreach_add_(weights, steps, alpha=-group["lr"] * tall)


def _taken_together(weights: Iterable[Tensor]) -> Iterable[list[Tensor]]:
    """On a GPU all of one shape, whose small products it makes at once; processors are as fast one by one."""
    alike: dict[Any, list[Tensor]] = {}
    for number, weight in enumerate(weights):
        alike.setdefault(weight.shape if weight.is_cuda else number, []).append(weight)
    return alike.values()


def nearest_orthogonal(matrix: Tensor) -> Tensor:
    """(m, n), or several of them, as large as they are: all singular values are moved to about 1 by five steps of a
    Newton-Schulz iteration, x <- a x + b (x x^T) x + c (x x^T)^2 x, with the coefficients of Muon's authors."""
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrix if matrix.shape[-2] <= matrix.shape[-1] else matrix.mT
    x = wide.to(torch.bfloat16 if has_fast_bfloat16(matrix.device) else torch.float32)
    x = x / (x.norm() if x.ndim == 2 else x.norm(dim=(-2, -1), keepdim=True)).clamp(min=1e-7)
    plus = torch.addmm if x.ndim == 2 else torch.baddbmm
    for _ in range(5):
        gram = x @ x.mT
        x = plus(x, plus(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide is matrix else x.mT).to(matrix.dtype)


def build_optimizers(
    network: nn.Module, recipe: MuonRecipe | AdamRecipe, n_images: int, *, place: str = "optimizer"
) -> Optimizers:
    """What a recipe says, over all parameters of a network, for a stage of `n_images`.

    Raises RecipeError that names `place` for a group without parameters.
    """
    groups = list(_groups(network, recipe, place))
    frozen = [Frozen(n_frozen, parameters) for parameters, _, n_frozen in groups if n_frozen]
    if isinstance(recipe, AdamRecipe):
        adam = _adam(groups, recipe.learning_rate, recipe.betas, recipe.weight_decay)
        return Optimizers(network, adam, schedule=recipe.schedule, n_images=n_images, frozen=frozen)
    # Muon on convolutions whose matrices are not too thin, as those from and to photos are; Adam on them and on biases.
    inner, rest = ([(_of_kind(parameters, is_inner), rate, n) for parameters, rate, n in groups] for is_inner in (1, 0))
    adam = _adam(rest, recipe.adam_learning_rate, (0.9, 0.999), recipe.weight_decay)
    if not any(parameters for parameters, _, _ in inner):  # a toy network: adam_learning_rate is the rate of all
        return Optimizers(network, adam, schedule=recipe.schedule, n_images=n_images, frozen=frozen)
    muon = ConvMuon(
        _torch_groups(inner, recipe.learning_rate),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    return Optimizers(network, muon, adam, schedule=recipe.schedule, n_images=n_images, frozen=frozen)


_Group = tuple[list[nn.Parameter], float, int]  # parameters, factor on the rate, images that they stay frozen


def _groups(network: nn.Module, recipe: MuonRecipe | AdamRecipe, place: str) -> Iterator[_Group]:
    """All others first, then those of each group of the recipe."""
    left = dict(network.named_parameters())
    named: list[_Group] = []
    for number, group in enumerate(recipe.groups):
        names = [name for name in left if any(fnmatch.fnmatchcase(name, pattern) for pattern in group.parameters)]
        if not names:
            wanted = ", ".join(group.parameters)
            known = did_you_mean(wanted, left, things="parameters")
            raise RecipeError(f"{place}.groups.{number}.parameters: {wanted}: no parameters of that name; {known}")
        n_frozen = max(group.frozen_images, recipe.frozen_images)
        named.append(([left.pop(name) for name in names], group.rate, n_frozen))
    yield list(left.values()), 1.0, recipe.frozen_images
    yield from named


def _of_kind(parameters: Iterable[nn.Parameter], is_inner: int) -> list[nn.Parameter]:
    return [p for p in parameters if (p.ndim == 4 and min(p.shape[:2]) >= THIN) == bool(is_inner)]


def _torch_groups(groups: Iterable[_Group], rate: float) -> list[dict[str, Any]]:
    return [{"params": parameters, "lr": rate * factor} for parameters, factor, _ in groups if parameters]


def _adam(
    groups: Iterable[_Group], rate: float, betas: tuple[float, float], weight_decay: float
) -> torch.optim.Optimizer:
    torch_groups = _torch_groups(groups, rate)
    fused = bool(torch_groups) and all(one.is_cuda for group in torch_groups for one in group["params"])
    return torch.optim.AdamW(torch_groups, lr=rate, betas=betas, weight_decay=weight_decay, fused=fused or None)


def _has_gradients(optimizer: torch.optim.Optimizer) -> bool:
    return any(one.grad is not None for group in optimizer.param_groups for one in group["params"])
