"""Blind deblurring: a photo and nothing else.

Photos that are too large for the memory are cut into parts that overlap by as much as a network can see.  Networks that
measure something on the whole photo measure it once, on an even sample of it, and every part then uses that: together
the parts differ a little from the whole, and not from each other.  Measured on Kodak and GoPro photos with a new
DeblurGAN, the most sensitive one, whose correction has an rms of 0.023: 256 squares of 128 pixels change the result by
0.0013 to 0.0018 (55 to 58 dB) and its colours by 0.1 of a grey level; parts with statistics of their own by 0.006 (44
dB), with seams.
"""

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, cast, final

import torch
from torch import Tensor, nn

from resharp.degradations.noise import checked_seed
from resharp.device import checked_device, free_memory, is_out_of_memory
from resharp.errors import ArgumentError, ResourceError, WeightsError
from resharp.image import Picture, as_image, like_input
from resharp.tiling import even_sample, n_tiles, run_in_tiles, smallest_side
from resharp.weights import DEFAULT_DEBLUR, Card, load_weights

from .memory import memory_named
from .precision import checked_precision

OnTile = Callable[[int, int], None]
"""Called after each part of a photo with (parts done, parts in all)."""

_Drawn = dict[str, torch.Generator]  # a network's `generator` argument where its dropout stays on, else nothing
_FEWEST_SQUARES, _MOST_SQUARES, _SMALLEST_SQUARE, _LARGEST_SQUARE = 64, 256, 64, 128
_MOST_ON_CPU = 4 << 30  # bytes for features: with the photo itself and the rest, 24 megapixels stay below 8 GB
_WAY_OUT = "close other programs or take a smaller photo"
_HELD = 3  # a network holds about three times its largest layer at once, measured


class _Network(Protocol):
    multiple_of: int
    receptive_field: int | None
    reach: int  # only where receptive_field is None

    dropout: float  # in (0, 1), only where `residual` takes a generator

    def residual(
        self, image: Tensor, **options: Callable[[Callable[[], Tensor]], Tensor] | torch.Generator
    ) -> Tensor: ...


@final
class Deblurrer:
    """Images (..., 3, H, W) in [0, 1] -> the same shape, float32, clipped to [0, 1]; what `load_deblurrer` makes.

    device, dtype: where and in which numbers the network computes; its correction is added in float32.
    """

    def __init__(self, network: nn.Module, *, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self._network = cast(_Network, network.eval().requires_grad_(False).to(device=device, dtype=dtype))
        self._bytes_per_pixel = _HELD * dtype.itemsize * _largest_layer(network, device, dtype)

    def __call__(
        self,
        image: Tensor,
        *,
        tile: int | None = None,
        samples: int | None = None,
        seed: int = 0,
        on_tile: OnTile | None = None,
    ) -> Tensor:
        """tile: side in pixels of the parts that the image is cut into; None takes it whole where memory allows.
        samples: the mean of so many restorations with dropout on, their masks drawn from `seed`; see `deblur`.

        Raises ArgumentError (no such image, tiles smaller than the network's surroundings of a pixel, samples of a
        network without dropout), ResourceError, and WeightsError where the result is not finite.
        """
        self.check_tile(tile)
        self.check_samples(samples, seed)
        colour = as_image(image)
        if colour.shape[-3] != 3:
            raise ArgumentError(f"a deblurrer takes RGB images (..., 3, H, W), not {tuple(colour.shape)}")
        seeds = [None] if samples is None else [seed + index for index in range(samples)]
        with memory_named(colour, self.device, way_out=_WAY_OUT):
            flat = colour.to(self.device).reshape(-1, *colour.shape[-3:])
            restored = torch.cat([self._mean_restored(one[None], tile, seeds, on_tile) for one in flat])
        return restored.reshape(colour.shape)

    def check_tile(self, tile: int | None) -> None:
        """Raises ArgumentError for a side of tiles smaller than what the network sees around a pixel."""
        if tile is not None and tile < self.smallest_tile:
            raise ArgumentError(
                f"tiles of {tile} pixels; these weights look so far around that {self.smallest_tile} are the least"
            )

    def check_samples(self, samples: int | None, seed: int) -> None:
        """Raises ArgumentError for samples of a network that has no dropout to draw, and for numbers out of range."""
        if samples is None:
            return
        if samples < 1:
            raise ArgumentError(f"the mean of {samples} samples; one is the least")
        checked_seed(seed)
        checked_seed(seed + samples - 1)
        if not getattr(self._network, "dropout", 0):
            raise ArgumentError("these weights have no dropout, so that all samples are the same; leave samples out")

    def _mean_restored(
        self, image: Tensor, tile: int | None, seeds: Sequence[int | None], on_tile: OnTile | None
    ) -> Tensor:
        """The mean over the seeds of what is made of (1, 3, H, W), each clipped to [0, 1]."""
        total: Tensor | None = None
        for index, seed in enumerate(seeds):
            one = self._restored(image, tile, seed, _on_sample(on_tile, index, len(seeds)))
            if not all(math.isfinite(extreme) for extreme in torch.aminmax(one)):  # without a copy of it
                raise WeightsError("the network's output is not finite; try --precision float32 or other weights")
            total = one.clamp_(0, 1) if total is None else total.add_(one.clamp_(0, 1))
        assert total is not None
        return total.div_(len(seeds))

    @torch.no_grad()
    def _restored(self, image: Tensor, tile: int | None, seed: int | None, on_tile: OnTile | None) -> Tensor:
        """(1, 3, H, W), not clipped; in smaller and smaller parts until one fits."""
        least = self.smallest_tile
        side = max(image.shape[-2:]) if tile is None else tile
        if tile is None and image.shape[-2] * image.shape[-1] > self._pixels_at_once():
            side = max(least, math.isqrt(self._pixels_at_once()))
        while True:
            try:
                return self._corrected(image, side, seed, on_tile)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            if side <= least:
                height, width = image.shape[-2:]
                raise ResourceError(
                    f"not enough memory on {self.device} for a photo of {width}x{height}, also in parts of {least} "
                    f"pixels; {_WAY_OUT}"
                )
            side = max(least, min(side, *image.shape[-2:]) // 2)

    def _corrected(self, image: Tensor, side: int, seed: int | None, on_tile: OnTile | None) -> Tensor:
        """The photo plus the network's correction, in parts of `side`; with a seed, of one draw of its dropout, which
        each part makes for itself."""
        layout = {"side": side, "halo": self._halo, "multiple_of": self._network.multiple_of}
        drawn: _Drawn = {} if seed is None else {"generator": torch.Generator().manual_seed(seed)}
        total, correct = n_tiles(image, **layout), functools.partial(self._correction, drawn=drawn)
        if total > 1 and self._network.receptive_field is None:
            measured = self._measured(image, side, drawn)
            correct = functools.partial(self._part_correction, measured=measured, drawn=drawn)
        done = iter(range(1, total + 1))
        tick = None if on_tile is None else lambda: on_tile(next(done), total)
        return run_in_tiles(correct, image, on_tile=tick, **layout).add_(image)

    def _correction(self, image: Tensor, *, drawn: _Drawn) -> Tensor:
        return self._network.residual(self._seen(image), **drawn).float()

    def _part_correction(self, part: Tensor, *, measured: Sequence[Tensor], drawn: _Drawn) -> Tensor:
        known = iter(measured)
        return self._network.residual(self._seen(part), shared=lambda _: next(known), **drawn).float()

    def _measured(self, image: Tensor, side: int, drawn: _Drawn) -> list[Tensor]:
        """What the network measures on the photo, in the order in which it asks.

        The sample takes about as much memory as a part of that side, or of 512; places count for more than pixels.
        """
        square = min(max(_SMALLEST_SQUARE, side // 8 // 64 * 64), _LARGEST_SQUARE)
        most = min(max(_FEWEST_SQUARES, (side // square) ** 2), _MOST_SQUARES)
        sample = even_sample(image, side=square, most=most, multiple_of=self._network.multiple_of)
        found: list[Tensor] = []

        def keep(measure: Callable[[], Tensor]) -> Tensor:
            found.append(measure())
            return found[-1]

        self._network.residual(self._seen(sample), shared=keep, **drawn)
        return found

    def _seen(self, image: Tensor) -> Tensor:
        return image.to(dtype=self.dtype, memory_format=torch.channels_last)

    @property
    def smallest_tile(self) -> int:
        """The smallest side of parts that the network can do with."""
        return smallest_side(self._halo, self._network.multiple_of)

    @property
    def _halo(self) -> int:
        """How far around a pixel the network looks, apart from what it measures on the whole photo."""
        field = self._network.receptive_field
        return self._network.reach if field is None else field // 2

    def _pixels_at_once(self) -> int:
        """As many as fit in half of the memory that is free now."""
        free = free_memory(self.device)
        spare = _MOST_ON_CPU if free is None else free // 2
        if self.device.type == "cpu":
            spare = min(spare, _MOST_ON_CPU)
        return int(spare / self._bytes_per_pixel)


def deblur(
    image: Picture,
    *,
    weights: Deblurrer | str | Path = DEFAULT_DEBLUR,
    device: str = "cpu",
    precision: str = "auto",
    tile: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    on_tile: OnTile | None = None,
) -> Picture:
    """Sharpen a photo of which nothing else is known.

    image: float tensor (..., C, H, W) in [0, 1], or an array (H, W[, C]), uint8, uint16 or float; C is 1 or 3.
    weights: a network by name or file, or what `load_deblurrer` made of them, once for many photos; it then has a
    device and a precision already.
    tile: side in pixels of the parts that the photo is cut into; None takes it whole where memory allows.
    samples: for networks trained with dropout, which then stays on: the mean of so many restorations, their masks drawn
    from `seed`, `seed` + 1, ...  One is the mode that DeblurGAN's authors test in; None leaves nothing to chance.

    Returns the restored image in the form of the input, the same size.  The same photo, seed and parts give the same
    picture.  Raises ArgumentError, WeightsError or ResourceError.
    """
    blurred = as_image(image)
    if not isinstance(weights, Deblurrer):
        weights = load_deblurrer(weights, device=device, precision=precision)
    grey = blurred.shape[-3] == 1
    colour = blurred.expand(*blurred.shape[:-3], 3, -1, -1)
    restored = weights(colour, tile=tile, samples=samples, seed=seed, on_tile=on_tile)
    return like_input(restored.mean(-3, keepdim=True) if grey else restored, image)


def load_deblurrer(weights: str | Path = DEFAULT_DEBLUR, *, device: str = "cpu", precision: str = "auto") -> Deblurrer:
    """A network that deblurs, ready to run.

    precision: "float32", "bfloat16" (within 0.05 dB, and more than twice as fast where the processor knows it), or
    "auto".  Raises ArgumentError and WeightsError, also for weights of a network that does something else.
    """
    place = checked_device(device)
    dtype = checked_precision(precision, place)
    network, card = load_weights(weights)
    _check_deblurs(card)
    with memory_named(None, place):
        return Deblurrer(network, device=place, dtype=dtype)


def _on_sample(on_tile: OnTile | None, index: int, n_samples: int) -> OnTile | None:
    """Counts the parts of the samples before it along."""
    if on_tile is None:
        return None
    return lambda done, total: on_tile(index * total + done, n_samples * total)


def _check_deblurs(card: Card) -> None:
    if card.noise_sigma is not None:
        raise WeightsError(
            f"{card.path}: is a denoiser ({card.network!r}), which does not deblur by itself; it serves `resharp "
            "deconvolve --weights`, where the blur is known"
        )
    if card.arguments.get("channels", 3) != 3:
        raise WeightsError(f"{card.path}: is for images of {card.arguments['channels']} channels; photos have 3")


@torch.no_grad()
def _largest_layer(network: nn.Module, device: torch.device, dtype: torch.dtype) -> float:
    """Values per pixel of the photo that the largest layer takes and gives."""
    side, found = 64, [6 * 64**2]  # the photo itself, in and out

    def measure(_: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        found.append(given[0].numel() + result.numel())

    leaves = [module for module in network.modules() if not list(module.children())]
    handles = [leaf.register_forward_hook(measure) for leaf in leaves]
    network(torch.zeros(1, 3, side, side, device=device, dtype=dtype))
    for handle in handles:
        handle.remove()
    return max(found) / side**2
