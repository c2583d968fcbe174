"""The training loop: draw, step, report, validate, save.

Progress counts in images seen.  Sample n of a run, and what a step draws, are functions of the seed and of n alone, so
resuming is running the same command again: a checkpoint holds all that the next step needs.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from resharp.errors import RecipeError, ResourceError

from .health import HealthMonitor
from .optimizers import Optimizers
from .steps import Batch, DivergedError, Moment

OnStep = Callable[[dict[str, Any]], None]
_MIX = 0x9E3779B97F4A7C15


@dataclasses.dataclass
class Run:
    """All that a run is, besides its recipe: what a checkpoint holds."""

    networks: dict[str, nn.Module]
    averaged: AveragedModel | None
    n_seen: int = 0
    best: dict[str, float] = dataclasses.field(default_factory=lambda: {"n_seen": -1, "psnr": float("-inf")})
    scores: dict[str, float] = dataclasses.field(default_factory=dict)
    factor: float = 1.0  # on all learning rates, lowered by roll-backs
    n_roll_backs: int = 0
    monitor: HealthMonitor = dataclasses.field(default_factory=HealthMonitor)

    @property
    def judged(self) -> nn.Module:
        """The generator that is validated and kept: the average, if there is one."""
        return self.networks["generator"] if self.averaged is None else self.averaged.module

    def state(self) -> dict[str, Any]:
        """Plain values and tensors."""
        return {
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "monitor": self.monitor.state_dict(),
            **{name: getattr(self, name) for name in ("n_seen", "best", "scores", "factor", "n_roll_backs")},
        }

    def load(self, state: dict[str, Any]) -> None:
        """What `state` gave."""
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.monitor.load_state_dict(state["monitor"])
        for name in ("n_seen", "best", "scores", "factor", "n_roll_backs"):
            setattr(self, name, state[name])


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stretch of the run, ready to go: from `start` to `stop` images seen, `batch_size` at a step.

    drawn: samples that were drawn before it;  drawn_per_step: those of a step.
    """

    start: int
    stop: int
    batch_size: int
    drawn: int
    drawn_per_step: int
    take_step: Callable[[Batch, Moment], dict[str, float]]
    optimizers: dict[str, Optimizers]
    scaler: torch.amp.GradScaler | None

    def state(self) -> dict[str, Any]:
        """Plain values and tensors."""
        optimizers = {name: one.state_dict() for name, one in self.optimizers.items()}
        return {"optimizers": optimizers, "scaler": self.scaler.state_dict() if self.scaler else None}

    def load(self, state: dict[str, Any]) -> None:
        """What `state` gave."""
        for name, one in self.optimizers.items():
            one.load_state_dict(state["optimizers"][name])
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])

    def position(self, n_seen: int) -> int:
        """The number of the first sample that the step after `n_seen` images draws."""
        return self.drawn + (n_seen - self.start) // self.batch_size * self.drawn_per_step


class Surroundings(Protocol):
    """What the loop does not know: where samples come from and where results go."""

    def draw(self, start: int, stop: int, batch_size: int, rounds: int) -> Iterator[Batch]:
        """Samples start ... stop - 1 of the run: for each step `rounds` batches in one, this process's share."""

    def report(self, record: dict[str, Any]) -> None:
        """A step's numbers."""

    def validate(self, run: Run) -> dict[str, float]:
        """The scores of `run.judged`, "psnr" among them."""

    def save(self, state: dict[str, Any]) -> None:
        """A checkpoint."""

    def last_saved(self, *, before: int | None = None) -> dict[str, Any] | None:
        """The newest one, of fewer than `before` images."""

    def wait(self) -> None:
        """For all processes."""

    def is_told_to_stop(self) -> bool:
        """Whether somebody wants the run to end after this step, to be gone on with later."""


@dataclasses.dataclass(frozen=True)
class Rhythm:
    """How a run goes: validation and checkpoints every so many images; after a divergence up to so many returns to the
    last checkpoint, each with slower learning;  ema: decay of the averaged weights for each image, 0 = none;  rank of
    n_ranks: which process this is."""

    validate_every: int
    save_every: int
    roll_backs: int
    roll_back_factor: float
    ema: float
    seed: int
    rank: int = 0
    n_ranks: int = 1


def train(run: Run, begin: Sequence[Callable[[], Stage]], surroundings: Surroundings, rhythm: Rhythm) -> None:
    """Take a run from where its last checkpoint left it to its end.

    begin: makes each stage, with fresh optimisers.  Raises RecipeError for a run that diverges once too often.
    """
    state = surroundings.last_saved()
    while True:
        if state is not None:
            run.load(state)
        try:
            return _train_on(run, begin, surroundings, rhythm, state)
        except DivergedError as error:
            # The step straight after a checkpoint would fail again, at any rate: it is the same one.
            state = surroundings.last_saved(before=run.n_seen)
            surroundings.wait()  # until every process has read what is about to be written anew
            where = f"after {run.n_seen:,} images: {error}"
            if state is None or run.n_roll_backs >= rhythm.roll_backs:
                left = "there is no checkpoint before it" if state is None else "the checkpoint before it is intact"
                raise RecipeError(
                    f"the training diverged {where}; lower the learning rates and start anew, or allow "
                    f"divergence.roll_backs; {left}"
                ) from None
            state = state | {
                "factor": run.factor * rhythm.roll_back_factor,
                "n_roll_backs": run.n_roll_backs + 1,
            }
            surroundings.save(state)
            surroundings.report({"n_seen": state["n_seen"], "rolled_back": where, "factor": state["factor"]})


def _train_on(
    run: Run,
    begin: Sequence[Callable[[], Stage]],
    surroundings: Surroundings,
    rhythm: Rhythm,
    state: dict[str, Any] | None,
) -> None:
    for make_stage in begin:
        stage = make_stage()
        if run.n_seen >= stage.stop:
            continue
        if state is not None and run.n_seen > stage.start:
            stage.load(state["stage"])
        if run.n_seen == stage.start:
            run.monitor = HealthMonitor()  # losses and gradients of other stages are no measure for these
        end = stage.position(stage.stop)
        batches = surroundings.draw(
            stage.position(run.n_seen), end, stage.batch_size, stage.drawn_per_step // stage.batch_size
        )
        while run.n_seen < stage.stop:
            started = time.perf_counter()
            # draw
            try:
                batch = next(batches)
            except ResourceError:  # a scheduler's SIGTERM reaches the loader's workers too
                if rhythm.n_ranks > 1 or not surroundings.is_told_to_stop():
                    raise
                surroundings.save(run.state() | {"stage": stage.state()})
                raise KeyboardInterrupt from None
            drawn = time.perf_counter() - started
            # step
            moment = Moment(
                n_seen=run.n_seen - stage.start,
                factor=run.factor,
                seed=(rhythm.seed * _MIX + run.n_seen * 0x2545F491) % 2**31,
                place=rhythm.rank * (stage.batch_size // rhythm.n_ranks),
            )
            record = _stepped(stage, batch, moment, stage.position(run.n_seen))
            before, run.n_seen = run.n_seen, run.n_seen + stage.batch_size
            if run.averaged is not None:
                run.averaged.multi_avg_fn = get_ema_multi_avg_fn(rhythm.ema**stage.batch_size)  # type: ignore[no-untyped-call]
                run.averaged.update_parameters(run.networks["generator"])
            # report
            record["n_seen"] = run.n_seen
            record["warnings"] = [warning.message for warning in run.monitor.update(run.n_seen, _numbers(record))]
            seconds = time.perf_counter() - started
            record |= {"seconds": seconds, "waited": drawn}
            # validate
            is_last = run.n_seen == stage.stop and make_stage is begin[-1]
            is_best = False
            if is_last or _passed(before, run.n_seen, rhythm.validate_every):
                is_best = _is_best(run, surroundings)
                record |= {f"validation_{name}": value for name, value in run.scores.items()}
            surroundings.report(record)
            # save
            stops = surroundings.is_told_to_stop()
            if stops or is_best or run.n_seen == stage.stop or _passed(before, run.n_seen, rhythm.save_every):
                surroundings.save(run.state() | {"stage": stage.state()})
            if stops:
                raise KeyboardInterrupt
        state = None  # later stages begin with fresh optimisers


def _is_best(run: Run, surroundings: Surroundings) -> bool:
    """Validates the run; whether it never did better.  Raises DivergedError for a score that is no number."""
    run.scores = surroundings.validate(run)
    if math.isnan(run.scores["psnr"]):
        raise DivergedError("the validation is no number")
    if run.scores["psnr"] <= run.best["psnr"]:
        return False
    run.best = {"n_seen": run.n_seen, "psnr": run.scores["psnr"]}
    return True


def _stepped(stage: Stage, batch: Batch, moment: Moment, first: int) -> dict[str, Any]:
    """What the step on the samples from number `first` on reports; a DivergedError names them."""
    try:
        return dict(stage.take_step(batch, moment))
    except DivergedError as error:
        samples = f"samples {first:,} to {first + stage.drawn_per_step - 1:,}"
        raise DivergedError(f"{error} is no number in the step on {samples}") from None


def _numbers(record: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in record.items() if isinstance(value, float)}


def _passed(before: int, after: int, every: int) -> bool:
    return before // every < after // every
