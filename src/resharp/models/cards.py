"""Models by name or file, as far as their cards tell: without torch, so that a mistake is told at once."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from resharp.errors import WeightsError, did_you_mean
from resharp.own_code import is_own

from .contract import Contract

SHIPPED = {
    name: f"{name}.safetensors"
    for name in (
        "bgan",
        "blind-refined",
        "blur-detector",
        "dae-sigma11",
        "dbgan",
        "denoiser",
        "denoiser-light",
        "denoiser-unrolled",
        "srgan",
        "srresnet",
        "upscale",
    )
}
DEFAULT_DENOISER = "denoiser-light"  # of solvers, which ask often
BEST_DENOISER = "denoiser"  # of noise alone, at 2.1 times the cost
UNROLLED_DENOISER = "denoiser-unrolled"  # learned within the solver, for known blur
PUBLISHED_DENOISER = "dae-sigma11"  # what Deep Mean-Shift Priors were published with; eight times the cost
DEFAULT_DEBLUR = "blind-refined"
DEFAULT_UPSCALER = "upscale"

BLIND = "blind"
"""The name of the restorer that finds a photo's blur and undoes it, wherever a model's name could stand."""

CARD_KEY = "resharp"  # one key, since safetensors orders several at random and the file's hash would change

# How the usual pickle containers begin: torch's zip, and bare pickles of protocol 2 to 5.
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_TEXTS = ("name", "training_data", "licence", "quality")  # of a card
FORMAT = 2  # of the card; readers ignore keys that they do not know


@dataclass(frozen=True)
class Card:
    """What a model's file says of itself.  network: a row of NETWORKS or DETECTORS, or "package.module:Name"."""

    network: str
    arguments: dict[str, int | float | bool | str | list[int]]
    contract: Contract
    name: str = "not stated"
    training_data: str = "not stated"
    licence: str = "not stated"
    quality: str = "not stated"
    sha256: str = ""
    path: str = ""


def model_path(name_or_file: str | Path, *, task: str | None = None) -> Path:
    """Where the model of a shipped name, or of a file, lies.  Raises WeightsError where there is none, and for a name
    that could be both.  task: what it is wanted for, that no others are proposed."""
    name, path = str(name_or_file), Path(name_or_file)
    try:
        is_folder, is_there = path.is_dir() and name != "", path.is_file()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None
    if name in SHIPPED and isinstance(name_or_file, str):
        if is_there:
            raise WeightsError(f"{name}: is a shipped model and a file here; write ./{name} for the file")
        return _asset(name)
    if is_folder:
        raise WeightsError(f"{path}: is a folder; name a .safetensors file or one of {', '.join(_shipped_for(task))}")
    if not is_there:
        things = "shipped models" if task is None else f"shipped models for the task {task!r}"
        hint = did_you_mean(name, _shipped_for(task), things=things)
        raise WeightsError(f"{name}: no such model; {hint}; a .safetensors file will do")
    return path


def _asset(name: str) -> Path:
    return Path(str(resources.files("resharp") / "assets" / SHIPPED[name]))


def _shipped_for(task: str | None) -> list[str]:
    """`blind`, which is no model, stands for one wherever one deblurs."""
    suited = [name for name in SHIPPED if task in (None, stored_card(_asset(name))["contract"]["task"])]
    return [BLIND, *suited] if task == "deblur" else suited


def read_card(name_or_file: str | Path, *, task: str | None = None) -> Card:
    """The card of a model, without loading it.  task: what it must be for, a row of TASKS.

    Raises WeightsError for unsafe, damaged or foreign files, and for models of another task.
    """
    path = model_path(name_or_file, task=task)
    data = read_model_file(path)
    stored = stored_card(path)
    if stored.get("format") == 1:
        raise WeightsError(
            f"{path}: says not what it is for, as files of resharp 0.1 did not; convert it by "
            f"`resharp models import {path} --as resharp -o NEW.safetensors`"
        )
    if stored.get("format") != FORMAT:
        raise WeightsError(f"{path}: its card has format {stored.get('format')!r}, known is {FORMAT}; update resharp")
    if not (isinstance(stored.get("arguments"), dict) and isinstance(stored.get("network"), str)):
        raise WeightsError(f"{path}: its card names no network with arguments; write it again with `save_model`")
    if odd := next((key for key in _TEXTS if not isinstance(stored.get(key, ""), str)), None):
        raise WeightsError(f"{path}: its card's {odd!r} is no text; write it again with `save_model`")
    stored["contract"] = Contract.from_stored(stored.get("contract"), name=str(path))
    known = {field.name for field in dataclasses.fields(Card)}
    card = Card(**{key: value for key, value in stored.items() if key in known})
    card = dataclasses.replace(card, sha256=hashlib.sha256(data).hexdigest(), path=str(path))
    _check_task(card, task)
    return card


def finds_blur(what: object) -> bool:
    """Whether it is "blind", or a model by name or file that refines what that makes.  Raises WeightsError."""
    if not isinstance(what, str | Path) or is_own(str(what)):
        return False
    return what == BLIND or "undone" in read_card(what).contract.takes


def stored_card(path: Path) -> dict[str, Any]:
    """The card as the file holds it, of any format.  Raises WeightsError."""
    try:
        with safe_open(path, framework="numpy") as file:
            stored = json.loads((file.metadata() or {}).get(CARD_KEY, "null"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: is damaged or no safetensors file ({error}); get the file again") from None
    if not isinstance(stored, dict):
        raise WeightsError(f"{path}: safetensors without resharp's card; see `resharp models import`")
    return stored


def _check_task(card: Card, task: str | None) -> None:
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


def read_model_file(path: Path) -> bytes:
    """The bytes of a file of weights.  Raises WeightsError for a pickle, and for what cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None
    # Safetensors begin with the length of a JSON header, whose bytes may look like a pickle's first ones.
    is_safetensors = data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8
    if data.startswith(_PICKLE_STARTS) and not is_safetensors:
        raise WeightsError(f"{path}: is a pickle, which can run code when opened; only .safetensors are loaded")
    return data
