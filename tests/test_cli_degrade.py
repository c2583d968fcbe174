"""`resharp degrade`: nine kinds, one way of writing down what was done."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import pytest
import torch
from torch.testing import assert_close

import resharp
from resharp.cli.degrade import _table, degrade, described
from resharp.degradations import DEGRADATIONS
from tests.conftest import Run, rand, reference
from tests.processes import command, ended
from tests.toy_networks import toy_bgan

KINDS: dict[str, tuple[str, ...]] = {
    "blur": ("--kernel", "disk:2"),
    "trajectory": (),
    "shake": ("--extent", "6"),
    "defocus": (),
    "gaussian": (),
    "downscale": (),
    "mosaic": (),
    "noise": (),
    "jpeg": (),
    "realistic": ("--model", str(toy_bgan())),
}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    resharp.write_photo(resharp.Photo(rand(3, 32, 40).float()), path)
    return path


def test_every_kind_has_a_command() -> None:
    assert set(degrade.list_commands(click.Context(degrade))) == set(KINDS)
    assert set(KINDS) == set(DEGRADATIONS)
    assert _table() == described(), "write it again: tools/write_tables.py"


@pytest.mark.parametrize("kind", KINDS)
def test_the_recipe_written_down_does_the_same_again(run: Run, photo: Path, tmp_path: Path, kind: str) -> None:
    first, again, plan = tmp_path / "first.png", tmp_path / "again.png", tmp_path / "plan.json"
    done = run("degrade", kind, photo, "-o", first, *KINDS[kind], "--seed", 5, "--plan-out", plan)
    assert (done.code, done.err) == (0, "")
    assert run("degrade", kind, photo, "-o", again, "--plan", plan).code == 0
    assert first.read_bytes() == again.read_bytes()
    steps = json.loads(plan.read_text())["photos"][0]["steps"]
    assert steps[0]["kind"] == kind
    assert steps[0]["seed"] == 5


def other_value(option: click.Option) -> tuple[list[str], Any]:
    """Words that set an option to another value than its default, and that value."""
    if option.is_flag:
        return [option.opts[0]], not option.default
    if isinstance(option.type, click.Choice):
        value = next(choice for choice in option.type.choices if choice != option.default)
    elif isinstance(option.default, int):
        value = option.default // 2 or 2
    else:
        value = (option.default or 1.0) / 2  # half of it is never too much
    return [option.opts[0], str(value)], value


@pytest.mark.parametrize("kind", KINDS)
def test_options_are_the_parameters_and_reach_them(run: Run, photo: Path, tmp_path: Path, kind: str) -> None:
    command = degrade.get_command(click.Context(degrade), kind)
    assert command is not None
    ends = {"photos", "out", "as_json", "seed", "plan", "plan_out", "help", "noise_sigma", "kernel", "model"}
    own = [option for option in command.params if isinstance(option, click.Option) and option.name not in ends]
    words, expected = [], {}
    for option in own:
        assert option.name is not None
        text, value = other_value(option)
        value = 1.5 if option.name == "gamma" else value
        words += text if option.is_flag else [text[0], str(value)]
        expected[option.name] = value
    done = run("degrade", kind, photo, "-o", tmp_path / "out.png", *KINDS[kind], *words, "--json")
    assert done.code == 0, done.err
    parameters = json.loads(done.out)["photos"][0]["steps"][0]["parameters"]
    assert {name: parameters[name] for name in expected} == expected
    assert set(expected) <= set(parameters)


def test_noise_after_a_blur_and_the_seed_change_the_result(run: Run, photo: Path, tmp_path: Path) -> None:
    base = ("degrade", "blur", photo, "--kernel", "disk:1", "--noise-sigma", 0.1)
    for index, extra in enumerate([(), ("--seed", 0), ("--seed", 1), ("--noise-sigma", 0.02), ("--kernel", "disk:2")]):
        assert run(*base, "-o", tmp_path / f"{index}.png", *extra).code == 0
    written = [(tmp_path / f"{index}.png").read_bytes() for index in range(5)]
    assert written[0] == written[1]
    assert len(set(written)) == 4


def test_several_photos_get_seeds_of_their_own_and_one_recipe_file(run: Run, photo: Path, tmp_path: Path) -> None:
    second, plan = tmp_path / "second.png", tmp_path / "plan.json"
    second.write_bytes(photo.read_bytes())
    done = run("degrade", "noise", photo, second, "-o", tmp_path / "a", "--seed", 7, "--plan-out", plan, "--json")
    seeds = [entry["steps"][0]["seed"] for entry in json.loads(done.out)["photos"]]
    assert seeds == [7, 8]
    assert run("degrade", "noise", second, photo, "-o", tmp_path / "b", "--plan", plan).code == 0
    for name in ("photo.png", "second.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "a" / "photo.png").read_bytes() != (tmp_path / "a" / "second.png").read_bytes()


def test_downscaling_reproduces_a_published_test_photo(run: Run, tmp_path: Path) -> None:
    photo = sorted(reference("sr", "set5", "hr").iterdir())[1]
    done = run("degrade", "downscale", photo, "-o", tmp_path / "lr.png")
    assert done.code == 0
    expected = cv2.imread(str(reference("sr", "set5", "lr_x4") / photo.name))
    assert expected is not None
    assert np.array_equal(cv2.imread(str(tmp_path / "lr.png")), expected)


def test_transparency_shrinks_with_the_photo_and_metadata_stays(run: Run, tmp_path: Path) -> None:
    ramp = torch.linspace(0.2, 0.8, 40).expand(32, 40)
    photo = resharp.Photo(rand(3, 32, 40).float(), alpha=ramp, depth=16, dpi=(72.0, 72.0))
    resharp.write_photo(photo, tmp_path / "in.png")
    assert run("degrade", "downscale", tmp_path / "in.png", "-o", tmp_path / "out.png", "--no-rounding").code == 0
    small = resharp.read_photo(tmp_path / "out.png")
    assert small.image.shape == (3, 8, 10)
    assert small.depth == 16
    assert small.dpi is not None
    assert small.alpha is not None
    means = ramp.unfold(1, 4, 4).mean(-1)[:8]
    assert_close(small.alpha[:, 2:-2], means[:, 2:-2], atol=1e-4, rtol=0)  # at the border it is mirrored


def test_a_mosaic_is_one_grey_plane(run: Run, photo: Path, tmp_path: Path) -> None:
    assert run("degrade", "mosaic", photo, "-o", tmp_path / "raw.png").code == 0
    raw, colour = (resharp.read_photo(path) for path in (tmp_path / "raw.png", photo))
    assert raw.grey
    assert torch.equal(raw.image[0, ::2, ::2], colour.image[0, ::2, ::2])
    assert torch.equal(raw.image[0, 1::2, 1::2], colour.image[2, 1::2, 1::2])


PLAN: dict[str, Any] = {
    "format": 1,
    "photos": [{"photo": "photo.png", "steps": [{"kind": "jpeg", "parameters": {}, "seed": 0}]}],
}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no such plan"),
        ("{", "cannot be read as a plan"),
        ("[1]", "no plan of degradations"),
        (json.dumps(PLAN | {"format": 2}), "format 2, this version reads 1"),
        (json.dumps(PLAN | {"format": True}), "no plan of degradations"),
        (json.dumps(PLAN | {"format": "1"}), "no plan of degradations"),
        (json.dumps(PLAN | {"photos": []}), "no plan"),
        (json.dumps(PLAN | {"photos": PLAN["photos"] * 2}), "has two plans for photo.png"),
        ('{"format": 1' + "0" * 5000 + "}", "cannot be read as a plan"),
        ("[" * 100_000, "cannot be read as a plan"),
        (json.dumps(PLAN).replace("jpeg", "noise"), "do it with `resharp degrade noise`"),
        (json.dumps(PLAN).replace('"seed": 0', '"seed": -1'), "seed is -1"),
        (json.dumps(PLAN).replace("{}", '{"quality": 101}'), "quality is 101"),
        (json.dumps(PLAN).replace("{}", '{"qualty": 10}'), "did you mean 'quality'"),
    ],
)
def test_recipes_that_are_none(run: Run, photo: Path, tmp_path: Path, text: str | None, words: str) -> None:
    plan = tmp_path / "plan.json"
    if text is not None:
        plan.write_text(text)
    done = run("degrade", "jpeg", photo, "-o", tmp_path / "out.png", "--plan", plan)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert words in done.err
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("blur",), "Missing option '--kernel'"),
        (("blur", "--kernel", "disk:0"), "radius"),
        (("blur", "--kernel", "disk:2", "--noise-sigma", "25"), "it is on the [0, 1] scale"),
        (("shake", "--extent", "-1"), "extent is -1"),
        (("shake", "--n-objects", "1.5"), "not a valid integer"),
        (("downscale", "--factor", "3"), "the sides of 40x32 are no multiples of 3; cut it first (--cut does)"),
        (("downscale", "--factor", "0"), "factor is 0"),
        (("mosaic", "--pattern", "RGB"), "'RGB' is not one of"),
        (("noise", "--seed", "-1"), "seed is -1"),
        (("jpeg", "--quality", "101"), "quality is 101"),
        (("jpeg", "--plan", "r.json", "--quality", "10"), "leave --quality out"),
    ],
)
def test_mistakes_are_one_line(run: Run, photo: Path, tmp_path: Path, arguments: tuple[str], words: str) -> None:
    done = run("degrade", arguments[0], photo, "-o", tmp_path / "out.png", *arguments[1:])
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert words in done.err
    assert not (tmp_path / "out.png").exists()


def test_a_grey_photo_has_no_mosaic(run: Run, tmp_path: Path) -> None:
    resharp.write_photo(resharp.Photo(rand(1, 8, 8).float().expand(3, -1, -1), grey=True), tmp_path / "grey.png")
    done = run("degrade", "mosaic", tmp_path / "grey.png", "-o", tmp_path / "out.png")
    assert done.code == 2
    assert "the photo is grey and has no colours for a mosaic" in done.err


def test_what_is_over_can_be_cut_off(run: Run, photo: Path, tmp_path: Path) -> None:
    assert run("degrade", "downscale", photo, "-o", tmp_path / "out.png", "--factor", 3, "--cut").code == 0
    assert resharp.read_photo(tmp_path / "out.png").image.shape == (3, 10, 13)


@pytest.mark.parametrize(
    ("plan_out", "words"),
    [
        ("photo.png", "is the name of a photo"),
        ("out.png", "is the name of a photo"),
        ("new.JPG", "is the name of a photo"),
        ("link.json", "is read or written by this command"),
        ("plan.json", "is read or written by this command"),
    ],
)
def test_a_recipe_is_written_over_nothing_that_is_used(
    run: Run, photo: Path, tmp_path: Path, plan_out: str, words: str
) -> None:
    (tmp_path / "link.json").hardlink_to(photo)
    (tmp_path / "plan.json").write_text(json.dumps(PLAN))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    plan = ("--plan", tmp_path / "plan.json") if plan_out == "plan.json" else ()
    done = run("degrade", "jpeg", photo, "-o", tmp_path / "out.png", *plan, "--plan-out", tmp_path / plan_out)
    assert done.code == 2
    assert words in done.err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_refused_run_leaves_no_recipe(run: Run, photo: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    for given, out in ((photo, tmp_path / "out.bmp"), (tmp_path / "none.png", tmp_path / "out.png")):
        assert run("degrade", "noise", given, "-o", out, "--plan-out", plan).code == 2
    assert not plan.exists()


def test_folders_are_mirrored_and_their_plan_does_it_again(run: Run, photo: Path, tmp_path: Path) -> None:
    place, plan = tmp_path / "in", tmp_path / "plan.json"
    for name in ("a/1.png", "b/1.png"):  # of one name, of one content
        (place / name).parent.mkdir(parents=True)
        (place / name).write_bytes(photo.read_bytes())
    assert run("degrade", "noise", place, "-o", tmp_path / "x", "--plan-out", plan).out.startswith("2 photos degraded")
    assert run("degrade", "noise", place, "-o", tmp_path / "y", "--plan", plan).code == 0
    first, second, *again = ((tmp_path / out / f"{name}/1.png").read_bytes() for out in "xy" for name in "ab")
    assert first != second
    assert [first, second] == again


def test_empty_names_are_no_working_directory(run: Run, photo: Path) -> None:
    for arguments in ((photo, "-o", ""), ("", "-o", "out"), (photo, "-o", "out", "--plan", "")):
        done = run("degrade", "noise", *arguments)
        assert done.code == 2
        assert "the name is empty" in done.err


def test_a_photo_smaller_than_the_factor_is_said(run: Run, photo: Path, tmp_path: Path) -> None:
    done = run("degrade", "downscale", photo, "-o", tmp_path / "out.png", "--factor", 40, "--cut")
    assert "the photo (40x32) is smaller than the factor 40" in done.err


def test_an_endless_kernel_text_is_a_mistake_in_one_short_line(run: Run, photo: Path, tmp_path: Path) -> None:
    done = run("degrade", "blur", photo, "-o", tmp_path / "out.png", "--kernel", "x" * 5000)
    assert done.code == 2
    assert len(done.err) < 300


def test_closed_outputs_do_not_stop_the_work(photo: Path, tmp_path: Path) -> None:
    assert ended(without_outputs, "degrade", "noise", photo, "-o", tmp_path / "out.png", folder=tmp_path) == 0
    assert (tmp_path / "out.png").exists()


def without_outputs(*words: object) -> None:
    """A command behind `>&- 2>&-`."""
    os.close(1)
    os.close(2)
    sys.stdout = sys.stderr = None  # type: ignore[assignment]
    command(*words)


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_a_name_of_any_bytes_is_printed_and_kept_in_recipes(run: Run, photo: Path, tmp_path: Path) -> None:
    """On outputs that are strict about UTF-8, as pytest's are."""
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    odd.write_bytes(photo.read_bytes())
    assert sys.stdout.errors == "strict"
    for step in (["--plan-out", str(tmp_path / "r.json")], ["--plan", str(tmp_path / "r.json")]):
        done = run("degrade", "noise", odd, "-o", tmp_path / step[0], *step)
        assert (done.code, done.err) == (0, "")
        assert r"\udcff.png ->" in done.out


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("psf.png", ("degrade", "blur")), ("psf.npy", ("degrade", "blur")), ("psf.png", ("deconvolve",))],
)
def test_the_kernel_is_not_written_over(
    run: Run, photo: Path, tmp_path: Path, name: str, arguments: tuple[str, ...]
) -> None:
    kernel = tmp_path / name
    if name == "psf.npy":
        np.save(kernel, np.ones((3, 3)))
    else:
        resharp.write_photo(resharp.Photo(torch.ones(3, 3, 3)), kernel)
    before = kernel.read_bytes()
    ends = ("-o", tmp_path / "out.png", "--plan-out", kernel) if name == "psf.npy" else ("-o", kernel)
    done = run(*arguments, photo, *ends, "--kernel", kernel)
    assert done.code == 2
    assert "read" in done.err
    assert "by this command itself" in done.err
    assert kernel.read_bytes() == before


def test_no_recipe_is_left_where_nothing_was_done(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    plan = tmp_path / "r.json"
    assert run("degrade", "noise", tmp_path / "bad.jpg", "-o", tmp_path / "o.png", "--plan-out", plan).code == 2
    assert not plan.exists()
    done = run("degrade", "noise", tmp_path / "bad.jpg", "-o", tmp_path / "new", "--plan-out", tmp_path / "new")
    assert "read or written by this command itself" in done.err


def test_a_recipe_that_cannot_be_written_ends_the_run_once(run: Run, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    plan = tmp_path / "file" / "r.json"
    done = run("degrade", "noise", photo, "-o", tmp_path / "out.png", "--plan-out", plan)
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "r.json" in done.err
    assert (tmp_path / "out.png").exists()
