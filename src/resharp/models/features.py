"""Weights of feature networks: found in one folder, fetched when asked to, read from torchvision's and Keras's layouts.

The folder is $RESHARP_WEIGHTS, or ~/.cache/resharp where that is not set.
"""

import hashlib
import http.client
import os
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from resharp.errors import WeightsError
from resharp.files import written_whole
from resharp.networks.features import FEATURE_NETWORKS, FeatureNetwork, Stage, checked_architecture

_PIECE = 1 << 20  # bytes between two reports of progress
_PATIENCE = 30.0  # seconds without an answer

OnProgress = Callable[[int, int | None], None]
"""Hears of bytes done and of their total, None where the server does not tell."""


def weights_folder() -> Path:
    """Where published weights lie: $RESHARP_WEIGHTS, else ~/.cache/resharp."""
    named = os.environ.get("RESHARP_WEIGHTS")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "resharp"


def features_file(
    architecture: str, *, download: bool = False, keras: bool = True, on_progress: OnProgress | None = None
) -> Path:
    """The file of weights for a row of FEATURE_NETWORKS: torchvision's where `weights_folder()` has it, else Keras's
    from there if `keras`, else torchvision's, fetched if `download`.

    Raises WeightsError that says what to put where, OutputError for what the disk refuses.
    """
    checked_architecture(architecture)
    known, folder = FEATURE_NETWORKS[architecture], weights_folder()
    published = folder / known.url.rpartition("/")[2]
    for path in (published, folder / known.keras_file) if keras else (published,):
        if path.is_file():
            return path
    if not download:
        raise WeightsError(
            f"no weights of {architecture} in {folder}: put {published.name} there, from {known.url} "
            f"(or Keras's {known.keras_file}), fetch it by `resharp models fetch {architecture}` (download=True), or "
            "name a file with weights="
        )
    _fetch(known.url, published, on_progress)
    return published


def load_features(
    architecture: str,
    *layers: str,
    after_relu: bool = False,
    normalisation: str | None = None,
    weights: str | Path | None = None,
    download: bool = False,
) -> FeatureNetwork:
    """A feature network with its weights, float32 on the CPU.

    architecture: a row of FEATURE_NETWORKS;  layers: the papers' names, conv3_3 of VGG, fire4 of SqueezeNet;
    normalisation: a row of NORMALISATIONS, or None for the one that weights of the file's layout were trained with,
    "imagenet" for torchvision's and "caffe" for Keras's;  weights: a file as torchvision's (.pth, .safetensors) or
    Keras's (.h5), or None for the one that `features_file` finds.  Raises WeightsError, ArgumentError, OutputError.
    """
    checked_architecture(architecture, layers, normalisation)
    path = Path(weights) if weights is not None else features_file(architecture, download=download)
    if not path.is_file():
        raise WeightsError(f"{path}: is no file; name one as torchvision's (.pth, .safetensors) or Keras's (.h5)")
    if path.suffix not in _READERS:
        raise WeightsError(f"{path}: weights of features come as {', '.join(_READERS)}; name such a file")
    read, trained_with = _READERS[path.suffix]
    try:
        state = read(path, FEATURE_NETWORKS[architecture].stages)
        network = FeatureNetwork(
            architecture, layers, state, after_relu=after_relu, normalisation=normalisation or trained_with
        )
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    return network.eval()


# --- layouts ----------------------------------------------------------------------------------------------------------


def _read_torch(path: Path, stages: tuple[Stage, ...]) -> dict[str, Tensor]:
    del stages
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged pickles fail in many ways; none is ours, and no code of the file is run
        raise WeightsError(f"cannot be read as a state dict ({_first_line(error)}); get the file again") from None
    return _tensors(state)


def _read_safetensors(path: Path, stages: tuple[Stage, ...]) -> dict[str, Tensor]:
    del stages
    try:
        return safetensors.torch.load_file(path)
    except Exception as error:  # as above
        raise WeightsError(f"is damaged or no safetensors file ({_first_line(error)}); get the file again") from None


def _read_keras(path: Path, stages: tuple[Stage, ...]) -> dict[str, Tensor]:
    """Keras's layout under torchvision's names: (height, width, in, out) -> (out, in, height, width).

    The names of the arrays inside a layer changed from one Keras to the next, so they are told apart by their axes.
    """
    try:
        import h5py
    except ImportError:
        raise WeightsError("reading Keras's files takes more: pip install 'resharp[pack]'") from None
    state = {}
    try:
        with h5py.File(path, "r") as file:
            for layer, place in (item for stage in stages for item in stage.keras.items()):
                if layer not in file:
                    continue  # whether it is missed is the network's to say
                arrays = _arrays(file[layer], h5py.Dataset)
                if set(arrays) != {1, 4}:
                    raise ValueError(f"{layer} holds no kernel and bias")
                state[f"{place}.weight"] = torch.from_numpy(arrays[4].transpose(3, 2, 0, 1).copy())
                state[f"{place}.bias"] = torch.from_numpy(arrays[1])
    except Exception as error:  # as above
        raise WeightsError(f"cannot be read as weights of Keras ({_first_line(error)}); get the file again") from None
    return state


def _arrays(group: Any, dataset: type) -> dict[int, Any]:
    """The arrays below an HDF5 group, by their number of axes."""
    found: dict[int, Any] = {}

    def keep(_: str, item: Any) -> None:
        if isinstance(item, dataset):
            array = np.asarray(item, dtype=np.float32)
            found[array.ndim] = array

    group.visititems(keep)
    return found


def _tensors(state: Any) -> dict[str, Tensor]:
    if not (isinstance(state, dict) and all(isinstance(value, Tensor) for value in state.values())):
        raise WeightsError("is not a state dict of tensors, as torchvision's files are")
    return state


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


# Keras took its first weights from Caffe, SqueezeNet's among them: of the six colour orders BGR makes those fire least
# on photos, and values of another scale leave many of its channels silent.
_READERS: dict[str, tuple[Callable[[Path, tuple[Stage, ...]], dict[str, Tensor]], str]] = {
    ".pth": (_read_torch, "imagenet"),
    ".safetensors": (_read_safetensors, "imagenet"),
    ".h5": (_read_keras, "caffe"),
}

# --- fetching ---------------------------------------------------------------------------------------------------------


def _fetch(url: str, path: Path, on_progress: OnProgress | None) -> None:
    """Download a file whose name ends in the first digits of its SHA-256, whole or not at all."""
    named = re.search(r"-([0-9a-f]{8,64})\.\w+$", url)
    assert named is not None, url
    digest, done = hashlib.sha256(), 0
    with written_whole(path) as file:
        for piece, total in _pieces(url):
            digest.update(piece)
            file.write(piece)
            done += len(piece)
            if on_progress is not None:
                on_progress(done, total)
        if not (found := digest.hexdigest()).startswith(named[1]):
            raise WeightsError(f"{url}: what came has SHA-256 {found}, its name promises {named[1]}...; try again")


def _pieces(url: str) -> Iterator[tuple[bytes, int | None]]:
    """What stands at `url`, piece by piece, with its whole length; WeightsError for what the network refuses."""
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE) as answer:
            length = answer.headers.get("Content-Length")
            while piece := answer.read(_PIECE):
                yield piece, int(length) if length else None
    except (OSError, http.client.HTTPException) as error:
        raise WeightsError(
            f"{url}: cannot be fetched ({error}); fetch it by hand and put it where it belongs"
        ) from None
