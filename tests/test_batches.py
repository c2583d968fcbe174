"""Batches of what no pair holds: photos that do not belong together, second inputs, 16 bits."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from resharp.data.beside import Beside
from resharp.data.in_step import finished
from resharp.data.loading import Stream, batches
from resharp.data.plan import plan_from
from resharp.data.sources import open_source
from resharp.data.synthesis import Synthesis, as_unit, open_sources
from resharp.device import copied_ahead
from resharp.errors import DatasetError
from resharp.photo import Photo, write_photo
from tests.conftest import rand

UNTOUCHED = plan_from({"crop": 16, "variants": [{"steps": []}]})


def write(folder: Path, count: int, *, first: int = 0, depth: int = 8) -> Path:
    for number in range(count):
        picture = rand(3, 24, 30, seed=first + number).float()
        write_photo(Photo(picture, depth=depth), folder / f"{number}.png")
    return folder


def test_halves_of_unequal_length_are_read_each_in_its_own_order(tmp_path: Path) -> None:
    """A folder of five blurry and three sharp photos, which are no pairs, and a folder of blurry ones alone."""
    write(tmp_path / "both" / "blur", 5, first=10)
    write(tmp_path / "both" / "sharp", 3)
    with pytest.raises(DatasetError, match="without a partner"):
        open_source(tmp_path / "both")
    halves = [open_sources([tmp_path / "both"], UNTOUCHED, half=half)[0] for half in ("degraded", "clean")]
    assert [len(half) for half in halves] == [5, 3]
    assert not any(half.is_real for half in halves)
    write(tmp_path / "RWBI", 4, first=20)
    assert len(open_source(tmp_path / "RWBI", half="degraded")) == 4
    assert len(open_source(write(tmp_path / "phone", 2), half="degraded")) == 2
    with pytest.raises(DatasetError, match="holds no clean photos to learn from"):
        open_source(tmp_path / "RWBI", half="clean")
    degraded, clean = (Synthesis([(1, half)], UNTOUCHED, seed=seed) for seed, half in enumerate(halves))
    stream = Stream(clean, degraded=degraded)
    seen = [stream.photos(number) for number in range(15)]
    assert {one for one, _ in seen} == {f"blur/{n}.png" for n in range(5)}
    assert {other for _, other in seen} == {f"sharp/{n}.png" for n in range(3)}
    assert len(set(map(tuple, seen))) > 5, "each blurry photo meets several sharp ones"
    whole = list(batches(clean, batch_size=3, stop=9, degraded=degraded))
    assert [sorted(batch) for batch in whole] == [["degraded", "unpaired"]] * 3
    (late,) = batches(clean, batch_size=3, start=6, stop=9, degraded=degraded)
    assert all(torch.equal(late[name], whole[2][name]) for name in late)


@pytest.mark.parametrize("n_workers", [0, 1])
def test_a_second_input_goes_through_crops_turns_and_workers_with_its_photo(tmp_path: Path, n_workers: int) -> None:
    """The map is the photo itself, once as a picture, once as an array: it has to stay so."""
    write(tmp_path / "photos", 3)
    (tmp_path / "arrays").mkdir()
    for number in range(3):
        pixels = cv2.imread(str(tmp_path / "photos" / f"{number}.png"))[..., ::-1].astype(np.float32) / 255
        np.save(
            tmp_path / "arrays" / f"{number}.npy", np.concatenate([pixels, pixels[..., :1]], axis=2).transpose(2, 0, 1)
        )
    (source,) = open_sources([tmp_path / "photos"], UNTOUCHED)
    beside = {
        "picture": Beside("picture", tmp_path / "photos", source),
        "array": Beside("array", tmp_path / "arrays", source),
    }
    synthesis = Synthesis([(1, source)], UNTOUCHED, seed=3, beside=beside)
    for batch in batches(synthesis, batch_size=3, stop=9, n_workers=n_workers):
        assert torch.equal(batch["picture"], batch["clean"])
        assert batch["array"].shape == (3, 4, 16, 16)
        torch.testing.assert_close(batch["array"][:, :3], batch["clean"] / 255)


def test_second_inputs_that_do_not_fit_are_named(tmp_path: Path) -> None:
    (source,) = open_sources([write(tmp_path / "photos", 3)], UNTOUCHED)
    with pytest.raises(DatasetError, match=r"maps: lacks 1 of 3 \(2\.png\)"):
        Beside("maps", write(tmp_path / "maps", 2), source)
    with pytest.raises(DatasetError, match="no such folder"):
        Beside("maps", tmp_path / "nowhere", source)
    (tmp_path / "small").mkdir()
    for number in range(3):
        np.save(tmp_path / "small" / f"{number}.npy", np.zeros((1, 12, 15), np.uint8))
    synthesis = Synthesis([(1, source)], UNTOUCHED, beside={"maps": Beside("maps", tmp_path / "small", source)})
    with pytest.raises(
        DatasetError, match=r"small/\d\.npy: is \(1, 12, 15\), and its photo wants \(channels, 24, 30\)"
    ):
        next(batches(synthesis, batch_size=1, stop=1))


def test_arrays_that_are_none_are_named(tmp_path: Path) -> None:
    (source,) = open_sources([write(tmp_path / "photos", 3)], UNTOUCHED)
    folder, plane = tmp_path / "maps", rand(2, 24, 30).numpy()
    folder.mkdir()
    for number in range(3):
        np.savez_compressed(folder / f"{number}.npz", plane)
    beside, whole = Beside("maps", folder, source), (folder / "0.npz").read_bytes()
    assert torch.equal(beside.read(source.name(0), (24, 30)), torch.from_numpy(plane).float())

    def refusal() -> str:
        with pytest.raises(DatasetError) as refused:
            beside.read(source.name(0), (24, 30))
        return str(refused.value)

    np.savez(folder / "0.npz", plane, plane)
    assert "it holds 2 arrays, and one is wanted" in refusal()
    np.savez(folder / "0.npz", np.array(["words"]))
    assert "0.npz: holds <U5; numbers are wanted" in refusal()
    np.savez(folder / "0.npz", plane[:1])
    assert "0.npz: has 1 planes, others have 2; make all alike" in refusal()
    for broken in (whole[:-40], whole[:100] + bytes(40) + whole[140:], b"no array"):
        (folder / "0.npz").write_bytes(broken)
        assert "0.npz: cannot be read as an array" in refusal()


def test_sixteen_bits_reach_the_batch_and_eight_stay_bytes(tmp_path: Path) -> None:
    """Of deep sources alone: data on the disk and their fingerprints are as before."""
    picture = rand(3, 24, 30).mul(65535).round().div(65535).float()
    write_photo(Photo(picture, depth=16), tmp_path / "deep" / "0.png")
    steps = {"crop": 16, "flips": False, "turns": False, "variants": [{"steps": [{"kind": "noise", "sigma": 0.001}]}]}
    for is_deep, dtype in ((True, torch.float32), (False, torch.uint8)):
        (source,) = open_sources([tmp_path / "deep"], plan_from(steps), deep=is_deep)
        synthesis = Synthesis([(1, source)], plan_from(steps))
        sample = synthesis.sample(0, 0)
        assert sample.degraded.dtype == sample.clean.dtype == dtype
    (source,) = open_sources([tmp_path / "deep"], plan_from(steps), deep=True)
    sample = Synthesis([(1, source)], plan_from(steps)).sample(0, 0)
    top, left, rows, columns = sample.drawn.cut.crop
    torch.testing.assert_close(sample.clean, picture[:, top : top + rows, left : left + columns], atol=1e-7, rtol=0)
    spread = (sample.degraded - sample.clean).std()
    assert float(spread) == pytest.approx(0.001, rel=0.1), "less than a level of eight bits, and there"
    write(tmp_path / "mixed", 1)
    write_photo(Photo(picture, depth=16), tmp_path / "mixed" / "1.png")
    (both,) = open_sources([tmp_path / "mixed"], UNTOUCHED, deep=True)
    batch = next(batches(Synthesis([(1, both)], UNTOUCHED), batch_size=2, stop=2))
    assert batch["clean"].dtype == torch.float32
    assert 0.4 < float(batch["clean"].mean()) < 0.6


SHAKEN = [
    {"kind": "shake", "extent": [2.0, 9.0], "n_objects": [0, 1], "photons": 3000.0},
    {"kind": "downscale", "factor": 2},
]
TREMBLED = [{"kind": "trajectory", "length": 9.0, "probability": 0.7}, {"kind": "downscale", "factor": 2}]


def test_the_next_batch_is_copied_while_a_step_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams that note what is asked of them: a step waits for its own copies, which were asked for a step before, and
    each tensor of the batch is the step's from then on."""
    heard: list[object] = []

    class Copying:
        def __init__(self, device: object) -> None:
            self.n_copied = 0

        def record_event(self) -> int:
            heard.append(f"copied {self.n_copied}")
            self.n_copied += 1
            return self.n_copied - 1

    @contextlib.contextmanager
    def current(stream: Copying) -> Iterator[None]:
        heard.append("aside")
        yield
        heard.append("back")

    working = SimpleNamespace(wait_event=lambda number: heard.append(f"wait {number}"))
    monkeypatch.setattr(torch.cuda, "Stream", Copying)
    monkeypatch.setattr(torch.cuda, "stream", current)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: working)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: heard.append("pinned") or self)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device, non_blocking: (heard.append("copy"), self.clone())[1])
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: heard.append(stream is working))
    given = [{"a": rand(2, seed=number), "b": [rand(3, seed=number)]} for number in range(3)]
    for number, batch in enumerate(copied_ahead(iter(given), torch.device("cuda"))):
        heard.append(f"step {number}")
        assert torch.equal(batch["a"], given[number]["a"])
        assert torch.equal(batch["b"][0], given[number]["b"][0])

    def copy(number: int) -> list[object]:
        return ["aside", *("pinned", "copy") * 2, f"copied {number}", "back"]

    def step(number: int) -> list[object]:
        return [f"wait {number}", True, True, f"step {number}"]

    assert heard == [*copy(0), *copy(1), *step(0), *copy(2), *step(1), *step(2)]


@pytest.mark.parametrize("n_workers", [0, 1])
def test_what_the_loader_draws_is_done_in_the_step(tmp_path: Path, n_workers: int) -> None:
    """Crops at borders and in the middle, turned, of two variants, with noise of a level that is told."""
    for number in range(3):
        smooth = torch.nn.functional.avg_pool2d(rand(3, 54, 64, seed=number).float(), 5, 1)
        write_photo(Photo(smooth), tmp_path / f"{number}.png")
    values = {"crop": 16, "margin": 8, "variants": [{"steps": steps} for steps in (SHAKEN, TREMBLED)]}
    plan = plan_from(values)
    synthesis = Synthesis([(1, source) for source in open_sources([tmp_path], plan)], plan, seed=2)
    settings = {"batch_size": 7, "stop": 14, "noise_sigma": (0.0, 0.1), "noise": ("white", 2)}
    whole = list(batches(synthesis, **settings))
    apart = list(batches(synthesis, **settings, in_step=True, n_workers=n_workers))
    devices = [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
    pairs = (
        (theirs, drawn) for device in devices for theirs, drawn in zip(whole, copied_ahead(apart, device), strict=True)
    )
    for theirs, drawn in pairs:
        ours = {name: part.cpu() for name, part in finished(drawn).items()}
        assert ours.keys() == theirs.keys() == {"degraded", "clean", "sigma", "noise"}
        for name, part in ours.items():
            wanted = as_unit(theirs[name])
            far = (part - wanted).abs()
            assert part.shape == wanted.shape
            assert float(far.max()) < 1.01 / 255, "a level, where rounding goes the other way"
            assert float((far > 1e-4).float().mean()) < 2e-3
