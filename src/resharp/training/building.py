"""From a recipe to the objects that it names: networks, losses, photos."""

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from resharp.data.synthesis import Synthesis, open_sources
from resharp.device import is_out_of_memory
from resharp.errors import RecipeError, WeightsError, did_you_mean
from resharp.losses import ADVERSARIAL, FEATURE_LOSSES, LOSSES, PixelLoss, perceptual, style, total_variation
from resharp.models import load_features, read_card, read_state
from resharp.networks import CRITICS, NETWORKS

from .config import AdversarialRecipe, FeaturesRecipe, NetworkRecipe, Recipe
from .loop import Run
from .objectives import WeightedLosses, mixes_samples
from .validation import HeldOut, held_out

_CRITIC_SEED = 1  # apart from the generator's initial weights


def build_network(recipe: NetworkRecipe, table: Mapping[str, type[nn.Module]], seed: int, place: str) -> nn.Module:
    """The recipe's network with its initial weights, a function of the seed.  Raises RecipeError that names `place`."""
    generator = torch.Generator().manual_seed(seed)
    kind = table.get(recipe.kind) or _outside(recipe.kind, table, place)
    arguments: dict[str, Any] = dict(recipe.arguments)
    if recipe.kind in table:
        arguments["generator"] = generator
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # for a network of somebody else's, which takes no generator
            network = kind(**arguments)
    except Exception as error:  # a constructor of anybody's
        raise RecipeError(f"{place}.arguments: {str(error).splitlines()[0] if str(error) else error!r}") from None
    if not any(True for _ in network.parameters()):
        raise RecipeError(f"{place}.kind: {recipe.kind} has no parameters to train")
    return network


def _outside(kind: str, table: Mapping[str, type[nn.Module]], place: str) -> type[nn.Module]:
    """A class named as "package.module:Name"."""
    module, colon, name = kind.partition(":")
    if not colon or not module or module.startswith(".") or not name:
        hint = did_you_mean(kind, table, things="networks")
        raise RecipeError(f"{place}.kind: {kind!r} is no network; {hint} or write package.module:Name")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` has it: one's own networks lie there
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # importing runs anybody's code
        raise RecipeError(f"{place}.kind: {kind}: cannot be imported ({error})") from None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise RecipeError(f"{place}.kind: {kind}: is no torch.nn.Module")
    return found


def build_losses(weights: Mapping[str, float], features: FeaturesRecipe, device: torch.device) -> WeightedLosses:
    """The losses of a stage by name.  Raises RecipeError for an unknown one, WeightsError for missing features."""
    known = [*LOSSES, "tv", *FEATURE_LOSSES]
    chosen: WeightedLosses = {}
    network: nn.Module | None = None
    for name, weight in weights.items():
        if name not in known:
            raise RecipeError(f"losses: {name!r} is no loss; {did_you_mean(name, known, things='losses')}")
        if name in FEATURE_LOSSES and network is None:
            try:
                network = load_features(
                    features.kind,
                    features.layer,
                    after_relu=features.after_relu,
                    normalisation=features.normalisation,
                    weights=features.weights,
                ).to(device)
            except WeightsError as error:
                raise WeightsError(f"{error} (in a recipe: features.weights)") from None
        chosen[name] = weight, _loss(name, network)
    return chosen


def _loss(name: str, features: nn.Module | None) -> PixelLoss:
    if name == "tv":
        return lambda restored, _: total_variation(restored)
    if name not in FEATURE_LOSSES:
        return LOSSES[name]
    assert features is not None
    compare, network = (perceptual if name == "perceptual" else style), features

    def loss(restored: Tensor, clean: Tensor) -> Tensor:
        return compare(restored, clean, network)

    return loss


def check_game(game: AdversarialRecipe, place: str) -> None:
    """Raises RecipeError for an unknown adversarial loss."""
    if game.kind not in ADVERSARIAL:
        hint = did_you_mean(game.kind, ADVERSARIAL, things="losses")
        raise RecipeError(f"{place}.kind: {game.kind!r} is no adversarial loss; {hint}")


def networks_of(recipe: Recipe) -> dict[str, nn.Module]:
    """The generator, and the critic where a stage has one."""
    networks = {"generator": build_network(recipe.network, NETWORKS, recipe.seed, "network")}
    for index, stage in enumerate(recipe.stages):
        if stage.adversarial is not None:
            check_game(stage.adversarial, f"stages.{index}.adversarial")
            if "critic" not in networks:
                networks["critic"] = build_network(recipe.critic, CRITICS, recipe.seed + _CRITIC_SEED, "critic")
            _check_penalty(stage.adversarial, networks["critic"], f"stages.{index}.adversarial", recipe.critic.kind)
    return networks


def _check_penalty(game: AdversarialRecipe, critic: nn.Module, place: str, kind: str) -> None:
    if game.gradient_penalty and mixes_samples(critic):
        raise RecipeError(
            f"{place}.gradient_penalty: the critic {kind!r} has batch norm, which mixes the samples that a penalty "
            "tells apart; take patchgan, or a penalty of 0"
        )


def sources_of(recipe: Recipe) -> tuple[Synthesis, HeldOut]:
    """(training samples, held-out samples).  Raises DatasetError, ArgumentError, RecipeError."""
    data = recipe.data
    if data.mix and len(data.mix) != len(data.photos):
        raise RecipeError(f"data.mix: {len(data.mix)} weights for {len(data.photos)} sources; give one for each")
    if data.plan.crop == 0 and any(stage.batch_size > 1 for stage in recipe.stages):
        raise RecipeError("data.plan.crop: whole photos make no batches; set a crop, or batch_size = 1")
    sources = open_sources(data.photos, data.plan, split=data.split or None, kept_bytes=data.kept_megabytes * 2**20)
    training, kept = held_out(sources, data.n_holdout, data.n_holdout_groups)
    weights = data.mix or (1,) * len(training)
    synthesis = Synthesis(list(zip(weights, training, strict=True)), data.plan, seed=recipe.seed)
    judged = HeldOut(
        kept, data.plan, crop=recipe.rhythm.validation_crop, noise_sigma=data.noise_sigma, seed=recipe.seed + 1
    )
    return synthesis, judged


def prepared_run(
    recipe: Recipe, device: torch.device, *, init: str | Path | None = None
) -> tuple[Run, list[WeightedLosses]]:
    """Networks on their device as a run begins with them, and the losses of each stage."""
    networks = networks_of(recipe)
    if init is not None:
        _begin_from(networks["generator"], init, recipe)
    optimizers = [one.optimizer for stage in recipe.stages for one in (stage, stage.adversarial) if one is not None]
    is_plain = all(optimizer.kind == "adam" for optimizer in optimizers)  # Muon sees weights as matrices
    for network in networks.values():
        network.to(device)
        channels_first = device.type == "cpu" and getattr(network, "trains_channels_first_on_cpu", False)
        if is_plain and not channels_first:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = AveragedModel(networks["generator"], use_buffers=True) if recipe.ema else None
    losses = [build_losses(stage.losses, recipe.features, device) for stage in recipe.stages]
    return Run(networks, averaged), losses


def check_networks(networks: Mapping[str, nn.Module], judged: HeldOut, recipe: Recipe) -> None:
    """Raises RecipeError for networks that cannot take photos such as the held-out ones, and for a generator that does
    not make photos of the size of their truth."""
    given, wanted = judged.degraded[:1], tuple(judged.clean[:1].shape)
    made = _tried(networks["generator"], given, f"network: {recipe.network.kind}")
    if made != wanted:
        raise RecipeError(
            f"network: {recipe.network.kind} makes {_size(made)} of photos of {_size(tuple(given.shape))}, and their "
            f"truth has {_size(wanted)}; take a network of another scale, or another downscale in data.plan"
        )
    for jitter in {stage.jitter for stage in recipe.stages if stage.adversarial is not None}:
        side = recipe.data.plan.crop - jitter or None
        _tried(networks["critic"], judged.clean[:1, :, :side, :side], f"critic: {recipe.critic.kind}")


@torch.no_grad()
def _tried(network: nn.Module, photos: Tensor, name: str) -> tuple[int, ...]:
    """The shape of what a network makes of photos.  Raises RecipeError where it makes nothing."""
    network.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            return tuple(network(photos.to(next(network.parameters()).device)).shape)
    except Exception as error:  # a network of anybody's
        if is_out_of_memory(error):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise RecipeError(f"{name} cannot take photos of {_size(tuple(photos.shape))} ({reason})") from None


def _size(shape: tuple[int, ...]) -> str:
    """As width x height, channels only where they are not those of a photo."""
    return f"{shape[3]}x{shape[2]}" if len(shape) == 4 and shape[:2] == (1, 3) else "x".join(map(str, shape))


def _begin_from(generator: nn.Module, init: str | Path, recipe: Recipe) -> None:
    card = read_card(init)
    state = read_state(card)
    if card.network != recipe.network.kind or state.keys() != generator.state_dict().keys():
        raise WeightsError(f"{init}: is of network {card.network!r} {card.arguments}, the recipe's is another")
    try:
        generator.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise WeightsError(f"{init}: does not fit the recipe's network ({reason})") from None
