"""Makes weights: a recipe in, safetensors with their card out."""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resharp.data.crops import CleanCrops, noisy_batch
from resharp.data.folders import load_pixels, photo_paths, split_holdout
from resharp.data.synthesis import sample_generator
from resharp.errors import RecipeError
from resharp.files import written_whole
from resharp.metrics import psnr
from resharp.networks import DAE, NETWORKS
from resharp.weights import Card, save_weights

from .checkpoint import resumable
from .config import AdamRecipe, Recipe, load_recipe
from .loop import Batch, OnStep, Pace, train
from .optimizers import Optimizers, adam, muon_and_adam
from .steps import supervised_step

VALIDATION_SIZE = 192  # pixels; the centre of each held-out photo
VALIDATION_SAMPLE = -2  # an index that no training sample has

__all__ = ["Recipe", "build_network", "load_recipe", "train_weights"]


def train_weights(recipe: Recipe, out: str | Path, *, on_step: OnStep | None = None) -> Path:
    """Train a recipe in the run folder `out` and write its weights there; returns their path.

    The file is NAME.safetensors, with batch norm folded in.  Running the same call again goes on where it stopped and
    ends in the same bits.  Raises RecipeError, ArgumentError (no photos), OutputError.
    """
    out, paths = Path(out), photo_paths(recipe.data.photos)
    train_paths, held_paths = split_holdout(paths, recipe.data.n_holdout)
    network = build_network(recipe)
    optimizers = _build_optimizers(network, recipe)
    crops = CleanCrops(list(load_pixels(train_paths)), recipe.data.crop)
    held_out = _validation_set(list(load_pixels(held_paths)), recipe)
    identity = _identity(recipe, paths)
    state = resumable(out, identity)
    with written_whole(out / "recipe.json") as file:
        file.write(recipe.model_dump_json(indent=2).encode() + b"\n")

    def draw(start: int, count: int) -> Batch:
        return noisy_batch(crops, recipe.degradation.noise_sigma, seed=recipe.seed, start=start, count=count)

    def take_step(batch: Batch, scale: float) -> dict[str, float]:
        return supervised_step(network, optimizers, *batch, scale=scale, precision=recipe.training.precision)

    validation = train(
        network,
        optimizers,
        draw=draw,
        take_step=take_step,
        validate=functools.partial(validate, network, *held_out),
        pace=Pace(**recipe.training.model_dump(exclude={"precision"})),
        folder=out,
        identity=identity,
        state=state,
        on_step=on_step,
    )
    assert isinstance(network, DAE)
    deployed = network.folded()
    card = Card(
        network=recipe.network.kind,
        arguments=deployed.arguments,
        name=recipe.weights.name,
        noise_sigma=recipe.degradation.noise_sigma,
        training_data=recipe.weights.training_data,
        licence=recipe.weights.licence,
        quality=f"{validation:.2f} dB on {recipe.data.n_holdout} held-out training photos",
    )
    path = out / f"{card.name}.safetensors"
    save_weights(deployed, path, card)
    return path


def build_network(recipe: Recipe) -> nn.Module:
    """The recipe's network with its initial weights, a function of the recipe's seed."""
    generator = torch.Generator().manual_seed(recipe.seed)
    try:
        return NETWORKS[recipe.network.kind](**recipe.network.arguments, generator=generator)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"network.arguments: {error}") from None


def _build_optimizers(network: nn.Module, recipe: Recipe) -> Optimizers:
    settings = recipe.optimizer.model_dump(exclude={"kind"})
    return adam(network, **settings) if isinstance(recipe.optimizer, AdamRecipe) else muon_and_adam(network, **settings)


def _identity(recipe: Recipe, paths: Sequence[Path]) -> dict[str, Any]:
    """All that decides the bits of a run: the recipe without what it only says or where things lie, and the photos."""
    decisive = recipe.model_dump(
        mode="json", exclude={"weights": True, "data": {"photos"}, "training": {"validate_every", "save_every"}}
    )
    listing = [f"{path.relative_to(recipe.data.photos)} {path.stat().st_size}" for path in paths]
    return {**decisive, "photos": hashlib.sha256("\n".join(listing).encode()).hexdigest()}


@torch.no_grad()
def validate(network: nn.Module, degraded: Tensor, clean: Tensor) -> float:
    """Mean PSNR (dB) of the restored held-out crops, clipped to [0, 1]; float32."""
    network.eval()
    restored = torch.cat([network(one[None]) for one in degraded])
    return float(psnr(restored.clamp(0, 1), clean).mean())


def _validation_set(photos: Sequence[Tensor], recipe: Recipe) -> Batch:
    """The centres of the held-out photos, all of one size: (degraded, clean)."""
    size = min(VALIDATION_SIZE, *(min(photo.shape[-2:]) for photo in photos))
    corners = [((photo.shape[-2] - size) // 2, (photo.shape[-1] - size) // 2) for photo in photos]
    clean = torch.stack(
        [
            photo[:, top : top + size, left : left + size].float() / 255
            for photo, (top, left) in zip(photos, corners, strict=True)
        ]
    )
    noise = torch.randn(clean.shape, generator=sample_generator(recipe.seed, VALIDATION_SAMPLE))
    return clean + recipe.degradation.noise_sigma * noise, clean
