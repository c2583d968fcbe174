"""SRResNet, MSRResNet and the light upscaler: published sizes, published files, and what becomes of photos."""

import re
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

import resharp
from resharp.data.folders import photo_paths
from resharp.degradations import Resize
from resharp.degradations.resample import resize_as_matlab
from resharp.errors import WeightsError
from resharp.models import contract_of, load_model, model_path
from resharp.models.importers import import_model
from resharp.networks import LightUpscaler, MSRResNet, SRResNet
from resharp.photo import Photo, read_photo, write_photo
from resharp.restorers import NetworkRestorer, open_restorer, restore_photo
from tests.conftest import rand, reference
from tests.toy_networks import shaken


def n_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_networks_have_their_published_sizes() -> None:
    assert n_parameters(SRResNet()) == 1_547_350
    assert n_parameters(SRResNet(bias=True)) == 1_549_462
    assert n_parameters(MSRResNet()) == 1_517_571
    assert n_parameters(LightUpscaler()) == 694_192


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("kind", [SRResNet, MSRResNet, LightUpscaler])
def test_every_scale_comes_out(kind: type[nn.Module], scale: int) -> None:
    network = kind(scale=scale, width=4, n_blocks=1).eval()
    assert network(rand(1, 3, 1, 5, dtype=torch.float32)).shape == (1, 3, scale, 5 * scale)


def test_a_scale_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="scale of an SRResNet is one of 2, 3, 4, 8; 5 is not"):
        SRResNet(scale=5)


def test_a_new_light_upscaler_enlarges_bilinearly() -> None:
    image = rand(1, 3, 6, 7, dtype=torch.float32)
    assert_close(LightUpscaler()(image), functional.interpolate(image, scale_factor=4, mode="bilinear"))


# --- published files --------------------------------------------------------------------------------------------------


class Block(nn.Module):
    """As Lornatang's SRGAN-PyTorch lays it out."""

    def __init__(self) -> None:
        super().__init__()
        convs = [nn.Conv2d(8, 8, 3, 1, 1, bias=False) for _ in range(2)]
        self.rcb = nn.Sequential(convs[0], nn.BatchNorm2d(8), nn.PReLU(), convs[1], nn.BatchNorm2d(8))

    def forward(self, features: Tensor) -> Tensor:
        made: Tensor = self.rcb(features) + features
        return made


class Up(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.upsample_block = nn.Sequential(nn.Conv2d(8, 32, 3, 1, 1), nn.PixelShuffle(2), nn.PReLU())

    def forward(self, features: Tensor) -> Tensor:
        made: Tensor = self.upsample_block(features)
        return made


def lornatang(image: Tensor, parts: nn.ModuleDict) -> Tensor:
    first = parts["conv1"](image)
    made: Tensor = parts["conv3"](parts["upsampling"](first + parts["conv2"](parts["trunk"](first))))
    return made


def shaken_parts() -> nn.ModuleDict:
    parts = nn.ModuleDict(
        OrderedDict(
            conv1=nn.Sequential(nn.Conv2d(3, 8, 9, 1, 4), nn.PReLU()),
            trunk=nn.Sequential(Block(), Block()),
            conv2=nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)),
            upsampling=nn.Sequential(Up(), Up()),
            conv3=nn.Conv2d(8, 3, 9, 1, 4),
        )
    )
    for module in parts.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(8) * 0.1
            module.running_var = torch.rand(8) + 0.5
        elif isinstance(module, nn.PReLU):
            module.weight.data.uniform_(0.1, 0.4)
    return parts.eval()


@pytest.mark.parametrize("name", ["conv", "conv_block"])  # of later and of earlier versions
def test_srresnet_is_the_published_one(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    parts, image = shaken_parts(), rand(1, 3, 9, 11, dtype=torch.float32)
    state = {
        key.replace("conv", name, 1) if key.startswith("conv") else key: t for key, t in parts.state_dict().items()
    }
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "srresnet.pth.tar")
    card = import_model(tmp_path / "srresnet.pth.tar", "srresnet", tmp_path / "s.safetensors")
    assert card.arguments == {"scale": 4, "channels": 3, "width": 8, "n_blocks": 2, "bias": False}
    assert (card.contract.task, card.contract.scale) == ("upscale", 4)
    network, _ = load_model(tmp_path / "s.safetensors")
    assert_close(network(image), lornatang(image, parts))


def msrresnet(image: Tensor, state: dict[str, Tensor], names: dict[str, str], *, active: bool) -> Tensor:
    """x4 as both publish it, by the names of either."""

    def conv(features: Tensor, name: str) -> Tensor:
        return functional.conv2d(features, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)

    features = functional.leaky_relu(conv(image, "conv_first"), 0.1)
    for block in range(2):
        place = f"{names['body']}.{block}"
        features = features + conv(torch.relu(conv(features, f"{place}.conv1")), f"{place}.conv2")
    for up in ("up1", "up2"):
        features = functional.pixel_shuffle(conv(features, names[up]), 2)
        features = functional.leaky_relu(features, 0.1) if active else features
    made = conv(functional.leaky_relu(conv(features, "conv_hr"), 0.1), "conv_last")
    return made + functional.interpolate(image, scale_factor=4, mode="bilinear")


BASICSR = {"body": "body", "up1": "upconv1", "up2": "upconv2"}
MMAGIC = {"body": "trunk_net", "up1": "upsample1.upsample_conv", "up2": "upsample2.upsample_conv"}


@pytest.mark.parametrize("is_basicsr", [True, False])
def test_msrresnet_is_the_published_one(tmp_path: Path, is_basicsr: bool) -> None:
    names = BASICSR if is_basicsr else MMAGIC
    sizes = {"conv_first": (8, 3), names["up1"]: (32, 8), names["up2"]: (32, 8), "conv_hr": (8, 8), "conv_last": (3, 8)}
    sizes |= {f"{names['body']}.{block}.conv{conv}": (8, 8) for block in range(2) for conv in (1, 2)}
    draws = torch.Generator().manual_seed(0)
    state = {f"{key}.weight": 0.2 * torch.randn(*size, 3, 3, generator=draws) for key, size in sizes.items()}
    state |= {f"{key}.bias": torch.randn(size[0], generator=draws) for key, size in sizes.items()}
    stored = (
        {"params": state} if is_basicsr else {"meta": {}, "state_dict": {f"generator.{k}": v for k, v in state.items()}}
    )
    torch.save(stored, tmp_path / "net.pth")
    card = import_model(tmp_path / "net.pth", "msrresnet", tmp_path / "m.safetensors")
    assert card.arguments == {"scale": 4, "channels": 3, "width": 8, "n_blocks": 2, "active_ups": is_basicsr}
    image = rand(1, 3, 7, 6, dtype=torch.float32)
    made = load_model(tmp_path / "m.safetensors")[0](image)
    assert_close(made, msrresnet(image, state, names, active=is_basicsr))


def test_files_of_others_are_named(tmp_path: Path) -> None:
    state = shaken_parts().state_dict()
    for change, words in (
        (lambda s: s.pop("conv3.bias"), "'conv3.bias' is missing"),
        (lambda s: s.update(odd=torch.zeros(1)), "'odd' is unknown in a SRResNet as published"),
        (
            lambda s: s.update({"conv3.bias": torch.zeros(4)}),
            r"'conv3.bias' has shape \(4,\) where a SRResNet has \(3,\)",
        ),
        (lambda s: s.pop("conv1.0.weight"), "is no srresnet as published"),
    ):
        changed = dict(state)
        change(changed)
        torch.save(changed, tmp_path / "net.pth")
        with pytest.raises(WeightsError, match=words):
            import_model(tmp_path / "net.pth", "srresnet", tmp_path / "s.safetensors")


# --- photos -----------------------------------------------------------------------------------------------------------


def restorer(**settings: int) -> NetworkRestorer:
    network = shaken(LightUpscaler(width=8, n_blocks=1))
    return NetworkRestorer(network, contract_of(network, "upscale"), precision="float32", **settings)


@pytest.mark.parametrize("kind", [SRResNet, MSRResNet, LightUpscaler])
def test_parts_are_the_whole(kind: type[nn.Module]) -> None:
    """The halo that a network states is exact, borders included."""
    network, image = shaken(kind(width=4, n_blocks=1)), rand(3, 97, 60, dtype=torch.float32)
    whole, cut = (
        NetworkRestorer(network, contract_of(network, "upscale"), precision="float32", tile=tile)
        for tile in (None, NetworkRestorer(network, contract_of(network, "upscale")).network.smallest_tile)
    )
    assert_close(cut(image).image, whole(image).image, rtol=0, atol=1e-5)


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_metadata_tell_the_new_size(tmp_path: Path, byteorder: str) -> None:
    """EXIF in both of its places, and XMP; all else stays."""
    exif = Image.Exif()
    exif.endian = byteorder
    exif[0x0100], exif[0x0101], exif[0x010F] = 9, 7, "Maker"
    exif.get_ifd(0x8769)[0xA002] = 9
    exif.get_ifd(0x8769)[0xA003] = 7
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0note"
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a exif:PixelXDimension="9"/>'
    xmp += b"<tiff:ImageLength>7</tiff:ImageLength></x:xmpmeta>"
    photo = Photo(rand(3, 7, 9, dtype=torch.float32), exif=exif.tobytes().removeprefix(b"Exif\0\0"), xmp=xmp)
    write_photo(restore_photo(photo, restorer())[0], tmp_path / "large.jpg")
    with Image.open(tmp_path / "large.jpg") as found:
        told, below = found.getexif(), found.getexif().get_ifd(0x8769)
    assert (told[0x0100], told[0x0101], told[0x010F]) == (36, 28, "Maker")
    assert (below[0xA002], below[0xA003], bytes(below[0x9286])) == (36, 28, b"ASCII\0\0\0note")
    packet = read_photo(tmp_path / "large.jpg").xmp
    assert packet is not None
    assert b'exif:PixelXDimension="36"' in packet
    assert b"<tiff:ImageLength>28<" in packet


def test_odd_tiny_transparent_and_deep_photos(tmp_path: Path) -> None:
    for size in ((1, 1), (1, 9), (5, 3)):
        planes = Photo(rand(3, *size, dtype=torch.float32), alpha=rand(*size, dtype=torch.float32), depth=16)
        large, _ = restore_photo(planes, restorer())
        assert large.image.shape == (3, 4 * size[0], 4 * size[1])
        assert large.alpha is not None
        assert large.alpha.shape == large.image.shape[-2:]
        write_photo(large, tmp_path / "large.png")
        again = read_photo(tmp_path / "large.png")
        assert (again.depth, again.image.shape) == (16, large.image.shape)


# --- the one that comes with resharp ----------------------------------------------------------------------------------


def y_psnr(large: Tensor, clean: Tensor) -> float:
    """Of BT.601's luma, four pixels of border left out."""
    red, green, blue = (large - clean)[:, 4:-4, 4:-4].double()
    error = (65.481 * red + 128.553 * green + 24.966 * blue) / 255
    return float(-10 * error.square().mean().log10())


def test_a_large_photo_is_cut_into_large_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the picture that they are put together in takes all that is meant for features."""
    monkeypatch.setattr("resharp.restorers.tiled.free_memory", lambda device: 24 << 30)
    network = open_restorer("upscale", device="cpu", precision="float32").network
    side, _ = network._layout(4000, 6000)
    assert side > 2 * network.smallest_tile
    assert network.bytes_for(4000, 6000, side) < 5e9
    monkeypatch.setattr("resharp.restorers.tiled.free_memory", lambda device: 4 << 30)
    assert network._layout(4000, 6000)[0] == network.smallest_tile


def test_the_shipped_upscaler_on_a_shipped_photo() -> None:
    """Stands in for Set5 where that set is not at hand."""
    clean = read_photo(model_path("upscale").parent / "demo-photo.png").image[:, :256, :256]
    small = resize_as_matlab((clean * 255).byte(), 0.25).float() / 255
    bicubic, ours = Resize(4.0)(small), resharp.upscale(small, precision="float32")
    assert y_psnr(bicubic, clean) == pytest.approx(23.56, abs=0.01)
    assert y_psnr(ours, clean) == pytest.approx(24.45, abs=0.02)


def test_the_shipped_upscaler_has_the_quality_of_its_card() -> None:
    folder, found = reference("sr") / "set5", []
    for path in photo_paths(folder / "lr_x4"):
        large = resharp.upscale(read_photo(path).image, precision="float32")
        found.append(y_psnr(large, read_photo(folder / "hr" / path.name).image))
    card = model_path("upscale").with_suffix(".md").read_text(encoding="utf-8")
    claimed = re.search(r"\| Set5 \| [\d.]+ dB[^|]*\| \*?\*?([\d.]+) dB", card)
    assert claimed is not None
    assert sum(found) / len(found) == pytest.approx(float(claimed[1]), abs=0.01)
