"""The mean of several models of one network."""

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from resharp.errors import ArgumentError, WeightsError

from .cards import Card, read_card
from .files import load_model, save_model


def mix_models(
    files: Sequence[str | Path],
    out: str | Path,
    *,
    shares: Sequence[float] = (),
    network: str | type[nn.Module] | None = None,
) -> Card:
    """Write the weighted mean of weights of one network that were trained from the same beginning; returns its card.

    Between weights of pixel losses and of a GAN it lies between faithful and crisp (Wang et al. 2018, arXiv 1809.00219,
    section 3.4); of several fine-tunings it is mostly better than each (Wortsman et al. 2022, arXiv 2203.05482).
    files: two or more, by name or file;  shares: of each, above 0, relative to each other, or () for equal ones;
    network: the class of one that is none of ours, as in `load_model`.
    The mean of denoisers of which some were learned within a solver counts as such, in the first of their numbers of
    steps.  Whether all have one origin is not checked: the mean of others restores nothing.  Whole numbers are the
    first file's; statistics of batch norms are averaged, too.  Raises WeightsError for different networks, files that
    are no weights, and an `out` that is one of them or no .safetensors; ArgumentError for shares that do not fit,
    OutputError.
    """
    if len(files) < 2:
        raise ArgumentError("a mixture needs two or more weights; name another file")
    shares = list(shares) or [1.0] * len(files)
    if len(shares) != len(files) or not all(0 < share < 1e6 for share in shares):
        wanted = f"a mixture of {len(files)} needs as many shares above 0 and below a million, a --share for each file"
        raise ArgumentError(f"{wanted}, not {shares}")
    loaded, out = [load_model(file, network=network) for file in files], Path(out)
    unrolled = next((card.contract.unrolled for _, card in loaded if card.contract.unrolled is not None), None)
    loaded = [(one, _with_unrolled(card, unrolled)) for one, card in loaded]
    mean, first = loaded[0]
    for _, card in loaded:
        with contextlib.suppress(OSError):  # reading and writing will tell
            if out.samefile(card.path):
                raise WeightsError(f"{out}: is one of the files to mix; choose another name for the result")
        for key in ("network", "arguments", "contract"):
            ours, theirs = getattr(first, key), getattr(card, key)
            if ours != theirs:
                raise WeightsError(f"{card.path}: has {key} {theirs}, {first.path} {ours}; mix weights of one network")
    states = [one.state_dict() for one, _ in loaded]
    for key, value in mean.state_dict().items():
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
    save_model(mean, out, mixed)
    return read_card(out)


def _with_unrolled(card: Card, steps: int | None) -> Card:
    return dataclasses.replace(
        card, contract=dataclasses.replace(card.contract, unrolled=steps if card.contract.noise_sigma else None)
    )
