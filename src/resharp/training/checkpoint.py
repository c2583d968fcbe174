"""Checkpoints of a run folder: written whole or not at all, loaded without running code, the damaged passed over."""

import hashlib
import io
import re
from pathlib import Path
from typing import Any

import torch

from resharp.device import is_out_of_memory
from resharp.errors import RecipeError
from resharp.files import refusals_named, written_whole

from .identity import Identity

FORMAT = 3
_MAGIC = b"resharp checkpoint\n"
_NAME = re.compile(r"checkpoint-\d{12}\.pt")


def checkpoint_path(folder: Path, n_seen: int) -> Path:
    """Where the state after `n_seen` images lies."""
    return folder / f"checkpoint-{n_seen:012d}.pt"


def save_checkpoint(folder: Path, state: dict[str, Any], *, keep: int) -> None:
    """Write a state, then remove all but the last `keep` and that of `state["best"]`; also newer ones, which a run that
    goes on from this one has passed over as damaged."""
    path = checkpoint_path(folder, state["n_seen"])
    content = io.BytesIO()
    torch.save({"format": FORMAT} | state, content)
    with written_whole(path) as file:
        file.write(_MAGIC + hashlib.sha256(content.getbuffer()).digest())
        file.write(content.getbuffer())
    found = checkpoints(folder)
    kept = {*found[found.index(path) :][:keep], checkpoint_path(folder, state["best"]["n_seen"])}
    with refusals_named(folder):
        for other in found:
            if other not in kept:
                other.unlink()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A state as it was saved.  Raises ValueError for a file that is damaged, to the last bit."""
    content = path.read_bytes()
    head, digest = content[: len(_MAGIC)], content[len(_MAGIC) : len(_MAGIC) + 32]
    body = content[len(_MAGIC) + 32 :]
    if head != _MAGIC or hashlib.sha256(body).digest() != digest:
        raise ValueError("not as it was written")
    state: dict[str, Any] = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    return state


def checkpoints(folder: Path) -> list[Path]:
    """Those of a run folder, the newest first; none of one that is not there."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted((path for path in found if _NAME.fullmatch(path.name)), reverse=True)


def latest_state(
    folder: Path, identity: Identity, *, before: int | None = None
) -> tuple[dict[str, Any] | None, list[str]]:
    """(the newest sound state, of fewer than `before` images, or None where no run has saved one; what was wrong with
    newer ones).

    Raises RecipeError for states of another run, for files that cannot be read at all, and where all are damaged.
    """
    complaints: list[str] = []
    for path in checkpoints(folder):
        if before is not None and path >= checkpoint_path(folder, before):
            continue
        try:
            state = read_checkpoint(path)
            theirs: dict[str, Any] = state["identity"]
            if state["format"] != FORMAT:
                raise RecipeError(f"{path}: is of another version of resharp; finish that run with it, or start anew")
        except RecipeError:
            raise
        except OSError as error:  # perhaps it can be read later; a run that passed it over would delete it
            raise RecipeError(
                f"{path}: cannot be read ({error.strerror or error}); try again, or delete it to take the one before"
            ) from None
        except Exception as error:  # torch raises several kinds for a damaged file
            if is_out_of_memory(error):
                raise
            complaints.append(f"{path}: damaged ({type(error).__name__}); going on from the one before it")
            continue
        if changed := identity.differences(theirs):
            raise RecipeError(
                f"{folder} holds another run ({'; '.join(changed[:5])}); choose another -o, to go on from its "
                "weights with --init, or delete it"
            )
        return state, complaints
    if complaints:
        raise RecipeError(f"{folder}: all its checkpoints are damaged; delete them to start anew")
    return None, []
