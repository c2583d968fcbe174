"""Images of any size through functions that want another: continued to a multiple, or cut into parts with a halo, run
one by one, blended where they overlap."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from .device import copied_ahead

_Share = tuple[slice, Tensor]
FEATHER = 32  # pixels over which one part passes into the next


def run_whole(function: Callable[[Tensor], Tensor], image: Tensor, *, multiple_of: int = 1, scale: int = 1) -> Tensor:
    """What `function` makes of (N, C, H, W) continued to sides that it takes, multiples of `multiple_of` and two of
    them at least; cut back to (N, C', scale H, scale W)."""
    height, width = image.shape[-2:]
    whole = mirrored_to_multiple(image, multiple_of, least=2 * multiple_of if multiple_of > 1 else 1)
    return function(whole)[..., : scale * height, : scale * width]


def mirrored_to_multiple(image: Tensor, multiple: int, *, least: int = 1) -> Tensor:
    """(N, C, H, W) continued on the right and below by its mirror image, until both sides are multiples of `multiple`
    and not below `least`; as often as a small image needs it.
    """
    for dim in (-2, -1):
        size = image.shape[dim]
        target = math.ceil(max(size, least) / multiple) * multiple
        if target > size:
            image = image.index_select(dim, _mirrored(size, target, image.device))
    return image


def _mirrored(size: int, target: int, device: torch.device) -> Tensor:
    """Indices 0 ... target - 1 folded back into 0 ... size - 1."""
    period = max(1, 2 * (size - 1))
    indices = torch.arange(target, device=device).remainder(period)
    return torch.minimum(indices, period - indices)


def smallest_side(halo: int, multiple_of: int = 1) -> int:
    """The side from which on parts with this halo overlap with their direct neighbours only."""
    return 2 * (_overlap(halo) + multiple_of)


def n_tiles(image: Tensor, *, side: int, halo: int, multiple_of: int = 1) -> int:
    """How many parts `run_in_tiles` makes of an image."""
    n_rows, n_columns = (len(_spans(size, side, halo, multiple_of)) for size in image.shape[-2:])
    return n_rows * n_columns


def run_in_tiles(
    function: Callable[[Tensor], Tensor],
    image: Tensor,
    *,
    side: int,
    halo: int,
    multiple_of: int = 1,
    scale: int = 1,
    at_once: int = 1,
    device: torch.device | None = None,
    on_tile: Callable[[], None] | None = None,
) -> Tensor:
    """What `function`, which makes (N, C', scale H, scale W) of (N, C, H, W), makes of parts of an image, put together.

    Parts are squares of at most `side` pixels, which is at least `smallest_side(halo, multiple_of)`.  They begin at
    multiples of `multiple_of`.  Within `halo` pixels from where a part was cut its result is not used; beyond that it
    passes into its neighbour's along FEATHER pixels.  A function whose values depend on no pixel farther away than the
    halo, and on their place modulo `multiple_of`, thus gives what it gives of the whole.  at_once: so many parts of one
    size are given together, as (at_once N, C, h, w); the sums then run in another order, where more than two parts
    meet.  device: where the function wants them, None where the image lies; parts are copied while it runs.  on_tile:
    called after each.
    """
    device = image.device if device is None else device
    rows, columns = (list(_shares(_spans(size, side, halo, multiple_of), halo, scale)) for size in image.shape[-2:])
    if len(rows) == len(columns) == 1:
        whole = function(image.to(device))
        if on_tile is not None:
            on_tile()
        return whole
    assert side >= smallest_side(halo, multiple_of)
    result: Tensor | None = None
    groups = list(_alike(((row, column) for row in rows for column in columns), at_once))
    cut = ([image[..., row[0], column[0]] for row, column in group] for group in groups)
    batches = (torch.cat(parts) if len(parts) > 1 else parts[0] for parts in cut)
    for group, batch in zip(groups, copied_ahead(batches, device), strict=True):
        made = function(batch)
        if result is None:
            shape = len(image), *made.shape[1:-2], *(scale * size for size in image.shape[-2:])
            result = made.new_zeros(shape)
        for part, ((down, share_down), (across, share_across)) in zip(made.chunk(len(group)), group, strict=True):
            share = (share_down[:, None] * share_across).to(part)
            result[..., _scaled(down, scale), _scaled(across, scale)] += part * share
            if on_tile is not None:
                on_tile()
        del batch, made, part, share  # their memory is the next ones'
    assert result is not None
    return result


def run_at_places(function: Callable[[Tensor, slice, slice], Tensor], image: Tensor, *, side: int, halo: int) -> Tensor:
    """`run_in_tiles` with a function that is also told the rows and columns of its part."""
    places = itertools.product(*(_spans(size, side, halo, 1) for size in image.shape[-2:]))
    return run_in_tiles(lambda part: function(part, *next(places)), image, side=side, halo=halo)


def _alike(parts: Iterable[tuple[_Share, _Share]], at_once: int) -> Iterator[list[tuple[_Share, _Share]]]:
    """Parts in groups of one size, up to `at_once` of them, each as soon as it is full."""
    waiting: dict[tuple[int, int], list[tuple[_Share, _Share]]] = {}
    for row, column in parts:
        size = len(row[1]), len(column[1])
        waiting.setdefault(size, []).append((row, column))
        if len(waiting[size]) == at_once:
            yield waiting.pop(size)
    yield from waiting.values()


def even_sample(image: Tensor, *, side: int, most: int, multiple_of: int = 1) -> Tensor:
    """Up to about `most` squares of `side` pixels spread evenly over an image (1, C, H, W), as a batch (n, C, h, w);
    they begin at multiples of `multiple_of`, and overlap only where the image is small.
    """
    height, width = image.shape[-2:]
    n_rows = max(1, min(round((most * height / width) ** 0.5), -(-height // side)))
    n_columns = max(1, min(most // n_rows, -(-width // side)))
    (h, tops), (w, lefts) = (_starts(n, size, side, multiple_of) for n, size in ((n_rows, height), (n_columns, width)))
    return torch.cat([image[..., top : top + h, left : left + w] for top in tops for left in lefts])


def _starts(n: int, size: int, side: int, multiple_of: int) -> tuple[int, list[int]]:
    """The length of n intervals, and where they begin."""
    length = min(side, size)
    left = size - length
    starts = [left / 2] if n == 1 else [left * index / (n - 1) for index in range(n)]
    return length, [int(start) // multiple_of * multiple_of for start in starts]


def _overlap(halo: int) -> int:
    return 2 * halo + FEATHER


def _spans(size: int, side: int, halo: int, multiple_of: int) -> list[slice]:
    """Parts of one axis, from the first to the last pixel, as few as do and of about one size."""
    if size <= side:
        return [slice(0, size)]
    overlap = _overlap(halo)
    count = math.ceil((size - overlap) / ((side - overlap) // multiple_of * multiple_of))
    step = math.ceil(max(overlap, (size - overlap) / count) / multiple_of) * multiple_of  # or third parts would meet
    return [slice(start, min(start + step + overlap, size)) for start in range(0, size - overlap, step)]


def _scaled(span: slice, scale: int) -> slice:
    return slice(scale * span.start, scale * span.stop)


def _shares(spans: Sequence[slice], halo: int, scale: int) -> Iterator[_Share]:
    """Each part of an axis with the share of its pixels in the result; at each pixel the shares sum to 1."""
    for index, span in enumerate(spans):
        share = torch.ones(scale * (span.stop - span.start))
        if index > 0:
            overlap = scale * (spans[index - 1].stop - span.start)
            share[:overlap] = _rise(overlap, scale * halo)
        if index + 1 < len(spans):
            overlap = scale * (span.stop - spans[index + 1].start)
            share[-overlap:] = 1 - _rise(overlap, scale * halo)
        yield span, share


def _rise(overlap: int, halo: int) -> Tensor:
    """0 in the halo, from there to 1."""
    n = overlap - 2 * halo
    return ((torch.arange(overlap) - halo + 0.5) / n).clamp(0, 1)
