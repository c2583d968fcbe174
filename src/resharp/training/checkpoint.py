"""Checkpoints of a run folder: written whole or not at all, loaded without running code, the damaged passed over."""

from pathlib import Path
from typing import Any

import torch

from resharp.errors import RecipeError
from resharp.files import refusals_named, written_whole

FORMAT = 2


def checkpoint_path(folder: Path, n_seen: int) -> Path:
    """Where the state after `n_seen` images lies."""
    return folder / f"checkpoint-{n_seen:012d}.pt"


def save_checkpoint(folder: Path, state: dict[str, Any], *, keep: int) -> None:
    """Write a state, then remove all but the last `keep` and that of `state["best"]`."""
    path = checkpoint_path(folder, state["n_seen"])
    with written_whole(path) as file:
        torch.save({"format": FORMAT} | state, file)
    kept = {*checkpoints(folder)[:keep], checkpoint_path(folder, state["best"]["n_seen"])}
    with refusals_named(folder):
        for old in checkpoints(folder):
            if old not in kept:
                old.unlink()


def checkpoints(folder: Path) -> list[Path]:
    """Those of a run folder, the newest first."""
    return sorted(folder.glob("checkpoint-*.pt"), reverse=True)


def latest_state(folder: Path, identity: dict[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    """(the newest sound state or None where no run has saved one yet, what was wrong with newer ones).

    Raises RecipeError for states of another run, `identity` being all that decides the bits, and where all are damaged.
    """
    complaints: list[str] = []
    for path in checkpoints(folder):
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            theirs: dict[str, Any] = state["identity"]
            if state["format"] != FORMAT:
                raise RecipeError(f"{path}: is of another version of resharp; finish that run with it, or start anew")
        except RecipeError:
            raise
        except Exception as error:  # torch raises several kinds for a damaged file
            complaints.append(f"{path}: damaged ({type(error).__name__}); going on from the one before it")
            continue
        if theirs != identity:
            changed = ", ".join(sorted(key for key in {*identity, *theirs} if theirs.get(key) != identity.get(key)))
            raise RecipeError(f"{folder} holds another run (its {changed} differ); choose another --out, or delete it")
        return state, complaints
    if complaints:
        raise RecipeError(f"{folder}: all its checkpoints are damaged; delete them to start anew")
    return None, []
