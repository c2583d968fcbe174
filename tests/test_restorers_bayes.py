"""Bayesian restoration of a known blur: what it gains, noise levels, forms of images, parts, mistakes."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

import resharp
from resharp.degradations import Mask, Mosaic, Resize, VaryingBlur
from resharp.demo import demo_inputs
from resharp.errors import ArgumentError, KernelError, WeightsError
from resharp.models import DEFAULT_DENOISER, contract_of
from resharp.networks import UNet
from resharp.restorers import BayesRestorer, NetworkDenoiser, Problem, StoppedError, open_denoiser
from tests.conftest import rand
from tests.toy_networks import SMALL, saved, shaken

KERNEL = resharp.disk_kernel(2)


@functools.cache
def blurred_patch() -> tuple[Tensor, Tensor]:
    sharp = demo_inputs()[0][:, 120:168, 80:128]
    return sharp, resharp.blur(sharp, KERNEL, 0.005).clamp(0, 1)


def toy_denoiser(levels: tuple[float, float] = (11 / 255, 11 / 255)) -> NetworkDenoiser:
    network = SMALL["dae"]()
    for parameter in network.parameters():
        parameter.mul_(0.5)
    contract = contract_of(network, "denoise", noise_sigma=levels)
    return NetworkDenoiser(network, contract, precision="float32", name="toy")


def test_it_sharpens_with_and_without_the_noise_level() -> None:
    sharp, blurred = blurred_patch()
    before = float(resharp.psnr(blurred, sharp))
    for noise_sigma in (0.005, None):
        restored = resharp.deconvolve(blurred, KERNEL, noise_sigma, n_iterations=20)
        assert float(resharp.psnr(restored, sharp)) > before + 1.5
        assert 0 <= float(restored.min()) <= float(restored.max()) <= 1


def test_the_noise_estimate_is_near_the_truth_above_its_floor() -> None:
    sigma, kernel = 0.03, resharp.gaussian_kernel(3.0)
    floor = (2 * float(kernel.square().sum())) ** 0.5 * 11 / 255
    noisy = resharp.blur(blurred_patch()[0], kernel, sigma, seed=3)
    restored = BayesRestorer(open_denoiser(), n_iterations=15)(noisy, kernel=kernel)
    assert restored.facts["noise_sigma"] == pytest.approx((sigma**2 + floor**2) ** 0.5, rel=0.1)
    assert restored.facts["iterations"] == 15
    assert 0 < float(restored.facts["data_weight"]) < 1


class Reads(TorchDispatchMode):
    """Counts the values that Python asks tensors for, and with which an accelerator would be waited for."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        self.count += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("solver", "degradation", "each"),
    [("dmsp", None, 0), ("half-quadratic", None, 1), ("half-quadratic", VaryingBlur(), 1)],
)
def test_iterations_wait_for_no_device(
    solver: str, degradation: VaryingBlur | None, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Conjugate gradients look each fifth time there, and are left out here; a step of half-quadratic splitting asks
    its ratio, a plain number, whether it is one."""
    monkeypatch.setattr("resharp.degradations.base.conjugate_gradients", lambda system, target, **_: system(target))
    counts, photo = list[int](), blurred_patch()[1]
    known = {"kernel": KERNEL} if degradation is None else {}
    for n_iterations in (1, 2, 5):  # the first keeps where kernels lie
        options: dict[str, Any] = {"degradation": degradation, "solver": solver, "n_iterations": n_iterations}
        restorer = BayesRestorer(toy_denoiser(), noise_sigma=0.01, **options)
        with Reads() as reads:
            facts = restorer(photo, progress=lambda *_: None, **known).facts
        counts.append(reads.count)
        assert facts["iterations"] == n_iterations
        assert isinstance(facts["data_weight"], float)
    assert counts[2] - counts[1] == 3 * each


def test_all_forms_of_an_image_give_the_same_result() -> None:
    tensor = (blurred_patch()[1][:, :40, :44] * 255).round() / 255
    array = (tensor * 255).round().byte().permute(1, 2, 0).numpy()
    options: dict[str, Any] = {"noise_sigma": 0.01, "n_iterations": 3, "model": toy_denoiser()}
    expected = resharp.deconvolve(tensor, KERNEL, **options)
    assert_close(resharp.deconvolve(tensor[None], KERNEL, **options)[0], expected)
    assert_close(resharp.deconvolve(tensor.double(), KERNEL.numpy(), **options), expected.double())
    eight = resharp.deconvolve(array, KERNEL, **options)
    assert eight.dtype == np.uint8
    assert np.abs(eight.astype(float) / 255 - expected.permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6
    sixteen = resharp.deconvolve(array.astype(np.uint16) * 257, KERNEL, **options)
    assert sixteen.dtype == np.uint16
    assert np.abs(sixteen / 65535 - expected.permute(1, 2, 0).numpy()).max() < 2e-5


def test_odd_but_legal_arrays() -> None:
    image = (blurred_patch()[1][:, :24, :26] * 65535).round().permute(1, 2, 0).numpy().astype(np.uint16)
    kernel = np.array([[1, 2, 0], [0, 3, 0], [0, 0, 4]])
    options: dict[str, Any] = {"n_iterations": 2, "model": toy_denoiser()}
    expected = resharp.deconvolve(image, kernel, **options)
    swapped = resharp.deconvolve(image.astype(">u2"), kernel.astype(np.uint8), **options)
    assert swapped.dtype == np.dtype(">u2")
    assert (swapped == expected).all()
    mirrored = resharp.deconvolve(image[:, ::-1], kernel[:, ::-1], **options)
    assert mirrored.shape == expected.shape
    fixed = kernel.copy()
    fixed.flags.writeable = False
    assert (resharp.deconvolve(np.asfortranarray(image), fixed, **options) == expected).all()


def test_an_opened_denoiser_is_what_its_name_is() -> None:
    image = blurred_patch()[1][:, :24, :26]
    opened = resharp.deconvolve(image, KERNEL, n_iterations=2, model=resharp.open_denoiser("denoiser-unrolled"))
    assert torch.equal(opened, resharp.deconvolve(image, KERNEL, n_iterations=2))


def test_a_denoiser_of_any_network_serves_within_its_levels(tmp_path: Path) -> None:
    """It is asked at 11/255 where it can, at the nearest of its levels where it cannot."""
    asked: list[float] = []

    class Heard(UNet):
        def forward(self, image: Tensor, sigma: Tensor | None = None) -> Tensor:
            assert sigma is not None
            asked.append(round(float(sigma), 4))
            return super().forward(image, sigma)

    for levels in ((0.0, 0.2), (0.06, 0.2), (0.01, 0.02)):
        network = shaken(Heard(widths=[4], blocks=[0], gather=2, noise_map=True))
        denoiser = NetworkDenoiser(network, contract_of(network, "denoise", noise_sigma=levels), name="heard")
        asked.clear()
        resharp.deconvolve(blurred_patch()[1][:, :24, :26], KERNEL, 0.01, solver="dmsp", n_iterations=2, model=denoiser)
        assert set(asked) == {round(min(max(11 / 255, levels[0]), levels[1]), 4)}
    plain = saved(SMALL["unet"](), tmp_path / "unet.safetensors", "denoise", noise_sigma=(0.02, 0.1))
    assert resharp.deconvolve(rand(3, 24, 26), KERNEL, n_iterations=2, model=plain).shape == (3, 24, 26)


def test_one_pixel_with_a_one_pixel_kernel() -> None:
    restored = resharp.deconvolve(torch.full((3, 1, 1), 0.5), torch.ones(1, 1), 0.01, n_iterations=2)
    assert restored.shape == (3, 1, 1)


# --- solvers and degradations -----------------------------------------------------------------------------------------


def test_a_denoiser_that_was_learned_within_a_solver_serves_no_other() -> None:
    with pytest.raises(ArgumentError, match=r"take another for the published iteration, such as dae-sigma11"):
        resharp.deconvolve(blurred_patch()[1], KERNEL, 0.01, solver="dmsp", model="denoiser-unrolled")


def test_a_solver_of_ones_own_is_given_the_problem() -> None:
    seen: list[Problem] = []

    def solver(problem: Problem, denoiser: NetworkDenoiser, n_iterations: int) -> Tensor:
        seen.append(problem)
        for iteration in range(1, n_iterations + 1):
            if problem.report(iteration, {"found": iteration}) is False:
                break
        return 2 * problem.initial

    image, told = rand(3, 20, 24, dtype=torch.float32), list[tuple[int, int]]()
    restorer = BayesRestorer(toy_denoiser(), solver=solver, n_iterations=3)
    restored = restorer(image, seed=4, kernel=KERNEL, noise_sigma=0.02, progress=lambda *now: told.append(now))
    assert (seen[0].noise_sigma, seen[0].seed, seen[0].initial.shape) == (0.02, 4, (1, 3, 24, 28))
    assert torch.equal(seen[0].measurement[0], image)
    assert torch.equal(restored.image, (2 * image).clamp(0, 1))
    assert restored.facts == {"found": 3}
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_stopped_photo_is_given_as_it_is_then() -> None:
    image = rand(3, 20, 24, dtype=torch.float32)
    stopped = BayesRestorer(toy_denoiser(), n_iterations=9)(image, kernel=KERNEL, progress=lambda done, _: done < 2)
    assert stopped.facts["iterations"] == 2
    assert torch.equal(stopped.image, BayesRestorer(toy_denoiser(), n_iterations=2)(image, kernel=KERNEL).image)


def test_a_degradation_that_is_known_beforehand() -> None:
    image = rand(3, 20, 24, dtype=torch.float32)
    restorer = BayesRestorer(toy_denoiser(), degradation=resharp.Resize(0.5), n_iterations=2, noise_sigma=0.01)
    assert restorer.accepts == ("noise_sigma",)
    assert restorer(image).image.shape == (3, 40, 48)
    with pytest.raises(ArgumentError, match="cannot be told kernel"):
        restorer(image, kernel=KERNEL)
    tiled = BayesRestorer(toy_denoiser(), degradation=resharp.Resize(0.5), tile=400)
    with pytest.raises(ArgumentError, match="only blur is undone in parts"):
        tiled(image)
    given = BayesRestorer(toy_denoiser(), degradation=resharp.Blur(KERNEL), n_iterations=2)
    told = BayesRestorer(toy_denoiser(), n_iterations=2)
    assert torch.equal(given(image).image, told(image, kernel=KERNEL).image)


# --- parts ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def short_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small photos are enough."""
    monkeypatch.setattr("resharp.restorers.bayes.reach_of", lambda size, _: 2 * (max(size) // 2) + 4)


def smooth_step(problem: Problem, denoiser: NetworkDenoiser, n_iterations: int) -> Tensor:
    """A solver without chance whose values look no farther than a blur and its adjoint."""
    image = problem.initial
    for iteration in range(n_iterations):
        image = image - 0.5 * problem.degradation.adjoint(problem.degradation(image) - problem.measurement)
        problem.report(iteration + 1, {})
    return image


@pytest.mark.usefixtures("short_sight")
def test_parts_are_the_whole_as_far_as_evidence_travels() -> None:
    """Two steps of kernels with a margin of 2 reach 8 pixels: within the halo, so that the parts are exact."""
    image, told = rand(3, 131, 140, dtype=torch.float32), list[tuple[int, int]]()
    whole, cut = (BayesRestorer(toy_denoiser(), solver=smooth_step, n_iterations=2, tile=tile) for tile in (None, 98))
    expected = whole(image, kernel=KERNEL, noise_sigma=0.01).image
    restored = cut(image, kernel=KERNEL, noise_sigma=0.01, progress=lambda *now: told.append(now))
    assert_close(restored.image, expected, rtol=0, atol=2e-6)
    assert told == [(n, 8) for n in range(1, 9)]


@pytest.mark.usefixtures("short_sight")
def test_a_photo_that_is_larger_than_the_memory_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resharp.restorers.bayes.free_memory", lambda _: 1 << 20)
    image, told = rand(3, 131, 40, dtype=torch.float32), list[int]()
    BayesRestorer(toy_denoiser(), solver=smooth_step, n_iterations=1)(
        image, kernel=KERNEL, progress=lambda _, total: told.append(total)
    )
    assert told == [2, 2]


@pytest.mark.usefixtures("short_sight")
def test_stopping_between_parts_leaves_no_picture() -> None:
    restorer = BayesRestorer(toy_denoiser(), solver=smooth_step, n_iterations=2, tile=98)
    for last in (1, 3):
        with pytest.raises(StoppedError):
            restorer(rand(3, 131, 40), kernel=KERNEL, progress=lambda done, _, last=last: done < last)
    assert restorer(rand(3, 131, 40), kernel=KERNEL, progress=lambda done, _: done < 4).image.shape == (3, 131, 40)


def test_tiles_that_hold_nothing_are_named() -> None:
    with pytest.raises(ArgumentError, match="tiles of 50 pixels; with this kernel"):
        resharp.deconvolve(rand(3, 60, 60), KERNEL, tile=50, model=toy_denoiser())


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"noise_sigma": -0.1}, "0 or above"),
        ({"noise_sigma": 0.0}, "leave it out"),
        ({"noise_sigma": 2.55}, r"2\.55 levels = 0\.01"),
        ({"noise_sigma": float("nan")}, "0 or above"),
        ({"n_iterations": 0}, "at least 1"),
        ({"precision": "half"}, "choose auto"),
        ({"solver": "wiener"}, "solver 'wiener' is unknown; choose half-quadratic, dmsp"),
        ({"seed": -1}, "seed"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        resharp.deconvolve(rand(3, 24, 24, dtype=torch.float32), KERNEL, **arguments)


def test_a_kernel_that_is_missing_or_too_large_is_named() -> None:
    with pytest.raises(KernelError, match="larger than the photo"):
        resharp.deconvolve(rand(3, 24, 4), KERNEL)
    with pytest.raises(KernelError, match="the kernel must be known"):
        BayesRestorer(toy_denoiser())(rand(3, 24, 24))


@pytest.mark.parametrize("kind", ["deblur", "grey"])
def test_weights_that_are_no_rgb_denoiser_are_no_prior(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "w.safetensors"
    if kind == "deblur":
        saved(SMALL["dae"](), path, "deblur")
    else:
        saved(resharp.DAE(channels=1, width=4, depth=3), path, "denoise", noise_sigma=(0.04, 0.04))
    words = {"deblur": "is for the task 'deblur', not for 'denoise'; it serves resharp deblur", "grey": "of 1 channels"}
    with pytest.raises(WeightsError, match=words[kind]):
        open_denoiser(path)


def test_weights_that_overflow_write_no_black_photo(tmp_path: Path) -> None:
    network = SMALL["dae"]()
    for parameter in network.parameters():
        parameter.mul_(1e30)
    path = saved(network, tmp_path / "w.safetensors", "denoise", noise_sigma=(0.04, 0.05))
    with pytest.raises(WeightsError, match="not finite"):
        resharp.deconvolve(rand(3, 16, 16), "disk:1", model=path, n_iterations=2)


def test_precisions_agree() -> None:
    image = rand(3, 16, 16, dtype=torch.float32)
    exact, fast = (open_denoiser(precision=precision)(image, 11 / 255) for precision in ("float32", "bfloat16"))
    assert float((exact - fast).abs().max()) < 0.02


def damaged(sharp: Tensor) -> tuple[Tensor, Tensor]:
    """(a photo with white lines and a blot, where they are)."""
    lost = torch.zeros(sharp.shape[-2:])
    lost[:, ::12] = lost[30:33] = lost[10:18, 20:30] = 1
    return torch.where(lost > 0, torch.ones(()), sharp), lost


def test_what_was_sampled_comes_back_better_than_by_filters_and_keeps_what_was_seen() -> None:
    sharp = blurred_patch()[0]
    broken, lost = damaged(sharp)
    raw, small = Mosaic("GRBG")(sharp), Resize(0.5)(sharp).clamp(0, 1)
    upscaler = BayesRestorer(open_denoiser(DEFAULT_DENOISER), degradation=Resize(0.5))
    assert (upscaler.contract.task, upscaler.contract.scale) == ("upscale", 2)
    for restored, operator, seen, gain in (
        (resharp.demosaic(raw, "GRBG"), Mosaic("GRBG"), raw, 2.0),
        (resharp.inpaint(broken, lost), Mask(lost), broken * (1 - lost), 0.5),
        (resharp.upscale(small, model=upscaler), Resize(0.5), small, 0.3),
    ):
        usual = float(resharp.psnr(operator.first_guess(seen), sharp))
        assert float(resharp.psnr(restored, sharp)) > usual + gain
        assert_close(operator(restored), seen, atol=2e-2 if isinstance(operator, Resize) else 1e-5, rtol=0)


def test_a_mosaic_or_a_mask_may_be_an_array() -> None:
    sharp = blurred_patch()[0]
    broken, lost = damaged(sharp)
    raw = (Mosaic()(sharp)[0] * 255).round().byte().numpy()
    assert resharp.demosaic(raw, n_iterations=1).shape == (48, 48, 3)
    photo = (broken * 255).round().byte().permute(1, 2, 0).numpy()
    filled = resharp.inpaint(photo, lost.numpy() > 0, n_iterations=1)
    assert np.array_equal(filled[lost == 0], photo[lost == 0])


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        (torch.zeros(3, 48, 48), "a mask is"),
        (torch.ones(48, 48), "covers the whole photo"),
        (torch.zeros(40, 48), "the mask is 48x40, the photo 48x48"),
    ],
)
def test_masks_that_do_not_fit_are_refused(lost: Tensor, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        resharp.inpaint(blurred_patch()[0], lost)


def test_samples_give_their_mean_and_a_spread_that_leans_to_errors() -> None:
    sharp, blurred = blurred_patch()
    restorer = BayesRestorer(open_denoiser(DEFAULT_DENOISER), samples=4, n_iterations=6)
    seen: list[tuple[int, int]] = []
    made = restorer(blurred, kernel=KERNEL, noise_sigma=0.005, progress=lambda *told: seen.append(told))
    assert seen == [(step, 24) for step in range(1, 25)]
    assert float(resharp.psnr(made.image, sharp)) > float(resharp.psnr(blurred, sharp)) + 1.5
    spread, error = made.maps["spread"], (made.image - sharp).abs()
    assert spread.shape == sharp.shape
    assert float(torch.corrcoef(torch.stack([spread.flatten(), error.flatten()]))[0, 1]) > 0.1
    assert torch.equal(made.image, restorer(blurred, kernel=KERNEL, noise_sigma=0.005).image)
    assert not torch.equal(made.image, restorer(blurred, kernel=KERNEL, noise_sigma=0.005, seed=9).image)
    with pytest.raises(ArgumentError, match="at least 2"):
        BayesRestorer(open_denoiser(), samples=1)
