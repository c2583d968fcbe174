"""The command line as a user meets it: outputs, exit codes, one clear line for each mistake, nothing half-written."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import click
import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import resharp
from resharp import cli
from resharp.models import Card, save_model
from resharp.networks import DAE
from tests.conftest import Run, rand

FAST = ("--iterations", "2")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    resharp.write_photo(resharp.Photo(rand(3, 32, 40).float()), path)
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_help_and_version(run: Run) -> None:
    assert run("--version").out.strip() == f"resharp {resharp.__version__}"
    text = run("--help").out
    for command in ("deconvolve", "degrade", "data", "weights", "train", "demo"):
        assert command in text


def test_degrade_then_deconvolve(run: Run, photo: Path, tmp_path: Path) -> None:
    blurred, restored = tmp_path / "blurred.png", tmp_path / "out" / "restored.tif"
    done = run("degrade", "blur", photo, "-o", blurred, "--kernel", "disk:2", "--noise-sigma", 0.01, "--seed", 3)
    assert done.code == 0
    assert str(blurred) in done.out
    done = run("deconvolve", blurred, "-o", restored, "--kernel", "disk:2", *FAST)
    assert (done.code, done.err) == (0, "")
    assert resharp.read_photo(restored).image.shape == (3, 32, 40)


def test_every_option_changes_the_result(run: Run, photo: Path, tmp_path: Path) -> None:
    skewed = np.zeros((3, 3))
    skewed[0, :2] = 1
    np.save(tmp_path / "k.npy", skewed)
    base = ("deconvolve", photo, "--kernel", tmp_path / "k.npy")
    variants: list[tuple[object, ...]] = [
        FAST,
        ("--iterations", 3),
        (*FAST, "--noise-sigma", 0.02),
        (*FAST, "--seed", 1),
        (*FAST, "--flip-kernel"),
        (*FAST, "--kernel", "disk:2"),
    ]
    results = set()
    for index, variant in enumerate(variants):
        assert run(*base, "-o", tmp_path / f"{index}.tif", *variant).code == 0
        results.add((tmp_path / f"{index}.tif").read_bytes())
    assert len(results) == len(variants)
    outputs = []
    for index, extra in enumerate([("--seed", 0), ("--seed", 0), ("--seed", 1), ("--noise-sigma", 0.02)]):
        run(
            "degrade",
            "blur",
            photo,
            "-o",
            tmp_path / f"d{index}.png",
            "--kernel",
            "disk:1",
            "--noise-sigma",
            0.1,
            *extra,
        )
        outputs.append((tmp_path / f"d{index}.png").read_bytes())
    assert outputs[0] == outputs[1]
    assert len(set(outputs)) == 3


def test_the_command_does_what_the_function_does(run: Run, photo: Path, tmp_path: Path) -> None:
    run("deconvolve", photo, "-o", tmp_path / "a.png", "--kernel", "gaussian:1", "--noise-sigma", 0.01, *FAST)
    expected = resharp.deconvolve(resharp.read_photo(photo).image, "gaussian:1", 0.01, n_iterations=2)
    assert float((resharp.read_photo(tmp_path / "a.png").image - expected).abs().max()) <= 0.5 / 255 + 1e-6


def test_alpha_is_carried_and_not_restored(run: Run, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    assert run("deconvolve", tmp_path / "in.png", "-o", tmp_path / "out.png", "--kernel", "disk:1", *FAST).code == 0
    out = np.asarray(Image.open(tmp_path / "out.png"))
    assert (out[..., 3] == pixels[..., 3]).all()
    assert (out[..., :3] != pixels[..., :3]).any()


def test_grey_sixteen_bit_stays_so(run: Run, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), np.random.default_rng(0).integers(0, 65536, (24, 24), np.uint16))
    assert run("deconvolve", tmp_path / "in.png", "-o", tmp_path / "out.png", "--kernel", "disk:1", *FAST).code == 0
    out = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    assert out.dtype == np.uint16
    assert out.shape == (24, 24)


def test_several_photos_go_to_a_folder_and_a_bad_one_is_named(run: Run, photo: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no photo")
    second = tmp_path / "second.png"
    second.write_bytes(photo.read_bytes())
    done = run("deconvolve", photo, bad, second, "-o", tmp_path / "out", "--kernel", "disk:1", *FAST)
    assert done.code == 2
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["photo.png", "second.png"]
    assert "1 of 3 photos failed" in done.err
    assert str(bad) in done.err.splitlines()[-1]


def test_json_is_one_object(run: Run, photo: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.png"
    done = run("deconvolve", photo, missing, "-o", tmp_path / "out", "--kernel", "disk:1", *FAST, "--json")
    assert (done.code, done.err) == (2, "")
    result = json.loads(done.out)
    good, bad = result["photos"]
    assert good["output"] == str(tmp_path / "out" / "photo.png")
    assert 0 < good["noise_sigma"] < 1
    assert bad["output"] is None
    assert "no such file" in bad["error"]
    for command in (("weights", "list"), ("weights", "show", "dae-sigma11")):
        assert isinstance(json.loads(run(*command, "--json").out), dict)


# --- mistakes ---------------------------------------------------------------------------------------------------------


def bad_inputs(folder: Path) -> dict[str, tuple[list[object], str]]:
    """Arguments after `deconvolve`, and words that the error must hold."""
    photo, out = folder / "photo.png", folder / "out.png"
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("hello")
    (folder / "cut.png").write_bytes(photo.read_bytes()[:-700])
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 4), np.uint8)
    Image.fromarray(noise[..., :3]).convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(noise[:1, :1, :3]).save(folder / "dot.png")
    Image.fromarray(noise).save(folder / "alpha.png")
    frames = [Image.new("L", (8, 8), 90 * i) for i in range(3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    np.save(folder / "nan.npy", np.array([[np.nan]]))
    np.save(folder / "even.npy", np.ones((4, 4)))
    np.save(folder / "zero.npy", np.zeros((3, 3)))
    np.save(folder / "negative.npy", -np.ones((3, 3)))
    np.save(folder / "large.npy", np.ones((33, 33)))
    (folder / "broken.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    (folder / "pickle.pth").write_bytes(b"\x80\x04\x95")
    (folder / "file").write_text("")
    kernel = ["--kernel", "disk:1", *FAST]
    return {
        "missing photo": ([folder / "no.png", "-o", out, *kernel], "no.png: no such file"),
        "folder as photo": ([folder, "-o", folder / "o.png", *kernel], "is a folder"),
        "no image": ([folder / "text.png", "-o", out, *kernel], "text.png: is not a JPEG"),
        "truncated": ([folder / "cut.png", "-o", out, *kernel], "cut.png: is damaged or cut short"),
        "empty": ([folder / "empty.jpg", "-o", out, *kernel], "empty.jpg: is empty"),
        "cmyk": ([folder / "cmyk.jpg", "-o", out, *kernel], "CMYK"),
        "animated": ([folder / "moving.gif", "-o", out, *kernel], "animated"),
        "one pixel": ([folder / "dot.png", "-o", out, *kernel], "larger than the photo"),
        "large kernel": ([photo, "-o", out, "--kernel", folder / "large.npy"], "larger than the photo (40x32)"),
        "even kernel": ([photo, "-o", out, "--kernel", folder / "even.npy"], "must be odd"),
        "negative kernel": ([photo, "-o", out, "--kernel", folder / "negative.npy"], "negative"),
        "zero kernel": ([photo, "-o", out, "--kernel", folder / "zero.npy"], "zero everywhere"),
        "nan kernel": ([photo, "-o", out, "--kernel", folder / "nan.npy"], "NaN"),
        "missing kernel": ([photo, "-o", out, "--kernel", "no.png"], "no such kernel file"),
        "grey levels": ([photo, "-o", out, *kernel, "--noise-sigma", 2.55], "2.55 levels = 0.01"),
        "large seed": ([photo, "-o", out, *kernel, "--seed", 2**63], "it must lie between 0 and 4294967295"),
        "no number": ([photo, "-o", out, *kernel, "--seed", "abc"], "'abc' is not a valid integer"),
        "negative sigma": ([photo, "-o", out, *kernel, "--noise-sigma", -1], "0 or above"),
        "iterations": ([photo, "-o", out, "--kernel", "disk:1", "--iterations", 0], "at least 1"),
        "unknown weights": ([photo, "-o", out, *kernel, "--weights", "none"], "none: unknown weights"),
        "damaged weights": ([photo, "-o", out, *kernel, "--weights", folder / "broken.safetensors"], "damaged"),
        "pickle": ([photo, "-o", out, *kernel, "--weights", folder / "pickle.pth"], "pickle"),
        "device": ([photo, "-o", out, *kernel, "--device", "abacus"], "abacus"),
        "unknown suffix": ([photo, "-o", folder / "out.bmp", *kernel], "out.bmp"),
        "onto itself": ([photo, "-o", photo, *kernel], "is one of the photos themselves"),
        "alpha to jpeg": ([folder / "alpha.png", "-o", folder / "o.jpg", *kernel], "transparency"),
        "two to one file": ([photo, folder / "dot.png", "-o", out, *kernel], "need a folder"),
        "same names": ([photo, folder / "sub" / "photo.png", "-o", folder / "o", *kernel], "both be written"),
        "below a file": ([photo, "-o", folder / "file" / "o.png", *kernel], "a file stands where a folder belongs"),
        "no output": ([photo, *kernel], "Missing option '-o'"),
        "no photo": (["-o", out, *kernel], "Missing argument"),
        "unknown option": ([photo, "-o", out, *kernel, "--nose-sigma", 1], "noise-sigma"),
    }


CASES = [
    "missing photo", "folder as photo", "no image", "truncated", "empty", "cmyk", "animated", "one pixel",
    "large kernel", "even kernel", "negative kernel", "zero kernel", "nan kernel", "missing kernel", "grey levels",
    "large seed", "no number", "negative sigma", "iterations", "unknown weights", "damaged weights", "pickle",
    "device", "unknown suffix",
    "onto itself", "alpha to jpeg", "two to one file", "same names", "below a file", "no output", "no photo",
    "unknown option",
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_mistakes_are_named_and_change_nothing(run: Run, photo: Path, tmp_path: Path, case: str) -> None:
    cases = bad_inputs(tmp_path)
    assert sorted(cases) == sorted(CASES)
    arguments, words = cases[case]
    before = files(tmp_path)
    done = run("deconvolve", *arguments)
    assert done.code == (1 if case == "below a file" else 2), done.err
    assert words in done.err
    assert "Traceback" not in done.err
    assert done.out == ""
    assert len(done.err.strip().splitlines()) == 1
    assert files(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(run: Run, photo: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
    done = run("degrade", "blur", photo, "-o", locked / "out.png", "--kernel", "disk:1")
    assert done.code == 1
    assert "no permission" in done.err


@pytest.mark.parametrize(("number", "words"), [(28, "disk is full"), (13, "no permission"), (30, "read-only")])
def test_what_the_disk_refuses(run: Run, photo: Path, tmp_path: Path, monkeypatch, number: int, words: str) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", refuse)
    before = files(tmp_path)
    done = run("degrade", "blur", photo, "-o", tmp_path / "out.png", "--kernel", "disk:1")
    assert done.code == 1
    assert words in done.err
    assert files(tmp_path) == before


def test_ctrl_c_leaves_nothing(photo: Path, tmp_path: Path) -> None:
    """A real process and a real signal, in the middle of the iterations."""
    command = [sys.executable, "-m", "resharp", "deconvolve", photo, "-o", tmp_path / "out.png"]
    process = subprocess.Popen(
        [*command, "--kernel", "disk:1", "--iterations", "1000000"], stderr=subprocess.PIPE, text=True
    )
    time.sleep(6)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip().splitlines() == ["resharp: interrupted; what was finished is whole, nothing else was written"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photo.png"]


# --- other commands ---------------------------------------------------------------------------------------------------


def test_no_photo_is_lost_through_links_between_inputs(run: Run, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "other.png").symlink_to(photo)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "photo.png").write_bytes(photo.read_bytes())
    before = photo.read_bytes()
    inputs = (tmp_path / "in" / "photo.png", tmp_path / "links" / "other.png")
    done = run("degrade", "blur", *inputs, "-o", tmp_path, "--kernel", "disk:1")
    assert done.code == 2
    assert photo.read_bytes() == before


def test_json_also_for_mistakes_that_no_photo_made(run: Run, photo: Path, tmp_path: Path) -> None:
    for wrong in (("--seed", "abc"), ("--noise-sigma", 3), ("--weights", "none")):
        done = run("deconvolve", photo, "-o", tmp_path / "o.png", "--kernel", "disk:1", "--json", *wrong)
        assert done.code == 2
        assert json.loads(done.out)["error"]


def test_what_cannot_be_written_is_found_before_the_work(run: Run, tmp_path: Path, monkeypatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    monkeypatch.setattr("resharp.restorers.deconvolution.mean_shift", lambda *_, **__: pytest.fail("solved first"))
    done = run("deconvolve", tmp_path / "in.png", "-o", tmp_path / "o.jpg", "--kernel", "disk:1")
    assert done.code == 2
    assert "transparency" in done.err


def test_strange_names_keep_errors_on_one_line(run: Run, tmp_path: Path) -> None:
    done = run("degrade", "blur", tmp_path / "two\nlines.png", "-o", tmp_path / "o.png", "--kernel", "disk:1")
    assert done.err.count("\n") == 1
    assert r"two\nlines.png: no such file" in done.err


def test_too_little_memory_is_named(run: Run, photo: Path, tmp_path: Path, monkeypatch) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried ...")

    monkeypatch.setattr("resharp.restorers.deconvolution.mean_shift", exhausted)
    done = run("deconvolve", photo, "-o", tmp_path / "o.png", "--kernel", "disk:1")
    assert done.code == 1
    assert "not enough memory on cpu for a photo of 40x32" in done.err


def test_weights_are_listed_shown_and_refused(run: Run, tmp_path: Path) -> None:
    assert "dae-sigma11" in run("weights").out
    shown = run("weights", "show", "dae-sigma11").out
    assert resharp.read_card("dae-sigma11").sha256 in shown
    done = run("weights", "import", tmp_path / "no.mat", "--as", "dae", "-o", tmp_path / "w.safetensors")
    assert done.code == 2
    assert "no.mat" in done.err
    network = DAE(width=4, depth=3)
    card = Card("dae", network.arguments, quality="a\x1b[31mred\n  licence  CC0")
    save_model(network, tmp_path / "odd.safetensors", card)
    shown = run("weights", "show", tmp_path / "odd.safetensors").out
    assert "\x1b" not in shown
    assert shown.count("\n") == 9  # a line for each field
    done = run("weights", "import", tmp_path / "no.mat", "--as", "vgg", "-o", tmp_path / "w.safetensors")
    assert "choose dae" in done.err


def test_demo_writes_its_pictures(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resharp.demo.N_ITERATIONS", 6)
    done = run("demo", "-o", tmp_path / "demo", "--json")
    assert done.code == 0
    shaken, blind, blurred, non_blind, _ = json.loads(done.out)["results"]
    assert blind["psnr"] > shaken["psnr"]
    assert non_blind["psnr"] > blurred["psnr"] - 1
    names = ["blind.png", "blurred.png", "noise-blind.png", "non-blind.png", "shaken.png", "side-by-side.png"]
    assert sorted(p.name for p in (tmp_path / "demo").iterdir()) == names


def test_every_option_has_a_help_text() -> None:
    def walk(command) -> None:
        assert command.help, command.name
        for parameter in command.params:
            assert isinstance(parameter, click.Argument) or parameter.help, f"{command.name} {parameter.name}"
        for child in getattr(command, "commands", {}).values():
            walk(child)

    walk(cli.cli)
    assert CliRunner().invoke(cli.cli, ["degrade", "blur", "--help"]).exit_code == 0
