"""DeblurGAN's generator: its published size and cost, the published function in published layers, sizes, sampling."""

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from resharp.networks import DeblurGAN
from resharp.networks.blocks import dropped, instance_normalised
from tests.conftest import rand


class PublishedBlock(nn.Module):
    def __init__(self, n: int, dropout: bool) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            *(nn.ReflectionPad2d(1), nn.Conv2d(n, n, 3), nn.InstanceNorm2d(n), nn.ReLU()),
            *([nn.Dropout(0.5)] if dropout else []),
            *(nn.ReflectionPad2d(1), nn.Conv2d(n, n, 3), nn.InstanceNorm2d(n)),
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv_block(features)


class Published(nn.Module):
    """The paper's table of layers in torch's own modules, which also gives the names in published files."""

    def __init__(self, n: int = 4, n_blocks: int = 2, *, dropout: bool = True) -> None:
        super().__init__()
        norm, again = nn.InstanceNorm2d, {"stride": 2, "padding": 1, "output_padding": 1}
        self.model = nn.Sequential(
            *(nn.ReflectionPad2d(3), nn.Conv2d(3, n, 7), norm(n), nn.ReLU()),
            *(nn.Conv2d(n, 2 * n, 3, stride=2, padding=1), norm(2 * n), nn.ReLU()),
            *(nn.Conv2d(2 * n, 4 * n, 3, stride=2, padding=1), norm(4 * n), nn.ReLU()),
            *(PublishedBlock(4 * n, dropout) for _ in range(n_blocks)),
            *(nn.ConvTranspose2d(4 * n, 2 * n, 3, **again), norm(2 * n), nn.ReLU()),
            *(nn.ConvTranspose2d(2 * n, n, 3, **again), norm(n), nn.ReLU()),
            *(nn.ReflectionPad2d(3), nn.Conv2d(n, 3, 7), nn.Tanh()),
        )

    def forward(self, image: Tensor) -> Tensor:
        """In [-1, 1]."""
        return (image + self.model(image)).clamp(-1, 1)


def small(**changes: object) -> DeblurGAN:
    return DeblurGAN(**{"width": 4, "n_blocks": 2, "generator": generator(0), **changes})


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def with_published_weights(published: Published, network: DeblurGAN) -> DeblurGAN:
    """Both list their tensors in the order of the layers."""
    names = network.state_dict().keys()
    network.load_state_dict(dict(zip(names, published.state_dict().values(), strict=True)))
    return network.to(next(published.parameters()).dtype)


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({}, 11_378_179),
        ({"upsampling": "pixelshuffle"}, 12_483_907),
        ({"upsampling": "resize"}, 11_378_179),
        ({"n_blocks": 6}, 11_378_179 - 3 * 1_180_160),
    ],
)
def test_it_has_the_published_size(changes: dict[str, object], size: int) -> None:
    assert sum(p.numel() for p in DeblurGAN(**changes).parameters()) == size


def test_it_has_the_published_cost() -> None:
    """DeblurGAN-v2's table lists 678 GFLOPs (of multiply and add together) at 1280x720; transposed convolutions are
    counted in more than one way."""
    network = DeblurGAN().to("meta").eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, 720, 1280, device="meta"))
    assert counter.get_total_flops() / 2e9 == pytest.approx(678, rel=0.03)


@pytest.mark.parametrize("dropout", [True, False])
def test_it_computes_what_the_published_layers_compute(dropout: bool) -> None:
    torch.manual_seed(0)
    published = Published(dropout=dropout).double().eval()
    network = with_published_weights(published, small()).eval()
    image = rand(2, 3, 24, 32)
    with torch.no_grad():
        expected = (published(2 * image - 1) + 1) / 2
        assert_close(network(image), expected, rtol=0, atol=1e-12)
    assert float((expected - image).abs().max()) > 0.05


def test_sampling_has_the_distribution_of_the_published_random_mode() -> None:
    torch.manual_seed(0)
    published = Published().double()
    network = with_published_weights(published, small()).eval()
    many = rand(1, 3, 16, 16).expand(1000, -1, -1, -1)
    with torch.no_grad():
        theirs = (published.train()(2 * many - 1) + 1) / 2
        ours = network(many, generator=generator(0))
    error = (theirs.var(0) / 1000 + ours.var(0) / 1000).sqrt()
    distance = (theirs.mean(0) - ours.mean(0)) / error.clamp(min=1e-9)
    assert float(distance.square().mean()) == pytest.approx(1, abs=0.4)
    assert float(ours.var(0).sum() / theirs.var(0).sum()) == pytest.approx(1, abs=0.1)


def test_a_sample_is_a_function_of_the_generator() -> None:
    network, image = small().eval(), rand(2, 3, 12, 16, dtype=torch.float32)
    before = torch.get_rng_state()
    first, again, other = (network(image, generator=generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(network.train()(image, generator=generator(1)), first)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_dropout_drops_its_share_and_keeps_the_mean(share: float) -> None:
    """Four standard errors of a binomial; masks of neighbours and of successive calls have nothing to do with each
    other."""
    n = 400_002  # no multiple of four
    kept = [dropped(torch.ones(n), share, generator(seed)) for seed in (0, 0, 1)]
    assert torch.equal(kept[0], kept[1])
    assert float((kept[0] == 0).double().mean()) == pytest.approx(share, abs=4 * (share * (1 - share) / n) ** 0.5)
    assert kept[0].unique().tolist() == pytest.approx([0, 1 / (1 - share)], rel=1e-4)
    for one, other in ((kept[0][:-1], kept[0][1:]), (kept[0][:-4], kept[0][4:]), (kept[0], kept[2])):
        assert abs(float(torch.corrcoef(torch.stack([one, other]))[0, 1])) < 4 / n**0.5


def test_dropout_is_on_in_training_and_off_at_inference() -> None:
    network, image = small(), rand(1, 3, 12, 16, dtype=torch.float32)
    torch.manual_seed(0)
    first, other = network(image), network(image)
    torch.manual_seed(0)
    assert torch.equal(network(image), first)
    assert not torch.equal(first, other)
    assert torch.equal(network.eval()(image), network(image))
    without = small(dropout=0.0)
    assert torch.equal(without(image, generator=generator(0)), without(image))


@pytest.mark.parametrize("size", [(8, 8), (8, 100), (12, 16)])
@pytest.mark.parametrize("upsampling", ["deconv", "pixelshuffle", "resize"])
def test_each_doubling_comes_back_to_the_size(size: tuple[int, int], upsampling: str) -> None:
    network, image = small(upsampling=upsampling), rand(1, 3, *size, dtype=torch.float32)
    for restored in (network(image), network.eval()(image), network(image, generator=generator(0))):
        assert restored.shape == image.shape
        assert bool(torch.isfinite(restored).all())


def test_a_map_of_one_value_is_normalised_to_zero() -> None:
    assert torch.equal(instance_normalised(torch.tensor([[[[3.0]], [[-1.0]]]])), torch.zeros(1, 2, 1, 1))


def test_without_a_correction_the_photo_stays_as_it_is() -> None:
    network, image = small().eval(), rand(1, 3, 12, 16, dtype=torch.float32)
    nn.init.zeros_(network.tail.weight)
    assert torch.equal(network(image), image)


@pytest.mark.parametrize("upsampling", ["deconv", "pixelshuffle", "resize"])
def test_it_starts_as_published(upsampling: str) -> None:
    network = DeblurGAN(upsampling=upsampling, generator=generator(0))
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        else:
            assert float(parameter.detach().std()) == pytest.approx(0.02, rel=0.03)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"width": 0}, "width .* between 1 and 1024; 0"),
        ({"n_blocks": 10**9}, "n_blocks"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": float("nan")}, "dropout"),
        ({"upsampling": "bilinear"}, "deconv, pixelshuffle, resize"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DeblurGAN(**arguments)
