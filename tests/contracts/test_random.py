"""What every random degradation promises: its numbers come from the generator and from nowhere else."""

import pytest
import torch

from resharp.degradations import RANDOM
from tests.conftest import rand


@pytest.mark.parametrize("name", RANDOM)
def test_the_generator_decides(name: str) -> None:
    degrade, image = RANDOM[name](), rand(3, 16, 16)
    before = torch.get_rng_state()
    first, again, other = (degrade(image, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.shape == image.shape
    assert first.dtype == image.dtype
