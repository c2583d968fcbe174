"""Networks as restorers: padded, in parts where the memory asks for it, in the precision that the device is fast at.

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast, final

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from resharp.degradations.ranges import checked_seed, checked_sigma
from resharp.device import checked_device, free_memory, is_out_of_memory
from resharp.errors import ArgumentError, ResourceError, WeightsError
from resharp.image import as_image
from resharp.models import Contract
from resharp.networks import noise_for
from resharp.priors import at_any_level
from resharp.solvers import estimated_noise_sigma
from resharp.tiling import even_sample, n_tiles, run_in_tiles, run_whole, smallest_side

from .base import Progress, Restored, check_known, told
from .memory import PeakBytes, memory_named
from .precision import checked_precision

_FEWEST_SQUARES, _MOST_SQUARES, _SMALLEST_SQUARE, _LARGEST_SQUARE = 64, 256, 64, 128
_MOST_ON_CPU = 4 << 30  # bytes for features: with the photo itself and the rest, 24 megapixels stay below 8 GB
_SHARE, _SHARE_ON_CPU = 0.8, 0.5  # of the memory that is free, which is planned with
_TRIED = 32  # pixels of the sides of the part whose memory is measured
_WAY_OUT = "close other programs or take a smaller photo"

_Options = Mapping[str, Any]
_ACCEPTED = {"sigma": "noise_sigma", "segmentation": "segmentation"}
"""What a network takes beside the image -> the name under which a restorer is told of it."""


class _Network(Protocol):
    reach: int  # of a network that measures on the whole photo: how far around a pixel it looks apart from that
    dropout: float  # in (0, 1), only where `forward` takes a generator

    def __call__(self, image: Tensor, /, *beside: Tensor, **options: Any) -> Tensor: ...


@final
class TiledNetwork:
    """A network on images (..., 3, H, W) of any size, float32 in and out, not clipped.

    tile: side in pixels of the parts that images are cut into; None takes them whole where memory allows.  On
    accelerators as many parts of one size go through the network together as the memory allows.
    """

    def __init__(
        self,
        network: nn.Module,
        contract: Contract,
        *,
        device: str = "auto",
        precision: str = "auto",
        tile: int | None = None,
    ) -> None:
        self.contract = contract
        self.device = checked_device(device)
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
        with memory_named(image, self.device, way_out=_WAY_OUT):
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
                    f"pixels; {_WAY_OUT}"
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
        """The network on padded pixels, its photo in float32: it keeps that precision beside its own."""
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
        spare = min(spare, _MOST_ON_CPU) if is_cpu else spare
        if self._tile is None and self.bytes_for(height, width, whole) <= spare:
            return whole, 1
        pixels = max(0, int(self._tried * self._memory[0].times(spare - self._kept(height, width))))
        multiple = self.contract.multiple_of
        side = self._tile or max(self.smallest_tile, math.isqrt(pixels) // multiple * multiple)
        return side, 1 if is_cpu else max(1, pixels // side**2)

    def bytes_for(self, height: int, width: int, side: int, at_once: int = 1) -> int:
        """What a photo takes on the device in parts of that side, beside the network's weights: within 7 % of what
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
            "undone": 4,
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


@final
class NetworkRestorer:
    """A network as a restorer: `TiledNetwork`, its result checked and clipped to [0, 1].

    samples: for networks trained with dropout, which then stays on: the mean of so many restorations, their masks drawn
    from `seed`, `seed` + 1, ...  One is the mode that DeblurGAN's authors test in; None leaves nothing to chance.
    Networks that take noise are given a map that follows from `seed`.
    Raises ArgumentError for samples of a network without dropout, and for tiles smaller than what it sees around a
    pixel.
    """

    def __init__(
        self,
        network: nn.Module,
        contract: Contract,
        *,
        device: str = "auto",
        precision: str = "auto",
        tile: int | None = None,
        samples: int | None = None,
        name: str = "this model",
    ) -> None:
        if "undone" in contract.takes:
            raise WeightsError(f"{name}: refines what blind deblurring made of a photo; open it by `open_restorer`")
        self.contract, self.name = contract, name
        self.accepts = tuple(_ACCEPTED[one] for one in contract.takes if one in _ACCEPTED)
        self.network = TiledNetwork(network, contract, device=device, precision=precision, tile=tile)
        if samples is not None and samples < 1:
            raise ArgumentError(f"the mean of {samples} samples; one is the least")
        if samples is not None and not self.network.has_dropout:
            raise ArgumentError(f"{name} has no dropout, so that all samples are the same; leave samples out")
        self._samples = samples

    def __call__(self, image: Tensor, *, seed: int = 0, progress: Progress | None = None, **known: Any) -> Restored:
        """noise_sigma, segmentation: where the network takes them; the latter (..., classes, scale H, scale W), or a
        function that makes it of the image.

        Raises ArgumentError (no such image, knowledge that the network has no use for), ResourceError, WeightsError
        where the result is not finite, and StoppedError.
        """
        check_known(known, self.accepts, name=self.name)
        colour = as_image(image)
        if colour.shape[-3] != 3:
            raise ArgumentError(f"a restorer takes RGB images (..., 3, H, W), not {tuple(colour.shape)}")
        beside, planes = self._beside(colour, known), self._planes(colour, known, seed)
        run = functools.partial(self.network, colour, *beside, planes=planes)
        with memory_named(colour, self.network.device, way_out=_WAY_OUT):
            if self._samples is None:
                return Restored(self._mean([run], seed, progress))
            return Restored(self._sampled(run, seed, progress))

    def _beside(self, image: Tensor, known: Mapping[str, Any]) -> list[Tensor]:
        if "noise_sigma" not in self.accepts:
            return []
        sigma = known.get("noise_sigma")
        if sigma is None:
            low, high = self.contract.noise_sigma or (0.0, 1.0)
            sigma = min(max(float(estimated_noise_sigma(image).mean()), low), high)
        return [torch.tensor([checked_level(float(sigma), self.contract, self.name)])]

    def _planes(self, image: Tensor, known: Mapping[str, Any], seed: int) -> Tensor | None:
        """A map of noise, or the segmentation.  Raises ArgumentError where that is missing or of another size."""
        height, width = image.shape[-2:]
        if "noise" in self.contract.takes:
            draws = torch.Generator().manual_seed(checked_seed(seed))
            return noise_for(self.network.module, height, width, draws)
        if "segmentation" not in self.contract.takes:
            return None
        given = known.get("segmentation")
        maps = given(image) if callable(given) else given
        if not isinstance(maps, Tensor):
            raise ArgumentError(f"{self.name} takes a segmentation beside the photo; give it one (--segmentation)")
        scale, n_classes = self.contract.scale, int(getattr(self.network.module, "n_classes", maps.shape[-3]))
        wanted = (n_classes, scale * height, scale * width)
        if maps.ndim < 3 or tuple(maps.shape[-3:]) != wanted:
            raise ArgumentError(
                f"a segmentation of shape {tuple(maps.shape)}; {self.name} takes {wanted} for this photo"
            )
        return maps

    def _sampled(self, run: Callable[..., Tensor], seed: int, progress: Progress | None) -> Tensor:
        assert self._samples is not None
        seeds = [checked_seed(seed + index) for index in range(self._samples)]
        return self._mean([functools.partial(run, dropout_seed=one) for one in seeds], seed, progress)

    def _mean(self, runs: Sequence[Callable[..., Tensor]], seed: int, progress: Progress | None) -> Tensor:
        """The mean of what runs give, each clipped to [0, 1]."""
        checked_seed(seed)
        total: Tensor | None = None
        for run, report in zip(runs, _shares(progress, len(runs)), strict=True):
            one = run(progress=report)
            if not all(math.isfinite(extreme) for extreme in torch.aminmax(one)):  # without a copy of it
                raise WeightsError(f"what {self.name} gives is not finite; try --precision float32 or other weights")
            total = one.clamp_(0, 1) if total is None else total.add_(one.clamp_(0, 1))
        assert total is not None
        return total.div_(len(runs))


@final
class NetworkDenoiser:
    """The network of a denoiser as `priors.Denoiser`: model(x, sigma), on images (..., 3, H, W) of any size.

    levels: (low, high) of the sigmas that it is good for.  Raises ArgumentError for others, WeightsError for a network
    that does something else.  `at_any_level` is the same denoiser without that limit.
    """

    def __init__(
        self, network: nn.Module, contract: Contract, *, device: str = "auto", precision: str = "auto", name: str
    ) -> None:
        if contract.noise_sigma is None:
            raise WeightsError(f"{name}: is no denoiser, it is for the task {contract.task!r}")
        self.levels, self.name, self._contract = contract.noise_sigma, name, contract
        self._is_told = "sigma" in contract.takes
        self._network = TiledNetwork(network, contract, device=device, precision=precision)
        self.halo = self._network.reach
        self.device = self._network.device

    def __call__(self, noisy: Tensor, sigma: float) -> Tensor:
        level = checked_level(sigma, self._contract, self.name)
        beside = [torch.full((1,), level, device=self.device)] if self._is_told else []
        return self._network(noisy, *beside).to(noisy)

    def at_any_level(self, noisy: Tensor, sigma: float) -> Tensor:
        """The denoiser at levels beyond its own, too: there the contrast goes up or down to meet them."""
        low, high = self.levels
        level = min(max(sigma, low), high)
        if math.isclose(level, sigma, rel_tol=1e-3):
            return self(noisy, level)
        return at_any_level(lambda scaled: self(scaled, level), level)(noisy, sigma)


def checked_level(sigma: float, contract: Contract, name: str) -> float:
    """A noise sigma within what a denoiser is good for.  Raises ArgumentError."""
    low, high = contract.noise_sigma or (0.0, 1.0)
    if not low * 0.999 <= checked_sigma(sigma) <= high * 1.001:
        levels = f"noise sigma {low:.4f} alone" if low == high else f"noise sigma {low:.4f} to {high:.4f}"
        raise ArgumentError(f"{name} is for {levels}, not for {sigma:.4f}")
    return sigma


def _shares(progress: Progress | None, n_runs: int) -> Iterator[Progress | None]:
    """For each of several runs one that counts those before it along."""
    for index in range(n_runs):
        yield None if progress is None else _share(progress, index, n_runs)


def _share(progress: Progress, index: int, n_runs: int) -> Progress:
    return lambda done, total: told(progress, index * total + done, n_runs * total)
