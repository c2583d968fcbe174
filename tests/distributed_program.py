"""What test_distributed.py does on several processes: two steps of a GAN, one of a run, then `resharp train`."""

import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from resharp.training.objectives import CriticObjective, GeneratorLoss

from resharp.__main__ import main
from resharp.losses import ADVERSARIAL, LOSSES
from resharp.networks import DeblurGAN, PatchCritic
from resharp.training import load_recipe, train_weights
from resharp.training.config import ScheduleRecipe
from resharp.training.launching import launched
from resharp.training.optimizers import Optimizers
from resharp.training.steps import Game, Generator, Machinery, Moment, gan_step


def gradients(accelerator: Accelerator, accumulate: int) -> dict[str, Any]:
    """Of both sides of a GAN with gradient penalty, and its losses, on eight pairs that the processes share."""
    rank, n_ranks = accelerator.process_index, accelerator.num_processes
    clean, degraded = (torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    share = slice(rank * 8 // n_ranks, (rank + 1) * 8 // n_ranks)
    generator = DeblurGAN(width=4, n_blocks=1, dropout=0.0, generator=torch.Generator().manual_seed(1))
    critic = PatchCritic(width=4, n_layers=2, generator=torch.Generator().manual_seed(2))
    still = [
        Optimizers(n, torch.optim.SGD(n.parameters(), lr=0.0), schedule=ScheduleRecipe(kind="constant"), n_images=80)
        for n in (generator, critic)
    ]
    kind = ADVERSARIAL["wgan"]
    loss = GeneratorLoss({"l1": (1.0, LOSSES["l1"])}, critic=critic, adversarial=kind, weight=1.0, jitter=4)
    game = Game(
        generator=Generator(generator, accelerator.prepare_model(generator), loss, still[0]),
        critic=critic,
        critic_objective=accelerator.prepare_model(
            CriticObjective(critic, kind, penalty=10.0, norm="sample", jitter=4)
        ),
        critic_optimizers=still[1],
        critic_steps=2,
        batches_per_step=1,
        stride=4,
    )
    machinery = Machinery(
        None, None, accumulate, 0.0, lambda values: values if n_ranks == 1 else accelerator.reduce(values, "mean")
    )
    for step in range(2):  # the second has the buckets that distributed training settles on
        moment = Moment(n_seen=8 * step, factor=1.0, seed=step, place=share.start)
        report = gan_step(game, machinery, (degraded[share], clean[share]), moment)
    owners = (("generator", generator), ("critic", critic))
    found = {f"{owner}.{name}": p.grad for owner, network in owners for name, p in network.named_parameters()}
    return {"gradients": found, "loss": report["loss"], "critic": report["critic"]}


if __name__ == "__main__":
    torch.set_num_threads(1)
    plain = ("networks.generator.arguments.batch_norm=false", "stages.0.n_images=4", "tracking=[]")
    accelerator = launched("cpu", load_recipe(Path("recipe.toml")))
    train_weights(load_recipe(Path("recipe.toml"), plain), "plain", device="cpu")
    results = {accumulate: gradients(accelerator, accumulate) for accumulate in (1, 2)}
    if accelerator.is_main_process:
        torch.save(results, "gradients.pt")
    sys.argv = ["resharp", "train", "recipe.toml", "--device", "cpu", "--out", "run"]
    main()
