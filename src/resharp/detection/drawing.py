"""Detections drawn into a photo, for reports: right, wrong and missed can be told apart without colours, too."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from resharp.figures import fitted

from .boxes import Box
from .matching import Match, match_of

RIGHT, WRONG, MISSED = (0, 158, 115), (213, 94, 0), (86, 180, 233)  # apart for the colour-blind (Okabe and Ito 2008)
_INK = (24, 24, 26)

Frame = tuple[int, int, int, int]  # left, top, right, bottom, in pixels of the drawing


def detections_drawn(
    image: Tensor, notes: Mapping[str, Any], version: str = "restored", *, side: int | None = None
) -> Tensor:
    """A photo with the boxes that a row's notes hold of this version of it; the rest as `with_boxes` has it."""
    return with_boxes(image, match_of(notes, version), side=side)


def with_boxes(image: Tensor, match: Match, *, side: int | None = None) -> Tensor:
    """A photo with its boxes: right ones solid, wrong ones solid with "?", missed ones dashed.

    image: (3, H, W), float in [0, 1] or uint8;  side: the longer one of the result, None keeps the photo's.  Returns
    float (3, h, w) in [0, 1].
    """
    shown = fitted(image.detach(), side or max(image.shape[-2:]))
    canvas = Image.fromarray(np.ascontiguousarray(shown.permute(1, 2, 0).numpy()))
    scales = canvas.width / image.shape[-1], canvas.height / image.shape[-2]
    draw = ImageDraw.Draw(canvas)
    width = max(1, round(max(canvas.size) / 300))
    font = ImageFont.load_default(max(10, max(canvas.size) / 50))
    for box in match.missed:
        frame = _frame(box, scales, canvas)
        _dashed(draw, frame, width)
        _named(draw, frame, f"{box.label} missed", MISSED, font)
    for boxes, colour, mark in ((match.wrong, WRONG, "?"), (match.found, RIGHT, "")):
        for box in reversed(boxes):  # the surest on top
            frame = _frame(box, scales, canvas)
            draw.rectangle(frame, outline=colour, width=width)
            _named(draw, frame, f"{box.label}{mark} {box.score:.2f}", colour, font)
    return torch.from_numpy(np.asarray(canvas).astype(np.float32) / 255).permute(2, 0, 1)


def _frame(box: Box, scales: tuple[float, float], canvas: Image.Image) -> Frame:
    """The outermost pixels of a box, which all lie in the picture."""
    (left, top), (right, bottom) = (
        (round(x * scales[0]), round(y * scales[1])) for x, y in ((box.left, box.top), (box.right, box.bottom))
    )
    left, top = max(0, min(left, canvas.width - 1)), max(0, min(top, canvas.height - 1))
    return left, top, max(left, min(right, canvas.width) - 1), max(top, min(bottom, canvas.height) - 1)


def _dashed(draw: ImageDraw.ImageDraw, frame: Frame, width: int) -> None:
    left, top, right, bottom = frame
    dash = 4 * width + 2
    for start in range(left, right + 1, 2 * dash):
        for y in (top, bottom):
            draw.line((start, y, min(start + dash, right), y), fill=MISSED, width=width)
    for start in range(top, bottom + 1, 2 * dash):
        for x in (left, right):
            draw.line((x, start, x, min(start + dash, bottom)), fill=MISSED, width=width)


def _named(
    draw: ImageDraw.ImageDraw,
    frame: Frame,
    text: str,
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """The text on a patch of its colour above the frame, in it where there is no room."""
    height = font.getbbox("Ag")[3] + 2
    width = font.getlength(text) + 4
    left = max(0, min(frame[0], draw.im.size[0] - width))
    top = frame[1] - height if frame[1] >= height else frame[1]
    draw.rectangle((left, top, left + width, top + height), fill=colour)
    draw.text((left + 2, top), text, _INK, font)
