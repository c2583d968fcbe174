"""Print and writing: windows that are mostly paper of one brightness with darker strokes all over it.

Strokes a few pixels wide, side by side, mislead an estimator that knows of edges alone: a kernel that lays letters over
their neighbours explains as much.  That most of a sharp page is paper tells (Pan, Hu, Su, Yang 2014, "Deblurring text
images via L0-regularized intensity and gradient prior").
"""

import torch
from torch import Tensor

_BLOCK = 32  # pixels: of print, nearly every block shows paper and ink
_PAPER = 0.9  # the quantile of a block that is paper
_LEVEL, _INK = 0.06, 0.12  # of brightness: how far paper strays from its level, and how much darker ink is at least
_LIT = 0.1  # farther from the median, a block's paper is something else
_DARKEST = 0.3  # paper is brighter
_BLOCKS, _PRINTED = 0.85, 0.4  # shares of blocks with paper and with both, at least
_MOST = 0.5  # the share of windows above which a photo is one of print
_BARE, _BRIGHTER = 0.35, 0.02  # of pixels that are bare paper, at least, and brighter, at most


def paper_of(windows: Tensor) -> Tensor | None:
    """(N, H, W) the brightness of the paper of windows that show print, a plane of its own slope; NaN in windows that
    show something else; None where most do.

    windows: (N, H, W) in [0, 1], of one photo.  Of 426 photos of other things three pass, in windows of 256x256.
    """
    height, width = windows.shape[-2:]
    if min(height, width) < 2 * _BLOCK:
        return None
    blocks = windows.unfold(1, _BLOCK, _BLOCK).unfold(2, _BLOCK, _BLOCK).flatten(-2)  # (N, rows, columns, pixels)
    bright, dark = _quantile(blocks, _PAPER), blocks.amin(-1)
    middles = [_BLOCK * (torch.arange(count, device=windows.device) + 0.5) for count in bright.shape[1:]]
    median = bright.flatten(1).median(1).values
    slopes = _plane_through(bright, (bright - median[:, None, None]).abs() < _LIT, middles)
    there = _plane_at(slopes, middles)
    bare = (bright - there).abs() < _LEVEL
    printed = bare & (there - dark > _INK)
    paper = _plane_at(slopes, [torch.arange(count, device=windows.device) + 0.5 for count in (height, width)])
    above = windows - paper
    is_print = (
        (bare.float().mean((-2, -1)) >= _BLOCKS)
        & (printed.float().mean((-2, -1)) >= _PRINTED)
        & ((above.abs() < _LEVEL).float().mean((-2, -1)) > _BARE)
        & ((above > _LEVEL).float().mean((-2, -1)) < _BRIGHTER)
        & (median > _DARKEST)
    )
    return paper.where(is_print[:, None, None], torch.nan) if float(is_print.float().mean()) > _MOST else None


def _quantile(values: Tensor, share: float) -> Tensor:
    """A high quantile along the last axis, as torch's, which sorts all and takes four times as long."""
    last = values.shape[-1] - 1
    below = int(share * last)
    highest = values.topk(last - below + 1, -1).values
    return torch.lerp(highest[..., -1], highest[..., -2], share * last - below)


def _plane_through(values: Tensor, counts: Tensor, places: list[Tensor]) -> Tensor:
    """(N, 3) least squares: the level and its slopes downwards and to the right, of values (N, rows, columns)."""
    down, right = torch.meshgrid(*places, indexing="ij")
    design = torch.stack([torch.ones_like(down), down, right], -1).flatten(0, 1).to(values)
    weights = counts.flatten(1).to(values)
    normal = torch.einsum("nb,bi,bj->nij", weights, design, design)
    target = torch.einsum("nb,nb,bi->ni", weights, values.flatten(1), design)
    scale = design.square().sum(0).sqrt()  # pixels beside ones: the matrix would be badly conditioned
    ridge = 1e-6 * torch.eye(3, dtype=values.dtype, device=values.device)
    found: Tensor = torch.linalg.solve(normal / (scale[:, None] * scale) + ridge, target / scale) / scale
    return found


def _plane_at(slopes: Tensor, places: list[Tensor]) -> Tensor:
    level, down, right = slopes[:, :, None, None].unbind(1)
    return level + down * places[0][:, None] + right * places[1]
