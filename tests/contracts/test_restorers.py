"""What every restorer promises, whatever is behind it."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resharp.errors import ArgumentError
from resharp.models import contract_of
from resharp.networks import SFTNet, UNet
from resharp.restorers import (
    BayesRestorer,
    NetworkDenoiser,
    NetworkRestorer,
    Restorer,
    StoppedError,
    open_restorer,
    restore_planes,
)
from tests.conftest import rand
from tests.toy_networks import SMALL, doubler, shaken, small, told


def network_of(network: nn.Module, task: str, **settings: Any) -> NetworkRestorer:
    levels = settings.pop("noise_sigma", None)
    return NetworkRestorer(network, contract_of(network, task, noise_sigma=levels), precision="float32", **settings)


def bayes() -> Restorer:
    network = SMALL["dae"]()
    denoiser = NetworkDenoiser(network, contract_of(network, "denoise", noise_sigma=(0.01, 0.1)), name="toy")
    return BayesRestorer(denoiser, solver="dmsp", n_iterations=4)


def told_unet() -> Restorer:
    network = shaken(UNet(widths=[4], blocks=[1], noise_map=True, generator=torch.Generator().manual_seed(1)))
    return network_of(network, "denoise", noise_sigma=(0.0, 0.2))


def sharpened(image: Tensor, *, noise_sigma: float) -> Tensor:
    return (image + noise_sigma).clamp(0, 1)


MADE: dict[str, Callable[[], Restorer]] = {
    **{kind: functools.partial(small, kind) for kind in SMALL},
    "samples": lambda: small("deblurgan", samples=2),
    "tiles": lambda: small("unet", tile=small("unet").network.smallest_tile),
    "noisy tiles": lambda: small("bgan", tile=small("bgan").network.smallest_tile),
    "told upscaler": lambda: network_of(shaken(SFTNet(width=4, n_blocks=1)), "upscale", tile=100),
    "upscaler": lambda: network_of(doubler(), "upscale", tile=100),
    "told": told_unet,
    "bayes": bayes,
    "function": lambda: open_restorer(sharpened),
}
KNOWN: dict[str, Any] = {"kernel": torch.ones(3, 3) / 9, "noise_sigma": 0.05}


@pytest.fixture(params=MADE)
def restorer(request: pytest.FixtureRequest) -> Restorer:
    return MADE[request.param]()


def knowledge(restorer: Restorer) -> dict[str, Any]:
    known = KNOWN | told(restorer)
    return {name: known[name] for name in restorer.accepts}


def photo(restorer: Restorer) -> Tensor:
    """Large enough for parts, where there are any."""
    tile = restorer.network._tile if isinstance(restorer, NetworkRestorer) else None
    return rand(3, (tile or 10) + 11, 26, dtype=torch.float32)


def test_the_picture_is_a_function_of_image_seed_and_knowledge(restorer: Restorer) -> None:
    image, known, state = photo(restorer), knowledge(restorer), torch.get_rng_state()
    before = image.clone()
    first = restorer(image, seed=3, **known).image
    assert torch.equal(restorer(image, seed=3, **known).image, first)
    assert torch.equal(image, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.dtype == torch.float32
    assert not first.requires_grad
    assert 0 <= float(first.min()) <= float(first.max()) <= 1
    by_chance = isinstance(restorer, BayesRestorer) or getattr(restorer, "_samples", None) is not None
    by_chance |= "noise" in getattr(restorer.contract, "takes", ())
    assert torch.equal(restorer(image, seed=4, **known).image, first) != by_chance


def test_the_size_is_that_of_the_image_times_the_scale(restorer: Restorer) -> None:
    image, known, scale = photo(restorer), knowledge(restorer), restorer.contract.scale
    height, width = image.shape[-2:]
    assert restorer(image, **known).image.shape == (3, scale * height, scale * width)
    assert restorer(image.expand(2, 1, -1, -1, -1), **known).image.shape == (2, 1, 3, scale * height, scale * width)
    assert restore_planes(image[:1], restorer, **known).image.shape == (1, scale * height, scale * width)


def test_what_it_has_no_use_for_is_refused(restorer: Restorer) -> None:
    with pytest.raises(ArgumentError, match="cannot be told weather"):
        restorer(photo(restorer), weather="rain", **knowledge(restorer))
    with pytest.raises(ArgumentError, match="seed"):
        restorer(photo(restorer), seed=-1, **knowledge(restorer))


def test_progress_counts_to_its_total_and_stops(restorer: Restorer) -> None:
    image, known, parts = photo(restorer), knowledge(restorer), list[tuple[int, int]]()
    whole = restorer(image, progress=lambda *now: parts.append(now), **known).image
    total = parts[-1][1]
    assert parts == [(done, total) for done in range(1, total + 1)]
    assert torch.equal(whole, restorer(image, **known).image)
    stopped: list[int] = []
    try:
        restorer(image, progress=lambda done, _: bool(stopped.append(done)), **known)
    except StoppedError:
        assert total > 1
    assert stopped == [1]
