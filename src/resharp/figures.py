"""Pictures for people: labelled sheets of images side by side."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

MARGIN = 12  # pixels around and between the panels
_PAPER, _INK, _FAINT = (250, 250, 248), (24, 24, 26), (105, 105, 110)


def side_by_side(panels: Sequence[tuple[str, str, Tensor]]) -> Tensor:
    """One sheet from (title, caption, image) panels, left to right.

    images: (3, H, W) in [0, 1], all of one size;  returns (3, sheet height, sheet width) in [0, 1].
    """
    height, width = panels[0][2].shape[-2:]
    if any(image.shape != (3, height, width) for _, _, image in panels):
        raise ValueError(f"panels differ in shape: {[tuple(image.shape) for _, _, image in panels]}")
    size = max(13, width // 18)
    title_font, caption_font = ImageFont.load_default(size), ImageFont.load_default(size * 0.8)
    caption_height = int(size * 2.9)
    sheet_size = (MARGIN + len(panels) * (width + MARGIN), height + 2 * MARGIN + caption_height)
    sheet = Image.new("RGB", sheet_size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (title, caption, image) in enumerate(panels):
        left = MARGIN + index * (width + MARGIN)
        pixels = image.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
        sheet.paste(Image.fromarray(pixels), (left, MARGIN))
        draw.text((left, MARGIN + height + size * 0.5), title, _INK, title_font)
        draw.text((left, MARGIN + height + size * 1.8), caption, _FAINT, caption_font)
    return torch.from_numpy(np.asarray(sheet).astype(np.float32) / 255).permute(2, 0, 1)


def with_inset(image: Tensor, kernel: Tensor, *, zoom: int = 3) -> Tensor:
    """The image with a kernel drawn into its upper left corner, enlarged and scaled to its maximum.  (3, H, W)."""
    mark = (kernel / kernel.max()).sqrt().repeat_interleave(zoom, 0).repeat_interleave(zoom, 1)
    marked = image.clone()
    height, width = mark.shape
    marked[:, 6 : 6 + height, 6 : 6 + width] = mark
    return marked
