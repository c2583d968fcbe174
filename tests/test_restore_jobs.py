"""Plans of many files: mirrored, divided, and nothing lost."""

from pathlib import Path

import pytest

from resharp.errors import ArgumentError, OutputError, PhotoError
from resharp.restorers.jobs import Jobs, Shard, plan_jobs


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory; names of photos are enough for a plan."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def outputs(jobs: Jobs) -> dict[str, str]:
    return {str(job.photo): str(job.output) for job in jobs}


def test_folders_are_mirrored(place: Path) -> None:
    touch("in/a.jpg", "in/day1/a.jpg", "in/day2/deep/a.JPG", "in/notes.txt")
    expected = {"in/a.jpg": "out/a.jpg", "in/day1/a.jpg": "out/day1/a.jpg", "in/day2/deep/a.JPG": "out/day2/deep/a.JPG"}
    assert outputs(plan_jobs(["in"], "out")) == expected
    assert outputs(plan_jobs(["in/"], "out.v2")) == {k: v.replace("out", "out.v2") for k, v in expected.items()}


def test_several_folders_keep_their_names_and_photos_go_beside_them(place: Path) -> None:
    touch("one/a.jpg", "two/a.jpg", "a.jpg")
    found = outputs(plan_jobs(["one", "two", "a.jpg"], "out"))
    assert found == {"one/a.jpg": "out/one/a.jpg", "two/a.jpg": "out/two/a.jpg", "a.jpg": "out/a.jpg"}


def test_one_photo_goes_to_one_file(place: Path) -> None:
    touch("a.jpg")
    jobs = plan_jobs(["a.jpg"], "sharp.png")
    assert outputs(jobs) == {"a.jpg": "sharp.png"}
    assert jobs.folder is None
    assert outputs(plan_jobs(["a.jpg"], "out")) == {"a.jpg": "out/a.jpg"}
    assert outputs(plan_jobs(["a.jpg"], "out", suffix=".png")) == {"a.jpg": "out/a.png"}
    Path("dir.png").mkdir()
    assert outputs(plan_jobs(["a.jpg"], "dir.png")) == {"a.jpg": "dir.png/a.jpg"}


def test_junk_is_passed_over_and_named(place: Path) -> None:
    junk = ["in/.DS_Store", "in/._a.jpg", "in/@eaDir", "in/d/$RECYCLE.BIN", "in/d/Thumbs.db"]
    touch("in/a.jpg", "in/d/b.png", "in/@eaDir/a.jpg", "in/d/$RECYCLE.BIN/x.png", *(n for n in junk if "." in n[3:]))
    jobs = plan_jobs(["in", "in/._a.jpg"], "out")
    assert list(outputs(jobs)) == ["in/a.jpg", "in/d/b.png"]
    assert sorted(str(path) for path in jobs.passed_over) == junk


def test_results_inside_the_folder_are_no_photos(place: Path) -> None:
    touch("in/a.jpg", "in/out/a.jpg", "out/b/c.jpg")
    assert list(outputs(plan_jobs(["in"], "in/out"))) == ["in/a.jpg"]
    assert outputs(plan_jobs(["out/b"], "out")) == {"out/b/c.jpg": "out/c.jpg"}


def test_one_photo_named_twice_is_one_job(place: Path) -> None:
    touch("in/a.jpg")
    assert len(plan_jobs(["in/a.jpg", "in", place / "in/a.jpg"], "out")) == 1


@pytest.mark.parametrize(
    ("inputs", "out", "settings", "message"),
    [
        (["x/a.jpg", "y/a.jpg"], "out", {}, "x/a.jpg and y/a.jpg would both be written to out/a.jpg; name the folder"),
        (["x"], "out", {"suffix": ".png"}, "x/a.jpg and x/a.png would both be written to out/a.png"),
        (["x"], "x", {}, "x: is the folder that is read"),
        (["x/a.jpg"], "x", {}, "x/a.jpg: is one of the photos themselves"),
        (["x/a.jpg"], "link", {}, "is one of the photos themselves"),
        (["x/a.jpg", "y/a.jpg"], "y", {}, "y/a.jpg: is one of the photos themselves"),
        (["x/a.jpg"], "kernel.png", {"read": [Path("kernel.png")]}, "is read by this command itself"),
        (["x"], "out.png", {}, "out.png: several photos need a folder"),
        (["x/a.jpg"], "out.gif", {}, "does not end in a format"),
        (["x/a.jpg"], "out", {"suffix": ".gif"}, "does not end in a format"),
        (["empty"], "out", {}, "empty: no photos there"),
    ],
)  # fmt: skip
def test_what_would_lose_something_is_refused(
    place: Path, inputs: list[str], out: str, settings: dict[str, object], message: str
) -> None:
    touch("x/a.jpg", "x/a.png", "y/a.jpg", "kernel.png")
    Path("empty").mkdir()
    Path("link").symlink_to("x")
    with pytest.raises(PhotoError, match=message):
        plan_jobs(inputs, out, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 3, 16])
def test_shards_are_disjoint_complete_and_the_same_while_others_write(place: Path, count: int) -> None:
    touch(*(f"in/{number:02d}.jpg" for number in range(10)))
    whole, found = set(plan_jobs(["in"], "out")), []
    for index in range(1, count + 1):
        jobs = plan_jobs(["in"], "out", shard=f"{index}/{count}", skip_existing=True)
        found += [*jobs, *jobs.existing]
        touch(*(str(job.output) for job in jobs))
    assert len(found) == 10
    assert set(found) == whole


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "-1/3", "1/0"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(ArgumentError, match=r"name one of n parts as 1/n to n/n"):
        Shard.parse(text)


def test_existing_outputs_are_left_out_on_request(place: Path) -> None:
    touch("in/a.jpg", "in/b.jpg", "out/a.jpg")
    assert len(plan_jobs(["in"], "out")) == 2
    jobs = plan_jobs(["in"], "out", skip_existing=True)
    assert list(outputs(jobs)) == ["in/b.jpg"]
    assert [str(job.output) for job in jobs.existing] == ["out/a.jpg"]


def test_a_folder_that_cannot_be_written_is_named_before_the_work(place: Path) -> None:
    touch("a.jpg", "file")
    with pytest.raises(OutputError, match=r"file/a.jpg: cannot be written \(a file stands where a folder belongs"):
        plan_jobs(["a.jpg"], "file/").check_writable()
    plan_jobs(["a.jpg"], "new").check_writable()
    assert list(Path("new").iterdir()) == []
