"""Trainings of any cast: players and steps that fit, parts of one's own, what they are judged by, and what is said."""

import json
import math
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch

from resharp.errors import ArgumentError, RecipeError
from resharp.metrics import psnr
from resharp.models import read_card
from resharp.networks import FEATURE_NETWORKS
from resharp.photo import Photo, write_photo
from resharp.training import Recipe, dry_run, list_runs, train_weights, used
from resharp.training.building import build_losses
from resharp.training.config import FeaturesRecipe
from resharp.training.context import Batch, Player, StepContext
from resharp.training.validation import PhotoJudge, Scores
from tests.conftest import rand
from tests.feature_stacks import stack_of, state_of
from tests.toy_training import ADAM, cycle, gan, history, stretched, tiny, trained

pytestmark = pytest.mark.usefixtures("no_curves")
MINE = "tests.test_training_cast"


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sharp and of blurry photos that do not belong together."""
    folder = tmp_path_factory.mktemp("unpaired")
    stretched(folder / "sharp", 2)
    stretched(folder / "blur", 3, blurred=True)
    return folder


def changed(recipe: Recipe, **tables: Any) -> Recipe:
    """The recipe with other tables; of "stage" the settings of its last stage."""
    values = recipe.model_dump()
    for name, value in tables.pop("stage", {}).items():
        values["stages"][-1][name] = value
    return Recipe.model_validate(values | tables)


# parts of one's own


def brightness(restored: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """A loss of one's own."""
    return (restored.mean() - clean.mean()).square()


def per_photo(restored: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """No loss: one number for each photo."""
    return (restored - clean).abs().mean((1, 2, 3))


def twice(players: dict[str, Player], batch: Batch, context: StepContext) -> dict[str, float]:
    """A step of one's own: the restorer on its own output, with a setting of the recipe, beside a frozen network."""
    restorer, frozen = players["restorer"], players["teacher"]
    assert not frozen.network.training
    assert not any(value.requires_grad for value in frozen.network.parameters())

    def objective(piece: Batch, place: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        del place
        once = restorer(piece["degraded"], piece)
        told = (restorer(once) - frozen(piece["degraded"])).abs().mean()
        return told * float(context.stage.settings["weight"]), {"told": told, "loss": told}

    return context.update([restorer], batch, objective)


def no_step(players: object) -> None:
    """Takes one argument where three are given."""


def test_a_loss_of_ones_own_is_a_part_of_the_sum(photos: Path, tmp_path: Path) -> None:
    losses = f'{{ l2 = 1.0, "{MINE}:brightness" = 2.0 }}'
    trained(tiny(photos, **{"stages.0.losses": losses, "stages.0.n_images": 8}), tmp_path)
    for record in history(tmp_path):
        assert record["loss"] == pytest.approx(record["l2"] + 2 * record[f"{MINE}:brightness"], rel=1e-5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "per_photo",
            r"returns \(2,\), gradient True; it has to be a function \(restored, clean\) of two \(N, 3, H, W\)",
        ),
        ("MINE", "is not a function"),
        ("no_step", "fails on two pictures"),
        ("nothing", "cannot be imported"),
    ],
)
def test_what_is_no_loss_is_told_what_one_looks_like(photos: Path, tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        trained(tiny(photos, **{"stages.0.losses": f'{{ "{MINE}:{name}" = 1.0 }}'}), tmp_path)


def test_a_step_of_ones_own_with_a_frozen_third_network(photos: Path, tmp_path: Path) -> None:
    teacher = train_weights(tiny(photos, **{"stages.0.n_images": 4}), tmp_path / "teacher", device="cpu")
    values = tiny(photos).model_dump()
    dae = values["networks"]["generator"]
    stage = values["stages"][0] | {
        "step": f"{MINE}:twice",
        "n_images": 12,
        "losses": {},
        "settings": {"weight": 0.5},
        "trains": {"restorer": {"kind": "adam", "learning_rate": 1e-3}},
    }
    # what is written of it is a network without batch norm, as the other is
    frozen = dae | {"init": str(teacher), "frozen": True, "arguments": dae["arguments"]}
    cast = {"networks": {"restorer": dae, "teacher": frozen}, "stages": [stage]}
    recipe = Recipe.model_validate(values | cast | {"weights": values["weights"] | {"keep": ["restorer"]}})
    trained(recipe, tmp_path / "run")
    records = history(tmp_path / "run")
    assert [record["n_seen"] for record in records] == [4, 8, 12]
    assert {"told", "restorer_gradient", "learning_rate", "validation_psnr"} <= records[-1].keys()


# casts that do not fit


def test_a_cast_that_does_not_fit_is_one_clear_line(photos: Path, halves: Path, tmp_path: Path) -> None:
    pair, unpaired = gan(photos), cycle(halves, halves)
    adam = {"kind": "adam", "learning_rate": 1e-3}
    both = {"generator": adam, "critic": adam}
    frozen = pair.model_dump()["networks"]
    frozen["critic"] |= {"frozen": True}
    cases: list[tuple[Any, str]] = [
        (
            lambda: changed(pair, stage={"trains": both | {"critik": adam}}),
            "'critik' is none of the networks; did you mean 'critic'",
        ),
        (lambda: changed(pair, networks=frozen), "stages.1.trains.critic is an optimiser of a frozen network"),
        (lambda: changed(pair, stage={"trains": {"generator": adam}}), "networks.critic is trained by no stage"),
        (lambda: changed(pair, weights=pair.weights.model_dump() | {"keep": ["me"]}), "weights.keep: 'me' is none"),
        (
            lambda: changed(gan(photos), stage={"step": "supervised"}),
            "stages.1.trains: a supervised step trains generator alone; leave critic out",
        ),
        (lambda: changed(gan(photos), stage={"step": "gam"}), "'gam' is no step; did you mean 'gan'"),
        (
            lambda: changed(gan(photos), stage={"step": f"{MINE}:no_step"}),
            "is not a step: a function (players, batch, context)",
        ),
        (lambda: changed(gan(photos), stage={"adversarial": None}), "a gan step asks critics; say how"),
        (lambda: changed(gan(photos), stage={"losses": {}}), "a gan step compares pictures; give it losses"),
        (lambda: changed(gan(photos), stage={"identity": 1.0}), "stages.1.identity: is for step"),
        (lambda: changed(gan(photos), stage={"settings": {"a": 1}}), "are for steps of one's own"),
        (lambda: changed(unpaired, judge={"figures": ["psnr"]}), "judge.figures: psnr compares with the truth"),
        (lambda: changed(gan(photos), judge={"figures": ["pnsr"]}), "'pnsr' is no metric; did you mean 'psnr'"),
        (lambda: changed(gan(photos), judge={"headline": "niqe"}), "'niqe' is none of judge.figures"),
        (lambda: changed(gan(photos), judge={"protocol": "sr-z"}), "'sr-z' is no protocol; did you mean 'sr-y'"),
    ]
    alone = changed(unpaired).model_dump()
    alone["stages"] = gan(photos).model_dump()["stages"][:1]
    alone["networks"] = {"generator": alone["networks"]["generator"]}
    alone["weights"]["keep"] = ["generator"]
    cases.append(
        (
            lambda: Recipe.model_validate(alone),
            "wants 'degraded' and 'clean' of a batch, and these data give 'degraded' and 'unpaired', not 'clean'",
        )
    )
    two = changed(unpaired).model_dump()
    two["stages"] += gan(photos).model_dump()["stages"][:1]
    cases.append((lambda: Recipe.model_validate(two), "stages.1.step: a supervised step wants"))
    paired = changed(unpaired).model_dump()
    paired["data"] = gan(photos).model_dump()["data"]
    cases.append((lambda: Recipe.model_validate(paired), "not 'unpaired'; name real degraded photos by data.degraded"))
    lone = gan(photos).model_dump()
    lone["networks"]["spare"] = lone["networks"]["critic"] | {"frozen": True, "arguments": {"width": 4, "n_layers": 1}}
    del lone["stages"][1]["trains"]["critic"]
    lone["networks"]["critic"]["frozen"] = True
    cases.append(
        (lambda: Recipe.model_validate(lone), "stages.1.trains: a gan step trains critic, which has no optimiser")
    )
    for number, (make, words) in enumerate(cases):
        with pytest.raises((RecipeError, ArgumentError, ValueError)) as caught:
            train_weights(make(), tmp_path / "run", device="cpu")
        assert words in str(caught.value), f"{number}: {caught.value}"
    assert not (tmp_path / "run").exists()


def test_clean_photos_alone_teach_nothing(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"there is nothing to learn; give data\.plan steps"):
        trained(tiny(photos, **{"data.noise_sigma": 0.0}), tmp_path / "run")
    with pytest.raises(RecipeError, match=r"data\.degraded: these photos are degraded already"):
        trained(tiny(photos, **{"data.degraded": json.dumps(str(photos))}), tmp_path / "run")


# second inputs


class Guided(torch.nn.Module):
    """Takes a map beside the photo."""

    takes = ("image", "segmentation")

    def __init__(self) -> None:
        super().__init__()
        self.arguments: dict[str, int] = {}
        self.conv = torch.nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, image: torch.Tensor, segmentation: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.conv(torch.cat([image, segmentation[:, :1]], dim=1))
        return result


def test_a_second_input_reaches_the_network_that_takes_it(photos: Path, tmp_path: Path) -> None:
    for path in photos.iterdir():
        write_photo(Photo(rand(3, 64, 80).float()), tmp_path / "maps" / path.name)
    changes = {
        "networks.generator": f"{{ kind = '{MINE}:Guided' }}",
        "stages.0.trains.generator": ADAM,
        "stages.0.n_images": 8,
    }
    with pytest.raises(RecipeError, match=r"takes 'segmentation' beside the image, .* add data\.beside\.segmentation"):
        trained(tiny(photos, **changes), tmp_path / "run")
    changes |= {"data.beside.segmentation": json.dumps(str(tmp_path / "maps"))}
    runs = [trained(tiny(photos, **changes, **{"data.n_workers": n}), tmp_path / f"run-{n}") for n in (0, 1)]
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    (tmp_path / "maps" / "0.png").unlink()
    with pytest.raises(Exception, match=r"maps: lacks 1 of 6 \(0\.png\)"):
        trained(tiny(photos, **changes), tmp_path / "again")


# judging


def test_the_best_is_that_of_the_headline_in_its_direction(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter([{"niqe": 5.0, "psnr": 20.0}, {"niqe": 4.0, "psnr": 19.0}, {"niqe": 6.0, "psnr": 22.0}])
    monkeypatch.setattr(PhotoJudge, "__init__", lambda *_: None)
    monkeypatch.setattr(
        PhotoJudge, "__call__", lambda *_: Scores(next(told) | {"input_niqe": 7.0}, "niqe", higher_is_better=False)
    )
    judge = {"every": 8, "figures": ["psnr", "niqe"], "headline": "niqe"}
    recipe = changed(gan(photos, n_images=12), judge=judge)
    path = train_weights(recipe, tmp_path, device="cpu")
    assert read_card(path.with_stem("toy-best")).quality.startswith("niqe 4.00, input 7.00, gain +3.00")
    (run,) = list_runs(tmp_path)
    assert (run.figure, run.last, run.best, run.input) == ("niqe", 6.0, 4.0, 7.0)


def test_a_gan_without_a_headline_has_no_best(photos: Path, tmp_path: Path) -> None:
    path = train_weights(changed(gan(photos), judge={"every": 4}), tmp_path, device="cpu")
    assert len([record for record in history(tmp_path) if "validation_psnr" in record]) == 8
    assert not path.with_stem("toy-best").exists()


def test_super_resolution_is_judged_on_luma_without_its_border(photos: Path, tmp_path: Path) -> None:
    """Against the protocol's figures, as the evaluation has them."""
    from resharp.image import luma

    clean = rand(2, 3, 32, 32).float()
    restored = (clean + 0.05 * (rand(2, 3, 32, 32, seed=1).float() - 0.5)).clamp(0, 1)
    small = torch.nn.functional.avg_pool2d(clean, 4)
    steps = "[{ steps = [{ kind = 'downscale', factor = 4 }] }]"
    recipe = tiny(photos, **{"data.plan.variants": steps, "data.noise_sigma": 0.0})

    class Known(torch.nn.Module):
        multiple_of, scale = 1, 4

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return restored[[int((image - one).abs().max() > 0) for one in small[:1]]]

    judge = PhotoJudge(recipe, {"degraded": small, "clean": clean}, torch.device("cpu"))
    network = Known()
    scores = judge({"generator": Player("generator", network, network)}).figures
    inner = [luma(image.mul(255).round().div(255))[..., 4:-4, 4:-4] for image in (restored, clean)]
    assert scores["psnr"] == pytest.approx(float(psnr(*inner).mean()))
    assert 5 < scores["input_psnr"] < scores["psnr"]


def test_a_sharp_photo_among_the_degraded_leaves_a_mean(photos: Path) -> None:
    clean = rand(2, 3, 16, 16).float()
    degraded = torch.stack([clean[0], (clean[1] - 0.1).clamp(0, 1)])
    network = torch.nn.Identity()
    network.multiple_of = network.scale = 1  # type: ignore[assignment]
    judge = PhotoJudge(tiny(photos), {"degraded": degraded, "clean": clean}, torch.device("cpu"))
    scores = judge({"generator": Player("generator", network, network)}).figures
    other = float(psnr(degraded[1], clean[1]))
    assert scores["psnr"] == scores["input_psnr"] == pytest.approx((60 + other) / 2, abs=0.05)


# kindness


def test_a_dry_run_counts_photos_and_prints_what_is_used(photos: Path) -> None:
    taken = dry_run(tiny(photos), device="cpu", n_steps=1)
    assert taken["photos"] == [4]
    assert taken["held_out"] == {"photos": 2, "groups": 2}
    shown = used(tiny(photos))
    assert "features" not in shown
    assert "adversarial" not in shown["stages"][0]
    assert shown["data"]["noise_sigma"] > 0
    assert "features" in used(gan(photos, losses={"perceptual": 1.0}))


# features


@pytest.mark.parametrize(("layout", "bgr"), [("keras", True), ("torchvision", False)])
def test_features_are_fed_as_their_file_was_trained_unless_a_recipe_says_otherwise(
    tmp_path: Path, layout: str, bgr: bool
) -> None:
    """Keras's weights want 0..255, blue first, minus means; a recipe that names no normalisation gives them that."""
    stages = FEATURE_NETWORKS["squeezenet1.1"].stages
    state = state_of(stack_of("squeezenet1.1", 5))
    path = tmp_path / ("features.h5" if layout == "keras" else "features.pth")
    if layout == "torchvision":
        torch.save(state, path)
    else:
        with h5py.File(path, "w") as file:
            for name, place in (item for stage in stages for item in stage.keras.items()):
                if f"{place}.weight" in state:
                    file[f"{name}/kernel"] = state[f"{place}.weight"].permute(2, 3, 1, 0).numpy()
                    file[f"{name}/bias"] = state[f"{place}.bias"].numpy()
    recipe = FeaturesRecipe(kind="squeezenet1.1", layer="fire2", weights=path)
    restored, clean = rand(2, 3, 48, 48, seed=1).float(), rand(2, 3, 48, 48).float()

    def told(**settings: Any) -> float:
        losses = build_losses({"perceptual": 1.0}, recipe.model_copy(update=settings), torch.device("cpu"))
        return float(losses["perceptual"][1](restored, clean))

    assert told() == told(normalisation="caffe" if bgr else "imagenet")
    assert not math.isclose(told(), told(normalisation="imagenet" if bgr else "caffe"), rel_tol=0.5)
