"""Steps: what they compute, what they add up, and the numbers of stored ones."""

import dataclasses
import inspect
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from resharp.errors import RecipeError
from resharp.losses import LOSSES, gradient_penalty
from resharp.models import load_model
from resharp.networks import DAE, DeblurGAN, NAFNet, UNet
from resharp.networks.critics import PatchCritic, PooledCritic
from resharp.training import Recipe, train_weights
from resharp.training.checkpoint import checkpoints, read_checkpoint
from resharp.training.config import AdamRecipe, GroupRecipe, MuonRecipe, ScheduleRecipe, StageRecipe
from resharp.training.context import DivergedError, Player, StepContext
from resharp.training.health import LIMITS
from resharp.training.optimizers import ConvMuon, Optimizers, build_optimizers, nearest_orthogonal
from resharp.training.schedule import rate_factor
from resharp.training.steps import STEPS, cycle, fidelity, gan, supervised, telling_apart
from tests.conftest import rand
from tests.toy_training import gan as gan_recipe
from tests.toy_training import history, tiny

GOLDEN = Path(__file__).parent / "golden"


pytestmark = pytest.mark.usefixtures("no_curves")


CPU = torch.device("cpu")
Cast = dict[str, Player]


def toy_cast(*, rate: float, names: tuple[str, ...] = ("generator", "critic")) -> Cast:
    """Generators and critics in float64 with plain gradient descent."""
    cast, kept = {}, ScheduleRecipe(kind="constant")
    for seed, name in enumerate(names, start=1):
        drawn = torch.Generator().manual_seed(seed)
        is_critic = name.endswith("critic")
        network: torch.nn.Module = (
            PatchCritic(width=4, n_layers=1, generator=drawn)
            if is_critic
            else DeblurGAN(width=4, n_blocks=1, dropout=0.0, generator=drawn)
        ).double()
        descent = Optimizers(network, torch.optim.SGD(network.parameters(), lr=rate), schedule=kept, n_images=9)
        cast[name] = Player(name, network.train(), network, descent)
    return cast


def here(
    *,
    kind: str = "wgan",
    penalty: float = 10.0,
    critic_steps: int = 1,
    fresh: bool = False,
    accumulate: int = 1,
    scaler: torch.amp.GradScaler | None = None,
    moment: tuple[int, int] = (0, 3),
    **settings: Any,
) -> StepContext:
    """What a step of a toy cast is told; moment: (images seen, seed)."""
    game = {"kind": kind, "gradient_penalty": penalty, "critic_steps": critic_steps, "fresh_batches": fresh}
    stage = StageRecipe.model_validate(
        {"n_images": 40, "batch_size": 40, "precision": "float32", "adversarial": game, "accumulate": accumulate}
        | {"trains": {"generator": {"kind": "adam", "learning_rate": 1.0}}, "losses": {"l1": 1.0}}
        | settings
    )
    losses = {name: (weight, LOSSES[name]) for name, weight in stage.losses.items()}
    return StepContext(stage, losses, CPU, scaler, n_seen=moment[0], seed=moment[1])


def pair(n: int = 2, side: int = 24) -> dict[str, torch.Tensor]:
    return {"degraded": rand(n, 3, side, side, seed=1), "clean": rand(n, 3, side, side)}


def parameters(cast: Cast) -> dict[str, torch.nn.Parameter]:
    return {f"{owner}.{name}": value for owner, one in cast.items() for name, value in one.network.named_parameters()}


@pytest.mark.parametrize("kind", ["supervised", "gan", "cycle"])
def test_a_step_that_reads_nothing_waits_for_no_device(kind: str) -> None:
    """Tensors of torch's meta device have no values: whoever asks for one is refused, as a GPU would be waited for."""
    cast = toy_cast(rate=0.1, names=("generator", "critic", "degrader", "degraded_critic"))
    for player in cast.values():
        player.network.to("meta")
        adam = AdamRecipe(kind="adam", learning_rate=1e-3)
        player.optimizers = build_optimizers(player.network, adam, 40)
        player.average = AveragedModel(player.network)
    batch = pair() | {"unpaired": rand(2, 3, 24, 24, seed=2)}
    batch = {name: part.to("meta") for name, part in batch.items()}
    context = here(critic_steps=2, penalty=0.0, clip_gradient=1.0, accumulate=2 if kind == "supervised" else 1)
    take, trained = STEPS[kind].take, [cast[name] for name in STEPS[kind].trains]
    for n_seen in (0, 2):
        told = take(cast, batch, dataclasses.replace(context, reads=False, n_seen=n_seen))
        assert all("rate" in name for name in told)
        for player in trained:
            player.take_average(0.9)
    with pytest.raises(RuntimeError, match="meta"):
        take(cast, batch, context)


@pytest.mark.parametrize(("accumulate", "jitter"), [(2, 0), (3, 0), (5, 0), (2, 4)])
def test_accumulated_pieces_have_the_gradients_of_the_whole_batch(accumulate: int, jitter: int) -> None:
    """Of both sides of a GAN with gradient penalty, also where the pieces are of unequal size."""

    def gradients(pieces: int) -> dict[str, torch.Tensor]:
        cast = toy_cast(rate=0.0)
        gan(cast, pair(5), here(accumulate=pieces, jitter=jitter))
        return {name: value.grad for name, value in parameters(cast).items() if value.grad is not None}

    whole, summed = gradients(1), gradients(accumulate)
    assert len(whole) == len(summed) > 10
    for name, gradient in whole.items():
        torch.testing.assert_close(summed[name], gradient, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_is_the_game_as_one_writes_it_down(accumulate: int, fresh: bool) -> None:
    """Three updates of the critic on one fake, or on three, then one of the generator through the critic as it is."""
    batch = pair(8 if fresh else 2)
    ours, theirs = (toy_cast(rate=0.01) for _ in range(2))
    report = gan(ours, batch, here(penalty=0.0, critic_steps=3, fresh=fresh, accumulate=accumulate))
    generator, critic = theirs["generator"].network, theirs["critic"].network
    rounds = list(zip(*(part.split(2) for part in batch.values()), strict=True))
    for degraded, clean in rounds[:3] if fresh else 3 * rounds:
        loss = critic(generator(degraded).detach()).mean() - critic(clean).mean()
        descend(critic, torch.autograd.grad(loss, list(critic.parameters())))
    degraded, clean = rounds[-1]
    restored = generator(degraded)
    fidelity = torch.nn.functional.l1_loss(restored, clean)
    descend(generator, torch.autograd.grad(fidelity - critic(restored).mean(), list(generator.parameters())))
    for name, value in parameters(theirs).items():
        torch.testing.assert_close(parameters(ours)[name], value, atol=1e-12, rtol=1e-9)
    assert report["loss"] == pytest.approx(float(fidelity.detach()))
    assert report["critic"] == pytest.approx(float(loss.detach()))


def descend(network: torch.nn.Module, gradients: tuple[torch.Tensor, ...]) -> None:
    with torch.no_grad():
        for value, gradient in zip(network.parameters(), gradients, strict=True):
            value -= 0.01 * gradient


def test_a_jittered_loss_is_that_of_windows_somewhere() -> None:
    """Pixel losses see whole photos; the critic and features the same window of both, another for each sample."""
    clean, restored = rand(4, 3, 24, 24), rand(4, 3, 24, 24, seed=1)
    seen: list[torch.Tensor] = []

    def difference(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        seen.append(torch.cat([one, other], dim=1))
        return (one - other).abs().mean()

    context = dataclasses.replace(
        here(jitter=4), losses={"l1": (1.0, difference), "perceptual": (1.0, difference)}, seed=5
    )
    fidelity(context, restored, clean, 0)
    whole, cut = seen
    assert whole.shape[-2:] == (24, 24)
    assert cut.shape[-2:] == (20, 20)
    places = [
        {(y, x) for y in range(5) for x in range(5) if torch.equal(whole[n, :, y : y + 20, x : x + 20], cut[n])}
        for n in range(4)
    ]
    assert all(len(found) == 1 for found in places)
    assert len(set.union(*places)) > 1
    fidelity(context, restored[2:], clean[2:], 2)
    assert torch.equal(seen[-1], cut[2:]), "the same windows in another piece or process"


def test_a_jittered_critic_sees_windows_of_both_photos_alike() -> None:
    real, fake = rand(4, 3, 24, 24), rand(4, 3, 24, 24, seed=1)
    seen: list[torch.Tensor] = []

    class Recording(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            seen.append(image)
            return image.mean((1, 2, 3), keepdim=True)

    critic = Player("critic", Recording(), Recording())
    for turn, first in ((0, 0), (1, 0), (0, 2)):
        objective = telling_apart(critic, here(penalty=0.0, jitter=4), [], turn)
        objective({"real": real[first:], "fake": fake[first:]}, first)
    once, other, later = (image.unflatten(0, (2, -1)) for image in seen)
    assert once.shape == (2, 4, 3, 20, 20)
    for n in range(4):
        cut = [
            (y, x) for y in range(5) for x in range(5) if torch.equal(real[n, :, y : y + 20, x : x + 20], once[0, n])
        ]
        assert len(cut) == 1
        assert torch.equal(fake[n, :, cut[0][0] : cut[0][0] + 20, cut[0][1] : cut[0][1] + 20], once[1, n])
    assert not torch.equal(once, other), "other windows for another turn"
    assert torch.equal(later, once[:, 2:]), "the same windows in another piece or process"


def test_the_generator_runs_once_where_one_pass_serves_both_sides() -> None:
    passes: list[bool] = []
    cast = toy_cast(rate=0.0)
    cast["generator"].network.register_forward_hook(lambda *_: passes.append(torch.is_grad_enabled()))
    gan(cast, pair(), here(critic_steps=2))
    assert passes == [True]
    passes.clear()
    gan(cast, pair(), here(critic_steps=2, accumulate=2))
    assert passes == [False, False, True, True], "in pieces: for the critic without gradients, then for itself"


def test_a_critic_with_batch_norm_sees_true_photos_and_fakes_apart() -> None:
    real, fake = rand(2, 3, 32, 32).float(), rand(2, 3, 32, 32, seed=1).float() / 2
    critic = PooledCritic(width=4, generator=torch.Generator().manual_seed(0)).train()
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    objective = telling_apart(Player("critic", critic, critic), here(kind="vanilla", penalty=0.0), found, 0)
    objective({"real": real, "fake": fake}, 0)
    torch.testing.assert_close(found, [(critic(real).detach(), critic(fake).detach())])


def test_a_penalty_in_bfloat16_is_near_the_exact_one() -> None:
    critic = PatchCritic(width=16, generator=torch.Generator().manual_seed(0))
    real, fake = rand(2, 3, 64, 64).float(), rand(2, 3, 64, 64, seed=1).float()

    def penalty(network: torch.nn.Module, autocast: torch.dtype | None) -> tuple[torch.Tensor, torch.Tensor]:
        between = [images.to(next(network.parameters()).dtype) for images in (real, fake)]
        drawn = torch.Generator().manual_seed(0)
        value = gradient_penalty(network, between[0], between[1], generator=drawn, autocast=autocast)
        assert value.dtype == between[0].dtype
        gradients = torch.autograd.grad(value, list(network.parameters())[:-1])  # a constant has none
        return value.detach(), torch.cat([gradient.flatten() for gradient in gradients])

    with torch.autocast("cpu", torch.bfloat16):  # which leaves the exact one alone
        exact, exact_gradient = penalty(critic, None)
    near, near_gradient = penalty(critic, torch.bfloat16)
    assert float(near) == pytest.approx(float(exact), rel=0.02)
    difference = float((near_gradient - exact_gradient).norm() / exact_gradient.norm())
    assert 1e-4 < difference < 0.15


def test_averaged_weights_follow_their_decay(photos: Path, tmp_path: Path) -> None:
    """Buffers too: the kept network is the average over steps, computed here from each step's weights."""
    recipe = tiny(
        photos,
        **{
            "stages.0.n_images": 24,
            "checkpoints.every": 4,
            "checkpoints.keep": 9,
            "networks.generator.arguments.batch_norm": "true",
            "networks.generator.ema": 0.9,
        },
    )
    path = train_weights(recipe, tmp_path / "run", device="cpu")
    states = [read_checkpoint(path) for path in reversed(checkpoints(tmp_path / "run"))]
    average = {name: value.clone() for name, value in states[0]["networks"]["generator"].items()}
    for state in states[1:]:
        for name, value in state["networks"]["generator"].items():
            if value.is_floating_point():
                average[name] = 0.9**4 * average[name] + (1 - 0.9**4) * value
    kept = states[-1]["averages"]["generator"]
    for name, value in average.items():
        if value.is_floating_point():
            torch.testing.assert_close(kept[f"module.{name}"], value, atol=1e-6, rtol=1e-5)
    network = DAE(**recipe.networks["generator"].arguments)
    network.load_state_dict(average)
    image = rand(1, 3, 24, 24, dtype=torch.float32)
    with torch.no_grad():
        found, expected = load_model(path)[0](image), network.eval()(image)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert float((found - image).abs().max()) > 1e-3


def test_schedules_have_their_end_points() -> None:
    cosine = ScheduleRecipe(kind="cosine", warmup_images=99)
    assert rate_factor(cosine, 0, 1000) == pytest.approx(0.01)
    assert rate_factor(cosine, 500, 1000) == pytest.approx(0.5)
    assert rate_factor(cosine, 1000, 1000) == pytest.approx(0)
    # DeblurGAN's: 150 epochs constant, then down by 1/150 after every epoch; the last one still runs at 1/150.
    linear = ScheduleRecipe(kind="linear", constant_images=150)
    assert [rate_factor(linear, epoch, 300) for epoch in (0, 150, 225)] == pytest.approx([1, 1, 0.5])
    assert rate_factor(linear, 299, 300) == pytest.approx(1 / 150)
    steps = ScheduleRecipe(kind="steps", milestones=(10, 20), factor=0.1)
    assert [rate_factor(steps, n, 30) for n in (9, 10, 20)] == pytest.approx([1, 0.1, 0.01])
    assert rate_factor(ScheduleRecipe(kind="constant"), 7, 9) == 1
    assert rate_factor(ScheduleRecipe(kind="cosine", end=0.1), 9, 9) == pytest.approx(0.1)


def test_a_gradient_is_clipped_to_its_length() -> None:
    cast = toy_cast(rate=0.0)
    report = supervised(cast, pair(), here(clip_gradient=1e-3))
    gradients = torch.cat([p.grad.flatten() for p in cast["generator"].network.parameters() if p.grad is not None])
    assert report["generator_gradient"] > 1e-2  # as it was
    assert float(gradients.norm()) == pytest.approx(1e-3, rel=1e-3)


def test_a_step_that_the_scaler_skips_is_no_illness() -> None:
    """The first scales of float16 overflow as a rule; the scaler halves them and goes on."""
    cast = toy_cast(rate=0.1)
    before = {name: value.clone() for name, value in parameters(cast).items()}
    for parameter in parameters(cast).values():
        parameter.register_hook(lambda gradient: gradient * 1e308)
    report = gan(cast, pair(), here(scaler=torch.amp.GradScaler("cpu", init_scale=1e38)))
    assert all(math.isfinite(value) for value in report.values())
    assert all(torch.equal(value, before[name]) for name, value in parameters(cast).items())
    assert "generator_gradient" not in report


def test_a_step_tells_all_that_is_watched() -> None:
    """Every limit of the monitor is for a number that a GAN's step reports, by the same name."""
    report = gan(toy_cast(rate=0.01), pair(), here())
    assert {limit.measure for limit in LIMITS} <= report.keys()


Networks = dict[str, dict[str, torch.Tensor]]


def two_steps(photos: Path, folder: Path, changes: dict[str, Any], game: dict[str, Any]) -> Networks:
    stage = gan_recipe(photos, accumulate=1, n_images=8, **game).model_dump()["stages"][1]
    if "generator" in changes:
        adam = {"kind": "adam", "learning_rate": 1e-3} | changes["generator"]
        changes = {"trains": stage["trains"] | {"generator": adam}}
    recipe = Recipe.model_validate(gan_recipe(photos).model_dump() | {"stages": [stage | changes]})
    train_weights(recipe, folder / "run", device="cpu")
    networks: Networks = read_checkpoint(checkpoints(folder / "run")[0])["networks"]
    return networks


@pytest.fixture(scope="module")
def as_it_was(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Networks:
    return two_steps(photos, tmp_path_factory.mktemp("as-it-was"), {}, {})


@pytest.mark.parametrize(
    ("changes", "game"),
    [
        ({"clip_gradient": 1e-4}, {}),
        ({"precision": "bfloat16"}, {}),
        ({"jitter": 8}, {}),
        ({}, {"penalty_norm": "channel"}),
        ({}, {"penalty_precision": "bfloat16"}),
        ({}, {"weight": 1.0}),
        ({}, {"gradient_penalty": 1.0}),
        ({}, {"critic_steps": 3}),
        ({"generator": {"betas": [0.5, 0.999], "weight_decay": 1.0}}, {}),
        ({"generator": {"betas": [0.1, 0.999]}}, {}),
        ({"generator": {"betas": [0.5, 0.999], "frozen_images": 4}}, {}),
        ({"generator": {"betas": [0.5, 0.999], "groups": [{"parameters": ["*.weight"], "rate": 0.1}]}}, {}),
    ],
    ids=str,
)
def test_no_setting_of_a_stage_is_without_effect(
    photos: Path, as_it_was: Networks, tmp_path: Path, changes: dict[str, Any], game: dict[str, Any]
) -> None:
    """Two steps from the same start end in other weights, of either side."""
    changed = two_steps(photos, tmp_path, changes, game)
    for side in ("generator", "critic") if "jitter" in changes else ("generator",) if changes else ("critic",):
        assert any(not torch.equal(value, changed[side][key]) for key, value in as_it_was[side].items())


def test_a_gradient_that_no_scale_makes_finite_ends_the_run() -> None:
    cast, context = toy_cast(rate=0.1), here(scaler=torch.amp.GradScaler("cpu", init_scale=2.0**-20))
    for parameter in parameters({"critic": cast["critic"]}).values():
        parameter.register_hook(lambda gradient: gradient * math.nan)
    for _ in range(5):  # down to the least scale and below
        gan(cast, pair(), context)
    with pytest.raises(DivergedError, match="gradient of critic"):
        gan(cast, pair(), context)


def test_the_rate_that_a_step_had_is_told() -> None:
    cast = toy_cast(rate=0.5)
    assert supervised(cast, pair(), dataclasses.replace(here(), factor=0.25))["learning_rate"] == 0.125
    assert gan(cast, pair(), here())["critic_learning_rate"] == 0.5


def test_several_outputs_are_each_compared() -> None:
    """As of a network that restores in stages: the losses are added, the last picture is what the others see."""
    cast = toy_cast(rate=0.0)
    network = cast["generator"].network
    cast["generator"].run = Stages(network)
    batch = pair()
    report = supervised(cast, batch, here())
    gradients = [value.grad for value in network.parameters()]
    for value in network.parameters():
        value.grad = None
    made = network(batch["degraded"])
    wanted = [torch.nn.functional.l1_loss(one, batch["clean"]) for one in (made / 2, made)]
    torch.stack(wanted).sum().backward()
    torch.testing.assert_close(gradients, [value.grad for value in network.parameters()])
    assert report["l1"] == pytest.approx(float(wanted[1].detach()))


class Stages(torch.nn.Module):
    """A first guess, then the picture."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        made = self.network(image)
        return [made / 2, made]


CYCLE = ("generator", "critic", "degraded_critic", "degrader")


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_cycle_step_is_the_game_as_one_writes_it_down(accumulate: int) -> None:
    """Both generators on what they make of each other's photos, then each critic; least squares, identity by half."""
    batch = {"degraded": rand(2, 3, 24, 24, seed=1), "unpaired": rand(2, 3, 24, 24)}
    ours, theirs = (toy_cast(rate=0.01, names=CYCLE) for _ in range(2))
    settings = {"losses": {"l1": 10.0}, "identity": 0.5, "accumulate": accumulate}
    report = cycle(ours, batch, here(kind="lsgan", penalty=0.0, **settings))
    clean, degraded = batch["unpaired"], batch["degraded"]
    generator, critic, other, degrader = (theirs[name].network for name in CYCLE)
    l1 = torch.nn.functional.l1_loss
    restored, spoiled = generator(degraded), degrader(clean)
    cycled = l1(generator(spoiled), clean) + l1(degrader(restored), degraded)
    same = l1(generator(clean), clean) + l1(degrader(degraded), degraded)
    fooling = (critic(restored) - 1).square().mean() / 2 + (other(spoiled) - 1).square().mean() / 2
    total = 10 * cycled + 5 * same + fooling
    moved = [torch.autograd.grad(total, list(one.parameters()), retain_graph=True) for one in (generator, degrader)]
    for network, gradients in zip((generator, degrader), moved, strict=True):
        descend(network, gradients)
    for network, real, fake in ((critic, clean, restored), (other, degraded, spoiled)):
        loss = ((network(real) - 1).square().mean() + network(fake.detach()).square().mean()) / 2
        descend(network, torch.autograd.grad(loss, list(network.parameters())))
    for name, value in parameters(theirs).items():
        torch.testing.assert_close(parameters(ours)[name], value, atol=1e-12, rtol=1e-9)
    assert report["cycle"] == pytest.approx(10 * float(cycled.detach()))
    assert report["loss"] == pytest.approx(float((10 * cycled + 5 * same).detach()))
    assert {"critic", "degraded_critic", "degrader_gradient", "separation", "learning_rate"} <= report.keys()


def test_steps_are_short_enough_to_be_read() -> None:
    """A step, from its name to its end, is 40 lines at most."""
    for kind in STEPS.values():
        assert len(inspect.getsource(kind.take).splitlines()) <= 40


def test_frozen_parameters_wait_and_groups_have_rates_of_their_own() -> None:
    network = DAE(width=4, depth=3, batch_norm=False)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    groups = [{"parameters": ["convs.0.*"], "frozen_images": 8}, {"parameters": ["convs.2.weight"], "rate": 0.1}]
    recipe = AdamRecipe.model_validate(
        {"kind": "adam", "learning_rate": 1e-2, "schedule": {"kind": "constant"}, "groups": groups}
    )
    optimizers = build_optimizers(network, recipe, 40)
    player = Player("generator", network, network, optimizers)
    batch = {name: part.float() for name, part in pair().items()}
    supervised({"generator": player}, batch, here(moment=(0, 3)))
    moved = {name: float((value.detach() - before[name]).abs().max()) for name, value in network.named_parameters()}
    assert moved["convs.0.weight"] == moved["convs.0.bias"] == 0
    assert moved["convs.1.weight"] == pytest.approx(1e-2, rel=1e-3)  # Adam's first step
    assert moved["convs.2.weight"] == pytest.approx(1e-3, rel=1e-3)
    supervised({"generator": player}, batch, here(moment=(8, 4)))
    assert not torch.equal(network.get_parameter("convs.0.weight"), before["convs.0.weight"])
    muon = MuonRecipe.model_validate({"kind": "muon", "learning_rate": 0.01, "groups": groups[1:]})
    wide = build_optimizers(DAE(width=16, depth=4, batch_norm=False), muon, 8)
    assert [[group["lr"] for group in one.param_groups] for one in wide.optimizers] == [
        pytest.approx([0.01, 0.001]),
        [1e-3],
    ]
    wrong = recipe.model_copy(update={"groups": (GroupRecipe(parameters=("conv.0.*",)),)})
    with pytest.raises(RecipeError, match=r"here\.groups\.0\.parameters: conv\.0\.\*: no parameters of that name"):
        build_optimizers(network, wrong, 8, place="here")


@pytest.mark.parametrize("shape", [(32, 16, 3, 3), (32, 64, 3, 3), (64, 16, 1, 1)])
def test_muon_steps_along_the_nearest_orthogonal_matrix(shape: tuple[int, ...]) -> None:
    """Against an SVD: the same singular vectors, all singular values near 1 (Jordan et al. 2024)."""
    layout = torch.channels_last if shape[1] == 64 else torch.contiguous_format
    weight = torch.nn.Parameter(rand(*shape, dtype=torch.float32).contiguous(memory_format=layout))
    before = weight.detach().clone()
    weight.grad = (rand(*shape, dtype=torch.float32, seed=1) - 0.5).contiguous(memory_format=layout)
    ConvMuon([weight], lr=0.1, momentum=0.0).step()
    rows, columns = shape[0], math.prod(shape[1:])
    step = (before - weight.detach()).reshape(rows, columns).double() / (0.1 * max(1, rows / columns) ** 0.5)
    left, _, right = torch.linalg.svd(weight.grad.reshape(rows, columns).double(), full_matrices=False)
    along = left.mT @ step @ right.mT
    assert 0.5 < float(along.diagonal().min()) <= float(along.diagonal().max()) < 1.5
    assert float((along - along.diagonal().diag()).abs().max()) < 0.1
    gradients = [rand(rows, columns, dtype=torch.float32, seed=seed) - 0.5 for seed in range(3)]
    together = nearest_orthogonal(torch.stack(gradients))  # as a GPU takes them
    torch.testing.assert_close(together, torch.stack([nearest_orthogonal(one) for one in gradients]))


@pytest.mark.parametrize(
    ("network", "by_adam"),
    [
        (DAE(width=16, depth=4), {"convs.0.weight", "convs.3.weight"}),
        (UNet(widths=[16, 32], blocks=[1, 1]), set[str]()),
        (NAFNet(width=16, encoder_blocks=[1], decoder_blocks=[1]), {"intro.weight", "ending.weight"}),
    ],
    ids=["dae", "unet", "nafnet"],
)
def test_muon_takes_convolutions_of_sixteen_channels(network: torch.nn.Module, by_adam: set[str]) -> None:
    recipe = MuonRecipe(kind="muon", learning_rate=0.01)
    muon, adam = build_optimizers(network, recipe, 8).optimizers
    assert isinstance(muon, ConvMuon)
    names = {id(value): name for name, value in network.named_parameters()}
    taken = {names[id(value)] for group in adam.param_groups for value in group["params"]}
    convs = {name: module for name, module in network.named_modules() if isinstance(module, torch.nn.Conv2d)}
    kernels = {f"{name}.weight" for name in convs}
    depthwise = {f"{name}.weight" for name, conv in convs.items() if conv.groups > 1}
    assert taken & kernels == by_adam | depthwise
    assert sum(len(group["params"]) for group in muon.param_groups) == len(kernels - taken)


def ten_steps_of_a_game() -> list[dict[str, float]]:
    """Both sides in float64 with Adam, a gradient penalty, two updates of the critic.  Not WGAN: its scores have a
    constant whose gradient is 0, and Adam makes a whole step of what rounding leaves."""
    cast = toy_cast(rate=0.0)
    recipe = AdamRecipe(kind="adam", learning_rate=1e-3, betas=(0.5, 0.999), schedule=ScheduleRecipe(kind="linear"))
    for player in cast.values():
        player.optimizers = build_optimizers(player.network, recipe, 40)
    told = []
    for step in range(10):
        clean = rand(4, 3, 24, 24, seed=step)
        context = here(kind="vanilla", critic_steps=2, accumulate=2, moment=(4 * step, step))
        report = gan(cast, {"degraded": 0.5 * clean + 0.25, "clean": clean}, context)
        told.append({name: value for name, value in report.items() if name != "checkerboard"})  # a root of rounding
    return told


def test_ten_stored_steps_of_a_game_come_out_again() -> None:
    """Made once and stored: a change of the engine that changes numbers shows here."""
    stored = [json.loads(line) for line in (GOLDEN / "gan.jsonl").read_text().splitlines()]
    for record, expected in zip(ten_steps_of_a_game(), stored, strict=True):
        assert record == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_ten_stored_steps_come_out_again(photos: Path, tmp_path: Path) -> None:
    """The log of a tiny run, made once and stored."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as when they were stored: more threads sum in another order
    train_weights(tiny(photos, **{"stages.0.n_images": 40}), tmp_path, device="cpu")
    torch.set_num_threads(n_threads)
    stored = [json.loads(line) for line in (GOLDEN / "supervised.jsonl").read_text().splitlines()]
    found = history(tmp_path)
    assert [record["n_seen"] for record in found] == [record["n_seen"] for record in stored] == list(range(4, 41, 4))
    for record, expected in zip(found, stored, strict=True):
        numbers = {key: value for key, value in expected.items() if isinstance(value, float)}
        assert {key: record[key] for key in numbers} == pytest.approx(numbers, rel=2e-3, abs=1e-6)
