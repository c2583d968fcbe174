"""What every loss promises; the tables decide which are tested."""

import pytest
import torch
from torch.testing import assert_close

from resharp.errors import ArgumentError
from resharp.losses import ADVERSARIAL, LOSSES
from tests.conftest import rand

FLOORS = {"rmse": 1e-3, "charbonnier": 1e-3, "edge": 1e-3}  # their epsilon; the others reach zero


@pytest.mark.parametrize("name", LOSSES)
def test_equal_images_are_the_minimum(name: str) -> None:
    image = rand(2, 3, 9, 12)
    restored = image.clone().requires_grad_()
    loss = LOSSES[name](restored, image)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(FLOORS.get(name, 0), abs=1e-15)
    assert restored.grad is not None
    assert not bool(restored.grad.any())
    assert all(
        float(LOSSES[name](image + step * (rand(2, 3, 9, 12, seed=1) - 0.5), image)) > loss for step in (0.01, 1)
    )


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_the_slope(name: str) -> None:
    restored, target = rand(1, 3, 5, 6).requires_grad_(), rand(1, 3, 5, 6, seed=1)
    assert torch.autograd.gradcheck(lambda image: LOSSES[name](image, target), restored)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("size", [(1, 1), (1, 8), (7, 2)])
def test_images_of_any_size_and_any_leading_axes(name: str, size: tuple[int, int]) -> None:
    restored, target = rand(2, 4, 3, *size), rand(2, 4, 3, *size, seed=1)
    loss = LOSSES[name](restored, target)
    assert loss.shape == ()
    assert_close(LOSSES[name](restored.flatten(0, 1), target.flatten(0, 1)), loss)
    each = [LOSSES[name](a, b) for a, b in zip(restored.flatten(0, 1), target.flatten(0, 1), strict=True)]
    assert_close(torch.stack(each).mean(), loss)


@pytest.mark.parametrize("name", LOSSES)
def test_bfloat16_images_and_autocast_do_not_round_the_loss(name: str) -> None:
    restored, target = rand(2, 3, 16, 16).bfloat16(), rand(2, 3, 16, 16, seed=1, dtype=torch.float32)
    exact = LOSSES[name](restored.double(), target.double())
    assert exact.dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        loss = LOSSES[name](restored, target)
    assert loss.dtype == torch.float32
    assert_close(loss.double(), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 1, 8, 8), (2, 3, 8, 7)])
def test_images_of_two_shapes_are_no_pair(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match=r"not \(2, 3, 8, 8\) and \("):
        LOSSES[name](rand(2, 3, 8, 8), rand(*shape))


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_critic_and_generator_pull_apart(name: str) -> None:
    """Near equal logits the critic pushes real ones up and fake ones down, and the generator fake ones up."""
    adversarial = ADVERSARIAL[name]
    real, fake = 0.1 * rand(2, 1, 4, 4).requires_grad_(), 0.1 * rand(2, 1, 4, 4, seed=1).requires_grad_()
    up, down = torch.autograd.grad(adversarial.critic(real, fake), (real, fake))
    assert bool((up < 0).all())
    assert bool((down > 0).all())
    (pull,) = torch.autograd.grad(adversarial.generator(real, fake), fake)
    assert bool((pull < 0).all())


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_real_logits_are_asked_for_where_they_count(name: str) -> None:
    adversarial, fake = ADVERSARIAL[name], rand(2, 1, 4, 4)
    if adversarial.generator_needs_real:
        with pytest.raises(AssertionError):
            adversarial.generator(None, fake)
    else:
        assert torch.equal(adversarial.generator(None, fake), adversarial.generator(rand(3, 1, 4, 4, seed=1), fake))


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_large_bfloat16_logits_stay_finite(name: str) -> None:
    real, fake = torch.full((2, 1), 1e4).bfloat16(), torch.full((2, 1), -1e4).bfloat16()
    for one, other in ((real, fake), (fake, real)):
        for loss in (ADVERSARIAL[name].critic(one, other), ADVERSARIAL[name].generator(one, other)):
            assert loss.dtype == torch.float32
            assert loss.shape == ()
            assert bool(torch.isfinite(loss))
