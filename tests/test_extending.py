"""docs/extending.md, done as it says in a folder outside the repository: trained, killed, gone on with, used."""

import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import resharp
from resharp.training import load_recipe, train_weights
from tests.processes import command, ended
from tests.toy_training import cut_photos

PAGE = Path(__file__).parent.parent / "docs" / "extending.md"


def trained(words: str, changes: tuple[str, ...]) -> None:
    """As by a command given in this folder."""
    sys.path.insert(0, "")
    command(*words.split()[1:], "--device", "cpu", *changes)


def trained_until_killed(changes: tuple[str, ...]) -> None:
    def kill(record: dict[str, Any]) -> None:
        if record["n_seen"] == 40:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.path.insert(0, "")
    train_weights(load_recipe(Path("mine.toml"), changes), "runs/mine", device="cpu", on_step=kill)


def used(program: str) -> None:
    sys.path.insert(0, "")
    exec(program, {})


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return str(found)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_parts_of_ones_own_are_trained_gone_on_with_and_used(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(block("python"))
    (tmp_path / "mine.toml").write_text(block("toml"))
    (tmp_path / "photos").mkdir()
    cut_photos(tmp_path / "photos")
    words, changes = block("sh"), ("tracking=[]", "stages.0.precision=float32")
    assert ended(trained, words.replace("runs/mine", "runs/whole"), changes, folder=tmp_path) == 0
    assert ended(trained_until_killed, changes, folder=tmp_path) == -signal.SIGKILL
    assert ended(trained, words, changes, folder=tmp_path) == 0
    assert "goes on at 32 of 64 images" in (tmp_path / "stderr").read_text()
    both = [tmp_path / "runs" / name / "mine.safetensors" for name in ("whole", "mine")]
    assert both[0].read_bytes() == both[1].read_bytes()
    program = block("python-with-weights") + "\nresharp.write_photo(photo.with_planes(sharper), 'out.png')"
    assert ended(used, program, folder=tmp_path) == 0
    restored, photo = (resharp.read_photo(tmp_path / name).image for name in ("out.png", "photos/0.png"))
    assert restored.shape == photo.shape
    assert 1e-3 < float((restored - photo).abs().mean()) < 0.1
