"""What a step works with: the networks of its cast, the moment that it happens in, and the one way down a gradient."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from resharp.losses import PixelLoss
from resharp.tiling import mirrored_to_multiple, run_whole

from .config import StageRecipe
from .health import first_non_finite, gradient_norm, named_gradients
from .optimizers import Optimizers

Batch = Mapping[str, Tensor]
"""Float32 (N, C, H, W) by name: "degraded", "clean" of the same photos or "unpaired" of others, second inputs, and a
map of "noise" for each photo where a network of the cast takes one."""

Parts = dict[str, Tensor]
"""What is told of a loss, each a scalar."""

Objective = Callable[[Batch, int], tuple[Tensor, Parts]]
"""(piece of a batch, samples of the whole batch before it) -> (what is minimised, its parts)."""

Report = dict[str, float]
WeightedLosses = dict[str, tuple[float, PixelLoss]]

TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": None}
_LEAST_SCALE = 2.0**-24  # of a gradient scaler: 40 halvings below where it begins
_MASKS = 1  # what torch's own generator is seeded for in a step: dropout


class DivergedError(Exception):
    """A loss is no number; the weights are still those before this update."""


@dataclasses.dataclass
class Player:
    """One network of a training's cast.

    run: the network as a compiler gave it, through which all passes go;  optimizers: None for one that this stage does
    not train;  average: of its weights, which is judged and kept where there is one.
    """

    name: str
    network: nn.Module
    run: nn.Module
    optimizers: Optimizers | None = None
    average: AveragedModel | None = None

    def __call__(self, image: Tensor, batch: Batch | None = None) -> Tensor:
        """What it makes of an image, and of what else of the batch it takes: float32, with gradient."""
        return self.outputs(image, batch)[-1]

    def outputs(self, image: Tensor, batch: Batch | None = None) -> Sequence[Tensor]:
        """All that it makes: a network may give several pictures while it trains, the best of them last."""
        made = self.run(image, **options_of(self.network, batch or {}))
        return [at_least_float32(one) for one in ([made] if isinstance(made, Tensor) else made)]

    @property
    def kept(self) -> nn.Module:
        """What is judged and kept of it."""
        return self.network if self.average is None else self.average.module

    @torch.no_grad()
    def take_average(self, decay: float) -> None:
        """One step of the average; torch's own `update_parameters` waits for the device each time."""
        assert self.average is not None
        average, network = ([*one.parameters(), *one.buffers()] for one in (self.average.module, self.network))
        alike: dict[torch.dtype, list[tuple[Tensor, Tensor]]] = {}
        for ours, theirs in zip(average, network, strict=True):
            alike.setdefault(ours.dtype, []).append((ours.detach(), theirs.detach()))
        for pairs in alike.values():
            kept, new = (list(tensors) for tensors in zip(*pairs, strict=True))
            if int(self.average.n_averaged) == 0:  # it lies on the CPU
                torch._foreach_copy_(kept, new)
            else:
                get_ema_multi_avg_fn(decay)(kept, new, self.average.n_averaged)  # type: ignore[no-untyped-call]
        self.average.n_averaged += 1

    @torch.no_grad()
    def restored(self, batch: Batch) -> Tensor:
        """What is kept of it makes of degraded photos of any size, in eval mode."""
        network, image = self.kept.eval(), batch["degraded"]
        scale, multiple = (int(getattr(network, name, 1)) for name in ("scale", "multiple_of"))
        beside = {name: _continued(one, image, multiple) for name, one in options_of(network, batch).items()}
        return run_whole(lambda whole: network(whole, **beside), image, multiple_of=multiple, scale=scale)


@dataclasses.dataclass(frozen=True)
class StepContext:
    """What a step is told besides its players and its batch.

    stage: its settings;  losses: those of the stage, with their weights;  mean: averages a tensor over all processes,
    None for a process alone;  leading: the player whose rates a report calls just "learning_rate";  n_seen: images of
    the stage before this step;  factor: on all learning rates, beside the schedule;  seed: of what the step draws, the
    same in all processes;  place: samples of the whole batch before those of this process;  reads: whether its numbers
    are read now: a step that reads none, and reports none but rates, never waits for the device, but in a solver.
    """

    stage: StageRecipe
    losses: WeightedLosses
    device: torch.device
    scaler: torch.amp.GradScaler | None = None
    mean: Callable[[Tensor], Tensor] | None = None
    leading: str = "generator"
    n_seen: int = 0
    factor: float = 1.0
    seed: int = 0
    place: int = 0
    reads: bool = True

    def drawn(self, *purpose: int) -> int:
        """A seed for one purpose of this step, unrelated to those for others."""
        state = self.seed
        for part in purpose:
            state = (state * 6364136223846793005 + 1442695040888963407 * (part + 1)) % 2**64
        return state >> 33

    def reseed(self, *turn: int) -> None:
        """Seeds torch's own generator, from which dropout draws its masks; whoever calls a step restores it."""
        torch.manual_seed(self.drawn(_MASKS, self.place, *turn))

    def autocast(self) -> torch.autocast:
        """The precision that forwards run in."""
        chosen = TYPES[self.stage.precision]
        return torch.autocast(self.device.type, chosen, enabled=chosen is not None)

    def pieces(self, batch: Batch) -> Iterator[tuple[Batch, int]]:
        """(piece, samples of the whole batch before it): as many as the stage accumulates, none empty."""
        parts = {name: part.tensor_split(self.stage.accumulate) for name, part in batch.items()}
        place = self.place
        for index in range(self.stage.accumulate):
            piece = {name: split[index] for name, split in parts.items()}
            if n := size_of(piece):
                yield piece, place
                place += n

    @torch.no_grad()
    def made(self, player: Player, batch: Batch, given: str = "degraded") -> Tensor:
        """What a player makes of the photos `given` of a batch, piece by piece, without gradient."""
        with self.autocast():
            return torch.cat([player(piece[given], piece) for piece, _ in self.pieces(batch)])

    def update(self, players: Sequence[Player], batch: Batch, objective: Objective) -> Report:
        """One step of some players down the gradient of an objective over a batch, piece by piece.

        Returns the objective's parts, and for each player the norm of its gradient and its learning rate.  Raises
        DivergedError for a part or a gradient that is no number, in every process alike, if it reads them.
        """
        for player in players:
            player.network.zero_grad(set_to_none=True)
        sums: Parts = {}
        for piece, place in self.pieces(batch):
            share = size_of(piece) / size_of(batch)
            with self.autocast():
                total, parts = objective(piece, place)
            total = total * share
            (total if self.scaler is None else self.scaler.scale(total)).backward()  # type: ignore[no-untyped-call]
            for name, part in parts.items():
                sums[name] = sums.get(name, torch.zeros_like(part)) + share * part.detach()
        return (self._told(sums, players) if self.reads else {}) | self._descend(players)

    def finite(self, report: Report) -> Report:
        """Without what is no number where a scaler skips steps whose gradients overflow: that is no illness."""
        return report if self.scaler is None else {name: one for name, one in report.items() if math.isfinite(one)}

    def _told(self, sums: Parts, players: Sequence[Player]) -> Report:
        """The mean over all processes."""
        values = torch.stack(list(sums.values()))
        report = dict(zip(sums, (values if self.mean is None else self.mean(values)).tolist(), strict=True))
        if not all(math.isfinite(value) for value in report.values()):
            named = [gradient for player in players for gradient in named_gradients(player.network, player.name)]
            raise DivergedError(first_non_finite([*sums.items(), *named]) or "a loss of another process")
        return report

    def _descend(self, players: Sequence[Player]) -> Report:
        """One step of each player down the gradients that it has."""
        chosen = [(player, player.optimizers) for player in players if player.optimizers is not None]
        assert len(chosen) == len(players), "a step updates networks that its stage trains"
        report: Report = {}
        for player, optimizers in chosen:
            optimizers.hold(self.n_seen)
            if self.mean is not None:
                _average_gradients(optimizers.parameters, self.mean)
            optimizers.unscale(self.scaler)
            norm = gradient_norm(optimizers.parameters)
            told = float(norm) if self.reads else math.nan
            if self.reads and not math.isfinite(told) and self._loses_such_steps():
                raise DivergedError(first_non_finite(named_gradients(player.network, player.name)) or "a gradient")
            if self.stage.clip_gradient:
                torch.nn.utils.clip_grads_with_norm_(optimizers.parameters, self.stage.clip_gradient, norm)
            if math.isfinite(told) and optimizers.parameters:
                report[f"{player.name}_gradient"] = told
        for player, optimizers in chosen:
            factor = optimizers.step(self.n_seen, factor=self.factor, scaler=self.scaler)
            if player.name == self.leading:
                report |= {"rate_factor": factor * self.factor, "learning_rate": optimizers.learning_rate}
            else:
                report[f"{player.name}_learning_rate"] = optimizers.learning_rate
        if self.scaler is not None:
            self.scaler.update()
        return report

    def _loses_such_steps(self) -> bool:
        """Whether a gradient that is no number moves the weights; a scaler skips such a step while it can."""
        return self.scaler is None or bool(self.scaler.get_scale() < _LEAST_SCALE)


Step = Callable[[Mapping[str, Player], Batch, StepContext], Report]
"""One update of the weights of a cast on a batch; returns what to report."""


def _average_gradients(parameters: Sequence[nn.Parameter], mean: Callable[[Tensor], Tensor]) -> None:
    """Over all processes: one message, in the order of the parameters, so that no restart sums in another order."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if gradients:
        averaged = mean(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = torch.split(averaged, [one.numel() for one in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


def options_of(network: nn.Module, batch: Batch) -> Batch:
    """What of a batch a network takes beside the image: the names in its `takes`."""
    return {name: batch[name] for name in getattr(network, "takes", ()) if name != "image"}


def _continued(beside: Tensor, image: Tensor, multiple: int) -> Tensor:
    """What stands beside an image, continued as `run_whole` does that with the image; it may be some times as large."""
    if beside.shape[-2:] == (1, 1) or multiple == 1:
        return beside
    ratio = beside.shape[-1] // image.shape[-1]
    return mirrored_to_multiple(beside, ratio * multiple, least=2 * ratio * multiple)


def size_of(batch: Batch) -> int:
    """Samples in a batch."""
    return len(next(iter(batch.values())))


def at_least_float32(tensor: Tensor) -> Tensor:
    """What autocast made smaller; float64 stays."""
    return tensor.float() if tensor.dtype.itemsize < 4 else tensor
