"""What a run would take, measured."""

import contextlib
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from resharp.data.loading import batches
from resharp.data.synthesis import Synthesis
from resharp.errors import RecipeError

from .building import check_scale, prepared_run, sources_of
from .config import Recipe
from .ending import memory_named
from .engine import launched
from .loop import Run
from .objectives import WeightedLosses
from .stages import build_stage
from .steps import DivergedError, Moment
from .validation import on_device


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

    Parameters by network, and peak memory in bytes (of the accelerator, or of this process);  "stages": of each its
    name, floating-point operations and seconds of a step, number of steps;  hours of the whole run.  At the top the
    step of the longest stage stands again.
    """
    accelerator = launched(device, recipe)
    with memory_named():
        sources, (run, losses) = sources_of(recipe), prepared_run(recipe, accelerator.device, init=init)
        check_scale(run.networks["generator"], sources[1], recipe.network.kind)
        stages = [
            _measured(recipe, index, run, losses[index], sources[0], accelerator.device, n_steps)
            for index in range(len(recipe.stages))
        ]
    longest = max(stages, key=lambda stage: stage["seconds_per_step"] * stage["n_steps"])
    return {
        "parameters": {name: sum(p.numel() for p in network.parameters()) for name, network in run.networks.items()},
        "device": str(accelerator.device),
        "stages": stages,
        "flops_per_step": longest["flops_per_step"],
        "seconds_per_step": longest["seconds_per_step"],
        "hours": sum(stage["seconds_per_step"] * stage["n_steps"] for stage in stages) / 3600,
        "peak_memory": _peak_memory(accelerator.device),
    }


def _measured(
    recipe: Recipe,
    index: int,
    run: Run,
    losses: WeightedLosses,
    synthesis: Synthesis,
    device: torch.device,
    n_steps: int,
) -> dict[str, Any]:
    """A stage's step: operations of the first one, seconds of the fastest of the others."""
    stage = build_stage(
        recipe, index, run, losses, wrap=lambda module: module, mean=lambda values: values, device=device
    )
    stream = batches(
        synthesis,
        batch_size=stage.drawn_per_step,
        stop=(n_steps + 1) * stage.drawn_per_step,
        noise_sigma=recipe.data.noise_sigma,
    )
    seconds, counter = [], FlopCounter()
    for count, (degraded, clean) in enumerate(stream):
        batch = on_device(degraded, device), on_device(clean, device)
        started = time.perf_counter()
        with counter if count == 0 else contextlib.nullcontext():
            try:
                stage.take_step(batch, Moment(n_seen=0, factor=1.0, seed=count, place=0))
            except DivergedError as error:
                raise RecipeError(
                    f"stages.{index}: step {count + 1} diverged: {error}; lower the learning rate"
                ) from None
        seconds.append(time.perf_counter() - started)
    return {
        "name": recipe.stages[index].name,
        "flops_per_step": counter.total,
        "seconds_per_step": min(seconds[1:] or seconds),
        "n_steps": recipe.stages[index].n_images // recipe.stages[index].batch_size,
    }


def _peak_memory(device: torch.device) -> int:
    if device.type != "cpu":
        return int(torch.accelerator.max_memory_allocated(device))
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
