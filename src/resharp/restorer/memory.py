"""Too little memory, told from other failures and named."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from resharp.errors import ResourceError


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed; torch reports those on the CPU as plain RuntimeErrors."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = ("allocate memory", "could not create a memory object", "could not execute a primitive")
    return isinstance(error, RuntimeError) and any(part in str(error) for part in words)


@contextlib.contextmanager
def memory_named(image: Tensor) -> Iterator[None]:
    """Turns a failed allocation into a ResourceError that names the photo (..., H, W)."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        height, width = image.shape[-2:]
        raise ResourceError(
            f"not enough memory on {image.device} for a photo of {width}x{height}; restore it in parts or on a larger "
            "machine"
        ) from error
