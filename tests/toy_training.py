"""Tiny trainings for the engine's tests: six crops of the demo photo, recipes at toy size, and what a run wrote."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from PIL import Image

from resharp.models import model_path
from resharp.training import Recipe, load_recipe, train_weights
from resharp.training.config import AdversarialRecipe

DAE = Path(__file__).parent.parent / "src/resharp/recipes" / "dae.toml"
ADAM = "{ kind = 'adam', learning_rate = 1e-3 }"


def cut_photos(folder: Path) -> Path:
    """Six crops of the demo photo, in the folder."""
    demo = Image.open(model_path("dae-sigma11").parent / "demo-photo.png")
    for index in range(6):
        demo.crop((30 * index, 20 * index, 30 * index + 80, 20 * index + 64)).save(folder / f"{index}.png")
    return folder


def tiny(photos: Path, **changes: object) -> Recipe:
    """The shipped recipe of the DAE at toy size."""
    settings: dict[str, object] = {
        "data.photos": json.dumps(str(photos)),
        "data.plan.crop": 24,
        "data.n_holdout": 2,
        "network.arguments.width": 16,
        "network.arguments.depth": 4,
        "stages.0.n_images": 240,
        "stages.0.batch_size": 4,
        "stages.0.precision": "float32",
        "stages.0.optimizer.schedule.warmup_images": 8,
        "rhythm.validate_every": 80,
        "rhythm.save_every": 80,
        "rhythm.tracking": "[]",
    }
    settings |= changes
    return load_recipe(DAE, tuple(f"{key}={value}" for key, value in settings.items()))


def gan(
    photos: Path, *, accumulate: int = 2, losses: dict[str, float] | None = None, n_images: int = 20, **changes: Any
) -> Recipe:
    """Two stages, supervised then WGAN-GP, with dropout, averaged weights and accumulation; `changes` are settings of
    the game, or else of the recipe's top."""
    adam = {"kind": "adam", "learning_rate": 1e-3, "betas": [0.5, 0.999]}
    game = {"kind": "wgan", "weight": 0.01, "gradient_penalty": 10.0, "critic_steps": 2, "optimizer": adam}
    game |= {name: changes.pop(name) for name in [*changes] if name in AdversarialRecipe.model_fields}
    shape = {
        "n_images": 12,
        "batch_size": 4,
        "losses": losses or {"l1": 1.0},
        "optimizer": adam,
        "precision": "float32",
    }
    values: dict[str, Any] = {
        "data": {
            "photos": [str(photos)],
            "n_holdout": 2,
            "plan": {"crop": 24, "variants": [{"steps": [{"kind": "trajectory", "length": 20.0}]}]},
        },
        "network": {"kind": "deblurgan", "arguments": {"width": 4, "n_blocks": 1}},
        "critic": {"kind": "patchgan", "arguments": {"width": 4, "n_layers": 1}},
        "stages": [
            {**shape, "name": "pretrain"},
            {**shape, "name": "gan", "n_images": n_images, "accumulate": accumulate, "adversarial": game},
        ],
        "ema": 0.99,
        "rhythm": {"validate_every": 16, "save_every": 8, "tracking": []},
        "weights": {"name": "toy", "licence": "none", "training_data": "the demo photo"},
    }
    return Recipe.model_validate(values | changes)


def history(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in ("seconds", "waited")} for line in lines]


def trained(recipe: Recipe, folder: Path, **settings: Any) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(train_weights(recipe, folder, device="cpu", **settings))


def killed_at(n_seen: int) -> Callable[[dict[str, Any]], None]:
    """An `on_step` that ends the run after so many images, as if the machine had no memory left."""

    def kill(record: dict[str, Any]) -> None:
        if record["n_seen"] == n_seen and "rolled_back" not in record:
            raise MemoryError

    return kill
