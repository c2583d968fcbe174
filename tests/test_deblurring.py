"""Blind deblurring with small new networks: forms of images, parts against the whole, precision, memory, mistakes."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import resharp
from resharp.device import free_memory, has_fast_bfloat16
from resharp.errors import ArgumentError, ResourceError, WeightsError
from resharp.models import Card, save_model
from resharp.networks import NETWORKS, DeblurGAN, NAFNet, UNet
from resharp.networks.blocks import instance_normalised, photo_mean
from resharp.restorers import Deblurrer, deblur, load_deblurrer
from tests.conftest import rand

CPU = torch.device("cpu")


def shaken(network: nn.Module) -> nn.Module:
    """A new network without the zeros of its start."""
    draws = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=draws))
    return network.eval().requires_grad_(False)


SMALL: dict[str, Callable[[], nn.Module]] = {
    "deblurgan": lambda: shaken(DeblurGAN(width=4, n_blocks=1, generator=torch.Generator().manual_seed(1))),
    "nafnet": lambda: shaken(
        NAFNet(width=4, encoder_blocks=[1, 2], decoder_blocks=[1, 1], generator=torch.Generator().manual_seed(1))
    ),
    "unet": lambda: shaken(UNet(widths=[4, 8], blocks=[1, 1], generator=torch.Generator().manual_seed(1))),
}


def test_every_network_that_deblurs_is_tried_here() -> None:
    assert SMALL.keys() | {"dae"} == NETWORKS.keys()


def small(kind: str, dtype: torch.dtype = torch.float32) -> Deblurrer:
    return Deblurrer(SMALL[kind](), device=CPU, dtype=dtype)


def saved(network: nn.Module, path: Path, **card: Any) -> Path:
    kind = next(name for name, known in NETWORKS.items() if type(network) is known)
    save_model(network, path, Card(network=kind, arguments=network.arguments, **card))
    return path


# --- what comes out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SMALL)
def test_it_does_what_its_network_does(kind: str, tmp_path: Path) -> None:
    image, weights = rand(3, 45, 50, dtype=torch.float32), saved(SMALL[kind](), tmp_path / "w.safetensors")
    expected = SMALL[kind]()(image[None])[0].clamp(0, 1)
    for restored in (
        deblur(image, weights=weights, precision="float32"),
        load_deblurrer(weights, precision="float32")(image),
    ):
        torch.testing.assert_close(restored, expected, rtol=0, atol=2e-5)
    assert float((expected - image).abs().mean()) > 0.01


@pytest.mark.parametrize("kind", SMALL)
def test_bfloat16_costs_little(kind: str) -> None:
    sharp = rand(3, 64, 64, dtype=torch.float32)
    images = [small(kind, dtype)(sharp) for dtype in (torch.float32, torch.bfloat16)]
    assert images[1].dtype == torch.float32
    decibels = [float(resharp.psnr(image, sharp)) for image in images]
    assert decibels[1] == pytest.approx(decibels[0], abs=0.05)
    assert len(images[1].unique()) > 3000  # the sum is not rounded to bfloat16


def test_all_forms_of_an_image_give_the_same_result() -> None:
    tensor = (rand(3, 40, 44, dtype=torch.float32) * 255).round() / 255
    array = (tensor * 255).round().byte().permute(1, 2, 0).numpy()
    deblurrer = small("unet")
    expected = deblur(tensor, weights=deblurrer)
    assert torch.equal(deblur(torch.stack([tensor, tensor.flip(-1)]), weights=deblurrer)[0], expected)
    torch.testing.assert_close(deblur(tensor.double(), weights=deblurrer), expected.double())
    eight, sixteen = (deblur(a, weights=deblurrer) for a in (array, array.astype(np.uint16) * 257))
    assert (eight.dtype, sixteen.dtype) == (np.uint8, np.uint16)
    assert np.abs(eight / 255 - expected.permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6
    assert np.abs(sixteen / 65535 - expected.permute(1, 2, 0).numpy()).max() < 2e-5


@pytest.mark.parametrize("kind", SMALL)
def test_grey_stays_grey(kind: str) -> None:
    grey = rand(1, 20, 24, dtype=torch.float32)
    restored = deblur(grey, weights=small(kind))
    colour = deblur(grey.expand(3, -1, -1), weights=small(kind))
    torch.testing.assert_close(restored, colour.mean(0, keepdim=True))
    assert deblur(grey[0].numpy(), weights=small(kind)).shape == (20, 24)


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 900), (900, 3), (7, 5)])
@pytest.mark.parametrize("value", [None, 0.0, 1.0])
def test_small_narrow_and_flat_photos(kind: str, size: tuple[int, int], value: float | None) -> None:
    image = rand(3, *size, dtype=torch.float32) if value is None else torch.full((3, *size), value)
    for dtype in (torch.float32, torch.bfloat16):
        restored = small(kind, dtype)(image)
        assert restored.shape == image.shape
        assert 0 <= float(restored.min()) <= float(restored.max()) <= 1


def test_nothing_else_is_touched() -> None:
    deblurrer, image = small("deblurgan"), rand(3, 20, 24, dtype=torch.float32).requires_grad_()
    before, state = image.detach().clone(), torch.get_rng_state()
    assert not deblur(image, weights=deblurrer).requires_grad
    assert torch.equal(image, before)
    assert torch.equal(torch.get_rng_state(), state)


# --- samples ----------------------------------------------------------------------------------------------------------


def test_samples_have_the_mean_of_the_networks_own() -> None:
    network, image = SMALL["deblurgan"](), rand(3, 40, 44, dtype=torch.float32)
    draws = [torch.Generator().manual_seed(seed) for seed in (5, 6, 7)]
    own = torch.cat([network.sample(image[None], generator=one) for one in draws])
    deblurrer, counted = small("deblurgan"), list[tuple[int, int]]()
    mean = deblur(image, weights=deblurrer, samples=3, seed=5, on_tile=lambda *now: counted.append(now))
    torch.testing.assert_close(mean, own.mean(0), rtol=0, atol=2e-5)
    assert counted == [(1, 3), (2, 3), (3, 3)]
    assert float((mean - deblurrer(image)).abs().max()) > 0.001
    assert torch.equal(deblurrer(image, samples=3, seed=5), mean)
    assert not torch.equal(deblurrer(image, samples=3, seed=6), mean)


def test_parts_of_a_sample_differ_from_it_by_chance_alone() -> None:
    image = rand(3, 200, 200, dtype=torch.float32)
    deblurrer = small("deblurgan")
    whole, cut = (deblurrer(image, tile=tile, samples=8) for tile in (None, deblurrer.smallest_tile))
    other = deblurrer(image, samples=8, seed=8)
    by_chance, between = (float((x - whole).square().mean().sqrt()) for x in (other, cut))
    assert 0.5 * by_chance < between < 1.5 * by_chance


@pytest.mark.parametrize(
    ("kind", "samples", "seed", "says"),
    [
        ("deblurgan", 0, 0, "0 samples"),
        ("deblurgan", 1, -1, "seed"),
        ("deblurgan", 2, 2**32 - 1, "seed"),
        ("unet", 2, 0, "no dropout"),
    ],
)
def test_samples_that_cannot_be_drawn(kind: str, samples: int, seed: int, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        small(kind)(rand(3, 8, 8, dtype=torch.float32), samples=samples, seed=seed)


# --- parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SMALL)
def test_parts_are_the_whole_where_its_statistics_are_known(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thus the stated reach is no smaller than the true one, and the parts stand on the network's grid."""
    monkeypatch.setattr("resharp.restorers.deblurring.even_sample", lambda image, **_: image)
    deblurrer, parts = small(kind), list[tuple[int, int]]()
    image = rand(3, 300, 331, dtype=torch.float32)
    side = deblurrer.smallest_tile
    cut = deblurrer(image, tile=side, on_tile=lambda *now: parts.append(now))
    assert parts == [(n + 1, len(parts)) for n in range(len(parts))]
    assert len(parts) >= 4
    torch.testing.assert_close(cut, deblurrer(image), rtol=0, atol=1e-4 if kind == "deblurgan" else 2e-5)


@pytest.mark.parametrize("kind", ["deblurgan", "nafnet"])
def test_a_sample_of_the_photo_stands_for_the_whole(kind: str) -> None:
    """A photo whose halves differ: parts that took their own statistics would differ by several times as much."""
    bound = {"deblurgan": 0.02, "nafnet": 1e-4}[kind]
    image = rand(3, 300, 400, dtype=torch.float32)
    image[..., 200:] = 0.2 * image[..., 200:] + 0.1
    deblurrer = small(kind)
    whole, cut = deblurrer(image), deblurrer(image, tile=deblurrer.smallest_tile)
    alone = torch.cat([deblurrer(image[..., :200]), deblurrer(image[..., 200:])], -1)
    error, worse = ((x - whole).square().mean().sqrt() for x in (cut, alone))
    assert float(error) < bound
    assert float(worse) > 4 * float(error)


@pytest.mark.parametrize("kind", ["deblurgan", "nafnet"])
def test_the_reach_is_stated_closely(kind: str) -> None:
    """With statistics given, a value depends on pixels up to `reach` away, and on some not much nearer."""
    network = SMALL[kind]().double()
    size = 2 * int(network.reach) + 60
    image, found = rand(1, 3, size, size), list[Tensor]()

    def keep(measure: Callable[[], Tensor]) -> Tensor:
        found.append(measure())
        return found[-1]

    network.residual(image, shared=keep)
    farthest = 0
    for place in range(size // 2, size // 2 + network.multiple_of):
        known = iter(found)
        image.requires_grad_().grad = None
        network.residual(image, shared=lambda _, known=known: next(known))[0, :, place, place].sum().backward()
        assert image.grad is not None
        touched = image.grad[0].abs().sum(0).nonzero()
        farthest = max(farthest, int((touched - place).abs().max()))
    assert network.reach - 2 * network.multiple_of <= farthest <= network.reach


def test_statistics_are_exact_far_from_zero() -> None:
    features = 30 + 0.05 * torch.randn(1, 8, 300, 400, generator=torch.Generator().manual_seed(0))
    last = features.contiguous(memory_format=torch.channels_last)
    values = features.double().numpy()
    expected = (values - values.mean((2, 3), keepdims=True)) / np.sqrt(values.var((2, 3), keepdims=True) + 1e-5)
    with torch.no_grad():
        assert np.abs(instance_normalised(last).double().numpy() - expected).max() < 2e-3
        assert np.abs(photo_mean(last).numpy() - values.mean((2, 3), keepdims=True)).max() < 1e-5


def test_a_batch_with_shared_statistics_is_one_photo() -> None:
    features = rand(4, 5, 6, 7)
    together = features.movedim(0, 1).reshape(1, 5, 24, 7)
    for measure in (instance_normalised, photo_mean):
        shared = measure(features, lambda measure: measure())
        alone = measure(together)
        if measure is instance_normalised:
            alone = alone.reshape(5, 4, 6, 7).movedim(1, 0)
        torch.testing.assert_close(shared, alone.expand_as(shared))


# --- memory -----------------------------------------------------------------------------------------------------------


TORCH_SAYS = "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"


def exhausted_above(n_pixels: int, monkeypatch: pytest.MonkeyPatch, *, says: str = TORCH_SAYS) -> list[int]:
    """Makes the U-net fail at more pixels; returns the sizes that it was asked for."""
    asked: list[int] = []
    residual = UNet.residual

    def limited(self: UNet, image: Tensor) -> Tensor:
        asked.append(image.shape[-2] * image.shape[-1])
        if asked[-1] > n_pixels:
            raise RuntimeError(says)
        return residual(self, image)

    monkeypatch.setattr(UNet, "residual", limited)
    return asked


@pytest.mark.parametrize("says", [TORCH_SAYS, "could not create a primitive"])  # torch, oneDNN
def test_out_of_memory_leads_to_smaller_parts(monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    deblurrer, image = small("unet"), rand(3, 300, 500, dtype=torch.float32)
    expected = deblurrer(image)
    asked = exhausted_above(280 * 280, monkeypatch, says=says)
    torch.testing.assert_close(deblurrer(image), expected)
    assert asked[0] == 300 * 500
    assert max(asked[-4:]) <= 280 * 280


def test_out_of_memory_in_the_smallest_parts_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    deblurrer = small("unet")
    exhausted_above(1000, monkeypatch)
    with pytest.raises(ResourceError, match="not enough memory on cpu for a photo of 500x300, also in parts of"):
        deblurrer(rand(3, 300, 500, dtype=torch.float32))


@pytest.mark.parametrize("words", ["a bug", "could not create a primitive descriptor for a convolution"])
def test_other_failures_are_not_taken_for_it(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(words)

    deblurrer = small("unet")
    monkeypatch.setattr(UNet, "residual", broken)
    with pytest.raises(RuntimeError, match=words):
        deblurrer(rand(3, 30, 30, dtype=torch.float32))


def test_memory_for_the_whole_photo_is_not_saved_by_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> None:
        raise RuntimeError(TORCH_SAYS)

    deblurrer = small("unet")
    monkeypatch.setattr(torch, "aminmax", exhausted)
    with pytest.raises(ResourceError, match="a photo of 30x20; close other programs or take a smaller photo"):
        deblurrer(rand(3, 20, 30, dtype=torch.float32), tile=deblurrer.smallest_tile)


@pytest.mark.parametrize("able", [True, False])
def test_cards_that_emulate_bfloat16_are_not_fast_at_it(monkeypatch: pytest.MonkeyPatch, able: bool) -> None:
    monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or able)
    assert has_fast_bfloat16(torch.device("cuda", 0)) == able


def test_parts_are_as_large_as_the_free_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    deblurrer, image, parts = small("unet"), rand(3, 300, 700, dtype=torch.float32), []
    for free in (None, 1 << 40, 12 << 20, 0):
        monkeypatch.setattr("resharp.restorers.deblurring.free_memory", lambda _, free=free: free)
        told: list[int] = []
        deblurrer(image, on_tile=lambda _, total, told=told: told.append(total))
        parts.append(told[-1])
    assert parts[:2] == [1, 1]
    assert 1 < parts[2] < parts[3]


def test_free_memory_is_what_the_system_says() -> None:
    psutil = pytest.importorskip("psutil")
    free = free_memory(CPU)
    if free is not None:
        assert free >= 1 << 20
        assert free <= 1.2 * psutil.virtual_memory().available


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_weights_of_something_else_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"is a denoiser \('dae'\).*deconvolve"):
        load_deblurrer("dae-sigma11")
    marked = saved(SMALL["unet"](), tmp_path / "denoiser.safetensors", noise_sigma=0.1)
    with pytest.raises(WeightsError, match=r"is a denoiser \('unet'\)"):
        load_deblurrer(marked)
    raw = saved(UNet(channels=4, widths=[4], blocks=[1]), tmp_path / "raw.safetensors")
    with pytest.raises(WeightsError, match="images of 4 channels"):
        load_deblurrer(raw)
    with pytest.raises(WeightsError, match="unknown weights"):
        load_deblurrer("no-such-weights")
    broken = SMALL["unet"]()
    broken.intro.weight.data.fill_(float("nan"))
    with pytest.raises(WeightsError, match="NaN"):
        load_deblurrer(saved(broken, tmp_path / "nan.safetensors"))


def test_a_result_that_is_not_finite_is_named() -> None:
    network = SMALL["unet"]()
    for parameter in network.parameters():
        parameter.data.mul_(1e30)
    with pytest.raises(WeightsError, match="not finite; try --precision float32"):
        Deblurrer(network, device=CPU, dtype=torch.float32)(rand(3, 16, 16, dtype=torch.float32))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"precision": "half"}, "choose auto"),
        ({"device": "abacus"}, "device 'abacus' cannot be used"),
        ({"tile": 5}, "tiles of 5 pixels; .* are the least"),
        ({"tile": -1}, "tiles of -1 pixels"),
    ],
)
def test_arguments_out_of_range_are_named(tmp_path: Path, arguments: dict[str, Any], words: str) -> None:
    weights = saved(SMALL["unet"](), tmp_path / "w.safetensors")
    with pytest.raises(ArgumentError, match=words):
        deblur(rand(3, 24, 24, dtype=torch.float32), weights=weights, **arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_an_absent_gpu_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="'cuda' cannot be used here"):
        load_deblurrer(saved(SMALL["unet"](), tmp_path / "w.safetensors"), device="cuda")


@pytest.mark.parametrize(
    "image",
    [
        torch.zeros(24, 24),
        torch.zeros(4, 24, 24),
        torch.full((3, 24, 24), 255.0),
        torch.full((3, 24, 24), float("nan")),
        np.zeros((24, 24, 4), np.uint8),
        np.zeros((0, 24, 3), np.uint8),
    ],
)
def test_what_is_no_image_is_named(image: Any) -> None:
    with pytest.raises(ArgumentError):
        deblur(image, weights=small("unet"))


def test_a_deblurrer_takes_colour_alone() -> None:
    with pytest.raises(ArgumentError, match="RGB images"):
        small("unet")(rand(1, 24, 24, dtype=torch.float32))
