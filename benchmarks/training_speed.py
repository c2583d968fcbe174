"""Images per second of training steps, beside the same step written plainly in float32 on contiguous tensors.

    python benchmarks/training_speed.py [--device cpu] [--seconds 15]

A step of the shipped denoiser's recipe, and one of DeblurGAN's size: its generator (11.4 M parameters) and critic,
WGAN-GP with five critic updates, a pixel loss.  The share of the peak is that of the device's own matrix product in the
type of the convolutions, measured here.
"""

import time
from collections.abc import Callable

import click
import torch
from torch import Tensor
from torch.nn import functional

from resharp.device import checked_device
from resharp.losses import ADVERSARIAL, LOSSES
from resharp.networks import DAE, DeblurGAN
from resharp.networks.critics import PatchCritic
from resharp.training.config import AdamRecipe, MuonRecipe
from resharp.training.estimate import FlopCounter
from resharp.training.optimizers import build_optimizers
from resharp.training.steps import (
    CriticObjective,
    Game,
    GeneratorObjective,
    Machinery,
    Moment,
    gan_step,
    supervised_step,
)

LAST = torch.channels_last
N_IMAGES = 10**9


def machinery() -> Machinery:
    """bfloat16, one piece, one process."""
    return Machinery(torch.bfloat16, None, 1, 0.0, lambda values: values)


def ours_dae(device: torch.device) -> tuple[Callable[[], object], int]:
    """One step of recipes/dae.toml."""
    network = DAE().to(device)
    optimizers = build_optimizers(network, MuonRecipe(kind="muon", learning_rate=0.005), N_IMAGES)
    objective = GeneratorObjective(network, {"l2": (1.0, LOSSES["l2"])})
    clean = torch.rand(16, 3, 40, 40, device=device).contiguous(memory_format=LAST)
    noisy = clean + 0.04 * torch.randn_like(clean)
    moment = Moment(n_seen=0, factor=1.0, seed=0, place=0)
    return lambda: supervised_step(objective, network, optimizers, (noisy, clean), machinery(), moment), 16


def plain_dae(device: torch.device) -> tuple[Callable[[], object], int]:
    """The same network and batch, Adam, float32."""
    network = DAE().to(device)
    adam = torch.optim.Adam(network.parameters(), lr=1e-3)
    clean = torch.rand(16, 3, 40, 40, device=device)
    noisy = clean + 0.04 * torch.randn_like(clean)

    def step() -> None:
        adam.zero_grad()
        functional.mse_loss(network(noisy), clean).backward()  # type: ignore[no-untyped-call]
        adam.step()

    return step, 16


def ours_gan(device: torch.device, batch: int, side: int) -> tuple[Callable[[], object], int]:
    """DeblurGAN's game: five critic updates and one of the generator on one batch."""
    generator, critic = DeblurGAN().to(device, memory_format=LAST), PatchCritic().to(device, memory_format=LAST)  # type: ignore[call-overload]
    adam, kind = AdamRecipe(kind="adam", learning_rate=1e-4, betas=(0.5, 0.999)), ADVERSARIAL["wgan"]
    game = Game(
        generator=generator,
        critic=critic,
        generator_objective=GeneratorObjective(
            generator, {"l2": (1.0, LOSSES["l2"])}, critic=critic, adversarial=kind, weight=0.01
        ),
        critic_objective=CriticObjective(critic, kind, penalty=10.0, norm="sample"),
        generator_optimizers=build_optimizers(generator, adam, N_IMAGES),
        critic_optimizers=build_optimizers(critic, adam, N_IMAGES),
        critic_steps=5,
        fresh=False,
        stride=4,
    )
    clean, blurred = (torch.rand(batch, 3, side, side, device=device).contiguous(memory_format=LAST) for _ in range(2))
    moment = Moment(n_seen=0, factor=1.0, seed=0, place=0)
    return lambda: gan_step(game, (blurred, clean), machinery(), moment), batch


def plain_gan(device: torch.device, batch: int, side: int) -> tuple[Callable[[], object], int]:
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

    return step, batch


def images_per_second(step: Callable[[], object], batch: int, seconds: float, device: torch.device) -> float:
    """After two steps of warming up."""
    for _ in range(2):
        step()
    _wait(device)
    started, n = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        step()
        n += batch
        _wait(device)
    return n / (time.perf_counter() - started)


def peak_flops(dtype: torch.dtype, device: torch.device) -> float:
    """Of a square matrix product, best of five."""
    one = torch.rand(4096, 4096, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        one @ one
        _wait(device)
        best = min(best, time.perf_counter() - started)
    return 2 * 4096**3 / best


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


@click.command()
@click.option("--device", "name", default="cpu", show_default=True)
@click.option("--seconds", default=15.0, show_default=True)
@click.option("--batch", default=1, show_default=True, help="Of the GAN step.")
@click.option("--side", default=256, show_default=True, help="Of its crops.")
def main(name: str, seconds: float, batch: int, side: int) -> None:
    """Print the table."""
    device = checked_device(name)
    peaks = {dtype: peak_flops(dtype, device) for dtype in (torch.bfloat16, torch.float32)}
    print(f"{device}, matrix products: " + ", ".join(f"{str(t)[6:]} {p / 1e9:.0f} GFLOP/s" for t, p in peaks.items()))
    rows = [
        ("DAE step, 16 x 40x40", plain_dae(device), ours_dae(device)),
        (f"DeblurGAN step, {batch} x {side}x{side}", plain_gan(device, batch, side), ours_gan(device, batch, side)),
    ]
    for title, plain, ours in rows:
        speeds = []
        for label, (step, size), dtype in (("plain float32", plain, torch.float32), ("ours", ours, torch.bfloat16)):
            with FlopCounter() as counter:
                step()
            speed = images_per_second(step, size, seconds, device)
            share = counter.total / size * speed / peaks[dtype]
            speeds.append(speed)
            print(f"{title:<28}{label:<15}{speed:>9.2f} images/s   {100 * share:>5.1f} % of the peak")
        print(f"{'':<28}{speeds[1] / speeds[0]:.2f}x")


if __name__ == "__main__":
    main()
