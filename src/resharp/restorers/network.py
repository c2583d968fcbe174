"""Networks as restorers and as denoisers: what they are told beside the photo, and what comes back checked."""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from resharp.degradations import estimated_noise_sigma
from resharp.degradations.ranges import checked_seed, checked_sigma
from resharp.errors import ArgumentError, WeightsError
from resharp.image import as_image
from resharp.models import Contract
from resharp.networks import noise_for
from resharp.priors import at_any_level

from .base import Progress, Restored, check_known, told
from .memory import memory_named
from .tiled import WAY_OUT, TiledNetwork

_ACCEPTED = {"sigma": "noise_sigma", "segmentation": "segmentation"}
"""What a network takes beside the image -> the name under which a restorer is told of it."""


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
        with memory_named(colour, self.network.device, way_out=WAY_OUT):
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


MOST_BESIDE_A_SOLVER = 512 << 20  # bytes of a network on a CPU, beside all that a solver holds


@final
class NetworkDenoiser:
    """The network of a denoiser as `priors.Denoiser`: model(x, sigma), on images (..., 3, H, W) of any size.

    levels: (low, high) of the sigmas that it is good for.  Raises ArgumentError for others, WeightsError for a network
    that does something else.  `at_any_level` is the same denoiser without that limit.  unrolled: the steps of a solver
    that it was learned within, at the least noise, None for white noise alone.
    """

    def __init__(
        self, network: nn.Module, contract: Contract, *, device: str = "auto", precision: str = "auto", name: str
    ) -> None:
        if contract.noise_sigma is None:
            raise WeightsError(f"{name}: is no denoiser, it is for the task {contract.task!r}")
        self.levels, self.name, self._contract = contract.noise_sigma, name, contract
        self.unrolled = contract.unrolled
        self._is_told = "sigma" in contract.takes
        self._network = TiledNetwork(
            network, contract, device=device, precision=precision, most_on_cpu=MOST_BESIDE_A_SOLVER
        )
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
