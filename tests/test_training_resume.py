"""Exact resume: a run cut anywhere, as often as one likes, ends in the same bits."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from resharp.errors import RecipeError, ResharpError, ResourceError
from resharp.models import load_model
from resharp.networks import FEATURE_NETWORKS
from resharp.training import train_weights
from resharp.training.checkpoint import checkpoints, read_checkpoint, save_checkpoint
from resharp.training.identity import Identity
from resharp.training.validation import PhotoJudge, Scores
from tests.feature_stacks import stack_of, state_of
from tests.processes import ended
from tests.toy_training import ADAM, cycle, gan, history, killed_at, stretched, tiny, trained

pytestmark = pytest.mark.usefixtures("no_curves")


@pytest.mark.parametrize(("changes", "batch_norm"), [({}, "true"), ({"stages.0.trains.generator": ADAM}, "false")])
def test_a_killed_run_ends_in_the_same_bits(
    photos: Path, tmp_path: Path, changes: dict[str, object], batch_norm: str
) -> None:
    small = {"stages.0.n_images": 44, "checkpoints.every": 12, "judge.every": 20}
    recipe = tiny(photos, **small, **{"networks.generator.arguments.batch_norm": batch_norm}, **changes)
    whole = train_weights(recipe, tmp_path / "whole", device="cpu")
    with pytest.raises(ResourceError):
        train_weights(recipe, tmp_path / "cut", device="cpu", on_step=killed_at(32))  # eight images after a checkpoint
    resumed = train_weights(recipe, tmp_path / "cut", device="cpu")
    assert resumed.read_bytes() == whole.read_bytes()
    assert history(tmp_path / "cut") == history(tmp_path / "whole")


@pytest.mark.parametrize(("fresh", "accumulate"), [(False, 2), (True, 1)])
def test_a_gan_cut_anywhere_ends_in_the_same_bits(photos: Path, tmp_path: Path, fresh: bool, accumulate: int) -> None:
    """At every step in turn, checkpoints standing at every second one."""
    recipe = gan(photos, fresh_batches=fresh, accumulate=accumulate)
    whole = train_weights(recipe, tmp_path / "whole", device="cpu").read_bytes()
    for stop in range(4, 33, 4):
        with pytest.raises(ResourceError):
            train_weights(recipe, tmp_path / "cut", device="cpu", on_step=killed_at(stop))
        torch.rand(17)  # whatever the process did in between
    assert train_weights(recipe, tmp_path / "cut", device="cpu").read_bytes() == whole
    assert history(tmp_path / "cut") == history(tmp_path / "whole")


def test_a_cycle_cut_anywhere_ends_in_the_same_bits(tmp_path: Path) -> None:
    """Two generators and two critics on photos that are no pairs; the global random state stays as it was."""
    recipe = cycle(stretched(tmp_path / "sharp", 3), stretched(tmp_path / "blurry", 4, blurred=True))
    state = torch.get_rng_state()
    path = train_weights(recipe, tmp_path / "whole", device="cpu")
    assert torch.equal(torch.get_rng_state(), state)
    whole = [path, path.with_stem("toy-degrader")]
    assert {"validation_niqe", "input_niqe", "degraded_critic", "cycle", "identity"} <= history(tmp_path / "whole")[
        -1
    ].keys()
    for stop in (12, 20):
        with pytest.raises(ResourceError):
            train_weights(recipe, tmp_path / "cut", device="cpu", on_step=killed_at(stop))
        torch.rand(17)
    train_weights(recipe, tmp_path / "cut", device="cpu")
    for one in whole:
        assert (tmp_path / "cut" / one.name).read_bytes() == one.read_bytes()
    assert history(tmp_path / "cut") == history(tmp_path / "whole")


class Tinted(torch.nn.Module):
    """Its pictures are too red from the first to the last."""

    def __init__(self) -> None:
        super().__init__()
        self.arguments: dict[str, int] = {}
        self.conv = torch.nn.Conv2d(3, 3, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        red = torch.tensor([0.3, 0.0, 0.0])[:, None, None]
        result: torch.Tensor = image + red + 0.01 * self.conv(image)
        return result


def test_a_run_warns_of_what_ails_it_and_does_so_after_a_resume_alike(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resharp.training.health.monitor.SETTLING", 64)
    network = {"kind": "tests.test_training_resume:Tinted", "arguments": {}}
    plan = {"crop": 24, "variants": [{"steps": [{"kind": "noise", "sigma": 0.001}]}]}
    data = {"photos": [str(photos)], "n_holdout": 2, "plan": plan}
    often = {"judge": {"every": 2000}, "checkpoints": {"every": 100}}
    recipe = gan(photos, accumulate=1, network=network, n_images=300, critic_steps=1, data=data, **often)
    said: list[str] = []
    train_weights(recipe, tmp_path / "whole", device="cpu", say=said.append)
    assert any("colour-cast: the outputs' mean red minus the photos' is" in line for line in said)
    with pytest.raises(ResourceError):
        train_weights(recipe, tmp_path / "cut", device="cpu", on_step=killed_at(220))
    train_weights(recipe, tmp_path / "cut", device="cpu")
    assert history(tmp_path / "cut") == history(tmp_path / "whole")


def trained_until_killed(photos: Path) -> None:
    def kill(record: dict[str, Any]) -> None:
        if record["n_seen"] == 20:
            os.kill(os.getpid(), signal.SIGKILL)

    train_weights(gan(photos), "cut", device="cpu", on_step=kill)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_run_that_was_really_killed_has_lost_nothing(photos: Path, tmp_path: Path) -> None:
    """Nobody closes its log or frees its lock; the checkpoint of 16 images stands, and the step after it was told."""
    whole = train_weights(gan(photos), tmp_path / "whole", device="cpu").read_bytes()
    assert ended(trained_until_killed, photos, folder=tmp_path) == -signal.SIGKILL
    assert [record["n_seen"] for record in history(tmp_path / "cut")][:4] == [4, 8, 12, 16]
    assert train_weights(gan(photos), tmp_path / "cut", device="cpu").read_bytes() == whole
    assert history(tmp_path / "cut") == history(tmp_path / "whole")


def test_fresh_batches_are_others(photos: Path, tmp_path: Path) -> None:
    fresh, same = (trained(gan(photos, fresh_batches=is_fresh), tmp_path / str(is_fresh)) for is_fresh in (True, False))
    assert any(not torch.equal(fresh[name], same[name]) for name in same)


def test_workers_and_how_often_it_saves_change_no_bit(photos: Path, tmp_path: Path) -> None:
    first = trained(gan(photos), tmp_path / "a")
    recipe = gan(photos, judge={"every": 32}, checkpoints={"every": 32})
    data = recipe.data.model_copy(update={"n_workers": 2, "kept_megabytes": 1})
    second = trained(recipe.model_copy(update={"data": data}), tmp_path / "b")
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_told_to_stop_ends_after_its_step_and_saves_it(photos: Path, tmp_path: Path, number: int) -> None:
    recipe = gan(photos)
    whole_path = train_weights(recipe, tmp_path / "whole", device="cpu")
    whole = whole_path.read_bytes()
    before = signal.getsignal(number)

    def tell(record: dict[str, Any]) -> None:
        if record["n_seen"] == 20:
            signal.raise_signal(number)

    with pytest.raises(KeyboardInterrupt):
        train_weights(recipe, tmp_path / "cut", device="cpu", on_step=tell)
    assert signal.getsignal(number) is before
    assert read_checkpoint(checkpoints(tmp_path / "cut")[0])["n_seen"] == 20
    assert (tmp_path / "cut" / "curves.png").exists()
    assert (tmp_path / "cut" / "so-far" / whole_path.name).exists(), "the weights as they were then"
    assert train_weights(recipe, tmp_path / "cut", device="cpu").read_bytes() == whole


def test_a_finished_run_only_writes_its_weights_again(photos: Path, tmp_path: Path) -> None:
    recipe = tiny(photos, **{"stages.0.n_images": 8})
    first = train_weights(recipe, tmp_path / "run", device="cpu").read_bytes()
    steps: list[object] = []
    said: list[str] = []
    again = train_weights(recipe, tmp_path / "run", device="cpu", on_step=steps.append, say=said.append)
    assert again.read_bytes() == first
    assert steps == []
    assert said == [f"finished at 8 images; to train on from there: --init {again} -o ANOTHER"]


def test_the_best_weights_are_written_where_the_last_ones_are_others(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter([20.0, 31.25, 30.0, 29.0])  # decibels, as if learning spoilt what was learnt
    monkeypatch.setattr(PhotoJudge, "__call__", lambda *_: Scores({"psnr": next(told), "input_psnr": 19.0}, "psnr"))
    path = train_weights(tiny(photos, **{"stages.0.n_images": 32, "judge.every": 8}), tmp_path, device="cpu")
    assert load_model(path)[1].quality.startswith("29.00 dB, input 19.00 dB, gain +10.00 on 2 held-out")
    network, card = load_model(path.with_stem("dae-sigma11-best"))
    assert card.quality.startswith("31.25 dB")
    kept = read_checkpoint(tmp_path / f"checkpoint-{16:012d}.pt")["networks"]["generator"]
    assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())
    assert not all(torch.equal(value, kept[name]) for name, value in load_model(path)[0].state_dict().items())


def test_what_a_killed_process_was_writing_is_cleared_away(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    parts = [tmp_path / ".resharp-abc.part", tmp_path / "samples" / ".resharp-def.part"]
    for part in parts:
        part.write_bytes(b"half of it")
    train_weights(tiny(photos, **{"stages.0.n_images": 4}), tmp_path, device="cpu")
    assert not any(part.exists() for part in parts)


@pytest.mark.parametrize(
    ("failure", "words"),
    [(PermissionError(13, "Permission denied"), "cannot be read"), (MemoryError(), "not enough memory")],
)
def test_a_checkpoint_that_cannot_be_read_now_is_not_called_damaged(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception, words: str
) -> None:
    def refused(_: Path) -> None:
        raise failure

    recipe = tiny(photos, **{"stages.0.n_images": 80, "checkpoints.every": 16})
    with pytest.raises(ResourceError):
        train_weights(recipe, tmp_path, device="cpu", on_step=killed_at(40))
    before = {path.name: path.read_bytes() for path in checkpoints(tmp_path)}
    monkeypatch.setattr("resharp.training.checkpoint.read_checkpoint", refused)
    with pytest.raises(ResharpError, match=words):
        train_weights(recipe, tmp_path, device="cpu")
    assert {path.name: path.read_bytes() for path in checkpoints(tmp_path)} == before


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(photos: Path, tmp_path: Path) -> None:
    recipe = gan(photos)
    whole = train_weights(recipe, tmp_path / "run", device="cpu")
    before = whole.read_bytes()
    newest = checkpoints(tmp_path / "run")[0]
    newest.write_bytes(newest.read_bytes()[:1000])
    whole.unlink()
    said: list[str] = []
    assert train_weights(recipe, tmp_path / "run", device="cpu", say=said.append).read_bytes() == before
    assert len(said) == 2
    assert f"{newest.name}: damaged" in said[0]
    assert said[1] == "goes on at 24 of 32 images"
    for path in checkpoints(tmp_path / "run"):
        path.write_bytes(b"cut short")
    with pytest.raises(RecipeError, match="all its checkpoints are damaged"):
        train_weights(recipe, tmp_path / "run", device="cpu")


def test_a_flipped_bit_in_a_checkpoint_is_noticed(photos: Path, tmp_path: Path) -> None:
    recipe = tiny(photos, **{"stages.0.n_images": 24, "checkpoints.every": 8, "checkpoints.keep": 1})
    whole = train_weights(recipe, tmp_path / "a", device="cpu").read_bytes()

    longer = recipe.model_copy(update={"checkpoints": recipe.checkpoints.model_copy(update={"keep": 2})})
    with pytest.raises(ResourceError):
        train_weights(longer, tmp_path / "b", device="cpu", on_step=killed_at(20))
    newest = checkpoints(tmp_path / "b")[0]
    spoiled = bytearray(newest.read_bytes())
    spoiled[len(spoiled) // 2] ^= 1
    newest.write_bytes(spoiled)
    assert train_weights(recipe, tmp_path / "b", device="cpu").read_bytes() == whole
    assert [read_checkpoint(path)["n_seen"] for path in checkpoints(tmp_path / "b")] == [24]


def test_the_last_checkpoints_and_the_best_are_kept(photos: Path, tmp_path: Path) -> None:
    recipe = tiny(photos, **{"stages.0.n_images": 80, "checkpoints.every": 8, "judge.every": 16})
    train_weights(recipe, tmp_path, device="cpu")
    scores = {r["n_seen"]: r["validation_psnr"] for r in history(tmp_path) if "validation_psnr" in r}
    best = max(scores, key=lambda n: scores[n])
    assert {int(path.stem[-12:]) for path in checkpoints(tmp_path)} == {80, 72, best}


def test_a_folder_of_another_run_is_left_alone(photos: Path, tmp_path: Path) -> None:
    train_weights(tiny(photos, **{"stages.0.n_images": 8}), tmp_path, device="cpu")
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(RecipeError, match=r"stages\.0\.n_images was 8, is 12"):
        train_weights(tiny(photos, **{"stages.0.n_images": 12}), tmp_path, device="cpu")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == kept


def test_what_decides_no_bits_may_change(photos: Path, tmp_path: Path) -> None:
    settings: dict[str, object] = {"stages.0.n_images": 8, "checkpoints.every": 4}
    first = trained(tiny(photos, **settings), tmp_path / "run")
    settings |= {"checkpoints.every": 80, "weights.licence": "MIT"}
    moved = tmp_path / "elsewhere"
    shutil.copytree(photos, moved)
    path = train_weights(tiny(moved, **settings), tmp_path / "run", device="cpu")
    second, card = load_model(path)
    assert card.licence == "MIT"
    assert all(torch.equal(tensor, second.state_dict()[key]) for key, tensor in first.items())
    (moved / "0.png").unlink()
    with pytest.raises(RecipeError, match=r"photos\.0: 4 photos then, 3 now"):
        train_weights(tiny(moved, **settings), tmp_path / "run", device="cpu")


def test_a_run_killed_before_its_first_checkpoint_starts_anew(photos: Path, tmp_path: Path) -> None:
    recipe = tiny(photos, **{"stages.0.n_images": 16})

    with pytest.raises(ResourceError):
        train_weights(recipe, tmp_path, device="cpu", on_step=killed_at(8))
    with (tmp_path / "metrics.jsonl").open("a") as log:
        log.write('{"psnr": 27.0, "n_se')  # a line cut short by the kill
    train_weights(recipe, tmp_path, device="cpu")
    assert [record["n_seen"] for record in history(tmp_path)] == [4, 8, 12, 16]


def test_settings_that_came_later_leave_older_folders_theirs_at_their_defaults(photos: Path, tmp_path: Path) -> None:
    recipe = gan(photos)
    first = trained(recipe, tmp_path)
    state = read_checkpoint(checkpoints(tmp_path)[0])
    for table, name in (  # as a version wrote it that did not know them
        (state["identity"]["networks"]["generator"], "compile"),
        (state["identity"], "features_file"),
        (state["identity"]["stages"][1]["adversarial"], "penalty_precision"),
        (state["identity"]["stages"][0]["trains"]["generator"], "schedule"),
    ):
        del table[name]
    save_checkpoint(tmp_path, state, keep=1)
    second = trained(recipe, tmp_path)
    assert all(torch.equal(first[name], second[name]) for name in first)
    save_checkpoint(tmp_path, state, keep=1)
    with pytest.raises(RecipeError, match=r"adversarial\.penalty_precision was None, is 'bfloat16'\); choose"):
        train_weights(gan(photos, penalty_precision="bfloat16"), tmp_path, device="cpu")


def test_identities_differ_by_what_was_told() -> None:
    ours = Identity({"a": 1, "b": {"c": 2, "d": [3, 4]}, "e": 5}, {"b": {"d": [3, 4]}})
    assert ours.differences({"a": 1, "b": {"c": 2, "d": [3, 4]}, "e": 5}) == []
    assert ours.differences({"b": {"d": [3, 4]}}) == []
    assert ours.differences({"b": {"d": [3, 5]}}) == ["b.d.1 was 5, is 4"]
    assert ours.differences({"a": 2, "b": {}}) == ["a was 2, is 1", "b.d was None, is [3, 4]"]
    assert ours.differences({"b": {"d": [3, 4]}, "gone": 7}) == ["gone was 7, is None"]


def test_other_features_make_another_run(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files of weights under one name."""
    state = state_of(stack_of("squeezenet1.1", 5))
    for factor, folder in enumerate((tmp_path / "one", tmp_path / "other")):
        folder.mkdir()
        scaled = {name: (1 + factor) * tensor for name, tensor in state.items()}
        torch.save(scaled, folder / FEATURE_NETWORKS["squeezenet1.1"].url.rpartition("/")[2])
    features = {"kind": "squeezenet1.1", "layer": "fire2"}
    recipe = gan(photos, losses={"perceptual": 1.0}, features=features)
    monkeypatch.setenv("RESHARP_WEIGHTS", str(tmp_path / "one"))
    train_weights(recipe, tmp_path / "run", device="cpu")
    monkeypatch.setenv("RESHARP_WEIGHTS", str(tmp_path / "other"))
    with pytest.raises(RecipeError, match=r"holds another run \(features_file: another file of weights than then\)"):
        train_weights(recipe, tmp_path / "run", device="cpu")
