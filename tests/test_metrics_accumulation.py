"""The mean over images: plain, and never with a NaN in it."""

import math

import pytest
import torch

from resharp.errors import ArgumentError
from resharp.metrics import Mean


def test_the_mean_of_batches_and_singles_is_that_of_all() -> None:
    mean = Mean().add(torch.tensor([1.0, 2.0, 4.0])).add(9.0)
    assert (mean.value, mean.n_images, mean.n_skipped) == (4, 4, 0)


def test_nan_is_refused_with_its_place_and_leaves_the_mean_alone() -> None:
    mean = Mean().add(torch.tensor([1.0, 3.0]))
    with pytest.raises(ArgumentError, match="image 4 is NaN"):
        mean.add(torch.tensor([5.0, math.nan]))
    assert (mean.value, mean.n_images) == (2, 2)


def test_nan_is_skipped_only_on_demand_and_counted() -> None:
    mean = Mean(skip_nan=True).add(torch.tensor([[1.0, math.nan], [math.nan, 3.0]]))
    assert (mean.value, mean.n_images, mean.n_skipped) == (2, 2, 2)


def test_the_mean_of_nothing_is_an_error_and_no_zero() -> None:
    with pytest.raises(ArgumentError, match="no image was measured"):
        _ = Mean().value
    with pytest.raises(ArgumentError, match="1 were NaN"):
        _ = Mean(skip_nan=True).add(math.nan).value


def test_equal_images_make_the_mean_infinite() -> None:
    assert Mean().add(torch.tensor([30.0, math.inf])).add(20.0).value == math.inf


def test_many_small_numbers_are_not_lost_beside_a_large_one() -> None:
    mean = Mean().add(1e16).add(torch.ones(1000))
    assert mean.value == pytest.approx((1e16 + 1000) / 1001, rel=1e-15)
