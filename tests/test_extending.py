"""docs/extending.md, done as it says in a folder outside the repository: trained, killed, gone on with, used."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import resharp
from tests.toy_training import cut_photos

PAGE = Path(__file__).parent.parent / "docs" / "extending.md"
KILLED = """
import os, signal, sys
from pathlib import Path
from resharp.training import load_recipe, train_weights

def kill(record):
    if record["n_seen"] == 40:
        os.kill(os.getpid(), signal.SIGKILL)

train_weights(load_recipe(Path("mine.toml"), ("tracking=[]",)), "runs/mine", device="cpu", on_step=kill)
"""


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return str(found)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_parts_of_ones_own_are_trained_gone_on_with_and_used(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(block("python"))
    (tmp_path / "mine.toml").write_text(block("toml"))
    (tmp_path / "photos").mkdir()
    cut_photos(tmp_path / "photos")
    words = [*block("sh").split()[1:], "--device", "cpu", "tracking=[]"]

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False)

    whole = run("-m", "resharp", *(word.replace("runs/mine", "runs/whole") for word in words))
    assert whole.returncode == 0, whole.stderr
    assert run("-c", KILLED).returncode == -signal.SIGKILL
    done = run("-m", "resharp", *words)
    assert done.returncode == 0, done.stderr
    assert "goes on at 32 of 64 images" in done.stderr
    both = [tmp_path / "runs" / name / "mine.safetensors" for name in ("whole", "mine")]
    assert both[0].read_bytes() == both[1].read_bytes()
    used = run("-c", block("python-with-weights") + "\nresharp.write_photo(photo.with_planes(sharper), 'out.png')")
    assert used.returncode == 0, used.stderr
    restored, photo = (resharp.read_photo(tmp_path / name).image for name in ("out.png", "photos/0.png"))
    assert restored.shape == photo.shape
    assert 1e-3 < float((restored - photo).abs().mean()) < 0.1
