"""What every linear degradation promises; the table decides which are tested."""

import pytest
import torch
from torch.testing import assert_close

from resharp.degradations import LINEAR, Blur, LinearDegradation, disk_kernel, motion_kernel
from tests.conftest import rand

OPERATORS: dict[str, LinearDegradation] = {name: kind() for name, kind in LINEAR.items()}
OPERATORS |= {
    "blur-direct": Blur(motion_kernel(9, 30), method="direct"),
    "blur-fft": Blur(motion_kernel(9, 30), method="fft"),
    "composition": Blur(disk_kernel(2)) @ Blur(motion_kernel(5, 60)),
}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
def test_adjoint_is_the_transpose(name: str, leading: tuple[int, ...]) -> None:
    degrade = OPERATORS[name]
    image = rand(*leading, 3, 24, 31)
    measurement = rand(*degrade(image).shape, seed=1)
    back = degrade.adjoint(measurement)
    assert back.shape == image.shape
    assert_close((degrade(image) * measurement).sum(), (image * back).sum(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", OPERATORS)
def test_adjoint_is_the_gradient(name: str) -> None:
    degrade = OPERATORS[name]
    image = rand(3, 20, 22).requires_grad_()
    measurement = rand(*degrade(image).shape, seed=1)
    (gradient,) = torch.autograd.grad((degrade(image) * measurement).sum(), image)
    assert_close(gradient, degrade.adjoint(measurement))


@pytest.mark.parametrize("name", OPERATORS)
def test_it_is_linear(name: str) -> None:
    degrade, x, y = OPERATORS[name], rand(1, 24, 24), rand(1, 24, 24, seed=1)
    assert_close(degrade(2 * x - 3 * y), 2 * degrade(x) - 3 * degrade(y))


@pytest.mark.parametrize("name", OPERATORS)
def test_row_energy_is_the_noise_gain(name: str) -> None:
    degrade = OPERATORS[name]
    noise = torch.randn(8, 3, 96, 96, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert_close(float(degrade(noise).square().mean()), degrade.row_energy, rtol=0.05, atol=0)


@pytest.mark.parametrize("name", OPERATORS)
def test_dtype_and_channels_are_kept(name: str) -> None:
    for channels, dtype in ((1, torch.float32), (5, torch.float64)):
        degraded = OPERATORS[name](rand(channels, 24, 24, dtype=dtype))
        assert degraded.dtype == dtype
        assert degraded.shape[0] == channels
