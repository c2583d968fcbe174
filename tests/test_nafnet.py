"""NAFNet: published sizes and costs, its block written out by hand, and the light default."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from resharp.networks import DeblurGAN, NAFNet
from resharp.networks.nafnet import NAFBlock
from tests.conftest import rand

GOPRO = {"encoder_blocks": (1, 1, 1, 28), "middle_blocks": 1, "decoder_blocks": (1, 1, 1, 1)}
SIDD = {"encoder_blocks": (2, 2, 4, 8), "middle_blocks": 12, "decoder_blocks": (2, 2, 2, 2)}


def multiply_adds(network: torch.nn.Module, height: int, width: int) -> float:
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, height, width, device="meta"))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize(
    ("width", "blocks", "size", "giga"),
    [  # sizes as users counted the authors' network; GMACs of 256x256 in the authors' paper and issue 51
        (32, GOPRO, 17_111_907, 16),
        (64, GOPRO, 67_888_835, 63),
        (32, SIDD, 29_159_715, 64.9 / 4),
        (64, SIDD, 115_982_915, 254.37 / 4),
    ],
)
def test_it_has_the_published_sizes_and_costs(width: int, blocks: dict[str, object], size: int, giga: float) -> None:
    with torch.device("meta"):
        network = NAFNet(width=width, **blocks)
    assert sum(p.numel() for p in network.parameters()) == size
    assert multiply_adds(network, 256, 256) / 1e9 == pytest.approx(giga, rel=0.015)


def test_the_default_is_light() -> None:
    with torch.device("meta"):
        light, heavy = NAFNet(), DeblurGAN()
    assert sum(p.numel() for p in light.parameters()) == 2_683_059
    assert multiply_adds(heavy, 720, 1280) > 18 * multiply_adds(light, 720, 1280)


def test_a_block_computes_the_papers_formula() -> None:
    """Equations of section 3.4 in NumPy; the depthwise convolution by SciPy."""
    block = NAFBlock(3).double()
    for index, parameter in enumerate(block.parameters()):
        parameter.data = rand(*parameter.shape, seed=index) - 0.4
    p = {name: tensor.numpy() for name, tensor in block.state_dict().items()}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(0)
        scaled = centred / np.sqrt((centred**2).mean(0) + 1e-6)
        return scaled * p[f"{name}.weight"][:, None, None] + p[f"{name}.bias"][:, None, None]

    def mix(x: np.ndarray, name: str) -> np.ndarray:
        return np.einsum("oc,chw->ohw", p[f"{name}.weight"][..., 0, 0], x) + p[f"{name}.bias"][:, None, None]

    def depthwise(x: np.ndarray) -> np.ndarray:
        rows = zip(x, p["conv2.weight"], p["conv2.bias"], strict=True)
        return np.stack([scipy.ndimage.correlate(c, w[0], mode="constant") + b for c, w, b in rows])

    x = rand(3, 6, 7, seed=99).numpy()
    spread = depthwise(mix(norm(x, "norm1"), "conv1"))
    gated = spread[:3] * spread[3:]
    gated = gated * mix(gated.mean((1, 2), keepdims=True), "attention")
    between = x + p["beta"][0] * mix(gated, "conv3")
    spread = mix(norm(between, "norm2"), "conv4")
    expected = between + p["gamma"][0] * mix(spread[:3] * spread[3:], "conv5")
    assert_close(block(torch.from_numpy(x)[None])[0], torch.from_numpy(expected))


def test_a_new_block_is_the_identity() -> None:
    features = rand(1, 4, 5, 6, dtype=torch.float32)
    assert torch.equal(NAFBlock(4)(features), features)


@pytest.mark.parametrize("n_levels", [0, 1, 3])
def test_depth_decides_the_size_rule(n_levels: int) -> None:
    network = NAFNet(width=4, encoder_blocks=[1] * n_levels, decoder_blocks=[1] * n_levels).eval()
    assert network.multiple_of == 2**n_levels
    image = rand(1, 3, 8, 16, dtype=torch.float32)
    assert network(image).shape == image.shape


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"width": 1000}, "width .* between 1 and 256; 1000"),
        ({"encoder_blocks": [10**6, 1, 1, 1]}, "blocks .* 1000000"),
        ({"decoder_blocks": [1, 1]}, "4 encoder_blocks"),
        ({"encoder_blocks": [1] * 50, "decoder_blocks": [1] * 50}, "levels"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        NAFNet(**arguments)
