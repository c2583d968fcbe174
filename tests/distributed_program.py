"""What test_distributed.py does on several processes: two steps of a GAN, one of a run, then `resharp train`."""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from resharp.losses import LOSSES
from resharp.networks import DeblurGAN, PatchCritic
from resharp.training import load_recipe, train_weights
from resharp.training.config import ScheduleRecipe, StageRecipe
from resharp.training.context import Player, StepContext
from resharp.training.launching import launched
from resharp.training.optimizers import Optimizers
from resharp.training.steps import gan
from tests.processes import command


def gradients(accelerator: Accelerator, accumulate: int) -> dict[str, Any]:
    """Of both sides of a GAN with gradient penalty, and its losses, on eight pairs that the processes share."""
    rank, n_ranks = accelerator.process_index, accelerator.num_processes
    clean, degraded = (torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    share = slice(rank * 8 // n_ranks, (rank + 1) * 8 // n_ranks)
    generator = DeblurGAN(width=4, n_blocks=1, dropout=0.0, generator=torch.Generator().manual_seed(1))
    critic = PatchCritic(width=4, n_layers=2, generator=torch.Generator().manual_seed(2))
    still = ScheduleRecipe(kind="constant")
    players = {
        name: Player(
            name,
            network,
            network,
            Optimizers(network, torch.optim.SGD(network.parameters(), lr=0.0), schedule=still, n_images=80),
        )
        for name, network in (("generator", generator), ("critic", critic))
    }
    stage = {
        "step": "gan",
        "n_images": 80,
        "batch_size": 8,
        "accumulate": accumulate,
        "losses": {"l1": 1.0},
        "trains": {"generator": {"kind": "adam", "learning_rate": 1.0}},
        "adversarial": {"kind": "wgan", "gradient_penalty": 10.0, "critic_steps": 2},
        "jitter": 4,
        "precision": "float32",
    }
    context = StepContext(
        StageRecipe.model_validate(stage),
        {"l1": (1.0, LOSSES["l1"])},
        torch.device("cpu"),
        mean=None if n_ranks == 1 else lambda values: accelerator.reduce(values, "mean"),
        place=share.start,
    )
    for step in range(2):
        batch = {"degraded": degraded[share], "clean": clean[share]}
        report = gan(players, batch, dataclasses.replace(context, n_seen=8 * step, seed=step))
    owners = (("generator", generator), ("critic", critic))
    found = {f"{owner}.{name}": p.grad for owner, network in owners for name, p in network.named_parameters()}
    return {"gradients": found, "loss": report["loss"], "critic": report["critic"]}


def main() -> None:
    torch.set_num_threads(1)
    plain = ("networks.generator.arguments.batch_norm=false", "stages.0.n_images=4", "tracking=[]")
    accelerator = launched("cpu", load_recipe(Path("recipe.toml")))
    train_weights(load_recipe(Path("recipe.toml"), plain), "plain", device="cpu")
    results = {accumulate: gradients(accelerator, accumulate) for accumulate in (1, 2)}
    if accelerator.is_main_process:
        torch.save(results, "gradients.pt")
    command("train", "recipe.toml", "--device", "cpu", "--out", "run")
