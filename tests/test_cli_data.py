"""`resharp data synthesize`, `pack` and `show` as a user meets them; `prepare` and `check` have tests of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import resharp
from resharp.data.workers import ctrl_c_waits
from tests.conftest import Run, rand

PLAN = 'crop = 16\n[[variants]]\nsteps = [{ kind = "shake", extent = [2, 6] }]\n'


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(3):
        image = rand(3, 32, 40, seed=number).float()
        resharp.write_photo(resharp.Photo(image), tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    return path


def test_from_photos_to_a_pack_and_a_picture_of_it(run: Run, photos: Path, plan: Path, tmp_path: Path) -> None:
    made, packed, sheet = tmp_path / "made", tmp_path / "made.h5", tmp_path / "sheet.png"
    done = run("data", "synthesize", photos, "-o", made, "--plan", plan, "--json")
    assert json.loads(done.out) == {"folder": str(made), "n_pairs": 3, "n_already_there": 0}
    done = run("data", "synthesize", photos, "-o", made, "--plan", plan, "--count", 4)
    assert "4 pairs" in done.out
    assert "3 of them from before" in done.out
    done = run("data", "pack", made, "-o", packed, "--patch", 8, "--stride", 8, "--json")
    assert json.loads(done.out)["patches"] == {"blur": 16, "sharp": 16}
    for place in (made, packed, photos):
        assert run("data", "show", place, "-o", sheet).code == 0
        assert resharp.read_photo(sheet).image.shape[-1] > 200
    (made / "blur" / "000003.png").unlink()
    assert run("data", "pack", made, "-o", packed, "--patch", 8).code == 2
    done = run("data", "pack", made, "-o", packed, "--patch", 8, "--stride", 8, "--json", "--unpaired")
    assert json.loads(done.out)["patches"] == {"blur": 12, "sharp": 16}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("synthesize", "nowhere", "-o", "out", "--plan", "plan.toml"), "nowhere"),
        (("synthesize", "photos", "-o", "out", "--plan", "none.toml"), "none.toml: no such plan"),
        (("synthesize", "photos", "-o", "out", "--plan", "plan.toml", "--count", "0"), "0 samples"),
        (("synthesize", "photos", "-o", "out", "--plan", "plan.toml", "--workers", "-1"), "-1 workers"),
        (("synthesize", "photos", "-o", "out", "--plan", "plan.toml", "--weight", "1", "--weight", "2"), "not 2"),
        (("synthesize", "empty", "-o", "out", "--plan", "plan.toml"), "empty"),
        (("pack", "photos", "-o", "out.h5", "--patch", "64"), "choose a smaller --patch"),
        (("pack", "photos", "-o", "out.h5", "--stride", "0"), "stride 0"),
        (("pack", "photos", "-o", "out.h5", "--split", "train"), "no split 'train'"),
        (("show", "photos", "-o", "sheet.bmp"), "sheet.bmp"),
        (("show", "photos", "-o", "sheet.png", "--count", "0"), "0 samples"),
        (("show", "empty", "-o", "sheet.png"), "empty: no photos there"),
        (("show", "photos", "-o", "photos/1.png"), "photos/1.png: is one of the photos themselves"),
        (("show", "photos", "-o", "photos/sheet.png"), "photos/sheet.png: would lie among the photos"),
        (("show", "photos/1.png", "-o", "sheet.png"), "photos/1.png: is a photo; name its folder"),
        (("synthesize", "photos/1.png", "-o", "out", "--plan", "plan.toml"), "is a photo; name its folder"),
        (("synthesize", "photos", "-o", "out", "--plan", "photos"), "photos: cannot be read as a plan (a folder has"),
        (("synthesize", "photos", "-o", "out", "--plan", "plan.toml", "--count", "100000000000"), "ask for 1 to"),
        (("synthesize", "", "-o", "out", "--plan", "plan.toml"), "the name is empty"),
        (("pack", "photos", "-o", "photos/1.png"), "a pack's name ends in .h5"),
        (("pack", "photos", "-o", "."), "is a folder; name the file of the pack"),
        (("pack", "photos", "-o", ""), "the name is empty"),
        (("pack", "empty", "-o", "out.h5"), "empty: no photos there"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    run: Run,
    photos: Path,
    plan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    done = run("data", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert words in done.err
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before


def test_a_damaged_photo_is_named_and_what_was_done_stays(run: Run, photos: Path, plan: Path, tmp_path: Path) -> None:
    whole = (photos / "1.png").read_bytes()
    (photos / "1.png").write_bytes(whole[: len(whole) // 2])
    command = ("data", "synthesize", photos, "-o", tmp_path / "out", "--plan", plan)
    done = run(*command)
    assert done.code == 2
    assert "1.png: is damaged or cut short" in done.err
    assert not (tmp_path / "out" / "manifest.json").exists()
    (photos / "1.png").write_bytes(whole)
    assert run(*command).code == 0
    assert (tmp_path / "out" / "manifest.json").exists()


def test_ctrl_c_leaves_a_state_to_go_on_with(photos: Path, plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["data", "synthesize", str(photos), "-o", str(out), "--plan", str(plan), "--count", "100000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "resharp", *words, "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while not list(out.glob("drawn/*.json")) and time.monotonic() < until:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: to all of them
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == f"resharp: interrupted; what {out} holds is whole, the same command goes on"
    assert "Traceback" not in errors
    assert not list(out.rglob("*.part"))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_processes_are_started_deaf_to_ctrl_c() -> None:
    """They would each report it, in the middle of their imports."""
    code = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    with ctrl_c_waits():
        assert subprocess.check_output([sys.executable, "-c", code]) == b"True\n"
    assert subprocess.check_output([sys.executable, "-c", code]) == b"False\n"
