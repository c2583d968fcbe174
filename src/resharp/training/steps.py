"""Steps: a batch in, one update of the weights of a cast, what to report out.

A step is a function of (players, batch, context).  What `context.update` is handed is the whole of what is minimised:
for a piece of the batch, and the number of samples before it, by which all that is random in a step is drawn.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from resharp.losses import ADVERSARIAL, FEATURE_LOSSES, gradient_penalty, relativistic_odds

from .config import AdversarialRecipe
from .context import TYPES, Batch, Objective, Parts, Player, Report, Step, StepContext, size_of
from .health import adversarial_share, critic_health, picture_health
from .unrolled import KnownBlur

# What a step draws beside dropout's masks: what a critic looks at and where its penalty is taken, what others look at,
# a kernel and the noise of photos blurred by it.
_CRITIC, _WINDOWS, _KERNEL, _NOISE = 2, 3, 4, 5
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
Scores = list[tuple[Tensor, Tensor]]  # a critic's, of the real and of the made pictures, piece by piece

# --- steps ------------------------------------------------------------------------------------------------------------


def supervised(players: Mapping[str, Player], batch: Batch, context: StepContext) -> Report:
    """The generator, on the stage's losses; of one that gives several pictures each is compared."""
    generator = players["generator"]

    def objective(piece: Batch, place: int) -> tuple[Tensor, Parts]:
        made = generator.outputs(piece["degraded"], piece)
        compared = [fidelity(context, one, piece["clean"], place) for one in made]
        return torch.stack([total for total, _ in compared]).sum(), compared[-1][1]

    return context.update([generator], batch, objective)


@dataclasses.dataclass(frozen=True)
class Game:
    """Who plays, and with what of a batch: the generator is given `given`, the stage's losses compare what it makes
    with `target`, and the critic tells that from `real`."""

    generator: str = "generator"
    critic: str = "critic"
    given: str = "degraded"
    target: str = "clean"
    real: str = "clean"


def gan(players: Mapping[str, Player], batch: Batch, context: StepContext) -> Report:
    """The critic's updates, then one of the generator: what it restores is compared with the clean photo."""
    return _played(Game(), players, batch, context)


def bgan(players: Mapping[str, Player], batch: Batch, context: StepContext) -> Report:
    """A sharp photo is blurred like degraded ones that do not belong to it, and stays what it shows: the stage's losses
    compare it with itself (Zhang et al. 2020, arXiv 2004.01860)."""
    return _played(Game("degrader", "degraded_critic", "unpaired", "unpaired", "degraded"), players, batch, context)


def bgan_paired(players: Mapping[str, Player], batch: Batch, context: StepContext) -> Report:
    """The same where each sharp photo has its degraded one."""
    return _played(Game("degrader", "degraded_critic", "clean", "degraded", "degraded"), players, batch, context)


def dbgan(players: Mapping[str, Player], batch: Batch, context: StepContext) -> Report:
    """The gan step, on photos that the degrader blurred."""
    return gan(players, realistic(players, batch, context), context)


def dbgan_pretrain(players: Mapping[str, Player], batch: Batch, context: StepContext) -> Report:
    """The supervised step, on photos that the degrader blurred."""
    return supervised(players, realistic(players, batch, context), context)


def unrolled(players: Mapping[str, Player], batch: Batch, context: StepContext) -> Report:
    """The generator, a denoiser, through all steps of a solver: the clean photos, blurred by a kernel of the batch's
    own, with noise of a level of its own, come back, and the stage's losses compare what the blurred ones show."""
    generator, wanted = players["generator"], context.stage.unrolled
    assert wanted is not None, "checked when the stage was made"
    known = KnownBlur.drawn(wanted, context.drawn(_KERNEL))

    def denoise(noisy: Tensor, level: float) -> Tensor:
        return generator(noisy, {"sigma": torch.full((1,), level, device=noisy.device)})

    def objective(piece: Batch, place: int) -> tuple[Tensor, Parts]:
        clean = piece["clean"]
        photos = known.photos(clean, [context.drawn(_NOISE, place + one) for one in range(len(clean))])
        made = known.undone(photos, denoise, wanted.n_iterations)
        return fidelity(context, made, known.seen(clean), place)

    return context.update([generator], batch, objective)


def _played(game: Game, players: Mapping[str, Player], batch: Batch, context: StepContext) -> Report:
    """The critic's updates, then one of the generator through the critic as it now is.

    batch: as many batches in one as the step draws, the generator's last.  On one batch in one piece the generator runs
    once, for the critic and for itself; in pieces it runs again with the same dropout masks, as that is what pieces are
    for: no more than one of them is held at a time.  Returns losses, and the measures of GAN health.
    """
    generator, critic, settings = players[game.generator], players[game.critic], asked(context)
    rounds = _rounds(batch, context.stage.batches_per_step)
    now, scores, restored = rounds[0], Scores(), None
    if context.stage.accumulate == len(rounds) == 1:
        with context.autocast():
            restored = generator(now[game.given], now)
    fakes = context.made(generator, now, game.given) if restored is None else restored.detach()
    for turn in range(settings.critic_steps):
        if settings.fresh_batches and turn:
            now = rounds[turn]
            context.reseed(turn)
            fakes = context.made(generator, now, game.given)
        scores.clear()
        pictures = {"real": now[game.real], "fake": fakes}
        report = context.update([critic], pictures, telling_apart(critic, context, scores, turn))
    if context.reads:
        report |= picture_health(fakes, now[game.target], stride=stride_of(generator))
    context.reseed(*([settings.critic_steps] if settings.fresh_batches else []))
    pulls: dict[str, Tensor] = {}

    def objective(piece: Batch, place: int) -> tuple[Tensor, Parts]:
        made = generator(piece[game.given], piece) if restored is None else restored
        total, parts = fidelity(context, watched(made, "fidelity", pulls), piece[game.target], place)
        fooling = persuasion(critic, watched(made, "adversarial", pulls), piece[game.real], context, place)
        return total + settings.weight * fooling, parts | {"adversarial": fooling}

    with held(critic):
        report |= context.update([generator], rounds[-1], objective)
    if not context.reads:
        return report
    report["adversarial_share"] = float(adversarial_share(pulls["adversarial"], pulls["fidelity"]))
    measured = critic_measures(fakes, now[game.real], scores, report, context, (game.generator, game.critic))
    return context.finite(report | measured)


def cycle(players: Mapping[str, Player], batch: Batch, context: StepContext) -> Report:
    """Two generators, there and back, and two critics, on photos that do not belong together (Zhu et al. 2017, arXiv
    1703.10593): what was restored and spoiled again is the degraded photo, the other way round the clean one, by the
    stage's losses; "identity" of them keeps what is clean already.  Both generators first, then each critic.
    """
    generator, degrader = players["generator"], players["degrader"]
    critics = {"clean": players["critic"], "degraded": players["degraded_critic"]}
    settings, identity, made = asked(context), context.stage.identity, list[tuple[Tensor, Tensor]]()

    def objective(piece: Batch, place: int) -> tuple[Tensor, Parts]:
        degraded, clean = piece["degraded"], piece["unpaired"]
        restored, spoiled = generator(degraded, piece), degrader(clean, piece)
        made.append((restored.detach(), spoiled.detach()))
        there, parts = fidelity(context, generator(spoiled, piece), clean, place)
        back, _ = fidelity(context, degrader(restored, piece), degraded, place)
        parts = {"cycle": there + back, "cycle_clean": there, "cycle_degraded": back}
        total = there + back
        if identity:
            same = fidelity(context, generator(clean, piece), clean, place)[0]
            same = same + fidelity(context, degrader(degraded, piece), degraded, place)[0]
            total, parts["identity"] = total + identity * same, same
        parts["loss"] = total
        parts["adversarial"] = persuasion(critics["clean"], restored, clean, context, place)
        parts["adversarial_degraded"] = persuasion(critics["degraded"], spoiled, degraded, context, place)
        return total + settings.weight * (parts["adversarial"] + parts["adversarial_degraded"]), parts

    with held(*critics.values()):
        report = context.update([generator, degrader], batch, objective)
    restored, spoiled = (torch.cat(pieces) for pieces in zip(*made, strict=True))
    scores: dict[str, Scores] = {name: [] for name in critics}
    for name, real, fake in (("clean", batch["unpaired"], restored), ("degraded", batch["degraded"], spoiled)):
        for turn in range(settings.critic_steps):
            scores[name].clear()
            telling = telling_apart(critics[name], context, scores[name], turn)
            report |= context.update([critics[name]], {"real": real, "fake": fake}, telling)
    if not context.reads:
        return report
    report |= picture_health(restored, batch["degraded"], stride=stride_of(generator))
    return context.finite(report | critic_measures(restored, batch["unpaired"], scores["clean"], report, context))


@dataclasses.dataclass(frozen=True)
class StepKind:
    """A step and what it needs: the players that it updates, what it wants of a batch, of what of it each critic is
    shown the real ones, and the players that stand by.  One of somebody else's may leave all of it out."""

    take: Step
    trains: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()
    critics: Mapping[str, str] = dataclasses.field(default_factory=dict)
    asks: tuple[str, ...] = ()


STEPS = {
    "supervised": StepKind(supervised, ("generator",), ("degraded", "clean")),
    "gan": StepKind(gan, ("generator", "critic"), ("degraded", "clean"), {"critic": "clean"}),
    "cycle": StepKind(
        cycle,
        ("generator", "degrader", "critic", "degraded_critic"),
        ("degraded", "unpaired"),
        {"critic": "unpaired", "degraded_critic": "degraded"},
    ),
    "bgan": StepKind(bgan, ("degrader", "degraded_critic"), ("degraded", "unpaired"), {"degraded_critic": "degraded"}),
    "bgan-paired": StepKind(
        bgan_paired, ("degrader", "degraded_critic"), ("degraded", "clean"), {"degraded_critic": "degraded"}
    ),
    "dbgan-pretrain": StepKind(dbgan_pretrain, ("generator",), ("degraded", "clean"), asks=("degrader",)),
    "unrolled": StepKind(unrolled, ("generator",), ("clean",)),
    "dbgan": StepKind(dbgan, ("generator", "critic"), ("degraded", "clean"), {"critic": "clean"}, ("degrader",)),
}

# --- what steps minimise ----------------------------------------------------------------------------------------------


def fidelity(context: StepContext, restored: Tensor, clean: Tensor, place: int) -> tuple[Tensor, Parts]:
    """(the sum of the stage's weighted losses, each of them and the sum as "loss")."""
    compared: Sequence[Tensor] = (restored, clean)
    sees = context.losses.keys() & set(FEATURE_LOSSES)
    seen = windows(compared, context.stage.jitter, context.drawn(_WINDOWS), place) if sees else compared
    parts = {name: loss(*(seen if name in sees else compared)) for name, (_, loss) in context.losses.items()}
    total = torch.stack([context.losses[name][0] * part for name, part in parts.items()]).sum()
    return total, parts | {"loss": total}


def persuasion(critic: Player, fake: Tensor, real: Tensor, context: StepContext, place: int) -> Tensor:
    """How little a critic takes what a generator made for real, unweighted; its gradients are the caller's to hold."""
    terms = ADVERSARIAL[asked(context).kind]
    fake, real = windows((fake, real), context.stage.jitter, context.drawn(_WINDOWS), place)
    return terms.generator(critic(real) if terms.generator_needs_real else None, critic(fake))


def telling_apart(critic: Player, context: StepContext, scores: Scores, turn: int) -> Objective:
    """A critic's whole loss on "real" and "fake" pictures, gradient penalty included; `scores` take what it says."""
    settings, name = asked(context), critic.name
    terms, seed = ADVERSARIAL[settings.kind], context.drawn(_CRITIC, turn)

    def objective(piece: Batch, place: int) -> tuple[Tensor, Parts]:
        # apart from what the penalty draws
        real, fake = windows((piece["real"], piece["fake"]), context.stage.jitter, seed + 1, place)
        if mixes_samples(critic.network):
            judged = critic(real), critic(fake)
        else:  # both in one pass
            ours, theirs = critic(torch.cat([real, fake])).chunk(2)
            judged = ours, theirs
        scores.append((judged[0].detach(), judged[1].detach()))
        total = terms.critic(*judged)
        parts = {name: total}
        if settings.gradient_penalty:
            slope = _slope(critic, real, fake, settings, seed, place)
            parts["gradient_penalty" if name == "critic" else f"{name}_gradient_penalty"] = slope
            total = total + settings.gradient_penalty * slope
        return total, parts

    return objective


def _slope(critic: Player, real: Tensor, fake: Tensor, settings: AdversarialRecipe, seed: int, place: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    torch.rand(place, generator=generator, dtype=real.dtype)  # the first numbers are others', here or elsewhere
    autocast = TYPES[settings.penalty_precision]
    return gradient_penalty(
        critic.network, real, fake, generator=generator, norm=settings.penalty_norm, autocast=autocast
    )


def windows(images: Sequence[Tensor], jitter: int, seed: int, place: int) -> Sequence[Tensor]:
    """(N, C, H - jitter, W - jitter) of each of the images, at offsets of 0 to `jitter` that each sample has of its own
    and all images share.

    Networks with strides have gradients that repeat at their pitch.  A generator that makes several pixels at once
    turns them into a chequered pattern, unless the grid lies elsewhere for each sample.
    """
    if not jitter:
        return images
    generator = torch.Generator().manual_seed(seed)
    # The first numbers are others', in this process or elsewhere.
    offsets = torch.randint(jitter + 1, (place + len(images[0]), 2), generator=generator)[place:].tolist()
    height, width = (side - jitter for side in images[0].shape[-2:])
    return [
        torch.stack([one[:, y : y + height, x : x + width] for one, (y, x) in zip(image, offsets, strict=True)])
        for image in images
    ]


def realistic(players: Mapping[str, Player], batch: Batch, context: StepContext) -> Batch:
    """The batch, of which the degrader blurs the stage's share of the clean photos anew, all in one pass; which ones
    follows from their number in the run."""
    first, share, n = context.n_seen + context.place, context.stage.realistic, size_of(batch)
    chosen = torch.tensor([int((one + 1) * share) > int(one * share) for one in range(first, first + n)])
    if not chosen.any():
        return batch
    rows = chosen.nonzero()[:, 0].to(batch["degraded"].device, non_blocking=True)
    picked = {name: part[rows] for name, part in batch.items()}
    with torch.no_grad(), context.autocast():
        blurred = players["degrader"](picked["clean"], picked)
    degraded = batch["degraded"].clone()
    degraded[rows] = blurred.clamp(0, 1)
    return {**batch, "degraded": degraded}


# --- what steps share -------------------------------------------------------------------------------------------------


def asked(context: StepContext) -> AdversarialRecipe:
    """How the stage's critics are asked."""
    assert context.stage.adversarial is not None, "checked when the stage was made"
    return context.stage.adversarial


@contextlib.contextmanager
def held(*players: Player) -> Iterator[None]:
    """Players that gradients pass through, and that keep none."""
    for player in players:
        player.network.requires_grad_(False)
    try:
        yield
    finally:
        for player in players:
            player.network.requires_grad_(True)


def watched(image: Tensor, name: str, pulls: dict[str, Tensor]) -> Tensor:
    """The same picture, whose gradient by one part of a loss is kept while the backward pass goes through it."""
    view = image.view_as(image)
    if view.requires_grad:
        view.register_hook(lambda gradient: pulls.update({name: gradient}))  # type: ignore[no-untyped-call]
    return view


def critic_measures(
    fakes: Tensor,
    target: Tensor,
    scores: Scores,
    report: Report,
    context: StepContext,
    names: tuple[str, str] = ("generator", "critic"),
) -> Report:
    """The health of a critic after its last update, whose scores these are, and of the generator's gradient; of a
    relativistic one also its two probabilities, which a game in balance keeps at 0.5."""
    real, fake = (torch.cat(pieces) for pieces in zip(*scores, strict=True))
    norms = (torch.tensor(report.get(f"{name}_gradient", torch.nan)) for name in names)
    measures = critic_health(fakes, target, real, fake, *norms)
    if asked(context).kind == "relativistic":
        measures |= dict(zip(("real_probability", "fake_probability"), relativistic_odds(real, fake), strict=True))
    return measures


def stride_of(player: Player) -> int:
    """At whose frequencies chequered patterns are looked for."""
    return int(getattr(player.network, "multiple_of", 1)) * int(getattr(player.network, "scale", 1))


def mixes_samples(critic: nn.Module) -> bool:
    """Whether images of one batch see each other, through batch norm."""
    return any(isinstance(module, _BATCH_NORMS) for module in critic.modules())


def _rounds(batch: Batch, n_batches: int) -> list[Batch]:
    """As many batches as were drawn in one."""
    size = size_of(batch) // n_batches
    parts = {name: torch.split(part, size) for name, part in batch.items()}
    return [{name: part[number] for name, part in parts.items()} for number in range(n_batches)]
