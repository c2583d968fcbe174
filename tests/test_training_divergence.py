"""A training whose numbers stop being numbers ends well, or goes back and on."""

import tomllib
from pathlib import Path

import pytest
import torch

from resharp.errors import RecipeError, ResharpError, ResourceError
from resharp.training import train_weights
from resharp.training.checkpoint import checkpoints, read_checkpoint
from resharp.training.loop import take_step
from tests.toy_training import ADAM, gan, history, killed_at, tiny, trained

pytestmark = pytest.mark.usefixtures("no_curves")


class Fragile(torch.nn.Module):
    """Fails once: its eleventh output in training holds a NaN."""

    calls = 0

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.arguments = {"channels": channels}
        self.conv = torch.nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        Fragile.calls += self.training
        spoiled = torch.nan if Fragile.calls == 11 and self.training else 0.0
        result: torch.Tensor = self.conv(image) + spoiled
        return result


class Exploding(torch.nn.Module):
    """Its loss is finite and its gradient is not, from the third step on."""

    def __init__(self) -> None:
        super().__init__()
        self.arguments: dict[str, int] = {}
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.calls = 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.calls += self.training
        root = (
            (self.weight - self.weight.detach()).abs().sqrt() if self.calls > 2 and self.training else 0 * self.weight
        )
        return image * self.weight + root


class Rising(torch.nn.Module):
    """Its weight rises by the learning rate at each step, and beyond 0.0075 all that comes out is NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.arguments: dict[str, int] = {}
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image - 1 + self.weight + (torch.nan if self.training and self.weight > 0.0075 else 0.0)


def test_a_step_that_fails_straight_after_a_checkpoint_goes_back_to_the_one_before(
    photos: Path, tmp_path: Path
) -> None:
    """From the checkpoint itself the same step would come again, whatever the rates."""
    changes = {
        "networks.generator": "{ kind = 'tests.test_training_divergence:Rising' }",
        "stages.0.trains.generator": "{ kind = 'adam', learning_rate = 1e-3, schedule = { kind = 'constant' } }",
        "stages.0.n_images": 80,
        "checkpoints.every": 16,
        "judge.every": 80,
        "divergence": "{ roll_backs = 1, factor = 0.1 }",
    }
    said: list[str] = []
    train_weights(tiny(photos, **changes), tmp_path, device="cpu", say=said.append)
    (line,) = [line for line in said if "diverged" in line]
    assert "diverged after 32 images" in line
    assert "going on from 16 images" in line
    assert history(tmp_path)[-1]["n_seen"] == 80


def test_another_stage_is_judged_by_itself(photos: Path, tmp_path: Path) -> None:
    """Its loss may be a hundred times that of the stage before; that is no illness."""
    stage = f"n_images = 400, batch_size = 4, precision = 'float32', trains.generator = {ADAM.replace('1e-3', '1e-5')}"
    stages = f"[{{ {stage}, losses = {{ l2 = 1.0 }} }}, {{ {stage}, losses = {{ l2 = 100.0 }} }}]"
    recipe = tiny(photos)
    values = tomllib.loads(f"stages = {stages}")["stages"]
    recipe = type(recipe).model_validate(recipe.model_dump() | {"stages": values})
    train_weights(recipe, tmp_path, device="cpu")
    assert [record["warnings"] for record in history(tmp_path) if record["warnings"]] == []


def test_a_diverged_run_ends_with_a_report_and_its_last_checkpoint(photos: Path, tmp_path: Path) -> None:
    wild = {"stages.0.trains.generator": "{ kind = 'adam', learning_rate = 1e30 }", "checkpoints.every": 4}
    with pytest.raises(
        RecipeError,
        match=r"diverged after \d+ images: l2 is no number in the step on samples \d+ to \d+ \(\d\.png.*\);.*before it",
    ):
        train_weights(tiny(photos, **wild), tmp_path, device="cpu")
    assert checkpoints(tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))


def test_numbers_that_are_read_now_and_then_change_no_weights_and_hide_nothing(photos: Path, tmp_path: Path) -> None:
    """What goes wrong in between is found at the next reading, before anything is judged or saved."""
    small = {"stages.0.n_images": 40, "checkpoints.every": 16, "judge.every": 28}
    each = trained(tiny(photos, **small), tmp_path / "each")
    rare = tiny(photos, **small, **{"stages.0.read_every": 3})
    assert all(torch.equal(part, each[name]) for name, part in trained(rare, tmp_path / "rare").items())
    told, all_told = history(tmp_path / "rare"), history(tmp_path / "each")
    assert [record["n_seen"] for record in told] == [12, 16, 24, 28, 32, 36, 40]
    for record in told[:3]:
        assert record | {"warnings": []} == all_told[record["n_seen"] // 4 - 1] | {"warnings": []}
    changes = {
        "networks.generator": "{ kind = 'tests.test_training_divergence:Rising' }",
        "stages.0.trains.generator": "{ kind = 'adam', learning_rate = 1e-3, schedule = { kind = 'constant' } }",
        "stages.0.n_images": 80,
        "stages.0.read_every": 6,
        "checkpoints.every": 24,
    }
    with pytest.raises(RecipeError, match=r"after 44 images: l2 is no number in the step on samples 24 to 47 "):
        train_weights(tiny(photos, **changes), tmp_path / "lost", device="cpu")
    assert [read_checkpoint(one)["n_seen"] for one in checkpoints(tmp_path / "lost")] == [24]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), r"for 4 images at once; .* stages\.0\.accumulate=2"),
        (torch.AcceleratorError("CUDA error: unspecified launch failure\nmore"), r"the GPU failed \(CUDA error: un"),
        (RuntimeError("CUDA error: the GPU has fallen off the bus"), "what was saved is intact, and the same command"),
        (
            RuntimeError("x_cuda does not have a deterministic implementation, but. "),
            "deterministic: x_cuda does .* out",
        ),
    ],
)
def test_a_gpu_that_is_too_small_or_lost_leaves_one_line_and_the_last_checkpoint(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    small = {"stages.0.n_images": 40, "checkpoints.every": 16}
    calls: list[int] = []

    def failing(*arguments: object) -> object:
        calls.append(0)
        if len(calls) == 7:
            raise error
        return take_step(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr("resharp.training.loop.take_step", failing)
        with pytest.raises(ResharpError, match=words) as found:
            train_weights(tiny(photos, **small), tmp_path, device="cpu")
    assert "\n" not in str(found.value)
    assert [read_checkpoint(one)["n_seen"] for one in checkpoints(tmp_path)] == [16]
    train_weights(tiny(photos, **small), tmp_path, device="cpu")
    assert history(tmp_path)[-1]["n_seen"] == 40


def test_a_gradient_that_is_no_number_stops_before_it_reaches_the_weights(photos: Path, tmp_path: Path) -> None:
    changes = {
        "networks.generator": "{ kind = 'tests.test_training_divergence:Exploding' }",
        "stages.0.trains.generator": ADAM,
        "checkpoints.every": 4,
    }
    with pytest.raises(RecipeError, match=r"after 8 images: gradient of generator\.weight is no number"):
        train_weights(tiny(photos, **changes), tmp_path, device="cpu")
    kept = read_checkpoint(checkpoints(tmp_path)[0])
    assert bool(torch.isfinite(kept["networks"]["generator"]["weight"]).all())


def test_a_diverged_run_may_go_back_and_go_on_more_slowly(photos: Path, tmp_path: Path) -> None:
    changes = {
        "networks.generator": "{ kind = 'tests.test_training_divergence:Fragile' }",
        "stages.0.trains.generator": ADAM,
        "stages.0.n_images": 80,
        "checkpoints.every": 16,
        "divergence": "{ roll_backs = 1, factor = 0.5 }",
    }
    said: list[str] = []
    Fragile.calls = 0
    train_weights(tiny(photos, **changes), tmp_path, device="cpu", say=said.append)
    (line,) = [line for line in said if "diverged" in line]
    assert "diverged after 40 images: l2 is no number in the step on samples 40 to 43 (" in line
    assert ".png); going on from 32 images" in line
    records = history(tmp_path)
    assert [record["n_seen"] for record in records if "rolled_back" not in record] == list(range(4, 81, 4))
    after = next(record for record in records if record["n_seen"] == 36)
    before = next(record for record in records if record["n_seen"] == 32 and "rolled_back" not in record)
    assert after["rate_factor"] < 0.6 * before["rate_factor"]


def test_a_gan_that_went_back_and_was_then_killed_ends_in_the_same_bits(photos: Path, tmp_path: Path) -> None:
    network = {"kind": "tests.test_training_divergence:Fragile", "arguments": {}}
    recipe = gan(photos, accumulate=1, network=network, divergence={"roll_backs": 1, "factor": 0.5}, n_images=44)
    Fragile.calls = 0
    whole = train_weights(recipe, tmp_path / "whole", device="cpu").read_bytes()
    (gone_back,) = [record for record in history(tmp_path / "whole") if "rolled_back" in record]
    assert (gone_back["n_seen"], gone_back["factor"]) == (32, 0.5)
    # Killed before it diverges, which takes it back to 32 images, and twice after it went back from 40 to 32.
    for stop, calls in ((40, 0), (44, 8), (48, 12)):
        Fragile.calls = calls
        with pytest.raises(ResourceError):
            train_weights(recipe, tmp_path / "cut", device="cpu", on_step=killed_at(stop))
    assert train_weights(recipe, tmp_path / "cut", device="cpu").read_bytes() == whole
    assert history(tmp_path / "cut") == history(tmp_path / "whole")
