"""Blind deblurring as a restorer: blur that is given, photos that are left alone, what is told."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

import resharp
from resharp.data.manifest import MANIFEST, load_manifest
from resharp.data.sources import open_source
from resharp.degradations import (
    Blur,
    BlurField,
    blurred,
    edge_padded,
    estimated_noise_sigma,
    read_field,
    uniform_field,
    without_margin,
    write_field,
)
from resharp.demo import demo_inputs
from resharp.errors import ArgumentError, KernelError, WeightsError
from resharp.kernel_estimation.field import FoundBlur
from resharp.metrics import psnr
from resharp.models import BLIND, contract_of
from resharp.photo import write_photo
from resharp.restorers import (
    BayesRestorer,
    BlindRestorer,
    NetworkDenoiser,
    NetworkRestorer,
    StoppedError,
    open_restorer,
    restore_photo,
)
from resharp.restorers.blind import N_ITERATIONS, WEAK_ERROR, WEAK_SHARE
from resharp.restorers.blurred import trust_in
from resharp.restorers.laying import laid_onto, moved
from resharp.restorers.undoing import open_plain, undo_pairs
from resharp.solvers import Step, half_quadratic, unclipped
from tests.conftest import rand
from tests.toy_networks import SMALL, refiner, saved

KERNEL = resharp.motion_kernel(7, 20)
HALF = 3 / 7


def denoiser() -> NetworkDenoiser:
    network = SMALL["dae"]()
    return NetworkDenoiser(network, contract_of(network, "denoise", noise_sigma=(0.0, 0.2)), name="toy")


def photo(height: int = 60, width: int = 64) -> Tensor:
    return rand(3, height, width, dtype=torch.float32)


def test_a_given_blur_is_undone_by_the_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resharp.restorers.blind.TOLERANCE", 1e-2)
    image, field = photo(), uniform_field(KERNEL, (60, 64))
    heard: list[tuple[int, int]] = []
    restorer = BlindRestorer(denoiser(), n_iterations=3, keeps_undone=True)
    restored = restorer(image, blur=field, progress=lambda *now: heard.append(now))
    margin = field.degradation().margin
    steps: list[Step] = []
    expected = half_quadratic(
        image,
        Blur(field.kernels[0, 0]),
        denoiser().at_any_level,
        edge_padded(image, margin),
        noise_sigma=max(0.025, float(estimated_noise_sigma(image))),
        weigh=unclipped,
        n_iterations=3,
        tolerance=1e-6,
        on_step=steps.append,
    )
    assert steps[-1].fitted is not None
    fitted = without_margin(steps[-1].fitted, margin).clamp(0, 1)
    assert_close(restored.maps["undone"][4:], fitted, rtol=0, atol=0.02)
    assert not torch.allclose(fitted, restored.image, rtol=0, atol=0.02), "the denoiser did something"
    assert_close(restored.image, without_margin(expected, margin).clamp(0, 1), rtol=0, atol=0.02)
    assert heard == [(1, 3), (2, 3), (3, 3)]
    assert restored.facts["kernel"] == field.kernels.shape[-1]
    assert torch.equal(restored.maps["kernels"], field.kernels)


def test_a_large_photo_is_undone_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in one piece, to what a denoiser makes of the same pixels at another place of its grid."""
    clean = demo_inputs()[0][:, 100:200]
    image = blurred(torch.cat([clean, clean.flip(-1), clean], -1), KERNEL)
    kernels = torch.stack([uniform_field(kernel, (1, 1)).kernels[0, 0] for kernel in (KERNEL, KERNEL.flip(0))])
    places = torch.tensor([0.3, 0.8], dtype=torch.float64)
    middle, size = torch.tensor([0.5], dtype=torch.float64), (image.shape[-2], image.shape[-1])
    field = BlurField(kernels[None], middle, places, torch.ones(1, 2), size)
    restorer = open_plain("cpu", "float32")
    whole = restorer(image, blur=field)
    monkeypatch.setattr("resharp.restorers.blind.PART", 0)
    heard: list[tuple[int, int]] = []
    parts = restorer(image, blur=field, progress=lambda *now: heard.append(now))
    assert len(heard) > N_ITERATIONS
    assert heard == [(n, len(heard)) for n in range(1, len(heard) + 1)]
    assert_close(parts.image, whole.image, rtol=0, atol=0.1)
    assert float((parts.image - whole.image).square().mean()) ** 0.5 < 6e-3
    assert float((parts.maps["trust"] - whole.maps["trust"]).abs().mean()) < 0.02
    assert float((parts.maps["undone"][4:] - whole.maps["undone"][4:]).square().mean()) ** 0.5 < 6e-3
    assert parts.facts == whole.facts


def solved(
    monkeypatch: pytest.MonkeyPatch, pictures: list[Tensor] | None = None
) -> list[tuple[torch.Size, float, int]]:
    """What the solver will be given: size, noise, the number of iterations;  pictures: what it began from, and made."""
    solve, seen = resharp.restorers.blind.half_quadratic, []

    def noted(photo: Tensor, operator: Tensor, denoise: object, initial: Tensor, **options: object) -> Tensor:
        seen.append((photo.shape[-2:], options["noise_sigma"], options["n_iterations"]))
        made = solve(photo, operator, denoise, initial, **options)
        if pictures is not None:
            pictures.extend((initial.clone(), made.clone()))
        return made

    monkeypatch.setattr("resharp.restorers.blind.half_quadratic", noted)
    return seen


def test_larger_photos_are_begun_at_half_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    image = demo_inputs()[0][:, 40:160, 100:230]
    pictures: list[Tensor] = []
    field, seen = uniform_field(KERNEL, (120, 130)), solved(monkeypatch, pictures)
    restorer = open_restorer("blind-refined", precision="float32")
    restorer(image, blur=field)
    assert seen == [((120, 130), 0.025, 3)]
    seen.clear()
    pictures.clear()
    heard: list[tuple[int, int]] = []
    monkeypatch.setattr("resharp.restorers.blind._BEGUN_SMALL_FROM", 120 * 130)
    restorer(image, blur=field, progress=lambda *now: heard.append(now))
    half = (round(120 * HALF), round(130 * HALF))
    assert seen == [(half, pytest.approx(0.025 * 0.82 * HALF), 3), ((120, 130), 0.025, 1)]
    assert heard == [(1, 3), (2, 3), (3, 3)]
    smooth = without_margin(pictures[1].clamp(0, 1), (1, 1))
    assert smooth.shape[-2:] == half
    begun = functional.interpolate(smooth[None], (120, 130), mode="bicubic", align_corners=False)[0]
    assert_close(pictures[2], edge_padded(begun.clamp(0, 1), field.degradation().margin))
    seen.clear()
    BlindRestorer(denoiser(), n_iterations=2)(image, blur=field)
    assert seen == [((120, 130), 0.025, 2)], "what is asked for is made of the whole photo"


def test_what_was_undone_is_refined(tmp_path: Path) -> None:
    network, image, field = refiner(), demo_inputs()[0][:, 100:160, 130:194], uniform_field(KERNEL, (60, 64))
    path = saved(network, tmp_path / "refiner.safetensors", "deblur")
    refining = open_restorer(path, precision="float32", gamma=1.0)
    plain = open_plain("cpu", "float32")(image, blur=field)
    refined = refining(image, blur=field)
    planes = plain.maps["undone"][None]
    assert_close(refined.image, network(image[None], undone=planes)[0].clamp(0, 1))
    assert not torch.equal(refined.maps["trust"], plain.maps["trust"])
    with pytest.raises(WeightsError, match="refines what blind deblurring made"):
        NetworkRestorer(network, contract_of(network, "deblur"))
    with pytest.raises(ArgumentError, match="no setting samples"):
        open_restorer(path, samples=2)


def test_pairs_are_kept_with_what_was_undone_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smooth = demo_inputs()[0][:, 100:160, 130:194]
    for half, image in (("blur", smooth), ("sharp", moved(smooth, -1.25, 2.5))):
        (tmp_path / "pairs" / half).mkdir(parents=True)
        for name in ("a", "b"):
            write_photo(resharp.Photo(image, grey=False), tmp_path / "pairs" / half / f"{name}.png")
    field = uniform_field(KERNEL, (60, 64))
    found = [FoundBlur(None, "the photo is sharp"), FoundBlur(field)]
    monkeypatch.setattr("resharp.restorers.blind.find_blur", lambda *_, **__: found.pop(0))
    source, out = open_source(tmp_path / "pairs"), tmp_path / "undone"
    restorer = BlindRestorer(denoiser(), n_iterations=1, keeps_undone=True)
    for _ in range(2):  # the second time nothing is done again
        assert undo_pairs(source, out, lambda: restorer) == 1
    kept = np.load(out / "undone" / "000001.npy")
    assert kept.shape == (7, 36, 40)
    np.save(out / "undone" / "000001.npy", kept[:4])  # as versions before wrote them
    found.append(FoundBlur(dataclasses.replace(field, doubt=0.3)))
    assert undo_pairs(source, out, lambda: restorer) == 1
    assert np.array_equal(np.load(out / "undone" / "000001.npy"), kept)
    weakly = np.load(out / "undone" / "000001-weakly.npy").astype(float)
    assert np.square(np.diff(weakly[:3])).mean() < 0.8 * np.square(np.diff(kept[:3].astype(float))).mean()
    for half in ("blur", "sharp"):
        whole, again = (out / half / f"000001{end}.png" for end in ("", "-weakly"))
        assert whole.read_bytes() == again.read_bytes()
    assert undo_pairs(source, out, lambda: restorer) == 1
    entries = load_manifest(out / MANIFEST).items
    assert [(entry.degraded, entry.group) for entry in entries] == [
        ("blur/000001.png", "sharp/b.png"),
        ("blur/000001-weakly.png", "sharp/b.png"),
    ]
    assert (out / "untouched" / "000000").read_text() == "the photo is sharp\n"


def test_a_sharp_photo_is_laid_where_its_restoration_lies() -> None:
    """Against OpenCV's warp of the same photo; what lies too far away is told."""
    photo = resharp.blur(demo_inputs()[0][:, 60:180, 60:180], resharp.parse_kernel("gaussian:1"))
    there = np.array([[1, 0, 2.5], [0, 1, -1.25]], dtype=np.float32)
    warped = cv2.warpAffine(photo.permute(1, 2, 0).numpy(), there, (120, 120), flags=cv2.INTER_CUBIC)
    restored = torch.from_numpy(warped).permute(2, 0, 1)
    laid = laid_onto(restored, photo)
    assert laid is not None
    inner = (slice(None), slice(12, -12), slice(12, -12))
    assert float(psnr(laid[inner], restored[inner])) > 45
    assert laid_onto(moved(photo, 0, 9), photo) is None


def test_a_photo_without_blur_comes_back_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resharp.restorers.blind.find_blur", lambda *_, **__: FoundBlur(None, "the photo is sharp"))
    image = photo()
    restored = BlindRestorer(denoiser())(image)
    assert torch.equal(restored.image, image)
    assert restored.facts == {"untouched": "the photo is sharp"}
    assert torch.equal(BlindRestorer(denoiser())(image, blur=FoundBlur(None, "known")).image, image)
    kept, _ = restore_photo(resharp.Photo(image, grey=False), BlindRestorer(denoiser()))
    assert torch.equal(kept.image, image)


def test_kernels_in_doubt_are_undone_weakly_as_well_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against both restorations, each made alone."""
    image, field = demo_inputs()[0][:, 100:160, 130:194], uniform_field(KERNEL, (60, 64))
    restorer = open_restorer("blind-refined", precision="float32")
    alone = [restorer(image, blur=field).image]
    monkeypatch.setattr("resharp.restorers.blind.KERNEL_ERROR", WEAK_ERROR)
    alone.append(restorer(image, blur=field).image)
    monkeypatch.undo()
    for doubt in (0.24, 0.25, 0.7):
        heard: list[tuple[int, int]] = []
        doubted = dataclasses.replace(field, doubt=doubt)
        restored = restorer(image, blur=doubted, progress=lambda *now, heard=heard: heard.append(now))
        assert ("little speaks for the blur" in str(restored.facts.get("doubtful"))) == (doubt > 0.6)
        is_mixed = doubt >= 0.25
        n_steps = N_ITERATIONS * (2 if is_mixed else 1)
        assert heard == [(n, n_steps) for n in range(1, n_steps + 1)]
        assert_close(restored.image, torch.lerp(*alone, WEAK_SHARE if is_mixed else 0.0))
    assert edge_energy(alone[1]) < 0.8 * edge_energy(alone[0])


def test_of_larger_photos_what_is_undone_weakly_is_so_at_half_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    image = demo_inputs()[0][:, 40:160, 100:230]
    field = dataclasses.replace(uniform_field(KERNEL, (120, 130)), doubt=0.5)
    restorer = open_restorer("blind-refined", precision="float32")
    at_full_size, seen = restorer(image, blur=field), solved(monkeypatch)
    monkeypatch.setattr("resharp.restorers.blind._WEAK_AT_HALF_FROM", 120 * 130)
    at_half = restorer(image, blur=field)
    half = (round(120 * HALF), round(130 * HALF))
    assert seen == [((120, 130), 0.025, 3), (half, pytest.approx(WEAK_ERROR * 0.82 * HALF), 3)]
    assert 0 < float((at_half.image - at_full_size.image).square().mean()) ** 0.5 < 0.02
    assert at_half.maps["trust"].shape == (1, 120, 130)


def edge_energy(image: Tensor) -> float:
    return float(image.diff().square().mean() + image.diff(dim=-2).square().mean())


@pytest.mark.parametrize("image", [torch.zeros(3, 1, 1), torch.full((3, 70, 90), 0.5), torch.ones(3, 5, 400)])
def test_flat_and_tiny_photos_are_left_alone(image: Tensor) -> None:
    restored = BlindRestorer(denoiser())(image)
    assert torch.equal(restored.image, image)
    assert restored.facts["untouched"]


def test_the_blur_of_another_photo_is_refused(tmp_path) -> None:
    write_field(uniform_field(KERNEL, (60, 64)), tmp_path / "field.npz")
    with pytest.raises(KernelError, match="found in a photo of 64x60, not 70x60"):
        BlindRestorer(denoiser())(photo(60, 70), blur=read_field(tmp_path / "field.npz"))


def test_trust_falls_as_the_misfit_grows_beyond_noise() -> None:
    image = torch.full((3, 40, 40), 0.5)
    again = image.clone()
    again[:, 10:, :] += 0.02  # twice the least noise that counts
    again[:, :, 30:] = image[:, :, 30:] + 0.005
    trust = trust_in(image, again, 0.0)
    assert trust.shape == (1, 40, 40)
    assert_close(trust[0, 20:, :20], torch.full((20, 20), 0.25))
    assert_close(trust[0, :2, :20], torch.ones(2, 20))
    assert_close(trust[0, :, 38:], torch.ones(40, 2))


def test_a_kernel_is_estimated_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}
    found = uniform_field(KERNEL, (60, 64)).kernels[0, 0]
    monkeypatch.setattr("resharp.restorers.bayes.estimate_kernel", lambda _, **how: asked.update(how) or found)
    restorer, image = BayesRestorer(denoiser(), n_iterations=2, gamma=1.5), photo()
    restored = restorer(image, kernel="estimate:9")
    assert asked == {"gamma": 1.5, "largest": 9}
    assert torch.equal(restored.image, restorer(image, kernel=found).image)
    assert torch.equal(restored.maps["kernel"], found)
    calm = torch.full((3, 60, 64), 0.5)
    assert restorer(calm, kernel="estimate:9").facts["noise_sigma"] == pytest.approx(0.025)  # it is never exact
    assert restorer(calm, kernel="estimate:9", noise_sigma=0.01).facts["noise_sigma"] == pytest.approx(0.01)
    assert float(restorer(calm, kernel=found).facts["noise_sigma"]) < 0.01
    with pytest.raises(ArgumentError, match="one photo at a time"):
        restorer(image.expand(2, -1, -1, -1), kernel="estimate")


def test_mistakes_are_named() -> None:
    with pytest.raises(ArgumentError, match="0 iterations"):
        BlindRestorer(denoiser(), n_iterations=0)
    with pytest.raises(ArgumentError, match="cannot be told kernel"):
        BlindRestorer(denoiser())(photo(), kernel=KERNEL)
    with pytest.raises(ArgumentError, match="blind has no setting tile"):
        resharp.open_restorer(BLIND, tile=100)
    with pytest.raises(StoppedError):
        BlindRestorer(denoiser(), n_iterations=3)(
            photo(), blur=uniform_field(KERNEL, (60, 64)), progress=lambda *_: False
        )


def test_the_shipped_one_sharpens_a_given_blur_in_light() -> None:
    """With the shipped denoiser, on a piece of the shipped photo."""
    sharp = demo_inputs()[0][:, 100:196, 100:196]
    soft = blurred(sharp, KERNEL, gamma=2.2)
    field = uniform_field(KERNEL, (96, 96), gamma=2.2)
    restored = resharp.open_restorer(BLIND, precision="float32")(soft, blur=field).image
    assert float(psnr(restored, sharp)) > float(psnr(soft, sharp)) + 1.3
