"""Models by name or file: safetensors that carry their network, its contract, training data, licence and hash.

Nothing here runs code from a file: pickles are refused, foreign files pass through `importers`, and a network of one's
own is imported only where the caller names it, too.
"""

import dataclasses
import json
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from resharp.device import is_out_of_memory
from resharp.errors import ArgumentError, WeightsError
from resharp.files import written_whole
from resharp.networks import DETECTORS, NETWORKS
from resharp.own_code import imported, is_own

from .cards import CARD_KEY, FORMAT, Card, read_card, read_model_file

_KNOWN = {**NETWORKS, **DETECTORS}


def load_model(
    name_or_file: str | Path, *, network: str | type[nn.Module] | None = None, task: str | None = None
) -> tuple[nn.Module, Card]:
    """The network in eval mode, float32 on the CPU, and its card.  task: see `read_card`.  Raises WeightsError.

    network: of weights whose network resharp does not know, its class or "package.module:Name", which is then imported.
    """
    card = read_card(name_or_file, task=task)
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
    if card.network in _KNOWN:
        with torch.device("meta"):
            return build(**card.arguments)
    with torch.random.fork_rng(devices=[]):
        return build(**card.arguments)


def _class_of(card: Card, named: str | type[nn.Module] | None) -> type[nn.Module]:
    """The class that a card means.  Raises WeightsError where that is somebody's code which the caller did not name."""
    if isinstance(named, type):
        if _KNOWN.get(card.network, named) is not named:
            raise WeightsError(f"{card.path}: is of network {card.network!r}, not of {named.__qualname__!r}")
        return named
    if named is not None and named != card.network:
        raise WeightsError(f"{card.path}: is of network {card.network!r}, not of {named!r}")
    if card.network in _KNOWN:
        return _KNOWN[card.network]
    if named is None and is_own(card.network):
        raise WeightsError(
            f"{card.path}: is of a network of somebody's own; if you trust that code, name it: "
            f"--network {card.network} (in Python network={card.network!r})"
        )
    if named is None:
        raise WeightsError(f"{card.path}: is of network {card.network!r}; known here: {', '.join(_KNOWN)}")
    try:
        found = imported(named)
    except ArgumentError as error:
        raise WeightsError(f"{card.path}: its network {error}") from None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise WeightsError(f"{card.path}: {named} is no class of torch.nn.Module")
    return found


def read_state(card: Card) -> dict[str, Tensor]:
    """The tensors of the file that a card was read from, fractions in float32, on the CPU.  Raises WeightsError."""
    try:
        stored = safetensors.torch.load(read_model_file(Path(card.path)))
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
    stored = {"format": FORMAT, **dataclasses.asdict(card)}
    del stored["sha256"], stored["path"]
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in network.state_dict().items()}
    with written_whole(path) as file:
        file.write(safetensors.torch.save(state, {CARD_KEY: json.dumps(stored)}))


def last_line(error: Exception) -> str:
    """What torch names at the end: a tensor, and what it should be."""
    return (str(error).splitlines() or [type(error).__name__])[-1].strip()
