"""The training loop: draw, step, report, validate, save.

Progress counts in images seen, and sample i is a function of (seed, i) alone, so that resuming is running the same
command again: the checkpoint in the run folder holds all that the next step needs.
"""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resharp.data.folders import load_pixels, photo_paths, split_holdout
from resharp.data.synthesis import CleanCrops, noisy_batch, sample_generator
from resharp.errors import RecipeError
from resharp.files import written_whole
from resharp.metrics import psnr
from resharp.networks import NETWORKS

from .checkpoint import latest_checkpoint, save_checkpoint
from .config import Recipe, ScheduleRecipe
from .optimizers import Optimizers, build_optimizers

VALIDATION_SIZE = 192  # pixels; the centre of each held-out photo


def learning_rate_scale(n_seen: int, n_images: int, schedule: ScheduleRecipe) -> float:
    """Linear warm-up times half a cosine: 1 at the start, 0 once `n_images` have been seen."""
    warmup = min(1.0, (n_seen + 1) / (schedule.warmup_images + 1))
    return warmup * 0.5 * (1 + math.cos(math.pi * min(n_seen / n_images, 1.0)))


def build_network(recipe: Recipe) -> nn.Module:
    """The recipe's network with its initial weights, a function of the recipe's seed."""
    generator = torch.Generator().manual_seed(recipe.seed)
    try:
        return NETWORKS[recipe.network.kind](**recipe.network.arguments, generator=generator)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"network.arguments: {error}") from None


def supervised_step(
    network: nn.Module, optimizers: Optimizers, degraded: Tensor, clean: Tensor, *, scale: float, precision: str
) -> dict[str, float]:
    """One step on the mean squared error; returns the loss as the PSNR (dB) of the batch."""
    network.train()
    for parameter in network.parameters():
        parameter.grad = None
    degraded = degraded.contiguous(memory_format=torch.channels_last)
    with torch.autocast(degraded.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        restored = network(degraded)
    loss = nn.functional.mse_loss(restored.float(), clean)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizers.step(scale)
    return {"psnr": -10 * math.log10(loss.item())}


@torch.no_grad()
def validate(network: nn.Module, degraded: Tensor, clean: Tensor) -> float:
    """Mean PSNR (dB) of the restored held-out crops, clipped to [0, 1]; float32."""
    network.eval()
    restored = torch.cat([network(one[None]) for one in degraded])
    return float(psnr(restored.clamp(0, 1), clean).mean())


def train(recipe: Recipe, out: Path, *, on_step: Callable[[dict[str, Any]], None] | None = None) -> nn.Module:
    """Train what the recipe says into the run folder `out`, or go on where that folder's checkpoint stands.

    Writes `recipe.json`, `metrics.jsonl` and `checkpoint.pt`; `on_step` gets a record after each step.  Returns the
    trained network in eval mode.  Raises RecipeError where `out` holds a run of another recipe.
    """
    training, photos = recipe.training, photo_paths(recipe.data.photos)
    train_paths, held_paths = split_holdout(photos, recipe.data.n_holdout)
    crops = CleanCrops(list(load_pixels(train_paths)), recipe.data.crop)
    held_clean, held_degraded = _validation_set(held_paths, recipe)
    sigma = recipe.degradation.noise_sigma

    network = build_network(recipe)
    optimizers = build_optimizers(network, recipe.optimizer)
    out.mkdir(parents=True, exist_ok=True)
    identity = recipe.model_dump(mode="json")
    n_seen = 0
    if (state := latest_checkpoint(out)) is not None:
        if state["recipe"] != identity:
            raise RecipeError(f"{out} holds a run of another recipe; choose another --out, or delete it to start anew")
        network.load_state_dict(state["network"])
        optimizers.load_state_dict(state["optimizers"])
        n_seen = state["n_seen"]
        _forget_after(out / "metrics.jsonl", n_seen)
    (out / "recipe.json").write_text(json.dumps(identity, indent=2) + "\n", encoding="utf-8")

    with (out / "metrics.jsonl").open("a", encoding="utf-8") as log:
        while n_seen < training.n_images:
            started = time.perf_counter()
            # draw
            count = min(training.batch_size, training.n_images - n_seen)
            degraded, clean = noisy_batch(crops, sigma, seed=recipe.seed, start=n_seen, count=count)
            # step
            scale = learning_rate_scale(n_seen, training.n_images, recipe.schedule)
            report: dict[str, Any] = dict(
                supervised_step(network, optimizers, degraded, clean, scale=scale, precision=training.precision)
            )
            n_before, n_seen = n_seen, n_seen + count
            done = n_seen == training.n_images
            report |= {"n_seen": n_seen, "scale": scale, "seconds": time.perf_counter() - started}
            # validate
            if done or n_before // training.validate_every < n_seen // training.validate_every:
                report["validation_psnr"] = validate(network, held_degraded, held_clean)
            # report
            log.write(json.dumps(report) + "\n")
            if on_step is not None:
                on_step(report)
            # save
            if done or n_before // training.save_every < n_seen // training.save_every:
                log.flush()
                state = {"network": network.state_dict(), "optimizers": optimizers.state_dict()}
                save_checkpoint(out, {**state, "n_seen": n_seen, "recipe": identity})
    return network.eval()


def _forget_after(log: Path, n_seen: int) -> None:
    """Drop the records of steps that no checkpoint holds: they are about to be run again."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["n_seen"] <= n_seen]
    with written_whole(log) as file:
        file.write("".join(line + "\n" for line in kept).encode())


def _validation_set(paths: list[Path], recipe: Recipe) -> tuple[Tensor, Tensor]:
    """The centres of the held-out photos: (clean, degraded), with noise that no training sample has seen."""
    clean = []
    for photo in load_pixels(paths):
        height, width = photo.shape[-2:]
        size = min(height, width, VALIDATION_SIZE)
        top, left = (height - size) // 2, (width - size) // 2
        clean.append(photo[:, top : top + size, left : left + size].float() / 255)
    size = min(c.shape[-1] for c in clean)
    stacked = torch.stack([c[:, :size, :size] for c in clean])
    noise = torch.randn(stacked.shape, generator=sample_generator(recipe.seed, -2))
    return stacked, stacked + recipe.degradation.noise_sigma * noise
