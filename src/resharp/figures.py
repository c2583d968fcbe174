"""Pictures for people: labelled sheets of images side by side."""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

MARGIN = 12  # pixels around and between the panels
SIDE = 240  # of the square that a picture on a contact sheet is fitted into
_PAPER, _INK, _FAINT = (250, 250, 248), (24, 24, 26), (105, 105, 110)


def side_by_side(panels: Sequence[tuple[str, str, Tensor]], *, n_columns: int | None = None) -> Tensor:
    """One sheet from (title, caption, image) panels, left to right; None puts all of them into one row.

    images: (3, H, W) in [0, 1], all of one size;  returns (3, sheet height, sheet width) in [0, 1].
    """
    height, width = panels[0][2].shape[-2:]
    if any(image.shape != (3, height, width) for _, _, image in panels):
        raise ValueError(f"panels differ in shape: {[tuple(image.shape) for _, _, image in panels]}")
    size = max(13, width // 18)
    title_font, caption_font = ImageFont.load_default(size), ImageFont.load_default(size * 0.8)
    n_columns = len(panels) if n_columns is None else n_columns
    cell_width, cell_height = width + MARGIN, height + MARGIN + int(size * 2.9)
    sheet_size = (MARGIN + n_columns * cell_width, MARGIN + -(-len(panels) // n_columns) * cell_height)
    sheet = Image.new("RGB", sheet_size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (title, caption, image) in enumerate(panels):
        row, column = divmod(index, n_columns)
        left, top = MARGIN + column * cell_width, MARGIN + row * cell_height
        pixels = image.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
        sheet.paste(Image.fromarray(pixels), (left, top))
        draw.text((left, top + height + size * 0.5), title, _INK, title_font)
        draw.text((left, top + height + size * 1.8), caption, _FAINT, caption_font)
    return torch.from_numpy(np.asarray(sheet).astype(np.float32) / 255).permute(2, 0, 1)


def with_inset(image: Tensor, kernel: Tensor, *, zoom: int = 3) -> Tensor:
    """The image with a kernel drawn into its upper left corner, enlarged and scaled to its maximum.  (3, H, W)."""
    mark = (kernel / kernel.max()).sqrt().repeat_interleave(zoom, 0).repeat_interleave(zoom, 1)
    marked = image.clone()
    height, width = mark.shape
    marked[:, 6 : 6 + height, 6 : 6 + width] = mark
    return marked


@dataclasses.dataclass(frozen=True)
class Cell:
    """One sample on a contact sheet: a caption, its pictures (3, h, w) of any size, float in [0, 1] or uint8, and the
    blur of the first of them as a kernel, or None."""

    caption: str
    pictures: tuple[Tensor, ...]
    kernel: Tensor | None = None


def contact_sheet(cells: Sequence[Cell], *, n_columns: int = 3, side: int = SIDE) -> Tensor:
    """Samples in rows of `n_columns`, each picture fitted into `side` pixels, kernels drawn into the first.

    Returns (3, sheet height, sheet width) in [0, 1].
    """
    n_pictures = max(len(cell.pictures) for cell in cells)
    font = ImageFont.load_default(13)
    cell_width, cell_height = n_pictures * (side + 4) + MARGIN, side + 2 * MARGIN + 6
    n_columns = min(n_columns, len(cells))
    n_rows = -(-len(cells) // n_columns)
    sheet = Image.new("RGB", (MARGIN + n_columns * cell_width, MARGIN + n_rows * cell_height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, cell in enumerate(cells):
        row, column = divmod(index, n_columns)
        left, top = MARGIN + column * cell_width, MARGIN + row * cell_height
        for number, picture in enumerate(cell.pictures):
            shown = _fitted(picture, side)
            if number == 0 and cell.kernel is not None:
                shown.paste(_drawn_kernel(cell.kernel, side // 4), (4, 4))
            sheet.paste(shown, (left + number * (side + 4), top))
        draw.text((left, top + side + 3), _cut_to(cell.caption, cell_width - MARGIN, font), _INK, font)
    return torch.from_numpy(np.asarray(sheet).astype(np.float32) / 255).permute(2, 0, 1)


def fitted(picture: Tensor, side: int = SIDE) -> Tensor:
    """A picture (3, h, w), float in [0, 1] or uint8, as large as a contact sheet shows it: uint8."""
    return torch.from_numpy(np.array(_fitted(picture, side))).permute(2, 0, 1)


def _fitted(picture: Tensor, side: int) -> Image.Image:
    levels = picture if picture.dtype == torch.uint8 else picture.clamp(0, 1).mul(255).round().byte()
    pixels = np.ascontiguousarray(levels.permute(1, 2, 0).cpu().numpy())
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if scale < 1 / 8:  # Pillow would hold a large photo a second time
        pixels = np.asarray(cv2.resize(pixels, (4 * size[0], 4 * size[1]), interpolation=cv2.INTER_AREA))
    return Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)


def _drawn_kernel(kernel: Tensor, side: int) -> Image.Image:
    """The kernel, brightest where light stays longest, enlarged by a whole factor or shrunk to fit `side` pixels."""
    mark = (kernel / kernel.max()).sqrt().mul(255).round().byte().cpu().numpy()
    image = Image.fromarray(mark).convert("RGB")
    zoom = max(1, min(4, side // max(image.size)))
    image = image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
    image.thumbnail((side, side))
    return image


def _cut_to(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The end of a text where it is too long: of paths that is what tells them apart."""
    if font.getlength(text) <= width:
        return text
    while len(text) > 1 and font.getlength("…" + text) > width:
        text = text[1:]
    return "…" + text
