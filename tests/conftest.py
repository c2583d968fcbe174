"""What several tests share."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"


def rand(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def reference(*parts: str) -> Path:
    """A file of the reference data, or a skip where a checkout has none."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"reference data not there: {'/'.join(parts)}")
    return path
