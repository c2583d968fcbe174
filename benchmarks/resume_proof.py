"""Kill trainings at random moments with SIGKILL, start them again, and compare the final weights and the log.

    python benchmarks/resume_proof.py [--kills 5] [--cast gan] [--cast cycle]

The runs are small networks with batch norm and dropout, averaged weights and accumulation, on photos cut from the
demo's, tracked by TensorBoard.  "gan": two stages (supervised, then WGAN-GP) under random shakes, with 0 and 2 loader
workers and with 1, 2 and 3 processes (gloo).  "cycle": two generators, one of which is a BGAN and takes noise, and
two critics on photos that are no pairs, with 0 and 2 workers and with 1 and 2 processes.  With kills and without,
within a number of processes all must end in the same bits, and metrics.jsonl must tell the same but for seconds.
"""

import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import psutil
from torch.nn import functional

import resharp
from resharp.demo import demo_inputs

GAN = """
[data]
photos = "photos"
n_holdout = 2
[data.plan]
crop = 32
variants = [{ steps = [{ kind = "shake", extent = [1.0, 8.0], n_objects = [0, 1], read_noise = [0.0, 0.01] }] }]
[networks.generator]
kind = "toy:Toy"
ema = 0.999
[networks.critic]
kind = "patchgan"
arguments = { width = 8, n_layers = 2 }
[[stages]]
name = "pretrain"
n_images = 120
batch_size = 6
losses = { l1 = 1.0 }
trains.generator = { kind = "adam", learning_rate = 1e-3 }
[[stages]]
name = "gan"
step = "gan"
n_images = 240
batch_size = 6
accumulate = 2
losses = { l1 = 1.0 }
trains.generator = { kind = "adam", learning_rate = 1e-3, betas = [0.5, 0.999], schedule = { kind = "linear" } }
trains.critic = { kind = "adam", learning_rate = 1e-3, betas = [0.5, 0.999] }
[stages.adversarial]
kind = "wgan"
weight = 0.01
gradient_penalty = 10.0
critic_steps = 2
[judge]
every = 120
[checkpoints]
every = 18
[weights]
name = "toy"
licence = "none"
training_data = "the demo photo"
"""

CYCLE = """
[data]
photos = "both"
degraded = "both"
n_holdout = 1
plan = { crop = 32, variants = [{ steps = [] }] }
[networks.generator]
kind = "toy:Toy"
ema = 0.999
[networks.degrader]
kind = "bgan"
arguments = { width = 8, n_blocks = 1, blocks = "plain", halvings = 1 }
[networks.critic]
kind = "patchgan"
arguments = { width = 8, n_layers = 2 }
[networks.degraded_critic]
kind = "patchgan"
arguments = { width = 8, n_layers = 2 }
[[stages]]
step = "cycle"
n_images = 240
batch_size = 6
accumulate = 2
losses = { l1 = 10.0 }
identity = 0.5
adversarial = { kind = "lsgan" }
trains.generator = { kind = "adam", learning_rate = 1e-3, betas = [0.5, 0.999], frozen_images = 12 }
trains.degrader = { kind = "adam", learning_rate = 1e-3, betas = [0.5, 0.999] }
trains.critic = { kind = "adam", learning_rate = 1e-3, betas = [0.5, 0.999] }
trains.degraded_critic = { kind = "adam", learning_rate = 1e-3, betas = [0.5, 0.999] }
[judge]
every = 120
figures = ["niqe"]
[checkpoints]
every = 18
[weights]
name = "toy"
licence = "none"
training_data = "the demo photo"
"""

CASTS = {"gan": (GAN, (1, 2, 3)), "cycle": (CYCLE, (1, 2))}

NETWORK = """
from torch import nn


class Toy(nn.Sequential):
    def __init__(self):
        head = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5)]
        super().__init__(*head, nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 1))
        self.arguments = {}
"""


def command(cast: str, out: str, n_workers: int, n_processes: int) -> list[str]:
    """The training as a user would start it."""
    launcher = [sys.executable, "-m"]
    if n_processes > 1:
        launcher += ["torch.distributed.run", "--standalone", f"--nproc-per-node={n_processes}", "-m"]
    words = ["resharp", "train", f"{cast}.toml", f"data.n_workers={n_workers}", "--device", "cpu", "--out", out]
    return [*launcher, *words]


def run_to_the_end(folder: Path, words: list[str]) -> float:
    """Seconds that it took.  Ends the benchmark where it fails."""
    started = time.perf_counter()
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            "\n".join(line for line in done.stderr.splitlines() if "resharp:" in line) or done.stderr[-2000:]
        )
    return time.perf_counter() - started


def run_and_kill(folder: Path, words: list[str], seconds: float) -> bool:
    """Start it and kill all its processes after so long; whether it was still running."""
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            one.kill()  # the launcher's children have sessions of their own
        process.wait()
        return True
    return False


def outcome(folder: Path, out: str) -> tuple[str, str]:
    """SHA-256 of the final weights, and of the log without its seconds."""
    records = [json.loads(line) for line in (folder / out / "metrics.jsonl").read_text().splitlines()]
    told = [{name: value for name, value in one.items() if name not in ("seconds", "waited")} for one in records]
    contents = (folder / out / "toy.safetensors").read_bytes(), json.dumps(told).encode()
    weights, log = (hashlib.sha256(content).hexdigest() for content in contents)
    return weights, log


def photos(folder: Path) -> None:
    """Six crops of the demo photo, and halves that are no pairs: four sharp crops, three blurred ones."""
    photo = demo_inputs()[0]
    for index in range(6):
        piece = photo[:, 30 * index : 30 * index + 80, 20 * index : 20 * index + 96]
        resharp.write_photo(resharp.Photo(piece), folder / "photos" / f"{index}.png")
    for index in range(4):
        piece = photo[:, :200, 20 * index : 20 * index + 200]
        resharp.write_photo(resharp.Photo(piece), folder / "both" / "sharp" / f"{index}.png")
        blurred = functional.avg_pool2d(piece, 5, stride=1, padding=2)
        if index:
            resharp.write_photo(resharp.Photo(blurred), folder / "both" / "blur" / f"b{index}.png")


@click.command()
@click.option("--kills", default=5, show_default=True, help="For each setting.")
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
@click.option("--cast", "casts", multiple=True, type=click.Choice([*CASTS]), default=[*CASTS], show_default=True)
def main(kills: int, seed: int, casts: tuple[str, ...]) -> None:
    """Print one row per setting; exit code 1 where the bits differ."""
    moments, same = random.Random(seed), True
    folder = Path(tempfile.mkdtemp(prefix="resharp-resume-"))
    photos(folder)
    (folder / "toy.py").write_text(NETWORK)
    for cast in casts:
        (folder / f"{cast}.toml").write_text(CASTS[cast][0])
    try:
        for cast, n_processes in [(name, n) for name in casts for n in CASTS[name][1]]:
            beginning = run_to_the_end(folder, [sys.executable, "-c", "import resharp.training.loop"])
            whole = run_to_the_end(folder, command(cast, f"{cast}-whole-{n_processes}", 0, n_processes)) - beginning
            longest = 1.5 * whole / (kills + 1)  # so that most runs live through all their kills
            expected = outcome(folder, f"{cast}-whole-{n_processes}")
            for n_workers in (0, 2):
                out, hits = f"{cast}-cut-{n_workers}-{n_processes}", 0
                words = command(cast, out, n_workers, n_processes)
                while hits < kills:
                    hits += run_and_kill(folder, words, beginning + moments.uniform(0, longest))
                    if (folder / out / "toy.safetensors").exists():
                        break
                run_to_the_end(folder, words)
                found = outcome(folder, out)
                same = same and found == expected
                verdict = ", ".join(
                    f"{name} {one[:12]} {'same' if one == other else 'DIFFERENT'}"
                    for name, one, other in zip(("weights", "log"), found, expected, strict=True)
                )
                print(f"{cast}, {n_processes} processes, {n_workers} workers, {hits} kills: {verdict}", flush=True)
    finally:
        shutil.rmtree(folder)
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
