"""Models by name or file: safetensors that carry their network, its contract, training data, licence and hash.

Nothing here runs code from a file: pickles are refused, foreign files pass through `importers`, and a network of one's
own is imported only where the caller names it, too.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from resharp.device import is_out_of_memory
from resharp.errors import ArgumentError, WeightsError, did_you_mean
from resharp.files import written_whole
from resharp.networks import NETWORKS
from resharp.own_code import imported, is_own

from .contract import Contract

SHIPPED = {
    name: f"{name}.safetensors" for name in ("dae-sigma11", "deblur", "deblur-psnr", "denoiser-light", "upscale")
}
DEFAULT_DENOISER = "dae-sigma11"
LIGHT_DENOISER = "denoiser-light"  # of any level, an eighth of the other's cost
DEFAULT_DEBLUR = "deblur"
DEFAULT_UPSCALER = "upscale"

_CARD_KEY = "resharp"  # one key, since safetensors orders several at random and the file's hash would change

# How the usual pickle containers begin: torch's zip, and bare pickles of protocol 2 to 5.
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_TEXTS = ("name", "training_data", "licence", "quality")  # of a card
_FORMAT = 2  # of the card; readers ignore keys that they do not know


@dataclass(frozen=True)
class Card:
    """What a model's file says of itself.  network: a row of NETWORKS, or "package.module:Name"."""

    network: str
    arguments: dict[str, int | float | bool | str | list[int]]
    contract: Contract
    name: str = "not stated"
    training_data: str = "not stated"
    licence: str = "not stated"
    quality: str = "not stated"
    sha256: str = ""
    path: str = ""


def model_path(name_or_file: str | Path) -> Path:
    """Where the model of a shipped name, or of a file, lies.  Raises WeightsError where there is none, and for a name
    that could be both."""
    name, path = str(name_or_file), Path(name_or_file)
    try:
        is_folder, is_there = path.is_dir() and name != "", path.is_file()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None
    if name in SHIPPED and isinstance(name_or_file, str):
        if is_there:
            raise WeightsError(f"{name}: is a shipped model and a file here; write ./{name} for the file")
        return Path(str(resources.files("resharp") / "assets" / SHIPPED[name]))
    if is_folder:
        raise WeightsError(f"{path}: is a folder; name a .safetensors file or one of {', '.join(SHIPPED)}")
    if not is_there:
        hint = did_you_mean(name, SHIPPED, things="shipped models")
        raise WeightsError(f"{name}: no such model; {hint}; a .safetensors file will do")
    return path


def read_card(name_or_file: str | Path) -> Card:
    """The card of a model, without loading it.  Raises WeightsError for unsafe, damaged or foreign files."""
    path = model_path(name_or_file)
    data = _read(path)
    stored = stored_card(path)
    if stored.get("format") == 1:
        raise WeightsError(
            f"{path}: says not what it is for, as files of resharp 0.1 did not; convert it by "
            f"`resharp models import {path} --as resharp -o NEW.safetensors`"
        )
    if stored.get("format") != _FORMAT:
        raise WeightsError(f"{path}: its card has format {stored.get('format')!r}, known is {_FORMAT}; update resharp")
    if not (isinstance(stored.get("arguments"), dict) and isinstance(stored.get("network"), str)):
        raise WeightsError(f"{path}: its card names no network with arguments; write it again with `save_model`")
    if odd := next((key for key in _TEXTS if not isinstance(stored.get(key, ""), str)), None):
        raise WeightsError(f"{path}: its card's {odd!r} is no text; write it again with `save_model`")
    stored["contract"] = Contract.from_stored(stored.get("contract"), name=str(path))
    known = {field.name for field in dataclasses.fields(Card)}
    card = Card(**{key: value for key, value in stored.items() if key in known})
    return dataclasses.replace(card, sha256=hashlib.sha256(data).hexdigest(), path=str(path))


def stored_card(path: Path) -> dict[str, Any]:
    """The card as the file holds it, of any format.  Raises WeightsError."""
    try:
        with safe_open(path, framework="pt") as file:
            stored = json.loads((file.metadata() or {}).get(_CARD_KEY, "null"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: is damaged or no safetensors file ({error}); get the file again") from None
    if not isinstance(stored, dict):
        raise WeightsError(f"{path}: safetensors without resharp's card; see `resharp models import`")
    return stored


def load_model(name_or_file: str | Path, *, network: str | type[nn.Module] | None = None) -> tuple[nn.Module, Card]:
    """The network in eval mode, float32 on the CPU, and its card.  Raises WeightsError.

    network: of weights whose network is none of NETWORKS, its class or "package.module:Name", which is then imported.
    """
    card = read_card(name_or_file)
    build = _class_of(card, network)
    try:
        built = _built(build, card)
        built.load_state_dict(read_state(card), assign=True)
    except WeightsError:
        raise
    except Exception as error:  # the class may be anybody's
        if is_out_of_memory(error):
            raise
        raise WeightsError(f"{card.path}: tensors and card do not fit each other ({last_line(error)})") from None
    return built.eval(), card


def _built(build: type[nn.Module], card: Card) -> nn.Module:
    """The network without its weights.  Of ours no memory is spent on what a card claims before its tensors bear it
    out; others may hold what no file has, and are built whole, apart from the random numbers of the caller."""
    if card.network in NETWORKS:
        with torch.device("meta"):
            return build(**card.arguments)
    with torch.random.fork_rng(devices=[]):
        return build(**card.arguments)


def _class_of(card: Card, named: str | type[nn.Module] | None) -> type[nn.Module]:
    """The class that a card means.  Raises WeightsError where that is somebody's code which the caller did not name."""
    if isinstance(named, type):
        if NETWORKS.get(card.network, named) is not named:
            raise WeightsError(f"{card.path}: is of network {card.network!r}, not of {named.__qualname__!r}")
        return named
    if named is not None and named != card.network:
        raise WeightsError(f"{card.path}: is of network {card.network!r}, not of {named!r}")
    if card.network in NETWORKS:
        return NETWORKS[card.network]
    if named is None and is_own(card.network):
        raise WeightsError(
            f"{card.path}: is of a network of somebody's own; if you trust that code, name it: "
            f"--network {card.network} (in Python network={card.network!r})"
        )
    if named is None:
        raise WeightsError(f"{card.path}: is of network {card.network!r}; known here: {', '.join(NETWORKS)}")
    try:
        found = imported(named)
    except ArgumentError as error:
        raise WeightsError(f"{card.path}: its network {error}") from None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise WeightsError(f"{card.path}: {named} is no class of torch.nn.Module")
    return found


def check_task(card: Card, task: str | None) -> None:
    """Raises WeightsError for a model of another task, and says which command takes it."""
    found = card.contract.task
    if task is None or found == task:
        return
    takers = {
        "denoise": "resharp denoise, or deconvolve --model",
        "deblur": "resharp deblur",
        "upscale": "resharp upscale",
        "degrade": "resharp degrade realistic",
    }
    serves = f"; it serves {takers[found]}" if found in takers else ""
    raise WeightsError(f"{card.path}: is for the task {found!r}, not for {task!r}{serves}")


def read_state(card: Card) -> dict[str, Tensor]:
    """The tensors of the file that a card was read from, fractions in float32, on the CPU.  Raises WeightsError."""
    try:
        stored = safetensors.torch.load(_read(Path(card.path)))
    except (SafetensorError, ValueError) as error:
        raise WeightsError(f"{card.path}: is damaged ({str(error).splitlines()[0]}); get the file again") from None
    if any(tensor.is_complex() for tensor in stored.values()):
        raise WeightsError(f"{card.path}: holds complex numbers; weights are real")
    state = {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in stored.items()}
    if not all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
        raise WeightsError(f"{card.path}: holds NaN or infinite values; train or fetch it again")
    return state


def save_model(network: nn.Module, path: str | Path, card: Card) -> None:
    """Write a network as safetensors with its card, whole or not at all; the card's hash and path are not stored.

    The same network and card give the same bytes.  Raises WeightsError for a suffix other than .safetensors.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise WeightsError(f"{path}: weights are written as .safetensors; choose that suffix")
    stored = {"format": _FORMAT, **dataclasses.asdict(card)}
    del stored["sha256"], stored["path"]
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in network.state_dict().items()}
    with written_whole(path) as file:
        file.write(safetensors.torch.save(state, {_CARD_KEY: json.dumps(stored)}))


def last_line(error: Exception) -> str:
    """What torch names at the end: a tensor, and what it should be."""
    return (str(error).splitlines() or [type(error).__name__])[-1].strip()


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None
    # Safetensors begin with the length of a JSON header, whose bytes may look like a pickle's first ones.
    is_safetensors = data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8
    if data.startswith(_PICKLE_STARTS) and not is_safetensors:
        raise WeightsError(f"{path}: is a pickle, which can run code when opened; only .safetensors are loaded")
    return data
