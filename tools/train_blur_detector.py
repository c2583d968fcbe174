"""Trains the network that tells shaken photos from others (`networks.BlurDetector`), and writes its weights.

    python tools/train_blur_detector.py PHOTOS -o blur-detector.safetensors [--workers 2]

Crops of photos at 1 to .35 of their size and of made-up print, half of them shaken: by the way of a shaking hand or a
straight line of 4 to 36 pixels, in light or in pixel values, some with lamps that leave streaks.  Of the others two in
five are out of focus, half of these in parts.  Both kinds are alike sharpened as by cameras, noisy and saved as JPEG.
Then Adam on cross-entropy, weights averaged.  The same arguments, on one machine and as many threads, give the same
weights.
"""

import functools
import math
import multiprocessing
from pathlib import Path

import click
import cv2
import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from resharp.data.folders import photo_paths
from resharp.degradations import Frame, Shake, disk_kernel, gaussian_kernel, motion_kernel
from resharp.degradations.compression import Jpeg
from resharp.degradations.trajectory import centred_psf
from resharp.models import Card, Contract, load_model, save_model
from resharp.networks.blur_detector import BlurDetector, pooled, seen
from resharp.photo import read_photo

SIDE, MARGIN = 160, 32  # pixels of a crop and around it, as far as the longest blur reaches
SMALLEST = 0.35  # of a photo's size
EXTENT = 4.0, 36.0  # pixels of a blur
BATCH, WARMUP, EMA = 32, 50, 0.998
AT_ONCE = 500  # crops that a process draws
PAGES, LAMPS = 0.07, 0.05  # the shares of crops of print, and of shaken ones with lamps
FONTS = sorted(Path(matplotlib.get_data_path(), "fonts/ttf").glob("DejaVuS*[!y].ttf"))
LETTERS = "etaoinshrdlucmfwypvbgkjqxz      ,.ETAOIN0123456789"
Picture = NDArray[np.float16]
Scene = NDArray[np.float32]
Job = tuple[tuple[Path, ...], int, range]

# --- crops ------------------------------------------------------------------------------------------------------------


def drawn(folders: tuple[Path, ...], count: int, seed: int, workers: int) -> tuple[Tensor, Tensor]:
    """What the network sees of `count` crops (n, 2, h, w), float16, and which of them are shaken (n,)."""
    jobs = [(folders, seed, range(first, min(first + AT_ONCE, count))) for first in range(0, count, AT_ONCE)]
    pictures, shaken = list[Tensor](), list[bool]()
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for some, are_shaken in pool.imap(crops, jobs):
            pictures.append(torch.from_numpy(some))
            shaken += are_shaken
            click.echo(f"{len(shaken)} of {count} crops drawn")
    return torch.cat(pictures), torch.tensor(shaken, dtype=torch.float32)


def crops(job: Job) -> tuple[Picture, list[bool]]:
    """Those of these numbers."""
    folders, seed, numbers = job
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    paths = tuple(path for folder in folders for path in photo_paths(folder))
    made = [crop(read(paths[number % len(paths)]), np.random.default_rng([seed, number])) for number in numbers]
    pictures = torch.cat([seen(picture[None]).half() for picture, _ in made])
    return pictures.numpy(), [is_shaken for _, is_shaken in made]  # a tensor would cost a file each on its way


@functools.cache
def read(path: Path) -> Picture:
    """(H, W, 3) in [0, 1]."""
    return read_photo(path).image.permute(1, 2, 0).half().numpy()


def crop(photo: Picture, draw: np.random.Generator) -> tuple[Tensor, bool]:
    """(3, SIDE, SIDE) in [0, 1], and whether it is shaken."""
    scene = page(draw) if draw.random() < PAGES else cut(photo, draw)
    is_shaken = bool(draw.random() < 0.5)
    if is_shaken:
        made = with_lamps(scene, draw) if draw.random() < LAMPS else blurred(scene, shake(draw), drawn_gamma(draw))
    else:
        made = scene if draw.random() < 0.6 else out_of_focus(scene, draw)
    made = made[MARGIN:-MARGIN, MARGIN:-MARGIN]
    if draw.random() < 0.2:  # as cameras sharpen
        made = made + draw.uniform(0.2, 1) * (made - cv2.GaussianBlur(made, (0, 0), draw.uniform(0.6, 1.5)))
    if draw.random() < 0.4:
        shape = made.shape if draw.random() < 0.7 else (*made.shape[:2], 1)  # or of brightness alone
        made = made + np.float32(logarithmic(draw, 0.002, 0.03)) * draw.standard_normal(shape, np.float32)
    image = torch.from_numpy(made).permute(2, 0, 1).float().clamp(0, 1).mul(255).round().div(255)
    if draw.random() < 0.65:
        image = Jpeg(int(draw.integers(60, 99)))(image, generator=torch.Generator())
    return image, is_shaken


def cut(photo: Picture, draw: np.random.Generator) -> Scene:
    """A piece of a photo, made smaller as a whole; of three places mostly the one that shows most."""
    scene, side = photo.astype(np.float32), SIDE + 2 * MARGIN
    least = min(1.0, max(SMALLEST, (side + 2) / min(scene.shape[:2])))
    scale = 1.0 if draw.random() < 0.35 else draw.uniform(least, 1)
    if scale < 1:
        how = cv2.INTER_CUBIC if draw.random() < 0.3 else cv2.INTER_AREA
        scene = np.clip(cv2.resize(scene, None, fx=scale, fy=scale, interpolation=how), 0, 1)
    found: list[tuple[float, Scene]] = []
    for _ in range(1 if draw.random() < 0.4 else 3):
        top, left = (int(draw.integers(0, length - side + 1)) for length in scene.shape[:2])
        piece = scene[top : top + side, left : left + side]
        found.append((sum(float(np.abs(np.diff(piece, axis=axis)).mean()) for axis in (0, 1)), piece))
    return max(found, key=lambda one: one[0])[1]


def page(draw: np.random.Generator) -> Scene:
    """Letters of 9 to 39 pixels, dark on bright or, now and then, bright on dark."""
    side, size = SIDE + 2 * MARGIN, int(draw.integers(9, 40))
    font = ImageFont.truetype(FONTS[draw.integers(len(FONTS))], size)
    paper, ink = int(draw.integers(150, 256)), int(draw.integers(0, 90))
    if draw.random() < 0.1:
        paper, ink = ink, paper
    picture = Image.new("L", (side, side), paper)
    for y in range(-int(draw.integers(0, size)), side, int(1.3 * size)):
        line = "".join(draw.choice(list(LETTERS), 60))
        ImageDraw.Draw(picture).text((-int(draw.integers(0, size)), y), line, ink, font)
    return np.repeat(np.asarray(picture, np.float32)[:, :, None] / 255, 3, 2)


def shake(draw: np.random.Generator) -> Scene:
    """A kernel: of a straight line, or of the way of a hand somewhere in a photo."""
    extent = logarithmic(draw, *EXTENT)
    if draw.random() < 0.2:
        kernel = motion_kernel(extent, draw.uniform(0, 180))
    else:
        made = Shake(extent * draw.uniform(0.7, 1), extent * draw.uniform(0, 0.3), roll=draw.uniform(0, 0.5))
        height, width = (int(length) for length in draw.integers(200, 1000, 2))
        frame = Frame(height, width, int(draw.integers(height - 100)), int(draw.integers(width - 100)), 100, 100)
        kernel = centred_psf(made.camera_path(frame, torch.Generator().manual_seed(int(draw.integers(2**31)))))
    if max(kernel.shape) // 2 > MARGIN:
        return shake(draw)
    if draw.random() < 0.2:  # lenses are not perfect
        kernel = functional.pad(kernel, (3, 3, 3, 3))
        return np.asarray(cv2.GaussianBlur(kernel.numpy(), (0, 0), draw.uniform(0.4, 1)), np.float32)
    return np.asarray(kernel.numpy(), np.float32)


def with_lamps(scene: Scene, draw: np.random.Generator) -> Scene:
    extent = min(logarithmic(draw, *EXTENT), 24.0)
    made = Shake(extent, sway=0.0, gamma=drawn_gamma(draw), highlights=draw.uniform(4, 12))
    image = torch.from_numpy(np.ascontiguousarray(scene)).permute(2, 0, 1)
    return made(image, generator=torch.Generator().manual_seed(int(draw.integers(2**31)))).permute(1, 2, 0).numpy()


def out_of_focus(scene: Scene, draw: np.random.Generator) -> Scene:
    """All over, or in parts."""
    is_disk = draw.random() < 0.5
    kernel = disk_kernel(draw.uniform(0.8, 6)) if is_disk else gaussian_kernel(draw.uniform(0.4, 3))
    soft = blurred(scene, kernel.numpy(), drawn_gamma(draw))
    if draw.random() < 0.5:
        return soft
    cells = draw.random((4, 4)).astype(np.float32)
    lies = cv2.resize(cells, scene.shape[1::-1], interpolation=cv2.INTER_CUBIC)[:, :, None]
    share = np.clip((lies - np.float32(draw.uniform(0.3, 0.6))) * 8, 0, 1)
    return np.asarray(scene * (1 - share) + soft * share, np.float32)


def blurred(scene: Scene, kernel: Scene, gamma: float) -> Scene:
    """By a kernel of sum 1, the border mirrored."""
    light = cv2.filter2D(scene**gamma, -1, kernel[::-1, ::-1] / kernel.sum(), borderType=cv2.BORDER_REFLECT)
    return np.asarray(light.clip(0, 1) ** (1 / gamma), np.float32)


def drawn_gamma(draw: np.random.Generator) -> float:
    return float(draw.choice([1.0, 2.2]))


def logarithmic(draw: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(draw.uniform(math.log(low), math.log(high))))


# --- training ---------------------------------------------------------------------------------------------------------


def averaged(mean: Tensor, now: Tensor, n_seen: Tensor | int) -> Tensor:
    """Over the more steps, the more there were."""
    if not mean.is_floating_point():
        return now
    return torch.lerp(mean, now, 1 - min(EMA, (int(n_seen) + 1) / (int(n_seen) + 21)))


def trained(
    network: BlurDetector, pictures: Tensor, shaken: Tensor, *, n_images: int, rate: float, draws: torch.Generator
) -> BlurDetector:
    network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = AveragedModel(network, avg_fn=averaged, use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01)
    n_steps, told = n_images // BATCH, 0.0
    for step in range(n_steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / WARMUP) * (1 + math.cos(math.pi * step / n_steps)) / 2
        chosen = torch.randint(len(pictures), (BATCH,), generator=draws)
        turn, flip = torch.randint(4, (2,), generator=draws).tolist()
        batch = torch.rot90(pictures[chosen].float(), turn, (-2, -1))
        batch = (batch.flip(-1) if flip % 2 else batch).contiguous(memory_format=torch.channels_last)
        logits = pooled(network.places(batch))
        loss = functional.binary_cross_entropy_with_logits(logits, 0.98 * shaken[chosen] + 0.01)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(network)
        told += float(loss.detach())
        if (step + 1) % 100 == 0:
            click.echo(f"{(step + 1) * BATCH} of {n_images} crops: loss {told / 100:.3f}")
            told = 0.0
    made = average.module
    assert isinstance(made, BlurDetector)
    return made.eval()


@click.command(help=__doc__)
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path))
@click.option("--count", default=12_000, show_default=True, help="Crops that are drawn.")
@click.option("--n-images", default=48_000, show_default=True, help="Crops that are shown to the network.")
@click.option("--init", type=click.Path(path_type=Path, exists=True), help="Weights to begin from.")
@click.option("--rate", default=3e-3, show_default=True, help="Of learning, at its highest.")
@click.option("--seed", default=0, show_default=True)
@click.option("--workers", default=2, show_default=True, help="Processes that draw crops.")
def main(
    photos: tuple[Path, ...],
    out: Path,
    count: int,
    n_images: int,
    init: Path | None,
    rate: float,
    seed: int,
    workers: int,
) -> None:
    pictures, shaken = drawn(photos, count, seed, workers)
    click.echo(f"{count} crops, {int(shaken.sum())} shaken")
    draws = torch.Generator().manual_seed(seed)
    begun = BlurDetector(generator=draws) if init is None else load_model(init, task="detect-blur")[0]
    assert isinstance(begun, BlurDetector)
    network = trained(begun, pictures, shaken, n_images=n_images, rate=rate, draws=draws)
    card = Card(
        "blur-detector",
        network.arguments,
        Contract("detect-blur", multiple_of=network.multiple_of),
        name="blur-detector",
        training_data="that of the photos; say which",
        licence="Apache-2.0",
    )
    save_model(network, out, card)


if __name__ == "__main__":
    main()
