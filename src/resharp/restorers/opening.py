"""Anything that restores, opened as a Restorer: a model by name or file, a network, a function."""

import copy
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast, final

import numpy as np
import torch
from torch import Tensor, nn

from resharp.degradations.ranges import checked_seed
from resharp.device import is_out_of_memory
from resharp.errors import ArgumentError, ResharpError, WeightsError, did_you_mean
from resharp.image import as_image
from resharp.models import (
    BLIND,
    DEFAULT_DENOISER,
    Card,
    Contract,
    contract_of,
    finds_blur,
    load_model,
)
from resharp.own_code import imported, is_own, told

from .base import Progress, Restored, Restorer, check_known
from .base import told as heard
from .blind import BlindRestorer
from .network import MOST_BESIDE_A_SOLVER, NetworkDenoiser, NetworkRestorer
from .tiled import TiledNetwork

TELLABLE = ("kernel", "noise_sigma", "scale", "pattern", "segmentation")
"""What a restorer may be told of a degradation."""

_SETTINGS = {"tile", "samples"}  # of a NetworkRestorer
_BLIND_SETTINGS = {"gamma", "largest"}


def open_restorer(
    what: str | Path | nn.Module | Callable[..., Any],
    *,
    device: str = "auto",
    precision: str = "auto",
    network: str | type[nn.Module] | None = None,
    task: str | None = None,
    **settings: Any,
) -> Restorer:
    """A model by name or file, "blind" (a `BlindRestorer` with our denoiser), "package.module:function", a function of
    images (..., 3, H, W), a network, or a Restorer, which is given back as it is.

    device, precision: of networks; "auto" is an accelerator where there is one, and bfloat16 where it is fast there.
    network: the class or "package.module:Name" of a file whose network is none of ours, which is then imported.
    task: what the model must be for, a row of `models.TASKS`.  settings: `tile` and `samples`, see `NetworkRestorer`;
    of "blind", and of models that refine what it makes, `gamma` and `largest`, see `BlindRestorer`.
    A function is told by keyword what its signature names of TELLABLE.  Raises ArgumentError, also for settings that
    would have no effect, WeightsError and ResourceError.
    """
    settings = {key: value for key, value in settings.items() if value is not None}
    usual = _BLIND_SETTINGS if finds_blur(what) else _SETTINGS
    for key in settings:
        if key not in usual:
            raise ArgumentError(f"{_named(what)} has no setting {key}; {did_you_mean(key, usual)}")
    if what == BLIND:
        return _blind(device, precision, network, task, settings)
    if isinstance(what, Path) or (isinstance(what, str) and not is_own(what)):
        return _from_file(what, device, precision, network, task, settings)
    if network is not None:
        raise ArgumentError(f"{_named(what)} is no file of weights and takes no network; leave it out")
    found = imported(what) if isinstance(what, str) else what
    if isinstance(found, nn.Module) and not _is_function(found):
        return _from_network(found, device, precision, task, settings, name=_named(what))
    if settings or device != "auto" or precision != "auto":
        raise ArgumentError(f"{_named(what)} has a device and settings of its own; leave device, precision, tile out")
    if isinstance(found, type) or not callable(found):
        raise ArgumentError(f"{what}: is no function of an image; of a network's class, name the file of its weights")
    contract = getattr(found, "contract", None)
    if not isinstance(contract, Contract):
        return FunctionRestorer(found, name=_named(what))
    if task not in (None, contract.task):
        raise ArgumentError(f"the restorer is for the task {contract.task!r}, not for {task!r}")
    return cast(Restorer, found)


def _named(what: object) -> str:
    return what if isinstance(what, str) else getattr(what, "__qualname__", type(what).__name__)


def _is_function(network: nn.Module) -> bool:
    """Whether a network that states neither contract nor inputs wants to be told of the degradation, as a function."""
    states = isinstance(getattr(network, "contract", None), Contract) or hasattr(network, "takes")
    return not states and bool(tellable(network)[0])


def _from_network(
    network: nn.Module, device: str, precision: str, task: str | None, settings: dict[str, Any], *, name: str
) -> Restorer:
    contract = getattr(network, "contract", None)
    if not isinstance(contract, Contract):
        if task == "denoise":
            raise ArgumentError(f"{name} says not which noise it takes off; give it a `contract`, see `contract_of`")
        contract = contract_of(network, getattr(network, "task", task or "deblur"))
    if task not in (None, contract.task):
        raise ArgumentError(f"{name} is for the task {contract.task!r}, not for {task!r}")
    placed = copy.deepcopy(network)
    return NetworkRestorer(placed, contract, device=device, precision=precision, name=name, **settings)


def _blind(
    device: str, precision: str, network: str | type[nn.Module] | None, task: str | None, settings: dict[str, Any]
) -> Restorer:
    if Path(BLIND).exists():
        raise ArgumentError(f"{BLIND}: is a way to deblur and stands here, too; write ./{BLIND} for what stands here")
    if network is not None or task not in (None, "deblur"):
        raise ArgumentError(f"{BLIND} deblurs and takes no network of its own; leave it out, or name a file of weights")
    return BlindRestorer(open_denoiser(DEFAULT_DENOISER, device=device, precision=precision), **settings)


def _from_file(
    what: str | Path,
    device: str,
    precision: str,
    network: str | type[nn.Module] | None,
    task: str | None,
    settings: dict[str, Any],
) -> Restorer:
    built, card = load_model(what, network=network, task=task)
    check_rgb(card)
    if "undone" not in card.contract.takes:
        return NetworkRestorer(built, card.contract, device=device, precision=precision, name=str(what), **settings)
    refiner = TiledNetwork(built, card.contract, device=device, precision=precision, most_on_cpu=MOST_BESIDE_A_SOLVER)
    denoiser = open_denoiser(DEFAULT_DENOISER, device=device, precision=precision)
    return BlindRestorer(denoiser, refiner=refiner, **settings)


def open_denoiser(
    what: str | Path | NetworkDenoiser = DEFAULT_DENOISER,
    *,
    device: str = "auto",
    precision: str = "auto",
    network: str | type[nn.Module] | None = None,
) -> NetworkDenoiser:
    """The model of a denoiser as `priors.Denoiser`, model(x, sigma).  Raises WeightsError for one of another task."""
    if isinstance(what, NetworkDenoiser):
        if device != "auto" or precision != "auto" or network is not None:
            raise ArgumentError("an opened denoiser has a device and a precision already; leave them out")
        return what
    built, card = load_model(what, network=network, task="denoise")
    check_rgb(card)
    return NetworkDenoiser(built, card.contract, device=device, precision=precision, name=str(what))


def check_rgb(card: Card) -> None:
    """Raises WeightsError for a network of images with another number of channels than photos have."""
    if card.arguments.get("channels", 3) != 3:
        raise WeightsError(f"{card.path}: is for images of {card.arguments['channels']} channels; photos have 3")


@final
class FunctionRestorer:
    """A function of an image (..., 3, H, W) as a restorer; it is told what its signature names of TELLABLE.

    What it gives is not clipped: protocols judge it as it is, and photos are clipped when they are written.
    """

    contract = Contract("deblur")

    def __init__(self, function: Callable[..., Any], *, name: str) -> None:
        self.name, self._function = name, function
        self.accepts, self.needs = tellable(function)

    def __call__(self, image: Tensor, *, seed: int = 0, progress: Progress | None = None, **known: Any) -> Restored:
        """Raises ArgumentError where the function fails, or gives no picture."""
        checked_seed(seed)
        check_known(known, self.accepts, name=self.name)
        try:
            restored: Any = self._function(image.clone(), **known)
        except ResharpError:
            raise
        except (Exception, SystemExit) as error:  # anybody's code; one picture's failure ends no run
            if is_out_of_memory(error):
                raise
            raise ArgumentError(f"{self.name} failed ({told(error)})") from error
        picture = as_image(restored) if isinstance(restored, np.ndarray) else restored
        if not isinstance(picture, Tensor) or not picture.is_floating_point() or has_no_pixels(picture):
            kind = type(picture).__name__
            if isinstance(picture, Tensor):
                kind = f"tensor of {picture.dtype} ({picture.layout}, on {picture.device})"
            raise ArgumentError(f"{self.name} gave a {kind}; wanted is a float tensor (3, H, W) in [0, 1]")
        heard(progress, 1, 1)
        return Restored(picture.detach().float())


def has_no_pixels(picture: Tensor) -> bool:
    """Whether it is sparse, or on the device `meta`."""
    return picture.layout != torch.strided or picture.is_meta


def tellable(function: Callable[..., Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(what of TELLABLE a function's signature names, the names of parameters that it cannot be called without)."""
    try:
        seen = function.forward if isinstance(function, nn.Module) else function
        parameters = list(inspect.signature(seen).parameters.values())
    except (TypeError, ValueError):  # of builtins
        return (), ()
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    by_name = [p for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    first = 0 if parameters and parameters[0].kind is parameters[0].POSITIONAL_ONLY else 1
    names = {p.name for p in by_name}
    needed = tuple(p.name for p in by_name[first:] if p.default is p.empty)
    return tuple(one for one in TELLABLE if takes_all or one in names), needed
