"""Weights by name or file: safetensors that carry their network, arguments, data, licence and hash.

Nothing here runs code from a file: pickles are refused, foreign files pass through importers with a written key map.
"""

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .errors import OutputError, WeightsError
from .files import written_whole
from .matlab import read_mat
from .networks import DAE, NETWORKS

SHIPPED = {"dae-sigma11": "dae-sigma11.safetensors"}
DEFAULT_DAE = "dae-sigma11"

_CARD_KEY = "resharp"  # one key, since safetensors orders several at random and the file's hash would change

# How the usual pickle containers begin: torch's zip, and bare pickles of protocol 2 to 5.
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True)
class Card:
    """What a weights file says of itself."""

    name: str
    network: str
    arguments: dict[str, int | float | bool]
    noise_sigma: float  # the level that a denoiser was trained for, [0, 1] scale
    training_data: str
    licence: str
    quality: str
    sha256: str
    path: str


def weights_path(name_or_file: str | Path) -> Path:
    """Where the weights of a shipped name, or of a file, lie.  Raises WeightsError where there are none."""
    if str(name_or_file) in SHIPPED:
        return Path(str(resources.files("resharp") / "assets" / SHIPPED[str(name_or_file)]))
    path = Path(name_or_file)
    if path.is_dir():
        raise WeightsError(f"{path}: is a folder; name a .safetensors file or one of {', '.join(SHIPPED)}")
    if not path.exists():
        raise WeightsError(f"{name_or_file}: unknown weights; name a .safetensors file or one of {', '.join(SHIPPED)}")
    return path


def read_card(name_or_file: str | Path) -> Card:
    """The card of weights, without loading them.  Raises WeightsError for unsafe, damaged or foreign files."""
    path = weights_path(name_or_file)
    data = _read(path)
    try:
        with safe_open(path, framework="pt") as file:
            stored = json.loads((file.metadata() or {}).get(_CARD_KEY, "null"))
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: is damaged or no safetensors file ({error}); get the file again") from None
    try:
        return Card(**stored, sha256=hashlib.sha256(data).hexdigest(), path=str(path))
    except TypeError:
        raise WeightsError(f"{path}: safetensors without resharp's card; see `resharp weights import`") from None


def load_weights(name_or_file: str | Path) -> tuple[nn.Module, Card]:
    """The network in eval mode, float32 on the CPU, and its card.  Raises WeightsError."""
    card = read_card(name_or_file)
    if card.network not in NETWORKS:
        raise WeightsError(f"{card.path}: is for network {card.network!r}; known here: {', '.join(NETWORKS)}")
    try:
        network = NETWORKS[card.network](**card.arguments)
        state = {key: tensor.float() for key, tensor in safetensors.torch.load(_read(Path(card.path))).items()}
        network.load_state_dict(state)
    except (SafetensorError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{card.path}: tensors and card do not fit each other ({reason})") from None
    if not all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
        raise WeightsError(f"{card.path}: holds NaN or infinite values; train or fetch it again")
    return network.eval(), card


def save_weights(
    network: nn.Module,
    path: Path,
    *,
    kind: str,
    arguments: dict[str, Any],
    noise_sigma: float,
    training_data: str,
    licence: str,
    name: str | None = None,
    quality: str | None = None,
) -> None:
    """Write a network as safetensors with its card, whole or not at all.  Raises WeightsError for another suffix."""
    if path.suffix != ".safetensors":
        raise WeightsError(f"{path}: weights are written as .safetensors; choose that suffix")
    card = {
        "name": name or path.stem,
        "network": kind,
        "arguments": arguments,
        "noise_sigma": noise_sigma,
        "training_data": training_data,
        "licence": licence,
        "quality": quality or "not stated",
    }
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in network.state_dict().items()}
    with written_whole(path) as file:
        file.write(safetensors.torch.save(state, {_CARD_KEY: json.dumps(card)}))


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None
    if data.startswith(_PICKLE_STARTS):
        raise WeightsError(f"{path}: is a pickle, which can run code when opened; only .safetensors are loaded")
    return data


# --- importers --------------------------------------------------------------------------------------------------------


def import_dae_mat(path: Path) -> DAE:
    """The DMSP authors' `DAE_sigma11.mat` as a DAE.

    Key map: cell `net`, entry 2i -> `convs.i`, weights stored (a, b, in, out) with both spatial axes transposed
    against torch's, so a full transpose; colours BGR -> RGB at both ends; values 0..255 -> [0, 1], for which all
    biases are divided by 255, since a ReLU network is positively homogeneous.
    """
    try:
        layers = [cell for cell in read_mat(path)["net"].ravel() if "weights" in (cell.dtype.names or ())]
        pairs = [cell["weights"][0, 0] for cell in layers]
        pairs = [pair.ravel() for pair in pairs if pair.size == 2]
        tensors = [
            (torch.from_numpy(np.array(w.T)).float(), torch.from_numpy(np.array(b).ravel()).float()) for w, b in pairs
        ]
        dae = DAE(channels=3, width=tensors[0][0].shape[0], depth=len(tensors))
        state: dict[str, Tensor] = {}
        for index, (weight, bias) in enumerate(tensors):
            state[f"convs.{index}.weight"] = weight
            state[f"convs.{index}.bias"] = bias / 255
        last = len(tensors) - 1
        state["convs.0.weight"] = state["convs.0.weight"].flip(1)
        state[f"convs.{last}.weight"] = state[f"convs.{last}.weight"].flip(0)
        state[f"convs.{last}.bias"] = state[f"convs.{last}.bias"].flip(0)
        dae.load_state_dict(state)
    except (ValueError, KeyError, IndexError, TypeError, RuntimeError) as error:
        raise WeightsError(f"{path}: is not a DAE of the DMSP authors' layout ({error})") from None
    return dae.eval()


IMPORTERS = {"dae": import_dae_mat}


def import_weights(path: Path, kind: str, out: Path) -> Card:
    """Convert a foreign file to our safetensors; the licence stays that of the source.  Raises WeightsError."""
    if kind not in IMPORTERS:
        raise WeightsError(f"{kind!r} is no kind of weights that can be imported; choose {', '.join(IMPORTERS)}")
    network = IMPORTERS[kind](path)
    try:
        save_weights(
            network,
            out,
            kind="dae",
            arguments=network.arguments,
            noise_sigma=11 / 255,
            training_data=f"imported from {path.name}; see its source",
            licence="that of the imported file (the DMSP authors': CC BY-NC-SA 4.0)",
        )
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error})") from error
    return read_card(out)
