"""The script that trains on a GPU for some minutes, without one: what it fits, tries again, cuts and puts together."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from resharp.errors import ResourceError
from resharp.training import load_recipe

TOOLS = Path(__file__).parent.parent / "tools"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_on_gpu", TOOLS / "train_on_gpu.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name",
    ["deblur-gpu", "deblur-refine-gpu", "deblur-unet-gpu", "denoiser-gpu", "srresnet-gpu", "srgan-gpu", "deblur-2core"],
)
def test_a_recipe_is_fitted_to_the_time(tool: ModuleType, name: str) -> None:
    """100 images a second for 600 s: that many images, in the recipe's proportions, the warm-up with them."""
    recipe, made = load_recipe(name), load_recipe(name, tool.fitted(name, (), 100.0, 600.0))
    assert made.n_images == pytest.approx(60_000, rel=0.01)
    for before, after in zip(recipe.stages, made.stages, strict=True):
        ratio = 60_000 / recipe.n_images
        assert after.n_images == pytest.approx(ratio * before.n_images, rel=0.01)
        warm, long = (one.trains["generator"].schedule.warmup_images for one in (after, before))
        assert warm == pytest.approx(ratio * long, abs=1)
    for before, after in zip(recipe.networks.values(), made.networks.values(), strict=True):
        assert after.ema == pytest.approx(min(before.ema, 1 - 1 / 6000))
    assert (made.judge.every, made.checkpoints.every) == (12_000, 6_000)


def test_too_little_memory_is_met_by_more_pieces(tool: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    asked: list[tuple[str, ...]] = []

    def smoke(recipe: str, overrides: tuple[str, ...], *_: object) -> dict[str, float]:
        asked.append(overrides)
        if len(asked) < 3:
            raise ResourceError(f"not enough memory; in more pieces: stages.0.accumulate={2 ** len(asked)}")
        return {"speed": 1.0}

    monkeypatch.setattr(tool, "smoke", smoke)
    chosen, found = tool.smoke_that_fits("deblur-gpu", ("a=1",), tmp_path, "cpu", 1.0)
    assert chosen == asked[-1] == ("a=1", "stages.0.accumulate=2", "stages.0.accumulate=4")
    assert found["speed"] == 1.0
    assert load_recipe("deblur-gpu", chosen[1:]).stages[0].accumulate == 4
    monkeypatch.setattr(tool, "smoke", lambda *_: (_ for _ in ()).throw(ResourceError("the GPU failed")))
    with pytest.raises(ResourceError, match="the GPU failed"):
        tool.smoke_that_fits("deblur-gpu", (), tmp_path, "cpu", 1.0)


def test_files_come_back_whole_from_their_pieces(tool: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tool, "PIECE", 1000)
    run, parts = tmp_path / "run", tmp_path / "parts"
    run.mkdir()
    sizes = {"a.safetensors": 2500, "checkpoint-000000000032.pt": 12_345, "large.pt": 99_999}
    files = [run / name for name in sizes]
    for number, (file, size) in enumerate(zip(files, sizes.values(), strict=True)):
        file.write_bytes(bytes((number + i) % 251 for i in range(size)))
    told = tool.cut(files, parts, 20_000)
    assert told[2] == f"large.pt: 0 MiB, left in {run}"
    assert max(path.stat().st_size for path in parts.iterdir()) == 1000
    assert len(list(parts.iterdir())) == 3 + 13
    tool.put_together(parts, tmp_path / "again")
    assert [path.name for path in (tmp_path / "again").iterdir()] == ["checkpoint-000000000032.pt"]
    assert (tmp_path / "again" / files[1].name).read_bytes() == files[1].read_bytes()
    tool.put_together(parts, run)  # which is there: nothing is touched
    assert len(list(run.iterdir())) == 3
