"""The demonstration: a shipped photo, blurred by camera shake of our own making, restored with and without the noise
level known."""

import dataclasses
import time
from importlib import resources
from pathlib import Path

from torch import Tensor

from .degradations import load_kernel
from .figures import side_by_side, with_inset
from .metrics import psnr, ssim
from .photo import Photo, read_photo, write_photo
from .restorer import blur, deconvolve
from .solvers.mean_shift import OnStep

NOISE_SIGMA = 2.55 / 255
N_ITERATIONS = 200


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


def run_demo(out: Path, *, on_step: OnStep | None = None) -> list[DemoRow]:
    """Write blurred, restored and side-by-side PNGs into the folder `out`; returns what they measure."""
    sharp, kernel = demo_inputs()
    blurred = blur(sharp, kernel, NOISE_SIGMA, seed=0).clamp(0, 1)
    pictures: list[tuple[str, str, Tensor, float | None]] = [("blurred", "blurred", blurred, None)]
    for name, noise_sigma in (("non-blind", NOISE_SIGMA), ("noise-blind", None)):
        started = time.perf_counter()
        restored = deconvolve(blurred, kernel, noise_sigma, n_iterations=N_ITERATIONS, on_step=on_step)
        pictures.append((name, f"restored, {name}", restored, time.perf_counter() - started))
    rows, panels = [], []
    for name, title, image, seconds in pictures:
        row = DemoRow(name, f"{name}.png", float(psnr(image, sharp)), float(ssim(image, sharp)), seconds)
        write_photo(Photo(image), out / row.file)
        shown = with_inset(image, kernel) if name == "blurred" else image
        panels.append((title, f"PSNR {row.psnr:.2f} dB, SSIM {row.ssim:.3f}", shown))
        rows.append(row)
    panels.append(("original", "Kodak test image 19", sharp))
    write_photo(Photo(side_by_side(panels)), out / "side-by-side.png")
    return rows
