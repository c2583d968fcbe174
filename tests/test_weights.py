"""Weights files: round trip, and everything that is refused."""

import dataclasses
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.testing import assert_close

import resharp
from resharp.data.folders import photo_paths
from resharp.data.layouts import open_listing
from resharp.demo import SHAKE, demo_inputs
from resharp.errors import WeightsError
from resharp.metrics import psnr
from resharp.models import SHIPPED, Card, load_model, read_card, save_model, weights_path
from resharp.networks import DAE
from resharp.photo import read_photo
from resharp.restorers import load_prior
from tests.conftest import Run, rand, reference

DEBLURRERS = [name for name in SHIPPED if read_card(name).noise_sigma is None]


def save(path: Path, model: DAE, **changes: object) -> None:
    card = Card(network="dae", arguments=model.arguments, name="a", noise_sigma=0.04, licence="CC0-1.0")
    save_model(model, path, dataclasses.replace(card, **changes))


def small() -> DAE:
    return DAE(width=4, depth=3, generator=torch.Generator().manual_seed(0))


def test_weights_come_back_with_their_card(tmp_path: Path) -> None:
    network = small()
    save(tmp_path / "a.safetensors", network)
    loaded, card = load_model(tmp_path / "a.safetensors")
    for key, tensor in network.state_dict().items():
        assert_close(loaded.state_dict()[key], tensor)
    assert (card.name, card.network, card.noise_sigma, card.licence) == ("a", "dae", 0.04, "CC0-1.0")
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


def test_a_mixture_is_the_mean_of_its_parts(tmp_path: Path, run: Run) -> None:
    first, second = small(), DAE(width=4, depth=3, generator=torch.Generator().manual_seed(1))
    save(tmp_path / "a.safetensors", first)
    save(tmp_path / "b.safetensors", second, name="b", licence="MIT")
    files = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    done = run("weights", "mix", *files, "-o", tmp_path / "c.safetensors", "--share", "3", "--share", "1", "--json")
    assert done.code == 0
    mixed, card = load_model(tmp_path / "c.safetensors")
    for key, tensor in mixed.state_dict().items():
        assert_close(tensor, 0.75 * first.state_dict()[key] + 0.25 * second.state_dict()[key])
    assert json.loads(done.out)["sha256"] == card.sha256
    assert (card.name, card.noise_sigma, card.licence) == ("c", 0.04, "CC0-1.0; MIT")
    assert card.quality == "a mixture, 3 of a, 1 of b"


@pytest.mark.parametrize(
    ("files", "options", "words"),
    [
        ("ab", ("--share", "1"), "a mixture of 2 needs as many shares above 0"),
        ("ab", ("--share", "1", "--share", "nan"), "needs as many shares above 0"),
        ("ab", ("--share", "1", "--share", "-1"), "needs as many shares above 0"),
        ("ab", ("--share", "1e308", "--share", "1e308"), "needs as many shares above 0 and below a million"),
        ("a", (), "needs two or more weights"),
        ("aw", (), "w.safetensors: has arguments"),
        ("as", (), "s.safetensors: has noise_sigma 0.1, a.safetensors 0.04; mix weights of one network"),
        ("ab", ("-o", "a.safetensors"), "a.safetensors: is one of the files to mix"),
        ("ax", (), "x.safetensors: unknown weights"),
    ],
)
def test_what_cannot_be_mixed_is_named(
    files: str, options: tuple[str, ...], words: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(Path("a.safetensors"), small())
    save(Path("b.safetensors"), small())
    save(Path("s.safetensors"), small(), noise_sigma=0.1)
    wide = DAE(width=8, depth=3)
    save(Path("w.safetensors"), wide)
    before = Path("a.safetensors").read_bytes()
    done = run("weights", "mix", *(f"{name}.safetensors" for name in files), "-o", "out.safetensors", *options)
    assert done.code != 0
    assert words in done.err
    assert not Path("out.safetensors").exists()
    assert Path("a.safetensors").read_bytes() == before


def test_a_header_whose_length_looks_like_a_pickle_is_no_pickle(tmp_path: Path) -> None:
    path, starts = tmp_path / "w.safetensors", set()
    for length in range(500):
        save(path, small(), training_data="x" * length)
        starts.add(path.read_bytes()[:2])
        load_model(path)
    assert b"\x80\x04" in starts


def test_keys_of_later_cards_are_ignored(tmp_path: Path) -> None:
    card = {"format": 1, "network": "dae", "arguments": {"width": 4, "depth": 3}, "invented": 1}
    assert load_model(with_card(tmp_path, card))[1].noise_sigma is None


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
    return with_card(tmp_path, {"format": 2, "network": "dae", "arguments": {}})


def with_a_strange_card(tmp_path: Path) -> Path:
    return with_card(tmp_path, {"format": 1, "network": "dae", "arguments": ["width"]})


def with_a_strange_sigma(tmp_path: Path) -> Path:
    return with_card(tmp_path, {"format": 1, "network": "dae", "arguments": {}, "noise_sigma": "11"})


def with_a_list_as_card(tmp_path: Path) -> Path:
    return with_card(tmp_path, [])


def with_card(tmp_path: Path, card: object) -> Path:
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(small().state_dict(), path, {"resharp": json.dumps(card)})
    return path


def with_complex_tensors(tmp_path: Path) -> Path:
    path = tmp_path / "w.safetensors"
    state = {key: tensor.to(torch.complex64) for key, tensor in small().state_dict().items()}
    card = {"format": 1, "network": "dae", "arguments": {"width": 4, "depth": 3}}
    safetensors.torch.save_file(state, path, {"resharp": json.dumps(card)})
    return path


def of_no_size(tmp_path: Path) -> Path:
    return with_card(tmp_path, {"format": 1, "network": "dae", "arguments": {"width": 10**12}})


def of_more_than_there_is(tmp_path: Path) -> Path:
    """A card of 300 GB over tensors of some bytes."""
    return with_card(tmp_path, {"format": 1, "network": "dae", "arguments": {"width": 4096, "depth": 512}})


def with_a_number_as_licence(tmp_path: Path) -> Path:
    return with_card(tmp_path, {"format": 1, "network": "dae", "arguments": {}, "licence": 1})


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
        (with_a_strange_sigma, "noise sigma '11'"),
        (with_a_list_as_card, "without resharp's card"),
        (lambda tmp_path: tmp_path / "missing", "unknown weights.*dae-sigma11"),
        (lambda tmp_path: tmp_path, "folder"),
        (lambda tmp_path: tmp_path / ("x" * 300), "cannot be read"),
    ],
)
def test_what_cannot_be_trusted_is_refused(tmp_path: Path, make, words: str) -> None:
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
    path, card = weights_path(name), read_card(name)
    assert path.stat().st_size < 25_000_000
    model_card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert card.sha256 in model_card
    assert card.name == name
    assert card.licence == "Apache-2.0"
    assert json.dumps(card.arguments)


def test_shipped_denoiser_on_a_shipped_photo() -> None:
    """Stands in for Kodak where that set is not at hand."""
    with_noise, restored = denoised_psnr(weights_path("dae-sigma11").parent / "demo-photo.png", seed=0)
    assert with_noise == pytest.approx(27.30, abs=0.05)
    assert restored == pytest.approx(36.21, abs=0.05)


def test_shipped_denoiser_has_the_quality_of_its_card() -> None:
    """The mean over all 24 photos of Kodak, whole."""
    paths = photo_paths(reference("kodak24"))
    mean = float(np.mean([denoised_psnr(path, seed=index)[1] for index, path in enumerate(paths)]))
    card = weights_path("dae-sigma11").with_suffix(".md").read_text(encoding="utf-8")
    claimed = re.search(r"\*\*([\d.]+) dB\*\* mean PSNR", card)
    assert claimed is not None
    assert mean == pytest.approx(float(claimed[1]), abs=0.03)


@pytest.mark.parametrize("name", DEBLURRERS)
def test_shipped_deblurrers_on_a_shipped_photo(name: str) -> None:
    """Stands in for real pairs where none are at hand: a shaken photo gains, a sharp one stays as it is."""
    sharp, _ = demo_inputs()
    shaken = SHAKE(sharp, generator=torch.Generator().manual_seed(1)).clamp(0, 1)
    assert float(psnr(resharp.deblur(shaken, weights=name), sharp)) > float(psnr(shaken, sharp)) + (
        0.25 if name == "deblur" else 0.45
    )
    assert float(psnr(resharp.deblur(sharp, weights=name), sharp)) > 35


@pytest.mark.parametrize("name", DEBLURRERS)
def test_shipped_deblurrers_have_the_quality_of_their_card(name: str) -> None:
    """The mean over eight real pairs of GoPro, 256x256."""
    pairs = open_listing(reference("gopro/crops")).pairs
    gains = []
    for degraded, clean in ((read_photo(a).image, read_photo(b).image) for a, b in pairs):
        restored = resharp.deblur(degraded, weights=name).mul(255).round().div(255)
        gains.append(float(psnr(restored, clean) - psnr(degraded, clean)))
    card = weights_path(name).with_suffix(".md").read_text(encoding="utf-8")
    claimed = re.search(r"GoPro, 8 crops.*\| \*\*\+([\d.]+) dB", card)
    assert claimed is not None
    assert float(np.mean(gains)) == pytest.approx(float(claimed[1]), abs=0.02)


def denoised_psnr(path: Path, *, seed: int) -> tuple[float, float]:
    clean = read_photo(path).image
    prior = load_prior("dae-sigma11")
    noisy = clean + prior.sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    return float(psnr(noisy, clean)), float(psnr(prior.denoiser(noisy).clamp(0, 1), clean))


@pytest.mark.parametrize("changes", [{"channels": 1}, {"noise_sigma": None}])
def test_weights_that_are_no_rgb_denoiser_are_no_prior(tmp_path: Path, changes: dict[str, object]) -> None:
    network = DAE(channels=1, width=4, depth=3) if "channels" in changes else small()
    save(tmp_path / "w.safetensors", network, **({} if "channels" in changes else changes))
    with pytest.raises(WeightsError, match="no denoiser of RGB images"):
        load_prior(tmp_path / "w.safetensors")


def test_weights_that_overflow_write_no_black_photo(tmp_path: Path) -> None:
    network = small()
    for conv in network.convs:
        conv.weight.data.mul_(1e30)
    save(tmp_path / "w.safetensors", network)
    with pytest.raises(WeightsError, match="not finite"):
        resharp.deconvolve(rand(3, 16, 16), "disk:1", prior=tmp_path / "w.safetensors", n_iterations=2)


def test_precisions_agree() -> None:
    image = rand(3, 40, 40, dtype=torch.float32)
    exact, fast = (load_prior(precision=precision).denoiser for precision in ("float32", "bfloat16"))
    assert float((exact(image) - fast(image)).abs().max()) < 0.02
