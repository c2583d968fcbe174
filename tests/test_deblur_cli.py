"""`resharp deblur` as a user meets it."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import resharp
from resharp.networks import UNet
from resharp.restorers import deblur
from tests.conftest import Run, rand
from tests.test_deblurring import SMALL, saved

Arguments = list[object]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(SMALL["unet"](), tmp_path / "model.safetensors")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    resharp.write_photo(resharp.Photo(rand(3, 32, 40).float()), path)
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_command_does_what_the_function_does(run: Run, photo: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "a.png"
    done = run("deblur", photo, "-o", out, "--model", model)
    assert (done.code, done.err) == (0, "")
    assert str(out) in done.out
    expected = deblur(resharp.read_photo(photo).image, weights=model)
    assert float((resharp.read_photo(out).image - expected).abs().max()) <= 0.5 / 255 + 1e-6


def test_parts_give_the_same_picture(run: Run, model: Path, tmp_path: Path) -> None:
    photo = tmp_path / "large.png"
    resharp.write_photo(resharp.Photo(rand(3, 300, 310).float(), depth=16), photo)
    for name, extra in (("whole", ()), ("parts", ("--tile", 280))):
        done = run("deblur", photo, "-o", tmp_path / f"{name}.png", "--model", model, "--precision", "float32", *extra)
        assert done.code == 0, done.err
    pictures = [resharp.read_photo(tmp_path / f"{name}.png").image for name in ("whole", "parts")]
    assert float((pictures[0] - pictures[1]).abs().max()) <= 1 / 65535 + 1e-7


def test_samples(run: Run, photo: Path, model: Path, tmp_path: Path) -> None:
    gan = saved(SMALL["deblurgan"](), tmp_path / "gan.safetensors")
    done = run("deblur", photo, "-o", tmp_path / "a.png", "--model", gan, "--samples", 2, "--seed", 4)
    assert done.code == 0, done.err
    expected = deblur(resharp.read_photo(photo).image, weights=gan, samples=2, seed=4)
    assert float((resharp.read_photo(tmp_path / "a.png").image - expected).abs().max()) <= 0.5 / 255 + 1e-6
    done = run("deblur", photo, "-o", tmp_path / "b.png", "--model", model, "--samples", 2)
    assert done.code == 2
    assert "no dropout" in done.err
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize("size", [(1, 1), (3, 500)])
@pytest.mark.parametrize("kind", ["grey", "grey 16", "rgb 16", "rgba", "rgba 16", "grey alpha", "black"])
def test_size_depth_and_transparency_stay(
    run: Run, model: Path, tmp_path: Path, size: tuple[int, int], kind: str
) -> None:
    depth, draws = (np.uint16, 65536) if "16" in kind else (np.uint8, 256), np.random.default_rng(0)
    n = {"grey": 1, "rgb": 3, "rgba": 4, "black": 3}[kind.split()[0]] + ("alpha" in kind.split())
    pixels = draws.integers(0, depth[1], (*size, n)).astype(depth[0]) * (kind != "black")
    if kind == "grey alpha":
        Image.fromarray(pixels, "LA").save(tmp_path / "in.png")
    else:
        cv2.imwrite(str(tmp_path / "in.png"), pixels)
    done = run("deblur", tmp_path / "in.png", "-o", tmp_path / "out.png", "--model", model)
    assert (done.code, done.err) == (0, "")
    before, after = (resharp.read_photo(tmp_path / f"{name}.png") for name in ("in", "out"))
    assert (after.image.shape, after.depth, after.grey) == (before.image.shape, before.depth, before.grey)
    assert (after.alpha is None) == (before.alpha is None)
    if before.alpha is not None and after.alpha is not None:
        assert torch.equal(after.alpha, before.alpha)


def test_several_photos_and_json(run: Run, photo: Path, model: Path, tmp_path: Path) -> None:
    done = run("deblur", photo, tmp_path / "no.png", "-o", tmp_path / "out", "--model", model, "--json")
    assert (done.code, done.err) == (2, "")
    good, bad = json.loads(done.out)["photos"]
    assert good["output"] == str(tmp_path / "out" / "photo.png")
    assert good["model"] == str(model)
    assert "no such file" in bad["error"]


def bad_inputs(folder: Path, model: Path) -> dict[str, tuple[Arguments, str, int]]:
    """Arguments after `deblur`, words that the error must hold, the exit code."""
    photo, out = folder / "photo.png", folder / "out.png"
    (folder / "text.png").write_text("hello")
    (folder / "pickle.pth").write_bytes(b"\x80\x04\x95")
    (folder / "file").write_text("")
    Image.fromarray(np.zeros((4, 4, 4), np.uint8)).save(folder / "alpha.png")
    broken = SMALL["unet"]()
    assert isinstance(broken, UNet)
    broken.intro.weight.data.fill_(float("nan"))
    with_model: Arguments = ["--model", model]
    return {
        "missing photo": ([folder / "no.png", "-o", out, *with_model], "no such file", 2),
        "folder": ([folder, "-o", folder / "o.png", *with_model], "is a folder", 2),
        "no image": ([folder / "text.png", "-o", out, *with_model], "is not a JPEG", 2),
        "denoiser": ([photo, "-o", out, "--model", "dae-sigma11"], "is a denoiser ('dae')", 2),
        "unknown model": ([photo, "-o", out, "--model", "none"], "none: unknown weights", 2),
        "pickle": ([photo, "-o", out, "--model", folder / "pickle.pth"], "pickle", 2),
        "nan": ([photo, "-o", out, "--model", saved(broken, folder / "nan.safetensors")], "NaN", 2),
        "device": ([photo, "-o", out, *with_model, "--device", "abacus"], "'cpu' always can", 2),
        "precision": ([photo, "-o", out, *with_model, "--precision", "half"], "'half' is not one of", 2),
        "tile": ([photo, "-o", out, *with_model, "--tile", 8], "tiles of 8 pixels", 2),
        "seed of nothing": ([photo, "-o", out, *with_model, "--seed", 5], "give --samples, too", 2),
        "no number": ([photo, "-o", out, *with_model, "--tile", "x"], "'x' is not a valid integer", 2),
        "onto itself": ([photo, "-o", photo, *with_model], "is one of the photos themselves", 2),
        "alpha to jpeg": ([folder / "alpha.png", "-o", folder / "o.jpg", *with_model], "transparency", 2),
        "below a file": ([photo, "-o", folder / "file" / "o.png", *with_model], "a file stands where", 1),
        "no output": ([photo, *with_model], "Missing option '-o'", 2),
    }


CASES = [
    "missing photo", "folder", "no image", "denoiser", "unknown model", "pickle", "nan", "device", "precision", "tile",
    "seed of nothing", "no number", "onto itself", "alpha to jpeg", "below a file", "no output",
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_mistakes_are_named_and_change_nothing(run: Run, photo: Path, model: Path, tmp_path: Path, case: str) -> None:
    cases = bad_inputs(tmp_path, model)
    assert sorted(cases) == sorted(CASES)
    arguments, words, code = cases[case]
    before = files(tmp_path)
    done = run("deblur", *arguments)
    assert (done.code, done.out) == (code, ""), done.err
    assert words in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert files(tmp_path) == before


def test_a_photo_too_large_for_the_memory_does_not_stop_the_others(
    run: Run, photo: Path, model: Path, tmp_path: Path, monkeypatch
) -> None:
    whole, large = resharp.write_photo, tmp_path / "large.png"
    whole(resharp.Photo(rand(3, 70, 70).float()), large)

    def exhausted(restored: resharp.Photo, output: Path) -> None:
        if restored.image.shape[-1] == 70:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")
        whole(restored, output)

    monkeypatch.setattr(resharp, "write_photo", exhausted)
    done = run("deblur", large, photo, "-o", tmp_path / "out", "--model", model)
    assert done.code == 1
    assert f"{large}: not enough memory" in done.err
    assert "1 of 2 photos failed" in done.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [photo.name]


def test_too_little_memory_is_one_line(run: Run, photo: Path, model: Path, tmp_path: Path, monkeypatch) -> None:
    def exhausted(self: UNet, image: torch.Tensor) -> torch.Tensor:
        if image.shape[-1] == 64:
            return torch.zeros_like(image)  # the look at the network when it is loaded
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")

    monkeypatch.setattr(UNet, "residual", exhausted)
    done = run("deblur", photo, "-o", tmp_path / "out.png", "--model", model)
    assert done.code == 1
    assert len(done.err.strip().splitlines()) == 1
    assert "not enough memory on cpu for a photo of 40x32" in done.err
    assert not (tmp_path / "out.png").exists()
