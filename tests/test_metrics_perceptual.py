"""Feature distances against plain stacks of torch layers, LPIPS with the linear weights that torchmetrics ships."""

from pathlib import Path

import pytest
import torch
import torchmetrics
from torch import Tensor

from resharp.errors import ArgumentError, WeightsError
from resharp.metrics import feature_distance, load_feature_distance, load_lpips
from resharp.photo import read_photo
from tests.conftest import rand, reference
from tests.feature_stacks import stack_of, state_of

LINEAR = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models"
# architecture -> LPIPS's file, modules of the stack, and those after which the paper's code looks
TAPS = {
    "squeezenet1.1": ("squeeze.pth", 13, (1, 4, 7, 9, 10, 11, 12)),
    "vgg16": ("vgg.pth", 30, (3, 8, 15, 22, 29)),
}
MEAN, SPREAD = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])  # for images in [-1, 1]


@pytest.fixture
def weights(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    torch.save(state_of(stack_of(request.param, TAPS[request.param][1])), tmp_path / "features.pth")
    return tmp_path / "features.pth"


def literal(one: Tensor, other: Tensor, architecture: str, linear: list[Tensor] | None) -> float:
    """Module after module, position after position."""
    _, n_modules, taps = TAPS[architecture]
    stack = stack_of(architecture, n_modules)
    x, y = ((2 * image - 1 - MEAN[:, None, None]) / SPREAD[:, None, None] for image in (one, other))
    total = 0.0
    with torch.no_grad():
        for number, module in enumerate(stack):
            x, y = module(x[None])[0].clone(), module(y[None])[0].clone()
            if number in taps:
                difference = (x / (x.square().sum(0).sqrt() + 1e-10) - y / (y.square().sum(0).sqrt() + 1e-10)) ** 2
                scale = torch.ones(len(x)) if linear is None else linear[taps.index(number)]
                total += float((difference * scale[:, None, None]).sum(0).mean())
    return total


@pytest.mark.parametrize(("weights", "architecture"), [(name, name) for name in TAPS], indirect=["weights"])
def test_the_distance_is_the_literal_one(weights: Path, architecture: str) -> None:
    one, other = rand(2, 3, 40, 36, dtype=torch.float32), rand(2, 3, 40, 36, dtype=torch.float32, seed=1)
    metric = load_feature_distance(architecture, weights=weights)
    assert "LPIPS" not in metric.summary
    assert (metric.higher_is_better, metric.needs_truth, metric.unit) == (False, True, "")
    found = metric.function(one, other)
    wanted = [literal(a, b, architecture, None) for a, b in zip(one, other, strict=True)]
    assert found.tolist() == pytest.approx(wanted, rel=1e-4)
    assert metric.function(one, one).tolist() == [0, 0]
    assert metric.function(other, one).tolist() == pytest.approx(found.tolist(), rel=1e-5)


@pytest.mark.parametrize(("weights", "architecture"), [(name, name) for name in TAPS], indirect=["weights"])
def test_lpips_weighs_the_channels_by_the_file(weights: Path, architecture: str) -> None:
    file = LINEAR / TAPS[architecture][0]
    one, other = rand(3, 40, 36, dtype=torch.float32), rand(3, 40, 36, dtype=torch.float32, seed=1)
    state = torch.load(file, map_location="cpu", weights_only=True)
    linear = [state[f"lin{layer}.model.1.weight"].flatten() for layer in range(len(TAPS[architecture][2]))]
    metric = load_lpips(file, architecture, weights=weights)
    assert metric.summary.startswith("LPIPS")
    assert float(metric.function(one, other)) == pytest.approx(literal(one, other, architecture, linear), rel=1e-4)


@pytest.mark.parametrize("weights", ["squeezenet1.1"], indirect=True)
def test_files_that_are_no_linear_weights_are_named(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("no weights")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"lin0.model.1.weight": 3}, tmp_path / "number.pth")
    torch.save({f"lin{i}.model.1.weight": torch.full((1, 64, 1, 1), -1.0) for i in range(7)}, tmp_path / "minus.pth")
    names = [tmp_path / name for name in ("text.pth", "list.pth", "number.pth", "minus.pth", "missing.pth")]
    for path in [*names, tmp_path, LINEAR / "vgg.pth", weights]:
        with pytest.raises(WeightsError) as caught:
            load_lpips(path, "squeezenet1.1", weights=weights)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)


def test_kerass_weights_do_not_make_lpips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match=r"features\.h5: LPIPS was learned on torchvision's"):
        load_lpips(LINEAR / "squeeze.pth", "squeezenet1.1", weights=Path("features.h5"))
    monkeypatch.setenv("RESHARP_WEIGHTS", str(tmp_path))
    (tmp_path / "squeezenet1_1_features.h5").touch()
    with pytest.raises(WeightsError, match=r"no weights of squeezenet1\.1 in"):
        load_lpips(LINEAR / "squeeze.pth", "squeezenet1.1")


@pytest.mark.parametrize("weights", ["squeezenet1.1"], indirect=True)
@pytest.mark.parametrize("content", [b".", b"a.", b"\x80\x02.", b"\x80\x02}q\x00X", b"\x80\x02X\x05\0\0\0\xff\xfe."])
def test_damaged_linear_weights_are_named(weights: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "squeeze.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"squeeze\.pth: cannot be read as linear weights"):
        load_lpips(tmp_path / "squeeze.pth", "squeezenet1.1", weights=weights)


def test_networks_without_a_distance_are_refused() -> None:
    with pytest.raises(ArgumentError, match="did you mean 'vgg16'"):
        load_feature_distance("vgg19")


def test_linear_weights_have_to_fit() -> None:
    def features(image: Tensor) -> list[Tensor]:
        return [image]

    with pytest.raises(ArgumentError, match=r"layers of \[2\] channels do not fit features of \[3\]"):
        feature_distance(rand(3, 8, 8), rand(3, 8, 8), features, [torch.ones(2)])


def test_blur_is_nearer_than_another_picture() -> None:
    weights = reference("reference", "squeezenet", "squeezenet1_1_features.h5")
    metric = load_feature_distance("squeezenet1.1", weights=weights)
    sharp, blurred, other = (
        read_photo(reference("gopro", "crops", *name)).image
        for name in (("sharp", "213.png"), ("blur", "213.png"), ("sharp", "254.png"))
    )
    assert 0 < float(metric.function(blurred, sharp)) < float(metric.function(other, sharp))
