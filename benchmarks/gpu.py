"""What a GPU gives: training steps and restorers, beside plain eager PyTorch in the same run.

    python benchmarks/gpu.py [--device cuda] [--seconds 5] [--recipe NAME ...] [--restorer NAME ...]
        [--photos DIR] [--megapixels 2]

Training: images per second of a recipe's step on a batch that lies on the device, as the engine takes it (its
precision, layout and optimisers, numbers read as the recipe says), beside the same network and batch written plainly:
eager, autocast, contiguous, torch's AdamW; and the share of the device's own matrix product in bfloat16 (the best of
five).  With --photos also images per second as the recipe's loader and step make them of photos, nothing learned.
Restoring: megapixels per second and milliseconds of a small photo (256x256), as the commands do it, the network called
plainly in float32 beside it.  `--tiny` makes everything small, so that it is seen to run where there is no GPU.
"""

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
from torch import Tensor, nn
from training_speed import flops_of, peak_flops, wait

from resharp.allocation import keep_freed_memory
from resharp.device import checked_device, has_fast_bfloat16
from resharp.models import load_model
from resharp.restorers import open_restorer
from resharp.tiling import run_whole
from resharp.training import Recipe, load_recipe
from resharp.training.building import build_cast, build_losses, build_stage, check_stages
from resharp.training.context import TYPES, Batch
from resharp.training.loop import take_step
from resharp.training.sampler import open_sampler

RECIPES = ("denoiser-gpu", "deblur-gpu", "deblur-unet-gpu", "deblur-refine-gpu", "srresnet-gpu")
RESTORERS = ("dbgan", "upscale", "srresnet")
TINY = {  # of each recipe, as it is seen to run
    "deblur-gpu": ("networks.generator.arguments.width=8", "networks.generator.arguments.encoder_blocks=[1,1,1,1]"),
    "srresnet-gpu": ("networks.generator.arguments.n_blocks=1",),
}
UNET = ("networks.generator.arguments.widths=[8,16]", "networks.generator.arguments.blocks=[1,1]")
Run = Callable[[], object]


def recipe_of(name: str, photos: Path | None, *, is_tiny: bool) -> Recipe:
    """The recipe; a tiny one of two crops of 64 pixels."""
    place = () if photos is None else (f"data.photos={photos}",)
    small = (
        "stages.0.batch_size=2",
        "data.plan.crop=64",
        "stages.0.precision=float32",
        "data.n_workers=0",
        "data.n_holdout=2",
    )
    return load_recipe(name, (*place, *((*small, *TINY.get(name, UNET)) if is_tiny else ())))


def batch_of(recipe: Recipe, device: torch.device) -> Batch:
    """Noise, as large as the recipe's batches."""
    n, crop, factor = recipe.stages[0].batch_size, recipe.data.plan.crop, recipe.data.plan.factor
    parts = {"clean": (n, 3, crop, crop), "degraded": (n, 3, crop // factor, crop // factor)}
    parts["undone"] = (n, 7, crop, crop)  # for a network behind the kernels
    made = {name: torch.rand(shape, device=device) for name, shape in parts.items()}
    batch = {name: one.contiguous(memory_format=torch.channels_last) for name, one in made.items()}
    return batch | {"sigma": torch.full((n, 1, 1, 1), 0.1, device=device)}


def engine_step(recipe: Recipe, batch: Batch, device: torch.device) -> Run:
    """A step as a training takes it; its numbers are read every `read_every` steps."""
    state, settings = build_cast(recipe, device), recipe.stages[0]
    check_stages(recipe, state, tuple(batch))
    losses = build_losses(settings.losses, recipe.features, device)
    stage, count = build_stage(recipe, 0, state, losses, device=device), 0

    def step() -> None:
        nonlocal count
        count += 1
        context = dataclasses.replace(stage.context, seed=count, reads=count % settings.read_every == 0)
        take_step(stage, batch, context)
        state.players[recipe.judged].take_average(0.999)

    return step


def plain_step(recipe: Recipe, batch: Batch, device: torch.device) -> Run:
    """The same as one writes it down first."""
    network = build_cast(recipe, device).players[recipe.judged].network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    adam = torch.optim.AdamW(network.parameters(), lr=1e-4, foreach=False)
    chosen = TYPES[recipe.stages[0].precision]
    given, clean = (batch[name].contiguous() for name in ("degraded", "clean"))
    told = {name: batch[name] for name in getattr(network, "takes", ()) if name != "image"}

    def step() -> float:
        adam.zero_grad()
        with torch.autocast(device.type, chosen, enabled=chosen is not None):
            loss = nn.functional.l1_loss(network(given, **told).float(), clean)
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        return float(loss.detach())

    return step


def rate(run: Run, seconds: float, device: torch.device) -> float:
    """Runs per second after three, waiting for the device at the end alone."""
    for _ in range(3):
        run()
    wait(device)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        run()
        count += 1
    wait(device)
    return count / (time.perf_counter() - started)


def loaded(recipe: Recipe, device: torch.device, seconds: float) -> float:
    """Images per second from photos to batches on the device."""
    n = recipe.stages[0].batch_size
    stream = open_sampler(recipe).batches(0, 10**9 // n * n, n, device)
    return rate(functools.partial(next, stream), seconds, device)


def plain(name: str, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A restorer's network called plainly."""
    network, card = load_model(name)
    network = network.to(device).eval()

    def restored(image: Tensor) -> Tensor:
        with torch.no_grad():
            return run_whole(network, image[None].to(device), multiple_of=card.contract.multiple_of).cpu()

    return restored


def product(name: str, device: torch.device) -> Callable[[Tensor], Tensor]:
    """The restorer as the commands run it."""
    keep_freed_memory()
    restorer = open_restorer(name, device=str(device))
    return lambda image: restorer(image).image.cpu()


def tell_restoring(names: tuple[str, ...], megapixels: float, device: torch.device, seconds: float) -> None:
    """Two rows each; what commands ask of the C library cannot be taken back, so all plain ones come first."""
    width = int((megapixels * 1e6 * 4 / 3) ** 0.5)
    large, small = (torch.rand(3, height, side) for height, side in ((width * 3 // 4, width), (256, 256)))
    for kind, opened in (("plain float32", plain), ("restorer", product)):
        for name in names:
            run = opened(name, device)
            speed = large[0].numel() / 1e6 * rate(functools.partial(run, large), seconds, device)
            latency = 1e3 / rate(functools.partial(run, small), seconds, device)
            print(f"{name:<18}{kind:<14}{speed:>10.2f} megapixels/s{latency:>10.1f} ms for 256x256", flush=True)


def tell_training(name: str, recipe: Recipe, device: torch.device, seconds: float, peak: float) -> None:
    """A row for the engine's step and one for the plain one."""
    batch, n = batch_of(recipe, device), recipe.stages[0].batch_size
    plain = plain_step(recipe, batch, device)
    flops = flops_of(plain)
    speeds = {"engine": n * rate(engine_step(recipe, batch, device), seconds, device)}
    speeds["plain eager"] = n * rate(plain, seconds, device)
    for kind, speed in speeds.items():
        print(f"{name:<18}{kind:<14}{speed:>10.1f} images/s{100 * flops / n * speed / peak:>8.1f} % of the peak")
    if device.type == "cuda":
        print(f"{'':<18}{'peak memory':<14}{torch.cuda.max_memory_allocated() / 2**30:>10.1f} GiB")
        torch.cuda.reset_peak_memory_stats()


@click.command()
@click.option("--device", "name", default="auto", show_default=True)
@click.option("--seconds", default=5.0, show_default=True, help="Of each row.")
@click.option("--recipe", "recipes", multiple=True, default=RECIPES, show_default=True)
@click.option("--restorer", "restorers", multiple=True, default=RESTORERS, show_default=True)
@click.option("--photos", type=click.Path(path_type=Path, exists=True))
@click.option("--megapixels", default=2.0, show_default=True)
@click.option("--tiny", is_flag=True)
def main(
    name: str,
    seconds: float,
    recipes: tuple[str, ...],
    restorers: tuple[str, ...],
    photos: Path | None,
    megapixels: float,
    tiny: bool,
) -> None:
    """Print the tables."""
    device = checked_device(name)
    shown = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    peak = peak_flops(torch.bfloat16 if has_fast_bfloat16(device) else torch.float32, device)
    print(f"{device}, {shown}, torch {torch.__version__}; matrix products {peak / 1e12:.2f} TFLOP/s")
    torch.backends.cudnn.benchmark = True
    for one in recipes:
        tell_training(one, recipe_of(one, photos, is_tiny=tiny), device, seconds, peak)
    for one in recipes if photos is not None else ():
        print(f"{one:<18}{'loaded':<14}{loaded(recipe_of(one, photos, is_tiny=tiny), device, seconds):>10.1f} images/s")
    tell_restoring(restorers, megapixels, device, seconds)


if __name__ == "__main__":
    main()
