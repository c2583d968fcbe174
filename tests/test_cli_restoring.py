"""Commands that restore as a user meets them: photos, folders, mistakes."""

import json
import os
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import resharp
from resharp.models import Card, contract_of, save_model
from resharp.networks import UNet
from tests.conftest import Run, rand
from tests.processes import begun, command

FAST = ("--iterations", "2")


class Doubled(nn.Module):
    """An upscaler of one's own."""

    scale, multiple_of, halo = 2, 1, 0

    def forward(self, image: Tensor) -> Tensor:
        return image.repeat_interleave(2, -1).repeat_interleave(2, -2)


def unet() -> UNet:
    network = UNet(widths=[4, 8], blocks=[1, 1], generator=torch.Generator().manual_seed(1))
    for parameter in network.parameters():
        parameter.data.add_(0.05 * rand(*parameter.shape, dtype=torch.float32))
    return network


def saved(network: nn.Module, path: Path, task: str = "deblur", kind: str = "unet") -> Path:
    card = Card(kind, getattr(network, "arguments", {}), contract_of(network, task))
    save_model(network, path, card)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(unet(), tmp_path / "model.safetensors")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    resharp.write_photo(resharp.Photo(rand(3, 32, 40).float()), path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photos in two folders, two of them of one name, and what systems leave."""
    place = tmp_path / "in"
    for index, name in enumerate(("a/1.png", "b/1.png", "b/2.jpg")):
        resharp.write_photo(resharp.Photo(rand(3, 24, 32, seed=index).float()), place / name)
    (place / ".DS_Store").write_text("x")
    return place


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def names(folder: Path) -> list[str]:
    return [name for name in sorted(files(folder)) if not name.startswith(".")]


# --- one photo --------------------------------------------------------------------------------------------------------


def test_deblur_does_what_the_function_does(run: Run, photo: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "a.png"
    done = run("deblur", photo, "-o", out, "--model", model, "--device", "cpu")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{photo} -> {out}  (")
    expected = resharp.deblur(resharp.read_photo(photo).image, model=model)
    assert float((resharp.read_photo(out).image - expected).abs().max()) <= 0.5 / 255 + 1e-6


def test_deconvolve_does_what_the_function_does(run: Run, photo: Path, tmp_path: Path) -> None:
    words = ("deconvolve", photo, "-o", tmp_path / "a.png", "--kernel", "gaussian:1", "--noise-sigma", 0.01, *FAST)
    assert (run(*words).code, run(*words).err) == (0, "")
    expected = resharp.deconvolve(resharp.read_photo(photo).image, "gaussian:1", 0.01, n_iterations=2)
    assert float((resharp.read_photo(tmp_path / "a.png").image - expected).abs().max()) <= 0.5 / 255 + 1e-6


def test_every_option_of_deconvolve_changes_the_result(run: Run, photo: Path, tmp_path: Path) -> None:
    skewed = np.zeros((3, 3))
    skewed[0, :2] = 1
    np.save(tmp_path / "k.npy", skewed)
    base = ("deconvolve", photo, "--kernel", tmp_path / "k.npy", *FAST)
    variants = [(), ("--iterations", 3), ("--noise-sigma", 0.02), ("--gamma", 2.2), ("--flip-kernel",)]
    variants += [("--solver", "dmsp"), ("--solver", "dmsp", "--seed", 1)]
    for index, variant in enumerate(variants):
        assert run(*base, "-o", tmp_path / f"{index}.tif", *variant).code == 0
    assert len({(tmp_path / f"{index}.tif").read_bytes() for index in range(len(variants))}) == len(variants)


def test_denoise_takes_the_levels_of_the_model(run: Run, photo: Path, tmp_path: Path) -> None:
    assert run("denoise", photo, "-o", tmp_path / "a.png").code == 0
    expected = resharp.denoise(resharp.read_photo(photo).image)
    assert float((resharp.read_photo(tmp_path / "a.png").image - expected).abs().max()) <= 0.5 / 255 + 1e-6
    assert run("denoise", photo, "-o", tmp_path / "c.png", "--noise-sigma", 0.1).code == 0
    done = run("denoise", photo, "-o", tmp_path / "b.png", "--noise-sigma", 0.1, "--model", "dae-sigma11")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "dae-sigma11 cannot be told noise_sigma" in done.err


def test_upscale_with_a_network_of_ones_own(run: Run, photo: Path, tmp_path: Path) -> None:
    code = f"{__name__}:Doubled"
    weights = saved(Doubled(), tmp_path / "double.safetensors", "upscale", code)
    done = run("upscale", photo, "-o", tmp_path / "a.png", "--model", weights)
    assert (done.code, f"--network {code}" in done.err) == (2, True)
    assert run("upscale", photo, "-o", tmp_path / "a.png", "--model", weights, "--network", code).code == 0
    assert resharp.read_photo(tmp_path / "a.png").image.shape == (3, 64, 80)
    assert run("upscale", photo, "-o", tmp_path / "b.png").code == 0
    assert resharp.read_photo(tmp_path / "b.png").image.shape == (3, 128, 160)
    done = run("upscale", photo, "-o", tmp_path / "c.png", "--model", "dbgan")
    assert (done.code, "is for the task 'deblur', not for 'upscale'" in done.err) == (2, True)


@pytest.mark.parametrize("kind", ["grey 16", "rgba", "grey alpha"])
def test_depth_grey_and_transparency_stay(run: Run, model: Path, tmp_path: Path, kind: str) -> None:
    depth = np.uint16 if "16" in kind else np.uint8
    n_planes = {"grey 16": 1, "rgba": 4, "grey alpha": 2}[kind]
    pixels = np.random.default_rng(0).integers(0, np.iinfo(depth).max, (3, 50, n_planes)).astype(depth)
    if kind == "grey alpha":
        Image.fromarray(pixels, "LA").save(tmp_path / "in.png")
    else:
        cv2.imwrite(str(tmp_path / "in.png"), pixels)
    assert run("deblur", tmp_path / "in.png", "-o", tmp_path / "out.png", "--model", model).code == 0
    before, after = (resharp.read_photo(tmp_path / f"{name}.png") for name in ("in", "out"))
    assert (after.image.shape, after.depth, after.grey) == (before.image.shape, before.depth, before.grey)
    assert (after.alpha is None) == (before.alpha is None)
    if before.alpha is not None and after.alpha is not None:
        assert torch.equal(after.alpha, before.alpha)


def test_quality_is_of_jpeg(run: Run, photo: Path, model: Path, tmp_path: Path) -> None:
    for quality in (20, 90):
        words = ("deblur", photo, "-o", tmp_path / f"{quality}.jpg", "--model", model, "--quality", quality)
        assert run(*words).code == 0
    assert (tmp_path / "20.jpg").stat().st_size < (tmp_path / "90.jpg").stat().st_size
    done = run("deblur", photo, "-o", tmp_path / "a.png", "--model", model, "--quality", 20)
    assert (done.code, "--quality is of JPEG and WebP" in done.err) == (2, True)


# --- many photos ------------------------------------------------------------------------------------------------------


def test_a_folder_is_mirrored_and_gone_on_with(run: Run, folder: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("deblur", folder, "-o", out, "--model", model)
    done = run(*words)
    assert (done.code, done.out.partition("  (")[0]) == (0, f"3 photos restored, in {out}")
    assert done.err == "resharp: passed over 1 file that systems leave among photos (.DS_Store)\n"
    assert names(out) == ["a/1.png", "b/1.png", "b/2.jpg"]
    assert run(*words).out == "nothing to do: 3 photos are there already\n"
    (out / "b" / "1.png").unlink()
    assert "1 photo restored" in run(*words).out
    made = json.loads(run(*words, "--quality", 50, "--json").out)
    assert [photo["kept"] for photo in made["photos"]] == [False] * 3  # other pictures: the settings count


def test_what_is_there_can_be_left_as_it_is(run: Run, folder: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "a").mkdir(parents=True)
    (tmp_path / "out" / "a" / "1.png").write_bytes(b"mine")
    done = run("deblur", folder, "-o", tmp_path / "out", "--model", model, "--skip-existing", "--json")
    assert json.loads(done.out)["existing"] == [str(tmp_path / "out" / "a" / "1.png")]
    assert (tmp_path / "out" / "a" / "1.png").read_bytes() == b"mine"
    assert len(names(tmp_path / "out")) == 3


def test_shards_are_all_there_is(run: Run, folder: Path, model: Path, tmp_path: Path) -> None:
    words = ("deblur", folder, "-o", tmp_path / "out", "--model", model, "--shard")
    found = [len(json.loads(run(*words, f"{part}/2", "--json").out)["photos"]) for part in (1, 2)]
    assert sum(found) == len(names(tmp_path / "out")) == 3
    assert "name one of n parts" in run(*words, "3/2").err


def test_a_page_of_before_and_after(run: Run, folder: Path, model: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert run("deblur", folder, "-o", tmp_path / "out", "--model", model, "--report", page).code == 0
    assert page.read_text().count("b/2.jpg") >= 1
    done = run("deblur", folder, "-o", tmp_path / "out", "--model", model, "--report", tmp_path / "page.txt")
    assert "page.html" in done.err


def test_a_bad_photo_is_named_and_stops_no_other(run: Run, photo: Path, model: Path, tmp_path: Path) -> None:
    bad, second = tmp_path / "bad.jpg", tmp_path / "second.png"
    bad.write_bytes(b"no photo")
    second.write_bytes(photo.read_bytes())
    words = ("deblur", photo, bad, second, "-o", tmp_path / "out", "--model", model)
    done = run(*words)
    assert (done.code, done.out.partition("  (")[0]) == (2, f"2 photos restored, in {tmp_path / 'out'}")
    assert names(tmp_path / "out") == ["photo.png", "second.png"]
    done = run("deblur", bad, bad.parent / "no.png", "-o", tmp_path / "none" / "deep", "--model", model)
    assert (done.code, done.out, (tmp_path / "none").exists()) == (2, "", False)
    done = run(*words)
    assert done.err.splitlines()[-1] == f"resharp: 1 of 3 photos failed: {bad}"
    done = run(*words, "--json")
    assert (done.code, done.err) == (2, "")
    first, wrong, _ = json.loads(done.out)["photos"]
    assert (first["output"], first["model"], first["kept"]) == (str(tmp_path / "out" / "photo.png"), str(model), True)
    assert wrong["output"] is None
    assert "is not a JPEG" in wrong["error"]


def test_a_long_run_is_foretold(run: Run, folder: Path, model: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("resharp.cli._rows._LONG", 0.0)
    done = run("deblur", folder, "-o", tmp_path / "out", "--model", model, "--workers", 0)
    assert done.err.count("the other 2 photos will take about") == 1


def test_facts_are_in_the_json(run: Run, photo: Path, tmp_path: Path) -> None:
    done = run("deconvolve", photo, "-o", tmp_path / "o.png", "--kernel", "disk:1", *FAST, "--json")
    (record,) = json.loads(done.out)["photos"]
    assert 0 < record["noise_sigma"] < 1
    assert record["iterations"] == 2


def test_the_kernel_that_was_undone_is_kept(run: Run, photo: Path, tmp_path: Path) -> None:
    first, second, kept = tmp_path / "1.png", tmp_path / "2.png", tmp_path / "kernel.png"
    words = ("deconvolve", photo, *FAST, "--precision", "float32")
    assert run(*words, "-o", first, "--kernel", "motion:5,30", "--kernel-out", kept).code == 0
    assert run(*words, "-o", second, "--kernel", kept).code == 0
    difference = resharp.read_photo(first).image - resharp.read_photo(second).image
    assert float(difference.abs().max()) <= 1 / 255 + 1e-6


# --- mistakes ---------------------------------------------------------------------------------------------------------


def wrong_files(folder: Path) -> None:
    (folder / "text.png").write_text("hello")
    (folder / "cut.png").write_bytes((folder / "photo.png").read_bytes()[:-700])
    Image.fromarray(np.zeros((16, 16, 4), np.uint8)).save(folder / "alpha.png")
    np.save(folder / "even.npy", np.ones((4, 4)))
    np.save(folder / "large.npy", np.ones((33, 33)))
    (folder / "pickle.pth").write_bytes(b"\x80\x04\x95")
    (folder / "file").write_text("")
    broken = unet()
    broken.intro.weight.data.fill_(float("nan"))
    saved(broken, folder / "nan.safetensors")


DEBLUR = "deblur photo.png -o out.png --model model.safetensors"
KNOWN = "deconvolve photo.png -o out.png --kernel disk:1 --iterations 2"
MISTAKES = {
    "deblur no.png -o out.png --model model.safetensors": "no.png: no such file",
    "deblur text.png -o out.png --model model.safetensors": "text.png: is not a JPEG",
    "deblur cut.png -o out.png --model model.safetensors": "cut.png: is damaged or cut short",
    "deblur photo.png -o out.png --model dae-sigma11": "is for the task 'denoise', not for 'deblur'",
    "deblur photo.png -o out.png --model none": "none: no such model",
    "deblur photo.png -o out.png --model pickle.pth": "pickle",
    "deblur photo.png -o out.png --model nan.safetensors": "NaN",
    "deblur photo.png -o photo.png": "is one of the photos themselves",
    "deblur photo.png -o out.bmp": "out.bmp",
    "deblur alpha.png -o out.jpg --model model.safetensors": "transparency",
    "deblur photo.png alpha.png -o out.png": "need a folder",
    "deblur photo.png -o file/out.png --model model.safetensors": "a file stands where a folder belongs",
    "deblur photo.png": "Missing option '-o'",
    "deblur -o out.png": "Missing argument",
    f"{DEBLUR} --device abacus": "'cpu' always can",
    f"{DEBLUR} --precision half": "'half' is not one of",
    f"{DEBLUR} --tile 8": "tiles of 8 pixels",
    f"{DEBLUR} --tile x": "'x' is not a valid integer",
    f"{DEBLUR} --seed 5": "give --samples, too",
    f"{DEBLUR} --samples 2": "no dropout",
    f"{DEBLUR} --network tests.test_cli_restoring:Doubled": "is of network 'unet'",
    f"{KNOWN} --kernel large.npy": "larger than the photo (40x32)",
    f"{KNOWN} --kernel even.npy": "must be odd",
    f"{KNOWN} --kernel no.png": "no such kernel file",
    f"{KNOWN} --kernel estimate:x": "write estimate, or estimate:31",
    f"{KNOWN} --kernel estimate": "photo.png: a photo of 40x32 is too small to find a blur in",
    f"{KNOWN} --kernel estimate --flip-kernel": "is not turned",
    f"{KNOWN} --kernel-out photo.png": "is the photo or its result",
    "deblur photo.png -o out.png --trust-out out.png": "is the photo or its result",
    "deblur photo.png alpha.png -o out --trust-out trust.png": "is of one photo",
    f"{DEBLUR} --trust-out trust.png": "are of blind deblurring",
    f"{KNOWN} --noise-sigma 2.55": "2.55 levels = 0.01",
    f"{KNOWN} --noise-sigma -1": "0 or above",
    f"{KNOWN} --iterations 0": "at least 1",
    f"{KNOWN} --seed 9223372036854775808": "it must lie between 0 and 4294967295",
    f"{KNOWN} --model dbgan": "is for the task 'deblur', not for 'denoise'",
    f"{KNOWN} --nose-sigma 1": "noise-sigma",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes_are_one_line_and_change_nothing(
    run: Run, photo: Path, model: Path, tmp_path: Path, monkeypatch, words: str
) -> None:
    wrong_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = files(tmp_path)
    done = run(*words.split())
    assert (done.code, done.out) == (1 if "file/" in words else 2, ""), done.err
    assert MISTAKES[words] in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert files(tmp_path) == before


def test_json_also_for_mistakes_that_no_photo_made(run: Run, photo: Path, tmp_path: Path) -> None:
    for wrong in (("--seed", "abc"), ("--noise-sigma", 3), ("--model", "none")):
        done = run("deconvolve", photo, "-o", tmp_path / "o.png", "--kernel", "disk:1", "--json", *wrong)
        assert done.code == 2
        assert json.loads(done.out)["error"]


def test_what_cannot_be_written_is_found_before_the_work(run: Run, model: Path, tmp_path: Path, monkeypatch) -> None:
    Image.fromarray(np.zeros((24, 24, 4), np.uint8)).save(tmp_path / "in.png")
    monkeypatch.setattr("resharp.restorers.files.restore_photo", lambda *_, **__: pytest.fail("restored first"))
    done = run("deblur", tmp_path / "in.png", "-o", tmp_path / "o.jpg", "--model", model)
    assert (done.code, "transparency" in done.err) == (2, True)


def test_too_little_memory_is_one_line(run: Run, photo: Path, model: Path, tmp_path: Path, monkeypatch) -> None:
    def exhausted(_: UNet, image: Tensor, **__: object) -> Tensor:
        if image.shape[-1] == 32:
            return image  # the look at the network when it is opened
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")

    monkeypatch.setattr(UNet, "forward", exhausted)
    done = run("deblur", photo, "-o", tmp_path / "out.png", "--model", model, "--device", "cpu")
    assert (done.code, len(done.err.strip().splitlines())) == (1, 1)
    assert "not enough memory on cpu for a photo of 40x32" in done.err
    assert not (tmp_path / "out.png").exists()


def test_ctrl_c_leaves_whole_files_and_says_how_to_go_on(folder: Path, photo: Path, tmp_path: Path) -> None:
    """A real process and a real signal, in the middle of the iterations of the second photo."""
    out = tmp_path / "out"
    words = ("deconvolve", folder / "a", folder / "b", "-o", out, "--workers", "0", "--kernel", "disk:1")
    process = begun(command, *words, "--iterations", "60", folder=tmp_path)
    until = time.monotonic() + 100
    while not list(out.rglob("*.png")) and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(process.pid or 0, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 130
    last = (tmp_path / "stderr").read_text().strip().splitlines()[-1]
    assert last.startswith("resharp: interrupted; ")
    assert last.endswith("of 3 photos are done, the same command goes on")
    assert not list(out.rglob("*.part"))


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_no_photo_is_lost_through_links_between_inputs(run: Run, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "other.png").symlink_to(photo)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "photo.png").write_bytes(photo.read_bytes())
    before = photo.read_bytes()
    done = run("deblur", tmp_path / "in" / "photo.png", tmp_path / "links" / "other.png", "-o", tmp_path)
    assert done.code == 2
    assert photo.read_bytes() == before


def test_lost_pixels_and_mosaics(run: Run, photo: Path, tmp_path: Path) -> None:
    lost = torch.zeros(1, 32, 40)
    lost[:, 10:12] = 1
    resharp.write_photo(resharp.Photo(lost), tmp_path / "mask.png")
    assert run("inpaint", photo, "-o", tmp_path / "whole.png", "--mask", tmp_path / "mask.png").code == 0
    before, after = resharp.read_photo(photo).image, resharp.read_photo(tmp_path / "whole.png").image
    assert torch.equal((before != after).any(0), lost[0] > 0)
    resharp.write_photo(resharp.Photo(resharp.Mosaic("BGGR")(before)), tmp_path / "raw.png")
    done = run("demosaic", tmp_path / "raw.png", "-o", tmp_path / "photo.png", "--pattern", "BGGR")
    assert done.code == 0, done.err
    assert torch.equal(
        resharp.Mosaic("BGGR")(resharp.read_photo(tmp_path / "photo.png").image), resharp.Mosaic("BGGR")(before)
    )
    refused = run("demosaic", photo, "-o", tmp_path / "c.png")
    assert refused.code == 2
    assert "one plane" in refused.err
