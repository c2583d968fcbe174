"""What is true around a pixel."""

from torch import Tensor
from torch.nn import functional

AROUND = 8  # pixels each way over which misfits and details are judged


def mean_around(plane: Tensor) -> Tensor:
    """Of a plane (1, H, W), over `AROUND` pixels each way; along columns, then along rows."""
    side = 2 * AROUND + 1
    along = functional.avg_pool2d(plane, (side, 1), 1, (AROUND, 0), count_include_pad=False)
    return functional.avg_pool2d(along, (1, side), 1, (0, AROUND), count_include_pad=False)
