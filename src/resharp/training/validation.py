"""What a run is judged by: held-out photos, spoiled once as the training ones are, and the numbers on them."""

import collections
import dataclasses
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from resharp.data.loading import Stream
from resharp.data.plan import Plan
from resharp.data.sources import Source
from resharp.data.synthesis import Synthesis
from resharp.errors import ArgumentError, ResharpError
from resharp.figures import Cell, contact_sheet
from resharp.metrics import psnr, ssim
from resharp.tiling import run_whole

SHOWN = 6  # samples on a sheet


@dataclasses.dataclass(frozen=True)
class Scores:
    """Means over the held-out samples, on RGB clipped to [0, 1]: PSNR in dB, Wang's SSIM."""

    psnr: float
    ssim: float


class Part:
    """Some of a source's photos, as a source of its own."""

    def __init__(self, source: Source, numbers: Sequence[int]) -> None:
        self.source, self.numbers, self.is_real = source, list(numbers), source.is_real

    def __len__(self) -> int:
        return len(self.numbers)

    def name(self, index: int) -> str:
        """As in the whole source."""
        return self.source.name(self.numbers[index])

    def group(self, index: int) -> str:
        """As in the whole source."""
        return self.source.group(self.numbers[index])

    def size(self, index: int) -> tuple[int, int]:
        """(height, width)."""
        return self.source.size(self.numbers[index])

    def read(self, index: int) -> tuple[Tensor | None, Tensor]:
        """(degraded or None, clean)."""
        return self.source.read(self.numbers[index])

    def fingerprint(self) -> str:
        """Of the whole source."""
        return self.source.fingerprint()


def held_out(sources: Sequence[Source], n_holdout: int, n_groups_least: int = 1) -> tuple[list[Source], Source]:
    """(training, held out): whole groups of the first source leave the training, evenly spread over their order, until
    `n_holdout` photos and `n_groups_least` groups are out; so many photos, of each group as many as of the others where
    it has them, are kept to judge by.  Of the other sources, which may be made of the same photos, groups of the same
    names leave, too.  Raises ArgumentError where nothing would be left to train on."""
    source = sources[0]
    groups: dict[str, list[int]] = {}
    for number in range(len(source)):
        groups.setdefault(source.group(number), []).append(number)
    names = list(groups)
    n_groups, out, chosen = len(names), list[int](), list[list[int]]()
    for count in range(n_groups_least, n_groups):
        chosen = [groups[names[index]] for index in _spread(n_groups, count)]
        out = [number for group in chosen for number in group]
        if len(out) >= n_holdout:
            break
    if not n_holdout <= len(out) < len(source):
        raise ArgumentError(
            f"cannot hold {n_holdout} of {len(source)} photos, and {n_groups_least} of {n_groups} groups at least, "
            "out of the training; lower data.n_holdout or data.n_holdout_groups, or bring more photos"
        )
    turns = [place for turn in range(max(map(len, chosen))) for place, group in enumerate(chosen) if turn < len(group)]
    n_each = collections.Counter(turns[:n_holdout])
    picked = sorted(chosen[place][index] for place, n in n_each.items() for index in _spread(len(chosen[place]), n))
    judging, left = {source.group(number) for number in out}, set(out)
    training = Part(source, [number for number in range(len(source)) if number not in left])
    return [training, *(_without(one, judging) for one in sources[1:])], Part(source, picked)


def _spread(n: int, count: int) -> list[int]:
    """`count` of the numbers below n, evenly."""
    return [round((i + 0.5) * n / count - 0.5) for i in range(count)]


def _without(source: Source, groups: Collection[str]) -> Source:
    kept = [number for number in range(len(source)) if source.group(number) not in groups]
    if not kept:
        raise ArgumentError(
            f"all photos like {source.name(0)} are of groups that are held out of the first source; lower "
            "data.n_holdout or data.n_holdout_groups, or leave that source out"
        )
    return Part(source, kept)


class HeldOut:
    """Fixed samples of held-out photos of `n_groups` groups, one of each photo, in a crop of up to `crop` pixels."""

    def __init__(self, source: Source, plan: Plan, *, crop: int, noise_sigma: float, seed: int) -> None:
        smallest = min(min(source.size(index)) for index in range(len(source))) // (2 if plan.half else 1)
        side = min(crop, smallest) // plan.factor * plan.factor
        if side < 16:
            raise ArgumentError(f"{source.name(0)}: the held-out photos are too small to judge by; take larger ones")
        synthesis = Synthesis([(1, source)], plan.model_copy(update={"crop": side}), seed=seed)
        stream = Stream(synthesis, noise_sigma=noise_sigma)
        pairs = []
        for number in range(len(source)):
            sample = stream[number]
            if isinstance(sample, ResharpError):
                raise sample
            pairs.append(tuple(as_float(part) for part in sample))
        self.n_groups = len({source.group(number) for number in range(len(source))})
        self.degraded, self.clean = (torch.stack([pair[half] for pair in pairs]) for half in (0, 1))

    @torch.no_grad()
    def restored(self, network: nn.Module, device: torch.device) -> Tensor:
        """(N, 3, H, W) in [0, 1], float32 on the CPU; the network in eval mode."""
        network.eval()
        multiple_of = int(getattr(network, "multiple_of", 1))
        made = [run_whole(network, one[None].to(device), multiple_of=multiple_of).float() for one in self.degraded]
        return torch.cat([one.cpu() for one in made]).clamp(0, 1)

    def scores(self, restored: Tensor) -> Scores:
        """Of what `restored` gave."""
        return Scores(float(psnr(restored, self.clean).mean()), float(ssim(restored, self.clean).mean()))

    def sheet(self, restored: Tensor) -> Tensor:
        """Input, output and truth of the first samples side by side, as a picture (3, H, W)."""
        cells = [
            Cell(f"{float(psnr(restored[i], self.clean[i])):.2f} dB", (self.degraded[i], restored[i], self.clean[i]))
            for i in range(min(SHOWN, len(restored)))
        ]
        return contact_sheet(cells, n_columns=2)


def as_float(pixels: Tensor) -> Tensor:
    """Samples as the loader gives them, uint8 or float32 already, as float32 in [0, 1]."""
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels


def on_device(pixels: Tensor, device: torch.device) -> Tensor:
    """Samples as the loader gives them, as a step takes them."""
    return as_float(pixels.to(device, non_blocking=True)).contiguous(memory_format=torch.channels_last)
