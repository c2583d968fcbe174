"""Camera shake against what is known in closed form of cameras that move in simple ways."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from resharp.degradations import Shake
from resharp.errors import ArgumentError
from tests.conftest import rand

STILL = {"extent": 0.0, "sway": 0.0, "roll": 0.0, "zoom": 0.0}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photo(height: int = 64, width: int = 64) -> Tensor:
    return rand(3, height, width, dtype=torch.float32)


@pytest.mark.parametrize("gamma", [1.0, 2.2])
def test_a_camera_that_stands_still_changes_nothing(gamma: float) -> None:
    image = photo(40, 56)
    blurred, sharp = Shake(**STILL, gamma=gamma).expose(image, generator=generator())
    assert_close(blurred, image, atol=1e-6, rtol=0)
    assert_close(sharp, image, atol=1e-6, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_a_point_of_light_draws_the_camera_s_path(seed: int) -> None:
    """Of a lone bright pixel the average of frames is a picture of the path; linear light, so first moments agree."""
    shake = Shake(extent=20, sway=0, roll=0, zoom=0, focal=100, gamma=1)
    image = torch.zeros(1, 101, 101)
    image[0, 50, 50] = 1
    blurred, _ = shake.expose(image, generator=generator(seed))
    path = shake.camera_path(101, 101, generator(seed))
    rows, columns = (torch.arange(101.0) - 50 for _ in range(2))
    assert float(blurred.sum()) == pytest.approx(1, abs=0.02)
    assert float((blurred[0].sum(0) * columns).sum()) == pytest.approx(path[:, 0].mean(), abs=0.3)
    assert float((blurred[0].sum(1) * rows).sum()) == pytest.approx(path[:, 1].mean(), abs=0.3)
    seen = (blurred[0] > 1e-4).nonzero() - 50
    extent = (seen.amax(0) - seen.amin(0)).amax()
    assert 18 <= int(extent) <= 23
    assert np.ptp(path, axis=0).max() == pytest.approx(20, rel=0.01)


def test_the_sharp_frame_is_the_middle_of_the_exposure() -> None:
    path = Shake(extent=20).camera_path(64, 64, generator(1))
    middle = path[len(path) // 2 - 1 : len(path) // 2 + 1].mean(0)
    assert np.abs(middle).max() < 0.05


def test_rolling_blurs_the_corners_and_not_the_centre() -> None:
    shake = Shake(**(STILL | {"roll": 8.0}))
    image = photo(129, 129)
    change = (shake(image, generator=generator(2)) - image).abs().mean(0)
    assert float(change[62:67, 62:67].mean()) < 0.25 * float(change[:20, :20].mean())


def test_roll_is_what_turns_from_end_to_end() -> None:
    """A wide strip, seen at its right end: the path there is an arc of radius times angle."""
    shake = Shake(**(STILL | {"roll": 2.0}))
    poses = shake._poses(65, 1001, generator(0))
    seen = poses @ np.array([1000.0, 32.0, 1.0])
    height = np.ptp(seen[:, 1] / seen[:, 2])
    assert height == pytest.approx(500 * math.radians(2), rel=0.01)


def test_zoom_is_the_change_of_scale() -> None:
    shake = Shake(**(STILL | {"zoom": 0.1}))
    poses = shake._poses(65, 101, generator(0))
    right, left = (poses @ np.array([x, 32.0, 1.0]) for x in (100.0, 0.0))
    widths = right[:, 0] / right[:, 2] - left[:, 0] / left[:, 2]
    assert widths.max() / widths.min() == pytest.approx(1.1, rel=0.01)


def test_frames_lie_about_a_pixel_apart_and_share_the_whole_exposure() -> None:
    shake = Shake(extent=30, sway=0, roll=0, zoom=0)
    (times, poses), shares = shake._camera(64, 64, generator(0))
    assert sum(shares) == pytest.approx(1)
    centres = poses @ np.array([31.5, 31.5, 1])
    steps = np.hypot(*np.diff(centres[:, :2] / centres[:, 2:], axis=0).T)
    assert steps.max() < 1.5
    assert times == sorted(times)
    assert len(Shake(n_frames=7)._camera(64, 64, generator(0))[1]) == 7


def test_bright_lights_leave_streaks_as_bright_as_they_were() -> None:
    """A lamp 20 times brighter than white, smeared over 10 pixels, still clips; without highlights it fades."""
    image = torch.full((3, 65, 65), 0.1)
    image[:, 31:34, 31:34] = 1.0
    moved = {"extent": 12.0, "sway": 0.0, "roll": 0.0, "zoom": 0.0}
    faded = Shake(**moved)(image, generator=generator(4))
    streaked, sharp = Shake(**moved, highlights=20).expose(image, generator=generator(4))
    n_white = [int((picture[0] > 0.99).sum()) for picture in (faded, streaked)]
    assert n_white[0] < 9 < 2 * 9 < n_white[1]
    assert_close(sharp, image, atol=1e-5, rtol=0)


def test_moving_objects_belong_to_the_sharp_photo_too() -> None:
    image = photo(96, 96)
    blurred, sharp = Shake(**STILL, n_objects=1, object_extent=20).expose(image, generator=generator(5))
    added = (sharp - image).abs().amax(0) > 0.02
    moved = (blurred - image).abs().amax(0) > 0.02
    assert 0.01 < float(added.float().mean()) < 0.6
    assert float(moved.float().mean()) > float(added.float().mean())
    assert not bool((moved & added).float().mean() == 0)


def test_sensor_noise_has_the_variance_of_its_electrons() -> None:
    image = torch.full((3, 200, 200), 0.25)
    noisy = Shake(**STILL, gamma=1, photons=500, read_noise=0.02)(image, generator=generator(6))
    assert float(noisy.var()) == pytest.approx(0.25 / 500 + 0.02**2, rel=0.02)


def test_what_opencv_cannot_warp_is_refused() -> None:
    with pytest.raises(ArgumentError, match="32000 pixels a side, not 33000x1"):
        Shake()(torch.zeros(1, 1, 33000), generator=generator())
