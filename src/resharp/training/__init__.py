"""Makes weights: a recipe in, safetensors with their card out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resharp.networks import DAE
from resharp.weights import save_weights

from .config import Recipe, load_recipe
from .loop import build_network, train

__all__ = ["Recipe", "build_network", "load_recipe", "train", "train_weights"]


def train_weights(recipe: Recipe, out: Path, *, on_step: Callable[[dict[str, Any]], None] | None = None) -> Path:
    """Train a recipe in the run folder `out` and write its weights there; returns their path.

    The file is NAME.safetensors, with batch norm folded in; running the same call again goes on where it stopped.
    """
    network = train(recipe, out, on_step=on_step)
    assert isinstance(network, DAE)
    deployed = network.folded()
    path = out / f"{recipe.weights.name}.safetensors"
    save_weights(
        deployed,
        path,
        kind=recipe.network.kind,
        arguments=deployed.arguments,
        noise_sigma=recipe.degradation.noise_sigma,
        training_data=recipe.weights.training_data,
        licence=recipe.weights.licence,
        name=recipe.weights.name,
        quality=f"{_last_validation(out):.2f} dB on {recipe.data.n_holdout} held-out training photos",
    )
    return path


def _last_validation(out: Path) -> float:
    """The last validation PSNR (dB) that a run folder records."""
    records = (json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [float(record["validation_psnr"]) for record in records if "validation_psnr" in record][-1]
