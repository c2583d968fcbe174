"""A field of blur to look at."""

import torch
from torch import Tensor

from resharp.degradations.blur_field import BlurField

_SHADE = 0.45  # how bright the photo stays under the drawing
_MARK = (1.0, 0.85, 0.2)  # kernels that the photo itself shows at their place
_GUESS = (0.4, 0.75, 1.0)  # kernels that come from elsewhere in it
_LARGEST_ZOOM = 4


def draw_field(photo: Tensor, field: BlurField) -> Tensor:
    """The photo (3, H, W) darkened, each kernel drawn over its place, as large as its neighbours leave room for.

    Yellow where the photo itself says so, blue the more a kernel is taken from elsewhere.  Returns (3, H, W) in [0, 1].
    """
    field.check_fits(photo)
    sheet = photo.float() * _SHADE
    height, width = field.size
    room = min(height // len(field.rows), width // len(field.columns))
    zoom = max(1, min(_LARGEST_ZOOM, room // field.kernels.shape[-1]))
    for row, down in enumerate(field.rows.tolist()):
        for column, right in enumerate(field.columns.tolist()):
            trust = float(field.trust[row, column])
            colour = torch.lerp(torch.tensor(_GUESS), torch.tensor(_MARK), trust).to(sheet)
            _draw(sheet, field.kernels[row, column], (int(down * height), int(right * width)), zoom, colour)
    return sheet.clamp(0, 1)


def _draw(sheet: Tensor, kernel: Tensor, middle: tuple[int, int], zoom: int, colour: Tensor) -> None:
    """One kernel, its faint parts lifted, around a place; what would lie outside the sheet is left out."""
    mark = (kernel / kernel.max()).sqrt().to(sheet).repeat_interleave(zoom, 0).repeat_interleave(zoom, 1)
    top, left = middle[0] - mark.shape[0] // 2, middle[1] - mark.shape[1] // 2
    above, before = max(0, -top), max(0, -left)
    mark = mark[above : max(above, sheet.shape[1] - top), before : max(before, sheet.shape[2] - left)]
    top, left = max(0, top), max(0, left)
    place = sheet[:, top : top + mark.shape[0], left : left + mark.shape[1]]
    place += (colour[:, None, None] - place) * mark
