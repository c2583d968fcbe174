"""Losses against closed forms, values worked out by hand, and other libraries."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate, gaussian_filter
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from resharp.errors import ArgumentError
from resharp.losses import (
    ADVERSARIAL,
    charbonnier,
    colour,
    edge,
    gradient_penalty,
    gram,
    grid,
    l1,
    l2,
    l2_sum,
    perceptual,
    rmse,
    style,
    total_variation,
)
from tests.conftest import rand


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- pixels ---


def test_l1_and_l2_are_torchs() -> None:
    restored, target = rand(2, 3, 5, 7), rand(2, 3, 5, 7, seed=1)
    assert_close(l1(restored, target), functional.l1_loss(restored, target))
    assert_close(l2(restored, target), functional.mse_loss(restored, target))


def test_the_sum_form_is_summed_over_an_image_and_averaged_over_images() -> None:
    target = torch.zeros(2, 3, 4, 5, dtype=torch.float64)
    restored = target + torch.tensor([0.1, 0.3], dtype=torch.float64).view(2, 1, 1, 1)
    assert float(l2_sum(restored, target)) == pytest.approx(3 * 4 * 5 * (0.01 + 0.09) / 2)
    shifted = float(l2_sum(2 * restored - 1, 2 * target - 1))
    assert shifted == pytest.approx(4 * float(l2_sum(restored, target)))


def test_colour_looks_through_a_gaussian() -> None:
    flat = torch.full((1, 3, 24, 24), 0.5, dtype=torch.float64)
    assert float(colour(flat + 0.1, flat)) == pytest.approx(0.01)
    restored, target = rand(1, 1, 40, 40), rand(1, 1, 40, 40, seed=1)
    seen = gaussian_filter((restored - target)[0, 0].numpy(), 3, mode="nearest", radius=9)
    assert float(colour(restored, target)) == pytest.approx(float((seen**2).mean()))


def test_grid_sees_what_repeats_with_the_squares_and_nothing_else() -> None:
    target = rand(2, 3, 48, 40)
    spot = torch.zeros(4, 4, dtype=torch.float64)
    spot[1, 2] = 0.16
    assert float(grid(target + spot.repeat(12, 10), target)) == pytest.approx(0.16**2 * (1 / 16 - 1 / 16**2))
    assert float(grid(target + 0.1, target)) == pytest.approx(0, abs=1e-12)
    assert float(grid(target + torch.linspace(0, 0.3, 40), target)) < 1e-3
    noise = 0.04 * torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    assert float(grid(target + noise, target)) < 1e-4  # a thirty-sixth of 0.0016, over both axes


def test_rmse_is_taken_of_each_image_by_itself() -> None:
    target = torch.zeros(2, 3, 4, 5, dtype=torch.float64)
    restored = target.clone()
    restored[0] += 0.003
    restored[1, 0, 0, 0] = 0.003 * math.sqrt(3 * 4 * 5)  # the same error, in one value
    assert float(rmse(restored, target, epsilon=0.004)) == pytest.approx(0.005)
    assert float(rmse(restored[:1] * 100, target[:1])) == pytest.approx(math.hypot(0.3, 1e-3))


def test_charbonnier_of_an_even_difference() -> None:
    target = rand(3, 6, 6)
    assert float(charbonnier(target + 0.003, target, epsilon=0.004)) == pytest.approx(0.005)
    assert float(charbonnier(target + 0.5, target)) == pytest.approx(math.hypot(0.5, 1e-3))


@pytest.mark.parametrize("size", [(8, 8), (9, 6)])
def test_edge_is_charbonnier_of_laplacian_bands(size: tuple[int, int]) -> None:
    """Both images' bands, built with SciPy's two-dimensional correlation."""
    taps = np.array([0.05, 0.25, 0.4, 0.25, 0.05])

    def band(plane: np.ndarray) -> np.ndarray:
        filled = np.zeros_like(plane)
        filled[::2, ::2] = 4 * correlate(plane, np.outer(taps, taps), mode="nearest")[::2, ::2]
        return plane - correlate(filled, np.outer(taps, taps), mode="nearest")

    restored, target = rand(2, 3, *size), rand(2, 3, *size, seed=1)
    pairs = zip(restored.flatten(0, 1).numpy(), target.flatten(0, 1).numpy(), strict=True)
    values = [np.sqrt((band(a) - band(b)) ** 2 + 1e-6).mean() for a, b in pairs]
    assert float(edge(restored, target)) == pytest.approx(np.mean(values), rel=1e-12)


def test_total_variation_of_a_ramp_and_of_a_point() -> None:
    ramp = 0.01 * torch.arange(10, dtype=torch.float64).expand(3, 8, 10)
    assert float(total_variation(ramp)) == pytest.approx(0.01 * 9 / 10)
    assert float(total_variation(ramp.mT)) == pytest.approx(0.01 * 9 / 10)
    point = torch.zeros(1, 5, 5)
    point[0, 2, 2] = 1
    assert float(total_variation(point)) == pytest.approx(4 / 25)
    assert float(total_variation(torch.ones(3, 1, 1))) == 0


# --- features ---


def pyramid(image: Tensor) -> list[Tensor]:
    return [2 * image, functional.avg_pool2d(image, 2)]


def test_perceptual_is_summed_over_the_layers() -> None:
    restored, target = rand(2, 3, 8, 8), rand(2, 3, 8, 8, seed=1)
    wanted = [functional.mse_loss(a, b) for a, b in zip(pyramid(restored), pyramid(target), strict=True)]
    assert_close(perceptual(restored, target, pyramid), wanted[0] + wanted[1])
    assert_close(perceptual(restored, target, lambda image: 2 * image), wanted[0])
    assert_close(perceptual(restored, target, lambda image: 2 * image, distance=l1), 2 * l1(restored, target))


def test_the_features_of_the_target_cost_no_gradient() -> None:
    asked = []

    def features(image: Tensor) -> Tensor:
        asked.append(torch.is_grad_enabled())
        return image

    restored, target = rand(1, 3, 4, 4).requires_grad_(), rand(1, 3, 4, 4, seed=1).requires_grad_()
    perceptual(restored, target, features).backward()
    assert sorted(asked) == [False, True]
    assert restored.grad is not None
    assert target.grad is None


def test_gram_of_two_known_channels() -> None:
    features = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [0.0, -1.0]]])  # products 30, -2 and 2
    assert_close(gram(features), torch.tensor([[30.0, -2.0], [-2.0, 2.0]]) / (2 * 2 * 2))
    assert gram(rand(5, 2, 7, 3, 4)).shape == (5, 2, 7, 7)


def test_style_forgets_places_and_is_smooth_at_equality() -> None:
    image = rand(1, 3, 6, 6)
    moved = image.roll((2, 1), dims=(-2, -1)).requires_grad_()
    loss = style(moved, image, lambda image: image)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-25)
    assert moved.grad is not None
    assert bool(torch.isfinite(moved.grad).all())
    doubled = style(2 * image, image, lambda image: image)
    assert_close(doubled, (3 * gram(image)).square().mean())


def test_autocast_does_not_round_gram_matrices() -> None:
    features = rand(1, 4, 16, 16, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(gram(features), gram(features.double()).float(), rtol=1e-5, atol=0)


# --- critics ---


def logits(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1, 1)


REAL, FAKE = logits(1.0, 3.0), logits(-1.0, 0.0)


def log_sigmoid(value: float) -> float:
    return math.log(1 / (1 + math.exp(-value)))


@pytest.mark.parametrize(
    ("name", "critic", "from_generator"),
    [
        ("wgan", -0.5 - 2.0, 0.5),
        (
            "vanilla",
            -(log_sigmoid(1) + log_sigmoid(3)) / 2 - (log_sigmoid(1) + log_sigmoid(0)) / 2,
            -(log_sigmoid(-1) + log_sigmoid(0)) / 2,
        ),
        ("lsgan", ((0 + 4) / 2 + (1 + 0) / 2) / 2, (4 + 1) / 2 / 2),
        ("hinge", (0 + 0) / 2 + (0 + 1) / 2, 0.5),
        # mean real logit 2, mean fake one -1/2: real ones stand 1.5 and 3.5 above, fake ones 3 and 2 below
        (
            "relativistic",
            -(log_sigmoid(1.5) + log_sigmoid(3.5)) / 2 - (log_sigmoid(3) + log_sigmoid(2)) / 2,
            -(log_sigmoid(-3) + log_sigmoid(-2)) / 2 - (log_sigmoid(-1.5) + log_sigmoid(-3.5)) / 2,
        ),
    ],
)
def test_adversarial_losses_on_known_logits(name: str, critic: float, from_generator: float) -> None:
    assert float(ADVERSARIAL[name].critic(REAL, FAKE)) == pytest.approx(critic)
    assert float(ADVERSARIAL[name].generator(REAL, FAKE)) == pytest.approx(from_generator)


def test_relativistic_and_vanilla_are_torchs_cross_entropy() -> None:
    real, fake = rand(3, 1, 5, 5) * 4 - 2, rand(3, 1, 5, 5, seed=1) * 4 - 2
    entropy = functional.binary_cross_entropy_with_logits
    one, zero = torch.ones_like(real), torch.zeros_like(real)
    vanilla = entropy(real, one) + entropy(fake, zero)
    assert_close(ADVERSARIAL["vanilla"].critic(real, fake), vanilla)
    above, below = real - fake.mean(), fake - real.mean()
    assert_close(ADVERSARIAL["relativistic"].critic(real, fake), entropy(above, one) + entropy(below, zero))
    assert_close(ADVERSARIAL["relativistic"].generator(real, fake), entropy(below, one) + entropy(above, zero))


def test_equal_logits_leave_a_relativistic_critic_at_one_half() -> None:
    loss = ADVERSARIAL["relativistic"].critic(logits(7, 7), logits(7, 7))
    assert float(loss) == pytest.approx(2 * math.log(2))


# --- gradient penalty ---


def test_the_penalty_is_that_over_images_from_minus_one_to_one() -> None:
    """As published: a critic that rises by 1 over a step of length 1 in [-1, 1] pays nothing."""
    slope = rand(3, 4, 5)
    slope /= slope.norm()
    real, fake = rand(6, 3, 4, 5, seed=1), rand(6, 3, 4, 5, seed=2)
    penalty = gradient_penalty(
        lambda image: ((2 * image - 1) * slope).sum((1, 2, 3)), real, fake, generator=generator()
    )
    assert float(penalty.detach()) == pytest.approx(0, abs=1e-12)


def test_the_penalty_of_a_linear_critic_is_known() -> None:
    slope = rand(3, 4, 5)
    real, fake = rand(6, 3, 4, 5, seed=1), rand(6, 3, 4, 5, seed=2)
    penalty = gradient_penalty(lambda image: (image * slope).sum((1, 2, 3)), real, fake, generator=generator())
    assert float(penalty.detach()) == pytest.approx((float(slope.square().sum().sqrt()) / 2 - 1) ** 2)


def test_the_channel_norm_is_taken_at_each_pixel() -> None:
    slope = rand(3, 4, 5)
    real, fake = rand(6, 3, 4, 5, seed=1), rand(6, 3, 4, 5, seed=2)
    penalty = gradient_penalty(
        lambda image: (image * slope).sum((1, 2, 3)), real, fake, generator=generator(), norm="channel"
    )
    at_pixels = [
        (math.sqrt(sum(float(slope[c, y, x]) ** 2 for c in range(3))) / 2 - 1) ** 2 for y in range(4) for x in range(5)
    ]
    assert float(penalty.detach()) == pytest.approx(sum(at_pixels) / 20)


def test_the_logits_of_patches_are_summed() -> None:
    slope = rand(3, 4, 4)

    def patches(image: Tensor) -> Tensor:
        return functional.avg_pool2d(image * slope, 2, divisor_override=1)

    penalty = gradient_penalty(patches, rand(2, 3, 4, 4), rand(2, 3, 4, 4, seed=1), generator=generator())
    assert float(penalty.detach()) == pytest.approx((float(slope.norm()) / 2 - 1) ** 2)


def test_the_penalty_looks_between_the_images_at_one_point_for_each() -> None:
    """Half the square of the image has the image as slope, so the penalty tells where it looked."""
    seen = []

    def critic(image: Tensor) -> Tensor:
        seen.append(image.detach())
        return image.square().sum((1, 2, 3)) / 2

    real, fake = torch.ones(64, 3, 2, 2), torch.zeros(64, 3, 2, 2)
    penalty = gradient_penalty(critic, real, fake, generator=generator())
    shares = seen[0][:, 0, 0, 0]
    assert torch.equal(seen[0], shares.view(-1, 1, 1, 1).expand(64, 3, 2, 2))
    assert len(shares.unique()) == 64
    assert 0 <= float(shares.min()) < 0.1 < 0.9 < float(shares.max()) < 1
    assert_close(penalty, (math.sqrt(12) / 2 * shares - 1).square().mean())


def test_the_generator_decides_where_the_penalty_looks() -> None:
    before = torch.get_rng_state()

    def penalty(seed: int) -> Tensor:
        return gradient_penalty(
            lambda image: image.square().sum((1, 2, 3)),
            rand(2, 3, 4, 4),
            rand(2, 3, 4, 4, seed=1),
            generator=generator(seed),
        )

    assert torch.equal(penalty(0), penalty(0))
    assert not torch.equal(penalty(0), penalty(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_critic_learns_from_the_penalty_in_float32_under_autocast() -> None:
    critic = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3))
    real, fake = rand(2, 3, 8, 8, dtype=torch.float32), rand(2, 3, 8, 8, seed=1, dtype=torch.float32).requires_grad_()
    plain = gradient_penalty(critic, real, fake, generator=generator())
    with torch.autocast("cpu", torch.bfloat16):
        penalty = gradient_penalty(critic, real, fake, generator=generator())
    assert penalty.dtype == torch.float32
    assert_close(penalty, plain)
    penalty.backward()
    assert all(p.grad is not None and bool(p.grad.any()) for n, p in critic.named_parameters() if "weight" in n)
    assert fake.grad is None


@pytest.mark.parametrize("norm", ["sample", "channel"])
def test_a_flat_critic_has_a_penalty_of_one_and_finite_gradients(norm: str) -> None:
    weight = torch.zeros(3, 1, 1, requires_grad=True)
    penalty = gradient_penalty(
        lambda image: (image * weight).sum((1, 2, 3)), rand(2, 3, 4, 4), rand(2, 3, 4, 4, seed=1),
        generator=generator(), norm=norm,
    )  # fmt: skip
    penalty.backward()
    assert float(penalty.detach()) == pytest.approx(1)
    assert weight.grad is not None
    assert bool(torch.isfinite(weight.grad).all())


def test_an_unknown_norm_is_named() -> None:
    with pytest.raises(ArgumentError, match="'chanel' is no norm of gradients; did you mean 'channel'"):
        gradient_penalty(lambda image: image, rand(1, 3, 2, 2), rand(1, 3, 2, 2), generator=generator(), norm="chanel")
