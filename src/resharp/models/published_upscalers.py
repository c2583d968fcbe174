"""Where published files of SRResNet and MSRResNet keep each tensor of our networks, and how large those are."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from resharp.errors import WeightsError
from resharp.networks import NETWORKS

Tensors = Mapping[str, Tensor]
Rules = Sequence[tuple[str, str]]
"""(pattern within our name, what stands there in theirs), one after the other."""

_SCALES = {(4, 1): 2, (9, 1): 3, (4, 2): 4, (4, 3): 8}  # (wider by, upsampling convolutions)


class PublishedUpscaler(NamedTuple):
    """Arguments: what builds the network, by the sizes of the tensors, KeyError where these are missing;  rules: from
    our names to theirs."""

    arguments: Callable[[Tensors], dict[str, Any]]
    rules: Callable[[Tensors], Rules]
    training_data: str
    licence: str


def _size(stored: Tensors, head: str, block: str, ups: str) -> dict[str, Any]:
    """Raises KeyError for the first that is missing."""
    width = len(stored[head])
    upsampling = [tensor for key, tensor in stored.items() if re.fullmatch(ups, key)]
    scale = _SCALES.get((len(upsampling[0]) // width, len(upsampling)) if upsampling else (0, 0))
    if scale is None:
        raise KeyError(ups)
    n_blocks = len({found[1] for key in stored if (found := re.match(block, key))})
    return {"scale": scale, "channels": stored[head].shape[1], "width": width, "n_blocks": n_blocks}


def _msrresnet_arguments(stored: Tensors) -> dict[str, Any]:
    ups, block = r"upconv\d\.weight|upsample\d\.upsample_conv\.weight", r"(?:body|trunk_net)\.(\d+)\."
    return _size(stored, "conv_first.weight", block, ups) | {"active_ups": "upconv1.weight" in stored}


def _msrresnet_rules(stored: Tensors) -> Rules:
    is_basicsr = "upconv1.weight" in stored
    up, blocks = ("upconv{}", "body.") if is_basicsr else ("upsample{}.upsample_conv", "trunk_net.")
    numbered = [(rf"^ups\.{i}", up.format(i + 1)) for i in range(3)]
    return [("^head", "conv_first"), ("^fine", "conv_hr"), ("^tail", "conv_last"), (r"^blocks\.", blocks), *numbered]


def _srresnet_arguments(stored: Tensors) -> dict[str, Any]:
    size = _size(stored, f"{_conv(stored)}1.0.weight", r"trunk\.(\d+)\.", r"upsampling\.\d\.upsample_block\.0\.weight")
    return size | {"bias": "trunk.0.rcb.0.bias" in stored}


def _srresnet_rules(stored: Tensors) -> Rules:
    conv = _conv(stored)
    inner = [("conv1", 0), ("norm1", 1), ("prelu", 2), ("conv2", 3), ("norm2", 4)]
    return [
        *((rf"^blocks\.(\d+)\.{ours}", rf"trunk.\1.rcb.{place}") for ours, place in inner),
        (r"^head", f"{conv}1.0"),
        (r"^prelu\.", f"{conv}1.1."),
        (r"^fuse", f"{conv}2.0"),
        (r"^norm\.", f"{conv}2.1."),
        (r"^ups\.(\d)", r"upsampling.\1.upsample_block.0"),
        (r"^prelus\.(\d)", r"upsampling.\1.upsample_block.2"),
        (r"^tail", f"{conv}3"),
    ]


def _conv(stored: Tensors) -> str:
    """As later and earlier versions name them."""
    return "conv" if "conv1.0.weight" in stored else "conv_block"


PUBLISHED_UPSCALERS = {
    "msrresnet": PublishedUpscaler(
        _msrresnet_arguments,
        _msrresnet_rules,
        "DIV2K, if the file is BasicSR's or mmagic's",
        "Apache-2.0, if it is theirs",
    ),
    "srresnet": PublishedUpscaler(
        _srresnet_arguments, _srresnet_rules, "ImageNet, if the file is Lornatang's", "Apache-2.0, if it is theirs"
    ),
}
"""Rows of NETWORKS that published weights are read into."""


def published_upscaler(kind: str, stored: Tensors) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(arguments, state) of our network with the tensors of a published file.

    Raises WeightsError for the first that is missing, unknown or of another shape.
    """
    # mmagic keeps whole models, critic and losses beside the generator; others may stand under "module"
    stored = {key.removeprefix("module."): tensor for key, tensor in stored.items()}
    if generators := {key.removeprefix("generator."): t for key, t in stored.items() if key.startswith("generator.")}:
        stored = generators
    row = PUBLISHED_UPSCALERS[kind]
    try:
        arguments = row.arguments(stored)
        expected = NETWORKS[kind](**arguments).state_dict()
    except (KeyError, ValueError, IndexError) as error:
        raise WeightsError(f"is no published {kind} ({error} is missing or of another size)") from None
    state, left = {}, dict(stored)
    for ours, wanted in expected.items():
        theirs = ours
        for pattern, there in row.rules(stored):
            theirs = re.sub(pattern, there, theirs)
        if theirs not in left:
            raise WeightsError(f"{theirs!r} is missing, which a published {kind} of this size has")
        state[ours] = left.pop(theirs)
        if state[ours].shape != wanted.shape:
            raise WeightsError(f"{theirs!r} has shape {tuple(state[ours].shape)} where {tuple(wanted.shape)} belongs")
    if left:
        raise WeightsError(f"{next(iter(left))!r} is unknown in a published {kind}")
    return arguments, state
