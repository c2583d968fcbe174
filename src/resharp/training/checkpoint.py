"""Checkpoints of a run folder: written whole or not at all, loaded without running code."""

from pathlib import Path
from typing import Any

import torch

from resharp.errors import RecipeError
from resharp.files import written_whole

NAME = "checkpoint.pt"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Replace the folder's checkpoint in one step: a crash leaves the old one or the new one, never a part."""
    with written_whole(folder / NAME) as file:
        torch.save(state, file)


def resumable(folder: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The folder's checkpoint, or None where no run has saved one yet.

    Raises RecipeError for a damaged one and for one of another run: its `identity` is all that decides the bits.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        theirs: dict[str, Any] = state["identity"]
    except Exception as error:  # torch raises several kinds for a damaged file
        raise RecipeError(f"{path}: damaged checkpoint ({type(error).__name__}); delete it to start anew") from error
    if theirs != identity:
        changed = ", ".join(sorted(key for key in {*identity, *theirs} if theirs.get(key) != identity.get(key)))
        raise RecipeError(f"{folder} holds another run (its {changed} differ); choose another --out, or delete it")
    return state
