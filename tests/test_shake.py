"""Camera shake against what is known in closed form of cameras that move in simple ways."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from resharp.degradations import Frame, Shake
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
    """Of a lone bright pixel the average of frames is a picture of the path; linear light, so moments agree."""
    shake = Shake(extent=20, sway=0, roll=0, zoom=0, focal=100, gamma=1)
    image = torch.zeros(1, 101, 101)
    image[0, 50, 50] = 1
    blurred, _ = shake.expose(image, generator=generator(seed))
    path = shake.camera_path(Frame(101, 101), generator(seed))
    rows, columns = (torch.arange(101.0) - 50 for _ in range(2))
    assert float(blurred.sum()) == pytest.approx(1, abs=0.02)
    assert float((blurred[0].sum(0) * columns).sum()) == pytest.approx(path[:, 0].mean(), abs=0.3)
    assert float((blurred[0].sum(1) * rows).sum()) == pytest.approx(path[:, 1].mean(), abs=0.3)
    mixed = float((blurred[0] * rows[:, None] * columns).sum())
    assert mixed == pytest.approx((path[:, 0] * path[:, 1]).mean(), abs=1)
    for points, places, mass in ((path[:, 0], columns, blurred[0].sum(0)), (path[:, 1], rows, blurred[0].sum(1))):
        skew = float((mass * places**3).sum())  # a picture of the path and not of its mirror image
        assert skew == pytest.approx((points**3).mean(), abs=0.05 * (np.abs(points) ** 3).mean())
    seen = (blurred[0] > 1e-4).nonzero() - 50
    extent = (seen.amax(0) - seen.amin(0)).amax()
    assert 18 <= int(extent) <= 23
    assert np.ptp(path, axis=0).max() == pytest.approx(20, rel=0.01)


@pytest.mark.parametrize(("extent", "atol"), [(4, 0.01), (40, 0.1)])
def test_the_sharp_photo_is_the_camera_s_mean_pose(extent: float, atol: float) -> None:
    """No shift between the two photos: a network could not see it, and would be punished for it all the same."""
    for seed in range(5):
        path = Shake(extent=extent, sway=extent / 4).camera_path(Frame(64, 64), generator(seed))
        assert np.abs(path.mean(axis=0)).max() < atol


def test_rolling_blurs_the_corners_and_not_the_centre() -> None:
    shake = Shake(**(STILL | {"roll": 8.0}))
    image = photo(129, 129)
    change = (shake(image, generator=generator(2)) - image).abs().mean(0)
    assert float(change[62:67, 62:67].mean()) < 0.25 * float(change[:20, :20].mean())


def test_roll_is_what_turns_from_end_to_end() -> None:
    """A wide strip, seen at its right end: the path there is an arc of radius times angle."""
    shake = Shake(**(STILL | {"roll": 2.0}))
    poses = shake._poses(Frame(65, 1001), generator(0))
    seen = poses @ np.array([1000.0, 32.0, 1.0])
    height = np.ptp(seen[:, 1] / seen[:, 2])
    assert height == pytest.approx(500 * math.radians(2), rel=0.01)


def test_zoom_is_the_change_of_scale() -> None:
    shake = Shake(**(STILL | {"zoom": 0.1}))
    poses = shake._poses(Frame(65, 101), generator(0))
    right, left = (poses @ np.array([x, 32.0, 1.0]) for x in (100.0, 0.0))
    widths = right[:, 0] / right[:, 2] - left[:, 0] / left[:, 2]
    assert widths.max() / widths.min() == pytest.approx(1.1, rel=0.01)


def test_frames_lie_about_a_pixel_apart_and_share_the_whole_exposure() -> None:
    shake = Shake(extent=30, sway=0, roll=0, zoom=0)
    poses = shake._poses(Frame(64, 64), generator(0))
    times, shares = shake._instants(poses, [], 64, 64)
    assert sum(shares) == pytest.approx(1)
    centres = poses[times] @ np.array([31.5, 31.5, 1])
    steps = np.hypot(*np.diff(centres[:, :2] / centres[:, 2:], axis=0).T)
    assert steps.max() < 1.5
    assert times == sorted(times)
    assert len(Shake(n_frames=7)._instants(poses, [], 64, 64)[1]) == 7


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
    _, sharp = Shake(**STILL, n_objects=1).expose(image, generator=generator(5))
    changed = (sharp - image).abs().amax(0) > 0.02
    assert 0.01 < float(changed.float().mean()) < 0.6


def test_an_object_s_way_is_followed_pixel_by_pixel_even_by_a_camera_that_stands_still() -> None:
    shake = Shake(**STILL, n_objects=1, object_extent=30)
    poses = shake._poses(Frame(64, 64), generator(0))
    line = np.stack([np.linspace(-15, 15, len(poses)), np.zeros(len(poses))], axis=1)
    times, shares = shake._instants(poses, [line], 64, 64)
    assert np.abs(np.diff(line[times, 0])).max() < 1.5
    assert line[times, 0].min() < -14
    assert line[times, 0].max() > 14
    assert sum(shares) == pytest.approx(1)


def test_an_object_that_moves_is_smeared_and_one_that_rests_is_not() -> None:
    image = photo(96, 96)
    changes = []
    for extent in (0.0, 24.0):
        blurred, sharp = Shake(**STILL, n_objects=1, object_extent=extent).expose(image, generator=generator(5))
        changes.append(float((blurred - sharp).abs().mean()))
    assert changes[0] < 1e-6
    assert changes[1] > 0.01


def test_white_stays_white_under_noise() -> None:
    """What was far brighter than white clips after the noise, as in a sensor."""
    image = torch.zeros(3, 64, 64)
    image[:, 30:32, 30:32] = 1
    noisy = Shake(**STILL, highlights=50, read_noise=0.02, photons=500)(image, generator=generator(1))
    assert float(noisy[:, 30:32, 30:32].min()) == 1


@pytest.mark.parametrize("corner", [(0, 0), (40, 90), (64, 128)])
def test_a_piece_of_a_photo_is_blurred_as_that_piece_of_the_whole(corner: tuple[int, int]) -> None:
    top, left = corner
    image, shake = photo(128, 192), Shake(extent=6, roll=3.0, zoom=0.05, sway=2, n_frames=40)
    whole = shake(image, generator=generator(3))
    frame = Frame(128, 192, top, left, 64, 64)
    piece = image[:, top : top + 64, left : left + 64].contiguous()
    blurred = shake.expose(piece, generator=generator(3), frame=frame)[0]
    inside = (slice(None), slice(16, 48), slice(16, 48))
    assert_close(blurred[inside], whole[:, top + 16 : top + 48, left + 16 : left + 48], atol=2e-2, rtol=0)
    assert float((blurred[inside] - shake(piece, generator=generator(3))[inside]).abs().max()) > 0.03


def test_one_image_at_a_time_in_any_float_type() -> None:
    assert Shake()(photo().double(), generator=generator()).dtype == torch.float64
    with pytest.raises(ArgumentError, match="takes one image"):
        Shake()(photo()[None], generator=generator())


def test_sensor_noise_has_the_variance_of_its_electrons() -> None:
    image = torch.full((3, 200, 200), 0.25)
    noisy = Shake(**STILL, gamma=1, photons=500, read_noise=0.02)(image, generator=generator(6))
    assert float(noisy.var()) == pytest.approx(0.25 / 500 + 0.02**2, rel=0.02)


def test_what_opencv_cannot_warp_is_refused() -> None:
    with pytest.raises(ArgumentError, match="32000 pixels a side, not 33000x1"):
        Shake()(torch.zeros(1, 1, 33000), generator=generator())
