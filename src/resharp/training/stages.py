"""From a recipe's stages to what the loop runs: steps over a run's networks, with fresh optimisers."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from resharp.losses import ADVERSARIAL

from .config import AdversarialRecipe, Recipe, StageRecipe
from .loop import Run, Stage
from .objectives import CriticObjective, GeneratorLoss, WeightedLosses
from .optimizers import build_optimizers
from .steps import Game, Generator, Machinery, gan_step, supervised_step

_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": None}

Wrap = Callable[[nn.Module], nn.Module]
"""What a launcher makes of a module: itself, or its distributed form."""


def build_stage(
    recipe: Recipe,
    index: int,
    run: Run,
    losses: WeightedLosses,
    *,
    wrap: Wrap,
    mean: Callable[[Tensor], Tensor],
    device: torch.device,
) -> Stage:
    """Stage `index` with fresh optimisers, over the networks of a run."""
    stage = recipe.stages[index]
    scaler = torch.amp.GradScaler(device.type) if stage.precision == "float16" else None
    machinery = Machinery(_TYPES[stage.precision], scaler, stage.accumulate, stage.clip_gradient, mean)
    generator = _generator(recipe, stage, run, losses, wrap)
    optimizers = {"generator": generator.optimizers}
    if stage.adversarial is None:
        take_step = partial(supervised_step, generator, machinery)
    else:
        game = _game(stage, stage.adversarial, generator, run.networks["critic"], wrap)
        optimizers["critic"] = game.critic_optimizers
        take_step = partial(gan_step, game, machinery)
    before = recipe.stages[:index]
    start = sum(one.n_images for one in before)
    return Stage(
        start=start,
        stop=start + stage.n_images,
        batch_size=stage.batch_size,
        drawn=sum(one.n_images * one.batches_per_step for one in before),
        drawn_per_step=stage.batch_size * stage.batches_per_step,
        take_step=take_step,
        optimizers=optimizers,
        scaler=scaler,
    )


def _generator(recipe: Recipe, stage: StageRecipe, run: Run, losses: WeightedLosses, wrap: Wrap) -> Generator:
    network, game = run.networks["generator"], stage.adversarial
    seen_by = torch.compile(network) if recipe.compile else network
    assert isinstance(seen_by, nn.Module)
    if game is None:
        loss = GeneratorLoss(losses, jitter=stage.jitter)
    else:
        critic, adversarial = run.networks["critic"], ADVERSARIAL[game.kind]
        loss = GeneratorLoss(losses, critic=critic, adversarial=adversarial, weight=game.weight, jitter=stage.jitter)
    return Generator(network, wrap(seen_by), loss, build_optimizers(network, stage.optimizer, stage.n_images))


def _game(stage: StageRecipe, recipe: AdversarialRecipe, generator: Generator, critic: nn.Module, wrap: Wrap) -> Game:
    objective = CriticObjective(
        critic,
        ADVERSARIAL[recipe.kind],
        penalty=recipe.gradient_penalty,
        norm=recipe.penalty_norm,
        autocast=_TYPES[recipe.penalty_precision],
        jitter=stage.jitter,
    )
    return Game(
        generator=generator,
        critic=critic,
        critic_objective=wrap(objective),
        critic_optimizers=build_optimizers(critic, recipe.optimizer, stage.n_images),
        critic_steps=recipe.critic_steps,
        batches_per_step=stage.batches_per_step,
        stride=int(getattr(generator.network, "multiple_of", 1)),
    )
