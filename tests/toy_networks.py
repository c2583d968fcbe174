"""Small networks for tests: one of each row of NETWORKS, and such as nobody ships, to be named by their place here."""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from resharp.models import Card, contract_of, save_model
from resharp.networks import BGAN, DAE, DBGAN, NETWORKS, DeblurGAN, MPRNet, NAFNet, Refiner, SFTNet, UNet, noise_for
from resharp.networks.blocks import corrected
from resharp.restorers import NetworkRestorer


def shaken(network: nn.Module) -> nn.Module:
    """A new network without the zeros of its start, behind which a fault could hide."""
    draws = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=draws))
    return network.eval().requires_grad_(False)


def _new(make: Callable[..., nn.Module], **arguments: Any) -> Callable[[], nn.Module]:
    return lambda: shaken(make(**arguments, generator=torch.Generator().manual_seed(1)))


SMALL: dict[str, Callable[[], nn.Module]] = {
    "bgan": _new(BGAN, width=4, n_blocks=1, blocks="plain"),
    "dae": _new(DAE, width=4, depth=3),
    "dbgan": _new(DBGAN, width=4, n_blocks=1, growth=2),
    "deblurgan": _new(DeblurGAN, width=4, n_blocks=1),
    "mprnet": _new(MPRNet, width=4, widening=2, widening_full=1, n_blocks=1),
    "nafnet": _new(NAFNet, width=4, encoder_blocks=[1, 2], decoder_blocks=[1, 1]),
    "sftnet": _new(SFTNet, scale=1, width=4, n_blocks=1),
    "unet": _new(UNet, widths=[4, 8], blocks=[1, 1]),
}


refiner = _new(Refiner, widths=[4, 8], blocks=[1, 1])


@functools.cache
def toy_bgan() -> Path:
    """Weights of a small BGAN that visibly changes a photo, in a folder of this process."""
    return saved(SMALL["bgan"](), Path(tempfile.mkdtemp(prefix="resharp-toy-")) / "bgan.safetensors", "degrade")


def beside(network: nn.Module, image: Tensor) -> list[Tensor]:
    """What a network takes beside images (N, 3, H, W), the same whenever it is asked."""
    draws, scale = torch.Generator().manual_seed(2), getattr(network, "scale", 1)
    (n, _, height, width), made = image.shape, dict[str, Tensor]()
    made["noise"] = torch.stack([noise_for(network, height, width, draws) for _ in range(n)]).to(image)
    shape = (n, getattr(network, "n_classes", 8), scale * height, scale * width)
    made["segmentation"] = torch.rand(shape, generator=draws).softmax(1).to(image)
    made["undone"] = torch.rand(n, 7, height, width, generator=draws).to(image)
    return [made[name] for name in getattr(network, "takes", ()) if name in made]


class Doubler(nn.Module):
    """An upscaler: nearest neighbours and a correction, on a grid of 4 pixels."""

    scale = 2
    multiple_of = 4
    halo = 7

    def __init__(self, *, strength: float = 0.1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(48, 192, 3, padding=1)
        self.strength = strength
        self.arguments: dict[str, Any] = {"strength": strength}
        self.register_buffer("steps", torch.arange(8) % 2, persistent=False)  # known by its code, not by its file

    def forward(self, image: Tensor) -> Tensor:
        correction = functional.pixel_shuffle(self.conv(functional.pixel_unshuffle(image.to(self.conv.weight), 4)), 8)
        waves = self.steps.repeat(correction.shape[-1] // 8).to(correction)
        return corrected(functional.interpolate(image, scale_factor=2), self.strength * (correction + waves))


class Loud(nn.Module):
    """Fails as only somebody's own code does."""

    def __init__(self) -> None:
        super().__init__()
        raise KeyError("no such layer")


def segments(image: Tensor, scale: int = 1) -> Tensor:
    """Maps for an SFTNet, a function of the image."""
    planes = torch.stack([image.mean(-3) * (0.2 + 0.1 * number) for number in range(8)], -3)
    return planes.repeat_interleave(scale, -1).repeat_interleave(scale, -2)


def told(restorer: NetworkRestorer) -> dict[str, Any]:
    """What a restorer of SMALL has to be told."""
    scale = restorer.contract.scale
    return {"segmentation": lambda image: segments(image, scale)} if "segmentation" in restorer.accepts else {}


def doubler() -> Doubler:
    torch.manual_seed(0)
    return Doubler().eval().requires_grad_(False)


def saved(network: nn.Module, path: Path, task: str = "deblur", *, name: str = "", **card: Any) -> Path:
    """Written with its own contract.  name: of its class, where that is no row of NETWORKS."""
    levels = card.pop("noise_sigma", None)
    kind = name or next(row for row, known in NETWORKS.items() if type(network) is known)
    contract = contract_of(network, task, noise_sigma=levels)
    save_model(network, path, Card(kind, network.arguments, contract, **card))
    return path


def small(kind: str, precision: str = "float32", **settings: Any) -> NetworkRestorer:
    network = SMALL[kind]()
    return NetworkRestorer(network, contract_of(network, "deblur"), device="cpu", precision=precision, **settings)
