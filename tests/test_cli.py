"""The command line as a whole: help, exit codes, outputs that the disk refuses, and the smaller commands."""

import functools
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import click
import pytest

import resharp
from resharp import cli
from resharp.demo import demo_inputs
from resharp.models import Card, contract_of, save_model
from resharp.networks import DAE
from tests.conftest import Run, rand


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    resharp.write_photo(resharp.Photo(rand(3, 32, 40).float()), path)
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_help_and_version(run: Run) -> None:
    assert run("--version").out.strip() == f"resharp {resharp.__version__}"
    done = run()
    assert (done.code, done.err, done.out) == (0, "", run("--help").out)
    sections = [line for line in done.out.splitlines() if line.endswith(":") and not line.startswith("Usage")]
    assert sections == ["Options:", "Restore:", "Judge:", "Train:", "Data:"]
    for command in cli.cli.commands:
        assert f"  {command} " in done.out
    for group in ("models", "data", "degrade"):
        assert run(group).out == run(group, "--help").out


def test_help_needs_none_of_the_heavy_packages() -> None:
    """It takes 0.2 s on an idle machine; what it loads does not depend on how busy this one is."""
    heavy = "{'torch', 'cv2', 'numpy', 'PIL', 'pydantic', 'tqdm'}"
    code = f"import sys, atexit; atexit.register(lambda: sys.stderr.write(str({heavy} & set(sys.modules))));"
    code += "sys.argv = ['resharp', '--help']; from resharp.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "set()"


def test_every_option_has_a_help_text_and_no_line_of_a_list_is_cut_at_80_columns() -> None:
    def walk(command: click.Command) -> None:
        assert command.help, command.name
        for parameter in command.params:
            assert isinstance(parameter, click.Argument) or getattr(parameter, "help", ""), (
                f"{command.name} {parameter}"
            )
        if isinstance(command, click.Group):
            context = click.Context(command)
            assert "..." not in command.get_help(click.Context(command, terminal_width=80)).partition("Commands:")[2]
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                walk(child)

    walk(cli.cli)
    sections = cli.cli.get_help(click.Context(cli.cli, terminal_width=80))
    assert "..." not in sections.partition("Restore:")[2]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(run: Run, photo: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
    done = run("degrade", "noise", photo, "-o", locked / "out.png")
    assert done.code == 1
    assert "no permission" in done.err


@pytest.mark.parametrize(("number", "words"), [(28, "disk is full"), (13, "no permission"), (30, "read-only")])
def test_what_the_disk_refuses(run: Run, photo: Path, tmp_path: Path, monkeypatch, number: int, words: str) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", refuse)
    before = files(tmp_path)
    done = run("degrade", "noise", photo, "-o", tmp_path / "out.png")
    assert done.code == 1
    assert words in done.err
    assert files(tmp_path) == before


def test_strange_names_keep_errors_on_one_line(run: Run, tmp_path: Path) -> None:
    done = run("degrade", "noise", tmp_path / "two\nlines.png", "-o", tmp_path / "o.png")
    assert done.err.count("\n") == 1
    assert r"two\nlines.png: no such file" in done.err


def test_models_are_listed_shown_and_refused(run: Run, tmp_path: Path) -> None:
    assert "dae-sigma11  denoise of sigma 11/255" in run("models", "list").out
    assert {card["name"] for card in json.loads(run("models", "list", "--json").out)["models"]} >= {"dbgan"}
    shown = run("models", "show", "dae-sigma11").out
    assert resharp.read_card("dae-sigma11").sha256 in shown
    assert "denoise" in shown
    done = run("models", "import", tmp_path / "no.mat", "--as", "dae", "-o", tmp_path / "w.safetensors")
    assert done.code == 2
    assert "no.mat" in done.err
    network = DAE(width=4, depth=3)
    contract = contract_of(network, "denoise", noise_sigma=(0.1, 0.1))
    save_model(
        network, tmp_path / "odd.safetensors", Card("dae", network.arguments, contract, quality="a\x1b[31m\n  b")
    )
    shown = run("models", "show", tmp_path / "odd.safetensors").out
    assert "\x1b" not in shown
    assert shown.count("\n") == 14  # a line for each field of the card and of its contract
    done = run("models", "import", tmp_path / "odd.safetensors", "--as", "vgg", "-o", tmp_path / "w.safetensors")
    assert "choose dae" in done.err


def test_recipes_and_plans_are_listed_and_printed(run: Run) -> None:
    listed = run("recipes").out
    for name in ("dae", "deblurgan", "shake"):
        assert f"  {name} " in listed
    assert {plan["name"] for plan in json.loads(run("recipes", "--json").out)["plans"]} >= {"shake", "blind"}
    assert "[network" in run("recipes", "dae").out
    done = run("recipes", "dea")
    assert (done.code, "did you mean 'dae'" in done.err) == (2, True)


def test_a_name_that_could_mean_two_things_says_how_to_be_explicit(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, words in (
        ("dae", ("train", "dae")),
        ("shake", ("data", "synthesize", ".", "-o", "o", "--plan", "shake")),
    ):
        (tmp_path / name).write_text("")
        done = run(*words)
        assert (done.code, f"write ./{name} for the file" in done.err) == (2, True)


def test_demo_writes_its_pictures(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sharp, _ = demo_inputs()
    monkeypatch.setattr("resharp.demo.with_signs", lambda _: sharp[:, 100:196, 100:196])
    monkeypatch.setattr("resharp.demo.deconvolve", functools.partial(resharp.deconvolve, n_iterations=2))
    done = run("demo", "-o", tmp_path / "demo", "--json")
    assert done.code == 0
    shaken, blind, blurred, non_blind, _ = json.loads(done.out)["results"]
    assert blind["psnr"] >= shaken["psnr"]  # on so small a piece no blur is looked for
    assert non_blind["psnr"] > blurred["psnr"] - 1
    names = ["blind.png", "blurred.png", "noise-blind.png", "non-blind.png", "shaken.png", "side-by-side.png"]
    assert sorted(p.name for p in (tmp_path / "demo").iterdir()) == names
