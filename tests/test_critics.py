"""Critics: published sizes and layers, any photo size, and what a gradient penalty needs of them."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from resharp.networks import CRITICS, DenseCritic, PatchCritic, PooledCritic
from resharp.networks.critics import instance_normalised
from tests.conftest import rand


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_they_have_the_published_sizes() -> None:
    sizes = {name: sum(p.numel() for p in make().parameters()) for name, make in CRITICS.items()}
    assert sizes == {"patchgan": 2_764_737, "srgan": 5_213_569, "srgan-dense": 23_563_649}
    assert sum(p.numel() for p in DenseCritic(bias=True).parameters()) == 23_565_505


def test_the_patch_critic_maps_as_published() -> None:
    with torch.device("meta"):
        assert PatchCritic()(torch.empty(2, 3, 256, 256)).shape == (2, 1, 35, 35)


def test_the_patch_critic_computes_what_the_published_layers_compute() -> None:
    def inner(n_in: int, n_out: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(n_in, n_out, 4, stride, 2), nn.InstanceNorm2d(n_out), nn.LeakyReLU(0.2)]

    head = [nn.Conv2d(3, 4, 4, 2, 2), nn.LeakyReLU(0.2)]
    published = nn.Sequential(*head, *inner(4, 8, 2), *inner(8, 16, 2), *inner(16, 32, 1), nn.Conv2d(32, 1, 4, 1, 2))
    critic = PatchCritic(width=4)
    critic.load_state_dict(dict(zip(critic.state_dict(), published.state_dict().values(), strict=True)))
    image = rand(2, 3, 40, 32)
    assert_close(critic.double()(image), published.double()(2 * image - 1))


def test_a_score_sees_a_patch_of_70_pixels_beside_the_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resharp.networks.critics.instance_normalised", lambda features: features)
    image = rand(1, 3, 192, 192, dtype=torch.float32).requires_grad_()
    scores = PatchCritic(width=4, generator=generator(0))(image)
    scores[0, 0, 13, 13].backward()
    assert image.grad is not None
    touched = image.grad[0].abs().sum(0).nonzero()
    assert (touched.max(0).values - touched.min(0).values + 1).tolist() == [70, 70]


def test_the_pooled_critic_is_srgans_trunk_with_a_mean() -> None:
    """Strides and widths of the paper's figure 4; batch norm everywhere but behind the first convolution."""
    convs = [module for module in PooledCritic().trunk if isinstance(module, nn.Conv2d)]
    assert [conv.out_channels for conv in convs] == [64, 64, 128, 128, 256, 256, 512, 512]
    assert [conv.stride[0] for conv in convs] == [1, 2, 1, 2, 1, 2, 1, 2]
    assert [conv.bias is not None for conv in convs] == [True, *[False] * 7]
    critic = PooledCritic(width=4, generator=generator(0)).eval()
    even = torch.full((1, 3, 64, 64), 0.5)  # 0 inside, thus 0 up to the last layers
    assert_close(critic(even), torch.zeros(1, 1, 1, 1))


ANY_SIZE = [name for name in CRITICS if name != "srgan-dense"]


@pytest.mark.parametrize("name", ANY_SIZE)
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (33, 18)])
def test_photos_of_any_size_are_judged(name: str, size: tuple[int, int]) -> None:
    critic = CRITICS[name](width=4, generator=generator(0)).eval()
    scores = critic(rand(2, 3, *size, dtype=torch.float32))
    assert scores.shape[:2] == (2, 1)
    assert scores.ndim == 4
    assert bool(torch.isfinite(scores).all())


def test_the_dense_critic_takes_photos_of_its_size_alone() -> None:
    critic = DenseCritic(width=4, size=40, generator=generator(0)).eval()
    assert critic(rand(2, 3, 40, 40, dtype=torch.float32)).shape == (2, 1, 1, 1)
    with pytest.raises(ValueError, match="33x32; this critic takes 40x40"):
        critic(rand(2, 3, 32, 33, dtype=torch.float32))


@pytest.mark.parametrize("name", ANY_SIZE)
def test_scores_have_no_bounds(name: str) -> None:
    critic, image = CRITICS[name](width=4, generator=generator(0)).eval(), rand(1, 3, 32, 32, dtype=torch.float32)
    last = [module for module in critic.modules() if isinstance(module, nn.Conv2d)][-1]
    nn.init.constant_(last.bias, -50)
    below = critic(image)
    nn.init.constant_(last.bias, 50)
    assert_close(critic(image) - below, torch.full_like(below, 100), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ANY_SIZE)
def test_a_critic_can_be_written_down(name: str) -> None:
    critic = CRITICS[name](width=4, generator=generator(0)).eval()
    twin = CRITICS[name](**critic.arguments, generator=generator(0)).eval()
    image = rand(1, 3, 24, 24, dtype=torch.float32)
    assert torch.equal(critic(image), twin(image))
    assert not torch.equal(critic(image), CRITICS[name](width=4, generator=generator(1)).eval()(image))


def test_the_patch_critic_judges_each_image_by_itself() -> None:
    critic, images = PatchCritic(width=4, generator=generator(0)).double(), rand(3, 3, 24, 24)
    assert_close(critic(images), torch.cat([critic(image[None]) for image in images]))


def test_the_patch_critic_has_second_derivatives() -> None:
    critic = PatchCritic(width=2, n_layers=1, generator=generator(0)).double()
    image = rand(1, 3, 6, 6).requires_grad_()
    assert torch.autograd.gradgradcheck(critic, (image,))
    single = rand(1, 2, 1, 1).requires_grad_()
    assert torch.autograd.gradgradcheck(instance_normalised, (single,))


@pytest.mark.parametrize("name", CRITICS)
def test_arguments_out_of_range_are_named(name: str) -> None:
    with pytest.raises(ValueError, match=r"width .* between 1 and 512; 0"):
        CRITICS[name](width=0)
