"""All that a checkpoint holds: what a run is besides its recipe, and where its stage stands."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from .context import Player, Step, StepContext
from .health import HealthMonitor

_COUNTS = ("n_seen", "best", "scores", "factor", "n_roll_backs")


@dataclasses.dataclass
class TrainerState:
    """best: the images seen when the headline was best, and its value then;  factor: on all learning rates, lowered by
    roll-backs."""

    players: dict[str, Player]
    n_seen: int = 0
    best: dict[str, float] = dataclasses.field(default_factory=lambda: {"n_seen": -1})
    scores: dict[str, float] = dataclasses.field(default_factory=dict)
    factor: float = 1.0
    n_roll_backs: int = 0
    monitor: HealthMonitor = dataclasses.field(default_factory=HealthMonitor)

    def state(self) -> dict[str, Any]:
        """Plain values and tensors."""
        averages = {name: player.average for name, player in self.players.items() if player.average is not None}
        return {
            "networks": {name: player.network.state_dict() for name, player in self.players.items()},
            "averages": {name: average.state_dict() for name, average in averages.items()},
            "monitor": self.monitor.state_dict(),
            **{name: getattr(self, name) for name in _COUNTS},
        }

    def load(self, state: dict[str, Any]) -> None:
        """What `state` gave."""
        for name, player in self.players.items():
            player.network.load_state_dict(state["networks"][name])
            if player.average is not None:
                player.average.load_state_dict(state["averages"][name])
        self.monitor.load_state_dict(state["monitor"])
        for name in _COUNTS:
            setattr(self, name, state[name])


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stretch of the run, ready to go: from `start` to `stop` images seen.

    players: of whom those that it trains have fresh optimisers;  context: what its steps are told, but for the moment;
    drawn: samples that were drawn before it.
    """

    start: int
    stop: int
    drawn: int
    players: Mapping[str, Player]
    take_step: Step
    context: StepContext

    @property
    def batch_size(self) -> int:
        """Of all processes together."""
        return self.context.stage.batch_size

    @property
    def drawn_per_step(self) -> int:
        """Samples."""
        return self.batch_size * self.context.stage.batches_per_step

    def state(self) -> dict[str, Any]:
        """Plain values and tensors."""
        optimizers = {name: one.optimizers.state_dict() for name, one in self.players.items() if one.optimizers}
        scaler: torch.amp.GradScaler | None = self.context.scaler
        return {"optimizers": optimizers, "scaler": scaler.state_dict() if scaler else None}

    def load(self, state: dict[str, Any]) -> None:
        """What `state` gave."""
        for name, player in self.players.items():
            if player.optimizers is not None:
                player.optimizers.load_state_dict(state["optimizers"][name])
        if self.context.scaler is not None:
            self.context.scaler.load_state_dict(state["scaler"])

    def position(self, n_seen: int) -> int:
        """The number of the first sample that the step after `n_seen` images draws."""
        return self.drawn + (n_seen - self.start) // self.batch_size * self.drawn_per_step
