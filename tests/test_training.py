"""The training path: recipes, exact resume, and that it learns."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resharp.data.crops import CleanCrops, noisy_batch
from resharp.data.folders import photo_paths, split_holdout
from resharp.errors import ArgumentError, OutputError, RecipeError
from resharp.training import load_recipe, train_weights
from resharp.training.loop import Pace, learning_rate_scale
from resharp.weights import load_weights, weights_path

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.toml"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six crops of the demo photo."""
    folder = tmp_path_factory.mktemp("photos")
    demo = Image.open(weights_path("dae-sigma11").parent / "demo-photo.png")
    for index in range(6):
        demo.crop((30 * index, 20 * index, 30 * index + 80, 20 * index + 64)).save(folder / f"{index}.png")
    return folder


def tiny(photos: Path, **changes: object) -> tuple[Path, tuple[str, ...]]:
    """The shipped recipe at toy size."""
    settings: dict[str, object] = {
        "data.photos": photos,
        "data.crop": 24,
        "data.n_holdout": 2,
        "network.arguments.width": 16,
        "network.arguments.depth": 4,
        "training.warmup_images": 8,
        "training.n_images": 240,
        "training.batch_size": 4,
        "training.validate_every": 80,
        "training.save_every": 80,
        "training.precision": "float32",
    }
    settings |= changes
    return RECIPES[0], tuple(f"{key}={value}" for key, value in settings.items())


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_validate_and_name_their_command(path: Path) -> None:
    load_recipe(path)
    assert f"resharp train recipes/{path.name}" in path.read_text(encoding="utf-8")


def test_it_learns_and_says_what_it_did(photos: Path, tmp_path: Path) -> None:
    longer = {"training.n_images": 800, "training.batch_size": 8, "optimizer.learning_rate": 0.02}
    recipe = load_recipe(*tiny(photos, **longer, **{"training.validate_every": 400}))
    path = train_weights(recipe, tmp_path / "run")
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [record["n_seen"] for record in records] == list(range(8, 801, 8))
    validations = [record["validation_psnr"] for record in records if "validation_psnr" in record]
    assert len(validations) == 2
    assert validations[-1] > 27.31 + 2.0, "more than two decibels above the noisy photos"
    network, card = load_weights(path)
    assert card.name == "dae-sigma11"
    assert card.arguments == {"channels": 3, "width": 16, "depth": 4, "batch_norm": False}
    assert not network.training


@pytest.mark.parametrize("changes", [{}, {"optimizer": "{ kind = 'adam', learning_rate = 1e-3 }"}])
@pytest.mark.parametrize("batch_norm", ["false", "true"])
def test_a_killed_run_ends_in_the_same_bits(
    photos: Path, tmp_path: Path, changes: dict[str, object], batch_norm: str
) -> None:
    small = {"training.n_images": 44, "training.save_every": 12, "training.validate_every": 20}
    recipe = load_recipe(*tiny(photos, **small, **{"network.arguments.batch_norm": batch_norm}, **changes))
    whole = train_weights(recipe, tmp_path / "whole")

    def killed(report: dict[str, object]) -> None:
        if report["n_seen"] == 32:  # eight images after a checkpoint
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_weights(recipe, tmp_path / "cut", on_step=killed)
    resumed = train_weights(recipe, tmp_path / "cut")
    assert resumed.read_bytes() == whole.read_bytes()

    def history(run: str) -> list[dict[str, object]]:
        lines = (tmp_path / run / "metrics.jsonl").read_text().splitlines()
        return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]

    assert history("cut") == history("whole")


def test_a_finished_run_only_writes_its_weights_again(photos: Path, tmp_path: Path) -> None:
    recipe = load_recipe(*tiny(photos, **{"training.n_images": 8}))
    first = train_weights(recipe, tmp_path / "run").read_bytes()
    steps: list[object] = []
    assert train_weights(recipe, tmp_path / "run", on_step=steps.append).read_bytes() == first
    assert steps == []


def test_a_folder_of_another_run_is_left_alone(photos: Path, tmp_path: Path) -> None:
    train_weights(load_recipe(*tiny(photos, **{"training.n_images": 8})), tmp_path)
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RecipeError, match="its training differ"):
        train_weights(load_recipe(*tiny(photos, **{"training.n_images": 12})), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_a_diverged_run_ends_with_an_error(photos: Path, tmp_path: Path) -> None:
    recipe = load_recipe(*tiny(photos, **{"optimizer.learning_rate": 1e30}))
    with pytest.raises(RecipeError, match="diverged"):
        train_weights(recipe, tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))


def test_what_decides_no_bits_may_change(photos: Path, tmp_path: Path) -> None:
    settings = {"training.n_images": 8, "training.save_every": 4}
    first, _ = load_weights(train_weights(load_recipe(*tiny(photos, **settings)), tmp_path / "run"))
    settings |= {"training.save_every": 80, "weights.licence": "MIT"}
    moved = tmp_path / "elsewhere"
    shutil.copytree(photos, moved)
    second, card = load_weights(train_weights(load_recipe(*tiny(moved, **settings)), tmp_path / "run"))
    assert card.licence == "MIT"
    assert all(torch.equal(tensor, second.state_dict()[key]) for key, tensor in first.state_dict().items())
    (moved / "0.png").unlink()
    with pytest.raises(RecipeError, match="its photos differ"):
        train_weights(load_recipe(*tiny(moved, **settings)), tmp_path / "run")


def test_a_run_killed_before_its_first_checkpoint_starts_anew(photos: Path, tmp_path: Path) -> None:
    recipe = load_recipe(*tiny(photos, **{"training.n_images": 16}))

    def killed(report: dict[str, object]) -> None:
        if report["n_seen"] == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_weights(recipe, tmp_path, on_step=killed)
    with (tmp_path / "metrics.jsonl").open("a") as log:
        log.write('{"psnr": 27.0, "n_se')  # a line cut short by the kill
    train_weights(recipe, tmp_path)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [record["n_seen"] for record in records] == [4, 8, 12, 16]


def test_a_run_folder_that_is_a_file_is_named(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a file stands where a folder belongs"):
        train_weights(load_recipe(*tiny(photos)), tmp_path / "file")


def test_a_damaged_checkpoint_is_named(photos: Path, tmp_path: Path) -> None:
    recipe = load_recipe(*tiny(photos, **{"training.n_images": 8}))
    (tmp_path / "checkpoint.pt").write_bytes(b"cut short")
    with pytest.raises(RecipeError, match=r"checkpoint\.pt: damaged"):
        train_weights(recipe, tmp_path)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.batch_sise=4", "training.batch_sise is not a setting; did you mean 'batch_size'"),
        ("optimiser.kind=adam", "optimiser is not a setting; did you mean 'optimizer'"),
        ("training.batch_size=0", "training.batch_size: input should be greater than 0"),
        ("degradation.noise_sigma=nan", "degradation.noise_sigma"),
        ("optimizer.kind=sgd", "'muon', 'adam'"),
        ("optimizer.kind=adam", "optimizer.momentum is not a setting; the settings there are kind, learning_rate"),
        ("optimizer.learning_rat=1", "optimizer.learning_rat is not a setting; did you mean 'learning_rate'"),
        ("optimizer.learning_rate=-1", "optimizer.learning_rate: input should be greater than 0"),
        ("training.batch_size", "write key=value"),
        ("seed.low=1", "is a value, not a table"),
    ],
)
def test_what_a_recipe_does_not_hold_is_named(override: str, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(RECIPES[0], (override,))
    assert words in str(caught.value)


@pytest.mark.parametrize(("text", "words"), [("seed = ", "not valid TOML"), (None, "no such recipe")])
def test_files_that_are_no_recipe_are_named(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "mine.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RecipeError, match=words):
        load_recipe(path)


def test_unknown_network_arguments_are_named(photos: Path, tmp_path: Path) -> None:
    recipe = load_recipe(*tiny(photos, **{"network.arguments.widht": 8}))
    with pytest.raises(RecipeError, match="widht"):
        train_weights(recipe, tmp_path)


def test_the_schedule_has_its_end_points() -> None:
    pace = Pace(n_images=1000, batch_size=1, warmup_images=99, validate_every=1, save_every=1)
    assert learning_rate_scale(0, pace) == pytest.approx(0.01)
    assert learning_rate_scale(500, pace) == pytest.approx(0.5)
    assert learning_rate_scale(1000, pace) == pytest.approx(0)


# --- data -------------------------------------------------------------------------------------------------------------


def ramp(height: int, width: int) -> torch.Tensor:
    """Each pixel holds its place: red the row, green the column."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns, torch.zeros_like(rows)]).to(torch.uint8)


def test_samples_depend_on_seed_and_index_alone() -> None:
    crops = CleanCrops([ramp(40, 60), ramp(90, 30)], 16)
    noisy, clean = noisy_batch(crops, 0.1, seed=5, start=10, count=6)
    for index in range(6):
        one_noisy, one_clean = noisy_batch(crops, 0.1, seed=5, start=10 + index, count=1)
        assert torch.equal(one_noisy[0], noisy[index])
        assert torch.equal(one_clean[0], clean[index])
    assert not torch.equal(noisy_batch(crops, 0.1, seed=6, start=10, count=6)[1], clean)
    other = noisy_batch(crops, 0.1, seed=5, start=16, count=6)[1]
    assert not torch.equal(other, clean)


def test_crops_cover_all_places_turns_and_flips_evenly() -> None:
    crops = CleanCrops([ramp(20, 24), ramp(12, 10)], 8)
    _, clean = noisy_batch(crops, 0.1, seed=0, start=0, count=4000)
    corners = (clean[:, :2, 0, 0] * 255).round()
    # 13 x 17 places in the first photo and 5 x 3 in the second, by 8 turns and flips: every corner value turns up.
    assert set(corners[:, 0].int().tolist()) == set(range(20))
    assert set(corners[:, 1].int().tolist()) == set(range(24))
    down = (clean[:, :2, 1, 0] - clean[:, :2, 0, 0]).mul(255).round().int()
    kinds = {tuple(step) for step in down.tolist()}
    assert kinds == {(1, 0), (-1, 0), (0, 1), (0, -1)}
    right = (clean[:, :2, 0, 1] - clean[:, :2, 0, 0]).mul(255).round().int()
    assert len({(*a, *b) for a, b in zip(down.tolist(), right.tolist(), strict=True)}) == 8


def test_the_noise_has_its_level() -> None:
    crops = CleanCrops([ramp(40, 60)], 32)
    noisy, clean = noisy_batch(crops, 11 / 255, seed=0, start=0, count=64)
    noise = (noisy - clean).double()
    assert float(noise.std()) == pytest.approx(11 / 255, rel=0.01)
    assert abs(float(noise.mean())) < 11 / 255 / 100
    neighbours = np.corrcoef(noise[..., 1:].flatten(), noise[..., :-1].flatten())[0, 1]
    assert abs(neighbours) < 0.01
    between = np.corrcoef(noise[0].flatten(), noise[1].flatten())[0, 1]
    assert abs(between) < 0.1


def test_photos_smaller_than_the_crop_are_named() -> None:
    with pytest.raises(ArgumentError, match="1 of 2 photos"):
        CleanCrops([ramp(40, 60), ramp(8, 60)], 16)


def test_folders_and_holdout(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no photos there"):
        photo_paths(tmp_path)
    paths = [Path(f"{index:03}.png") for index in range(20)]
    training, held = split_holdout(paths, 4)
    assert sorted(training + held) == paths
    assert [int(p.stem) for p in held] == [2, 7, 12, 17]
    with pytest.raises(ArgumentError, match="hold 20 of 20"):
        split_holdout(paths, 20)
