"""The script that trains on a GPU for some minutes, without one: what it fits, tries again, cuts and puts together."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from resharp.data.beside import Beside
from resharp.data.layouts import open_listing
from resharp.data.manifest import MANIFEST, Entry, Manifest, save_manifest
from resharp.data.sources import open_source
from resharp.errors import ArgumentError, ResourceError
from resharp.photo import Photo, write_photo
from resharp.training import load_recipe

TOOLS = Path(__file__).parent.parent / "tools"


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return module("train_on_gpu")


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


def test_a_driver_that_is_too_old_is_told_in_torchs_words(
    tool: ModuleType, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).\nPlease update")

    monkeypatch.setattr(torch, "zeros", refuse)
    said = "device 'cuda' cannot be used here (The NVIDIA driver on your system is too old (found version 11040).)"
    tool.told_device("auto")
    assert capsys.readouterr().out == f"{said}; 'cpu' always can, and is taken\n"
    with pytest.raises(ArgumentError, match="driver on your system is too old"):
        tool.told_device("cuda")


def test_a_bundle_holds_photos_or_pairs(tool: ModuleType, tmp_path: Path) -> None:
    assert tool.sources("deblur-gpu", tmp_path) == (f"data.photos={tmp_path}/photos",)
    pairs = tmp_path / "pairs"
    expected = (f"data.photos={pairs}", f"data.beside.undone={pairs}/undone")
    assert tool.sources("deblur-refine-gpu", tmp_path) == expected


def test_pairs_are_bundled(tmp_path: Path) -> None:
    """As many as there is room for, what was undone to the bit, in the groups that they were of."""
    folder, out = tmp_path / "undone", tmp_path / "pairs"
    for half in ("blur", "sharp", "undone"):
        (folder / half).mkdir(parents=True)
    entries, drawn = [], torch.Generator().manual_seed(0)
    for name in ("000000", "000003", "000007"):
        planes = (255 * torch.rand(7, 24, 30, generator=drawn)).byte()
        np.save(folder / "undone" / f"{name}.npy", planes.numpy())
        halves = {half: f"{half}/{name}.png" for half in ("blur", "sharp")}
        for path in halves.values():
            write_photo(Photo(planes[:3] / 255), folder / path)
        entries.append(Entry(degraded=halves["blur"], clean=halves["sharp"], group=f"of {name}", height=24, width=30))
    made = Manifest(layout="pairs", paired=True, counts={"": 3}, items=tuple(entries))
    save_manifest(made, folder / MANIFEST)
    size = module("bundle_pairs").main.callback
    size(folder, out, 1.0)
    kept = open_listing(out)
    assert [(pair.degraded.name, pair.group) for pair in kept.items] == [
        ("000000.jpg", "of 000000"),
        ("000003.jpg", "of 000003"),
        ("000007.jpg", "of 000007"),
    ]
    source = open_source(out)
    beside = Beside("undone", out / "undone", source)
    undone = torch.from_numpy(np.load(folder / "undone" / "000003.npy"))
    assert torch.equal(beside.read(source.name(1), (24, 30)), undone)
    size(folder, tmp_path / "less", 0.012)
    assert 1 <= len(open_listing(tmp_path / "less").items) < 3


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


def test_a_run_goes_on_as_it_was_begun_or_not_at_all(tool: ModuleType, tmp_path: Path) -> None:
    checkpoint, bundle = tmp_path / "run" / "checkpoint-000000000032.pt", ["--bundle", str(tmp_path / "bundle")]
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"of hours")
    arguments = ["deblur-gpu", "0.5", str(tmp_path), "stages.0.batch_size=4", "--device", "cpu", *bundle]
    lacking = CliRunner().invoke(tool.main, arguments)
    assert (lacking.exit_code, "holds a run, but not its fitted.json" in lacking.output) == (1, True)
    begun = {"asked": ["deblur-gpu"], "overrides": [], "speed": 1.0, "memory": 0}
    (tmp_path / "fitted.json").write_text(json.dumps(begun))
    other = CliRunner().invoke(tool.main, arguments)
    assert (other.exit_code, "holds a run of deblur-gpu; name another OUT" in other.output) == (1, True)
    assert checkpoint.read_bytes() == b"of hours"


def test_minutes_without_a_step_are_told(tool: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    found = {"speed": 1.0, "memory": 0, "record": {"loss": 1.0}}
    monkeypatch.setattr(tool, "smoke_that_fits", lambda _, overrides, *rest: (overrides, found))
    monkeypatch.setattr(tool, "trained", lambda *_: (None, {}))
    arguments = ["deblur-gpu", "0.5", str(tmp_path), "--device", "cpu", "--bundle", str(tmp_path / "bundle")]
    ended = CliRunner().invoke(tool.main, arguments)
    assert (ended.exit_code, "no step was taken in 0.5 minutes; give it more" in ended.output) == (1, True)


def test_photos_are_no_pairs_to_bundle(tmp_path: Path) -> None:
    write_photo(Photo(torch.rand(3, 24, 30)), tmp_path / "photos" / "a.png")
    made = CliRunner().invoke(module("bundle_pairs").main, [str(tmp_path / "photos"), str(tmp_path / "out")])
    assert (made.exit_code, "holds no pairs with undone/ beside them" in made.output) == (1, True)
    assert not (tmp_path / "out").exists()
