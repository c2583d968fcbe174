"""Blur by one kernel: y = k * x over the region where the kernel lies inside the image.

The kernel is a point spread function: the picture that a point of light leaves.  A x is a true convolution, so the
kernel enters as it looks.  (The DMSP authors' code correlates; a kernel made for it is turned by 180 degrees first.)
"""

import functools
import itertools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from resharp.allocation import give_freed_memory_back
from resharp.errors import KernelError

from .base import Iterations, LinearDegradation
from .kernels import gaussian_kernel
from .least_squares import Map
from .light import to_light, to_pixels
from .margin import edge_padded, reflect_padded

LARGE = 2**22  # pixels of an image whose channels are taken one by one
DIRECT_TAPS = 25  # kernels with more taps go through the FFT; measured in benchmarks/blur_paths.py


class Blur(LinearDegradation):
    """Valid convolution of each channel with a kernel (kh, kw), both odd: (..., H, W) -> (..., H - kh + 1, W - kw + 1).

    `method` is "direct", "fft" or "auto" (by the kernel's size); the two agree to 1e-5 in float32.  Raises KernelError
    for an image smaller than the kernel.
    """

    kernel: Tensor

    def __init__(self, kernel: Tensor | None = None, *, method: str = "auto") -> None:
        super().__init__()
        kernel = gaussian_kernel(1.6) if kernel is None else kernel
        if kernel.ndim != 2 or kernel.shape[0] % 2 == 0 or kernel.shape[1] % 2 == 0:
            raise KernelError(f"a blur takes a kernel (height, width), both odd, not {tuple(kernel.shape)}")
        if method not in ("auto", "direct", "fft"):
            raise ValueError(f"method is 'auto', 'direct' or 'fft', not {method!r}")
        self.register_buffer("kernel", kernel)
        self.uses_fft = method == "fft" or (method == "auto" and kernel.numel() > DIRECT_TAPS)
        self._kept: tuple[tuple[object, ...], Tensor, Tensor] | None = None  # key, kernel, its spectrum

    @property
    def margin(self) -> tuple[int, int]:
        return self.kernel.shape[0] // 2, self.kernel.shape[1] // 2

    def first_guess(self, measurement: Tensor) -> Tensor:
        return edge_padded(measurement, self.margin)

    @property
    def row_energy(self) -> float:
        return float(self.kernel.detach().cpu().double().square().sum())

    def forward(self, image: Tensor) -> Tensor:
        kh, kw = self.kernel.shape
        height, width = image.shape[-2:]
        if height < kh or width < kw:
            raise KernelError(f"the kernel ({kh}x{kw}) is larger than the image ({height}x{width})")
        if not self.uses_fft:
            return self._correlate(image, self.kernel.flip(0, 1))
        if _is_large(image):
            return _by_channel(self, image)
        grid = fast_length(height), fast_length(width)
        spectrum = torch.fft.rfft2(image, s=grid) * self._kernel_spectrum(grid, image)
        # The circular wrap reaches the first kh - 1 rows and kw - 1 columns only, which are no valid outputs.
        circular: Tensor = torch.fft.irfft2(spectrum, s=grid)
        return circular[..., kh - 1 : height, kw - 1 : width]

    def adjoint(self, measurement: Tensor) -> Tensor:
        """Full correlation with the kernel: (..., h, w) -> (..., h + kh - 1, w + kw - 1)."""
        kh, kw = self.kernel.shape
        if not self.uses_fft:
            padded = functional.pad(measurement, (kw - 1, kw - 1, kh - 1, kh - 1))
            return self._correlate(padded, self.kernel)
        height, width = measurement.shape[-2] + kh - 1, measurement.shape[-1] + kw - 1
        grid = fast_length(height), fast_length(width)
        placed = functional.pad(measurement, (kw - 1, 0, kh - 1, 0))
        spectrum = torch.fft.rfft2(placed, s=grid) * self._kernel_spectrum(grid, measurement).conj()
        circular: Tensor = torch.fft.irfft2(spectrum, s=grid)
        return circular[..., :height, :width]

    def _solved(
        self,
        measurement: Tensor,
        estimate: Tensor,
        ratio: float | Tensor,
        weight: Tensor | None,
        seen: Tensor | None,
        by: Iterations,
    ) -> Tensor:
        solved = super()._solved
        if not _is_large(estimate):
            return solved(measurement, estimate, ratio, weight, seen, by)
        return _by_channel(lambda y, z, w, a: solved(y, z, ratio, w, a, by), measurement, estimate, weight, seen)

    def _change(
        self,
        estimate: Tensor,
        misfit: Tensor,
        ratios: Tensor,
        weight: Tensor | None,
        conjugate_gradients: Iterations,
    ) -> Tensor:
        """In spectra, where all but the frame and the weight is a factor: two transforms an iteration, not six.

        The unknown is the spectrum on a grid that FFTs are fast on, as real numbers, each times the root of how often a
        half spectrum stands for it, so that inner products are those of images.  Rows of the grid beyond the image
        are seen nowhere, and change nothing in it.
        """
        if not self.uses_fft:
            return super()._change(estimate, misfit, ratios, weight, conjugate_gradients)
        (kh, kw), (height, width) = self.kernel.shape, estimate.shape[-2:]
        grid = fast_length(height), fast_length(width)
        spectrum, root = self._kernel_spectrum(grid, estimate), _roots_of_counts(grid[1], estimate)
        ahead, back = spectrum / root, spectrum.conj() * root

        rows, columns = slice(kh - 1, height), slice(kw - 1, width)  # of the grid, where something was measured
        # Iterations work in the same memory: what glibc frees in blocks of this size is soon in pieces.
        seen = estimate.new_empty(*estimate.shape[:-2], *grid)
        waves, there = (torch.empty_like(seen[..., : len(root)], dtype=ahead.dtype) for _ in range(2))

        def adjoint(placed: Tensor) -> Tensor:
            """Of a measurement that stands in its place on the grid, which is overwritten."""
            if weight is not None:
                placed[..., rows, columns] *= weight
            return _as_numbers(torch.fft.rfft2(placed, out=waves).mul_(back))

        def system(numbers: Tensor) -> Tensor:
            torch.fft.irfft2(torch.mul(_as_spectrum(numbers), ahead, out=there), s=grid, out=seen)
            for outside in (
                seen[..., : rows.start, :],
                seen[..., rows.stop :, :],
                seen[..., : columns.start],
                seen[..., columns.stop :],
            ):
                outside.zero_()
            return adjoint(seen).addcmul_(ratios, numbers)

        inverse = _inverse_gain(spectrum.abs().square(), ratios, weight).repeat_interleave(2, -1)
        target = adjoint(functional.pad(misfit, (kw - 1, grid[1] - width, kh - 1, grid[0] - height))).clone()
        found = conjugate_gradients(
            system, target, precondition=lambda numbers: torch.mul(numbers, inverse, out=_as_numbers(there))
        )
        change: Tensor = torch.fft.irfft2(_as_spectrum(found) / root, s=grid)
        return change[..., :height, :width]

    def _near_inverse(self, estimate: Tensor, ratios: Tensor, weight: Tensor | None) -> Map:
        """The exact inverse if the image went on round the frame and no measurement were left out."""
        height, width = estimate.shape[-2:]
        grid = fast_length(height), fast_length(width)
        return near_inverse(self._kernel_spectrum(grid, estimate).abs().square(), grid, ratios, weight)

    def _correlate(self, image: Tensor, kernel: Tensor) -> Tensor:
        """Valid correlation as a sum of shifted images, which beats torch's own convolutions on few channels."""
        (kh, kw), kernel = kernel.shape, kernel.to(image)
        height, width = image.shape[-2] - kh + 1, image.shape[-1] - kw + 1
        result = image.new_zeros(*image.shape[:-2], height, width)
        for row, column in itertools.product(range(kh), range(kw)):
            shifted = image[..., row : row + height, column : column + width]
            result = torch.addcmul(result, shifted, kernel[row, column])
        return result

    def _kernel_spectrum(self, grid: tuple[int, int], like: Tensor) -> Tensor:
        """The kernel's transform on this grid, kept for the next call: iterations ask for the same one."""
        key = (grid, like.dtype, like.device, torch.is_inference_mode_enabled(), version_of(self.kernel))
        if self._kept is None or self._kept[0] != key or not self._is_kept_kernel(self._kept[1]):
            spectrum: Tensor = torch.fft.rfft2(self.kernel.to(like), s=grid)
            if self.kernel.requires_grad:
                return spectrum
            self._kept = key, self.kernel.clone() if self.kernel.device.type == "cpu" else self.kernel, spectrum
        return self._kept[2]

    def _is_kept_kernel(self, kept: Tensor) -> bool:
        """By its values on the CPU; comparing them on an accelerator would wait for it in each iteration."""
        return torch.equal(kept, self.kernel) if kept.device.type == "cpu" else kept is self.kernel


def near_inverse(power: Tensor, grid: tuple[int, int], ratios: Tensor, weight: Tensor | None) -> Map:
    """The inverse of a blur's normal equations on images up to this grid, if they went on round the frame: from its
    spectrum's power (H, W // 2 + 1)."""
    inverse = _inverse_gain(power, ratios, weight)

    def invert(image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        found: Tensor = torch.fft.irfft2(torch.fft.rfft2(image, s=grid) * inverse, s=grid)
        return found[..., :height, :width]

    return invert


def _inverse_gain(power: Tensor, ratios: Tensor, weight: Tensor | None) -> Tensor:
    share = 1.0 if weight is None else weight.mean()
    return 1 / (share * power + ratios).clamp(min=1e-6)  # zeros of the spectrum, at a ratio of 0


def _is_large(image: Tensor) -> bool:
    """Whether it has several channels that a processor better takes one by one: in a third of the memory, and 1.2 times
    the time."""
    has_channels = image.ndim > 2 and image.shape[-3] > 1 and image.device.type == "cpu"
    return has_channels and image.shape[-2] * image.shape[-1] >= LARGE


def _by_channel(function: Callable[..., Tensor], image: Tensor, *beside: Tensor | None) -> Tensor:
    """What a function of images (..., C, H, W), whose channels do not know each other, makes of each; what stands
    beside the first may be None, or have one channel or less for all.  They are large: what one leaves goes back."""
    n_channels, made = image.shape[-3], image.new_empty(0)
    for c in range(n_channels):
        part = function(*(_channel(one, c, n_channels) for one in (image, *beside)))
        if c == 0:
            made = part.new_empty(*part.shape[:-3], n_channels, *part.shape[-2:])
        made[..., c : c + 1, :, :] = part
        del part
        give_freed_memory_back()
    return made


def _channel(image: Tensor | None, number: int, n_channels: int) -> Tensor | None:
    if image is None or image.ndim < 3 or image.shape[-3] != n_channels:
        return image
    return image[..., number : number + 1, :, :]


def blurred(image: Tensor, kernel: Tensor, *, gamma: float = 1.0) -> Tensor:
    """`image` (..., C, H, W) blurred to the same size: mirrored at its border, in linear light if gamma is not 1."""
    blur = Blur(kernel)
    return to_pixels(blur(reflect_padded(to_light(image, gamma), blur.margin)), gamma)


def _roots_of_counts(width: int, like: Tensor) -> Tensor:
    """(width // 2 + 1,) roots of how many columns of a whole spectrum each of a half one stands for."""
    counts = like.new_full((width // 2 + 1,), 2)
    counts[0] = 1
    if width % 2 == 0:
        counts[-1] = 1
    return counts.sqrt()


def _as_numbers(spectrum: Tensor) -> Tensor:
    """(..., columns) complex -> (..., 2 columns) real."""
    return torch.view_as_real(spectrum).flatten(-2)


def _as_spectrum(numbers: Tensor) -> Tensor:
    return torch.view_as_complex(numbers.reshape(*numbers.shape[:-1], -1, 2))


def version_of(tensor: Tensor) -> int:
    """How often it was written to, where torch counts that."""
    return -1 if tensor.is_inference() else tensor._version


@functools.cache
def fast_length(length: int) -> int:
    """The smallest even number of the form 2^a 3^b 5^c 7^d that is at least `length`, above 32 a multiple of 8: the
    sizes that FFTs are fast on.  (Two transforms of MKL's on 375x376 pixels take 1.9 ms, on 384x384 0.65.)"""
    step = 8 if length > 32 else 2
    return next(size for size in itertools.count(max(1, -(-length // step)) * step, step) if _is_regular(size))


def _is_regular(number: int) -> bool:
    for prime in (2, 3, 5, 7):
        while number % prime == 0:
            number //= prime
    return number == 1
