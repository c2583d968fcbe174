"""Several processes against one: the same global batch, the same gradients, WGAN-GP included; and a run that ends."""

import os
import socket
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

import resharp
from resharp.training import load_recipe, train_weights
from tests import distributed_program
from tests.conftest import rand
from tests.processes import begun
from tests.toy_training import history

RECIPE = """
[data]
photos = "photos"
n_holdout = 2
plan = { crop = 24, variants = [{ steps = [{ kind = "noise", sigma = 0.05 }] }] }
[networks.generator]
kind = "dae"
arguments = { width = 4, depth = 3, batch_norm = true }
ema = 0.9
[networks.critic]
kind = "patchgan"
arguments = { width = 4, n_layers = 1 }
[[stages]]
step = "gan"
n_images = 24
batch_size = 4
losses = { l2 = 1.0 }
trains.generator = { kind = "adam", learning_rate = 1e-3 }
trains.critic = { kind = "adam", learning_rate = 1e-3 }
[stages.adversarial]
kind = "wgan"
weight = 0.01
gradient_penalty = 10.0
critic_steps = 2
fresh_batches = true
[judge]
every = 4
[checkpoints]
every = 8
[weights]
name = "toy"
licence = "none"
training_data = "noise"
"""


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """(the folder where two processes did what the program does, their output): one launch for all tests."""
    folder = tmp_path_factory.mktemp("launched")
    for index in range(5):
        resharp.write_photo(resharp.Photo(rand(3, 40, 40, seed=index).float()), folder / "photos" / f"{index}.png")
    (folder / "recipe.toml").write_text(RECIPE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [begun(ranked, rank, port, folder=folder, label=f"-{rank}") for rank in range(2)]
    for process in ranks:
        process.join(120)
    assert [process.exitcode for process in ranks] == [0, 0], (folder / "stderr-0").read_text()[-3000:]
    return folder, "".join((folder / f"stdout-{rank}").read_text() for rank in range(2))


def ranked(rank: int, port: int) -> None:
    """What torchrun does: it tells each process its place."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in place.items()} | {"MASTER_ADDR": "127.0.0.1"}
    distributed_program.main()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_have_the_gradients_of_one(launched: tuple[Path, str], accumulate: int) -> None:
    one = distributed_program.gradients(Accelerator(cpu=True), accumulate)
    two = torch.load(launched[0] / "gradients.pt", weights_only=True)[accumulate]
    assert one["loss"] > 0
    assert abs(one["loss"] - two["loss"]) < 1e-5
    assert abs(one["critic"] - two["critic"]) < 1e-5
    largest = {
        owner: max(float(gradient.abs().max()) for name, gradient in one["gradients"].items() if name[0] == owner)
        for owner in "gc"
    }
    for name, gradient in one["gradients"].items():
        assert float((two["gradients"][name] - gradient).abs().max()) < 1e-5 * largest[name[0]], name


def test_two_processes_take_the_step_of_one(launched: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """From the samples on: the losses of a run's first step are those of the whole batch."""
    folder, _ = launched
    monkeypatch.chdir(folder)
    plain = ("networks.generator.arguments.batch_norm=false", "stages.0.n_images=4", "tracking=[]")
    train_weights(load_recipe(Path("recipe.toml"), plain), "alone", device="cpu")
    (theirs,), (ours,) = history(folder / "alone"), history(folder / "plain")
    for name in ("l2", "critic", "gradient_penalty", "adversarial", "generator_gradient"):
        assert ours[name] == pytest.approx(theirs[name], rel=1e-2, abs=1e-6), name


def test_a_run_on_two_processes_ends_in_order(launched: tuple[Path, str]) -> None:
    """With batch norm, whose statistics differ between processes, a validation at every step, and TensorBoard."""
    folder, said = launched
    assert said.count("trained toy") == 1
    assert (folder / "run" / "toy.safetensors").exists()
    assert list((folder / "run").rglob("events.out.tfevents.*"))
