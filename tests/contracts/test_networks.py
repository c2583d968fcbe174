"""What every network promises; the table decides which are tested."""

import pytest
import torch

from resharp.networks import NETWORKS
from tests.conftest import rand


@pytest.mark.parametrize("name", NETWORKS)
def test_size_rule_and_scale_hold(name: str) -> None:
    network = NETWORKS[name]().eval()
    step, scale = int(network.multiple_of), int(network.scale)
    image = rand(1, 3, 5 * step, 7 * step, dtype=torch.float32)
    with torch.no_grad():
        assert network(image).shape == (1, 3, 5 * step * scale, 7 * step * scale)


@pytest.mark.parametrize("name", NETWORKS)
def test_initial_weights_are_a_function_of_the_generator(name: str) -> None:
    def make(seed: int) -> dict[str, torch.Tensor]:
        return NETWORKS[name](generator=torch.Generator().manual_seed(seed)).state_dict()

    first, again, other = make(0), make(0), make(1)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_stated_receptive_field_is_the_measured_one(name: str) -> None:
    network = NETWORKS[name]().eval()
    field = int(network.receptive_field)
    size = field + 8
    image = rand(1, 3, size, size, dtype=torch.float32).requires_grad_()
    network(image)[0, :, size // 2, size // 2].sum().backward()
    assert image.grad is not None
    touched = image.grad[0].abs().sum(0).nonzero()
    extent = (touched.max(0).values - touched.min(0).values + 1).max()
    assert field - 2 <= int(extent) <= field
