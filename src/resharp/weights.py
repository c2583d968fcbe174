"""Weights by name or file: safetensors that carry their network, arguments, data, licence and hash.

Nothing here runs code from a file: pickles are refused, foreign files pass through `importers`.
"""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .device import is_out_of_memory
from .errors import ArgumentError, WeightsError
from .files import written_whole
from .networks import NETWORKS

SHIPPED = {name: f"{name}.safetensors" for name in ("dae-sigma11", "deblur", "deblur-psnr")}
DEFAULT_DAE = "dae-sigma11"
DEFAULT_DEBLUR = "deblur"

_CARD_KEY = "resharp"  # one key, since safetensors orders several at random and the file's hash would change

# How the usual pickle containers begin: torch's zip, and bare pickles of protocol 2 to 5.
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_TEXTS = ("name", "training_data", "licence", "quality")  # of a card
_FORMAT = 1  # of the card; readers ignore keys that they do not know


@dataclass(frozen=True)
class Card:
    """What a weights file says of itself."""

    network: str
    arguments: dict[str, int | float | bool | str | list[int]]
    name: str = "not stated"
    noise_sigma: float | None = None  # the level that a denoiser was trained for, [0, 1] scale
    training_data: str = "not stated"
    licence: str = "not stated"
    quality: str = "not stated"
    sha256: str = ""
    path: str = ""


def weights_path(name_or_file: str | Path) -> Path:
    """Where the weights of a shipped name, or of a file, lie.  Raises WeightsError where there are none."""
    if str(name_or_file) in SHIPPED:
        return Path(str(resources.files("resharp") / "assets" / SHIPPED[str(name_or_file)]))
    path = Path(name_or_file)
    try:
        is_folder, is_there = path.is_dir() and str(name_or_file) != "", path.is_file()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None
    if is_folder:
        raise WeightsError(f"{path}: is a folder; name a .safetensors file or one of {', '.join(SHIPPED)}")
    if not is_there:
        raise WeightsError(f"{name_or_file}: unknown weights; name a .safetensors file or one of {', '.join(SHIPPED)}")
    return path


def read_card(name_or_file: str | Path) -> Card:
    """The card of weights, without loading them.  Raises WeightsError for unsafe, damaged or foreign files."""
    path = weights_path(name_or_file)
    data = _read(path)
    try:
        with safe_open(path, framework="pt") as file:
            stored = json.loads((file.metadata() or {}).get(_CARD_KEY, "null"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: is damaged or no safetensors file ({error}); get the file again") from None
    if not isinstance(stored, dict):
        raise WeightsError(f"{path}: safetensors without resharp's card; see `resharp weights import`")
    if stored.get("format") != _FORMAT:
        raise WeightsError(f"{path}: its card has format {stored.get('format')!r}, known is {_FORMAT}; update resharp")
    sigma, arguments = stored.get("noise_sigma"), stored.get("arguments")
    if not (isinstance(arguments, dict) and isinstance(stored.get("network"), str)):
        raise WeightsError(f"{path}: its card names no network with arguments; write it again with `save_weights`")
    if not (sigma is None or (type(sigma) in (int, float) and 0 < sigma <= 1)):
        raise WeightsError(f"{path}: its card gives noise sigma {sigma!r}; it lies above 0 and up to 1")
    if odd := next((key for key in _TEXTS if not isinstance(stored.get(key, ""), str)), None):
        raise WeightsError(f"{path}: its card's {odd!r} is no text; write it again with `save_weights`")
    known = {field.name for field in dataclasses.fields(Card)}
    card = Card(**{key: value for key, value in stored.items() if key in known})
    return dataclasses.replace(card, sha256=hashlib.sha256(data).hexdigest(), path=str(path))


def load_weights(name_or_file: str | Path) -> tuple[nn.Module, Card]:
    """The network in eval mode, float32 on the CPU, and its card.  Raises WeightsError."""
    card = read_card(name_or_file)
    if card.network not in NETWORKS:
        raise WeightsError(f"{card.path}: is for network {card.network!r}; known here: {', '.join(NETWORKS)}")
    try:
        with torch.device("meta"):  # no memory is spent on what a card claims before its tensors bear it out
            network = NETWORKS[card.network](**card.arguments)
        network.load_state_dict(read_state(card), assign=True)
    except (TypeError, ValueError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise WeightsError(f"{card.path}: tensors and card do not fit each other ({last_line(error)})") from None
    return network.eval(), card


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


def save_weights(network: nn.Module, path: Path, card: Card) -> None:
    """Write a network as safetensors with its card, whole or not at all; the card's hash and path are not stored.

    The same network and card give the same bytes.  Raises WeightsError for a suffix other than .safetensors.
    """
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


# --- mixing -----------------------------------------------------------------------------------------------------------


def mix_weights(files: Sequence[str | Path], out: str | Path, *, shares: Sequence[float] = ()) -> Card:
    """Write the weighted mean of weights of one network that were trained from the same beginning; returns its card.

    Between weights of pixel losses and of a GAN it lies between faithful and crisp (Wang et al. 2018, arXiv 1809.00219,
    section 3.4); of several fine-tunings it is mostly better than each (Wortsman et al. 2022, arXiv 2203.05482).
    files: two or more, by name or file;  shares: of each, above 0, relative to each other, or () for equal ones.
    Whether they have one origin is not checked: the mean of others restores nothing.  Whole numbers are the first
    file's; statistics of batch norms are averaged, too.  Raises WeightsError for different networks, files that are no
    weights, and an `out` that is one of them or no .safetensors; ArgumentError for shares that do not fit, OutputError.
    """
    if len(files) < 2:
        raise ArgumentError("a mixture needs two or more weights; name another file")
    shares = list(shares) or [1.0] * len(files)
    if len(shares) != len(files) or not all(0 < share < 1e6 for share in shares):
        raise ArgumentError(f"a mixture of {len(files)} needs as many shares above 0 and below a million, not {shares}")
    loaded, out = [load_weights(file) for file in files], Path(out)
    network, first = loaded[0]
    for _, card in loaded:
        with contextlib.suppress(OSError):  # reading and writing will tell
            if out.samefile(card.path):
                raise WeightsError(f"{out}: is one of the files to mix; choose another name for the result")
        for key in ("network", "arguments", "noise_sigma"):
            ours, theirs = getattr(first, key), getattr(card, key)
            if ours != theirs:
                raise WeightsError(f"{card.path}: has {key} {theirs}, {first.path} {ours}; mix weights of one network")
    states = [one.state_dict() for one, _ in loaded]
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            parts = [share / sum(shares) * state[key].double() for share, state in zip(shares, states, strict=True)]
            value.copy_(torch.stack(parts).sum(0))
    cards = [card for _, card in loaded]
    mixed = dataclasses.replace(
        first,
        name=out.stem,
        training_data="; ".join(dict.fromkeys(card.training_data for card in cards)),
        licence="; ".join(dict.fromkeys(card.licence for card in cards)),
        quality="a mixture, " + ", ".join(f"{share:g} of {c.name}" for share, c in zip(shares, cards, strict=True)),
    )
    save_weights(network, out, mixed)
    return read_card(out)
