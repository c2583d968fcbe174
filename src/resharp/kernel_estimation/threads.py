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


def window_by_window(function: Callable[..., tuple[Tensor, ...]], *tensors: Tensor) -> tuple[Tensor, ...]:
    """What a function makes of tensors (N, ...) that hold something of each of N windows.

    On a processor each window by itself, which fits into its cache, on as many cores as `one_thread` found; elsewhere
    all at once.
    """
    count = len(tensors[0])
    if tensors[0].device.type != "cpu" or count == 1:
        return function(*tensors)

    def one(number: int) -> tuple[Tensor, ...]:
        return function(*(tensor[number : number + 1] for tensor in tensors))

    cores = min(_n_cores.get(), count)
    if cores < 2:
        made = [one(number) for number in range(count)]
    else:
        # a thread must be told, too: MKL's transforms in a new one would take all cores each
        with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            made = list(pool.map(one, range(count)))
    return tuple(torch.cat(parts) for parts in zip(*made, strict=True))
