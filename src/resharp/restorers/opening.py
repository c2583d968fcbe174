"""Anything that restores, opened as a Restorer: a model by name or file, a network, a function."""

import copy
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast, final

import numpy as np
import torch
from torch import Tensor, nn

from resharp.device import is_out_of_memory
from resharp.errors import ArgumentError, ResharpError, WeightsError, did_you_mean
from resharp.image import as_image
from resharp.models import DEFAULT_DENOISER, Card, Contract, contract_of, load_model
from resharp.own_code import imported, is_own, told

from .base import Progress, Restored, Restorer, check_known
from .network import NetworkDenoiser, NetworkRestorer

TELLABLE = ("kernel", "noise_sigma", "scale", "pattern", "segmentation")
"""What a restorer may be told of a degradation."""

_SETTINGS = {"tile", "samples"}  # of a NetworkRestorer


def open_restorer(
    what: str | Path | nn.Module | Callable[..., Any],
    *,
    device: str = "auto",
    precision: str = "auto",
    network: str | type[nn.Module] | None = None,
    task: str | None = None,
    **settings: Any,
) -> Restorer:
    """A model by name or file, "package.module:function", a function of images (..., 3, H, W), a network, or a
    Restorer, which is given back as it is.

    device, precision: of networks; "auto" is an accelerator where there is one, and bfloat16 where it is fast there.
    network: the class or "package.module:Name" of a file whose network is none of ours, which is then imported.
    task: what the model must be for, a row of `models.TASKS`.  settings: `tile` and `samples`, see `NetworkRestorer`.
    A function is told by keyword what its signature names of TELLABLE.  Raises ArgumentError, also for settings that
    would have no effect, WeightsError and ResourceError.
    """
    for key in settings:
        if key not in _SETTINGS:
            raise ArgumentError(f"{key} is no setting of a restorer; {did_you_mean(key, _SETTINGS)}")
    settings = {key: value for key, value in settings.items() if value is not None}
    if isinstance(what, nn.Module):
        contract = getattr(what, "contract", None) or contract_of(what, task or "deblur")
        return NetworkRestorer(copy.deepcopy(what), contract, device=device, precision=precision, **settings)
    if isinstance(what, str | Path) and not is_own(str(what)):
        return _from_file(what, device, precision, network, task, settings)
    if settings or device not in ("auto", "cpu") or precision not in ("auto", "float32") or network is not None:
        raise ArgumentError(f"{what} has a device and settings of its own; leave device, precision and settings out")
    found = imported(str(what)) if isinstance(what, str | Path) else what
    if isinstance(found, type) or not callable(found):
        raise ArgumentError(f"{what}: is no function of an image; of a network's class, name the file of its weights")
    if isinstance(getattr(found, "contract", None), Contract):
        return cast(Restorer, found)
    return FunctionRestorer(found, name=str(what) if isinstance(what, str) else getattr(found, "__qualname__", "it"))


def _from_file(
    what: str | Path,
    device: str,
    precision: str,
    network: str | type[nn.Module] | None,
    task: str | None,
    settings: dict[str, Any],
) -> Restorer:
    built, card = load_model(what, network=network)
    check_rgb(card)
    check_task(card, task)
    return NetworkRestorer(built, card.contract, device=device, precision=precision, name=str(what), **settings)


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
    built, card = load_model(what, network=network)
    check_rgb(card)
    check_task(card, "denoise")
    return NetworkDenoiser(built, card.contract, device=device, precision=precision, name=str(what))


def check_task(card: Card, task: str | None) -> None:
    """Raises WeightsError for a model of another task, and says which command takes it."""
    found = card.contract.task
    if task is None or found == task:
        return
    takers = {
        "denoise": "resharp denoise, or deconvolve --model",
        "deblur": "resharp deblur",
        "upscale": "resharp upscale",
    }
    serves = f"; it serves {takers[found]}" if found in takers else ""
    raise WeightsError(f"{card.path}: is for the task {found!r}, not for {task!r}{serves}")


def check_rgb(card: Card) -> None:
    """Raises WeightsError for a network of images with another number of channels than photos have."""
    if card.arguments.get("channels", 3) != 3:
        raise WeightsError(f"{card.path}: is for images of {card.arguments['channels']} channels; photos have 3")


@final
class FunctionRestorer:
    """A function of an image (..., 3, H, W) as a restorer; it is told what its signature names of TELLABLE."""

    contract = Contract("deblur")

    def __init__(self, function: Callable[..., Any], *, name: str) -> None:
        self.name, self._function = name, function
        self.accepts, self.needs = tellable(function)

    def __call__(self, image: Tensor, *, seed: int = 0, progress: Progress | None = None, **known: Any) -> Restored:
        """Raises ArgumentError where the function fails, or gives no picture."""
        del seed, progress
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
        if not isinstance(picture, Tensor) or not picture.is_floating_point() or picture.layout != torch.strided:
            kind = type(picture).__name__ if not isinstance(picture, Tensor) else f"tensor of {picture.dtype}"
            raise ArgumentError(f"{self.name} gave a {kind}; wanted is a float tensor (3, H, W) in [0, 1]")
        return Restored(picture)


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
