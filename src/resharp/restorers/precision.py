"""In which numbers a network computes."""

import torch

from resharp.device import has_fast_bfloat16
from resharp.errors import ArgumentError

PRECISIONS = ("auto", "bfloat16", "float32")


def checked_precision(precision: str, device: torch.device) -> torch.dtype:
    """One of PRECISIONS as a type; "auto" is bfloat16 where `device` is fast at it.  Raises ArgumentError."""
    if precision not in PRECISIONS:
        raise ArgumentError(f"precision {precision!r}; choose {', '.join(PRECISIONS)}")
    if precision == "auto":
        precision = "bfloat16" if has_fast_bfloat16(device) else "float32"
    dtype: torch.dtype = getattr(torch, precision)
    return dtype
