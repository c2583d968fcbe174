"""From a recipe to the objects that it names: its cast, losses, steps, and stages ready to go."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from resharp.data.loading import Noise
from resharp.device import is_out_of_memory
from resharp.errors import RecipeError, WeightsError, did_you_mean
from resharp.losses import ADVERSARIAL, FEATURE_LOSSES, LOSSES, PixelLoss, perceptual, style, total_variation
from resharp.models import load_features, read_card, read_state
from resharp.networks import CRITICS, NETWORKS
from resharp.solvers.half_quadratic import HIGHEST, LOWEST

from .config import FeaturesRecipe, NetworkRecipe, Recipe, StageRecipe
from .context import Batch, Player, StepContext, WeightedLosses
from .naming import named
from .optimizers import build_optimizers
from .state import Stage, TrainerState
from .steps import STEPS, StepKind, mixes_samples

_TABLE: Mapping[str, type[nn.Module]] = {**NETWORKS, **CRITICS}

# --- networks ---------------------------------------------------------------------------------------------------------


def build_cast(recipe: Recipe, device: torch.device) -> TrainerState:
    """The networks of a recipe on their device, as a run begins with them.  Raises RecipeError, WeightsError."""
    optimizers = [optimizer for stage in recipe.stages for optimizer in stage.trains.values()]
    is_plain = all(optimizer.kind == "adam" for optimizer in optimizers)  # Muon copies weights into matrices
    players = {}
    others = sorted(name for name in recipe.networks if name != recipe.judged)
    for number, name in enumerate([recipe.judged, *others]):  # each draws its initial weights from a seed of its own
        settings = recipe.networks[name]
        if settings.frozen and settings.init and not settings.arguments:
            settings = settings.model_copy(update={"arguments": read_card(settings.init).arguments})
        network = build_network(settings, recipe.seed + number, f"networks.{name}")
        if settings.init:
            _begin_from(network, settings, f"networks.{name}.init")
        network.to(device).requires_grad_(not settings.frozen)
        channels_first = device.type == "cpu" and getattr(network, "trains_channels_first_on_cpu", False)
        if (is_plain or device.type == "cuda") and not channels_first:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        run = _compiled(network, recipe, name, device)
        average = AveragedModel(network, use_buffers=True) if settings.ema else None
        players[name] = Player(name, network.train(not settings.frozen), run, average=average)
    return TrainerState(players)


def _compiled(network: nn.Module, recipe: Recipe, name: str, device: torch.device) -> nn.Module:
    """As the recipe says.  CUDA graphs replay one pass in the same memory: raises RecipeError where that is not so."""
    how = recipe.networks[name].compile
    stages = [stage for stage in recipe.stages if name in stage.trains]
    in_the_way = {
        f"CUDA, and this runs on {device.type}": device.type != "cuda",
        "one shape, and whole photos (data.plan.crop = 0) have many": recipe.data.plan.crop == 0,
        "one pass a step, and only supervised steps are sure to take one": {stage.step for stage in stages}
        != {"supervised"},
        "one pass a step, and accumulate takes more": any(stage.accumulate > 1 for stage in stages),
    }
    for wanted, is_so in in_the_way.items():
        if how == "graphs" and is_so:
            raise RecipeError(f"networks.{name}.compile: graphs want {wanted}; take true")
    if not how:
        return network
    run = torch.compile(network, mode="reduce-overhead" if how == "graphs" else None)
    assert isinstance(run, nn.Module)
    return run


def build_network(recipe: NetworkRecipe, seed: int, place: str) -> nn.Module:
    """The recipe's network with its initial weights, a function of the seed.  Raises RecipeError that names `place`."""
    kind = _TABLE.get(recipe.kind) or named(
        recipe.kind,
        _TABLE,
        f"{place}.kind",
        "network",
        "a torch.nn.Module from photos (N, 3, H, W) in [0, 1] to photos",
        lambda found: isinstance(found, type) and issubclass(found, nn.Module),
    )
    arguments: dict[str, Any] = dict(recipe.arguments)
    if recipe.kind in _TABLE:
        arguments["generator"] = torch.Generator().manual_seed(seed)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # for a network of somebody else's, which takes no generator
            network: nn.Module = kind(**arguments)
    except Exception as error:  # a constructor of anybody's
        raise RecipeError(f"{place}.arguments: {str(error).splitlines()[0] if str(error) else error!r}") from None
    if not any(True for _ in network.parameters()):
        raise RecipeError(f"{place}.kind: {recipe.kind} has no parameters to train")
    return network


def _begin_from(network: nn.Module, recipe: NetworkRecipe, place: str) -> None:
    card = read_card(recipe.init)
    state = read_state(card)
    if card.network != recipe.kind or state.keys() != network.state_dict().keys():
        raise WeightsError(
            f"{place}: {recipe.init}: is of network {card.network!r} {card.arguments}, the recipe's is another"
        )
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise WeightsError(f"{place}: {recipe.init}: does not fit the recipe's network ({reason})") from None


# --- losses and steps -------------------------------------------------------------------------------------------------


def build_losses(weights: Mapping[str, float], features: FeaturesRecipe, device: torch.device) -> WeightedLosses:
    """The losses of a stage by name.  Raises RecipeError for an unknown one, WeightsError for missing features."""
    chosen: WeightedLosses = {}
    network: nn.Module | None = None
    for name, weight in weights.items():
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
        chosen[name] = weight, _loss(name, network, LOSSES[features.distance])
    return chosen


def _loss(name: str, features: nn.Module | None, distance: PixelLoss) -> PixelLoss:
    if name == "tv":
        return lambda restored, _: total_variation(restored)
    if name not in FEATURE_LOSSES:
        return LOSSES.get(name) or _own_loss(name)
    assert features is not None
    compare, network = (perceptual if name == "perceptual" else style), features

    def loss(restored: Tensor, clean: Tensor) -> Tensor:
        return compare(restored, clean, network, distance=distance)

    return loss


def _own_loss(name: str) -> PixelLoss:
    """One of somebody else's, tried on two pictures."""
    wanted = "a function (restored, clean) of two (N, 3, H, W) in [0, 1] that returns a scalar with a gradient"
    loss: PixelLoss = named(name, [*LOSSES, "tv", *FEATURE_LOSSES], "losses", "loss", wanted, callable)
    restored, clean = torch.full((2, 3, 64, 64), 0.5, requires_grad=True), torch.full((2, 3, 64, 64), 0.25)
    try:
        found: object = loss(restored, clean)
    except Exception as error:  # a function of anybody's
        raise RecipeError(f"losses: {name}: fails on two pictures ({error}); it has to be {wanted}") from None
    if not isinstance(found, Tensor) or found.ndim or not found.requires_grad:
        shown = f"{tuple(found.shape)}, gradient {found.requires_grad}" if isinstance(found, Tensor) else repr(found)
        raise RecipeError(f"losses: {name}: returns {shown}; it has to be {wanted}")
    return loss


def step_of(stage: StageRecipe, place: str) -> StepKind:
    """The step that a stage names.  Raises RecipeError where that is none, or the stage lacks what it needs."""
    kind = STEPS.get(stage.step)
    if kind is None:
        wanted = "a step: a function (players, batch, context) that returns numbers by name, or a StepKind of one"
        found = named(stage.step, STEPS, f"{place}.step", "step", wanted, _is_step)
        return found if isinstance(found, StepKind) else StepKind(found)
    step, has = f"a {stage.step} step", stage.adversarial is not None
    missing = [name for name in kind.trains if name not in stage.trains]
    idle = [name for name in stage.trains if name not in kind.trains]
    wrong = {
        f"trains: {step} trains {', '.join(missing)}, which has no optimiser here; give it one": missing,
        f"trains: {step} trains {', '.join(kind.trains)} alone; leave {', '.join(idle)} out": idle,
        f"losses: {step} compares pictures; give it losses, such as {{ l2 = 1.0 }}": not stage.losses,
        f"adversarial: {step} asks critics; say how": kind.critics and not has,
        f'adversarial: {step} asks no critic; leave it out, or take step = "gan"': has and not kind.critics,
        'identity: is for step = "cycle"; leave it out': stage.identity and stage.step != "cycle",
        "adversarial.fresh_batches: is for steps of one critic; leave it out": (
            stage.batches_per_step > 1 and len(kind.critics) != 1
        ),
        f"realistic: {step} has a share of its photos blurred by a degrader; say which": (
            kind.asks and not stage.realistic
        ),
        f"realistic: {step} has nothing blurred; leave it out": stage.realistic and not kind.asks,
        f"unrolled: {step} has a solver undo something; say what": stage.step == "unrolled" and stage.unrolled is None,
        'unrolled: is for step = "unrolled"; leave it out': stage.step != "unrolled" and stage.unrolled is not None,
        "settings: are for steps of one's own; leave them out": stage.settings,
    }
    for words, is_wrong in wrong.items():
        if is_wrong:
            raise RecipeError(f"{place}.{words}")
    return kind


def _is_step(found: object) -> bool:
    if isinstance(found, StepKind):
        return True
    try:
        return callable(found) and len(inspect.signature(found).parameters) == 3
    except (TypeError, ValueError):
        return False


def build_stage(
    recipe: Recipe,
    index: int,
    state: TrainerState,
    losses: WeightedLosses,
    *,
    device: torch.device,
    mean: Callable[[Tensor], Tensor] | None = None,
) -> Stage:
    """Stage `index` with fresh optimisers, over the cast of a run."""
    stage, before = recipe.stages[index], recipe.stages[:index]
    for name, player in state.players.items():
        settings, place = stage.trains.get(name), f"stages.{index}.trains.{name}"
        player.optimizers = (
            None if settings is None else build_optimizers(player.network, settings, stage.n_images, place=place)
        )
    start = sum(one.n_images for one in before)
    scaler = torch.amp.GradScaler(device.type) if stage.precision == "float16" else None
    return Stage(
        start=start,
        stop=start + stage.n_images,
        drawn=sum(one.n_images * one.batches_per_step for one in before),
        players=state.players,
        take_step=step_of(stage, f"stages.{index}").take,
        context=StepContext(stage, losses, device, scaler, mean, leading=recipe.judged),
    )


# --- whether they fit -------------------------------------------------------------------------------------------------


def _check_denoiser(recipe: Recipe, state: TrainerState, place: str) -> None:
    """Raises RecipeError where what a solver is to ask would not be a denoiser of all its levels."""
    levels = recipe.data.noise_sigma
    if "sigma" not in _taken(state.players["generator"]):
        raise RecipeError(
            f"{place}: the solver asks a denoiser at many levels; take a network that is told them (sigma)"
        )
    if not isinstance(levels, tuple) or levels[0] > LOWEST or levels[1] < HIGHEST:
        raise RecipeError(
            f"{place}: the solver's levels run from {LOWEST:.4f} to {HIGHEST:.3f}; data.noise_sigma is the range that "
            "the weights say they are good for: take [0.0, 0.2]"
        )
    if any(variant.steps for variant in recipe.data.plan.variants):
        raise RecipeError(
            f"{place}: the step blurs clean photos; leave the plan's steps out (variants = [{{ steps = [] }}])"
        )


def check_stages(recipe: Recipe, state: TrainerState, gives: tuple[str, ...]) -> None:
    """Raises RecipeError for steps that want what batches do not give, and for critics that cannot be asked so."""
    for index, stage in enumerate(recipe.stages):
        kind = step_of(stage, f"stages.{index}")
        if missing := [name for name in kind.wants if name not in gives]:
            way = (
                'take step = "cycle" or "bgan"' if "unpaired" in gives else "name real degraded photos by data.degraded"
            )
            raise RecipeError(
                f"stages.{index}.step: a {stage.step} step wants {' and '.join(map(repr, kind.wants))} of a batch, and "
                f"these data give {' and '.join(map(repr, gives))}, not {missing[0]!r}; {way}"
            )
        for name in kind.asks:
            _check_asked(name, recipe, f"stages.{index}.step: a {stage.step} step")
        if stage.unrolled is not None:
            _check_denoiser(recipe, state, f"stages.{index}.unrolled")
        game = stage.adversarial
        if game is not None and game.kind not in ADVERSARIAL:
            hint = did_you_mean(game.kind, ADVERSARIAL, things="losses")
            raise RecipeError(f"stages.{index}.adversarial.kind: {game.kind!r} is no adversarial loss; {hint}")
        mixing = [name for name in kind.critics if mixes_samples(state.players[name].network)]
        if game is not None and game.gradient_penalty and mixing:
            raise RecipeError(
                f"stages.{index}.adversarial.gradient_penalty: the critic {recipe.networks[mixing[0]].kind!r} has "
                "batch norm, which mixes the samples that a penalty tells apart; take patchgan, or a penalty of 0"
            )
    for name, player in state.players.items():
        if missing := [one for one in _taken(player) if one not in gives]:
            raise RecipeError(
                f"networks.{name}: {recipe.networks[name].kind} takes {missing[0]!r} beside the image, and these data "
                f"give {' and '.join(map(repr, gives))}; {_way_to(missing[0])}"
            )


def _way_to(missing: str) -> str:
    return "give data.noise_sigma a range, [low, high]" if missing == "sigma" else f"add data.beside.{missing}"


def _taken(player: Player) -> list[str]:
    """What a network takes beside the image."""
    return [one for one in getattr(player.network, "takes", ()) if one != "image"]


def _check_asked(name: str, recipe: Recipe, step: str) -> None:
    """Raises RecipeError where a player that stands by is missing, or has learned nothing."""
    if name not in recipe.networks:
        raise RecipeError(
            f'{step} blurs photos by networks.{name}, which is missing; add it: kind = "bgan", init, frozen = true'
        )
    if recipe.networks[name].frozen and not recipe.networks[name].init:
        raise RecipeError(
            f"networks.{name}: is frozen and has learned nothing; name its weights by networks.{name}.init"
        )


def noise_of(state: TrainerState) -> Noise | None:
    """The maps of noise that networks of the cast take.  Raises RecipeError where they take different ones."""
    takers = [player.network for player in state.players.values() if "noise" in _taken(player)]
    kinds = {(str(getattr(one, "noise", "tiled")), int(getattr(one, "noise_channels", 4))) for one in takers}
    if len(kinds) > 1:
        raise RecipeError("networks: take noise of different kinds; batches hold one map for each photo")
    return next(iter(kinds), None)


def check_networks(state: TrainerState, photos: Batch, recipe: Recipe) -> None:
    """Raises RecipeError for networks that cannot take photos such as the held-out ones, and for one that is judged and
    does not make photos of the size of their truth."""
    one = {name: part[:1] for name, part in photos.items()}
    given, wanted = one["degraded"], tuple(one.get("clean", one["degraded"]).shape)
    plan, place = recipe.data.plan, f"networks.{recipe.judged}: {recipe.networks[recipe.judged].kind}"
    made = _tried(state.players[recipe.judged].restored, one, place)
    if made != wanted:
        raise RecipeError(
            f"{place} makes {_size(made)} of photos of {_size(tuple(given.shape))}, and their truth has "
            f"{_size(wanted)}; take a network of another scale, or another downscale in data.plan"
        )
    side = plan.crop // plan.factor
    for name, player in state.players.items():
        multiple = int(getattr(player.network, "multiple_of", 1))
        if side % multiple:
            nearest, kind = plan.factor * multiple * max(1, round(side / multiple)), recipe.networks[name].kind
            raise RecipeError(
                f"data.plan.crop: networks.{name}: {kind} takes sides that are multiples of {multiple}; take {nearest}"
            )
    for stage in recipe.stages:
        window = plan.crop - stage.jitter or None
        shown = {"degraded": one.get("clean", given)[:, :, :window, :window]}
        for name in STEPS[stage.step].critics if stage.step in STEPS else ():
            _tried(state.players[name].restored, shown, f"networks.{name}: {recipe.networks[name].kind}")


def _tried(make: Callable[[Batch], Tensor], photos: Batch, name: str) -> tuple[int, ...]:
    """The shape of what is made of photos.  Raises RecipeError where nothing is."""
    try:
        with torch.random.fork_rng(devices=[]):
            return tuple(make(photos).shape)
    except Exception as error:  # a network of anybody's
        if is_out_of_memory(error):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        size = _size(tuple(photos["degraded"].shape))
        raise RecipeError(f"{name} cannot take photos of {size} ({reason})") from None


def _size(shape: tuple[int, ...]) -> str:
    """As width x height, channels only where they are not those of a photo."""
    return f"{shape[3]}x{shape[2]}" if len(shape) == 4 and shape[:2] == (1, 3) else "x".join(map(str, shape))
