"""Our numbers against scikit-image's, torchmetrics's, SciPy's filters in the published formulas, and RCAN's figure."""

import functools
from collections.abc import Callable
from importlib import resources

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio as torchmetrics_psnr,
)
from torchmetrics.functional.image import (
    structural_similarity_index_measure,
)

from resharp.degradations import Blur, load_kernel
from resharp.image import luma
from resharp.metrics import (
    METRICS,
    multi_scale_ssim,
    psnr,
    ssim,
    ssim_matlab_2d,
    ssim_matlab_3d,
    ssim_skimage,
    ssim_zero_padded,
)
from resharp.photo import read_photo
from tests.conftest import rand, reference

Array = NDArray[np.float64]


def pair(*shape: int, spread: float = 0.2) -> tuple[Tensor, Tensor]:
    """A picture with smooth and with rough places, and the same with noise."""
    rows, columns = torch.linspace(0, 3, shape[-2])[:, None], torch.linspace(0, 2, shape[-1])
    clean = (0.5 + 0.4 * torch.sin(rows**2 + 5 * columns) * rand(*shape) ** 2).clamp(0, 1).double()
    return (clean + spread * (rand(*shape, seed=1) - 0.5)).clamp(0, 1), clean


def shipped_pair() -> tuple[Tensor, Tensor]:
    """A part of the demo's photo as its kernel blurs it, to 8 bits, and of the photo itself."""
    assets = resources.files("resharp") / "assets"
    clean = read_photo(str(assets / "demo-photo.png")).image.double()
    blurred = Blur(load_kernel(str(assets / "demo-kernel.png")).double())(clean)
    rows, columns = ((a - b) // 2 for a, b in zip(clean.shape[-2:], blurred.shape[-2:], strict=True))
    clean = clean[..., rows : rows + blurred.shape[-2], columns : columns + blurred.shape[-1]]
    part = (slice(None), slice(60, 160), slice(40, 190))
    return (255 * blurred[part]).round() / 255, clean[part]


# --- oracles ----------------------------------------------------------------------------------------------------------


def skimage_ssim(restored: Array, clean: Array) -> float:
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(clean, restored, data_range=1, channel_axis=0, **options))


def gaussian(n_axes: int) -> Array:
    line = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    kernel = functools.reduce(np.multiply.outer, [line] * n_axes)
    return kernel / kernel.sum()


def filtered_ssim(restored: Array, clean: Array, mean: Callable[[Array], Array]) -> float:
    """Wang's map of images (C, H, W) on the 0..255 scale, over whatever positions `mean` gives."""
    x, y, c1, c2 = 255 * restored, 255 * clean, (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    return float((((2 * mx * my + c1) * (2 * cov + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean())


def plane_by_plane(mode: str) -> Callable[[Array], Array]:
    return lambda x: np.stack([ndimage.correlate(plane, gaussian(2), mode=mode, cval=0) for plane in x])


def volume(image: Array) -> Array:
    """The 11x11x11 window over all positions of a volume of three slices or one."""
    padded, kernel = np.pad(image, 5, mode="edge"), gaussian(3)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape)
    return np.einsum("chwijk,ijk->chw", windows, kernel)


ORACLES: dict[Callable[[Tensor, Tensor], Tensor], Callable[[Array, Array], float]] = {
    psnr: lambda a, b: float(peak_signal_noise_ratio(b, a, data_range=1)),
    ssim: skimage_ssim,
    ssim_skimage: lambda a, b: float(structural_similarity(b, a, data_range=1, channel_axis=0)),
    ssim_matlab_2d: lambda a, b: filtered_ssim(a, b, plane_by_plane("nearest")),
    ssim_matlab_3d: lambda a, b: filtered_ssim(a, b, volume),
    ssim_zero_padded: lambda a, b: filtered_ssim(a, b, plane_by_plane("constant")),
}


@pytest.mark.parametrize("metric", ORACLES, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize("shape", [(3, 32, 37), (1, 12, 80), (2, 3, 75, 11)])
@pytest.mark.parametrize("spread", [0.01, 0.5])
def test_figures_are_those_of_the_oracle(
    metric: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...], spread: float
) -> None:
    restored, clean = pair(*shape, spread=spread)
    found = metric(restored, clean)
    assert found.shape == shape[:-3]
    singles = zip(found.reshape(-1), restored.reshape(-1, *shape[-3:]), clean.reshape(-1, *shape[-3:]), strict=True)
    for ours, one, other in singles:
        assert float(ours) == pytest.approx(ORACLES[metric](one.numpy(), other.numpy()), abs=1e-9)


@pytest.mark.parametrize("metric", ORACLES, ids=lambda metric: metric.__name__)
def test_the_definitions_on_the_shipped_pair_in_float32(metric: Callable[[Tensor, Tensor], Tensor]) -> None:
    restored, clean = shipped_pair()
    wanted = ORACLES[metric](restored.numpy(), clean.numpy())
    assert float(metric(restored.float(), clean.float())) == pytest.approx(wanted, abs=1e-4 if metric is psnr else 1e-5)
    assert float(metric(restored, clean)) == pytest.approx(wanted, abs=1e-9)


def test_the_definitions_differ_on_one_pair_as_published() -> None:
    """Spec E.2: MATLAB's volume is far above the others, whose order depends on the picture."""
    restored, clean = shipped_pair()
    figures = {name: float(METRICS[name].function(restored, clean)) for name in METRICS if name.startswith("ssim")}
    as_volume = figures.pop("ssim-matlab-3d")
    assert as_volume > max(figures.values()) + 0.02
    assert len({round(figure, 4) for figure in figures.values()}) == len(figures)
    grey, grey_clean = restored[:1], clean[:1]
    assert float(ssim_matlab_3d(grey, grey_clean)) == pytest.approx(float(ssim_matlab_2d(grey, grey_clean)), abs=1e-12)


def torchmetrics_map(restored: Tensor, clean: Tensor) -> Tensor:
    """Its map of an image (C, H, W) at valid positions; its own mean takes in those whose window is half reflection."""
    result = structural_similarity_index_measure(restored[None], clean[None], data_range=1.0, return_full_image=True)
    assert isinstance(result, tuple)
    return result[1][0, :, 5:-5, 5:-5]


def test_torchmetrics_agrees_within_the_frame() -> None:
    restored, clean = pair(3, 40, 45)
    assert float(psnr(restored, clean)) == pytest.approx(float(torchmetrics_psnr(restored, clean, data_range=1.0)))
    assert float(ssim(restored, clean)) == pytest.approx(float(torchmetrics_map(restored, clean).mean()), abs=1e-9)


def test_multi_scale_is_made_of_torchmetricss_terms() -> None:
    restored, clean = (image.float() for image in pair(2, 176, 192))
    channels = []
    for x, y in zip(restored[:, None], clean[:, None], strict=True):
        wanted = 1.0
        for weight in (0.0448, 0.2856, 0.3001, 0.2363):
            terms = structural_similarity_index_measure(
                x[None], y[None], data_range=1.0, return_contrast_sensitivity=True
            )
            wanted *= float(terms[1]) ** weight
            x, y = (torch.nn.functional.avg_pool2d(image, 2) for image in (x, y))
        channels.append(wanted * float(torchmetrics_map(x, y).mean()) ** 0.1333)
    assert float(multi_scale_ssim(restored, clean)) == pytest.approx(np.mean(channels), abs=1e-5)


def test_multi_scale_halves_odd_sizes_as_its_authors_do() -> None:
    """The mean of 2x2 pixels with the edge mirrored, at every second pixel from the first one on."""
    restored, clean = pair(1, 165, 171)
    x, y, wanted = restored[0].numpy(), clean[0].numpy(), 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if scale:
            x, y = (ndimage.correlate(z, np.full((2, 2), 0.25), mode="reflect", origin=-1)[::2, ::2] for z in (x, y))
        mx, my, xx, yy, xy = (ndimage.correlate(z, gaussian(2))[5:-5, 5:-5] for z in (x, y, x * x, y * y, x * y))
        terms = (2 * (xy - mx * my) + 0.03**2) / (xx - mx**2 + yy - my**2 + 0.03**2)
        if scale == 4:
            terms = terms * (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2)
        wanted *= terms.mean() ** weight
    assert float(multi_scale_ssim(restored, clean)) == pytest.approx(wanted, abs=1e-9)


def test_a_structure_that_is_turned_around_counts_as_none() -> None:
    clean = rand(1, 176, 176)
    assert float(multi_scale_ssim(1 - clean, clean)) == 0


def test_luma_is_matlabs() -> None:
    colours = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]).double().T[..., None]
    assert (255 * luma(colours)).flatten().tolist() == pytest.approx([16, 235, 81.481, 144.553, 40.966])


def test_the_published_outputs_of_rcan_score_as_published() -> None:
    """Y kept in float, 4 pixels cropped, mean over Set5."""
    figures = []
    for number, name in enumerate(("baby", "bird", "butterfly", "head", "woman"), start=1):
        clean = read_photo(reference("sr", "set5", "hr", f"{number:03d}.png")).image
        restored = read_photo(reference("reference", "rcan_set5_x4", f"{name}_RCAN_x4.png")).image
        figures.append(float(psnr(*(luma(image)[..., 4:-4, 4:-4] for image in (restored, clean)))))
    assert np.mean(figures) == pytest.approx(32.634, abs=5e-4)


@pytest.mark.parametrize("name", [name for name in METRICS if "ssim" in name])
def test_float32_frames_from_a_camera_score_as_float64_ones(name: str) -> None:
    restored, clean = (read_photo(reference("gopro", "crops", kind, "254.png")).image for kind in ("blur", "sharp"))
    figure = METRICS[name].function
    assert float(figure(restored, clean)) == pytest.approx(float(figure(restored.double(), clean.double())), abs=1e-5)


def test_equal_images_are_perfect() -> None:
    image = rand(3, 16, 16)
    assert float(psnr(image, image)) == float("inf")
    assert float(ssim(image, image)) == 1


def test_float32_input_gives_float64() -> None:
    image = rand(3, 64, 64, dtype=torch.float32)
    assert psnr(image, image + 1e-4).dtype == torch.float64
