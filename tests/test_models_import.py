"""Other files into ours: DeblurGAN's published weights in every layout, those of resharp 0.1, and what is refused."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.testing import assert_close

from resharp.errors import ResourceError, WeightsError
from resharp.models import Contract, load_model
from resharp.models.importers import deblurgan_keys, import_model
from resharp.networks import DeblurGAN
from tests.conftest import rand
from tests.test_deblurgan import Published
from tests.toy_networks import SMALL


def published_state(*, dropout: bool = True) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return Published(dropout=dropout).state_dict()


def stored(path: Path, state: object) -> Path:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:  # zip is torch's container since 1.6; the published files are older
        torch.save(state, path, _use_new_zipfile_serialization=path.suffix == ".pt")
    return path


def test_the_key_map_names_what_the_published_generator_holds() -> None:
    """Layers of the released weights: 1, 4, 7, nine blocks from 10 on, 19, 22, 26; 48 tensors in all."""
    keys = deblurgan_keys(9, dropout=True)
    assert len(keys) == 48
    assert set(keys.values()) == set(DeblurGAN().state_dict())
    assert keys["model.18.conv_block.6.weight"] == "blocks.8.conv2.weight"
    assert [keys[f"model.{layer}.bias"] for layer in (19, 22, 26)] == ["ups.0.bias", "ups.1.bias", "tail.bias"]
    assert "model.10.conv_block.5.weight" in deblurgan_keys(6, dropout=False)
    assert "model.23.bias" in deblurgan_keys(6, dropout=False)


@pytest.mark.parametrize("dropout", [True, False])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_published_generators_come_with_their_function(tmp_path: Path, dropout: bool, suffix: str) -> None:
    published, state = Published(dropout=dropout).eval(), published_state(dropout=dropout)
    published.load_state_dict(state)
    state = {f"module.{key}": tensor for key, tensor in state.items()}
    norm = f"module.model.10.conv_block.{7 if dropout else 6}"
    state |= {"module.model.2.running_mean": torch.zeros(4), f"{norm}.running_var": torch.ones(16)}
    state |= {"module.model.2.num_batches_tracked": torch.tensor(7)}
    card = import_model(stored(tmp_path / f"net{suffix}", state), "deblurgan", tmp_path / "w.safetensors")
    network, _ = load_model(tmp_path / "w.safetensors")
    assert card.arguments == {
        "channels": 3,
        "width": 4,
        "n_blocks": 2,
        "dropout": 0.5 if dropout else 0.0,
        "upsampling": "deconv",
    }
    assert (card.network, card.name) == ("deblurgan", "w")
    assert "BSD" in card.licence
    image = rand(1, 3, 24, 20, dtype=torch.float32)
    with torch.no_grad():
        assert_close(network(image), (published(2 * image - 1) + 1) / 2, rtol=0, atol=1e-5)


class Malice:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("malice-was-here"),)


def changed(**changes: object) -> dict[str, object]:
    """Published tensors with some replaced, or removed by None; the names have `__` for the point."""
    state = published_state() | {key.replace("__", "."): value for key, value in changes.items()}
    return {key: value for key, value in state.items() if value is not None}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (changed(model__26__weight=Malice()), "nothing in it was run"),
        (Malice(), "nothing in it was run"),
        ([1, 2], "named tensors"),
        (changed(model__26__weight=3), "named tensors"),
        (changed(model__26__bias=torch.zeros(3, dtype=torch.complex64)), "named tensors"),
        (changed(model__26__bias=torch.full((3,), float("nan"))), "NaN"),
        (changed(model__2__weight=torch.ones(4)), r"'model\.2\.weight' is unknown"),
        (
            changed(model__4__weight=torch.ones(8, 4, 4, 4)),
            r"'model\.4\.weight' has shape \(8, 4, 4, 4\) .* \(8, 4, 3, 3\)",
        ),
        (changed(model__11__conv_block__6__weight=None), r"'model\.11\.conv_block\.6\.weight' is missing"),
        (changed(model__1__weight=None), "no generator of DeblurGAN"),
        (changed(model__1__weight=torch.zeros(0, 3, 7, 7)), "width"),
        ({"convs.0.weight": torch.ones(4, 3, 3, 3)}, "no generator of DeblurGAN"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_what_is_no_published_generator_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: object, words: str, suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = stored(tmp_path / f"net{suffix}", state)
    with pytest.raises(WeightsError, match=words) as caught:
        import_model(path, "deblurgan", tmp_path / "w.safetensors")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("length", [0, 1, 100, 2000, -1])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_a_published_file_cut_short_is_named(tmp_path: Path, length: int, suffix: str) -> None:
    path = stored(tmp_path / f"net{suffix}", published_state())
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(WeightsError, match="damaged"):
        import_model(path, "deblurgan", tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("failure", "error", "words"),
    [
        (PermissionError(13, "Permission denied"), WeightsError, "cannot be read"),
        (MemoryError(), ResourceError, "not enough memory"),
    ],
)
def test_a_file_that_cannot_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception, error: type[Exception], words: str
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise failure

    path = stored(tmp_path / "net.pth", published_state())
    monkeypatch.setattr(torch, "load", refused)
    with pytest.raises(error, match=words):
        import_model(path, "deblurgan", tmp_path / "w.safetensors")


def test_a_missing_file_and_an_unknown_kind_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no\.pth: no such file"):
        import_model(tmp_path / "no.pth", "deblurgan", tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="'esrgan' is no kind of weights that can be imported; choose dae"):
        import_model(tmp_path / "no.pth", "esrgan", tmp_path / "w.safetensors")


# --- weights of resharp 0.1 -------------------------------------------------------------------------------------------


def first_format(path: Path, made: nn.Module, **card: object) -> Path:
    stored = {"format": 1, "network": "dae", "arguments": made.arguments, "licence": "CC0", **card}
    safetensors.torch.save_file(made.state_dict(), path, {"resharp": json.dumps(stored)})
    return path


@pytest.mark.parametrize("sigma", [None, 0.04])
def test_weights_of_the_first_format_are_converted(tmp_path: Path, sigma: float | None) -> None:
    old = first_format(tmp_path / "old.safetensors", SMALL["dae"](), noise_sigma=sigma)
    with pytest.raises(WeightsError, match=r"convert it by `resharp models import .*--as resharp"):
        load_model(old)
    card = import_model(old, "resharp", tmp_path / "new.safetensors")
    expected = Contract("deblur", halo=3) if sigma is None else Contract("denoise", halo=3, noise_sigma=(sigma, sigma))
    assert (card.name, card.licence, card.contract) == ("new", "CC0", expected)
    image = rand(1, 3, 8, 12, dtype=torch.float32)
    assert torch.equal(load_model(tmp_path / "new.safetensors")[0](image), SMALL["dae"]()(image))


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({"format": 2}, r"is no weights file of resharp 0\.1"),
        ({"network": "vnet"}, r"is no weights file of resharp 0\.1"),
        ({"arguments": {"width": 5, "depth": 3}}, "do not fit each other"),
        ({"arguments": {"width": -1}}, "do not fit each other"),
        ({"noise_sigma": "11"}, "do not fit each other"),
        ({"noise_sigma": [1]}, "do not fit each other"),
    ],
)
def test_what_is_none_of_the_first_format_is_named(tmp_path: Path, card: dict[str, object], words: str) -> None:
    old = first_format(tmp_path / "old.safetensors", SMALL["dae"](), **card)
    with pytest.raises(WeightsError, match=words) as caught:
        import_model(old, "resharp", tmp_path / "new.safetensors")
    assert "\n" not in str(caught.value)


def test_the_file_to_import_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    safetensors.torch.save_file(published_state(), path)
    before = path.read_bytes()
    with pytest.raises(WeightsError, match="is the file to import"):
        import_model(path, "deblurgan", tmp_path / "." / "net.safetensors")
    assert path.read_bytes() == before
