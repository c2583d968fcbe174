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
        "networks.generator.arguments.width": 16,
        "networks.generator.arguments.depth": 4,
        "stages.0.n_images": 240,
        "stages.0.batch_size": 4,
        "stages.0.precision": "float32",
        "stages.0.trains.generator.schedule.warmup_images": 8,
        "judge.every": 80,
        "checkpoints.every": 80,
        "tracking": "[]",
    }
    settings |= changes
    return load_recipe(DAE, tuple(f"{key}={value}" for key, value in settings.items()))


def gan(
    photos: Path, *, accumulate: int = 2, losses: dict[str, float] | None = None, n_images: int = 20, **changes: Any
) -> Recipe:
    """Two stages, supervised then WGAN-GP, with dropout, averaged weights and accumulation; `changes` are settings of
    the game, of the generator, or else of the recipe's top."""
    adam = {"kind": "adam", "learning_rate": 1e-3, "betas": [0.5, 0.999]}
    game = {"kind": "wgan", "weight": 0.01, "gradient_penalty": 10.0, "critic_steps": 2}
    game |= {name: changes.pop(name) for name in [*changes] if name in AdversarialRecipe.model_fields}
    shape = {
        "n_images": 12,
        "batch_size": 4,
        "losses": losses or {"l1": 1.0},
        "trains": {"generator": adam},
        "precision": "float32",
    }
    both = {"trains": {"generator": adam, "critic": adam}, "step": "gan"}
    generator = {"kind": "deblurgan", "arguments": {"width": 4, "n_blocks": 1}, "ema": 0.99} | changes.pop(
        "network", {}
    )
    values: dict[str, Any] = {
        "data": {
            "photos": [str(photos)],
            "n_holdout": 2,
            "plan": {"crop": 24, "variants": [{"steps": [{"kind": "trajectory", "length": 20.0}]}]},
        },
        "networks": {
            "generator": generator,
            "critic": {"kind": "patchgan", "arguments": {"width": 4, "n_layers": 1}},
        },
        "stages": [
            {**shape, "name": "pretrain"},
            {**shape, "name": "gan", **both, "n_images": n_images, "accumulate": accumulate, "adversarial": game},
        ],
        "judge": {"every": 16},
        "checkpoints": {"every": 8},
        "tracking": [],
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


def cycle(photos: Path, degraded: Path, **changes: Any) -> Recipe:
    """Two generators and two critics, in pieces, with dropout and averaged weights, on photos that are not pairs."""
    adam = {"kind": "adam", "learning_rate": 1e-3, "betas": [0.5, 0.999]}
    toy = {"kind": "deblurgan", "arguments": {"width": 4, "n_blocks": 1}}
    critic = {"kind": "patchgan", "arguments": {"width": 4, "n_layers": 1}}
    stage = {
        "step": "cycle",
        "n_images": 24,
        "batch_size": 4,
        "accumulate": 2,
        "losses": {"l1": 10.0},
        "identity": 0.5,
        "adversarial": {"kind": "lsgan"},
        "trains": dict.fromkeys(("generator", "degrader", "critic", "degraded_critic"), adam),
        "precision": "float32",
    }
    values: dict[str, Any] = {
        "data": {
            "photos": [str(photos)],
            "degraded": str(degraded),
            "n_holdout": 1,
            "plan": {"crop": 24, "variants": [{"steps": []}]},
        },
        "networks": {"generator": toy | {"ema": 0.9}, "degrader": toy, "critic": critic, "degraded_critic": critic},
        "stages": [stage | changes.pop("stage", {})],
        "judge": {"every": 16, "figures": ["niqe"]},
        "checkpoints": {"every": 8},
        "tracking": [],
        "weights": {
            "name": "toy",
            "licence": "none",
            "training_data": "the demo photo",
            "keep": ["generator", "degrader"],
        },
    }
    return Recipe.model_validate(values | changes)


def stretched(folder: Path, count: int, *, blurred: bool = False) -> Path:
    """Crops of the demo photo large enough for NIQE, blurred or not, in a folder that is made."""
    demo = Image.open(model_path("dae-sigma11").parent / "demo-photo.png")
    folder.mkdir(parents=True)
    for index in range(count):
        crop = demo.crop((20 * index, 0, 20 * index + 200, 200))
        (crop.resize((100, 100)).resize((200, 200)) if blurred else crop).save(folder / f"{'ab'[blurred]}{index}.png")
    return folder
