"""Where published files of other people keep each tensor of our networks, and how large those are."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

Tensors = Mapping[str, Tensor]
Rules = Sequence[tuple[str, str]]
"""(pattern within our name, what stands there in theirs): {0} is the pattern's first group, {up[0]} one more."""


@dataclasses.dataclass(frozen=True)
class Published:
    """One row of PUBLISHED.

    task: a row of TASKS;  arguments: what builds the network, by the sizes of the tensors;  rules: from our names to
    theirs, one after the other, for a network of these arguments;  slope: a pattern of theirs for the one PReLU that
    all blocks share, where there is one.  Both raise KeyError where tensors are missing.
    """

    task: str
    arguments: Callable[[Tensors], dict[str, Any]]
    rules: Callable[[dict[str, Any], Tensors], Rules]
    training_data: str
    licence: str
    slope: str = ""

    def names(self, ours: Sequence[str], arguments: dict[str, Any], stored: Tensors) -> dict[str, str]:
        """Our name of each tensor -> theirs."""
        rules = self.rules(arguments, stored)
        return {one: _renamed(one, rules) for one in ours}


def _renamed(name: str, rules: Rules) -> str:
    for pattern, theirs in rules:
        name = re.sub(pattern, lambda found, theirs=theirs: _filled(theirs, found), name)  # type: ignore[misc]
    return name


def _filled(theirs: str, found: re.Match[str]) -> str:
    return theirs.format(*found.groups(), up=[int(one) + 1 if one.isdigit() else one for one in found.groups()])


def _count(stored: Tensors, pattern: str) -> int:
    """How many there are of what is numbered."""
    return len({found[1] for key in stored if (found := re.match(pattern, key))})


def _dbgan_arguments(stored: Tensors) -> dict[str, Any]:
    return {
        "width": len(stored["model.0.weight"]),
        "growth": len(stored["model.1.sub1.0.RDB1.conv1.0.weight"]),
        "n_blocks": _count(stored, r"model\.1\.sub1\.(\d+)\."),
    }


def _dbgan_rules(arguments: dict[str, Any], stored: Tensors) -> Rules:
    del arguments, stored
    return [
        (r"^correction\.", ""),
        (r"^head", "model.0"),
        (r"^blocks\.(\d+)\.dense\.(\d+)\.convs\.(\d+)", "model.1.sub1.{0}.RDB{up[1]}.conv{up[2]}.0"),
        (r"^joint", "model.1.sub2.0"),
        (r"^tail\.0", "model.2"),
        (r"^tail\.1", "model.4"),
    ]


def _sftnet_arguments(stored: Tensors) -> dict[str, Any]:
    return {
        "width": len(stored["conv0.weight"]),
        "n_blocks": _count(stored, r"sft_branch\.(\d+)\.sft0\."),
        "n_classes": stored["CondNet.0.weight"].shape[1],
        "torch_compat": "HR_branch.1.weight" in stored,
    }


def _sftnet_rules(arguments: dict[str, Any], stored: Tensors) -> Rules:
    del stored
    last, first = arguments["n_blocks"], int(arguments["torch_compat"])  # behind a layer that repeats pixels
    return [
        (r"^head", "conv0"),
        (r"^conditions", "CondNet"),
        (r"^blocks\.(\d+)\.transforms\.(\d+)", "sft_branch.{0}.sft{1}"),
        (r"^blocks\.(\d+)\.convs\.(\d+)", "sft_branch.{0}.conv{1}"),
        (r"^transform", f"sft_branch.{last}"),
        (r"\.(scale|shift)\.(\d+)", ".SFT_{0}_conv{1}"),
        (r"^joint", f"sft_branch.{last + 1}"),
        (r"^ups\.0", f"HR_branch.{first}"),
        (r"^ups\.1", f"HR_branch.{first + 3}"),
        (r"^tail\.0", "HR_branch.6"),
        (r"^tail\.1", "HR_branch.8"),
    ]


def _mprnet_arguments(stored: Tensors) -> dict[str, Any]:
    width = len(stored["shallow_feat1.0.weight"])
    return {
        "width": width,
        "widening": len(stored["stage1_encoder.down12.down.1.weight"]) - width,
        "widening_full": len(stored["concat23.weight"]) - width,
        "n_blocks": _count(stored, r"stage3_orsnet\.orb1\.body\.(\d+)\.body\."),
        "reduction": width // len(stored["shallow_feat1.1.CA.conv_du.0.weight"]),
    }


def _mprnet_rules(arguments: dict[str, Any], stored: Tensors) -> Rules:
    del arguments, stored
    return [
        (r"\.conv1\.", ".body.0."),
        (r"\.conv2\.", ".body.2."),
        (r"\.squeeze\.", ".CA.conv_du.0."),
        (r"\.excite\.", ".CA.conv_du.2."),
        (r"^shallow\.(\d+)\.blocks", "shallow_feat{up[0]}"),
        (r"^(en|de)coders\.(\d+)", "stage{up[1]}_{0}coder"),
        (r"(en|de)coder\.levels\.(\d+)\.blocks", "{0}coder.{0}coder_level{up[1]}"),
        (r"coder\.from_(enc|dec)oder\.(\d+)", "coder.csff_{0}{up[1]}"),
        (r"\.downs\.0\.conv", ".down12.down.1"),
        (r"\.downs\.1\.conv", ".down23.down.1"),
        (r"\.skips\.(\d+)", ".skip_attn{up[0]}"),
        (r"\.ups\.0\.conv", ".up21.up.1"),
        (r"\.ups\.1\.conv", ".up32.up.1"),
        (r"^supervised\.0", "sam12"),
        (r"^supervised\.1", "sam23"),
        (r"\.inner\.", ".conv1."),
        (r"\.picture\.", ".conv2."),
        (r"\.weigh\.", ".conv3."),
        (r"^joints\.0", "concat12"),
        (r"^joints\.1", "concat23"),
        (r"^original\.rows\.(\d+)\.blocks", "stage3_orsnet.orb{up[0]}.body"),
        (r"^original\.(enc|dec)oded\.1\.0\.conv", "stage3_orsnet.up_{0}1.up.1"),
        (r"^original\.(enc|dec)oded\.2\.(\d+)\.conv", "stage3_orsnet.up_{0}2.{1}.up.1"),
        (r"^original\.from_(enc|dec)oder\.(\d+)", "stage3_orsnet.conv_{0}{up[1]}"),
        (r"^slope$", "shallow_feat1.1.body.1.weight"),
    ]


_SCALES = {(4, 1): 2, (9, 1): 3, (4, 2): 4, (4, 3): 8}  # (wider by, upsampling convolutions)


def _upscaler_size(stored: Tensors, head: str, block: str, ups: str) -> dict[str, Any]:
    width, up = len(stored[head]), [tensor for key, tensor in stored.items() if re.fullmatch(ups, key)]
    scale = _SCALES.get((len(up[0]) // width, len(up)) if up else (0, 0))
    if scale is None:
        raise KeyError(ups)
    return {"scale": scale, "channels": stored[head].shape[1], "width": width, "n_blocks": _count(stored, block)}


def _msrresnet_arguments(stored: Tensors) -> dict[str, Any]:
    ups, block = r"upconv\d\.weight|upsample\d\.upsample_conv\.weight", r"(?:body|trunk_net)\.(\d+)\."
    return _upscaler_size(stored, "conv_first.weight", block, ups) | {"active_ups": "upconv1.weight" in stored}


def _msrresnet_rules(arguments: dict[str, Any], stored: Tensors) -> Rules:
    del stored
    of_basicsr = ("upconv{up[0]}", "body.{0}"), ("upsample{up[0]}.upsample_conv", "trunk_net.{0}")
    up, block = of_basicsr[0] if arguments["active_ups"] else of_basicsr[1]
    heads = [("^head", "conv_first"), ("^fine", "conv_hr"), ("^tail", "conv_last")]
    return [*heads, (r"^blocks\.(\d+)", block), (r"^ups\.(\d+)", up)]


def _srresnet_arguments(stored: Tensors) -> dict[str, Any]:
    ups, head = r"upsampling\.\d\.upsample_block\.0\.weight", f"{_lornatangs(stored)}1.0.weight"
    return _upscaler_size(stored, head, r"trunk\.(\d+)\.", ups) | {"bias": "trunk.0.rcb.0.bias" in stored}


def _srresnet_rules(arguments: dict[str, Any], stored: Tensors) -> Rules:
    del arguments
    conv, inner = _lornatangs(stored), ("conv1", "norm1", "prelu", "conv2", "norm2")
    return [
        *((rf"^blocks\.(\d+)\.{ours}", f"trunk.{{0}}.rcb.{place}") for place, ours in enumerate(inner)),
        (r"^head", f"{conv}1.0"),
        (r"^prelu\.", f"{conv}1.1."),
        (r"^fuse", f"{conv}2.0"),
        (r"^norm\.", f"{conv}2.1."),
        (r"^ups\.(\d)", "upsampling.{0}.upsample_block.0"),
        (r"^prelus\.(\d)", "upsampling.{0}.upsample_block.2"),
        (r"^tail", f"{conv}3"),
    ]


def _lornatangs(stored: Tensors) -> str:
    """Convolutions' name, as later and earlier versions have it."""
    return "conv" if "conv1.0.weight" in stored else "conv_block"


PUBLISHED = {
    "msrresnet": Published(
        "upscale",
        _msrresnet_arguments,
        _msrresnet_rules,
        "DIV2K, if the file is BasicSR's or mmagic's",
        "Apache-2.0, if it is theirs",
    ),
    "srresnet": Published(
        "upscale",
        _srresnet_arguments,
        _srresnet_rules,
        "ImageNet, if the file is Lornatang's",
        "Apache-2.0, if it is theirs",
    ),
    "dbgan": Published(
        "deblur",
        _dbgan_arguments,
        _dbgan_rules,
        "GoPro, if the file is the DBGAN authors'",
        "none stated by its authors",
    ),
    "sftnet": Published(
        "upscale",
        _sftnet_arguments,
        _sftnet_rules,
        "ImageNet and OutdoorScene, if the file is the SFTGAN authors'",
        "none stated by its authors",
    ),
    "mprnet": Published(
        "deblur",
        _mprnet_arguments,
        _mprnet_rules,
        "GoPro, if the file is the MPRNet authors' for deblurring",
        "academic use, not commercial, if the file is the MPRNet authors'",
        slope=r"\.body\.1\.weight$",
    ),
}
"""Rows of NETWORKS that published weights are read into."""
