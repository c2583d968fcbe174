"""The demonstration: a shipped photo, shaken and deblurred blindly; and blurred by a known kernel and restored with and
without the noise level known."""

import dataclasses
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor

from .degradations import Shake, load_kernel
from .figures import side_by_side, with_inset
from .metrics import psnr, ssim
from .photo import Photo, read_photo, write_photo
from .restorers import Progress, blur, deblur, deconvolve

SHAKE = Shake(extent=8.0, sway=1.0, roll=0.5, read_noise=0.002)
NOISE_SIGMA = 2.55 / 255
N_ITERATIONS = 150


@dataclasses.dataclass(frozen=True)
class DemoRow:
    """One picture of the demonstration: PSNR in dB and Wang's SSIM on RGB against the sharp photo, all of the frame."""

    name: str
    file: str
    psnr: float
    ssim: float
    seconds: float | None


def demo_inputs() -> tuple[Tensor, Tensor]:
    """(sharp photo (3, H, W), camera-shake kernel (kh, kw)) as shipped."""
    with resources.as_file(resources.files("resharp") / "assets") as assets:
        return read_photo(assets / "demo-photo.png").image, load_kernel(assets / "demo-kernel.png")


def run_demo(out: Path, *, progress: Progress | None = None) -> list[DemoRow]:
    """Write degraded, restored and side-by-side PNGs into the folder `out`; returns what they measure."""
    sharp, kernel = demo_inputs()
    shaken = SHAKE(sharp, generator=torch.Generator().manual_seed(1)).clamp(0, 1)
    blurred = blur(sharp, kernel, NOISE_SIGMA, seed=0).clamp(0, 1)

    def deconvolved(noise_sigma: float | None) -> Tensor:
        return deconvolve(blurred, kernel, noise_sigma, n_iterations=N_ITERATIONS, progress=progress)

    steps: list[tuple[str, str, Callable[[], Tensor] | None]] = [
        ("shaken", "shaken", None),
        ("blind", "deblurred, nothing known", lambda: deblur(shaken)),
        ("blurred", "blurred and noisy", None),
        ("non-blind", "restored, kernel and noise known", lambda: deconvolved(NOISE_SIGMA)),
        ("noise-blind", "restored, kernel known", lambda: deconvolved(None)),
    ]
    degraded = {"shaken": shaken, "blurred": blurred}
    rows, panels = [], []
    for name, title, restore in steps:
        started = time.perf_counter()
        image = degraded[name] if restore is None else restore()
        seconds = None if restore is None else time.perf_counter() - started
        row = DemoRow(name, f"{name}.png", float(psnr(image, sharp)), float(ssim(image, sharp)), seconds)
        write_photo(Photo(image), out / row.file)
        shown = with_inset(image, kernel) if name == "blurred" else image
        panels.append((title, f"PSNR {row.psnr:.2f} dB, SSIM {row.ssim:.3f}", shown))
        rows.append(row)
    panels.insert(2, ("original", "Kodak test image 19", sharp))
    write_photo(Photo(side_by_side(panels, n_columns=3)), out / "side-by-side.png")
    return rows
