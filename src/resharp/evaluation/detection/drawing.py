"""Detections drawn into a photo, for reports: right, wrong and missed can be told apart without colours, too."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .boxes import Box
from .matching import Match
from .scores import match_of

RIGHT, WRONG, MISSED = (0, 158, 115), (213, 94, 0), (86, 180, 233)  # apart for the colour-blind (Okabe and Ito 2008)
_PAPER = (255, 255, 255)


def detections_drawn(image: Tensor, notes: Mapping[str, Any], version: str = "restored") -> Tensor:
    """A photo (3, H, W) in [0, 1] with the boxes that a row's notes hold of this version of it."""
    return with_boxes(image, match_of(notes, version))


def with_boxes(image: Tensor, match: Match) -> Tensor:
    """The photo (3, H, W) in [0, 1] with its boxes: right ones solid, wrong ones solid with "?", missed ones dashed."""
    pixels = image.detach().clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
    canvas = Image.fromarray(np.ascontiguousarray(pixels))
    draw = ImageDraw.Draw(canvas)
    width = max(1, round(max(canvas.size) / 300))
    font = ImageFont.load_default(max(10, max(canvas.size) / 50))
    for box in match.missed:
        _dashed(draw, box, width)
        _named(draw, box, f"{box.label} missed", MISSED, font)
    for boxes, colour, mark in ((match.wrong, WRONG, "?"), (match.found, RIGHT, "")):
        for box in reversed(boxes):  # the surest on top
            draw.rectangle(_inside(box, canvas), outline=colour, width=width)
            _named(draw, box, f"{box.label}{mark} {box.score:.2f}", colour, font)
    return torch.from_numpy(np.asarray(canvas).astype(np.float32) / 255).permute(2, 0, 1)


def _inside(box: Box, canvas: Image.Image) -> tuple[int, int, int, int]:
    """The pixels of a box's frame, which all lie in the photo."""
    left, top = min(round(box.left), canvas.width - 1), min(round(box.top), canvas.height - 1)
    right, bottom = min(round(box.right), canvas.width), min(round(box.bottom), canvas.height)
    return max(0, left), max(0, top), max(left, right - 1), max(top, bottom - 1)


def _dashed(draw: ImageDraw.ImageDraw, box: Box, width: int) -> None:
    left, top, right, bottom = box.corners
    dash = 4 * width + 2
    for start in range(int(left), int(right), 2 * dash):
        for y in (top, bottom - 1):
            draw.line((start, y, min(start + dash, right - 1), y), fill=MISSED, width=width)
    for start in range(int(top), int(bottom), 2 * dash):
        for x in (left, right - 1):
            draw.line((x, start, x, min(start + dash, bottom - 1)), fill=MISSED, width=width)


def _named(
    draw: ImageDraw.ImageDraw,
    box: Box,
    text: str,
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """The text on a patch of its colour above the box, in it where there is no room."""
    height = font.getbbox("Ag")[3] + 2
    left, top = max(0, box.left), box.top - height if box.top >= height else box.top
    draw.rectangle((left, top, left + font.getlength(text) + 4, top + height), fill=colour)
    draw.text((left + 2, top), text, _PAPER, font)
