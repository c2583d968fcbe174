"""Kernels do not depend on the number of threads: sums in another order would lead the alternation to other kernels.

Every sum is made by one thread; all cores are used where windows do not ask each other.
"""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import torch
from torch import Tensor

_n_cores = ContextVar("_n_cores", default=1)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order: of the demo's photo, one thread and two found kernels of 25 and of 29 pixels."""
    before = torch.get_num_threads()
    token = _n_cores.set(before)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _n_cores.reset(token)


def side_by_side(function: Callable[[int], Tensor], count: int) -> list[Tensor]:
    """What a function makes of the numbers below `count`, on as many cores as `one_thread` found."""
    cores = min(_n_cores.get(), count)
    if cores < 2:
        return [function(number) for number in range(count)]
    with ThreadPoolExecutor(cores) as pool:
        return list(pool.map(function, range(count)))
