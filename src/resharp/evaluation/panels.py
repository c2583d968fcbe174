"""The small pictures that sheets are made of: crops and maps of errors.  All uint8 RGB (3, h, w)."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

from resharp.figures import fitted, side_by_side

SIDE = 320  # of the square that a panel is fitted into
SIDE_OF_BOXED = 540  # of one with boxes, of which there are three instead of five
_BAR = 22  # the height of a map's scale
_PAPER, _INK, _FAINT, _WHITE = (250, 250, 248), (24, 24, 26), (105, 105, 110), (255, 255, 255)
_HEAT = [(0, 0, 8), (74, 16, 108), (176, 46, 92), (240, 112, 32), (252, 200, 60), (255, 255, 220)]

Square = tuple[float, float, float, float]
"""Left, top, right and bottom as parts of a photo's width and height, so that it fits photos of other scales."""


@dataclasses.dataclass(frozen=True)
class Panel:
    """A small picture under a title and a caption."""

    title: str
    caption: str
    image: Tensor


def whole(photo: Tensor, square: Square) -> Tensor:
    """A photo, with a square outlined."""
    return _outlined(fitted(photo, SIDE), square)


def crop(photo: Tensor, square: Square) -> Tensor:
    """A square of a photo, enlarged by whole pixels."""
    height, width = photo.shape[-2:]
    columns, rows = _between(square[0], square[2], width), _between(square[1], square[3], height)
    return fitted(photo[:, rows, columns], SIDE)


def _between(first: float, last: float, size: int) -> slice:
    start = min(round(first * size), size - 1)
    return slice(start, max(round(last * size), start + 1))


def fitted_map(error: Tensor) -> Tensor:
    """A map (H, W) as large as a panel, still in numbers: means where it shrinks, whole pixels where it grows."""
    height, width = error.shape
    scale = SIDE / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    return functional.interpolate(error[None, None], size, mode="area" if scale < 1 else "nearest")[0, 0]


def heat_map(error: Tensor, top: float, square: Square) -> Tensor:
    """A map (h, w) in colours from black (0) over red to white (`top`) with a square outlined, above its scale."""
    heat = _outlined(_heat(error / top), square)
    image = _as_pillow(torch.cat([heat, _heat(torch.linspace(0, 1, heat.shape[-1]).expand(_BAR, -1))], -2))
    draw, font, line = ImageDraw.Draw(image), ImageFont.load_default(14), heat.shape[-2] + 3
    draw.text((4, line), "0", _WHITE, font)
    draw.text((heat.shape[-1] - 4 - font.getlength(f"{top:g}"), line), f"{top:g}", _INK, font)
    return _as_tensor(image)


def _heat(values: Tensor) -> Tensor:
    stops = torch.tensor(_HEAT).float()
    place = values.clamp(0, 1) * (len(_HEAT) - 1)
    below = place.floor().long().clamp(max=len(_HEAT) - 2)
    share = (place - below)[..., None]
    return (stops[below] * (1 - share) + stops[below + 1] * share).round().byte().permute(2, 0, 1)


def _outlined(picture: Tensor, square: Square) -> Tensor:
    image = _as_pillow(picture)
    x0, y0, x1, y1 = (part * side for part, side in zip(square, (image.width, image.height) * 2, strict=True))
    draw = ImageDraw.Draw(image)
    draw.rectangle([x0 - 1, y0 - 1, x1, y1], outline=(0, 0, 0))
    draw.rectangle([x0, y0, x1 - 1, y1 - 1], outline=_WHITE)
    return _as_tensor(image)


def in_a_row(name: str, words: str, panels: Sequence[Panel]) -> Tensor:
    """Panels of any sizes from left to right below a name and words in one line: float (3, h, w) in [0, 1]."""
    height, width = (max((panel.image.shape[side] for panel in panels), default=SIDE) for side in (-2, -1))
    if not panels:
        return _headline(5 * SIDE, name, words)
    row = side_by_side([(panel.title, panel.caption, _on_paper(panel.image, height, width)) for panel in panels])
    return torch.cat([_headline(row.shape[-1], name, words), row], -2)


def stacked(rows: Sequence[Tensor]) -> Tensor:
    """Rows (3, h, w) one below the other, left-aligned on paper."""
    width = max(row.shape[-1] for row in rows)
    paper = torch.tensor(_PAPER).float()[:, None, None] / 255
    return torch.cat([torch.cat([row, paper.expand(3, row.shape[-2], width - row.shape[-1])], -1) for row in rows], -2)


def _on_paper(image: Tensor, height: int, width: int) -> Tensor:
    paper = torch.tensor(_PAPER, dtype=torch.uint8)[:, None, None].repeat(1, height, width)
    paper[:, : image.shape[-2], : image.shape[-1]] = image
    return paper.float() / 255


def _headline(width: int, name: str, words: str) -> Tensor:
    """Both in one line; of a name that is too long its end, which tells paths apart."""
    image = Image.new("RGB", (width, 42), _PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(18)
    name, words = (text.encode("utf-8", "replace").decode().replace("\n", " ") for text in (name, words))
    while len(name) > 1 and font.getlength("…" + name) > 0.6 * width:
        name = name[1:]
    draw.text((12, 16), name, _INK, font)
    draw.text((36 + font.getlength(name), 16), words, _FAINT, font)
    return _as_tensor(image).float() / 255


def _as_pillow(picture: Tensor) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(picture.permute(1, 2, 0).numpy()))


def _as_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
