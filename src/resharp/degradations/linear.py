"""The table of linear maps, whose properties the tests check."""

from .base import LinearDegradation
from .blur import Blur
from .mosaic import Mosaic
from .resample import Resize
from .varying_blur import VaryingBlur

LINEAR: dict[str, type[LinearDegradation]] = {
    "blur": Blur,
    "mosaic": Mosaic,
    "resize": Resize,
    "varying-blur": VaryingBlur,
}
