"""What a run would take, measured."""

import contextlib
import time
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from resharp.data.loading import batches

from .building import build_stage, prepared_run, sources_of
from .config import Recipe
from .ending import memory_named
from .engine import launched
from .steps import Moment
from .validation import as_float


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


def dry_run(recipe: Recipe, *, device: str = "auto", n_steps: int = 3) -> dict[str, Any]:
    """What a run would take, from a few real steps that leave nothing behind.

    Parameters by network, floating-point operations of a step, peak memory in bytes (of the accelerator, or of this
    process), seconds of a step and of the whole run; the first stage stands for all.
    """
    accelerator = launched(device, recipe)
    run, losses = prepared_run(recipe, accelerator.device)
    synthesis, _ = sources_of(recipe)
    results: dict[str, Any] = {
        "parameters": {name: sum(p.numel() for p in network.parameters()) for name, network in run.networks.items()},
        "device": str(accelerator.device),
    }
    with memory_named():
        stage = build_stage(
            recipe, 0, run, losses[0], wrap=lambda objective: objective, mean=lambda v: v, device=accelerator.device
        )
        stream = batches(
            synthesis,
            batch_size=stage.drawn_per_step,
            stop=(n_steps + 1) * stage.drawn_per_step,
            noise_sigma=recipe.data.noise_sigma,
        )
        seconds = []
        for index, (degraded, clean) in enumerate(stream):
            batch = as_float(degraded.to(accelerator.device)), as_float(clean.to(accelerator.device))
            started = time.perf_counter()
            counter = FlopCounter()
            with counter if index == 0 else contextlib.nullcontext():
                stage.take_step(batch, Moment(n_seen=0, factor=1.0, seed=index, place=0))
            seconds.append(time.perf_counter() - started)
            if index == 0:
                results["flops_per_step"] = counter.total
    results["seconds_per_step"] = min(seconds[1:] or seconds)
    n_steps_in_all = sum(one.n_images // one.batch_size for one in recipe.stages)
    results["hours"] = results["seconds_per_step"] * n_steps_in_all / 3600
    results["peak_memory"] = _peak_memory(accelerator.device)
    return results


def _peak_memory(device: torch.device) -> int:
    if device.type != "cpu":
        return int(torch.accelerator.max_memory_allocated(device))
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * 1024
