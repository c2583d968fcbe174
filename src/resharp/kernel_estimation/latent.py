"""What a sharp window may look like under a guess of its kernel: a picture of few edges."""

import torch
from torch import Tensor

from .planes import gradient_power, gradients, gradients_transposed, kernel_spectra, made_periodic
from .threads import window_by_window

_OF_PRINT = 0.5  # what an edge of print costs, and a pixel of ink, of the price of other edges
_SPLIT_FOR_KERNELS = 10.0  # of the splitting's weight: beyond it kernels get no better; measured on Levin's photos


def few_edges(
    blurred: Tensor,
    kernels: Tensor,
    price: float,
    *,
    paper: Tensor | None = None,
    largest_split: float = _SPLIT_FOR_KERNELS,
) -> Tensor:
    """The s of least |k * s - y|^2 + price |grad s|_0 per window, by half-quadratic splitting (Xu, Zheng, Jia 2013).

    blurred: (N, H, W) in [0, 1];  price: of one pixel with an edge;  paper: (N, H, W), see `paper_of`: where it is not
    NaN, the edges and |s - paper|_0 of what is darker cost half of the price each (Pan, Hu, Su, Yang 2014);
    largest_split: weight of the splitting at which to stop: the larger, the flatter is what lies between edges.
    """
    if paper is None:
        (sharp,) = window_by_window(lambda of, by: (_few_edges(of, by, price, largest_split),), blurred, kernels)
        return sharp
    is_print, level = ~paper.isnan()[:, :1, :1], paper.nan_to_num(0.0)
    (strokes,) = window_by_window(
        lambda of, by, printed: (_few_edges(of, by, price, largest_split, printed),), blurred - level, kernels, is_print
    )
    return strokes + level


def _few_edges(
    blurred: Tensor, kernels: Tensor, price: float, largest_split: float, is_print: Tensor | None = None
) -> Tensor:
    """is_print: (N, 1, 1): there, 0 is paper and costs nothing, and what is below costs what an edge does."""
    height, width = blurred.shape[-2:]
    sharp = made_periodic(blurred, kernels.shape[-1])
    grid = (sharp.shape[-2], sharp.shape[-1])
    spectra = kernel_spectra(kernels, grid)
    power, roughness = spectra.abs().square(), gradient_power(grid, blurred)
    threshold: Tensor | float = price
    if is_print is not None:
        roughness, threshold = roughness + is_print.to(roughness), torch.where(is_print, _OF_PRINT * price, price)
    known = spectra.conj() * torch.fft.rfft2(sharp)
    # real factors of complex numbers, once for each part: complex arithmetic, or repeating them as it goes, costs twice
    power, roughness = (planes[..., None].repeat_interleave(2, -1) for planes in (power, roughness))
    split = 2 * price
    while split < largest_split:
        right, down = gradients(sharp)
        # 1 or 0: a mask of truths takes twice the time
        steep = right.square().addcmul_(down, down).ge_(threshold / split)
        wanted = gradients_transposed(right.mul_(steep), down.mul_(steep))
        if is_print is not None:
            wanted += sharp * (is_print & (sharp < 0) & (sharp.square() >= threshold / split))
        pull = torch.fft.rfft2(wanted)
        torch.view_as_real(pull.mul_(split).add_(known)).div_(torch.add(power, roughness, alpha=split))
        sharp = torch.fft.irfft2(pull, s=grid)
        split *= 2
    return sharp[..., :height, :width]


def edge_threshold(sharp: Tensor, sides: Tensor) -> Tensor:
    """(N,) gradients above which each of four directions keeps enough edges for these kernel sides (Cho, Lee 2009)."""
    (found,) = window_by_window(lambda of, by: (_edge_threshold(of, by),), sharp, sides)
    return found


def _edge_threshold(sharp: Tensor, sides: Tensor) -> Tensor:
    right, down = gradients(sharp)
    strength = torch.hypot(right, down).flatten(1)
    direction = torch.atan2(down, right).remainder(torch.pi).flatten(1)
    quarter = (direction * (4 / torch.pi)).long().clamp(max=3)
    wanted = ((strength.shape[1] ** 0.5) * sides / 2).long().clamp(max=strength.shape[1] - 1)
    found = [_ranked(strength.masked_fill(quarter != number, 0), wanted) for number in range(4)]
    return torch.stack(found).amin(0)


def _ranked(values: Tensor, rank: Tensor) -> Tensor:
    """(N,) of values (N, M) those that `rank` others exceed."""
    highest = values.topk(int(rank.max()) + 1, dim=1).values
    return highest.gather(1, rank[:, None])[:, 0]
