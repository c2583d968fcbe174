"""The processes of a run: how they start together, share a run folder, and part."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from resharp.device import checked_device
from resharp.errors import ArgumentError, RecipeError, ResharpError
from resharp.locks import exclusive

from .config import Recipe


def launched(device: str, recipe: Recipe) -> Accelerator:
    """The launcher's processes and devices.

    Raises ArgumentError for a device that is not there, RecipeError for stages that cannot run on it or in so many
    processes.
    """
    if device != "auto":
        checked_device(device)
    try:  # precision is the recipe's, stage by stage
        accelerator = Accelerator(cpu=device == "cpu", mixed_precision="no")
    except ValueError as error:  # a process that began on one device stays with it
        raise ArgumentError(f"device {device!r}: {str(error).splitlines()[0]}") from None
    if device not in ("auto", accelerator.device.type):
        raise ArgumentError(
            f"device {device!r}: here training runs on {accelerator.device.type!r}; name a kind of device"
        )
    _check_stages(recipe, accelerator)
    return accelerator


def _check_stages(recipe: Recipe, accelerator: Accelerator) -> None:
    for index, stage in enumerate(recipe.stages):
        if stage.batch_size % accelerator.num_processes:
            raise RecipeError(
                f"stages.{index}.batch_size: {stage.batch_size} is no multiple of the {accelerator.num_processes} "
                "processes that share it"
            )
        game = stage.adversarial
        if accelerator.num_processes > 1 and game is not None and game.kind == "relativistic":
            raise RecipeError(
                f"stages.{index}.adversarial.kind: a {game.kind} loss compares with the mean of the whole batch, which "
                "several processes would share; train it in one process, or take another loss"
            )
        if stage.precision == "float16" and accelerator.device.type == "cpu":
            raise RecipeError(f"stages.{index}.precision: float16 needs an accelerator; on the CPU take bfloat16")


@contextlib.contextmanager
def algorithms(recipe: Recipe) -> Iterator[None]:
    """The fastest algorithms of cuDNN, found by trying, or those that give the same bits; as it was afterwards."""
    cudnn, exact = torch.backends.cudnn, recipe.deterministic
    before = cudnn.benchmark, cudnn.deterministic, torch.are_deterministic_algorithms_enabled()
    if exact:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    cudnn.benchmark, cudnn.deterministic = not exact, exact
    if changes := exact and not before[2]:  # not asked for what it is: it would load torch's compiler, for two seconds
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before[:2]
        if changes:
            torch.use_deterministic_algorithms(False)


@contextlib.contextmanager
def held(folder: Path, accelerator: Accelerator) -> Iterator[None]:
    """The run folder for this run alone; what keeps the main process from it is raised in all of them."""
    with contextlib.ExitStack() as lock:
        refusal: list[ResharpError | None] = [None]
        if accelerator.is_main_process:
            try:
                lock.enter_context(exclusive(folder))
            except ResharpError as error:
                refusal = [error]
        if accelerator.num_processes > 1:
            broadcast_object_list(refusal)
        if refusal[0] is not None:
            raise refusal[0]
        yield


def leave_launcher() -> None:
    """The last act of a process that a launcher started: its connections end in order."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
