"""Images per second of training steps, beside the same step written plainly in float32 on contiguous tensors.

    python benchmarks/training_speed.py [--device cpu] [--rounds 5]

A step of the shipped denoiser's recipe; one of DeblurGAN's size: its generator (11.4 M parameters) and critic, WGAN-GP
with five critic updates, a pixel loss; one of `dbgan-2core`, half of whose photos a frozen BGAN blurs.  Where Lightning
is installed (pip install lightning), its Trainer does the denoiser's step too.  All of a kind take turns, so that a
busy machine is busy for each; the middle one of their times counts.  The share of the peak is that of the device's own
matrix product in the type of the convolutions.
"""

import importlib
import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import click
import torch
from torch import Tensor
from torch.nn import functional

from resharp.device import checked_device
from resharp.losses import LOSSES
from resharp.networks import BGAN, DAE, DBGAN, DeblurGAN
from resharp.networks.critics import PatchCritic
from resharp.training.config import AdamRecipe, MuonRecipe, StageRecipe
from resharp.training.context import Batch, Player, StepContext
from resharp.training.estimate import FlopCounter
from resharp.training.optimizers import build_optimizers
from resharp.training.steps import dbgan_pretrain, gan, supervised

LAST = torch.channels_last
N_IMAGES = 10**9
DAE_BATCH, DBGAN_BATCH = 16, 8
ADAM = AdamRecipe(kind="adam", learning_rate=1e-4, betas=(0.5, 0.999))
Step = Callable[[], object]


def player(name: str, network: torch.nn.Module, optimizer: AdamRecipe | MuonRecipe) -> Player:
    """A network with its optimiser."""
    return Player(name, network.train(), network, build_optimizers(network, optimizer, N_IMAGES))


def told(device: torch.device, **settings: Any) -> StepContext:
    """bfloat16, one piece, one process, squared errors."""
    trains = {"generator": ADAM.model_dump()}
    values = {"n_images": N_IMAGES, "batch_size": 1, "losses": {"l2": 1.0}, "trains": trains} | settings
    return StepContext(StageRecipe.model_validate(values), {"l2": (1.0, LOSSES["l2"])}, device)


def dae_batch(device: torch.device) -> tuple[Tensor, Tensor]:
    """(noisy, clean)."""
    clean = torch.rand(DAE_BATCH, 3, 40, 40, device=device)
    return clean + 0.04 * torch.randn_like(clean), clean


def ours_dae(device: torch.device, optimizer: AdamRecipe | MuonRecipe) -> Step:
    """One step of recipes/dae.toml, whose optimizer is Muon."""
    cast = {"generator": player("generator", DAE().to(device), optimizer)}
    noisy, clean = (part.contiguous(memory_format=LAST) for part in dae_batch(device))
    batch: Batch = {"degraded": noisy, "clean": clean}
    return lambda: supervised(cast, batch, told(device))


def plain_dae(device: torch.device) -> Step:
    """The same network and batch, Adam, float32."""
    network = DAE().to(device)
    adam = torch.optim.Adam(network.parameters(), lr=1e-3)
    noisy, clean = dae_batch(device)

    def step() -> None:
        adam.zero_grad()
        functional.mse_loss(network(noisy), clean).backward()  # type: ignore[no-untyped-call]
        adam.step()

    return step


def ours_gan(device: torch.device, batch: int, side: int, penalty: torch.dtype | None) -> Step:
    """DeblurGAN's game: five critic updates and one of the generator on one batch."""
    layout = torch.contiguous_format if device.type == "cpu" else LAST  # as the engine has them
    generator, critic = (network.to(device, memory_format=layout) for network in (DeblurGAN(), PatchCritic()))  # type: ignore[call-overload]
    cast = {"generator": player("generator", generator, ADAM), "critic": player("critic", critic, ADAM)}
    precision = "bfloat16" if penalty == torch.bfloat16 else "float32"
    settings = {"kind": "wgan", "weight": 0.01, "gradient_penalty": 10.0, "critic_steps": 5}
    context = told(device, step="gan", adversarial=settings | {"penalty_precision": precision})
    clean, blurred = (torch.rand(batch, 3, side, side, device=device).contiguous(memory_format=LAST) for _ in range(2))
    pictures: Batch = {"degraded": blurred, "clean": clean}
    return lambda: gan(cast, pictures, context)


def plain_gan(device: torch.device, batch: int, side: int) -> Step:
    """The same game as one writes it down first."""
    generator, critic = DeblurGAN().to(device), PatchCritic().to(device)
    both = [torch.optim.Adam(n.parameters(), lr=1e-4, betas=(0.5, 0.999)) for n in (generator, critic)]
    clean, blurred = (torch.rand(batch, 3, side, side, device=device) for _ in range(2))

    def step() -> None:
        restored = generator(blurred)
        fake = restored.detach()
        for _ in range(5):
            both[1].zero_grad()
            between = torch.lerp(fake, clean, torch.rand(batch, 1, 1, 1, device=device)).requires_grad_()
            (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
            penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
            (critic(fake).mean() - critic(clean).mean() + 10 * penalty).backward()
            both[1].step()
        both[0].zero_grad()
        loss: Tensor = functional.mse_loss(restored, clean) - 0.01 * critic(restored).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        both[0].step()

    return step


def small_dbgan(device: torch.device) -> tuple[DBGAN, BGAN, Batch]:
    """The networks of recipes/dbgan-2core.toml, and a batch of it."""
    networks = (
        DBGAN(width=40, n_blocks=10, blocks="plain", halvings=2),
        BGAN(width=32, n_blocks=6, blocks="plain", halvings=2),
    )
    clean, blurred = torch.rand(2, DBGAN_BATCH, 3, 128, 128, device=device)
    batch = {"degraded": blurred, "clean": clean, "noise": torch.randn(DBGAN_BATCH, 4, 128, 128, device=device)}
    return networks[0].to(device), networks[1].to(device), batch


def ours_dbgan(device: torch.device, precision: str) -> Step:
    """The pixel stage: half of the photos blurred by a frozen BGAN, squared errors."""
    deblurrer, degrader, batch = small_dbgan(device)
    cast = {"generator": player("generator", deblurrer, ADAM), "degrader": player("degrader", degrader, ADAM)}
    batch = {name: part.contiguous(memory_format=LAST) for name, part in batch.items()}
    settings = {"step": "dbgan-pretrain", "realistic": 0.5, "batch_size": DBGAN_BATCH, "precision": precision}
    context = told(device, **settings)
    return lambda: dbgan_pretrain(cast, batch, context)


def plain_dbgan(device: torch.device) -> Step:
    """The same as one writes it down first."""
    deblurrer, degrader, batch = small_dbgan(device)
    adam, half = torch.optim.Adam(deblurrer.parameters(), lr=1e-4), DBGAN_BATCH // 2

    def step() -> None:
        adam.zero_grad()
        with torch.no_grad():
            made = degrader(batch["clean"][:half], batch["noise"][:half])
        restored = deblurrer(torch.cat([made, batch["degraded"][half:]]))
        functional.mse_loss(restored, batch["clean"]).backward()  # type: ignore[no-untyped-call]
        adam.step()

    return step


def taking_turns(steps: dict[str, Step], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each step, after two rounds of warming up."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 2):
        for name, step in steps.items():
            seconds[name].append(timed(step, device))
    return {name: times[2:] for name, times in seconds.items()}


def timed(step: Step, device: torch.device) -> float:
    """Seconds of one step."""
    wait(device)
    started = time.perf_counter()
    step()
    wait(device)
    return time.perf_counter() - started


def beside_lightning(ours: Step, rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of the denoiser's step by Lightning's Trainer (Adam, bf16-mixed, nothing logged), and of ours, which is
    run after each of its steps."""
    lightning: Any = importlib.import_module("lightning")

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = DAE()

        def training_step(self, batch: Any, _: int) -> Tensor:
            return functional.mse_loss(self.network(batch[0]).float(), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    seconds: dict[str, list[float]] = {"Lightning 2, bf16-mixed": [], "ours, Adam": []}

    class Turns(lightning.Callback):  # type: ignore[misc]
        left = time.perf_counter()

        def on_train_batch_end(self, *_: Any) -> None:
            wait(device)
            seconds["Lightning 2, bf16-mixed"].append(time.perf_counter() - self.left)
            seconds["ours, Adam"].append(timed(ours, device))
            self.left = time.perf_counter()

    trainer = lightning.Trainer(
        accelerator=device.type,
        devices=1,
        precision="bf16-mixed",
        max_steps=rounds + 2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Turns()],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about loader workers that a batch in memory does not need
        samples: Any = [dae_batch(torch.device("cpu"))] * (rounds + 2)
        trainer.fit(Module(), torch.utils.data.DataLoader(samples, batch_size=None))
    return {name: times[2:] for name, times in seconds.items()}


def peak_flops(dtype: torch.dtype, device: torch.device) -> float:
    """Of a square matrix product, best of five."""
    one = torch.rand(4096, 4096, dtype=dtype, device=device)
    return 2 * 4096**3 / min(timed(lambda: one @ one, device) for _ in range(5))


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def flops_of(step: Step) -> int:
    """Floating-point operations."""
    with FlopCounter() as counter:
        step()
    return int(counter.total)


def tell(
    title: str, batch: int, flops: float, seconds: dict[str, list[float]], peaks: dict[torch.dtype, float]
) -> None:
    """One row for each; the first is what the others are compared with."""
    middles = {name: statistics.median(times) for name, times in seconds.items()}
    first = next(iter(middles.values()))
    print(title)
    for name, middle in middles.items():
        peak = peaks[torch.float32 if "float32" in name else torch.bfloat16]
        share = 100 * flops / middle / peak
        print(f"  {name:<32}{batch / middle:>9.2f} images/s{share:>8.1f} % of the peak{first / middle:>8.2f}x")


@click.command()
@click.option("--device", "name", default="cpu", show_default=True)
@click.option("--rounds", default=5, show_default=True, help="Of the GAN's steps; the denoiser's take five times more.")
@click.option("--batch", default=1, show_default=True, help="Of the GAN step.")
@click.option("--side", default=256, show_default=True, help="Of its crops.")
def main(name: str, rounds: int, batch: int, side: int) -> None:
    """Print the tables."""
    device = checked_device(name)
    torch.backends.cudnn.allow_tf32 = False  # float32 is to mean the same in convolutions and in the peak's product
    peaks = {dtype: peak_flops(dtype, device) for dtype in (torch.bfloat16, torch.float32)}
    print(f"{device}, matrix products: " + ", ".join(f"{str(t)[6:]} {p / 1e9:.0f} GFLOP/s" for t, p in peaks.items()))
    muon = MuonRecipe(kind="muon", learning_rate=0.005)
    steps = {"plain float32, Adam": plain_dae(device), "ours, Muon": ours_dae(device, muon)}
    steps["ours, Adam"] = ours_dae(device, ADAM)
    flops = flops_of(steps["plain float32, Adam"])
    tell(f"DAE step, {DAE_BATCH} x 40x40", DAE_BATCH, flops, taking_turns(steps, 5 * rounds, device), peaks)
    if importlib.util.find_spec("lightning"):
        tell(
            "DAE step by Lightning", DAE_BATCH, flops, beside_lightning(steps["ours, Adam"], 5 * rounds, device), peaks
        )
    steps = {"plain float32": plain_gan(device, batch, side), "ours": ours_gan(device, batch, side, None)}
    steps["ours, penalty in bfloat16"] = ours_gan(device, batch, side, torch.bfloat16)
    flops = flops_of(steps["plain float32"])
    tell(f"DeblurGAN step, {batch} x {side}x{side}", batch, flops, taking_turns(steps, rounds, device), peaks)
    steps = {"plain float32": plain_dbgan(device), "ours, float32": ours_dbgan(device, "float32")}
    steps["ours, bfloat16"] = ours_dbgan(device, "bfloat16")
    flops = flops_of(steps["plain float32"])
    title = f"DBGAN step behind a frozen BGAN, both small, {DBGAN_BATCH} x 128x128"
    tell(title, DBGAN_BATCH, flops, taking_turns(steps, rounds, device), peaks)


if __name__ == "__main__":
    main()
