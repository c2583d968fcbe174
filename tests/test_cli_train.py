"""`resharp train` and `resharp runs` as a user meets them."""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

import resharp
from tests.conftest import Run, rand
from tests.processes import begun, command, ended

RECIPE = "dae"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for index in range(3):
        resharp.write_photo(resharp.Photo(rand(3, 32, 32, seed=index).float()), tmp_path / "photos" / f"{index}.png")
    return tmp_path / "photos"


def small(photos: Path, **changes: object) -> list[str]:
    settings: dict[str, object] = {
        "data.photos": json.dumps(str(photos)),
        "data.plan.crop": 16,
        "data.n_holdout": 1,
        "networks.generator.arguments.width": 4,
        "networks.generator.arguments.depth": 3,
        "stages.0.n_images": 8,
        "stages.0.batch_size": 4,
        "tracking": "[]",
    }
    return [f"{key}={value}" for key, value in (settings | changes).items()]


def test_a_dry_run_prints_the_recipe_and_what_it_takes(run: Run, photos: Path, tmp_path: Path) -> None:
    done = run("train", RECIPE, "--dry-run", "--device", "cpu", *small(photos))
    assert done.code == 0
    shown = json.loads(done.out)
    assert shown["stages"][0]["batch_size"] == 4
    assert "features" not in shown, "what has no part in it"
    for words in ("generator 371", "GFLOP", "GiB on cpu", "hours", "photos to train on: 2, 1 of 1 groups (a video,"):
        assert words in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]
    assert shown["data"]["plan"]["crop"] == 16


def test_a_dry_run_that_diverges_says_so(run: Run, photos: Path) -> None:
    done = run("train", RECIPE, "--dry-run", "--device", "cpu", *small(photos, **{"stages.0.losses.l2": 1e38}))
    assert done.code == 2
    assert "lower the learning rate" in done.err


def test_what_training_needs_beside_the_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").touch()
    assert ended(without_accelerate, "train", "recipe.toml", folder=tmp_path) == 2
    said = (tmp_path / "stderr").read_text().splitlines()
    assert said == ["resharp: training needs accelerate: pip install 'resharp[train]'"]


def without_accelerate(*words: object) -> None:
    sys.modules["accelerate"] = None  # type: ignore[assignment]
    command(*words)


def test_mistakes_are_one_line_and_leave_no_folder(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, words in (
        (["stages.0.batch_sise=8"], "did you mean 'batch_size'"),
        ([f"data.photos={tmp_path / 'empty'}"], "no photos there"),
        (["data.photos=nowhere", "--dry-run"], "data.photos: nowhere: no such folder"),
        (["data.degraded=nowhere"], "data.degraded: nowhere: no such folder"),
        (["--device", "tpu"], "device 'tpu' cannot be used here"),
        (["--init", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--dry-run", "--init", "nowhere.safetensors"], "nowhere.safetensors"),
        (["tracking=['wandb']"], "wandb is not installed; pip install 'resharp[wandb]'"),
    ):
        done = run("train", RECIPE, *small(photos), "-o", tmp_path / "run", *arguments)
        assert done.code == 2, words
        assert ("--init" in arguments and "--dry-run" in arguments) == bool(done.out)
        assert words in done.err
        assert not list(tmp_path.glob("run/*.pt"))


def test_weights_that_deconvolve_takes_and_a_list_of_runs(run: Run, photos: Path, tmp_path: Path) -> None:
    command = ("train", RECIPE, *small(photos), "--device", "cpu", "-o", tmp_path / "runs" / "first")
    done = run(*command)
    assert done.code == 0, done.err
    weights = tmp_path / "runs" / "first" / "dae-sigma11.safetensors"
    assert str(weights) in done.out
    assert re.search(r"8 images: validation \d+\.\d\d dB, input \d+\.\d\d dB, gain [+-]\d", done.err)
    assert json.loads(run(*command, "--json").out)["weights"]["sha256"] == resharp.read_card(weights).sha256
    done = run(
        "deconvolve",
        photos / "0.png",
        "-o",
        tmp_path / "o.png",
        "--kernel",
        "disk:1",
        "--iterations",
        2,
        "--model",
        weights,
    )
    assert done.code == 0, done.err
    done = run("runs", tmp_path / "runs", "--curves", tmp_path / "curves.png")
    assert "first" in done.out
    assert "finished" in done.out
    for curves in (tmp_path / "curves.png", weights.with_name("curves.png")):
        assert min(resharp.read_photo(curves).image.shape[1:]) > 200
    (row,) = json.loads(run("runs", tmp_path / "runs", "--json").out)["runs"]
    assert (row["state"], row["n_seen"], row["n_images"], row["figure"]) == ("finished", 8, 8, "psnr")
    assert row["last"] == row["best"] > 0 < row["input"]
    done = run("runs", tmp_path / "photos")
    assert done.code == 2
    assert "holds no run folders" in done.err


def test_ctrl_c_saves_and_says_how_to_go_on(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = [
        "train",
        str(RECIPE),
        *small(photos, **{"stages.0.n_images": 4_000_000}),
        "--device",
        "cpu",
        "-o",
        str(out),
    ]
    process = begun(command, *words, folder=tmp_path)
    until = time.monotonic() + 60
    while not (out / "metrics.jsonl").exists() and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(process.pid or 0, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 130
    errors = (tmp_path / "stderr").read_text()
    assert errors.splitlines()[-1].endswith(f"interrupted; the same command goes on from its checkpoint in {out}")
    assert "Traceback" not in errors
    assert list(out.glob("checkpoint-*.pt"))
