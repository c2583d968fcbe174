"""The training engine: recipes, run folders, that it learns, and what does not fit."""

import errno
import json
import os
import tomllib
import types
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import safetensors.torch
import torch
from torch.utils.flop_counter import FlopCounterMode

import resharp
from resharp.data.listing import Item
from resharp.data.sources import PhotoFiles
from resharp.errors import ArgumentError, DatasetError, OutputError, RecipeError, ResourceError, WeightsError
from resharp.models import load_model
from resharp.networks import NETWORKS
from resharp.photo import photo_size
from resharp.restorers import denoise, open_restorer
from resharp.training import dry_run, list_runs, load_recipe, recipe_schema, train_weights
from resharp.training.building import build_cast
from resharp.training.config import NetworkRecipe
from resharp.training.loop import _instead_of_bfloat16
from resharp.training.sampler import held_out, open_sampler
from tests.toy_training import ADAM, DAE, cut_photos, gan, history, killed_at, tiny, trained

pytestmark = pytest.mark.usefixtures("no_curves")
RECIPES = sorted((Path(__file__).parent.parent / "src/resharp/recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_validate_and_name_their_command(path: Path) -> None:
    load_recipe(path)
    assert f"resharp train {path.stem}" in path.read_text(encoding="utf-8")


def test_it_learns_and_says_what_it_did(photos: Path, tmp_path: Path) -> None:
    changes = {"stages.0.n_images": 800, "stages.0.batch_size": 8, "stages.0.trains.generator.learning_rate": 0.02}
    recipe = tiny(photos, **changes, **{"judge.every": 400})
    path = train_weights(recipe, tmp_path / "run", device="cpu")
    records = history(tmp_path / "run")
    assert [record["n_seen"] for record in records] == list(range(8, 801, 8))
    validations = [record["validation_psnr"] for record in records if "validation_psnr" in record]
    assert len(validations) == 2
    assert validations[-1] > 27.31 + 2.0, "more than two decibels above the noisy photos"
    assert records[-1]["input_psnr"] == pytest.approx(27.31, abs=0.05)
    network, card = load_model(path)
    assert card.name == "dae-sigma11"
    assert card.contract.task == "denoise"
    assert card.contract.noise_sigma == pytest.approx((11 / 255, 11 / 255))
    assert card.arguments == {"channels": 3, "width": 16, "depth": 4, "batch_norm": False}
    assert not network.training


def test_a_network_that_learns_more_than_noise_is_no_denoiser(photos: Path, tmp_path: Path) -> None:
    """`resharp deblur` refuses denoisers; one that had blurred and noisy photos is none."""
    steps = "[{ steps = [{ kind = 'trajectory', length = 20.0 }] }]"
    recipe = tiny(photos, **{"data.plan.variants": steps, "stages.0.n_images": 8, "checkpoints.every": 8})
    path = train_weights(recipe, tmp_path / "run", device="cpu")
    assert load_model(path)[1].contract.noise_sigma is None
    assert open_restorer(path, device="cpu", task="deblur").contract.task == "deblur"


def test_the_run_folder_explains_itself(photos: Path, tmp_path: Path) -> None:
    recipe = tiny(photos, tracking="['tensorboard']")
    train_weights(recipe, tmp_path / "run", device="cpu")
    run = tmp_path / "run"
    assert json.loads((run / "recipe.json").read_text()) == json.loads(recipe.model_dump_json())
    (session,) = json.loads((run / "run.json").read_text())
    assert {"command", "resharp", "commit", "torch", "python", "device", "begun"} <= set(session)
    assert sorted(path.name for path in (run / "samples").iterdir()) == [f"{n:012d}.png" for n in (80, 160, 240)]
    assert min(photo_size(run / "samples" / "000000000240.png")) > 200
    assert list(run.rglob("events.out.tfevents.*"))
    (summary,) = list_runs(tmp_path)
    assert (summary.name, summary.state, summary.n_seen, summary.n_images) == ("run", "finished", 240, 240)


def test_a_run_begins_from_other_weights(photos: Path, tmp_path: Path) -> None:
    first = train_weights(tiny(photos, **{"stages.0.n_images": 8}), tmp_path / "a", device="cpu")
    slow = tiny(
        photos,
        **{
            "stages.0.n_images": 4,
            "stages.0.trains.generator.learning_rate": 1e-12,
            "stages.0.trains.generator.adam_learning_rate": 1e-12,
        },
    )
    second = trained(slow, tmp_path / "b", init=first)
    for name, tensor in safetensors.torch.load_file(first).items():
        torch.testing.assert_close(second[name], tensor, atol=1e-6, rtol=0)
    with pytest.raises(WeightsError, match=r"networks\.generator\.init: .*: is of network 'dae'"):
        train_weights(gan(photos), tmp_path / "c", device="cpu", init=first)


class Plain(torch.nn.Module):
    """Somebody's network that draws its weights from torch's own generator; enlarges if it is told to."""

    def __init__(self, scale: int = 1) -> None:
        super().__init__()
        self.arguments = {"scale": scale}
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)
        self.scale = scale

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(self.conv(image), scale_factor=self.scale)


@pytest.mark.parametrize(("scale", "factor"), [(1, 2), (2, 1), (2, 4)])
def test_a_network_of_another_scale_is_refused_before_a_folder_is_made(
    photos: Path, tmp_path: Path, scale: int, factor: int
) -> None:
    steps = f"[{{ kind = 'downscale', factor = {factor} }}]" if factor > 1 else "[]"
    changes = {
        "networks.generator": f"{{ kind = 'tests.test_training:Plain', arguments = {{ scale = {scale} }} }}",
        "data.plan.variants": f"[{{ steps = {steps} }}]",
        "stages.0.trains.generator": ADAM,
    }
    side = 64 // factor
    words = rf"Plain makes {side * scale}x{side * scale} of photos of {side}x{side}, and their truth has 64x64; take"
    with pytest.raises(RecipeError, match=words):
        train_weights(tiny(photos, **changes), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_dry_run_measures_every_stage_from_the_weights_named(photos: Path, tmp_path: Path) -> None:
    taken = dry_run(gan(photos), device="cpu", n_steps=1)
    pretrain, game = taken["stages"]
    assert [stage["name"] for stage in (pretrain, game)] == ["pretrain", "gan"]
    assert [stage["n_steps"] for stage in (pretrain, game)] == [3, 5]
    assert 0 < pretrain["flops_per_step"] < game["flops_per_step"]
    with FlopCounterMode(display=False) as counter:  # torch's own count of the supervised step
        network = NETWORKS["deblurgan"](**gan(photos).networks["generator"].arguments)
        network(torch.rand(4, 3, 24, 24)).sum().backward()
    assert pretrain["flops_per_step"] == counter.get_total_flops()
    for total, drawing in (("hours", "draw_seconds"), ("hours_reading", "read_and_draw_seconds")):
        seconds = sum(one["n_steps"] * (one["seconds_per_step"] + one[drawing]) for one in (pretrain, game))
        assert taken[total] == pytest.approx(seconds / 3600)
    assert 0 < taken["hours"] <= taken["hours_reading"]
    weights = train_weights(tiny(photos, **{"stages.0.n_images": 4}), tmp_path, device="cpu")
    assert dry_run(tiny(photos), init=weights, device="cpu", n_steps=1)["parameters"]["generator"] > 0
    with pytest.raises(WeightsError, match="is of network 'dae'"):
        dry_run(gan(photos), init=weights, device="cpu")


def test_a_network_of_somebody_else_is_built_from_the_seed(photos: Path, tmp_path: Path) -> None:
    changes = {
        "networks.generator": "{ kind = 'tests.test_training:Plain' }",
        "stages.0.n_images": 4,
        "stages.0.trains.generator": ADAM,
    }
    torch.rand(5)
    runs = [trained(tiny(photos, **changes), tmp_path / name) for name in "ab"]
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    still = changes | {"stages.0.trains.generator": "{ kind = 'adam', learning_rate = 1e-12 }"}
    begun = trained(tiny(photos, **still), tmp_path / "c", init=tmp_path / "a" / "dae-sigma11.safetensors")
    for name, tensor in begun.items():
        torch.testing.assert_close(tensor, runs[0][name])


def test_a_loss_over_the_whole_batch_is_not_shared_by_processes(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = types.SimpleNamespace(device=torch.device("cpu"), num_processes=2)
    monkeypatch.setattr("resharp.training.launching.Accelerator", lambda **_: several)
    game = {"kind": "relativistic", "gradient_penalty": 0.0, "accumulate": 1}
    with pytest.raises(RecipeError, match=r"stages\.1\.adversarial\.kind: a relativistic loss compares"):
        train_weights(gan(photos, **game), tmp_path / "run", device="cpu")


def test_a_plan_in_a_file_is_overridden_like_one_in_the_recipe() -> None:
    recipes = Path(__file__).parent.parent / "src/resharp/recipes"
    plain = load_recipe(recipes / "deblurgan-synth.toml")
    changed = load_recipe(recipes / "deblurgan-synth.toml", ("data.plan.crop=128",))
    assert (plain.data.plan.crop, changed.data.plan.crop) == (256, 128)
    assert changed.data.plan.variants == plain.data.plan.variants
    other = load_recipe(recipes / "deblurgan-synth.toml", ("data.plan.crop=64", "data.plan=data/shake.toml"))
    assert other.data.plan.crop == 64
    assert other.data.plan.variants != plain.data.plan.variants
    with pytest.raises(RecipeError, match=r"trajectory\.toml: crp is not a setting; did you mean 'crop'"):
        load_recipe(recipes / "deblurgan-synth.toml", ("data.plan.crp=3",))


def test_a_network_is_compiled_where_the_recipe_says_so(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a compiler makes of it is torch's to test; here the steps run through it, the weights are the network's."""
    compiled: list[torch.nn.Module] = []
    modes: list[str | None] = []

    def compile_(network: torch.nn.Module, *, mode: str | None) -> torch.nn.Module:
        compiled.append(network)
        modes.append(mode)
        return torch.nn.Sequential(network)

    monkeypatch.setattr(torch, "compile", compile_)
    recipe = tiny(photos, **{"stages.0.n_images": 8, "checkpoints.every": 4})
    plain = trained(recipe, tmp_path / "plain")
    assert not compiled
    recipe = tiny(photos, **{"stages.0.n_images": 8, "checkpoints.every": 4, "networks.generator.compile": "true"})
    weights = trained(recipe, tmp_path / "compiled")
    assert len(compiled) == 1
    assert all(torch.equal(weights[name], plain[name]) for name in plain)
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *_, **__: self)
    build_cast(tiny(photos, **{"networks.generator.compile": "graphs"}), torch.device("cuda"))
    assert modes == [None, "reduce-overhead"]


@pytest.mark.parametrize(
    ("changes", "device", "words"),
    [
        ({}, "cpu", "CUDA, and this runs on cpu"),
        ({"stages.0.accumulate": 2}, "cuda", "one pass a step, and accumulate takes more"),
        ({"data.plan.crop": 0}, "cuda", r"one shape, and whole photos \(data"),
        ({"stages.0.step": "dbgan-pretrain"}, "cuda", "one pass a step, and only supervised"),
    ],
)
def test_what_is_in_the_way_of_cuda_graphs_is_told(
    photos: Path, changes: dict[str, Any], device: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *_, **__: self)
    recipe = tiny(photos, **{"networks.generator.compile": "graphs"}, **changes)
    with pytest.raises(RecipeError, match=f"generator.compile: graphs want {words}.*; take true"):
        build_cast(recipe, torch.device(device))


def test_a_disk_that_is_full_leaves_the_checkpoints_before(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(photos, **{"stages.0.n_images": 16, "checkpoints.every": 4, "judge.every": 16})
    whole, fsync = trained(recipe, tmp_path / "whole"), os.fsync

    def full(handle: int) -> None:
        if (tmp_path / "run" / "checkpoint-000000000008.pt").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    monkeypatch.setattr("resharp.files.os.fsync", full)
    with pytest.raises(OutputError, match="the disk is full"):
        train_weights(recipe, tmp_path / "run", device="cpu")
    monkeypatch.undo()
    assert not list((tmp_path / "run").glob(".resharp-*"))
    kept = sorted(path.name for path in (tmp_path / "run").glob("*checkpoint*"))
    assert kept == [f"checkpoint-{n:012d}.pt" for n in (4, 8)]
    weights = trained(recipe, tmp_path / "run")
    assert all(torch.equal(weights[name], whole[name]) for name in whole)


def test_one_process_at_a_time_in_a_run_folder(photos: Path, tmp_path: Path) -> None:
    from resharp.locks import exclusive

    with exclusive(tmp_path), pytest.raises(DatasetError, match=r"process \d+"):
        train_weights(tiny(photos), tmp_path, device="cpu")


def test_a_run_folder_that_is_a_file_is_named(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a file stands where a folder belongs"):
        train_weights(tiny(photos), tmp_path / "file", device="cpu")


def test_what_is_judged_by_is_in_no_source(photos: Path, tmp_path: Path) -> None:
    """Two folders that share photos, as pairs of two blurs do that were made of the same ones."""
    others = tmp_path / "others"
    others.mkdir()
    cut_photos(others)
    recipe = tiny(photos, **{"data.photos": json.dumps([str(photos), str(others)])})
    synthesis = open_sampler(recipe).stream.synthesis
    names = [{source.name(index) for index in range(len(source))} for source in synthesis.sources]
    assert names[0] == names[1] == {"0.png", "2.png", "3.png", "5.png"}


def test_photos_to_judge_by_come_from_many_groups() -> None:
    """Pairs made of six photos, seven of each: any one photo holds as many as are asked for."""
    items = [Item(None, Path(f"{number}.png"), group=f"photo-{number // 7}") for number in range(42)]
    source = PhotoFiles(items)

    def judged_by(n_groups: int) -> list[str]:
        training, kept = held_out([source], 6, n_groups)
        of = [{part.group(number) for number in range(len(part))} for part in (training[0], kept)]
        assert not of[0] & of[1]
        assert len(of[0] | of[1]) == 6
        assert len(kept) == 6
        return sorted(of[1])

    uneven = [Item(None, Path(f"{n}.png"), group=group) for n, group in enumerate("aaaaaaaabbcdddddddddd")]
    _, kept = held_out([PhotoFiles(uneven)], 6, 3)
    assert [kept.group(number) for number in range(len(kept))] == ["a", "a", "a", "c", "d", "d"]
    assert judged_by(1) == ["photo-2"]
    assert judged_by(3) == ["photo-0", "photo-2", "photo-4"]
    with pytest.raises(ArgumentError, match="6 of 6 groups at least"):
        judged_by(6)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"networks.generator.arguments.widht": 8}, RecipeError, "widht"),
        ({"networks.generator.kind": "dea"}, RecipeError, "did you mean 'dae'"),
        ({"networks.generator.kind": "nowhere.at:All"}, RecipeError, "cannot be imported"),
        ({"stages.0.losses": "{ l3 = 1.0 }"}, RecipeError, "did you mean 'l2'"),
        ({"stages.0.precision": "float16", "stages.0.trains.generator": ADAM}, RecipeError, "needs an accelerator"),
        ({"stages.0.precision": "float16"}, RecipeError, "stages.0: muon and float16 do not go together"),
        ({"data.n_holdout": 6}, ArgumentError, "cannot hold 6 of 6"),
        ({"data.plan.crop": 65}, DatasetError, "smaller than the crop of 65"),
        ({"data.mix": "[1, 2]"}, RecipeError, "2 weights for 1 sources"),
        ({"data.split": "train"}, DatasetError, "no split 'train'"),
        ({"data.plan.crop": 0}, RecipeError, "whole photos make no batches"),
        ({"stages.0.losses": "{}"}, RecipeError, "stages.0.losses"),
        ({"stages.0.batch_size": '"4"'}, RecipeError, "stages.0.batch_size: input should be a valid integer"),
        ({"networks.generator.compile": '"no"'}, RecipeError, "compile: input should be False, True or 'graphs'"),
        ({"networks.generator": "{ kind = 'torch.nn:Identity' }"}, RecipeError, "has no parameters to train"),
        ({"networks.generator": "{ kind = ':Name' }"}, RecipeError, "is no network"),
        ({"data.n_holdout_groups": 3}, RecipeError, "data: n_holdout is less than the 3 of n_holdout_groups"),
        (
            {"stages.0.jitter": 8, "stages.0.losses": "{ style = 1.0 }", "data.plan.crop": 0},
            RecipeError,
            "toml: stages.0.jitter needs crops",
        ),
        ({"stages.0.jitter": 8}, RecipeError, "stages.0: jitter is for stages with"),
        (
            {"stages.0.jitter": 33, "stages.0.losses": "{ style = 1.0 }"},
            RecipeError,
            "stages.0.jitter is more than half",
        ),
        ({"data.photos": '""'}, RecipeError, "photos is an empty name"),
        ({"data.photos": "2024"}, RecipeError, 'photos is no name; write it in quotes, such as "2024"'),
        ({"data.photos": "[2024-05-01]"}, RecipeError, "photos is no name"),
        (
            {"networks.generator.arguments.channels": 1},
            RecipeError,
            "networks.generator: dae cannot take photos of 64x64",
        ),
    ],
)
def test_recipes_that_do_not_fit_the_world(
    photos: Path, tmp_path: Path, changes: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as caught:
        train_weights(tiny(photos, **changes), tmp_path, device="cpu")
    assert "tuple should have" not in str(caught.value)
    assert words in str(caught.value)


def test_a_device_that_is_not_there(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ArgumentError, match="device 'cuda' cannot be used here"):
        train_weights(tiny(photos), tmp_path, device="cuda")

    def refused(*_: object, **__: object) -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).\nMore of it.")

    monkeypatch.setattr(torch, "zeros", refused)
    with pytest.raises(
        ArgumentError, match=r"used here \(The NVIDIA driver .* \(found version 11040\)\.\); 'cpu' always"
    ):
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
        ("stages.0.trains.generator.kind=sgd", "'muon', 'adam'"),
        ("stages.0.trains.generator.kind=adam", "stages.0.trains.generator.momentum is not a setting"),
        ("stages.0.trains.generator.learning_rat=1", "learning_rat is not a setting; did you mean 'learning_rate'"),
        (
            "stages.0.trains.generator.learning_rate=-1",
            "stages.0.trains.generator.learning_rate: input should be greater than 0",
        ),
        ("stages.0.trains.generator.schedule.kind=cosin", "'constant', 'linear', 'cosine' or 'steps'"),
        (
            "stages.0.trains.generator.schedule.constant_images=8",
            "constant_images is for kind = linear, and this schedule is",
        ),
        ("stages.0.trains.generator.schedule={ kind = 'constant', end = 0.1 }", "end is for kind = linear or cosine"),
        ("stages.0.trains.generator.schedule={ kind = 'steps' }", "steps need milestones"),
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


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(recipe_schema())


def test_the_schema_for_editors_is_the_recipe_s(schema: jsonschema.Draft202012Validator) -> None:
    published = Path(resharp.__file__).parent / "recipes" / "recipe.schema.json"
    assert json.loads(published.read_text()) == schema.schema, "write it again: tools/write_tables.py"
    for path in RECIPES:
        assert path.read_text().startswith("#:schema recipe.schema.json")
        schema.validate(tomllib.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("key", "value"), [("seed", "x"), ("sead", 1), ("data", {"photos": 3}), ("stages", [{"n_images": 1}])]
)
def test_the_schema_refuses_what_the_recipe_does(
    schema: jsonschema.Draft202012Validator, key: str, value: object
) -> None:
    with pytest.raises(jsonschema.ValidationError):
        schema.validate(tomllib.loads(DAE.read_text(encoding="utf-8")) | {key: value})


def test_a_precision_that_is_slow_here_is_told(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resharp.training.loop.has_fast_bfloat16", lambda device: False)
    said: list[str] = []
    small = {"stages.0.n_images": 8, "checkpoints.every": 8}
    train_weights(tiny(photos, **small), tmp_path / "a", device="cpu", say=said.append)
    assert said == []
    train_weights(
        tiny(photos, **small, **{"stages.0.precision": "bfloat16"}), tmp_path / "b", device="cpu", say=said.append
    )
    assert said == ["bfloat16 is slow on this processor; stages.0.precision=float32 may be several times as fast"]
    muon, adam = tiny(photos).stages[0], gan(photos).stages[0]
    there = [_instead_of_bfloat16(stage, torch.device("cuda")) for stage in (muon, adam)]
    assert there == ["float32", "float16"], "of a GPU without it; Muon takes no float16"


def test_a_training_that_degrades_in_its_step_goes_on_in_the_same_bits(photos: Path, tmp_path: Path) -> None:
    shaken = {"data.plan.variants": "[{ steps = [{ kind = 'shake', extent = 4.0, read_noise = 0.01 }] }]"}
    small = shaken | {"data.degrade": "step", "stages.0.n_images": 16, "checkpoints.every": 8, "judge.every": 16}
    exact: list[bool] = []  # deterministic algorithms, while it runs; on the CPU all are
    whole = trained(
        tiny(photos, **small, deterministic="true"),
        tmp_path / "a",
        on_step=lambda _: exact.append(torch.are_deterministic_algorithms_enabled()),
    )
    assert all(exact)
    assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(ResourceError):
        trained(tiny(photos, **small), tmp_path / "b", on_step=killed_at(12))
    resumed = trained(tiny(photos, **small), tmp_path / "b")
    assert all(torch.equal(resumed[name], part) for name, part in whole.items())
    with pytest.raises(RecipeError, match=r"data\.degrade was 'step', is 'loader'"):
        trained(tiny(photos, **small | {"data.degrade": "loader"}), tmp_path / "a")
    jpeg = {"data.plan.variants": "[{ steps = [{ kind = 'jpeg' }] }]"}
    with pytest.raises(RecipeError, match=r"variants.0.steps.0: jpeg is not done on batches; leave it out, or take"):
        trained(tiny(photos, **small | jpeg), tmp_path / "c")


def test_a_denoiser_learns_a_range_of_levels_which_it_is_told(photos: Path, tmp_path: Path) -> None:
    unet = {"kind": "unet", "arguments": {"widths": [8], "blocks": [1], "gather": 2, "noise_map": True}}
    small = {"data.noise_sigma": "[0.0, 0.2]", "stages.0.n_images": 8, "checkpoints.every": 8}
    recipe = tiny(photos, **small).model_copy(update={"networks": {"generator": NetworkRecipe.model_validate(unet)}})
    drawn = next(open_sampler(recipe).batches(0, 8, 8, torch.device("cpu")))
    assert drawn["sigma"].shape == (8, 1, 1, 1)
    noise = (drawn["degraded"] - drawn["clean"]).std((1, 2, 3))
    assert torch.allclose(noise, drawn["sigma"].flatten(), rtol=0.1)
    assert 0.1 < float(drawn["sigma"].max() - drawn["sigma"].min()) < 0.2
    path = train_weights(recipe, tmp_path / "run", device="cpu")
    assert load_model(path)[1].contract.noise_sigma == (0.0, 0.2)
    noisy = drawn["degraded"][0].clamp(0, 1)
    weak, strong = (denoise(noisy, level, model=path) for level in (0.01, 0.2))
    assert not torch.equal(weak, strong)
    with pytest.raises(RecipeError, match="noise_sigma a range"):
        train_weights(recipe.model_copy(update={"data": tiny(photos).data}), tmp_path / "b", device="cpu")
