"""BGAN, DBGAN, SFT-Net and MPRNet against their published sizes and functions, and what makes noise maps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from resharp.errors import ArgumentError, WeightsError
from resharp.models import import_model, load_model
from resharp.networks import BGAN, DBGAN, NOISES, MPRNet, SFTNet, noise_map
from tests.conftest import rand
from tests.published_networks import Weights, dbgan, mprnet, sftnet

MAPS = rand(1, 8, 64, 96, dtype=torch.float32)


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (DBGAN, 11_588_163),
        (lambda: DBGAN(blocks="plain"), 2_994_691),
        (BGAN, 6_554_499),
        (lambda: BGAN(blocks="plain"), 1_704_515),
        (SFTNet, 1_833_763),
        (lambda: SFTNet(torch_compat=True), 1_612_195),
        (MPRNet, 20_127_073),
    ],
)
def test_parameters_are_as_many_as_published(make: Callable[[], nn.Module], count: int) -> None:
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in make().parameters()) == count


@pytest.mark.parametrize(
    ("kind", "run"),
    [
        ("dbgan", lambda w, x: dbgan(w, x, width=6, growth=4, n_blocks=3)),
        ("sftnet", lambda w, x: sftnet(w, x, MAPS, width=6, n_blocks=2, paper=False)),
        ("sftnet", lambda w, x: sftnet(w, x, MAPS, width=6, n_blocks=2, paper=True)),
        ("mprnet", lambda w, x: mprnet(w, x, n=8, wider=4, full=2, n_cab=2, reduction=2)[0]),
    ],
)
def test_published_weights_come_with_their_function(
    kind: str, run: Callable[[Weights, Tensor], Tensor], tmp_path: Path
) -> None:
    image, weights = rand(1, 3, 16, 24, dtype=torch.float32), Weights()
    expected = run(weights, image)
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in weights.items()}}, tmp_path / "theirs.pth")
    import_model(tmp_path / "theirs.pth", kind, tmp_path / "ours.safetensors")
    network, card = load_model(tmp_path / "ours.safetensors")
    with torch.no_grad():
        made = network(image, MAPS) if kind == "sftnet" else network(image)
    assert (expected - image.mean()).abs().mean() > 0.05
    assert_close(made, expected, rtol=1e-4, atol=1e-5)
    assert card.contract.task == ("upscale" if kind == "sftnet" else "deblur")


def test_an_mprnet_in_training_gives_the_pictures_of_its_stages(tmp_path: Path) -> None:
    image, weights = rand(2, 3, 32, 16, dtype=torch.float32), Weights()
    expected = mprnet(weights, image, n=8, wider=4, full=2, n_cab=2, reduction=2)
    torch.save(dict(weights), tmp_path / "theirs.pth")
    import_model(tmp_path / "theirs.pth", "mprnet", tmp_path / "ours.safetensors")
    made = load_model(tmp_path / "ours.safetensors")[0].train()(image)
    for one, other in zip(made, reversed(expected), strict=True):
        assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_what_is_no_published_file_is_named(tmp_path: Path) -> None:
    small: dict[str, Any] = {"width": 6, "growth": 4, "n_blocks": 1}
    image, good = rand(1, 3, 8, 8, dtype=torch.float32), Weights()
    dbgan(good, image, **small)
    slopes = Weights()
    mprnet(slopes, rand(1, 3, 16, 16, dtype=torch.float32), n=4, wider=2, full=2, n_cab=1, reduction=2)
    slopes["sam12.conv1.weight"], slopes["shallow_feat2.1.body.1.weight"] = good["model.2.weight"], torch.tensor([0.3])
    one = "model.1.sub1.0.RDB2.conv3.0.weight"
    cases: list[tuple[str, dict[str, Tensor], str]] = [
        ("dbgan", good | {"model.9.weight": image}, "'model.9.weight' is unknown in a DBGAN"),
        ("dbgan", {k: v for k, v in good.items() if k != one}, f"'{one}' is missing"),
        ("dbgan", good | {one: good[one][:, :3]}, f"'{one}' has shape (4, 3, 3, 3) where a DBGAN has (4, 14, 3, 3)"),
        ("sftnet", dict(good), "is no sftnet as published ('conv0.weight')"),
        ("mprnet", dict(slopes), "its blocks have slopes of their own"),
    ]
    for kind, state, words in cases:
        torch.save(state, tmp_path / "theirs.pth")
        with pytest.raises(WeightsError) as caught:
            import_model(tmp_path / "theirs.pth", kind, tmp_path / "ours.safetensors")
        assert words in str(caught.value)


def test_noise_of_a_photo_is_of_its_kind() -> None:
    def drawn(kind: str, seed: int = 0) -> Tensor:
        return noise_map(kind, 4, 40, 31, torch.Generator().manual_seed(seed))

    for kind in NOISES:
        assert drawn(kind).shape == (4, 40, 31)
        assert torch.equal(drawn(kind), drawn(kind))
        assert not torch.equal(drawn(kind), drawn(kind, 1))
    tiled, smooth, white = (drawn(kind) for kind in ("tiled", "smooth", "white"))
    assert bool((tiled == tiled[:, :1, :1]).all())
    draws = torch.stack([drawn("tiled", seed)[:, 0, 0] for seed in range(400)])
    assert draws.mean().abs() < 0.1
    assert draws.std() == pytest.approx(1, abs=0.1)
    assert white.std() == pytest.approx(1, abs=0.05)
    assert smooth.diff(dim=-1).std() < 0.8 < white.diff(dim=-1).std()
    with pytest.raises(ArgumentError, match="'tile' is no noise map; did you mean 'tiled'"):
        drawn("tile")


def test_other_noise_and_other_segmentations_are_named() -> None:
    image = rand(2, 3, 8, 8, dtype=torch.float32)
    with pytest.raises(ArgumentError, match=r"noise of shape \(1, 4, 8, 8\); this BGAN takes \(2, 4, 8, 8\)"):
        BGAN(width=4, n_blocks=1, blocks="plain")(image, rand(1, 4, 8, 8))
    network = SFTNet(width=4, n_blocks=1)
    for shape in ((2, 7, 32, 32), (2, 8, 8, 8)):
        with pytest.raises(ArgumentError, match=r"this SFTNet takes 8 classes of 32x32: \(2, 8, 32, 32\)"):
            network(image, torch.zeros(shape))
    with pytest.raises(ValueError, match="blocks of a"):
        DBGAN(blocks="dense")
    with pytest.raises(ValueError, match="noise of a BGAN is one of tiled, smooth, white, not 'pink'"):
        BGAN(noise="pink")
