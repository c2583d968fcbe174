"""Packs: what the windows hold, exactly; stopped and gone on with; damaged and foreign files."""

import dataclasses
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from resharp.data.layouts import open_listing
from resharp.data.listing import Item, Listing
from resharp.data.loading import batches
from resharp.data.packing import Pack, PackPatches, pack
from resharp.data.plan import plan_from
from resharp.data.sources import open_source
from resharp.data.synthesis import open_synthesis
from resharp.errors import ArgumentError, DatasetError, OutputError
from resharp.locks import exclusive
from resharp.photo import Photo, read_pixels, write_photo
from tests.conftest import rand
from tests.processes import ended


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    for number in range(4):
        for kind, seed in (("blur", 10), ("sharp", 20)):
            image = rand(3, 40 + number, 57, seed=seed + number, dtype=torch.float32)
            write_photo(Photo(image), tmp_path / "set" / kind / f"{number}.png")
    return tmp_path / "set"


def test_windows_are_those_of_every_photo_in_order(pairs: Path, tmp_path: Path) -> None:
    listing, path = open_listing(pairs), tmp_path / "p.h5"
    summary = pack(listing, path, patch=16, stride=10)
    found = Pack(path)
    assert summary.counts == found.counts == {"blur": 4 * 3 * 5, "sharp": 4 * 3 * 5}
    row = 0
    for blur, sharp in listing.pairs:
        photos = {"blur": read_pixels(blur), "sharp": read_pixels(sharp)}
        for top in (0, 10, 20):
            for left in (0, 10, 20, 30, 40):
                for kind, file in (("blur", blur), ("sharp", sharp)):
                    assert torch.equal(found.read(kind, row), photos[kind][:, top : top + 16, left : left + 16])
                    assert found.origin(kind, row) == (str(file), top, left)
                row += 1


def test_the_file_is_what_other_programs_expect(pairs: Path, tmp_path: Path) -> None:
    pack(open_listing(pairs), tmp_path / "p.h5", patch=16, stride=10)
    with h5py.File(tmp_path / "p.h5") as file:
        assert file["blur"].dtype == np.uint8
        assert file["blur"].shape == (60, 3, 16, 16)
        assert file["blur"].chunks == (1, 3, 16, 16)
        attributes = dict(file.attrs)
    assert (attributes["patch"], attributes["stride"], attributes["colour"]) == (16, 10, "RGB")
    assert {"source", "licence", "layout", "paired", "format"} <= set(attributes)
    assert list(tmp_path.glob("p.h5*")) == [tmp_path / "p.h5"]


@pytest.mark.parametrize("old", [False, True])
def test_patches_keep_their_photos_group(pairs: Path, tmp_path: Path, old: bool) -> None:
    """Photos of one video are not parted; packs of earlier versions know only photos."""
    found = open_listing(pairs)
    items = tuple(dataclasses.replace(item, group=group) for item, group in zip(found.items, "aab ", strict=True))
    items = (*items[:3], dataclasses.replace(items[3], group=""))
    pack(dataclasses.replace(found, items=items), tmp_path / "p.h5", patch=16, stride=10)
    own = [str(item.clean) for item in items]
    wanted = own if old else ["a", "a", "b", own[3]]
    if old:
        with h5py.File(tmp_path / "p.h5", "r+") as file:
            del file["groups"]
    source = open_source(tmp_path / "p.h5")
    assert [source.group(index) for index in range(len(source))] == [group for group in wanted for _ in range(15)]


def test_a_pack_that_may_not_be_read_is_not_called_damaged(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(open_listing(pairs), tmp_path / "p.h5", patch=16, stride=10)

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(h5py, "File", refused)
    for attempt in (lambda: Pack(tmp_path / "p.h5"), lambda: pack(open_listing(pairs), tmp_path / "p.h5", patch=16)):
        with pytest.raises(DatasetError, match=r"p\.h5: cannot be read \(no permission"):
            attempt()


def test_unpaired_kinds_have_lengths_of_their_own(pairs: Path, tmp_path: Path) -> None:
    listing = open_listing(pairs)
    items = [Item(path, None) for path in listing.degraded[:1]] + [Item(None, path) for path in listing.clean]
    summary = pack(Listing(tuple(items), "mixed", paired=False), tmp_path / "u.h5", patch=16, stride=10)
    assert summary.counts == {"blur": 15, "sharp": 60}
    source = PackPatches(tmp_path / "u.h5")
    assert not source.is_real
    assert len(source) == 60
    assert torch.equal(source.read(59)[1], Pack(tmp_path / "u.h5").read("sharp", 59))
    degraded, clean = (open_source(tmp_path / "u.h5", half=half) for half in ("degraded", "clean"))
    assert [len(one) for one in (degraded, clean)] == [15, 60]
    assert torch.equal(degraded.read(14)[1], Pack(tmp_path / "u.h5").read("blur", 14))
    assert degraded.group(0) == str(listing.degraded[0])


def test_workers_change_no_byte(pairs: Path, tmp_path: Path) -> None:
    for n_workers in (0, 2):
        pack(open_listing(pairs), tmp_path / f"{n_workers}.h5", patch=16, stride=10, n_workers=n_workers)
    assert (tmp_path / "0.h5").read_bytes() == (tmp_path / "2.h5").read_bytes()


def test_a_stopped_run_is_gone_on_with(pairs: Path, tmp_path: Path) -> None:
    listing = open_listing(pairs)
    pack(listing, tmp_path / "whole.h5", patch=16, stride=10)

    def stop_after(n: int) -> Callable[[int, int], None]:
        def on_photo(done: int, total: int) -> None:
            if done == n:
                raise KeyboardInterrupt

        return on_photo

    for n in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            pack(listing, tmp_path / "p.h5", patch=16, stride=10, on_photo=stop_after(n))
        assert not (tmp_path / "p.h5").exists()
    with pytest.raises(DatasetError, match="was begun from other photos or settings"):
        pack(listing, tmp_path / "p.h5", patch=16, stride=9)
    seen: list[int] = []
    pack(listing, tmp_path / "p.h5", patch=16, stride=10, on_photo=lambda done, total: seen.append(done))
    assert seen == [4]
    assert (tmp_path / "p.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


@pytest.mark.parametrize("n_done", [1, 5])
def test_a_killed_process_leaves_a_sound_part(tmp_path: Path, n_done: int) -> None:
    for number in range(8):
        write_photo(Photo(rand(3, 64, 64, seed=number, dtype=torch.float32)), tmp_path / "set" / f"{number}.png")
    pack(open_listing(tmp_path / "set"), tmp_path / "whole.h5", patch=16, stride=8)
    assert ended(packed_until_killed, n_done, folder=tmp_path) == -signal.SIGKILL
    with pytest.raises(DatasetError, match="was not finished"):
        Pack(tmp_path / "p.h5.part")
    seen: list[int] = []
    pack(
        open_listing(tmp_path / "set"),
        tmp_path / "p.h5",
        patch=16,
        stride=8,
        on_photo=lambda done, _: seen.append(done),
    )
    assert seen == list(range(n_done + 1, 9))
    assert (tmp_path / "p.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def packed_until_killed(n_done: int) -> None:
    def kill(done: int, _: int) -> None:
        if done == n_done:
            os.kill(os.getpid(), signal.SIGKILL)

    here = Path.cwd()
    pack(open_listing(here / "set"), here / "p.h5", patch=16, stride=8, on_photo=kill)


def test_a_pack_goes_to_workers_and_feeds_training(pairs: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    pack(open_listing(pairs), path, patch=16, stride=10)
    again = pickle.loads(pickle.dumps(Pack(path)))
    assert torch.equal(again.read("blur", 3), Pack(path).read("blur", 3))
    plan = plan_from({"crop": 12, "variants": [{"steps": []}]})
    batch = next(batches(open_synthesis([path], plan), batch_size=8, stop=8))
    assert {name: part.shape for name, part in batch.items()} == dict.fromkeys(("degraded", "clean"), (8, 3, 12, 12))


def cut_short(path: Path) -> str:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return "it is cut short"


def newer(path: Path) -> str:
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = 99
    return "has format 99, this version reads up to 1; update resharp"


def foreign(path: Path) -> str:
    path.unlink()
    with h5py.File(path, "w") as file:
        file["x"] = 1
    return "no pack of resharp"


def no_hdf5(path: Path) -> str:
    path.write_text("hello")
    return "no HDF5 file"


def gone(path: Path) -> str:
    path.unlink()
    return "no such pack"


@pytest.mark.parametrize("spoil", [cut_short, newer, foreign, no_hdf5, gone])
def test_files_that_are_no_whole_pack(pairs: Path, tmp_path: Path, spoil: Callable[[Path], str]) -> None:
    path = tmp_path / "p.h5"
    pack(open_listing(pairs), path, patch=16, stride=10)
    words = spoil(path)
    with pytest.raises(DatasetError, match=words):
        Pack(path)


def test_photos_that_cannot_be_packed(pairs: Path, tmp_path: Path) -> None:
    listing, path = open_listing(pairs), tmp_path / "p.h5"
    with pytest.raises(DatasetError, match="no photo is as large as a patch of 64 pixels"):
        pack(listing, path, patch=64, stride=10)
    with pytest.raises(ArgumentError, match="patch 4, stride 10"):
        pack(listing, path, patch=4, stride=10)
    with exclusive(path), pytest.raises(DatasetError):
        pack(listing, path, patch=16, stride=10)
    write_photo(Photo(rand(3, 40, 50, dtype=torch.float32)), listing.degraded[0])
    with pytest.raises(DatasetError, match="differs in size"):
        pack(listing, path, patch=16, stride=10)
    lone = Listing((Item(listing.degraded[0], None),), "pairs", paired=True)
    with pytest.raises(DatasetError, match="no counterpart"):
        pack(lone, path, patch=16, stride=10)
    assert not list(tmp_path.glob("p.h5*"))


def test_a_damaged_photo_in_the_middle_keeps_what_was_done(pairs: Path, tmp_path: Path) -> None:
    from resharp.errors import PhotoError

    listing, path = open_listing(pairs), tmp_path / "p.h5"
    good = listing.clean[2].read_bytes()
    listing.clean[2].write_bytes(good[: len(good) // 2])
    with pytest.raises(PhotoError, match=r"2\.png"):
        pack(listing, path, patch=16, stride=10)
    listing.clean[2].write_bytes(good)
    seen: list[int] = []
    pack(listing, path, patch=16, stride=10, on_photo=lambda done, total: seen.append(done))
    assert seen == [3, 4]


def test_a_full_disk_is_named(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("resharp.data.packing._store", full)
    with pytest.raises(OutputError, match="the disk is full"):
        pack(open_listing(pairs), tmp_path / "p.h5", patch=16, stride=10)
    assert not (tmp_path / "p.h5").exists()


@pytest.mark.parametrize("name", ["p.png", "p.txt", "p", ".", "..", "folder"])
def test_a_pack_is_named_as_one(pairs: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "p.png").write_bytes(b"a photo")
    with pytest.raises(ArgumentError, match=r"a pack's name ends in \.h5 or \.hdf5|is a folder; name the file"):
        pack(open_listing(pairs), tmp_path / name, patch=16)
    assert (tmp_path / "p.png").read_bytes() == b"a photo"


def test_nothing_but_a_pack_is_replaced(pairs: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.H5"
    path.write_bytes(b"no pack")
    with pytest.raises(DatasetError, match="is there already, and no pack"):
        pack(open_listing(pairs), str(path), patch=16)
    assert path.read_bytes() == b"no pack"
    path.unlink()
    for patch in (16, 24):
        pack(open_listing(pairs), path, patch=patch)
        assert Pack(str(path)).patch == patch


def test_a_refusal_leaves_no_folder(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no photo is as large"):
        pack(open_listing(pairs), tmp_path / "new" / "p.h5", patch=64)
    with pytest.raises(DatasetError, match="no photos there to pack"):
        pack(Listing((), "clean", paired=False), tmp_path / "new" / "p.h5")
    assert not (tmp_path / "new").exists()


def empty_file(part: Path) -> None:
    part.touch()


def garbage(part: Path) -> None:
    part.write_bytes(b"garbage")


def a_folder(part: Path) -> None:
    part.mkdir()


def a_piece_of_one(part: Path) -> None:
    with h5py.File(part, "w") as file:
        file["x"] = np.zeros(10_000)
    part.write_bytes(part.read_bytes()[:5000])


@pytest.mark.parametrize("spoil", [empty_file, garbage, a_folder, a_piece_of_one])
def test_a_damaged_part_is_named(pairs: Path, tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    spoil(tmp_path / "p.h5.part")
    with pytest.raises(DatasetError, match=r"p\.h5\.part: is damaged; remove it"):
        pack(open_listing(pairs), tmp_path / "p.h5", patch=16)


def test_a_disk_without_room_is_said_before_the_work(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil._ntuple_diskusage(10**9, 10**9, 1000)  # type: ignore[attr-defined]
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(OutputError, match=r"needs 0\.0 GB, 0\.0 GB are free"):
        pack(open_listing(pairs), tmp_path / "p.h5", patch=16)
    assert not list(tmp_path.glob("p.h5*"))


def test_hdf5_s_own_words_for_a_full_disk_are_put_into_ours(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise RuntimeError("Can't write (file write failed: errno = 28, error message = 'No space left on device')")

    monkeypatch.setattr("resharp.data.packing._lay_out", full)
    with pytest.raises(OutputError, match="the disk is full; free some space"):
        pack(open_listing(pairs), tmp_path / "p.h5", patch=16)
    assert not list(tmp_path.glob("p.h5*"))


def replaced(name: str, values: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        if values is not None:
            file[name] = values

    change.__name__ = f"{name} {np.shape(values)}"  # type: ignore[arg-type]
    return change


def told(name: str, value: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file.attrs[name] = value

    change.__name__ = f"{name}={value}"
    return change


def without_fingerprint(file: h5py.File) -> None:
    del file.attrs["fingerprint"]


CRAFTED = [
    replaced("sharp", None),
    replaced("blur", None),
    replaced("sharp_origin", None),
    replaced("photos", None),
    replaced("photos", "no JSON"),
    replaced("photos", "[" * 100_000),
    replaced("photos", '{"a": 1}'),
    replaced("photos", "[]"),
    replaced("sharp", np.zeros((60, 3, 16, 8), np.uint8)),
    replaced("sharp", np.zeros((59, 3, 16, 16), np.uint8)),
    replaced("sharp", np.zeros((60, 3, 16, 16), np.float32)),
    replaced("sharp", np.uint8(3)),
    replaced("sharp_origin", np.zeros((60, 2), np.int32)),
    replaced("sharp_origin", np.full((60, 3), -1, np.int32)),
    replaced("sharp_origin", np.full((60, 3), 99, np.int32)),
    told("patch", "big"),
    told("patch", 0),
    told("stride", "x"),
    told("format", "1"),
    without_fingerprint,
]


@pytest.mark.parametrize("craft", CRAFTED, ids=lambda craft: craft.__name__)
def test_a_pack_that_does_not_hold_what_it_says_is_refused_when_opened(
    pairs: Path, tmp_path: Path, craft: Callable[[h5py.File], None]
) -> None:
    path = tmp_path / "p.h5"
    pack(open_listing(pairs), path, patch=16, stride=10)
    with h5py.File(path, "r+") as file:
        craft(file)
    with pytest.raises(DatasetError, match="is no sound pack") as error:
        Pack(path)
    assert "\n" not in str(error.value)


def test_a_pack_is_known_by_its_first_bytes(pairs: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    pack(open_listing(pairs), path, patch=16, stride=10)
    for name in ("P.HDF5", "pack.data"):
        assert len(open_source(str(path.rename(tmp_path / name)))) == 60
        path = tmp_path / name


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_workers_end_with_the_process_that_started_them() -> None:
    program = """
import os, signal, time
from resharp.data.workers import in_order
if __name__ == "__main__":
    for pid in in_order(abs, range(3), 1):
        import multiprocessing
        print(multiprocessing.active_children()[0].pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
    until = time.monotonic() + 30
    while is_running(worker) and time.monotonic() < until:
        time.sleep(0.02)
    assert not is_running(worker)


def is_running(pid: int) -> bool:
    """One that has ended, and whom nobody has asked yet, does not count."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.strip().startswith("Z")
