"""Samples are a pure function of (seed, epoch, index), and what was drawn makes them again."""

import collections
import functools
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from torch import Tensor

from resharp.data.listing import Item
from resharp.data.loading import batches, is_worker_death
from resharp.data.manifest import load_manifest
from resharp.data.plan import load_plan, plan_from
from resharp.data.sources import PhotoFiles, open_source
from resharp.data.synthesis import Drawn, Sample, Synthesis, open_synthesis, sample_generator
from resharp.data.writing import write_samples
from resharp.degradations import resize_as_matlab
from resharp.errors import ArgumentError, DatasetError, PhotoError, RecipeError
from resharp.photo import Photo, write_photo
from tests.conftest import rand
from tests.processes import begun, command

SHAKEN = {"kind": "shake", "extent": [2.0, 10.0], "n_objects": 1, "read_noise": 0.01}
PLAN: dict[str, Any] = {
    "crop": 32,
    "margin": 8,
    "variants": [
        {"weight": 2, "steps": [SHAKEN, {"kind": "jpeg", "quality": [60, 95], "probability": 0.5}]},
        {"steps": [{"kind": "trajectory", "length": 20.0}, {"kind": "noise", "sigma": [0.0, 0.02]}]},
    ],
}
UNTOUCHED: dict[str, Any] = {"crop": 16, "variants": [{"steps": []}]}
COPY = {"crop": 16, "variants": [{"steps": [{"kind": "noise", "sigma": 0.0}]}]}


def smooth(seed: int, height: int = 60, width: int = 70) -> Tensor:
    """Something like a photo, (3, height, width)."""
    noise = rand(3, height + 6, width + 6, seed=seed, dtype=torch.float32)
    return torch.nn.functional.avg_pool2d(noise, 7, stride=1)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number in range(5):
        write_photo(Photo(smooth(number)), folder / f"{number}.png")
    return folder


@pytest.fixture
def real(tmp_path: Path) -> Path:
    folder = tmp_path / "real"
    for number in range(2):
        for kind, seed in (("blur", 50), ("sharp", 90)):
            write_photo(Photo(smooth(number + seed)), folder / kind / f"{number}.png")
    return folder


def made(places: list[Path], plan: dict[str, Any] = PLAN, **settings: Any) -> Synthesis:
    return open_synthesis(places, plan_from(plan), **settings)


def digest(sample: Sample) -> str:
    return hashlib.sha256(sample.degraded.numpy().tobytes() + sample.clean.numpy().tobytes()).hexdigest()


def test_a_sample_depends_on_seed_epoch_and_index_alone(photos: Path) -> None:
    forth = [digest(made([photos], seed=3).sample(1, index)) for index in range(5)]
    synthesis = made([photos], seed=3)
    back = [digest(synthesis.sample(1, index)) for index in reversed(range(5))]
    assert forth == back[::-1]
    others = [made([photos], seed=4).sample(1, 0), synthesis.sample(2, 0), synthesis.sample(1, 1)]
    assert len({forth[0], *map(digest, others)}) == 4


def test_the_number_of_threads_changes_no_byte(tmp_path: Path) -> None:
    """On photos large enough for torch and OpenCV to share them out."""
    for number in range(3):
        write_photo(Photo(smooth(number, 300, 360)), tmp_path / f"{number}.png")
    digests, before = [], (torch.get_num_threads(), cv2.getNumThreads())
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        cv2.setNumThreads(n_threads)
        synthesis = made([tmp_path], PLAN | {"crop": 0, "margin": 0})
        digests.append([digest(synthesis.sample(0, index)) for index in range(3)])
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])
    assert digests[0] == digests[1]


def test_what_was_drawn_survives_json_and_makes_the_same_bytes(photos: Path) -> None:
    synthesis = made([photos], seed=1)
    for index in range(5):
        sample = synthesis.sample(0, index)
        again = Drawn.from_json(json.loads(json.dumps(sample.drawn.as_json())))
        assert again == sample.drawn
        assert digest(synthesis.replay(again)) == digest(sample)


def test_an_edited_draw_is_what_is_done(photos: Path) -> None:
    synthesis = made([photos])
    values = synthesis.draw(0, 0).as_json() | {"steps": []}
    sample = synthesis.replay(Drawn.from_json(json.loads(json.dumps(values))))
    assert torch.equal(sample.degraded, sample.clean)


def test_every_photo_comes_once_an_epoch_in_a_new_order(photos: Path) -> None:
    synthesis = made([photos])
    orders = [[synthesis.draw(epoch, index).cut.number for index in range(5)] for epoch in range(4)]
    assert all(sorted(order) == list(range(5)) for order in orders)
    assert len(set(map(tuple, orders))) > 1


def test_sources_are_mixed_exactly_by_weight(photos: Path, real: Path) -> None:
    synthesis = made([photos, real], weights=[2, 1])
    assert len(synthesis) == 9
    draws = [synthesis.draw(0, index) for index in range(9)]
    assert collections.Counter(one.cut.source for one in draws) == {0: 6, 1: 3}
    assert all(bool(one.steps) == (one.cut.source == 0) for one in draws)
    kinds = collections.Counter(one.steps[0].kind for one in draws if one.steps)
    assert kinds == {"shake": 4, "trajectory": 2}


def test_real_pairs_are_cut_at_one_place(real: Path) -> None:
    synthesis = made([real], UNTOUCHED | {"turns": True})
    source = open_source(real)
    for index in range(2):
        sample = synthesis.sample(0, index)
        cut = sample.drawn.cut
        for pixels, photo in zip((sample.degraded, sample.clean), source.read(cut.number), strict=True):
            assert photo is not None
            top, left, rows, columns = cut.crop
            expected = torch.rot90(photo[:, top : top + rows, left : left + columns], cut.turn, (-2, -1))
            assert torch.equal(pixels, expected.flip(-1) if cut.flip else expected)


def test_turns_and_flips_can_be_left_out(photos: Path) -> None:
    plain = made([photos], COPY | {"turns": False, "flips": False})
    assert all(plain.draw(e, i).cut.turn == 0 and not plain.draw(e, i).cut.flip for e in range(4) for i in range(5))
    turned = made([photos], COPY)
    cuts = [turned.draw(e, i).cut for e in range(8) for i in range(5)]
    assert {cut.turn for cut in cuts} == {0, 1, 2, 3}
    assert {cut.flip for cut in cuts} == {False, True}


def test_the_margin_brings_in_what_lies_beyond_the_crop(photos: Path) -> None:
    """With a margin as large as the blur reaches, a cropped sample equals the crop of the whole photo blurred."""
    steps = {"variants": [{"steps": [{"kind": "blur", "kernel": "motion:9,30"}]}], "turns": False, "flips": False}
    whole, cropped = made([photos], steps | {"crop": 0}), made([photos], steps | {"crop": 20, "margin": 6})
    for index in range(5):
        sample = cropped.sample(0, index)
        top, left, rows, columns = sample.drawn.cut.crop
        everything = next(
            s for s in map(whole.sample, [0] * 5, range(5)) if s.drawn.cut.photo == sample.drawn.cut.photo
        )
        expected = everything.degraded[:, top : top + rows, left : left + columns]
        assert int((sample.degraded.int() - expected.int()).abs().max()) <= 1
        assert torch.equal(sample.clean, everything.clean[:, top : top + rows, left : left + columns])


def test_half_size_is_the_whole_photo_resized_then_cut(photos: Path) -> None:
    plan = COPY | {"half": True, "turns": False, "flips": False}
    whole, cropped = made([photos], plan | {"crop": 0}), made([photos], plan)
    sizes = {whole.sample(0, index).clean.shape for index in range(5)}
    assert sizes == {(3, 30, 35)}
    for index in range(5):
        sample = cropped.sample(0, index)
        top, left, rows, columns = sample.drawn.cut.crop
        everything = next(
            s for s in map(whole.sample, [0] * 5, range(5)) if s.drawn.cut.photo == sample.drawn.cut.photo
        )
        assert torch.equal(sample.clean, everything.clean[:, top : top + rows, left : left + columns])


def test_downscaled_samples_have_the_sizes_of_super_resolution(photos: Path) -> None:
    sample = made([photos], {"crop": 32, "variants": [{"steps": [{"kind": "downscale"}]}]}).sample(0, 0)
    assert sample.degraded.shape == (3, 8, 8)
    assert sample.clean.shape == (3, 32, 32)


def test_photos_smaller_than_the_crop_give_their_turn_away(photos: Path) -> None:
    write_photo(Photo(smooth(9, 10, 10)), photos / "small.png")
    synthesis = made([photos])
    assert {synthesis.sample(0, index).clean.shape for index in range(6)} == {(3, 32, 32)}
    with pytest.raises(DatasetError, match="smaller than the crop of 64 pixels"):
        made([photos], PLAN | {"crop": 64}).sample(0, 0)


def test_batches_are_the_samples_of_a_run_wherever_it_starts(photos: Path) -> None:
    synthesis = made([photos])
    state = torch.get_rng_state()
    whole = torch.cat([batch["degraded"] for batch in batches(synthesis, batch_size=3, stop=12)])
    rest = torch.cat([batch["degraded"] for batch in batches(synthesis, batch_size=4, start=5, stop=12)])
    assert torch.equal(whole[5:], rest)
    assert torch.equal(whole[7], synthesis.sample(1, 2).degraded)
    assert torch.equal(torch.get_rng_state(), state)


def test_neighbouring_samples_draw_unrelated_numbers() -> None:
    draws = torch.stack(
        [
            torch.rand(64, generator=sample_generator(s, i, e))
            for s, i, e in [(0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1), (1, 1, 1), (2**62, 5, 9)]
        ]
    )
    correlation = torch.corrcoef(draws) - torch.eye(len(draws))
    assert float(correlation.abs().max()) < 0.5


def test_workers_a_kill_and_a_restart_change_no_byte(photos: Path, tmp_path: Path) -> None:
    def hashes(folder: Path) -> dict[str, str]:
        files = [file for file in folder.rglob("*") if file.is_file() and file.suffix in (".png", ".json")]
        return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}

    plan = tmp_path / "plan.toml"
    plan.write_text('crop = 32\nmargin = 8\n[[variants]]\nsteps = [{ kind = "shake", extent = [2.0, 10.0] }]\n')
    for n_workers in (0, 2):
        write_samples(
            open_synthesis([photos], load_plan(plan)), tmp_path / f"{n_workers}", count=24, n_workers=n_workers
        )
    words = ("data", "synthesize", photos, "-o", tmp_path / "killed", "--plan", plan, "--count", 24)
    process = begun(command, *words, folder=tmp_path)
    until = time.monotonic() + 60
    while len(list((tmp_path / "killed" / "drawn").glob("*.json"))) < 4 and time.monotonic() < until:
        time.sleep(0.001)
    process.kill()
    process.join()
    assert not (tmp_path / "killed" / "manifest.json").exists()
    write_samples(open_synthesis([photos], load_plan(plan)), tmp_path / "killed", count=24)
    expected = hashes(tmp_path / "0")
    assert len(expected) == 24 * 3 + 2
    for out in ("2", "killed"):
        assert hashes(tmp_path / out) == expected


def test_a_dataset_with_a_test_split_is_not_trained_on_whole(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for kind in ("blur", "sharp"):
            write_photo(Photo(smooth(3)), tmp_path / "GoPro" / split / "GOPR01" / kind / "1.png")
    with pytest.raises(DatasetError, match="has the splits test and train; choose one: --split"):
        made([tmp_path / "GoPro"], UNTOUCHED)
    assert len(made([tmp_path / "GoPro"], UNTOUCHED, split="train")) == 1
    with pytest.raises(DatasetError, match="no split 'valid'"):
        made([tmp_path / "GoPro"], UNTOUCHED, split="valid")


def test_beside_a_dataset_with_splits_plain_photos_are_taken_whole(photos: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        for kind in ("blur", "sharp"):
            write_photo(Photo(smooth(3)), tmp_path / "GoPro" / split / "GOPR01" / kind / f"{split}.png")
    pairs, clean = made([tmp_path / "GoPro", photos], split="train").sources
    assert (pairs.is_real, len(pairs), clean.is_real, len(clean)) == (True, 1, False, 5)
    assert "train" in pairs.name(0)
    with pytest.raises(DatasetError, match="no split 'train'"):
        made([photos, tmp_path / "GoPro"], split="train")
    with pytest.raises(DatasetError, match="has the splits test and train"):
        made([photos, tmp_path / "GoPro"])


def test_steps_that_no_photo_would_go_through_are_refused(photos: Path, real: Path) -> None:
    with pytest.raises(RecipeError, match=r"real: pairs, which are degraded already .* or name clean photos"):
        made([real])
    assert len(made([real, photos]).sources) == 2
    assert len(made([real], UNTOUCHED).sources) == 1


def test_every_variant_has_its_turn_over_the_epochs(photos: Path) -> None:
    kinds = ("jpeg", "noise", "defocus", "gaussian", "trajectory", "shake", "blur")
    synthesis = made([photos], {"crop": 32, "variants": [{"steps": [{"kind": kind}]} for kind in kinds]})
    seen = collections.Counter(synthesis.draw(e, i).steps[0].kind for e in range(7) for i in range(5))
    assert seen == dict.fromkeys(kinds, 5)


@pytest.mark.parametrize("crop", [0, 24])
def test_super_resolution_pairs_are_cut_out_of_the_whole_photo_s(photos: Path, crop: int) -> None:
    """With a margin the small photo has no borders of its own: it is a piece of the whole one made smaller."""
    plan = {"crop": crop, "margin": 24, "variants": [{"steps": [{"kind": "downscale"}]}]}
    for index in range(5):
        sample = made([photos], plan, seed=2).sample(0, index)
        height, width = (side // 4 for side in sample.clean.shape[-2:])
        assert sample.degraded.shape == (3, height, width)
        cut = sample.drawn.cut
        photo = open_source(photos).read(cut.number)[1]
        top, left = (corner % 4 for corner in cut.crop[:2])
        rows, columns = ((side - corner) // 4 * 4 for side, corner in zip(photo.shape[-2:], (top, left), strict=True))
        whole = resize_as_matlab(photo[:, top : top + rows, left : left + columns], 0.25)
        row, column = (corner // 4 for corner in cut.crop[:2])
        piece = whole[:, row : row + cut.crop[2] // 4, column : column + cut.crop[3] // 4]
        piece = torch.rot90(piece, cut.turn, (-2, -1))
        expected = piece.flip(-1) if cut.flip else piece
        inside = (slice(None), slice(2, -2), slice(2, -2))
        assert int((sample.degraded[inside].int() - expected[inside].int()).abs().max()) <= 1


def test_the_manifest_tells_scale_and_group(photos: Path, tmp_path: Path) -> None:
    plan = {"crop": 0, "variants": [{"steps": [{"kind": "downscale"}]}]}
    write_samples(made([photos], plan), tmp_path / "out", count=5)
    manifest = load_manifest(tmp_path / "out" / "manifest.json")
    assert manifest.scale == 4
    assert {entry.group for entry in manifest.items} == {f"{number}.png" for number in range(5)}


def test_a_folder_with_other_files_is_left_alone(photos: Path, tmp_path: Path) -> None:
    write_photo(Photo(smooth(1)), tmp_path / "out" / "blur" / "000000.png")
    before = (tmp_path / "out" / "blur" / "000000.png").read_bytes()
    with pytest.raises(DatasetError, match="holds other files"):
        write_samples(made([photos]), tmp_path / "out", count=1)
    assert (tmp_path / "out" / "blur" / "000000.png").read_bytes() == before


def test_a_folder_of_clean_photos_has_splits_too(tmp_path: Path) -> None:
    """Also where some stand in none: these are for training, and test photos are never taken unawares."""
    for number, place in enumerate(("train", "val", ".")):
        write_photo(Photo(smooth(number)), tmp_path / place / f"{number}.png")
    with pytest.raises(DatasetError, match="has the splits test and train"):
        made([tmp_path])
    for split, names in (("train", {"train/0.png", "2.png"}), ("test", {"val/1.png"})):
        (source,) = made([tmp_path], split=split).sources
        assert {source.name(index) for index in range(len(source))} == names
    (tmp_path / "train" / "0.png").unlink()
    with pytest.raises(DatasetError, match="has the splits test and train"):
        made([tmp_path])


def test_the_fingerprint_tells_pairs_of_other_blurs_apart(tmp_path: Path) -> None:
    clean, places = tmp_path / "sharp.png", [tmp_path / "linear.png", tmp_path / "gamma.png"]
    sources = [PhotoFiles([Item(place, clean)], tmp_path) for place in places]
    grouped = PhotoFiles([Item(places[0], clean, "video")], tmp_path)
    assert len({source.fingerprint() for source in (*sources, grouped)}) == 3


def test_pairs_and_downscaled_photos_make_no_batch(tmp_path: Path) -> None:
    for kind in ("blur", "sharp"):
        write_photo(Photo(smooth(3)), tmp_path / "pairs" / kind / "1.png")
    write_photo(Photo(smooth(4)), tmp_path / "clean" / "1.png")
    small = {"crop": 32, "variants": [{"steps": [{"kind": "downscale"}]}]}
    with pytest.raises(RecipeError, match="pairs keep their size beside photos that the plan downscales"):
        made([tmp_path / "clean", tmp_path / "pairs"], small)


@pytest.mark.parametrize("rounds", [1, 2])
@pytest.mark.parametrize("n_ranks", [2, 3])
def test_processes_share_each_batch_out(photos: Path, rounds: int, n_ranks: int) -> None:
    """Together they have the samples of one process, in its order, batch by batch."""
    draw = functools.partial(batches, made([photos]), batch_size=6, stop=24, rounds=rounds)
    shares = [list(draw(rank=rank, n_ranks=n_ranks)) for rank in range(n_ranks)]
    for step, whole in enumerate(draw()):
        for side in ("degraded", "clean"):
            parts = [share[step][side].chunk(rounds) for share in shares]
            joined = torch.cat([part[turn] for turn in range(rounds) for part in parts])
            assert torch.equal(joined, whole[side])
    assert all(len(share) == 4 // rounds for share in shares)


def test_what_a_worker_raises_is_not_its_death() -> None:
    try:
        raise RuntimeError("kernel has to be odd")
    except RuntimeError:
        passed_on = torch._utils.ExceptionWrapper(where="in DataLoader worker process 0")
    with pytest.raises(RuntimeError, match="kernel has to be odd") as caught:
        passed_on.reraise()
    assert not is_worker_death(caught.value)
    assert is_worker_death(RuntimeError("DataLoader worker (pid(s) 123) exited unexpectedly"))
    assert is_worker_death(RuntimeError("DataLoader worker (pid 123) is killed by signal: Killed."))


@pytest.mark.parametrize("n_workers", [0, 1])
def test_an_error_in_a_worker_comes_up_as_it_is(photos: Path, n_workers: int) -> None:
    for path in photos.iterdir():
        path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(PhotoError) as error:
        next(batches(made([photos]), batch_size=2, stop=4, n_workers=n_workers))
    assert "\n" not in str(error.value)


def test_the_dataset_may_move(photos: Path, tmp_path: Path) -> None:
    sample = made([photos], seed=1).sample(0, 3)
    moved = photos.rename(tmp_path / "elsewhere")
    assert digest(made([moved], seed=1).replay(sample.drawn)) == digest(sample)


def test_a_folder_begun_otherwise_is_left_alone(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert write_samples(made([photos]), out, count=3) == 0
    assert write_samples(made([photos]), out, count=5) == 3
    before = sorted(out.rglob("*"))
    with pytest.raises(DatasetError, match=r"begun otherwise \(seed differ"):
        write_samples(made([photos], seed=1), out, count=6)
    with pytest.raises(DatasetError, match=r"begun otherwise \(plan differ"):
        write_samples(made([photos], PLAN | {"crop": 16}), out, count=6)
    write_photo(Photo(smooth(7)), photos / "new.png")
    with pytest.raises(DatasetError, match=r"begun otherwise \(photos differ"):
        write_samples(made([photos]), out, count=6)
    assert sorted(out.rglob("*")) == before


def test_mixtures_that_make_no_sense(photos: Path, real: Path) -> None:
    with pytest.raises(ArgumentError, match="2 sources take as many weights or none, not 1"):
        made([photos, real], weights=[1])
    with pytest.raises(ArgumentError, match="each lies between 1 and 1000"):
        made([photos, real], weights=[1, 0])
    with pytest.raises(ArgumentError, match="seed is -1"):
        made([photos], seed=-1)
    with pytest.raises(DatasetError, match="pairs and lone photos"):
        PhotoFiles([Item(None, Path("a.png")), Item(Path("b.png"), Path("c.png"))])


def test_a_draw_of_another_dataset_is_refused(photos: Path) -> None:
    synthesis = made([photos])
    values = synthesis.draw(0, 0).as_json()
    other = Drawn.from_json(values | {"cut": values["cut"] | {"photo": "other.png"}})
    with pytest.raises(DatasetError, match=r"the sample means other\.png"):
        synthesis.replay(other)
    for wrong in ([], {"cut": {}}, values | {"cut": values["cut"] | {"turn": "left"}}, values | {"steps": [3]}):
        with pytest.raises(RecipeError):
            Drawn.from_json(wrong)


def test_fewer_samples_take_none_out_of_the_manifest(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for count, n_before in ((5, 0), (2, 2), (6, 5)):
        assert write_samples(made([photos]), str(out), count=count) == n_before
        assert len(load_manifest(out / "manifest.json").items) == max(5, count)


@pytest.mark.parametrize("name", ["blur/000001.png", "sharp/000001.png", "drawn/000001.json"])
@pytest.mark.parametrize("keep", [None, 0, 60])
def test_a_sample_that_lost_a_file_is_made_again(photos: Path, tmp_path: Path, name: str, keep: int | None) -> None:
    out = tmp_path / "out"
    write_samples(made([photos]), out, count=3)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    if keep is None:
        (out / name).unlink()
    else:
        (out / name).write_bytes(before[out / name][:keep])
    assert write_samples(made([photos]), out, count=3) == 2
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_folder_in_which_nothing_was_done_is_begun_anew(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(DatasetError, match="choose a smaller crop"):
        write_samples(made([photos], PLAN | {"crop": 512}), out, count=2)
    assert write_samples(made([photos]), out, count=2) == 0


@pytest.mark.parametrize("text", ["[]", "null", "{", "[" * 100_000])
def test_a_folder_that_does_not_tell_what_it_was_made_of(photos: Path, tmp_path: Path, text: str) -> None:
    out = tmp_path / "out"
    write_samples(made([photos]), out, count=1)
    (out / "synthesis.json").write_text(text)
    with pytest.raises(DatasetError, match=r"synthesis\.json: is damaged"):
        write_samples(made([photos]), out, count=1)


def test_an_absurd_count_is_refused_at_once(photos: Path, tmp_path: Path) -> None:
    for count in (0, 10**11):
        with pytest.raises(ArgumentError, match="ask for 1 to 10000000"):
            write_samples(made([photos]), tmp_path / "out", count=count)


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_a_name_that_no_file_can_hold_is_refused_at_once(photos: Path) -> None:
    (photos / "0.png").rename(Path(os.fsdecode(os.fsencode(photos) + b"/bad\xff.png")))
    with pytest.raises(DatasetError, match="its name is not in UTF-8; rename it"):
        made([photos])


def test_an_error_in_a_sample_names_its_photo(photos: Path) -> None:
    synthesis = made([photos], COPY)
    values = synthesis.draw(0, 0).as_json()
    values["steps"] = [{"kind": "downscale", "parameters": {"factor": 5}, "seed": 0}]
    with pytest.raises(ArgumentError, match=rf"^{values['cut']['photo']}: the sides of 16x16"):
        synthesis.replay(Drawn.from_json(json.loads(json.dumps(values))))
