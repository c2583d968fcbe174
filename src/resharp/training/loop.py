"""The training loop: draw, step, validate, report, save.

Progress counts in images seen, and sample i is a function of (seed, i) alone, so that resuming is running the same
command again: the checkpoint in the run folder holds all that the next step needs.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from resharp.files import refusals_named, written_whole

from .checkpoint import save_checkpoint
from .optimizers import Optimizers

Batch = tuple[Tensor, Tensor]  # degraded, clean
Draw = Callable[[int, int], Batch]  # (index of the first sample, number of samples)
TakeStep = Callable[[Batch, float], dict[str, float]]  # (batch, learning-rate scale) -> what to report
OnStep = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Pace:
    """Length and rhythm of a run, all in images seen."""

    n_images: int
    batch_size: int
    warmup_images: int
    validate_every: int
    save_every: int


def learning_rate_scale(n_seen: int, pace: Pace) -> float:
    """Linear warm-up times half a cosine: 1 at the start, 0 once all images have been seen."""
    warmup = min(1.0, (n_seen + 1) / (pace.warmup_images + 1))
    return warmup * 0.5 * (1 + math.cos(math.pi * min(n_seen / pace.n_images, 1.0)))


def train(
    network: nn.Module,
    optimizers: Optimizers,
    *,
    draw: Draw,
    take_step: TakeStep,
    validate: Callable[[], float],
    pace: Pace,
    folder: Path,
    identity: dict[str, Any],
    state: dict[str, Any] | None,
    on_step: OnStep | None = None,
) -> float:
    """Train `network` in place, from the start or from a checkpoint's `state`; returns the last validation PSNR (dB).

    Writes `metrics.jsonl` and `checkpoint.pt`, which carries `identity`, into `folder`; `on_step` gets a record after
    each step.  Raises OutputError for what the disk refuses.
    """
    n_seen, validation = 0, float("nan")
    if state is not None:
        network.load_state_dict(state["network"])
        optimizers.load_state_dict(state["optimizers"])
        n_seen, validation = state["n_seen"], state["validation_psnr"]
    log_path = folder / "metrics.jsonl"
    _forget_after(log_path, n_seen)

    with refusals_named(log_path), log_path.open("a", encoding="utf-8") as log:
        while n_seen < pace.n_images:
            started = time.perf_counter()
            # draw
            count = min(pace.batch_size, pace.n_images - n_seen)
            batch = draw(n_seen, count)
            # step
            scale = learning_rate_scale(n_seen, pace)
            report: dict[str, Any] = dict(take_step(batch, scale))
            n_before, n_seen = n_seen, n_seen + count
            report |= {"n_seen": n_seen, "scale": scale, "seconds": time.perf_counter() - started}
            # validate
            done = n_seen == pace.n_images
            if done or _passed(n_before, n_seen, pace.validate_every):
                report["validation_psnr"] = validation = validate()
            # report
            log.write(json.dumps(report) + "\n")
            if on_step is not None:
                on_step(report)
            # save
            if done or _passed(n_before, n_seen, pace.save_every):
                log.flush()
                save_checkpoint(
                    folder,
                    {
                        "network": network.state_dict(),
                        "optimizers": optimizers.state_dict(),
                        "n_seen": n_seen,
                        "validation_psnr": validation,
                        "identity": identity,
                    },
                )
    return validation


def _passed(before: int, after: int, every: int) -> bool:
    return before // every < after // every


def _forget_after(log: Path, n_seen: int) -> None:
    """Drop the records of steps that no checkpoint holds, and a line cut short: those steps are about to be run."""
    kept = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []:
        try:
            if json.loads(line)["n_seen"] <= n_seen:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            break
    with written_whole(log) as file:
        file.write("".join(kept).encode())
