"""What every network promises; the table decides which are tested."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from resharp.models import Card, contract_of, load_model, save_model
from resharp.networks import NETWORKS
from tests.conftest import rand
from tests.toy_networks import beside

CHEAP: dict[str, dict[str, Any]] = {  # of networks whose defaults take seconds, one block of each sort
    "msrresnet": {"width": 16, "n_blocks": 1},
    "srresnet": {"width": 16, "n_blocks": 1},
    "upscaler": {"width": 16, "n_blocks": 1},
    "bgan": {"width": 16, "n_blocks": 1, "growth": 8},
    "dbgan": {"width": 16, "n_blocks": 1, "growth": 8, "halvings": 1},
    "mprnet": {"width": 16, "widening": 8, "n_blocks": 1, "reduction": 1},
    "sftnet": {"width": 16, "n_blocks": 1},
    "deblurgan": {"width": 16, "n_blocks": 1},
}
SHORT_SIGHTED: dict[str, dict[str, Any]] = {
    "msrresnet": {"width": 4, "n_blocks": 1},
    "srresnet": {"width": 4, "n_blocks": 1},
    "upscaler": {"width": 4, "n_blocks": 2},
    "bgan": {"width": 4, "n_blocks": 1, "blocks": "plain"},
    "dbgan": {"width": 4, "n_blocks": 1, "blocks": "plain", "halvings": 2},
    "mprnet": {"width": 2, "widening": 1, "n_blocks": 0, "reduction": 1},
    "sftnet": {"width": 4, "n_blocks": 2},
    "dae": {"width": 4, "depth": 6},
    "unet": {"widths": [4, 8], "blocks": [1, 1]},
    "refiner": {"widths": [4, 8], "blocks": [1, 1], "gather": 2},
    "deblurgan": {"width": 4, "n_blocks": 0},
    "nafnet": {"width": 4, "encoder_blocks": [1], "decoder_blocks": [1]},
}


def shaken(name: str, **arguments: Any) -> nn.Module:
    """The default network, or a cheap one, without the zeros of its start, behind which a fault could hide."""
    draws = torch.Generator().manual_seed(0)
    network = NETWORKS[name](**(arguments or CHEAP.get(name, {})), generator=draws).eval()
    for parameter in network.parameters():
        parameter.data.add_(0.02 * torch.randn(parameter.shape, generator=draws))
    return network.requires_grad_(False)


@pytest.mark.parametrize("name", NETWORKS)
def test_size_rule_and_scale_hold(name: str) -> None:
    network = NETWORKS[name](**CHEAP.get(name, {})).eval()
    step, scale = int(network.multiple_of), int(network.scale)
    for height, width in ((2 * step, 3 * step), (5 * step, 2 * step)):
        image = rand(1, 3, height, width, dtype=torch.float32)
        with torch.no_grad():
            restored = network(image, *beside(network, image))
        assert restored.shape == (1, 3, height * scale, width * scale)
        assert bool(torch.isfinite(restored).all())


@pytest.mark.parametrize("name", NETWORKS)
def test_inference_is_a_function_of_the_image(name: str) -> None:
    network, images = shaken(name), rand(2, 3, 16, 32, dtype=torch.float32)
    before, untouched = torch.get_rng_state(), images.clone()
    more = beside(network, images)
    restored = network(images, *more)
    assert torch.equal(network(images, *more), restored)
    alone = [network(images[i : i + 1], *(one[i : i + 1] for one in more)) for i in range(2)]
    assert_close(torch.cat(alone), restored, rtol=0, atol=1e-4)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(images, untouched)


@pytest.mark.parametrize("name", NETWORKS)
def test_precision_and_memory_layout_change_little(name: str) -> None:
    network, image = shaken(name), rand(1, 3, 32, 48, dtype=torch.float32)
    more = beside(network, image)
    exact = network.double()(image.double(), *(one.double() for one in more))
    assert exact.dtype == torch.float64
    plain = network.float()(image, *more)
    turned = network.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last), *more)
    assert_close(plain.double(), exact, rtol=0, atol=1e-4)
    assert_close(turned.double(), exact, rtol=0, atol=1e-4)
    half = network.bfloat16()(image, *more)
    assert half.dtype == torch.float32
    if network.scale != 1:  # nothing is added to a photo of that size
        return
    assert len(half.unique()) > 2000  # a correction in bfloat16 is added to the photo in its own precision
    moved = float((exact - image).square().mean().sqrt())
    assert float((half.clamp(0, 1) - exact.clamp(0, 1)).square().mean().sqrt()) < 0.03 * moved + 0.003


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_comes_back_from_its_arguments_and_tensors(name: str, tmp_path: Path) -> None:
    network, image = shaken(name), rand(1, 3, 16, 16, dtype=torch.float32)
    assert json.loads(json.dumps(network.arguments)) == network.arguments
    path = tmp_path / "w.safetensors"
    contract = contract_of(network, "deblur")
    save_model(network, path, Card(name, network.arguments, contract))
    again, card = load_model(path)
    assert card.contract == contract_of(again, "deblur") == contract
    assert type(again) is type(network)
    assert again.arguments == card.arguments == network.arguments
    more = beside(network, image)
    assert torch.equal(again(image, *more), network(image, *more))


@pytest.mark.parametrize("name", NETWORKS)
def test_initial_weights_are_a_function_of_the_generator(name: str) -> None:
    def make(seed: int) -> dict[str, torch.Tensor]:
        return NETWORKS[name](**CHEAP.get(name, {}), generator=torch.Generator().manual_seed(seed)).state_dict()

    first, again, other = make(0), make(0), make(1)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_learns(name: str) -> None:
    """Biases may rest: a normalisation behind them takes them off again."""
    network = shaken(name).requires_grad_().train()
    image = rand(1, 3, 16, 16, dtype=torch.float32)
    made = network(image, *beside(network, image))
    sum(one.sub(0.3).square().mean() for one in (made if isinstance(made, list) else [made])).backward()
    gradients = {key: p.grad for key, p in network.named_parameters() if not key.endswith("bias")}
    assert not [key for key, gradient in gradients.items() if gradient is None or not gradient.any()]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_stated_halo_is_the_measured_one(name: str) -> None:
    """None states that each value depends on the whole photo, beyond what its convolutions reach; networks that halve
    it reach unequally far."""
    network = shaken(name, **SHORT_SIGHTED.get(name, {})).double()
    halo, step = network.halo, int(network.multiple_of)
    size = -(-(2 * int(network.reach if halo is None else halo) + 32) // step) * step
    image = (0.4 + 0.2 * rand(1, 3, size, size)).requires_grad_()
    place = network.scale * size // 2
    network(image, *beside(network, image.detach()))[
        0, :, place : place + network.scale, place : place + network.scale
    ].sum().backward()
    assert image.grad is not None
    touched = (image.grad[0].abs().sum(0).nonzero() - size // 2).abs().max()
    assert int(touched) == size // 2 if halo is None else int(halo) - 2 * step <= int(touched) <= int(halo)
