"""Too little memory, named."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from resharp.device import is_out_of_memory
from resharp.errors import ResourceError


@contextlib.contextmanager
def memory_named(
    image: Tensor | None, device: torch.device, *, way_out: str = "restore it in parts or on a larger machine"
) -> Iterator[None]:
    """Turns a failed allocation into a ResourceError that names the photo (..., H, W), or without one the network."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if image is None:
            raise ResourceError(f"not enough memory on {device} for the network; free some, or take the CPU") from error
        height, width = image.shape[-2:]
        raise ResourceError(f"not enough memory on {device} for a photo of {width}x{height}; {way_out}") from error
