"""What is evaluated: every kind of method behind one call, a sample in and a picture out."""

import dataclasses
import functools
import hashlib
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resharp.data.folders import natural, photos_below, some
from resharp.device import checked_device
from resharp.errors import ArgumentError, DatasetError, WeightsError, did_you_mean
from resharp.models import BLIND, DEFAULT_DENOISER, SHIPPED, Card, finds_blur, read_card
from resharp.own_code import imported, is_own
from resharp.photo import SUFFIXES
from resharp.provenance import file_sha256, files_sha256
from resharp.restorers import (
    BayesRestorer,
    BlindRestorer,
    FunctionRestorer,
    NetworkRestorer,
    Restorer,
    open_denoiser,
    open_restorer,
)
from resharp.restorers.opening import TELLABLE
from resharp.restorers.precision import checked_precision

from .baselines import BASELINES, baseline
from .cases import Case, Sample, differs_in_kind, read_source
from .protocols import PROTOCOLS, Protocol
from .results import RESULTS


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
    device: str = "auto",
    precision: str = "auto",
    network: str | None = None,
    samples: int | None = None,
) -> Method:
    """The method that `what` names: a row of BASELINES, a model by name or file, a folder of restored pictures (which
    belong to the cases by their names, or by their order with match="order"), `package.module:callable`, a callable.

    network, samples: as `open_restorer` takes them.  Raises ArgumentError, WeightsError or DatasetError for a method
    that is not there, cannot run under the protocol, or whose name means two things.
    """
    if match not in ("name", "order"):
        raise ArgumentError(f"pictures are matched by name or by order, not by {match!r}")
    text, is_name = str(what), isinstance(what, str)
    is_built_in, is_shipped = is_name and text in BASELINES, is_name and (text in SHIPPED or text == BLIND)
    if (is_built_in or is_shipped) and Path(text).exists():
        kind = "built-in method" if is_built_in else "shipped model"
        raise ArgumentError(f"{text}: is a {kind} and stands here, too; write ./{text} for what stands here")
    if is_shipped or Path(text).suffix == ".safetensors" or (not callable(what) and Path(text).is_file()):
        return _from_model(text if is_name else Path(text), protocol, device, precision, network, samples)
    if callable(what) or (is_name and is_own(text)):
        _check_unused(_name_of(what), network=network, samples=samples)
        return _from_callable(what, protocol, device, precision)
    place = None if device in ("auto", "cpu") else device
    used = None if precision in ("auto", "float32") else precision
    _check_unused(text, network=network, samples=samples, device=place, precision=used)
    if is_built_in:
        restorer = FunctionRestorer(baseline(text), name=text)
        _check_needs(restorer.needs, text, protocol)
        return Method(text, functools.partial(_told, restorer, protocol, 0))
    if Path(text).is_dir():
        return _restored_folder(Path(text), cases, match)
    known = [*BASELINES, BLIND, *SHIPPED]
    hint = did_you_mean(text, known, things="built-in methods and models")
    raise ArgumentError(f"{text}: no method; {hint}; a model, a folder of pictures or package.module:callable will do")


def _check_unused(text: str, **settings: object) -> None:
    """Raises ArgumentError for settings that a method has no use for."""
    for name, value in settings.items():
        if value is not None:
            raise ArgumentError(f"{text} is no network of a file and takes no {name}; leave it out")


def _told(restorer: Restorer, protocol: Protocol, seed: int, sample: Sample) -> Tensor:
    """What the restorer makes of a sample, told what it can be told and the protocol knows."""
    names = [name for name in restorer.accepts if name in protocol.gives]
    known = {name: getattr(sample, name) for name in names if getattr(sample, name) is not None}
    return restorer(sample.degraded, seed=seed, **known).image.to(sample.degraded.device)


# --- callables --------------------------------------------------------------------------------------------------------


def _from_callable(what: str | Path | Callable[..., Any], protocol: Protocol, device: str, precision: str) -> Method:
    """Raises ArgumentError where the function wants to be told more than the protocol knows."""
    found = imported(str(what)) if isinstance(what, str | Path) else what
    if not isinstance(found, nn.Module):  # what pictures are handed to functions in
        device, precision = (
            "auto" if value == own else value for value, own in ((device, "cpu"), (precision, "float32"))
        )
    restorer, name = open_restorer(what, device=device, precision=precision), _name_of(what)
    if isinstance(restorer, FunctionRestorer):
        _check_needs(restorer.needs, name, protocol)
    run = functools.partial(_told, restorer, protocol, protocol.seed or 0)
    digest = _digest(found)
    if not digest and isinstance(what, str):  # an object: the file where it was made, by name
        source = getattr(sys.modules[what.partition(":")[0]], "__file__", None)
        digest = "" if source is None else file_sha256(Path(source))
    if not isinstance(restorer, NetworkRestorer):
        return Method(name, run, sha256=digest, is_known=bool(digest))
    place, used = str(restorer.network.device), str(restorer.network.dtype).removeprefix("torch.")
    return Method(name, run, digest, "", place, used, is_known=bool(digest))


def _name_of(what: object) -> str:
    return str(what) if isinstance(what, str | Path) else getattr(what, "__qualname__", type(what).__name__)


def _check_needs(needs: Sequence[str], name: str, protocol: Protocol) -> None:
    """Raises ArgumentError for a method that cannot do without what the protocol does not tell."""
    for needed in needs:
        if needed in protocol.gives:
            continue
        givers = [row.name for row in PROTOCOLS.values() if needed in row.gives]
        way_out = f"those that do: {', '.join(givers)}" if givers else f"methods are told {', '.join(TELLABLE)} only"
        raise ArgumentError(f"{name} needs {needed}, which protocol {protocol.title} does not tell; {way_out}")


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


# --- models -----------------------------------------------------------------------------------------------------------


def _from_model(
    what: str | Path, protocol: Protocol, device: str, precision: str, network: str | None, samples: int | None
) -> Method:
    if str(what) not in SHIPPED and Path(what).suffix.lower() in SUFFIXES:
        raise ArgumentError(f"{what}: is a photo; name the folder of restored pictures")
    is_blind = finds_blur(what)
    card = read_card(DEFAULT_DENOISER if what == BLIND else what)
    _check_task(dataclasses.replace(card, contract=BlindRestorer.contract) if is_blind else card, protocol)
    place = checked_device(device)
    used = str(checked_precision(precision, place)).removeprefix("torch.")
    settings: dict[str, Any] = {"device": device, "precision": used, "network": network}
    restorer: Restorer
    if card.contract.task == "denoise" and not is_blind and "kernel" in protocol.gives:
        _check_unused(str(what), samples=samples)
        restorer = BayesRestorer(open_denoiser(what, **settings))
    else:
        restorer = open_restorer(what, samples=samples, **settings)
        _check_needs([need for need in restorer.accepts if need == "noise_sigma"], str(what), protocol)
    name = BLIND if what == BLIND else card.name if card.name != "not stated" else Path(card.path).stem
    run = functools.partial(_told, restorer, protocol, protocol.seed or 0)
    return Method(name, run, card.sha256, card.licence, str(place), used)


def _check_task(card: Card, protocol: Protocol) -> None:
    """Raises WeightsError for a model that does something else than the protocol judges."""
    contract, scale = card.contract, protocol.scale or 1
    if contract.scale != scale:
        sizes = "keeps a photo's size" if contract.scale == 1 else f"makes a photo {contract.scale} times as large"
        is_settable = protocol.scale is not None and contract.scale > 1
        way_out = f"--set scale={contract.scale} makes it do so" if is_settable else "see `bicubic`"
        raise WeightsError(f"{card.path}: {sizes}, which protocol {protocol.name} does not; {way_out}")
    if contract.task in ("degrade", "kernels", "detect-blur"):
        raise WeightsError(f"{card.path}: is for the task {contract.task!r}, which restores no photo")
    if contract.task == "denoise" and protocol.name not in ("dmsp", "denoise"):
        raise WeightsError(
            f"{card.path}: is a denoiser, which protocols dmsp and denoise take, and {protocol.name} does not"
        )


# --- folders ----------------------------------------------------------------------------------------------------------


def restored_photos(folder: Path, files: Sequence[str]) -> dict[str, Path]:
    """Of the photos below `folder`, in a run folder of those that the run restored, the one of each of `files` by name.

    Files are names such as "set/0001.png"; those without a photo are left out.  Raises DatasetError for a folder
    without photos, and for photos that cannot be told apart.
    """
    place, photos = _photos_of(folder)
    return _by_name(place, photos, files)


def _photos_of(folder: Path) -> tuple[Path, list[Path]]:
    place = folder / "restored" if (folder / RESULTS).is_file() else folder
    photos = photos_below(place) if place.is_dir() else []
    if not photos:
        raise DatasetError(f"{place}: holds no pictures; name a folder of restored ones")
    return place, photos


def _restored_folder(folder: Path, cases: Sequence[Case], match: str) -> Method:
    """Pictures that were restored before; of a run folder, those that the run wrote."""
    place, photos = _photos_of(folder)
    files = [case.file for case in cases]
    found = _by_order(place, photos, files) if match == "order" else _by_name(place, photos, files)
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


def _by_order(place: Path, photos: Sequence[Path], files: Sequence[str]) -> dict[str, Path]:
    if len(photos) != len(files):
        raise DatasetError(f"{place}: holds {len(photos)} pictures for {len(files)} photos; by order, they are as many")
    ordered = sorted(photos, key=lambda path: natural(path.relative_to(place).as_posix()))
    return dict(zip(files, ordered, strict=True))


def _by_name(place: Path, photos: Sequence[Path], files: Sequence[str]) -> dict[str, Path]:
    """The picture of the same path, else the only one of the same name, else the only one whose name goes on from there
    (`baby_RCAN_x4.png` of `baby.png`) and is no other case's.  Suffixes do not count."""
    paths = {path.relative_to(place).with_suffix("").as_posix(): path for path in photos}
    stems = {file: Path(file).with_suffix("").as_posix() for file in files}
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
