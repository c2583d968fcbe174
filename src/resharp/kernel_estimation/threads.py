"""Kernels do not depend on the number of threads: sums in another order would lead the alternation to other kernels."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order: of the demo's photo, one thread and two found kernels of 25 and of 29 pixels."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
