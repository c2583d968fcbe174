"""What happens to a clean image on its way to a photo: y = A x + n."""

import torch
from torch import Tensor, nn


class LinearDegradation(nn.Module):
    """A linear map A on images (..., C, H, W), with its exact transpose; `B @ A` means A first, then B."""

    def forward(self, image: Tensor) -> Tensor:
        """A x."""
        raise NotImplementedError

    def adjoint(self, measurement: Tensor) -> Tensor:
        """A^T y, the map with <A x, y> = <x, A^T y> for all x and y."""
        raise NotImplementedError

    @property
    def row_energy(self) -> float:
        """Mean over the measurements of the squared norm of A's rows: white noise of variance v comes out with
        variance row_energy * v.  For a blur this is the sum of the squared kernel."""
        raise NotImplementedError

    def __matmul__(self, first: "LinearDegradation") -> "LinearDegradation":
        return _Composition(self, first)


class _Composition(LinearDegradation):
    def __init__(self, second: LinearDegradation, first: LinearDegradation) -> None:
        super().__init__()
        self.second = second
        self.first = first

    def forward(self, image: Tensor) -> Tensor:
        measurement: Tensor = self.second(self.first(image))
        return measurement

    def adjoint(self, measurement: Tensor) -> Tensor:
        return self.first.adjoint(self.second.adjoint(measurement))

    @property
    def row_energy(self) -> float:
        """Exact for compositions of blurs: the squared norm of what the adjoint makes of one central impulse."""
        probe = torch.zeros(1, 129, 129, dtype=torch.float64)
        probe[0, 64, 64] = 1
        return float(self.adjoint(probe).detach().square().sum())
