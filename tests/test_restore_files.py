"""Many photos through one restorer: rows, journals, kills, locks."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from resharp.errors import DatasetError
from resharp.photo import Photo, photo_size, read_photo, write_photo
from resharp.restorers.files import restore_files
from resharp.restorers.jobs import Job, Shard, plan_jobs
from resharp.restorers.journal import Journal
from resharp.restorers.rows import Pace, Row
from tests import restoring
from tests.processes import ended
from tests.restoring import Darker, contents, restore, write_photos


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photos(tmp_path / "in", 7)
    return tmp_path / "in"


def journal(out: Path, shard: Shard | None = None, **made_by: str) -> Journal:
    return Journal(out, {"restorer": "darker"} | made_by, shard=shard)


# --- rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_photo_is_restored_and_told_in_order(photos: Path, tmp_path: Path, workers: int) -> None:
    jobs, told, steps = plan_jobs([photos], tmp_path / "out"), list[Row](), list[tuple[int, int]]()
    rows = restore_files(
        jobs, Darker(), workers=workers,
        on_file=lambda row, pace: told.append(row), progress=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    assert [row.job for row in rows] == list(jobs)
    assert told == rows
    assert steps == [(n, 7) for n in range(1, 8)]
    assert {(row.problem, row.megapixels) for row in rows} == {("", 24 * 32 / 1e6)}
    for job in jobs:
        assert abs(read_photo(job.output).image - read_photo(job.photo).image * 0.5).max() < 0.1


def test_the_number_of_workers_changes_no_byte(photos: Path, tmp_path: Path) -> None:
    for workers in (0, 2, 4):
        restore_files(plan_jobs([photos], tmp_path / str(workers)), Darker(), workers=workers)
    assert contents(tmp_path / "0") == contents(tmp_path / "2") == contents(tmp_path / "4") != {}


def test_failed_photos_are_rows_and_end_nothing(photos: Path, tmp_path: Path) -> None:
    (photos / "0" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    write_photo(Photo(torch.zeros(3, 8, 8)), photos / "black.png")  # the restorer runs out of memory
    write_photo(Photo(torch.ones(3, 8, 8), alpha=torch.full((8, 8), 0.5)), photos / "1" / "clear.png")
    (photos / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "out" / "2" / "0002.jpg").mkdir(parents=True)
    seen = Darker()
    jobs = [*plan_jobs([photos], tmp_path / "out"), Job(photos / "1" / "clear.png", tmp_path / "out" / "clear.jpg")]
    rows = restore_files(jobs, seen)
    problems = {row.job.output.name: row.problem for row in rows if row.problem}
    assert {row.exit_code for row in rows if row.job.output.name in ("black.png", "0002.jpg")} == {1}
    assert set(problems) == {"broken.jpg", "black.png", "clear.jpg", "gone.jpg", "0002.jpg"}
    assert "is damaged" in problems["broken.jpg"]
    assert "black.png: not enough memory on cpu" in problems["black.png"]
    assert "JPEG cannot hold the photo's transparency" in problems["clear.jpg"]
    assert "no such file" in problems["gone.jpg"]
    assert "a folder has this name" in problems["0002.jpg"]
    assert len(seen.seen) == 8  # those that could not be written never came to the restorer
    assert not any(row.trace for row in rows)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_out_of_memory_is_a_row(photos: Path, tmp_path: Path, error: Exception) -> None:
    class Hungry(Darker):
        def __call__(self, *_: object, **__: object) -> None:  # type: ignore[override]
            raise error

    rows = restore_files(plan_jobs([photos], tmp_path / "out"), Hungry())
    assert all("not enough memory; close other programs" in row.problem and not row.trace for row in rows)


def test_what_nobody_expects_is_a_row_with_its_trace(photos: Path, tmp_path: Path) -> None:
    class Wrong(Darker):
        def __call__(self, *_: object, **__: object) -> None:  # type: ignore[override]
            raise KeyError("weight")

    (row, *_) = restore_files(plan_jobs([photos], tmp_path / "out"), Wrong())
    assert row.problem.endswith("0000.jpg: KeyError: 'weight'")
    assert "test_restore_files.py" in row.trace


def test_larger_results_are_tried_in_their_own_size(tmp_path: Path) -> None:
    write_photo(Photo(torch.rand(3, 4, 8200)), tmp_path / "wide.jpg")
    seen = Darker(scale=2)
    rows = restore_files([Job(tmp_path / "wide.jpg", tmp_path / "wide.webp")], seen)
    assert "WebP ends at 16383 pixels" in rows[0].problem
    assert seen.seen == []
    rows = restore_files([Job(tmp_path / "wide.jpg", tmp_path / "wide.tif")], seen)
    assert photo_size(rows[0].job.output) == (8, 16400)


def test_a_progress_that_says_no_begins_no_more_photos(photos: Path, tmp_path: Path) -> None:
    rows = restore_files(plan_jobs([photos], tmp_path / "out"), Darker(), progress=lambda done, total: done < 2)
    assert 2 <= len(rows) < 7
    assert len(contents(tmp_path / "out")) == len(rows)


def test_what_is_known_and_progress_reach_the_restorer(photos: Path, tmp_path: Path) -> None:
    parts = list[tuple[Path, int, int]]()
    jobs = plan_jobs([photos], tmp_path / "out", suffix=".png")

    def progress_in(job: Job):  # type: ignore[no-untyped-def]
        return lambda done, total: parts.append((job.photo, done, total))

    restore_files(jobs, Darker(), known={"factor": 0.0}, progress_in=progress_in)
    assert parts == [(job.photo, 1, 1) for job in jobs]
    assert not any(read_photo(job.output).image.any() for job in jobs)


def test_the_pace_tells_what_the_rest_takes(photos: Path, tmp_path: Path) -> None:
    found = list[tuple[int, float, float, float]]()

    def look(row: Row, pace: Pace) -> None:
        assert pace.seconds_per_megapixel is not None
        assert pace.seconds_left is not None
        found.append((pace.n_done, pace.megapixels_left, pace.seconds_per_megapixel, pace.seconds_left))

    write_photo(Photo(torch.rand(3, 100, 100)), photos / "large.png")
    jobs = plan_jobs([photos], tmp_path / "out")
    assert Pace(jobs).seconds_left is None
    restore_files(jobs, Darker(seconds=0.01), on_file=look)
    assert [one[0] for one in found] == list(range(1, 9))
    sizes = [24 * 32 / 1e6] * 7 + [0.01]
    assert [one[1] for one in found] == pytest.approx([sum(sizes[n:]) for n in range(1, 9)])
    assert found[-1][1] == found[-1][3] == 0
    assert found[0][3] == pytest.approx(found[0][1] * found[0][2])


# --- going on ---------------------------------------------------------------------------------------------------------


def test_what_is_done_is_kept_until_something_changes(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def n_done(**made_by: str) -> int:
        rows = restore_files(plan_jobs([photos], out), seen := Darker(), journal=journal(out, **made_by))
        assert [row.kept for row in rows].count(False) == len(seen.seen)
        assert not any(row.problem for row in rows)
        return len(seen.seen)

    assert n_done() == 7
    assert n_done() == 0
    assert n_done(weights="other") == 7
    assert n_done() == 7
    (out / "0" / "0000.jpg").unlink()
    assert n_done() == 1
    os.utime(photos / "1" / "0001.png", ns=(0, 0))
    assert n_done() == 1
    write_photo(Photo(torch.ones(3, 9, 9)), photos / "2" / "0002.jpg")
    (out / "2" / "0005.png").write_bytes(b"half")
    assert n_done() == 2
    write_photos(photos, 9)  # two more, and seven with a new time
    assert n_done() == 9


def test_failed_photos_are_tried_again(photos: Path, tmp_path: Path) -> None:
    write_photo(Photo(torch.zeros(3, 8, 8)), photos / "black.png")
    for n_seen in (8, 1):
        restore_files(plan_jobs([photos], tmp_path / "out"), seen := Darker(), journal=journal(tmp_path / "out"))
        assert len(seen.seen) == n_seen


@pytest.mark.parametrize("left", [0.0, 0.1, 0.5, 0.999])
def test_a_journal_that_was_cut_short_goes_on(photos: Path, tmp_path: Path, left: float) -> None:
    out = tmp_path / "out"
    restore(photos, out, None)
    path = journal(out).path
    before, text = contents(out), path.read_bytes()
    path.write_bytes(text[: int(len(text) * left)] + b'\n{"output": 3}\n[]\nnull\n\xff{"output": "x"')
    diary = tmp_path / "diary"
    restore(photos, out, diary)
    assert len(diary.read_bytes()) == 7 - text[: int(len(text) * left)].count(b"\n")
    restore(photos, out, diary)
    assert contents(out) == before
    assert path.read_bytes().count(b"\n") == 7


def test_only_names_and_one_hash_tell_a_photo(tmp_path: Path) -> None:
    """Frames of two cameras have one size, and one time in an archive."""
    for camera in ("one", "two"):
        write_photo(Photo(torch.full((3, 8, 8), 0.5 if camera == "one" else 1.0)), tmp_path / camera / "0.tif")
        os.utime(tmp_path / camera / "0.tif", ns=(0, 0))
        restore_files(plan_jobs([tmp_path / camera], tmp_path / "out"), Darker(), journal=journal(tmp_path / "out"))
    assert read_photo(tmp_path / "out" / "0.tif").image.mean() == pytest.approx(0.5, abs=0.01)


def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 40)
    restore(tmp_path / "in", tmp_path / "whole", None)
    (place := tmp_path / "said").mkdir()
    assert ended(restoring.main, str(tmp_path), "4", "0", folder=place) == 0
    n_kills, n_seen = map(int, (place / "stdout").read_text().split())
    assert n_kills == 4
    assert 40 <= n_seen <= 40 + 5 * n_kills  # what was on its way, and nothing else, is done again
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert [path for path in (tmp_path / "out").rglob("*") if path.suffix == ".part"] == []


def test_ctrl_c_leaves_whole_files_and_a_journal(photos: Path, tmp_path: Path) -> None:
    class Interrupted(Darker):
        def __call__(self, *arguments, **settings):  # type: ignore[no-untyped-def]
            if len(self.seen) == 4:
                signal.raise_signal(signal.SIGINT)
            return super().__call__(*arguments, **settings)

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        restore_files(plan_jobs([photos], out), Interrupted(), journal=journal(out))
    written = contents(out)
    assert written
    restore_files(plan_jobs([photos], out), seen := Darker(), journal=journal(out))
    assert len(seen.seen) == 7 - len(written)
    restore(photos, tmp_path / "whole", None)
    assert contents(out) == contents(tmp_path / "whole")


# --- several processes ------------------------------------------------------------------------------------------------


@pytest.fixture
def busy(photos: Path, tmp_path: Path) -> Iterator[None]:
    """Another run that does shard 1/2, in the middle of its first photo."""
    begun, over = threading.Event(), threading.Event()

    class Waiting(Darker):
        def __call__(self, *arguments, **settings):  # type: ignore[no-untyped-def]
            begun.set()
            assert over.wait(10)
            return super().__call__(*arguments, **settings)

    jobs = plan_jobs([photos], tmp_path / "out", shard="1/2")
    run = threading.Thread(
        target=restore_files, args=(jobs, Waiting()), kwargs={"journal": journal(tmp_path / "out", jobs.shard)}
    )
    run.start()
    assert begun.wait(10)
    yield
    over.set()
    run.join()


@pytest.mark.parametrize(
    ("shard", "message"),
    [
        (Shard(1, 2), r"another process restores shard 1/2 into it; wait for it, take another shard"),
        (None, r"restores another part of the work into it \(\.resharp-journal-1-of-2\.jsonl\)"),
        (Shard(3, 3), r"restores another part of the work into it"),
    ],
)
def test_the_same_work_is_not_done_twice_at_a_time(
    busy: None, photos: Path, tmp_path: Path, shard: Shard | None, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        restore_files(
            plan_jobs([photos], tmp_path / "out", shard=shard), Darker(), journal=journal(tmp_path / "out", shard)
        )


def test_another_shard_works_beside_and_clears_nothing(busy: None, photos: Path, tmp_path: Path) -> None:
    part = tmp_path / "out" / "0" / ".resharp-abc.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    part.touch()  # the other one may be writing it
    jobs = plan_jobs([photos], tmp_path / "out", shard="2/2")
    rows = restore_files(jobs, Darker(), journal=journal(tmp_path / "out", jobs.shard))
    assert len(rows) == 3
    assert part.exists()


def test_shards_that_begin_together_all_work_and_leave_nothing_to_do(photos: Path, tmp_path: Path) -> None:
    out, failed = tmp_path / "out", list[object]()

    def work(index: int) -> None:
        jobs = plan_jobs([photos], out, shard=Shard(index, 5))
        try:
            restore_files(jobs, Darker(), journal=journal(out, jobs.shard))
        except Exception as error:
            failed.append(error)

    runs = [threading.Thread(target=work, args=(index,)) for index in range(1, 6)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert failed == []
    rows = restore_files(plan_jobs([photos], out), seen := Darker(), journal=journal(out))
    assert all(row.kept for row in rows)
    assert seen.seen == []


def test_half_written_files_of_killed_runs_are_cleared(photos: Path, tmp_path: Path) -> None:
    part = tmp_path / "out" / "0" / ".resharp-abc.part"
    part.parent.mkdir(parents=True)
    part.touch()
    restore(photos, tmp_path / "out", None)
    assert not part.exists()


def test_what_is_beside_sees_each_photo_before_and_after(photos: Path, tmp_path: Path) -> None:
    seen = dict[Job, tuple[Photo, Photo]]()
    jobs = plan_jobs([photos], tmp_path / "out")
    restore_files(jobs, Darker(), beside=lambda job, before, after: seen.update({job: (before, after)}))
    assert set(seen) == set(jobs)
    for job, (before, after) in seen.items():
        assert before.image.equal(read_photo(job.photo).image)
        assert after.image.equal(before.image / 2)
