"""What can be opened as a restorer, and what is refused: models, networks, functions, names, settings without use."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import resharp
from resharp.errors import ArgumentError, WeightsError
from resharp.models import Contract, contract_of
from resharp.networks import UNet
from resharp.restorers import BayesRestorer, NetworkRestorer, open_denoiser, open_restorer
from tests.conftest import rand
from tests.toy_networks import SMALL, Doubler, doubler, saved, small

OWN = "tests.toy_networks:Doubler"
IMAGE = rand(3, 24, 28, dtype=torch.float32)


def half(image: Tensor) -> Tensor:
    return image / 2


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return saved(SMALL["unet"](), tmp_path / "w.safetensors")


def own_weights(folder: Path) -> Path:
    return saved(doubler(), folder / "own.safetensors", "upscale", name=OWN)


# --- models -----------------------------------------------------------------------------------------------------------


def test_a_file_is_what_its_network_is(weights: Path) -> None:
    opened = open_restorer(weights, precision="float32", task="deblur")
    assert opened.contract == contract_of(SMALL["unet"](), "deblur")
    assert torch.equal(opened(IMAGE).image, small("unet")(IMAGE).image)


def test_models_of_something_else_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"is for the task 'denoise', not for 'deblur'; it serves .*deconvolve"):
        open_restorer("dae-sigma11", task="deblur")
    raw = saved(UNet(channels=4, widths=[4], blocks=[1]), tmp_path / "raw.safetensors")
    with pytest.raises(WeightsError, match="images of 4 channels"):
        open_restorer(raw)
    with pytest.raises(WeightsError, match="no such model"):
        open_restorer("no-such-weights")
    broken = SMALL["unet"]()
    nn.init.constant_(broken.get_parameter("intro.weight"), float("nan"))
    with pytest.raises(WeightsError, match="NaN"):
        open_restorer(saved(broken, tmp_path / "nan.safetensors"))


def test_a_network_of_ones_own_restores_once_it_is_named(tmp_path: Path) -> None:
    path = own_weights(tmp_path)
    with pytest.raises(WeightsError, match=f"of somebody's own; .* name it: --network {OWN}"):
        open_restorer(path)
    expected = doubler()(IMAGE[None])[0].clamp(0, 1)
    state = torch.get_rng_state()
    for network in (OWN, Doubler):
        opened = open_restorer(path, network=network, precision="float32", task="upscale")
        assert opened.contract == Contract("upscale", scale=2, multiple_of=4, halo=7)
        assert_close(opened(IMAGE).image, expected)
    assert torch.equal(torch.get_rng_state(), state)


# --- networks, functions and restorers --------------------------------------------------------------------------------


def test_a_network_is_copied_and_placed() -> None:
    network = SMALL["unet"]()
    opened = open_restorer(network, precision="bfloat16")
    assert isinstance(opened, NetworkRestorer)
    assert network.get_parameter("intro.weight").dtype == torch.float32
    assert opened.network.dtype == torch.bfloat16


def test_a_network_says_itself_what_it_is_for() -> None:
    network = SMALL["dae"]()
    with pytest.raises(ArgumentError, match="says not which noise it takes off"):
        open_restorer(network, task="denoise")
    network.contract = contract_of(network, "denoise", noise_sigma=(0.0, 0.1))  # type: ignore[assignment]
    assert open_restorer(network, task="denoise").contract.noise_sigma == (0.0, 0.1)
    with pytest.raises(ArgumentError, match="is for the task 'denoise', not for 'deblur'"):
        open_restorer(network, task="deblur")


def test_a_function_is_told_what_it_names() -> None:
    def told(image: Tensor, *, kernel: Tensor, strength: float = 2.0) -> Tensor:
        return image * kernel.sum() / strength

    opened = open_restorer(told)
    assert opened.accepts == ("kernel",)
    assert torch.equal(opened(IMAGE, kernel=torch.ones(1, 1)).image, IMAGE / 2)
    with pytest.raises(ArgumentError, match="cannot be told noise_sigma"):
        opened(IMAGE, noise_sigma=0.1)


def test_a_network_that_names_what_it_wants_is_told_as_a_function_is() -> None:
    class Told(nn.Module):
        def forward(self, image: Tensor, *, noise_sigma: float) -> Tensor:
            return image - noise_sigma

    opened = open_restorer(Told())
    assert opened.accepts == ("noise_sigma",)
    assert_close(opened(IMAGE, noise_sigma=0.25).image, IMAGE - 0.25)


def test_a_function_by_name_is_found_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_restorers.py").write_text("class Half:\n    @staticmethod\n    def dark(image): return image / 2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert torch.equal(open_restorer("my_restorers:Half.dark")(IMAGE).image, IMAGE / 2)
    assert torch.equal(open_restorer("tests.test_restorers_opening:half")(IMAGE).image, IMAGE / 2)


def test_what_a_function_gives_is_a_float_picture() -> None:
    array = open_restorer(lambda image: (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    assert array(IMAGE).image.dtype == open_restorer(lambda image: image.double())(IMAGE).image.dtype == torch.float32
    for wrong in (None, torch.zeros(3, 4, 4, dtype=torch.int64), "picture"):
        with pytest.raises(ArgumentError, match="wanted is a float tensor"):
            open_restorer(lambda _, wrong=wrong: wrong)(IMAGE)


def test_a_function_that_fails_is_named() -> None:
    def broken(_: Tensor) -> Tensor:
        raise ZeroDivisionError("no zero, please\nand more")

    with pytest.raises(ArgumentError, match=r"broken failed \(ZeroDivisionError: no zero, please\)$"):
        open_restorer(broken)(IMAGE)

    def full(_: Tensor) -> Tensor:
        raise MemoryError

    with pytest.raises(MemoryError):
        open_restorer(full)(IMAGE)


def test_a_restorer_is_given_back_as_it_is() -> None:
    restorer = small("unet")
    assert open_restorer(restorer) is restorer
    assert open_restorer(restorer, task="deblur") is restorer
    with pytest.raises(ArgumentError, match="is for the task 'deblur', not for 'denoise'"):
        open_restorer(restorer, task="denoise")


# --- settings without use ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opened", [small("unet"), half, "tests.test_restorers_opening:half"])
@pytest.mark.parametrize(
    "settings",
    [
        {"device": "cuda"},
        {"device": "cpu"},
        {"precision": "bfloat16"},
        {"tile": 200},
        {"samples": 2},
        {"network": "tests.toy_networks:Doubler"},
    ],
)
def test_settings_that_would_have_no_effect_are_refused(opened: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="leave"):
        open_restorer(opened, **settings)
    if settings.keys() & {"device", "precision", "tile", "samples"}:
        with pytest.raises(ArgumentError, match="leave"):
            resharp.deblur(IMAGE, model=opened, **settings)


def test_an_opened_denoiser_has_its_device() -> None:
    denoiser = open_denoiser()
    assert open_denoiser(denoiser) is denoiser
    for settings in ({"device": "cpu"}, {"precision": "float32"}, {"network": OWN}):
        with pytest.raises(ArgumentError, match="leave them out"):
            open_denoiser(denoiser, **settings)
    with pytest.raises(ArgumentError, match="leave them out"):
        resharp.deconvolve(IMAGE, "disk:1", model=denoiser, device="cpu")


def test_a_network_in_hand_needs_no_class() -> None:
    with pytest.raises(ArgumentError, match="takes no network; leave it out"):
        open_restorer(SMALL["unet"](), network=OWN)


@pytest.mark.parametrize(
    ("what", "settings", "words"),
    [
        ("tests.nowhere:restore", {}, "cannot be imported"),
        ("math:nothing", {}, "cannot be imported"),
        ("math:pi", {}, "is no function of an image"),
        (OWN, {}, "of a network's class, name the file of its weights"),
        (half, {"tiles": 3}, "half has no setting tiles; did you mean 'tile'"),
        ("dbgan", {"precision": "half"}, "choose auto"),
        ("dbgan", {"device": "abacus"}, "device 'abacus' cannot be used"),
        ("dbgan", {"tile": 5}, "tiles of 5 pixels; .* are the least"),
        ("dbgan", {"samples": 2}, "dbgan has no dropout"),
    ],
)
def test_what_is_none_is_named(what: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words) as caught:
        open_restorer(what, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_an_absent_gpu_is_named(weights: Path) -> None:
    with pytest.raises(ArgumentError, match="'cuda' cannot be used here"):
        open_restorer(weights, device="cuda")


def test_a_solver_is_no_denoising_task() -> None:
    restorer = BayesRestorer(open_denoiser())
    with pytest.raises(ArgumentError, match="for the task 'deblur', not for 'denoise'"):
        resharp.denoise(IMAGE, model=restorer)


def test_opening_and_asking_a_denoiser_leaves_torch_s_compiler_alone() -> None:
    """It takes a second to load, which each command would wait."""
    program = """
import sys, torch, resharp
resharp.open_denoiser()(torch.zeros(3, 16, 16), 0.1)
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
