"""How natural an image looks by itself: NIQE (Mittal, Soundararajan and Bovik 2013, doi 10.1109/LSP.2012.2227726)."""

import functools
import io
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from resharp.degradations import Resize
from resharp.errors import ArgumentError, WeightsError
from resharp.image import luma

from .arguments import checked_images, for_each
from .windows import filtered, gaussian_line

_BLOCK = 96  # pixels each way that are described by one row of features
_N_FEATURES = 36
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))
_SMALLEST = f"NIQE describes blocks of {_BLOCK}x{_BLOCK} pixels and takes two of them or more"
_ROUNDING = 1e-6  # grey levels
_MIRRORED = 4  # pixels beyond the frame that the halving reaches, an even number


@dataclass(frozen=True)
class Pristine:
    """Mean and covariance of the features of blocks of good photos: (36,) and (36, 36), float64."""

    mean: Tensor
    covariance: Tensor


@functools.cache
def load_pristine(path: str | Path | None = None) -> Pristine:
    """What NIQE compares with: the authors' statistics, which are shipped, or those of a .npz file.

    The file holds mu_pris_param (1, 36) and cov_pris_param (36, 36), as BasicSR's does.  Raises WeightsError.
    """
    shipped = resources.files("resharp") / "assets" / "niqe-pristine.npz"
    name = path or "niqe-pristine.npz"
    try:
        data = shipped.read_bytes() if path is None else Path(path).read_bytes()
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            mean, covariance = (np.asarray(file[key], np.float64) for key in ("mu_pris_param", "cov_pris_param"))
        result = Pristine(torch.from_numpy(mean.reshape(-1)), torch.from_numpy(covariance))
        if (result.mean.shape, result.covariance.shape) != ((_N_FEATURES,), (_N_FEATURES, _N_FEATURES)):
            raise ValueError(f"{mean.size} means and a covariance of {covariance.shape}, not 36 and (36, 36)")
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise ValueError("NaN or infinite values")
    except Exception as error:  # foreign bytes fail in many ways; none is ours, and no code of the file is run
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(
            f"{name}: no statistics for NIQE ({reason}); name a .npz as BasicSR's niqe_pris_params.npz"
        ) from None
    return result


@torch.no_grad()
def niqe(restored: Tensor, clean: Tensor | None = None, *, pristine: Pristine | None = None) -> Tensor:
    """Distance of an image's statistics from those of pristine photos; lower is better, from 0 on; shape (...).

    restored: float (..., 1 or 3, H, W) in [0, 1];  of colours the luma is taken, BT.601 in its limited range, and both
    are rounded to 8 bits, as the authors' figures were made;  clean: ignored.  Computed in float64.  On photos with
    flat places other programs differ in the third decimal, by their rounding.  NaN where too few blocks have any
    texture.  Raises ArgumentError for images of less than two blocks of 96x96 pixels.
    """
    del clean
    images = checked_images(restored).double()
    n_blocks = (images.shape[-2] // _BLOCK) * (images.shape[-1] // _BLOCK)
    if n_blocks < 2:
        raise ArgumentError(f"an image of {images.shape[-1]}x{images.shape[-2]} pixels is too small: {_SMALLEST}")
    levels = (255 * (luma(images) if images.shape[-3] == 3 else images)).round()
    if levels.shape[-3] != 1:
        raise ArgumentError(f"NIQE is of grey or RGB images, not of {images.shape[-3]} channels")
    known = pristine or load_pristine()
    return for_each(lambda single, _: _distance(single[0], known), levels, levels)


def _distance(levels: Tensor, pristine: Pristine) -> Tensor:
    """Eq. 10 of the paper, of grey levels (H, W) in 0..255."""
    rows = _features(levels)
    whole = rows[~rows.isnan().any(dim=1)]
    if len(whole) < 2 or not bool(whole.isfinite().all()):
        return levels.new_tensor(float("nan"))
    difference = rows.nanmean(dim=0) - pristine.mean.to(rows)
    spread = (pristine.covariance.to(rows) + torch.cov(whole.T)) / 2
    inverse: Tensor = torch.linalg.pinv(spread, hermitian=True)
    return (difference @ inverse @ difference).sqrt()


def _features(levels: Tensor) -> Tensor:
    """(blocks, 36): 18 of the image's blocks, 18 of the same blocks in the image of half the size."""
    height, width = (n // _BLOCK * _BLOCK for n in levels.shape)
    levels = levels[:height, :width]
    scales = []
    for block in (_BLOCK, _BLOCK // 2):
        normalised = _normalised(levels)
        blocks = normalised.unfold(0, block, block).unfold(1, block, block).reshape(-1, block, block)
        scales.append(_block_features(blocks))
        levels = _halved(levels)
    return torch.cat(scales, dim=1)


def _normalised(levels: Tensor) -> Tensor:
    """Less the local mean, over the local deviation plus one grey level; the frame's edge is repeated beyond it.

    In flat places the difference is nothing but rounding, whose sign would decide on which side of a distribution it is
    counted: it is made zero, which is on neither.
    """
    line = levels.new_tensor(gaussian_line(7, 7 / 6))
    around = pad(levels[None, None], (3, 3, 3, 3), mode="replicate")[0, 0]
    mean, power = filtered(torch.stack([around, around.square()], dim=1), line).unbind(1)
    difference = levels - mean
    difference[difference.abs() < _ROUNDING] = 0
    return difference / ((power - mean.square()).abs().sqrt() + 1)


def _halved(levels: Tensor) -> Tensor:
    """MATLAB's imresize by 1/2: bicubic, antialiased, the image mirrored at its edges."""
    for dim in (0, 1):
        n = levels.shape[dim]
        first, last = levels.narrow(dim, 0, _MIRRORED), levels.narrow(dim, n - _MIRRORED, _MIRRORED)
        levels = torch.cat([first.flip(dim), levels, last.flip(dim)], dim)
    cut = slice(_MIRRORED // 2, -_MIRRORED // 2)
    halved: Tensor = Resize(0.5)(levels[None])
    return halved[0, cut, cut]


def _block_features(blocks: Tensor) -> Tensor:
    """(blocks, 18): two of the normalised levels, four of their products with each of four neighbours."""
    shape, left, right = _fitted(blocks)
    features = [shape, (left + right) / 2]
    for neighbour in _NEIGHBOURS:
        shape, left, right = _fitted(blocks * blocks.roll(neighbour, dims=(1, 2)))
        mean = (right - left) * torch.exp(torch.lgamma(2 / shape) - torch.lgamma(1 / shape))
        features += [shape, mean, left, right]
    return torch.stack(features, dim=1)


def _fitted(blocks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shape, left and right scale of an asymmetric generalised Gaussian for each block, by its moments.

    NaN scales where no value lies on a side.  The shape is found on the authors' grid.
    """
    values = blocks.flatten(1)
    squares = values.square()
    left, right = (
        ((squares * side).sum(1) / side.sum(1)).sqrt() for side in ((values < 0).double(), (values > 0).double())
    )
    ratio = left / right
    moment = values.abs().mean(1).square() / squares.mean(1)
    moment = moment * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shapes, moments = _shapes()
    shapes, moments = shapes.to(values), moments.to(values)
    above = torch.searchsorted(moments, moment.contiguous()).clamp(1, len(moments) - 1)
    nearer_below = moment - moments[above - 1] <= moments[above] - moment
    shape = shapes[torch.where(moment.isnan(), 0, above - nearer_below.long())]
    scale = torch.exp((torch.lgamma(1 / shape) - torch.lgamma(3 / shape)) / 2)
    return shape, left * scale, right * scale


@functools.cache
def _shapes() -> tuple[Tensor, Tensor]:
    """Shapes from 0.2 to 10, and Gamma(2/shape)^2 / (Gamma(1/shape) Gamma(3/shape)), which grows with them."""
    shapes = torch.arange(200, 10001, dtype=torch.float64) / 1000
    logarithm = 2 * torch.lgamma(2 / shapes) - torch.lgamma(1 / shapes) - torch.lgamma(3 / shapes)
    return shapes, logarithm.exp()
