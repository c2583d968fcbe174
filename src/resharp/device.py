"""Which device to run on, what it is fast at, and how what it computes with gets there."""

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from .allocation import freed_memory
from .errors import ArgumentError

_Batch = TypeVar("_Batch")


def checked_device(device: str) -> torch.device:
    """The device of this name, if there is one on this machine; "auto" is an accelerator, or the CPU without one.

    Raises ArgumentError.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if device == "auto":
        device = "cpu" if accelerator is None else accelerator.type
    known = ["cpu"] if accelerator is None else ["cpu", accelerator.type]
    try:
        if torch.device(device).type not in (*known, "cuda"):  # of which torch says why: no driver, one too old
            raise RuntimeError(f"found: {', '.join(known)}")
        return torch.zeros(1, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        if reason.startswith("Expected one of"):  # torch lists whatever there is anywhere
            reason = f"found: {', '.join(known)}"
        raise ArgumentError(f"device {device!r} cannot be used here ({reason}); 'cpu' always can") from None


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether convolutions in bfloat16 run faster than in float32 there."""
    if device.type == "cpu":
        return not _cpu_flags().isdisjoint({"avx512_bf16", "amx_bf16"})
    if device.type != "cuda":
        return False
    with torch.cuda.device(device):  # torch calls older cards able, too: they do it in software
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def copied_ahead(batches: Iterable[_Batch], device: torch.device) -> Iterator[_Batch]:
    """Tensors, in mappings, lists and named tuples or alone, on a device; to a GPU each batch is copied from pinned
    memory, on a stream of its own, while what was made of the one before it still runs."""
    if device.type != "cuda":
        yield from (_each_tensor(batch, lambda one: one.to(device)) for batch in batches)
        return
    copying, ahead = torch.cuda.Stream(device), None  # type: ignore[no-untyped-call]
    for batch in batches:
        with torch.cuda.stream(copying):
            following = _each_tensor(batch, lambda one: sent(one, device))
            copied = copying.record_event()
        if ahead is not None:
            yield _arrived(*ahead, device)
        ahead = following, copied
    if ahead is not None:
        yield _arrived(*ahead, device)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device; nobody waits for a GPU that it is copied to."""
    if device.type == "cuda" and tensor.device.type == "cpu" and not tensor.is_pinned():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=device.type == "cuda")


def _arrived(batch: Any, copied: torch.cuda.Event, device: torch.device) -> Any:
    """The batch, for the stream that works: it waits for these copies alone, and their memory for it."""
    working = torch.cuda.current_stream(device)
    working.wait_event(copied)
    _each_tensor(batch, lambda one: one.record_stream(working))
    return batch


def _each_tensor(thing: Any, change: Callable[[Tensor], Any]) -> Any:
    """The same with every tensor in it changed."""
    if isinstance(thing, Tensor):
        return change(thing)
    if isinstance(thing, Mapping):
        return {name: _each_tensor(part, change) for name, part in thing.items()}
    if isinstance(thing, list):
        return [_each_tensor(part, change) for part in thing]
    if not hasattr(thing, "_fields"):
        return thing
    return type(thing)(*(_each_tensor(part, change) for part in thing))


_ALLOCATION_FAILED = re.compile(  # a primitive's descriptor fails where a processor lacks something
    "allocate memory|could not create a memory object|could not create a primitive(?! desc)"
    "|could not execute a primitive|Insufficient memory|out of memory when|decoder error -9"
)

_DEVICE_FAILED = re.compile("CUDA error|CUDNN_STATUS_(EXECUTION_FAILED|INTERNAL_ERROR)|CUBLAS_STATUS_EXECUTION_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed; torch reports those on the CPU as plain RuntimeErrors, Pillow as OSErrors,
    OpenCV as an error of its own."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    is_foreign = isinstance(error, RuntimeError | OSError) or type(error).__module__ == "cv2"
    return is_foreign and _ALLOCATION_FAILED.search(str(error)) is not None


def is_device_lost(error: BaseException) -> bool:
    """Whether an accelerator failed while it worked, or is gone."""
    return isinstance(error, torch.AcceleratorError) or _DEVICE_FAILED.search(str(error)) is not None


def free_memory(device: torch.device) -> int | None:
    """Bytes that a program could still take there; None where the system does not say."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    free = [_unused_memory(), _unused_share(Path("/sys/fs/cgroup"))]
    unused = min((n for n in free if n is not None), default=None)
    return None if unused is None else unused + freed_memory()


def _unused_memory() -> int | None:
    """Of the machine, as Linux counts it."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def _unused_share(group: Path) -> int | None:
    """Of the container, where one has a limit."""
    try:
        limit, used = (int((group / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # "max" is no limit
        return None
    return max(0, limit - used)


@functools.cache
def _cpu_flags() -> frozenset[str]:
    """The processor's features, as Linux lists them; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    return frozenset(word for line in text.splitlines() if line.startswith("flags") for word in line.split())
