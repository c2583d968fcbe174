"""Two workers on this machine, some of which die.  Ray is no part of the `dev` extra: it takes 240 MB."""

import functools
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resharp.errors import WeightsError
from resharp.restorers.base import Restored
from resharp.restorers.cluster import restore_files_on_ray
from resharp.restorers.jobs import plan_jobs
from resharp.restorers.journal import Journal
from tests.restoring import Darker, contents, restore, write_photos

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'resharp[ray]'")
pytestmark = pytest.mark.filterwarnings("ignore")


class Mortal(Darker):
    """Kills its process at photos of 9 pixels, `n_deaths` times in all, which a folder counts."""

    def __init__(self, deaths: Path, n_deaths: int) -> None:
        super().__init__()
        self.deaths, self.n_deaths = deaths, n_deaths

    def __call__(self, *arguments: Any, **settings: Any) -> Restored:
        self.deaths.mkdir(exist_ok=True)
        if arguments[0].shape[-1] == 9 and (number := len(list(self.deaths.iterdir()))) < self.n_deaths:
            (self.deaths / str(number)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(*arguments, **settings)


def unknown_weights() -> Darker:
    raise WeightsError("nobody knows these")


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    os.environ.setdefault("RAY_worker_niceness", "0")  # on a busy machine workers of 15 take minutes to begin
    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photos(tmp_path / "in", 8)
    write_photos(tmp_path / "in" / "deadly", 1, height=9, width=9)
    return tmp_path / "in"


@pytest.mark.parametrize(("n_deaths", "problem"), [(1, ""), (99, "its workers died 3 times")])
def test_a_killed_workers_photo_is_done_again(photos: Path, tmp_path: Path, n_deaths: int, problem: str) -> None:
    jobs, told = plan_jobs([photos], tmp_path / "out"), []
    rows = restore_files_on_ray(
        jobs,
        functools.partial(Mortal, tmp_path / "deaths", n_deaths),
        n_workers=2,
        journal=Journal(tmp_path / "out", {"restorer": "darker"}),
        on_file=lambda row, pace: told.append(row),
    )
    assert [row.job for row in rows] == list(jobs)
    assert sorted(map(repr, told)) == sorted(map(repr, rows))
    failed = [row for row in rows if row.problem]
    assert [row.job.photo.parts[-3:] for row in failed] == [("deadly", "0", "0000.jpg")] * bool(problem)
    assert all(problem in row.problem for row in failed)
    diary = tmp_path / "diary"
    restore(photos, tmp_path / "out", diary)  # the journal serves this machine, too
    assert (len(diary.read_bytes()) if diary.exists() else 0) == len(failed)
    restore(photos, tmp_path / "whole", None)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_what_opening_raises_comes_up(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="nobody knows these"):
        restore_files_on_ray(plan_jobs([photos], tmp_path / "out"), unknown_weights, n_workers=2)
