"""The training engine: recipes, exact resume, accumulation, stages, and that it learns."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from PIL import Image

from resharp.errors import ArgumentError, DatasetError, OutputError, RecipeError, WeightsError
from resharp.losses import ADVERSARIAL, LOSSES
from resharp.networks import DeblurGAN
from resharp.networks.critics import PatchCritic
from resharp.photo import photo_size
from resharp.training import list_runs, load_recipe, recipe_schema, train_weights
from resharp.training.checkpoint import checkpoints, read_checkpoint
from resharp.training.config import Recipe, ScheduleRecipe
from resharp.training.optimizers import Optimizers
from resharp.training.schedule import rate_factor
from resharp.training.steps import CriticObjective, Game, GeneratorObjective, Machinery, Moment, gan_step
from resharp.weights import load_weights, weights_path
from tests.conftest import rand

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.toml"))
ADAM = "{ kind = 'adam', learning_rate = 1e-3 }"
DAE = next(path for path in RECIPES if path.name == "dae.toml")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six crops of the demo photo."""
    folder = tmp_path_factory.mktemp("photos")
    demo = Image.open(weights_path("dae-sigma11").parent / "demo-photo.png")
    for index in range(6):
        demo.crop((30 * index, 20 * index, 30 * index + 80, 20 * index + 64)).save(folder / f"{index}.png")
    return folder


def tiny(photos: Path, **changes: object) -> Recipe:
    """The shipped recipe of the DAE at toy size."""
    settings: dict[str, object] = {
        "data.photos": json.dumps(str(photos)),
        "data.plan.crop": 24,
        "data.n_holdout": 2,
        "network.arguments.width": 16,
        "network.arguments.depth": 4,
        "stages.0.n_images": 240,
        "stages.0.batch_size": 4,
        "stages.0.precision": "float32",
        "stages.0.optimizer.schedule.warmup_images": 8,
        "rhythm.validate_every": 80,
        "rhythm.save_every": 80,
        "rhythm.tracking": "[]",
    }
    settings |= changes
    return load_recipe(DAE, tuple(f"{key}={value}" for key, value in settings.items()))


def gan(photos: Path, **changes: Any) -> Recipe:
    """Two stages, supervised then WGAN-GP, with dropout, averaged weights and accumulation."""
    adam = {"kind": "adam", "learning_rate": 1e-3, "betas": [0.5, 0.999]}
    game = {"kind": "wgan", "weight": 0.01, "gradient_penalty": 10.0, "critic_steps": 2, "optimizer": adam}
    shape = {"n_images": 12, "batch_size": 4, "losses": {"l1": 1.0}, "optimizer": adam, "precision": "float32"}
    values: dict[str, Any] = {
        "data": {
            "photos": [str(photos)],
            "n_holdout": 2,
            "plan": {"crop": 24, "variants": [{"steps": [{"kind": "trajectory", "length": 20.0}]}]},
        },
        "network": {"kind": "deblurgan", "arguments": {"width": 4, "n_blocks": 1}},
        "critic": {"kind": "patchgan", "arguments": {"width": 4, "n_layers": 1}},
        "stages": [
            {**shape, "name": "pretrain"},
            {**shape, "name": "gan", "n_images": 20, "accumulate": 2, "adversarial": game},
        ],
        "ema": 0.99,
        "rhythm": {"validate_every": 16, "save_every": 8, "tracking": []},
        "weights": {"name": "toy", "licence": "none", "training_data": "the demo photo"},
    }
    for key, value in changes.items():
        values[key] = value
    return Recipe.model_validate(values)


def history(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in ("seconds", "waited")} for line in lines]


def trained(recipe: Recipe, folder: Path, **settings: Any) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(train_weights(recipe, folder, device="cpu", **settings))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_validate_and_name_their_command(path: Path) -> None:
    load_recipe(path)
    assert f"resharp train recipes/{path.name}" in path.read_text(encoding="utf-8")


def test_it_learns_and_says_what_it_did(photos: Path, tmp_path: Path) -> None:
    changes = {"stages.0.n_images": 800, "stages.0.batch_size": 8, "stages.0.optimizer.learning_rate": 0.02}
    recipe = tiny(photos, **changes, **{"rhythm.validate_every": 400})
    path = train_weights(recipe, tmp_path / "run", device="cpu")
    records = history(tmp_path / "run")
    assert [record["n_seen"] for record in records] == list(range(8, 801, 8))
    validations = [record["validation_psnr"] for record in records if "validation_psnr" in record]
    assert len(validations) == 2
    assert validations[-1] > 27.31 + 2.0, "more than two decibels above the noisy photos"
    network, card = load_weights(path)
    assert card.name == "dae-sigma11"
    assert card.noise_sigma == pytest.approx(11 / 255)
    assert card.arguments == {"channels": 3, "width": 16, "depth": 4, "batch_norm": False}
    assert not network.training


def test_the_run_folder_explains_itself(photos: Path, tmp_path: Path) -> None:
    recipe = tiny(photos, **{"rhythm.tracking": "['tensorboard']"})
    train_weights(recipe, tmp_path / "run", device="cpu")
    run = tmp_path / "run"
    assert json.loads((run / "recipe.json").read_text()) == json.loads(recipe.model_dump_json())
    (session,) = json.loads((run / "run.json").read_text())
    assert {"command", "resharp", "commit", "torch", "python", "device", "begun"} <= set(session)
    assert sorted(path.name for path in (run / "samples").iterdir()) == [f"{n:012d}.png" for n in (80, 160, 240)]
    for picture in (run / "curves.png", run / "samples" / "000000000240.png"):
        assert min(photo_size(picture)) > 200
    assert list(run.rglob("events.out.tfevents.*"))
    (summary,) = list_runs(tmp_path)
    assert (summary.name, summary.state, summary.n_seen, summary.n_images) == ("run", "finished", 240, 240)


@pytest.mark.parametrize("changes", [{}, {"stages.0.optimizer": "{ kind = 'adam', learning_rate = 1e-3 }"}])
@pytest.mark.parametrize("batch_norm", ["false", "true"])
def test_a_killed_run_ends_in_the_same_bits(
    photos: Path, tmp_path: Path, changes: dict[str, object], batch_norm: str
) -> None:
    small = {"stages.0.n_images": 44, "rhythm.save_every": 12, "rhythm.validate_every": 20}
    recipe = tiny(photos, **small, **{"network.arguments.batch_norm": batch_norm}, **changes)
    whole = train_weights(recipe, tmp_path / "whole", device="cpu")

    def killed(record: dict[str, Any]) -> None:
        if record["n_seen"] == 32:  # eight images after a checkpoint
            raise MemoryError

    with pytest.raises(Exception, match="not enough memory"):
        train_weights(recipe, tmp_path / "cut", device="cpu", on_step=killed)
    resumed = train_weights(recipe, tmp_path / "cut", device="cpu")
    assert resumed.read_bytes() == whole.read_bytes()
    assert history(tmp_path / "cut") == history(tmp_path / "whole")


@pytest.mark.parametrize("stop", [4, 8, 12, 16, 20, 28])
def test_a_gan_cut_anywhere_ends_in_the_same_bits(photos: Path, tmp_path: Path, stop: int) -> None:
    recipe = gan(photos)
    whole = train_weights(recipe, tmp_path / "whole", device="cpu").read_bytes()

    def cut(record: dict[str, Any]) -> None:
        if record["n_seen"] == stop:
            raise MemoryError

    with pytest.raises(Exception, match="not enough memory"):
        train_weights(recipe, tmp_path / "cut", device="cpu", on_step=cut)
    torch.rand(17)  # whatever the process did in between
    assert train_weights(recipe, tmp_path / "cut", device="cpu").read_bytes() == whole
    assert history(tmp_path / "cut") == history(tmp_path / "whole")


def test_workers_and_the_rhythm_change_no_bit(photos: Path, tmp_path: Path) -> None:
    first = trained(gan(photos), tmp_path / "a")
    recipe = gan(photos, rhythm={"validate_every": 32, "save_every": 32, "tracking": []})
    data = recipe.data.model_copy(update={"n_workers": 2, "kept_megabytes": 1})
    second = trained(recipe.model_copy(update={"data": data}), tmp_path / "b")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_finished_run_only_writes_its_weights_again(photos: Path, tmp_path: Path) -> None:
    recipe = tiny(photos, **{"stages.0.n_images": 8})
    first = train_weights(recipe, tmp_path / "run", device="cpu").read_bytes()
    steps: list[object] = []
    assert train_weights(recipe, tmp_path / "run", device="cpu", on_step=steps.append).read_bytes() == first
    assert steps == []


@pytest.mark.parametrize("accumulate", [2, 3, 5])
def test_accumulated_pieces_have_the_gradients_of_the_whole_batch(accumulate: int) -> None:
    """Of both sides of a GAN with gradient penalty, also where the pieces are of unequal size."""
    clean, degraded = rand(5, 3, 24, 24), rand(5, 3, 24, 24, seed=1)

    def gradients(pieces: int) -> dict[str, torch.Tensor]:
        generator = DeblurGAN(width=4, n_blocks=1, dropout=0.0, generator=torch.Generator().manual_seed(1)).double()
        critic = PatchCritic(width=4, n_layers=1, generator=torch.Generator().manual_seed(2)).double()
        kept = ScheduleRecipe(kind="constant")
        still = [
            Optimizers(n, torch.optim.SGD(n.parameters(), lr=0.0), schedule=kept, n_images=9)
            for n in (generator, critic)
        ]
        game = Game(
            generator=generator,
            critic=critic,
            generator_objective=GeneratorObjective(
                generator, {"l1": (1.0, LOSSES["l1"])}, critic=critic, adversarial=ADVERSARIAL["wgan"], weight=1.0
            ),
            critic_objective=CriticObjective(critic, ADVERSARIAL["wgan"], penalty=10.0, norm="sample"),
            generator_optimizers=still[0],
            critic_optimizers=still[1],
            critic_steps=1,
            fresh=False,
            stride=4,
        )
        machinery = Machinery(None, None, pieces, 0.0, lambda values: values)
        gan_step(game, (degraded, clean), machinery, Moment(n_seen=0, factor=1.0, seed=3, place=0))
        networks = (("generator", generator), ("critic", critic))
        return {f"{o}.{n}": p.grad for o, net in networks for n, p in net.named_parameters() if p.grad is not None}

    whole, summed = gradients(1), gradients(accumulate)
    assert len(whole) == len(summed) > 10
    for name, gradient in whole.items():
        torch.testing.assert_close(summed[name], gradient, atol=1e-6, rtol=1e-6)


def test_averaged_weights_follow_their_decay(photos: Path, tmp_path: Path) -> None:
    """Buffers too: the kept network is the average over steps, computed here from each step's weights."""
    steps: list[dict[str, torch.Tensor]] = []

    def see(record: dict[str, Any]) -> None:
        state = read_checkpoint(checkpoints(tmp_path / "run")[0]) if record["n_seen"] > 4 else None
        if state is not None:
            steps.append(state["networks"]["generator"])

    recipe = tiny(
        photos,
        **{"stages.0.n_images": 24, "rhythm.save_every": 4, "rhythm.keep": 9, "network.arguments.batch_norm": "true"},
    ).model_copy(update={"ema": 0.9})
    train_weights(recipe, tmp_path / "run", device="cpu", on_step=see)
    states = [read_checkpoint(path) for path in reversed(checkpoints(tmp_path / "run"))]
    average = {name: value.clone() for name, value in states[0]["networks"]["generator"].items()}
    for state in states[1:]:
        for name, value in state["networks"]["generator"].items():
            if value.is_floating_point():
                average[name] = 0.9**4 * average[name] + (1 - 0.9**4) * value
    kept = states[-1]["averaged"]
    for name, value in average.items():
        if value.is_floating_point():
            torch.testing.assert_close(kept[f"module.{name}"], value, atol=1e-6, rtol=1e-5)


def test_fresh_batches_for_every_critic_step(photos: Path, tmp_path: Path) -> None:
    recipe = gan(photos)
    game = recipe.stages[1].adversarial
    assert game is not None
    stage = recipe.stages[1].model_copy(update={"adversarial": game.model_copy(update={"fresh_batches": True})})
    fresh = recipe.model_copy(update={"stages": (recipe.stages[0], stage)})
    whole = train_weights(fresh, tmp_path / "whole", device="cpu").read_bytes()

    def cut(record: dict[str, Any]) -> None:
        if record["n_seen"] == 24:
            raise MemoryError

    with pytest.raises(Exception, match="not enough memory"):
        train_weights(fresh, tmp_path / "cut", device="cpu", on_step=cut)
    assert train_weights(fresh, tmp_path / "cut", device="cpu").read_bytes() == whole
    assert whole != train_weights(recipe, tmp_path / "same", device="cpu").read_bytes()


def test_a_run_begins_from_other_weights(photos: Path, tmp_path: Path) -> None:
    first = train_weights(tiny(photos, **{"stages.0.n_images": 8}), tmp_path / "a", device="cpu")
    slow = tiny(
        photos,
        **{
            "stages.0.n_images": 4,
            "stages.0.optimizer.learning_rate": 1e-12,
            "stages.0.optimizer.adam_learning_rate": 1e-12,
        },
    )
    second = trained(slow, tmp_path / "b", init=first)
    for name, tensor in safetensors.torch.load_file(first).items():
        torch.testing.assert_close(second[name], tensor, atol=1e-6, rtol=0)
    with pytest.raises(WeightsError, match="is of network 'dae'"):
        train_weights(gan(photos), tmp_path / "c", device="cpu", init=first)


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(photos: Path, tmp_path: Path) -> None:
    recipe = gan(photos)
    whole = train_weights(recipe, tmp_path / "run", device="cpu")
    before = whole.read_bytes()
    newest = checkpoints(tmp_path / "run")[0]
    newest.write_bytes(newest.read_bytes()[:1000])
    whole.unlink()
    said: list[str] = []
    assert train_weights(recipe, tmp_path / "run", device="cpu", say=said.append).read_bytes() == before
    assert len(said) == 1
    assert f"{newest.name}: damaged" in said[0]
    for path in checkpoints(tmp_path / "run"):
        path.write_bytes(b"cut short")
    with pytest.raises(RecipeError, match="all its checkpoints are damaged"):
        train_weights(recipe, tmp_path / "run", device="cpu")


def test_the_last_checkpoints_and_the_best_are_kept(photos: Path, tmp_path: Path) -> None:
    recipe = tiny(photos, **{"stages.0.n_images": 80, "rhythm.save_every": 8, "rhythm.validate_every": 16})
    train_weights(recipe, tmp_path, device="cpu")
    scores = {r["n_seen"]: r["validation_psnr"] for r in history(tmp_path) if "validation_psnr" in r}
    best = max(scores, key=lambda n: scores[n])
    assert {int(path.stem[-12:]) for path in checkpoints(tmp_path)} == {80, 72, best}


def test_a_folder_of_another_run_is_left_alone(photos: Path, tmp_path: Path) -> None:
    train_weights(tiny(photos, **{"stages.0.n_images": 8}), tmp_path, device="cpu")
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(RecipeError, match=r"stages\.0\.n_images was 8, is 12"):
        train_weights(tiny(photos, **{"stages.0.n_images": 12}), tmp_path, device="cpu")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == kept


def test_a_diverged_run_ends_with_a_report_and_its_last_checkpoint(photos: Path, tmp_path: Path) -> None:
    wild = {"stages.0.optimizer": "{ kind = 'adam', learning_rate = 1e30 }", "rhythm.save_every": 4}
    with pytest.raises(
        RecipeError, match=r"diverged after \d+ images: l2 is no number in the step on samples \d+ to \d+;.*is intact"
    ):
        train_weights(tiny(photos, **wild), tmp_path, device="cpu")
    assert checkpoints(tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))


class Fragile(torch.nn.Module):
    """Fails once: its eleventh output in training holds a NaN."""

    calls = 0

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.arguments = {"channels": channels}
        self.conv = torch.nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        Fragile.calls += self.training
        spoiled = torch.nan if Fragile.calls == 11 and self.training else 0.0
        result: torch.Tensor = self.conv(image) + spoiled
        return result


class Exploding(torch.nn.Module):
    """Its loss is finite and its gradient is not, from the third step on."""

    def __init__(self) -> None:
        super().__init__()
        self.arguments: dict[str, int] = {}
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.calls = 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.calls += self.training
        root = (
            (self.weight - self.weight.detach()).abs().sqrt() if self.calls > 2 and self.training else 0 * self.weight
        )
        return image * self.weight + root


def test_a_gradient_that_is_no_number_stops_before_it_reaches_the_weights(photos: Path, tmp_path: Path) -> None:
    changes = {
        "network": "{ kind = 'tests.test_training:Exploding' }",
        "stages.0.optimizer": ADAM,
        "rhythm.save_every": 4,
    }
    with pytest.raises(RecipeError, match=r"after 8 images: gradient of network\.weight is no number"):
        train_weights(tiny(photos, **changes), tmp_path, device="cpu")
    kept = read_checkpoint(checkpoints(tmp_path)[0])
    assert bool(torch.isfinite(kept["networks"]["generator"]["weight"]).all())


def test_a_flipped_bit_in_a_checkpoint_is_noticed(photos: Path, tmp_path: Path) -> None:
    recipe = tiny(photos, **{"stages.0.n_images": 24, "rhythm.save_every": 8, "rhythm.keep": 1})
    whole = train_weights(recipe, tmp_path / "a", device="cpu").read_bytes()

    def cut(record: dict[str, Any]) -> None:
        if record["n_seen"] == 20:
            raise MemoryError

    longer = recipe.model_copy(update={"rhythm": recipe.rhythm.model_copy(update={"keep": 2})})
    with pytest.raises(Exception, match="not enough memory"):
        train_weights(longer, tmp_path / "b", device="cpu", on_step=cut)
    newest = checkpoints(tmp_path / "b")[0]
    spoiled = bytearray(newest.read_bytes())
    spoiled[len(spoiled) // 2] ^= 1
    newest.write_bytes(spoiled)
    assert train_weights(recipe, tmp_path / "b", device="cpu").read_bytes() == whole
    assert [read_checkpoint(path)["n_seen"] for path in checkpoints(tmp_path / "b")] == [24]


def test_a_diverged_run_may_go_back_and_go_on_more_slowly(photos: Path, tmp_path: Path) -> None:
    changes = {
        "network": "{ kind = 'tests.test_training:Fragile' }",
        "stages.0.optimizer": ADAM,
        "stages.0.n_images": 80,
        "rhythm.save_every": 16,
        "divergence": "{ roll_backs = 1, factor = 0.5 }",
    }
    said: list[str] = []
    Fragile.calls = 0
    train_weights(tiny(photos, **changes), tmp_path, device="cpu", say=said.append)
    (line,) = [line for line in said if "diverged" in line]
    assert "diverged after 40 images: l2 is no number in the step on samples 40 to 43; going on from 32 images" in line
    records = history(tmp_path)
    assert [record["n_seen"] for record in records if "rolled_back" not in record] == list(range(4, 81, 4))
    after = next(record for record in records if record["n_seen"] == 36)
    before = next(record for record in records if record["n_seen"] == 32 and "rolled_back" not in record)
    assert after["rate_factor"] < 0.6 * before["rate_factor"]


def test_a_network_of_somebody_else_is_built_from_the_seed(photos: Path, tmp_path: Path) -> None:
    changes = {
        "network": "{ kind = 'tests.test_training:Fragile' }",
        "stages.0.n_images": 4,
        "stages.0.optimizer": ADAM,
    }
    Fragile.calls = 20
    torch.rand(5)
    runs = [trained(tiny(photos, **changes), tmp_path / name) for name in "ab"]
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])


def test_what_decides_no_bits_may_change(photos: Path, tmp_path: Path) -> None:
    settings: dict[str, object] = {"stages.0.n_images": 8, "rhythm.save_every": 4}
    first = trained(tiny(photos, **settings), tmp_path / "run")
    settings |= {"rhythm.save_every": 80, "weights.licence": "MIT"}
    moved = tmp_path / "elsewhere"
    shutil.copytree(photos, moved)
    path = train_weights(tiny(moved, **settings), tmp_path / "run", device="cpu")
    second, card = load_weights(path)
    assert card.licence == "MIT"
    assert all(torch.equal(tensor, second.state_dict()[key]) for key, tensor in first.items())
    (moved / "0.png").unlink()
    with pytest.raises(RecipeError, match=r"photos\.0 was"):
        train_weights(tiny(moved, **settings), tmp_path / "run", device="cpu")


def test_a_run_killed_before_its_first_checkpoint_starts_anew(photos: Path, tmp_path: Path) -> None:
    recipe = tiny(photos, **{"stages.0.n_images": 16})

    def killed(record: dict[str, Any]) -> None:
        if record["n_seen"] == 8:
            raise MemoryError

    with pytest.raises(Exception, match="not enough memory"):
        train_weights(recipe, tmp_path, device="cpu", on_step=killed)
    with (tmp_path / "metrics.jsonl").open("a") as log:
        log.write('{"psnr": 27.0, "n_se')  # a line cut short by the kill
    train_weights(recipe, tmp_path, device="cpu")
    assert [record["n_seen"] for record in history(tmp_path)] == [4, 8, 12, 16]


def test_one_process_at_a_time_in_a_run_folder(photos: Path, tmp_path: Path) -> None:
    from resharp.locks import exclusive

    with exclusive(tmp_path), pytest.raises(DatasetError, match="another process"):
        train_weights(tiny(photos), tmp_path, device="cpu")


def test_a_run_folder_that_is_a_file_is_named(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a file stands where a folder belongs"):
        train_weights(tiny(photos), tmp_path / "file", device="cpu")


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"network.arguments.widht": 8}, RecipeError, "widht"),
        ({"network.kind": "dea"}, RecipeError, "did you mean 'dae'"),
        ({"network.kind": "nowhere.at:All"}, RecipeError, "cannot be imported"),
        ({"stages.0.losses": "{ l3 = 1.0 }"}, RecipeError, "did you mean 'l2'"),
        ({"stages.0.precision": "float16", "stages.0.optimizer": ADAM}, RecipeError, "needs an accelerator"),
        ({"stages.0.precision": "float16"}, RecipeError, "stages.0: muon and float16 do not go together"),
        ({"data.n_holdout": 6}, ArgumentError, "cannot hold 6 of 6"),
        ({"data.plan.crop": 65}, DatasetError, "smaller than the crop of 65"),
        ({"data.mix": "[1, 2]"}, RecipeError, "2 weights for 1 sources"),
        ({"data.split": "train"}, DatasetError, "no split 'train'"),
        ({"data.plan.crop": 0}, RecipeError, "whole photos make no batches"),
        ({"stages.0.losses": "{}"}, RecipeError, "stages.0.losses"),
        ({"stages.0.batch_size": '"4"'}, RecipeError, "stages.0.batch_size: input should be a valid integer"),
        ({"compile": '"no"'}, RecipeError, "compile: input should be a valid boolean"),
        ({"network": "{ kind = 'torch.nn:Identity' }"}, RecipeError, "has no parameters to train"),
        ({"network": "{ kind = ':Name' }"}, RecipeError, "is no network"),
        ({"data.photos": '""'}, RecipeError, "photos is an empty name"),
    ],
)
def test_recipes_that_do_not_fit_the_world(
    photos: Path, tmp_path: Path, changes: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as caught:
        train_weights(tiny(photos, **changes), tmp_path, device="cpu")
    assert "tuple should have" not in str(caught.value)
    assert words in str(caught.value)


def test_a_device_that_is_not_there(photos: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ArgumentError, match="device 'cuda' cannot be used here"):
        train_weights(tiny(photos), tmp_path, device="cuda")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("stages.0.batch_sise=4", "stages.0.batch_sise is not a setting; did you mean 'batch_size'"),
        ("stage.0.kind=adam", "stage is not a setting; did you mean 'stages'"),
        ("stages.0.batch_size=0", "stages.0.batch_size: input should be greater than 0"),
        ("stages.0.n_images=17", "stages.0: n_images is no multiple of batch_size; take 16"),
        ("stages.1.n_images=17", "'1' is none of the 1 items there"),
        ("data.noise_sigma=nan", "data.noise_sigma"),
        ("data.plan.crp=3", "crp is not a setting; did you mean 'crop'"),
        ("stages.0.optimizer.kind=sgd", "'muon', 'adam'"),
        ("stages.0.optimizer.kind=adam", "stages.0.optimizer.momentum is not a setting"),
        ("stages.0.optimizer.learning_rat=1", "learning_rat is not a setting; did you mean 'learning_rate'"),
        ("stages.0.optimizer.learning_rate=-1", "stages.0.optimizer.learning_rate: input should be greater than 0"),
        ("stages.0.optimizer.schedule.kind=cosin", "'constant', 'linear', 'cosine' or 'steps'"),
        ("stages.0.batch_size", "write key=value"),
        ("seed.low=1", "is a value, not a table"),
    ],
)
def test_what_a_recipe_does_not_hold_is_named(override: str, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(DAE, (override,))
    assert words in str(caught.value)


@pytest.mark.parametrize(("text", "words"), [("seed = ", "not valid TOML"), (None, "no such recipe")])
def test_files_that_are_no_recipe_are_named(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "mine.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RecipeError, match=words):
        load_recipe(path)


GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", ["supervised", "gan"])
def test_ten_stored_steps_come_out_again(photos: Path, tmp_path: Path, name: str) -> None:
    """The log of a tiny run, made once and stored: a change of the engine that changes numbers shows here."""
    if name == "gan":
        recipe = gan(photos)
        stage = recipe.stages[1].model_copy(update={"n_images": 40})
        recipe = recipe.model_copy(update={"stages": (stage,)})
    else:
        recipe = tiny(photos, **{"stages.0.n_images": 40})
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as when they were stored: more threads sum in another order
    train_weights(recipe, tmp_path, device="cpu")
    torch.set_num_threads(n_threads)
    stored = [json.loads(line) for line in (GOLDEN / f"{name}.jsonl").read_text().splitlines()]
    found = history(tmp_path)
    assert [record["n_seen"] for record in found] == [record["n_seen"] for record in stored] == list(range(4, 41, 4))
    for step, (record, expected) in enumerate(zip(found, stored, strict=True)):
        # So do other processors, and an adversarial game doubles what differs at every step.
        slack = {"rel": 2e-3, "abs": 1e-6} if name == "supervised" else {"rel": 2e-3 * 2**step, "abs": 1e-4 * 2**step}
        numbers = {key: value for key, value in expected.items() if isinstance(value, float)}
        assert {key: record[key] for key in numbers} == pytest.approx(numbers, **slack)


def test_the_schema_for_editors_is_the_recipe_s() -> None:
    published = Path(__file__).parent.parent / "docs" / "recipe.schema.json"
    assert json.loads(published.read_text()) == recipe_schema(), "write it again: tools/write_schema.py"
    for path in RECIPES:
        assert path.read_text().startswith("#:schema ../docs/recipe.schema.json")


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
