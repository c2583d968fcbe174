"""Protocols: which pictures, which colours, which border, which rounding, which figures, each under one name.

A figure means something beside another one only where both have the same protocol: name, version and settings.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resharp.degradations import Mosaic, parse_kernel, steps_from_text
from resharp.degradations.ranges import checked_seed, checked_sigma, checked_whole, shortened
from resharp.errors import ArgumentError, did_you_mean
from resharp.metrics import METRICS
from resharp.provenance import path_sha256

from .results import Column

ROUNDINGS = ("round", "truncate", "none")
_FIXED = ("name", "version", "summary", "takes", "figures", "colour")
_FILES = ("kernel", "detector", "labels")


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How pictures are made, shown to a method and judged; printing it says so.

    takes: "pairs", "trajectories" (several truths for a photo, the best counts), "clean" (photos that are spoiled
    here) or "photos" (no truth);  figures: rows of METRICS;  colour: "rgb", or "y", the luma of BT.601 in its limited
    range.  All others are settings, None where the protocol has no such thing:

    rounding: of the restored picture, "round" or "truncate" to 8 bits, both after clipping to [0, 1], or "none" of
    these;  border: pixels that are not counted on each side;  scale: how many times as wide and high as the degraded
    photo the truth is;  kernel: what `parse_kernel` takes, turned by 180 degrees with flip_kernel;  noise_sigma: on the
    [0, 1] scale;  noise_known: whether the method is told it;  pattern: of the Bayer filter;  seed: of the noise;
    steps: what is done to clean photos, as `steps_from_text` reads it;  detector, labels: files;  confidence, iou:
    thresholds of detection.
    """

    name: str
    version: int
    summary: str
    takes: str
    figures: tuple[str, ...]
    colour: str = "rgb"
    rounding: str | None = None
    border: int | None = None
    scale: int | None = None
    kernel: str | None = None
    flip_kernel: bool | None = None
    noise_sigma: float | None = None
    noise_known: bool | None = None
    pattern: str | None = None
    seed: int | None = None
    steps: str | None = None
    detector: str | None = None
    labels: str | None = None
    confidence: float | None = None
    iou: float | None = None

    def __post_init__(self) -> None:
        if self.rounding not in (None, *ROUNDINGS):
            raise ArgumentError(f"rounding is {self.rounding!r}; choose {', '.join(ROUNDINGS)}")
        for name, low, high in (("border", 0, 4096), ("scale", 1, 64)):
            if getattr(self, name) is not None:
                checked_whole(name, getattr(self, name), low, high)
        for name in ("confidence", "iou"):
            if not 0 <= (getattr(self, name) or 0) <= 1:
                raise ArgumentError(f"{name} is {getattr(self, name):g}; it lies between 0 and 1")
        checked_sigma(self.noise_sigma or 0.0)
        checked_seed(self.seed or 0)
        steps_from_text(self.steps or "")
        Mosaic(self.pattern or "RGGB")
        if self.kernel:
            parse_kernel(self.kernel)

    @property
    def settings(self) -> dict[str, Any]:
        """What this protocol has of the settings above, by name."""
        names = (field.name for field in dataclasses.fields(self) if field.name not in _FIXED)
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @property
    def title(self) -> str:
        """The name, and the settings that are not its own: "dmsp (kernel=motion:15,30, rounding=truncate)"."""
        usual = PROTOCOLS[self.name].settings if self.name in PROTOCOLS else {}
        changed = {name: value for name, value in self.settings.items() if usual.get(name) != value}
        told = ", ".join(f"{name}={_shown(name, value)}" for name, value in changed.items())
        return f"{self.name} ({told})" if told else self.name

    @property
    def gives(self) -> dict[str, Any]:
        """What a method may be told beside the picture; None for what only the picture's own sample knows."""
        told: dict[str, Any] = {} if self.scale is None else {"scale": self.scale}
        if self.kernel is not None:
            told["kernel"] = None
        if self.noise_sigma is not None and self.noise_known is not False:
            told["noise_sigma"] = self.noise_sigma
        return told if self.pattern is None else told | {"pattern": self.pattern}

    @property
    def columns(self) -> tuple[Column, ...]:
        """The figures of one picture; those of detection are its scorer's."""
        chosen = {name: METRICS[name] for name in self.figures}
        return tuple(Column(name, metric.unit, metric.higher_is_better) for name, metric in chosen.items())

    def __str__(self) -> str:
        lines = [f"{self.title}, version {self.version}: {self.summary}", f"  takes        {self.takes}"]
        lines += [f"  {name:<12} {METRICS[name].summary}" for name in self.figures]
        lines += [f"  {'colour':<12} {self.colour}"]
        return "\n".join(lines + [f"  {name:<12} {_shown(name, value)}" for name, value in self.settings.items()])


def _shown(name: str, value: Any) -> str:
    """A setting in words that do not depend on where files lie, but on what they hold."""
    if name == "kernel" and value:
        kernel = parse_kernel(value)
        digest = hashlib.sha256(kernel.double().contiguous().numpy().tobytes()).hexdigest()
        return f"{Path(value).name} ({kernel.shape[1]}x{kernel.shape[0]}, {digest[:12]})"
    if name in _FILES and value:
        return f"{Path(value).name} ({path_sha256(Path(value))[:12]})"
    return "to be set" if value == "" else f"{value:g}" if isinstance(value, float) else str(value)


_RGB: dict[str, Any] = {"rounding": "round", "border": 0}
PROTOCOLS: dict[str, Protocol] = {
    row.name: row
    for row in (
        Protocol(
            "deblur-rgb",
            1,
            "blurred and sharp photos of one size; RGB, the whole frame",
            "pairs",
            ("psnr", "ssim"),
            **_RGB,
        ),
        Protocol(
            "kohler",
            1,
            "each photo against every sharp frame of its trajectory, each figure the best of all frames; RGB",
            "trajectories",
            ("psnr", "ssim"),
            **_RGB,
        ),
        Protocol(
            "levin",
            1,
            "really shaken photos, whose kernels are not centred: PSNR at the best shift of up to 5 pixels; RGB",
            "pairs",
            ("psnr-up-to-shift", "ssim"),
            **_RGB,
        ),
        Protocol(
            "spoiled",
            1,
            "clean photos, spoiled by `steps` and rounded to 8 bits; the n-th photo draws from seed + n; RGB",
            "clean",
            ("psnr", "ssim"),
            **_RGB,
            steps="shake",
            seed=0,
        ),
        Protocol(
            "sr-y",
            1,
            "small and large photos; luma (BT.601, limited range, not rounded), a border of the scale not counted",
            "pairs",
            ("psnr", "ssim"),
            colour="y",
            rounding="round",
            border=4,
            scale=4,
        ),
        Protocol(
            "sr-rgb",
            1,
            "small and large photos; RGB, a border of the scale not counted",
            "pairs",
            ("psnr", "ssim"),
            rounding="round",
            border=4,
            scale=4,
        ),
        Protocol(
            "dmsp",
            1,
            "clean photos, blurred where the kernel lies inside, with white noise, neither clipped nor rounded; the "
            "restored picture is as large as the blurred one",
            "clean",
            ("psnr", "ssim"),
            **_RGB,
            kernel="",
            flip_kernel=False,
            noise_sigma=0.01,
            noise_known=True,
            seed=0,
        ),
        Protocol(
            "demosaic",
            1,
            "clean photos through a Bayer filter; methods see it demosaicked bilinearly; PSNR of all colours (CPSNR)",
            "clean",
            ("psnr", "ssim"),
            rounding="round",
            border=10,
            pattern="RGGB",
        ),
        Protocol(
            "denoise",
            1,
            "clean photos with white noise; neither the noisy nor the restored picture is clipped or rounded",
            "clean",
            ("psnr", "ssim"),
            rounding="none",
            border=0,
            noise_sigma=11 / 255,
            noise_known=True,
            seed=0,
        ),
        Protocol(
            "no-reference",
            1,
            "photos without a truth, judged by how natural they look",
            "photos",
            ("niqe",),
            **_RGB,
        ),
        Protocol(
            "detection",
            1,
            "what a detector finds in the restored photo, against labels, else against what it finds in the sharp one",
            "photos",
            (),
            detector="",
            labels="",
            confidence=0.3,
            iou=0.5,
        ),
    )
}
_REQUIRED = {
    "kernel": "a file such as kernels.mat#1, or a shape such as motion:15,30",
    "detector": "an ONNX file of YOLOX",
}


def make_protocol(name: str, settings: Mapping[str, str] | None = None) -> Protocol:
    """A row of PROTOCOLS with some settings, given as text, in place of its own.

    With another scale the border becomes that scale, too, unless it is set.  Raises ArgumentError for a name or setting
    that is not there, a value that cannot be meant, and a setting that is missing; KernelError for a bad kernel.
    """
    if name not in PROTOCOLS:
        raise ArgumentError(f"{name!r} is no protocol; {did_you_mean(name, PROTOCOLS, things='protocols')}")
    protocol = PROTOCOLS[name]
    values: dict[str, Any] = {}
    for key, text in (settings or {}).items():
        if key not in protocol.settings:
            hint = did_you_mean(key, protocol.settings, things="settings there")
            raise ArgumentError(f"protocol {name} has no setting {shortened(key)!r}; {hint}")
        values[key] = _parsed(key, text, protocol.settings[key])
    if "scale" in values:
        values.setdefault("border", values["scale"])
    changed = dataclasses.replace(protocol, **values)
    for key, example in _REQUIRED.items():
        if changed.settings.get(key) == "":
            raise ArgumentError(f"protocol {name} needs a {key}: --set {key}=..., {example}")
    return changed


def _parsed(key: str, text: str, usual: Any) -> Any:
    try:
        if isinstance(usual, bool):
            return {"true": True, "false": False, "yes": True, "no": False}[text.lower()]
        return type(usual)(text)
    except (ValueError, KeyError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}[type(usual)]
        raise ArgumentError(f"{key} is {shortened(text)!r}; it must be {wanted}") from None
