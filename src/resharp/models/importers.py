"""Other people's weights into ours: each kind has a written key map, and nothing here runs code from a file."""

import contextlib
import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from resharp.device import is_out_of_memory
from resharp.errors import ResourceError, WeightsError
from resharp.files import REFUSED, reason_of
from resharp.matlab import read_mat
from resharp.networks import DAE, NETWORKS, DeblurGAN

from .cards import Card, model_path, read_card, stored_card
from .contract import contract_of
from .files import last_line, read_state, save_model
from .published import PUBLISHED


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
        if not pairs:
            raise ValueError("no layers with weights")
        tensors = [(_real(w.T), _real(b.ravel())) for w, b in pairs]
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
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError) as error:
        raise WeightsError(f"{path}: is not a DAE of the DMSP authors' layout ({last_line(error)})") from None
    return dae.eval()


def _real(array: NDArray[Any]) -> Tensor:
    """A float32 copy.  Raises ValueError for other than finite real numbers."""
    if not (np.isrealobj(array) and np.isfinite(array).all()):
        raise ValueError("complex, NaN or infinite values")
    return torch.from_numpy(np.array(array)).float()


def _import_dae(path: Path) -> tuple[nn.Module, Card]:
    dae = import_dae_mat(path)
    card = Card(
        network="dae",
        arguments=dae.arguments,
        contract=contract_of(dae, "denoise", noise_sigma=(11 / 255, 11 / 255)),
        training_data="ImageNet, by the DMSP authors",
        licence="CC BY-NC-SA 4.0, if the file is the DMSP authors'",
    )
    return dae, card


_Network = TypeVar("_Network", bound=nn.Module)

# Statistics of instance norms, which some versions of torch and of the authors' code stored and none used.
_NORM_STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")


def import_deblurgan(path: Path) -> DeblurGAN:
    """A generator of the DeblurGAN authors' code (`latest_net_G.pth`, or the same tensors as safetensors).

    Its size is that of the tensors, its dropout 0.5 or 0 as their names say.  Raises WeightsError, which names the
    first tensor that is missing, unknown or of another shape.
    """
    stored = {key.removeprefix("module."): tensor for key, tensor in _foreign_tensors(path).items()}
    blocks = {match[1] for key in stored if (match := re.match(r"model\.(\d+)\.conv_block\.", key))}
    first = stored.get("model.1.weight")
    if first is None or first.ndim != 4 or not blocks:
        raise WeightsError(f"{path}: has no 'model.1.weight' or no residual blocks, thus is no generator of DeblurGAN")
    dropout = 0.0 if any(".conv_block.5." in key for key in stored) else 0.5
    try:
        with torch.device("meta"):  # no memory is spent on what a file claims before its tensors bear it out
            network = DeblurGAN(channels=first.shape[1], width=first.shape[0], n_blocks=len(blocks), dropout=dropout)
    except ValueError as error:
        raise WeightsError(f"{path}: is no generator of DeblurGAN ({error})") from None
    keys = deblurgan_keys(len(blocks), dropout=dropout > 0)
    stored = {key: tensor for key, tensor in stored.items() if not key.endswith(_NORM_STATISTICS)}
    return _adopted(path, network, stored, {ours: theirs for theirs, ours in keys.items()})


def _adopted(path: Path, network: _Network, stored: dict[str, Tensor], names: Mapping[str, str]) -> _Network:
    """A network, still without memory, with the tensors of a file; names: our name of each -> that in the file.

    Raises WeightsError, which names the first tensor that is missing, unknown or of another shape.
    """
    kind, state, left = type(network).__name__, dict[str, Tensor](), dict(stored)
    for ours, expected in network.state_dict().items():
        theirs = names[ours]
        if theirs not in left:
            raise WeightsError(f"{path}: {theirs!r} is missing, which a {kind} of this size has")
        state[ours] = left.pop(theirs)
        found, wanted = tuple(state[ours].shape), tuple(expected.shape)
        if found != wanted:
            raise WeightsError(f"{path}: {theirs!r} has shape {found} where a {kind} has {wanted}")
    if left:
        raise WeightsError(f"{path}: {next(iter(left))!r} is unknown in a {kind} as published")
    network.load_state_dict(state, assign=True)
    return network.eval()


def deblurgan_keys(n_blocks: int, *, dropout: bool) -> dict[str, str]:
    """The authors' name of each tensor -> ours.  Theirs count all layers in one row, also paddings, norms and ReLUs;
    a dropout layer moves the second convolution of a block on by one.
    """
    after, second = 10 + n_blocks, 6 if dropout else 5
    layers = {"model.1": "head.0", "model.4": "head.1", "model.7": "head.2"}
    for index in range(n_blocks):
        layers[f"model.{10 + index}.conv_block.1"] = f"blocks.{index}.conv1"
        layers[f"model.{10 + index}.conv_block.{second}"] = f"blocks.{index}.conv2"
    layers |= {f"model.{after}": "ups.0", f"model.{after + 3}": "ups.1", f"model.{after + 7}": "tail"}
    return {f"{theirs}.{kind}": f"{ours}.{kind}" for theirs, ours in layers.items() for kind in ("weight", "bias")}


_WRAPPED = ("params_ema", "params", "state_dict")  # what checkpoints hold beside the number of their epoch


def _foreign_tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors of a state dict that others wrote, float32; of a pickle only tensors are read, nothing is run.

    Raises WeightsError for everything else, and for values that are not finite.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; name the weights to import")
    try:
        if path.suffix == ".safetensors":
            stored: Any = safetensors.torch.load_file(path)
        else:
            stored = torch.load(path, map_location="cpu", weights_only=True)
            stored = next((stored[key] for key in _WRAPPED if isinstance(stored.get(key), Mapping)), stored)
        if any(tensor.is_complex() for tensor in stored.values()):
            raise ValueError("complex numbers")
        tensors = {str(key): tensor.detach().to(torch.float32, copy=True) for key, tensor in stored.items()}
        finite = all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())
    except Exception as error:  # damaged pickles fail in many ways; none is ours, and no code of the file is run
        if is_out_of_memory(error):
            raise ResourceError(f"{path}: not enough memory to read it; close other programs") from None
        if isinstance(error, OSError) and error.errno in REFUSED:
            raise WeightsError(f"{path}: cannot be read ({reason_of(error)})") from None
        raise WeightsError(
            f"{path}: holds other things than named tensors, or is damaged; nothing in it was run; get a file that "
            "holds a state dict alone"
        ) from None
    if not finite:
        raise WeightsError(f"{path}: holds NaN or infinite values; get the file again")
    return tensors


def _import_deblurgan(path: Path) -> tuple[nn.Module, Card]:
    generator = import_deblurgan(path)
    card = Card(
        network="deblurgan",
        arguments=generator.arguments,
        contract=contract_of(generator, "deblur"),
        training_data="GoPro, if the file is the DeblurGAN authors'",
        licence="BSD-style, if the file is the DeblurGAN authors'",
    )
    return generator, card


def _import_published(kind: str, path: Path) -> tuple[nn.Module, Card]:
    """A file of a row of PUBLISHED; its size is that of the tensors."""
    stored = {key.removeprefix("module."): tensor for key, tensor in _foreign_tensors(path).items()}
    # mmagic keeps whole models, critic and losses beside the generator
    within = {key.removeprefix("generator."): one for key, one in stored.items() if key.startswith("generator.")}
    stored, row = within or stored, PUBLISHED[kind]
    try:
        arguments = row.arguments(stored)
        with torch.device("meta"):
            network = NETWORKS[kind](**arguments)
    except (KeyError, ValueError, TypeError, ZeroDivisionError) as error:
        raise WeightsError(f"{path}: is no {kind} as published ({error})") from None
    if row.slope:
        slopes = [key for key in stored if re.search(row.slope, key)]
        if any(not torch.equal(stored[key], stored[slopes[0]]) for key in slopes):
            raise WeightsError(f"{path}: its blocks have slopes of their own, where a {kind} shares one")
        stored = {key: tensor for key, tensor in stored.items() if key not in slopes[1:]}
    names = row.names(list(network.state_dict()), arguments, stored)
    network = _adopted(path, network, stored, names)
    contract = contract_of(network, row.task)
    card = Card(kind, vars(network)["arguments"], contract, training_data=row.training_data, licence=row.licence)
    return network, card


def _import_resharp(path: Path) -> tuple[nn.Module, Card]:
    """Weights of resharp 0.1, whose card told a denoiser from a deblurrer by its noise level alone."""
    stored = stored_card(model_path(path))
    kind, arguments, sigma = stored.get("network"), stored.get("arguments"), stored.get("noise_sigma")
    if stored.get("format") != 1 or kind not in NETWORKS or not isinstance(arguments, dict):
        raise WeightsError(f"{path}: is no weights file of resharp 0.1 of one of {', '.join(NETWORKS)}")
    texts = {key: str(stored.get(key, "not stated")) for key in ("training_data", "licence", "quality")}
    try:
        network = NETWORKS[kind](**arguments)
        task, levels = ("deblur", None) if sigma is None else ("denoise", (float(sigma), float(sigma)))
        card = Card(kind, arguments, contract_of(network, task, noise_sigma=levels), path=str(path), **texts)
        network.load_state_dict(read_state(card))
    except (TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path}: tensors and card do not fit each other ({last_line(error)})") from None
    return network.eval(), card


IMPORTERS: dict[str, Callable[[Path], tuple[nn.Module, Card]]] = {
    "dae": _import_dae,
    "deblurgan": _import_deblurgan,
    "resharp": _import_resharp,
    **{kind: functools.partial(_import_published, kind) for kind in PUBLISHED},
}


def import_model(path: str | Path, kind: str, out: str | Path) -> Card:
    """Convert a foreign file to our safetensors; the licence stays that of the source.  Raises WeightsError."""
    if kind not in IMPORTERS:
        raise WeightsError(f"{kind!r} is no kind of weights that can be imported; choose {', '.join(IMPORTERS)}")
    path, out = Path(path), Path(out)
    with contextlib.suppress(OSError):  # reading and writing will tell
        if out.samefile(path):
            raise WeightsError(f"{out}: is the file to import; choose another name for the result")
    network, card = IMPORTERS[kind](path)
    save_model(network, out, dataclasses.replace(card, name=out.stem))
    return read_card(out)
