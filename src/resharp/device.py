"""Which device to run on, and what it is fast at."""

import functools
from pathlib import Path

import torch

from .errors import ArgumentError


def checked_device(device: str) -> torch.device:
    """The device of this name, if there is one on this machine.  Raises ArgumentError."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    known = ["cpu"] if accelerator is None else ["cpu", accelerator.type]
    try:
        if torch.device(device).type not in known:
            raise RuntimeError(f"found: {', '.join(known)}")
        return torch.zeros(1, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ArgumentError(f"device {device!r} cannot be used here ({reason}); 'cpu' always can") from None


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether convolutions in bfloat16 run faster than in float32 there."""
    if device.type == "cpu":
        return not _cpu_flags().isdisjoint({"avx512_bf16", "amx_bf16"})
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


@functools.cache
def _cpu_flags() -> frozenset[str]:
    """The processor's features, as Linux lists them; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    return frozenset(word for line in text.splitlines() if line.startswith("flags") for word in line.split())
