"""A sharp photo moved to where its restoration lies, by fractions of a pixel: kernels are found up to a shift."""

import torch
from torch import Tensor
from torch.nn import functional

FARTHEST = 6  # pixels either way
BORDER = 12  # pixels of the moved photo that are not to be relied upon


def laid_onto(restored: Tensor, clean: Tensor) -> Tensor | None:
    """`clean` (3, H, W), moved so that it differs least from `restored`; None where that lies FARTHEST away or more.

    The least squared error of whole pixels is made finer by the parabola through its neighbours; the photo is moved by
    the phases of its spectrum.  Sides from 2 (FARTHEST + BORDER) + 1 pixels on.
    """
    grey, seen = clean.mean(0), restored.mean(0)
    height, width = grey.shape
    middle = seen[BORDER : height - BORDER, BORDER : width - BORDER]
    steps = range(-FARTHEST, FARTHEST + 1)

    def error(down: int, right: int) -> float:
        rows, columns = slice(BORDER - down, height - BORDER - down), slice(BORDER - right, width - BORDER - right)
        return float((middle - grey[rows, columns]).square().mean())

    errors = {(down, right): error(down, right) for down in steps for right in steps}
    down, right = min(errors, key=errors.__getitem__)
    if FARTHEST in (abs(down), abs(right)):
        return None
    finer_down = _vertex(*(errors[down + step, right] for step in (-1, 0, 1)))
    finer_right = _vertex(*(errors[down, right + step] for step in (-1, 0, 1)))
    return moved(clean, down + finer_down, right + finer_right)


def moved(image: Tensor, down: float, right: float) -> Tensor:
    """An image (C, H, W), mirrored at its borders, moved by so many pixels, in [0, 1]."""
    around = 2 * BORDER
    whole = functional.pad(image[None], (around,) * 4, mode="reflect")[0]
    height, width = whole.shape[-2:]
    turns = torch.fft.fftfreq(height)[:, None] * down + torch.fft.rfftfreq(width) * right
    spectrum = torch.fft.rfft2(whole) * torch.polar(torch.ones_like(turns), -2 * torch.pi * turns)
    shifted: Tensor = torch.fft.irfft2(spectrum, s=(height, width))
    return shifted[:, around : height - around, around : width - around].clamp(0, 1)


def _vertex(before: float, least: float, after: float) -> float:
    """Where the parabola through three values at -1, 0 and 1 is least."""
    bend = before - 2 * least + after
    return 0.5 * (before - after) / bend if bend > 0 else 0.0
