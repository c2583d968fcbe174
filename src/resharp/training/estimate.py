"""What a run would take, measured."""

import contextlib
import dataclasses
import functools
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from resharp.errors import RecipeError

from .building import build_stage
from .config import Recipe
from .context import Batch, DivergedError, WeightedLosses
from .ending import ends_named, memory_named
from .launching import algorithms, launched
from .loop import begun_from, prepared, take_step
from .sampler import Sampler
from .state import TrainerState
from .validation import judge_of


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts floating-point operations by torch's own formulas.

    torch's FlopCounterMode also follows modules, which a gradient inside a forward (the penalty's) does not survive.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One operation, done and counted."""
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def dry_run(
    recipe: Recipe, *, init: str | Path | None = None, device: str = "auto", n_steps: int = 3
) -> dict[str, Any]:
    """What a run would take, from a few real steps of each stage that leave nothing behind.

    Parameters by network, photos of each source, photos and groups that are held out, and peak memory in bytes (of the
    accelerator, or of this process);  "stages": of each its
    name, floating-point operations and seconds of a step, seconds to draw its samples from photos read before and from
    photos read anew, number of steps;  hours of the whole run, likewise, without validations.  At the top the step of
    the longest stage stands again.
    """
    recipe = begun_from(recipe, init)
    accelerator = launched(device, recipe)
    with ends_named(), algorithms(recipe):
        sampler, state, losses = prepared(recipe, accelerator.device)
        judge_of(recipe, sampler.held_out, accelerator.device)
        stages = [
            _measured(recipe, index, state, losses[index], sampler, accelerator.device, n_steps)
            for index in range(len(recipe.stages))
        ]
    longest = max(stages, key=lambda stage: stage["seconds_per_step"] * stage["n_steps"])

    def hours(drawing: str) -> float:
        """A step waits for samples that this process draws, and workers draw them while it goes on."""
        n_workers, total = recipe.data.n_workers, 0.0
        for stage in stages:
            step, draw = stage["seconds_per_step"], stage[drawing]
            total += stage["n_steps"] * (max(step, draw / n_workers) if n_workers else step + draw)
        return total / 3600

    return {
        "parameters": {n: sum(p.numel() for p in player.network.parameters()) for n, player in state.players.items()},
        "photos": [len(source) for source in sampler.sources],
        "held_out": {"photos": len(sampler.held_out["degraded"]), "groups": sampler.n_groups},
        "device": str(accelerator.device),
        "stages": stages,
        "flops_per_step": longest["flops_per_step"],
        "seconds_per_step": longest["seconds_per_step"],
        "draw_seconds": longest["draw_seconds"],
        "read_and_draw_seconds": longest["read_and_draw_seconds"],
        "hours": hours("draw_seconds"),
        "hours_reading": hours("read_and_draw_seconds"),
        "peak_memory": _peak_memory(accelerator.device),
    }


def _measured(
    recipe: Recipe,
    index: int,
    state: TrainerState,
    losses: WeightedLosses,
    sampler: Sampler,
    device: torch.device,
    n_steps: int,
) -> dict[str, Any]:
    """A stage's step: operations of the first one, seconds of the fastest of the others; its samples, drawn twice."""
    stage = build_stage(recipe, index, state, losses, device=device)
    here = dataclasses.replace(sampler, n_workers=0)
    stream = functools.partial(here.batches, 0, (n_steps + 1) * stage.drawn_per_step, stage.drawn_per_step, device)
    seconds, reading, counter = [], list[float](), FlopCounter()
    for count, batch in enumerate(_timed(stream(), reading)):
        started = time.perf_counter()
        with counter if count == 0 else contextlib.nullcontext():
            try:
                with memory_named(recipe.stages[index], index):
                    take_step(stage, batch, dataclasses.replace(stage.context, seed=count))
            except DivergedError as error:
                raise RecipeError(
                    f"stages.{index}: step {count + 1} diverged: {error}; lower the learning rate"
                ) from None
        seconds.append(time.perf_counter() - started)
    drawing: list[float] = []
    for _ in _timed(stream(), drawing):
        pass
    return {
        "name": recipe.stages[index].name,
        "flops_per_step": counter.total,
        "seconds_per_step": min(seconds[1:] or seconds),
        "draw_seconds": sum(drawing) / len(drawing),
        "read_and_draw_seconds": max(sum(reading) / len(reading), sum(drawing) / len(drawing)),
        "n_steps": recipe.stages[index].n_images // recipe.stages[index].batch_size,
    }


def _timed(stream: Iterator[Batch], seconds: list[float]) -> Iterator[Batch]:
    """The same, noting how long each batch was waited for."""
    while True:
        started = time.perf_counter()
        try:
            batch = next(stream)
        except StopIteration:
            return
        seconds.append(time.perf_counter() - started)
        yield batch


def _peak_memory(device: torch.device) -> int:
    if device.type != "cpu":
        return int(torch.accelerator.max_memory_allocated(device))
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
