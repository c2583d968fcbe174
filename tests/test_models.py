"""Models' files: round trip, contracts, everything that is refused; mixtures; the quality of the shipped ones."""

import dataclasses
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch.testing import assert_close

import resharp
from resharp.data.folders import photo_paths
from resharp.data.layouts import open_listing
from resharp.degradations import Resize, Shake, without_margin
from resharp.demo import demo_inputs
from resharp.errors import ArgumentError, WeightsError
from resharp.evaluation import evaluate
from resharp.metrics import niqe, psnr
from resharp.models import (
    SHIPPED,
    Card,
    Contract,
    finds_blur,
    load_model,
    mix_models,
    model_path,
    read_card,
    save_model,
)
from resharp.networks import DAE
from resharp.photo import read_photo
from resharp.restorers import open_denoiser
from resharp.training import load_recipe
from resharp.training.building import build_network
from tests.conftest import rand, reference
from tests.toy_networks import Doubler, doubler, saved

UPSCALERS = [name for name in SHIPPED if read_card(name).contract.task == "upscale"]
DEBLURRERS = [name for name in SHIPPED if read_card(name).contract.task == "deblur" and not finds_blur(name)]


def save(path: Path, model: DAE, **changes: Any) -> None:
    contract = Contract("denoise", halo=3, noise_sigma=(0.04, 0.04))
    card = Card("dae", model.arguments, contract, name="a", licence="CC0-1.0")
    save_model(model, path, dataclasses.replace(card, **changes))


def small() -> DAE:
    return DAE(width=4, depth=3, generator=torch.Generator().manual_seed(0))


def test_weights_come_back_with_their_card(tmp_path: Path) -> None:
    network = small()
    save(tmp_path / "a.safetensors", network)
    loaded, card = load_model(tmp_path / "a.safetensors")
    for key, tensor in network.state_dict().items():
        assert_close(loaded.state_dict()[key], tensor)
    assert (card.name, card.network, card.licence) == ("a", "dae", "CC0-1.0")
    assert card.contract == Contract("denoise", halo=3, noise_sigma=(0.04, 0.04))
    assert not loaded.training


def test_half_precision_storage_is_loaded_as_float32(tmp_path: Path) -> None:
    save(tmp_path / "a.safetensors", small().half())
    assert next(load_model(tmp_path / "a.safetensors")[0].parameters()).dtype == torch.float32


def test_counts_stay_whole_numbers(tmp_path: Path) -> None:
    network = DAE(width=4, depth=3, batch_norm=True)
    save(tmp_path / "a.safetensors", network)
    loaded, _ = load_model(tmp_path / "a.safetensors")
    save(tmp_path / "b.safetensors", loaded)
    assert (tmp_path / "b.safetensors").read_bytes() == (tmp_path / "a.safetensors").read_bytes()


def test_a_mixture_is_the_mean_of_its_parts(tmp_path: Path) -> None:
    first, second = small(), DAE(width=4, depth=3, generator=torch.Generator().manual_seed(1))
    save(tmp_path / "a.safetensors", first)
    save(tmp_path / "b.safetensors", second, name="b", licence="MIT")
    files = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    card = mix_models(files, tmp_path / "c.safetensors", shares=[3, 1])
    mixed, again = load_model(tmp_path / "c.safetensors")
    for key, tensor in mixed.state_dict().items():
        assert_close(tensor, 0.75 * first.state_dict()[key] + 0.25 * second.state_dict()[key])
    assert card == again
    assert (card.name, card.contract.noise_sigma, card.licence) == ("c", (0.04, 0.04), "CC0-1.0; MIT")
    assert card.quality == "a mixture, 3 of a, 1 of b"


def test_a_mixture_with_what_was_learned_within_a_solver_is_asked_as_that(tmp_path: Path) -> None:
    plain = Contract("denoise", halo=3, noise_sigma=(0.04, 0.04))
    save(tmp_path / "a.safetensors", small(), contract=plain)
    save(tmp_path / "b.safetensors", small(), contract=dataclasses.replace(plain, unrolled=8))
    card = mix_models([tmp_path / "a.safetensors", tmp_path / "b.safetensors"], tmp_path / "c.safetensors")
    assert card.contract == dataclasses.replace(plain, unrolled=8)


@pytest.mark.parametrize(
    ("files", "out", "shares", "words"),
    [
        ("ab", "out", [1.0], "a mixture of 2 needs as many shares above 0"),
        ("ab", "out", [1.0, float("nan")], "needs as many shares above 0"),
        ("ab", "out", [1.0, -1.0], "needs as many shares above 0"),
        ("ab", "out", [1e308, 1e308], "needs as many shares above 0 and below a million"),
        ("a", "out", [], "needs two or more weights"),
        ("aw", "out", [], r"w\.safetensors: has arguments"),
        (
            "as",
            "out",
            [],
            r"s\.safetensors: has contract .*0\.1.*, a\.safetensors .*0\.04.*; mix weights of one network",
        ),
        ("ab", "a", [], r"a\.safetensors: is one of the files to mix"),
        ("ax", "out", [], r"x\.safetensors: no such model"),
    ],
)
def test_what_cannot_be_mixed_is_named(
    files: str, out: str, shares: list[float], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(Path("a.safetensors"), small())
    save(Path("b.safetensors"), small())
    save(Path("s.safetensors"), small(), contract=Contract("denoise", halo=3, noise_sigma=(0.1, 0.1)))
    save(Path("w.safetensors"), DAE(width=8, depth=3))
    before = Path("a.safetensors").read_bytes()
    with pytest.raises((WeightsError, ArgumentError), match=words):
        mix_models([f"{name}.safetensors" for name in files], f"{out}.safetensors", shares=shares)
    assert not Path("out.safetensors").exists()
    assert Path("a.safetensors").read_bytes() == before


def test_a_header_whose_length_looks_like_a_pickle_is_no_pickle(tmp_path: Path) -> None:
    path, starts = tmp_path / "w.safetensors", set()
    network = small()
    for length in range(0, 500, 8):  # headers are whole numbers of 8 bytes
        save(path, network, training_data="x" * length)
        starts.add(path.read_bytes()[:2])
        read_card(path)
    assert b"\x80\x04" in starts


CARD: dict[str, Any] = {
    "format": 2,
    "network": "dae",
    "arguments": {"width": 4, "depth": 3},
    "contract": {"task": "deblur", "halo": 3},
}


def test_keys_of_later_cards_are_ignored(tmp_path: Path) -> None:
    later = {**CARD, "invented": 1, "contract": {**CARD["contract"], "invented": [1]}}
    assert load_model(with_card(tmp_path, later))[1].contract == Contract("deblur", halo=3)


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_shipped_name_that_is_also_a_file_means_two_things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(Path("w.safetensors"), small())
    Path("w.safetensors").rename("dbgan")
    with pytest.raises(WeightsError, match=r"dbgan: is a shipped model and a file here; write \./dbgan for the file"):
        read_card("dbgan")
    for file in ("./dbgan", Path("dbgan"), tmp_path / "dbgan"):
        assert read_card(file).name == "a"
    Path("dbgan").unlink()
    Path("dbgan").mkdir()
    assert read_card("dbgan").name == "dbgan"
    with pytest.raises(WeightsError, match="is a folder"):
        read_card("./dbgan")


# --- contracts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contract", "words"),
    [
        (None, "holds no contract"),
        ([], "holds no contract"),
        ("deblur", "holds no contract"),
        ({}, "task"),
        ({"task": "deblurr"}, "did you mean 'deblur'"),
        ({"task": None}, "task None is unknown"),
        ({"task": ["deblur"]}, "is unknown"),
        ({"task": "deblur", "scale": 0}, "scale of a contract is 0"),
        ({"task": "deblur", "scale": 2.0}, r"scale of a contract is 2\.0"),
        ({"task": "deblur", "scale": True}, "scale of a contract is True"),
        ({"task": "deblur", "multiple_of": "4"}, "multiple_of of a contract is '4'"),
        ({"task": "deblur", "multiple_of": 10**9}, "multiple_of"),
        ({"task": "deblur", "halo": -1}, "halo of a contract is -1"),
        ({"task": "deblur", "halo": []}, "halo"),
        ({"task": "deblur", "takes": "image"}, "a network takes the image"),
        ({"task": "deblur", "takes": {}}, "a network takes the image"),
        ({"task": "deblur", "takes": None}, "a network takes the image"),
        ({"task": "deblur", "takes": ["sigma"]}, "a network takes the image"),
        ({"task": "deblur", "takes": ["image", "mood"]}, "a network takes the image"),
        ({"task": "deblur", "takes": ["image", ["sigma"]]}, "does not hold"),
        ({"task": "deblur", "noise_sigma": [0.1, 0.1]}, "states noise_sigma"),
        ({"task": "denoise"}, "states noise_sigma"),
        ({"task": "denoise", "noise_sigma": [0.1]}, "does not hold"),
        ({"task": "denoise", "noise_sigma": 0.1}, "does not hold"),
        ({"task": "denoise", "noise_sigma": ["0", "1"]}, "does not hold"),
        ({"task": "denoise", "noise_sigma": [0, 0]}, "within"),
        ({"task": "denoise", "noise_sigma": [0.2, 0.1]}, "within"),
        ({"task": "denoise", "noise_sigma": [float("nan"), 0.1]}, "within"),
        ({"task": "denoise", "noise_sigma": [0, 25]}, "within"),
    ],
)
def test_a_contract_that_does_not_hold_is_one_clear_line(tmp_path: Path, contract: object, words: str) -> None:
    path = with_card(tmp_path, {**CARD, "contract": contract})
    with pytest.raises(WeightsError, match=words) as caught:
        read_card(path)
    assert str(path) in str(caught.value)
    assert "save_model" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_contract_comes_back_from_its_file(tmp_path: Path) -> None:
    for contract in (
        Contract("upscale", scale=4, multiple_of=8, halo=0),
        Contract("denoise", takes=("image", "sigma"), noise_sigma=(0, 0.2)),
        Contract("degrade", takes=("image", "noise", "segmentation")),
    ):
        save(tmp_path / "w.safetensors", small(), contract=contract)
        assert read_card(tmp_path / "w.safetensors").contract == contract


# --- networks of one's own --------------------------------------------------------------------------------------------


OWN = "tests.toy_networks:Doubler"


@pytest.mark.parametrize("named", [OWN, Doubler])
def test_a_network_of_ones_own_comes_back_once_it_is_named(tmp_path: Path, named: Any) -> None:
    network = doubler()
    path = saved(network, tmp_path / "own.safetensors", "upscale", name=OWN)
    with pytest.raises(WeightsError, match=f"somebody's own; if you trust that code, name it: --network {OWN}"):
        load_model(path)
    again, card = load_model(path, network=named)
    assert (card.network, card.contract.scale) == (OWN, 2)
    image = rand(1, 3, 8, 12, dtype=torch.float32)
    assert torch.equal(again(image), network(image))


@pytest.mark.parametrize(
    ("stored", "named", "words"),
    [
        (OWN, "tests.toy_networks:Other", "is of network 'tests.toy_networks:Doubler', not of"),
        ("dae", Doubler, "is of network 'dae', not of 'Doubler'"),
        ("tests.nowhere:Net", "tests.nowhere:Net", "tests.nowhere:Net: cannot be imported"),
        ("tests.toy_networks:saved", "tests.toy_networks:saved", "is no class of torch.nn.Module"),
        ("tests.toy_networks:Loud", "tests.toy_networks:Loud", "do not fit each other .*no such layer"),
        ("resharp.networks:UNet", "resharp.networks:UNet", "do not fit each other"),
        ("vnet", None, "is of network 'vnet'; known here: bgan"),
    ],
)
def test_a_network_that_is_not_what_it_is_called(tmp_path: Path, stored: str, named: Any, words: str) -> None:
    path = tmp_path / "w.safetensors"
    save(path, small(), network=stored, arguments={} if "Loud" in stored else small().arguments)
    with pytest.raises(WeightsError, match=words) as caught:
        load_model(path, network=named)
    assert "\n" not in str(caught.value)


# --- what is refused --------------------------------------------------------------------------------------------------


def damaged(tmp_path: Path) -> Path:
    path = tmp_path / "w.safetensors"
    save(path, small())
    path.write_bytes(path.read_bytes()[:-100])
    return path


def pickled(tmp_path: Path) -> Path:
    path = tmp_path / "w.safetensors"
    path.write_bytes(pickle.dumps({"a": 1}))
    return path


def torch_file(tmp_path: Path) -> Path:
    path = tmp_path / "w.pth"
    torch.save(small().state_dict(), path)
    return path


def without_card(tmp_path: Path) -> Path:
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(small().state_dict(), path)
    return path


def of_another_size(tmp_path: Path) -> Path:
    path = tmp_path / "w.safetensors"
    save(path, small(), arguments={"width": 5, "depth": 3})
    return path


def of_a_later_format(tmp_path: Path) -> Path:
    return with_card(tmp_path, {**CARD, "format": 3})


def with_a_strange_card(tmp_path: Path) -> Path:
    return with_card(tmp_path, {**CARD, "arguments": ["width"]})


def of_the_first_format(tmp_path: Path) -> Path:
    return with_card(tmp_path, {**CARD, "format": 1})


def with_a_list_as_card(tmp_path: Path) -> Path:
    return with_card(tmp_path, [])


def with_card(tmp_path: Path, card: object) -> Path:
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(small().state_dict(), path, {"resharp": json.dumps(card)})
    return path


def with_complex_tensors(tmp_path: Path) -> Path:
    path = tmp_path / "w.safetensors"
    state = {key: tensor.to(torch.complex64) for key, tensor in small().state_dict().items()}
    safetensors.torch.save_file(state, path, {"resharp": json.dumps(CARD)})
    return path


def of_no_size(tmp_path: Path) -> Path:
    return with_card(tmp_path, {**CARD, "arguments": {"width": 10**12}})


def of_more_than_there_is(tmp_path: Path) -> Path:
    """A card of 300 GB over tensors of some bytes."""
    return with_card(tmp_path, {**CARD, "arguments": {"width": 4096, "depth": 512}})


def with_a_number_as_licence(tmp_path: Path) -> Path:
    return with_card(tmp_path, {**CARD, "licence": 1})


def of_another_network(tmp_path: Path) -> Path:
    path = tmp_path / "w.safetensors"
    save(path, small(), network="vnet")
    return path


def with_nan(tmp_path: Path) -> Path:
    network = small()
    torch.nn.init.constant_(network.convs[0].bias, float("nan"))
    path = tmp_path / "w.safetensors"
    save(path, network)
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (damaged, "damaged"),
        (pickled, "pickle"),
        (torch_file, "pickle"),
        (without_card, "without resharp's card"),
        (of_another_size, "do not fit each other .size mismatch for convs.2.weight.*4, 3, 3.*5, 3, 3"),
        (of_more_than_there_is, "do not fit"),
        (with_a_number_as_licence, "'licence' is no text"),
        (of_another_network, "'vnet'"),
        (with_nan, "NaN"),
        (with_complex_tensors, "complex"),
        (of_no_size, "between 1 and 4096"),
        (of_a_later_format, "update resharp"),
        (with_a_strange_card, "no network with arguments"),
        (
            of_the_first_format,
            r"convert it by `resharp models import .*w\.safetensors --as resharp -o NEW\.safetensors`",
        ),
        (with_a_list_as_card, "without resharp's card"),
        (lambda tmp_path: tmp_path / "missing", "no such model.*dae-sigma11"),
        (lambda tmp_path: tmp_path, "folder"),
        (lambda tmp_path: tmp_path / ("x" * 300), "cannot be read"),
    ],
)
def test_what_cannot_be_trusted_is_refused(tmp_path: Path, make: Callable[[Path], Path], words: str) -> None:
    path = make(tmp_path)
    with pytest.raises(WeightsError, match=words) as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_are_written_as_safetensors_only(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"choose that suffix"):
        save(tmp_path / "w.pth", small())


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_have_a_whole_card(name: str) -> None:
    path, card = model_path(name), read_card(name)
    assert path.stat().st_size < 25_000_000
    model_card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert card.sha256 in model_card
    assert card.name == name
    assert card.licence == "Apache-2.0"
    assert json.dumps(card.arguments)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_contracts_are_those_of_their_networks(name: str) -> None:
    network, card = load_model(name)
    stated = (getattr(network, fact) for fact in ("scale", "multiple_of", "halo"))
    assert (card.contract.scale, card.contract.multiple_of, card.contract.halo) == tuple(stated)


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        ("dae", "dae-sigma11"),
        ("denoiser-light", "denoiser-light"),
        ("denoiser-unrolled", "denoiser-unrolled"),
        ("deblur-refine", "blind-refined"),
        ("deblur-refine-gpu", "blind-refined"),
        ("deblur-refine-gan", "blind-refined"),
        ("upscale-2core", "upscale"),
        ("srresnet-2core", "srresnet"),
        ("srgan-2core", "srgan"),
        ("dbgan-2core", "dbgan"),
        ("bgan-2core", "bgan"),
    ],
)
def test_recipes_make_the_network_that_ships(recipe: str, name: str) -> None:
    """So that `--init NAME` goes on from it."""
    resolved, card = load_recipe(recipe), read_card(name)
    settings = resolved.networks[resolved.judged]
    assert settings.kind == card.network
    assert build_network(settings, 0, "networks").arguments == card.arguments


def test_shipped_denoiser_on_a_shipped_photo() -> None:
    """Stands in for Kodak where that set is not at hand."""
    with_noise, restored = denoised_psnr(model_path("dae-sigma11").parent / "demo-photo.png", seed=0)
    assert with_noise == pytest.approx(27.30, abs=0.05)
    assert restored == pytest.approx(36.21, abs=0.05)


def test_shipped_denoiser_has_the_quality_of_its_card() -> None:
    """On the first photo of Kodak, whole; all 24 take minutes."""
    restored = denoised_psnr(photo_paths(reference("kodak24"))[0], seed=0)[1]
    card = model_path("dae-sigma11").with_suffix(".md").read_text(encoding="utf-8")
    claimed = re.search(r"the first two of them[^|]*\| [\d.]+ dB, ([\d.]+)", card)
    assert claimed is not None
    assert restored == pytest.approx(float(claimed[1]), abs=0.03)


@pytest.mark.parametrize(("name", "expected"), [("denoiser", 36.15), ("denoiser-light", 35.76)])
def test_shipped_denoisers_of_any_level_on_a_shipped_photo(name: str, expected: float) -> None:
    restored = denoised_psnr(model_path("dae-sigma11").parent / "demo-photo.png", seed=0, model=name)[1]
    assert restored == pytest.approx(expected, abs=0.03)


def test_the_shipped_denoiser_has_the_quality_of_its_card() -> None:
    """At 11/255 on the first photo of Kodak, where it is said to be ahead of the light one."""
    photo = photo_paths(reference("kodak24"))[0]
    restored, light = (denoised_psnr(photo, seed=0, model=name)[1] for name in ("denoiser", "denoiser-light"))
    assert restored > light + 0.12


def undone_psnr(sharp: Tensor, kernel: Tensor | str, *, noise_sigma: float, model: str) -> float:
    """Of a photo (3, H, W) that was blurred and made noisy, where that shows it."""
    blur = resharp.Blur(resharp.parse_kernel(kernel) if isinstance(kernel, str) else kernel)
    photo = resharp.Noise(noise_sigma)(blur(sharp), generator=torch.Generator().manual_seed(1))
    restored = resharp.deconvolve(photo, blur.kernel, model=model)
    return float(psnr(restored, without_margin(sharp, blur.margin)))


@pytest.mark.parametrize(("name", "expected"), [("denoiser-unrolled", 28.59), ("denoiser-light", 28.52)])
def test_shipped_denoisers_of_a_known_blur_on_a_shipped_photo(name: str, expected: float) -> None:
    """A small kernel, where the light one, asked 16 times, is hardest to beat."""
    sharp, kernel = demo_inputs()
    assert undone_psnr(sharp, kernel, noise_sigma=0.01, model=name) == pytest.approx(expected, abs=0.05)


def test_the_denoiser_learned_within_the_solver_is_ahead_in_a_third_of_the_steps_as_its_card_says() -> None:
    """On 96x96 of a photo of Kodak under the first of the DMSP authors' kernels."""
    kernel = f"{reference('reference', 'dmsp', 'kernels.mat')}#1"
    sharp = read_photo(photo_paths(reference("kodak24"))[0]).image[:, 190:320, 324:444]
    for noise in (2.55, 10.2):
        ahead, light = (
            undone_psnr(sharp, kernel, noise_sigma=noise / 255, model=name)
            for name in ("denoiser-unrolled", "denoiser-light")
        )
        assert ahead > light + 0.1


@pytest.mark.parametrize("name", DEBLURRERS)
def test_shipped_deblurrers_on_a_shipped_photo(name: str) -> None:
    """Stands in for real pairs where none are at hand: a shaken photo gains, a sharp one stays as it is."""
    sharp, _ = demo_inputs()
    shake = Shake(extent=8.0, sway=1.0, roll=0.5, read_noise=0.002)
    shaken = shake(sharp, generator=torch.Generator().manual_seed(1)).clamp(0, 1)
    least = {"dbgan": 0.15}[name]
    assert float(psnr(resharp.deblur(shaken, model=name), sharp)) > float(psnr(shaken, sharp)) + least
    assert float(psnr(resharp.deblur(sharp, model=name), sharp)) > 35


@pytest.mark.parametrize("name", DEBLURRERS)
def test_shipped_deblurrers_have_the_quality_of_their_card(name: str) -> None:
    """The mean over eight real pairs of GoPro, 256x256."""
    pairs = open_listing(reference("gopro/crops")).pairs
    gains = []
    for degraded, clean in ((read_photo(a).image, read_photo(b).image) for a, b in pairs):
        restored = resharp.deblur(degraded, model=name).mul(255).round().div(255)
        gains.append(float(psnr(restored, clean) - psnr(degraded, clean)))
    card = model_path(name).with_suffix(".md").read_text(encoding="utf-8")
    claimed = re.search(r"GoPro, 8 crops.*\| \*\*\+([\d.]+) dB", card)
    assert claimed is not None
    assert float(np.mean(gains)) == pytest.approx(float(claimed[1]), abs=0.02)


def test_the_shipped_refiner_has_the_quality_of_its_card() -> None:
    """On one of the eight crops, behind the solver."""
    degraded, clean = (read_photo(reference(f"gopro/crops/{half}/238.png")).image for half in ("blur", "sharp"))
    card = model_path("blind-refined").with_suffix(".md").read_text(encoding="utf-8")
    claimed = re.search(r"crop 238 \| \+[\d.]+ dB \| \*\*\+([\d.]+) dB", card)
    assert claimed is not None
    restored = resharp.deblur(degraded, model="blind-refined").mul(255).round().div(255)
    assert float(psnr(restored, clean) - psnr(degraded, clean)) == pytest.approx(float(claimed[1]), abs=0.05)


@pytest.mark.parametrize("name", UPSCALERS)
def test_shipped_upscalers_have_the_quality_of_their_card(name: str) -> None:
    card = model_path(name).with_suffix(".md").read_text(encoding="utf-8")
    claimed = re.search(r"\| Set5 \|[^|]*\| \**([\d.]+) dB", card)
    assert claimed is not None
    rows = evaluate(name, reference("sr", "set5"), "sr-y", precision="float32").rows
    assert float(np.mean([row.figures["psnr"] for row in rows])) == pytest.approx(float(claimed[1]), abs=0.01)


@pytest.mark.parametrize("name", UPSCALERS)
def test_shipped_upscalers_on_a_shipped_photo(name: str) -> None:
    """Stands in for Set5: nearer the truth than bicubic, and more natural (NIQE)."""
    sharp = demo_inputs()[0][:, :208, :208]
    small = Resize(0.25)(sharp).clamp(0, 1)
    large, bicubic = resharp.upscale(small, model=name), Resize(4.0)(small).clamp(0, 1)
    assert large.shape == sharp.shape
    assert float(psnr(large, sharp)) > float(psnr(bicubic, sharp)) + 0.5
    assert float(niqe(large)) < float(niqe(bicubic)) - 0.3


def denoised_psnr(path: Path, *, seed: int, model: str = "dae-sigma11") -> tuple[float, float]:
    clean, sigma = read_photo(path).image, 11 / 255
    noisy = clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    restored = open_denoiser(model)(noisy, sigma).clamp(0, 1)
    return float(psnr(noisy, clean)), float(psnr(restored, clean))
