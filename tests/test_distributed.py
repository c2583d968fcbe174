"""Several processes against one: the same global batch, the same gradients, WGAN-GP included."""

import subprocess
import sys
from pathlib import Path

import torch

import resharp
from tests.conftest import rand

PROGRAM = """
import sys
import torch
from accelerate import Accelerator
from resharp.losses import ADVERSARIAL, LOSSES
from resharp.networks import DeblurGAN
from resharp.networks.critics import PatchCritic
from resharp.training.config import ScheduleRecipe
from resharp.training.objectives import CriticObjective, GeneratorLoss
from resharp.training.optimizers import Optimizers
from resharp.training.steps import Game, Generator, Machinery, Moment, gan_step

torch.set_num_threads(1)
accelerator = Accelerator(cpu=True)
rank, n_ranks = accelerator.process_index, accelerator.num_processes
clean, degraded = (torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
share = slice(rank * 8 // n_ranks, (rank + 1) * 8 // n_ranks)
generator = DeblurGAN(width=4, n_blocks=1, dropout=0.0, generator=torch.Generator().manual_seed(1))
critic = PatchCritic(width=4, n_layers=2, generator=torch.Generator().manual_seed(2))
still = [
    Optimizers(n, torch.optim.SGD(n.parameters(), lr=0.0), schedule=ScheduleRecipe(kind="constant"), n_images=80)
    for n in (generator, critic)
]
kind = ADVERSARIAL[sys.argv[2]]
losses = {"l1": (1.0, LOSSES["l1"])}
loss = GeneratorLoss(losses, critic=critic, adversarial=kind, weight=1.0)
game = Game(
    generator=Generator(generator, accelerator.prepare_model(generator), loss, still[0]),
    critic=critic,
    critic_objective=accelerator.prepare_model(CriticObjective(critic, kind, penalty=10.0, norm="sample")),
    critic_optimizers=still[1],
    critic_steps=2,
    fresh=False,
    stride=4,
)
mean = (lambda values: values) if n_ranks == 1 else (lambda values: accelerator.reduce(values, "mean"))
machinery = Machinery(None, None, 2, 0.0, mean)
for step in range(2):  # the second has the buckets that distributed training settles on
    moment = Moment(n_seen=8 * step, factor=1.0, seed=step, place=share.start)
    report = gan_step(game, machinery, (degraded[share], clean[share]), moment)
gradients = {f"{o}.{n}": p.grad for o, net in (("g", generator), ("c", critic))
             for n, p in net.named_parameters()}
if accelerator.is_main_process:
    torch.save({"gradients": gradients, "loss": report["loss"], "critic": report["critic"]}, sys.argv[1])
accelerator.wait_for_everyone()
if n_ranks > 1:
    torch.distributed.destroy_process_group()
"""


def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    results = []
    for n_processes in (1, 2):
        out = tmp_path / f"{n_processes}.pt"
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n_processes}"]
        done = subprocess.run(
            [sys.executable, *(launcher if n_processes > 1 else []), str(program), str(out), "wgan"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        results.append(torch.load(out, weights_only=True))
    one, two = results
    assert one["loss"] > 0
    assert abs(one["loss"] - two["loss"]) < 1e-5
    assert abs(one["critic"] - two["critic"]) < 1e-5
    largest = {o: max(float(g.abs().max()) for n, g in one["gradients"].items() if n[0] == o) for o in "gc"}
    for name, gradient in one["gradients"].items():
        if gradient is not None:
            assert float((two["gradients"][name] - gradient).abs().max()) < 1e-5 * largest[name[0]], name


RECIPE = """
ema = 0.9
[data]
photos = "photos"
n_holdout = 2
plan = { crop = 24, variants = [{ steps = [{ kind = "noise", sigma = 0.05 }] }] }
[network]
kind = "dae"
arguments = { width = 4, depth = 3, batch_norm = true }
[critic]
kind = "patchgan"
arguments = { width = 4, n_layers = 1 }
[[stages]]
n_images = 24
batch_size = 4
optimizer = { kind = "adam", learning_rate = 1e-3 }
[stages.adversarial]
kind = "wgan"
weight = 0.01
gradient_penalty = 10.0
critic_steps = 2
fresh_batches = true
optimizer = { kind = "adam", learning_rate = 1e-3 }
[rhythm]
validate_every = 4
save_every = 8
[weights]
name = "toy"
licence = "none"
training_data = "noise"
"""


def test_a_run_on_two_processes_ends_in_order(tmp_path: Path) -> None:
    """With batch norm, whose statistics differ between processes, a validation at every step, and TensorBoard."""
    for index in range(5):
        resharp.write_photo(resharp.Photo(rand(3, 40, 40, seed=index).float()), tmp_path / "photos" / f"{index}.png")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "resharp"]
    done = subprocess.run(
        [*words, "train", "recipe.toml", "--device", "cpu", "--out", "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("trained toy") == 1
    assert (tmp_path / "run" / "toy.safetensors").exists()
    assert list((tmp_path / "run").rglob("events.out.tfevents.*"))
