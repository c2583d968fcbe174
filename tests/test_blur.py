import pytest
import scipy.signal
import torch
from torch.testing import assert_close

from resharp.degradations import Blur, gaussian_kernel, load_kernel, motion_kernel
from resharp.degradations.blur import fast_length
from resharp.errors import KernelError
from resharp.photo import read_photo
from tests.conftest import rand, reference


@pytest.mark.parametrize("method", ["direct", "fft"])
def test_it_is_a_true_valid_convolution(method: str) -> None:
    kernel = rand(5, 9)
    image = rand(2, 20, 23)
    expected = [scipy.signal.convolve2d(plane.numpy(), kernel.numpy(), mode="valid") for plane in image]
    for plane, oracle in zip(Blur(kernel, method=method)(image), expected, strict=True):
        assert_close(plane, torch.from_numpy(oracle))


def test_a_point_of_light_leaves_the_kernel() -> None:
    kernel = rand(5, 7)
    point = torch.zeros(1, 13, 17, dtype=torch.float64)
    point[0, 6, 8] = 1
    assert_close(Blur(kernel, method="direct")(point)[0, 2:7, 2:9], kernel)


@pytest.mark.parametrize("number", [4, 7, 8])
def test_real_photos_decide_the_convention(number: int) -> None:
    """Levin et al.'s kernels are stored for correlation: turned by 180 degrees they explain their photos."""
    kernel = load_kernel(f"{reference('levin', 'Levin09.mat')}#{number}")
    sharp = read_photo(reference("levin", "sharp", "im1.png")).image[:1]
    blurred = read_photo(reference("levin", "blur", f"im1_kernel{number}.png")).image[:1, 40:-40, 40:-40]

    def misfit(kernel: torch.Tensor) -> float:
        blur = Blur(kernel)
        rows, columns = (40 - margin for margin in blur.margin)
        shifts = [(y, x) for y in range(-3, 4) for x in range(-3, 4)]
        made = [blur(sharp.roll(shift, (1, 2))[:, rows:-rows, columns:-columns]) for shift in shifts]
        return min(float((one - blurred).square().mean()) for one in made)

    assert misfit(kernel.flip(0, 1)) < 1e-4 < 1e-3 < misfit(kernel)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (15, 7), (31, 33)])
def test_both_paths_agree_in_float32(size: tuple[int, int]) -> None:
    kernel = rand(*size, dtype=torch.float32)
    kernel = kernel / kernel.sum()
    image = rand(2, 3, 64, 71, dtype=torch.float32)
    direct, fft = Blur(kernel, method="direct"), Blur(kernel, method="fft")
    assert_close(direct(image), fft(image), rtol=0, atol=1e-5)
    measurement = rand(*direct(image).shape, dtype=torch.float32)
    assert_close(direct.adjoint(measurement), fft.adjoint(measurement), rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ["direct", "fft"])
@pytest.mark.parametrize("size", [(9, 15), (11, 14)])  # grids as large as the image, and larger; odd and even
def test_least_squares_are_those_of_dense_matrices(method: str, size: tuple[int, int]) -> None:
    """Two images of two channels, each with a ratio and measurements left out of its own."""
    blur, pixels = Blur(rand(3, 5), method=method), size[0] * size[1]
    shape = (size[0] - 2, size[1] - 4)
    matrix = blur(torch.eye(pixels, dtype=torch.float64).view(pixels, 1, *size)).flatten(1).T
    y, z = rand(2, 2, *shape), rand(2, 2, *size, seed=1)
    weight, ratios = (rand(2, 2, *shape, seed=2) > 0.3).double(), torch.tensor([0.3, 0.1]).double()
    found = blur.solve(y, z, ratios, weight=weight, tolerance=1e-12, n_iterations=2000)
    for image, channel in ((0, 0), (0, 1), (1, 0), (1, 1)):
        w, ratio = weight[image, channel].flatten(), ratios[image]
        normal = matrix.T @ (w[:, None] * matrix) + ratio * torch.eye(pixels)
        right = matrix.T @ (w * y[image, channel].flatten()) + ratio * z[image, channel].flatten()
        assert_close(found[image, channel].flatten(), torch.linalg.solve(normal, right), rtol=0, atol=1e-8)


def test_the_path_is_chosen_by_size() -> None:
    assert not Blur(gaussian_kernel(0.5)).uses_fft
    assert Blur(motion_kernel(41, 45)).uses_fft


def test_a_changed_kernel_is_noticed() -> None:
    blur = Blur(gaussian_kernel(3.0), method="fft")
    image = rand(1, 40, 40)
    blur(image)
    blur.kernel.copy_(torch.zeros_like(blur.kernel))
    assert float(blur(image).abs().max()) == 0


def test_kernels_made_and_used_under_any_gradient_mode() -> None:
    with torch.inference_mode():
        blur = Blur(gaussian_kernel(3.0), method="fft")
        blur(rand(1, 40, 40))
    image = rand(1, 40, 40).requires_grad_()
    blur(image).sum().backward()
    assert image.grad is not None
    learned = Blur(gaussian_kernel(3.0).double().requires_grad_(), method="fft")
    learned(rand(1, 40, 40)).square().sum().backward()
    assert learned.kernel.grad is not None


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(KernelError, match="4, 3"):
        Blur(rand(4, 3))
    with pytest.raises(KernelError, match="larger than the image"):
        Blur(gaussian_kernel(3.0))(rand(3, 8, 8))


def test_fast_lengths_are_the_next_regular_multiples_of_eight() -> None:
    def regular(n: int) -> bool:
        for prime in (2, 3, 5, 7):
            while n % prime == 0:
                n //= prime
        return n == 1

    assert fast_length(0) == 2
    for length in [*range(1, 300), 1021, 1283]:
        multiple = 8 if length > 32 else 2
        expected = next(n for n in range(length, 2 * length + 2) if regular(n) and n % multiple == 0)
        assert fast_length(length) == expected


def test_channels_of_large_photos_are_taken_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """For memory's sake: with the same results, weights of one channel or of all, and gradients."""
    blur, image = Blur(rand(7, 9) / 63, method="fft"), rand(2, 3, 40, 44)
    y, weight = rand(*blur(image).shape, seed=1), rand(*blur(image).shape, seed=2)
    settings = {"tolerance": 1e-12, "n_iterations": 500}
    weights = (None, weight, weight[:, :1], torch.ones(1))
    whole = blur(image), *(blur.solve(y, image, 0.01, weight=w, **settings) for w in weights)
    monkeypatch.setattr("resharp.degradations.blur.LARGE", 100)
    parts = blur(image), *(blur.solve(y, image, 0.01, weight=w, **settings) for w in weights)
    for a, b in zip(whole, parts, strict=True):
        assert_close(a, b, rtol=0, atol=1e-8)
    assert torch.autograd.gradcheck(blur, image[:1, :, :12, :12].clone().requires_grad_())


def test_one_plane_and_batches_beside_one_image() -> None:
    blur, plane = Blur(rand(7, 9) / 63, method="fft"), rand(30, 34)
    assert_close(blur(plane), blur(plane[None])[0])
    y, ratios = rand(2, 3, *blur(plane).shape, seed=1), torch.tensor([0.1, 0.5])
    image = plane.expand(3, -1, -1)
    for measured, weight in ((y, None), (y[0], y), (y[0], None)):
        together = blur.solve(measured, image, ratios, weight=weight, tolerance=1e-12, n_iterations=500)
        for i in range(2):
            alone = blur.solve(
                measured if measured.ndim == 3 else measured[i],
                image,
                float(ratios[i]),
                weight=None if weight is None else weight[i],
                tolerance=1e-12,
                n_iterations=500,
            )
            assert_close(together[i], alone, rtol=0, atol=1e-6)
