"""Blur as a network learned it from really blurred photos: BGAN (Zhang et al. 2020, arXiv 2004.01860)."""

import dataclasses
import functools
from typing import Annotated

import torch
from torch import Tensor, nn

from resharp.errors import WeightsError
from resharp.models import Contract, load_model, model_path, read_card
from resharp.networks import noise_for
from resharp.tiling import run_in_tiles, run_whole, smallest_side

from .arguments import checked_image

_SIDE = 512  # pixels of the parts of large photos


@dataclasses.dataclass(frozen=True)
class Realistic:
    """Blur as a trained BGAN makes it.  Of one photo as many ways as there are seeds."""

    model: Annotated[str, "A BGAN, by name or file; `resharp train bgan` makes one."] = "bgan"

    def __post_init__(self) -> None:
        _checked(self.model, _stamp(self.model))

    def __call__(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """(..., C, H, W) in [0, 1], C 1 or 3, blurred, the same size; the noise is the same for all images."""
        checked_image(image, n_channels=(1, 3))
        network, contract = _opened(self.model, _stamp(self.model))
        (height, width), n_channels = image.shape[-2:], image.shape[-3]
        photos = image.reshape(-1, *image.shape[-3:]).expand(-1, 3, -1, -1)
        beside = [noise_for(network, height, width, generator).to(image)] if "noise" in contract.takes else []
        seen = torch.cat([photos, *(one.expand(len(photos), -1, -1, -1) for one in beside)], dim=1)
        with torch.no_grad():
            blurred = _in_parts(network, contract, seen).to(image).clamp(0, 1)
        return (blurred if n_channels == 3 else blurred.mean(1, keepdim=True)).reshape(image.shape)


def _in_parts(network: nn.Module, contract: Contract, seen: Tensor) -> Tensor:
    """Of (N, 3 and what stands beside it, H, W); a network that looks at the whole photo has it whole."""

    def run(part: Tensor) -> Tensor:
        made: Tensor = network(part[:, :3], *([part[:, 3:]] if part.shape[1] > 3 else []))
        return made

    multiple, halo = contract.multiple_of, contract.halo
    if halo is None:
        return run_whole(run, seen, multiple_of=multiple)
    side = max(_SIDE, smallest_side(halo, multiple))
    whole = functools.partial(run_whole, run, multiple_of=multiple)
    return run_in_tiles(whole, seen, side=side, halo=halo, multiple_of=multiple)


def _stamp(model: str) -> tuple[int, int]:
    """Of the model's file, that it may be read again when it changes.  Raises WeightsError where there is none."""
    found = model_path(model, task="degrade").stat()
    return found.st_mtime_ns, found.st_size


@functools.lru_cache(maxsize=16)
def _checked(model: str, stamp: tuple[int, int]) -> None:
    """Raises WeightsError for a model that does something else, or wants to be told more than what to draw by."""
    del stamp
    card = read_card(model, task="degrade")
    if more := set(card.contract.takes) - {"image", "noise"}:
        raise WeightsError(f"{model}: takes {', '.join(sorted(more))} beside the photo; take a model of photos alone")


@functools.lru_cache(maxsize=2)
def _opened(model: str, stamp: tuple[int, int]) -> tuple[nn.Module, Contract]:
    del stamp
    network, card = load_model(model)
    return network.requires_grad_(False), card.contract
