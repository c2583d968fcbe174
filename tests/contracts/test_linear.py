"""What every linear degradation promises; the table decides which are tested."""

import copy
import math
import pickle

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from resharp.degradations import LINEAR, Blur, LinearDegradation, disk_kernel, motion_kernel
from resharp.degradations.mosaic import PATTERNS, Mosaic
from resharp.degradations.resample import Resize
from resharp.errors import ArgumentError
from tests.conftest import rand

OPERATORS: dict[str, LinearDegradation] = {name: kind() for name, kind in LINEAR.items()}
OPERATORS |= {f"mosaic-{pattern}": Mosaic(pattern) for pattern in PATTERNS}
OPERATORS |= {f"resize-{method}": Resize(0.5, method=method) for method in ("bilinear", "area")}
OPERATORS |= {f"resize-by-{scale:.2f}": Resize(scale) for scale in (1 / 3, 0.37, 2.5, 4)}
OPERATORS |= {
    "blur-direct": Blur(motion_kernel(9, 30), method="direct"),
    "blur-fft": Blur(motion_kernel(9, 30), method="fft"),
    "blur-of-blur": Blur(disk_kernel(2)) @ Blur(motion_kernel(5, 60)),
    "resize-of-blur": Resize(0.25) @ Blur(disk_kernel(2)),
    "thirds-of-blur": Resize(1 / 3) @ Blur(motion_kernel(5, 60)),
    "blur-of-resize": Blur(disk_kernel(1)) @ Resize(3),
    "mosaic-of-blur": Mosaic() @ Blur(disk_kernel(2)),
    "mosaic-of-resize-of-blur": Mosaic("GRBG") @ (Resize(0.7) @ Blur(disk_kernel(1))),
    "resize-of-mosaic": Resize(0.4, method="area") @ Mosaic(),
}


def fitting(name: str, *leading: int) -> tuple[int, ...]:
    """The shape of images of about 24x31 whose adjoint is no other size: operators may shrink several sizes to one."""
    degrade = OPERATORS[name]
    return (*leading, *degrade.adjoint(degrade(rand(3, 24, 31))).shape)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
def test_adjoint_is_the_transpose(name: str, leading: tuple[int, ...]) -> None:
    degrade = OPERATORS[name]
    image = rand(*fitting(name, *leading))
    measurement = rand(*degrade(image).shape, seed=1)
    back = degrade.adjoint(measurement)
    assert back.shape == image.shape
    assert_close((degrade(image) * measurement).sum(), (image * back).sum(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", OPERATORS)
def test_adjoint_is_the_gradient(name: str) -> None:
    degrade = OPERATORS[name]
    image = rand(*fitting(name)).requires_grad_()
    measurement = rand(*degrade(image).shape, seed=1).requires_grad_()
    (gradient,) = torch.autograd.grad((degrade(image) * measurement).sum(), image, create_graph=True)
    back = degrade.adjoint(measurement)
    assert_close(gradient, back)
    assert_close(*(torch.autograd.grad((either * image).sum(), measurement)[0] for either in (gradient, back)))


@pytest.mark.parametrize("name", OPERATORS)
def test_it_is_linear(name: str) -> None:
    degrade, x, y = OPERATORS[name], rand(3, 24, 24), rand(3, 24, 24, seed=1)
    assert_close(degrade(2 * x - 3 * y), 2 * degrade(x) - 3 * degrade(y))


@pytest.mark.parametrize("name", OPERATORS)
def test_row_energy_is_the_noise_gain(name: str) -> None:
    degrade = OPERATORS[name]
    noise = torch.randn(8, 3, 144, 144, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inner = degrade(noise)[..., 8:-8, 8:-8]
    assert_close(float(inner.square().mean()), degrade.row_energy, rtol=0.05, atol=0)


@pytest.mark.parametrize("name", OPERATORS)
def test_dtype_is_kept(name: str) -> None:
    for dtype in (torch.float32, torch.float64):
        degraded = OPERATORS[name](rand(3, 24, 24, dtype=dtype))
        assert degraded.dtype == dtype
        assert OPERATORS[name].adjoint(degraded).dtype == dtype


@pytest.mark.parametrize("name", OPERATORS)
def test_any_number_of_channels_is_kept_or_refused(name: str) -> None:
    degrade = OPERATORS[name]
    keeps_channels = degrade(rand(3, 24, 24)).shape[0] == 3
    for channels in (1, 5):
        if keeps_channels:
            assert degrade(rand(channels, 24, 24)).shape[0] == channels
        else:
            with pytest.raises(ArgumentError, match="RGB"):
                degrade(rand(channels, 24, 24))


@pytest.mark.parametrize("name", OPERATORS)
def test_copies_do_the_same(name: str) -> None:
    degrade, image = OPERATORS[name], rand(3, 24, 24)
    expected = degrade(image)
    for twin in (copy.deepcopy(degrade), pickle.loads(pickle.dumps(degrade))):
        assert torch.equal(twin(image), expected)


def dense(degrade: LinearDegradation, *shape: int) -> Tensor:
    """The matrix (values measured, values of an image) of a degradation."""
    units = torch.eye(math.prod(shape), dtype=torch.float64)
    return degrade(units.reshape(-1, *shape)).flatten(1).T


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", OPERATORS)
def test_solve_is_the_least_squares_solution(name: str, weighted: bool) -> None:
    degrade = OPERATORS[name]
    shape = degrade.adjoint(degrade(rand(3 if "mosaic" in name else 1, 15, 16))).shape
    matrix = dense(degrade, *shape)
    estimate, measurement = rand(*shape), rand(*degrade(rand(*shape)).shape, seed=1)
    weight = (rand(*measurement.shape, seed=2) - 0.3).clamp(min=0) if weighted else None
    shares = torch.ones(len(matrix), dtype=torch.float64) if weight is None else weight.flatten()
    normal = matrix.T @ (shares[:, None] * matrix) + 0.02 * torch.eye(matrix.shape[1], dtype=torch.float64)
    target = matrix.T @ (shares * measurement.flatten()) + 0.02 * estimate.flatten()
    found = degrade.solve(measurement, estimate, 0.02, weight=weight, n_iterations=400, tolerance=1e-12)
    assert_close(found, torch.linalg.solve(normal, target).reshape(shape), rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", OPERATORS)
def test_gradients_pass_a_solution_to_its_estimate(name: str) -> None:
    """Against those of a dense solution."""
    degrade = OPERATORS[name]
    shape = degrade.adjoint(degrade(rand(3 if "mosaic" in name else 1, 15, 16))).shape
    matrix, estimate = dense(degrade, *shape), rand(*shape).requires_grad_()
    measurement, pull = rand(*degrade(rand(*shape)).shape, seed=1), rand(*shape, seed=2)
    found = degrade.solve(measurement, estimate, 0.02, n_iterations=400, tolerance=1e-12)
    (gradient,) = torch.autograd.grad((found * pull).sum(), estimate)
    normal = matrix.T @ matrix + 0.02 * torch.eye(matrix.shape[1], dtype=torch.float64)
    solved = torch.linalg.solve(normal, matrix.T @ measurement.flatten() + 0.02 * estimate.flatten())
    (expected,) = torch.autograd.grad((solved * pull.flatten()).sum(), estimate)
    assert_close(gradient, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", OPERATORS)
def test_each_image_of_a_batch_has_its_own_ratio(name: str) -> None:
    degrade, shape = OPERATORS[name], fitting(name, 2)
    measurement, ratios = degrade(rand(*shape)), torch.tensor([0.1, 0.5])
    together = degrade.solve(measurement, rand(*shape, seed=1), ratios)
    for i, ratio in enumerate(ratios.tolist()):
        alone = degrade.solve(measurement[i], rand(*shape, seed=1)[i], ratio)
        assert_close(together[i], alone, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", OPERATORS)
def test_solve_without_a_ratio_or_measurements_stays_finite(name: str) -> None:
    degrade, shape = OPERATORS[name], fitting(name)
    image = rand(*shape, dtype=torch.float32)
    measurement = degrade(image)
    fitted = degrade.solve(measurement, torch.zeros_like(image), 0)
    assert float((degrade(fitted) - measurement).square().mean()) < 0.01 * float(measurement.square().mean())
    for ratio in (0, 0.1):
        assert_close(degrade.solve(measurement, image, ratio, weight=torch.zeros(1)), image)
    half = degrade.solve(measurement.bfloat16(), image.bfloat16(), 0.1)
    assert half.dtype == torch.bfloat16
    assert_close(half.float(), degrade.solve(measurement, image, 0.1), rtol=0, atol=0.03)


def test_what_cannot_be_solved_is_refused() -> None:
    with pytest.raises(ArgumentError, match="must be 0 or more"):
        Blur().solve(rand(3, 8, 8), rand(3, 14, 14), -1)
    with pytest.raises(ArgumentError, match="image_size"):
        Resize(0.5).solve(rand(3, 8, 8), rand(3, 15, 15), 1)
    assert Resize(0.5, image_size=(15, 15)).solve(rand(3, 8, 8), rand(3, 15, 15), 1).shape == (3, 15, 15)


def test_the_row_energy_of_a_composition_is_right_or_refused() -> None:
    """Closed forms: a mosaic picks rows of what it follows; enlarging by 3, areas repeat each pixel three times."""
    blur = Blur(disk_kernel(2))
    assert_close((Mosaic() @ blur).row_energy, blur.row_energy, rtol=1e-9, atol=0)
    assert_close((Resize(3, method="area") @ blur).row_energy, blur.row_energy, rtol=1e-9, atol=0)
    assert_close((Resize(0.25) @ Resize(1)).row_energy, Resize(0.25).row_energy, rtol=1e-9, atol=0)
    point = torch.zeros(9, 9, dtype=torch.float64)  # changes the test image's size, so that the phases fall otherwise
    point[4, 4] = 1
    assert_close((Resize(3) @ Blur(point)).row_energy, Resize(3).row_energy, rtol=1e-9, atol=0)
    assert_close((Resize(1) @ Resize(4)).row_energy, Resize(4).row_energy, rtol=1e-9, atol=0)
    with pytest.raises(ArgumentError, match="for images of 24x31"):
        _ = (blur @ Resize(0.5, image_size=(24, 31))).row_energy


def test_rows_that_are_too_wide_to_measure_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = Blur(torch.full((401, 1), 1 / 401), method="fft")
    monkeypatch.setattr("resharp.degradations.base.PROBE_SIDES", (64, 512))
    with pytest.raises(ArgumentError, match="too wide"):
        _ = (wide @ Resize(1)).row_energy
