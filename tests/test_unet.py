"""The light U-shaped generator: sizes and costs, its block by hand, its start, and that tiles are exact."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from resharp.networks import DeblurGAN, UNet
from resharp.networks.unet import PlainBlock
from tests.conftest import rand


def multiply_adds(network: torch.nn.Module) -> float:
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, 720, 1280, device="meta"))
    return counter.get_total_flops() / 2


def test_the_default_is_light() -> None:
    with torch.device("meta"):
        light, heavy = UNet(), DeblurGAN()
    assert sum(p.numel() for p in light.parameters()) == 3_631_008
    assert multiply_adds(heavy) > 8 * multiply_adds(light)


def test_the_cost_is_what_the_convolutions_add_up_to() -> None:
    """Two levels by hand, multiplications for each pixel of the photo."""
    with torch.device("meta"):
        network = UNet(widths=(8, 16), blocks=(1, 2), gather=2)
    fine = 9 * 12 * 8 + 2 * (2 * 9 * 8 * 8) + 9 * 8 * 12  # a quarter of the pixels: intro, a block each way, ending
    coarse = 4 * 8 * 16 + 2 * (2 * 9 * 16 * 16) + 16 * 4 * 8  # a sixteenth: down, two blocks, up
    assert multiply_adds(network) == (fine / 4 + coarse / 16) * 720 * 1280


def test_a_block_is_two_convolutions_around_a_rectifier() -> None:
    block = PlainBlock(2).double()
    x = rand(2, 6, 7) - 0.5
    weights = {name: tensor.detach().numpy() for name, tensor in block.named_parameters()}

    def convolved(planes: np.ndarray, name: str) -> np.ndarray:
        return np.stack(
            [
                sum(scipy.ndimage.correlate(p, w, mode="constant") for p, w in zip(planes, kernels, strict=True)) + bias
                for kernels, bias in zip(weights[f"{name}.weight"], weights[f"{name}.bias"], strict=True)
            ]
        )

    expected = x.numpy() + convolved(np.maximum(convolved(x.numpy(), "conv1"), 0), "conv2")
    assert_close(block(x[None])[0].detach(), torch.from_numpy(expected))


def test_a_new_network_returns_its_input() -> None:
    image = rand(1, 3, 24, 40, dtype=torch.float32)
    assert torch.equal(UNet()(image), image)
    told = UNet(widths=(4,), blocks=(1,), noise_map=True)
    assert torch.equal(told(image, torch.tensor([0.1])), image)


def test_a_noise_level_is_one_plane_more() -> None:
    """For each image its own; the planes are gathered like the photo's."""
    network = UNet(widths=(4,), blocks=(1,), gather=2, noise_map=True).requires_grad_(False)
    assert network.takes == ("image", "sigma")
    assert network.intro.in_channels == 4 * 4
    torch.nn.init.normal_(network.ending.weight, generator=torch.Generator().manual_seed(0))
    images, sigma = rand(2, 3, 8, 12, dtype=torch.float32), torch.tensor([0.1, 0.3])
    restored = network(images, sigma)
    for image, level, one in zip(images, sigma, restored, strict=True):
        assert_close(network(image[None], level[None])[0], one)
    assert float((restored[0] - network(images[:1], sigma[1:])[0]).abs().max()) > 1e-4
    half = network.bfloat16()(images, sigma)
    assert half.dtype == torch.float32
    assert_close(half, restored, rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("widths", "blocks", "gather"), [((4, 4), (1, 1), 2), ((4, 4, 4), (1, 1, 2), 1), ((4,), (2,), 4)]
)
def test_the_halo_is_the_widest_over_all_positions(
    widths: tuple[int, ...], blocks: tuple[int, ...], gather: int
) -> None:
    """Positive weights let no path cancel another."""
    network = UNet(widths=widths, blocks=blocks, gather=gather).double().requires_grad_(False)
    for parameter in network.parameters():
        parameter.copy_(parameter.abs() + 0.01)
    step = network.multiple_of
    size = (2 * network.halo // step + 3) * step
    reach = 0
    for position in range(size // 2 // step * step, size // 2 // step * step + step):
        image = torch.zeros(1, 3, size, size, dtype=torch.float64, requires_grad=True)
        network(image)[0, :, position, position].sum().backward()
        assert image.grad is not None
        touched = image.grad[0].sum((0, 1)).nonzero()
        reach = max(reach, position - int(touched.min()), int(touched.max()) - position)
    assert network.halo == reach


def test_widths_and_blocks_that_do_not_match_are_named() -> None:
    with pytest.raises(ValueError, match="as many blocks as widths"):
        UNet(widths=(8, 16), blocks=(1,))
    with pytest.raises(ValueError, match="gather of a UNet lies between 1 and 8; 9 does not"):
        UNet(gather=9)
