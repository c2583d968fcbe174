"""The solver against a transcription with dense matrices, and its parts against closed forms."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from resharp.degradations import Blur, Mosaic, Resize, edge_padded, gaussian_kernel, motion_kernel, without_margin
from resharp.errors import ArgumentError
from resharp.priors import at_any_level
from resharp.solvers import Step
from resharp.solvers.half_quadratic import (
    PRIOR_WEIGHT,
    falling_levels,
    half_quadratic,
    halo,
    mean_and_spread,
    steps_for,
    unclipped,
)
from tests.conftest import rand


def denoise(noisy: Tensor, sigma: float) -> Tensor:
    """Some map of each pixel that knows the level."""
    return torch.tanh((1 - sigma) * noisy + 0.05)


def blurring(image: Tensor, sigma: float) -> Tensor:
    """Half of each pixel's four neighbours: smooths, and treats all positions of a square alike."""
    wide = edge_padded(image, (1, 1))
    rows, columns = wide[..., 1:-1], wide[..., 1:-1, :]
    return 0.5 * image + 0.125 * (rows[..., 2:, :] + rows[..., :-2, :] + columns[..., 2:] + columns[..., :-2])


class Exactly(Blur):
    """Whose least-squares steps leave no error to speak of."""

    left = 1e-12

    def solve(self, *arguments: Any, tolerance: float = 0, **settings: Any) -> Tensor:
        return super().solve(*arguments, tolerance=self.left, n_iterations=500, **settings)


class Closely(Exactly):
    left = 1e-6


def powered(values: Tensor, exponent: float) -> Tensor:
    return values if exponent == 1 else values.clamp(min=0) ** exponent


@pytest.mark.parametrize("gamma", [1.0, 2.2])
def test_it_is_its_transcription(gamma: float) -> None:
    """Plain formulas: each least-squares step by a dense solve, no closed form, no conjugate gradients."""
    blur, noise = Exactly(motion_kernel(5, 30).double()), 10 / 255
    first = rand(2, 8, 9)
    shape = blur(first).shape
    y = 0.1 + 0.8 * rand(*shape, seed=1)
    matrix = blur(torch.eye(144, dtype=torch.float64).reshape(144, 2, 8, 9)).flatten(1).T
    z, light = first.flatten(), y.flatten() ** gamma
    for level in falling_levels(noise, 4):
        ratio = PRIOR_WEIGHT * (noise / level) ** 2
        normal = matrix.T @ matrix + ratio * torch.eye(144, dtype=torch.float64)
        x = torch.linalg.solve(normal, matrix.T @ light + ratio * powered(z, gamma))
        z = denoise(powered(x, 1 / gamma), level)
    found = half_quadratic(y, blur, denoise, first, noise_sigma=noise, gamma=gamma, n_iterations=4)
    assert_close(found.flatten(), z, rtol=0, atol=1e-6)


@pytest.mark.parametrize("gamma", [1.0, 2.2])
def test_gradients_pass_to_the_denoiser(gamma: float) -> None:
    """A setting of the denoiser, by how the result changes with it."""
    blur, first, setting = Exactly(motion_kernel(5, 30).double()), rand(2, 12, 13), torch.tensor(0.9).double()
    y = 0.1 + 0.8 * rand(*blur(first).shape, seed=1)

    def result(share: Tensor) -> Tensor:
        found = half_quadratic(y, blur, lambda x, s: share * denoise(x, s), first, noise_sigma=0.04, gamma=gamma)
        return (found * rand(*first.shape, seed=2)).sum()

    (gradient,) = torch.autograd.grad(result(setting.requires_grad_()), setting)
    with torch.no_grad():
        expected = (result(setting + 1e-5) - result(setting - 1e-5)) / 2e-5
    assert float(gradient) == pytest.approx(float(expected), rel=1e-4)


def test_it_sharpens_with_the_noise_given_or_found() -> None:
    """A disk behind a blur: closer to the truth than the blurred photo, by far."""
    rows = torch.arange(64.0)
    clean = ((rows[:, None] - 32).square() + (rows - 30).square() < 300).float().expand(3, 64, 64) * 0.8 + 0.1
    blur = Blur(gaussian_kernel(1.5))
    y = blur(clean)
    y += 0.01 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    inner = without_margin(clean, blur.margin)
    for sigma in (0.01, None):
        found = half_quadratic(y, blur, blurring, edge_padded(y, blur.margin), noise_sigma=sigma, n_iterations=6)
        assert (without_margin(found, blur.margin) - inner).square().mean() < 0.8 * (y - inner).square().mean()


@pytest.mark.parametrize("sigma", [0.0, 1.0, None])
@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("size", [1, 12])
def test_strange_photos_stay_finite_and_their_size(sigma: float | None, value: float, size: int) -> None:
    box = Blur(torch.full((5, 5), 0.04))  # whose spectrum has zeros
    y = torch.full((3, size, size), value)
    for weigh in (None, unclipped):
        first = edge_padded(y, box.margin)
        found = half_quadratic(y, box, blurring, first, noise_sigma=sigma, weigh=weigh, gamma=2.2, n_iterations=5)
        assert found.shape == (3, size + 4, size + 4)
        assert_close(found, torch.full_like(found, value), rtol=0, atol=1e-2)


def test_what_is_none_is_refused() -> None:
    for sigma in (-0.1, 1.5, math.nan):
        with pytest.raises(ArgumentError, match="noise sigma is"):
            falling_levels(sigma, 8)
    with pytest.raises(ArgumentError, match="at least 1"):
        falling_levels(0.1, 0)
    with pytest.raises(ArgumentError, match="at least 2"):
        mean_and_spread(lambda generator: torch.zeros(1), 1)


def test_levels_fall_to_the_noise_and_stay_in_a_denoisers_range() -> None:
    levels = falling_levels(2 / 255, 9)
    assert levels == sorted(levels, reverse=True)
    assert_close(255 * torch.tensor([levels[0], levels[-1]]), torch.tensor([49.0, 5.0]))
    assert all(math.isclose(level, 49 / 255) for level in falling_levels(0.9, 3))
    assert len(falling_levels(0, 1)) == 1
    assert falling_levels(0, 5)[-1] > 1 / 255


@pytest.mark.parametrize(
    ("grey_levels", "most", "steps"), [(0, 8, 8), (1, 8, 8), (2.55, 8, 6), (20, 8, 5), (255, 2, 2)]
)
def test_more_noise_takes_fewer_steps_of_the_same_fall(grey_levels: float, most: int, steps: int) -> None:
    assert steps_for(grey_levels / 255, most) == steps
    if steps == 6:
        steepest = falling_levels(0, 8)[0] / falling_levels(0, 8)[-1]
        levels = falling_levels(grey_levels / 255, steps)
        assert (levels[0] / levels[-1]) ** (1 / (steps - 1)) == pytest.approx(steepest ** (1 / 7), rel=0.05)


@pytest.mark.parametrize("degrade", [Mosaic(), Resize(0.5), Mosaic() @ Blur(gaussian_kernel(0.8))])
def test_any_degradation_serves(degrade: torch.nn.Module) -> None:
    clean = rand(3, 8, 8).mean(0, keepdim=True).expand(3, 8, 8)
    clean = torch.nn.functional.interpolate(clean[None], scale_factor=3, mode="bilinear")[0]
    y = degrade(clean)
    found = half_quadratic(y, degrade, blurring, torch.full_like(clean, 0.5), noise_sigma=0.0, n_iterations=8)  # type: ignore[arg-type]
    assert (found - clean).square().mean() < 0.6 * (0.5 - clean).square().mean()


def test_a_part_with_its_halo_is_the_whole() -> None:
    photo, blur = rand(3, 16, 80), Closely(gaussian_kernel(0.8))  # 7x7; the denoiser sees 1 pixel

    def restored(part: Tensor) -> Tensor:
        first = edge_padded(part, blur.margin)
        return without_margin(half_quadratic(part, blur, blurring, first, noise_sigma=0.02), blur.margin)

    around = halo((7, 7), 1)
    assert around == 18
    whole, part = restored(photo), restored(photo[..., : 40 + around])
    assert_close(part[..., :40], whole[..., :40], rtol=0, atol=1e-3)


def test_a_false_from_on_step_ends_it() -> None:
    seen: list[Step] = []

    def stop(step: Step) -> bool:
        seen.append(step)
        return len(seen) < 3

    y = rand(2, 3, 8, 8)
    last = half_quadratic(y, Blur(), denoise, edge_padded(y, Blur().margin), noise_sigma=0.05, on_step=stop)
    assert [step.iteration for step in seen] == [1, 2, 3]
    assert torch.equal(seen[-1].image, last)
    assert_close(seen[0].noise_sigma, torch.full((2,), 0.05, dtype=torch.float64))
    assert (seen[0].data_weight > seen[-1].data_weight).all()


def test_clipped_values_count_until_they_are_explained() -> None:
    photo = torch.full((3, 9, 9), 0.5)
    photo[0, 4, 4], photo[1, 0, 0] = 1.0, 0.0
    brighter, darker = photo + 0.1, photo - 0.1
    assert int((unclipped(photo, brighter) == 0).sum()) == 25  # two pixels around the white one
    assert int((unclipped(photo, darker) == 0).sum()) == 9  # and around the black one, in its corner
    assert unclipped(photo, photo.clamp(0.1, 0.9)).all()


def test_clipped_lamps_leave_no_ring() -> None:
    """A lamp ten times brighter than white: what lies around it is nearer the truth than if white were believed."""
    lamp = torch.full((1, 25, 25), 0.2)
    lamp[:, 11:14, 11:14] = 10
    blur = Blur(gaussian_kernel(1.2))
    photo = blur(lamp).clamp(max=1)
    ring = torch.ones_like(lamp, dtype=torch.bool)
    ring[:, 9:16, 9:16] = False
    wrong = []
    for weigh in (None, unclipped):
        first = edge_padded(photo, blur.margin)
        found = half_quadratic(photo, blur, lambda image, _: image, first, noise_sigma=0.0, weigh=weigh, n_iterations=6)
        wrong.append(float((without_margin(found - lamp, blur.margin)[without_margin(ring, blur.margin)]).abs().mean()))
    assert wrong[1] < 0.75 * wrong[0]


def test_a_denoiser_of_one_level_serves_at_any() -> None:
    """Soft thresholds scale with the level: what is known at 0.1 tells what it does at 0.02 and 0.4."""

    def soft(values: Tensor, level: float) -> Tensor:
        return values.sign() * (values.abs() - level).clamp(min=0)

    image = rand(3, 5, 5) - 0.5
    denoiser = at_any_level(lambda noisy: soft(noisy, 0.1), 0.1)
    for level in (0.02, 0.1, 0.4):
        assert_close(denoiser(image, level), soft(image, level))
    assert denoiser(image, 0.0) is image


def test_mean_and_spread_are_those_of_the_runs() -> None:
    def draw(generator: torch.Generator) -> Tensor:
        return torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)

    runs = torch.stack([draw(torch.Generator().manual_seed(7 + i)) for i in range(5)])
    mean, spread = mean_and_spread(draw, 5, seed=7)
    assert_close(mean, runs.mean(0))
    assert_close(spread, runs.std(0))


def test_samples_differ_by_their_seed_alone() -> None:
    y, blur = rand(3, 8, 8), Blur(gaussian_kernel(0.8))

    def restored(seed: int | None) -> Tensor:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        first = edge_padded(y, blur.margin)
        return half_quadratic(y, blur, denoise, first, noise_sigma=0.02, n_iterations=3, generator=generator)

    assert torch.equal(restored(1), restored(1))
    assert not torch.equal(restored(1), restored(2))
    assert torch.equal(restored(None), restored(None))
