"""What is evaluated: every kind of method behind one call, a sample in and a picture out."""

import dataclasses
import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resharp.data.folders import natural, photos_below, some
from resharp.device import checked_device, is_out_of_memory
from resharp.errors import ArgumentError, DatasetError, ResharpError, WeightsError, did_you_mean
from resharp.image import as_image
from resharp.photo import SUFFIXES
from resharp.restorer import deconvolve, load_deblurrer, load_prior
from resharp.restorer.precision import checked_precision
from resharp.weights import SHIPPED, read_card

from .baselines import BASELINES, baseline
from .cases import Case, Sample, differs_in_kind, read_source
from .protocols import PROTOCOLS, Protocol
from .provenance import file_sha256, files_sha256
from .results import RESULTS

TOLD = ("kernel", "noise_sigma", "scale", "pattern")
"""What a method is told of a degradation if its signature names it and the protocol knows it."""


@dataclasses.dataclass(frozen=True)
class Method:
    """A method ready to run.

    run: gives the restored picture (3, H, W) of a sample;  sha256, licence: of its weights, pictures or code, "" if it
    has none;  device, precision: what it runs on and in;  is_known: whether all this tells it from every other method.
    """

    name: str
    run: Callable[[Sample], Tensor]
    sha256: str = ""
    licence: str = ""
    device: str = "cpu"
    precision: str = "float32"
    is_known: bool = True


def open_method(
    what: str | Path | Callable[..., Any],
    protocol: Protocol,
    cases: Sequence[Case],
    *,
    match: str = "name",
    device: str = "cpu",
    precision: str = "auto",
) -> Method:
    """The method that `what` names: a row of BASELINES, weights by name or file, a folder of restored pictures (which
    belong to the cases by their names, or by their order with match="order"), `package.module:callable`, a callable.

    Raises ArgumentError, WeightsError or DatasetError for a method that is not there or cannot run under the protocol.
    """
    if match not in ("name", "order"):
        raise ArgumentError(f"pictures are matched by name or by order, not by {match!r}")
    if callable(what):
        return _from_callable(what, getattr(what, "__qualname__", type(what).__name__), protocol)
    text = str(what)
    if text in BASELINES:
        return dataclasses.replace(_from_callable(baseline(text), text, protocol), sha256="", is_known=True)
    if Path(text).is_dir():
        return _restored_folder(Path(text), cases, match)
    if text in SHIPPED or Path(text).suffix == ".safetensors" or Path(text).is_file():
        return _from_weights(what, protocol, device, precision)
    if ":" in text:
        found = _from_callable(_imported(text), text, protocol)
        if found.is_known:
            return found
        source = getattr(sys.modules[text.partition(":")[0]], "__file__", None)  # where an object was made, by name
        return found if source is None else dataclasses.replace(found, sha256=file_sha256(Path(source)), is_known=True)
    known = [*BASELINES, *SHIPPED]
    hint = did_you_mean(text, known, things="built-in methods and weights")
    raise ArgumentError(f"{text}: no method; {hint}; weights, a folder of pictures or package.module:callable will do")


# --- callables --------------------------------------------------------------------------------------------------------


def _imported(text: str) -> Callable[..., Any]:
    module, _, name = text.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` has it: one's own methods lie there
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # importing runs anybody's code
        raise ArgumentError(f"{text}: cannot be imported ({_told(error)})") from None
    if not callable(found):
        raise ArgumentError(f"{text}: is no callable that takes an image")
    return found  # type: ignore[no-any-return]


def _from_callable(function: Callable[..., Any], name: str, protocol: Protocol) -> Method:
    """Raises ArgumentError where the function wants to be told more than the protocol knows."""
    told = _wanted(function, name, protocol)

    def run(sample: Sample) -> Tensor:
        restored: Any
        known = {key: getattr(sample, key) for key in told if getattr(sample, key) is not None}
        try:
            restored = function(sample.degraded.clone(), **known)
        except ResharpError:
            raise
        except (Exception, SystemExit) as error:  # anybody's code; one picture's failure ends no run
            if is_out_of_memory(error):
                raise
            raise ArgumentError(f"{name} failed ({_told(error)})") from error
        return as_image(restored) if isinstance(restored, np.ndarray) else restored

    digest = _digest(function)
    return Method(name, run, sha256=digest, is_known=bool(digest))


def _digest(function: Callable[..., Any]) -> str:
    """Of a network's class and weights, or of a function's file; "" of what holds values that cannot be seen."""
    if isinstance(function, nn.Module):
        whole = hashlib.sha256(_source_digest(type(function)).encode())
        for name, value in function.state_dict().items():
            whole.update(
                name.encode() + value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
            )
        return whole.hexdigest()
    inner = inspect.unwrap(function)
    return _source_digest(inner) if inspect.isfunction(inner) and not inner.__closure__ else ""


def _source_digest(found: Any) -> str:
    try:
        source = inspect.getsourcefile(found)
    except TypeError:  # of what was typed in
        source = None
    return file_sha256(Path(source)) if source else ""


def _wanted(function: Callable[..., Any], name: str, protocol: Protocol) -> list[str]:
    """Which of TOLD the function's signature names and the protocol can tell."""
    try:
        seen = function.forward if isinstance(function, nn.Module) else function
        parameters = list(inspect.signature(seen).parameters.values())
    except (TypeError, ValueError):  # of builtins
        return []
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    by_name = [p for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    for parameter in by_name[0 if parameters and parameters[0].kind is parameters[0].POSITIONAL_ONLY else 1 :]:
        if parameter.default is not parameter.empty or parameter.name in protocol.gives:
            continue
        givers = [row.name for row in PROTOCOLS.values() if parameter.name in row.gives]
        way_out = f"those that do: {', '.join(givers)}" if givers else f"methods are told {', '.join(TOLD)} only"
        raise ArgumentError(f"{name} needs {parameter.name}, which protocol {protocol.title} does not tell; {way_out}")
    names = {p.name for p in by_name}
    return [key for key in TOLD if key in protocol.gives and (takes_all or key in names)]


# --- weights ----------------------------------------------------------------------------------------------------------


def _from_weights(what: str | Path, protocol: Protocol, device: str, precision: str) -> Method:
    if str(what) not in SHIPPED and Path(what).suffix.lower() in SUFFIXES:
        raise ArgumentError(f"{what}: is a photo; name the folder of restored pictures")
    card = read_card(what)
    if (protocol.scale or 1) != 1:
        raise WeightsError(f"{card.path}: keeps a photo's size, which protocol {protocol.name} does not; see `bicubic`")
    name = card.name if card.name != "not stated" else Path(card.path).stem
    used = str(checked_precision(precision, checked_device(device))).removeprefix("torch.")
    run = (_from_denoiser if card.network == "dae" else _from_deblurrer)(what, protocol, device, used)
    return Method(name, run, card.sha256, card.licence, device, used)


def _from_denoiser(what: str | Path, protocol: Protocol, device: str, precision: str) -> Callable[[Sample], Tensor]:
    """Deconvolution with the mean-shift prior where the kernel is known, the denoiser itself where there is noise."""
    if protocol.name not in ("dmsp", "denoise"):
        raise WeightsError(
            f"{what}: is a denoiser, which protocols dmsp and denoise take, and {protocol.name} does not"
        )
    prior, seed = load_prior(what, precision=precision, device=device), protocol.seed or 0

    def run(sample: Sample) -> Tensor:
        image = sample.degraded.to(device)
        if sample.kernel is None:
            return prior.denoiser(image)
        return deconvolve(image, sample.kernel, sample.noise_sigma or None, prior=prior, seed=seed, device=device)

    return run


def _from_deblurrer(what: str | Path, protocol: Protocol, device: str, precision: str) -> Callable[[Sample], Tensor]:
    del protocol
    restore = load_deblurrer(what, device=device, precision=precision)
    return lambda sample: restore(sample.degraded)


# --- folders ----------------------------------------------------------------------------------------------------------


def _restored_folder(folder: Path, cases: Sequence[Case], match: str) -> Method:
    """Pictures that were restored before; of a run folder, those that the run wrote."""
    place = folder / "restored" if (folder / RESULTS).is_file() else folder
    photos = photos_below(place) if place.is_dir() else []
    if not photos:
        raise DatasetError(f"{place}: holds no pictures; name a folder of restored ones")
    found = _by_order(place, photos, cases) if match == "order" else _by_name(place, photos, cases)
    if not found:
        raise DatasetError(
            f"{place}: none of its {len(photos)} pictures belongs by its name to one of the {len(cases)} photos alone "
            f"({photos[0].relative_to(place)}, {cases[0].name}); --match order takes them in order"
        )

    def run(sample: Sample) -> Tensor:
        path = found.get(sample.case.file)
        if path is None:
            raise DatasetError(f"{place}: holds no picture of that name")
        image, grey = read_source(path)
        if sample.clean is not None and differs_in_kind(image, grey, sample.clean, sample.grey):
            raise DatasetError(f"{path}: is {'grey' if not sample.grey else 'in colour'}, unlike its truth")
        return image

    name = folder.resolve().name + (" (in order)" if match == "order" else "")
    return Method(name, run, files_sha256((p.relative_to(place).as_posix(), p) for p in photos))


def _by_order(place: Path, photos: Sequence[Path], cases: Sequence[Case]) -> dict[str, Path]:
    if len(photos) != len(cases):
        raise DatasetError(f"{place}: holds {len(photos)} pictures for {len(cases)} photos; by order, they are as many")
    ordered = sorted(photos, key=lambda path: natural(path.relative_to(place).as_posix()))
    return {case.file: path for case, path in zip(cases, ordered, strict=True)}


def _by_name(place: Path, photos: Sequence[Path], cases: Sequence[Case]) -> dict[str, Path]:
    """The picture of the same path, else the only one of the same name, else the only one whose name goes on from there
    (`baby_RCAN_x4.png` of `baby.png`) and is no other case's.  Suffixes do not count."""
    paths = {path.relative_to(place).with_suffix("").as_posix(): path for path in photos}
    stems = {case.file: Path(case.file).with_suffix("").as_posix() for case in cases}
    twins = [str(path.relative_to(place)) for path in photos if path not in set(paths.values())]
    if twins:
        raise DatasetError(f"{place}: two pictures of one name cannot be told apart; take one out ({some(twins)})")
    found = {file: paths[stem] for file, stem in stems.items() if stem in paths}
    for rule in (_same_name, _goes_on):
        free = [path for path in photos if path not in set(found.values())]
        claims = {
            file: [path for path in free if rule(path.stem, Path(stem).name)]
            for file, stem in stems.items()
            if file not in found
        }
        wanted = [path for paths_of in claims.values() for path in paths_of]
        found |= {file: p[0] for file, p in claims.items() if len(p) == 1 and wanted.count(p[0]) == 1}
    return found


def _same_name(stem: str, wanted: str) -> bool:
    return stem == wanted


def _goes_on(stem: str, wanted: str) -> bool:
    return stem.startswith(wanted) and not stem[len(wanted) :][:1].isalnum()


def _told(error: BaseException) -> str:
    """The error's kind, and the first line of its words if it has any."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
