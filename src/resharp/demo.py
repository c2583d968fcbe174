"""The demonstration: a shipped photo, shaken and deblurred blindly; and blurred by a known kernel and restored with and
without the noise level known."""

import dataclasses
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .degradations import Resize, Shake, load_kernel
from .figures import side_by_side, with_inset
from .metrics import psnr, psnr_up_to_shift, ssim
from .models import DEFAULT_DEBLUR
from .photo import Photo, read_photo, write_photo
from .restorers import Progress, blur, deconvolve, open_restorer

SHAKE = Shake(extent=16.0, sway=1.0, roll=0.3, read_noise=0.002)
NOISE_SIGMA = 2.55 / 255
SIGNS = (  # where, what, size, paper, ink
    ((40, 330, 300, 400), "SHARP 2026", 40, (245, 245, 240), (20, 22, 30)),
    ((300, 420, 490, 480), "HARBOUR", 34, (20, 70, 140), (240, 240, 250)),
    ((60, 430, 250, 475), "17 19 BOAT TRIPS", 20, (245, 245, 240), (20, 22, 30)),
)


@dataclasses.dataclass(frozen=True)
class DemoRow:
    """One picture of the demonstration, judged in RGB: PSNR in dB, in place and at the best shift, and Wang's SSIM."""

    name: str
    file: str
    psnr: float
    psnr_up_to_shift: float
    ssim: float
    seconds: float | None


def demo_inputs() -> tuple[Tensor, Tensor]:
    """(sharp photo (3, H, W), camera-shake kernel (kh, kw)) as shipped."""
    with resources.as_file(resources.files("resharp") / "assets") as assets:
        return read_photo(assets / "demo-photo.png").image, load_kernel(assets / "demo-kernel.png")


def with_signs(photo: Tensor) -> Tensor:
    """A photo (3, 256, 256) twice as large, with three signs to read: what a shaken photo loses first."""
    larger = Resize(2.0)(photo).clamp(0, 1)
    canvas = Image.fromarray(larger.mul(255).round().byte().permute(1, 2, 0).numpy())
    draw = ImageDraw.Draw(canvas)
    for box, text, size, paper, ink in SIGNS:
        draw.rounded_rectangle(box, 8, fill=paper, outline=ink, width=4)
        middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        draw.text(middle, text, ink, ImageFont.load_default(size), anchor="mm")
    return torch.from_numpy(np.asarray(canvas).astype(np.float32) / 255).permute(2, 0, 1)


def run_demo(out: Path, *, progress: Progress | None = None) -> list[DemoRow]:
    """Write degraded, restored and side-by-side PNGs into the folder `out`; returns what they measure.

    Drawn in side by side: the kernel, and the one that was found in the shaken photo's middle.
    """
    photo, kernel = demo_inputs()
    sharp = with_signs(photo)
    shaken = SHAKE(sharp, generator=torch.Generator().manual_seed(1)).clamp(0, 1)
    blurred = blur(sharp, kernel, NOISE_SIGMA, seed=0).clamp(0, 1)

    drawn_in = {"blurred": kernel}

    def deblurred() -> Tensor:
        restored = open_restorer(DEFAULT_DEBLUR)(shaken, progress=progress)
        if (found := restored.maps.get("kernels")) is not None:
            drawn_in["blind"] = found[found.shape[0] // 2, found.shape[1] // 2]
        return restored.image

    def deconvolved(noise_sigma: float | None) -> Tensor:
        return deconvolve(blurred, kernel, noise_sigma, progress=progress)

    restorers: list[tuple[str, str, Callable[[], Tensor] | None]] = [
        ("shaken", "shaken", None),
        ("blind", "deblurred, nothing known", deblurred),
        ("blurred", "blurred and noisy", None),
        ("non-blind", "kernel and noise known", lambda: deconvolved(NOISE_SIGMA)),
        ("noise-blind", "kernel known", lambda: deconvolved(None)),
    ]
    degraded = {"shaken": shaken, "blurred": blurred}
    rows, panels = [], []
    for name, title, restore in restorers:
        started = time.perf_counter()
        image = degraded[name] if restore is None else restore()
        seconds = None if restore is None else time.perf_counter() - started
        at_best = float(psnr_up_to_shift(image, sharp))
        row = DemoRow(name, f"{name}.png", float(psnr(image, sharp)), at_best, float(ssim(image, sharp)), seconds)
        write_photo(Photo(image), out / row.file)
        shown = with_inset(image, drawn_in[name]) if name in drawn_in else image
        panels.append((title, f"PSNR {row.psnr:.2f} dB, {at_best:.2f} at the best shift", shown))
        rows.append(row)
    panels.insert(2, ("original", "Kodak test image 19, and signs", sharp))
    write_photo(Photo(side_by_side(panels, n_columns=3)), out / "side-by-side.png")
    return rows
