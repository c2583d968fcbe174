"""BGAN, DBGAN, SFT-Net and MPRNet from recipe to photo: their steps, their games, what they refuse."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from resharp.data.plan import plan_from
from resharp.data.synthesis import open_synthesis
from resharp.degradations import Realistic
from resharp.errors import ArgumentError, RecipeError, ResharpError, WeightsError
from resharp.losses import ADVERSARIAL, relativistic_odds
from resharp.models import read_card
from resharp.networks import BGAN, DBGAN, PooledCritic, noise_map
from resharp.photo import Photo, read_photo, write_photo
from resharp.restorers import open_restorer
from resharp.training import Recipe, load_recipe, train_weights
from resharp.training.config import ScheduleRecipe
from resharp.training.context import Player
from resharp.training.health import HealthMonitor
from resharp.training.optimizers import Optimizers
from resharp.training.sampler import open_sampler
from resharp.training.steps import bgan, bgan_paired, dbgan, dbgan_pretrain, gan, realistic, supervised
from tests.conftest import Run, rand
from tests.feature_stacks import stack_of, state_of
from tests.test_training_steps import Cast, descend, here, parameters, toy_cast
from tests.toy_networks import SMALL, saved, segments, shaken, toy_bgan
from tests.toy_training import history, stretched

pytestmark = pytest.mark.usefixtures("no_curves")
GENERATOR = '{ width = 4, n_blocks = 1, blocks = "plain", halvings = 1 }'
CRITIC = "{ width = 4 }"
TINY = {  # of each recipe; what comes out of it is for this command
    "bgan": ("degrade", {"degrader": GENERATOR, "degraded_critic": CRITIC}),
    "bgan-cycle": (
        "degrade",
        {"degrader": GENERATOR, "generator": GENERATOR, "critic": CRITIC, "degraded_critic": CRITIC},
    ),
    "bgan-paired": ("degrade", {"degrader": GENERATOR, "degraded_critic": CRITIC}),
    "dbgan-pretrain": ("deblur", {"generator": GENERATOR}),
    "dbgan": ("deblur", {"generator": GENERATOR, "critic": CRITIC}),
    "sftnet": ("upscale", {"generator": "{ width = 4, n_blocks = 1 }", "critic": CRITIC}),
    "mprnet": ("deblur", {"generator": "{ width = 4, widening = 2, widening_full = 2, n_blocks = 1 }"}),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sharp photos, blurred ones of another number, pairs, segmentations, and weights of features."""
    folder = tmp_path_factory.mktemp("data")
    stretched(folder / "sharp", 3)
    stretched(folder / "blurry", 4, blurred=True)
    for half, path in (("sharp", "sharp"), ("blur", "sharp")):
        for photo in sorted((folder / path).iterdir()):
            image = read_photo(photo).image
            made = image if half == "sharp" else nn.functional.avg_pool2d(image, 3, 1, 1)
            write_photo(Photo(made), folder / "pairs" / half / photo.name)
    (folder / "maps").mkdir()
    for photo in sorted((folder / "sharp").iterdir()):
        np.save(folder / "maps" / f"{photo.stem}.npy", segments(read_photo(photo).image).numpy())
    torch.save(state_of(stack_of("squeezenet1.1", 5)), folder / "features.pth")
    return folder


def tiny(name: str, data: Path, *more: str) -> Recipe:
    """A shipped recipe at toy size: two steps of each stage."""
    photos = "sharp" if name in ("bgan", "bgan-cycle", "sftnet") else "pairs"
    recipe = load_recipe(name)
    settings = [f"data.photos={json.dumps(str(data / photos))}", "data.n_holdout=1", "data.plan.crop=32"]
    settings += [f"networks.{player}.arguments={arguments}" for player, arguments in TINY[name][1].items()]
    for index, stage in enumerate(recipe.stages):
        settings += [f"stages.{index}.n_images={2 * stage.batch_size}"]
    settings += ["judge.every=4", "checkpoints.every=16", "tracking=[]", "data.n_workers=0"]
    if recipe.uses_features:
        settings += ["features.kind=squeezenet1.1", "features.layer=fire2"]
        settings += [f"features.weights={json.dumps(str(data / 'features.pth'))}"]
    if recipe.data.degraded is not None:
        settings.append(f"data.degraded={json.dumps(str(data / 'blurry'))}")
    if recipe.data.beside:
        settings.append(f"data.beside.segmentation={json.dumps(str(data / 'maps'))}")
    if "dbgan" in name:
        settings.append(f"networks.degrader.init={json.dumps(str(toy_bgan()))}")
    return load_recipe(name, (*settings, *more))


# --- from recipe to photo ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TINY)
def test_a_recipe_trains_and_its_weights_make_a_photo(name: str, data: Path, tmp_path: Path, run: Run) -> None:
    weights = train_weights(tiny(name, data), tmp_path / "run", device="cpu")
    command, source = TINY[name][0], tmp_path / "photo.png"
    records = history(tmp_path / "run")
    assert all(np.isfinite(value) for record in records for value in record.values() if isinstance(value, float))
    assert {"real_probability", "fake_probability"} <= records[-1].keys() or name not in (
        "bgan",
        "bgan-paired",
        "dbgan",
    )
    image = rand(3, 37, 50, dtype=torch.float32)
    write_photo(Photo(image), source)
    scale, words = (4, ["--segmentation", str(tmp_path / "map.npy")]) if name == "sftnet" else (1, [])
    np.save(tmp_path / "map.npy", segments(image, 4).mul(255).byte().numpy())
    task = ["degrade", "realistic"] if command == "degrade" else [command]
    done = run(*task, source, "-o", tmp_path / "out.png", "--model", weights, *words)
    assert done.code == 0, done.err
    assert read_photo(tmp_path / "out.png").image.shape == (3, 37 * scale, 50 * scale)
    if name == "bgan-cycle":
        other = weights.with_stem("bgan-cycle-generator")
        assert read_card(other).contract.task == "deblur"


def test_blurred_photos_alone_are_prepared_packed_and_learned_from(data: Path, tmp_path: Path, run: Run) -> None:
    """RWBI's layout and packs of unequal length, by the commands of the documentation."""
    for words in (
        ("prepare", "rwbi", data / "blurry", "-o", tmp_path / "rwbi", "--partial"),
        ("pack", tmp_path / "rwbi", "-o", tmp_path / "blur.h5", "--patch", "192", "--stride", "8"),
        ("pack", data / "sharp", "-o", tmp_path / "sharp.h5", "--patch", "192", "--stride", "200"),
    ):
        done = run("data", *words)
        assert done.code == 0, done.err
    places = [f"data.photos={json.dumps(str(tmp_path / 'sharp.h5'))}"]
    places += [f"data.degraded={json.dumps(str(tmp_path / 'blur.h5'))}"]
    sampler = open_sampler(tiny("bgan", data, *places))
    assert [len(source) for source in sampler.sources] == [2, 16]
    batch = next(sampler.batches(0, 4, 4, torch.device("cpu")))
    assert {name: tuple(part.shape) for name, part in batch.items()} == dict.fromkeys(
        ("degraded", "unpaired"), (4, 3, 32, 32)
    )
    with pytest.raises(ResharpError, match="holds no blur patches to learn from"):
        open_sampler(tiny("bgan", data, places[0], places[0].replace("data.photos", "data.degraded")))


# --- noise ------------------------------------------------------------------------------------------------------------


def test_noise_of_a_sample_follows_from_seed_and_number(data: Path) -> None:
    def drawn(batch_size: int, seed: int = 0) -> Tensor:
        sampler = open_sampler(tiny("bgan", data, f"seed={seed}"), ("tiled", 4))
        batches = sampler.batches(0, 8, batch_size, torch.device("cpu"))
        return torch.cat([batch["noise"] for batch in batches])

    noise = drawn(4)
    assert noise.shape == (8, 4, 32, 32)
    assert bool((noise == noise[..., :1, :1]).all())
    assert len(noise[:, 0, 0, 0].unique()) == 8
    assert torch.equal(drawn(2), noise)
    assert not torch.equal(drawn(4, seed=1), noise)
    held = open_sampler(tiny("bgan", data), ("white", 2)).held_out
    assert held["noise"].shape == (1, 2, 192, 192)
    assert "clean" not in held


def test_the_same_noise_makes_the_same_blur(data: Path) -> None:
    image = rand(3, 30, 41, dtype=torch.float32)
    restorer, blur = open_restorer(toy_bgan(), task="degrade", precision="float32"), Realistic(str(toy_bgan()))
    first, other = (restorer(image, seed=seed).image for seed in (5, 6))
    draws = [torch.Generator().manual_seed(seed) for seed in (5, 6)]
    network = SMALL["bgan"]()
    noise = noise_map("tiled", 4, 30, 41, torch.Generator().manual_seed(5))
    torch.testing.assert_close(first, network(image[None], noise[None])[0], rtol=0, atol=1e-5)
    for expected, one in zip((first, other), draws, strict=True):
        torch.testing.assert_close(blur(image, generator=one), expected, rtol=0, atol=1e-5)
    assert (first - other).abs().mean() > 0.01


def test_large_photos_are_blurred_in_parts_that_do_not_show() -> None:
    image, network = rand(3, 540, 600, dtype=torch.float32), SMALL["bgan"]()
    made = Realistic(str(toy_bgan()))(image, generator=torch.Generator().manual_seed(1))
    noise = noise_map("tiled", 4, 540, 600, torch.Generator().manual_seed(1))
    torch.testing.assert_close(made, network(image[None], noise[None])[0], rtol=0, atol=1e-5)


def test_realistic_blur_is_a_step_of_a_plan(data: Path) -> None:
    steps = [{"kind": "realistic", "model": str(toy_bgan())}, {"kind": "noise", "sigma": 0.01}]
    plan = plan_from({"crop": 32, "variants": [{"steps": steps}]})
    sample = open_synthesis([data / "sharp"], plan, seed=1).sample(0, 0)
    assert (sample.degraded.float() - sample.clean.float()).abs().mean() > 1
    again = open_synthesis([data / "sharp"], plan, seed=1).replay(sample.drawn)
    assert torch.equal(again.degraded, sample.degraded)
    with pytest.raises(RecipeError, match=r"plan: variants\.0\.steps\.0: realistic.*x.safetensors: no such model"):
        plan_from({"variants": [{"steps": [{"kind": "realistic", "model": "x.safetensors"}]}]})


# --- steps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("paired", [False, True])
def test_a_step_is_the_game_as_one_writes_it_down(paired: bool) -> None:
    """The critic tells blurred photos from made ones, then the degrader's photo is compared: with its sharp input, or
    with the blurred photo of its pair."""
    names = ("degrader", "degraded_critic")
    ours, theirs = (toy_cast(rate=0.01, names=names) for _ in range(2))
    sharp, blurred = rand(3, 3, 24, 24), rand(3, 3, 24, 24, seed=1)
    batch = {"degraded": blurred, "clean" if paired else "unpaired": sharp}
    step = bgan_paired if paired else bgan
    report = step(ours, batch, here(kind="relativistic", penalty=0.0, losses={"l1": 2.0}))
    degrader, critic = (theirs[name].network for name in names)
    softplus, made = nn.functional.softplus, degrader(sharp)
    real, fake = critic(blurred), critic(made.detach())
    found = ((real - fake.mean()).sigmoid().mean(), (fake - real.mean()).sigmoid().mean())
    odds = tuple(float(one.detach()) for one in found)
    loss = softplus(fake.mean() - real).mean() + softplus(fake - real.mean()).mean()
    descend(critic, torch.autograd.grad(loss, list(critic.parameters())))
    real, fake = critic(blurred), critic(made)
    fooling = softplus(real.mean() - fake).mean() + softplus(real - fake.mean()).mean()
    fidelity = 2 * nn.functional.l1_loss(made, blurred if paired else sharp)
    descend(degrader, torch.autograd.grad(fidelity + fooling, list(degrader.parameters())))
    for name, value in parameters(theirs).items():
        torch.testing.assert_close(parameters(ours)[name], value, atol=1e-12, rtol=1e-9)
    assert report["loss"] == pytest.approx(float(fidelity.detach()))
    assert report["adversarial"] == pytest.approx(float(fooling.detach()))
    assert (report["real_probability"], report["fake_probability"]) == pytest.approx(odds)


def test_a_share_of_the_photos_is_blurred_in_one_pass() -> None:
    """By their number in the run, whatever the batches are."""
    calls: list[int] = []

    class Darker(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            calls.append(len(image))
            return image / 2

    network, batch = Darker(), {"degraded": rand(8, 3, 8, 8, seed=1), "clean": rand(8, 3, 8, 8)}
    players = {"degrader": Player("degrader", network, network)}
    context = here(realistic=0.375)
    whole = realistic(players, batch, context)["degraded"]
    is_made = [torch.equal(one, clean / 2) for one, clean in zip(whole, batch["clean"], strict=True)]
    is_kept = [torch.equal(one, old) for one, old in zip(whole, batch["degraded"], strict=True)]
    assert (sum(is_made), sum(is_kept), calls) == (3, 5, [3])
    second = {name: part[4:] for name, part in batch.items()}
    later = realistic(players, second, dataclasses.replace(context, n_seen=3, place=1))
    assert torch.equal(later["degraded"], whole[4:])
    assert torch.equal(realistic(players, batch, here(realistic=1.0))["degraded"], batch["clean"] / 2)


@pytest.mark.parametrize(("step", "plain"), [(dbgan, gan), (dbgan_pretrain, supervised)])
def test_deblurring_learns_from_what_the_degrader_makes(step: Callable[..., Any], plain: Callable[..., Any]) -> None:
    """Accumulated over four pieces, as the plain step does it on the blurred photos."""
    names = ("generator", "critic", "degrader")
    ours, theirs = (toy_cast(rate=0.01, names=names) for _ in range(2))
    batch = {"degraded": rand(4, 3, 24, 24, seed=1), "clean": rand(4, 3, 24, 24)}
    context = here(kind="relativistic", penalty=0.0, accumulate=4, realistic=0.5)
    report = step(ours, batch, context)
    assert report == plain(theirs, realistic(theirs, batch, context), context)
    for name, value in parameters(theirs).items():
        assert torch.equal(parameters(ours)[name], value)


# --- games ------------------------------------------------------------------------------------------------------------


class Tint(nn.Module):
    """Adds a colour."""

    def __init__(self, *colour: float) -> None:
        super().__init__()
        self.colour = nn.Parameter(torch.tensor(colour).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return image + self.colour


class ColourCritic(nn.Module):
    """Judges the mean colour."""

    def __init__(self) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.5, generator=draws)

    def forward(self, image: Tensor) -> Tensor:
        score: Tensor = self.layers(8 * (image.mean((2, 3)) - 0.5))
        return score


def game(degrader: nn.Module, rate: float) -> Cast:
    """A degrader that learns at this rate against a critic of colours."""
    cast: Cast = {}
    for name, network, lr in (("degrader", degrader, rate), ("degraded_critic", ColourCritic(), 0.02)):
        adam = torch.optim.Adam(network.parameters(), lr=lr, betas=(0.5, 0.9))
        kept = ScheduleRecipe(kind="constant")
        cast[name] = Player(name, network, network, Optimizers(network, adam, schedule=kept, n_images=9))
    return cast


def played(cast: Cast, shift: float, n_steps: int) -> list[dict[str, float]]:
    """Sharp photos around 0.4, blurred ones `shift` brighter."""
    reports = []
    for number in range(n_steps):
        draws = torch.Generator().manual_seed(number)
        levels = 0.4 + 0.1 * torch.randn(2, 16, 3, 1, 1, generator=draws)
        sharp, blurred = (levels + 0.02 * torch.randn(2, 16, 3, 8, 8, generator=draws)).unbind()
        batch = {"degraded": blurred + shift, "unpaired": sharp}
        reports.append(bgan(cast, batch, here(kind="relativistic", penalty=0.0, losses={"l1": 1e-3})))
    return reports


def test_both_probabilities_move_to_one_half() -> None:
    """First the critic learns alone; then the degrader finds what tells its photos from the blurred ones."""
    degrader = Tint(0.0, 0.0, 0.0)
    cast = game(degrader, rate=0.0)
    alone = played(cast, 0.2, 40)[-1]
    assert alone["real_probability"] > 0.8
    assert alone["fake_probability"] < 0.2
    assert cast["degrader"].optimizers is not None
    cast["degrader"].optimizers._base[0][0] = 0.01
    together = played(cast, 0.2, 120)[-20:]
    for name in ("real_probability", "fake_probability"):
        assert np.mean([report[name] for report in together]) == pytest.approx(0.5, abs=0.07)
    torch.testing.assert_close(degrader.colour.flatten(), torch.full((3,), 0.2), rtol=0, atol=0.1)


@pytest.mark.parametrize(("colour", "is_seen"), [((0.04, 0.03, -0.05), True), ((0.0, 0.0, 0.0), False)])
def test_a_yellow_cast_is_seen(colour: tuple[float, float, float], is_seen: bool) -> None:
    monitor, reports = HealthMonitor(), played(game(Tint(*colour), rate=0.0), 0.0, 4)
    warnings = [one for number in range(700) for one in monitor.update(16 * number, reports[number % 4])]
    assert ("colour-cast" in {warning.kind for warning in warnings}) == is_seen


def test_a_critic_without_norms_learns_what_blur_is() -> None:
    """Of the same photos, sharp and blurred, in batches of one kind, where batch norm hides it."""
    sharp = rand(4, 3, 32, 32, dtype=torch.float32)
    blurred = nn.functional.avg_pool2d(sharp, 3, 1, 1)
    odds = []
    for norms in (True, False):
        critic = PooledCritic(width=8, norms=norms, generator=torch.Generator().manual_seed(1))
        adam = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.999))
        for _ in range(12):
            ADVERSARIAL["relativistic"].critic(critic(blurred), critic(sharp)).backward()
            adam.step()
            adam.zero_grad()
        odds.append(relativistic_odds(critic(blurred).detach(), critic(sharp).detach()))
    assert odds[1][0] > 0.9
    assert odds[1][0] > odds[0][0] + 0.2


# --- what is refused --------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_one_clear_line(data: Path, tmp_path: Path, run: Run) -> None:
    blurred, sharp = rand(3, 40, 40, dtype=torch.float32), tmp_path / "sharp.png"
    write_photo(Photo(blurred), sharp)
    plain = shaken(BGAN(width=4, n_blocks=1, blocks="plain"))
    other = saved(shaken(BGAN(width=4, n_blocks=1, growth=2)), tmp_path / "other.safetensors", "degrade")
    dense = saved(shaken(DBGAN(width=4, n_blocks=1, growth=2)), tmp_path / "dbgan.safetensors")
    told = saved(SMALL["sftnet"](), tmp_path / "sftnet.safetensors")
    init = f"networks.degrader.init={json.dumps(str(other))}"

    def train(name: str, *more: str) -> Callable[[], Any]:
        return lambda: train_weights(tiny(name, data, *more), tmp_path / "run", device="cpu")

    def restore(model: Path, **known: Any) -> Callable[[], Any]:
        return lambda: open_restorer(model, precision="float32")(blurred, **known)

    cases: list[tuple[Callable[[], Any], type[ResharpError], str]] = [
        (train("bgan", "data.degraded=nowhere"), ResharpError, "nowhere"),
        (train("bgan", f"data.photos={data / 'blurry'}/none"), ResharpError, "none"),
        (train("bgan-paired", f"data.photos={json.dumps(str(data / 'sharp'))}"), RecipeError, "nothing to learn"),
        (
            train("bgan-paired", f"data.degraded={json.dumps(str(data / 'blurry'))}", "judge.figures=['niqe']"),
            RecipeError,
            "a bgan-paired step wants 'degraded' and 'clean' of a batch, and these data give",
        ),
        (
            train("dbgan", "networks.degrader.init="),
            RecipeError,
            "networks.degrader: is frozen and has learned nothing",
        ),
        (train("dbgan", "stages.0.realistic=0.0"), RecipeError, "stages.0.realistic: a dbgan step has a share of its"),
        (train("mprnet", "stages.0.realistic=0.5"), RecipeError, "a supervised step has nothing blurred; leave it out"),
        (train("mprnet", "stages.0.step=dbgan-pretrain", "stages.0.realistic=0.5"), RecipeError, "is missing; add it"),
        (train("dbgan", init, f"networks.degrader.arguments={GENERATOR}"), WeightsError, "the recipe's is another"),
        (train("dbgan", f"networks.degrader.init={json.dumps(str(dense))}"), WeightsError, "is of network 'dbgan'"),
        (train("bgan", "data.plan.crop=33"), RecipeError, "takes sides that are multiples of 2; take 32"),
        (train("sftnet", f"networks.generator.arguments={CRITIC[:-1]}, n_classes = 7 }}"), RecipeError, "7 classes of"),
        (lambda: plain(blurred[None], torch.zeros(1, 3, 40, 40)), ArgumentError, "this BGAN takes (1, 4, 40, 40)"),
        (lambda: open_restorer(other, task="deblur"), WeightsError, "it serves resharp degrade realistic"),
        (
            lambda: Realistic(str(dense)),
            WeightsError,
            "is for the task 'deblur', not for 'degrade'; it serves resharp de",
        ),
        (lambda: Realistic("bgam.safetensors"), WeightsError, "no such model"),
        (restore(told), ArgumentError, "takes a segmentation beside the photo; give it one"),
        (restore(told, segmentation=torch.zeros(8, 39, 40)), ArgumentError, "takes (8, 40, 40) for this photo"),
        (restore(told, segmentation=torch.zeros(7, 40, 40)), ArgumentError, "takes (8, 40, 40) for this photo"),
        (restore(told, segmentation=lambda image: image), ArgumentError, "takes (8, 40, 40) for this photo"),
        (restore(dense, segmentation=torch.zeros(8, 40, 40)), ArgumentError, "cannot be told segmentation"),
    ]
    for number, (make, error, words) in enumerate(cases):
        with pytest.raises(error) as caught:
            make()
        assert words in str(caught.value), f"{number}: {caught.value}"
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
    np.save(tmp_path / "flat.npy", np.zeros((40, 40)))
    (tmp_path / "no.npy").write_bytes(b"not an array")
    for words, says in (
        (["deblur", sharp, "--model", other], "is for the task 'degrade', not for 'deblur'"),
        (["deblur", sharp, "--model", told, "--segmentation", tmp_path / "flat.npy"], "holds float64 (40, 40)"),
        (["deblur", sharp, "--model", told, "--segmentation", tmp_path / "no.npy"], "cannot be read as a segmentation"),
        (["deblur", sharp, "--segmentation", tmp_path / "flat.npy"], "are of networks that look for no blur"),
    ):
        done = run(*words, "-o", tmp_path / "out.png")
        assert done.code == 2, done.err
        assert says in " ".join(done.err.split())
        assert not (tmp_path / "out.png").exists()
