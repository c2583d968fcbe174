"""What JPEG leaves of a picture."""

import cv2
import numpy as np
import torch
from torch import Tensor

from resharp.errors import ArgumentError

SUBSAMPLINGS = {
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
}


def through_jpeg(image: Tensor, quality: int, subsampling: str = "4:2:0") -> Tensor:
    """`image` (1 or 3, H, W) in [0, 1], rounded to 8 bits, written as JPEG and read again.  Raises ArgumentError."""
    if max(image.shape[-2:]) > 65500:
        raise ArgumentError(f"JPEG ends at 65500 pixels a side; this picture is {image.shape[-1]}x{image.shape[-2]}")
    pixels = np.ascontiguousarray(image.flip(-3).clamp(0, 1).mul(255).round_().byte().permute(1, 2, 0).cpu().numpy())
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SUBSAMPLINGS[subsampling]]
    done, stream = cv2.imencode(".jpg", pixels, settings)
    assert done, "OpenCV encodes every uint8 array of these sizes as JPEG"
    read = cv2.imdecode(stream, cv2.IMREAD_GRAYSCALE if len(image) == 1 else cv2.IMREAD_COLOR)
    assert read is not None
    planes = torch.from_numpy(read.reshape(*read.shape[:2], -1)).permute(2, 0, 1).flip(-3)
    return planes.to(image).div(255)
