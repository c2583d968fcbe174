"""Training steps: a batch in, one update of the weights, what to report out.

GAN and supervised training differ by the step.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from .health import adversarial_share, critic_health, first_non_finite, gradient_norm, named_gradients, picture_health
from .objectives import GeneratorLoss, Parts, at_least_float32
from .optimizers import Optimizers

_LEAST_SCALE = 2.0**-24  # of a gradient scaler: 40 halvings below where it begins
# what a step draws: dropout masks, what the critic looks at and where its penalty is taken, what the generator's losses
# look at
_MASKS, _CRITIC, _WINDOWS = 1, 2, 3
Batch = tuple[Tensor, Tensor]  # degraded, clean: float32 (N, 3, H, W), the degraded one perhaps smaller


class DivergedError(Exception):
    """A loss is no number; the weights are still those before this step."""


@dataclasses.dataclass(frozen=True)
class Machinery:
    """How a step runs, whatever it minimises.

    autocast: the type that convolutions run in, None for float32;  accumulate: pieces that a batch goes through in;
    clip: largest norm of a gradient, 0 for none;  mean: averages a tensor over all processes.
    """

    autocast: torch.dtype | None
    scaler: torch.amp.GradScaler | None
    accumulate: int
    clip: float
    mean: Callable[[Tensor], Tensor]

    def precision(self, device: torch.device) -> torch.autocast:
        """The context that forwards run in."""
        return torch.autocast(device.type, self.autocast, enabled=self.autocast is not None)

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of a loss."""
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]

    def descend(self, optimizers: Optimizers, n_seen: int, factor: float, owner: str) -> tuple[Tensor, float]:
        """One step down the gradients that were added; returns their norm and the schedule's factor.

        Raises DivergedError for gradients that are no numbers, under a scaler only if they are none at any scale.
        """
        if self.scaler is not None:
            for optimizer in optimizers.optimizers:
                self.scaler.unscale_(optimizer)
        norm = gradient_norm(optimizers.parameters)
        is_lost = self.scaler is None or self.scaler.get_scale() < _LEAST_SCALE  # else the scaler skips such a step
        if is_lost and not math.isfinite(norm):
            raise DivergedError(first_non_finite(named_gradients(optimizers.network, owner)) or "a gradient")
        if self.clip:
            torch.nn.utils.clip_grads_with_norm_(optimizers.parameters, self.clip, norm)
        scheduled = optimizers.step(n_seen, factor=factor, scaler=self.scaler)
        if self.scaler is not None:
            self.scaler.update()
        return norm, scheduled


@dataclasses.dataclass(frozen=True)
class Moment:
    """When and where a step happens.

    n_seen: images of the stage before it;  factor: on all learning rates, beside the schedule;  seed: of what the step
    draws, the same in all processes;  place: samples of the whole batch before those of this process.
    """

    n_seen: int
    factor: float
    seed: int
    place: int

    def drawn(self, *purpose: int) -> int:
        """A seed for one purpose of this step, unrelated to those for others."""
        state = self.seed
        for part in purpose:
            state = (state * 6364136223846793005 + 1442695040888963407 * (part + 1)) % 2**64
        return state >> 33


@dataclasses.dataclass(frozen=True)
class Generator:
    """The side that restores.  run: the network in the form that a compiler or a launcher gave it, through which all
    passes go that gradients come back from."""

    network: nn.Module
    run: nn.Module
    loss: GeneratorLoss
    optimizers: Optimizers

    def restored(self, degraded: Tensor, machinery: Machinery) -> Tensor:
        """What it makes of a batch, float32, with gradient."""
        with machinery.precision(degraded.device):
            return at_least_float32(self.run(degraded))


def supervised_step(generator: Generator, machinery: Machinery, batch: Batch, moment: Moment) -> dict[str, float]:
    """One step of a network on its loss; returns the loss, its parts, the gradient norm and the schedule's factor."""
    generator.network.train()
    torch.manual_seed(moment.drawn(_MASKS, moment.place))
    report = _generator_turn(generator, batch, machinery, moment)
    norm, scheduled = machinery.descend(generator.optimizers, moment.n_seen, moment.factor, "generator")
    return report | _norms(norm) | _rates(generator, scheduled * moment.factor)


@dataclasses.dataclass(frozen=True)
class Game:
    """Both sides of a GAN.  critic_steps: the critic's updates for each of the generator's;  batches_per_step: 1, or
    one for each of these updates;  stride: of the generator, at whose frequencies chequered patterns are looked for."""

    generator: Generator
    critic: nn.Module
    critic_objective: nn.Module
    critic_optimizers: Optimizers
    critic_steps: int
    batches_per_step: int
    stride: int

    @property
    def fresh(self) -> bool:
        """Whether each update has a batch of its own."""
        return self.batches_per_step > 1


def gan_step(game: Game, machinery: Machinery, batch: Batch, moment: Moment) -> dict[str, float]:
    """The critic's updates, then one of the generator through the critic as it now is.

    batch: as many batches in one as the game draws, the generator's last.  On one batch in one piece the generator runs
    once, for the critic and for itself; in pieces it runs again with the same dropout masks, as that is what pieces are
    for: no more than one of them is held at a time.  Returns losses, and the measures of GAN health.
    """
    rounds = list(zip(*(part.chunk(game.batches_per_step) for part in batch), strict=True))
    game.generator.network.train()
    game.critic.train()
    degraded, clean = rounds[0]
    restored: Tensor | None = None
    torch.manual_seed(moment.drawn(_MASKS, moment.place))
    if machinery.accumulate == 1 and not game.fresh:
        restored = game.generator.restored(degraded, machinery)
        fakes = restored.detach()
    else:
        fakes = _fakes(game, degraded, machinery)
    for turn in range(game.critic_steps):
        if game.fresh and turn:
            degraded, clean = rounds[turn]
            torch.manual_seed(moment.drawn(_MASKS, moment.place, turn))
            fakes = _fakes(game, degraded, machinery)
        report, real_scores, fake_scores = _critic_turn(game, clean, fakes, machinery, moment, turn)
        critic_norm, _ = machinery.descend(game.critic_optimizers, moment.n_seen, moment.factor, "critic")
    measured = picture_health(fakes, clean, stride=game.stride)
    torch.manual_seed(moment.drawn(_MASKS, moment.place, *([game.critic_steps] if game.fresh else [])))
    game.critic.requires_grad_(False)
    try:
        report |= _generator_turn(game.generator, rounds[-1], machinery, moment, restored)
    finally:
        game.critic.requires_grad_(True)
    norm, scheduled = machinery.descend(game.generator.optimizers, moment.n_seen, moment.factor, "generator")
    report |= measured | critic_health(fakes, clean, real_scores, fake_scores, norm, critic_norm)
    if machinery.scaler is not None:  # it skips steps whose gradients overflow, and that is no illness
        report = {name: value for name, value in report.items() if math.isfinite(value)}
    report["critic_learning_rate"] = game.critic_optimizers.learning_rate
    return report | _rates(game.generator, scheduled * moment.factor)


@torch.no_grad()
def _fakes(game: Game, degraded: Tensor, machinery: Machinery) -> Tensor:
    """What the generator makes of a batch, piece by piece, without gradient."""
    with machinery.precision(degraded.device):
        pieces = _pieces(degraded, machinery)
        return torch.cat([at_least_float32(game.generator.network(piece)) for piece in pieces])


def _critic_turn(
    game: Game, clean: Tensor, fakes: Tensor, machinery: Machinery, moment: Moment, turn: int
) -> tuple[dict[str, float], Tensor, Tensor]:
    """The critic's gradients on one batch: (losses, scores of the true photos, of the fakes)."""
    _forget_gradients(game.critic)
    sums = _Sums(machinery)
    scores: list[tuple[Tensor, Tensor]] = []
    place = moment.place
    for real, fake, is_last in _with_last(_pieces(clean, machinery), _pieces(fakes, machinery)):
        with _synchronised(game.critic_objective, is_last):
            with machinery.precision(clean.device):
                loss, parts, *both = game.critic_objective(real, fake, moment.drawn(_CRITIC, turn), place)
            machinery.backward(loss * (len(real) / len(clean)))
        sums.add(parts, len(real) / len(clean))
        scores.append((both[0], both[1]))
        place += len(real)
    report = sums.report(game.critic, "critic")
    return report, torch.cat([real for real, _ in scores]), torch.cat([fake for _, fake in scores])


def _generator_turn(
    generator: Generator, batch: Batch, machinery: Machinery, moment: Moment, restored: Tensor | None = None
) -> dict[str, float]:
    """The generator's gradients on one batch; returns its losses.  restored: what it made of it, if it did already."""
    _forget_gradients(generator.network)
    sums = _Sums(machinery)
    place = moment.place
    for degraded, clean, is_last in _with_last(*(_pieces(part, machinery) for part in batch)):
        share = len(degraded) / len(batch[0])
        with _synchronised(generator.run, is_last):
            pictures = generator.restored(degraded, machinery) if restored is None else restored
            with machinery.precision(degraded.device):
                loss, parts = generator.loss(pictures, clean, moment.drawn(_WINDOWS), place)
            machinery.backward(loss * share)
        sums.add(parts, share)
        place += len(degraded)
    report = sums.report(generator.network, "generator")
    pulls = generator.loss.pulls
    if "adversarial" in pulls:
        report["adversarial_share"] = float(adversarial_share(pulls["adversarial"], pulls["fidelity"]))
    pulls.clear()
    return report


def _rates(generator: Generator, factor: float) -> dict[str, float]:
    """The schedule's factor, and the learning rate that the step had of it."""
    return {"rate_factor": factor, "learning_rate": generator.optimizers.learning_rate}


def _norms(norm: Tensor) -> dict[str, float]:
    """The generator's gradient norm, left out where a scaler skipped the step."""
    return {"generator_gradient": float(norm)} if math.isfinite(norm) else {}


class _Sums:
    """Losses of the pieces of a batch, added up by their share of it."""

    def __init__(self, machinery: Machinery) -> None:
        self._machinery = machinery
        self._parts: Parts = {}

    def add(self, parts: Parts, share: float) -> None:
        for name, value in parts.items():
            self._parts[name] = self._parts.get(name, torch.zeros_like(value)) + share * value

    def report(self, network: nn.Module, owner: str) -> dict[str, float]:
        """The mean over all processes.  Raises DivergedError where one is no number, in every process alike."""
        values = self._machinery.mean(torch.stack(list(self._parts.values()))).tolist()
        report = dict(zip(self._parts, values, strict=True))
        if not all(math.isfinite(value) for value in values):
            bad = first_non_finite([*self._parts.items(), *named_gradients(network, owner)])
            raise DivergedError(bad or "a loss of another process")
        return report


def _pieces(part: Tensor, machinery: Machinery) -> Sequence[Tensor]:
    return part.tensor_split(machinery.accumulate)


def _with_last(*parts: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """The pieces of two parts together, and whether they are the last; empty ones are passed over."""
    first, second = ([piece for piece in part if len(piece)] for part in parts)
    for index, (one, other) in enumerate(zip(first, second, strict=True)):
        yield one, other, index == len(first) - 1


def _synchronised(wrapped: nn.Module, is_last: bool) -> contextlib.AbstractContextManager[None]:
    """Gradients go to the other processes with the last piece of a batch alone."""
    no_sync = getattr(wrapped, "no_sync", None)  # distributed training's wrapper has it
    return contextlib.nullcontext() if is_last or no_sync is None else no_sync()


def _forget_gradients(network: nn.Module) -> None:
    for parameter in network.parameters():
        parameter.grad = None
