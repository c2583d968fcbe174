"""Networks on images of any size: padded, in parts where memory asks for it, in the precision that a device is fast at.

Photos that are too large for the memory are cut into parts that overlap by as much as a network can see.  Networks that
measure something on the whole photo measure it once, on an even sample of it, and every part then uses that: together
the parts differ a little from the whole, and not from each other.  Measured on Kodak and GoPro photos with a new
DeblurGAN, the most sensitive one, whose correction has an rms of 0.023: 256 squares of 128 pixels change the result by
0.0013 to 0.0018 (55 to 58 dB) and its colours by 0.1 of a grey level; parts with statistics of their own by 0.006 (44
dB), with seams.
"""

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast, final

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from resharp.device import checked_device, free_memory, is_out_of_memory
from resharp.errors import ArgumentError, ResourceError
from resharp.models import Contract
from resharp.tiling import even_sample, n_tiles, run_in_tiles, run_whole, smallest_side

from .base import Progress, told
from .memory import PeakBytes, memory_named
from .precision import checked_precision

_FEWEST_SQUARES, _MOST_SQUARES, _SMALLEST_SQUARE, _LARGEST_SQUARE = 64, 256, 64, 128
_MOST_ON_CPU = 4 << 30  # bytes for features: with the photo itself and the rest, 24 megapixels stay below 8 GB
_LEAST_FOR_PARTS = (
    1 << 28
)  # bytes beside a picture that takes all of that: small parts overlap by most of what they are
_SHARE, _SHARE_ON_CPU = 0.8, 0.5  # of the memory that is free, which is planned with
_TRIED = 32  # pixels of the sides of the part whose memory is measured
WAY_OUT = "close other programs or take a smaller photo"

_Options = Mapping[str, Any]


class _Network(Protocol):
    reach: int  # of a network that measures on the whole photo: how far around a pixel it looks apart from that
    dropout: float  # in (0, 1), only where `forward` takes a generator

    def __call__(self, image: Tensor, /, *beside: Tensor, **options: Any) -> Tensor: ...


@final
class TiledNetwork:
    """A network on images (..., 3, H, W) of any size, float32 in and out, not clipped.

    tile: side in pixels of the parts that images are cut into; None takes them whole where memory allows, or where
    features of `most_on_cpu` bytes are enough on a processor.  On accelerators as many parts of one size go through
    the network together as the memory allows.
    """

    def __init__(
        self,
        network: nn.Module,
        contract: Contract,
        *,
        device: str = "auto",
        precision: str = "auto",
        tile: int | None = None,
        most_on_cpu: int | None = None,
    ) -> None:
        self.contract = contract
        self._most_on_cpu, self._least_for_parts = most_on_cpu or _MOST_ON_CPU, most_on_cpu or _LEAST_FOR_PARTS
        self.device = checked_device(device)
        self._takes_exact_photos = _is_ours(network)
        if precision == "auto" and not self._takes_exact_photos:
            precision = "float32"
        self.dtype = checked_precision(precision, self.device)
        with memory_named(None, self.device):
            placed = network.eval().requires_grad_(False).to(device=self.device, dtype=self.dtype)
            if self.device.type == "cuda":  # fastest there
                placed.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._network = cast(_Network, placed)
            self._tried = math.lcm(_TRIED, contract.multiple_of) ** 2  # pixels
            self._memory = self._memory_of(placed, continued=False), self._memory_of(placed, continued=True)
        if tile is not None and tile < self.smallest_tile:
            raise ArgumentError(
                f"tiles of {tile} pixels; this model looks so far around that {self.smallest_tile} are the least"
            )
        self._tile = tile

    def __call__(
        self,
        image: Tensor,
        *beside: Tensor,
        planes: Tensor | None = None,
        dropout_seed: int | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """beside: what the network takes after the image, one value for all images;  planes: (..., C, n H, n W), what
        it takes that has the photo's size, or n times that;  dropout_seed: dropout stays on, its masks drawn from
        there.

        Raises ResourceError; StoppedError where `progress` stops.
        """
        flat = image.reshape(-1, *image.shape[-3:])
        times = 1 if planes is None else planes.shape[-1] // image.shape[-1]
        if planes is not None:
            beside_each = planes.to(flat).reshape(-1, *planes.shape[-3:]).expand(len(flat), -1, -1, -1)
            flat = torch.cat([flat, pixel_unshuffle(beside_each, times)], dim=1)
        with memory_named(image, self.device, way_out=WAY_OUT):
            options = {"beside": [one.to(self.device) for one in beside], "seed": dropout_seed, "times": times}
            made = [self._restored(one[None], options, progress) for one in flat]
            whole = torch.cat(made) if len(made) > 1 else made[0]
        return whole.reshape(*image.shape[:-3], *whole.shape[-3:])

    @torch.no_grad()
    def _restored(self, image: Tensor, options: _Options, progress: Progress | None) -> Tensor:
        """Of (1, C, H, W), in smaller and smaller parts until one fits."""
        least, (height, width) = self.smallest_tile, image.shape[-2:]
        side, at_once = self._layout(height, width)
        if options["seed"] is not None:  # each part makes the draw of dropout for itself
            at_once = 1
        while True:
            try:
                return self._in_parts(image, side, at_once, options, progress)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
            if side <= least and at_once == 1:
                raise ResourceError(
                    f"not enough memory on {self.device} for a photo of {width}x{height}, also in parts of {least} "
                    f"pixels; {WAY_OUT}"
                )
            if at_once == 1:
                side = max(least, min(side, height, width) // 2)
            at_once = max(1, at_once // 2)

    def _in_parts(self, image: Tensor, side: int, at_once: int, options: _Options, progress: Progress | None) -> Tensor:
        multiple_of, scale = self.contract.multiple_of, self.contract.scale
        total = n_tiles(image, side=side, halo=self.reach, multiple_of=multiple_of)
        measured = self._measured(image, side, options) if total > 1 and self.contract.halo is None else None
        run = functools.partial(self._part, measured=measured, options=options)
        done = itertools.count(1)
        layout = {"side": side, "halo": self.reach, "multiple_of": multiple_of, "scale": scale, "at_once": at_once}
        return run_in_tiles(run, image, device=self.device, on_tile=lambda: told(progress, next(done), total), **layout)

    def _part(self, part: Tensor, *, measured: Sequence[Tensor] | None, options: _Options) -> Tensor:
        shared: dict[str, Any] = {}
        if measured is not None:
            known = iter(measured)
            shared["shared"] = lambda _: next(known)
        return run_whole(
            functools.partial(self._called, options=options, **shared),
            part.contiguous(memory_format=torch.channels_last),
            multiple_of=self.contract.multiple_of,
            scale=self.contract.scale,
        )

    def _called(self, whole: Tensor, *, options: _Options, **shared: Any) -> Tensor:
        """The network on padded pixels, its photo in float32: ours keep that precision beside their own."""
        whole = whole if self._takes_exact_photos else whole.to(self.dtype)
        parts = (whole,) if whole.shape[1] == 3 else (whole[:, :3], pixel_shuffle(whole[:, 3:], options["times"]))
        drawn: dict[str, Any] = (
            {} if options["seed"] is None else {"generator": torch.Generator().manual_seed(options["seed"])}
        )
        beside = [one.expand(len(whole)) for one in options["beside"]]
        return self._network(*parts, *beside, **drawn, **shared).float()

    def _measured(self, image: Tensor, side: int, options: _Options) -> list[Tensor]:
        """What the network measures on the photo, in the order in which it asks.

        The sample takes about as much memory as a part of that side, or of 512; places count for more than pixels.
        """
        square = min(max(_SMALLEST_SQUARE, side // 8 // 64 * 64), _LARGEST_SQUARE)
        most = min(max(_FEWEST_SQUARES, (side // square) ** 2), _MOST_SQUARES)
        sample = even_sample(image, side=square, most=most, multiple_of=self.contract.multiple_of)
        sample = sample.to(self.device).contiguous(memory_format=torch.channels_last)
        found: list[Tensor] = []

        def keep(measure: Callable[[], Tensor]) -> Tensor:
            found.append(measure())
            return found[-1]

        run_whole(
            functools.partial(self._called, options=options, shared=keep), sample, multiple_of=self.contract.multiple_of
        )
        return found

    @property
    def smallest_tile(self) -> int:
        """The smallest side of parts that the network can do with."""
        return smallest_side(self.reach, self.contract.multiple_of)

    @property
    def module(self) -> nn.Module:
        """The network itself."""
        return cast(nn.Module, self._network)

    @property
    def has_dropout(self) -> bool:
        return bool(getattr(self._network, "dropout", 0))

    @property
    def reach(self) -> int:
        """How far around a pixel the network looks, apart from what it measures on the whole photo."""
        halo = self.contract.halo
        return int(getattr(self._network, "reach", 0)) if halo is None else halo

    def _layout(self, height: int, width: int) -> tuple[int, int]:
        """(side of the parts that a photo is cut into, how many of one size go through the network together): few and
        large ones, as much as fits in a share of the memory that is free now."""
        whole = max(height, width)
        if self.contract.halo is None and not hasattr(self._network, "reach"):
            return self._tile or whole, 1  # nothing is known of how parts would differ
        is_cpu, free = self.device.type == "cpu", free_memory(self.device)
        spare = _MOST_ON_CPU if free is None else free * (_SHARE_ON_CPU if is_cpu else _SHARE)
        most, kept = min(spare, self._most_on_cpu) if is_cpu else spare, self._kept(height, width)
        if self._tile is None and self.bytes_for(height, width, whole) <= most:
            return whole, 1
        room = max(most - kept, min(self._least_for_parts, spare - kept))
        pixels = max(0, int(self._tried * self._memory[0].times(room)))
        multiple = self.contract.multiple_of
        side = self._tile or max(self.smallest_tile, math.isqrt(pixels) // multiple * multiple)
        return side, 1 if is_cpu else max(1, pixels // side**2)

    def bytes_for(self, height: int, width: int, side: int, at_once: int = 1) -> int:
        """What a photo takes on the device in parts of that side, beside the network's weights: within 12 % of what
        torch allocates on the CPU for the networks that come with resharp; what cuDNN works in is not known."""
        multiple, sides = self.contract.multiple_of, [min(side, length) for length in (height, width)]
        pixels = at_once * math.prod(-(-length // multiple) * multiple for length in sides)
        kept = self._kept(height, width) if side < max(height, width) else 0
        return kept + self._memory[any(length % multiple for length in sides)].most(pixels / self._tried)

    def _kept(self, height: int, width: int) -> int:
        """Bytes of the picture that parts are put together in."""
        return 12 * self.contract.scale**2 * height * width

    @torch.no_grad()
    def _memory_of(self, network: nn.Module, *, continued: bool) -> PeakBytes:
        """Of a small part, as it is or continued to the size that the network takes."""
        takes, scale = self.contract.takes, self.contract.scale
        side = math.isqrt(self._tried) - (continued and self.contract.multiple_of > 1)
        planes = {
            "noise": getattr(network, "noise_channels", 4),
            "segmentation": getattr(network, "n_classes", 8) * scale**2,
            "undone": getattr(network, "n_undone", 7),
        }
        channels = 3 + sum(n for name, n in planes.items() if name in takes)
        beside = [torch.full((1,), 0.1, device=self.device)] if "sigma" in takes else []
        options = {"beside": beside, "seed": None, "times": scale if "segmentation" in takes else 1}
        memory = PeakBytes()
        with memory:
            part = torch.zeros(1, channels, side, side, device=self.device)
            following = None if self.device.type == "cpu" else part.clone()  # copied meanwhile
            self._part(part, measured=None, options=options)
        del following
        return memory


def _is_ours(network: nn.Module) -> bool:
    """Whether it takes photos in float32 whatever its weights are; others would add up differences in bfloat16."""
    return type(network).__module__.partition(".")[0] == "resharp"
