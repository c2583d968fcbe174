"""Memory: how much a computation takes, and too little of it, named."""

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from resharp.device import is_device_lost, is_out_of_memory
from resharp.errors import ResourceError


@contextlib.contextmanager
def memory_named(
    image: Tensor | None, device: torch.device, *, way_out: str = "restore it in parts or on a larger machine"
) -> Iterator[None]:
    """Turns a failed allocation into a ResourceError that names the photo (..., H, W), or without one the network; and
    the failure of a GPU into one that says so."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_device_lost(error):
            reason = str(error).splitlines()[0]
            raise ResourceError(f"the GPU failed ({reason}); run it again, or on the CPU") from error
        if not is_out_of_memory(error):
            raise
        if image is None:
            raise ResourceError(f"not enough memory on {device} for the network; free some, or take the CPU") from error
        height, width = image.shape[-2:]
        raise ResourceError(f"not enough memory on {device} for a photo of {width}x{height}; {way_out}") from error


class PeakBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what the tensors that a network makes hold at once; of a convolution also the copies that it makes in
    another order: of its weights, and of its features on one side where their channels come first."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: where torch asks this, it would load its compiler for it, which takes a second."""
        return False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._now = 0
        self._held: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._most: dict[int, int] = {}  # bytes of copied weights -> most bytes of features beside them

    def most(self, times: float = 1.0) -> int:
        """The most bytes at once, if photos were so many times as large."""
        return max(int(times * features) + weights for weights, features in self._most.items())

    def times(self, most: float) -> float:
        """So many times as large photos may be for that."""
        return min((most - weights) / features for weights, features in self._most.items())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One operation, done and counted."""
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else (result,):
            if isinstance(one, Tensor):
                self._hold(one.untyped_storage())
        is_convolution = func is torch.ops.aten.convolution.default
        weights, features = _copied(result, *args[:2]) if is_convolution else (0, 0)
        self._most[weights] = max(self._most.get(weights, 0), self._now + features)
        return result

    def _hold(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._held:
            return

        def gone(_: object) -> None:
            del self._held[key]
            self._now -= size

        self._held[key], self._now = weakref.ref(storage, gone), self._now + size


def _copied(made: Tensor, features: Tensor, weight: Tensor) -> tuple[int, int]:
    """Bytes of weights and of features."""
    last = torch.channels_last
    if any(one.is_contiguous(memory_format=last) and not one.is_contiguous() for one in (features, weight)):
        is_other = [not one.is_contiguous(memory_format=last) for one in (weight, features)]
        return weight.nbytes * (1 + is_other[0]), features.nbytes * is_other[1]
    return weight.nbytes, max(features.nbytes, made.nbytes)
